// SPDX-License-Identifier: GPL-2.0
/* What tests can turn on; see testpoint.h. */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/time64.h>

#include "testpoint.h"

/* More would be taken for a stuck CPU: a hook may run for many packets in a row. */
#define HOOK_DELAY_MAX	(100 * USEC_PER_MSEC)

/* One packet in so many is held up before its commit, on each CPU at its own time. */
#define COMMIT_DELAY_EACH	64

static u32 hook_delay, commit_delay;	/* microseconds */
static int fail_init;
module_param(fail_init, int, 0);
MODULE_PARM_DESC(fail_init, "errno with which the module's init fails in its middle");
static struct dentry *dir;

/* Busy, as in softirq context nothing else is allowed. */
static void delay(u32 us)
{
	mdelay(us / USEC_PER_MSEC);
	udelay(us % USEC_PER_MSEC);
}

void ksnif_testpoint_hook(void)
{
	delay(READ_ONCE(hook_delay));
}

void ksnif_testpoint_commit(void)
{
	u32 us = READ_ONCE(commit_delay);

	if (us && !get_random_u32_below(COMMIT_DELAY_EACH))
		delay(us);
}

static int delay_get(void *data, u64 *us)
{
	*us = READ_ONCE(*(u32 *)data);
	return 0;
}

static int delay_set(void *data, u64 us)
{
	if (us > HOOK_DELAY_MAX)
		return -ERANGE;
	WRITE_ONCE(*(u32 *)data, us);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(delay_ops, delay_get, delay_set, "%llu\n");

/* Before the module is there, fail_function knows none of its functions. */
int ksnif_testpoint_init(void)
{
	return -abs(fail_init);	/* init must not return more than 0 */
}

/* Nothing depends on debugfs: if it fails, there are no files. */
void ksnif_testpoint_register(void)
{
	dir = debugfs_create_dir("ksnif", NULL);
	debugfs_create_file("hook_delay_us", 0600, dir, &hook_delay, &delay_ops);
	debugfs_create_file("commit_delay_us", 0600, dir, &commit_delay, &delay_ops);
}

void ksnif_testpoint_unregister(void)
{
	debugfs_remove(dir);
}
