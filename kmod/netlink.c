// SPDX-License-Identifier: GPL-2.0
/*
 * The control interface: the generic netlink family. What it looks like is described in
 * genl/ksnif.yaml; genl_gen.c, made from that, has the policies and the table of operations,
 * and this file the handlers.
 */
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "genl_gen.h"
#include "ksnif.h"

static struct genl_family ksnif_family;

/* Set while the family is registered: nothing is sent after it is gone. */
static DEFINE_MUTEX(events_lock);
static bool events_on;

/*
 * The capture that a request means, once the request is in order. Every request has its
 * capture's name as attribute 1.
 */
static struct ksnif_capture *find_capture(struct net *net, const struct nlmsghdr *nlh,
					  struct nlattr **attrs, struct netlink_ext_ack *extack)
{
	const struct nlattr *name = attrs[KSNIF_A_CAPTURE_NAME];
	int err;

	BUILD_BUG_ON((int)KSNIF_A_CAPTURE_NAME != (int)KSNIF_A_STATS_NAME);
	err = ksnif_attr_check_twice(ksnif_capture_attrs, KSNIF_A_CAPTURE_MAX, nlh, extack);
	if (err)
		return ERR_PTR(err);
	if (name && nla_strcmp(name, KSNIF_CAPTURE_NAME)) {
		NL_SET_ERR_MSG_ATTR(extack, name, "name: the only capture is default");
		return ERR_PTR(-EOPNOTSUPP);
	}
	return ksnif_capture_of(net);
}

static struct ksnif_capture *info_capture(struct genl_info *info)
{
	return find_capture(genl_info_net(info), info->nlhdr, info->attrs, info->extack);
}

/* A message that @put fills from @arg; NULL without memory. */
static struct sk_buff *message(u32 portid, u32 seq, u8 cmd, size_t size,
			       int (*put)(struct sk_buff *skb, void *arg), void *arg)
{
	struct sk_buff *msg = genlmsg_new(size, GFP_KERNEL);
	void *hdr = msg ? genlmsg_put(msg, portid, seq, &ksnif_family, 0, cmd) : NULL;

	if (!hdr || put(msg, arg)) {
		nlmsg_free(msg);
		return NULL;
	}
	genlmsg_end(msg, hdr);
	return msg;
}

static int reply(struct genl_info *info, u8 cmd, size_t size,
		 int (*put)(struct sk_buff *skb, void *arg), void *arg)
{
	struct sk_buff *msg = message(info->snd_portid, info->snd_seq, cmd, size, put, arg);

	return msg ? genlmsg_reply(msg, info) : -ENOMEM;
}

static int put_number(struct sk_buff *skb, int attr, u64 value)
{
	return ksnif_capture_attrs[attr].type == KSNIF_ATTR_U64 ?
	       nla_put_u64_64bit(skb, attr, value, 0) : nla_put_u32(skb, attr, value);
}

/* All but logfile, which events must not tell. */
static int put_settings(struct sk_buff *skb, struct ksnif_settings *s)
{
	int attr, err = nla_put_string(skb, KSNIF_A_CAPTURE_DEVICE_NAME, s->device_name);

	for (attr = ksnif_settings_next(0); attr && !err; attr = ksnif_settings_next(attr))
		if (ksnif_capture_attrs[attr].type != KSNIF_ATTR_STRING)
			err = put_number(skb, attr, *ksnif_settings_number(s, attr));
	return err;
}

static int put_state(struct sk_buff *skb, const struct ksnif_status *st)
{
	return put_number(skb, KSNIF_A_CAPTURE_STATE, st->state) ?:
	       put_number(skb, KSNIF_A_CAPTURE_ERRNO, -st->error) ?:
	       put_number(skb, KSNIF_A_CAPTURE_UNSYNCED, st->unsynced) ?:
	       put_number(skb, KSNIF_A_CAPTURE_TORN, st->torn);
}

static int put_status(struct sk_buff *skb, void *arg)
{
	struct ksnif_status *st = arg;

	return nla_put_string(skb, KSNIF_A_CAPTURE_NAME, KSNIF_CAPTURE_NAME) ?:
	       nla_put_string(skb, KSNIF_A_CAPTURE_LOGFILE, st->settings.logfile) ?:
	       put_number(skb, KSNIF_A_CAPTURE_FILE_SIZE, st->file_size) ?:
	       put_number(skb, KSNIF_A_CAPTURE_FLUSH_WANTED, st->flush_wanted) ?:
	       put_number(skb, KSNIF_A_CAPTURE_FLUSH_DONE, st->flush_done) ?:
	       put_number(skb, KSNIF_A_CAPTURE_RUNS, st->runs) ?:
	       put_number(skb, KSNIF_A_CAPTURE_IO_USED, st->io_used) ?:
	       put_settings(skb, &st->settings) ?: put_state(skb, st);
}

int ksnif_nl_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct ksnif_capture *cap = info_capture(info);
	struct ksnif_status st;
	int err;

	if (IS_ERR(cap))
		return PTR_ERR(cap);
	if (ksnif_capture_status(cap, &st, NULL))
		return -ENOMEM;
	/* 512 bytes hold all but the path with ease */
	err = reply(info, KSNIF_CMD_GET, nla_total_size(strlen(st.settings.logfile) + 1) + 512,
		    put_status, &st);
	ksnif_settings_free(&st.settings);
	return err;
}

static u64 get_number(const struct nlattr *nla)
{
	return nla_len(nla) == sizeof(u64) ? nla_get_u64(nla) : nla_get_u32(nla);
}

static int get_change(struct genl_info *info, struct ksnif_change *change)
{
	int attr, err = 0;

	for (attr = ksnif_settings_next(0); attr && !err; attr = ksnif_settings_next(attr)) {
		const struct nlattr *nla = info->attrs[attr];

		if (!nla)
			continue;
		if (ksnif_capture_attrs[attr].type == KSNIF_ATTR_STRING)
			err = ksnif_change_string(change, attr, nla_data(nla), info->extack);
		else
			err = ksnif_change_number(change, attr, get_number(nla), info->extack);
		if (err)
			NL_SET_BAD_ATTR(info->extack, nla);
	}
	if (!err && !change->mask)
		err = ksnif_refuse(info->extack, -EINVAL, "set: no setting given");
	return err;
}

int ksnif_nl_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct ksnif_capture *cap = info_capture(info);
	struct ksnif_change change = {};
	int err;

	if (IS_ERR(cap))
		return PTR_ERR(cap);
	err = get_change(info, &change);
	if (!err)
		err = ksnif_capture_set(cap, &change, info->extack);
	ksnif_change_free(&change);
	return ksnif_explain(err, info->extack);
}

/* start, stop, restart and flush */
int ksnif_nl_command_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct ksnif_capture *cap = info_capture(info);

	return IS_ERR(cap) ? PTR_ERR(cap) :
	       ksnif_capture_command(cap, info->genlhdr->cmd, info->extack);
}

/* The counters from received up to @last, which are numbered in a row. */
static int put_stats(struct sk_buff *skb, const struct ksnif_stats *st, int last)
{
	int attr, err = nla_put_string(skb, KSNIF_A_STATS_NAME, KSNIF_CAPTURE_NAME);

	for (attr = KSNIF_A_STATS_RECEIVED; attr <= last && !err; attr++)
		err = nla_put_u64_64bit(skb, attr, st->counters[KSNIF_COUNTER(attr)], 0);
	return err;
}

static int put_all_stats(struct sk_buff *skb, void *arg)
{
	return put_stats(skb, arg, KSNIF_A_STATS_ERRORS);
}

int ksnif_nl_stats_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct ksnif_capture *cap = info_capture(info);
	struct ksnif_stats st;

	if (IS_ERR(cap))
		return PTR_ERR(cap);
	ksnif_capture_stats(cap, &st, -1);
	return reply(info, KSNIF_CMD_STATS, NLMSG_DEFAULT_SIZE, put_all_stats, &st);
}

/* cb->args[0] is the next CPU, cb->args[1] says that the request was found in order. */
int ksnif_nl_stats_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct ksnif_capture *cap = ksnif_capture_of(sock_net(skb->sk));
	struct ksnif_stats st;
	unsigned int cpu;
	void *hdr;

	if (!cb->args[1]) {
		cap = find_capture(sock_net(skb->sk), cb->nlh, ksnif_dump_attrs(cb), cb->extack);
		if (IS_ERR(cap))
			return PTR_ERR(cap);
		cb->args[1] = 1;
	}
	for (cpu = cpumask_next(cb->args[0] - 1, cpu_possible_mask); cpu < nr_cpu_ids;
	     cpu = cpumask_next(cpu, cpu_possible_mask)) {
		cb->seq = ksnif_capture_stats(cap, &st, cpu) + 1;	/* 0 is no number */
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &ksnif_family, NLM_F_MULTI, KSNIF_CMD_STATS);
		if (!hdr)
			break;
		if (nla_put_u32(skb, KSNIF_A_STATS_CPU, cpu) ||
		    put_stats(skb, &st, KSNIF_A_STATS_DROPPED_NO_MEMORY)) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genl_dump_check_consistent(cb, hdr);
		genlmsg_end(skb, hdr);
	}
	cb->args[0] = cpu;
	return skb->len;
}

struct event {
	struct ksnif_capture *cap;
	u8 cmd;
};

static int put_event(struct sk_buff *skb, void *arg)
{
	struct event *event = arg;
	struct ksnif_capture *cap = event->cap;
	struct ksnif_status st = { .state = cap->state };

	if (nla_put_string(skb, KSNIF_A_CAPTURE_NAME, KSNIF_CAPTURE_NAME))
		return -EMSGSIZE;
	switch (event->cmd) {
	case KSNIF_CMD_DEVICE_GONE:
	case KSNIF_CMD_DEVICE_BACK:
		return nla_put_string(skb, KSNIF_A_CAPTURE_DEVICE_NAME,
				      cap->run->settings.device_name);
	case KSNIF_CMD_SETTINGS_CHANGED:
		return put_settings(skb, &cap->settings);
	default:
		ksnif_run_result(cap->run, &st);
		return put_state(skb, &st);
	}
}

/*
 * Tell whoever listens in the capture's namespace: KSNIF_CMD_STARTED or one behind it. Under
 * cap->lock. A lost event is no error: nobody is owed one.
 */
void ksnif_netlink_event(struct ksnif_capture *cap, u8 cmd)
{
	struct event event = { .cap = cap, .cmd = cmd };
	struct sk_buff *msg = NULL;

	lockdep_assert_held(&cap->lock);
	mutex_lock(&events_lock);
	if (events_on && cap->net)
		msg = message(0, 0, cmd, NLMSG_DEFAULT_SIZE, put_event, &event);
	if (msg)
		genlmsg_multicast_netns(&ksnif_family, cap->net, msg, 0, KSNIF_NLGRP_EVENTS,
					GFP_KERNEL);
	mutex_unlock(&events_lock);
}

static struct genl_family ksnif_family __ro_after_init = {
	.name = KSNIF_FAMILY_NAME,
	.version = KSNIF_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,	/* every capture has locks of its own */
	.module = THIS_MODULE,
	.ops = ksnif_nl_ops,
	.n_ops = ARRAY_SIZE(ksnif_nl_ops),
	.mcgrps = ksnif_nl_mcgrps,
	.n_mcgrps = ARRAY_SIZE(ksnif_nl_mcgrps),
};

static void events_switch(bool on)
{
	mutex_lock(&events_lock);
	events_on = on;
	mutex_unlock(&events_lock);
}

/* Let commands in; last at module init. */
int __init ksnif_netlink_register(void)
{
	int err = genl_register_family(&ksnif_family);

	if (!err)
		events_switch(true);
	return err;
}

/* Let no command in, send nothing more; first at exit. */
void ksnif_netlink_unregister(void)
{
	events_switch(false);
	genl_unregister_family(&ksnif_family);
}
