/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	genl/ksnif.yaml */
/* YNL-GEN uapi header */

#ifndef _UAPI_LINUX_KSNIF_H
#define _UAPI_LINUX_KSNIF_H

#define KSNIF_FAMILY_NAME	"ksnif"
#define KSNIF_FAMILY_VERSION	1

#define KSNIF_NAME_MAX		15
#define KSNIF_DEVICE_NAME_MAX	15
#define KSNIF_LOGFILE_MAX	4095
#define KSNIF_SNAPLEN_MAX	262144
#define KSNIF_QUEUE_SIZE_MIN	65536
#define KSNIF_QUEUE_SIZE_MAX	4294967296
#define KSNIF_SYNC_INTERVAL_MAX	3600

/**
 * enum ksnif_ip_family - IP versions to capture.
 * @KSNIF_IP_FAMILY_INET: IPv4 and IPv6.
 * @KSNIF_IP_FAMILY_IP: IPv4 only.
 * @KSNIF_IP_FAMILY_IP6: IPv6 only.
 */
enum ksnif_ip_family {
	KSNIF_IP_FAMILY_INET,
	KSNIF_IP_FAMILY_IP,
	KSNIF_IP_FAMILY_IP6,
};

/**
 * enum ksnif_format - Format of the capture file.
 * @KSNIF_FORMAT_PCAPNG: Any number of devices, drop counts and interface
 *   statistics.
 * @KSNIF_FORMAT_PCAP: The older format, with nanoseconds; needs a device_name.
 */
enum ksnif_format {
	KSNIF_FORMAT_PCAPNG,
	KSNIF_FORMAT_PCAP,
};

/**
 * enum ksnif_io - How the writer writes.
 * @KSNIF_IO_BUFFERED: Through the page cache.
 * @KSNIF_IO_DIRECT: Past the page cache; pcapng only, and only where the file
 *   system can.
 * @KSNIF_IO_AUTO: direct where the file system and the format can, else
 *   buffered.
 * @KSNIF_IO_DISCARD: The whole way, but no file; packets are counted as
 *   discarded.
 */
enum ksnif_io {
	KSNIF_IO_BUFFERED,
	KSNIF_IO_DIRECT,
	KSNIF_IO_AUTO,
	KSNIF_IO_DISCARD,
};

/**
 * enum ksnif_state - State of a capture.
 * @KSNIF_STATE_STOPPED: No hook is registered and no file is open.
 * @KSNIF_STATE_RUNNING: Packets are captured.
 * @KSNIF_STATE_STOPPING: The hook is gone; the writer drains the queue, syncs
 *   and closes.
 * @KSNIF_STATE_FAILED: A write or fsync error ended the capture; errno says
 *   which.
 */
enum ksnif_state {
	KSNIF_STATE_STOPPED,
	KSNIF_STATE_RUNNING,
	KSNIF_STATE_STOPPING,
	KSNIF_STATE_FAILED,
};

enum {
	KSNIF_A_CAPTURE_NAME = 1,
	KSNIF_A_CAPTURE_DEVICE_NAME,
	KSNIF_A_CAPTURE_FAMILY,
	KSNIF_A_CAPTURE_LOGFILE,
	KSNIF_A_CAPTURE_SNAPLEN,
	KSNIF_A_CAPTURE_QUEUE_SIZE,
	KSNIF_A_CAPTURE_FORMAT,
	KSNIF_A_CAPTURE_IO,
	KSNIF_A_CAPTURE_STATE,
	KSNIF_A_CAPTURE_ERRNO,
	KSNIF_A_CAPTURE_UNSYNCED,
	KSNIF_A_CAPTURE_FILE_SIZE,
	KSNIF_A_CAPTURE_TORN,
	KSNIF_A_CAPTURE_SYNC_INTERVAL,
	KSNIF_A_CAPTURE_FLUSH_WANTED,
	KSNIF_A_CAPTURE_FLUSH_DONE,
	KSNIF_A_CAPTURE_RUNS,
	KSNIF_A_CAPTURE_IO_USED,

	__KSNIF_A_CAPTURE_MAX,
	KSNIF_A_CAPTURE_MAX = (__KSNIF_A_CAPTURE_MAX - 1)
};

enum {
	KSNIF_A_STATS_NAME = 1,
	KSNIF_A_STATS_CPU,
	KSNIF_A_STATS_RECEIVED,
	KSNIF_A_STATS_FILTERED,
	KSNIF_A_STATS_CAPTURED,
	KSNIF_A_STATS_DROPPED_QUEUE_FULL,
	KSNIF_A_STATS_DROPPED_NO_MEMORY,
	KSNIF_A_STATS_QUEUED,
	KSNIF_A_STATS_WRITTEN,
	KSNIF_A_STATS_DROPPED_WRITE,
	KSNIF_A_STATS_DISCARDED,
	KSNIF_A_STATS_ERRORS,

	__KSNIF_A_STATS_MAX,
	KSNIF_A_STATS_MAX = (__KSNIF_A_STATS_MAX - 1)
};

enum {
	KSNIF_CMD_GET = 1,
	KSNIF_CMD_SET,
	KSNIF_CMD_START,
	KSNIF_CMD_STOP,
	KSNIF_CMD_RESTART,
	KSNIF_CMD_FLUSH,
	KSNIF_CMD_STATS,
	KSNIF_CMD_STARTED,
	KSNIF_CMD_STOPPED,
	KSNIF_CMD_FAILED,
	KSNIF_CMD_DEVICE_GONE,
	KSNIF_CMD_DEVICE_BACK,
	KSNIF_CMD_SETTINGS_CHANGED,

	__KSNIF_CMD_MAX,
	KSNIF_CMD_MAX = (__KSNIF_CMD_MAX - 1)
};

#define KSNIF_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_KSNIF_H */
