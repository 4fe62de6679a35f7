// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"runtime/debug"

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
	l := load{size: plan.Sizes[0], burst: plan.Burst, streams: 1}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	list, err := choose(contenders(plan.BufferKB, loadDevice), "none", "copying hook", "ksnif list buffered",
		"ksnif ring buffered", "ksnif ring direct", "tcpdump")
	if err != nil {
		return nil, err
	}
	var rows []bench.Row
	for _, count := range plan.Counts {
		fmt.Printf("%d packets\n", count)
		some, err := inTurns(m, list, l, count/plan.Burst, plan.Snaplens[0], plan.Repeats)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}
