/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What leaves: packets to backends with their outer headers, and answers to clients. */
#include "packet_check.h"
#include "packet_translate.h"

#include <netinet/in.h>
#include <string.h>

#include "support/packet.h"
#include "fuzz.h"

#define TCP_FIN        0x01
#define TCP_SYN        0x02
#define TCP_RST        0x04
#define TCP_ACK        0x10
#define ICMP_HEADER    8
#define QUOTE_LEAST    8   /* bytes beyond the quoted IP header: RFC 792 */
#define ERROR_MOST4    540 /* SECURITY.md */
#define ERROR_MOST6    560
#define FRAME_SHORTEST 60
#define FIRST_DYNAMIC  49152 /* RFC 6335 */

void check_same(const uint8_t *got, const uint8_t *expected, size_t length, const char *what)
{
	for (size_t i = 0; i < length; i++)
		require(got[i] == expected[i], "%s: byte %zu is %02x, expected %02x", what, i,
			got[i], expected[i]);
}

/* ---- to a backend ---- */

static int find_backend(const struct world_service *service, const uint8_t *mac)
{
	for (int i = 0; i < WORLD_BACKENDS; i++)
		if (!memcmp(service->backends[i].mac, mac, 6))
			return i;
	require(false, "sent to a MAC address that is no backend's of the service");
	return -1;
}

/* The link header. Returns its length. */
static size_t check_link(const struct world_service *service, int backend, uint16_t type,
			 const uint8_t *out, size_t length)
{
	const size_t link = service->plan->vlan ? 18 : 14;

	require(length >= link, "%zu bytes", length);
	require(service->backends[backend].usable, "the backend is not usable");
	check_same(out + 6, world_own_macs[0], 6, "source MAC");
	if (service->plan->vlan)
		require(get16(out + 12) == 0x8100 && get16(out + 14) == WORLD_VLAN, "tag %04x %04x",
			get16(out + 12), get16(out + 14));
	require(get16(out + link - 2) == type, "type %04x, expected %04x", get16(out + link - 2),
		type);
	return link;
}

/* What is after the outer IP header, by forward and family of the packet. */
static uint8_t tunnel_protocol(const struct view *in, const struct world_service *service)
{
	if (service->plan->forward == LB_FORWARD_GUE)
		return IPPROTO_UDP;
	if (service->plan->forward == LB_FORWARD_GRE)
		return IPPROTO_GRE;
	return in->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static void check_source(const struct world_service *service, const uint8_t *source)
{
	static const uint8_t base4[4] = {10, 0, 0, 1}, base6[16] = {0xfd, [15] = 1};
	const bool is4 = service->outer_family == 4;
	const size_t head = is4 ? 0 : 12;
	uint32_t base = get32(is4 ? base4 : base6 + 12);

	check_same(source, base6, head, "outer source");
	require(!((get32(source + head) ^ base) & ~service->plan->spread), "outer source %08x",
		get32(source + head));
}

/* RFC 2003, 3.1: DF; RFC 6040: the inner DSCP and ECN. ip: the outer header; inner: bytes that
 * follow it. */
static void check_outer4(const struct view *in, const struct world_service *service, int backend,
			 const uint8_t *ip, size_t inner)
{
	require(ip[0] == 0x45 && ip[1] == in->traffic_class, "%02x %02x", ip[0], ip[1]);
	require(get16(ip + 2) == 20 + inner, "outer length %u, expected %zu", get16(ip + 2),
		20 + inner);
	require(get16(ip + 6) == 0x4000, "outer fragment word %04x", get16(ip + 6));
	require(ip[8] > 1 && ip[9] == tunnel_protocol(in, service), "%u, %u", ip[8], ip[9]);
	require(packet_sum(ip, 20, 0) == 0xffff, "outer checksum");
	check_source(service, ip + 12);
	check_same(ip + 16, service->backends[backend].address, 4, "outer destination");
}

static void check_outer6(const struct view *in, const struct world_service *service, int backend,
			 const uint8_t *ip, size_t inner)
{
	require(get32(ip) >> 20 == (0x600u | in->traffic_class), "%08x", get32(ip));
	require(get16(ip + 4) == inner, "outer length %u, expected %zu", get16(ip + 4), inner);
	require(ip[6] == tunnel_protocol(in, service) && ip[7] > 1, "%u, %u", ip[6], ip[7]);
	check_source(service, ip + 8);
	check_same(ip + 24, service->backends[backend].address, 16, "outer destination");
}

/* GUE variant 0 (draft-ietf-intarea-gue), GRE (RFC 2784). */
static void check_between(const struct view *in, const struct world_service *service,
			  const uint8_t *at)
{
	const uint8_t gue[4] = {0, in->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6};

	if (service->plan->forward == LB_FORWARD_GUE) {
		require(get16(at) >= FIRST_DYNAMIC, "source port %u", get16(at));
		require(get16(at + 2) == WORLD_GUE_PORT, "port %u", get16(at + 2));
		require(get16(at + 4) == 12 + in->ip_length, "UDP length %u", get16(at + 4));
		require(!get16(at + 6), "UDP checksum %04x", get16(at + 6));
		check_same(at + 8, gue, 4, "GUE header");
	}
	if (service->plan->forward == LB_FORWARD_GRE)
		require(!get16(at) && get16(at + 2) == (in->family == 4 ? 0x0800 : 0x86dd),
			"GRE header %08x", get32(at));
}

/* The packet itself, in a tunnel or by itself, one hop on: RFC 2003, 3.1. Its IPv4 checksum is as
 * right or wrong as it was (RFC 1624). */
static void check_inner(const struct view *in, const uint8_t *out, size_t length)
{
	const uint8_t *ip = in->frame + in->l3;
	const size_t hops = in->family == 4 ? 8 : 7, skip = in->family == 4 ? 4 : 1;

	require(length == in->frame_length - in->l3, "%zu bytes, expected %zu", length,
		in->frame_length - in->l3);
	check_same(out, ip, hops, "inner header");
	require(out[hops] == ip[hops] - 1, "TTL %u, then %u", ip[hops], out[hops]);
	if (in->family == 4) {
		require(out[9] == ip[9], "protocol %u, then %u", ip[9], out[9]);
		require(packet_sum(out, in->header, 0) % 0xffff ==
			    packet_sum(ip, in->header, 0) % 0xffff,
			"header checksum");
	}
	check_same(out + hops + skip, ip + hops + skip, length - hops - skip, "inner packet");
}

static void check_tunnelled(const struct view *in, const struct world_service *service, int backend,
			    const uint8_t *out, size_t length)
{
	const size_t overhead = model_overhead(service), ip = service->outer_family == 4 ? 20 : 40;
	const size_t link =
	    check_link(service, backend, service->outer_family == 4 ? 0x0800 : 0x86dd, out, length);

	require(length >= link + overhead, "%zu bytes", length);
	if (service->outer_family == 4)
		check_outer4(in, service, backend, out + link, overhead - ip + in->ip_length);
	else
		check_outer6(in, service, backend, out + link, overhead - ip + in->ip_length);
	check_between(in, service, out + link + ip);
	check_inner(in, out + link + overhead, length - link - overhead);
}

static void check_direct(const struct view *in, const struct world_service *service, int backend,
			 const uint8_t *out, size_t length)
{
	const size_t link =
	    check_link(service, backend, in->family == 4 ? 0x0800 : 0x86dd, out, length);

	check_inner(in, out + link, length - link);
}

int check_forwarded(const struct view *in, const struct expectation *expected, const uint8_t *out,
		    size_t length)
{
	const struct world_service *service = expected->service;
	int backend;

	require(service && length >= 14, "forwarded, but for no service");
	backend = find_backend(service, out);
	require(expected->backends >> backend & 1, "backend %d, expected one of %x", backend,
		expected->backends);
	if (is_translated(service)) {
		check_link(service, backend, 0x86dd, out, length);
		check_translated(in, service, backend, out, length);
	} else if (service->plan->forward == LB_FORWARD_L2)
		check_direct(in, service, backend, out, length);
	else
		check_tunnelled(in, service, backend, out, length);
	return backend;
}

/* ---- answers ---- */

/* Addresses turned round, tags as they were, one host on either side. */
static void check_turned(const struct view *in, const struct view *out)
{
	require(out->link == LINK_IP && out->family == in->family && out->sound, "not sound");
	require(out->l3 == in->l3, "tags");
	check_same(out->frame, in->frame + 6, 6, "destination MAC");
	check_same(out->frame + 6, in->frame, 6, "source MAC");
	check_same(out->frame + 12, in->frame + 12, in->l3 - 12, "link header");
	require(!(out->frame[0] & 1), "an answer to a multicast MAC address");
	check_same(out->src, in->dst, in->address_length, "source");
	check_same(out->dst, in->src, in->address_length, "destination");
	require(out->ttl > 1, "TTL %u", out->ttl);
}

/* Of an answer that the VIP makes itself; an echo reply is as right as its request was. */
static void check_sums(const struct view *out)
{
	require(out->family == 6 || view_header_sum(out) == 0xffff, "header checksum");
	require(view_transport_sum(out) == 0xffff, "checksum");
	require(out->part == PART_WHOLE && !out->behind_extensions, "not plain");
	require(out->family == 6 || out->header == 20, "options");
}

/* RFC 792, RFC 4443: the request with another type, the same data. */
static void check_echo(const struct view *in, const struct view *out)
{
	require(out->frame_length == in->frame_length && out->ip_length == in->ip_length,
		"%zu bytes, asked with %zu", out->frame_length, in->frame_length);
	require(view_is_icmp(out) && out->l4[0] == (in->family == 4 ? 0 : 129) && !out->l4[1],
		"type %u", out->l4[0]);
	require(view_transport_sum(out) == 0xffff, "checksum");
	require(in->family == 6 || view_header_sum(in) % 0xffff == view_header_sum(out) % 0xffff,
		"header checksum");
	check_same(out->l4 + 4, in->l4 + 4, in->frame_length - (size_t)(in->l4 + 4 - in->frame),
		   "data");
}

/* RFC 9293, 3.10.7.1. */
static void check_reset(const struct view *in, const struct view *out)
{
	const uint8_t *segment = in->l4, *reset = out->l4, flags = segment[13];
	const size_t data = in->l4_length - (segment[12] >> 4) * 4u;
	const uint32_t end =
	    get32(segment + 4) + (uint32_t)data + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);

	require(out->protocol == IPPROTO_TCP && out->l4_length == 20, "not a bare reset");
	require(out->ip_length <= in->ip_length, "larger than what was asked with");
	require(out->frame_length <= in->frame_length, "a longer frame");
	/* IEEE 802.3: the shortest frame, without its checksum; a veth pads none */
	require(out->frame_length >= FRAME_SHORTEST || in->frame_length < FRAME_SHORTEST,
		"a frame of %zu bytes", out->frame_length);
	check_same(reset, segment + 2, 2, "source port");
	check_same(reset + 2, segment, 2, "destination port");
	require(reset[12] == 0x50 && reset[13] == (flags & TCP_ACK ? TCP_RST : TCP_RST | TCP_ACK),
		"flags %02x", reset[13]);
	require(get32(reset + 4) == (flags & TCP_ACK ? get32(segment + 8) : 0), "sequence number");
	require(get32(reset + 8) == (flags & TCP_ACK ? 0 : end), "acknowledgement");
	for (size_t i = out->l3 + out->ip_length; i < out->frame_length; i++)
		require(!out->frame[i], "padding holds bytes of something else");
	check_sums(out);
}

/* Type and code (0xTTCC) of the error for a reason. */
static unsigned error_type(const struct view *in, int reason)
{
	const bool is4 = in->family == 4;

	switch (reason) {
	case LB_REASON_too_big_answered:
		return is4 ? 0x0304 : 0x0200;
	case LB_REASON_time_exceeded_answered:
		return is4 ? 0x0b00 : 0x0300;
	default:
		if (in->protocol == IPPROTO_UDP)
			return is4 ? 0x0303 : 0x0104;
		return is4 ? 0x0302 : 0x0401;
	}
}

/* The word after the checksum: the MTU, the place of the unknown header, or nothing. */
static uint32_t error_word(const struct view *in, const struct expectation *expected, int reason)
{
	const struct world_service *service = expected->service;

	if (reason == LB_REASON_too_big_answered && expected->returns)
		return WORLD_HOP_MTU + 20;
	if (reason == LB_REASON_too_big_answered && is_translated(service))
		return (uint32_t)(model_mtu(service) - translated_growth(in));
	if (reason == LB_REASON_too_big_answered)
		return (uint32_t)(model_mtu(service) - model_overhead(service));
	return error_type(in, reason) == 0x0401 ? 6 : 0;
}

static void check_error(const struct view *in, const struct expectation *expected, int reason,
			const struct view *out)
{
	const size_t quoted = out->l4_length - ICMP_HEADER;
	size_t least = in->header + QUOTE_LEAST;

	require(view_is_icmp(out), "protocol %u", out->protocol);
	require(get16(out->l4) == error_type(in, reason), "type and code %04x, expected %04x",
		get16(out->l4), error_type(in, reason));
	require(get32(out->l4 + 4) == error_word(in, expected, reason), "word %08x, expected %08x",
		get32(out->l4 + 4), error_word(in, expected, reason));
	require(out->frame_length == out->l3 + out->ip_length, "bytes after the packet");
	least = least < in->ip_length ? least : in->ip_length;
	least = least < 512 ? least : 512;
	require(quoted >= least && quoted <= in->ip_length, "%zu bytes quoted of %zu", quoted,
		in->ip_length);
	require(out->ip_length <= (in->family == 4 ? ERROR_MOST4 : ERROR_MOST6), "%zu bytes",
		out->ip_length);
	check_same(out->l4 + ICMP_HEADER, in->frame + in->l3, quoted, "quote");
	check_sums(out);
}

void check_answer(const struct view *in, const struct expectation *expected, int reason,
		  const uint8_t *out, size_t length)
{
	struct view answer;

	view_of(out, length, &answer);
	check_turned(in, &answer);
	if (reason == LB_REASON_echo_answered)
		check_echo(in, &answer);
	else if (in->protocol == IPPROTO_TCP &&
		 (reason == LB_REASON_unserved_rejected || reason == LB_REASON_no_backend_rejected))
		check_reset(in, &answer);
	else
		check_error(in, expected, reason, &answer);
}
