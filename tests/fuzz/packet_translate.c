/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "packet_translate.h"
#include "packet_check.h"

#include <netinet/in.h>
#include <string.h>

#include "support/packet.h"
#include "fuzz.h"

#define IP4_HEADER  20
#define IP6_HEADER  40
#define FRAGMENT6   8
#define ICMP_HEADER 8
#define CUT_MOST    1260  /* RFC 7915, 5.1: so long a packet may be cut on its way */
#define V4_MOST     65535 /* bytes of a packet */

static const uint8_t embed[12] = WORLD_EMBED_BYTES;

bool is_translated(const struct world_service *service)
{
	return service->plan->forward == LB_FORWARD_NAT;
}

static reason_set too_big(const struct model *model, const struct view *v)
{
	return model_draws_too_big(model, v) ? REASON(too_big_answered) : REASON(too_big);
}

static reason_set expired(const struct model *model, const struct view *v)
{
	return model_draws_error(model, v) ? REASON(time_exceeded_answered) : REASON(ttl_exceeded);
}

/* ---- to a backend: the reasons ---- */

size_t translated_growth(const struct view *v)
{
	return IP6_HEADER + (v->part == PART_WHOLE ? 0 : FRAGMENT6) - v->header;
}

/* RFC 7915, 4.5: its sum would need all fragments. */
static bool lacks_a_sum(const struct view *v)
{
	return v->part == PART_FIRST && v->protocol == IPPROTO_UDP && !get16(v->l4 + 6);
}

/* A datagram from a VIP: from a port at which services of this world may be it is refused, from
 * another one it need not be. */
static reason_set of_client(const struct view *v, reason_set otherwise)
{
	if (v->protocol != IPPROTO_UDP || v->part == PART_LATER ||
	    world_find_vip(v->family, v->src) < 0)
		return otherwise;
	return get16(v->l4) < 1024 ? REASON(martian) : otherwise | REASON(martian);
}

static reason_set sent(const struct model *model, const struct view *v,
		       const struct world_service *service)
{
	if (v->ip_length + translated_growth(v) > model_mtu(service))
		return too_big(model, v);
	if (v->ttl <= 1)
		return expired(model, v);
	return lacks_a_sum(v) ? REASON(untranslatable) : REASON(forwarded_tx);
}

reason_set translated_reasons(const struct model *model, const struct view *v,
			      const struct world_service *service)
{
	if (view_is_icmp(v) && v->part != PART_LATER)
		return REASON(forwarded_tx) | REASON(untranslatable) | REASON(ttl_exceeded) |
		       REASON(vip_malformed);
	return of_client(v, sent(model, v, service));
}

/* ---- to a backend: what leaves ---- */

static void check_embedded(const uint8_t *address, const uint8_t *client)
{
	check_same(address, embed, sizeof(embed), "prefix");
	check_same(address + 12, client, 4, "client");
}

/* Sums are as right or wrong as they were (RFC 1624); a datagram that had none has one. */
static void check_sum(const struct view *in, const struct view *out)
{
	if (in->protocol == IPPROTO_UDP && !get16(in->l4 + 6)) {
		require(in->family == 4 ? get16(out->l4 + 6) : !get16(out->l4 + 6), "no checksum");
		return;
	}
	require(view_transport_sum(in) % 0xffff == view_transport_sum(out) % 0xffff,
		"checksum: sums of %04x, then %04x", view_transport_sum(in),
		view_transport_sum(out));
}

/* All but one port and the checksum stays. changed: the offset of that port. */
static void check_transport(const struct view *in, const struct view *out, size_t changed,
			    uint16_t port)
{
	const size_t sum = in->protocol == IPPROTO_TCP ? 16 : 6;

	require(out->l4_length == in->l4_length, "%zu bytes, then %zu", in->l4_length,
		out->l4_length);
	require(get16(out->l4 + changed) == port, "port %u, expected %u", get16(out->l4 + changed),
		port);
	check_same(out->l4 + 2 - changed, in->l4 + 2 - changed, 2, "the other port");
	check_same(out->l4 + 4, in->l4 + 4, sum - 4, "transport header");
	check_same(out->l4 + sum + 2, in->l4 + sum + 2, in->l4_length - sum - 2,
		   "behind the checksum");
	check_sum(in, out);
}

/* RFC 7915, 4.1. */
static void check_header6(const struct view *in, const struct view *out)
{
	require(out->family == 6 && out->sound, "not sound");
	require(get32(out->src - 8) == (0x600u | in->traffic_class) << 20, "%08x",
		get32(out->src - 8));
	require(out->ttl == in->ttl - 1, "hop limit %u, then %u", in->ttl, out->ttl);
	check_embedded(out->src, in->src);
}

static void check_fragment6(const struct view *in, const struct view *out)
{
	require(out->part == in->part && out->fragmented == (in->part != PART_WHOLE), "part");
	if (in->part == PART_WHOLE)
		return;
	require(out->protocol == in->protocol &&
		    out->offset == (in->part == PART_LATER ? in->offset : 0) &&
		    out->datagram == in->datagram,
		"fragment: protocol %u, offset %zu, of %08x", out->protocol, out->offset,
		out->datagram);
	if (in->part == PART_LATER)
		check_same(out->src + 32 + FRAGMENT6, in->src + in->header - 12,
			   in->ip_length - in->header, "fragment");
}

/* The error's own sum is right, and the quoted packet is one between backend and client. */
static void check_error6(const struct view *in, const struct world_service *service, int backend,
			 const struct view *out)
{
	const uint8_t *quote = out->l4 + ICMP_HEADER;

	require(out->protocol == IPPROTO_ICMPV6 && view_is_error(out) &&
		    out->l4_length >= ICMP_HEADER + IP6_HEADER,
		"no error");
	require(view_transport_sum(out) == 0xffff, "checksum");
	check_same(quote + 8, service->backends[backend].address, 16, "quoted source");
	check_embedded(quote + 24, in->l4 + ICMP_HEADER + 16);
}

void check_translated(const struct view *in, const struct world_service *service, int backend,
		      const uint8_t *out, size_t length)
{
	struct view v;

	view_of(out, length, &v);
	require(v.link == LINK_IP, "not IP");
	check_header6(in, &v);
	check_same(v.dst, service->backends[backend].address, 16, "destination");
	if (view_is_icmp(in) && in->part == PART_WHOLE) {
		check_error6(in, service, backend, &v);
		return;
	}
	require(v.ip_length == in->ip_length + translated_growth(in), "%zu bytes, then %zu",
		in->ip_length, v.ip_length);
	check_fragment6(in, &v);
	if (in->part != PART_LATER)
		check_transport(in, &v, 2, WORLD_REAL_PORT);
}

/* ---- from a backend: the reasons ---- */

static const struct world_service *service_of(const uint8_t *address)
{
	const struct world_service *services;
	unsigned count;

	services = world_services(&count);
	for (unsigned i = 0; i < count; i++)
		for (int j = 0; is_translated(&services[i]) && j < WORLD_BACKENDS; j++)
			if (!memcmp(services[i].backends[j].address, address, 16))
				return &services[i];
	return NULL;
}

/* RFC 1122, 3.2.1.3; and not a VIP. */
static bool is_client(const uint8_t *address)
{
	return address[0] && address[0] != 127 && address[0] >> 4 != 14 &&
	       memcmp(address, "\xff\xff\xff\xff", 4) != 0 && world_find_vip(4, address) < 0;
}

static size_t length4(const struct view *v)
{
	return IP4_HEADER + v->ip_length - v->header;
}

static bool may_be_cut(const struct view *v)
{
	return v->part != PART_WHOLE || length4(v) <= CUT_MOST;
}

/* A whole packet of the real, or the first fragment of one. */
static reason_set returned(const struct model *model, const struct view *v)
{
	reason_set sent = REASON(returned_tx);

	if (v->ttl <= 1)
		return expired(model, v);
	if (length4(v) > V4_MOST)
		return REASON(untranslatable);
	if (length4(v) > WORLD_HOP_MTU)
		sent = may_be_cut(v) ? REASON(returned_kernel) : too_big(model, v);
	/* of several extension headers one may be behind that of the fragment */
	return v->part == PART_FIRST ? sent | REASON(untranslatable) : sent;
}

/* What has no ports of its own, or is not sound: it is changed, dropped, or passed as it is. */
static reason_set anything(const struct view *v)
{
	reason_set reasons = REASON(not_vip) | REASON(untranslatable) | REASON(martian);

	if (v->sound && v->part == PART_LATER)
		reasons |= REASON(fragment_unknown) | REASON(returned_tx) |
			   REASON(returned_kernel) | REASON(ttl_exceeded);
	if (v->sound && view_is_icmp(v))
		reasons |= REASON(returned_tx) | REASON(ttl_exceeded);
	return reasons;
}

static reason_set reply_reasons(const struct model *model, const struct view *v,
				const struct world_service *service)
{
	const bool ports = v->sound && v->part != PART_LATER &&
			   (v->protocol == IPPROTO_TCP || v->protocol == IPPROTO_UDP);

	if (!model_is_own_mac(model, v->frame))
		return REASON(not_vip);
	if (!ports || v->odd_extensions || v->source_routed)
		return anything(v);
	if (v->protocol != service->protocol || get16(v->l4) != WORLD_REAL_PORT)
		return REASON(not_vip);
	return is_client(v->dst + 12) ? returned(model, v) : REASON(untranslatable);
}

/* To a client of IPv6, of which no service here has one: what is not known as a reply stays as it
 * is, unless it may be a part of one, or is source-routed. */
static reason_set other_reasons(const struct model *model, const struct view *v)
{
	const bool whole = v->sound && v->part != PART_LATER && !v->source_routed;

	if (!model_is_own_mac(model, v->frame) || (whole && !v->odd_extensions))
		return REASON(not_vip);
	return REASON(not_vip) | REASON(martian) | REASON(fragment_unknown);
}

/* From whomever: it may be about a packet to a backend, or a fragment of one. */
static bool is_error_message(const struct view *v)
{
	return v->sound && v->part == PART_WHOLE && view_is_icmp(v) && view_is_error(v);
}

void translated_reply(const struct model *model, const struct view *v, struct expectation *ret)
{
	const bool embedded = v->family == 6 && !memcmp(v->dst, embed, sizeof(embed));
	const struct world_service *service = v->family == 6 ? service_of(v->src) : NULL;
	const bool error = v->family == 6 && is_error_message(v);

	if (!service && !error)
		return;
	*ret = (struct expectation){.service = embedded ? service : NULL, .returns = embedded};
	if (service)
		ret->reasons =
		    embedded ? reply_reasons(model, v, service) : other_reasons(model, v);
	if (error)
		ret->reasons |=
		    REASON(not_vip) | REASON(fragment_unknown) | (embedded ? anything(v) : 0);
}

/* ---- from a backend: what leaves ---- */

/* RFC 7915, 5.1. The kernel takes its hop itself. */
static void check_header4(const struct view *in, const struct view *out, int reason)
{
	const uint8_t hops = in->ttl - (reason == LB_REASON_returned_tx);
	const bool df = get16(out->src - 6) & 0x4000;

	require(out->family == 4 && out->sound && out->header == IP4_HEADER, "not sound");
	require(out->ttl == hops, "hop limit %u, then TTL %u", in->ttl, out->ttl);
	require(view_header_sum(out) == 0xffff, "header checksum");
	check_same(out->dst, in->dst + 12, 4, "client");
	require(view_is_icmp(in) || df == !may_be_cut(in), "DF");
}

/* The error's own sum is right, and the quoted packet is one between client and VIP. */
static void check_error4(const struct view *in, const struct view *out)
{
	const uint8_t *quote = out->l4 + ICMP_HEADER;

	require(view_is_icmp(out) && view_is_error(out) &&
		    out->l4_length >= ICMP_HEADER + IP4_HEADER,
		"no error");
	require(view_transport_sum(out) == 0xffff, "checksum");
	check_same(quote + 12, in->dst + 12, 4, "quoted source");
	check_same(quote + 16, out->src, 4, "quoted destination");
}

static void check_part(const struct view *in, const struct view *out)
{
	require(out->part == in->part && out->protocol == in->protocol, "part");
	if (in->part != PART_WHOLE)
		require(out->datagram == (in->datagram & 0xffff) &&
			    (in->part != PART_LATER || out->offset == in->offset),
			"fragment of %08x", out->datagram);
}

void check_returned(const struct view *in, const struct expectation *expected, int reason,
		    const uint8_t *out, size_t length)
{
	const struct world_service *service = expected->service;
	struct view v;

	view_of(out, length, &v);
	require(v.link == LINK_IP, "not IP");
	check_header4(in, &v, reason);
	if (view_is_icmp(in) && in->part == PART_WHOLE) {
		check_error4(in, &v);
		return;
	}
	require(v.ip_length == length4(in), "%zu bytes, then %zu", in->ip_length, v.ip_length);
	check_part(in, &v);
	if (in->part == PART_LATER)
		return;
	check_same(v.src, world_vips[service->vip].address, 4, "VIP");
	check_transport(in, &v, 0, service->plan->port);
}
