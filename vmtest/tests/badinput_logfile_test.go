// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// badFile is a logfile that start has to refuse.
type badFile struct {
	name  string
	path  func(t *testing.T, p *place) string // makes it
	errno unix.Errno
	text  string
	help  string // what ksnifctl adds; set another logfile, if empty
}

const (
	notRegular = "logfile: not a regular file"
	ownFS      = "logfile: on a file system of the kernel's own"
	symlink    = "logfile: is a symbolic link"
	directory  = "logfile: is a directory"
	noDir      = "logfile: no such directory"
	partNoDir  = "logfile: part of the path is no directory"
	noRight    = "logfile: no permission"
	noOpen     = "logfile: cannot be opened"
	another    = "logfile: another capture writes it"
	readOnly   = "logfile: read-only file system"
	isFrozen   = "logfile: the file system is frozen"
	noSpace    = "logfile: no space left on device"

	makeIt    = "create it or set another logfile"
	freeSpace = "free space or set logfile to another disk"
)

// TestBadLogfile starts with logfiles that cannot be one, through netlink, procfs and ksnifctl. All three give the same
// reason, and no file anywhere changes: none is made, truncated or touched.
func TestBadLogfile(t *testing.T) {
	p := newPlace(t)
	p.captured(5)
	p.Stop()
	other := newPlace(t)
	other.captured(3)
	n := 0
	for _, rows := range [][]badFile{missingFiles(), links(), notFiles(), kernelFiles(), protectedFiles(), busyFiles(other.File)} {
		n += len(rows)
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) { row.check(t, p.at(t)) })
		}
	}
	other.send(2, 100)
	other.Stop()
	assert.EqualValues(t, 5, other.Stats().Written, "the other capture went on")
	assert.Len(t, other.Read().Packets, 5)
	t.Logf("%d rows through three channels", n)
}

func (f badFile) check(t *testing.T, p *place) {
	path := f.path(t, p)
	p.Set(genl.Settings{Logfile: &path})
	r := p.listen()
	before, content := p.snapshot(), contentOf(path)
	for _, via := range channels() {
		errno, text := via.do(p, "start")
		require.Equal(t, f.errno, errno, via.name)
		require.Equal(t, f.text, text, via.name)
		p.unchanged(before)
	}
	line := "ksnifctl: start: logfile " + path + ": " + strings.TrimPrefix(f.text, "logfile: ") + ": set another logfile\n"
	if f.help != "" {
		line = strings.Replace(line, "set another logfile", f.help, 1)
	}
	got := p.ksnifctl("start")
	if len(path) > 60 {
		got.Stderr = strings.Replace(got.Stderr, path[:60]+"…", path, 1)
	}
	require.Equal(t, told{Code: 1, Stderr: line}, got)
	p.unchanged(before)
	require.Equal(t, content, contentOf(path), "content of %s", path)

	// No event came: the first one is that of the next set.
	p.Set(genl.Settings{Snaplen: ptr(uint32(777))})
	require.Equal(t, genl.EventSettingsChanged, next(t, r).Type)
}

// contentOf reads a file that lies elsewhere, if it is one that can be read without waiting.
func contentOf(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	if !info.Mode().IsRegular() {
		return info.Mode().String()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// file makes a file with content in the place.
func (p *place) file(name string) string {
	p.T.Helper()
	path := p.path(name)
	require.NoError(p.T, os.WriteFile(path, []byte("not to be lost\n"), 0o644))
	return path
}

// fixed is a path that is there anyhow.
func fixed(path string) func(*testing.T, *place) string {
	return func(*testing.T, *place) string { return path }
}

// below is a path in the place's folder.
func below(path string) func(*testing.T, *place) string {
	return func(_ *testing.T, p *place) string { return p.dir + "/" + path }
}

func missingFiles() []badFile {
	return []badFile{
		{"missing directory", below("none/x"), unix.ENOENT, noDir, makeIt},
		{"missing directories", below("none/none/x"), unix.ENOENT, noDir, makeIt},
		{"file as a directory", func(_ *testing.T, p *place) string { return p.file("file") + "/x" }, unix.ENOTDIR, partNoDir, ""},
		{"file with a slash behind", func(_ *testing.T, p *place) string { return p.file("file") + "/" }, unix.ENOTDIR, partNoDir, ""},
		{"new file with a slash behind", below("new/"), unix.EISDIR, directory, ""},
		{"directory", func(_ *testing.T, p *place) string { return p.dir }, unix.EISDIR, directory, ""},
		{"directory with a slash behind", func(_ *testing.T, p *place) string { return p.dir + "/" }, unix.EISDIR, directory, ""},
		{"root directory", fixed("/"), unix.EISDIR, directory, ""},
		{"dot", func(_ *testing.T, p *place) string { return p.dir + "/." }, unix.EISDIR, directory, ""},
		{"name too long", below(strings.Repeat("n", 256)), unix.ENAMETOOLONG, noOpen, ""},
	}
}

func links() []badFile {
	link := func(to string) func(t *testing.T, p *place) string {
		return func(t *testing.T, p *place) string {
			path := p.path("link")
			_ = os.Remove(path)
			require.NoError(t, os.Symlink(to, path))
			return path
		}
	}
	return []badFile{
		{"symlink to a file", func(t *testing.T, p *place) string { return link(p.file("file"))(t, p) }, unix.ELOOP, symlink, ""},
		{"dangling symlink", link("nothing"), unix.ELOOP, symlink, ""},
		{"dangling symlink to another directory", link("/tmp/ksnif-never"), unix.ELOOP, symlink, ""},
		{"symlink to a directory", link("."), unix.ELOOP, symlink, ""},
		{"symlink to itself", link("link"), unix.ELOOP, symlink, ""},
		{"symlink in procfs", fixed("/proc/self/exe"), unix.ELOOP, symlink, ""},
		// It is not the caller who opens: what is below /proc/self is not the caller's, and must not lead elsewhere.
		{"open file of the one who opens", fixed("/proc/self/fd/0"), unix.ENOENT, noDir, makeIt},
		{"root of the one who opens", fixed("/proc/self/root/tmp/ksnif-never"), unix.ELOOP, symlink, ""},
		{"folder of the one who opens", fixed("/proc/thread-self/cwd/tmp/ksnif-never"), unix.ELOOP, symlink, ""},
	}
}

func notFiles() []badFile {
	node := func(name string, mode uint32, dev int) func(t *testing.T, p *place) string {
		return func(t *testing.T, p *place) string {
			path := p.path(name)
			require.NoError(t, unix.Mknod(path, mode|0o666, dev))
			return path
		}
	}
	return []badFile{
		{"FIFO", node("fifo", unix.S_IFIFO, 0), unix.EINVAL, notRegular, ""},
		{"character device", node("null", unix.S_IFCHR, int(unix.Mkdev(1, 3))), unix.EINVAL, notRegular, ""},
		{"block device", node("loop", unix.S_IFBLK, int(unix.Mkdev(7, 0))), unix.EINVAL, notRegular, ""},
		{"device of no driver", node("none", unix.S_IFCHR, int(unix.Mkdev(511, 1000))), unix.EINVAL, notRegular, ""},
		{"device node in /dev", fixed("/dev/zero"), unix.EINVAL, notRegular, ""},
		{"terminal", fixed("/dev/ttyS0"), unix.EINVAL, notRegular, ""},
		{"socket", func(t *testing.T, p *place) string {
			path := p.path("socket")
			l, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
			return path
		}, unix.EINVAL, notRegular, ""},
	}
}

func kernelFiles() []badFile {
	return []badFile{
		{"sysctl", fixed("/proc/sys/kernel/hostname"), unix.EINVAL, ownFS, ""},
		{"file in procfs", fixed("/proc/1/comm"), unix.EINVAL, ownFS, ""},
		{"ksnif's own status", fixed("/proc/net/ksnif/status"), unix.EINVAL, ownFS, ""},
		{"new file in procfs", fixed("/proc/ksnif-never"), unix.ENOENT, noDir, makeIt},
		{"file in sysfs", fixed("/sys/module/ksnif/refcnt"), unix.EINVAL, ownFS, ""},
		{"switch in sysfs", fixed("/sys/kernel/rcu_expedited"), unix.EINVAL, ownFS, ""},
		{"new file in sysfs", fixed("/sys/kernel/ksnif-never"), unix.EACCES, noRight, ""},
		{"file of cgroups", func(t *testing.T, _ *place) string { return mountCgroup(t, "cgroup2") + "/cgroup.max.depth" }, unix.EINVAL, ownFS, ""},
		{"file of old cgroups", func(t *testing.T, _ *place) string {
			return mountCgroup(t, "cgroup", "-o", "none,name=ksnif") + "/cgroup.procs"
		}, unix.EINVAL, ownFS, ""},
		{"file in debugfs", fixed("/sys/kernel/debug/sched/features"), unix.EINVAL, ownFS, ""},
	}
}

// protectedFiles are those that not even root may write.
func protectedFiles() []badFile {
	return []badFile{
		{"file on a read-only mount", func(t *testing.T, p *place) string { return readOnlyMount(t) + "/there" }, unix.EROFS, readOnly, ""},
		{"new file on a read-only mount", func(t *testing.T, p *place) string { return readOnlyMount(t) + "/new" }, unix.EROFS, readOnly, ""},
		{"immutable file", withFlag("file", fsImmutable), unix.EPERM, noRight, ""},
		{"append-only file", withFlag("file", fsAppend), unix.EPERM, noRight, ""},
		{"new file in an immutable directory", withFlag("dir/new", fsImmutable), unix.EPERM, noRight, ""},
		{"file system without a free inode", func(t *testing.T, p *place) string {
			return mountTmpfs(t, "size=64k,nr_inodes=1") + "/new"
		}, unix.ENOSPC, noSpace, freeSpace},
		{"file on a frozen file system", func(t *testing.T, p *place) string { return frozen(t) + "/there" }, unix.EBUSY, isFrozen, ""},
		{"new file on a frozen file system", func(t *testing.T, p *place) string { return frozen(t) + "/new" }, unix.EBUSY, isFrozen, ""},
	}
}

// frozen is a file system that waits, with one file, called there.
func frozen(t *testing.T) string {
	dir := mountExt4(t)
	require.NoError(t, os.WriteFile(dir+"/there", []byte("there"), 0o644))
	freeze(t, dir)
	return dir
}

// mountCgroup returns a group of a hierarchy that it mounts.
func mountCgroup(t *testing.T, kind string, options ...string) string {
	dir := t.TempDir()
	guest.Run(t, "mount", append(options, "-t", kind, "none", dir)...)
	t.Cleanup(func() { guest.Run(t, "umount", dir) })
	guest.Run(t, "mkdir", dir+"/ksnif")
	t.Cleanup(func() { guest.Run(t, "rmdir", dir+"/ksnif") })
	return dir + "/ksnif"
}

// readOnlyMount is a read-only file system with one file, called there.
func readOnlyMount(t *testing.T) string {
	dir := mountTmpfs(t, "size=64k")
	require.NoError(t, os.WriteFile(dir+"/there", []byte("there"), 0o644))
	guest.Run(t, "mount", "-o", "remount,ro", dir)
	return dir
}

// Inode flags, for FS_IOC_SETFLAGS.
const (
	fsImmutable = 0x10
	fsAppend    = 0x20
)

// withFlag makes a file, or the folder of one, and gives it an inode flag until the test ends.
func withFlag(name string, flag int) func(t *testing.T, p *place) string {
	return func(t *testing.T, p *place) string {
		flagged := p.path(name)
		if dir := filepath.Dir(name); dir != "." {
			flagged = p.path(dir)
			require.NoError(t, os.MkdirAll(flagged, 0o755))
		} else {
			p.file(name)
		}
		setFlags(t, flagged, flag)
		t.Cleanup(func() { setFlags(t, flagged, 0) })
		return p.path(name)
	}
}

func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
}

// busyFiles are in use by somebody else, one of them by a capture in another namespace.
func busyFiles(other string) []badFile {
	return []badFile{
		{"file of another capture", fixed(other), unix.EBUSY, another, ""},
		{"hard link to the file of another capture", func(t *testing.T, p *place) string {
			path := p.path("hard")
			require.NoError(t, os.Link(other, path))
			return path
		}, unix.EBUSY, another, ""},
		{"the file of another capture on another mount", func(t *testing.T, p *place) string {
			dir := t.TempDir()
			guest.Run(t, "mount", "--bind", filepath.Dir(other), dir)
			t.Cleanup(func() { guest.Run(t, "umount", dir) })
			return filepath.Join(dir, filepath.Base(other))
		}, unix.EBUSY, another, ""},
		{"program that runs", func(t *testing.T, p *place) string {
			path := p.path("busybox")
			guest.Run(t, "cp", "/bin/busybox", path)
			cmd := exec.Command(path, "sleep", "1000")
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			return path
		}, unix.ETXTBSY, noOpen, ""},
	}
}

// The file is opened with the rights of whoever starts, not with the kernel's: the privilege to capture is none to
// write files.
func TestLogfileRightsOfTheCaller(t *testing.T) {
	p := newPlace(t)
	require.NoError(t, os.Chmod(p.dir, 0o755))
	p.captured(3)
	p.Stop()
	w := person{uid: anyUser, caps: []uint{unix.CAP_NET_ADMIN}}
	secret := p.path("secret")
	require.NoError(t, os.Mkdir(secret, 0o700))
	require.NoError(t, os.WriteFile(secret+"/there", []byte("there"), 0o666))
	mine := p.path("mine")
	require.NoError(t, os.Mkdir(mine, 0o700))
	require.NoError(t, os.Chown(mine, anyUser, anyUser))

	for _, row := range []struct{ name, path string }{
		{"unwritable file", p.file("file")},
		{"new file in an unwritable directory", p.path("new")},
		{"file in an unsearchable directory", secret + "/there"},
		{"new file in an unsearchable directory", secret + "/new"},
		{"own file of the kernel's default", "/var/log/ksnif-never.pcap"},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := p.at(t)
			q.Set(genl.Settings{Logfile: &row.path})
			before := q.snapshot()
			var errno unix.Errno
			var text string
			require.NoError(t, w.do(q, func() error {
				raw, err := dialRaw()
				if err != nil {
					return err
				}
				defer raw.Close()
				a, err := raw.command(genl.CmdStart)
				errno, text = a.Errno, a.Text
				return err
			}))
			assert.Equal(t, unix.EACCES, errno)
			assert.Equal(t, noRight, text)
			got := q.ksnifctlAs(w, "start")
			assert.Equal(t, told{1, "", "ksnifctl: start: logfile " + row.path + ": no permission: set another logfile\n"}, got)
			q.unchanged(before)
		})
	}
	t.Run("own directory", func(t *testing.T) {
		q := p.at(t)
		file := mine + "/capture"
		q.Set(genl.Settings{Logfile: &file})
		assert.Equal(t, told{}, q.ksnifctlAs(w, "start"))
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.EqualValues(t, 0o600, info.Mode(), "mode of a new capture file")
		var st unix.Stat_t
		require.NoError(t, unix.Stat(file, &st))
		assert.EqualValues(t, anyUser, st.Uid)
		q.send(2, 10)
		q.Stop()
		assert.EqualValues(t, 2, q.Stats().Written)
	})
}
