/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Points where tests make ksnif fail or wait, with CONFIG_KSNIF_TEST_POINTS; without it, this
 * is nothing at all.
 *
 * /sys/kernel/debug/ksnif/hook_delay_us holds every hook up that long (0: not at all) between
 * its look at the run and its first use of it. commit_delay_us holds one packet in 64 up between
 * its look at the clock and the moment at which the writer can see it, in the ring.
 *
 * The parameter fail_init is an errno that registering the device notifier returns, which never
 * fails by itself.
 *
 * These functions can be made to fail by fail_function (Documentation/fault-injection); each
 * does one thing that can really fail, and the failure injected means the same:
 *
 *   ksnif_run_alloc        NULL    no memory for a run: start is refused
 *   ksnif_queue_alloc      NULL    no memory for its queue: the same
 *   ksnif_iface_alloc      NULL    no memory for an interface: start is refused; in the hook,
 *                                  interface "any" has the packet
 *   ksnif_record_alloc     NULL    no memory for a packet: it counts as dropped_no_memory
 *   ksnif_file_open_root   -errno  the file cannot be opened: start is refused
 *   ksnif_file_write_once  -errno  one write fails, and with it the run
 *   ksnif_file_sync        -errno  one fsync fails, and with it the run, which is unsynced
 *   ksnif_file_flush       -errno  the same at close
 *   ksnif_file_empty       -errno  the file cannot be truncated: start is refused
 *   ksnif_file_cut         -errno  after a write that was accepted in part it stays torn
 */
#ifndef _KSNIF_TESTPOINT_H
#define _KSNIF_TESTPOINT_H

#ifdef CONFIG_KSNIF_TEST_POINTS

#include <linux/error-injection.h>

/* Such a function must be called. KSNIF_INJECT takes its address, so it is not specialised. */
#define ksnif_injectable	noinline
#define KSNIF_INJECT		ALLOW_ERROR_INJECTION

void ksnif_testpoint_hook(void);	/* any context */
void ksnif_testpoint_commit(void);	/* any context */
int ksnif_testpoint_init(void);
void ksnif_testpoint_register(void);
void ksnif_testpoint_unregister(void);

#else

#define ksnif_injectable
#define KSNIF_INJECT(function, type)

static inline void ksnif_testpoint_hook(void) { }
static inline void ksnif_testpoint_commit(void) { }
static inline int ksnif_testpoint_init(void) { return 0; }
static inline void ksnif_testpoint_register(void) { }
static inline void ksnif_testpoint_unregister(void) { }

#endif /* CONFIG_KSNIF_TEST_POINTS */

#endif /* _KSNIF_TESTPOINT_H */
