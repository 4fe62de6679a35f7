// SPDX-License-Identifier: GPL-2.0
/* What tests can turn on; see testpoint.h. */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/moduleparam.h>
#include <linux/time64.h>

#include "testpoint.h"

/* More would be taken for a stuck CPU: a hook may run for many packets in a row. */
#define HOOK_DELAY_MAX	(100 * USEC_PER_MSEC)

static u32 hook_delay;	/* microseconds */
static int fail_init;
module_param(fail_init, int, 0);
MODULE_PARM_DESC(fail_init, "errno with which the module's init fails in its middle");
static struct dentry *dir;

/* Busy, as in softirq context nothing else is allowed. */
void ksnif_testpoint_hook(void)
{
	u32 us = READ_ONCE(hook_delay);

	mdelay(us / USEC_PER_MSEC);
	udelay(us % USEC_PER_MSEC);
}

static int hook_delay_get(void *data, u64 *us)
{
	*us = READ_ONCE(hook_delay);
	return 0;
}

static int hook_delay_set(void *data, u64 us)
{
	if (us > HOOK_DELAY_MAX)
		return -ERANGE;
	WRITE_ONCE(hook_delay, us);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(hook_delay_ops, hook_delay_get, hook_delay_set, "%llu\n");

/* Before the module is there, fail_function knows none of its functions. */
int ksnif_testpoint_init(void)
{
	return -abs(fail_init);	/* init must not return more than 0 */
}

/* Nothing depends on debugfs: if it fails, there are no files. */
void ksnif_testpoint_register(void)
{
	dir = debugfs_create_dir("ksnif", NULL);
	debugfs_create_file("hook_delay_us", 0600, dir, NULL, &hook_delay_ops);
}

void ksnif_testpoint_unregister(void)
{
	debugfs_remove(dir);
}
