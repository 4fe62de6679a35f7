// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	genl/ksnif.yaml */
/* by genl/gen: run make gen */

#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "genl_gen.h"

static const char * const ksnif_ip_family_names[] = {
	[KSNIF_IP_FAMILY_INET] = "inet",
	[KSNIF_IP_FAMILY_IP] = "ip",
	[KSNIF_IP_FAMILY_IP6] = "ip6",
};

static const char * const ksnif_format_names[] = {
	[KSNIF_FORMAT_PCAPNG] = "pcapng",
	[KSNIF_FORMAT_PCAP] = "pcap",
};

static const char * const ksnif_io_names[] = {
	[KSNIF_IO_BUFFERED] = "buffered",
	[KSNIF_IO_DIRECT] = "direct",
	[KSNIF_IO_AUTO] = "auto",
	[KSNIF_IO_DISCARD] = "discard",
};

static const char * const ksnif_state_names[] = {
	[KSNIF_STATE_STOPPED] = "stopped",
	[KSNIF_STATE_RUNNING] = "running",
	[KSNIF_STATE_STOPPING] = "stopping",
	[KSNIF_STATE_FAILED] = "failed",
};

const struct ksnif_attr ksnif_capture_attrs[KSNIF_A_CAPTURE_MAX + 1] = {
	[KSNIF_A_CAPTURE_NAME] = {
		.name = "name",
		.type = KSNIF_ATTR_STRING,
		.min = 1ULL,
		.max = 15ULL,
		.refusal = "name: must be 1..15 bytes",
		.twice = "name: given twice",
		.busy = "name: cannot change while running",
	},
	[KSNIF_A_CAPTURE_DEVICE_NAME] = {
		.name = "device_name",
		.type = KSNIF_ATTR_STRING,
		.min = 1ULL,
		.max = 15ULL,
		.refusal = "device_name: must be 1..15 bytes",
		.twice = "device_name: given twice",
		.busy = "device_name: cannot change while running",
	},
	[KSNIF_A_CAPTURE_FAMILY] = {
		.name = "family",
		.type = KSNIF_ATTR_ENUM,
		.names = ksnif_ip_family_names,
		.min = 0ULL,
		.max = 2ULL,
		.refusal = "family: must be inet, ip or ip6",
		.twice = "family: given twice",
		.busy = "family: cannot change while running",
	},
	[KSNIF_A_CAPTURE_LOGFILE] = {
		.name = "logfile",
		.type = KSNIF_ATTR_STRING,
		.min = 1ULL,
		.max = 4095ULL,
		.refusal = "logfile: must be 1..4095 bytes",
		.twice = "logfile: given twice",
		.busy = "logfile: cannot change while running",
	},
	[KSNIF_A_CAPTURE_SNAPLEN] = {
		.name = "snaplen",
		.type = KSNIF_ATTR_U32,
		.min = 0ULL,
		.max = 262144ULL,
		.refusal = "snaplen: must be 0..262144",
		.twice = "snaplen: given twice",
		.busy = "snaplen: cannot change while running",
	},
	[KSNIF_A_CAPTURE_QUEUE_SIZE] = {
		.name = "queue_size",
		.type = KSNIF_ATTR_U64,
		.min = 65536ULL,
		.max = 4294967296ULL,
		.refusal = "queue_size: must be 65536..4294967296",
		.twice = "queue_size: given twice",
		.busy = "queue_size: cannot change while running",
	},
	[KSNIF_A_CAPTURE_FORMAT] = {
		.name = "format",
		.type = KSNIF_ATTR_ENUM,
		.names = ksnif_format_names,
		.min = 0ULL,
		.max = 1ULL,
		.refusal = "format: must be pcapng or pcap",
		.twice = "format: given twice",
		.busy = "format: cannot change while running",
	},
	[KSNIF_A_CAPTURE_IO] = {
		.name = "io",
		.type = KSNIF_ATTR_ENUM,
		.names = ksnif_io_names,
		.min = 0ULL,
		.max = 3ULL,
		.refusal = "io: must be buffered, direct, auto or discard",
		.twice = "io: given twice",
		.busy = "io: cannot change while running",
	},
	[KSNIF_A_CAPTURE_STATE] = {
		.name = "state",
		.type = KSNIF_ATTR_ENUM,
		.names = ksnif_state_names,
		.max = 3ULL,
	},
	[KSNIF_A_CAPTURE_ERRNO] = {
		.name = "errno",
		.type = KSNIF_ATTR_U32,
	},
	[KSNIF_A_CAPTURE_UNSYNCED] = {
		.name = "unsynced",
		.type = KSNIF_ATTR_U32,
	},
	[KSNIF_A_CAPTURE_FILE_SIZE] = {
		.name = "file_size",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_CAPTURE_TORN] = {
		.name = "torn",
		.type = KSNIF_ATTR_U32,
	},
	[KSNIF_A_CAPTURE_SYNC_INTERVAL] = {
		.name = "sync_interval",
		.type = KSNIF_ATTR_U32,
		.min = 0ULL,
		.max = 3600ULL,
		.refusal = "sync_interval: must be 0..3600",
		.twice = "sync_interval: given twice",
		.busy = "sync_interval: cannot change while running",
	},
	[KSNIF_A_CAPTURE_FLUSH_WANTED] = {
		.name = "flush_wanted",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_CAPTURE_FLUSH_DONE] = {
		.name = "flush_done",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_CAPTURE_RUNS] = {
		.name = "runs",
		.type = KSNIF_ATTR_U32,
	},
	[KSNIF_A_CAPTURE_IO_USED] = {
		.name = "io_used",
		.type = KSNIF_ATTR_ENUM,
		.names = ksnif_io_names,
		.max = 3ULL,
	},
};

const struct ksnif_attr ksnif_stats_attrs[KSNIF_A_STATS_MAX + 1] = {
	[KSNIF_A_STATS_NAME] = {
		.name = "name",
		.type = KSNIF_ATTR_STRING,
		.min = 1ULL,
		.max = 15ULL,
		.refusal = "name: must be 1..15 bytes",
		.twice = "name: given twice",
		.busy = "name: cannot change while running",
	},
	[KSNIF_A_STATS_CPU] = {
		.name = "cpu",
		.type = KSNIF_ATTR_U32,
	},
	[KSNIF_A_STATS_RECEIVED] = {
		.name = "received",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_FILTERED] = {
		.name = "filtered",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_CAPTURED] = {
		.name = "captured",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_DROPPED_QUEUE_FULL] = {
		.name = "dropped_queue_full",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_DROPPED_NO_MEMORY] = {
		.name = "dropped_no_memory",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_QUEUED] = {
		.name = "queued",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_WRITTEN] = {
		.name = "written",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_DROPPED_WRITE] = {
		.name = "dropped_write",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_DISCARDED] = {
		.name = "discarded",
		.type = KSNIF_ATTR_U64,
	},
	[KSNIF_A_STATS_ERRORS] = {
		.name = "errors",
		.type = KSNIF_ATTR_U64,
	},
};

int ksnif_attr_find(const struct ksnif_attr *attrs, int max, const char *name)
{
	int i;

	for (i = 1; i <= max; i++)
		if (attrs[i].refusal && !strcmp(attrs[i].name, name))
			return i;
	return -EINVAL;
}

int ksnif_attr_check_number(const struct ksnif_attr *attr, u64 value)
{
	if (value >= attr->min && value <= attr->max)
		return 0;
	return attr->type == KSNIF_ATTR_ENUM ? -EINVAL : -ERANGE;
}

int ksnif_attr_check_string(const struct ksnif_attr *attr, const char *value)
{
	size_t len = strlen(value);

	return len >= attr->min && len <= attr->max ? 0 : -ERANGE;
}

int ksnif_attr_parse_number(const struct ksnif_attr *attr, const char *text,
			    u64 *value)
{
	u64 number;
	int err;

	if (attr->type == KSNIF_ATTR_ENUM) {
		for (number = 0; number <= attr->max; number++) {
			if (!strcmp(attr->names[number], text)) {
				*value = number;
				return 0;
			}
		}
		return -EINVAL;
	}

	err = kstrtou64(text, 10, &number);
	if (!err)
		err = ksnif_attr_check_number(attr, number);
	if (!err)
		*value = number;
	return err;
}

int ksnif_attr_check_twice(const struct ksnif_attr *attrs, int max,
			   const struct nlmsghdr *nlh,
			   struct netlink_ext_ack *extack)
{
	const struct nlattr *nla;
	u64 seen = 0;
	int rem;

	nlmsg_for_each_attr(nla, nlh, GENL_HDRLEN, rem) {
		int type = nla_type(nla);

		if (type < 1 || type > max)
			continue;
		if (seen & BIT_ULL(type)) {
			NL_SET_BAD_ATTR(extack, nla);
			if (extack)
				extack->_msg = attrs[type].twice;
			return -EINVAL;
		}
		seen |= BIT_ULL(type);
	}
	return 0;
}

/*
 * For strings; the core has checked that they are terminated. Numbers are the handlers':
 * the core takes a validation function of theirs for a range.
 */
static int ksnif_attr_validate(const struct ksnif_attr *attr,
			       const struct nlattr *nla,
			       struct netlink_ext_ack *extack)
{
	int err = ksnif_attr_check_string(attr, nla_data(nla));

	if (err) {
		NL_SET_BAD_ATTR(extack, nla);
		if (extack)
			extack->_msg = attr->refusal;
	}
	return err;
}

static int ksnif_capture_validate(const struct nlattr *nla,
				  struct netlink_ext_ack *extack)
{
	return ksnif_attr_validate(&ksnif_capture_attrs[nla_type(nla)], nla, extack);
}

static int ksnif_stats_validate(const struct nlattr *nla,
				struct netlink_ext_ack *extack)
{
	return ksnif_attr_validate(&ksnif_stats_attrs[nla_type(nla)], nla, extack);
}

/* KSNIF_CMD_GET */
static const struct nla_policy ksnif_get_nl_policy[KSNIF_A_CAPTURE_NAME + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
};

/* KSNIF_CMD_SET */
static const struct nla_policy ksnif_set_nl_policy[KSNIF_A_CAPTURE_SYNC_INTERVAL + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
	[KSNIF_A_CAPTURE_DEVICE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
	[KSNIF_A_CAPTURE_FAMILY] = { .type = NLA_U32 },
	[KSNIF_A_CAPTURE_LOGFILE] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
	[KSNIF_A_CAPTURE_SNAPLEN] = { .type = NLA_U32 },
	[KSNIF_A_CAPTURE_QUEUE_SIZE] = { .type = NLA_U64 },
	[KSNIF_A_CAPTURE_FORMAT] = { .type = NLA_U32 },
	[KSNIF_A_CAPTURE_IO] = { .type = NLA_U32 },
	[KSNIF_A_CAPTURE_SYNC_INTERVAL] = { .type = NLA_U32 },
};

/* KSNIF_CMD_START */
static const struct nla_policy ksnif_start_nl_policy[KSNIF_A_CAPTURE_NAME + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
};

/* KSNIF_CMD_STOP */
static const struct nla_policy ksnif_stop_nl_policy[KSNIF_A_CAPTURE_NAME + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
};

/* KSNIF_CMD_RESTART */
static const struct nla_policy ksnif_restart_nl_policy[KSNIF_A_CAPTURE_NAME + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
};

/* KSNIF_CMD_FLUSH */
static const struct nla_policy ksnif_flush_nl_policy[KSNIF_A_CAPTURE_NAME + 1] = {
	[KSNIF_A_CAPTURE_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_capture_validate),
};

/* KSNIF_CMD_STATS */
static const struct nla_policy ksnif_stats_nl_policy[KSNIF_A_STATS_NAME + 1] = {
	[KSNIF_A_STATS_NAME] =
		NLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, ksnif_stats_validate),
};

const struct genl_ops ksnif_nl_ops[7] = {
	{
		.cmd		= KSNIF_CMD_GET,
		.doit		= ksnif_nl_get_doit,
		.policy		= ksnif_get_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_SET,
		.doit		= ksnif_nl_set_doit,
		.policy		= ksnif_set_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_SYNC_INTERVAL,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_START,
		.doit		= ksnif_nl_command_doit,
		.policy		= ksnif_start_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_STOP,
		.doit		= ksnif_nl_command_doit,
		.policy		= ksnif_stop_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_RESTART,
		.doit		= ksnif_nl_command_doit,
		.policy		= ksnif_restart_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_FLUSH,
		.doit		= ksnif_nl_command_doit,
		.policy		= ksnif_flush_nl_policy,
		.maxattr	= KSNIF_A_CAPTURE_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= KSNIF_CMD_STATS,
		.doit		= ksnif_nl_stats_doit,
		.dumpit		= ksnif_nl_stats_dumpit,
		.policy		= ksnif_stats_nl_policy,
		.maxattr	= KSNIF_A_STATS_NAME,
		.flags		= GENL_ADMIN_PERM,
	},
};

const struct genl_multicast_group ksnif_nl_mcgrps[1] = {
	[KSNIF_NLGRP_EVENTS] = {
		.name	= KSNIF_MCGRP_EVENTS,
		.flags	= GENL_MCAST_CAP_NET_ADMIN,
	},
};
