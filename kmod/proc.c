// SPDX-License-Identifier: GPL-2.0
/*
 * Control through procfs, for machines and lessons without ksnifctl:
 *
 *   /proc/net/ksnif/status   what `ksnifctl status` tells, and the last refusal
 *   /proc/net/ksnif/control  one command a write: start, stop, restart, flush, NAME VALUE
 *
 * Behind it is the same code as behind netlink, with the same errnos and texts. As there,
 * one needs CAP_NET_ADMIN in the initial user namespace: whoever opened the file as well as
 * whoever uses it, so that an open file handed on gives nothing away.
 */
#include <linux/capability.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include "genl_gen.h"
#include "ksnif.h"

/* A command has room, and so have values that are too long: they get their own refusal. */
#define CONTROL_MAX	(2 * PATH_MAX)

static bool proc_allowed(const struct file *file)
{
	return file_ns_capable(file, &init_user_ns, CAP_NET_ADMIN) && capable(CAP_NET_ADMIN);
}

/* Lines as those of `ksnifctl status`; numbers are plain. */
static void show_text(struct seq_file *m, const char *name, const char *text)
{
	seq_printf(m, "%-19s ", name);
	seq_escape(m, text, "\n\\");
	seq_putc(m, '\n');
}

static void show_number(struct seq_file *m, const char *name, u64 value)
{
	seq_printf(m, "%-19s %llu\n", name, value);
}

static void show_enum(struct seq_file *m, int attr, u32 value)
{
	show_text(m, ksnif_capture_attrs[attr].name, ksnif_capture_attrs[attr].names[value]);
}

static void show_setting(struct seq_file *m, struct ksnif_settings *s, int attr)
{
	if (attr == KSNIF_A_CAPTURE_DEVICE_NAME)
		show_text(m, "device_name", s->device_name);
	else if (attr == KSNIF_A_CAPTURE_LOGFILE)
		show_text(m, "logfile", s->logfile);
	else if (ksnif_capture_attrs[attr].type == KSNIF_ATTR_ENUM)
		show_enum(m, attr, *ksnif_settings_number(s, attr));
	else
		show_number(m, ksnif_capture_attrs[attr].name, *ksnif_settings_number(s, attr));
}

static void show_state(struct seq_file *m, struct ksnif_status *st)
{
	int attr;

	show_text(m, "name", KSNIF_CAPTURE_NAME);
	show_enum(m, KSNIF_A_CAPTURE_STATE, st->state);
	if (st->error)
		seq_printf(m, "%-19s %pe\n", "errno", ERR_PTR(st->error));
	else
		show_text(m, "errno", "none");
	show_text(m, "unsynced", st->unsynced ? "yes" : "no");
	show_text(m, "torn", st->torn ? "yes" : "no");
	for (attr = ksnif_settings_next(0); attr; attr = ksnif_settings_next(attr))
		show_setting(m, &st->settings, attr);
	show_number(m, "file_size", st->file_size);
	show_number(m, "flush_wanted", st->flush_wanted);
	show_number(m, "flush_done", st->flush_done);
	show_number(m, "runs", st->runs);
	show_enum(m, KSNIF_A_CAPTURE_IO_USED, st->io_used);
}

/* The talk's three figures first, then the books. */
static void show_stats(struct seq_file *m, const struct ksnif_stats *st)
{
	static const int attrs[] = {
		KSNIF_A_STATS_RECEIVED, KSNIF_A_STATS_CAPTURED, KSNIF_A_STATS_ERRORS,
		KSNIF_A_STATS_FILTERED, KSNIF_A_STATS_DROPPED_QUEUE_FULL,
		KSNIF_A_STATS_DROPPED_NO_MEMORY, KSNIF_A_STATS_QUEUED, KSNIF_A_STATS_WRITTEN,
		KSNIF_A_STATS_DROPPED_WRITE, KSNIF_A_STATS_DISCARDED,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(attrs); i++)
		show_number(m, ksnif_stats_attrs[attrs[i]].name,
			    st->counters[KSNIF_COUNTER(attrs[i])]);
}

static int status_show(struct seq_file *m, void *v)
{
	static const char * const sees[] = {
		[KSNIF_IP_FAMILY_INET] = "IPv4 and IPv6, received packets only",
		[KSNIF_IP_FAMILY_IP] = "IPv4, received packets only",
		[KSNIF_IP_FAMILY_IP6] = "IPv6, received packets only",
	};
	struct ksnif_capture *cap = m->private;
	struct ksnif_stats stats;
	struct ksnif_status st;
	int err;

	if (!proc_allowed(m->file))
		return -EPERM;
	err = ksnif_capture_status(cap, &st, &stats);
	if (err)
		return err;
	show_state(m, &st);
	show_text(m, "sees", sees[st.settings.family]);
	show_stats(m, &stats);
	show_text(m, "last_error", READ_ONCE(cap->last_error) ?: "none");
	ksnif_settings_free(&st.settings);
	return 0;
}

static int status_open(struct inode *inode, struct file *file)
{
	return single_open(file, status_show, pde_data(inode));
}

static int control_set(struct ksnif_capture *cap, const char *name, const char *value,
		       struct netlink_ext_ack *extack)
{
	int attr = ksnif_attr_find(ksnif_capture_attrs, KSNIF_A_CAPTURE_MAX, name);
	struct ksnif_change change = {};
	u64 number;
	int err;

	if (attr <= KSNIF_A_CAPTURE_NAME)
		return ksnif_refuse(extack, -EINVAL, "control: no such setting");
	if (ksnif_capture_attrs[attr].type == KSNIF_ATTR_STRING) {
		err = ksnif_change_string(&change, attr, value, extack);
	} else {
		err = ksnif_attr_parse_number(&ksnif_capture_attrs[attr], value, &number);
		if (err)
			extack->_msg = ksnif_settings_refusal(attr);
		else
			err = ksnif_change_number(&change, attr, number, extack);
	}
	if (!err)
		err = ksnif_capture_set(cap, &change, extack);
	ksnif_change_free(&change);
	return err;
}

static int control_run(struct ksnif_capture *cap, char *line, struct netlink_ext_ack *extack)
{
	static const char * const commands[] = {
		[KSNIF_CMD_START] = "start", [KSNIF_CMD_STOP] = "stop",
		[KSNIF_CMD_RESTART] = "restart", [KSNIF_CMD_FLUSH] = "flush",
	};
	char *value = strchr(line, ' ');
	int cmd;

	if (value) {
		*value++ = '\0';
		return control_set(cap, line, value, extack);
	}
	for (cmd = 0; cmd < ARRAY_SIZE(commands); cmd++)
		if (commands[cmd] && !strcmp(line, commands[cmd]))
			return ksnif_capture_command(cap, cmd, extack);
	return ksnif_refuse(extack, -EINVAL,
			    "control: must be start, stop, restart, flush or NAME VALUE");
}

static int control_line(struct ksnif_capture *cap, const char __user *buf, size_t size,
			struct netlink_ext_ack *extack)
{
	char *line;
	int err;

	if (size > CONTROL_MAX)
		return ksnif_refuse(extack, -EINVAL, "control: too long for a command");
	line = memdup_user_nul(buf, size);
	if (IS_ERR(line))
		return PTR_ERR(line);
	if (size && line[size - 1] == '\n')
		line[--size] = '\0';
	if (strlen(line) != size || strchr(line, '\n'))
		err = ksnif_refuse(extack, -EINVAL, "control: must be one command");
	else
		err = control_run(cap, line, extack);
	kfree(line);
	return err;
}

static ssize_t control_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	struct ksnif_capture *cap = pde_data(file_inode(file));
	struct netlink_ext_ack extack = {};
	struct net *net = NULL;
	int err;

	if (!proc_allowed(file))
		return -EPERM;

	/* held across the command, so that the namespace does not exit under it */
	mutex_lock(&cap->lock);
	if (cap->net)
		net = maybe_get_net(cap->net);
	mutex_unlock(&cap->lock);
	if (!net)
		return -ENODEV;
	err = control_line(cap, buf, size, &extack);
	if (ksnif_explain(err, &extack))
		WRITE_ONCE(cap->last_error, extack._msg);
	put_net(net);
	return err ?: size;
}

static int control_open(struct inode *inode, struct file *file)
{
	return proc_allowed(file) ? 0 : -EPERM;
}

static const struct proc_ops status_ops = {
	.proc_open = status_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

static const struct proc_ops control_ops = {
	.proc_open = control_open,
	.proc_write = control_write,
	.proc_lseek = noop_llseek,
};

static int __net_init proc_net_init(struct net *net)
{
	struct proc_dir_entry *dir = proc_net_mkdir(net, "ksnif", net->proc_net);
	struct ksnif_capture *cap = ksnif_capture_of(net);

	if (dir && proc_create_data("status", 0400, dir, &status_ops, cap) &&
	    proc_create_data("control", 0200, dir, &control_ops, cap))
		return 0;
	remove_proc_subtree("ksnif", net->proc_net);
	return -ENOMEM;
}

/* Waits for reads and writes that are under way. */
static void __net_exit proc_net_exit(struct net *net)
{
	remove_proc_subtree("ksnif", net->proc_net);
}

static struct pernet_operations proc_net_ops = {
	.init = proc_net_init,
	.exit = proc_net_exit,
};

int __init ksnif_proc_register(void)
{
	return register_pernet_subsys(&proc_net_ops);
}

void ksnif_proc_unregister(void)
{
	unregister_pernet_subsys(&proc_net_ops);
}
