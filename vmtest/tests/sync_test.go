// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
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

// quietJournal mounts a file system that writes by itself so seldom that no test sees it, and leaves its inode tables alone.
const quietJournal = "noatime,commit=3600,noinit_itable"

// flushes counts the requests to flush its cache that the disk has answered: an fsync makes at least one.
func (d *disk) flushes() uint64 {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.loop), "stat"))
	require.NoError(d.t, err)
	const flushIOs = 15 // Documentation/block/stat.rst
	fields := strings.Fields(string(b))
	require.Greater(d.t, len(fields), flushIOs)
	n, err := strconv.ParseUint(fields[flushIOs], 10, 64)
	require.NoError(d.t, err)
	return n
}

// quietWriteback keeps the kernel from writing pages back before somebody asks it to.
func quietWriteback(t testing.TB) {
	t.Helper()
	for _, name := range []string{"dirty_expire_centisecs", "dirty_writeback_centisecs"} {
		guest.Tune(t, "/proc/sys/vm/"+name, "360000")
	}
}

// syncing is a running capture to a disk that nobody but it makes flush its cache.
func syncing(t *testing.T, interval uint32) (*disk, *capture) {
	t.Helper()
	quietWriteback(t)
	d := newDisk(t, 16, quietJournal)
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), SyncInterval: &interval,
	})
	unix.Sync()
	c.Start()
	return d, c
}

// settled is how many flushes there were when those of one fsync are over: it may make several, one right behind another.
func (d *disk) settled() uint64 {
	d.t.Helper()
	for n := d.flushes(); ; {
		time.Sleep(500 * time.Millisecond)
		now := d.flushes()
		if now == n {
			return n
		}
		n = now
	}
}

// quiet checks that the disk flushes nothing for several intervals of a second.
func (d *disk) quiet(why string) {
	d.t.Helper()
	before := d.settled()
	time.Sleep(3500 * time.Millisecond)
	assert.Equal(d.t, before, d.flushes(), "flushes %s", why)
}

// TestSyncInterval counts the flushes of a disk: one follows each burst of packets, none comes while nothing is
// written, and what came before it survives a power cut without a flush command.
func TestSyncInterval(t *testing.T) {
	const burst = 100
	d, c := syncing(t, 1)
	f := d.flushes()
	next := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return d.flushes() > f })
		d.quiet("behind " + what)
		f = d.flushes()
	}
	next("the fsync of the file's header")
	for range 3 {
		sendNumbered(t, nil, "load0", burst)
		began := time.Now()
		eventually(t, "a burst is written", func() bool { return c.Stats().Queued == 0 })
		eventually(t, "an fsync", func() bool { return d.flushes() > f })
		assert.Less(t, time.Since(began), guest.Limit(2*time.Second), "sync_interval and a second")
		next("the fsync of a burst")
	}
	assert.EqualValues(t, 3*burst, c.Stats().Written)
	d.Unplug()
	c.Stop()
	d.umount()
	d.Heal()
	d.mount(quietJournal)
	file, err := pcapread.Read(c.File)
	if err != nil {
		require.ErrorAs(t, err, new(*pcapread.TornError)) // behind what was synced, anything may be
	}
	require.GreaterOrEqual(t, len(file.Packets), 3*burst, "packets on disk")
	checkSessions(t, file.Packets[:3*burst])
	d.umount()
}

// TestSyncIntervalBusy has packets come all the time: the interval runs from the first unsynced one, not from the last.
func TestSyncIntervalBusy(t *testing.T) {
	d, c := syncing(t, 1)
	load := startFlood(t, nil, "load0", floodSpec{Rate: 500})
	for i := range 3 {
		before := d.flushes()
		eventually(t, "fsync "+strconv.Itoa(i)+" under load", func() bool { return d.flushes() > before })
	}
	assert.Equal(t, genl.StateRunning, c.Get().State)
	load.Stop()
	checkNumbers(t, c.StopRead().Packets, 0)
	d.umount()
}

// TestSyncIntervalNone is the default: nothing is synced before flush or stop.
func TestSyncIntervalNone(t *testing.T) {
	d, c := syncing(t, 0)
	sendNumbered(t, nil, "load0", 100)
	eventually(t, "the packets are written", func() bool { return c.Stats().Written == 100 })
	d.quiet("without an interval")
	before := d.flushes()
	c.Flush()
	assert.Greater(t, d.flushes(), before, "flushes of a flush command")
	checkAllNumbered(t, c.StopRead(), 100)
	d.umount()
}

// TestSyncIntervalError has the disk fail between two fsyncs. Nobody asks for the second one.
func TestSyncIntervalError(t *testing.T) {
	throughPageCache(t)
	d := newDisk(t, 16, "")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), SyncInterval: ptr(uint32(1)),
	})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{Rate: 2000})
	c.waitWritten(10)
	d.FailWrites()
	c.awaitFailure(events, failure{Errno: unix.EIO, Unsynced: true})
	load.Stop()
	checkEquations(t, c.Stats())
	c.checkStopAfter(unix.EIO)
	d.Heal()
	d.umount()
	c.Set(genl.Settings{SyncInterval: ptr(uint32(0))})
	c.checkNextStart("load0")
}

// TestSyncIntervalDiscard has no file to sync, and an interval that has to fire for nothing.
func TestSyncIntervalDiscard(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), IO: ptr(genl.IODiscard), SyncInterval: ptr(uint32(1))})
	c.Start()
	sendNumbered(t, nil, "load0", 100)
	eventually(t, "all are discarded", func() bool { return c.Stats().Discarded == 100 })
	time.Sleep(1500 * time.Millisecond)
	assert.Equal(t, genl.StateRunning, c.Get().State)
	c.Stop()
	assert.EqualValues(t, 100, c.Stats().Discarded)
	assert.NoFileExists(t, c.File)
}

// onSeparateJournal starts a capture, and sends it 20 packets, on a disk that has its journal on another one, so that the
// file system itself goes on when the disk does not.
func onSeparateJournal(t *testing.T) (*disk, *capture, *genl.EventReader) {
	t.Helper()
	d := newDiskJournal(t, 16, "", newJournal(t))
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture"))})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	sendNumbered(t, nil, "load0", 20)
	return d, c, events
}

// TestRestartTellsError has the stop of a restart fail after the restart has given up to wait for it: whoever asks again is
// told, and the file is still there.
func TestRestartTellsError(t *testing.T) {
	d, c, events := onSeparateJournal(t)
	c.Flush()
	d.sync()
	sendNumbered(t, nil, "load0", 20)
	letHang(t)
	d.Hang()
	require.ErrorIs(t, c.answer("restart"), unix.EINPROGRESS)
	require.ErrorIs(t, c.answer("restart"), unix.EINPROGRESS)
	d.dm("load", d.name, "--table", d.failing())
	d.Resume()
	expect(t, events, genl.EventFailed)
	require.ErrorIs(t, c.answer("restart"), unix.EIO)
	d.Heal()
	f, err := pcapread.ReadPrefix(c.File, 64)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(f.Packets), 20)
	require.NoError(t, c.answer("restart"), "told once")
	expect(t, events, genl.EventStarted)
	sendNumbered(t, nil, "load0", 10)
	require.EqualValues(t, 10, checkNumbers(t, c.StopRead().Packets, 0))
	d.umount()
}

// TestFlushSlowDisk asks for a flush while the disk takes longer for one than a command waits, and packets go on to
// come: it is answered for those that were there when it was asked for.
func TestFlushSlowDisk(t *testing.T) {
	d := newDisk(t, 16, "")
	c, load, _ := loaded(t, d.file("capture"), floodSpec{Rate: 200})
	c.waitWritten(10)
	const slow = 2500 * time.Millisecond
	d.SlowDown(int(slow.Milliseconds()))
	seen, begin := c.Stats().Received, time.Now()
	c.Flush()
	assert.GreaterOrEqual(t, time.Since(begin), slow, "done before the disk is")
	assert.GreaterOrEqual(t, c.Stats().Written, seen)
	status := c.Get()
	assert.NotZero(t, status.FlushWanted)
	assert.Equal(t, status.FlushWanted, status.FlushDone, "nobody asks for more than one flush")
	d.Heal()
	seen = c.Stats().Received
	c.Flush()
	assert.GreaterOrEqual(t, c.Stats().Written, seen, "another question")
	load.Stop()
	checkNumbers(t, c.StopRead().Packets, 0)
	d.umount()
}

// TestAllAreToldError has a flush and two stops wait for a disk that hangs and then fails. Each was asked for while the
// capture ran, and is told, however often the module itself has told it before.
func TestAllAreToldError(t *testing.T) {
	d, c, events := onSeparateJournal(t)
	letHang(t)
	d.Hang()
	commands := []func(*genl.Client, context.Context) error{(*genl.Client).Flush, (*genl.Client).Stop, (*genl.Client).Stop}
	answers := make(chan error, len(commands))
	ctx := c.ctx()
	for _, command := range commands {
		client, err := genl.New()
		require.NoError(t, err)
		defer client.Close()
		go func() { answers <- command(client, ctx) }()
	}
	select {
	case err := <-answers:
		t.Fatalf("answered while the disk hangs: %v", err)
	case <-time.After(3 * time.Second): // longer than the kernel waits
	}
	d.dm("load", d.name, "--table", d.failing())
	d.Resume()
	expect(t, events, genl.EventFailed)
	for range commands {
		requireRefused(t, <-answers, unix.EIO, textCutShort)
	}
	assert.Equal(t, unix.EIO, c.Get().Errno)
	d.Heal()
	d.umount()
}
