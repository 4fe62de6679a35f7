// SPDX-License-Identifier: GPL-2.0

package klog_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/klog"
)

// races returns a recorded report of KCSAN, of the kernel's own test, and what it would be with the module in a frame
// of one side.
func races(t *testing.T) (foreign, ours string) {
	t.Helper()
	b, err := os.ReadFile("testdata/foreign-race.log")
	require.NoError(t, err)
	foreign = string(b)
	ours = strings.Replace(foreign, " test_kernel_read+0x10/0x20", " ksnif_queue_get+0x10/0x20 [ksnif]", 1)
	require.NotEqual(t, foreign, ours)
	return foreign, ours
}

func TestRaces(t *testing.T) {
	foreign, ours := races(t)
	const warning = "WARNING: CPU: 0 PID: 1 at a.c:1 a+0x1/0x2"
	assert.Empty(t, klog.Scan(foreign))
	assert.Len(t, klog.Scan(ours), 1)
	assert.Len(t, klog.Scan(strings.ReplaceAll(ours, "[ksnif]", "[ksnif_splat]")), 1)
	assert.Len(t, klog.Scan(strings.Replace(foreign, "\nread to", "\n"+warning+"\nread to", 1)), 1,
		"a warning of another processor is not left out with a race")

	// What is left out must not shift the numbers of what is not.
	splats := klog.Scan(foreign + ours + foreign + warning)
	require.Len(t, splats, 2)
	assert.Equal(t, 1, splats[0].Number)
	assert.Contains(t, splats[0].Title, "KCSAN")
	assert.Equal(t, 3, splats[1].Number)
	assert.Equal(t, warning, splats[1].Title)
}

// A worker's flags, which the tick reads, are the kernel's matter even below the module; nothing else of it is.
func TestRaceOfWorkersFlags(t *testing.T) {
	b, err := os.ReadFile("testdata/worker-flags-race.log")
	require.NoError(t, err)
	report := string(b)
	require.Contains(t, report, "[ksnif]")
	assert.Empty(t, klog.Scan(report))
	for _, part := range []string{"by interrupt on cpu", " kthread_data+0x", " wq_worker_tick+0x"} {
		assert.Len(t, klog.Scan(strings.Replace(report, part, " other+0x", 1)), 1, part)
	}
	assert.Len(t, klog.Scan(strings.Replace(report, "\nwrite to", "\nWARNING: CPU: 0 PID: 1 at a.c:1 a+0x1/0x2\nwrite to", 1)), 1)
}

// The report of a race ends with its line of ===: what follows is a report of its own.
func TestForeignRaceHidesNothing(t *testing.T) {
	foreign, _ := races(t)
	splats := klog.Scan(foreign + "BUG: sleeping function called from invalid context at mm.h:1\nCall Trace:\n f\n")
	require.Len(t, splats, 1)
	assert.True(t, strings.HasPrefix(splats[0].Title, "BUG: sleeping function"))
}
