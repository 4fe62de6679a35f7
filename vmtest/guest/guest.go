// SPDX-License-Identifier: GPL-2.0

// Package guest helps tests that run inside the VM: commands, network namespaces, traffic, the module. A test
// package that imports it is run in VMs only; its TestMain calls [Main].
package guest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"ksnif/genl"
	"ksnif/vmtest/proto"
)

// InVM says whether this process runs in a test VM.
func InVM() bool { return os.Getenv("KSNIF_VM") != "" }

// Main is the TestMain of a package for the VM. Anywhere else it runs nothing: go test ./... on the host is fine,
// and make vmtest, which knows what is to be run, does not count that as a pass.
func Main(m *testing.M) {
	flag.Parse()
	if list := flag.Lookup("test.list"); !InVM() && (list == nil || list.Value.String() == "") {
		fmt.Println("these tests run in a VM: make vmtest")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Kernel is the name of the kernel that the VM was asked for, as 6.1.
func Kernel() string { return os.Getenv("KSNIF_KERNEL") }

// Config is the module's queue: list or ring.
func Config() string { return os.Getenv("KSNIF_CONFIG") }

// IO is how captures of tests write that do not say it themselves: make vmtest IO=auto.
func IO(t testing.TB) genl.IO {
	name := os.Getenv("KSNIF_IO")
	if name == "" {
		return genl.IOBuffered
	}
	io, err := genl.ParseIO(name)
	if err != nil {
		t.Fatalf("KSNIF_IO: %v", err)
	}
	return io
}

// Debug says whether the VM runs one of the kernels that images/ builds to find faults: KERNEL=debug-6.1 and its like.
func Debug() bool {
	return strings.HasPrefix(Kernel(), "debug-") || strings.HasPrefix(Kernel(), "kcsan-")
}

// NeedsDebug skips a test that only a kernel of [Debug] can run, and says so. The harness knows which tests may.
func NeedsDebug(t testing.TB) {
	t.Helper()
	if !Debug() {
		t.Skip("needs a debug kernel: make vmtest KERNEL=debug-6.1")
	}
}

// Long says whether the long size of tests that have two is wanted: make vmtest-long.
func Long() bool { return os.Getenv("KSNIF_LONG") == "true" }

// Size is how many repetitions, or how much time, a test of two sizes takes. Unlike [Count] it is the same on every VM.
func Size[T any](normal, long T) T {
	if Long() {
		return long
	}
	return normal
}

// Slow says how much slower than a real machine this VM is taken to be; 1 with KVM.
func Slow() int {
	n, err := strconv.Atoi(os.Getenv("KSNIF_SLOW"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Seed is what all that is random in this run comes from. It is printed, so that a failure tells it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("KSNIF_SEED"), 10, 64)
	if err != nil {
		t.Fatalf("KSNIF_SEED: %v", err)
	}
	t.Logf("SEED=%d repeats what this test chose at random", seed)
	return seed
}

// Limit stretches a time limit for a slow VM.
func Limit(d time.Duration) time.Duration { return d * time.Duration(Slow()) }

// Count shrinks a number of repetitions for a slow VM; at least one remains.
func Count(n int) int { return max(n/Slow(), 1) }

// Try runs a command and returns what it printed.
func Try(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Run runs a command that has to succeed, and returns what it printed.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Sh runs a shell script that has to succeed, and returns what it printed.
func Sh(t testing.TB, script string) string {
	t.Helper()
	return Run(t, "sh", "-euc", script)
}

// Poll waits until ok returns true, and fails the test after the limit (which a slow VM stretches).
func Poll(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	limit = Limit(limit)
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, limit)
		}
	}
}

// Tune writes a setting of the kernel's, a file of /proc/sys or /sys, and puts it back at the end of the test.
func Tune(t testing.TB, file, value string) {
	t.Helper()
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, before, 0); err != nil {
			t.Error(err)
		}
	})
}

// AllowKernelLog announces a report of the kernel that the test causes on purpose. An announced expression has to
// match each line of the report that says what it is about; any other report still fails the test.
func AllowKernelLog(t testing.TB, expr, reason string) {
	t.Helper()
	f, err := os.OpenFile(proto.PathAllowed, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s\t%s\n", expr, reason); err != nil {
		t.Fatal(err)
	}
}
