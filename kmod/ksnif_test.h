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

static inline struct ksnif_record *make_record(struct kunit *test, u32 caplen)
{
	struct ksnif_record *rec = kunit_kzalloc(test, sizeof(*rec) + caplen, GFP_KERNEL);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, rec);
	rec->caplen = caplen;
	rec->len = caplen + 7;
	rec->time = 0x0123456789abcdefULL;
	for (i = 0; i < caplen; i++)
		rec->data[i] = i * 7 + 1;
	return rec;
}

static inline struct ksnif_record *reserve(struct ksnif_queue *q, u32 caplen)
{
	struct ksnif_record *rec;

	local_bh_disable();
	rec = ksnif_queue_reserve(q, caplen);
	local_bh_enable();
	return rec;
}

static inline enum ksnif_wake commit(struct ksnif_queue *q, struct ksnif_record *rec)
{
	enum ksnif_wake wake;

	local_bh_disable();
	wake = ksnif_queue_commit(q, rec);
	local_bh_enable();
	return wake;
}

#endif /* _KSNIF_TEST_H */
