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
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "ksnif.h"

/* Bytes queued at which the writer is woken at once: about one batch of I/O. */
#define QUEUE_WAKE_BYTES	(256 * 1024)

/* Records that are freed in one go: the slab allocator then sorts them by where they lie. */
#define QUEUE_FREE_BULK		64

/* A packet in the list. */
struct ksnif_record {
	struct ksnif_record *next;	/* the packet captured after it */
	u32 charge;			/* bytes of memory it takes from queue_size */
	u32 size;			/* bytes in data */
	u8 data[];			/* its block, as the file has it */
};

struct ksnif_queue {
	u64 size;		/* bytes of memory that records may take */
	u64 wake_bytes;

	/* the writer's */
	struct ksnif_record *seen;	/* taken from the hooks, oldest first */
	void *released[QUEUE_FREE_BULK];	/* to be freed; they take room until then */
	unsigned int n_released;
	u32 charge_released;		/* bytes */

	/* what CPUs share */
	atomic64_t used ____cacheline_aligned_in_smp; /* bytes that records take, reserved too */
	atomic64_t packets;	/* committed and not yet done */
	spinlock_t lock;	/* protects the rest; BH disabled */
	struct ksnif_record *head;
	struct ksnif_record **tail;
	u64 waiting;		/* bytes committed since the last look */
};

/*
 * Where records come from that are not larger than size; the last is for MTU 1500. With its
 * constructor, which does nothing, such a cache hands out memory as it is: kmalloc() would clear
 * it (init_on_alloc), at the price of the copy, and all that leaves is written first.
 *
 * charge is what one takes: with 8 bytes that SLUB keeps behind it because of the constructor, and
 * its part of what is left of the pages that it shares: little, as they hold 20, 6, 4 and 2.5. The
 * last is so where SLUB gets several pages in one piece; in single ones it is more, record_new().
 */
#define MTU_CHARGE		1639
#define MTU_CHARGE_SINGLE	DIV_ROUND_UP(PAGE_SIZE, PAGE_SIZE / (1624 + 8))
static const struct {
	unsigned int size, charge;
} record_kinds[] = { { 192, 205 }, { 672, 683 }, { 1016, 1024 }, { 1624, MTU_CHARGE } };
static struct kmem_cache *record_caches[ARRAY_SIZE(record_kinds)];
static DEFINE_MUTEX(record_caches_lock);

static void record_constructor(void *record)
{
}

/* Make the caches, before the first record. 0 or -ENOMEM. */
static int record_caches_init(void)
{
	int i, err = 0;

	mutex_lock(&record_caches_lock);
	for (i = 0; i < ARRAY_SIZE(record_kinds) && !err; i++) {
		char name[24];

		if (record_caches[i])
			continue;
		scnprintf(name, sizeof(name), "ksnif_record-%u", record_kinds[i].size);
		record_caches[i] = kmem_cache_create(name, record_kinds[i].size, 0, 0,
						     record_constructor);
		if (!record_caches[i])
			err = -ENOMEM;
	}
	mutex_unlock(&record_caches_lock);
	return err;
}

/* At module exit: there are no queues any more. */
void ksnif_queue_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(record_kinds); i++)
		kmem_cache_destroy(record_caches[i]);
}

/* Any size will do. */
u64 ksnif_queue_least(void)
{
	return 1;
}

/* A queue for @size bytes of records with blocks of @format; NULL without memory. */
ksnif_injectable struct ksnif_queue *ksnif_queue_alloc(u64 size, u64 format)
{
	struct ksnif_queue *q;

	if (record_caches_init())
		return NULL;
	q = kzalloc(sizeof(*q), GFP_KERNEL);
	if (!q)
		return NULL;
	q->size = size;
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

/* A record for which record_charge() says that many bytes. */
static ksnif_injectable struct ksnif_record *ksnif_record_alloc(size_t charge)
{
	const gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN | __GFP_NOMEMALLOC;
	int i;

	for (i = 0; i < ARRAY_SIZE(record_kinds); i++)
		if (charge == record_kinds[i].charge)
			return kmem_cache_alloc(record_caches[i], gfp);
	return kmalloc(charge, gfp);
}

KSNIF_INJECT(ksnif_record_alloc, NULL);

/* What is counted for a record of @size bytes before it is there: record_new() may add to it. */
static size_t record_charge(size_t size)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(record_kinds); i++)
		if (size <= record_kinds[i].size)
			return record_kinds[i].charge;
	return kmalloc_size_roundup(size);
}

/*
 * A record for a block of @size bytes, for which @charge is counted; NULL without memory, and
 * @charge is given back. Where memory is in pieces, those for MTU 1500 come in single pages and
 * take more. That is only known now: the last record of each CPU may go beyond queue_size by it.
 */
static struct ksnif_record *record_new(struct ksnif_queue *q, u32 size, u32 charge)
{
	struct ksnif_record *rec = ksnif_record_alloc(charge);

	if (!rec) {
		atomic64_sub(charge, &q->used);
		return NULL;
	}
	if (charge == MTU_CHARGE && unlikely(!PageCompound(virt_to_page(rec)))) {
		atomic64_add(MTU_CHARGE_SINGLE - charge, &q->used);
		charge = MTU_CHARGE_SINGLE;
	}
	rec->charge = charge;
	rec->size = size;
	return rec;
}

/*
 * Get @room for a block of @size bytes, for ksnif_queue_commit() or ksnif_queue_cancel(). That
 * the queue is full is found out before any work is done.
 *
 * 0, -ENOBUFS if the queue is full, or -ENOMEM without memory.
 */
int ksnif_queue_reserve(struct ksnif_queue *q, u32 size, struct ksnif_room *room)
{
	size_t charge = record_charge(sizeof(struct ksnif_record) + size);
	struct ksnif_record *rec;

	if (atomic64_read(&q->used) + charge > q->size)	/* often: only look */
		return -ENOBUFS;
	if (atomic64_add_return(charge, &q->used) > q->size) {
		atomic64_sub(charge, &q->used);
		return -ENOBUFS;
	}
	rec = record_new(q, size, charge);
	if (!rec)
		return -ENOMEM;
	*room = (struct ksnif_room){ .to = rec->data, .size = size, .of = rec };
	return 0;
}

/* Give back reserved room unused. */
void ksnif_queue_cancel(struct ksnif_queue *q, const struct ksnif_room *room)
{
	struct ksnif_record *rec = room->of;

	atomic64_sub(rec->charge, &q->used);
	kfree(rec);
}

/* Queue a block that is complete but for its time, of @format; say whether to wake the writer. */
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q, const struct ksnif_room *room,
				   u64 format)
{
	struct ksnif_record *rec = room->of;
	enum ksnif_wake wake = KSNIF_WAKE_NONE;
	u64 waiting;

	rec->next = NULL;
	atomic64_inc(&q->packets);

	spin_lock(&q->lock);
	ksnif_packet_stamp(format, room->to, ktime_get_real_ns());
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
 * Let ksnif_queue_next() see what has been committed until now. All it saw before is released.
 * @last: no hook comes any more.
 */
void ksnif_queue_look(struct ksnif_queue *q, bool last)
{
	spin_lock_bh(&q->lock);
	q->seen = q->head;
	q->head = NULL;
	q->tail = &q->head;
	q->waiting = 0;
	spin_unlock_bh(&q->lock);
}

static void queue_free_released(struct ksnif_queue *q)
{
	if (q->n_released)
		kfree_bulk(q->n_released, q->released);
	atomic64_sub(q->charge_released, &q->used);
	q->n_released = 0;
	q->charge_released = 0;
}

/*
 * The oldest packet that the last look saw; false if there is none. It takes room until
 * ksnif_queue_release(), which comes before the next.
 */
bool ksnif_queue_next(struct ksnif_queue *q, struct ksnif_span *span)
{
	struct ksnif_record *rec = q->seen;

	if (!rec) {
		queue_free_released(q);
		return false;
	}
	q->seen = rec->next;
	*span = (struct ksnif_span){ .data = rec->data, .len = rec->size };
	return true;
}

/* Give the room back: the block was copied or written. Its packet still counts as queued. */
void ksnif_queue_release(struct ksnif_queue *q, const struct ksnif_span *span)
{
	struct ksnif_record *rec = container_of(span->data, struct ksnif_record, data[0]);

	q->released[q->n_released++] = rec;
	q->charge_released += rec->charge;
	/* large ones go at once: their room is wanted */
	if (q->n_released == QUEUE_FREE_BULK || q->charge_released >= q->wake_bytes)
		queue_free_released(q);
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
