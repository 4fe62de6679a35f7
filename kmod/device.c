// SPDX-License-Identifier: GPL-2.0
/*
 * Devices: which one is captured, and the interfaces of a run, one for each device that a
 * packet came in on.
 */
#include <linux/if_arp.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "ksnif.h"

/* Link type of a device's records: its Ethernet header, or none and raw IP. */
u16 ksnif_device_linktype(const struct net_device *dev)
{
	return dev->type == ARPHRD_ETHER || dev->type == ARPHRD_LOOPBACK ?
	       KSNIF_LINKTYPE_ETHERNET : KSNIF_LINKTYPE_RAW;
}

/*
 * Memory for a run's interfaces. With the writer's batch it is less than the 1 MB that a
 * capture may take beyond queue_size.
 */
#define IFACE_BYTES	(640 * 1024)

/* An interface that is in no run yet; NULL without memory. */
static ksnif_injectable struct ksnif_iface *ksnif_iface_alloc(const char *name, u16 linktype,
							      gfp_t gfp)
{
	struct ksnif_iface *iface = kzalloc(sizeof(*iface), gfp);
	int cpu;

	if (!iface)
		return NULL;
	iface->hook = alloc_percpu_gfp(struct ksnif_hook_stats, gfp);
	if (!iface->hook) {
		kfree(iface);
		return NULL;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(iface->hook, cpu)->syncp);
	strscpy(iface->name, name, sizeof(iface->name));
	iface->linktype = linktype;
	iface->id = KSNIF_NO_ID;
	return iface;
}

KSNIF_INJECT(ksnif_iface_alloc, NULL);

static void iface_free(struct ksnif_iface *iface)
{
	free_percpu(iface->hook);
	kfree(iface);
}

/*
 * Give an interface its number. From here on it is in the books, and the writer puts its block
 * into the file before any packet that was seen after this. Under run->iface_lock.
 */
static void iface_number(struct ksnif_run *run, struct ksnif_iface *iface)
{
	unsigned int id = run->iface_count;

	lockdep_assert_held(&run->iface_lock);
	run->ifaces[id] = iface;
	/* pairs with ksnif_iface_count(): the interface is complete */
	smp_store_release(&run->iface_count, id + 1);
	/* pairs with ksnif_iface_unknown(): whoever uses the number, writer or not, has the rest */
	smp_store_release(&iface->id, id);
}

/*
 * Make a device an interface of a run. The device is there: under RTNL, or seen by the hook
 * under RCU. Another CPU may have added it first. NULL without memory.
 */
struct ksnif_iface *ksnif_iface_add(struct ksnif_run *run, const struct net_device *dev, gfp_t gfp)
{
	struct ksnif_iface *iface, *other;

	/* a rename can race: then the name is cut off between old and new */
	iface = ksnif_iface_alloc(dev->name, ksnif_device_linktype(dev), gfp);
	if (!iface)
		return NULL;
	iface->ifindex = dev->ifindex;

	spin_lock_bh(&run->iface_lock);
	other = ksnif_iface_find(run, dev->ifindex);
	if (!other && run->iface_count < run->iface_max) {
		iface_number(run, iface);
		hlist_add_head_rcu(&iface->node, ksnif_iface_head(run, iface->ifindex));
		other = iface;
	}
	spin_unlock_bh(&run->iface_lock);
	if (other != iface)
		iface_free(iface);
	else if (READ_ONCE(run->iface_count) >= run->iface_max)
		pr_notice("no room for more devices: until the next start, interface \"any\" has the packets of others\n");
	return other;
}

/* The interface of packets whose device has none. It has a number, and a block, from its first. */
struct ksnif_iface *ksnif_iface_unknown(struct ksnif_run *run)
{
	struct ksnif_iface *iface = run->unknown;

	/* pairs with iface_number() */
	if (smp_load_acquire(&iface->id) != KSNIF_NO_ID)
		return iface;
	spin_lock_bh(&run->iface_lock);
	if (iface->id == KSNIF_NO_ID)
		iface_number(run, iface);
	spin_unlock_bh(&run->iface_lock);
	return iface;
}

/*
 * Interface of a device that has none yet; run->unknown if there is no memory to describe it, or
 * no room for one more. Hook: under RCU, BH disabled.
 */
struct ksnif_iface *ksnif_iface_new(struct ksnif_run *run, const struct net_device *dev)
{
	struct ksnif_iface *iface = NULL;

	if (READ_ONCE(run->iface_count) < run->iface_max)
		iface = ksnif_iface_add(run, dev, GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC);
	return iface ?: ksnif_iface_unknown(run);
}

/* Make room for interfaces. 0 or -ENOMEM; ksnif_ifaces_free() in any case. */
int ksnif_ifaces_init(struct ksnif_run *run)
{
	spin_lock_init(&run->iface_lock);
	run->iface_max = IFACE_BYTES / (sizeof(struct ksnif_iface) + sizeof(*run->ifaces) +
			 num_possible_cpus() * sizeof(struct ksnif_hook_stats));
	/* one more for the unknown */
	run->ifaces = kvcalloc(run->iface_max + 1, sizeof(*run->ifaces), GFP_KERNEL);
	run->unknown = ksnif_iface_alloc("any", KSNIF_LINKTYPE_ETHERNET, GFP_KERNEL);
	return run->ifaces && run->unknown ? 0 : -ENOMEM;
}

/* No hook and no reader can see the run any more. */
void ksnif_ifaces_free(struct ksnif_run *run)
{
	unsigned int i;

	for (i = 0; i < run->iface_count; i++)
		if (run->ifaces[i] != run->unknown)
			iface_free(run->ifaces[i]);
	if (run->unknown)
		iface_free(run->unknown);
	kvfree(run->ifaces);
}

/* The next device of that ifindex must get an interface of its own. */
static void iface_forget(struct ksnif_run *run, int ifindex)
{
	struct ksnif_iface *iface;

	spin_lock_bh(&run->iface_lock);
	iface = ksnif_iface_find(run, ifindex);
	if (iface)
		hlist_del_init_rcu(&iface->node);
	spin_unlock_bh(&run->iface_lock);
}

/* Capture this device, if the file can have it: a pcap file has one link type. */
static bool device_bind(struct ksnif_run *run, const struct net_device *dev)
{
	if (run->settings.format == KSNIF_FORMAT_PCAP &&
	    ksnif_device_linktype(dev) != run->linktype)
		return false;
	smp_store_release(&run->ifindex, dev->ifindex); /* pairs with hook_any() */
	return true;
}

/*
 * From here on the hook takes packets: the run is complete. Of a device that was named, this one
 * is run->named's, unless that went, or became one of another type, since it was looked up.
 */
void ksnif_device_arm(struct ksnif_run *run, struct net *net)
{
	const struct net_device *dev;

	if (!run->named) {
		smp_store_release(&run->ifindex, KSNIF_ANY_DEVICE); /* pairs with hook_any() */
		return;
	}
	dev = __dev_get_by_name(net, run->settings.device_name);
	if (!dev || dev->ifindex != run->named->ifindex ||
	    ksnif_device_linktype(dev) != run->named->linktype)
		iface_forget(run, run->named->ifindex);
	if (dev)
		device_bind(run, dev);
}

/* A packet that another CPU still has may bring its interface back, until the next device. */
static void device_gone(struct ksnif_capture *cap, const struct net_device *dev)
{
	iface_forget(cap->run, dev->ifindex);
	if (cap->run->ifindex == dev->ifindex) {
		WRITE_ONCE(cap->run->ifindex, KSNIF_NO_DEVICE);
		ksnif_netlink_event(cap, KSNIF_CMD_DEVICE_GONE);
	}
}

/* Its packets look different now. It goes on to be captured, unless the file cannot have them. */
static void device_changed(struct ksnif_capture *cap, const struct net_device *dev)
{
	if (cap->run->ifindex == dev->ifindex && !device_bind(cap->run, dev))
		device_gone(cap, dev);
	else
		iface_forget(cap->run, dev->ifindex);
}

/*
 * A device was registered or renamed, or is of another type: if the captured one is gone, it may
 * take its place. The lookup knows it by its other names, too.
 */
static void device_seen(struct ksnif_capture *cap, const struct net_device *dev)
{
	if (cap->run->ifindex == KSNIF_NO_DEVICE &&
	    __dev_get_by_name(dev_net(dev), cap->run->settings.device_name) == dev &&
	    device_bind(cap->run, dev))
		ksnif_netlink_event(cap, KSNIF_CMD_DEVICE_BACK);
}

/* Under RTNL. */
static int device_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	const struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct ksnif_capture *cap = ksnif_capture_of(dev_net(dev));

	if (!cap)
		return NOTIFY_DONE;
	/*
	 * One that goes is in no list any more. Our own unregistration replays this for devices
	 * that stay, and the kernel for one that lingers, whose number may be another's by now.
	 */
	if (event == NETDEV_UNREGISTER && __dev_get_by_index(dev_net(dev), dev->ifindex))
		return NOTIFY_DONE;

	mutex_lock(&cap->lock);
	if (cap->state == KSNIF_STATE_RUNNING) {
		if (event == NETDEV_UNREGISTER)
			device_gone(cap, dev);
		if (event == NETDEV_POST_TYPE_CHANGE)
			device_changed(cap, dev);
		if (event == NETDEV_REGISTER)	/* no interface of an earlier device is its own */
			iface_forget(cap->run, dev->ifindex);
		if (event == NETDEV_REGISTER || event == NETDEV_CHANGENAME ||
		    event == NETDEV_POST_TYPE_CHANGE)
			device_seen(cap, dev);
	}
	mutex_unlock(&cap->lock);
	return NOTIFY_DONE;
}

static struct notifier_block device_notifier = {
	.notifier_call = device_event,
};

int ksnif_device_register(void)
{
	return register_netdevice_notifier(&device_notifier);
}

void ksnif_device_unregister(void)
{
	unregister_netdevice_notifier(&device_notifier);
}
