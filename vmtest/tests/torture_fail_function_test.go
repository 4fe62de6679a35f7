// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// injected are the errors that the module's functions are made to return.
var injected = []unix.Errno{unix.ENOMEM, unix.EIO, unix.EDQUOT}

// TestTortureFailFunction has functions of the module fail, and checks that it tells and counts each failure once, that
// the file is whole, and that the next start works. TestTortureFailHook has the one that fails in the hook.
func TestTortureFailFunction(t *testing.T) {
	guest.NeedsFaults(t)
	for _, errno := range injected {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, unix.Errno){
				"start": failStart, "write": failWrite, "sync": failSync, "close": failClose, "cut": failCut,
				"interface": failInterface,
			} {
				t.Run(name, func(t *testing.T) { test(t, errno) })
			}
		})
	}
	// what a file system says is not taken for what stop itself says: ask again
	t.Run("EINPROGRESS", func(t *testing.T) { failCloseAs(t, unix.EINPROGRESS, unix.EIO) })
	t.Run("EINTR", func(t *testing.T) { failCloseAs(t, unix.EINTR, unix.EIO) })
}

// failStart fails what start does: it is refused with that error, and nothing has changed.
func failStart(t *testing.T, errno unix.Errno) {
	f := guest.NewFault(t, "fail_function")
	p := newPlace(t)
	p.works()
	for _, function := range []string{
		"ksnif_file_open_root", "ksnif_file_empty", "ksnif_run_alloc", "ksnif_queue_alloc", "ksnif_iface_alloc",
	} {
		want := errno
		if f.Inject(function, errno) {
			want = unix.ENOMEM
		}
		for _, ask := range channels() {
			before := p.snapshot()
			f.Arm(100, 1)
			got, text := ask.do(p, "start")
			require.Zero(t, f.Disarm(), "%s was not called", function)
			require.Equal(t, want, got, "%s by %s", function, ask.name)
			require.NotEmpty(t, text)
			p.unchanged(before)
			p.works()
		}
		f.Set("inject", "!"+function)
	}
}

// failWrite fails a write of the file: the first, and one that is chosen at random.
func failWrite(t *testing.T, errno unix.Errno) {
	random := rand.New(rand.NewPCG(guest.Seed(t), uint64(errno)))
	for _, within := range []int{1, 2 + random.IntN(20)} {
		t.Run(fmt.Sprintf("within %d", within), func(t *testing.T) {
			f := guest.NewFault(t, "fail_function")
			f.Inject("ksnif_file_write_once", errno)
			quietDummy(t, nil, "load0")
			c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
			events := c.listen()
			f.Set("interval", within)
			f.Arm(100, 1)
			c.Start()
			expect(t, events, genl.EventStarted)
			load := startFlood(t, nil, "load0", floodSpec{Rate: 2000})
			c.awaitFailure(events, failure{Errno: errno})
			require.Zero(t, f.Disarm())
			load.Stop()
			checkWhole(t, c)
			c.checkStopAfter(errno)
			c.checkNextStart("load0")
		})
	}
}

// checkWhole checks the file of a failed capture, which may have failed before anything was in it.
func checkWhole(t testing.TB, c *capture) {
	t.Helper()
	if c.Get().FileSize > 0 {
		c.checkLost(c.Read())
		return
	}
	f := c.readTorn()
	assert.Zero(t, f.Size)
	c.checkLost(f)
}

// failSync fails the fsync of a flush: what was written is in the file, but not known to stay.
func failSync(t *testing.T, errno unix.Errno) {
	f := guest.NewFault(t, "fail_function")
	f.Inject("ksnif_file_sync", errno)
	c, load, events := loaded(t, filepath.Join(outDir(t), "capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	f.Arm(100, 1)
	requireRefused(t, c.Client.Flush(c.ctx()), errno, textCutShort)
	c.awaitFailure(events, failure{Errno: errno, Unsynced: true})
	require.Zero(t, f.Disarm())
	load.Stop()
	checkWhole(t, c)
	c.checkStopAfter(errno)
	c.checkNextStart("load0")
}

// failClose fails at close, at which file systems may still refuse what they have accepted: the stop says so.
func failClose(t *testing.T, errno unix.Errno) { failCloseAs(t, errno, errno) }

func failCloseAs(t *testing.T, errno, want unix.Errno) {
	f := guest.NewFault(t, "fail_function")
	f.Inject("ksnif_file_flush", errno)
	c, load, events := loaded(t, filepath.Join(outDir(t), "capture"), floodSpec{Rate: 2000})
	c.waitWritten(10)
	load.Stop()
	f.Arm(100, 1)
	requireRefused(t, c.Client.Restart(c.ctx()), want, textCutShort)
	c.awaitFailure(events, failure{Errno: want, Unsynced: true})
	require.Zero(t, f.Disarm())
	c.CheckBooks(c.Read())
	c.checkNextStart("load0")
}

// failCut fails to cut off a record that was accepted in part: the capture says that the file is torn.
func failCut(t *testing.T, errno unix.Errno) {
	const limit = 10_001 // no multiple of four: not where a block ends
	f := guest.NewFault(t, "fail_function")
	f.Inject("ksnif_file_cut", errno)
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	events := c.listen()
	fileLimit(t, limit, c.Start)
	expect(t, events, genl.EventStarted)
	f.Arm(100, 1)
	sendNumbered(t, nil, "load0", 300)
	c.awaitFailure(events, failure{Errno: unix.EFBIG, Torn: true})
	require.Zero(t, f.Disarm())
	c.checkLost(c.readTorn())
	c.checkStopAfter(unix.EFBIG)
	c.checkNextStart("load0")
}

// failInterface has no memory for a new device: its packets are captured as those of interface any, as long as that
// lasts.
func failInterface(t *testing.T, errno unix.Errno) {
	f := guest.NewFault(t, "fail_function")
	f.Inject("ksnif_iface_alloc", errno)
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{})
	c.Start()
	f.Arm(100, -1)
	sendNumbered(t, nil, "load0", 20)
	f.Disarm()
	sendNumbered(t, nil, "load0", 5)
	file := c.StopRead()
	c.CheckBooks(file)
	for name, n := range map[string]uint64{"any": 20, "load0": 5} {
		packets := file.ByName(name)
		require.Len(t, packets, int(n), name)
		assert.Equal(t, n, checkNumbers(t, packets, 0))
	}
}
