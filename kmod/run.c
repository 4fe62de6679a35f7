// SPDX-License-Identifier: GPL-2.0
/* A run of a capture: what start makes before anything is changed, and what the end frees. */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "ksnif.h"

/*
 * Memory for a run's interfaces. With the writer's batch it is less than the 1 MB that a
 * capture may take beyond queue_size.
 */
#define RUN_IFACE_BYTES		(640 * 1024)

static void run_free(struct kref *ref)
{
	struct ksnif_run *run = container_of(ref, struct ksnif_run, ref);

	ksnif_ifaces_free(run);
	if (run->queue)
		ksnif_queue_free(run->queue);
	ksnif_writer_free(run);
	ksnif_settings_free(&run->settings);
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
	spin_lock_init(&run->iface_lock);
	INIT_LIST_HEAD(&run->ifaces);
	init_waitqueue_head(&run->waiters);
	run->ifaces_left = RUN_IFACE_BYTES / (sizeof(struct ksnif_iface) +
			   num_possible_cpus() * sizeof(struct ksnif_hook_stats));
	run->snaplen = cap->settings.snaplen;

	if (ksnif_writer_init(run) || ksnif_settings_copy(&run->settings, &cap->settings))
		goto err;
	run->unknown = ksnif_iface_alloc("any", KSNIF_LINKTYPE_ETHERNET, GFP_KERNEL);
	if (!run->unknown)
		goto err;
	list_add_tail(&run->unknown->list, &run->ifaces);
	run->queue = ksnif_queue_alloc(run->settings.queue_size);
	if (!run->queue)
		goto err;
	return run;

err:
	ksnif_run_put(run);
	return NULL;
}
KSNIF_INJECT(ksnif_run_alloc, NULL);

/* The device captured by name must be there at start; its block leads the file. Takes RTNL. */
int ksnif_run_find_device(struct ksnif_run *run, struct net *net,
			  struct netlink_ext_ack *extack)
{
	struct net_device *dev;
	int err = 0;

	if (ksnif_settings_any_device(&run->settings))
		return 0;
	rtnl_lock();
	dev = __dev_get_by_name(net, run->settings.device_name);
	if (!dev) {
		NL_SET_ERR_MSG(extack, "device_name: no such device");
		err = -ENODEV;
		goto out;
	}
	run->linktype = ksnif_device_linktype(dev);
	run->named = ksnif_iface_add(run, dev, GFP_KERNEL);
	if (!run->named)
		err = -ENOMEM;
out:
	rtnl_unlock();
	return err;
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
