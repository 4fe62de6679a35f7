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
 * Make a link-layer header with the right EtherType, and the addresses if they are there: a packet
 * that the stack looped back before it got one (multicast to oneself) has none, and one that IPsec
 * or segment routing decapsulated has more than that before its IP header.
 */
static void hook_make_link(const struct sk_buff *skb, u8 *to, u32 n)
{
	struct ethhdr eth = { .h_proto = skb->protocol };

	if (skb_mac_header_was_set(skb) &&
	    skb_network_header(skb) - skb_mac_header(skb) > HOOK_LINK_MAX)
		memcpy(&eth, skb_mac_header(skb), 2 * ETH_ALEN);
	memcpy(to, &eth, n);
}

/*
 * Copy @n bytes of the packet: those from skb->data + @from on, negative where a link-layer header
 * lies before the data, or a header that is to be @made, and then those. False if the skb has not
 * got as many, or not where a processor can read them.
 */
static __always_inline bool hook_copy(const struct sk_buff *skb, int from, bool made, u8 *to, int n)
{
	if (made) {
		int link = min(n, ETH_HLEN);

		hook_make_link(skb, to, link);
		to += link;
		n -= link;
	}
	if (unlikely(from + n > (int)skb_headlen(skb)))
		return !skb_copy_bits(skb, from, to, n);
	memcpy(to, skb->data + from, n);	/* as that would, for less */
	return true;
}

/* What the block says of a packet, but for its time; @from and @made are hook_copy()'s. */
static __always_inline struct ksnif_packet hook_describe(const struct ksnif_run *run,
							 const struct sk_buff *skb,
							 const struct ksnif_iface *iface, int from,
							 bool made, u64 gap, u64 format)
{
	struct ksnif_packet pkt = { .id = iface->id, .gap = gap };

	pkt.len = skb->len - from + (made ? ETH_HLEN : 0);
	pkt.caplen = min(pkt.len, READ_ONCE(run->snaplen));
	pkt.size = ksnif_packet_size(format, pkt.caplen, pkt.gap);
	return pkt;
}

/*
 * Capture a packet; @from and @made are hook_copy()'s. BH disabled, under RCU. There is code of its
 * own for each @made, and for each @format where nothing is made.
 */
static __always_inline void hook_packet(struct ksnif_run *run, const struct sk_buff *skb,
					struct ksnif_iface *iface, const int from, const bool made,
					const u64 format)
{
	struct ksnif_hook_stats *st = this_cpu_ptr(iface->hook);
	const struct ksnif_packet pkt = hook_describe(run, skb, iface, from, made, st->gap, format);
	struct ksnif_room room = { };	/* or the compiler clears it in memory, for security */
	enum ksnif_wake wake;
	u8 *to;
	int err;

	ksnif_stats_count(st, KSNIF_A_STATS_RECEIVED);
	err = ksnif_queue_reserve(run->queue, pkt.size, &room);
	if (unlikely(err)) {
		st->gap++;
		smp_wmb(); /* pairs with stats_add_cpu(): the drop comes after received */
		ksnif_stats_count(st, err == -ENOBUFS ? KSNIF_A_STATS_DROPPED_QUEUE_FULL :
				      KSNIF_A_STATS_DROPPED_NO_MEMORY);
		return;
	}

	to = ksnif_packet_frame(format, room.to, &pkt);
	if (unlikely(!hook_copy(skb, from, made, to, pkt.caplen))) {
		/* the skb's fragments hold less than its length says, or memory of a device */
		ksnif_queue_cancel(run->queue, &room);
		st->gap++;
		ksnif_stats_count(st, KSNIF_A_STATS_DROPPED_NO_MEMORY);
		return;
	}
	st->gap = 0;

	/* before the commit: the writer's counters must never be ahead of the hook's */
	ksnif_stats_count(st, KSNIF_A_STATS_CAPTURED);
	wake = ksnif_queue_commit(run->queue, &room, format);
	if (unlikely(wake != KSNIF_WAKE_NONE))
		ksnif_writer_wake(run, wake);
}

/* A packet without a link-layer header, of a device that has them. */
static noinline void hook_packet_made(struct ksnif_run *run, const struct sk_buff *skb,
				      struct ksnif_iface *iface, int from)
{
	hook_packet(run, skb, iface, from, true, run->settings.format);
}

/* For a caller that softirqs can preempt: most are softirqs, or exclude them. */
static noinline unsigned int hook_process(nf_hookfn *hook, void *priv, struct sk_buff *skb,
					  const struct nf_hook_state *state)
{
	local_bh_disable();
	hook(priv, skb, state);
	local_bh_enable();
	return NF_ACCEPT;
}

static __always_inline unsigned int hook_any(struct ksnif_run *run, struct sk_buff *skb,
					     const struct nf_hook_state *state, const u64 format)
{
	const int ifindex = state->in->ifindex;
	struct ksnif_iface *iface;
	int only, from;

	/* pairs with ksnif_device_arm(): until then it is no device's, after that all is there */
	only = smp_load_acquire(&run->ifindex);
	if (only != KSNIF_ANY_DEVICE && only != ifindex)
		return NF_ACCEPT;
	if (unlikely(!softirq_count()))
		return hook_process(run->hooks->hook, run, skb, state);

	ksnif_testpoint_hook();
	iface = ksnif_iface_find(run, ifindex);
	if (unlikely(!iface))
		iface = ksnif_iface_new(run, state->in);
	from = skb_network_offset(skb);
	if (iface->linktype == KSNIF_LINKTYPE_ETHERNET) {
		/* negative if the skb knows of none */
		const int link = skb->network_header - skb->mac_header;

		if (unlikely(link < ETH_HLEN || link > HOOK_LINK_MAX)) {
			hook_packet_made(run, skb, iface, from);
			return NF_ACCEPT;
		}
		from = skb_mac_offset(skb);
	}
	hook_packet(run, skb, iface, from, false, format);
	return NF_ACCEPT;
}

static unsigned int hook_pcapng(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return hook_any(priv, skb, state, KSNIF_FORMAT_PCAPNG);
}

static unsigned int hook_pcap(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return hook_any(priv, skb, state, KSNIF_FORMAT_PCAP);
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
			.hook = run->settings.format == KSNIF_FORMAT_PCAP ? hook_pcap : hook_pcapng,
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
