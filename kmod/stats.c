// SPDX-License-Identifier: GPL-2.0
/*
 * The books. Each counter is counted where it happens: the hook's per CPU and interface,
 * the writer's per interface, queued by the queue. Here they are only added up.
 */
#include <linux/percpu.h>

#include "ksnif.h"

static void stats_add_cpu(struct ksnif_iface *iface, int cpu, struct ksnif_stats *sum)
{
	struct ksnif_hook_stats *st = per_cpu_ptr(iface->hook, cpu);
	u64 now[ARRAY_SIZE(st->counters)];
	unsigned int start;
	int i;

	do {
		start = u64_stats_fetch_begin(&st->syncp);
		/* received last: the hook counts it first, so that it is never behind */
		for (i = ARRAY_SIZE(now) - 1; i >= 0; i--) {
			now[i] = u64_stats_read(&st->counters[i]);
			smp_rmb(); /* pairs with hook_packet(): a barrier, or the queue's atomics */
		}
	} while (u64_stats_fetch_retry(&st->syncp, start));

	for (i = 0; i < ARRAY_SIZE(now); i++)
		sum->counters[i] += now[i];
	sum->errors += now[KSNIF_COUNTER(KSNIF_A_STATS_DROPPED_NO_MEMORY)];
}

static void stats_add_writer(struct ksnif_iface *iface, struct ksnif_stats *sum)
{
	u64 dropped = atomic64_read(&iface->fates[KSNIF_DROPPED]);

	sum->written += atomic64_read(&iface->fates[KSNIF_WRITTEN]);
	sum->dropped_write += dropped;
	sum->errors += dropped;
	sum->discarded += atomic64_read(&iface->fates[KSNIF_DISCARDED]);
}

static void stats_add_hook(struct ksnif_iface *iface, struct ksnif_stats *sum)
{
	int cpu;

	for_each_possible_cpu(cpu)
		stats_add_cpu(iface, cpu, sum);
}

/* Add the books of one interface, queued left out. */
void ksnif_stats_iface(struct ksnif_iface *iface, struct ksnif_stats *sum)
{
	stats_add_writer(iface, sum);
	stats_add_hook(iface, sum);
}

/*
 * Add the books of a run, under cap->lock, which keeps its queue. The writer's counters of all
 * interfaces are read before any of the hook's, and the writer counts a packet after the hook
 * did: a reader never sees more written than captured.
 */
void ksnif_stats_run(struct ksnif_run *run, struct ksnif_stats *sum)
{
	unsigned int i, n = ksnif_iface_count(run);

	for (i = 0; i < n; i++)
		stats_add_writer(run->ifaces[i], sum);
	smp_rmb(); /* pairs with the barrier in batch_count() */
	/* newer ones, too: pcap has no interfaces, and the first one's fates count for all */
	n = ksnif_iface_count(run);
	for (i = 0; i < n; i++)
		stats_add_hook(run->ifaces[i], sum);
	if (run->queue)
		sum->queued += ksnif_queue_packets(run->queue);
}

/* Add what the hook counted on one possible CPU. */
void ksnif_stats_cpu(struct ksnif_run *run, int cpu, struct ksnif_stats *sum)
{
	unsigned int i, n = ksnif_iface_count(run);

	for (i = 0; i < n; i++)
		stats_add_cpu(run->ifaces[i], cpu, sum);
}
