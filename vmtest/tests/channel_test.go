// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// channel is a way to command the module. It takes what could be written to procfs, and returns errno and text.
type channel struct {
	name string
	do   func(p *place, line string) (unix.Errno, string)
}

func channels() []channel {
	return []channel{{"netlink", (*place).netlink}, {"procfs", (*place).procfs}}
}

// netlink sends a command once, whatever the answer.
func (p *place) netlink(line string) (unix.Errno, string) {
	p.T.Helper()
	command, attrs := request(p.T, line)
	a, err := p.raw.command(command, attrs...)
	require.NoError(p.T, err)
	return a.Errno, a.Text
}

// request is the message that a line for procfs would be.
func request(t testing.TB, line string) (command uint8, attrs [][]byte) {
	t.Helper()
	name, value, set := strings.Cut(line, " ")
	if set {
		return genl.CmdSet, [][]byte{settingAttr(t, name, value)}
	}
	for c, n := range requestNames {
		if n == name {
			return c, nil
		}
	}
	t.Fatalf("no request %q", name)
	return 0, nil
}

// settingAttr is the attribute of a setting; enums are given by name.
func settingAttr(t testing.TB, name, value string) []byte {
	t.Helper()
	number := uint16(0)
	for i, a := range captureNames() {
		if a.Name == name {
			number = i
		}
	}
	switch number {
	case genl.AttrCaptureSnaplen, genl.AttrCaptureSyncInterval, genl.AttrCaptureQueueSize:
		n, err := strconv.ParseUint(value, 10, 64)
		require.NoError(t, err)
		if number == genl.AttrCaptureQueueSize {
			return attrU64(number, n)
		}
		return attrU32(number, uint32(n))
	case genl.AttrCaptureIO:
		return attrEnum(t, number, genl.ParseIO, value)
	case genl.AttrCaptureFamily:
		return attrEnum(t, number, genl.ParseIPFamily, value)
	case genl.AttrCaptureFormat:
		return attrEnum(t, number, genl.ParseFormat, value)
	case genl.AttrCaptureDeviceName, genl.AttrCaptureLogfile:
		return attrString(number, value)
	}
	t.Fatalf("no attribute for the setting %q", name)
	return nil
}

func attrEnum[T ~uint32](t testing.TB, number uint16, parse func(string) (T, error), name string) []byte {
	t.Helper()
	v, err := parse(name)
	require.NoError(t, err)
	return attrU32(number, uint32(v))
}

// procfs writes a command to the control file. The text of a refusal is in status, and stays there.
func (p *place) procfs(line string) (unix.Errno, string) {
	p.T.Helper()
	before := p.status()["last_error"]
	errno := p.control([]byte(line + "\n"))
	text := p.status()["last_error"]
	if errno == 0 {
		require.Equal(p.T, before, text, "last_error after %q, which was done", line)
		return 0, ""
	}
	return errno, text
}

// control writes to the control file, in one write.
func (p *place) control(b []byte) unix.Errno {
	p.T.Helper()
	var errno unix.Errno
	p.do(func() error {
		fd, err := unix.Open(procFile("control"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		n, err := unix.Write(fd, b)
		if err == nil && n != len(b) {
			return fmt.Errorf("wrote %d of %d bytes", n, len(b))
		}
		errno, err = errnoOf(err)
		return err
	})
	return errno
}

// statusText reads the status file.
func (c *capture) statusText() string {
	c.T.Helper()
	var b []byte
	c.do(func() (err error) { b, err = os.ReadFile(procFile("status")); return err })
	return string(b)
}

// status is the status file, by name.
func (c *capture) status() map[string]string {
	c.T.Helper()
	lines := map[string]string{}
	for _, line := range strings.Split(strings.TrimSuffix(c.statusText(), "\n"), "\n") {
		name, value, _ := strings.Cut(line, " ")
		lines[name] = strings.TrimLeft(value, " ")
	}
	return lines
}

// told is what a run of ksnifctl printed.
type told struct {
	Code   int
	Stdout string
	Stderr string
}

// command is a run of ksnifctl, not started yet.
func (p *place) command(args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.CommandContext(guest.Context(p.T, 30*time.Second), "ksnifctl", args...)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// ksnifctl runs the tool in the place.
func (p *place) ksnifctl(args ...string) told {
	p.T.Helper()
	return p.ksnifctlAs(person{but: []uint{}}, args...)
}

// ksnifctlAs runs the tool as somebody: its credentials are those of the thread that starts it. Capabilities besides
// root's own get there only as ambient ones.
func (p *place) ksnifctlAs(w person, args ...string) told {
	p.T.Helper()
	cmd, stdout, stderr := p.command(args...)
	if w.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.uid)},
		}
		for _, c := range w.caps {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(c))
		}
	}
	err := p.NS.Do(cmd.Run)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.T, err)
	}
	return told{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// mountExt4 mounts a small ext4 file system until the test ends.
func mountExt4(t testing.TB) string {
	t.Helper()
	image, dir := t.TempDir()+"/image", t.TempDir()
	guest.Run(t, "modprobe", "loop")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 16<<20))
	guest.Run(t, "mkfs.ext4", "-q", "-F", "-O", "^has_journal", image)
	guest.Run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { guest.Run(t, "umount", dir) })
	return dir
}

// mountTmpfs mounts a tmpfs until the test ends.
func mountTmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	guest.Run(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	t.Cleanup(func() { guest.Run(t, "umount", dir) })
	return dir
}

// freeze freezes the file system at dir until thaw is called, or the test ends.
func freeze(t testing.TB, dir string) (thaw func()) {
	t.Helper()
	const fiFreeze, fiThaw = 0xc0045877, 0xc0045878
	f, err := os.Open(dir)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetInt(int(f.Fd()), fiFreeze, 0), "freeze")
	frozen := true
	thaw = func() {
		if frozen {
			frozen = false
			require.NoError(t, unix.IoctlSetInt(int(f.Fd()), fiThaw, 0), "thaw")
			require.NoError(t, f.Close())
		}
	}
	t.Cleanup(thaw)
	return thaw
}

// stopping brings the capture, whose folder has to be on a file system of its own, into that state: its file system
// is frozen until thaw is called.
func (p *place) stopping() (thaw func()) {
	p.T.Helper()
	p.captured(5)
	thaw = freeze(p.T, p.dir)
	p.send(5, 100)
	errno, text := p.netlink("stop")
	require.Equal(p.T, unix.EINPROGRESS, errno)
	require.Equal(p.T, textStill, text)
	require.Equal(p.T, genl.StateStopping, p.Get().State)
	return thaw
}

// What a command that waits for the writer is told: that it takes longer, and that the run has failed.
const (
	textStill    = "still writing: ask again to wait on"
	textCutShort = "the capture file could not be written to the end"
)

// failed brings the capture, whose folder has to be on a small file system of its own, into that state: the file
// system is full.
func (p *place) failed() {
	p.T.Helper()
	p.Set(genl.Settings{Snaplen: ptr(uint32(0))})
	p.Start()
	guest.Poll(p.T, 10*time.Second, "the capture fails", func() bool {
		p.send(100, 1000) // a CPU's share of the ring may be less than the disk
		return p.Get().State == genl.StateFailed
	})
	require.Equal(p.T, unix.ENOSPC, p.Get().Errno)
}
