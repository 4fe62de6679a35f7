// SPDX-License-Identifier: GPL-2.0

package selftest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// plant has the module in splat/ make a mistake.
func plant(t *testing.T, name string) {
	t.Helper()
	const trigger = "/proc/ksnif_splat"
	if _, err := os.Stat(trigger); errors.Is(err, fs.ErrNotExist) {
		ko, err := os.Open(proto.PathSplat)
		require.NoError(t, err)
		defer ko.Close()
		require.NoError(t, unix.FinitModule(int(ko.Fd()), "", 0))
	}
	require.NoError(t, os.WriteFile(trigger, []byte(name), 0))
}

// setting changes one of the kernel's until the test ends, if it does.
func setting(t *testing.T, file, value string) {
	t.Helper()
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(value), 0))
	t.Cleanup(func() { require.NoError(t, os.WriteFile(file, before, 0)) })
}

func TestSplatUseAfterFree(t *testing.T)      { plant(t, "use-after-free") }
func TestSplatOutOfBounds(t *testing.T)       { plant(t, "out-of-bounds") }
func TestSplatNullPointer(t *testing.T)       { plant(t, "null-pointer") }
func TestSplatSleepInAtomic(t *testing.T)     { plant(t, "sleep-in-atomic") }
func TestSplatLockInversion(t *testing.T)     { plant(t, "lock-inversion") }
func TestSplatRCUUsage(t *testing.T)          { plant(t, "rcu-usage") }
func TestSplatLeak(t *testing.T)              { plant(t, "leak") }
func TestSplatWarn(t *testing.T)              { plant(t, "warn") }
func TestSplatBug(t *testing.T)               { plant(t, "bug") }
func TestSplatRefcountUnderflow(t *testing.T) { plant(t, "refcount-underflow") }
func TestSplatRefcountSaturated(t *testing.T) { plant(t, "refcount-saturated") }
func TestSplatShift(t *testing.T)             { plant(t, "shift") }
func TestSplatArrayIndex(t *testing.T)        { plant(t, "array-index") }
func TestSplatListCorruption(t *testing.T)    { plant(t, "list-corruption") }
func TestSplatFreeActive(t *testing.T)        { plant(t, "free-active") }
func TestSplatDataRace(t *testing.T)          { plant(t, "data-race") }

// The kernel takes a processor to be locked up after twice the time that it is told.
func TestSplatSoftLockup(t *testing.T) {
	setting(t, "/proc/sys/kernel/watchdog_thresh", "2")
	plant(t, "soft-lockup")
}

// The kernel waits 5 s longer than it is told if it proves RCU.
// The kernel's thread that counts the readers is kept off the processor of the one that holds it up: as a thread of real
// time it does not move away by itself, and would see nothing.
func TestSplatRCUStall(t *testing.T) {
	setting(t, "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3")
	pin(t, rcuThread(t), 1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pin(t, 0, 0)
	plant(t, "rcu-stall")
}

// pin keeps a thread, 0 for the calling one, on a processor.
func pin(t *testing.T, tid, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	require.NoError(t, unix.SchedSetaffinity(tid, &set))
}

func rcuThread(t *testing.T) int {
	t.Helper()
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	require.NoError(t, err)
	for _, comm := range comms {
		name, _ := os.ReadFile(comm)
		if s := strings.TrimSpace(string(name)); s == "rcu_sched" || s == "rcu_preempt" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(comm)))
			require.NoError(t, err)
			return pid
		}
	}
	t.Fatal("no thread of RCU")
	return 0
}

func TestSplatHungTask(t *testing.T) {
	setting(t, "/proc/sys/kernel/hung_task_timeout_secs", "3")
	plant(t, "hung-task")
}
