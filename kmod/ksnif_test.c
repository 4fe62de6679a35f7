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

/* Every padding, and the largest packet. */
static const u32 caplens[] = { 0, 1, 2, 3, 4, 5, 14, 60, 1499, 65535, KSNIF_SNAPLEN_MAX };

static void packet_test(struct kunit *test)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(caplens); i++) {
		u32 n = caplens[i], pad = ALIGN(n, 4) - n;
		struct ksnif_record *rec = make_record(test, n);
		u8 *to = kvmalloc(n + KSNIF_PACKET_OVERHEAD, GFP_KERNEL);
		size_t len;

		KUNIT_ASSERT_NOT_NULL(test, to);
		memset(to, 0xff, n + KSNIF_PACKET_OVERHEAD);
		len = ksnif_pcapng_packet(to, rec, 3);
		expect_frame(test, to, 6, len);
		KUNIT_EXPECT_EQ(test, len, (size_t)32 + n + pad);
		KUNIT_EXPECT_EQ(test, get32(to + 8), 3U);
		KUNIT_EXPECT_EQ(test, get32(to + 12), 0x01234567U);
		KUNIT_EXPECT_EQ(test, get32(to + 16), 0x89abcdefU);
		KUNIT_EXPECT_EQ(test, get32(to + 20), n);
		KUNIT_EXPECT_EQ(test, get32(to + 24), n + 7);
		KUNIT_EXPECT_EQ(test, memcmp(to + 28, rec->data, n), 0);
		KUNIT_EXPECT_PTR_EQ(test, memchr_inv(to + 28 + n, 0, pad), NULL);
		kvfree(to);
	}
}

static void packet_gap_test(struct kunit *test)
{
	static const u64 gaps[] = { 1, 0xffffffff, 0x100000000ULL, U64_MAX };
	int i;

	for (i = 0; i < ARRAY_SIZE(gaps); i++) {
		struct ksnif_record *rec = make_record(test, 61);
		u8 *to = kunit_kzalloc(test, 61 + KSNIF_PACKET_OVERHEAD, GFP_KERNEL);
		size_t len;
		const u8 *p;

		rec->gap = gaps[i];
		len = ksnif_pcapng_packet(to, rec, 0);
		KUNIT_EXPECT_LE(test, len, (size_t)61 + KSNIF_PACKET_OVERHEAD);
		expect_frame(test, to, 6, len);
		p = find_option(to + 28 + 64, 4);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_EQ(test, get16(p - 2), (u16)8);
		KUNIT_EXPECT_EQ(test, get64(p), gaps[i]);
	}
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

static void pcap_packet_test(struct kunit *test)
{
	struct ksnif_record *rec = make_record(test, 33);
	u8 to[64];

	rec->time = 1700000000ULL * NSEC_PER_SEC + 999999999;
	KUNIT_EXPECT_EQ(test, ksnif_pcap_packet(to, rec), (size_t)16 + 33);
	KUNIT_EXPECT_EQ(test, get32(to), 1700000000U);
	KUNIT_EXPECT_EQ(test, get32(to + 4), 999999999U);
	KUNIT_EXPECT_EQ(test, get32(to + 8), 33U);
	KUNIT_EXPECT_EQ(test, get32(to + 12), 40U);
	KUNIT_EXPECT_EQ(test, memcmp(to + 16, rec->data, 33), 0);
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
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_DIRECT, -EOPNOTSUPP },
		{ KSNIF_A_CAPTURE_IO, KSNIF_IO_AUTO, -EOPNOTSUPP },
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

/* Order is kept, time does not go back, the writer is woken for the first. */
static void queue_order_test(struct kunit *test)
{
	struct ksnif_queue *q = ksnif_queue_alloc(KSNIF_QUEUE_SIZE_MIN);
	struct ksnif_record *rec, *next;
	u64 time = 0;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, q);
	for (i = 0; i < 10; i++) {
		rec = reserve(q, 100);
		KUNIT_ASSERT_FALSE(test, IS_ERR(rec));
		rec->len = i;
		KUNIT_EXPECT_EQ(test, commit(q, rec), i ? KSNIF_WAKE_NONE : KSNIF_WAKE_SOON);
	}
	KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), 10ULL);
	for (i = 0, rec = ksnif_queue_take(q); rec; rec = next, i++) {
		next = rec->next;
		KUNIT_EXPECT_EQ(test, rec->len, i);
		KUNIT_EXPECT_GE(test, rec->time, time);
		time = rec->time;
		ksnif_queue_done(q, rec);
	}
	KUNIT_EXPECT_EQ(test, i, 10U);
	KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), 0ULL);
	KUNIT_EXPECT_PTR_EQ(test, ksnif_queue_take(q), NULL);
	ksnif_queue_free(q);
}

/* Exactly as many records fit as their memory says, and room comes back. */
static void queue_room_test(struct kunit *test)
{
	size_t charge = kmalloc_size_roundup(sizeof(struct ksnif_record) + 1000);
	u32 fit = KSNIF_QUEUE_SIZE_MIN / charge, round, i;
	struct ksnif_queue *q = ksnif_queue_alloc(KSNIF_QUEUE_SIZE_MIN);
	struct ksnif_record *rec, *next;

	KUNIT_ASSERT_NOT_NULL(test, q);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < fit; i++) {
			rec = reserve(q, 1000);
			KUNIT_ASSERT_FALSE(test, IS_ERR(rec));
			commit(q, rec);
		}
		KUNIT_EXPECT_EQ(test, PTR_ERR(reserve(q, 1000)), (long)-ENOBUFS);
		for (rec = ksnif_queue_take(q); rec; rec = next) {
			next = rec->next;
			ksnif_queue_done(q, rec);
		}
	}
	/* reserved and cancelled leaves no trace */
	rec = reserve(q, 1000);
	KUNIT_ASSERT_FALSE(test, IS_ERR(rec));
	ksnif_queue_cancel(q, rec);
	KUNIT_EXPECT_PTR_EQ(test, ksnif_queue_take(q), NULL);
	ksnif_queue_free(q);
}

/* A quarter of a small queue, or 256 KB, wakes the writer at once, and once. */
static void queue_wake_test(struct kunit *test)
{
	static const u64 sizes[] = { KSNIF_QUEUE_SIZE_MIN, 16 << 20 };
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct ksnif_queue *q = ksnif_queue_alloc(sizes[i]);
		u64 used = 0, threshold = min_t(u64, sizes[i] / 4, 256 * 1024);
		struct ksnif_record *rec, *next;
		int now = 0;

		KUNIT_ASSERT_NOT_NULL(test, q);
		while (used < threshold * 2) {
			rec = reserve(q, 1000);
			KUNIT_ASSERT_FALSE(test, IS_ERR(rec));
			used += rec->charge;
			if (commit(q, rec) == KSNIF_WAKE_NOW) {
				KUNIT_EXPECT_GE(test, used, threshold);
				now++;
			}
		}
		KUNIT_EXPECT_EQ(test, now, 1);
		for (rec = ksnif_queue_take(q); rec; rec = next) {
			next = rec->next;
			ksnif_queue_done(q, rec);
		}
		ksnif_queue_free(q);
	}
}

static struct kunit_case ksnif_cases[] = {
	KUNIT_CASE(section_test),
	KUNIT_CASE(interface_test),
	KUNIT_CASE(packet_test),
	KUNIT_CASE(packet_gap_test),
	KUNIT_CASE(statistics_test),
	KUNIT_CASE(pcap_header_test),
	KUNIT_CASE(pcap_packet_test),
	KUNIT_CASE(number_test),
	KUNIT_CASE(string_test),
	KUNIT_CASE(allowed_test),
	KUNIT_CASE(apply_test),
	KUNIT_CASE(parse_test),
	KUNIT_CASE(queue_order_test),
	KUNIT_CASE(queue_room_test),
	KUNIT_CASE(queue_wake_test),
	{}
};

static struct kunit_suite ksnif_suite = {
	.name = "ksnif",
	.test_cases = ksnif_cases,
};

kunit_test_suite(ksnif_suite);
