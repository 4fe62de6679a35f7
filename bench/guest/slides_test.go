// SPDX-License-Identifier: GPL-2.0

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/bench"
)

func TestContest(t *testing.T) {
	c := &contest{
		contender: contender{name: "tcpdump"},
		test:      bench.Test{Name: "1", Snaplen: 93, Size: 1496, Packets: 1000, Rate: 100},
		runs: []sample{
			{seconds: 10, offered: 1000, captured: 700}, {seconds: 10, offered: 899, captured: 899},
			{seconds: 10, offered: 900, captured: 600}, {seconds: 11, offered: 1000, captured: 1000},
		},
	}
	assert.Equal(t, []int{1}, c.robbed(), "more than a tenth below the best")

	row := c.sumUp(6400, 1280)
	assert.Equal(t, "tcpdump", row.Name())
	assert.Equal(t, []int{700, 899, 600, 1000}, row.Each)
	assert.Equal(t, 2, row.Whole)
	assert.Equal(t, (700+899)/2, row.Captured)
	assert.Equal(t, 510, row.Most, "(10 s of 6400 bytes, and 1280) / (96 + 32)")
	c.test.Packets = 500
	assert.Equal(t, 500, c.sumUp(6400, 1280).Most, "no more than there were")
}

func TestChoose(t *testing.T) {
	list := []contender{{name: "none"}, {name: "ksnif", queue: "list", io: "direct"}, {name: "tcpdump"}}
	got, err := choose(list, "tcpdump", "ksnif list direct")
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, "tcpdump", got[0].name)
	assert.Equal(t, "list", got[1].queue)
	_, err = choose(list, "ksnif ring direct")
	assert.ErrorContains(t, err, "ksnif ring direct is not among those")
}

func TestNumber(t *testing.T) {
	const info = "MemTotal:         500 kB\nSwapCached:  7 kB\nCached:            42 kB\n"
	assert.Equal(t, 500, number([]byte(info), "MemTotal:"))
	assert.Equal(t, 42, number([]byte(info), "\nCached:"))
	assert.Zero(t, number([]byte(info), "Slab:"))
	assert.Equal(t, 12, number([]byte(" 12\n"), ""))
}
