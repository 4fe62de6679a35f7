// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/proto"
)

// memory is what is in use, in KB.
type memory struct {
	Kernel uint64 // slab that cannot be reclaimed, vmalloc, per-CPU memory; not what detectors note of it all
	RSS    uint64 // of this process, which is the module's client
}

// memoryInUse looks when what could be freed is freed.
func memoryInUse(t testing.TB) memory {
	t.Helper()
	shrinkCaches(t)
	debug.FreeOSMemory()
	var m memory
	for _, name := range []string{"SUnreclaim", "VmallocUsed", "Percpu"} {
		n, err := meminfo(name)
		require.NoError(t, err)
		m.Kernel += n
	}
	m.Kernel -= detectorsMemory(t)
	var err error
	m.RSS, err = fileNumber("/proc/self/status", "VmRSS")
	require.NoError(t, err)
	return m
}

// detectorsMemory is what the kernel's detectors take for themselves: kmemleak and debug objects have a note of most
// things, those that can be reclaimed at any time, too, such as what is known of files.
func detectorsMemory(t testing.TB) (kb uint64) {
	t.Helper()
	name := `(?m)^(?:` + strings.Join(proto.DetectorCaches, "|") + `) +\d+ +(\d+) +(\d+) `
	b, err := os.ReadFile("/proc/slabinfo")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(name).FindAllSubmatch(b, -1) {
		objects, err := strconv.ParseUint(string(m[1]), 10, 64)
		require.NoError(t, err)
		size, err := strconv.ParseUint(string(m[2]), 10, 64)
		require.NoError(t, err)
		kb += objects * size / 1024
	}
	return kb
}

func meminfo(name string) (kb uint64, err error) { return fileNumber("/proc/meminfo", name) }

// fileNumber reads the number behind a name and a colon.
func fileNumber(file, name string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+)`).FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("%s says nothing of %s", file, name)
	}
	return strconv.ParseUint(string(m[1]), 10, 64)
}

// flatRounds is how many rounds it takes at least to see that something grows.
const flatRounds = 3

// checkFlat compares the first third with the last: nothing grows.
func checkFlat(t testing.TB, usage []memory) {
	t.Helper()
	require.GreaterOrEqual(t, len(usage), flatRounds)
	third := len(usage) / 3
	first, last := usage[:third], usage[len(usage)-third:]
	for name, of := range map[string]func(memory) uint64{
		"kernel": func(m memory) uint64 { return m.Kernel },
		"RSS":    func(m memory) uint64 { return m.RSS },
	} {
		from, to := median(first, of), median(last, of)
		t.Logf("%s memory: %d KB in the first third, %d KB in the last", name, from, to)
		const noise = 4096 // KB
		assert.LessOrEqual(t, to, from+from/20+noise, "%s memory: %+v", name, usage)
	}
}

func median(list []memory, of func(memory) uint64) uint64 {
	var values []uint64
	for _, m := range list {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// faultsPossible says whether the kernel can make allocations fail.
func faultsPossible() bool {
	_, err := os.Stat("/sys/kernel/debug/failslab")
	return err == nil
}

// faultsReachHook says whether memory can run out in the hook: a ring takes none there.
func faultsReachHook() bool { return faultsPossible() && guest.Config() != "ring" }

// failAllocations makes so many per cent of the module's allocations fail that may not sleep, the hook's above all,
// until the returned function is called. On a kernel that cannot, it does nothing.
func failAllocations(t testing.TB, percent int) (end func()) {
	t.Helper()
	if !faultsPossible() {
		return func() {}
	}
	f := guest.NewFault(t, "failslab")
	f.SpareDetectors()
	f.Within(guest.ModuleText(t))
	f.Arm(percent, -1)
	return func() { f.Disarm() }
}

// shrinkCaches has the slab caches that the module uses give back what is free. KASAN holds that back; this ends it.
func shrinkCaches(t testing.TB) {
	t.Helper()
	for _, pattern := range []string{"kmalloc-*", "ksnif_record-*"} {
		caches, err := filepath.Glob("/sys/kernel/slab/" + pattern + "/shrink")
		require.NoError(t, err)
		for _, c := range caches {
			if err := os.WriteFile(c, []byte("1"), 0); !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
			}
		}
	}
}
