// SPDX-License-Identifier: GPL-2.0
/*
 * The writer: takes records from the queue, puts them into batches in the form of the file
 * and writes those. Two work items per run, one to write and one to sync every sync_interval,
 * on its capture's own ordered workqueue, so that it is never in two places at once and
 * everything marked "writer only" needs no lock.
 *
 * It also ends the run: at stop it drains the queue, writes the statistics, syncs and closes;
 * at an error it takes the hook away, counts what can no longer be written and cuts the file
 * back to the last whole record.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "ksnif.h"

/* One packet of the largest snaplen and every other block fit with room to spare. */
#define WRITER_BATCH_SIZE	(KSNIF_SNAPLEN_MAX + 64 * 1024)

/* A record's way to the file takes at most this, and the time of the write: less than 1 s. */
#define WRITER_DELAY		(HZ / 10)

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
static void writer_unsynced(struct ksnif_run *run)
{
	if (run->settings.sync_interval)
		queue_delayed_work(run->cap->wq, &run->sync, run->settings.sync_interval * HZ);
}

/*
 * Count a record that is done. Its captured was counted on the hook's side before it came
 * here; the barrier lets nobody see this count without that one.
 */
static void writer_count(atomic64_t *counter)
{
	smp_mb__before_atomic(); /* pairs with smp_rmb() in ksnif_stats_run() */
	atomic64_inc(counter);
}

/* Records that will not be written, oldest first, up to and without @end. */
static void writer_drop(struct ksnif_run *run, struct ksnif_record *rec,
			const struct ksnif_record *end)
{
	while (rec != end) {
		struct ksnif_record *next = rec->next;

		writer_count(&rec->iface->dropped_write);
		ksnif_queue_done(run->queue, rec);
		rec = next;
		cond_resched();	/* a full queue may hold millions */
	}
}

/*
 * Write the batch. A record counts as written once the file system has accepted all of it;
 * those it did not accept stay in the batch. file_size is where the last whole record (or,
 * before the first, the header) ends. io discard goes the whole way, but has no file.
 */
static int writer_write(struct ksnif_run *run)
{
	bool discard = run->settings.io == KSNIF_IO_DISCARD;
	struct ksnif_batch *b = &run->batch;
	size_t done = b->len, whole = 0;
	loff_t start = run->file.pos;
	int err = 0;

	if (!discard) {
		err = ksnif_file_write(&run->file, b->buf, b->len, &done);
		writer_unsynced(run);
	}
	while (b->first != b->last && b->first->end <= done) {
		struct ksnif_record *rec = b->first;

		b->first = rec->next;
		whole = rec->end;
		writer_count(discard ? &rec->iface->discarded : &rec->iface->written);
		ksnif_queue_done(run->queue, rec);
	}
	if (!err)
		whole = done;
	else if (done >= b->head)
		whole = max(whole, b->head);
	if (!discard)
		atomic64_set(&run->file_size, start + whole);
	b->len = 0;
	b->head = 0;
	return err;
}

/* Make room for a block of @len bytes. */
static int writer_room(struct ksnif_run *run, size_t len)
{
	if (run->batch.len + len <= WRITER_BATCH_SIZE)
		return 0;
	return writer_write(run);
}

/* Put the interface's block into the batch, if it is in no batch yet. */
static void writer_describe(struct ksnif_run *run, struct ksnif_iface *iface)
{
	struct ksnif_batch *b = &run->batch;

	if (iface->described || run->settings.format == KSNIF_FORMAT_PCAP)
		return;
	b->len += ksnif_pcapng_interface(b->buf + b->len, iface->name, iface->linktype);
	iface->id = run->described++;
	iface->described = true;
}

/* The file's header, and the block of a device captured by name. */
static void writer_header(struct ksnif_run *run)
{
	struct ksnif_batch *b = &run->batch;

	if (run->started)
		return;
	run->started = true;
	if (run->settings.format == KSNIF_FORMAT_PCAP) {
		b->len += ksnif_pcap_header(b->buf, run->linktype);
	} else {
		b->len += ksnif_pcapng_section(b->buf);
		if (run->named)
			writer_describe(run, run->named);
	}
	b->head = b->len;
}

static int writer_add(struct ksnif_run *run, struct ksnif_record *rec)
{
	struct ksnif_batch *b = &run->batch;
	int err;

	err = writer_room(run, rec->caplen + KSNIF_PACKET_OVERHEAD + KSNIF_BLOCK_MAX);
	if (err)
		return err;
	writer_describe(run, rec->iface);
	if (run->settings.format == KSNIF_FORMAT_PCAP)
		b->len += ksnif_pcap_packet(b->buf + b->len, rec);
	else
		b->len += ksnif_pcapng_packet(b->buf + b->len, rec, rec->iface->id);
	rec->end = b->len;
	b->last = rec->next;
	return 0;
}

/*
 * Write everything that is queued now. What comes later wakes the writer again. On an error
 * the records that were taken and not written are in batch.first.
 */
static int writer_drain(struct ksnif_run *run)
{
	struct ksnif_batch *b = &run->batch;
	int err;

	writer_header(run);
	b->first = ksnif_queue_take(run->queue);
	b->last = b->first;
	while (b->last) {
		err = writer_add(run, b->last);
		if (err)
			return err;
		cond_resched();
	}
	return b->len ? writer_write(run) : 0;
}

static int writer_statistics(struct ksnif_run *run, struct ksnif_iface *iface)
{
	struct ksnif_batch *b = &run->batch;
	struct ksnif_stats st = {};
	int err;

	ksnif_stats_iface(iface, &st);
	/* libpcap refuses a file without any interface block */
	if (!st.received && !iface->described && (iface != run->unknown || run->described))
		return 0;
	err = writer_room(run, 2 * KSNIF_BLOCK_MAX);
	if (err)
		return err;
	writer_describe(run, iface);
	b->len += ksnif_pcapng_statistics(b->buf + b->len, iface->id, ktime_get_real_ns(), &st);
	return 0;
}

/* At stop: blocks of interfaces that no packet was written of, and all statistics. */
static int writer_trailer(struct ksnif_run *run)
{
	struct ksnif_iface *iface;
	int err;

	if (run->settings.format == KSNIF_FORMAT_PCAP)
		return 0;

	/* the hook is gone: nobody adds interfaces any more */
	list_for_each_entry(iface, &run->ifaces, list) {
		if (iface == run->unknown)
			continue;
		err = writer_statistics(run, iface);
		if (err)
			return err;
	}
	return writer_statistics(run, run->unknown) ?: writer_write(run);
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

/*
 * Nothing more can be written: what is queued is lost, and what was accepted of a record or
 * block that is not whole is cut off.
 */
static void writer_give_up(struct ksnif_run *run)
{
	struct ksnif_batch *b = &run->batch;
	loff_t whole;

	writer_drop(run, b->first, NULL);
	writer_drop(run, ksnif_queue_take(run->queue), NULL);
	b->first = NULL;
	b->last = NULL;
	whole = atomic64_read(&run->file_size);
	if (run->file.file && run->file.pos != whole && ksnif_file_cut(&run->file, whole))
		run->torn = true;
}

/* The last thing a writer does. The hook is unregistered. */
static void writer_end(struct ksnif_run *run)
{
	if (!run->error)
		writer_failed(run, writer_trailer(run));
	if (run->error)
		writer_give_up(run);
	writer_sync(run);
	if (run->file.file)
		writer_synced(run, ksnif_file_close(&run->file));
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
	writer_failed(run, writer_drain(run));
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

/* 0 or -ENOMEM. */
int ksnif_writer_init(struct ksnif_run *run)
{
	INIT_DELAYED_WORK(&run->work, writer_work);
	INIT_DELAYED_WORK(&run->sync, writer_sync_work);
	run->batch.buf = kvmalloc(WRITER_BATCH_SIZE, GFP_KERNEL);
	return run->batch.buf ? 0 : -ENOMEM;
}

/* The work does not run. */
void ksnif_writer_free(struct ksnif_run *run)
{
	kvfree(run->batch.buf);
}
