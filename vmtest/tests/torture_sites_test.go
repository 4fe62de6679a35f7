// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// roomLeft is how much a site leaves for a capture that runs out of room, in bytes: more than the first packets, which
// are flushed, and less than those that wait in the queue for a stop. The load takes three seconds to fill it; on a debug
// kernel six, as a freeze takes longer to come.
func roomLeft() uint64 {
	if guest.Debug() {
		return 3_000_000 / uint64(debugPace())
	}
	return 1_500_000
}

func tmpfsSite(t *testing.T) *site {
	dir := tmpfs(t, fmt.Sprint(roomLeft()))
	// what fills it at once, so that not even the end of a capture has room
	fill := func() { fillUp(t, filepath.Join(dir, "filler")) }
	return &site{
		Dir: dir, Begin: fill,
		Heal:   func() { require.NoError(t, os.Remove(filepath.Join(dir, "filler"))) },
		Umount: func() { require.NoError(t, unix.Unmount(dir, 0)) },
	}
}

// fillUp writes a file until there is no room for more.
func fillUp(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
}

// site is the disk as a site, with no trouble yet.
func (d *disk) site() *site {
	return &site{Dir: d.Dir, Freeze: d.Freeze, Umount: d.umount}
}

func fullExt4(t *testing.T) *site {
	d := newDisk(t, 4, "")
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(d.Dir, &st))
	size := int64(st.Bfree)*st.Bsize - int64(roomLeft())
	require.NoError(t, os.WriteFile(d.file("filler"), make([]byte, size), 0o600))
	unix.Sync()
	return d.site()
}

func fileLimited(t *testing.T) *site {
	s := newDisk(t, 16, "").site()
	s.Start = func(c *capture) error {
		fileLimit(t, roomLeft()+1, c.Start)
		return nil
	}
	return s
}

func flakey(t *testing.T) *site {
	d := newDiskJournal(t, 16, "", newJournal(t))
	s := d.site()
	s.Begin, s.Heal = d.FailWrites, d.Heal
	return s
}

func dmError(t *testing.T) *site {
	d := newDisk(t, 16, "")
	s := d.site()
	s.Begin = func() { d.become(d.table("error", "")) }
	s.Heal = func() {
		d.Heal()
		d.umount() // it is read-only by now
		d.mount("")
	}
	return s
}

// quotaXFS limits how much the files of a user may take, who starts the capture.
func quotaXFS(t *testing.T) *site {
	guest.Run(t, "modprobe", "xfs")
	dev, dir := newLoop(t, 320), t.TempDir()
	guest.Run(t, "mkfs.xfs", "-q", dev)
	require.NoError(t, unix.Mount(dev, dir, "xfs", 0, "uquota"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); !errors.Is(err, unix.EINVAL) {
			assert.NoError(t, err)
		}
	})
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	home := filepath.Join(dir, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	require.NoError(t, os.Chown(home, anyUser, anyUser))
	return &site{
		Dir: home,
		// Not before: to make a file, XFS wants room for many inodes. What it holds ready behind the file's end counts
		// as used, but is room, too: hence the size and not the blocks.
		Begin: func() {
			var st unix.Stat_t
			require.NoError(t, unix.Stat(filepath.Join(home, "capture"), &st))
			require.NoError(t, setQuota(dev, anyUser, uint64(st.Size)+roomLeft()))
		},
		Start: func(c *capture) error {
			return onThread(func() error {
				if err := (person{uid: anyUser, caps: []uint{unix.CAP_NET_ADMIN}}).become(); err != nil {
					return err
				}
				raw, err := dialRaw()
				if err != nil {
					return err
				}
				defer raw.Close()
				a, err := raw.command(genl.CmdStart)
				if err == nil && a.Errno != 0 {
					err = fmt.Errorf("start: %s", a)
				}
				return err
			})
		},
		Freeze: func() func() { return freeze(t, dir) },
		Umount: func() { require.NoError(t, unix.Unmount(dir, 0)) },
	}
}

// diskQuota is the kernel's struct fs_disk_quota.
type diskQuota struct {
	Version   int8
	Flags     int8
	FieldMask uint16
	ID        uint32
	BlockHard uint64 // in 512 bytes
	_         [88]byte
}

// setQuota limits the space that the user's files may take on an XFS.
func setQuota(dev string, uid uint32, bytes uint64) error {
	const (
		setLimits = 'X'<<8 + 4 // Q_XSETQLIM
		userQuota = 0          // USRQUOTA
		version   = 1          // FS_DQUOT_VERSION
		ofUser    = 1          // FS_USER_QUOTA
		blockHard = 1 << 3     // FS_DQ_BHARD
	)
	special, err := unix.BytePtrFromString(dev)
	if err != nil {
		return err
	}
	q := diskQuota{Version: version, Flags: ofUser, FieldMask: blockHard, ID: uid, BlockHard: bytes / 512}
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL, setLimits<<8|userQuota, uintptr(unsafe.Pointer(special)), uintptr(uid),
		uintptr(unsafe.Pointer(&q)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("quotactl: %w", syscall.Errno(errno))
	}
	return nil
}

// scsiHost is where the disks of scsi_debug hang.
const scsiHost = "/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*"

// removed is a disk that is taken out while its file system is mounted, and put back.
func removed(t *testing.T) *site {
	guest.Run(t, "modprobe", "sd_mod")
	guest.Run(t, "modprobe", "scsi_debug", "dev_size_mb=16")
	t.Cleanup(func() { guest.Run(t, "modprobe", "-r", "scsi_debug") })
	name, dir := scsiDisk(t), t.TempDir()
	guest.Run(t, "mkfs.ext4", "-q", "-m", "0", "-b", blockSize, "-J", "size=1", "/dev/"+name)
	mount := func() { guest.Run(t, "mount", "-t", "ext4", "/dev/"+name, dir) }
	mount()
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); !errors.Is(err, unix.EINVAL) {
			assert.NoError(t, err)
		}
	})
	return &site{
		Dir:   dir,
		Begin: func() { require.NoError(t, os.WriteFile("/sys/block/"+name+"/device/delete", []byte("1"), 0)) },
		Heal: func() {
			require.NoError(t, unix.Unmount(dir, 0))
			hosts, err := filepath.Glob(scsiHost + "/scsi_host/host*/scan")
			require.NoError(t, err)
			require.Len(t, hosts, 1)
			require.NoError(t, os.WriteFile(hosts[0], []byte("- - -"), 0))
			name = scsiDisk(t)
			mount()
		},
		Umount: func() { require.NoError(t, unix.Unmount(dir, 0)) },
	}
}

// scsiDisk waits for the only SCSI disk. Its node may be there a moment before it can be opened.
func scsiDisk(t testing.TB) (name string) {
	t.Helper()
	eventually(t, "the disk is there", func() bool {
		found, err := filepath.Glob(scsiHost + "/target*/*/block/sd*")
		require.NoError(t, err)
		if len(found) == 0 {
			return false
		}
		name = filepath.Base(found[0])
		dev, err := os.Open("/dev/" + name)
		if err != nil {
			return false
		}
		return dev.Close() == nil
	})
	return name
}
