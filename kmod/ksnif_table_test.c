// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests that are tables: one row, one case. The edges of sizes, ranges and numbers, with
 * what has to come out written down, not computed as the code does.
 */
#include "ksnif_test.h"

#define GUARD	0xa5

/* Room for a block of a packet, with guards behind it. */
static u8 *make_room(struct kunit *test, u32 caplen)
{
	size_t size = caplen + KSNIF_PACKET_OVERHEAD;
	u8 *to = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, to);
	memset(to, GUARD, size);
	return to;
}

static void expect_guard(struct kunit *test, const u8 *to, size_t len, u32 caplen)
{
	KUNIT_ASSERT_LE(test, len, (size_t)caplen + KSNIF_PACKET_OVERHEAD);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(to + len, GUARD, caplen + KSNIF_PACKET_OVERHEAD - len),
			    NULL);
}

/* ---- pcapng: every padding at both ends of the sizes, with and without a gap --------- */

struct pcapng_row {
	u32 caplen;
	u64 gap;
	size_t len;	/* of the block */
	u32 pad;	/* bytes of zero behind the data */
};

static const struct pcapng_row pcapng_rows[] = {
	{ 0, 0, 32, 0 },
	{ 1, 0, 36, 3 },
	{ 2, 0, 36, 2 },
	{ 3, 0, 36, 1 },
	{ 4, 0, 36, 0 },
	{ 5, 0, 40, 3 },
	{ 65535, 0, 65568, 1 },
	{ 65536, 0, 65568, 0 },
	{ 262141, 0, 262176, 3 },
	{ 262142, 0, 262176, 2 },
	{ 262143, 0, 262176, 1 },
	{ 262144, 0, 262176, 0 },
	{ 0, 1, 48, 0 },
	{ 1, 1, 52, 3 },
	{ 2, U32_MAX, 52, 2 },
	{ 3, 1ULL << 32, 52, 1 },
	{ 4, U64_MAX, 52, 0 },
	{ 262141, U64_MAX, 262192, 3 },
	{ 262144, U64_MAX, 262192, 0 },
};

static void pcapng_desc(const struct pcapng_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "caplen %u gap %llu", row->caplen, row->gap);
}

KUNIT_ARRAY_PARAM(pcapng, pcapng_rows, pcapng_desc);

static void pcapng_packet_test(struct kunit *test)
{
	const struct pcapng_row *row = test->param_value;
	u8 *to = make_room(test, row->caplen);
	const u8 *behind = to + 28 + row->caplen;
	size_t len = make_packet(KSNIF_FORMAT_PCAPNG, to, U32_MAX, row->caplen, row->gap,
				 0x0123456789abcdefULL);

	KUNIT_ASSERT_EQ(test, len, row->len);
	expect_guard(test, to, len, row->caplen);
	expect_frame(test, to, 6, len);
	KUNIT_EXPECT_EQ(test, get32(to + 8), U32_MAX);
	KUNIT_EXPECT_EQ(test, get32(to + 12), 0x01234567U);
	KUNIT_EXPECT_EQ(test, get32(to + 16), 0x89abcdefU);
	KUNIT_EXPECT_EQ(test, get32(to + 20), row->caplen);
	KUNIT_EXPECT_EQ(test, get32(to + 24), row->caplen + 7);
	expect_data(test, to + 28, row->caplen);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(behind, 0, row->pad), NULL);
	if (!row->gap)
		return;
	behind += row->pad;
	KUNIT_EXPECT_EQ(test, get16(behind), (u16)4);		/* epb_dropcount */
	KUNIT_EXPECT_EQ(test, get16(behind + 2), (u16)8);
	KUNIT_EXPECT_EQ(test, get64(behind + 4), row->gap);
	KUNIT_EXPECT_EQ(test, get32(behind + 12), 0U);		/* opt_endofopt */
}

/* ---- pcap: times and sizes --------------------------------------------------------- */

struct pcap_row {
	u32 caplen;
	u64 time;
	u32 s;
	u32 ns;
};

static const struct pcap_row pcap_rows[] = {
	{ 0, 0, 0, 0 },
	{ 1, 999999999ULL, 0, 999999999 },
	{ 2, 1000000000ULL, 1, 0 },
	{ 3, 2147483648000000001ULL, 2147483648U, 1 },
	{ 4, 4294967295999999999ULL, U32_MAX, 999999999 },
	{ 5, 4294967296000000000ULL, 0, 0 },	/* 2106: the format's seconds begin anew */
	{ 262143, 1700000000123456789ULL, 1700000000U, 123456789 },
	{ 262144, 1700000000123456789ULL, 1700000000U, 123456789 },
};

static void pcap_desc(const struct pcap_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "caplen %u time %llu", row->caplen, row->time);
}

KUNIT_ARRAY_PARAM(pcap, pcap_rows, pcap_desc);

static void pcap_packet_table_test(struct kunit *test)
{
	const struct pcap_row *row = test->param_value;
	u8 *to = make_room(test, row->caplen);
	size_t len = make_packet(KSNIF_FORMAT_PCAP, to, 0, row->caplen, 1, row->time);

	KUNIT_ASSERT_EQ(test, len, (size_t)row->caplen + 16);
	expect_guard(test, to, len, row->caplen);
	KUNIT_EXPECT_EQ(test, get32(to), row->s);
	KUNIT_EXPECT_EQ(test, get32(to + 4), row->ns);
	KUNIT_EXPECT_EQ(test, get32(to + 8), row->caplen);
	KUNIT_EXPECT_EQ(test, get32(to + 12), row->caplen + 7);
	expect_data(test, to + 16, row->caplen);
}

/* ---- settings: numbers ------------------------------------------------------------- */

struct value_row {
	int attr;
	u64 value;
	int err;
	u64 kept;	/* what the change holds then */
};

#define SNAPLEN		KSNIF_A_CAPTURE_SNAPLEN
#define QUEUE_SIZE	KSNIF_A_CAPTURE_QUEUE_SIZE
#define SYNC_INTERVAL	KSNIF_A_CAPTURE_SYNC_INTERVAL
#define FAMILY		KSNIF_A_CAPTURE_FAMILY
#define FORMAT		KSNIF_A_CAPTURE_FORMAT
#define IO		KSNIF_A_CAPTURE_IO

static const struct value_row value_rows[] = {
	{ SNAPLEN, 0, 0, 262144 },
	{ SNAPLEN, 1, 0, 1 },
	{ SNAPLEN, 262143, 0, 262143 },
	{ SNAPLEN, 262144, 0, 262144 },
	{ SNAPLEN, 262145, -ERANGE },
	{ SNAPLEN, U32_MAX, -ERANGE },
	{ SNAPLEN, 1ULL << 32, -ERANGE },
	{ SNAPLEN, (1ULL << 32) + 96, -ERANGE },
	{ SNAPLEN, U64_MAX, -ERANGE },
	{ QUEUE_SIZE, 0, -ERANGE },
	{ QUEUE_SIZE, 65535, -ERANGE },
	{ QUEUE_SIZE, 1048576, 0, 1048576 },
	{ QUEUE_SIZE, 1048577, 0, 1048577 },
	{ QUEUE_SIZE, (1ULL << 32) + 1, -ERANGE },
	{ QUEUE_SIZE, U64_MAX, -ERANGE },
	{ SYNC_INTERVAL, 0, 0, 0 },
	{ SYNC_INTERVAL, 1, 0, 1 },
	{ SYNC_INTERVAL, 3600, 0, 3600 },
	{ SYNC_INTERVAL, 3601, -ERANGE },
	{ SYNC_INTERVAL, U32_MAX, -ERANGE },
	{ SYNC_INTERVAL, 1ULL << 32, -ERANGE },
	{ FAMILY, 0, 0, KSNIF_IP_FAMILY_INET },
	{ FAMILY, 3, -EINVAL },
	{ FAMILY, 1ULL << 32, -EINVAL },
	{ FORMAT, 1, 0, KSNIF_FORMAT_PCAP },
	{ FORMAT, 2, -EINVAL },
	{ FORMAT, U64_MAX, -EINVAL },
	{ IO, 0, 0, KSNIF_IO_BUFFERED },
	{ IO, 3, 0, KSNIF_IO_DISCARD },
	{ IO, 4, -EINVAL },
};

static void value_desc(const struct value_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s %llu", ksnif_capture_attrs[row->attr].name,
		 row->value);
}

KUNIT_ARRAY_PARAM(value, value_rows, value_desc);

static void value_test(struct kunit *test)
{
	const struct value_row *row = test->param_value;
	struct netlink_ext_ack extack = {};
	struct ksnif_change change = {};
	int err = ksnif_change_number(&change, row->attr, row->value, &extack);

	KUNIT_EXPECT_EQ(test, err, row->err);
	KUNIT_EXPECT_EQ(test, !extack._msg, !row->err);
	KUNIT_EXPECT_EQ(test, change.mask, row->err ? 0UL : BIT(row->attr));
	KUNIT_EXPECT_EQ(test, *ksnif_settings_number(&change.to, row->attr), row->kept);
}

/* ---- settings: text ---------------------------------------------------------------- */

struct text_row {
	int attr;
	const char *text;
	int err;
	u64 value;
};

static const struct text_row text_rows[] = {
	{ SNAPLEN, "0", 0, 0 },
	{ SNAPLEN, "1", 0, 1 },
	{ SNAPLEN, "0096", 0, 96 },
	{ SNAPLEN, "262144", 0, 262144 },
	{ SNAPLEN, "262145", -ERANGE },
	{ SNAPLEN, "4294967296", -ERANGE },
	{ SNAPLEN, "4294967392", -ERANGE },
	{ SNAPLEN, "18446744073709551615", -ERANGE },
	{ SNAPLEN, "18446744073709551616", -ERANGE },
	{ SNAPLEN, "18446744073709551712", -ERANGE },
	{ SNAPLEN, "99999999999999999999999999999999", -ERANGE },
	{ SNAPLEN, "", -EINVAL },
	{ SNAPLEN, "-1", -EINVAL },
	{ SNAPLEN, "-0", -EINVAL },
	{ SNAPLEN, " 96", -EINVAL },
	{ SNAPLEN, "96 ", -EINVAL },
	{ SNAPLEN, "96x", -EINVAL },
	{ SNAPLEN, "0x60", -EINVAL },
	{ SNAPLEN, "1e3", -EINVAL },
	{ SNAPLEN, "9.6", -EINVAL },
	{ QUEUE_SIZE, "65535", -ERANGE },
	{ QUEUE_SIZE, "65536", 0, 65536 },
	{ QUEUE_SIZE, "4294967296", 0, 4294967296ULL },
	{ QUEUE_SIZE, "4294967297", -ERANGE },
	{ QUEUE_SIZE, "16M", -EINVAL },
	{ SYNC_INTERVAL, "3600", 0, 3600 },
	{ SYNC_INTERVAL, "3601", -ERANGE },
	{ SYNC_INTERVAL, "1s", -EINVAL },
	{ FORMAT, "pcapng", 0, KSNIF_FORMAT_PCAPNG },
	{ FORMAT, "pcap", 0, KSNIF_FORMAT_PCAP },
	{ FORMAT, "pcapn", -EINVAL },
	{ FORMAT, "pcapngx", -EINVAL },
	{ FORMAT, "PCAP", -EINVAL },
	{ FORMAT, "1", -EINVAL },
	{ FORMAT, "", -EINVAL },
	{ FAMILY, "ip6", 0, KSNIF_IP_FAMILY_IP6 },
	{ FAMILY, "ip66", -EINVAL },
};

static void text_desc(const struct text_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s '%s'", ksnif_capture_attrs[row->attr].name,
		 row->text);
}

KUNIT_ARRAY_PARAM(text, text_rows, text_desc);

static void text_test(struct kunit *test)
{
	const struct text_row *row = test->param_value;
	u64 value = 4711;

	KUNIT_EXPECT_EQ(test, ksnif_attr_parse_number(&ksnif_capture_attrs[row->attr], row->text,
						      &value), row->err);
	KUNIT_EXPECT_EQ(test, value, row->err ? 4711 : row->value);
}

/* ---- settings: which attributes are any --------------------------------------------- */

static void next_test(struct kunit *test)
{
	static const int settings[] = {
		KSNIF_A_CAPTURE_DEVICE_NAME, FAMILY, KSNIF_A_CAPTURE_LOGFILE, SNAPLEN, QUEUE_SIZE,
		FORMAT, IO, SYNC_INTERVAL, 0,
	};
	int attr = 0, i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		attr = ksnif_settings_next(attr);
		KUNIT_ASSERT_EQ(test, attr, settings[i]);
	}
}

/* ---- list: its memory, at and around the limit ---------------------------------------- */

#ifndef CONFIG_KSNIF_RING_BUFFER

struct room_row {
	u64 size;
	u32 block;
	u32 fit;
};

/* A record adds 16 bytes to its block, and takes what its cache or kmalloc() takes for it. */
static const struct room_row room_rows[] = {
	{ 65536, 32, 319 },		/* 205 bytes */
	{ 65536, 176, 319 },
	{ 65536, 180, 95 },		/* 683 */
	{ 65536, 1000, 64 },		/* 1,024: fills it to the last byte */
	{ 65536, 1004, 39 },		/* 1,639; of memory that is not in pieces */
	{ 65536, 1608, 39 },
	{ 65536, 1612, 32 },		/* 2 KB */
	{ 65537, 1000, 64 },
	{ 66559, 1000, 64 },		/* a byte short of one more */
	{ 66560, 1000, 65 },
	{ 65536, 65520, 1 },
	{ 65536, 65524, 0 },
	{ 65536, 262180, 0 },
	{ 1 << 20, 262180, 2 },
};

static void room_desc(const struct room_row *row, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "size %llu block %u", row->size, row->block);
}

KUNIT_ARRAY_PARAM(room, room_rows, room_desc);

/* As many packets as the memory says, not one more, and each that goes makes room for one. */
static void room_test(struct kunit *test)
{
	const struct room_row *row = test->param_value;
	struct ksnif_queue *q = ksnif_queue_alloc(row->size, KSNIF_FORMAT_PCAPNG);
	struct ksnif_span span;
	enum ksnif_wake wake;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, q);
	for (i = 0; !queue_packet(q, i, row->block, &wake); i++)
		;
	KUNIT_EXPECT_EQ(test, i, row->fit);
	KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), (u64)row->fit);

	/* taken is not given back yet */
	ksnif_queue_look(q, false);
	KUNIT_EXPECT_EQ(test, reserve(q, row->block), -ENOBUFS);
	for (i = 0; ksnif_queue_next(q, &span); i++)
		ksnif_queue_release(q, &span);
	KUNIT_EXPECT_EQ(test, i, row->fit);
	ksnif_queue_done(q, i);
	KUNIT_EXPECT_EQ(test, ksnif_queue_packets(q), 0ULL);

	for (i = 0; i < row->fit; i++) {
		/* what is cancelled is room again */
		KUNIT_EXPECT_EQ(test, reserve(q, row->block), 0);
		KUNIT_EXPECT_EQ(test, queue_packet(q, i, row->block, &wake), 0);
	}
	KUNIT_EXPECT_EQ(test, reserve(q, row->block), -ENOBUFS);
	KUNIT_EXPECT_EQ(test, take_all(test, q, 0), row->fit);
	ksnif_queue_free(q);
}

#endif

static struct kunit_case ksnif_table_cases[] = {
	KUNIT_CASE_PARAM(pcapng_packet_test, pcapng_gen_params),
	KUNIT_CASE_PARAM(pcap_packet_table_test, pcap_gen_params),
	KUNIT_CASE_PARAM(value_test, value_gen_params),
	KUNIT_CASE_PARAM(text_test, text_gen_params),
	KUNIT_CASE(next_test),
#ifndef CONFIG_KSNIF_RING_BUFFER
	KUNIT_CASE_PARAM(room_test, room_gen_params),
#endif
	{}
};

static struct kunit_suite ksnif_table_suite = {
	.name = "ksnif_table",
	.test_cases = ksnif_table_cases,
};

kunit_test_suite(ksnif_table_suite);
