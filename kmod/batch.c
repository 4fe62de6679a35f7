// SPDX-License-Identifier: GPL-2.0
/*
 * Batches: blocks on their way into the file, in writes that are large and, with direct I/O,
 * aligned. And the books of it: a packet counts as written once the file system has accepted
 * all of its block. Writer only.
 *
 * With direct I/O a write begins and ends at a page. What is left of the last one stays in the
 * batch and leads the next write. If that must not wait, the page is filled up with a block
 * that readers skip, written, and later written once more with what came after.
 */
#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

#include "ksnif.h"

/* Blocks of this many bytes in a row are written from where they are. */
#define BATCH_SPAN_MIN	(64 * 1024)

/* Pages of the longest write: a batch, and a span that is longer than most. */
#define BATCH_VECS	((KSNIF_BATCH_SIZE + KSNIF_SPAN_MAX) / PAGE_SIZE + 2)

/* 0 or -ENOMEM; ksnif_batch_free() in any case. */
int ksnif_batch_init(struct ksnif_batch *b)
{
	b->buf = vmalloc(KSNIF_BATCH_SIZE);
	b->vecs = kcalloc(BATCH_VECS, sizeof(*b->vecs), GFP_KERNEL);
	return b->buf && b->vecs ? 0 : -ENOMEM;
}

void ksnif_batch_free(struct ksnif_batch *b)
{
	kfree(b->vecs);
	vfree(b->buf);
	b->vecs = NULL;
	b->buf = NULL;
}

/*
 * Count packets that are done. Their captured was counted on the hook's side before they came
 * here; the barrier lets nobody see this count without that one.
 */
static void batch_count(struct ksnif_run *run, u32 id, u64 n, enum ksnif_fate fate)
{
	if (!n)
		return;
	smp_mb__before_atomic(); /* pairs with smp_rmb() in ksnif_stats_run() */
	atomic64_add(n, &run->ifaces[id]->fates[fate]);
	ksnif_queue_done(run->queue, n);
}

/* Bytes of whole packets of one interface at the beginning of @len bytes of blocks; adds to @n. */
static size_t batch_alike(u64 format, const u8 *data, size_t len, u32 id, u64 *n)
{
	size_t at = 0;

	while (at < len) {
		struct ksnif_block block = ksnif_block_read(format, data + at);

		if (!block.packet || block.id != id || at + block.len > len)
			break;
		at += block.len;
		++*n;
	}
	return at;
}

/*
 * Count the packets of blocks that end at or before @accepted, a place in the file. @data are
 * whole blocks, the first perhaps without its beginning, that go to @start in the file.
 * Returns where the last of the counted ones ends.
 */
static loff_t batch_account(struct ksnif_run *run, const u8 *data, loff_t start, size_t len,
			    loff_t accepted, enum ksnif_fate fate)
{
	struct ksnif_batch *b = &run->batch;
	u64 format = run->settings.format, n = 0;
	loff_t whole = start, end = b->end, stop = start + len;
	struct ksnif_block block = { .packet = b->packet, .id = b->id };
	u32 id = b->id;

	while (end <= accepted) {
		if (unlikely(block.id != id)) {
			batch_count(run, id, n, fate);
			id = block.id;
			n = 0;
		}
		n += block.packet;
		block.packet = false;
		whole = end;
		if (end < stop) {
			end += batch_alike(format, data + (end - start),
					   min(accepted, stop) - end, id, &n);
			whole = end;
		}
		if (end >= stop)
			break;
		block = ksnif_block_read(format, data + (end - start));
		end += block.len;
	}
	batch_count(run, id, n, fate);
	b->end = end;
	b->packet = block.packet;
	b->id = block.id;
	return whole;
}

/* The same for what was accepted; file_size is where the last whole block ends. */
static void batch_accepted(struct ksnif_run *run, const u8 *data, loff_t start, size_t len)
{
	bool discard = run->settings.io == KSNIF_IO_DISCARD;
	loff_t accepted = min_t(loff_t, run->file.pos, start + len), whole;

	if (accepted < run->batch.end)
		return;
	whole = batch_account(run, data, start, len, accepted,
			      discard ? KSNIF_DISCARDED : KSNIF_WRITTEN);
	if (!discard)
		atomic64_set(&run->file_size, whole);
}

/* The file cannot have what is in the batch, and in @span behind it, any more. */
static void batch_lost(struct ksnif_run *run, const struct ksnif_span *span)
{
	struct ksnif_batch *b = &run->batch;
	loff_t end = b->start + b->len;

	batch_account(run, b->buf, b->start, b->len, end, KSNIF_DROPPED);
	batch_account(run, span->data, end, span->len, end + span->len, KSNIF_DROPPED);
	b->start = b->end;
	b->len = 0;
	b->written = 0;
}

/* Describe @len bytes of vmalloc memory in @vecs, where pages lie side by side in one. */
static unsigned int batch_vecs(struct bio_vec *vecs, unsigned int n, const u8 *data, size_t len)
{
	while (len) {
		unsigned int offset = offset_in_page(data);
		size_t part = min_t(size_t, len, PAGE_SIZE - offset);
		struct page *page = vmalloc_to_page(data);
		struct bio_vec *last = vecs + n - 1;

		if (n && page_to_phys(last->bv_page) + last->bv_offset + last->bv_len ==
		    page_to_phys(page) + offset)
			last->bv_len += part;
		else
			bvec_set_page(&vecs[n++], page, part, offset);
		data += part;
		len -= part;
	}
	return n;
}

/*
 * Write @len bytes of the batch and @body behind them, to where the batch goes; whole pages with
 * direct I/O. file.pos tells how much was accepted. 0 or a negative errno. io discard goes the
 * whole way, but has no file.
 */
static int batch_output(struct ksnif_run *run, size_t len, const u8 *body, size_t body_len)
{
	struct ksnif_batch *b = &run->batch;
	struct kvec vec[] = {
		{ .iov_base = b->buf, .iov_len = len },
		{ .iov_base = (void *)body, .iov_len = body_len },
	};
	struct iov_iter iter;
	unsigned int n;
	int err;

	run->file.pos = b->start;
	if (run->settings.io == KSNIF_IO_DISCARD) {
		run->file.pos += len + body_len;
		return 0;
	}
	if (run->file.align == 1) {
		iov_iter_kvec(&iter, ITER_SOURCE, len ? vec : vec + 1, !!len + !!body_len,
			      len + body_len);
	} else {
		n = batch_vecs(b->vecs, 0, b->buf, len);
		n = batch_vecs(b->vecs, n, body, body_len);
		iov_iter_bvec(&iter, ITER_SOURCE, b->vecs, n, len + body_len);
	}
	err = ksnif_file_write(&run->file, &iter);
	ksnif_writer_unsynced(run);
	return err;
}

/* Bytes from @at on that a block of padding takes so that it ends at @goal of a page. */
static size_t batch_padding(size_t at, size_t goal, size_t align)
{
	size_t len = (goal - at) & (align - 1);

	return !len || len >= KSNIF_PADDING_MIN ? len : len + align;
}

/* Write the batch as far as it is whole pages; with @all, the rest, too. 0 or a negative errno. */
static int batch_flush(struct ksnif_run *run, bool all)
{
	struct ksnif_batch *b = &run->batch;
	size_t whole = round_down(b->len, run->file.align), len = whole, pad;
	int err;

	if (all && b->len > whole) {
		pad = batch_padding(b->len, 0, run->file.align);
		ksnif_pcapng_padding(b->buf + b->len, pad);
		len = b->len + pad;
	}
	err = batch_output(run, len, NULL, 0);
	batch_accepted(run, b->buf, b->start, b->len);
	if (err) {
		batch_lost(run, &(struct ksnif_span){});
		return err;
	}
	memmove(b->buf, b->buf + whole, b->len - whole);
	b->start += whole;
	b->len -= whole;
	b->written = all ? b->len : 0;
	return 0;
}

/* Write everything that is in the batch. 0 or a negative errno: then it is lost and counted. */
int ksnif_batch_write(struct ksnif_run *run)
{
	return run->batch.len == run->batch.written ? 0 : batch_flush(run, true);
}

/* Make room for @len bytes, at most one packet and KSNIF_BLOCK_MAX. 0 or a negative errno. */
int ksnif_batch_room(struct ksnif_run *run, size_t len)
{
	struct ksnif_batch *b = &run->batch;

	if (b->len == b->written)
		b->since = jiffies;
	/* padding takes up to two pages more */
	if (b->len + len + 2 * PAGE_SIZE <= KSNIF_BATCH_SIZE)
		return 0;
	return batch_flush(run, false);
}

/*
 * Write the batch, and @span from where it is. With direct I/O its pages must lie as in the file:
 * padding moves the place in the file to where they do, once as long as spans follow each other.
 * The first page is completed in the batch, and the last, of which there is only a part, begins
 * the next.
 */
static int batch_write_span(struct ksnif_run *run, const struct ksnif_span *span)
{
	struct ksnif_batch *b = &run->batch;
	size_t align = run->file.align, pad, head, body, rest;
	int err;

	err = ksnif_batch_room(run, 2 * PAGE_SIZE);
	if (err) {
		batch_lost(run, span);
		return err;
	}
	pad = batch_padding(b->len, offset_in_page(span->data), align);
	if (pad)
		ksnif_pcapng_padding(b->buf + b->len, pad);
	b->len += pad;
	head = -b->len & (align - 1);
	body = round_down(span->len - head, align);
	rest = span->len - head - body;

	memcpy(b->buf + b->len, span->data, head);
	err = batch_output(run, b->len + head, span->data + head, body);
	batch_accepted(run, b->buf, b->start, b->len);
	batch_accepted(run, span->data, b->start + b->len, span->len);
	if (err) {
		batch_lost(run, span);
		return err;
	}
	memcpy(b->buf, span->data + head + body, rest);
	b->start += b->len + head + body;
	b->len = rest;
	b->written = 0;
	b->since = jiffies;
	return 0;
}

/* Take blocks for the file. 0 or a negative errno: then they are lost and counted. */
int ksnif_batch_add(struct ksnif_run *run, const struct ksnif_span *span)
{
	struct ksnif_batch *b = &run->batch;
	int err;

	if (span->len >= BATCH_SPAN_MIN && (run->file.align == 1 || span->pages))
		return batch_write_span(run, span);
	err = ksnif_batch_room(run, span->len);
	if (err) {
		batch_lost(run, span);
		return err;
	}
	memcpy(b->buf + b->len, span->data, span->len);
	b->len += span->len;
	return 0;
}

/* What the last look at the queue saw. */
static void batch_drop_seen(struct ksnif_run *run)
{
	struct ksnif_span span;

	while (ksnif_queue_next(run->queue, &span)) {
		batch_lost(run, &span);
		ksnif_queue_release(run->queue, &span);
		cond_resched();	/* a full queue may hold millions */
	}
}

/* Nothing more can be written: count what is in the batch and the queue. The hook is gone. */
void ksnif_batch_drop(struct ksnif_run *run)
{
	batch_lost(run, &(struct ksnif_span){});
	batch_drop_seen(run);
	ksnif_queue_look(run->queue, true);
	batch_drop_seen(run);
}
