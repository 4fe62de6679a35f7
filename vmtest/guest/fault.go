// SPDX-License-Identifier: GPL-2.0

package guest

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

const debugfs = "/sys/kernel/debug/"

// NeedsFaults skips a test that makes things fail, where the kernel cannot: all but KERNEL=debug-6.1 and its like.
func NeedsFaults(t testing.TB) {
	t.Helper()
	if !strings.HasPrefix(Kernel(), "debug-") {
		t.Skip("needs a debug kernel: make vmtest KERNEL=debug-6.1")
	}
}

// Fault is one of the kernel's ways to make things fail: a folder of debugfs, as in the kernel's
// Documentation/fault-injection.
type Fault struct {
	t   testing.TB
	dir string
}

// NewFault takes failslab, fail_page_alloc or fail_function into use. Nothing fails until a probability is set, and
// nothing any more when the test ends.
func NewFault(t testing.TB, name string) *Fault {
	t.Helper()
	f := &Fault{t: t, dir: debugfs + name}
	f.reset()
	t.Cleanup(f.reset)
	return f
}

func (f *Fault) reset() {
	f.t.Helper()
	f.Set("probability", 0)
	f.Set("interval", 1)
	f.Set("times", 0)
	f.Set("space", 0)
	// more would print stacks, which look like reports of trouble
	f.Set("verbose", 0)
	f.Set("task-filter", "N")
	f.Set("stacktrace-depth", 32)
	f.Within(0, ^uint64(0))
	for name, value := range map[string]string{ // what only some have
		"ignore-gfp-wait": "Y", "ignore-gfp-highmem": "Y", "cache-filter": "N", "min-order": "1", "inject": " ",
	} {
		if _, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			f.Set(name, value)
		}
	}
}

// Set sets an attribute.
func (f *Fault) Set(name string, value any) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(fmt.Sprint(value)), 0); err != nil {
		f.t.Fatalf("fault injection: %v", err)
	}
}

// Within lets only that fail which code between two addresses asked for.
func (f *Fault) Within(from, to uint64) {
	f.t.Helper()
	f.Set("require-start", from)
	f.Set("require-end", to)
}

// Arm lets so many per cent fail, but no more than a number of times.
func (f *Fault) Arm(percent, times int) {
	f.t.Helper()
	f.Set("times", times)
	f.Set("probability", percent)
}

// Disarm lets nothing fail any more, and returns how many times are left of those that Arm allowed.
func (f *Fault) Disarm() (left int) {
	f.t.Helper()
	f.Set("probability", 0)
	b, err := os.ReadFile(filepath.Join(f.dir, "times"))
	if err == nil {
		left, err = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if err != nil {
		f.t.Fatalf("fault injection: %v", err)
	}
	return left
}

// Inject lets fail_function have a function of the module return an error. Of one that returns NULL in every case, the
// error does not matter, and the result is true.
func (f *Fault) Inject(function string, errno unix.Errno) (null bool) {
	f.t.Helper()
	list, err := os.ReadFile(debugfs + "error_injection/list")
	if err != nil {
		f.t.Fatalf("fault injection: %v", err)
	}
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		null = null || words[0] == function && words[len(words)-1] == "NULL"
	}
	f.Set("inject", function)
	if !null {
		f.Set(function+"/retval", fmt.Sprintf("%#x", -uint64(errno)))
	}
	return null
}

// SpareDetectors has failslab leave the kernel's own detectors alone, which would give up: the boot marked the caches of
// all others.
func (f *Fault) SpareDetectors() { f.Set("cache-filter", "Y") }

// FailNth makes one call whose n-th allocation fails, and says whether it came to an n-th. Which allocations count,
// failslab and fail_page_alloc say. The call should be one system call and little else: what the thread does
// besides counts, too.
func FailNth(n int, call func()) (fired bool, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("fail-nth: %w", err)
	}
	defer unix.Close(fd)
	count, off := []byte(strconv.Itoa(n)), []byte("0")
	left := make([]byte, 16)
	if _, err := unix.Pwrite(fd, count, 0); err != nil {
		return false, fmt.Errorf("fail-nth: %w", err)
	}
	call()
	got, err := unix.Pread(fd, left, 0)
	if _, werr := unix.Pwrite(fd, off, 0); err == nil {
		err = werr
	}
	if err != nil {
		return false, fmt.Errorf("fail-nth: %w", err)
	}
	return strings.TrimSpace(string(left[:got])) == "0", nil
}

// Symbol is where a function of the module lies in memory.
func Symbol(t testing.TB, name string) (from, to uint64) {
	t.Helper()
	b, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	to = ^uint64(0)
	var others []uint64
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) != 4 || words[3] != "[ksnif]" {
			continue
		}
		at, err := strconv.ParseUint(words[0], 16, 64)
		if err != nil {
			t.Fatalf("kallsyms: %v", err)
		}
		if words[2] == name {
			from = at
		}
		others = append(others, at)
	}
	for _, at := range others {
		if at > from {
			to = min(to, at)
		}
	}
	if from == 0 || to == ^uint64(0) {
		t.Fatalf("kallsyms: no function %s in the module, or nothing behind it", name)
	}
	return from, to
}

// ModuleText is where the module's code lies in memory, without that of init and exit.
func ModuleText(t testing.TB) (from, to uint64) {
	t.Helper()
	b, err := os.ReadFile("/sys/module/ksnif/sections/.text")
	if err == nil {
		from, err = strconv.ParseUint(strings.TrimSpace(string(b)), 0, 64)
	}
	if err != nil {
		t.Fatalf("the module's code: %v", err)
	}
	module, err := elf.Open(proto.PathModule)
	if err != nil {
		t.Fatalf("the module's code: %v", err)
	}
	defer module.Close()
	return from, from + module.Section(".text").Size
}
