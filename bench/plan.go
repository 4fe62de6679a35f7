// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"strings"
)

// Files by which host and guest speak to each other: the first below /in, the second below /out.
const (
	PlanFile = "plan.json"
	RowsFile = "rows.json"
)

// Plan says what the guest is to measure.
type Plan struct {
	Part     string
	BufferKB int   // each contender's memory for packets that wait to be written
	Sizes    []int // of packets; 0 is IMIX
	Snaplens []int // 0 is the whole packet
	Burst    int   // packets sent in one go; half of BufferKB holds them
	Bursts   int
	Repeats  int
}

// Parts are what can be measured.
func Parts() []string { return []string{"cost"} }

// PlanOf is the plan of a part.
func PlanOf(part string) (Plan, error) {
	if part != "cost" {
		return Plan{}, fmt.Errorf("PART=%s: must be one of: %s", part, strings.Join(Parts(), ", "))
	}
	return Plan{
		Part: part, BufferKB: 16 << 10, Sizes: []int{60, 576, 1496, 0}, Snaplens: []int{96, 1500, 0},
		Burst: 4096, Bursts: 50, Repeats: 5,
	}, nil
}
