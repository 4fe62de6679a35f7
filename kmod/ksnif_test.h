/* SPDX-License-Identifier: GPL-2.0 */
/* What the KUnit tests share. */
#ifndef _KSNIF_TEST_H
#define _KSNIF_TEST_H

#include <kunit/test.h>
#include <linux/slab.h>

#include "genl_gen.h"
#include "ksnif.h"

static inline u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline u64 get64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline u16 get16(const u8 *p)
{
	u16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The option of @code among options at @p; NULL if the end comes first. */
static inline const u8 *find_option(const u8 *p, u16 code)
{
	for (; get16(p); p += 4 + ALIGN(get16(p + 2), 4))
		if (get16(p) == code)
			return p + 4;
	return NULL;
}

static inline void expect_frame(struct kunit *test, const u8 *block, u32 type, size_t len)
{
	KUNIT_EXPECT_EQ(test, get32(block), type);
	KUNIT_EXPECT_EQ(test, get32(block + 4), (u32)len);
	KUNIT_EXPECT_EQ(test, get32(block + len - 4), (u32)len);
	KUNIT_EXPECT_EQ(test, len % 4, (size_t)0);
}

/* What the bytes of a packet of the tests are. */
static inline u8 data_byte(u32 i)
{
	return i * 7 + 1;
}

static inline void fill_data(u8 *data, u32 caplen)
{
	u32 i;

	for (i = 0; i < caplen; i++)
		data[i] = data_byte(i);
}

static inline void expect_data(struct kunit *test, const u8 *data, u32 caplen)
{
	u32 i;

	for (i = 0; i < caplen && data[i] == data_byte(i); i++)
		;
	KUNIT_EXPECT_EQ(test, i, caplen);
}

/* Encode a packet as the hook and the queue do; its length is caplen + 7. Returns its size. */
static inline u32 make_packet(u64 format, u8 *to, u32 id, u32 caplen, u64 gap, u64 ns)
{
	struct ksnif_packet pkt = {
		.size = ksnif_packet_size(format, caplen, gap),
		.id = id,
		.caplen = caplen,
		.len = caplen + 7,
		.gap = gap,
	};

	fill_data(ksnif_packet_frame(format, to, &pkt), caplen);
	ksnif_packet_stamp(format, to, ns);
	return pkt.size;
}

/* As the hook does, on one CPU: rings are per CPU. */
static inline int reserve(struct ksnif_queue *q, u32 size)
{
	struct ksnif_room room;
	int err;

	local_bh_disable();
	err = ksnif_queue_reserve(q, size, &room);
	if (!err)
		ksnif_queue_cancel(q, &room);
	local_bh_enable();
	return err;
}

/*
 * Queue a packet with @id as its interface that takes @size bytes in the queue, all told at
 * least 32. 0 or the errno of the reserve; @wake is what the commit said.
 */
static inline int queue_packet(struct ksnif_queue *q, u32 id, u32 size, enum ksnif_wake *wake)
{
	struct ksnif_packet pkt = { .size = size, .id = id, .caplen = size - 32, .len = size - 32 };
	struct ksnif_room room;
	int err;

	local_bh_disable();
	err = ksnif_queue_reserve(q, size, &room);
	if (!err) {
		ksnif_packet_frame(KSNIF_FORMAT_PCAPNG, room.to, &pkt);
		*wake = ksnif_queue_commit(q, &room, KSNIF_FORMAT_PCAPNG);
	}
	local_bh_enable();
	return err;
}

/* Take all that is queued; what each packet's interface is must go up from @id. Their number. */
static inline u32 take_all(struct kunit *test, struct ksnif_queue *q, u32 id)
{
	struct ksnif_span span;
	u32 n = 0;

	ksnif_queue_look(q, false);
	while (ksnif_queue_next(q, &span)) {
		size_t at = 0;

		while (at < span.len) {
			struct ksnif_block block;

			block = ksnif_block_read(KSNIF_FORMAT_PCAPNG, span.data + at);
			KUNIT_EXPECT_TRUE(test, block.packet);
			KUNIT_EXPECT_EQ(test, block.id, id + n);
			at += block.len;
			n++;
		}
		KUNIT_EXPECT_EQ(test, at, span.len);
		ksnif_queue_release(q, &span);
	}
	ksnif_queue_done(q, n);
	return n;
}

#endif /* _KSNIF_TEST_H */
