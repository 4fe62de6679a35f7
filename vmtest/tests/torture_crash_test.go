// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/proto"
)

// The tests of this file are run by the harness's crash part alone (vmtest/crash.go), each in VMs of its own.

// tellStep tells the host how far the capture is. It may kill this machine at any moment.
func tellStep(t testing.TB, name string, kept proto.Kept) {
	t.Helper()
	line, err := proto.Line(proto.Step{Name: name, Kept: kept})
	require.NoError(t, err)
	fmt.Print(proto.CrashWord, string(line))
}

// TestTortureCrashVictim captures, flushes and stops, over and over, until the host kills the machine.
func TestTortureCrashVictim(t *testing.T) {
	rnd := rand.New(rand.NewPCG(guest.Seed(t), 0))
	tr := startTraffic(t, 5)
	c := newCapture(t, tr.rx, tr.settings())
	tellStep(t, proto.StepReady, proto.Kept{})
	waitForHost(t)
	for i := 1; ; i++ {
		kept := proto.Kept{File: fmt.Sprintf("capture%d", i)}
		c.Set(genl.Settings{Logfile: ptr(filepath.Join(proto.DirOut, kept.File))})
		tellStep(t, proto.StepStarting, kept)
		c.Start()
		kept.Started, kept.Sent = true, tr.sent.Load()
		tellStep(t, proto.StepStarted, kept)
		for range 3 {
			c.waitWritten(1 + rnd.Uint64N(200))
			captured := c.Stats().Captured
			tellStep(t, proto.StepFlushing, kept)
			c.Flush()
			kept.Packets = captured
			tellStep(t, proto.StepFlushed, kept)
		}
		tellStep(t, proto.StepStopping, kept)
		c.Stop()
		kept.Stopped, kept.Packets = true, c.Stats().Written
		tellStep(t, proto.StepStopped, kept)
	}
}

// waitForHost waits for a line from the host.
func waitForHost(t testing.TB) {
	t.Helper()
	port, err := os.Open(deviceWith(t, "/sys/class/virtio-ports/*/name", proto.PortInput))
	require.NoError(t, err)
	defer port.Close()
	_, err = port.Read(make([]byte, 1))
	require.NoError(t, err)
}

// TestTortureCrashDisks mounts the disks of all machines that were killed, and reads the capture files there. The host
// gets a copy of each, with the number of its packets, for readers that there are none of here.
func TestTortureCrashDisks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(proto.DirIn, proto.DisksFile))
	require.NoError(t, err)
	var disks []proto.Disk
	require.NoError(t, json.Unmarshal(text, &disks))
	require.NotEmpty(t, disks)
	guest.Seed(t) // a failure tells it
	found := map[string]int{}
	for _, d := range disks {
		t.Run(d.Serial, func(t *testing.T) {
			t.Logf("killed %s", d.Moment)
			dir := t.TempDir()
			require.NoError(t, unix.Mount(deviceWith(t, "/sys/block/vd*/serial", d.Serial), dir, "ext4", 0, ""))
			defer func() { require.NoError(t, unix.Unmount(dir, 0)) }()
			for _, kept := range d.Files {
				file := filepath.Join(dir, kept.File)
				n := checkKept(t, file, kept)
				t.Logf("%s: %d packets, of %d promised", kept.File, n, kept.Packets)
				if n > 0 {
					name := d.Serial + "-" + kept.File
					found[name] = n
					guest.Run(t, "cp", file, filepath.Join(proto.DirOut, name))
				}
			}
		})
	}
	text, err = json.Marshal(found)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(proto.DirOut, proto.FoundFile), text, 0o644))
	assert.NotEmpty(t, found)
}

// deviceWith returns the device of which one of these attributes in sysfs has the value.
func deviceWith(t testing.TB, attributes, value string) string {
	t.Helper()
	files, err := filepath.Glob(attributes)
	require.NoError(t, err)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == value {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(f)))
		}
	}
	t.Fatalf("none of %v is %q", files, value)
	return ""
}
