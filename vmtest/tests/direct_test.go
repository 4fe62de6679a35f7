// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// resident counts the pages of a file that are in the page cache.
func resident(t *testing.T, file string) int {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	require.NotZero(t, info.Size())
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(mapped)) }()
	pages := make([]byte, (len(mapped)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)),
		uintptr(unsafe.Pointer(&pages[0])))
	require.Zero(t, errno)
	n := 0
	for _, page := range pages {
		n += int(page & 1)
	}
	return n
}

// captureMixed captures packets of many sizes and returns the file.
func captureMixed(t *testing.T, io genl.IO) *pcapread.File {
	t.Helper()
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), IO: ptr(io), QueueSize: ptr(uint64(64 << 20))})
	c.Start()
	for _, size := range []int{60, 61, 1496, 577, 9000, 62} {
		startFlood(t, nil, "load0", floodSpec{Size: size, Count: guest.Count(2000)}).Wait()
	}
	require.Equal(t, io, c.Get().IOUsed)
	return c.StopRead()
}

// TestDirectSamePackets captures the same packets through the page cache and past it.
func TestDirectSamePackets(t *testing.T) {
	quietDummy(t, nil, "load0")
	guest.Run(t, "ip", "link", "set", "load0", "mtu", "9000")
	buffered, direct := captureMixed(t, genl.IOBuffered), captureMixed(t, genl.IODirect)
	require.Len(t, direct.Packets, len(buffered.Packets))
	require.Len(t, direct.Packets, 6*guest.Count(2000))
	for i, want := range buffered.Packets {
		got := direct.Packets[i]
		// pktgen puts the time into its packets, behind their number
		const header, stamp = 14 + 20 + 8 + 8, 8
		require.Equal(t, want.Data[:header], got.Data[:header], "packet %d", i)
		require.Equal(t, want.Data[min(header+stamp, len(want.Data)):], got.Data[min(header+stamp, len(got.Data)):], "packet %d", i)
		require.Equal(t, want.Length, got.Length, "packet %d", i)
	}
}

// TestDirect looks at what is different past the page cache: nothing of the file is in there, after a flush it is whole
// pages with no packet missing, and after the stop there is neither padding behind the last block nor room kept for more.
func TestDirect(t *testing.T) {
	d := newDisk(t, 64, "")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), IO: ptr(genl.IODirect)})
	c.Start()
	page := int64(os.Getpagesize())
	for flush := range 3 {
		sendNumbered(t, nil, "load0", 1000)
		c.Flush()
		assert.Zero(t, resident(t, c.File), "pages in the page cache after flush %d", flush)
		info, err := os.Stat(c.File)
		require.NoError(t, err)
		assert.Zero(t, info.Size()%page, "the size after flush %d is not whole pages", flush)
	}
	require.Len(t, c.Read().Packets, 3000, "packets after the last flush, padding behind them")
	seen := guest.Run(t, "sh", "-c", "tcpdump -nr "+c.File+" 2>/dev/null | wc -l")
	require.Equal(t, "3000", strings.TrimSpace(seen), "packets that tcpdump sees between the padding")
	assert.Equal(t, genl.IODirect, c.Get().IOUsed)
	c.Stop()
	f := c.Read()
	c.CheckBooks(f)
	require.Len(t, f.Packets, 3000)
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(c.File, &stat))
	assert.LessOrEqual(t, stat.Blocks*512, (stat.Size+page-1)/page*page, "room that the file keeps")
	d.umount()
}

// TestDirectRefused starts on a file system that has nothing but the page cache, and in the format that has no padding.
func TestDirectRefused(t *testing.T) {
	dir := t.TempDir()
	guest.Run(t, "mount", "-t", "ramfs", "ramfs", dir)
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, 0)) })
	quietDummy(t, nil, "load0")
	direct, auto := ptr(genl.IODirect), ptr(genl.IOAuto)
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(filepath.Join(dir, "capture")), IO: direct})

	const cannot = "io: the file system cannot do direct I/O: set io auto or buffered"
	requireRefused(t, c.Client.Start(c.ctx()), unix.EINVAL, cannot)
	captured := func(s genl.Settings, used genl.IO) {
		t.Helper()
		c.Set(s)
		c.Start()
		sendNumbered(t, nil, "load0", 10)
		assert.Equal(t, used, c.Get().IOUsed)
		require.Len(t, c.StopRead().Packets, 10)
	}
	captured(genl.Settings{IO: auto}, genl.IOBuffered)

	c.File = filepath.Join(outDir(t), "capture")
	c.Set(genl.Settings{Logfile: &c.File, IO: direct, Format: ptr(genl.FormatPcap)})
	requireRefused(t, c.Client.Start(c.ctx()), unix.EINVAL, "format: pcap cannot be written with io direct: set io auto")
	captured(genl.Settings{IO: auto}, genl.IOBuffered)
	captured(genl.Settings{Format: ptr(genl.FormatPcapng)}, genl.IODirect)
}
