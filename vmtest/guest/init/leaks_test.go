// SPDX-License-Identifier: GPL-2.0

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"ksnif/vmtest/proto"
)

// What kmemleak reports on 6.1, and on 6.12, which tells no age.
const leakReport = `unreferenced object 0xffff888008f4d700 (size 256):
  comm "swapper/0", pid 1, jiffies 4294893000 (age 28.412s)
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace:
    [<00000000d9a4b4a1>] early+0x1/0x2
unreferenced object 0xffff888008f4d800 (size 200):
  comm "tests", pid 107, jiffies 4294897100 (age 8.412s)
  backtrace:
    [<00000000d9a4b4a1>] 0xffffffffc0105123
unreferenced object 0xffff888008f4d900 (size 200):
  comm "tests", pid 107, jiffies 4294897101
  backtrace (crc 0):
    [<00000000d9a4b4a1>] 0xffffffffc0105123
unreferenced object 0xffff888008f4da00 (size 64):
  comm "kworker/0:1", pid 12, jiffies 4294897200
  backtrace (crc 0):
    kmalloc+0x1/0x2
unreferenced object 0xffff888008f4db00 (size 64):
  what is not understood is not left out
`

func TestLeaks(t *testing.T) {
	h := &leakHunt{born: 4294895000, sections: ".text=0xffffffffc0105000", spans: []span{{"TestA", 4294895100, 4294897000}, {"TestB", 4294897100, 4294897150}}}
	leaks := parseLeaks(leakReport)
	assert.Len(t, leaks, 5)
	got := h.problems(leaks)
	if !assert.Len(t, got, 2) {
		return
	}
	assert.Equal(t, proto.KindProblem, got[0].Kind)
	assert.Equal(t, "TestB", got[0].Test)
	assert.Equal(t, "leaked: unreferenced object 0xffff888008f4d800 (size 200):", got[0].Problems[0].Text)
	assert.Equal(t, "ksnif was at .text=0xffffffffc0105000\n"+leaks[1].text+"\n"+leaks[2].text, got[0].Problems[0].More)
	assert.Empty(t, got[1].Test, "no test ran at that time")
	assert.Contains(t, got[1].Problems[0].More, "kmalloc")
	assert.Contains(t, got[1].Problems[0].More, "not left out")
}

func TestNoLeaks(t *testing.T) {
	assert.Empty(t, (&leakHunt{}).problems(parseLeaks("")))
}
