// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what is pure: the encoders, the checks of settings, the queue. Part of the
 * module where CONFIG_KSNIF_KUNIT_TEST asks for it; they run when it is loaded.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "ksnif_test.h"

/* ---- pcapng and pcap --------------------------------------------------------- */

static void section_test(struct kunit *test)
{
	u8 *to = kunit_kzalloc(test, KSNIF_BLOCK_MAX, GFP_KERNEL);
	size_t len = ksnif_pcapng_section(to);

	KUNIT_EXPECT_LE(test, len, (size_t)KSNIF_BLOCK_MAX);
	expect_frame(test, to, 0x0a0d0d0a, len);
	KUNIT_EXPECT_EQ(test, get32(to + 8), 0x1a2b3c4dU);
	KUNIT_EXPECT_EQ(test, get16(to + 12), (u16)1);
	KUNIT_EXPECT_EQ(test, get16(to + 14), (u16)0);
	KUNIT_EXPECT_EQ(test, get64(to + 16), ~0ULL);
	KUNIT_EXPECT_NOT_NULL(test, find_option(to + 24, 4));
}

static void interface_test(struct kunit *test)
{
	static const char * const names[] = { "a", "eth0", "veth1", "abcdefghijklmno" };
	u8 *to = kunit_kzalloc(test, KSNIF_BLOCK_MAX, GFP_KERNEL);
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = ksnif_pcapng_interface(to, names[i], KSNIF_LINKTYPE_RAW);
		const u8 *name = find_option(to + 16, 2);

		expect_frame(test, to, 1, len);
		KUNIT_EXPECT_EQ(test, get16(to + 8), (u16)KSNIF_LINKTYPE_RAW);
		KUNIT_EXPECT_EQ(test, get32(to + 12), (u32)KSNIF_SNAPLEN_MAX);
		KUNIT_ASSERT_NOT_NULL(test, name);
		KUNIT_EXPECT_EQ(test, (size_t)get16(name - 2), strlen(names[i]));
		KUNIT_EXPECT_EQ(test, memcmp(name, names[i], strlen(names[i])), 0);
		KUNIT_EXPECT_EQ(test, *find_option(to + 16, 9), (u8)9);
	}
}

static void padding_test(struct kunit *test)
{
	static const u32 lengths[] = { 12, 16, 4096, 4104 };
	u8 *to = kunit_kzalloc(test, 4112, GFP_KERNEL);
	int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		memset(to, 0xff, 4112);
		ksnif_pcapng_padding(to, lengths[i]);
		expect_frame(test, to, 0xc0000bad, lengths[i]);
		KUNIT_EXPECT_PTR_EQ(test, memchr_inv(to + 8, 0, lengths[i] - 12), NULL);
		KUNIT_EXPECT_EQ(test, to[lengths[i]], (u8)0xff);
	}
}

/* What the writer reads of a block is what the hook wrote. */
static void block_test(struct kunit *test)
{
	u8 *to = kunit_kzalloc(test, 512, GFP_KERNEL);
	struct ksnif_block block;
	size_t len;

	len = make_packet(KSNIF_FORMAT_PCAPNG, to, 5, 61, 9, 0x0123456789abcdefULL);
	block = ksnif_block_read(KSNIF_FORMAT_PCAPNG, to);
	KUNIT_EXPECT_TRUE(test, block.packet);
	KUNIT_EXPECT_EQ(test, block.len, (u32)len);
	KUNIT_EXPECT_EQ(test, block.id, 5U);
	KUNIT_EXPECT_EQ(test, ksnif_packet_time(KSNIF_FORMAT_PCAPNG, to), 0x0123456789abcdefULL);

	len = ksnif_pcapng_interface(to, "eth0", KSNIF_LINKTYPE_RAW);
	block = ksnif_block_read(KSNIF_FORMAT_PCAPNG, to);
	KUNIT_EXPECT_FALSE(test, block.packet);
	KUNIT_EXPECT_EQ(test, block.len, (u32)len);

	len = make_packet(KSNIF_FORMAT_PCAP, to, 0, 61, 9, 1700000000999999999ULL);
	block = ksnif_block_read(KSNIF_FORMAT_PCAP, to);
	KUNIT_EXPECT_TRUE(test, block.packet);
	KUNIT_EXPECT_EQ(test, block.len, (u32)len);
	KUNIT_EXPECT_EQ(test, block.id, 0U);
	KUNIT_EXPECT_EQ(test, ksnif_packet_time(KSNIF_FORMAT_PCAP, to), 1700000000999999999ULL);
}

static void statistics_test(struct kunit *test)
{
	struct ksnif_stats st = {
		.received = 1000, .filtered = 10, .captured = 900, .dropped_queue_full = 60,
		.dropped_no_memory = 30, .written = 880, .dropped_write = 20,
	};
	u8 *to = kunit_kzalloc(test, KSNIF_BLOCK_MAX, GFP_KERNEL);
	size_t len = ksnif_pcapng_statistics(to, 2, 0x1122334455667788ULL, &st);

	expect_frame(test, to, 5, len);
	KUNIT_EXPECT_EQ(test, get32(to + 8), 2U);
	KUNIT_EXPECT_EQ(test, get32(to + 12), 0x11223344U);
	KUNIT_EXPECT_EQ(test, get32(to + 16), 0x55667788U);
	KUNIT_EXPECT_EQ(test, get64(find_option(to + 20, 4)), 1000ULL);
	KUNIT_EXPECT_EQ(test, get64(find_option(to + 20, 6)), 990ULL);
	KUNIT_EXPECT_EQ(test, get64(find_option(to + 20, 7)), 110ULL);
	KUNIT_EXPECT_EQ(test, get64(find_option(to + 20, 8)), 880ULL);
}

static void pcap_header_test(struct kunit *test)
{
	u8 to[32];

	KUNIT_EXPECT_EQ(test, ksnif_pcap_header(to, KSNIF_LINKTYPE_ETHERNET), (size_t)24);
	KUNIT_EXPECT_EQ(test, get32(to), 0xa1b23c4dU);
	KUNIT_EXPECT_EQ(test, get16(to + 4), (u16)2);
	KUNIT_EXPECT_EQ(test, get16(to + 6), (u16)4);
	KUNIT_EXPECT_EQ(test, get64(to + 8), 0ULL);
	KUNIT_EXPECT_EQ(test, get32(to + 16), (u32)KSNIF_SNAPLEN_MAX);
	KUNIT_EXPECT_EQ(test, get32(to + 20), (u32)KSNIF_LINKTYPE_ETHERNET);
}

/* ---- settings ---------------------------------------------------------------- */

static void number_test(struct kunit *test)
{
	static const struct {
		int attr;
		u64 value;
		int err;
	} rows[] = {
		{ KSNIF_A_CAPTURE_SNAPLEN, 0, 0 },
		{ KSNIF_A_CAPTURE_SNAPLEN, 1, 0 },
		{ KSNIF_A_CAPTURE_SNAPLEN, KSNIF_SNAPLEN_MAX, 0 },
		{ KSNIF_A_CAPTURE_SNAPLEN, KSNIF_SNAPLEN_MAX + 1, -ERANGE },
		{ KSNIF_A_CAPTURE_SNAPLEN, U64_MAX, -ERANGE },
		{ KSNIF_A_CAPTURE_QUEUE_SIZE, KSNIF_QUEUE_SIZE_MIN - 1, -ERANGE },
		{ KSNIF_A_CAPTURE_QUEUE_SIZE, KSNIF_QUEUE_SIZE_MIN, 0 },
		{ KSNIF_A_CAPTURE_QUEUE_SIZE, KSNIF_QUEUE_SIZE_MAX + 1, -ERANGE },
		{ KSNIF_A_CAPTURE_FAMILY, KSNIF_IP_FAMILY_IP6, 0 },
		{ KSNIF_A_CAPTURE_FAMILY, KSNIF_IP_FAMILY_IP6 + 1, -EINVAL },
		{ KSNIF_A_CAPTURE_FORMAT, KSNIF_FORMAT_PCAP + 1, -EINVAL },
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_DISCARD, 0 },
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_DIRECT, 0 },
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_AUTO, 0 },
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_DISCARD + 1, -EINVAL },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ksnif_change change = {};
		struct netlink_ext_ack extack = {};
		int err = ksnif_change_number(&change, rows[i].attr, rows[i].value, &extack);

		KUNIT_EXPECT_EQ_MSG(test, err, rows[i].err, "row %d", i);
		/* a refusal says why */
		KUNIT_EXPECT_EQ_MSG(test, !extack._msg, !err, "row %d", i);
	}
}

static void string_test(struct kunit *test)
{
	static const struct {
		int attr;
		const char *value;
		int err;
	} rows[] = {
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "any", 0 },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "abcdefghijklmno", 0 },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "abcdefghijklmnop", -ERANGE },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "", -ERANGE },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "a/b", -EINVAL },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "a b", -EINVAL },
		{ KSNIF_A_CAPTURE_DEVICE_NAME, "..", -EINVAL },
		{ KSNIF_A_CAPTURE_LOGFILE, "/a", 0 },
		{ KSNIF_A_CAPTURE_LOGFILE, "a", -EINVAL },
		{ KSNIF_A_CAPTURE_LOGFILE, "", -ERANGE },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ksnif_change change = {};
		struct netlink_ext_ack extack = {};
		int err = ksnif_change_string(&change, rows[i].attr, rows[i].value, &extack);

		KUNIT_EXPECT_EQ_MSG(test, err, rows[i].err, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, !extack._msg, !err, "row %d", i);
		ksnif_change_free(&change);
	}
}

static void allowed_test(struct kunit *test)
{
	static const struct {
		enum ksnif_state state;
		int attr;
		int err;
	} rows[] = {
		{ KSNIF_STATE_STOPPED, KSNIF_A_CAPTURE_LOGFILE, 0 },
		{ KSNIF_STATE_FAILED, KSNIF_A_CAPTURE_LOGFILE, 0 },
		{ KSNIF_STATE_RUNNING, KSNIF_A_CAPTURE_SNAPLEN, 0 },
		{ KSNIF_STATE_RUNNING, KSNIF_A_CAPTURE_LOGFILE, -EBUSY },
		{ KSNIF_STATE_RUNNING, KSNIF_A_CAPTURE_IO, -EBUSY },
		{ KSNIF_STATE_STOPPING, KSNIF_A_CAPTURE_SNAPLEN, -EBUSY },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ksnif_change change = { .mask = BIT(rows[i].attr) };
		struct netlink_ext_ack extack = {};

		KUNIT_EXPECT_EQ_MSG(test, ksnif_change_allowed(&change, rows[i].state, &extack),
				    rows[i].err, "row %d", i);
		KUNIT_EXPECT_EQ_MSG(test, !extack._msg, !rows[i].err, "row %d", i);
	}
}

static void apply_test(struct kunit *test)
{
	struct netlink_ext_ack extack = {};
	struct ksnif_change change = {};
	struct ksnif_settings s;

	KUNIT_ASSERT_EQ(test, ksnif_settings_init(&s), 0);
	KUNIT_EXPECT_TRUE(test, ksnif_settings_any_device(&s));
	KUNIT_EXPECT_EQ(test, ksnif_change_number(&change, KSNIF_A_CAPTURE_SNAPLEN, 0, &extack), 0);
	KUNIT_EXPECT_EQ(test, ksnif_change_string(&change, KSNIF_A_CAPTURE_LOGFILE, "/x", &extack),
			0);
	ksnif_change_apply(&change, &s);
	KUNIT_EXPECT_EQ(test, s.snaplen, (u32)KSNIF_SNAPLEN_MAX);	/* 0 means all */
	KUNIT_EXPECT_STREQ(test, s.logfile, "/x");
	KUNIT_EXPECT_TRUE(test, ksnif_settings_any_device(&s));
	ksnif_change_free(&change);
	ksnif_settings_free(&s);
}

static void parse_test(struct kunit *test)
{
	const struct ksnif_attr *snaplen = &ksnif_capture_attrs[KSNIF_A_CAPTURE_SNAPLEN];
	const struct ksnif_attr *format = &ksnif_capture_attrs[KSNIF_A_CAPTURE_FORMAT];
	u64 v = 42;

	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "96", &v), 0);
	KUNIT_EXPECT_EQ(test, v, 96ULL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "300000", &v), -ERANGE);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "-1", &v), -EINVAL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "96x", &v), -EINVAL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "0x60", &v), -EINVAL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(snaplen, "", &v), -EINVAL);
	KUNIT_EXPECT_EQ(test, v, 96ULL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(format, "pcap", &v), 0);
	KUNIT_EXPECT_EQ(test, v, (u64)KSNIF_FORMAT_PCAP);
	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(format, "PCAP", &v), -EINVAL);
	KUNIT_EXPECT_EQ(test, ksnif_attr_find(ksnif_capture_attrs, KSNIF_A_CAPTURE_MAX, "io"),
			KSNIF_A_CAPTURE_IO);
	/* what no request carries is no setting */
	KUNIT_EXPECT_LT(test, ksnif_attr_find(ksnif_capture_attrs, KSNIF_A_CAPTURE_MAX, "state"),
			0);
}

/* ---- queue ------------------------------------------------------------------- */

/* The smallest queue whose share for this CPU is 64 KB or more. */
static struct ksnif_queue *make_queue(struct kunit *test, u64 *size)
{
	struct ksnif_queue *q;

	*size = max_t(u64, KSNIF_QUEUE_SIZE_MIN, 2 * ksnif_queue_least());
	q = ksnif_queue_alloc(*size, KSNIF_FORMAT_PCAPNG);
	KUNIT_ASSERT_NOT_NULL(test, q);
	return q;
}

/* Order is kept, the writer is woken for the first and for no other. */
static void queue_order_test(struct kunit *test)
{
	enum ksnif_wake wake;
	struct ksnif_queue *q;
	u32 i, round;
	u64 size;

	q = make_queue(test, &size);
	migrate_disable();
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 10; i++) {
			KUNIT_EXPECT_EQ(test, queue_packet(q, i, 132, &wake), 0);
			KUNIT_EXPECT_EQ(test, wake, i ? KSNIF_WAKE_NONE : KSNIF_WAKE_SOON);
		}
		KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), 10ULL);
		KUNIT_EXPECT_EQ(test, take_all(test, q, 0), 10U);
		KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), 0ULL);
		KUNIT_EXPECT_EQ(test, take_all(test, q, 0), 0U);
	}
	migrate_enable();
	ksnif_queue_free(q);
}

/* As much fits as fits, room comes back, and what is cancelled leaves no trace. */
static void queue_room_test(struct kunit *test)
{
	enum ksnif_wake wake;
	struct ksnif_queue *q;
	u32 i, round, fit = 0;
	u64 size;

	q = make_queue(test, &size);
	migrate_disable();
	/* blocks of 1,236 bytes: an odd share of every ring and slab, so that they wrap anywhere */
	for (round = 0; round < 50; round++) {
		for (i = 0; !queue_packet(q, i, 1236, &wake); i++)
			;
		KUNIT_EXPECT_EQ(test, reserve(q, 1236), -ENOBUFS);
		KUNIT_EXPECT_GE(test, (u64)i, 64 * 1024ULL / num_possible_cpus() / 2048);
		KUNIT_EXPECT_LE(test, i * 1236ULL, size);
		if (round)
			KUNIT_EXPECT_LE(test, i > fit ? i - fit : fit - i, 1U);
		fit = i;
		KUNIT_EXPECT_EQ(test, take_all(test, q, 0), fit);
	}
	KUNIT_EXPECT_EQ(test, reserve(q, 1236), 0);
	KUNIT_EXPECT_EQ(test, take_all(test, q, 0), 0U);
	migrate_enable();
	ksnif_queue_free(q);
}

/* A packet larger than the queue never fits, and does no harm. */
static void queue_giant_test(struct kunit *test)
{
	enum ksnif_wake wake;
	struct ksnif_queue *q;
	u64 size;

	q = make_queue(test, &size);
	migrate_disable();
	KUNIT_EXPECT_EQ(test, reserve(q, size + 4), -ENOBUFS);
	KUNIT_EXPECT_EQ(test, queue_packet(q, 0, 132, &wake), 0);
	KUNIT_EXPECT_EQ(test, take_all(test, q, 0), 1U);
	migrate_enable();
	ksnif_queue_free(q);
}

/* A quarter of a small share, or one write's worth, wakes the writer at once, and once. */
static void queue_wake_test(struct kunit *test)
{
	enum ksnif_wake wake;
	struct ksnif_queue *q;
	u32 i, now = 0;
	u64 size;

	q = make_queue(test, &size);
	migrate_disable();
	for (i = 0; i < 1000 && !now; i++) {
		KUNIT_EXPECT_EQ(test, queue_packet(q, i, 1236, &wake), 0);
		now += wake == KSNIF_WAKE_NOW;
	}
	KUNIT_EXPECT_EQ(test, now, 1U);
	KUNIT_EXPECT_LE(test, i * 1236ULL, size / 2);
	KUNIT_EXPECT_EQ(test, queue_packet(q, i, 1236, &wake), 0);
	KUNIT_EXPECT_EQ(test, wake, KSNIF_WAKE_NONE);
	KUNIT_EXPECT_EQ(test, take_all(test, q, 0), i + 1);
	migrate_enable();
	ksnif_queue_free(q);
}

static struct kunit_case ksnif_cases[] = {
	KUNIT_CASE(section_test),
	KUNIT_CASE(interface_test),
	KUNIT_CASE(padding_test),
	KUNIT_CASE(block_test),
	KUNIT_CASE(statistics_test),
	KUNIT_CASE(pcap_header_test),
	KUNIT_CASE(number_test),
	KUNIT_CASE(string_test),
	KUNIT_CASE(allowed_test),
	KUNIT_CASE(apply_test),
	KUNIT_CASE(parse_test),
	KUNIT_CASE(queue_order_test),
	KUNIT_CASE(queue_room_test),
	KUNIT_CASE(queue_giant_test),
	KUNIT_CASE(queue_wake_test),
	{}
};

static struct kunit_suite ksnif_suite = {
	.name = "ksnif",
	.test_cases = ksnif_cases,
};

kunit_test_suite(ksnif_suite);
