// SPDX-License-Identifier: GPL-2.0
/*
 * The file formats: pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html)
 * and pcap with nanoseconds. Everything is in host byte order; the magic numbers tell which.
 *
 * Here are all blocks but those of packets, which packet.h has. Every function writes one at @to;
 * the length in bytes, which most return, is at most KSNIF_BLOCK_MAX.
 */
#include <linux/string.h>
#include <linux/utsname.h>

#include "ksnif.h"

#define PCAPNG_SECTION		0x0a0d0d0a
#define PCAPNG_BYTE_ORDER	0x1a2b3c4d
#define PCAPNG_INTERFACE	1
#define PCAPNG_STATISTICS	5
/*
 * Padding. With the highest bit it is of the range for local use, which readers skip; a custom
 * block is what the format has for it, but Wireshark shows those as frames.
 */
#define PCAPNG_LOCAL		0xc0000bad

enum { OPT_END = 0 };
enum { OPT_SHB_OS = 3, OPT_SHB_USERAPPL = 4 };
enum { OPT_IF_NAME = 2, OPT_IF_TSRESOL = 9 };
enum { OPT_ISB_ENDTIME = 3, OPT_ISB_IFRECV };
enum { OPT_ISB_FILTERACCEPT = 6, OPT_ISB_OSDROP, OPT_ISB_USRDELIV };

#define PCAP_MAGIC_NSEC		0xa1b23c4d

static u8 *put16(u8 *p, u16 v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static u8 *put32(u8 *p, u32 v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* Bytes, then zeros up to a multiple of four. */
static u8 *put_padded(u8 *p, const void *data, u32 len)
{
	u32 padded = ALIGN(len, 4);

	memcpy(p, data, len);
	memset(p + len, 0, padded - len);
	return p + padded;
}

static u8 *put_option(u8 *p, u16 code, const void *data, u16 len)
{
	p = put16(p, code);
	p = put16(p, len);
	return put_padded(p, data, len);
}

static u8 *put_option64(u8 *p, u16 code, u64 v)
{
	return put_option(p, code, &v, sizeof(v));
}

/* Times are in nanoseconds (if_tsresol 9), the high half first. */
static u8 *put_time(u8 *p, u64 ns)
{
	p = put32(p, upper_32_bits(ns));
	return put32(p, lower_32_bits(ns));
}

static u8 *begin_block(u8 *to, u32 type)
{
	return put32(put32(to, type), 0);
}

/* The length goes to both ends of the block. */
static size_t end_block(u8 *to, u8 *p)
{
	u32 len = p + sizeof(u32) - to;

	put32(to + sizeof(u32), len);
	put32(p, len);
	return len;
}

/* Section header block: the start of a file. */
size_t ksnif_pcapng_section(u8 *to)
{
	static const char userappl[] = "ksnif " KSNIF_VERSION;
	u8 *p = begin_block(to, PCAPNG_SECTION);
	char os[80];
	int n;

	p = put32(p, PCAPNG_BYTE_ORDER);
	p = put16(p, 1);			/* version 1.0 */
	p = put16(p, 0);
	p = put32(p, 0xffffffff);		/* length of the section: not given */
	p = put32(p, 0xffffffff);
	n = scnprintf(os, sizeof(os), "Linux %s", init_utsname()->release);
	p = put_option(p, OPT_SHB_OS, os, n);
	p = put_option(p, OPT_SHB_USERAPPL, userappl, sizeof(userappl) - 1);
	return end_block(to, put32(p, OPT_END));
}

/*
 * Interface description block. All interfaces get the largest snaplen there is: the setting
 * can change while the capture runs, and libpcap wants the same one on all.
 */
size_t ksnif_pcapng_interface(u8 *to, const char *name, u16 linktype)
{
	const u8 nanoseconds = 9;
	u8 *p = begin_block(to, PCAPNG_INTERFACE);

	p = put16(p, linktype);
	p = put16(p, 0);
	p = put32(p, KSNIF_SNAPLEN_MAX);
	p = put_option(p, OPT_IF_NAME, name, strlen(name));
	p = put_option(p, OPT_IF_TSRESOL, &nanoseconds, sizeof(nanoseconds));
	return end_block(to, put32(p, OPT_END));
}

/* Interface statistics block; @time is when they were read, ns since 1970. */
size_t ksnif_pcapng_statistics(u8 *to, u32 id, u64 time, const struct ksnif_stats *st)
{
	u64 dropped = st->dropped_queue_full + st->dropped_no_memory + st->dropped_write;
	u8 *p = begin_block(to, PCAPNG_STATISTICS);
	u8 end[8];

	p = put32(p, id);
	p = put_time(p, time);
	put_time(end, time);
	p = put_option(p, OPT_ISB_ENDTIME, end, sizeof(end));
	p = put_option64(p, OPT_ISB_IFRECV, st->received);
	p = put_option64(p, OPT_ISB_FILTERACCEPT, st->received - st->filtered);
	p = put_option64(p, OPT_ISB_OSDROP, dropped);
	p = put_option64(p, OPT_ISB_USRDELIV, st->written);
	return end_block(to, put32(p, OPT_END));
}

/* File header of the older format. */
size_t ksnif_pcap_header(u8 *to, u16 linktype)
{
	u8 *p = put32(to, PCAP_MAGIC_NSEC);

	p = put16(p, 2);			/* version 2.4 */
	p = put16(p, 4);
	p = put32(p, 0);			/* time zone: UTC */
	p = put32(p, 0);			/* accuracy of time stamps: never used */
	p = put32(p, KSNIF_SNAPLEN_MAX);
	p = put32(p, linktype);
	return p - to;
}

/* A block of @len bytes, at least KSNIF_PADDING_MIN and a multiple of 4, that readers skip. */
void ksnif_pcapng_padding(u8 *to, u32 len)
{
	u8 *p = begin_block(to, PCAPNG_LOCAL);

	memset(p, 0, len - KSNIF_PADDING_MIN);
	end_block(to, to + len - sizeof(u32));
}
