/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a frame. */
#include "packet_view.h"

#include <netinet/in.h>
#include <string.h>

#include "support/packet.h"

#define EXTENSIONS_USUAL 8
#define EXTENSION_BYTES  1024
#define ICMP_HEADER      8

/* ---- link ---- */

static bool is_tag(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

static void read_link(struct view *v)
{
	uint16_t type;

	v->link = LINK_SHORT;
	if (v->frame_length < 14)
		return;
	type = get16(v->frame + 12);
	v->l3 = 14;
	for (int tags = 0; tags < 2 && is_tag(type); tags++) {
		if (v->frame_length < v->l3 + 4)
			return;
		type = get16(v->frame + v->l3 + 2);
		v->l3 += 4;
	}
	v->family = type == 0x0800 ? 4 : type == 0x86dd ? 6 : 0;
	v->link = v->family ? LINK_IP : LINK_OTHER;
	if (v->family && v->frame_length < v->l3 + (v->family == 4 ? 20 : 40))
		v->link = LINK_SHORT;
}

/* ---- IP ---- */

static bool read_ip4(struct view *v, const uint8_t *ip)
{
	uint16_t fragment = get16(ip + 6);

	v->src = ip + 12;
	v->dst = ip + 16;
	v->ip_length = get16(ip + 2);
	v->ttl = ip[8];
	v->traffic_class = ip[1];
	v->protocol = ip[9];
	v->datagram = get16(ip + 4);
	v->offset = (fragment & 0x1fff) * 8u;
	v->header = (ip[0] & 15) * 4u;
	v->part = fragment & 0x1fff ? PART_LATER : fragment & 0x2000 ? PART_FIRST : PART_WHOLE;
	return ip[0] >> 4 == 4 && v->header >= 20 && v->ip_length >= v->header;
}

/* RFC 791: loose (131) and strict (137) source routes. Also where the options are malformed, and so
 * nobody can say where one begins. */
static bool may_have_source_route(const uint8_t *options, size_t length)
{
	return memchr(options, 131, length) || memchr(options, 137, length);
}

static bool is_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 44 || next == 60;
}

static void read_fragment(struct view *v, const uint8_t *at)
{
	uint16_t position = get16(at + 2);

	v->fragment_twice |= v->fragmented;
	v->fragmented = true;
	v->datagram = get32(at + 4);
	v->offset = position & 0xfff8;
	if (position & 0xfff8)
		v->part = PART_LATER;
	else if (position & 1)
		v->part = PART_FIRST;
}

/* next: the type of the header at v->header. */
static bool read_extensions(struct view *v, const uint8_t *ip, uint8_t next)
{
	int seen = 0;

	while (is_extension(next) && v->part != PART_LATER) {
		const uint8_t *at = ip + v->header;

		if (v->ip_length < v->header + 8 || v->frame_length < v->l3 + v->header + 8)
			return false;
		v->source_routed |= next == 43 && (!at[2] || at[3]);
		if (next == 44)
			read_fragment(v, at);
		v->header += next == 44 ? 8 : (at[1] + 1u) * 8;
		next = at[0];
		v->behind_extensions = true;
		v->odd_extensions |= ++seen > EXTENSIONS_USUAL || v->header > 40 + EXTENSION_BYTES;
	}
	v->protocol = next;
	return v->part == PART_LATER || v->ip_length >= v->header;
}

static bool read_ip6(struct view *v, const uint8_t *ip)
{
	v->src = ip + 8;
	v->dst = ip + 24;
	v->ip_length = 40 + get16(ip + 4);
	v->ttl = ip[7];
	v->traffic_class = (uint8_t)(get32(ip) >> 20);
	v->header = 40;
	v->part = PART_WHOLE;
	return ip[0] >> 4 == 6 && read_extensions(v, ip, ip[6]);
}

static bool holds_transport(const struct view *v)
{
	if (v->protocol == IPPROTO_TCP)
		return v->l4_length >= 20;
	if (v->protocol == IPPROTO_UDP)
		return v->l4_length >= 8;
	return !view_is_icmp(v) || v->l4_length >= ICMP_HEADER;
}

void view_of(const uint8_t *frame, size_t length, struct view *ret)
{
	struct view *v = ret;
	const uint8_t *ip;

	*v = (struct view){.frame = frame, .frame_length = length};
	read_link(v);
	if (v->link != LINK_IP)
		return;
	ip = frame + v->l3;
	v->address_length = v->family == 4 ? 4 : 16;
	v->sound = v->family == 4 ? read_ip4(v, ip) : read_ip6(v, ip);
	v->sound = v->sound && v->l3 + v->ip_length <= length;
	if (v->sound && v->family == 4)
		v->source_routed = may_have_source_route(ip + 20, v->header - 20);
	if (v->sound && v->part == PART_LATER && v->protocol == IPPROTO_TCP)
		v->sound = v->offset != 8; /* RFC 3128: it would replace the flags */
	if (!v->sound || v->part == PART_LATER)
		return;
	v->l4 = ip + v->header;
	v->l4_length = v->ip_length - v->header;
	v->sound = holds_transport(v);
}

/* ---- checksums ---- */

uint16_t view_header_sum(const struct view *v)
{
	return packet_sum(v->frame + v->l3, (v->frame[v->l3] & 15) * 4u, 0);
}

uint16_t view_transport_sum(const struct view *v)
{
	const uint8_t tail[8] = {
	    0, 0, (uint8_t)(v->l4_length >> 8), (uint8_t)v->l4_length, 0, 0, 0, v->protocol};
	uint32_t sum = 0;

	if (v->protocol != IPPROTO_ICMP)
		sum = packet_sum(v->src, 2 * v->address_length, packet_sum(tail, 8, 0));
	return packet_sum(v->l4, v->l4_length, sum);
}

/* ---- ICMP ---- */

bool view_is_icmp(const struct view *v)
{
	return v->protocol == (v->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* Destination unreachable, packet too big, time exceeded, parameter problem. */
bool view_is_error(const struct view *v)
{
	const uint8_t type = v->l4[0];

	if (v->family == 4)
		return type == 3 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}

/* The quoted packet as a view of its own, in a frame that ends where the error does. It may be cut
 * short, so its length is not checked. */
static bool read_quoted(const struct view *v, struct view *quoted)
{
	const uint8_t *ip = v->l4 + ICMP_HEADER;
	const size_t length = v->l4_length - ICMP_HEADER, least = v->family == 4 ? 20 : 40;

	*quoted = (struct view){.frame = ip, .frame_length = length, .family = v->family};
	if (length < least)
		return false;
	if (v->family == 4) {
		read_ip4(quoted, ip);
		return ip[0] >> 4 == 4 && quoted->header >= 20;
	}
	quoted->ip_length = length;
	quoted->header = 40;
	quoted->src = ip + 8;
	quoted->dst = ip + 24;
	return ip[0] >> 4 == 6 && read_extensions(quoted, ip, ip[6]);
}

bool view_quoted(const struct view *v, struct view_quote *ret)
{
	struct view quoted;
	const uint8_t *ports;

	if (!read_quoted(v, &quoted) || quoted.part == PART_LATER || quoted.odd_extensions ||
	    memcmp(quoted.src, v->dst, v->address_length) != 0 ||
	    quoted.frame_length < quoted.header + 4)
		return false;
	if (quoted.protocol != IPPROTO_TCP && quoted.protocol != IPPROTO_UDP)
		return false;
	ports = quoted.frame + quoted.header;
	*ret = (struct view_quote){.protocol = quoted.protocol,
				   .client = quoted.dst,
				   .source_routed = quoted.source_routed,
				   .vip_port = get16(ports),
				   .client_port = get16(ports + 2)};
	return true;
}
