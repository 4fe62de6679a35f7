// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// The files are root's alone, in every namespace.
func TestProcFileModes(t *testing.T) {
	p := newPlace(t)
	p.do(func() error {
		entries, err := os.ReadDir(filepath.Dir(procFile("status")))
		if err != nil {
			return err
		}
		modes := map[string]fs.FileMode{}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return err
			}
			modes[e.Name()] = info.Mode()
			var st unix.Stat_t
			if err := unix.Stat(procFile(e.Name()), &st); err != nil {
				return err
			}
			assert.Zero(t, st.Uid+st.Gid, "owner of %s", e.Name())
		}
		assert.Equal(t, map[string]fs.FileMode{"status": 0o400, "control": 0o200}, modes)
		return nil
	})
}

// checkStatusLines compares status with what ksnifctl prints, line for line. Three things differ, and it is said how:
// numbers are plain, an errno has its name only, and the last refusal follows at the end.
func (p *place) checkStatusLines(lastError string) {
	p.T.Helper()
	got := p.ksnifctl("status")
	require.Equal(p.T, 0, got.Code, got.Stderr)
	want, _, _ := strings.Cut(got.Stdout, "\nhint: ")
	lines := strings.Split(strings.TrimSuffix(want, "\n"), "\n")
	for i, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		indent := line[:len(line)-len(strings.TrimLeft(value, " "))]
		switch {
		case name == "queue_size":
			lines[i] = indent + strings.TrimSuffix(p.ksnifctl("get", "queue_size").Stdout, "\n")
		case name == "errno" && p.Get().Errno != 0:
			lines[i] = indent + "-" + unix.ErrnoName(p.Get().Errno)
		}
	}
	want = strings.Join(append(lines, "last_error          "+lastError), "\n") + "\n"
	require.Equal(p.T, want, p.statusText())
}

func TestProcStatusLines(t *testing.T) {
	p := newPlaceIn(t, mountTmpfs(t, "size=64k"))
	p.checkStatusLines("none")
	p.captured(5)
	p.checkStatusLines("none")
	require.Equal(t, unix.EALREADY, p.control([]byte("start\n")))
	p.checkStatusLines("start: already running: use restart")
	require.Equal(t, unix.EINVAL, p.control([]byte("frob\n")))
	p.checkStatusLines(whichOne)
	p.Stop()
	require.Zero(t, p.control([]byte("snaplen 200\n")))
	p.checkStatusLines(whichOne) // the last refusal, not the last result
	p.Set(genl.Settings{Family: ptr(genl.IPFamilyIP6), Format: ptr(genl.FormatPcapng), IO: ptr(genl.IODiscard), DeviceName: ptr("any")})
	p.checkStatusLines(whichOne)
	p.Set(genl.Settings{Family: ptr(genl.IPFamilyInet), IO: ptr(genl.IOBuffered)})
	p.failed()
	p.checkStatusLines(whichOne)
}

// Every command and every setting works through control, with a newline or without.
func TestControl(t *testing.T) {
	p := newPlace(t)
	file := p.path("a b")
	for _, line := range []string{
		"device_name any", "family inet", "logfile " + file, "snaplen 96", "queue_size 1048576\n", "format pcapng\n", "io buffered\n",
		"sync_interval 7\n",
	} {
		require.Zero(t, p.control([]byte(line)), line)
	}
	want := genl.Capture{
		Name: "default", DeviceName: "any", Logfile: file, Snaplen: 96, QueueSize: 1 << 20,
		Format: genl.FormatPcapng, IO: genl.IOBuffered, SyncInterval: 7,
	}
	assert.Equal(t, want, *p.Get())

	require.Zero(t, p.control([]byte("start")))
	assert.Equal(t, genl.StateRunning, p.Get().State)
	p.send(5, 100)
	require.Zero(t, p.control([]byte("flush\n")))
	assert.EqualValues(t, 5, p.Stats().Written)
	require.Zero(t, p.control([]byte("restart\n")))
	assert.Zero(t, p.Stats().Written)
	p.send(3, 100)
	require.Zero(t, p.control([]byte("stop\n")))
	assert.Equal(t, genl.StateStopped, p.Get().State)
	c := *p.capture
	c.File = file
	assert.Len(t, c.Read().Packets, 3)

	require.Zero(t, p.control([]byte("snaplen 0\n")))
	assert.EqualValues(t, genl.SnaplenMax, p.Get().Snaplen)
}

// The longest path goes through control, and comes back through netlink and status.
func TestControlLongestPath(t *testing.T) {
	p := newPlace(t)
	path := p.dir + strings.Repeat("/"+strings.Repeat("d", 250), 20)
	path = (path + strings.Repeat("/x", genl.LogfileMax))[:genl.LogfileMax]
	for _, end := range []string{"", "\n"} {
		p.Set(genl.Settings{Logfile: &p.File})
		require.Zero(t, p.control([]byte("logfile "+path+end)))
		assert.Equal(t, path, p.Get().Logfile)
		assert.Equal(t, path, p.status()["logfile"])
	}
	before := p.snapshot()
	require.Equal(t, unix.ENOENT, p.control([]byte("start\n")))
	assert.Equal(t, noDir, p.status()["last_error"])
	p.unchanged(before)
}

// A path with bytes that would break the lines of status does not.
func TestProcStatusOddPath(t *testing.T) {
	p := newPlace(t)
	p.Set(genl.Settings{Logfile: ptr("/tmp/a\nstate running\\")})
	text := p.statusText()
	assert.Contains(t, text, "\nlogfile             /tmp/a\\012state running\\134\n")
	assert.Equal(t, 1, strings.Count(text, "\nstate "))
	assert.Equal(t, len(strings.Split(p.ksnifctl("status").Stdout, "\n"))+1, len(strings.Split(text, "\n")))
}
