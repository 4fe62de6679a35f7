// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"

	"ksnif/bench"
)

// choose takes those contenders by their names, in that order.
func choose(list []contender, names ...string) ([]contender, error) {
	var chosen []contender
	for _, name := range names {
		n := len(chosen)
		for _, c := range list {
			if row := c.row(0, 0); row.Name() == name {
				chosen = append(chosen, c)
			}
		}
		if len(chosen) != n+1 {
			return nil, fmt.Errorf("%s is not among those that are compared: is its module there?", name)
		}
	}
	return chosen, nil
}

// row is what is known of a contender before it is measured.
func (c contender) row(snaplen, size int) bench.Row {
	return bench.Row{Contender: c.name, Queue: c.queue, IO: c.io, Snaplen: snaplen, PacketSize: size}
}
