// SPDX-License-Identifier: GPL-2.0
/*
 * The queue as one ring of bytes per possible CPU. A hook writes to its own CPU's ring only and
 * takes no lock; blocks lie in it one behind the other as they will in the file, so that the
 * writer can give the ring's own pages to the disk.
 *
 *   reserve   claims room behind the last block of this CPU, and takes the time
 *   commit    moves head over the block
 *   look      waits until no CPU can still commit a packet older than now
 *   next      merges the rings by time, in spans as long as the order allows
 *   release   moves tail over what was copied or written
 *
 * A ring's pages are mapped twice in a row: no block is ever split at the end of the ring.
 *
 * Order is by the monotonic clock, but a block holds the wall-clock time alone. Their distance
 * changes when somebody sets the clock, and then the hook puts a mark with the new one before
 * the block: the writer computes one time from the other, and no mark reaches the file.
 *
 * Barriers, each named where it stands:
 *
 *   A  hook, reserve: "at work" before the clock is read and before seen is
 *   B  writer, look: the clock is read and seen is written before "at work" is read
 *      A and B pair. Either the writer sees that the hook is at work, and waits for the commit;
 *      or the hook reads the clock after the writer did, and a packet that the writer does not
 *      see is no older than what it takes. As well, the hook sees what the writer has seen: it
 *      wakes the writer if its packet is the first beyond that.
 *   C  hook, commit: the block before head, release; with the writer's acquire of head
 *   D  hook, commit: head before the end of work, release; with the writer's acquire of work
 *   E  writer, release: its reads of the block before tail, release; with the hook's acquire of
 *      tail: room is written again only after it was read
 */
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>

#include "ksnif.h"

/* head, tail and seen are read while another CPU writes them */
#if BITS_PER_LONG != 64
#error "the ring needs a 64-bit machine: use the list queue (CONFIG=list)"
#endif

/* Smallest ring of a CPU, in bytes of queue_size: twenty packets of an Ethernet. */
#define RING_LEAST		(32 * 1024)

/* Bytes of a ring at which the writer is woken at once, for one large write. */
#define RING_WAKE_BYTES		KSNIF_SPAN_MAX

/* What a page costs: itself, its place in the list of pages, and in the page table, twice each. */
#define RING_PAGE_COST		(PAGE_SIZE + 4 * sizeof(void *))

/* Largest order of pages that lie side by side: the fewer pieces, the cheaper a direct write. */
#define RING_ORDER		8

/*
 * Stands between blocks: from here on this is how far the wall clock is ahead of the monotonic
 * one. No block looks like it: it would have a length, or nanoseconds, of never.
 */
struct ring_mark {
	u32 zero;
	u32 never;	/* RING_MARK */
	s64 offset;	/* ns */
};

#define RING_MARK	U32_MAX
#define RING_NO_OFFSET	S64_MIN

struct ring {
	/* the hook's of this CPU, BH disabled; the writer reads head, packets and work */
	u64 head;		/* bytes committed since start */
	u64 limit;		/* head may come this far: tail + size when it was last read */
	u64 packets;		/* committed since start */
	unsigned long work;	/* odd between reserve and commit or cancel */
	u32 at;			/* head's place in data */
	u32 reserved;		/* bytes, a mark among them */
	s64 offset;		/* in the last mark */
	s64 new_offset;		/* what it is after the commit */
	u64 time;		/* of the reserved block, wall clock */
	u64 wake_at;		/* head must have come here to wake the writer at once again */
	bool first;		/* the writer has seen all before the reserved block */

	/* constant */
	u32 size ____cacheline_aligned_in_smp;	/* bytes */
	u8 *data;		/* twice that, of the same pages */
	struct page **pages;	/* twice, too */

	/* the writer's; the hook reads tail and seen */
	u64 tail ____cacheline_aligned_in_smp;	/* bytes released since start */
	u64 seen;		/* head, when the writer last looked */
	u64 from;		/* next byte for the writer */
	u64 cut;		/* it may go that far */
	u32 from_at;		/* from's place in data */
	s64 from_offset;	/* of the blocks there */
	u64 from_time;		/* of the block there, monotonic */
	struct ring *next;	/* in the list of rings that have a block there */
} ____cacheline_aligned_in_smp;

struct ksnif_queue {
	struct ring __percpu *rings;
	u64 format;		/* of the blocks: enum ksnif_format */
	u32 wake_bytes;
	u32 span_max;

	/* the writer's */
	u64 until ____cacheline_aligned_in_smp;	/* nobody can commit an older packet */
	struct ring *ready;	/* rings with a block to take */
	struct ring *taken;	/* whose the last span is */
	bool more;		/* something was committed while the writer looked */
	atomic64_t done;	/* packets counted elsewhere by now; others read */
};

/* So many bytes give each possible CPU a ring that is of use. */
u64 ksnif_queue_least(void)
{
	return num_possible_cpus() * (u64)RING_LEAST;
}

static void ring_free(struct ring *r)
{
	u32 i, n = r->size / PAGE_SIZE;

	vunmap(r->data);
	for (i = 0; r->pages && i < n && r->pages[i]; i++)
		__free_page(r->pages[i]);
	kvfree(r->pages);
}

/* Pages side by side, as many as there are, at most 2^@order. Their number; 0 without memory. */
static unsigned int ring_pages(struct page **pages, int node, unsigned int order)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT;
	struct page *page = NULL;
	unsigned int i;

	for (; order && !page; order -= !page)
		page = alloc_pages_node(node, gfp | __GFP_NOWARN | __GFP_NORETRY, order);
	if (!page)
		page = alloc_pages_node(node, gfp, 0);
	if (!page)
		return 0;
	if (order)
		split_page(page, order);
	for (i = 0; i < 1U << order; i++)
		pages[i] = page + i;
	return i;
}

/* A ring of @n pages for @cpu. 0 or -ENOMEM; ring_free() in any case. */
static int ring_init(struct ring *r, int cpu, u32 n)
{
	u32 i, got;

	r->size = n * PAGE_SIZE;
	r->limit = r->size;
	r->offset = RING_NO_OFFSET;
	r->pages = kvcalloc(2 * n, sizeof(*r->pages), GFP_KERNEL);
	if (!r->pages)
		return -ENOMEM;
	for (i = 0; i < n; i += got) {
		got = ring_pages(r->pages + i, cpu_to_node(cpu),
				 min_t(u32, RING_ORDER, ilog2(n - i)));
		if (!got)
			return -ENOMEM;
		cond_resched();
	}
	memcpy(r->pages + n, r->pages, n * sizeof(*r->pages));
	r->data = vmap(r->pages, 2 * n, VM_MAP, PAGE_KERNEL);
	return r->data ? 0 : -ENOMEM;
}

/* Rings that together take @size bytes, for blocks of @format; NULL without memory. */
ksnif_injectable struct ksnif_queue *ksnif_queue_alloc(u64 size, u64 format)
{
	struct ksnif_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);
	u32 pages = div_u64(size, num_possible_cpus() * RING_PAGE_COST);
	int cpu;

	if (!q)
		return NULL;
	q->format = format;
	q->wake_bytes = min_t(u64, RING_WAKE_BYTES, pages * PAGE_SIZE / 4);
	q->span_max = q->wake_bytes;
	q->rings = alloc_percpu(struct ring);
	if (!q->rings) {
		kfree(q);
		return NULL;
	}
	for_each_possible_cpu(cpu) {
		if (ring_init(per_cpu_ptr(q->rings, cpu), cpu, pages)) {
			ksnif_queue_free(q);
			return NULL;
		}
	}
	return q;
}

KSNIF_INJECT(ksnif_queue_alloc, NULL);

void ksnif_queue_free(struct ksnif_queue *q)
{
	int cpu;

	for_each_possible_cpu(cpu)
		ring_free(per_cpu_ptr(q->rings, cpu));
	free_percpu(q->rings);
	kfree(q);
}

/* Room for @size bytes more? Looks at tail, which the writer's CPU has, only if it must. */
static bool ring_room(struct ring *r, u32 size)
{
	if (likely(r->head + size <= r->limit))
		return true;
	r->limit = smp_load_acquire(&r->tail) + r->size; /* E */
	return r->head + size <= r->limit;
}

/*
 * Get room for a block of @size bytes, and the time for it. That the ring is full is found out
 * before any work is done.
 *
 * Returns where the block goes, for ksnif_queue_commit() or ksnif_queue_cancel(), or -ENOBUFS
 * as ERR_PTR. Until then the writer waits for this CPU.
 */
u8 *ksnif_queue_reserve(struct ksnif_queue *q, u32 size)
{
	struct ring *r = this_cpu_ptr(q->rings);
	u8 *to = r->data + r->at;
	ktime_t now;

	if (unlikely(!ring_room(r, size + sizeof(struct ring_mark))))
		return ERR_PTR(-ENOBUFS);
	smp_store_mb(r->work, r->work + 1); /* A */
	r->first = READ_ONCE(r->seen) == r->head;
	now = ktime_get();
	r->time = ktime_mono_to_real(now);
	r->new_offset = r->time - now;
	r->reserved = size;
	if (unlikely(r->new_offset != r->offset)) {
		struct ring_mark mark = { .never = RING_MARK, .offset = r->new_offset };

		memcpy(to, &mark, sizeof(mark));
		r->reserved += sizeof(mark);
		to += sizeof(mark);
	}
	return to;
}

/* Give back reserved room unused. */
void ksnif_queue_cancel(struct ksnif_queue *q, u8 *to)
{
	struct ring *r = this_cpu_ptr(q->rings);

	smp_store_release(&r->work, r->work + 1); /* D, with nothing new before it */
}

/* Queue a block that is complete but for its time, and say whether to wake the writer. */
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q, u8 *to)
{
	struct ring *r = this_cpu_ptr(q->rings);
	u64 head = r->head + r->reserved;

	ksnif_packet_stamp(q->format, to, r->time);
	r->offset = r->new_offset;
	r->at += r->reserved;
	if (r->at >= r->size)
		r->at -= r->size;
	WRITE_ONCE(r->packets, r->packets + 1);
	smp_store_release(&r->head, head); /* C */
	smp_store_release(&r->work, r->work + 1); /* D */
	if (r->first)
		return KSNIF_WAKE_SOON;
	if (likely(head - READ_ONCE(r->seen) < q->wake_bytes || head < r->wake_at))
		return KSNIF_WAKE_NONE;
	r->wake_at = head + q->wake_bytes;
	return KSNIF_WAKE_NOW;
}

static void ring_skip(struct ring *r, size_t len)
{
	r->from += len;
	r->from_at += len;
	if (r->from_at >= r->size)
		r->from_at -= r->size;
}

static bool ring_is_mark(const u8 *p)
{
	struct ring_mark mark;

	memcpy(&mark, p, sizeof(mark));
	return unlikely(mark.never == RING_MARK);
}

/* Is what stands there a packet of @bound, monotonic time, or older? */
static bool ring_follows(struct ksnif_queue *q, const struct ring *r, const u8 *p, u64 bound)
{
	return !ring_is_mark(p) && ksnif_packet_time(q->format, p) - r->from_offset <= bound;
}

/* Step over marks; false if the ring has nothing more to take. Else from_time is the next's. */
static bool ring_next(struct ksnif_queue *q, struct ring *r)
{
	while (r->from != r->cut) {
		const u8 *p = r->data + r->from_at;
		struct ring_mark mark;

		if (!ring_is_mark(p)) {
			r->from_time = ksnif_packet_time(q->format, p) - r->from_offset;
			return true;
		}
		memcpy(&mark, p, sizeof(mark));
		r->from_offset = mark.offset;
		ring_skip(r, sizeof(mark));
	}
	return false;
}

/* Wait until the packet that the CPU of this ring is at work on, if any, is committed. */
static void ring_wait(struct ring *r)
{
	unsigned long work = READ_ONCE(r->work);

	/* a hook does not sleep; where it is preempted (PREEMPT_RT) this one must */
	while (work % 2 && smp_load_acquire(&r->work) == work) /* D */
		cond_resched();
}

/*
 * Let ksnif_queue_next() see what has been committed until now, and no packet that could still
 * be overtaken by an older one. All it saw before is released.
 */
void ksnif_queue_look(struct ksnif_queue *q)
{
	struct ring *r;
	int cpu;

	q->ready = NULL;
	q->more = false;
	for_each_possible_cpu(cpu) {
		r = per_cpu_ptr(q->rings, cpu);
		WRITE_ONCE(r->seen, READ_ONCE(r->head));
	}
	q->until = ktime_get();
	smp_mb(); /* B */
	for_each_possible_cpu(cpu) {
		r = per_cpu_ptr(q->rings, cpu);
		ring_wait(r);
		r->cut = smp_load_acquire(&r->head); /* C */
		/* what came after seen may not have woken us */
		q->more |= r->cut != r->seen;
		if (ring_next(q, r)) {
			r->next = q->ready;
			q->ready = r;
		}
	}
}

/* The ring with the oldest block, out of the list; @bound is how far it may go before another. */
static struct ring *queue_oldest(struct ksnif_queue *q, u64 *bound)
{
	struct ring **link, **oldest = NULL, *r;

	*bound = q->until;
	for (link = &q->ready; *link; link = &(*link)->next) {
		if (!oldest || (*link)->from_time < (*oldest)->from_time) {
			if (oldest)
				*bound = min(*bound, (*oldest)->from_time);
			oldest = link;
		} else {
			*bound = min(*bound, (*link)->from_time);
		}
	}
	if (!oldest || (*oldest)->from_time > q->until)
		return NULL;
	r = *oldest;
	*oldest = r->next;
	return r;
}

/*
 * The oldest packets that the last look saw, as many as lie side by side in the order of time;
 * false if there are none. They take room until ksnif_queue_release(), which comes before the
 * next.
 */
bool ksnif_queue_next(struct ksnif_queue *q, struct ksnif_span *span)
{
	struct ksnif_block block;
	struct ring *r;
	u64 bound;

	r = queue_oldest(q, &bound);
	if (!r)
		return false;
	span->data = r->data + r->from_at;
	span->len = 0;
	span->pages = true;
	do {
		ksnif_block_read(q->format, span->data + span->len, &block);
		if (span->len && span->len + block.len > q->span_max)
			break;
		span->len += block.len;
	} while (r->from + span->len != r->cut &&
		 ring_follows(q, r, span->data + span->len, bound));
	ring_skip(r, span->len);
	q->taken = r;
	return true;
}

/* Give the room back: the blocks were copied or written. Their packets still count as queued. */
void ksnif_queue_release(struct ksnif_queue *q, const struct ksnif_span *span)
{
	struct ring *r = q->taken;

	if (ring_next(q, r)) {
		r->next = q->ready;
		q->ready = r;
	}
	smp_store_release(&r->tail, r->from); /* E */
}

/* Does the writer have to look again by itself? */
bool ksnif_queue_more(struct ksnif_queue *q)
{
	return q->more || q->ready;
}

/* Packets that were released and are counted elsewhere by now. */
void ksnif_queue_done(struct ksnif_queue *q, u64 packets)
{
	atomic64_add(packets, &q->done);
}

/* Packets committed and not yet done. */
u64 ksnif_queue_packets(struct ksnif_queue *q)
{
	u64 done = atomic64_read(&q->done), sum = 0;
	int cpu;

	smp_rmb(); /* what is done was committed: never less than nothing is left */
	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(q->rings, cpu)->packets);
	return sum - done;
}
