// SPDX-License-Identifier: GPL-2.0
/*
 * The books. Each counter is counted where it happens: the hook's per CPU and interface,
 * the writer's per interface, queued by the queue. Here they are only added up.
 */
#include <linux/percpu.h>

#include "ksnif.h"

/* Count one packet in the hook. BH disabled; @st is this CPU's, @counter one of its own. */
void ksnif_stats_count(struct ksnif_hook_stats *st, u64_stats_t *counter)
{
	u64_stats_update_begin(&st->syncp);
	u64_stats_inc(counter);
	u64_stats_update_end(&st->syncp);
}

/* The counter that an attribute, KSNIF_A_STATS_*, carries. */
u64 ksnif_stats_value(const struct ksnif_stats *st, int attr)
{
	switch (attr) {
	case KSNIF_A_STATS_RECEIVED:
		return st->received;
	case KSNIF_A_STATS_FILTERED:
		return st->filtered;
	case KSNIF_A_STATS_CAPTURED:
		return st->captured;
	case KSNIF_A_STATS_DROPPED_QUEUE_FULL:
		return st->dropped_queue_full;
	case KSNIF_A_STATS_DROPPED_NO_MEMORY:
		return st->dropped_no_memory;
	case KSNIF_A_STATS_QUEUED:
		return st->queued;
	case KSNIF_A_STATS_WRITTEN:
		return st->written;
	case KSNIF_A_STATS_DROPPED_WRITE:
		return st->dropped_write;
	case KSNIF_A_STATS_DISCARDED:
		return st->discarded;
	default:	/* the talk's third figure */
		return st->dropped_no_memory + st->dropped_write;
	}
}

static void stats_add_cpu(struct ksnif_iface *iface, int cpu, struct ksnif_stats *sum)
{
	struct ksnif_hook_stats *st = per_cpu_ptr(iface->hook, cpu);
	struct ksnif_stats s;
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(&st->syncp);
		s.received = u64_stats_read(&st->received);
		s.filtered = u64_stats_read(&st->filtered);
		s.captured = u64_stats_read(&st->captured);
		s.dropped_queue_full = u64_stats_read(&st->dropped_queue_full);
		s.dropped_no_memory = u64_stats_read(&st->dropped_no_memory);
	} while (u64_stats_fetch_retry(&st->syncp, start));

	sum->received += s.received;
	sum->filtered += s.filtered;
	sum->captured += s.captured;
	sum->dropped_queue_full += s.dropped_queue_full;
	sum->dropped_no_memory += s.dropped_no_memory;
}

static void stats_add_writer(struct ksnif_iface *iface, struct ksnif_stats *sum)
{
	sum->written += atomic64_read(&iface->written);
	sum->dropped_write += atomic64_read(&iface->dropped_write);
	sum->discarded += atomic64_read(&iface->discarded);
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
 * Add the books of a run. The writer's counters of all interfaces are read before any of the
 * hook's, and the writer counts a packet after the hook did: a reader never sees more
 * written than captured.
 */
void ksnif_stats_run(struct ksnif_run *run, struct ksnif_stats *sum)
{
	struct ksnif_iface *iface;

	rcu_read_lock();
	list_for_each_entry_rcu(iface, &run->ifaces, list)
		stats_add_writer(iface, sum);
	smp_rmb(); /* pairs with the barrier in writer_count() */
	list_for_each_entry_rcu(iface, &run->ifaces, list)
		stats_add_hook(iface, sum);
	rcu_read_unlock();
	sum->queued += ksnif_queue_packets(run->queue);
}

/* Add what the hook counted on one possible CPU. */
void ksnif_stats_cpu(struct ksnif_run *run, int cpu, struct ksnif_stats *sum)
{
	struct ksnif_iface *iface;

	rcu_read_lock();
	list_for_each_entry_rcu(iface, &run->ifaces, list)
		stats_add_cpu(iface, cpu, sum);
	rcu_read_unlock();
}
