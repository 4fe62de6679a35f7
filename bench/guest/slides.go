// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ksnif/bench"
	"ksnif/vmtest/guest"
)

const (
	probeChunk = 1 << 20
	// A disk that does not do anything may take what comes next faster, as QEMU's throttle does: what it takes first does
	// not count.
	probeSkip  = 16 << 20
	probeBytes = 128 << 20
	// dirtyBytes may wait in the page cache: a fifth of 256 MB, which is the kernel's own choice for the talk's machine.
	dirtyBytes = 256 << 20 / 5
	// blockBytes is what pcapng adds to the bytes of a packet, and pcap adds less.
	blockBytes = 32
	// pktgen takes an eighth of a second to begin.
	beginning = 150 * time.Millisecond
	// A run in which that much fewer packets came than in another of the same contender tells of the machine below.
	stolen = 0.90
	// again is how often such runs are repeated.
	again = 3
)

// contest is one contender in one test, and all its runs.
type contest struct {
	contender
	test bench.Test
	runs []sample
	more int // runs that took the place of one in which the machine was busy
}

// slides runs the talk's tests with each contender in turns. It returns what they kept, and the disk's rate in bytes a
// second.
func slides(plan bench.Plan) ([]bench.Row, int, error) {
	if err := dirtyLimits(); err != nil {
		return nil, 0, err
	}
	rate, err := diskRate()
	if err != nil {
		return nil, 0, err
	}
	fmt.Printf("the disk takes %.1f MB a second\n", float64(rate)/1e6)
	list, err := competitors(plan.BufferKB)
	if err != nil {
		return nil, 0, err
	}
	var all []*contest
	for _, test := range plan.Tests {
		for _, c := range list {
			all = append(all, &contest{contender: c, test: test, runs: make([]sample, plan.Repeats)})
		}
	}
	for n := range plan.Repeats {
		for _, c := range all {
			if err := c.run(n, fmt.Sprintf("%d of %d", n+1, plan.Repeats)); err != nil {
				return nil, 0, err
			}
		}
	}
	for range again {
		for _, c := range all {
			for _, n := range c.robbed() {
				c.more++
				if err := c.run(n, fmt.Sprintf("%d of %d once more, the machine was busy", n+1, plan.Repeats)); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	var rows []bench.Row
	for _, c := range all {
		rows = append(rows, c.sumUp(rate, plan.BufferKB<<10+dirtyBytes))
	}
	return rows, rate, nil
}

// run fills in a run.
func (c *contest) run(n int, which string) (err error) {
	row := c.row(c.test.Snaplen, c.test.Size)
	title := fmt.Sprintf("test %s, %s: %s", c.test.Name, which, row.Name())
	fmt.Printf(" %s\n", title)
	if c.runs[n], err = steadily(c.contender, c.test); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	fmt.Printf("%s: kept %d of %d that came\n", title, c.runs[n].captured, c.runs[n].offered)
	return nil
}

// robbed are the runs in which something else than the contender took the machine's time.
func (c *contest) robbed() (list []int) {
	most := 0
	for _, s := range c.runs {
		most = max(most, s.offered)
	}
	for n, s := range c.runs {
		if float64(s.offered) < stolen*float64(most) {
			list = append(list, n)
		}
	}
	return list
}

// competitors have the same memory each: in the page cache and beside it, or all of it in the queue.
func competitors(bufferKB int) ([]contender, error) {
	cached, err := choose(contenders(bufferKB, loadDevice), "tcpdump", "ksnif list buffered")
	if err != nil {
		return nil, err
	}
	direct, err := choose(contenders(bufferKB+dirtyBytes>>10, loadDevice), "ksnif ring direct")
	return append(cached, direct...), err
}

// dirtyLimits lets dirtyBytes wait, and the disk begin at half of it, as the kernel would by itself.
func dirtyLimits() error {
	_, err := guest.Try("sysctl", "-q", "-w", fmt.Sprintf("vm.dirty_background_bytes=%d", dirtyBytes/2),
		fmt.Sprintf("vm.dirty_bytes=%d", dirtyBytes))
	return err
}

// sumUp makes a row of the runs.
func (c *contest) sumUp(rate, memory int) bench.Row {
	row := c.row(c.test.Snaplen, c.test.Size)
	row.Test, row.Packets, row.Repeats, row.Again = c.test.Name, c.test.Packets, len(c.runs), c.more
	for _, s := range c.runs {
		row.Each = append(row.Each, s.captured)
		if s.captured == s.offered {
			row.Whole++
		}
	}
	row.Offered = int(medianOf(c.runs, func(s sample) float64 { return float64(s.offered) }))
	row.Captured = int(medianOf(c.runs, func(s sample) float64 { return float64(s.captured) }))
	row.Seconds = medianOf(c.runs, func(s sample) float64 { return s.seconds })
	record := (min(c.test.Snaplen, c.test.Size)+3)/4*4 + blockBytes
	row.Most = min(c.test.Packets, int((float64(rate)*row.Seconds+float64(memory))/float64(record)))
	return row
}

// steadily has a contender capture a test's packets, which come at its rate and for its time. A network does not wait for
// who is slow: what the machine had no time to take by then is lost, and counts as lost by the contender.
func steadily(c contender, test bench.Test) (sample, error) {
	l := load{size: test.Size, burst: test.Packets, rate: test.Rate, streams: 1}
	return captureLoad(c, l, test.Snaplen, func() error {
		return l.sendFor(beginning + time.Duration(test.Packets)*time.Second/time.Duration(test.Rate))
	})
}

// diskRate is how many bytes a second the disk takes, written one after the other past the page cache.
func diskRate() (rate int, err error) {
	const file = "/out/probe"
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), removed(file)) }()
	room := make([]byte, probeChunk+os.Getpagesize())
	skip := os.Getpagesize() - int(uintptr(unsafe.Pointer(&room[0])))%os.Getpagesize()
	var begin time.Time
	for at := 0; at < probeSkip+probeBytes; at += probeChunk {
		if at == probeSkip {
			begin = time.Now()
		}
		if _, err := f.Write(room[skip : skip+probeChunk]); err != nil {
			return 0, err
		}
	}
	return int(probeBytes / time.Since(begin).Seconds()), nil
}
