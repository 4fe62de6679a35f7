// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two processors with 10 hooks each, of which one woke the writer. Line 0x10 is stored by both, 0x20 stored by one and
// loaded by the other, 0x30 only loaded by both, 0x40 stored by one, 0x50 by both, but only when they wake.
const seen = `section 3
cpu 0 hooks 10 woke 1 left out 2 lost 0
store 0 pc 0x1004 line 0x10 wakes 0 count 9
store 0 pc 0x1004 line 0x10 wakes 1 count 1
load 0 pc 0x1008 line 0x20 wakes 0 count 9
load 0 pc 0x1008 line 0x30 wakes 0 count 9
store 0 pc 0x1008 line 0x40 wakes 0 count 9
store 0 pc 0x1008 line 0x50 wakes 1 count 1
cpu 1 hooks 10 woke 0 left out 0 lost 0
store 1 pc 0x2000 line 0x10 wakes 0 count 20
store 1 pc 0x1008 line 0x20 wakes 0 count 10
load 1 pc 0x1008 line 0x30 wakes 0 count 10
store 1 pc 0x1008 line 0x50 wakes 1 count 1
end
`

const functions = `0000000000002000 T spin_lock
0000000000000500 D data
0000000000001000 t hook	[ksnif]
`

func readSeen(t *testing.T, text string) (map[int]*Lines, error) {
	t.Helper()
	return ReadLines(strings.NewReader(text), func(n int) (*Symbols, error) {
		assert.Equal(t, 3, n)
		return ReadSymbols(strings.NewReader(functions))
	})
}

func TestLines(t *testing.T) {
	all, err := readSeen(t, seen)
	require.NoError(t, err)
	l := all[3]
	require.NotNil(t, l)
	assert.Equal(t, []int{19, 1, 2, 2}, []int{l.Hooks, l.Woke, l.LeftOut, l.SharedLines})
	assert.InDelta(t, (9+9+20+10)/19.0, l.Stores, 1e-9)
	assert.InDelta(t, (9+9+10)/19.0, l.Loads, 1e-9)
	require.Len(t, l.SharedBy, 2)
	assert.Equal(t, "spin_lock", l.SharedBy[0].Function)
	assert.InDelta(t, 20/19.0, l.SharedBy[0].Stores, 1e-9)
	assert.Equal(t, "hook", l.SharedBy[1].Function)
	assert.InDelta(t, (9+10)/19.0, l.SharedBy[1].Stores, 1e-9)
	assert.InDelta(t, 39/19.0, l.Shared(), 1e-9)

	var b strings.Builder
	r := &Report{Part: "lines", Machine: Machine{Kernel: "6.1.0", CPUs: 2}, Rows: []Row{{Contender: "tcpdump", Lines: l}}}
	require.NoError(t, r.Table(&b))
	assert.Equal(t, `6.1.0, 2 CPUs, each with its own packets; what a packet's capture stores and loads, and how much of that
goes to lines that the other processor's hook stores to or loads

  packets  stores  loads  shared stores  shared lines  woke  left out  contender
       19     2.5    1.5          2.053             2     1         2  tcpdump
tcpdump: 1.053 in spin_lock
tcpdump: 1.000 in hook
`, b.String())
	files, err := r.Plot(t.TempDir())
	require.NoError(t, err)
	assert.Empty(t, files)
}

func TestReadLinesComplains(t *testing.T) {
	for text, complaint := range map[string]string{
		strings.TrimSuffix(seen, "end\n"):             "has no end",
		strings.Replace(seen, "lost 0", "lost 1", 1):  "were lost",
		strings.Replace(seen, "store 0", "what 0", 1): "what 0",
		"load 1 pc 0x1 line 0x2 wakes 0 count 1\n":    "before a section",
		"section 3\nsection 4\n":                      "not where a section begins",
	} {
		_, err := readSeen(t, text)
		assert.ErrorContains(t, err, complaint)
	}
}

func TestSymbols(t *testing.T) {
	s, err := ReadSymbols(strings.NewReader(functions))
	require.NoError(t, err)
	for addr, name := range map[uint64]string{0x1000: "hook", 0x1fff: "hook", 0x2000: "spin_lock", 0x2100: "spin_lock", 0x10: "0x10"} {
		assert.Equal(t, name, s.Name(addr))
	}
}
