// SPDX-License-Identifier: GPL-2.0

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"ksnif/bench"
)

func TestSumUp(t *testing.T) {
	row := sumUp(bench.Row{Contender: "x", Snaplen: 96, PacketSize: 60}, []sample{
		{work: 1500, seconds: 3, offered: 10, captured: 10},
		{work: 1400, seconds: 1, offered: 10, captured: 5},
		{work: 1300, seconds: 2, offered: 10, captured: 10},
	}, 1000)
	assert.Equal(t, bench.Row{
		Contender: "x", Snaplen: 96, PacketSize: 60, Packets: 10, Offered: 10, Captured: 10,
		Instructions: 50, // of 50, 80 and 30
		Spread:       50, Seconds: 2, Repeats: 3,
	}, row)
	assert.Equal(t, 7.0, sumUp(bench.Row{}, []sample{{work: 17}}, 10).Instructions, "what captured nothing has a cost, too")
}
