/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame as the RFCs read it: IEEE 802.1Q, RFC 791, 792, 768, 8200, 4443, 9293. Nothing beyond the
 * end that the IP header gives is looked at. Without any code of bpf/. */
#ifndef LBD_FUZZ_PACKET_VIEW_H
#define LBD_FUZZ_PACKET_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum view_link {
	LINK_SHORT, /* a header is cut short */
	LINK_OTHER, /* not IP */
	LINK_IP,    /* IPv4 or IPv6 by its Ethernet type, with the fixed part of the header */
};

enum view_part { PART_WHOLE, PART_FIRST, PART_LATER };

struct view {
	const uint8_t *frame;
	size_t frame_length;
	enum view_link link;
	size_t l3;      /* offset of the IP header, behind at most two tags */
	uint8_t family; /* 4 or 6, by the Ethernet type */
	const uint8_t *src, *dst;
	size_t ip_length; /* by the IP header */
	size_t address_length;

	/* false: the packet cannot be what its header says: another version, lengths that do not
	 * fit in each other, or in the frame, or a transport header that is cut short */
	bool sound;
	size_t header; /* of IP with options or extension headers */
	uint8_t protocol;
	enum view_part part;
	uint32_t datagram;   /* identification of a fragment */
	size_t offset;       /* of a later fragment, bytes */
	bool fragmented;     /* it has an IPv6 fragment header */
	bool fragment_twice; /* two fragment headers: RFC 8200 does not say which counts */
	uint8_t ttl;
	uint8_t traffic_class;
	bool odd_extensions; /* more of them than anybody sends: a router may refuse them */
	bool behind_extensions;
	bool source_routed; /* perhaps: an IPv4 option; or a routing header of type 0
			       (RFC 5095), or with segments left (RFC 8200) */
	const uint8_t *l4;  /* NULL in later fragments */
	size_t l4_length;
};

void view_of(const uint8_t *frame, size_t length, struct view *ret);

static inline uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* The one's complement sum of the transport header and payload, with the pseudo-header where the
 * protocol has one: 0xffff if the checksum is right. */
uint16_t view_transport_sum(const struct view *view);
/* The sum of the IPv4 header: 0xffff if its checksum is right. */
uint16_t view_header_sum(const struct view *view);

/* What an ICMP error quotes, if it is the begin of a TCP or UDP packet from `dst` of the error. */
struct view_quote {
	uint8_t protocol;
	const uint8_t *client;
	uint16_t client_port, vip_port; /* host order */
	bool source_routed;
};
bool view_is_icmp(const struct view *view);
bool view_is_error(const struct view *view);
bool view_quoted(const struct view *view, struct view_quote *ret);

#endif
