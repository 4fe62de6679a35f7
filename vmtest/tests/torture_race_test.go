// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// hookDelay is how long each packet stays in the hook, in microseconds. Modules for debug kernels have it.
const hookDelay = "/sys/kernel/debug/ksnif/hook_delay_us"

func setHookDelay(t testing.TB, d time.Duration) {
	t.Helper()
	require.NoError(t, os.WriteFile(hookDelay, []byte(strconv.FormatInt(d.Microseconds(), 10)), 0))
}

// raceStop is a stop while packets are in the hook.
type raceStop struct {
	*capture
	look       *genl.Client // a client does one thing at a time
	last, next string       // capture files
	held       int          // stops that a packet was in the hook at
}

// stop stops, looks whether a packet was in the hook when it was taken away, and starts again at once, so that what the
// hook used is freed. Then it checks the books and the file.
func (r *raceStop) stop() {
	r.T.Helper()
	stopped := make(chan error, 1)
	ctx := r.ctx()
	go func() { stopped <- r.Client.Stop(ctx) }()
	taken := r.unhooked(ctx)
	require.NoError(r.T, <-stopped)
	r.Ended = time.Now()
	s := r.Stats()
	state := r.Get()
	r.last, r.next = r.next, r.last
	r.Set(genl.Settings{Logfile: &r.next})
	r.Began = time.Now()
	r.Start()

	if s.Captured > taken.Captured {
		r.held++
	}
	checkEquations(r.T, s)
	f, err := pcapread.Read(r.last)
	require.NoError(r.T, err)
	checkSums(r.T, f)
	assert.EqualValues(r.T, s.Written, len(f.Packets), "written = packets in the file")
	assert.Equal(r.T, state.FileSize, uint64(f.Size), "file_size")
	assert.Equal(r.T, s.Received, f.Statistics().Received, "isb_ifrecv = received")
}

// unhooked waits until the hook is taken away, without a pause, and returns what it had counted by then.
func (r *raceStop) unhooked(ctx context.Context) *genl.Stats {
	r.T.Helper()
	for {
		state, err := r.look.Get(ctx)
		require.NoError(r.T, err)
		if state.State != genl.StateRunning {
			s, err := r.look.Stats(ctx)
			require.NoError(r.T, err)
			return s
		}
	}
}

// TestTortureStopRace stops again and again while packets are in the hook, held there. The stop waits for them: they
// are in the file and in the books, and nothing is freed under them.
func TestTortureStopRace(t *testing.T) {
	guest.NeedsDebug(t)
	random := newCrew(t).random("delays")
	dir := outDir(t)
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(filepath.Join(dir, "0"))})
	t.Cleanup(func() { setHookDelay(t, 0) })
	// 30 a second where hooks can be held: a CPU that never left the hook would hold up the stop, which waits for all
	load := startFlood(t, nil, "load0", floodSpec{Rate: 240})
	look, err := genl.New()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, look.Close()) })
	r := &raceStop{capture: c, look: look, next: c.File, last: filepath.Join(dir, "1")}
	c.Start()
	stops := guest.Size(200, 1000)
	// packets come in on CPU 0
	require.NoError(t, pinned(1, func() error {
		for i := range stops {
			setHookDelay(t, holdFor(random))
			c.WaitReceived(1)
			r.stop()
			require.False(t, t.Failed(), "stop %d", i)
		}
		return nil
	}))
	setHookDelay(t, 0)
	t.Logf("a packet was in the hook at %d of %d stops", r.held, stops)
	assert.Greater(t, r.held, stops/10)
	load.Stop()
	c.Stop()
	c.checkNextStart("load0")
}

// holdFor is longer than it takes to stop, and to start again.
func holdFor(r *rand.Rand) time.Duration {
	return time.Duration(20+r.IntN(30)) * time.Millisecond
}
