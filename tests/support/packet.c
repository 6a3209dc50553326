/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets from layers: writes all headers first, then fills in lengths and checksums from the
 * innermost outwards. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "packet.h"

static void __attribute__((noreturn)) die(const char *what, const char *value)
{
	fprintf(stderr, "packet_build: %s: %s\n", what, value);
	abort();
}

/* ---- bytes ---- */

static uint8_t *grow(struct packet *p, size_t bytes)
{
	uint8_t *at = p->data + p->len;

	if (p->len + bytes > sizeof(p->data))
		die("packet", "longer than PACKET_MAX");
	memset(at, 0, bytes);
	p->len += bytes;
	return at;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static int or_default(int value, int otherwise)
{
	return value == ZERO ? 0 : value ? value : otherwise;
}

/* The packet that ANY fields are taken from, during packet_build_like. */
static _Thread_local const struct packet *model;

/* value, or when it is ANY the bits of the model's word at the place that `at` is of p. */
static uint32_t or_model(const struct packet *p, const uint8_t *at, int value, uint32_t bits)
{
	size_t offset = at - p->data;
	uint32_t word;

	if (value != ANY)
		return value;
	if (!model || offset + 4 > model->len)
		die("ANY", "the other packet ends before this field");
	memcpy(&word, model->data + offset, 4);
	return ntohl(word) & bits;
}

static void put_mac(uint8_t *at, const char *text)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &at[0], &at[1], &at[2], &at[3], &at[4],
		   &at[5]) != 6)
		die("MAC address", text);
}

static void put_addr(uint8_t *at, const char *text, int family)
{
	struct addr addr;

	if (!text)
		return;
	if (addr_parse(text, &addr) || addr.family != family)
		die(family == 4 ? "IPv4 address" : "IPv6 address", text);
	memcpy(at, addr.bytes, addr_length(&addr));
}

/* ---- the type of a layer, as the one before it names it ---- */

static int ethertype_of(const struct layer *layer)
{
	switch (layer->kind) {
	case LAYER_VLAN:
		return or_default(layer->vlan.tpid, 0x8100);
	case LAYER_IP4:
		return 0x0800;
	case LAYER_IP6:
		return 0x86dd;
	default:
		return 0xffff;
	}
}

static int protocol_of(const struct layer *layer)
{
	switch (layer->kind) {
	case LAYER_IP4:
		return 4;
	case LAYER_IP6:
		return 41;
	case LAYER_EXT6:
		return layer->ext6.type;
	case LAYER_FRAG6:
		return 44;
	case LAYER_TCP:
		return 6;
	case LAYER_UDP:
		return 17;
	case LAYER_ICMP:
		return 1;
	case LAYER_GRE:
		return 47;
	case LAYER_ICMP6:
		return 58;
	default:
		return 59;
	}
}

/* ---- headers, without lengths and checksums ---- */

static void write_eth(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 14);

	put_mac(at, layer->eth.dst ? layer->eth.dst : PACKET_MAC_LB);
	put_mac(at + 6, layer->eth.src ? layer->eth.src : PACKET_MAC_PEER);
	put16(at + 12, or_default(layer->eth.type, ethertype_of(layer + 1)));
}

static void write_vlan(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 4);

	put16(at, layer->vlan.tci);
	put16(at + 2, or_default(layer->vlan.type, ethertype_of(layer + 1)));
}

static void write_ip4(struct packet *p, const struct layer *layer)
{
	const struct layer_ip4 *ip = &layer->ip4;
	uint8_t *at = grow(p, 20 + ip->options_len);

	at[0] = or_default(ip->version, 4) << 4 | or_default(ip->ihl, 5 + ip->options_len / 4);
	at[1] = ip->tos;
	put16(at + 4, ip->id == ANY ? or_model(p, at + 4, ANY, ~0u) >> 16 : (uint32_t)ip->id);
	put16(at + 6, ip->frag);
	at[8] = or_default(ip->ttl, 64);
	at[9] = or_default(ip->proto, protocol_of(layer + 1));
	put_addr(at + 12, ip->src, 4);
	put_addr(at + 16, ip->dst, 4);
	if (ip->options)
		memcpy(at + 20, ip->options, ip->options_len);
}

static void write_ip6(struct packet *p, const struct layer *layer)
{
	const struct layer_ip6 *ip = &layer->ip6;
	uint8_t *at = grow(p, 40);

	put32(at, (uint32_t)or_default(ip->version, 6) << 28 | (uint32_t)ip->tclass << 20 |
		      or_model(p, at, ip->flow, 0xfffff));
	at[6] = or_default(ip->next, protocol_of(layer + 1));
	at[7] = or_default(ip->hop, 64);
	put_addr(at + 8, ip->src, 6);
	put_addr(at + 24, ip->dst, 6);
}

static void write_ext6(struct packet *p, const struct layer *layer)
{
	const struct layer_ext6 *ext = &layer->ext6;
	bool ah = ext->type == 51;
	size_t len = ah ? 8 + 4 * ext->extra : 8 + 8 * ext->extra;
	uint8_t *at = grow(p, len);

	at[0] = or_default(ext->next, protocol_of(layer + 1));
	at[1] = or_default(ext->hdrlen, ah ? (int)len / 4 - 2 : ext->extra);
	if (ext->type == 0 || ext->type == 60) { /* one PadN over the body */
		at[2] = 1;
		at[3] = len - 4;
	}
	if (ext->type == 43) {
		at[2] = or_default(ext->routing, 4);
		at[3] = ext->left;
	}
}

static void write_frag6(struct packet *p, const struct layer *layer)
{
	const struct layer_frag6 *frag = &layer->frag6;
	uint8_t *at = grow(p, 8);

	at[0] = or_default(frag->next, protocol_of(layer + 1));
	put16(at + 2, frag->offset | !!frag->more);
	put32(at + 4, frag->id);
}

/* A quote's transport header ends early, and with it the packet's lengths. */
static void cut(struct packet *p, const uint8_t *start, int first)
{
	if (first)
		p->len = start - p->data + first;
}

static void write_tcp(struct packet *p, const struct layer *layer)
{
	const struct layer_tcp *tcp = &layer->tcp;
	uint8_t *at = grow(p, 20 + tcp->options_len);

	put16(at, tcp->sport);
	put16(at + 2, tcp->dport);
	put32(at + 4, tcp->seq);
	put32(at + 8, tcp->ack);
	at[12] = or_default(tcp->doff, 5 + tcp->options_len / 4) << 4;
	at[13] = tcp->flags;
	put16(at + 14, or_default(tcp->window, 0xfaf0));
	memset(at + 20, 1, tcp->options_len);
	cut(p, at, tcp->first);
}

static void write_udp(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 8);

	put16(at, layer->udp.sport == ANY ? or_model(p, at, ANY, ~0u) >> 16
					  : (unsigned)layer->udp.sport);
	put16(at + 2, layer->udp.dport);
	cut(p, at, layer->udp.first);
}

/* GUE, variant 0, no options (draft-ietf-intarea-gue-09, section 3.2). */
static void write_gue(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 4);

	at[1] = or_default(layer->gue.proto, protocol_of(layer + 1));
}

/* GRE (RFC 2784, section 2.1): no optional field. */
static void write_gre(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 4);

	put16(at, layer->gre.flags);
	put16(at + 2, or_default(layer->gre.type, ethertype_of(layer + 1)));
}

static void write_icmp(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, 8);

	at[0] = layer->icmp.type;
	at[1] = layer->icmp.code;
	put32(at + 4,
	      layer->icmp.rest | (uint32_t)layer->icmp.id << 16 | (uint32_t)layer->icmp.seq);
}

static void write_data(struct packet *p, const struct layer *layer)
{
	uint8_t *at = grow(p, layer->data.len);

	if (layer->data.bytes)
		memcpy(at, layer->data.bytes, layer->data.len);
	else if (layer->kind == LAYER_DATA)
		for (int i = 0; i < layer->data.len; i++)
			at[i] = 3 + 7 * i;
}

static void write_layer(struct packet *p, const struct layer *layer)
{
	static void (*const writers[])(struct packet *, const struct layer *) = {
	    [LAYER_ETH] = write_eth,   [LAYER_VLAN] = write_vlan, [LAYER_IP4] = write_ip4,
	    [LAYER_IP6] = write_ip6,   [LAYER_EXT6] = write_ext6, [LAYER_FRAG6] = write_frag6,
	    [LAYER_TCP] = write_tcp,   [LAYER_UDP] = write_udp,   [LAYER_GUE] = write_gue,
	    [LAYER_GRE] = write_gre,   [LAYER_ICMP] = write_icmp, [LAYER_ICMP6] = write_icmp,
	    [LAYER_DATA] = write_data, [LAYER_PAD] = write_data,
	};

	writers[layer->kind](p, layer);
}

/* ---- checksums ---- */

uint16_t packet_sum(const void *data, size_t len, uint32_t start)
{
	const uint8_t *at = data;
	uint64_t sum = start;
	uint16_t word;

	for (; len > 1; at += 2, len -= 2) {
		memcpy(&word, at, 2);
		sum += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, at, 1);
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void store_csum(uint8_t *at, uint16_t sum, int bad)
{
	uint16_t csum = ~sum;

	csum += (uint16_t)bad;
	memcpy(at, &csum, 2);
}

/* The sum of the pseudo-header of the header `ip`: RFC 9293 section 3.1, RFC 8200 section 8.1. */
static uint32_t pseudo_sum(const struct packet *p, const struct layer *ip, size_t ip_at, int proto,
			   size_t len)
{
	uint8_t tail[8] = {0};

	put32(tail, len);
	tail[7] = proto;
	if (ip->kind == LAYER_IP4)
		return packet_sum(p->data + ip_at + 12, 8, packet_sum(tail, 8, 0));
	return packet_sum(p->data + ip_at + 8, 32, packet_sum(tail, 8, 0));
}

struct span {
	const struct layer *ip; /* the nearest IP layer outside, NULL: none */
	size_t ip_at, at, end;
};

static void finish_ip4(struct packet *p, const struct layer *layer, const struct span *span)
{
	uint8_t *at = p->data + span->at;

	put16(at + 2, or_default(layer->ip4.len, span->end - span->at));
	store_csum(at + 10, packet_sum(at, 20 + layer->ip4.options_len, 0), layer->ip4.bad_csum);
}

static void finish_ip6(struct packet *p, const struct layer *layer, const struct span *span)
{
	put16(p->data + span->at + 4, or_default(layer->ip6.len, span->end - span->at - 40));
}

static void finish_tcp(struct packet *p, const struct layer *layer, const struct span *span)
{
	uint8_t *at = p->data + span->at;
	size_t len = span->end - span->at;

	if (!layer->tcp.first)
		store_csum(at + 16,
			   packet_sum(at, len, pseudo_sum(p, span->ip, span->ip_at, 6, len)),
			   layer->tcp.bad_csum);
}

static void finish_udp(struct packet *p, const struct layer *layer, const struct span *span)
{
	uint8_t *at = p->data + span->at;
	size_t len = span->end - span->at;

	if (layer->udp.first && layer->udp.first < 8)
		return;
	put16(at + 4, or_default(layer->udp.len, len));
	if (layer->udp.no_csum)
		return;
	store_csum(at + 6, packet_sum(at, len, pseudo_sum(p, span->ip, span->ip_at, 17, len)),
		   layer->udp.bad_csum);
	if (!at[6] && !at[7]) /* zero means "none": RFC 768 */
		put16(at + 6, 0xffff);
}

static void finish_icmp(struct packet *p, const struct layer *layer, const struct span *span)
{
	uint8_t *at = p->data + span->at;
	size_t len = span->end - span->at;
	uint32_t pseudo =
	    layer->kind == LAYER_ICMP6 ? pseudo_sum(p, span->ip, span->ip_at, 58, len) : 0;

	store_csum(at + 2, packet_sum(at, len, pseudo), layer->icmp.bad_csum);
}

static void finish_layer(struct packet *p, const struct layer *layer, const struct span *span)
{
	switch (layer->kind) {
	case LAYER_IP4:
		finish_ip4(p, layer, span);
		break;
	case LAYER_IP6:
		finish_ip6(p, layer, span);
		break;
	case LAYER_TCP:
		finish_tcp(p, layer, span);
		break;
	case LAYER_UDP:
		finish_udp(p, layer, span);
		break;
	case LAYER_ICMP:
	case LAYER_ICMP6:
		finish_icmp(p, layer, span);
		break;
	default:
		break;
	}
}

void packet_build_like(struct packet *ret, const struct layer *layers, const struct packet *like)
{
	model = like;
	packet_build(ret, layers);
	model = NULL;
}

void packet_build(struct packet *ret, const struct layer *layers)
{
	struct span spans[32] = {{0}};
	struct span outer = {0};
	size_t count = 0, padding = 0;

	ret->len = 0;
	for (; layers[count].kind != LAYER_END; count++) {
		if (count == 32)
			die("packet", "more than 32 layers");
		spans[count] = (struct span){.ip = outer.ip, .ip_at = outer.ip_at, .at = ret->len};
		write_layer(ret, &layers[count]);
		if (layers[count].kind == LAYER_IP4 || layers[count].kind == LAYER_IP6)
			outer = (struct span){.ip = &layers[count], .ip_at = spans[count].at};
		if (layers[count].kind == LAYER_PAD)
			padding += layers[count].data.len;
	}
	while (count--) {
		spans[count].end = ret->len - padding;
		if ((layers[count].kind == LAYER_TCP || layers[count].kind == LAYER_UDP) &&
		    !spans[count].ip)
			die("packet", "TCP or UDP without an IP layer before it");
		finish_layer(ret, &layers[count], &spans[count]);
	}
}
