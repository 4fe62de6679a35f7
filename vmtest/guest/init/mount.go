// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// mountPoint is a file system that every boot has.
type mountPoint struct {
	source, dir, fstype, data string
	needed                    bool
}

func basicMounts() []mountPoint {
	return []mountPoint{
		{"proc", "/proc", "proc", "", true},
		{"sysfs", "/sys", "sysfs", "", true},
		{"devtmpfs", "/dev", "devtmpfs", "", true},
		{"devpts", "/dev/pts", "devpts", "ptmxmode=0666", false},
		{"tmpfs", "/dev/shm", "tmpfs", "", true},
		{"tmpfs", "/tmp", "tmpfs", "mode=1777", true},
		{"tmpfs", "/run", "tmpfs", "mode=0755", true},
		{"debugfs", "/sys/kernel/debug", "debugfs", "", false},
		{"tracefs", "/sys/kernel/tracing", "tracefs", "", false},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", "", false},
	}
}

func mountBasics() error {
	for _, m := range basicMounts() {
		if !strings.HasPrefix(m.dir, "/sys/") {
			if err := os.MkdirAll(m.dir, 0o755); err != nil {
				return err
			}
		}
		err := unix.Mount(m.source, m.dir, m.fstype, 0, m.data)
		if err != nil && m.needed && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2", "/etc/mtab": "/proc/self/mounts",
	} {
		_ = os.Symlink(target, link)
	}
	setEnv()
	return nil
}

func setEnv() {
	os.Clearenv()
	for k, v := range map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": "/root", "USER": "root", "LOGNAME": "root", "TERM": "linux", "LANG": "C.UTF-8", "TMPDIR": "/tmp",
	} {
		_ = os.Setenv(k, v)
	}
	_ = os.MkdirAll("/root", 0o700)
	_ = unix.Sethostname([]byte("ksnif"))
	// Every message is wanted on the console: the host judges it if the guest cannot.
	for file, value := range map[string]string{
		"/proc/sys/kernel/printk":                 "8 4 1 7",
		"/proc/sys/kernel/printk_devkmsg":         "on",
		"/proc/sys/kernel/printk_ratelimit":       "0",
		"/proc/sys/kernel/sysrq":                  "1",
		"/proc/sys/kernel/hung_task_timeout_secs": "60",
	} {
		_ = os.WriteFile(file, []byte(value), 0)
	}
	tellKCSAN()
}

// tellKCSAN names functions of the kernel's whose races are its own, even with the module's frames below. Both run in an
// interrupt and write to the task that it may have interrupted.
func tellKCSAN() {
	for _, function := range []string{
		"hrtimer_wakeup",       // usleep_range() looks without READ_ONCE() whether its timer has fired already
		"iomap_dio_bio_end_io", // sets task_state_change at the end of a direct write; only DEBUG_ATOMIC_SLEEP reads it
	} {
		_ = os.WriteFile("/sys/kernel/debug/kcsan", []byte("!"+function), 0) // takes one at a time
	}
}

// mountDisk mounts the virtio disk with that serial number, and says whether there is one.
func mountDisk(serial, dir string, flags uintptr) (bool, error) {
	dev, err := findDisk(serial)
	if dev == "" || err != nil {
		return false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	if err := unix.Mount(dev, dir, "ext4", flags, ""); err != nil {
		return false, fmt.Errorf("mount %s at %s: %w", dev, dir, err)
	}
	return true, nil
}

func findDisk(serial string) (string, error) {
	files, err := filepath.Glob("/sys/block/*/serial")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.TrimSpace(string(b)) == serial {
			return waitNode("/dev/"+filepath.Base(filepath.Dir(f)), 5*time.Second)
		}
	}
	return "", nil
}

func waitNode(path string, limit time.Duration) (string, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%s did not appear in %s", path, limit)
		}
	}
}

// umountOut unmounts the results disk. A busy one means that somebody, maybe the kernel, still holds a file.
func umountOut() error {
	var err error
	for range 20 {
		if err = unix.Unmount(proto.DirOut, 0); err == nil || errors.Is(err, unix.EINVAL) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w: something still holds a file there", proto.DirOut, err)
}

// syncOut brings the results to their disk, or gives up after a while. To sync all disks is to wait for those that tests
// have made hang.
func syncOut() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		dir, err := unix.Open(proto.DirOut, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer unix.Close(dir)
		_ = unix.Syncfs(dir)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
	}
}
