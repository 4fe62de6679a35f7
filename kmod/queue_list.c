// SPDX-License-Identifier: GPL-2.0
/*
 * The queue as a list: one allocation a packet, one lock for all CPUs. The simple queue to
 * learn from; its lock also gives the packets their order.
 *
 *   reserve   counts the record's memory against queue_size, then allocates it
 *   commit    stamps the time and appends, both under the lock: list order is time order
 *   look      takes everything queued away from the hooks
 *   next      hands the oldest of that to the writer
 *   release   frees a record and gives its room back
 */
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "ksnif.h"

/* Bytes queued at which the writer is woken at once: about one batch of I/O. */
#define QUEUE_WAKE_BYTES	(256 * 1024)

/* A packet in the list. */
struct ksnif_record {
	struct ksnif_record *next;	/* the packet captured after it */
	u32 charge;			/* bytes of memory it takes from queue_size */
	u32 size;			/* bytes in data */
	u8 data[];			/* its block, as the file has it */
};

struct ksnif_queue {
	u64 size;		/* bytes of memory that records may take */
	u64 format;		/* of the blocks: enum ksnif_format */
	u64 wake_bytes;
	struct ksnif_record *seen;	/* taken from the hooks, oldest first; writer */

	/* what CPUs share */
	atomic64_t used ____cacheline_aligned_in_smp; /* bytes that records take, reserved too */
	atomic64_t packets;	/* committed and not yet done */
	spinlock_t lock;	/* protects the rest; BH disabled */
	struct ksnif_record *head;
	struct ksnif_record **tail;
	u64 waiting;		/* bytes committed since the last look */
};

/* Any size will do. */
u64 ksnif_queue_least(void)
{
	return 1;
}

/* A queue for @size bytes of records with blocks of @format; NULL without memory. */
ksnif_injectable struct ksnif_queue *ksnif_queue_alloc(u64 size, u64 format)
{
	struct ksnif_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return NULL;
	q->size = size;
	q->format = format;
	q->wake_bytes = min_t(u64, QUEUE_WAKE_BYTES, size / 4);
	spin_lock_init(&q->lock);
	q->tail = &q->head;
	return q;
}

KSNIF_INJECT(ksnif_queue_alloc, NULL);

/* It is empty. */
void ksnif_queue_free(struct ksnif_queue *q)
{
	kfree(q);
}

static ksnif_injectable struct ksnif_record *ksnif_record_alloc(size_t size)
{
	return kmalloc(size, GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC);
}

KSNIF_INJECT(ksnif_record_alloc, NULL);

static struct ksnif_record *record_of(u8 *data)
{
	return container_of(data, struct ksnif_record, data[0]);
}

/*
 * Get room for a block of @size bytes. That the queue is full is found out before any work is
 * done. What is charged is what the slab allocator really takes.
 *
 * Returns where the block goes, for ksnif_queue_commit() or ksnif_queue_cancel(); -ENOBUFS if
 * the queue is full, -ENOMEM without memory, as ERR_PTR.
 */
u8 *ksnif_queue_reserve(struct ksnif_queue *q, u32 size)
{
	size_t charge = kmalloc_size_roundup(sizeof(struct ksnif_record) + size);
	struct ksnif_record *rec;

	if (atomic64_read(&q->used) + charge > q->size)	/* often: only look */
		return ERR_PTR(-ENOBUFS);
	if (atomic64_add_return(charge, &q->used) > q->size) {
		atomic64_sub(charge, &q->used);
		return ERR_PTR(-ENOBUFS);
	}
	rec = ksnif_record_alloc(charge);
	if (!rec) {
		atomic64_sub(charge, &q->used);
		return ERR_PTR(-ENOMEM);
	}
	rec->charge = charge;
	rec->size = size;
	return rec->data;
}

static void record_free(struct ksnif_queue *q, struct ksnif_record *rec)
{
	atomic64_sub(rec->charge, &q->used);
	kfree(rec);
}

/* Give back reserved room unused. */
void ksnif_queue_cancel(struct ksnif_queue *q, u8 *to)
{
	record_free(q, record_of(to));
}

/* Queue a block that is complete but for its time, and say whether to wake the writer. */
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q, u8 *to)
{
	struct ksnif_record *rec = record_of(to);
	enum ksnif_wake wake = KSNIF_WAKE_NONE;
	u64 waiting;

	rec->next = NULL;
	atomic64_inc(&q->packets);

	spin_lock(&q->lock);
	ksnif_packet_stamp(q->format, to, ktime_get_real_ns());
	if (!q->head)
		wake = KSNIF_WAKE_SOON;
	*q->tail = rec;
	q->tail = &rec->next;
	waiting = q->waiting;
	q->waiting += rec->charge;
	if (waiting < q->wake_bytes && q->waiting >= q->wake_bytes)
		wake = KSNIF_WAKE_NOW;
	spin_unlock(&q->lock);
	return wake;
}

/* Let ksnif_queue_next() see what has been committed until now. All it saw before is released. */
void ksnif_queue_look(struct ksnif_queue *q)
{
	spin_lock_bh(&q->lock);
	q->seen = q->head;
	q->head = NULL;
	q->tail = &q->head;
	q->waiting = 0;
	spin_unlock_bh(&q->lock);
}

/*
 * The oldest packet that the last look saw; false if there is none. It takes room until
 * ksnif_queue_release(), which comes before the next.
 */
bool ksnif_queue_next(struct ksnif_queue *q, struct ksnif_span *span)
{
	struct ksnif_record *rec = q->seen;

	if (!rec)
		return false;
	q->seen = rec->next;
	*span = (struct ksnif_span){ .data = rec->data, .len = rec->size };
	return true;
}

/* Give the room back: the blocks were copied or written. Their packets still count as queued. */
void ksnif_queue_release(struct ksnif_queue *q, const struct ksnif_span *span)
{
	record_free(q, record_of(span->data));
}

/* Does the writer have to look again by itself? */
bool ksnif_queue_more(struct ksnif_queue *q)
{
	return false;
}

/* Packets that were released and are counted elsewhere by now. */
void ksnif_queue_done(struct ksnif_queue *q, u64 packets)
{
	atomic64_sub(packets, &q->packets);
}

/* Packets committed and not yet done. */
u64 ksnif_queue_packets(struct ksnif_queue *q)
{
	return atomic64_read(&q->packets);
}
