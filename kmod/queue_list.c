// SPDX-License-Identifier: GPL-2.0
/*
 * The queue as a list: one allocation a packet, one lock for all CPUs. The simple queue to
 * learn from; its lock also gives the records their order.
 *
 *   reserve   counts the record's memory against queue_size, then allocates it
 *   commit    stamps the time and appends, both under the lock: list order is time order
 *   take      hands everything queued to the writer
 *   done      frees a record and gives its room back
 */
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "ksnif.h"

/* Bytes queued at which the writer is woken at once: about one batch of I/O. */
#define QUEUE_WAKE_BYTES	(256 * 1024)

struct ksnif_queue {
	u64 size;		/* bytes of memory that records may take */
	u64 wake_bytes;
	atomic64_t used;	/* bytes that records take, reserved ones included */
	atomic64_t packets;	/* committed and not yet done */
	spinlock_t lock;	/* protects the rest; BH disabled */
	struct ksnif_record *head;
	struct ksnif_record **tail;
	u64 waiting;		/* bytes committed since the last take */
};

/* A queue for @size bytes of records; NULL without memory. */
ksnif_injectable struct ksnif_queue *ksnif_queue_alloc(u64 size)
{
	struct ksnif_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return NULL;
	q->size = size;
	q->wake_bytes = min_t(u64, QUEUE_WAKE_BYTES, size / 4);
	spin_lock_init(&q->lock);
	q->tail = &q->head;
	return q;
}

KSNIF_INJECT(ksnif_queue_alloc, NULL);

void ksnif_queue_free(struct ksnif_queue *q)
{
	kfree(q);
}

static ksnif_injectable struct ksnif_record *ksnif_record_alloc(size_t size)
{
	return kmalloc(size, GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC);
}

KSNIF_INJECT(ksnif_record_alloc, NULL);

/*
 * Get room for @caplen bytes of packet. That the queue is full is found out before any work
 * is done. What is charged is what the slab allocator really takes.
 *
 * Returns a record for ksnif_queue_commit() or ksnif_queue_cancel(), with caplen set; -ENOBUFS
 * if the queue is full, -ENOMEM without memory, as ERR_PTR.
 */
struct ksnif_record *ksnif_queue_reserve(struct ksnif_queue *q, u32 caplen)
{
	size_t charge = kmalloc_size_roundup(sizeof(struct ksnif_record) + caplen);
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
	rec->caplen = caplen;
	return rec;
}

/* Give back a reserved record unused. */
void ksnif_queue_cancel(struct ksnif_queue *q, struct ksnif_record *rec)
{
	atomic64_sub(rec->charge, &q->used);
	kfree(rec);
}

/* Queue a filled record, and say whether the writer must be woken. */
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q, struct ksnif_record *rec)
{
	enum ksnif_wake wake = KSNIF_WAKE_NONE;
	u64 waiting;

	rec->next = NULL;
	atomic64_inc(&q->packets);

	spin_lock(&q->lock);
	rec->time = ktime_get_real_ns();
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

/*
 * Take everything that is queued, oldest first; NULL if nothing is. The records still count
 * as queued and take room until ksnif_queue_done().
 */
struct ksnif_record *ksnif_queue_take(struct ksnif_queue *q)
{
	struct ksnif_record *first;

	spin_lock_bh(&q->lock);
	first = q->head;
	q->head = NULL;
	q->tail = &q->head;
	q->waiting = 0;
	spin_unlock_bh(&q->lock);
	return first;
}

/* Free a record that was taken and is counted elsewhere by now. */
void ksnif_queue_done(struct ksnif_queue *q, struct ksnif_record *rec)
{
	atomic64_sub(rec->charge, &q->used);
	atomic64_dec(&q->packets);
	kfree(rec);
}

/* Packets committed and not yet done. */
u64 ksnif_queue_packets(struct ksnif_queue *q)
{
	return atomic64_read(&q->packets);
}
