// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// failure is how a capture ended that could not go on.
type failure struct {
	Errno    unix.Errno
	Unsynced bool
	Torn     bool
}

func failureOf(c *genl.Capture) failure {
	return failure{Errno: c.Errno, Unsynced: c.Unsynced, Torn: c.Torn}
}

// listen reads the capture's events from now on.
func (c *capture) listen() *genl.EventReader { c.T.Helper(); return c.listenFor(time.Minute) }

// listenFor is listen for tests that take long.
func (c *capture) listenFor(limit time.Duration) *genl.EventReader {
	c.T.Helper()
	var r *genl.EventReader
	require.NoError(c.T, c.NS.Do(func() (err error) {
		r, err = c.Events(guest.Context(c.T, limit))
		return err
	}))
	c.T.Cleanup(func() { _ = r.Close() })
	return r
}

// expect reads the next event, which has to be of that type.
func expect(t testing.TB, r *genl.EventReader, want genl.EventType) *genl.Event {
	t.Helper()
	// a reader has the test's time; an event that never comes is to be told earlier
	timer := time.AfterFunc(guest.Limit(10*time.Second), func() { _ = r.Close() })
	defer timer.Stop()
	e, err := r.Next()
	require.NoError(t, err, "while waiting for the event %s", want)
	require.Equal(t, want, e.Type, "event: %+v", e)
	return e
}

// awaitFailure waits until a running capture has failed, by its event, and checks that this and the state say so.
func (c *capture) awaitFailure(r *genl.EventReader, want failure) {
	c.T.Helper()
	e := expect(c.T, r, genl.EventFailed)
	assert.Equal(c.T, genl.StateFailed, e.State, "state in the event")
	assert.Equal(c.T, want, failureOf(&e.Capture), "event")
	got := c.Get()
	assert.Equal(c.T, genl.StateFailed, got.State)
	assert.Equal(c.T, want, failureOf(got), "state")
	assert.ErrorIs(c.T, c.Client.Flush(c.ctx()), unix.ENOTCONN)
}

// checkLost checks where the packets of a flood are that a failed capture received: in the file, in a drop count of
// the file, or behind the last record.
func (c *capture) checkLost(f *pcapread.File) {
	c.T.Helper()
	s := c.Stats()
	checkEquations(c.T, s)
	assert.EqualValues(c.T, s.Written, len(f.Packets), "written = packets in the file")
	assert.EqualValues(c.T, c.Get().FileSize, f.Whole, "file_size = whole blocks in the file")
	last := checkNumbers(c.T, f.Packets, 0)
	assert.Equal(c.T, s.Received-last, s.DroppedQueueFull+s.DroppedNoMemory+s.DroppedWrite-f.Drops(),
		"received behind the last record, and drops that no record tells")
}

// checkStopAfter checks that the first stop of a failed capture answers with the error, the next with success, and
// that the counters stay.
func (c *capture) checkStopAfter(want unix.Errno) {
	c.T.Helper()
	before := c.Stats()
	requireRefused(c.T, c.Client.Stop(c.ctx()), want, textCutShort)
	assert.Equal(c.T, genl.StateStopped, c.Get().State)
	assert.NoError(c.T, c.Client.Stop(c.ctx()), "the second stop")
	assert.Equal(c.T, before, c.Stats(), "counters after stop")
}

// checkNextStart checks that the capture works, to a good file.
func (c *capture) checkNextStart(dev string) {
	c.T.Helper()
	c.File = filepath.Join(outDir(c.T), "next")
	c.Set(genl.Settings{Logfile: &c.File})
	c.Start()
	assert.Equal(c.T, failure{}, failureOf(c.Get()), "after the next start")
	sendNumbered(c.T, c.NS, dev, 10)
	f := c.StopRead()
	require.EqualValues(c.T, 10, checkNumbers(c.T, f.Packets, 0))
}

// answer is the errno of one attempt of a command, without the client's patience: through procfs.
func (c *capture) answer(command string) error {
	c.T.Helper()
	return c.NS.Do(func() error {
		fd, err := unix.Open("/proc/thread-self/net/ksnif/control", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(command))
		return err
	})
}

// askToStop asks the kernel to stop until that is done. Its answer tells the error once; genl's Stop asks but once and may
// read the error in the state, of which the kernel knows nothing.
func (c *capture) askToStop() (err error) {
	c.T.Helper()
	guest.Poll(c.T, time.Minute, "the capture stops", func() bool {
		err = c.answer("stop")
		return !errors.Is(err, unix.EINPROGRESS)
	})
	if err != nil {
		assert.Equal(c.T, textCutShort, c.status()["last_error"])
	}
	return err
}

// fileLimit calls fn while files that this process opens may not grow beyond n bytes.
func fileLimit(t testing.TB, n uint64, fn func()) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: old.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old)) }()
	fn()
}

// readTorn reads a file that does not end with a whole record.
func (c *capture) readTorn() *pcapread.File {
	c.T.Helper()
	f, err := pcapread.Read(c.File)
	var torn *pcapread.TornError
	require.True(c.T, errors.As(err, &torn), "%v", err)
	return f
}
