/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet's block as the file has it: pcapng's enhanced packet block, or the record of pcap.
 * The hook asks for its size, gets room for it in the queue and frames it; the queue stamps it;
 * the writer steps over it. Inline, because each of these happens to every packet.
 */
#ifndef _KSNIF_PACKET_H
#define _KSNIF_PACKET_H

#include <linux/math64.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/types.h>

#include "uapi/ksnif.h"

#define KSNIF_PCAPNG_PACKET	6
#define KSNIF_OPT_DROPCOUNT	4

/* What a packet adds to its bytes at most. */
#define KSNIF_PACKET_OVERHEAD	64

/* How an enhanced packet block begins. A multiple of 4 bytes; in memory it lies anywhere. */
struct ksnif_pcapng_packet {
	u32 type, total, id, time_high, time_low, caplen, len;
	u8 data[];
} __packed;

/* What follows a packet behind a gap, the only option there is. */
struct ksnif_pcapng_drops {
	u16 code, length;
	u64 gap;
	u32 end_of_options;
} __packed;

/* pcap with nanoseconds; no padding, no drop count. */
struct ksnif_pcap_packet {
	u32 s, ns, caplen, len;
	u8 data[];
} __packed;

struct ksnif_u32 {
	u32 v;
} __packed;

/* What the hook knows of a packet. */
struct ksnif_packet {
	u32 size;	/* bytes of its block: ksnif_packet_size() */
	u32 id;		/* of its interface */
	u32 caplen;	/* bytes kept */
	u32 len;	/* of the packet, link-layer header included */
	u64 gap;	/* packets of the interface dropped just before, on this CPU */
};

/* What the writer wants to know of a block. */
struct ksnif_block {
	u32 len;	/* bytes */
	bool packet;
	u32 id;		/* of a packet's interface */
};

/* Bytes that a packet takes with @caplen bytes of it, in a file of @format. */
static inline u32 ksnif_packet_size(u64 format, u32 caplen, u64 gap)
{
	u32 size = sizeof(struct ksnif_pcapng_packet) + ALIGN(caplen, 4) + sizeof(u32);

	if (format == KSNIF_FORMAT_PCAP)
		return sizeof(struct ksnif_pcap_packet) + caplen;
	if (unlikely(gap))
		size += sizeof(struct ksnif_pcapng_drops);
	return size;
}

static inline u8 *ksnif_pcapng_frame(u8 *to, const struct ksnif_packet *pkt)
{
	struct ksnif_pcapng_packet *p = (void *)to;
	u8 *end = to + pkt->size - sizeof(u32);

	p->type = KSNIF_PCAPNG_PACKET;
	p->total = pkt->size;
	p->id = pkt->id;
	p->caplen = pkt->caplen;
	p->len = pkt->len;
	((struct ksnif_u32 *)end)->v = pkt->size;
	if (unlikely(pkt->gap)) {
		struct ksnif_pcapng_drops *drops;

		end -= sizeof(*drops);
		drops = (void *)end;
		drops->code = KSNIF_OPT_DROPCOUNT;
		drops->length = sizeof(drops->gap);
		drops->gap = pkt->gap;
		drops->end_of_options = 0;
	}
	if (pkt->caplen % 4)	/* the padding and, for now, the packet's last bytes */
		((struct ksnif_u32 *)(end - 4))->v = 0;
	return p->data;
}

/*
 * Write all of a packet's block but its time and its bytes. Returns where those go, pkt->caplen
 * of them.
 */
static inline u8 *ksnif_packet_frame(u64 format, u8 *to, const struct ksnif_packet *pkt)
{
	struct ksnif_pcap_packet *p = (void *)to;

	if (format != KSNIF_FORMAT_PCAP)
		return ksnif_pcapng_frame(to, pkt);
	p->caplen = pkt->caplen;
	p->len = pkt->len;
	return p->data;
}

/* The time of a packet, ns since 1970; before or after it is framed. */
static inline void ksnif_packet_stamp(u64 format, u8 *to, u64 ns)
{
	struct ksnif_pcapng_packet *p = (void *)to;
	struct ksnif_pcap_packet *old = (void *)to;

	if (format == KSNIF_FORMAT_PCAP) {
		u32 rest;

		old->s = div_u64_rem(ns, NSEC_PER_SEC, &rest);
		old->ns = rest;
		return;
	}
	p->time_high = upper_32_bits(ns);
	p->time_low = lower_32_bits(ns);
}

/* The same time, read; of pcap only until 2106. */
static inline u64 ksnif_packet_time(u64 format, const u8 *from)
{
	const struct ksnif_pcapng_packet *p = (const void *)from;
	const struct ksnif_pcap_packet *old = (const void *)from;

	if (format == KSNIF_FORMAT_PCAP)
		return (u64)old->s * NSEC_PER_SEC + old->ns;
	return (u64)p->time_high << 32 | p->time_low;
}

/* Read the beginning of a whole block that is no header of a pcap file. */
static inline struct ksnif_block ksnif_block_read(u64 format, const u8 *from)
{
	const struct ksnif_pcapng_packet *p = (const void *)from;
	const struct ksnif_pcap_packet *old = (const void *)from;

	if (format == KSNIF_FORMAT_PCAP)
		return (struct ksnif_block){ sizeof(*old) + old->caplen, true, 0 };
	return (struct ksnif_block){ p->total, p->type == KSNIF_PCAPNG_PACKET, p->id };
}

#endif /* _KSNIF_PACKET_H */
