// SPDX-License-Identifier: GPL-2.0
/* A run of a capture: what start makes before anything is changed, and what the end frees. */
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "ksnif.h"

static void run_free(struct kref *ref)
{
	struct ksnif_run *run = container_of(ref, struct ksnif_run, ref);

	ksnif_ifaces_free(run);
	if (run->queue)
		ksnif_queue_free(run->queue);
	ksnif_batch_free(&run->batch);
	ksnif_settings_free(&run->settings);
	if (run->cred)
		put_cred(run->cred);
	kfree(run);
}

void ksnif_run_put(struct ksnif_run *run)
{
	if (run)
		kref_put(&run->ref, run_free);
}

/* A run with the capture's settings, under cap->command; NULL without memory. */
ksnif_injectable struct ksnif_run *ksnif_run_alloc(struct ksnif_capture *cap)
{
	struct ksnif_run *run = kzalloc(sizeof(*run), GFP_KERNEL);

	if (!run)
		return NULL;
	kref_init(&run->ref);
	run->cap = cap;
	init_waitqueue_head(&run->waiters);
	ksnif_writer_init(run);
	run->file.align = 1;
	run->ifindex = KSNIF_NO_DEVICE;
	run->snaplen = cap->settings.snaplen;

	run->cred = prepare_creds();
	if (!run->cred || ksnif_settings_copy(&run->settings, &cap->settings) ||
	    ksnif_batch_init(&run->batch) || ksnif_ifaces_init(run))
		goto err;
	run->queue = ksnif_queue_alloc(run->settings.queue_size, run->settings.format);
	if (!run->queue)
		goto err;
	return run;

err:
	ksnif_run_put(run);
	return NULL;
}

KSNIF_INJECT(ksnif_run_alloc, NULL);

/* The device captured by name must be there at start; its block leads the file. Takes RTNL. */
int ksnif_run_find_device(struct ksnif_run *run, struct net *net, struct netlink_ext_ack *extack)
{
	struct net_device *dev;
	int err = 0;

	if (ksnif_settings_any_device(&run->settings))
		return 0;
	if (rtnl_lock_killable())
		return -EINTR;
	dev = __dev_get_by_name(net, run->settings.device_name);
	if (!dev) {
		err = ksnif_refuse(extack, -ENODEV, "device_name: no such device");
		goto out;
	}
	run->linktype = ksnif_device_linktype(dev);
	run->unknown->linktype = run->linktype;	/* nobody else's packets come */
	run->named = ksnif_iface_add(run, dev, GFP_KERNEL);
	if (!run->named)
		err = -ENOMEM;
out:
	rtnl_unlock();
	return err;
}

/* Past the page cache, if that is asked for and the file system can. 0 or -EINVAL. */
static int run_direct(struct ksnif_run *run, struct netlink_ext_ack *extack)
{
	const struct ksnif_settings *s = &run->settings;

	if (s->io == KSNIF_IO_BUFFERED || s->format == KSNIF_FORMAT_PCAP)
		return 0;
	if (ksnif_file_can_direct(&run->file)) {
		run->file.align = PAGE_SIZE;
		return 0;
	}
	if (s->io == KSNIF_IO_AUTO)
		return 0;
	return ksnif_refuse(extack, -EINVAL,
			    "io: the file system cannot do direct I/O: set io auto or buffered");
}

/* What became of the setting io: buffered, direct or discard. */
enum ksnif_io ksnif_run_io(const struct ksnif_run *run)
{
	if (run->settings.io == KSNIF_IO_DISCARD)
		return KSNIF_IO_DISCARD;
	return READ_ONCE(run->file.align) > 1 ? KSNIF_IO_DIRECT : KSNIF_IO_BUFFERED;
}

static int run_step(struct ksnif_run *run, struct netlink_ext_ack *extack)
{
	int err = 0;

	switch (run->step) {
	case KSNIF_STEP_OPEN:
		err = ksnif_file_open(&run->file, &run->root, run->settings.logfile, extack);
		path_put(&run->root);	/* before the caller goes on: it may want to unmount it */
		if (err)
			break;
		err = run_direct(run, extack);
		if (err)
			ksnif_file_close(&run->file);
		break;
	case KSNIF_STEP_EMPTY:
		err = ksnif_file_empty(&run->file, &run->abandoned);
		if (!err)
			break;
		NL_SET_ERR_MSG(extack, "logfile: cannot be emptied");
		fallthrough;
	case KSNIF_STEP_CLOSE:
		ksnif_file_close(&run->file);
	}
	return err;
}

static void run_step_work(struct work_struct *work)
{
	struct ksnif_run *run = container_of(work, struct ksnif_run, step_work);
	const struct cred *old = override_creds(run->cred);
	struct ksnif_capture *cap = run->cap;
	struct netlink_ext_ack extack = {};
	bool abandoned;

	run->step_error = run_step(run, &extack);
	run->step_text = extack._msg;
	mutex_lock(&cap->lock);
	abandoned = run->abandoned;	/* from here on it is about the next step */
	complete_all(&run->stepped);	/* a wait leaves it done */
	mutex_unlock(&cap->lock);
	if (abandoned) {
		if (run->file.file)
			ksnif_file_close(&run->file);
		mutex_lock(&cap->lock);
		cap->opening = false;
		mutex_unlock(&cap->lock);
	}
	revert_creds(old);
	ksnif_run_put(run);
	ksnif_capture_put(cap);
}

/*
 * Have a step done to the file in the caller's name, on the capture's workqueue: on a dead disk
 * it takes for ever, and whoever waits for it cannot be killed. From @deadline on nobody waits,
 * and the capture does not start. 0 or a negative errno: then the file is closed, sooner or later.
 */
int ksnif_run_file(struct ksnif_run *run, enum ksnif_step step, unsigned long deadline,
		   struct netlink_ext_ack *extack)
{
	struct ksnif_capture *cap = run->cap;

	if (run->settings.io == KSNIF_IO_DISCARD)
		return 0;
	if (step == KSNIF_STEP_OPEN) {
		get_fs_root(current->fs, &run->root);
		run->file.limit = rlimit(RLIMIT_FSIZE);
	}
	run->step = step;
	kref_get(&run->ref);
	kref_get(&cap->ref);
	INIT_WORK(&run->step_work, run_step_work);
	init_completion(&run->stepped);
	queue_work(cap->wq, &run->step_work);
	/* the disk is not to blame for what took long before */
	wait_for_completion_killable_timeout(&run->stepped,
					     max_t(long, ksnif_wait_left(deadline), HZ / 2));

	mutex_lock(&cap->lock);
	if (!completion_done(&run->stepped)) {
		cap->opening = true;
		WRITE_ONCE(run->abandoned, true);
	}
	mutex_unlock(&cap->lock);
	if (run->abandoned)
		return fatal_signal_pending(current) ? -EINTR :
		       ksnif_refuse(extack, -EBUSY, step == KSNIF_STEP_EMPTY ?
			    "logfile: the file system does not answer, and may empty it yet" :
			    "logfile: the file system does not answer");
	if (run->step_error)
		extack->_msg = run->step_text;
	return run->step_error;
}

/* How the run has come out; nothing as long as it goes on. */
void ksnif_run_result(const struct ksnif_run *run, struct ksnif_status *st)
{
	if (!run || !run->ended)
		return;
	st->error = run->error;
	st->unsynced = run->unsynced;
	st->torn = run->torn;
}
