// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ksnif/bench"
	"ksnif/vmtest/guest"
)

const (
	probeBytes = 128 << 20
	probeChunk = 1 << 20
	// blockBytes is what pcapng adds to the bytes of a packet, and pcap adds less.
	blockBytes = 32
	// A run in which the packets took that much longer to come than they should tells of the machine below.
	stolen = 1.10
	// tries is how often such a run is repeated.
	tries = 3
)

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
	list := slices.DeleteFunc(contenders(plan.BufferKB), func(c contender) bool { return !isOfTheFew(c) })
	rows := make([]bench.Row, len(plan.Tests)*len(list))
	seconds := make([][]float64, len(rows))
	for repeat := range plan.Repeats {
		for i, test := range plan.Tests {
			for j, c := range list {
				n := i*len(list) + j
				rows[n].Contender, rows[n].Queue, rows[n].IO = c.name, c.queue, c.io
				fmt.Printf(" test %s, %d of %d: %s\n", test.Name, repeat+1, plan.Repeats, rows[n].Name())
				s, err := steadily(c, test)
				if err != nil {
					return nil, 0, fmt.Errorf("test %s, %s: %w", test.Name, rows[n].Name(), err)
				}
				rows[n].Offered = s.offered
				rows[n].Each = append(rows[n].Each, s.captured)
				seconds[n] = append(seconds[n], s.seconds)
			}
		}
	}
	for n := range rows {
		test := plan.Tests[n/len(list)]
		sumUpSlides(&rows[n], test, seconds[n], rate, plan.BufferKB)
	}
	return rows, rate, nil
}

// dirtyLimits lets as much wait in the page cache as a machine with 256 MB would: the kernel's tenth and fifth of it.
func dirtyLimits() error {
	const memory = 256 << 20
	_, err := guest.Try("sysctl", "-q", "-w", fmt.Sprintf("vm.dirty_background_bytes=%d", memory/10),
		fmt.Sprintf("vm.dirty_bytes=%d", memory/5))
	return err
}

func sumUpSlides(row *bench.Row, test bench.Test, seconds []float64, rate, bufferKB int) {
	var kept []float64
	for _, n := range row.Each {
		kept = append(kept, float64(n))
	}
	row.Test, row.Snaplen, row.PacketSize, row.Packets = test.Name, test.Snaplen, test.Size, test.Packets
	row.Captured, row.Seconds, row.Repeats = int(bench.Median(kept)), bench.Median(seconds), len(row.Each)
	record := (min(test.Snaplen, test.Size)+3)/4*4 + blockBytes
	row.Most = min(row.Offered, int((float64(rate)*row.Seconds+float64(bufferKB<<10))/float64(record)))
}

// steadily has a contender capture a test's packets, which come at its rate.
func steadily(c contender, test bench.Test) (s sample, err error) {
	for try := 1; ; try++ {
		if s, err = steadilyOnce(c, test); err != nil {
			return s, err
		}
		if s.seconds*float64(test.Rate) < stolen*float64(test.Packets) || try == tries {
			return s, nil
		}
		fmt.Printf("the packets took %.0f s instead of %d: once more\n", s.seconds, test.Packets/test.Rate)
	}
}

func steadilyOnce(c contender, test bench.Test) (s sample, err error) {
	const file = "/out/capture"
	defer func() { err = errors.Join(err, removed(file)) }()
	l := load{size: test.Size, burst: test.Packets, rate: test.Rate}
	if err := l.prepare(); err != nil {
		return sample{}, err
	}
	run, err := c.start(file, test.Snaplen)
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	err = l.send()
	s.seconds = time.Since(begin).Seconds()
	if err = errors.Join(err, run.stop()); err != nil {
		return sample{}, err
	}
	if s.offered, err = l.sent(); err != nil {
		return sample{}, err
	}
	s.captured, err = run.count()
	return s, err
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
	begin := time.Now()
	for range probeBytes / probeChunk {
		if _, err := f.Write(room[skip : skip+probeChunk]); err != nil {
			return 0, err
		}
	}
	return int(probeBytes / time.Since(begin).Seconds()), nil
}
