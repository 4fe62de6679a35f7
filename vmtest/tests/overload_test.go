// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// overloadPackets is not shrunk on slow machines: it is what ksnif promises to keep the books of.
const overloadPackets = 200_000

// TestOverload sends more than a slow disk and the smallest queue can take, and asks where every packet went.
//
// The file and the counters stay in /out/hostcheck, where the host has capinfos and tshark look at them.
func TestOverload(t *testing.T) {
	d := newDisk(t, 64, "sync") // every write waits for the disk
	quietDummy(t, nil, "over0")
	c := newCapture(t, nil, genl.Settings{
		DeviceName: ptr("over0"), QueueSize: ptr[uint64](genl.QueueSizeMin), Logfile: ptr(d.file("overload.pcapng")),
	})
	c.Start()
	d.SlowDown(20)
	thaw := d.Freeze() // at first: a slow machine sends less than a slow disk takes
	load := startFlood(t, nil, "over0", floodSpec{Count: overloadPackets})
	guest.Poll(t, time.Minute, "packets are dropped", func() bool { return c.Stats().DroppedQueueFull > 0 })
	thaw()
	sent := load.Wait()
	require.EqualValues(t, overloadPackets, sent)
	c.Stop()
	d.Heal()

	s := c.Stats()
	t.Logf("%d written, %d dropped", s.Written, s.DroppedQueueFull)
	assert.EqualValues(t, overloadPackets, s.Received)
	assert.NotZero(t, s.Written)
	assert.Zero(t, s.DroppedNoMemory)
	assert.Zero(t, s.DroppedWrite)
	f, err := pcapread.ReadPrefix(c.File, 64)
	require.NoError(t, err)
	assert.NotZero(t, f.Drops(), "drops that a packet tells of: the queue has had room again while packets came")
	c.CheckBooks(f)
	c.CheckTimes(f)
	checkAllNumbered(t, f, sent)
	require.Len(t, f.Interfaces, 1)
	assert.Equal(t, "over0", f.Interfaces[0].Name)
	leaveForHost(t, c)
	d.umount()
}

// leaveForHost puts the capture file and the counters where the host looks for them.
func leaveForHost(t testing.TB, c *capture) {
	t.Helper()
	const dir = "/out/hostcheck"
	require.NoError(t, os.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, t.Name())
	guest.Run(t, "cp", c.File, name+".pcapng")
	books, err := json.MarshalIndent(c.Stats(), "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name+".json", books, 0o600))
}
