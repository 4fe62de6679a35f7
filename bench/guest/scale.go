// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"runtime/debug"
	"slices"

	"ksnif/bench"
)

// scale measures some contenders with more and more packets.
func scale(plan bench.Plan) ([]bench.Row, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m, err := newMeter()
	if err != nil {
		return nil, err
	}
	defer m.close()
	l := load{size: plan.Sizes[0], burst: plan.Burst}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	snaplen := plan.Snaplens[0]
	list := slices.DeleteFunc(contenders(plan.BufferKB), func(c contender) bool { return c.name != "none" && !inSlides(c) })
	var rows []bench.Row
	for _, count := range plan.Counts {
		fmt.Printf("%d packets\n", count)
		samples := make([][]sample, len(list))
		for repeat := range plan.Repeats {
			for i, c := range list {
				row := c.row(snaplen, l.size)
				fmt.Printf(" %d packets, %d of %d: %s\n", count, repeat+1, plan.Repeats, row.Name())
				s, err := measure(m, c, l, count/plan.Burst, snaplen)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", row.Name(), err)
				}
				samples[i] = append(samples[i], s)
			}
		}
		floor := medianOf(samples[0], func(s sample) float64 { return s.work })
		for i, c := range list[1:] {
			rows = append(rows, sumUp(c.row(snaplen, l.size), samples[i+1], floor))
		}
	}
	return rows, nil
}
