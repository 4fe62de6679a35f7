// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"ksnif/bench"
)

// cpus floods one, two and more processors, each with its own packets, while each contender captures.
func cpus(plan bench.Plan) ([]bench.Row, error) {
	list, err := choose(contenders(plan.BufferKB, loadDevice), "none", "ksnif list discard", "ksnif ring discard",
		"ksnif list buffered", "ksnif ring buffered", "ksnif ring direct", "tcpdump")
	if err != nil {
		return nil, err
	}
	var rows []bench.Row
	for _, n := range plan.Streams {
		l := load{size: plan.Sizes[0], streams: n}
		if l.burst, err = calibrated(l, plan.Time); err != nil {
			return nil, err
		}
		samples := make([][]sample, len(list))
		for repeat := range plan.Repeats {
			for i, c := range list {
				row := c.row(plan.Snaplens[0], l.size)
				fmt.Printf(" %d CPUs, %d of %d: %s\n", n, repeat+1, plan.Repeats, row.Name())
				s, err := captureLoad(c, l, plan.Snaplens[0], l.send)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", row.Name(), err)
				}
				took, err := l.took()
				if err != nil {
					return nil, err
				}
				s.seconds = took.Seconds()
				samples[i] = append(samples[i], s)
			}
		}
		for i, c := range list {
			row := sumUp(c.row(plan.Snaplens[0], l.size), samples[i], 0)
			row.CPUs = n
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// calibrated is how many packets a processor receives in a time while nobody captures.
func calibrated(l load, t time.Duration) (int, error) {
	for l.burst = 20_000; ; l.burst *= 4 {
		if err := errors.Join(l.prepare(), l.send()); err != nil {
			return 0, err
		}
		took, err := l.took()
		if err != nil {
			return 0, err
		}
		if took > t/8 {
			return int(float64(l.burst) * t.Seconds() / took.Seconds()), nil
		}
	}
}
