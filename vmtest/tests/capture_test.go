// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// commandLimit is how long a command may take, before a slow VM stretches it.
const commandLimit = 20 * time.Second

// capture is the capture of a network namespace, with a capture file of its own.
type capture struct {
	*genl.Client
	T    testing.TB
	NS   *guest.Namespace // nil is the test's own
	File string           // the capture file, on ext4
	Slow time.Duration    // more time for commands

	Began time.Time // before the last start
	Ended time.Time // after the last stop
}

// ptr is for settings, whose fields are pointers.
func ptr[T any](v T) *T { return &v }

// newCapture connects to the module in a namespace and applies settings there; the log file is always the test's own,
// unless s names one. When the test ends, the capture is stopped. Settings go away with the namespace; in the test's
// own (nil), they are put back.
func newCapture(t testing.TB, ns *guest.Namespace, s genl.Settings) *capture {
	t.Helper()
	c := &capture{T: t, NS: ns, File: filepath.Join(outDir(t), "capture")}
	if ns == nil {
		c.Client = guest.Client(t)
	} else {
		require.NoError(t, ns.Do(func() (err error) {
			c.Client, err = genl.New()
			return err
		}))
		t.Cleanup(func() { c.end() })
	}
	if s.Logfile == nil {
		s.Logfile = &c.File
	} else {
		c.File = *s.Logfile
	}
	if s.IO == nil {
		s.IO = ptr(guest.IO(t))
	}
	c.Set(s)
	return c
}

// throughPageCache is for tests in which a disk refuses late what was accepted: direct I/O is told at once.
func throughPageCache(t *testing.T) { t.Setenv("KSNIF_IO", "buffered") }

// end stops what runs and closes the connection, if the module is still there.
func (c *capture) end() {
	ctx, cancel := context.WithTimeout(context.Background(), guest.Limit(commandLimit))
	defer cancel()
	if now, err := c.Client.Get(ctx); err == nil && now.State != genl.StateStopped {
		if err := c.Client.Stop(ctx); err != nil && now.State == genl.StateRunning {
			c.T.Logf("stop at the end of the test: %v", err)
		}
	}
	assert.NoError(c.T, c.Client.Close())
}

// outDir makes a directory on the VM's ext4 disk. It stays if the test fails.
func outDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/out", "test")
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			assert.NoError(t, os.RemoveAll(dir))
		}
	})
	return dir
}

func (c *capture) ctx() context.Context {
	c.T.Helper()
	return guest.Context(c.T, commandLimit+c.Slow)
}

// Set, Start, Stop, Restart and Flush are those of the client and have to succeed. A test that expects a refusal calls
// c.Client.

func (c *capture) Set(s genl.Settings) {
	c.T.Helper()
	require.NoError(c.T, c.Client.Set(c.ctx(), s))
}

// do calls fn in the namespace.
func (c *capture) do(fn func() error) {
	c.T.Helper()
	require.NoError(c.T, c.NS.Do(fn))
}

func (c *capture) Start() {
	c.T.Helper()
	c.Began = time.Now()
	require.NoError(c.T, c.Client.Start(c.ctx()))
}

// StartSoon is Start on a disk that may be busy with what failed, for longer than a start waits.
func (c *capture) StartSoon() {
	c.T.Helper()
	var err error
	guest.Poll(c.T, time.Minute, "the disk has answered", func() bool {
		c.Began = time.Now()
		err = c.Client.Start(c.ctx())
		return !errors.Is(err, unix.EBUSY)
	})
	require.NoError(c.T, err)
}

func (c *capture) Stop() {
	c.T.Helper()
	require.NoError(c.T, c.Client.Stop(c.ctx()))
	c.Ended = time.Now()
}

func (c *capture) Restart() {
	c.T.Helper()
	c.Began = time.Now()
	require.NoError(c.T, c.Client.Restart(c.ctx()))
}

func (c *capture) Flush() {
	c.T.Helper()
	require.NoError(c.T, c.Client.Flush(c.ctx()))
}

func (c *capture) Get() *genl.Capture {
	c.T.Helper()
	got, err := c.Client.Get(c.ctx())
	require.NoError(c.T, err)
	return got
}

func (c *capture) Stats() *genl.Stats {
	c.T.Helper()
	got, err := c.Client.Stats(c.ctx())
	require.NoError(c.T, err)
	return got
}

// WaitReceived waits until the hook has seen n packets.
func (c *capture) WaitReceived(n uint64) {
	c.T.Helper()
	guest.Poll(c.T, commandLimit, fmt.Sprintf("%d packets received", n), func() bool { return c.Stats().Received >= n })
}

// Read reads the file of a stopped capture; it has to be whole.
func (c *capture) Read() *pcapread.File {
	c.T.Helper()
	f, err := pcapread.Read(c.File)
	require.NoError(c.T, err)
	return f
}

// StopRead stops the capture, reads its file and checks it against the books.
func (c *capture) StopRead() *pcapread.File {
	c.T.Helper()
	c.Stop()
	f := c.Read()
	c.CheckBooks(f)
	c.CheckTimes(f)
	return f
}

// checkEquations checks what holds for the counters of a stopped or failed capture.
func checkEquations(t testing.TB, s *genl.Stats) {
	t.Helper()
	assert.Zero(t, s.Queued, "queued after stop")
	assert.Equal(t, s.Received, s.Filtered+s.Captured+s.DroppedQueueFull+s.DroppedNoMemory,
		"received = filtered + captured + dropped: %+v", *s)
	assert.Equal(t, s.Captured, s.Written+s.Queued+s.DroppedWrite+s.Discarded,
		"captured = written + queued + dropped_write + discarded: %+v", *s)
	assert.Equal(t, s.Errors, s.DroppedNoMemory+s.DroppedWrite, "errors: %+v", *s)
}

// CheckBooks checks every equation that must hold between the counters of a capture that stopped without an error, and
// its whole file.
func (c *capture) CheckBooks(f *pcapread.File) {
	c.T.Helper()
	t, s := c.T, c.Stats()
	checkEquations(t, s)
	assert.EqualValues(t, s.Written, len(f.Packets), "written = packets in the file")
	assert.Equal(t, c.Get().FileSize, uint64(f.Size), "file_size")
	if !f.Pcapng {
		return
	}
	sum := f.Statistics()
	assert.Equal(t, s.Received, sum.Received, "isb_ifrecv = received")
	assert.Equal(t, s.Received-s.Filtered, sum.FilterAccept, "isb_filteraccept = received - filtered")
	assert.Equal(t, s.DroppedQueueFull+s.DroppedNoMemory+s.DroppedWrite, sum.OSDrop, "isb_osdrop = all drops")
	assert.Equal(t, s.Written, sum.Delivered, "isb_usrdeliv = written")
	for i := range f.Interfaces {
		iface := &f.Interfaces[i]
		if !assert.NotNil(t, iface.Stats, "statistics of interface %d %s", i, iface.Name) {
			continue
		}
		assert.EqualValues(t, iface.Packets, iface.Stats.Delivered, "isb_usrdeliv of interface %d %s", i, iface.Name)
		assert.LessOrEqual(t, iface.Drops, iface.Stats.OSDrop, "drop counts of interface %d %s", i, iface.Name)
	}
}

// CheckTimes checks that all packets are in time order and were captured between start and stop. The file has
// nanoseconds.
func (c *capture) CheckTimes(f *pcapread.File) {
	c.T.Helper()
	require.NoError(c.T, inOrder(f.Packets, c.Began, c.Ended))
	for i := range f.Interfaces {
		require.EqualValues(c.T, 9, f.Interfaces[i].Resolution, "time stamp resolution of interface %d", i)
	}
}

func inOrder(packets []pcapread.Packet, from, to time.Time) error {
	last := from
	for i := range packets {
		if packets[i].Time.Before(last) {
			return fmt.Errorf("packet %d: %s is before %s", i, packets[i].Time, last)
		}
		last = packets[i].Time
	}
	if last.After(to) {
		return fmt.Errorf("last packet: %s is after the stop at %s", last, to)
	}
	return nil
}

// requireRefused checks a refusal: errno and the kernel's text.
func requireRefused(t testing.TB, err error, errno error, text string) {
	t.Helper()
	require.Error(t, err)
	require.ErrorIs(t, err, errno)
	if text == "" {
		return
	}
	var refusal *genl.Error
	require.True(t, errors.As(err, &refusal), "%v", err)
	require.Contains(t, refusal.Message, text)
}
