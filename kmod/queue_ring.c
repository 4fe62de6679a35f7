// SPDX-License-Identifier: GPL-2.0
/*
 * The queue as one ring of bytes per possible CPU. A hook writes to its own CPU's ring only and
 * takes no lock; blocks lie in it one behind the other as they will in the file, so that the
 * writer can give the ring's own pages to the disk.
 *
 *   reserve   claims room behind the last block of this CPU
 *   commit    stamps the time and moves head over the block
 *   look      waits until no CPU can still commit a packet older than now
 *   next      merges the rings by time, in spans as long as the order allows
 *   release   moves tail over what was copied or written
 *
 * A ring's pages are mapped twice in a row: no block is ever split at the end of the ring.
 *
 * Order is by the monotonic clock, but a block holds the wall-clock time alone. Their distance
 * changes when somebody sets the clock, and then the hook puts a mark with the new one before
 * the block: the writer computes one time from the other, and no mark reaches the file. The hook
 * looks once a jiffy, so that it reads one clock for a packet, and not two.
 *
 * The barriers are explained in queue_ring.h.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>

#include "ksnif.h"

/* What a page costs: itself, its place in the list of pages, and in the page table, twice each. */
#define RING_PAGE_COST		(PAGE_SIZE + 4 * sizeof(void *))

/* Smallest ring of a CPU, in bytes of queue_size: twenty packets of an Ethernet. */
#define RING_LEAST		max_t(u64, 32 * 1024, 2 * RING_PAGE_COST)

/* How often to look whether a hook has come to its end before sleeping over it: some us. */
#define RING_TURNS		1000

/* A pcap file's seconds begin anew so often: in ns. */
#define RING_PCAP_PERIOD	((s64)NSEC_PER_SEC << 32)

/* Largest order of pages that lie side by side: the fewer pieces, the cheaper a direct write. */
#define RING_ORDER		8

/* At module exit: nothing outlives a queue. */
void ksnif_queue_exit(void)
{
}

/* So many bytes give each possible CPU a ring that is of use. */
u64 ksnif_queue_least(void)
{
	return num_possible_cpus() * RING_LEAST;
}

static void ring_free(struct ksnif_ring *r)
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
	/* no reason to kill anybody: start can be refused */
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct page *page = NULL;
	unsigned int i;

	for (; order && !page; order -= !page)
		page = alloc_pages_node(node, GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN,
					order);
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
static int ring_init(struct ksnif_ring *r, int cpu, u32 n)
{
	u32 i, got;

	r->size = n * PAGE_SIZE;
	r->offset = KSNIF_RING_NO_OFFSET;
	r->checked = jiffies - 1;
	r->pages = kvcalloc(2 * n, sizeof(*r->pages), GFP_KERNEL);
	if (!r->pages)
		return -ENOMEM;
	for (i = 0; i < n; i += got) {
		got = ring_pages(r->pages + i, cpu_to_node(cpu),
				 min_t(u32, RING_ORDER, ilog2(n - i)));
		if (!got || fatal_signal_pending(current))
			return -ENOMEM;
		cond_resched();
	}
	memcpy(r->pages + n, r->pages, n * sizeof(*r->pages));
	r->data = vmap(r->pages, 2 * n, VM_MAP, PAGE_KERNEL);
	r->at = r->data;
	r->end = r->data + r->size;
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
	q->span_max = min_t(u64, KSNIF_SPAN_MAX, pages * PAGE_SIZE / 2);
	q->wake_bytes = q->span_max / 2;
	q->rings = alloc_percpu(struct ksnif_ring);
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

/* Room for a claim, after all? The writer may have moved tail. There must be some for a mark. */
bool ksnif_ring_refill(struct ksnif_ring *r, u64 claim)
{
	r->limit = smp_load_acquire(&r->tail) + r->size - sizeof(struct ksnif_ring_mark); /* D */
	return claim <= r->limit;
}

/*
 * A packet that is the first since the writer looked, or came when much was waiting; @unseen
 * bytes were there before it. Wake the writer at once for much, but not for each packet.
 */
enum ksnif_wake ksnif_ring_wake(struct ksnif_queue *q, struct ksnif_ring *r, u64 unseen)
{
	if (r->head - READ_ONCE(r->seen) >= q->wake_bytes && r->head >= r->wake_at) {
		r->wake_at = r->head + q->wake_bytes;
		return KSNIF_WAKE_NOW;
	}
	return unseen ? KSNIF_WAKE_NONE : KSNIF_WAKE_SOON;
}

/*
 * The clock was set: tell the writer by how much, before the block at @to, for which the limit
 * left room. Returns where the block is then.
 */
static u8 *ring_mark(struct ksnif_ring *r, u8 *to, s64 offset)
{
	struct ksnif_ring_mark mark = { .never = KSNIF_RING_MARK, .offset = offset };

	memmove(to + sizeof(mark), to, r->claim - r->head);
	memcpy(to, &mark, sizeof(mark));
	WRITE_ONCE(r->claim, r->claim + sizeof(mark));
	r->offset = offset;
	WRITE_ONCE(r->mark, r->head);
	return to + sizeof(mark);
}

/*
 * Look where the wall clock is, for the block at @to and others of this jiffy: when it is set,
 * the file has that a jiffy later. Returns where the block is then.
 */
u8 *ksnif_ring_check(struct ksnif_ring *r, u8 *to)
{
	s64 offset = ktime_mono_to_real(0);

	r->checked = jiffies;
	return offset == r->offset ? to : ring_mark(r, to, offset);
}

/* from_at does not overflow: a ring takes less than 4 GB by more than a block. */
static void ring_skip(struct ksnif_ring *r, size_t len)
{
	r->from += len;
	r->from_at += len;
	if (r->from_at >= r->size)
		r->from_at -= r->size;
}

/* Does a mark stand there, and no block? */
static bool ring_is_mark(const u8 *p)
{
	return unlikely(((const struct ksnif_ring_mark *)p)->never == KSNIF_RING_MARK);
}

/* When the packet at @p was captured, monotonic. */
static u64 ring_time(const struct ksnif_queue *q, const struct ksnif_ring *r, const u8 *p)
{
	s64 time = ksnif_packet_time(q->format, p) - r->from_offset;

	while (q->format == KSNIF_FORMAT_PCAP && time < 0)
		time += RING_PCAP_PERIOD;
	return time;
}

/* Step over marks; false if the ring has nothing more to take. Else from_time is the next's. */
static bool ring_next(struct ksnif_queue *q, struct ksnif_ring *r)
{
	while (r->from != r->cut) {
		const u8 *p = r->data + r->from_at;

		if (!ring_is_mark(p)) {
			r->from_time = ring_time(q, r, p);
			return true;
		}
		r->from_offset = ((const struct ksnif_ring_mark *)p)->offset;
		ring_skip(r, sizeof(struct ksnif_ring_mark));
	}
	return false;
}

/* Wait until the packet that the CPU of this ring is at work on, if any, is committed. */
static void ring_wait(struct ksnif_ring *r)
{
	u64 head = READ_ONCE(r->head);
	unsigned int turns = 0;

	while (READ_ONCE(r->claim) != head && READ_ONCE(r->head) == head) {
		/* a hook does not sleep; but it, or its CPU, may be preempted for long */
		if (++turns < RING_TURNS)
			cpu_relax();
		else
			usleep_range(50, 100);
	}
}

/*
 * Let ksnif_queue_next() see what has been committed until now, and no packet that could still
 * be overtaken by an older one. All it saw before is released. @last: no hook comes any more.
 */
void ksnif_queue_look(struct ksnif_queue *q, bool last)
{
	struct ksnif_ring *r;
	int cpu;

	q->ready = NULL;
	q->more = false;
	for_each_possible_cpu(cpu) {
		r = per_cpu_ptr(q->rings, cpu);
		WRITE_ONCE(r->seen, READ_ONCE(r->head));
	}
	q->until = last ? U64_MAX : ktime_get();
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
static struct ksnif_ring *queue_oldest(struct ksnif_queue *q, u64 *bound)
{
	struct ksnif_ring **link, **oldest = NULL, *r;

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

/* Bytes of blocks that lie side by side up to @end, none younger than @bound but the first. */
static size_t ring_run(struct ksnif_queue *q, const struct ksnif_ring *r, u64 end, u64 bound)
{
	size_t len = 0, max = min_t(u64, end - r->from, q->span_max);

	do {
		const u8 *p = r->data + r->from_at + len;
		u32 block = ksnif_block_read(q->format, p).len;

		if (len && (len + block > max || ring_is_mark(p) || ring_time(q, r, p) > bound))
			break;
		len += block;
	} while (len < max);
	return len;
}

/*
 * The oldest packets that the last look saw, as many as lie side by side in the order of time;
 * false if there are none. They take room until ksnif_queue_release(), which comes before the
 * next.
 */
bool ksnif_queue_next(struct ksnif_queue *q, struct ksnif_span *span)
{
	struct ksnif_ring *r;
	u64 bound;

	r = queue_oldest(q, &bound);
	if (!r)
		return false;
	span->data = r->data + r->from_at;
	span->pages = true;
	/*
	 * What was there before until was read is no younger. If no other ring has anything, it
	 * is all in order, and need not be looked at unless there is a mark in it.
	 */
	if (!q->ready && r->seen > r->from && r->seen - r->from <= q->span_max &&
	    READ_ONCE(r->mark) < r->from)
		span->len = r->seen - r->from;
	else
		span->len = ring_run(q, r, r->cut, bound);
	ring_skip(r, span->len);
	q->taken = r;
	return true;
}

/* Give the room back: the blocks were copied or written. Their packets still count as queued. */
void ksnif_queue_release(struct ksnif_queue *q, const struct ksnif_span *span)
{
	struct ksnif_ring *r = q->taken;

	if (ring_next(q, r)) {
		r->next = q->ready;
		q->ready = r;
	}
	smp_store_release(&r->tail, r->from); /* D */
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
		sum += u64_stats_read(&per_cpu_ptr(q->rings, cpu)->packets);
	return sum - done;
}
