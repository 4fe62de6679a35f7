/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hook's half of the ring (queue_ring.c): inline, because it is what every packet takes.
 *
 * Barriers, each named where it stands, here and there:
 *
 *   A  hook, reserve: claim before the clock is read, and before seen is at commit
 *   B  writer, look: the clock is read and seen is written before claim is read
 *      A and B pair. Either the writer sees that the hook is at work, and waits for the commit;
 *      or the hook reads the clock after the writer did, and a packet that the writer does not
 *      see is no older than what it takes. As well, the hook sees what the writer has seen: it
 *      wakes the writer if its packet is the first beyond that.
 *   C  hook, commit: the block before head, release; with the writer's acquire of head
 *   D  writer, release: its reads of the block before tail, release; with the hook's acquire of
 *      tail: room is written again only after it was read
 */
#ifndef _KSNIF_QUEUE_RING_H
#define _KSNIF_QUEUE_RING_H

#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/timekeeping.h>
#include <linux/u64_stats_sync.h>

#include "packet.h"

/*
 * All of these are read while another CPU writes them: head, claim, tail, seen, packets and mark.
 * And the pages of a ring are mapped twice: no cache may have them twice, which no 64-bit machine
 * of today that matters does.
 */
#if BITS_PER_LONG != 64
#error "the ring needs a 64-bit machine: use the list queue (CONFIG=list)"
#endif

/*
 * Stands between blocks: from here on this is how far the wall clock is ahead of the monotonic
 * one. No block looks like it: it would have a length, or nanoseconds, of never.
 */
struct ksnif_ring_mark {
	u32 zero;
	u32 never;	/* KSNIF_RING_MARK */
	s64 offset;	/* ns */
} __packed;	/* pcap aligns nothing */

#define KSNIF_RING_MARK		U32_MAX
#define KSNIF_RING_NO_OFFSET	S64_MIN

/* One CPU's. */
struct ksnif_ring {
	/*
	 * the hook's of this CPU, BH disabled; the writer reads head, claim and mark, and anybody
	 * packets
	 */
	u64 head;		/* bytes committed since start */
	u64 claim;		/* ahead of head between reserve and commit or cancel */
	u64 limit;		/* claim may come this far: tail + size when it was last read */
	u64_stats_t packets;	/* committed since start */
	u8 *at;			/* head's place in data */
	u8 *end;		/* of the first time that data has the pages */
	s64 offset;		/* of the wall clock; in the last mark */
	unsigned long checked;	/* the jiffy in which that was looked at */
	u64 mark;		/* where that is, counted as head is */
	u64 wake_at;		/* head must have come here to wake the writer at once again */

	/* constant but for seen, which the hook reads at each packet: the writer's, once a look */
	u32 size ____cacheline_aligned_in_smp;	/* bytes */
	u8 *data;		/* twice that, of the same pages */
	struct page **pages;	/* twice, too */
	u64 seen;		/* head, when the writer last looked */

	/* the writer's, at each span; the hook reads tail when its limit is reached */
	u64 tail ____cacheline_aligned_in_smp;	/* bytes released since start */
	u64 from;		/* next byte for the writer */
	u64 cut;		/* it may go that far */
	u32 from_at;		/* from's place in data */
	s64 from_offset;	/* of the blocks there */
	u64 from_time;		/* of the block there, monotonic */
	struct ksnif_ring *next;	/* in the list of rings that have a block there */
} ____cacheline_aligned_in_smp;

struct ksnif_queue {
	struct ksnif_ring __percpu *rings;
	u64 format;		/* of the blocks: enum ksnif_format */
	u64 wake_bytes;		/* half of span_max: at so many the writer is woken at once */
	u32 span_max;		/* bytes for one write */

	/* the writer's */
	u64 until ____cacheline_aligned_in_smp;	/* nobody can commit an older packet */
	struct ksnif_ring *ready;	/* rings with a block to take */
	struct ksnif_ring *taken;	/* whose the last span is */
	bool more;		/* something was committed while the writer looked */
	atomic64_t done;	/* packets counted elsewhere by now; others read */
};

u8 *ksnif_ring_check(struct ksnif_ring *r, u8 *to);
bool ksnif_ring_refill(struct ksnif_ring *r, u64 claim);
enum ksnif_wake ksnif_ring_wake(struct ksnif_queue *q, struct ksnif_ring *r, u64 unseen);

/*
 * Get @room for a block of @size bytes, for ksnif_queue_commit() or ksnif_queue_cancel(). Until
 * then the writer waits for this CPU. That the ring is full is found out before any work is done.
 *
 * 0 or -ENOBUFS.
 */
static inline int ksnif_queue_reserve(struct ksnif_queue *q, u32 size, struct ksnif_room *room)
{
	struct ksnif_ring *r = this_cpu_ptr(q->rings);
	u64 claim = r->head + size;

	if (unlikely(claim > r->limit) && !ksnif_ring_refill(r, claim))
		return -ENOBUFS;
	smp_store_mb(r->claim, claim); /* A */
	room->to = r->at;
	room->size = size;
	room->of = r;
	return 0;
}

/* Give back reserved room unused. */
static inline void ksnif_queue_cancel(struct ksnif_queue *q, const struct ksnif_room *room)
{
	struct ksnif_ring *r = room->of;

	WRITE_ONCE(r->claim, r->head);
}

/*
 * Stamp and queue a block that is complete but for its time, and say whether to wake the writer.
 * @format is the queue's.
 */
static inline enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q,
						 const struct ksnif_room *room, const u64 format)
{
	struct ksnif_ring *r = room->of;
	u64 now = ktime_get(), head, unseen;
	const unsigned long jiffy = jiffies;
	u8 *to = room->to, *at;

	if (unlikely(jiffy != r->checked))
		to = ksnif_ring_check(r, to);
	ksnif_packet_stamp(format, to, now + r->offset);
	ksnif_testpoint_commit();

	head = r->claim;
	unseen = r->head - READ_ONCE(r->seen);
	at = to + room->size;
	if (unlikely(at >= r->end))
		at -= r->size;
	r->at = at;
	u64_stats_inc(&r->packets);
	smp_store_release(&r->head, head); /* C */
	/* not the first one that the writer has not seen, and not enough of them */
	if (likely(unseen - 1 < q->wake_bytes))
		return KSNIF_WAKE_NONE;
	return ksnif_ring_wake(q, r, unseen);
}

#endif /* _KSNIF_QUEUE_RING_H */
