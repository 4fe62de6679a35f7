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
			thaw := c.fillQueue(d, packet)
			used := queueMemory(t) - before
			thaw()
			c.CheckBooks(c.StopRead())
			assert.LessOrEqual(t, used, size+slack, "bytes")
			assert.Greater(t, used, size-size/10, "bytes")
		})
	}
}

// TestTortureQueueInPieces fills a list, twice, with records for MTU 1500 while the kernel finds no pages side by side. Two
// of them take a page then, and all pages are no more than queue_size.
func TestTortureQueueInPieces(t *testing.T) {
	guest.NeedsFaults(t)
	if guest.Config() == "ring" {
		t.Skip("needs the list queue: a ring takes no memory in the hook")
	}
	const (
		cache = "/sys/kernel/slab/ksnif_record-1624"
		size  = 8 << 20
		slack = 512 << 10 // detectors keep what is freed
	)
	quietDummy(t, nil, "load0")
	d := newDisk(t, 64, "")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), QueueSize: ptr[uint64](size),
	})
	c.Start()
	require.Equal(t, 2, os.Getpagesize()/slabNumber(t, cache, "slab_size"), "records in a page")
	fault := guest.NewFault(t, "fail_page_alloc")
	fault.Within(guest.Symbol(t, "hook_pcapng"))
	fault.Arm(100, -1) // of two pages or more
	for range 2 {
		shrinkCaches(t)
		before := slabNumber(t, cache, "slabs")
		thaw := c.fillQueue(d, 1496)
		pages := slabNumber(t, cache, "slabs") - before
		thaw()
		eventually(t, "the queue is empty", func() bool { return c.Stats().Queued == 0 })
		assert.LessOrEqual(t, pages*os.Getpagesize(), size+slack, "bytes")
		assert.Greater(t, pages*os.Getpagesize(), size-size/10, "bytes")
	}
	fault.Disarm()
	c.CheckBooks(c.StopRead())
	assert.Zero(t, c.Stats().DroppedNoMemory, "there are single pages")
}

// fillQueue freezes the disk and fills the queue, with packets of that size.
func (c *capture) fillQueue(d *disk, size int) (thaw func()) {
	c.T.Helper()
	full := c.Stats().DroppedQueueFull
	thaw = d.Freeze()
	load := startFlood(c.T, nil, "load0", floodSpec{Size: size})
	eventually(c.T, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > full })
	load.Stop()
	return thaw
}

// slabNumber reads a number that the kernel has of a slab cache.
func slabNumber(t testing.TB, cache, name string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cache, name))
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &n)
	require.NoError(t, err)
	return n
}

// queueMemory is what records of lists, or rings, take: all slabs of their caches, without what the kernel's debugging adds
// to each; and the pages that rings map twice.
func queueMemory(t testing.TB) (bytes int) {
	t.Helper()
	caches, err := filepath.Glob("/sys/kernel/slab/ksnif_record-*")
	require.NoError(t, err)
	for _, cache := range caches {
		const freePointer = 8
		plain := slabNumber(t, cache, "object_size") + freePointer
		slab := os.Getpagesize() << slabNumber(t, cache, "order")
		bytes += slabNumber(t, cache, "slabs") * slab * plain / slabNumber(t, cache, "slab_size")
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
