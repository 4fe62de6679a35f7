// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"ksnif/bench"
)

const (
	memoryEvery = 100 * time.Millisecond
	memoryAfter = 500 * time.Millisecond // how long to look on after the capture
)

// memory follows what the kernel has taken for itself while each contender captures more than the disk takes.
func memory(plan bench.Plan) ([]bench.Row, error) {
	list, err := choose(contenders(plan.BufferKB, loadDevice), "none", "ksnif list buffered", "ksnif list direct",
		"ksnif ring buffered", "ksnif ring direct", "tcpdump")
	if err != nil {
		return nil, err
	}
	l := load{size: plan.Sizes[0], burst: 1 << 30, streams: 1}
	// what is taken the first time, and kept
	if _, err := captureLoad(list[0], l, plan.Snaplens[0], func() error { return l.sendFor(time.Second) }); err != nil {
		return nil, err
	}
	var rows []bench.Row
	for _, c := range list {
		row := c.row(plan.Snaplens[0], l.size)
		fmt.Printf(" %s\n", row.Name())
		watch, err := watchMemory(4 * plan.Time)
		if err != nil {
			return nil, err
		}
		s, err := captureLoad(c, l, plan.Snaplens[0], func() error { watch.begin(); return l.sendFor(plan.Time) })
		points, merr := watch.end()
		if err != nil || merr != nil {
			return nil, fmt.Errorf("%s: %w", row.Name(), errors.Join(err, merr))
		}
		row = sumUp(row, []sample{s}, 0)
		row.Memory, row.Limit = points, plan.BufferKB<<10
		if c.name == "none" {
			row.Limit = 0
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// memoryWatch looks at the kernel's memory until it is told to end. It takes none itself meanwhile.
type memoryWatch struct {
	meter  memoryMeter
	before int
	since  time.Time
	stop   chan struct{}
	done   chan error
	points []bench.Point
}

// watchMemory starts to look; limit is how long at most.
func watchMemory(limit time.Duration) (*memoryWatch, error) {
	w := &memoryWatch{
		stop: make(chan struct{}), done: make(chan error, 1), points: make([]bench.Point, 0, limit/memoryEvery),
		meter: memoryMeter{info: make([]byte, 1<<14), zones: make([]byte, 1<<16)},
	}
	runtime.GC()
	var err error
	w.before, err = w.meter.read()
	return w, err
}

// begin is when the first packet comes.
func (w *memoryWatch) begin() {
	w.since = time.Now()
	go func() {
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for {
			if err := w.look(); err != nil {
				w.done <- err
				return
			}
			select {
			case <-w.stop:
				w.done <- nil
				return
			case <-tick.C:
			}
		}
	}()
}

func (w *memoryWatch) look() error {
	now, err := w.meter.read()
	if err != nil || len(w.points) == cap(w.points) {
		return err
	}
	w.points = append(w.points, bench.Point{Seconds: time.Since(w.since).Seconds(), Bytes: now - w.before})
	return nil
}

// end looks one last time, when the contender is gone.
func (w *memoryWatch) end() ([]bench.Point, error) {
	if w.since.IsZero() {
		return nil, nil
	}
	time.Sleep(memoryAfter)
	close(w.stop)
	err := errors.Join(<-w.done, w.look())
	return w.points, err
}

// memoryMeter reads what the kernel has in use that is not free, not the page cache, not a process's, and that it could
// not give back at once.
type memoryMeter struct{ info, zones []byte }

func (m memoryMeter) read() (int, error) {
	info, err := readInto("/proc/meminfo", m.info)
	if err != nil {
		return 0, err
	}
	zones, err := readInto("/proc/zoneinfo", m.zones)
	if err != nil {
		return 0, err
	}
	kb := number(info, "MemTotal:")
	for _, name := range []string{"MemFree:", "Buffers:", "\nCached:", "SReclaimable:", "AnonPages:", "PageTables:"} {
		kb -= number(info, name)
	}
	// free, too, but kept by a processor for itself
	for {
		_, rest, found := bytes.Cut(zones, []byte(" count:"))
		if !found {
			return kb << 10, nil
		}
		kb -= number(rest, "") * os.Getpagesize() >> 10
		zones = rest
	}
}

// readInto reads a file into a buffer that has room for it.
func readInto(name string, b []byte) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for n := 0; ; {
		got, err := f.Read(b[n:])
		n += got
		if got == 0 || err != nil {
			return b[:n], nil
		}
	}
}

// number is the one behind a name, or the first.
func number(text []byte, name string) (n int) {
	_, rest, _ := bytes.Cut(text, []byte(name))
	for _, c := range bytes.TrimLeft(rest, " ") {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}
