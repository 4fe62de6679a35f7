// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// site is a place for a capture file where something goes wrong.
type site struct {
	Dir    string
	Begin  func()                 // the trouble; nil if writing itself makes it
	Heal   func()                 // ends it, with the file system mounted; nil if starting anew does
	Start  func(c *capture) error // how to start there; nil is as ever
	Freeze func() (thaw func())   // nil if the file system knows no freeze
	Umount func()                 // has to succeed at once
}

// trouble is a kind of site, and how a capture there has to end.
type trouble struct {
	name  string
	site  func(t *testing.T) *site
	errno []unix.Errno // one of these
	// what was accepted may be lost, and only a sync tells
	unsynced bool
	// what direct I/O has allocated ahead is room still: 16 MB
	ahead bool
}

func troubles() []trouble {
	return []trouble{
		{name: "full tmpfs", site: tmpfsSite, errno: []unix.Errno{unix.ENOSPC}},
		{name: "full ext4", site: fullExt4, errno: []unix.Errno{unix.ENOSPC}},
		{name: "quota", site: quotaXFS, errno: []unix.Errno{unix.EDQUOT}, ahead: true},
		{name: "RLIMIT_FSIZE", site: fileLimited, errno: []unix.Errno{unix.EFBIG}},
		{name: "dm-flakey error_writes", site: flakey, errno: []unix.Errno{unix.EIO}, unsynced: true},
		{name: "dm-error", site: dmError, errno: []unix.Errno{unix.EIO, unix.EROFS}, unsynced: true},
		{name: "disk removed", site: removed, errno: []unix.Errno{unix.EIO, unix.EROFS, unix.ENXIO, unix.ENODEV}, unsynced: true},
	}
}

// TestTortureStorage has writing fail in every way, while a capture runs and at its stop. What is in the file is whole
// and what the books say, everything else is counted, and the capture starts again. Each case takes both formats, in
// the normal size on a debug kernel one of them: in turn, and the other one at stop.
func TestTortureStorage(t *testing.T) {
	formats := []genl.Format{genl.FormatPcapng, genl.FormatPcap}
	for i, tr := range troubles() {
		for j, format := range formats {
			for k, when := range []string{" running ", " at stop "} {
				if guest.Debug() && !guest.Long() && (i+j+k)%len(formats) != 0 {
					continue
				}
				t.Run(tr.name+when+format.String(), func(t *testing.T) { tr.test(t, format, k == 1) })
			}
		}
	}
}

func (tr *trouble) test(t *testing.T, format genl.Format, atStop bool) {
	s := tr.site(t)
	quietDummy(t, nil, "load0")
	settings := genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(filepath.Join(s.Dir, "capture")), Format: &format}
	rate := 500
	if tr.ahead && atStop {
		settings.IO = ptr(genl.IOBuffered)
	} else if tr.ahead {
		rate *= 10
	}
	c := newCapture(t, nil, settings)
	events := c.listen()
	if s.Start == nil {
		s.Start = func(c *capture) error { return c.Client.Start(c.ctx()) }
	}
	require.NoError(t, s.Start(c))
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{Size: 1000, Rate: rate})
	c.waitWritten(20)
	flushed := c.Stats().Captured
	c.Flush()

	if s.Begin != nil {
		s.Begin()
	}
	var err error
	if atStop {
		err = tr.stop(c, s)
	} else {
		err = tr.run(c)
	}
	event := expect(t, events, genl.EventFailed)
	load.Stop()
	assert.Equal(t, genl.StateFailed, event.State)
	assert.Contains(t, tr.errno, event.Errno)
	assert.False(t, event.Torn && !tr.unsynced, "torn, and the disk would have taken the cut")
	assert.Equal(t, tr.unsynced, event.Unsynced)
	assert.Equal(t, failureOf(&event.Capture), failureOf(c.Get()))
	if err != nil {
		requireRefused(t, err, event.Errno, "")
	}
	books := c.Stats()
	checkEquations(t, books)
	if !tr.unsynced {
		assert.NotZero(t, books.DroppedWrite)
		c.checkLost(c.Read())
	}
	tr.checkStop(c, event.Errno, atStop)
	assert.Equal(t, books, c.Stats(), "counters after stop")
	tr.again(c, s, int(flushed), int(books.Written))
}

// run waits for the failure of a running capture, and returns what a flush said of it, if it takes one.
func (tr *trouble) run(c *capture) error {
	if !tr.unsynced {
		return nil // the next write tells
	}
	c.waitTrouble()
	err := c.Client.Flush(c.ctx())
	require.Error(c.T, err)
	if errors.Is(err, unix.ENOTCONN) {
		return nil // it had failed before
	}
	return err
}

// waitTrouble waits for packets that the disk does not take, or the failure. They are more than a page, which a full file
// system may still have.
func (c *capture) waitTrouble() {
	c.T.Helper()
	received := c.Stats().Received + 10
	eventually(c.T, "packets that the disk does not take, or the failure", func() bool {
		return c.Stats().Received >= received || c.Get().State != genl.StateRunning
	})
}

// stop has the capture find out only when it is being stopped, as far as the file system can be made to wait. Where it
// cannot, the capture may find out before, and then the stop tells.
func (tr *trouble) stop(c *capture, s *site) error {
	if s.Freeze == nil || tr.unsynced {
		c.waitTrouble()
		return c.askToStop()
	}
	thaw := s.Freeze()
	// more than there is room for
	eventually(c.T, "packets wait", func() bool { return c.Stats().Queued > roomLeft()/900 })
	require.ErrorIs(c.T, c.answer("stop"), unix.EINPROGRESS)
	require.Equal(c.T, genl.StateStopping, c.Get().State)
	thaw()
	return c.askToStop()
}

// checkStop checks that the error has been told once.
func (tr *trouble) checkStop(c *capture, want unix.Errno, told bool) {
	c.T.Helper()
	if !told {
		requireRefused(c.T, c.Client.Stop(c.ctx()), want, textCutShort)
	}
	assert.NoError(c.T, c.Client.Stop(c.ctx()), "the error is told once")
	assert.Equal(c.T, genl.StateStopped, c.Get().State)
}

// again checks what is in the file once the disk is well, and captures into it again.
func (tr *trouble) again(c *capture, s *site, flushed, written int) {
	t := c.T
	t.Helper()
	if s.Heal != nil {
		s.Heal()
	}
	f, err := pcapread.Read(c.File)
	if err != nil {
		require.True(t, tr.unsynced, "%v", err)
		require.ErrorAs(t, err, new(*pcapread.TornError)) // behind what was flushed, anything may be
	}
	require.GreaterOrEqual(t, len(f.Packets), flushed, "packets that were flushed")
	if !tr.unsynced {
		require.Len(t, f.Packets, written)
	}
	checkNumbers(t, f.Packets[:flushed], 0)
	c.StartSoon()
	assert.Equal(t, failure{}, failureOf(c.Get()), "after the next start")
	sendNumbered(t, nil, "load0", 10)
	f = c.StopRead()
	require.EqualValues(t, 10, checkNumbers(t, f.Packets, 0))
	s.Umount()
}

// TestTortureStorageSlow has every write take long, and stops while some are under way: nothing is lost but what the
// queue had no room for.
func TestTortureStorageSlow(t *testing.T) {
	d := newDisk(t, 32, "sync")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("capture")), QueueSize: ptr[uint64](64 << 10),
	})
	c.Start()
	d.SlowDown(300)
	// also at an eighth, more than the queue holds while one write is on its way
	load := startFlood(t, nil, "load0", floodSpec{Rate: 2000, Size: 1000})
	eventually(t, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > 0 })
	full := c.Stats()
	eventually(t, "packets go on to be received", func() bool { return c.Stats().Received > full.Received+1000 })
	c.Slow = guest.Limit(commandLimit)
	c.Flush()
	assert.Greater(t, c.Stats().Written, full.Written)
	f := c.StopRead()
	load.Stop()
	last := checkNumbers(t, f.Packets, 0)
	assert.Equal(t, c.Stats().Received-last, f.Statistics().OSDrop-f.Drops())
	d.Heal()
	d.umount()
	c.checkNextStart("load0")
}

// TestTortureStorageUmount tries to unmount the file system of a running capture: in vain, and to no harm.
func TestTortureStorageUmount(t *testing.T) {
	d := newDisk(t, 16, "")
	c, load, _ := loaded(t, d.file("capture"), floodSpec{Rate: 2000})
	for range guest.Size(20, 200) {
		c.waitWritten(20)
		require.ErrorIs(t, unix.Unmount(d.Dir, 0), unix.EBUSY)
	}
	c.Stop()
	d.umount()
	load.Stop()
	d.mount("")
	f := c.Read()
	c.CheckBooks(f)
	checkNumbers(t, f.Packets, 0)
	d.umount()
}

// TestTortureSyncErrors has syncs fail at random, at flush and at stop. Of each one that failed, and of no other, the
// capture has told, and that the file is not what the books say. The witness is a file descriptor of the test's own:
// the kernel tells each one of a failed write once.
func TestTortureSyncErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(guest.Seed(t), 6))
	d := newDiskJournal(t, 16, "", newJournal(t))
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture"))})
	events := c.listen()
	reported, failed := 0, 0
	for round := range guest.Size(8, 40) {
		fault, atStop := round == 0 || rng.IntN(2) == 0, rng.IntN(2) == 0
		c.Start()
		expect(t, events, genl.EventStarted)
		sendNumbered(t, nil, "load0", 10)
		c.Flush()
		witness, err := os.Open(c.File)
		require.NoError(t, err)
		if fault {
			d.FailWrites()
		}
		sendNumbered(t, nil, "load0", 10)
		if atStop {
			err = c.askToStop()
		} else {
			err = c.Client.Flush(c.ctx())
		}
		d.Heal()
		if err != nil {
			assert.ErrorIs(t, err, unix.EIO)
			e := expect(t, events, genl.EventFailed)
			assert.Equal(t, failure{Errno: unix.EIO, Unsynced: true}, failureOf(&e.Capture), "event")
			assert.Equal(t, failureOf(&e.Capture), failureOf(c.Get()), "state")
			reported++
		}
		if witness.Sync() != nil {
			failed++
		}
		require.NoError(t, witness.Close())
		if err = c.Client.Stop(c.ctx()); err != nil {
			assert.ErrorIs(t, err, unix.EIO)
			assert.True(t, fault && !atStop, "stop tells of a flush's error, once")
		}
		if !fault {
			expect(t, events, genl.EventStopped)
			c.CheckBooks(c.Read())
		}
		checkEquations(t, c.Stats())
		require.Equal(t, failed, reported, "syncs that failed, and errors told, by round %d (fault %t, at stop %t)", round, fault, atStop)
	}
	assert.NotZero(t, failed)
	t.Logf("%d syncs failed, %d errors told", failed, reported)
	d.umount()
}
