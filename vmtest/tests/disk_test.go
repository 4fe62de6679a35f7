// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
)

// disk is a small disk in memory that can be made slow, broken or stuck while a file system is mounted from it.
type disk struct {
	t       testing.TB
	loop    string // what lies below
	name    string
	sectors string
	Dir     string // where it is mounted
	mounted bool
	stuck   bool
}

// newDisk makes an ext4 file system and mounts it.
func newDisk(t testing.TB, mb int, options string) *disk {
	t.Helper()
	return newDiskJournal(t, mb, options, "size=1")
}

// newDiskJournal is newDisk with a choice of the journal.
func newDiskJournal(t testing.TB, mb int, options, journal string) *disk {
	t.Helper()
	guest.Run(t, "modprobe", "-a", "dm-mod", "dm-delay", "dm-flakey")
	d := &disk{t: t, Dir: t.TempDir(), loop: newLoop(t, mb)}
	d.name = "on-" + filepath.Base(d.loop)
	d.sectors = fmt.Sprint(mb << 20 >> 9)
	d.dm("create", d.name, "--table", d.linear())
	t.Cleanup(d.end)
	guest.Run(t, "mkfs.ext4", "-q", "-m", "0", "-b", blockSize, "-J", journal, d.device())
	d.mount(options)
	return d
}

// blockSize is that of the file systems; a journal on another disk needs the same.
const blockSize = "1024"

// newJournal makes a disk that is a journal for others.
func newJournal(t testing.TB) (journal string) {
	t.Helper()
	dev := newLoop(t, 2)
	guest.Run(t, "mke2fs", "-q", "-b", blockSize, "-O", "journal_dev", dev)
	return "device=" + dev
}

// newLoop makes a disk in memory.
func newLoop(t testing.TB, mb int) (dev string) {
	t.Helper()
	dev, _ = newLoopImage(t, mb)
	return dev
}

// newLoopImage is newLoop, and tells the file that the disk is.
func newLoopImage(t testing.TB, mb int) (dev, image string) {
	t.Helper()
	guest.Run(t, "modprobe", "loop")
	image = filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, int64(mb)<<20))
	dev = strings.TrimSpace(guest.Run(t, "losetup", "-f", "--show", image))
	t.Cleanup(func() { guest.Run(t, "losetup", "-d", dev) })
	return dev, image
}

func (d *disk) device() string { return "/dev/mapper/" + d.name }

// dm runs dmsetup, which has to make its device nodes itself: there is no udev here.
func (d *disk) dm(args ...string) {
	d.t.Helper()
	cmd := exec.Command("dmsetup", args...)
	cmd.Env = append(os.Environ(), "DM_DISABLE_UDEV=1")
	out, err := cmd.CombinedOutput()
	require.NoError(d.t, err, "dmsetup %v: %s", args, out)
}

func (d *disk) mount(options string) {
	d.t.Helper()
	guest.Run(d.t, "mount", "-t", "ext4", "-o", "rw,"+options, d.device(), d.Dir)
	d.mounted = true
}

// umount has to succeed at once: nobody holds a file there any more.
func (d *disk) umount() {
	d.t.Helper()
	require.NoError(d.t, unix.Unmount(d.Dir, 0))
	d.mounted = false
}

// umountSoon is for a capture that nobody can ask whether it has ended.
func (d *disk) umountSoon() {
	d.t.Helper()
	eventually(d.t, "unmount "+d.Dir, func() bool {
		err := unix.Unmount(d.Dir, 0)
		if err != nil {
			require.ErrorIs(d.t, err, unix.EBUSY)
		}
		return err == nil
	})
	d.mounted = false
}

func (d *disk) end() {
	if d.stuck {
		d.Resume()
	}
	if d.mounted {
		if err := unix.Unmount(d.Dir, 0); err != nil {
			d.t.Errorf("unmount %s at the end of the test: %v", d.Dir, err)
			_ = unix.Unmount(d.Dir, unix.MNT_DETACH)
		}
	}
	d.dm("remove", "--retry", d.name)
}

func (d *disk) linear() string { return d.table("linear", d.loop+" 0") }

func (d *disk) table(target, arguments string) string {
	return fmt.Sprintf("0 %s %s %s", d.sectors, target, arguments)
}

// become changes what the disk does.
func (d *disk) become(table string) {
	d.t.Helper()
	d.dm("suspend", "--nolockfs", d.name)
	d.dm("load", d.name, "--table", table)
	d.dm("resume", d.name)
}

// Heal makes it a good disk again.
func (d *disk) Heal() {
	d.t.Helper()
	d.become(d.linear())
}

// sync writes what waits in memory. Later, a failing disk would be asked to take it, too: if that is the file system's own,
// it goes read-only.
func (d *disk) sync() {
	d.t.Helper()
	f, err := os.Open(d.Dir)
	require.NoError(d.t, err)
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); !errors.Is(err, unix.EIO) { // which may be one of before
		require.NoError(d.t, err)
	}
}

// FailWrites makes every write from now on an I/O error. Reads work.
func (d *disk) FailWrites() {
	d.t.Helper()
	d.sync()
	d.become(d.failing())
}

// failing is the table of a disk that takes no write.
func (d *disk) failing() string { return d.table("flakey", d.loop+" 0 0 3600 1 error_writes") }

// Unplug makes the disk forget every write from now on, without telling: as a power cut does.
func (d *disk) Unplug() {
	d.t.Helper()
	d.become(d.table("flakey", d.loop+" 0 0 3600 1 drop_writes"))
}

// SlowDown makes every write take so long.
func (d *disk) SlowDown(ms int) {
	d.t.Helper()
	d.become(d.table("delay", fmt.Sprintf("%s 0 0 %s 0 %d", d.loop, d.loop, ms)))
}

// Hang makes all requests wait for Resume.
func (d *disk) Hang() {
	d.t.Helper()
	d.dm("suspend", "--nolockfs", "--noflush", d.name)
	d.stuck = true
}

// Resume ends Hang.
func (d *disk) Resume() {
	d.t.Helper()
	d.stuck = false
	d.dm("resume", d.name)
}

// Freeze freezes the file system. What Thaw gives back must be called.
func (d *disk) Freeze() (thaw func()) {
	d.t.Helper()
	guest.Run(d.t, "fsfreeze", "-f", d.Dir)
	frozen := true
	thaw = func() {
		if frozen {
			frozen = false
			guest.Run(d.t, "fsfreeze", "-u", d.Dir)
		}
	}
	d.t.Cleanup(thaw)
	return thaw
}

// file is the path of a file on the disk.
func (d *disk) file(name string) string { return filepath.Join(d.Dir, name) }

// tmpfs mounts a file system in memory of so many bytes.
func tmpfs(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); !errors.Is(err, unix.EINVAL) {
			assert.NoError(t, err)
		}
	})
	return dir
}
