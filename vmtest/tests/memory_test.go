// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// TestMemoryAfterStop asks the kernel which large memory ksnif has: none once a capture is over, which may be so for long.
func TestMemoryAfterStop(t *testing.T) {
	quietDummy(t, nil, "load0")
	areas := func() int {
		text, err := os.ReadFile("/proc/vmallocinfo")
		require.NoError(t, err)
		return strings.Count(string(text), "[ksnif]")
	}
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	require.Zero(t, areas(), "before the first start")
	c.Start()
	sendNumbered(t, nil, "load0", 10)
	require.NotZero(t, areas(), "while it runs")
	require.Len(t, c.StopRead().Packets, 10)
	require.Zero(t, areas(), "after the stop")
	assert.EqualValues(t, 10, c.Stats().Written, "the books stay")
}

// TestQueueMemory fills the queue while the file system is frozen, with packets for each kind of record that the list has,
// and asks the allocators what they gave for it: no more than queue_size, and nearly that.
func TestQueueMemory(t *testing.T) {
	size, slack := 32<<20, 128<<10 // memory of each processor that is begun
	if guest.Debug() {
		// slow, and detectors make records larger, so that others fit into a page, and keep what is freed
		size, slack = 4<<20, 512<<10
	}
	quietDummy(t, nil, "load0")
	for _, packet := range []int{60, 576, 900, 1496} {
		t.Run(fmt.Sprint(packet), func(t *testing.T) {
			d := newDisk(t, 64, "")
			c := newCapture(t, nil, genl.Settings{
				DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), QueueSize: ptr(uint64(size)),
			})
			shrinkCaches(t)
			before := queueMemory(t)
			c.Start()
			thaw := d.Freeze()
			load := startFlood(t, nil, "load0", floodSpec{Size: packet})
			eventually(t, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > 0 })
			load.Stop()
			used := queueMemory(t) - before
			thaw()
			c.CheckBooks(c.StopRead())
			assert.LessOrEqual(t, used, size+slack, "bytes")
			assert.Greater(t, used, size-size/10, "bytes")
		})
	}
}

// queueMemory is what records of lists, or rings, take: all slabs of their caches, without what the kernel's debugging adds
// to each; and the pages that rings map twice.
func queueMemory(t testing.TB) (bytes int) {
	t.Helper()
	caches, err := filepath.Glob("/sys/kernel/slab/ksnif_record-*")
	require.NoError(t, err)
	for _, cache := range caches {
		read := func(name string) (n int) {
			text, err := os.ReadFile(filepath.Join(cache, name))
			require.NoError(t, err)
			_, err = fmt.Sscan(string(text), &n)
			require.NoError(t, err)
			return n
		}
		const freePointer = 8
		plain := read("object_size") + freePointer
		bytes += read("slabs") * (os.Getpagesize() << read("order")) * plain / read("slab_size")
	}
	areas, err := os.Open("/proc/vmallocinfo")
	require.NoError(t, err)
	defer areas.Close()
	for s := bufio.NewScanner(areas); s.Scan(); {
		// 0xffffc9000050d000-0xffffc9000070e000 2101248 ksnif_queue_alloc+0x1a2/0x250 [ksnif] vmap
		f := strings.Fields(s.Text())
		if len(f) < 5 || f[3] != "[ksnif]" || f[4] != "vmap" {
			continue
		}
		var area int
		_, err := fmt.Sscan(f[1], &area)
		require.NoError(t, err)
		bytes += (area - os.Getpagesize()) / 2 // a guard page
	}
	return bytes
}
