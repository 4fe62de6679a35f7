// SPDX-License-Identifier: GPL-2.0
/*
 * The writer: takes packets from the queue and puts them into batches, the blocks of their
 * interfaces before them. Two work items per run, one to write and one to sync every
 * sync_interval, on its capture's own ordered workqueue, so that it is never in two places at
 * once and everything marked "writer only" needs no lock.
 *
 * It also ends the run: at stop it drains the queue, writes the statistics, syncs and closes;
 * at an error it takes the hook away, counts what can no longer be written and cuts the file
 * back to the last whole block.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "ksnif.h"

/*
 * A packet's way to the file takes at most the first, and the time of the write; with direct I/O,
 * where it may wait for its page to fill, the second and twice the first: less than 1 s.
 */
#define WRITER_DELAY		(HZ / 10)
#define WRITER_PAGE_DELAY	(HZ / 2)

/* Make the writer look at the queue. sync has a timer of its own, which this leaves alone. */
void ksnif_writer_wake(struct ksnif_run *run, enum ksnif_wake wake)
{
	if (wake == KSNIF_WAKE_SOON)
		queue_delayed_work(run->cap->wq, &run->work, WRITER_DELAY);
	else if (wake == KSNIF_WAKE_NOW)
		mod_delayed_work(run->cap->wq, &run->work, 0);
}

/*
 * The file has bytes that no fsync has seen. The first of them decides when the next one is
 * due; an idle file has none, so that nothing wakes the writer for it.
 */
void ksnif_writer_unsynced(struct ksnif_run *run)
{
	if (run->settings.sync_interval)
		queue_delayed_work(run->cap->wq, &run->sync, run->settings.sync_interval * HZ);
}

/* Room for a block at the end of the batch; NULL after an error, with @err set. */
static u8 *writer_block(struct ksnif_run *run, int *err)
{
	*err = ksnif_batch_room(run, KSNIF_BLOCK_MAX);
	return *err ? NULL : run->batch.buf + run->batch.len;
}

/* Put the blocks of the interfaces that are in no batch yet into one. 0 or a negative errno. */
static int writer_describe(struct ksnif_run *run)
{
	unsigned int n = ksnif_iface_count(run);
	int err;

	if (run->settings.format == KSNIF_FORMAT_PCAP)
		return 0;
	for (; run->described < n; run->described++) {
		struct ksnif_iface *iface = run->ifaces[run->described];
		u8 *to = writer_block(run, &err);

		if (err)
			return err;
		run->batch.len += ksnif_pcapng_interface(to, iface->name, iface->linktype);
	}
	return 0;
}

/* The file's header. */
static void writer_header(struct ksnif_run *run)
{
	struct ksnif_batch *b = &run->batch;

	if (run->started)
		return;
	run->started = true;
	if (run->settings.format == KSNIF_FORMAT_PCAP) {
		b->len = ksnif_pcap_header(b->buf, run->linktype);
		b->end = b->len;	/* it does not tell its length as a block does */
	} else {
		b->len = ksnif_pcapng_section(b->buf);
	}
	b->since = jiffies - WRITER_PAGE_DELAY - 1;	/* nobody likes to see an empty file */
}

/*
 * Write everything that is queued now; what comes later wakes the writer again. @all: also what
 * does not fill a page. @last: no hook comes any more.
 */
static int writer_drain(struct ksnif_run *run, bool all, bool last)
{
	struct ksnif_batch *b = &run->batch;
	struct ksnif_span span;
	int err;

	writer_header(run);
	ksnif_queue_look(run->queue, last);
	/* after the look: the interface of each packet it saw has its number */
	err = writer_describe(run);
	while (!err && ksnif_queue_next(run->queue, &span)) {
		err = ksnif_batch_add(run, &span);
		ksnif_queue_release(run->queue, &span);
		cond_resched();
	}
	if (err)
		return err;
	if (all || run->file.align == 1 || time_after(jiffies, b->since + WRITER_PAGE_DELAY))
		err = ksnif_batch_write(run);
	if (ksnif_queue_more(run->queue) || b->len != b->written)
		ksnif_writer_wake(run, KSNIF_WAKE_SOON);
	return err;
}

/* At stop, when the hook is gone: what was counted of each interface. */
static int writer_trailer(struct ksnif_run *run)
{
	struct ksnif_batch *b = &run->batch;
	unsigned int i;
	int err;

	if (run->settings.format == KSNIF_FORMAT_PCAP)
		return ksnif_batch_write(run);
	if (!ksnif_iface_count(run))
		ksnif_iface_unknown(run);	/* libpcap refuses a file without any interface */
	err = writer_describe(run);
	for (i = 0; !err && i < run->described; i++) {
		struct ksnif_stats st = {};
		u8 *to = writer_block(run, &err);

		if (err)
			break;
		ksnif_stats_iface(run->ifaces[i], &st);
		b->len += ksnif_pcapng_statistics(to, i, ktime_get_real_ns(), &st);
	}
	return err ?: ksnif_batch_write(run);
}

/* The first error is the run's. Two mean something else in an answer to stop or flush. */
static void writer_failed(struct ksnif_run *run, int err)
{
	if (!run->error)
		run->error = err == -EINPROGRESS || err == -EINTR ? -EIO : err;
}

/* @err of a sync or of the close: what was accepted may not be on disk. */
static void writer_synced(struct ksnif_run *run, int err)
{
	run->unsynced |= err != 0;
	writer_failed(run, err);
}

static void writer_sync(struct ksnif_run *run)
{
	if (!run->file.file || run->unsynced)
		return;
	cancel_delayed_work(&run->sync);
	writer_synced(run, ksnif_file_sync(&run->file));
}

/* Is there more in the file than whole blocks that count? */
static bool writer_ragged(struct ksnif_run *run)
{
	return run->file.pos != atomic64_read(&run->file_size) || run->file.grown ||
	       run->file.align > 1;
}

/* Cut the file back to the last whole block: off with padding and what was accepted in part. */
static int writer_cut(struct ksnif_run *run)
{
	if (!run->file.file || !writer_ragged(run))
		return 0;
	return ksnif_file_cut(&run->file, atomic64_read(&run->file_size));
}

/* The last thing a writer does. The hook is unregistered. */
static void writer_end(struct ksnif_run *run)
{
	int err;

	if (!run->error)
		writer_failed(run, writer_trailer(run));
	if (run->error)
		ksnif_batch_drop(run);
	err = writer_cut(run);
	run->torn = err != 0;
	writer_failed(run, err);
	writer_sync(run);
	if (run->file.file)
		writer_synced(run, ksnif_file_close(&run->file));
	ksnif_batch_free(&run->batch);
}

/* Returns true if the run has come to its end. @sync: what is written is to be on disk. */
static bool writer_pass(struct ksnif_run *run, bool sync)
{
	u64 flush = READ_ONCE(run->flush_wanted);
	/* pairs with the release in capture_begin_stop() */
	bool stopping = smp_load_acquire(&run->stopping);
	bool flushing = flush != run->flush_done;

	/* what the hook has counted as captured, it has queued */
	if (stopping || flushing)
		synchronize_net();
	writer_failed(run, writer_drain(run, sync || flushing || stopping, stopping));
	if (sync || flushing)
		writer_sync(run);

	if (!stopping && !run->error) {
		if (flushing) {
			WRITE_ONCE(run->flush_done, flush);
			wake_up_all(&run->waiters);
		}
		return false;
	}
	if (!stopping) {
		ksnif_capture_failing(run);
		synchronize_net();
	}
	writer_end(run);
	return true;
}

static void writer_run(struct ksnif_run *run, bool sync)
{
	const struct cred *old = override_creds(run->cred);
	bool ended = writer_pass(run, sync);

	revert_creds(old);
	if (ended)
		ksnif_capture_ended(run);	/* the run may be gone after this */
}

/* cap->wq is ordered: these two never run at the same time. */
static void writer_work(struct work_struct *work)
{
	writer_run(container_of(to_delayed_work(work), struct ksnif_run, work), false);
}

static void writer_sync_work(struct work_struct *work)
{
	writer_run(container_of(to_delayed_work(work), struct ksnif_run, sync), true);
}

/* The writer's last pass is over: take back what would bring another. Nobody wakes it again. */
void ksnif_writer_rest(struct ksnif_run *run)
{
	cancel_delayed_work(&run->work);
	cancel_delayed_work(&run->sync);
}

void ksnif_writer_init(struct ksnif_run *run)
{
	INIT_DELAYED_WORK(&run->work, writer_work);
	INIT_DELAYED_WORK(&run->sync, writer_sync_work);
}
