// SPDX-License-Identifier: GPL-2.0

// Package selftest holds tests that misbehave in every way the harness has to notice. Only `vmtest-run selftest`
// runs them, and checks that each of them gets the result that the harness's table says.
package selftest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
)

func TestMain(m *testing.M) { guest.Main(m) }

func TestPass(t *testing.T) {}

// TestDetectors: the kernel dies of what it can tell of itself, but for races, of which not all are ours.
func TestDetectors(t *testing.T) {
	warn := "1"
	if strings.HasPrefix(guest.Kernel(), "kcsan-") {
		warn = "0"
	}
	for name, want := range map[string]string{
		"panic_on_warn": warn, "panic_on_oops": "1", "softlockup_panic": "1", "soft_watchdog": "1", "watchdog_thresh": "10",
		"hung_task_panic": "1", "hung_task_timeout_secs": "60",
	} {
		b, err := os.ReadFile(filepath.Join("/proc/sys/kernel", name))
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(string(b)), name)
	}
	if locks, err := os.ReadFile("/proc/lockdep_stats"); err == nil {
		require.Regexp(t, `(?m)^ *debug_locks: +1$`, string(locks))
	}
	stall, err := os.ReadFile("/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress")
	require.NoError(t, err)
	require.Equal(t, "0", strings.TrimSpace(string(stall)))
}

func TestSkip(t *testing.T) { t.Skip("a reason") }

func TestSkipWithoutReason(t *testing.T) { t.SkipNow() }

func TestSkipNotAllowed(t *testing.T) { t.Skip("a reason") }

func TestSubtestSkipWithoutReason(t *testing.T) {
	t.Run("sub", func(t *testing.T) { t.SkipNow() })
}

func TestFail(t *testing.T) { t.Error("this test fails") }

func TestExit0(t *testing.T) { syscall.Exit(0) }

func TestExit1(t *testing.T) { os.Exit(1) }

func TestGoPanic(t *testing.T) { panic("a Go panic") }

func TestSIGKILL(t *testing.T) {
	require.NoError(t, unix.Kill(os.Getpid(), unix.SIGKILL))
	select {}
}

func TestHang(t *testing.T) { time.Sleep(time.Hour) }

// kmsg writes to the kernel's log; the host sees it on the console, too.
func kmsg(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile("/dev/kmsg", []byte("<4>"+text), 0))
}

func TestSplat(t *testing.T) {
	kmsg(t, "WARNING: CPU: 0 PID: 1 at kernel/selftest.c:1 selftest+0x1/0x2")
}

func TestAllowedSplat(t *testing.T) {
	guest.AllowKernelLog(t, `^BUG: allowed`, "written by this test")
	kmsg(t, "BUG: allowed by the test before")
}

func TestOtherThanAllowedSplat(t *testing.T) {
	guest.AllowKernelLog(t, `^BUG: allowed`, "never comes")
	kmsg(t, "BUG: this one is not")
}

func TestLeftProcess(t *testing.T) { require.NoError(t, exec.Command("sleep", "1000").Start()) }

func TestLeftNamespace(t *testing.T) { guest.Run(t, "ip", "netns", "add", "left") }

func TestLeftMount(t *testing.T) {
	dir := filepath.Join("/tmp", "left")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
}

func TestLeftDevice(t *testing.T) { guest.Run(t, "ip", "link", "add", "left0", "type", "bridge") }

func TestTaint(t *testing.T) {
	require.NoError(t, os.WriteFile("/proc/sys/kernel/tainted", []byte("64"), 0))
}

func TestPanic(t *testing.T) {
	require.NoError(t, os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0))
}

func TestEndsVM(t *testing.T) { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// TestSilence freezes the guest's init, which cannot say a word then.
func TestSilence(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mount("cgroup2", dir, "cgroup2", 0, ""))
	group := filepath.Join(dir, "frozen")
	require.NoError(t, os.Mkdir(group, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("1"), 0))
	require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.freeze"), []byte("1"), 0))
	time.Sleep(time.Hour)
}

// TestStuck waits in the kernel for what never comes, and cannot be killed.
func TestStuck(t *testing.T) {
	dir, err := os.Open("/out")
	require.NoError(t, err)
	const fiFreeze = 0xc0045877
	require.NoError(t, unix.IoctlSetInt(int(dir.Fd()), fiFreeze, 0))
	t.Error(os.WriteFile("/out/file", []byte("x"), 0o644))
}
