// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// loaded is a capture of a device that a flood comes in on, from its first packet on.
func loaded(t testing.TB, file string, s floodSpec) (*capture, *flood, *genl.EventReader) {
	t.Helper()
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: &file})
	r := c.listen()
	c.Start()
	expect(t, r, genl.EventStarted)
	return c, startFlood(t, nil, "load0", s), r
}

// TestDiskFull fills a small file system.
func TestDiskFull(t *testing.T) {
	t.Run("ext4", func(t *testing.T) {
		d := newDisk(t, 4, "")
		testDiskFull(t, d.file("capture"))
		d.umount()
	})
	t.Run("tmpfs", func(t *testing.T) {
		dir := tmpfs(t, "200k")
		testDiskFull(t, filepath.Join(dir, "capture"))
		require.NoError(t, unix.Unmount(dir, 0))
	})
}

func testDiskFull(t *testing.T, file string) {
	c, load, events := loaded(t, file, floodSpec{Size: 1000})
	c.awaitFailure(events, failure{Errno: unix.ENOSPC})
	f := c.Read()
	assert.NotEmpty(t, f.Packets)
	assert.NotZero(t, c.Stats().DroppedWrite)
	c.checkLost(f)
	c.checkStopAfter(unix.ENOSPC)
	load.Stop()

	// start empties the file, so that there is room again
	c.Start()
	sendNumbered(t, nil, "load0", 10)
	checkAllNumbered(t, c.StopRead(), 10)
	c.checkNextStart("load0")
}

// TestFileSizeLimit has the process that starts the capture limit the size of its files.
func TestFileSizeLimit(t *testing.T) {
	const limit = 200_001
	d := newDisk(t, 16, "")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture"))})
	events := c.listen()
	fileLimit(t, limit, c.Start)
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{})
	c.awaitFailure(events, failure{Errno: unix.EFBIG})
	f := c.Read()
	reach := 100 // a record
	if c.Get().IOUsed == genl.IODirect {
		reach += os.Getpagesize()
	}
	assert.InDelta(t, limit, f.Size, float64(reach), "size of the file, in reach of the limit")
	assert.LessOrEqual(t, f.Size, int64(limit))
	assert.NotZero(t, c.Stats().DroppedWrite)
	c.checkLost(f)
	c.checkStopAfter(unix.EFBIG)
	d.umount()
	load.Stop()
	c.checkNextStart("load0")
}

// TestSyncError has the disk fail only when what was accepted for writing is to be kept. The journal is on a good disk,
// or the file system would become read-only as soon as its own commit failed, which can be before the flush.
func TestSyncError(t *testing.T) {
	throughPageCache(t)
	d := newDiskJournal(t, 16, "", newJournal(t))
	c, load, events := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	require.NoError(t, c.Client.Flush(c.ctx()))
	d.FailWrites()
	c.waitWritten(10)
	requireRefused(t, c.Client.Flush(c.ctx()), unix.EIO, "")
	c.awaitFailure(events, failure{Errno: unix.EIO, Unsynced: true})
	load.Stop()
	checkEquations(t, c.Stats())
	c.checkStopAfter(unix.EIO)
	d.Heal()
	d.umount()
	c.checkNextStart("load0")
}

// TestSyncErrorAtStop is the same at the end: stop itself has to say it.
func TestSyncErrorAtStop(t *testing.T) {
	throughPageCache(t)
	d := newDiskJournal(t, 16, "", newJournal(t))
	c, load, events := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	d.FailWrites()
	c.waitWritten(10)
	requireRefused(t, c.askToStop(), unix.EIO, "")
	c.awaitFailure(events, failure{Errno: unix.EIO, Unsynced: true})
	load.Stop()
	checkEquations(t, c.Stats())
	assert.NoError(t, c.Client.Stop(c.ctx()), "the error is told once")
	d.Heal()
	d.umount()
	c.checkNextStart("load0")
}

// TestWriteError has the disk fail while every write waits for it: what was not accepted may not be in the file. The
// journal is on a good disk, or the file system would not let the file be cut back.
func TestWriteError(t *testing.T) {
	d := newDiskJournal(t, 16, "sync", newJournal(t))
	c, load, events := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	d.FailWrites()
	e := expect(t, events, genl.EventFailed)
	assert.Equal(t, unix.EIO, e.Errno)
	assert.False(t, e.Torn)
	assert.NotZero(t, c.Stats().DroppedWrite)
	f := c.Read()
	assert.EqualValues(t, c.Get().FileSize, f.Size)
	c.checkLost(f)
	load.Stop()
	c.checkStopAfter(unix.EIO)
	d.Heal()
	d.umount()
	c.checkNextStart("load0")
}

// TestTorn has a record accepted in part, and the file made immutable before the rest of it can be cut off.
func TestTorn(t *testing.T) {
	throughPageCache(t)   // direct I/O stops at a page
	const limit = 100_001 // no multiple of four: not where a block ends
	d := newDisk(t, 16, "sync")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture"))})
	events := c.listen()
	fileLimit(t, limit, c.Start)
	expect(t, events, genl.EventStarted)
	c.Flush()
	// the writer takes what comes first, and is held up; the next time it takes all the rest
	thaw := d.Freeze()
	sendNumbered(t, nil, "load0", 3000)
	d.SlowDown(500)
	thaw()
	size := func() int64 {
		info, err := os.Stat(c.File)
		require.NoError(t, err)
		return info.Size()
	}
	eventually(t, "the file grows up to its limit", func() bool { return size() == limit })
	setImmutable(t, c.File, true)
	c.awaitFailure(events, failure{Errno: unix.EFBIG, Torn: true})
	d.Heal()
	assert.EqualValues(t, limit, size())
	c.checkLost(c.readTorn())
	setImmutable(t, c.File, false)
	c.checkStopAfter(unix.EFBIG)
	d.umount()
	c.checkNextStart("load0")
}

// setImmutable is chattr +i and -i.
func setImmutable(t testing.TB, path string, on bool) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	require.NoError(t, err)
	flags &^= immutable
	if on {
		flags |= immutable
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
}

// TestFrozen freezes the file system under a capture. It goes on, into a queue that is full soon.
func TestFrozen(t *testing.T) {
	d := newDisk(t, 32, "")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), QueueSize: ptr[uint64](1 << 20),
	})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{Rate: 10000})
	c.waitWritten(100)
	thaw := d.Freeze()
	eventually(t, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > 0 })
	frozen := c.Stats()
	eventually(t, "packets go on to be received", func() bool { return c.Stats().Received > frozen.Received+1000 })
	require.Equal(t, frozen.Written, c.Stats().Written, "written while frozen")
	thaw()
	c.waitWritten(1000)

	thaw = d.Freeze()
	eventually(t, "packets wait", func() bool { return c.Stats().Queued > 1000 })
	eventually(t, "the writer waits, and not as what hangs does", func() bool { return writerStates(t) == "I" })
	require.ErrorIs(t, c.answer("stop"), unix.EINPROGRESS)
	assert.Equal(t, genl.StateStopping, c.Get().State)
	assert.ErrorIs(t, c.answer("start"), unix.EINPROGRESS)
	assert.ErrorIs(t, c.Client.Set(c.ctx(), genl.Settings{Snaplen: ptr[uint32](99)}), unix.EBUSY)
	stopped := make(chan error, 1)
	go func() { stopped <- c.Client.Stop(guest.Context(t, time.Minute)) }()
	select {
	case err := <-stopped:
		t.Fatalf("stop ended before the thaw: %v", err)
	case <-time.After(3 * time.Second): // longer than the kernel waits
	}
	sent := load.Stop()
	thaw()
	require.NoError(t, <-stopped)
	c.Ended = time.Now()
	expect(t, events, genl.EventStopped)
	f := c.Read()
	c.CheckBooks(f)
	c.CheckTimes(f)
	last := checkNumbers(t, f.Packets, 0)
	assert.LessOrEqual(t, c.Stats().Received, sent)
	assert.Equal(t, c.Stats().Received-last, f.Statistics().OSDrop-f.Drops())
	d.umount()
	c.checkNextStart("load0")
}

// writerStates are the states of the workers that write just now, one letter each, as in ps.
func writerStates(t testing.TB) string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	states := ""
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil { // gone by now
			continue
		}
		// a worker tells in its name what it works for: "(kworker/u4:1+ksnif/4026531840) I"
		if _, rest, ok := strings.Cut(string(stat), "+ksnif/"); ok {
			_, rest, _ = strings.Cut(rest, ") ")
			states += rest[:1]
		}
	}
	return states
}

// TestFrozenFlush checks that a flush which cannot end yet says so, and holds up nobody.
func TestFrozenFlush(t *testing.T) {
	d := newDisk(t, 16, "")
	c, load, _ := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	thaw := d.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var unfinished *genl.UnfinishedError
	require.ErrorAs(t, c.Client.Flush(ctx), &unfinished)
	require.ErrorIs(t, c.answer("flush"), unix.EINPROGRESS)
	assert.Equal(t, genl.StateRunning, c.Get().State)
	seen := c.Stats().Received
	// who would start to write there is not kept waiting
	other := newCapture(t, guest.NewNamespace(t, "other"), genl.Settings{Logfile: ptr(d.file("other"))})
	requireRefused(t, other.Client.Start(other.ctx()), unix.EBUSY, "logfile: the file system is frozen")
	thaw()
	c.Flush()
	assert.GreaterOrEqual(t, c.Stats().Written, seen)
	load.Stop()
	checkNumbers(t, c.StopRead().Packets, 0)
	d.umount()
}

// TestCommandLimit has a restart keep other commands waiting for longer than they may: first for the old file's disk, then
// for the new one's.
func TestCommandLimit(t *testing.T) {
	letHang(t)
	first, second := newDisk(t, 16, ""), newDisk(t, 32, "")
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Symlink(first.Dir, dir))
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(filepath.Join(dir, "capture"))})
	c.Start()
	sendNumbered(t, nil, "load0", 10)
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.Symlink(second.Dir, dir))
	require.NoError(t, os.WriteFile(second.file("capture"), make([]byte, 300_000), 0o600))
	resume := second.hangWriting("capture")
	thaw := first.Freeze()
	restart, set := make(chan error, 1), make(chan error, 1)
	go func() { restart <- c.answer("restart") }()
	eventually(t, "the restart waits for the first disk", func() bool { return c.Get().State == genl.StateStopping })
	go func() { set <- c.answer("snaplen 99") }()
	time.Sleep(time.Second / 2) // a part of what the kernel waits for each disk
	thaw()
	assert.ErrorIs(t, <-set, unix.EINPROGRESS)
	assert.ErrorIs(t, <-restart, unix.EBUSY)
	resume()
	eventually(t, "the second disk has answered", func() bool { return c.answer("start") == nil })
	c.Stop()
	c.checkNextStart("load0")
	first.umount()
	second.umountSoon()
}

// TestFrozenUnload removes the module while the file system is frozen: it waits for the thaw, and nobody else does.
func TestFrozenUnload(t *testing.T) {
	d := newDisk(t, 16, "")
	c, load, _ := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	thaw := d.Freeze()
	eventually(t, "packets wait", func() bool { return c.Stats().Queued > 100 })
	removed := make(chan error, 1)
	go func() {
		_, err := guest.Try("rmmod", "ksnif")
		removed <- err
	}()
	eventually(t, "the module is going", func() bool {
		state, err := os.ReadFile("/sys/module/ksnif/initstate")
		return err == nil && string(state) == "going\n"
	})
	// namespaces come and go meanwhile
	guest.Run(t, "ip", "netns", "add", "meanwhile")
	guest.Run(t, "ip", "netns", "delete", "meanwhile")
	select {
	case err := <-removed:
		t.Fatalf("rmmod ended before the thaw: %v", err)
	case <-time.After(time.Second):
	}
	load.Stop()
	thaw()
	require.NoError(t, <-removed)
	checkClosed(t, c.Read())
	d.umount()
	guest.Load(t)
	again := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	again.checkNextStart("load0")
}

// checkClosed checks a file whose capture nobody can ask any more: it ends with its statistics, and these agree.
func checkClosed(t testing.TB, f *pcapread.File) {
	t.Helper()
	sum := f.Statistics()
	assert.EqualValues(t, len(f.Packets), sum.Delivered, "isb_usrdeliv = packets in the file")
	assert.Equal(t, sum.Received, sum.Delivered+sum.OSDrop, "isb_ifrecv = isb_usrdeliv + isb_osdrop")
	last := checkNumbers(t, f.Packets, 0)
	assert.Equal(t, sum.Received-last, sum.OSDrop-f.Drops())
	require.NotEmpty(t, f.Blocks)
	assert.EqualValues(t, pcapread.BlockStatistics, f.Blocks[len(f.Blocks)-1].Type, "last block")
}
