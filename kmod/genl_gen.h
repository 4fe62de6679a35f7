/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	genl/ksnif.yaml */
/* by genl/gen: run make gen */

#ifndef _KSNIF_GENL_GEN_H
#define _KSNIF_GENL_GEN_H

#include <net/genetlink.h>
#include <net/netlink.h>

#include "uapi/ksnif.h"

/* How an attribute's payload is read. An enum is a u32 that has names. */
enum ksnif_attr_type {
	KSNIF_ATTR_STRING,
	KSNIF_ATTR_U32,
	KSNIF_ATTR_U64,
	KSNIF_ATTR_ENUM,
};

/**
 * struct ksnif_attr - what is known about one attribute
 * @name: name in the spec, in procfs and in texts; NULL in empty entries
 * @type: type of the payload
 * @names: for enums, the text of each value, 0..@max; else NULL
 * @min: least value, or length of a string without its terminator
 * @max: greatest value, or length
 * @refusal: why a value is refused, such as "snaplen: must be 0..262144"; NULL
 *	if no request carries the attribute
 * @twice: text for a request that carries the attribute twice
 * @busy: text for a request that would change it while a capture runs
 *
 * Netlink and procfs read the same table, so that both refuse the same values
 * with the same errno and text. The policies check strings with it; numbers are
 * for the handlers to check, with ksnif_attr_check_number().
 *
 * Procfs, for the line `NAME VALUE`::
 *
 *	nr = ksnif_attr_find(ksnif_capture_attrs, KSNIF_A_CAPTURE_MAX, name);
 *	if (nr < 0)
 *		return nr;
 *	attr = &ksnif_capture_attrs[nr];
 *	if (attr->type == KSNIF_ATTR_STRING)
 *		err = ksnif_attr_check_string(attr, value);
 *	else
 *		err = ksnif_attr_parse_number(attr, value, &number);
 *	if (err)
 *		last_error = attr->refusal;
 */
struct ksnif_attr {
	const char *name;
	enum ksnif_attr_type type;
	const char * const *names;
	u64 min;
	u64 max;
	const char *refusal;
	const char *twice;
	const char *busy;
};

/**
 * ksnif_attr_find() - number of the attribute of a name
 * @attrs: table to search
 * @max: greatest number in the table
 * @name: name to look for
 *
 * Return: the number, or -EINVAL if no request may carry such an attribute.
 */
int ksnif_attr_find(const struct ksnif_attr *attrs, int max, const char *name);

/**
 * ksnif_attr_check_number() - check a number or an enum's value
 * @attr: attribute it is for
 * @value: the value
 *
 * Return: 0, -ERANGE for a number and -EINVAL for an enum; @attr->refusal says
 * why.
 */
int ksnif_attr_check_number(const struct ksnif_attr *attr, u64 value);

/**
 * ksnif_attr_check_string() - check a string's length
 * @attr: attribute it is for
 * @value: terminated string
 *
 * Return: 0 or -ERANGE; @attr->refusal says why.
 */
int ksnif_attr_check_string(const struct ksnif_attr *attr, const char *value);

/**
 * ksnif_attr_parse_number() - read a decimal number or an enum's name, checked
 * @attr: attribute it is for
 * @text: terminated text
 * @value: set on success only
 *
 * Return: 0, -ERANGE for a number out of range, -EINVAL for what is no number
 * or no name of the enum; @attr->refusal says why.
 */
int ksnif_attr_parse_number(const struct ksnif_attr *attr, const char *text,
			    u64 *value);

/**
 * ksnif_attr_check_twice() - refuse a request that repeats an attribute
 * @attrs: table of the request's attributes
 * @max: greatest number in the table, below 64
 * @nlh: the request
 * @extack: gets the text and the second attribute
 *
 * The core keeps only the last one of a kind, so this looks at the message.
 *
 * Return: 0 or -EINVAL.
 */
int ksnif_attr_check_twice(const struct ksnif_attr *attrs, int max,
			   const struct nlmsghdr *nlh,
			   struct netlink_ext_ack *extack);

/* Indexed by attribute number; entry 0 is empty. */
extern const struct ksnif_attr ksnif_capture_attrs[KSNIF_A_CAPTURE_MAX + 1];
extern const struct ksnif_attr ksnif_stats_attrs[KSNIF_A_STATS_MAX + 1];

/* Handlers, written by hand. */
int ksnif_nl_get_doit(struct sk_buff *skb, struct genl_info *info);
int ksnif_nl_set_doit(struct sk_buff *skb, struct genl_info *info);
int ksnif_nl_command_doit(struct sk_buff *skb, struct genl_info *info);
int ksnif_nl_stats_doit(struct sk_buff *skb, struct genl_info *info);
int ksnif_nl_stats_dumpit(struct sk_buff *skb, struct netlink_callback *cb);

/* Numbers of the multicast groups, as genlmsg_multicast_netns() wants them. */
enum {
	KSNIF_NLGRP_EVENTS,
};

/* For .ops and .mcgrps of the family; ARRAY_SIZE() works on both. */
extern const struct genl_ops ksnif_nl_ops[7];
extern const struct genl_multicast_group ksnif_nl_mcgrps[1];

#endif /* _KSNIF_GENL_GEN_H */
