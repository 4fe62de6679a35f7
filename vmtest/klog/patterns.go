// SPDX-License-Identifier: GPL-2.0

package klog

import "regexp"

// pattern is one kind of kernel report.
type pattern struct {
	re *regexp.Regexp
	// weak lines are part of a report but do not say what it is about: a report that starts with one
	// takes its title from the first strong line that follows.
	weak bool
	// tail lines may follow a report that has ended, and still belong to it.
	tail bool
	// head lines start a report even where another one has not ended.
	head bool
}

func strong(expr string) pattern { return pattern{re: regexp.MustCompile(expr)} }

func weak(expr string) pattern { return pattern{re: regexp.MustCompile(expr), weak: true} }

func tail(expr string) pattern { return pattern{re: regexp.MustCompile(expr), weak: true, tail: true} }

func head(expr string) pattern { return pattern{re: regexp.MustCompile(expr), weak: true, head: true} }

// patterns apply to a line without its time stamp. They are the kernel's own words: whoever adds one adds a
// recorded report to testdata/, and looks whether a clean boot stays clean.
func patterns() []pattern {
	return []pattern{
		head(`^-+\[ cut here \]-+`),
		tail(`^(\d+:)?RIP: `),
		weak(`^Call Trace:`),
		tail(`^Kernel panic - not syncing`),
		weak(`^kernel tried to execute NX-protected page`),
		strong(`\bWARNING: `),
		strong(`\bBUG: `),
		strong(`\bkernel BUG at `),
		strong(`\bOops: `),
		strong(`\bKASAN: |\bKFENCE: |\bKCSAN: |\bKMSAN: |\bUBSAN: `),
		strong(`^INFO: task .* blocked (for more than|in I/O wait for more than)`),
		strong(`^INFO: trying to register non-static key`),
		strong(`^INFO: lockdep is turned off`),
		strong(`\brcu: INFO: .*\bstall`),
		strong(`^rcu: .*kthread starved for`),
		strong(`possible (circular locking|recursive locking|irq lock inversion|deadlock)`),
		strong(`inconsistent lock state|suspicious RCU usage|DEBUG_LOCKS_WARN_ON`),
		strong(`unreferenced object 0x|^kmemleak: \d+ new suspected memory leaks`),
		strong(`\brefcount_t: `),
		strong(`\blist_(add|del)(_valid|_entry_valid)? corruption|\blist_(add|del) (double|corruption)`),
		strong(`^general protection fault[,:]`),
		strong(`^(divide error|invalid opcode|stack segment|segment not present|double fault|int3|alignment check)[,:]`),
		strong(`^PANIC: double fault`),
		strong(`\bwatchdog: .*(soft lockup|hard LOCKUP)`),
		strong(`^unregister_netdevice: waiting for|\bto become free\. Usage count`),
		strong(`^ref_tracker: `),
		strong(`\bleaked reference\b|^remove_proc_entry: .*leaking|^proc_dir_entry .* already registered`),
		strong(`^ODEBUG: `),
		strong(`^Bad page state|^page dumped because|^Bad rss-counter`),
		strong(`: page allocation failure: `),
		strong(`invoked oom-killer`),
		strong(`still has objects|Objects remaining in `),
		strong(`^sysfs: cannot create duplicate filename|^kobject_add_internal failed`),
		strong(`^DMA-API: `),
		strong(`^NETDEV WATCHDOG: `),
		strong(`^kernel stack overflow|^Corrupted page table|stack-protector: `),
		strong(`EXPECTATION FAILED at |ASSERTION FAILED at `),
		strong(`^ *not ok \d+ `),
	}
}

// Allow is a line that looks like a report and is none.
type Allow struct {
	Re     *regexp.Regexp
	Reason string
}

// allowed are the lines that a clean kernel prints.
func allowed() []Allow {
	return []Allow{{
		Re:     regexp.MustCompile(`^Spectre V2 : WARNING: Unprivileged eBPF is enabled`),
		Reason: "a remark on the CPU and the configuration, printed at boot and at a sysctl",
	}, {
		Re:     regexp.MustCompile(`^pktgen: WARNING: trying to remove a running interface, stopping it now`),
		Reason: "pktgen's own remark when the device that it feeds goes away, which tests make happen",
	}}
}
