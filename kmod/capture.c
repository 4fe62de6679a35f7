// SPDX-License-Identifier: GPL-2.0
/*
 * The state machine of a capture, one per network namespace:
 *
 *               start                    stop, namespace exit, rmmod
 *   stopped ------------> running ---------------------------------> stopping
 *      ^ ^                   |                                        |    |
 *      | |                   | write or fsync error                   |    |
 *      | |                   +----------------> (stopping) ---------> |    |
 *      | +---------------------------------------- file closed -------+    |
 *      +--------- stop ---------- failed <-------- with an error ----------+
 *
 * A run is made by start and ended by the writer. Commands only begin things and wait: for two
 * seconds, restart twice, and half a second more for each step of the file that began late.
 * Netlink's own lock is held across a command.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/sched/signal.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "ksnif.h"

static unsigned int capture_net_id __read_mostly;

/* Captures that are not freed yet, and where rmmod waits for the last one. */
static atomic_t captures = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(captures_gone);

/* Frees captures: the last reference may be dropped where one must not wait for a writer. */
static struct workqueue_struct *reaper;

/* The capture of a namespace; NULL if the namespace has none. */
struct ksnif_capture *ksnif_capture_of(const struct net *net)
{
	struct ksnif_capture **cap = net_generic(net, capture_net_id);

	return *cap;
}

/* The state can only leave running and stopping while cap->command is held. */
static int capture_may_start(struct ksnif_capture *cap, struct netlink_ext_ack *extack)
{
	enum ksnif_state state = READ_ONCE(cap->state);

	if (state == KSNIF_STATE_RUNNING)
		return ksnif_refuse(extack, -EALREADY, "start: already running: use restart");
	if (state == KSNIF_STATE_STOPPING)
		return ksnif_refuse(extack, -EINPROGRESS, "start: still stopping: try again");
	if (READ_ONCE(cap->opening))
		return ksnif_refuse(extack, -EBUSY,
				    "logfile: the file system of an earlier start does not answer");
	if (cap->settings.format == KSNIF_FORMAT_PCAP && ksnif_settings_any_device(&cap->settings))
		return ksnif_refuse(extack, -EINVAL,
				    "format: pcap needs a device_name other than any");
	if (cap->settings.format == KSNIF_FORMAT_PCAP && cap->settings.io == KSNIF_IO_DIRECT)
		return ksnif_refuse(extack, -EINVAL,
				    "format: pcap cannot be written with io direct: set io auto");
	return 0;
}

/*
 * From here on the run is the capture's. Under RTNL, so that no device comes or goes between
 * the look and the notifier's first: if it went since ksnif_run_find_device(), then it is gone now,
 * and may come back.
 */
static void capture_publish(struct ksnif_capture *cap, struct ksnif_run *run)
{
	struct ksnif_run *old;

	rtnl_lock();
	mutex_lock(&cap->lock);
	old = cap->run;
	cap->run = run;
	cap->state = KSNIF_STATE_RUNNING;
	cap->runs++;
	cap->stop_owed = false;
	kref_get(&cap->ref);	/* the writer's */
	ksnif_device_arm(run, cap->net);
	ksnif_writer_wake(run, KSNIF_WAKE_NOW);	/* for the file's header */
	ksnif_netlink_event(cap, KSNIF_CMD_STARTED);
	mutex_unlock(&cap->lock);
	rtnl_unlock();
	ksnif_run_put(old);
}

/*
 * Under cap->command; the caller holds the namespace. The hook comes late: to take it away has
 * nfqueue drop what it holds. A refused start changes nothing, unless the disk dies at its end.
 */
static int capture_start(struct ksnif_capture *cap, unsigned long deadline,
			 struct netlink_ext_ack *extack)
{
	struct net *net = cap->net;
	struct ksnif_run *run;
	int err;

	lockdep_assert_held(&cap->command);
	err = capture_may_start(cap, extack);
	if (err)
		return err;
	/*
	 * Without WQ_MEM_RECLAIM: a full XFS flushes a queue of its own that has not got it, which
	 * the kernel warns of. Reclaim never waits for a writer.
	 */
	if (!cap->wq)
		cap->wq = alloc_ordered_workqueue("ksnif/%u", WQ_FREEZABLE, net->ns.inum);
	if (!cap->wq)
		return -ENOMEM;
	run = ksnif_run_alloc(cap);
	if (!run)
		return -ENOMEM;
	err = ksnif_run_find_device(run, net, extack);
	if (err)
		goto err_free;
	err = ksnif_run_file(run, KSNIF_STEP_OPEN, deadline, extack);
	if (err)
		goto err_free;
	err = ksnif_hook_register(net, run);	/* takes nothing until armed */
	if (err)
		goto err_close;
	err = ksnif_run_file(run, KSNIF_STEP_EMPTY, deadline, extack);
	if (err)
		goto err_unhook;
	capture_publish(cap, run);
	return 0;

err_unhook:
	ksnif_hook_unregister(net, run);
	synchronize_net();
	goto err_free;
err_close:
	ksnif_run_file(run, KSNIF_STEP_CLOSE, deadline, extack);
err_free:
	ksnif_run_put(run);
	return err;
}

/* See no more packets, and let the writer end the run. Under cap->lock. */
static void capture_begin_stop(struct ksnif_capture *cap)
{
	lockdep_assert_held(&cap->lock);
	if (cap->state != KSNIF_STATE_RUNNING)
		return;
	ksnif_hook_unregister(cap->net, cap->run);
	cap->state = KSNIF_STATE_STOPPING;
	/* pairs with the acquire in writer_pass() */
	smp_store_release(&cap->run->stopping, true);
	ksnif_writer_wake(cap->run, KSNIF_WAKE_NOW);
}

/* For the writer: it cannot go on and will end the run by itself. */
void ksnif_capture_failing(struct ksnif_run *run)
{
	mutex_lock(&run->cap->lock);
	capture_begin_stop(run->cap);
	mutex_unlock(&run->cap->lock);
}

static void capture_release(struct kref *ref)
{
	queue_work(reaper, &container_of(ref, struct ksnif_capture, ref)->reap);
}

/* Any context. The capture is freed later, by a worker of its own. */
void ksnif_capture_put(struct ksnif_capture *cap)
{
	kref_put(&cap->ref, capture_release);
}

/* For the writer: the file is closed, the run over. The run may be freed on return. */
void ksnif_capture_ended(struct ksnif_run *run)
{
	struct ksnif_capture *cap = run->cap;
	struct ksnif_queue *queue = run->queue;

	mutex_lock(&cap->lock);
	run->queue = NULL;	/* what it counted is 0 now */
	mutex_unlock(&cap->lock);
	ksnif_queue_free(queue);	/* before stop says that all is over: a start may want it */

	mutex_lock(&cap->lock);
	cap->state = run->error ? KSNIF_STATE_FAILED : KSNIF_STATE_STOPPED;
	ksnif_writer_rest(run);	/* nobody wakes it in these states */
	if (!run->error)
		WRITE_ONCE(run->flush_done, run->flush_wanted);
	smp_store_release(&run->ended, true); /* pairs with run_wait() */
	ksnif_netlink_event(cap, run->error ? KSNIF_CMD_FAILED : KSNIF_CMD_STOPPED);
	wake_up_all(&run->waiters);
	mutex_unlock(&cap->lock);
	ksnif_capture_put(cap);
}

#define KSNIF_CUT_SHORT	"the capture file could not be written to the end"

/* Wait until the run has ended or all its flushes up to @flush are done. */
static int run_wait(struct ksnif_run *run, u64 flush, unsigned long deadline,
		    struct netlink_ext_ack *extack)
{
	long left = wait_event_killable_timeout(run->waiters, READ_ONCE(run->ended) ||
						READ_ONCE(run->flush_done) >= flush,
						ksnif_wait_left(deadline));

	if (left < 0)
		return -EINTR;
	if (!left)
		return ksnif_refuse(extack, -EINPROGRESS, "still writing: ask again to wait on");
	/*
	 * Pairs with the release in ksnif_capture_ended(). While the run goes on, no error has
	 * happened yet.
	 */
	if (!smp_load_acquire(&run->ended) || !run->error)
		return 0;
	return ksnif_refuse(extack, run->error, KSNIF_CUT_SHORT);
}

/* Every refusal has a text; those that say no more than their errno get it here. */
int ksnif_explain(int err, struct netlink_ext_ack *extack)
{
	if (err && !extack->_msg)
		extack->_msg = err == -ENOMEM ? "out of memory" :
			       err == -EINTR ? "interrupted" : "refused by the kernel";
	return err;
}

/* Take cap->command. 0, -EINTR, or -EINPROGRESS if others have it until @deadline. */
static int capture_lock(struct ksnif_capture *cap, unsigned long deadline,
			struct netlink_ext_ack *extack)
{
	long left = wait_event_killable_timeout(cap->commands, mutex_trylock(&cap->command),
						ksnif_wait_left(deadline));

	if (left < 0)
		return -EINTR;
	if (!left)
		return ksnif_refuse(extack, -EINPROGRESS, "another command is at work");
	return 0;
}

static void capture_unlock(struct ksnif_capture *cap)
{
	mutex_unlock(&cap->command);
	wake_up(&cap->commands);
}

/* Change settings, all or none. 0, -EBUSY if the state forbids it, -EINPROGRESS, -EINTR. */
int ksnif_capture_set(struct ksnif_capture *cap, struct ksnif_change *change,
		      struct netlink_ext_ack *extack)
{
	int err = capture_lock(cap, jiffies + KSNIF_WAIT, extack);

	if (err)
		return err;
	mutex_lock(&cap->lock);
	err = ksnif_change_allowed(change, cap->state, extack);
	if (!err) {
		ksnif_change_apply(change, &cap->settings);
		if (cap->state == KSNIF_STATE_RUNNING)
			WRITE_ONCE(cap->run->snaplen, cap->settings.snaplen);
		ksnif_netlink_event(cap, KSNIF_CMD_SETTINGS_CHANGED);
	}
	mutex_unlock(&cap->lock);
	capture_unlock(cap);
	return err;
}

/*
 * Stop, and wait until the file is synced and closed: 0; the run's first write or fsync
 * error, once; -EINPROGRESS if it takes longer; -EINTR. It stops all the same.
 */
static int capture_stop(struct ksnif_capture *cap, unsigned long deadline,
			struct netlink_ext_ack *extack)
{
	struct ksnif_run *run = NULL;
	int err = 0;

	mutex_lock(&cap->lock);
	capture_begin_stop(cap);
	if (cap->state == KSNIF_STATE_STOPPING) {
		run = cap->run;
		kref_get(&run->ref);
	} else if (cap->state == KSNIF_STATE_FAILED) {
		cap->state = KSNIF_STATE_STOPPED;
		if (!cap->run->reported)
			err = ksnif_refuse(extack, cap->run->error, KSNIF_CUT_SHORT);
		cap->run->reported = true;
	}
	mutex_unlock(&cap->lock);

	if (run) {
		err = run_wait(run, U64_MAX, deadline, extack);
		if (err != -EINPROGRESS && err != -EINTR) {
			mutex_lock(&cap->lock);
			run->reported = true;
			mutex_unlock(&cap->lock);
		}
		ksnif_run_put(run);
	}
	return err;
}

/*
 * Start, or @stop and start with no other command in between; errors as theirs. The caller
 * holds the namespace, and it is for him that the file is opened. An error of the stop leaves
 * the capture failed; asked again, restart starts.
 */
static int capture_restart(struct ksnif_capture *cap, bool stop, unsigned long deadline,
			   struct netlink_ext_ack *extack)
{
	int err = capture_lock(cap, deadline, extack);

	if (err)
		return err;
	if (stop && (READ_ONCE(cap->state) != KSNIF_STATE_FAILED || cap->stop_owed)) {
		err = capture_stop(cap, deadline, extack);
		cap->stop_owed = err == -EINPROGRESS;	/* whoever asks again is told how it ends */
		/* a stop that took long leaves the disk no less time to open */
		deadline = jiffies + KSNIF_WAIT;
	}
	if (!err)
		err = capture_start(cap, deadline, extack);
	capture_unlock(cap);
	return err;
}

/*
 * Wait until every packet captured so far is on disk: 0; -ENOTCONN if no capture runs; the
 * write or fsync error; -EINPROGRESS if it takes longer; -EINTR.
 */
static int capture_flush(struct ksnif_capture *cap, unsigned long deadline,
			 struct netlink_ext_ack *extack)
{
	struct ksnif_run *run = NULL;
	u64 flush = U64_MAX;
	int err;

	mutex_lock(&cap->lock);
	if (cap->state == KSNIF_STATE_RUNNING || cap->state == KSNIF_STATE_STOPPING) {
		run = cap->run;
		kref_get(&run->ref);
	}
	if (cap->state == KSNIF_STATE_RUNNING) {
		flush = run->flush_wanted + 1;
		WRITE_ONCE(run->flush_wanted, flush);
		ksnif_writer_wake(run, KSNIF_WAKE_NOW);
	}
	mutex_unlock(&cap->lock);
	if (!run)
		return ksnif_refuse(extack, -ENOTCONN, "flush: no capture is running");
	err = run_wait(run, flush, deadline, extack);
	ksnif_run_put(run);
	return err;
}

/* @cmd is KSNIF_CMD_START, _STOP, _RESTART or _FLUSH. */
int ksnif_capture_command(struct ksnif_capture *cap, int cmd, struct netlink_ext_ack *extack)
{
	unsigned long deadline = jiffies + KSNIF_WAIT;
	int err;

	if (cmd == KSNIF_CMD_STOP)
		err = capture_stop(cap, deadline, extack);
	else if (cmd == KSNIF_CMD_FLUSH)
		err = capture_flush(cap, deadline, extack);
	else
		err = capture_restart(cap, cmd == KSNIF_CMD_RESTART, deadline, extack);
	return ksnif_explain(err, extack);
}

/* Under cap->lock. */
static void capture_sum(struct ksnif_capture *cap, struct ksnif_stats *sum, int cpu)
{
	memset(sum, 0, sizeof(*sum));
	if (cap->run && cpu < 0)
		ksnif_stats_run(cap->run, sum);
	else if (cap->run)
		ksnif_stats_cpu(cap->run, cpu, sum);
}

/* All at one moment, @sum if not NULL; ksnif_settings_free() @st's settings. 0 or -ENOMEM. */
int ksnif_capture_status(struct ksnif_capture *cap, struct ksnif_status *st,
			 struct ksnif_stats *sum)
{
	int err;

	memset(st, 0, sizeof(*st));
	mutex_lock(&cap->lock);
	err = ksnif_settings_copy(&st->settings, &cap->settings);
	st->state = cap->state;
	st->runs = cap->runs;
	if (cap->run) {
		st->file_size = atomic64_read(&cap->run->file_size);
		st->io_used = ksnif_run_io(cap->run);
		st->flush_wanted = cap->run->flush_wanted;
		st->flush_done = READ_ONCE(cap->run->flush_done);
	}
	ksnif_run_result(cap->run, st);
	if (sum)
		capture_sum(cap, sum, -1);
	mutex_unlock(&cap->lock);
	return err;
}

/* The books since the last start, or @cpu's, the hook's alone, if not -1. Returns their run. */
unsigned int ksnif_capture_stats(struct ksnif_capture *cap, struct ksnif_stats *sum, int cpu)
{
	unsigned int runs;

	mutex_lock(&cap->lock);
	capture_sum(cap, sum, cpu);
	runs = cap->runs;
	mutex_unlock(&cap->lock);
	return runs;
}

static void capture_reap(struct work_struct *work)
{
	struct ksnif_capture *cap = container_of(work, struct ksnif_capture, reap);

	if (cap->wq)
		destroy_workqueue(cap->wq);
	ksnif_run_put(cap->run);
	ksnif_settings_free(&cap->settings);
	kfree(cap);
	if (atomic_dec_and_test(&captures))
		wake_up_all(&captures_gone);
}

static int __net_init capture_net_init(struct net *net)
{
	struct ksnif_capture **slot = net_generic(net, capture_net_id);
	struct ksnif_capture *cap = kzalloc(sizeof(*cap), GFP_KERNEL);

	if (!cap)
		return -ENOMEM;
	if (ksnif_settings_init(&cap->settings)) {
		kfree(cap);
		return -ENOMEM;
	}
	kref_init(&cap->ref);
	mutex_init(&cap->command);
	init_waitqueue_head(&cap->commands);
	mutex_init(&cap->lock);
	INIT_WORK(&cap->reap, capture_reap);
	cap->net = net;
	atomic_inc(&captures);
	*slot = cap;
	return 0;
}

/* The namespace goes: see no more packets. The writer ends the run without it. */
static void __net_exit capture_net_pre_exit(struct net *net)
{
	struct ksnif_capture *cap = ksnif_capture_of(net);

	mutex_lock(&cap->lock);
	capture_begin_stop(cap);
	cap->net = NULL;
	mutex_unlock(&cap->lock);
}

/* No I/O and no waiting for it here: one thread tears down all namespaces. */
static void __net_exit capture_net_exit(struct net *net)
{
	struct ksnif_capture **slot = net_generic(net, capture_net_id);
	struct ksnif_capture *cap = *slot;

	*slot = NULL;
	ksnif_capture_put(cap);
}

static struct pernet_operations capture_net_ops = {
	.init = capture_net_init,
	.pre_exit = capture_net_pre_exit,
	.exit = capture_net_exit,
	.id = &capture_net_id,
	.size = sizeof(struct ksnif_capture *),
};

/* Give every namespace its capture; at module init. */
int ksnif_capture_register(void)
{
	int err;

	reaper = alloc_workqueue("ksnif_reaper", 0, 0);
	if (!reaper)
		return -ENOMEM;
	err = register_pernet_subsys(&capture_net_ops);
	if (err)
		destroy_workqueue(reaper);
	return err;
}

/* At module exit: stop all captures, and wait until every file is closed: if frozen, for a thaw. */
void ksnif_capture_unregister(void)
{
	unregister_pernet_subsys(&capture_net_ops);
	wait_event_idle(captures_gone, !atomic_read(&captures));
	destroy_workqueue(reaper);
}
