// SPDX-License-Identifier: GPL-2.0

package selftest

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// TestCleanBoot does nothing wrong: the module comes, captures, and goes, twice. A complaint about it is a false alarm.
func TestCleanBoot(t *testing.T) {
	for range 2 {
		guest.Unload(t)
		guest.Load(t)
		t.Run("capture", captures)
	}
}

// captures has all that is sent over lo in the file, and the books balance.
func captures(t *testing.T) {
	c := guest.Client(t)
	ctx := guest.Context(t, 30*time.Second)
	file, device := filepath.Join(t.TempDir(), "capture.pcapng"), "lo"
	require.NoError(t, c.Set(ctx, genl.Settings{Logfile: &file, DeviceName: &device}))
	require.NoError(t, c.Start(ctx))
	const pings = 5
	guest.Run(t, "ping", "-q", "-i", "0.2", "-c", "5", "127.0.0.1")
	require.NoError(t, c.Stop(ctx))
	f, err := pcapread.Read(file)
	require.NoError(t, err)
	assert.Len(t, f.Packets, 2*pings, "each with its answer")
	assert.EqualValues(t, 2*pings, guest.Stats(t, c).Written)
}
