// SPDX-License-Identifier: GPL-2.0
/*
 * The hook: the first station of a packet's way. It matches, counts, copies the packet into
 * the queue and wakes the writer; it never sleeps, and it changes neither the packet nor its
 * verdict.
 */
#include <linux/if_ether.h>
#include <linux/netfilter_ipv4.h>
#include <linux/skbuff.h>

#include "ksnif.h"

/*
 * Bytes of link-layer header that the record of @skb starts with. A packet that the stack
 * looped back before it got an Ethernet header (multicast to oneself) has none: it is given
 * one, see hook_copy_link().
 */
static u32 hook_link_len(const struct ksnif_iface *iface, const struct sk_buff *skb)
{
	int len;

	if (iface->linktype != KSNIF_LINKTYPE_ETHERNET)
		return 0;
	if (!skb_mac_header_was_set(skb))
		return ETH_HLEN;
	len = skb_network_header(skb) - skb_mac_header(skb);
	return max(len, ETH_HLEN);
}

/* The first @n of the @link_len bytes of link-layer header. */
static void hook_copy_link(const struct sk_buff *skb, u8 *to, u32 n, u32 link_len)
{
	struct ethhdr none = { .h_proto = skb->protocol };

	if (skb_mac_header_was_set(skb) &&
	    skb_network_header(skb) - skb_mac_header(skb) == link_len)
		memcpy(to, skb_mac_header(skb), n);
	else
		memcpy(to, &none, n);	/* zero addresses, as on lo */
}

static int hook_copy(const struct sk_buff *skb, struct ksnif_record *rec, u32 link_len)
{
	u32 n = min(rec->caplen, link_len);

	if (n)
		hook_copy_link(skb, rec->data, n, link_len);
	return skb_copy_bits(skb, skb_network_offset(skb), rec->data + n, rec->caplen - n);
}

/* BH disabled, under RCU. */
static void hook_packet(struct ksnif_run *run, const struct sk_buff *skb,
			const struct net_device *dev)
{
	struct ksnif_iface *iface = ksnif_iface_get(run, dev);
	struct ksnif_hook_stats *st = this_cpu_ptr(iface->hook);
	struct ksnif_record *rec;
	u32 link_len, len;

	ksnif_stats_count(st, &st->received);
	if (iface == run->unknown) {
		ksnif_stats_count(st, &st->dropped_no_memory);
		return;
	}

	link_len = hook_link_len(iface, skb);
	len = link_len + skb->len - skb_network_offset(skb);
	rec = ksnif_queue_reserve(run->queue, min(len, READ_ONCE(run->snaplen)));
	if (IS_ERR(rec)) {
		st->gap++;
		ksnif_stats_count(st, PTR_ERR(rec) == -ENOBUFS ? &st->dropped_queue_full :
								 &st->dropped_no_memory);
		return;
	}

	rec->iface = iface;
	rec->len = len;
	if (hook_copy(skb, rec, link_len)) {
		/* the skb's fragments hold less than its length says */
		ksnif_queue_cancel(run->queue, rec);
		st->gap++;
		ksnif_stats_count(st, &st->dropped_no_memory);
		return;
	}
	rec->gap = st->gap;
	st->gap = 0;

	/* before the commit: the writer's counters must never be ahead of the hook's */
	ksnif_stats_count(st, &st->captured);
	ksnif_writer_wake(run, ksnif_queue_commit(run->queue, rec));
}

static unsigned int hook_fn(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct ksnif_run *run = priv;
	int ifindex = READ_ONCE(run->ifindex);

	if (ifindex != KSNIF_ANY_DEVICE && ifindex != state->in->ifindex)
		return NF_ACCEPT;
	/* pairs with the release in capture.c: the run is complete once armed */
	if (!smp_load_acquire(&run->armed))
		return NF_ACCEPT;

	/* softirqs can preempt us in process context, and on PREEMPT_RT always */
	local_bh_disable();
	hook_packet(run, skb, state->in);
	local_bh_enable();
	return NF_ACCEPT;
}

/*
 * Let a run see the packets of a namespace. It must stay until ksnif_hook_unregister() and a
 * synchronize_net() after it. 0 or a negative errno.
 */
int ksnif_hook_register(struct net *net, struct ksnif_run *run)
{
	static const u8 pf[] = { NFPROTO_IPV4, NFPROTO_IPV6 };
	static const u32 without[] = { KSNIF_IP_FAMILY_IP6, KSNIF_IP_FAMILY_IP };
	int i;

	run->n_hooks = 0;
	for (i = 0; i < ARRAY_SIZE(pf); i++) {
		if (run->settings.family == without[i])
			continue;
		run->hooks[run->n_hooks++] = (struct nf_hook_ops) {
			.hook = hook_fn,
			.priv = run,
			.pf = pf[i],
			.hooknum = NF_INET_PRE_ROUTING,
			.priority = NF_IP_PRI_FIRST,
		};
	}
	return nf_register_net_hooks(net, run->hooks, run->n_hooks);
}

/* See no more packets. Hooks may still be running on return: synchronize_net() waits. */
void ksnif_hook_unregister(struct net *net, struct ksnif_run *run)
{
	nf_unregister_net_hooks(net, run->hooks, run->n_hooks);
}
