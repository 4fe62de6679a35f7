// SPDX-License-Identifier: GPL-2.0
/*
 * The file formats: pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html)
 * and pcap with nanoseconds. Everything is in host byte order; the magic numbers tell which.
 *
 * A packet's block is written where it will be read from: the hook asks for its size, gets room
 * in the queue and frames it; the queue stamps it. Every other function writes one block at @to
 * and returns its length in bytes, at most KSNIF_BLOCK_MAX.
 */
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/utsname.h>

#include "ksnif.h"

#define PCAPNG_SECTION		0x0a0d0d0a
#define PCAPNG_BYTE_ORDER	0x1a2b3c4d
#define PCAPNG_INTERFACE	1
#define PCAPNG_STATISTICS	5
#define PCAPNG_PACKET		6
#define PCAPNG_CUSTOM		0x40000bad	/* not to be copied into another file */

/* Number of RFC 5612 for examples: nobody's, so that no reader looks for a meaning. */
#define PCAPNG_NOBODY		32473

enum { OPT_END = 0 };
enum { OPT_SHB_OS = 3, OPT_SHB_USERAPPL = 4 };
enum { OPT_IF_NAME = 2, OPT_IF_TSRESOL = 9 };
enum { OPT_EPB_DROPCOUNT = 4 };
enum { OPT_ISB_ENDTIME = 3, OPT_ISB_IFRECV };
enum { OPT_ISB_FILTERACCEPT = 6, OPT_ISB_OSDROP, OPT_ISB_USRDELIV };

#define PCAP_MAGIC_NSEC		0xa1b23c4d

/* How an enhanced packet block begins. Aligned to 4 bytes in the file, and in memory no more. */
struct pcapng_packet {
	u32 type, total, id, time_high, time_low, caplen, len;
	u8 data[];
} __packed;

/* What follows a packet behind a gap. */
struct pcapng_drops {
	u16 code, length;
	u64 gap;
	u32 end;
} __packed;

struct pcap_packet {
	u32 s, ns, caplen, len;
	u8 data[];
} __packed;

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

/* Bytes that a packet takes with @caplen bytes of it, of a file of @format. */
u32 ksnif_packet_size(u64 format, u32 caplen, u64 gap)
{
	if (format == KSNIF_FORMAT_PCAP)
		return sizeof(struct pcap_packet) + caplen;
	return sizeof(struct pcapng_packet) + ALIGN(caplen, 4) +
	       (gap ? sizeof(struct pcapng_drops) : 0) + sizeof(u32);
}

static u8 *pcapng_frame(u8 *to, const struct ksnif_packet *pkt)
{
	struct pcapng_packet *p = (void *)to;
	u8 *end = to + pkt->size - sizeof(u32);

	p->type = PCAPNG_PACKET;
	p->total = pkt->size;
	p->id = pkt->id;
	p->caplen = pkt->caplen;
	p->len = pkt->len;
	put32(end, pkt->size);
	if (unlikely(pkt->gap)) {
		struct pcapng_drops drops = {
			.code = OPT_EPB_DROPCOUNT,
			.length = sizeof(drops.gap),
			.gap = pkt->gap,
			.end = OPT_END,
		};

		end -= sizeof(drops);
		memcpy(end, &drops, sizeof(drops));
	}
	if (pkt->caplen % 4)
		put32(end - 4, 0);	/* the padding and, for now, the packet's last bytes */
	return p->data;
}

/*
 * Enhanced packet block, or packet of the older format: all but the time and the packet's bytes.
 * Returns where those go, pkt->caplen of them. The only option is the drop count, and only
 * behind a gap; the older format has no room for it.
 */
u8 *ksnif_packet_frame(u64 format, u8 *to, const struct ksnif_packet *pkt)
{
	struct pcap_packet *p = (void *)to;

	if (format != KSNIF_FORMAT_PCAP)
		return pcapng_frame(to, pkt);
	p->caplen = pkt->caplen;
	p->len = pkt->len;
	return p->data;
}

/* The time of a framed packet, ns since 1970. */
void ksnif_packet_stamp(u64 format, u8 *to, u64 ns)
{
	if (format == KSNIF_FORMAT_PCAP) {
		struct pcap_packet *p = (void *)to;

		p->s = div_u64_rem(ns, NSEC_PER_SEC, &p->ns);
	} else {
		struct pcapng_packet *p = (void *)to;

		p->time_high = upper_32_bits(ns);
		p->time_low = lower_32_bits(ns);
	}
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
	u8 *p = put32(begin_block(to, PCAPNG_CUSTOM), PCAPNG_NOBODY);

	memset(p, 0, len - KSNIF_PADDING_MIN);
	end_block(to, to + len - sizeof(u32));
}

/* Read the beginning of a whole block that is no header of a pcap file. */
void ksnif_block_read(u64 format, const u8 *from, struct ksnif_block *block)
{
	if (format == KSNIF_FORMAT_PCAP) {
		const struct pcap_packet *p = (const void *)from;

		block->len = sizeof(*p) + p->caplen;
		block->packet = true;
		block->id = 0;
	} else {
		const struct pcapng_packet *p = (const void *)from;

		block->len = p->total;
		block->packet = p->type == PCAPNG_PACKET;
		block->id = p->id;
	}
}

/* When the packet of a framed and stamped block was captured: ns since 1970. */
u64 ksnif_packet_time(u64 format, const u8 *from)
{
	const struct pcapng_packet *p = (const void *)from;
	const struct pcap_packet *old = (const void *)from;

	if (format == KSNIF_FORMAT_PCAP)
		return (u64)old->s * NSEC_PER_SEC + old->ns;
	return (u64)p->time_high << 32 | p->time_low;
}
