// SPDX-License-Identifier: GPL-2.0
/*
 * The hook: the first station of a packet's way. It matches, counts, copies the packet into the
 * queue and wakes the writer; it never sleeps, and changes neither the packet nor its verdict.
 */
#include <linux/if_ether.h>
#include <linux/netfilter_ipv4.h>
#include <linux/skbuff.h>

#include "ksnif.h"

/* Ethernet, and what br_netfilter leaves between it and IP: a VLAN tag or PPPoE. */
#define HOOK_LINK_MAX	(ETH_HLEN + 8)

/*
 * Bytes that a packet of an Ethernet device has of link-layer header. Where what lies before the
 * IP header is none, one is made in @made, with the right EtherType, and the addresses if they
 * are there: a packet that the stack looped back before it got a header (multicast to oneself)
 * has none, and one that IPsec or segment routing decapsulated has more than that in between.
 */
static u32 hook_link(const struct ksnif_iface *iface, const struct sk_buff *skb,
		     struct ethhdr *made)
{
	int gap = 0;

	made->h_proto = 0;
	if (iface->linktype != KSNIF_LINKTYPE_ETHERNET)
		return 0;
	if (skb_mac_header_was_set(skb))
		gap = skb_network_header(skb) - skb_mac_header(skb);
	if (likely(gap >= ETH_HLEN && gap <= HOOK_LINK_MAX))
		return gap;
	memset(made, 0, sizeof(*made));
	if (gap > HOOK_LINK_MAX)
		memcpy(made, skb_mac_header(skb), 2 * ETH_ALEN);
	made->h_proto = skb->protocol;
	return sizeof(*made);
}

/* Copy @n bytes of the packet, its link-layer header first; false if it has not got as many. */
static bool hook_copy(const struct sk_buff *skb, const struct ethhdr *made, u32 link_len,
		      u8 *to, u32 n)
{
	int from = skb_network_offset(skb);
	u32 head = 0;

	if (unlikely(made->h_proto)) {
		head = min(n, link_len);
		memcpy(to, made, head);
	} else {
		from -= link_len;
	}
	return !skb_copy_bits(skb, from, to + head, n - head);
}

/* BH disabled, under RCU. */
static void hook_packet(struct ksnif_run *run, const struct sk_buff *skb,
			const struct net_device *dev)
{
	struct ksnif_iface *iface = ksnif_iface_get(run, dev);
	struct ksnif_hook_stats *st = this_cpu_ptr(iface->hook);
	u64 format = run->settings.format;
	struct ksnif_packet pkt;
	struct ethhdr made;
	u32 link_len;
	u8 *to;

	ksnif_stats_count(st, KSNIF_A_STATS_RECEIVED);
	link_len = hook_link(iface, skb, &made);
	pkt.id = iface->id;
	pkt.len = link_len + skb->len - skb_network_offset(skb);
	pkt.caplen = min(pkt.len, READ_ONCE(run->snaplen));
	pkt.gap = st->gap;
	pkt.size = ksnif_packet_size(format, pkt.caplen, pkt.gap);
	to = ksnif_queue_reserve(run->queue, pkt.size);
	if (IS_ERR(to)) {
		st->gap++;
		smp_wmb(); /* pairs with stats_add_cpu(): the drop comes after received */
		ksnif_stats_count(st, PTR_ERR(to) == -ENOBUFS ? KSNIF_A_STATS_DROPPED_QUEUE_FULL :
				      KSNIF_A_STATS_DROPPED_NO_MEMORY);
		return;
	}

	if (unlikely(!hook_copy(skb, &made, link_len, ksnif_packet_frame(format, to, &pkt),
				pkt.caplen))) {
		/* the skb's fragments hold less than its length says */
		ksnif_queue_cancel(run->queue, to);
		st->gap++;
		ksnif_stats_count(st, KSNIF_A_STATS_DROPPED_NO_MEMORY);
		return;
	}
	st->gap = 0;

	/* before the commit: the writer's counters must never be ahead of the hook's */
	ksnif_stats_count(st, KSNIF_A_STATS_CAPTURED);
	ksnif_writer_wake(run, ksnif_queue_commit(run->queue, to));
}

static unsigned int hook_fn(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct ksnif_run *run = priv;
	int ifindex;

	/* pairs with the release in capture_publish(): the run is complete once armed */
	if (!smp_load_acquire(&run->armed))
		return NF_ACCEPT;
	ifindex = READ_ONCE(run->ifindex);
	if (ifindex != KSNIF_ANY_DEVICE && ifindex != state->in->ifindex)
		return NF_ACCEPT;

	/* softirqs can preempt us in process context, and on PREEMPT_RT always */
	local_bh_disable();
	ksnif_testpoint_hook();
	hook_packet(run, skb, state->in);
	local_bh_enable();
	return NF_ACCEPT;
}

/* Which of run->hooks are registered: both, or the one that family asks for. */
static struct nf_hook_ops *hook_ops(struct ksnif_run *run, unsigned int *n)
{
	*n = run->settings.family == KSNIF_IP_FAMILY_INET ? 2 : 1;
	return run->hooks + (run->settings.family == KSNIF_IP_FAMILY_IP6);
}

/*
 * Let a run see the packets of a namespace. It must stay until ksnif_hook_unregister() and a
 * synchronize_net() after it. 0, or a negative errno: then nobody sees the run any more.
 */
int ksnif_hook_register(struct net *net, struct ksnif_run *run)
{
	static const u8 pf[] = { NFPROTO_IPV4, NFPROTO_IPV6 };
	struct nf_hook_ops *ops;
	unsigned int i, n;
	int err;

	for (i = 0; i < ARRAY_SIZE(pf); i++)
		run->hooks[i] = (struct nf_hook_ops) {
			.hook = hook_fn,
			.priv = run,
			.pf = pf[i],
			.hooknum = NF_INET_PRE_ROUTING,
			.priority = NF_IP_PRI_FIRST,
		};
	ops = hook_ops(run, &n);
	err = nf_register_net_hooks(net, ops, n);
	if (err)
		synchronize_net();	/* the first of two may have been called already */
	return err;
}

/* See no more packets. Hooks may still be running on return: synchronize_net() waits. */
void ksnif_hook_unregister(struct net *net, struct ksnif_run *run)
{
	unsigned int n;
	struct nf_hook_ops *ops = hook_ops(run, &n);

	nf_unregister_net_hooks(net, ops, n);
}
