// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/bench"
)

const (
	// burstGap lets whoever waits for packets have them before the next burst.
	burstGap = 20 * time.Millisecond
	// lastGap is longer than the longest that a contender keeps packets in an unfinished block of its ring: a second.
	lastGap = 1200 * time.Millisecond
	quiet   = 100 * time.Millisecond
)

// sample is one repetition.
type sample struct {
	work     float64 // instructions
	seconds  float64
	offered  int
	captured int
}

// cost measures each contender under each load, in turns.
func cost(plan bench.Plan) ([]bench.Row, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m, err := newMeter()
	if err != nil {
		return nil, err
	}
	defer m.close()
	var rows []bench.Row
	for _, size := range plan.Sizes {
		l := load{size: size, burst: plan.Burst, streams: 1}
		if err := l.prepare(); err != nil {
			return nil, err
		}
		for i, snaplen := range plan.Snaplens {
			some, err := costOf(m, plan, l, snaplen, i == len(plan.Snaplens)-1)
			if err != nil {
				return nil, err
			}
			rows = append(rows, some...)
		}
	}
	return rows, nil
}

// costOf measures all contenders with one load and one snaplen; those that always take whole packets only if whole says
// so.
func costOf(m *meter, plan bench.Plan, l load, snaplen int, whole bool) ([]bench.Row, error) {
	list := slices.DeleteFunc(contenders(plan.BufferKB, loadDevice), func(c contender) bool { return c.whole && !whole })
	first := contender{}.row(snaplen, l.size)
	fmt.Printf("%s bytes, snaplen %s\n", first.Size(), first.Snap())
	return inTurns(m, list, l, plan.Bursts, snaplen, plan.Repeats)
}

// inTurns measures contenders, of which the first is what the cost of the others is counted above.
func inTurns(m *meter, list []contender, l load, bursts, snaplen, repeats int) ([]bench.Row, error) {
	samples := make([][]sample, len(list))
	for repeat := range repeats {
		for i, c := range list {
			row := c.row(snaplen, l.size)
			fmt.Printf(" %s bytes, snaplen %s, %d of %d: %s\n", row.Size(), row.Snap(), repeat+1, repeats, row.Name())
			s, err := measure(m, c, l, bursts, snaplen)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", row.Name(), err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	floor := medianOf(samples[0], func(s sample) float64 { return s.work })
	var rows []bench.Row
	for i, c := range list[1:] {
		rows = append(rows, sumUp(c.row(snaplen, l.size), samples[i+1], floor))
	}
	return rows, nil
}

func medianOf(samples []sample, of func(sample) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, of(s))
	}
	return bench.Median(values)
}

// sumUp makes a row of the repetitions.
func sumUp(row bench.Row, samples []sample, floor float64) bench.Row {
	var costs []float64
	for _, s := range samples {
		costs = append(costs, (s.work-floor)/float64(max(s.captured, 1)))
	}
	row.Instructions, row.Spread, row.Repeats = bench.Median(costs), bench.Spread(costs), len(costs)
	row.Seconds = medianOf(samples, func(s sample) float64 { return s.seconds })
	row.Offered = int(medianOf(samples, func(s sample) float64 { return float64(s.offered) }))
	row.Captured = int(medianOf(samples, func(s sample) float64 { return float64(s.captured) }))
	row.Packets = row.Offered
	return row
}

// measure has a contender capture the load once: from the first packet to the file that is closed and on disk.
func measure(m *meter, c contender, l load, bursts, snaplen int) (s sample, err error) {
	const file = "/out/capture"
	defer func() { err = errors.Join(err, removed(file)) }()
	runtime.GC() // now, and not while others are measured
	run, err := c.start(file, snaplen)
	if err != nil {
		return sample{}, err
	}
	time.Sleep(quiet)

	begin := time.Now()
	before, err := m.work()
	if err != nil {
		return sample{}, errors.Join(err, run.stop())
	}
	for range bursts {
		if err := l.send(); err != nil {
			return sample{}, errors.Join(err, run.stop())
		}
		time.Sleep(burstGap)
	}
	time.Sleep(lastGap)
	if err := run.stop(); err != nil {
		return sample{}, err
	}
	unix.Sync()
	after, err := m.work()
	if err != nil {
		return sample{}, err
	}
	s.work, s.seconds = float64(after-before), time.Since(begin).Seconds()
	burst, err := l.sent()
	if err != nil {
		return sample{}, err
	}
	s.offered = burst * bursts
	s.captured, err = run.count()
	return s, err
}

// removed makes sure that nothing is left of a file, in memory or on its way to the disk.
func removed(file string) error {
	err := os.Remove(file)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	unix.Sync()
	return err
}
