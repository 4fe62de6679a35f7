// SPDX-License-Identifier: GPL-2.0

package klog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/klog"
)

// TestRecorded scans recorded reports: of kernels 6.1 and 6.12 that were made to misbehave, and of the kernel's own
// documentation. The first line of a file is the title that the scanner has to find.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			title, log, _ := strings.Cut(string(b), "\n")
			splats := klog.Scan(log)
			require.NotEmpty(t, splats)
			assert.Equal(t, strings.TrimPrefix(title, "# "), splats[0].Title)
			for _, s := range splats[1:] {
				t.Errorf("a second report in one: %s", s.Title)
			}
		})
	}
}

// TestClean scans logs of boots in which nothing was wrong.
func TestClean(t *testing.T) {
	files, err := filepath.Glob("testdata/clean-*.log")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			require.Greater(t, len(b), 10000)
			assert.Empty(t, klog.Scan(string(b)))
		})
	}
}

// TestLines has reports that are hard to cause, each by the line that has to be noticed.
func TestLines(t *testing.T) {
	for _, line := range []string{
		"WARNING: possible circular locking dependency detected",
		"WARNING: possible recursive locking detected",
		"WARNING: inconsistent lock state",
		"WARNING: held lock freed!",
		"BUG: sleeping function called from invalid context at include/linux/sched/mm.h:274",
		"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!",
		"BUG: unable to handle page fault for address: ffffffffc0000000",
		"BUG: KASAN: use-after-free in ksnif_hook+0x12/0x34 [ksnif]",
		"BUG kmalloc-64 (Tainted: G    B      OE     ): Objects remaining in kmalloc-64 on __kmem_cache_shutdown()",
		"UBSAN: array-index-out-of-bounds in net/x.c:12:3",
		"INFO: trying to register non-static key.",
		"INFO: lockdep is turned off.",
		"rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
		"rcu: rcu_preempt kthread starved for 5252 jiffies! g-415 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402 ->cpu=0",
		"watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [insmod:99]",
		"watchdog: Watchdog detected hard LOCKUP on cpu 0",
		"unregister_netdevice: waiting for veth0 to become free. Usage count = 2",
		"ref_tracker: net notrefcnt@000000 has 1/1 users at",
		"remove_proc_entry: removing non-empty directory 'net/ksnif', leaking at least 'status'",
		"proc_dir_entry 'ksnif/status' already registered",
		"ODEBUG: free active (active state 0) object type: work_struct hint: ksnif_work+0x0/0x10",
		"general protection fault: 0000 [#1] SMP NOPTI",
		"double fault: 0000 [#1] PREEMPT SMP NOPTI",
		"PANIC: double fault, error_code: 0x0",
		"kernel tried to execute NX-protected page - exploit attempt? (uid: 0)",
		"insmod: page allocation failure: order:10, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)",
		"stress invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0",
		"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
		"list_add corruption. next->prev should be prev (ffff8880), but was 0000000000000000.",
		"sysfs: cannot create duplicate filename '/module/ksnif'",
		"Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200",
		"Bad page state in process insmod  pfn:12345",
		"DEBUG_LOCKS_WARN_ON(lock->magic != lock)",
		"    # packet_test: EXPECTATION FAILED at kmod/ksnif_test.c:120",
		"    # packet_test: ASSERTION FAILED at kmod/ksnif_test.c:120",
		"    not ok 3 packet_test",
		"not ok 1 ksnif",
		"Oops: 0002 [#1] PREEMPT SMP NOPTI",
		"Oops: int3: 0000 [#1] PREEMPT SMP NOPTI",
		"Call Trace:",
		"[ INFO: possible circular locking dependency detected ]",
		"DMA-API: virtio-pci 0000:00:03.0: device driver frees DMA memory with wrong function",
		"NETDEV WATCHDOG: eth0 (virtio_net): transmit queue 0 timed out",
		"kernel stack overflow (page fault): 0000 [#1] PREEMPT SMP NOPTI",
	} {
		for _, stamp := range []string{"", "[    1.234567] ", "[   12.345678][  T123] ", "<4>[    0.000001] "} {
			splats := klog.Scan("quiet\n" + stamp + line + "\r\nquiet\n")
			if assert.Len(t, splats, 1, stamp+line) {
				assert.Equal(t, line, splats[0].Title)
			}
		}
	}
}

// TestHarmless has lines that look like a report and are none.
func TestHarmless(t *testing.T) {
	for _, line := range []string{
		"Kernel command line: console=ttyS0 panic=-1 oops=panic panic_on_warn=1 softlockup_panic=1 hung_task_panic=1",
		"ksnif: loading out-of-tree module taints kernel.",
		"ksnif: module verification failed: signature and/or required key missing - tainting kernel",
		"[Firmware Bug]: TSC doesn't count with P0 frequency!",
		"MDS CPU bug present and SMT on, data leak possible. See https://www.kernel.org for more details.",
		"Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!",
		"traps: curl[123] general protection fault ip:7f12 sp:7ffe error:0 in libc.so.6[7f00+1000]",
		"sh[99]: segfault at 0 ip 000055 sp 00007f error 4 in sh[55+1]",
		"Buffer I/O error on dev dm-0, logical block 3, lost async page write",
		"EXT4-fs warning (device dm-0): ext4_end_bio:343: I/O error 10 writing to inode 12 starting block 8193)",
		"EXT4-fs error (device dm-0): ext4_find_entry:1683: inode #2: comm sh: reading directory lblock 0",
		"workqueue: ksnif_write [ksnif] hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
		"hrtimer: interrupt took 15418130 ns",
		"clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:",
		"rcu: \tOffload RCU callbacks from CPUs: (none).",
		"rcu: INFO is not a stall",
		"NMI watchdog: Perf NMI watchdog permanently disabled",
		"kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)",
		"kmemleak: Automatic memory scanning thread started",
		"debug: BUGS and WARNINGS are words",
		"nf_conntrack: default automatic helper assignment has been turned off for security reasons",
		"    ok 1 section_test",
		"ok 1 ksnif",
		"# ksnif: pass:15 fail:0 skip:0 total:15",
		"sysrq: Show Blocked State",
		"FAULT_INJECTION: forcing a failure.",
		"pktgen: WARNING: trying to remove a running interface, stopping it now.",
	} {
		assert.Empty(t, klog.Scan("[    1.0] "+line), line)
	}
}

// TestReportsInARow: an announced report must not hide the next one.
func TestReportsInARow(t *testing.T) {
	log := "------------[ cut here ]------------\nWARNING: CPU: 0 PID: 1 at a.c:1 a+0x1/0x2\n"
	splats := klog.Scan(log + "Call Trace:\n f\n g\n h\n" + strings.ReplaceAll(log, "a", "b"))
	require.Len(t, splats, 2, "the second starts although the first has no end mark")
	splats = klog.Scan("BUG: one\nBUG: two\n")
	require.Len(t, splats, 1)
	assert.Equal(t, []string{"BUG: one", "BUG: two"}, splats[0].Telling)
}

func TestTaint(t *testing.T) {
	assert.Equal(t, "", klog.Taint(0))
	assert.Equal(t, "O out-of-tree module, E unsigned module", klog.Taint(12288))
	assert.Equal(t, "D died (oops or BUG), W warning", klog.Taint(128|512))
	assert.Equal(t, "N in-kernel test", klog.Taint(262144))
}
