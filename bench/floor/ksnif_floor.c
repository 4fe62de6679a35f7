// SPDX-License-Identifier: GPL-2.0
/*
 * The floor under every measurement of ksnif: a netfilter hook in the same place that only
 * counts (copy=0), or that also copies up to copy bytes of the packet into a buffer of its CPU,
 * and no more: no clock, no record, no file. Never more than one of them is loaded.
 */
#include <linux/if_ether.h>
#include <linux/module.h>
#include <linux/netfilter_ipv4.h>
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>

#define FLOOR_BUFFER	(1024 * 1024)	/* copies go round in it, as in a ring */

static unsigned int copy;
module_param(copy, uint, 0444);
MODULE_PARM_DESC(copy, "bytes of each packet to copy, link-layer header included");

struct floor_cpu {
	u8 *buffer;
	u32 at;
	u64 packets;
};

static DEFINE_PER_CPU(struct floor_cpu, floor_cpus);

/* BH disabled, as pktgen and network drivers call it. */
static unsigned int floor_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct floor_cpu *cpu = this_cpu_ptr(&floor_cpus);
	u32 len = min(skb->len + ETH_HLEN, copy);

	cpu->packets++;
	if (!copy)
		return NF_ACCEPT;
	if (cpu->at + len > FLOOR_BUFFER)
		cpu->at = 0;
	skb_copy_bits(skb, -ETH_HLEN, cpu->buffer + cpu->at, len);
	cpu->at += ALIGN(len, 4);
	return NF_ACCEPT;
}

static const struct nf_hook_ops floor_ops = {
	.hook = floor_hook,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_PRE_ROUTING,
	.priority = NF_IP_PRI_FIRST,
};

static int packets_get(char *to, const struct kernel_param *kp)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(&floor_cpus, cpu)->packets);
	return sysfs_emit(to, "%llu\n", sum);
}

static const struct kernel_param_ops packets_ops = {
	.get = packets_get,
};
module_param_cb(packets, &packets_ops, NULL, 0444);
MODULE_PARM_DESC(packets, "how many came past");

static void floor_free(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		vfree(per_cpu_ptr(&floor_cpus, cpu)->buffer);
}

static int __init floor_init(void)
{
	int cpu, err = -ENOMEM;

	if (copy > FLOOR_BUFFER)
		return -EINVAL;
	for_each_possible_cpu(cpu) {
		u8 *buffer = vmalloc(FLOOR_BUFFER);

		if (!buffer)
			goto err;
		per_cpu_ptr(&floor_cpus, cpu)->buffer = buffer;
	}
	err = nf_register_net_hook(&init_net, &floor_ops);
	if (!err)
		return 0;
err:
	floor_free();
	return err;
}

static void __exit floor_exit(void)
{
	nf_unregister_net_hook(&init_net, &floor_ops);
	synchronize_net();
	floor_free();
}

module_init(floor_init);
module_exit(floor_exit);
MODULE_DESCRIPTION("The least that a capture in a netfilter hook can cost");
MODULE_LICENSE("GPL");
