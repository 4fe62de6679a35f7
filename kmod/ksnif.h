/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ksnif: the packet's way and everything around it, station by station.
 *
 *   hook.c          queue_list.c       writer.c + pcapng.c     file.c
 *   PRE_ROUTING --> bounded queue -->  batches, order      --> capture file
 *   (softirq)                          (workqueue)
 *
 *   capture.c   state machine: start, stop, restart, flush, failure
 *   run.c       what one run, from start to end, is made of
 *   device.c    which device is captured; the interfaces of a capture
 *   settings.c  settings: checks and texts
 *   stats.c     the counters, summed up
 *   netlink.c   the control interface; proc.c: the same through procfs
 *
 * Locks, outermost first:
 *   ksnif_capture.command  serialises set, start and restart of one capture; may be held
 *                          across file I/O, so no hook, notifier, namespace or
 *                          statistics path takes it
 *   rtnl
 *   ksnif_capture.lock     state, settings, net and run of a capture; never held across
 *                          file I/O, flush_work() or synchronize_net()
 *   ksnif_run.iface_lock, the queue's own lock (both innermost, BH disabled)
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
#include <linux/u64_stats_sync.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "uapi/ksnif.h"

struct net_device;
struct seq_file;

#define KSNIF_VERSION		"0.1.0"

/* How long stop, restart and flush wait in the kernel before -EINPROGRESS. */
#define KSNIF_WAIT		(2 * HZ)

/* Values of ksnif_run.ifindex that are no device's: real ones are positive. */
#define KSNIF_ANY_DEVICE	0
#define KSNIF_NO_DEVICE		(-1)

/* From https://www.tcpdump.org/linktypes.html */
#define KSNIF_LINKTYPE_ETHERNET	1
#define KSNIF_LINKTYPE_RAW	101

/* ---- settings.c ---------------------------------------------------------- */

/**
 * struct ksnif_settings - what a user can set
 * @device_name: device to capture, or "any"
 * @family: enum ksnif_ip_family
 * @snaplen: bytes kept of a packet, 1..KSNIF_SNAPLEN_MAX
 * @queue_size: bytes of kernel memory for queued packets
 * @format: enum ksnif_format
 * @io: enum ksnif_io
 * @logfile: absolute path; own allocation
 */
struct ksnif_settings {
	char device_name[IFNAMSIZ];
	u32 family;
	u32 snaplen;
	u64 queue_size;
	u32 format;
	u32 io;
	char *logfile;
};

/**
 * struct ksnif_change - settings that one command changes
 * @mask: which: bits KSNIF_A_CAPTURE_*
 * @to: their new values; those not in @mask are unused
 */
struct ksnif_change {
	unsigned long mask;
	struct ksnif_settings to;
};

int ksnif_settings_init(struct ksnif_settings *s);
int ksnif_settings_copy(struct ksnif_settings *to, const struct ksnif_settings *from);
void ksnif_settings_free(struct ksnif_settings *s);
bool ksnif_settings_any_device(const struct ksnif_settings *s);
void ksnif_settings_limits(void);

int ksnif_change_string(struct ksnif_change *change, int attr, const char *value,
			struct netlink_ext_ack *extack);
int ksnif_change_number(struct ksnif_change *change, int attr, u64 value,
			struct netlink_ext_ack *extack);
int ksnif_change_allowed(const struct ksnif_change *change, enum ksnif_state state,
			 struct netlink_ext_ack *extack);
void ksnif_change_apply(struct ksnif_change *change, struct ksnif_settings *s);
void ksnif_change_free(struct ksnif_change *change);

/* ---- stats.c ------------------------------------------------------------- */

/**
 * struct ksnif_hook_stats - what the hook counts, per CPU and interface
 * @received: packets seen on devices that match, counted at hook entry
 * @filtered: turned away by the filter
 * @captured: put into the queue
 * @dropped_queue_full: no room in the queue
 * @dropped_no_memory: no memory for the packet
 * @gap: packets dropped since this CPU's last captured packet of the interface;
 *       goes into the next record. Touched by the hook of its CPU only.
 * @syncp: makes 64-bit reads whole on 32-bit machines
 */
struct ksnif_hook_stats {
	u64_stats_t received;
	u64_stats_t filtered;
	u64_stats_t captured;
	u64_stats_t dropped_queue_full;
	u64_stats_t dropped_no_memory;
	u64 gap;
	struct u64_stats_sync syncp;
};

/**
 * struct ksnif_stats - the books of a capture or of one interface, in packets
 *
 * received = filtered + captured + dropped_queue_full + dropped_no_memory
 * captured = written + queued + dropped_write + discarded
 *
 * Both hold exactly once the capture is stopped or failed. None is computed from the
 * others.
 */
struct ksnif_stats {
	u64 received;
	u64 filtered;
	u64 captured;
	u64 dropped_queue_full;
	u64 dropped_no_memory;
	u64 queued;
	u64 written;
	u64 dropped_write;
	u64 discarded;
};

struct ksnif_iface;
struct ksnif_run;

void ksnif_stats_count(struct ksnif_hook_stats *st, u64_stats_t *counter); /* BH disabled */
void ksnif_stats_iface(struct ksnif_iface *iface, struct ksnif_stats *sum);
void ksnif_stats_run(struct ksnif_run *run, struct ksnif_stats *sum);
void ksnif_stats_cpu(struct ksnif_run *run, int cpu, struct ksnif_stats *sum);

/* ---- device.c ------------------------------------------------------------ */

/**
 * struct ksnif_iface - a device as a capture knows it: one interface block
 * @node: in ksnif_run.iface_hash while the device is there; RCU
 * @list: in ksnif_run.ifaces until the run is freed; append only, RCU
 * @ifindex: the device's index
 * @linktype: KSNIF_LINKTYPE_*
 * @name: the device's name when it was first seen
 * @hook: the hook's counters
 * @written: records the file system accepted; this and the next two: writer only
 * @dropped_write: captured packets that could not be written
 * @discarded: captured packets thrown away as io discard asks
 * @id: number of the interface block; valid once @described. Writer only.
 * @described: the interface block is in the batch or the file. Writer only.
 *
 * A device that returns gets a new one.
 */
struct ksnif_iface {
	struct hlist_node node;
	struct list_head list;
	int ifindex;
	u16 linktype;
	char name[IFNAMSIZ];
	struct ksnif_hook_stats __percpu *hook;
	atomic64_t written;
	atomic64_t dropped_write;
	atomic64_t discarded;
	u32 id;
	bool described;
};

u16 ksnif_device_linktype(const struct net_device *dev);
bool ksnif_device_bind(struct ksnif_run *run, const struct net_device *dev);
struct ksnif_iface *ksnif_iface_get(struct ksnif_run *run,
				    const struct net_device *dev); /* RCU, BH disabled */
struct ksnif_iface *ksnif_iface_add(struct ksnif_run *run, const struct net_device *dev,
				    gfp_t gfp);
struct ksnif_iface *ksnif_iface_alloc(const char *name, u16 linktype, gfp_t gfp);
void ksnif_ifaces_free(struct ksnif_run *run);
int ksnif_device_register(void);
void ksnif_device_unregister(void);

/* ---- queue_list.c: the queue's interface --------------------------------- */

/**
 * struct ksnif_record - a captured packet on its way through the queue
 * @next: the packet captured after it
 * @iface: where it came in; lives as long as the run
 * @time: wall-clock time of capture, ns since 1970. Never a sort key: it can step back.
 * @gap: packets of @iface that were dropped on this CPU since the one before
 * @charge: bytes of memory it takes from queue_size
 * @end: where its last byte lies in the writer's batch. Writer only.
 * @caplen: bytes in @data
 * @len: length of the packet, link-layer header included
 * @data: the packet, from its link-layer header on
 */
struct ksnif_record {
	struct ksnif_record *next;
	struct ksnif_iface *iface;
	u64 time;
	u64 gap;
	u32 charge;
	u32 end;
	u32 caplen;
	u32 len;
	u8 data[];
};

enum ksnif_wake {
	KSNIF_WAKE_NONE,	/* the writer knows already */
	KSNIF_WAKE_SOON,	/* within the time a record may stay out of the file */
	KSNIF_WAKE_NOW,		/* a batch is waiting */
};

struct ksnif_queue;

struct ksnif_queue *ksnif_queue_alloc(u64 size);		/* process, may sleep */
void ksnif_queue_free(struct ksnif_queue *q);			/* no hook, no writer */
struct ksnif_record *ksnif_queue_reserve(struct ksnif_queue *q,
					 u32 caplen);		/* BH disabled; any CPU */
void ksnif_queue_cancel(struct ksnif_queue *q,
			struct ksnif_record *rec);		/* BH disabled; any CPU */
enum ksnif_wake ksnif_queue_commit(struct ksnif_queue *q,
				   struct ksnif_record *rec);	/* BH disabled; any CPU */
struct ksnif_record *ksnif_queue_take(struct ksnif_queue *q);	/* single consumer */
void ksnif_queue_done(struct ksnif_queue *q,
		      struct ksnif_record *rec);		/* single consumer */
u64 ksnif_queue_packets(struct ksnif_queue *q);			/* any context */

/* ---- hook.c -------------------------------------------------------------- */

int ksnif_hook_register(struct net *net, struct ksnif_run *run);  /* process, may sleep */
void ksnif_hook_unregister(struct net *net, struct ksnif_run *run); /* process, may sleep */

/* ---- pcapng.c: pure encoders, no allocation, no locks --------------------- */

size_t ksnif_pcapng_section(u8 *to);
size_t ksnif_pcapng_interface(u8 *to, const char *name, u16 linktype);
size_t ksnif_pcapng_packet(u8 *to, const struct ksnif_record *rec, u32 id);
size_t ksnif_pcapng_statistics(u8 *to, u32 id, u64 time, const struct ksnif_stats *st);
size_t ksnif_pcap_header(u8 *to, u16 linktype);
size_t ksnif_pcap_packet(u8 *to, const struct ksnif_record *rec);

/* Longest block other than a packet, and what a packet adds to its data at most. */
#define KSNIF_BLOCK_MAX		256
#define KSNIF_PACKET_OVERHEAD	64

/* ---- file.c -------------------------------------------------------------- */

/**
 * struct ksnif_file - a capture file that is being written
 * @file: the open file; its f_cred are the credentials written under
 * @pos: bytes written so far
 * @limit: the opener's RLIMIT_FSIZE
 * @list: in the list of files being written, which no second capture may open
 */
struct ksnif_file {
	struct file *file;
	loff_t pos;
	u64 limit;
	struct list_head list;
};

int ksnif_file_open(struct ksnif_file *f, const char *path,
		    struct netlink_ext_ack *extack);		/* caller's context */
ssize_t ksnif_file_write(struct ksnif_file *f, const u8 *buf, size_t len,
			 size_t *done);				/* writer */
int ksnif_file_cut(struct ksnif_file *f, loff_t size);		/* may sleep */
int ksnif_file_sync(struct ksnif_file *f);			/* writer */
void ksnif_file_close(struct ksnif_file *f);			/* writer: a kthread */
void ksnif_file_abandon(struct ksnif_file *f);			/* caller's context */

/* ---- writer.c ------------------------------------------------------------ */

/**
 * struct ksnif_batch - blocks that wait to be written in one go
 * @buf: KSNIF_BATCH_SIZE bytes
 * @len: bytes used
 * @head: bytes at its start that are the file's header
 * @first: records in it, oldest first, chained up to and without @last
 * @last: first record that is not in it
 */
struct ksnif_batch {
	u8 *buf;
	size_t len;
	size_t head;
	struct ksnif_record *first;
	struct ksnif_record *last;
};

int ksnif_writer_init(struct ksnif_run *run);			/* process, may sleep */
void ksnif_writer_free(struct ksnif_run *run);
void ksnif_writer_wake(struct ksnif_run *run, enum ksnif_wake wake); /* any but NMI */

/* ---- run.c ---------------------------------------------------------------- */

/**
 * struct ksnif_run - one run of a capture, from start to the next start
 * @ref: the capture's, and one for each command that waits
 * @cap: whose it is; outlives the run
 * @hooks: IPv4 and IPv6, as family asks
 * @n_hooks: number of @hooks
 * @armed: packets are taken; set once the file is ready
 * @ifindex: captured device, KSNIF_ANY_DEVICE or KSNIF_NO_DEVICE; written under
 *           ksnif_capture.lock and rtnl, read by the hook without
 * @snaplen: as in the settings; can change while running
 * @queue: between hook and writer
 * @iface_lock: protects @iface_hash, @ifaces, @ifaces_left against other writers
 * @iface_hash: interfaces by ifindex; readers use RCU
 * @ifaces: all interfaces of the run
 * @ifaces_left: how many more may be added, so that memory stays bounded
 * @unknown: counts packets of devices that there was no memory to describe
 * @named: the interface of a device captured by name; its block is in the file's header
 * @settings: those the run was started with
 * @linktype: the one link type of a pcap file
 * @work: the writer, on ksnif_capture.wq
 * @file: what the writer writes to; unused with io discard
 * @file_size: bytes of @file that are whole blocks; writer writes, others read
 * @batch: see there. Writer only.
 * @described: number of interface blocks so far. Writer only.
 * @started: the file's header is in the batch or the file. Writer only.
 * @stopping: the hook is unregistered: drain, sync and close. Under ksnif_capture.lock.
 * @flush_wanted: number of flushes asked for. Under ksnif_capture.lock.
 * @flush_done: all up to this number are done, or the run has ended
 * @ended: the file is closed; @error, @unsynced, @torn are final
 * @waiters: for @flush_done and @ended
 * @error: first write or fsync error, negative
 * @unsynced: fsync failed after packets were accepted
 * @torn: the file could not be cut back to the last whole record
 * @reported: some stop has answered with @error. Under ksnif_capture.lock.
 */
struct ksnif_run {
	struct kref ref;
	struct ksnif_capture *cap;

	struct nf_hook_ops hooks[2];
	unsigned int n_hooks;
	bool armed;
	int ifindex;
	u32 snaplen;
	struct ksnif_queue *queue;
	spinlock_t iface_lock;	/* see above */
	struct hlist_head iface_hash[64];
	struct list_head ifaces;
	unsigned int ifaces_left;
	struct ksnif_iface *unknown;
	struct ksnif_iface *named;

	struct ksnif_settings settings;
	u16 linktype;

	struct delayed_work work;
	struct ksnif_file file;
	u64 file_size;
	struct ksnif_batch batch;
	u32 described;
	bool started;

	bool stopping;
	u64 flush_wanted;
	u64 flush_done;
	bool ended;
	wait_queue_head_t waiters;
	int error;
	bool unsynced;
	bool torn;
	bool reported;
};

struct ksnif_run *ksnif_run_alloc(struct ksnif_capture *cap);
void ksnif_run_put(struct ksnif_run *run);
int ksnif_run_find_device(struct ksnif_run *run, struct net *net,
			  struct netlink_ext_ack *extack);
int ksnif_run_open(struct ksnif_run *run, struct netlink_ext_ack *extack);

/* ---- capture.c ----------------------------------------------------------- */

/**
 * struct ksnif_capture - a named capture in a network namespace
 * @ref: the namespace's, and the writer's while a run has not ended
 * @command: serialises set, start and restart
 * @lock: protects everything below
 * @net: the namespace; NULL once it exits. No reference is held.
 * @state: see design: stopped, running, stopping, failed
 * @settings: for the next start
 * @run: the current or last run; NULL before the first start
 * @hooked: the run's hook is registered in @net
 * @runs: number of starts so far; tells a dump that it spans two of them
 * @last_error: text of the last refusal through procfs, a string constant, or NULL
 * @wq: runs the writer; one per capture, so that a dead disk stalls nobody else
 * @reap: frees the capture where sleeping on @wq is allowed
 */
struct ksnif_capture {
	struct kref ref;
	struct mutex command;	/* see above */
	struct mutex lock;	/* see above */
	struct net *net;
	enum ksnif_state state;
	struct ksnif_settings settings;
	struct ksnif_run *run;
	bool hooked;
	unsigned int runs;
	const char *last_error;
	struct workqueue_struct *wq;
	struct work_struct reap;
};

#define KSNIF_CAPTURE_NAME	"default"

/**
 * struct ksnif_status - a capture's state at one moment, for netlink and procfs
 */
struct ksnif_status {
	enum ksnif_state state;
	struct ksnif_settings settings;
	int error;
	bool unsynced;
	bool torn;
	u64 file_size;
};

/* All: process context, may sleep. 0 or a negative errno with a text in @extack. */
int ksnif_capture_set(struct ksnif_capture *cap, struct ksnif_change *change,
		      struct netlink_ext_ack *extack);
int ksnif_capture_start(struct ksnif_capture *cap, struct netlink_ext_ack *extack);
int ksnif_capture_stop(struct ksnif_capture *cap, struct netlink_ext_ack *extack);
int ksnif_capture_restart(struct ksnif_capture *cap, struct netlink_ext_ack *extack);
int ksnif_capture_flush(struct ksnif_capture *cap, struct netlink_ext_ack *extack);
int ksnif_capture_status(struct ksnif_capture *cap, struct ksnif_status *st);
unsigned int ksnif_capture_stats(struct ksnif_capture *cap, struct ksnif_stats *sum, int cpu);

/* For the writer: the run cannot go on / has come to its end. */
void ksnif_capture_unhook(struct ksnif_run *run);
void ksnif_capture_ended(struct ksnif_run *run);

struct ksnif_capture *ksnif_capture_of(const struct net *net);
int ksnif_capture_register(void);
void ksnif_capture_unregister(void);

/* ---- netlink.c, proc.c --------------------------------------------------- */

int ksnif_netlink_register(void);
void ksnif_netlink_unregister(void);
void ksnif_netlink_event(struct ksnif_capture *cap, u8 cmd, const char *device_name);

#ifdef CONFIG_KSNIF_PROCFS
int ksnif_proc_create(struct net *net, struct ksnif_capture *cap);
void ksnif_proc_remove(struct net *net);
#else
static inline int ksnif_proc_create(struct net *net, struct ksnif_capture *cap)
{
	return 0;
}

static inline void ksnif_proc_remove(struct net *net)
{
}
#endif

#endif /* _KSNIF_H */
