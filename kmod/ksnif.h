/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ksnif: the packet's way and everything around it, station by station.
 *
 *   hook.c + packet.h   queue_list.c       writer.c + batch.c     file.c
 *   PRE_ROUTING     --> bounded queue -->  aligned batches    --> capture file
 *   (softirq)           queue_ring.c       (workqueue)
 *
 * A packet gets the form that it has in the file in the hook, and keeps it.
 *
 *   capture.c   state machine: start, stop, restart, flush, failure
 *   run.c       what one run, from start to end, is made of
 *   device.c    which device is captured; the interfaces of a capture
 *   settings.c  settings: checks and texts
 *   stats.c     the counters, summed up
 *   pcapng.c    what the file has beside packets
 *   netlink.c   the control interface; proc.c: the same through procfs
 *   testpoint.c where tests make it fail or wait, if built in
 *
 * Locks, outermost first:
 *   command      of a capture: serialises set, start and restart; held while these wait for
 *                the writer, so no hook, notifier, namespace or statistics path takes it
 *   files_lock   the list of files being written; never across I/O
 *   rtnl
 *   lock         of a capture: state, settings, net and run; never held across file I/O,
 *                flush_work() or synchronize_net()
 *   events_lock  events are on
 *   iface_lock of a run, the queue's lock: spinlocks, BH disabled
 */
#ifndef _KSNIF_H
#define _KSNIF_H

#include <linux/atomic.h>
#include <linux/if.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <linux/rculist.h>
#include <linux/uio.h>
#include <linux/u64_stats_sync.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "packet.h"
#include "testpoint.h"
#include "uapi/ksnif.h"

struct net_device;

#define KSNIF_VERSION		"0.1.0"

/*
 * How long a command waits in the kernel: for the writer, the disk and other commands. All of
 * generic netlink waits for it if a family registers meanwhile.
 */
#define KSNIF_WAIT		(2 * HZ)

/* What is left until @deadline. */
static inline long ksnif_wait_left(unsigned long deadline)
{
	return max_t(long, deadline - jiffies, 0);
}

/* Values of ksnif_run.ifindex that are no device's: real ones are positive. */
#define KSNIF_ANY_DEVICE	0
#define KSNIF_NO_DEVICE		(-1)

/* From https://www.tcpdump.org/linktypes.html */
#define KSNIF_LINKTYPE_ETHERNET	1
#define KSNIF_LINKTYPE_RAW	101

/* Refuse with a text that stays: some are in tables, hence not NL_SET_ERR_MSG(). Returns @err. */
static inline int ksnif_refuse(struct netlink_ext_ack *extack, int err, const char *text)
{
	extack->_msg = text;
	return err;
}

/* ---- settings.c ---------------------------------------------------------- */
/* What a user can set. */
struct ksnif_settings {
	char device_name[IFNAMSIZ];	/* device to capture, or "any" */
	u64 family;			/* enum ksnif_ip_family */
	u64 snaplen;			/* bytes kept of a packet, 1..KSNIF_SNAPLEN_MAX */
	u64 queue_size;			/* bytes of kernel memory for queued packets */
	u64 format;			/* enum ksnif_format */
	u64 io;				/* enum ksnif_io */
	u64 sync_interval;		/* seconds between fsyncs; 0: only at flush and stop */
	char *logfile;			/* absolute path; own allocation */
};

/* Settings that one command changes. Filled with zeros at first. */
struct ksnif_change {
	unsigned long mask;		/* which: bits KSNIF_A_CAPTURE_* */
	struct ksnif_settings to;	/* their new values; the others are unused */
};

int ksnif_settings_init(struct ksnif_settings *s);
int ksnif_settings_copy(struct ksnif_settings *to, const struct ksnif_settings *from);
void ksnif_settings_free(struct ksnif_settings *s);
int ksnif_settings_next(int attr);
u64 *ksnif_settings_number(struct ksnif_settings *s, int attr);
bool ksnif_settings_any_device(const struct ksnif_settings *s);
void ksnif_settings_limits(void);
const char *ksnif_settings_refusal(int attr);

int ksnif_change_string(struct ksnif_change *change, int attr, const char *value,
			struct netlink_ext_ack *extack);
int ksnif_change_number(struct ksnif_change *change, int attr, u64 value,
			struct netlink_ext_ack *extack);
int ksnif_change_allowed(const struct ksnif_change *change, enum ksnif_state state,
			 struct netlink_ext_ack *extack);
void ksnif_change_apply(struct ksnif_change *change, struct ksnif_settings *s);
void ksnif_change_free(struct ksnif_change *change);

/* ---- stats.c ------------------------------------------------------------- */
/* Counters have the numbers of their attributes, from received on. */
#define KSNIF_COUNTER(attr)	((attr) - KSNIF_A_STATS_RECEIVED)

/* What the hook counts, per CPU and interface: received up to dropped_no_memory. */
struct ksnif_hook_stats {
	u64_stats_t counters[KSNIF_COUNTER(KSNIF_A_STATS_DROPPED_NO_MEMORY) + 1];
	u64 gap;			/* dropped since this CPU's last packet; hook only */
	struct u64_stats_sync syncp;	/* makes 64-bit reads whole on 32-bit machines */
};

/*
 * The books of a capture or of one interface, in packets:
 *
 * received = filtered + captured + dropped_queue_full + dropped_no_memory
 * captured = written + queued + dropped_write + discarded
 *
 * Both hold exactly once the capture is stopped or failed. None is computed from the others,
 * but for errors = dropped_no_memory + dropped_write.
 */
struct ksnif_stats {
	union {
		u64 counters[KSNIF_COUNTER(KSNIF_A_STATS_ERRORS) + 1];
		struct {
			u64 received, filtered, captured, dropped_queue_full, dropped_no_memory;
			u64 queued, written, dropped_write, discarded, errors;
		};
	};
};

struct ksnif_iface;
struct ksnif_run;

/* Count one packet in the hook. BH disabled; @st is this CPU's, @attr KSNIF_A_STATS_*. */
static inline void ksnif_stats_count(struct ksnif_hook_stats *st, int attr)
{
	u64_stats_update_begin(&st->syncp);
	u64_stats_inc(&st->counters[KSNIF_COUNTER(attr)]);
	u64_stats_update_end(&st->syncp);
}

void ksnif_stats_iface(struct ksnif_iface *iface, struct ksnif_stats *sum);
void ksnif_stats_run(struct ksnif_run *run, struct ksnif_stats *sum);
void ksnif_stats_cpu(struct ksnif_run *run, int cpu, struct ksnif_stats *sum);

/* ---- device.c ------------------------------------------------------------ */
/* What became of a captured packet. */
enum ksnif_fate {
	KSNIF_WRITTEN,		/* the file system accepted all of it */
	KSNIF_DROPPED,		/* could not be written: dropped_write */
	KSNIF_DISCARDED,	/* thrown away, as io discard asks */
	KSNIF_FATES
};

/* A device as a run knows it: one interface block. A device that returns gets a new one. */
struct ksnif_iface {
	struct hlist_node node;		/* in run->iface_hash while the device is there; RCU */
	u32 id;				/* index in run->ifaces, and number of the block */
	int ifindex;
	u16 linktype;			/* KSNIF_LINKTYPE_* */
	char name[IFNAMSIZ];		/* the device's when it was first seen */
	struct ksnif_hook_stats __percpu *hook;
	/* packets; writer, others read. Apart: it may count each one, and hooks read the above */
	atomic64_t fates[KSNIF_FATES] ____cacheline_aligned_in_smp;
};

#define KSNIF_NO_ID	U32_MAX

u16 ksnif_device_linktype(const struct net_device *dev);
void ksnif_device_arm(struct ksnif_run *run, struct net *net);	/* RTNL, cap->lock */
struct ksnif_iface *ksnif_iface_new(struct ksnif_run *run,
				    const struct net_device *dev); /* RCU, BH disabled */
struct ksnif_iface *ksnif_iface_add(struct ksnif_run *run, const struct net_device *dev, gfp_t gfp);
struct ksnif_iface *ksnif_iface_unknown(struct ksnif_run *run);	/* BH disabled or not */
int ksnif_ifaces_init(struct ksnif_run *run);			/* process, may sleep */
void ksnif_ifaces_free(struct ksnif_run *run);
int ksnif_device_register(void);
void ksnif_device_unregister(void);

/* ---- queue_list.c or queue_ring.c: the queue's interface ------------------ */
enum ksnif_wake {
	KSNIF_WAKE_NONE,	/* the writer knows already */
	KSNIF_WAKE_SOON,	/* within the time a packet may stay out of the file */
	KSNIF_WAKE_NOW,		/* a batch is waiting */
};

/* Where a block goes, from reserve to commit or cancel. */
struct ksnif_room {
	u8 *to;
	u32 size;	/* bytes of the block */
	void *of;	/* the queue's own: what has that room */
};

/* Whole blocks of packets, one behind the other, oldest first. */
struct ksnif_span {
	u8 *data;
	size_t len;
	bool pages;	/* vmalloc memory of its own, good for direct I/O */
};

/* A span of more than one packet is no longer than this. */
#define KSNIF_SPAN_MAX	(4 * 1024 * 1024)

struct ksnif_queue;

u64 ksnif_queue_least(void);					/* smallest size, in bytes */
void ksnif_queue_exit(void);					/* process, may sleep */
struct ksnif_queue *ksnif_queue_alloc(u64 size, u64 format);	/* process, may sleep */
void ksnif_queue_free(struct ksnif_queue *q);			/* no hook, no writer */
u64 ksnif_queue_packets(struct ksnif_queue *q);			/* any context */
/* BH disabled, any CPU, no other reserve on it before commit or cancel: */
#ifdef CONFIG_KSNIF_RING_BUFFER
#include "queue_ring.h"
#else
int ksnif_queue_reserve(struct ksnif_queue *q, u32 size, struct ksnif_room *room);
void ksnif_queue_cancel(struct ksnif_queue *q, const struct ksnif_room *room);
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q, const struct ksnif_room *room,
				   u64 format);
#endif
/* single consumer, process context: */
void ksnif_queue_look(struct ksnif_queue *q, bool last);
bool ksnif_queue_next(struct ksnif_queue *q, struct ksnif_span *span);
void ksnif_queue_release(struct ksnif_queue *q, const struct ksnif_span *span);
bool ksnif_queue_more(struct ksnif_queue *q);
void ksnif_queue_done(struct ksnif_queue *q, u64 packets);

/* ---- hook.c -------------------------------------------------------------- */
int ksnif_hook_register(struct net *net, struct ksnif_run *run);  /* process, may sleep */
void ksnif_hook_unregister(struct net *net, struct ksnif_run *run); /* process, may sleep */

/* ---- pcapng.c: pure encoders, no allocation, no locks --------------------- */
size_t ksnif_pcapng_section(u8 *to);
size_t ksnif_pcapng_interface(u8 *to, const char *name, u16 linktype);
size_t ksnif_pcapng_statistics(u8 *to, u32 id, u64 time, const struct ksnif_stats *st);
void ksnif_pcapng_padding(u8 *to, u32 len);
size_t ksnif_pcap_header(u8 *to, u16 linktype);

/* Longest block other than a packet and padding. */
#define KSNIF_BLOCK_MAX		256
#define KSNIF_PADDING_MIN	12

/* ---- file.c -------------------------------------------------------------- */
/* A capture file that is being written. */
struct ksnif_file {
	struct file *file;
	loff_t pos;			/* where the next write goes */
	unsigned int align;		/* of writes, in bytes: 1, or a page with direct I/O */
	loff_t ahead;			/* with direct I/O there may be blocks up to here */
	bool grown;			/* a write that failed has left something behind pos */
	u64 limit;			/* the opener's RLIMIT_FSIZE */
	struct list_head list;		/* in the list of files that no capture may open */
};

int ksnif_file_open(struct ksnif_file *f, const struct path *root, const char *path,
		    struct netlink_ext_ack *extack);		/* as all below: a kthread */
int ksnif_file_write(struct ksnif_file *f, struct iov_iter *from);	/* writer */
bool ksnif_file_can_direct(struct ksnif_file *f);
int ksnif_file_sync(struct ksnif_file *f);			/* writer */
int ksnif_file_empty(struct ksnif_file *f, const bool *unwanted);
int ksnif_file_cut(struct ksnif_file *f, loff_t size);		/* writer */
int ksnif_file_close(struct ksnif_file *f);			/* writer: a kthread */

/* ---- batch.c: writer only -------------------------------------------------- */
/* Blocks that wait to be written in one go, and the books of what has been written. */
struct ksnif_batch {
	u8 *buf;
	struct bio_vec *vecs;		/* its pages, for direct I/O */
	size_t len;			/* bytes used */
	size_t written;			/* of these, in the file already */
	unsigned long since;		/* jiffies when the oldest of the others came */
	loff_t start;			/* where buf goes in the file; aligned to file.align */
	/* the first block that is not counted yet */
	loff_t end;			/* where it ends in the file */
	bool packet;
	u32 id;				/* of a packet's interface */
};

/* The largest packet, behind part of a page and before two of padding, and something to spare. */
#define KSNIF_BATCH_SIZE	(KSNIF_SNAPLEN_MAX + 4 * PAGE_SIZE + 48 * 1024)

int ksnif_batch_init(struct ksnif_batch *b);			/* process, may sleep */
void ksnif_batch_free(struct ksnif_batch *b);
int ksnif_batch_room(struct ksnif_run *run, size_t len);
int ksnif_batch_add(struct ksnif_run *run, const struct ksnif_span *span);
int ksnif_batch_write(struct ksnif_run *run);
void ksnif_batch_drop(struct ksnif_run *run);

/* ---- writer.c ------------------------------------------------------------ */
void ksnif_writer_init(struct ksnif_run *run);
void ksnif_writer_unsynced(struct ksnif_run *run);		/* writer */
void ksnif_writer_wake(struct ksnif_run *run, enum ksnif_wake wake); /* any but NMI */
void ksnif_writer_rest(struct ksnif_run *run);			/* the run is over */

/* ---- run.c ---------------------------------------------------------------- */
/* What start has done to the file, one after the other; the last if something else fails. */
enum ksnif_step {
	KSNIF_STEP_OPEN,		/* as the caller could, and claim it */
	KSNIF_STEP_EMPTY,
	KSNIF_STEP_CLOSE,
};

/* One run of a capture, from start to the next start. */
struct ksnif_run {
	struct kref ref;		/* the capture's, and one for each waiting command */
	struct ksnif_capture *cap;	/* whose it is; outlives the run */
	const struct cred *cred;	/* a copy of the opener's, for the file */
	struct ksnif_settings settings;	/* those it was started with */
	u16 linktype;			/* of the device captured by name */

	/* the hook's */
	struct nf_hook_ops hooks[2];	/* IPv4 and IPv6; family says which are registered */
	int ifindex;			/* device, or none; written under rtnl and cap->lock */
	u32 snaplen;			/* as in the settings; can change while running */
	struct ksnif_queue *queue;	/* NULL once the run has ended. Then under cap->lock */
	spinlock_t iface_lock;		/* protects the next three against other writers */
	struct hlist_head iface_hash[64];	/* interfaces by ifindex; readers use RCU */
	struct ksnif_iface **ifaces;	/* all interfaces by number; below iface_count they stay */
	unsigned int iface_count;	/* of the blocks; release when one more is complete */
	unsigned int iface_max;		/* of devices: memory stays bounded */
	struct ksnif_iface *unknown;	/* "any": for packets of devices that found no room */
	struct ksnif_iface *named;	/* device captured by name: its block leads the file */

	/* start's: the file is opened and emptied on cap->wq, in the name of who starts */
	struct work_struct step_work;
	enum ksnif_step step;
	struct path root;		/* where logfile begins; the first step puts it */
	struct completion stepped;	/* step_error and step_text are there */
	int step_error;
	const char *step_text;
	bool abandoned;			/* nobody waits any more: close it. Set under cap->lock */

	/* the writer's */
	struct delayed_work work;	/* on cap->wq */
	struct delayed_work sync;	/* there, too: due while the file has unsynced bytes */
	struct ksnif_file file;		/* unused with io discard */
	struct ksnif_batch batch;
	atomic64_t file_size;		/* bytes that are whole blocks; others read it */
	unsigned int described;		/* interfaces whose blocks are in the batch or the file */
	bool started;			/* the file's header is in the batch or the file */

	/* between commands and writer */
	bool stopping;			/* hook gone: drain, sync, close. Under cap->lock */
	u64 flush_wanted;		/* flushes asked for. Under cap->lock */
	u64 flush_done;			/* flushes done */
	wait_queue_head_t waiters;	/* for flush_done and ended */
	bool ended;			/* file closed; what follows is final */
	int error;			/* first write or fsync error, negative */
	bool unsynced;			/* fsync failed after packets were accepted */
	bool torn;			/* could not be cut back to the last whole record */
	bool reported;			/* a stop has answered with error. Under cap->lock */
};

/* A capture's state at one moment, for netlink and procfs. */
struct ksnif_status {
	enum ksnif_state state;
	struct ksnif_settings settings;
	int error;
	bool unsynced;
	bool torn;
	enum ksnif_io io_used;
	u64 file_size, flush_wanted, flush_done, runs;
};

static inline struct hlist_head *ksnif_iface_head(struct ksnif_run *run, int ifindex)
{
	return &run->iface_hash[ifindex % ARRAY_SIZE(run->iface_hash)];
}

/* Interface of a device, or NULL. Under RCU or run->iface_lock; inline for the hook. */
static inline struct ksnif_iface *ksnif_iface_find(struct ksnif_run *run, int ifindex)
{
	struct ksnif_iface *iface;

	hlist_for_each_entry_rcu(iface, ksnif_iface_head(run, ifindex), node,
				 lockdep_is_held(&run->iface_lock))
		if (iface->ifindex == ifindex)
			return iface;
	return NULL;
}

/* Interfaces that are numbered: run->ifaces below that are complete, and stay. Any context. */
static inline unsigned int ksnif_iface_count(const struct ksnif_run *run)
{
	return smp_load_acquire(&run->iface_count); /* pairs with iface_number() */
}

struct ksnif_run *ksnif_run_alloc(struct ksnif_capture *cap);
void ksnif_run_put(struct ksnif_run *run);
int ksnif_run_find_device(struct ksnif_run *run, struct net *net, struct netlink_ext_ack *extack);
int ksnif_run_file(struct ksnif_run *run, enum ksnif_step step, unsigned long deadline,
		   struct netlink_ext_ack *extack);
enum ksnif_io ksnif_run_io(const struct ksnif_run *run);
void ksnif_run_result(const struct ksnif_run *run, struct ksnif_status *st);

/* ---- capture.c ----------------------------------------------------------- */
/* A named capture in a network namespace. */
struct ksnif_capture {
	struct kref ref;		/* the namespace's, and the writer's of a run */
	struct mutex command;		/* serialises set, start and restart; nobody blocks on it */
	wait_queue_head_t commands;	/* for command to be free */
	struct mutex lock;		/* protects all below but wq and reap */
	struct net *net;		/* NULL once it exits; no reference is held */
	enum ksnif_state state;		/* becomes running under command only */
	struct ksnif_settings settings;	/* for the next start; written under command, too */
	struct ksnif_run *run;		/* current or last; NULL before the first start */
	unsigned int runs;		/* starts so far: tells one run from the next */
	bool stop_owed;			/* a restart's stop took long; under command */
	bool opening;			/* a start that was given up is stuck in its open */
	const char *last_error;		/* last refusal through procfs, a constant, or NULL */
	struct workqueue_struct *wq;	/* runs the writer: a dead disk stalls nobody else */
	struct work_struct reap;	/* frees the capture where one may wait for wq */
};

#define KSNIF_CAPTURE_NAME	"default"

/* All: process context, may sleep. 0 or a negative errno with a text in @extack. */
int ksnif_capture_set(struct ksnif_capture *cap, struct ksnif_change *change,
		      struct netlink_ext_ack *extack);
int ksnif_capture_command(struct ksnif_capture *cap, int cmd, struct netlink_ext_ack *extack);
int ksnif_capture_status(struct ksnif_capture *cap, struct ksnif_status *st,
			 struct ksnif_stats *sum);
unsigned int ksnif_capture_stats(struct ksnif_capture *cap, struct ksnif_stats *sum, int cpu);

/* For the writer: the run cannot go on / has come to its end. */
void ksnif_capture_failing(struct ksnif_run *run);
void ksnif_capture_ended(struct ksnif_run *run);
void ksnif_capture_put(struct ksnif_capture *cap);

int ksnif_explain(int err, struct netlink_ext_ack *extack);
struct ksnif_capture *ksnif_capture_of(const struct net *net);
int ksnif_capture_register(void);
void ksnif_capture_unregister(void);

/* ---- netlink.c, proc.c --------------------------------------------------- */
int ksnif_netlink_register(void);
void ksnif_netlink_unregister(void);
void ksnif_netlink_event(struct ksnif_capture *cap, u8 cmd);

int ksnif_proc_register(void);
void ksnif_proc_unregister(void);

#endif /* _KSNIF_H */
