// SPDX-License-Identifier: GPL-2.0
/*
 * The settings: defaults, checks and the texts of refusals. Ranges of single values come
 * from the spec by way of genl_gen.c; what needs to know the machine or the state is here.
 */
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "genl_gen.h"
#include "ksnif.h"

#define ANY_DEVICE	"any"

/*
 * Limits of queue_size on this machine and the text that names them. KUnit of 6.1 runs the
 * module's tests before its init: hence first values.
 */
static u64 queue_size_min __ro_after_init = KSNIF_QUEUE_SIZE_MIN;
static u64 queue_size_max __ro_after_init = KSNIF_QUEUE_SIZE_MAX;
static char queue_size_text[64] __ro_after_init;

/* Find this machine's limits; at module init. */
void __init ksnif_settings_limits(void)
{
	queue_size_max = min_t(u64, KSNIF_QUEUE_SIZE_MAX, (u64)totalram_pages() * PAGE_SIZE / 4);
	queue_size_min = max_t(u64, KSNIF_QUEUE_SIZE_MIN, ksnif_queue_least());
	/* hundreds of CPUs' rings may need more than a quarter of a small machine */
	queue_size_max = max(queue_size_min, queue_size_max);
	scnprintf(queue_size_text, sizeof(queue_size_text), "queue_size: must be %llu..%llu",
		  queue_size_min, queue_size_max);
}

/* Set the defaults. 0 or -ENOMEM. */
int ksnif_settings_init(struct ksnif_settings *s)
{
	strscpy(s->device_name, ANY_DEVICE, sizeof(s->device_name));
	s->family = KSNIF_IP_FAMILY_INET;
	s->snaplen = KSNIF_SNAPLEN_MAX;
	/* more with hundreds of CPUs, so that the ring of one holds the 64K that GRO merges */
	s->queue_size = min(max_t(u64, 16 << 20, 4 * queue_size_min), queue_size_max);
	s->format = KSNIF_FORMAT_PCAPNG;
	s->io = KSNIF_IO_BUFFERED;
	s->sync_interval = 0;
	s->logfile = kstrdup("/var/log/ksnif.pcapng", GFP_KERNEL);
	return s->logfile ? 0 : -ENOMEM;
}

/* Copy into uninitialised settings. 0 or -ENOMEM. */
int ksnif_settings_copy(struct ksnif_settings *to, const struct ksnif_settings *from)
{
	*to = *from;
	to->logfile = kstrdup(from->logfile, GFP_KERNEL);
	return to->logfile ? 0 : -ENOMEM;
}

void ksnif_settings_free(struct ksnif_settings *s)
{
	kfree(s->logfile);
	s->logfile = NULL;
}

bool ksnif_settings_any_device(const struct ksnif_settings *s)
{
	return !strcmp(s->device_name, ANY_DEVICE);
}

/* The setting behind @attr in the order of their numbers, KSNIF_A_CAPTURE_*; 0 at the end. */
int ksnif_settings_next(int attr)
{
	/* the capture's name is no setting, and what no request carries has no refusal */
	for (attr = max_t(int, attr, KSNIF_A_CAPTURE_NAME) + 1; attr <= KSNIF_A_CAPTURE_MAX; attr++)
		if (ksnif_capture_attrs[attr].refusal)
			return attr;
	return 0;
}

/* Where the setting @attr, KSNIF_A_CAPTURE_*, which is a number or an enum, is kept. */
u64 *ksnif_settings_number(struct ksnif_settings *s, int attr)
{
	static const size_t offset[] = {
		[KSNIF_A_CAPTURE_FAMILY] = offsetof(struct ksnif_settings, family),
		[KSNIF_A_CAPTURE_SNAPLEN] = offsetof(struct ksnif_settings, snaplen),
		[KSNIF_A_CAPTURE_QUEUE_SIZE] = offsetof(struct ksnif_settings, queue_size),
		[KSNIF_A_CAPTURE_FORMAT] = offsetof(struct ksnif_settings, format),
		[KSNIF_A_CAPTURE_IO] = offsetof(struct ksnif_settings, io),
		[KSNIF_A_CAPTURE_SYNC_INTERVAL] = offsetof(struct ksnif_settings, sync_interval),
	};

	return (void *)s + offset[attr];
}

static int change_logfile(struct ksnif_change *change, const char *value,
			  struct netlink_ext_ack *extack)
{
	if (value[0] != '/')
		return ksnif_refuse(extack, -EINVAL, "logfile: must be an absolute path");
	change->to.logfile = kstrdup(value, GFP_KERNEL);
	return change->to.logfile ? 0 : -ENOMEM;
}

/* Note a string setting's new text. @attr is KSNIF_A_CAPTURE_*. 0 or a negative errno. */
int ksnif_change_string(struct ksnif_change *change, int attr, const char *value,
			struct netlink_ext_ack *extack)
{
	int err = ksnif_attr_check_string(&ksnif_capture_attrs[attr], value);

	if (err)
		return ksnif_refuse(extack, err, ksnif_capture_attrs[attr].refusal);
	change->mask |= BIT(attr);
	if (attr == KSNIF_A_CAPTURE_LOGFILE)
		return change_logfile(change, value, extack);

	if (!dev_valid_name(value))
		return ksnif_refuse(extack, -EINVAL, "device_name: no device can have that name");
	strscpy(change->to.device_name, value, sizeof(change->to.device_name));
	return 0;
}

/* Why a value of that setting, KSNIF_A_CAPTURE_*, is refused. */
const char *ksnif_settings_refusal(int attr)
{
	return attr == KSNIF_A_CAPTURE_QUEUE_SIZE ? queue_size_text :
	       ksnif_capture_attrs[attr].refusal;
}

/* Note a number's or an enum's new value. @attr is KSNIF_A_CAPTURE_*. 0 or negative errno. */
int ksnif_change_number(struct ksnif_change *change, int attr, u64 value,
			struct netlink_ext_ack *extack)
{
	int err = ksnif_attr_check_number(&ksnif_capture_attrs[attr], value);

	if (!err && attr == KSNIF_A_CAPTURE_QUEUE_SIZE &&
	    (value < queue_size_min || value > queue_size_max))
		err = -ERANGE;
	if (err)
		return ksnif_refuse(extack, err, ksnif_settings_refusal(attr));
	if (attr == KSNIF_A_CAPTURE_SNAPLEN && !value)
		value = KSNIF_SNAPLEN_MAX;
	change->mask |= BIT(attr);
	*ksnif_settings_number(&change->to, attr) = value;
	return 0;
}

/* May the settings change in this state? 0 or -EBUSY. */
int ksnif_change_allowed(const struct ksnif_change *change, enum ksnif_state state,
			 struct netlink_ext_ack *extack)
{
	unsigned long refused = change->mask & ~BIT(KSNIF_A_CAPTURE_SNAPLEN);

	switch (state) {
	case KSNIF_STATE_RUNNING:
		if (!refused)
			return 0;
		return ksnif_refuse(extack, -EBUSY, ksnif_capture_attrs[__ffs(refused)].busy);
	case KSNIF_STATE_STOPPING:
		return ksnif_refuse(extack, -EBUSY,
				    "set: the capture is stopping: settings cannot change");
	default:
		return 0;
	}
}

/* Cannot fail. @change's allocation moves to @s. */
void ksnif_change_apply(struct ksnif_change *change, struct ksnif_settings *s)
{
	unsigned int attr;

	for_each_set_bit(attr, &change->mask, BITS_PER_LONG) {
		if (attr == KSNIF_A_CAPTURE_LOGFILE)
			swap(s->logfile, change->to.logfile);
		else if (attr == KSNIF_A_CAPTURE_DEVICE_NAME)
			memcpy(s->device_name, change->to.device_name, sizeof(s->device_name));
		else
			*ksnif_settings_number(s, attr) = *ksnif_settings_number(&change->to, attr);
	}
}

void ksnif_change_free(struct ksnif_change *change)
{
	ksnif_settings_free(&change->to);
}
