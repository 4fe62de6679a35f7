// SPDX-License-Identifier: GPL-2.0
/*
 * Bugs on demand, for the self-test of ksnif's harness: `echo NAME >
 * /proc/ksnif_splat` makes the mistake of that name, and the kernel has to
 * notice. Only for virtual machines that are thrown away afterwards; nothing
 * here is part of ksnif.
 *
 * Values go through OPTIMIZER_HIDE_VAR() where the compiler would otherwise
 * see the mistake, and leave it out or warn.
 */

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>

/* Where results go that nobody wants: the compiler must not know that. */
static unsigned long sink;

static void use_after_free(void)
{
	char *p = kzalloc(64, GFP_KERNEL);

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(sink, READ_ONCE(p[8]));
}

static void out_of_bounds(void)
{
	char *p = kzalloc(60, GFP_KERNEL);
	size_t i = 60;

	OPTIMIZER_HIDE_VAR(i);
	WRITE_ONCE(p[i], 1);
	kfree(p);
}

static void null_pointer(void)
{
	unsigned long *p = NULL;

	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(sink, READ_ONCE(*p));
}

static void sleep_in_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	kfree(kzalloc(64, GFP_KERNEL));
	spin_unlock(&lock);
}

static void lock_inversion(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);

	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void rcu_usage(void)
{
	static unsigned long __rcu *p;

	WRITE_ONCE(sink, (unsigned long)rcu_dereference(p));
}

/* More than one: a stale copy of a pointer on some stack hides an object. */
static void leak(void)
{
	int i;

	for (i = 0; i < 8; i++) {
		void *p = kzalloc(200, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

static void warn(void)
{
	WARN_ON(1);
}

static void bug(void)
{
	BUG();
}

static void refcount_underflow(void)
{
	refcount_t r = REFCOUNT_INIT(0);

	if (refcount_dec_and_test(&r))
		WRITE_ONCE(sink, 1);
}

static void refcount_saturated(void)
{
	refcount_t r = REFCOUNT_INIT(INT_MAX);

	refcount_inc(&r);
}

static void shift(void)
{
	int by = 40, value = 1;

	OPTIMIZER_HIDE_VAR(by);
	WRITE_ONCE(sink, value << by);
}

static void array_index(void)
{
	static int array[4];
	int i = 4;

	OPTIMIZER_HIDE_VAR(i);
	WRITE_ONCE(sink, array[i]);
}

static void list_corruption(void)
{
	LIST_HEAD(head);
	struct list_head entry;

	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
}

/* spin keeps this processor, with preemption off. */
static void spin(unsigned int seconds)
{
	unsigned int i;

	preempt_disable();
	for (i = 0; i < seconds * 1000; i++)
		udelay(1000);
	preempt_enable();
}

static void soft_lockup(void)
{
	spin(60);
}

static void rcu_stall(void)
{
	start_poll_synchronize_rcu(); /* something that waits for readers */
	rcu_read_lock();
	spin(15);
	rcu_read_unlock();
}

static void hung_task(void)
{
	schedule_timeout_uninterruptible(60 * HZ);
}

static void ignore_timer(struct timer_list *t)
{
}

static void free_active(void)
{
	struct timer_list *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	timer_setup(t, ignore_timer, 0);
	mod_timer(t, jiffies + 600 * HZ);
	kfree(t);
}

static unsigned long raced;

static int racer(void *unused)
{
	while (!kthread_should_stop()) {
		raced++;
		cond_resched();
	}
	return 0;
}

static void race(void)
{
	struct task_struct *other = kthread_run(racer, NULL, "ksnif_racer");
	unsigned long end = jiffies + 10 * HZ;

	if (IS_ERR(other))
		return;
	while (time_before(jiffies, end)) {
		raced++;
		cond_resched();
	}
	kthread_stop(other);
}

static const struct {
	const char *name;
	void (*plant)(void);
} splats[] = {
	{ "use-after-free", use_after_free },
	{ "out-of-bounds", out_of_bounds },
	{ "null-pointer", null_pointer },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "lock-inversion", lock_inversion },
	{ "rcu-usage", rcu_usage },
	{ "leak", leak },
	{ "warn", warn },
	{ "bug", bug },
	{ "refcount-underflow", refcount_underflow },
	{ "refcount-saturated", refcount_saturated },
	{ "shift", shift },
	{ "array-index", array_index },
	{ "list-corruption", list_corruption },
	{ "soft-lockup", soft_lockup },
	{ "rcu-stall", rcu_stall },
	{ "hung-task", hung_task },
	{ "free-active", free_active },
	{ "data-race", race },
};

static ssize_t splat_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	char name[32] = {};
	unsigned int i;

	if (len >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, from, len))
		return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(splats); i++) {
		if (sysfs_streq(name, splats[i].name)) {
			splats[i].plant();
			return len;
		}
	}
	return -EINVAL;
}

static const struct proc_ops splat_ops = {
	.proc_write = splat_write,
};

static int __init splat_init(void)
{
	return proc_create("ksnif_splat", 0200, NULL, &splat_ops) ? 0 : -ENOMEM;
}

static void __exit splat_exit(void)
{
	remove_proc_entry("ksnif_splat", NULL);
}

module_init(splat_init);
module_exit(splat_exit);
MODULE_DESCRIPTION("bugs on demand, for the self-test of ksnif's harness");
MODULE_LICENSE("GPL");
