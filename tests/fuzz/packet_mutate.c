/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet target's mutator: new frames from the shapes that matter, one field of a frame
 * changed, bytes of it changed at random, frames repeated, removed and moved. */
#include "packet_mutate.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "packet_view.h"
#include "packet_world.h"
#include "support/packet.h"
#include "fuzz.h"

#define IP4_HEADER 20
#define IP6_HEADER 40

/* splitmix64 */
static uint64_t state;

static uint32_t draw(uint32_t below)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static bool one_in(uint32_t n)
{
	return !draw(n);
}

#define PICK(list) ((list)[draw(sizeof(list) / sizeof((list)[0]))])

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

/* ---- lengths and checksums ---- */

static size_t checksum_at(const struct view *v)
{
	if (v->protocol == IPPROTO_TCP)
		return 16;
	if (v->protocol == IPPROTO_UDP)
		return 6;
	return view_is_icmp(v) ? 2 : 0;
}

static void seal(struct input_frame *frame)
{
	uint16_t sum;
	struct view v;
	uint8_t *l4, *ip;
	size_t at;

	view_of(frame->bytes, frame->length, &v);
	if (v.link != LINK_IP || !v.sound)
		return;
	ip = frame->bytes + v.l3;
	if (v.family == 4) {
		put16(ip + 10, 0);
		sum = (uint16_t)~view_header_sum(&v);
		memcpy(ip + 10, &sum, 2);
	}
	at = checksum_at(&v);
	if (!at || v.part != PART_WHOLE)
		return;
	l4 = frame->bytes + (v.l4 - v.frame);
	if (v.protocol == IPPROTO_UDP)
		put16(l4 + 4, v.l4_length);
	put16(l4 + at, 0);
	sum = (uint16_t)~view_transport_sum(&v);
	memcpy(l4 + at, &sum, 2);
}

/* The IP packet ends where the frame does. */
static void fit(struct input_frame *frame)
{
	struct view v;

	view_of(frame->bytes, frame->length, &v);
	if (v.link != LINK_IP)
		return;
	if (v.family == 4)
		put16(frame->bytes + v.l3 + 2, frame->length - v.l3);
	else
		put16(frame->bytes + v.l3 + 4, frame->length - v.l3 - IP6_HEADER);
}

/* Makes room for bytes, which are zero; false: the frame is too long. */
static bool insert(struct input_frame *frame, size_t at, size_t bytes)
{
	if (frame->length + bytes > FRAME_MOST || at > frame->length)
		return false;
	memmove(frame->bytes + at + bytes, frame->bytes + at, frame->length - at);
	memset(frame->bytes + at, 0, bytes);
	frame->length += bytes;
	return true;
}

/* ---- new frames ---- */

/* Few clients, so that flows meet; some that cannot be. */
static void draw_client(uint8_t family, uint8_t *to)
{
	/* both sides of the edges of what is impossible */
	static const uint8_t odd4[][4] = {
	    {0, 0, 0, 0},         {0, 255, 255, 255},   {1, 0, 0, 0},    {126, 255, 255, 255},
	    {127, 0, 0, 1},       {128, 0, 0, 1},       {223, 1, 1, 1},  {224, 0, 0, 1},
	    {239, 255, 255, 255}, {240, 0, 0, 1},       {192, 0, 2, 10}, {192, 0, 2, 12},
	    {255, 255, 255, 254}, {255, 255, 255, 255},
	};
	static const uint8_t odd6[][16] = {
	    {0},
	    {[15] = 1},
	    {0xff, 2, [15] = 1},
	    {[10] = 0xff, [11] = 0xff, [12] = 10},
	    {0x20, 1, 0x0d, 0xb8, [15] = 0x10},
	    {0x20, 1, 0x0d, 0xb8, [8] = 1, [15] = 0x10},
	    {0x20, 1, 0x0d, 0xb8, [7] = 9, [15] = 0x10},
	    {0, 0x64, 0xff, 0x9b, [15] = 9},
	    {0xfe, 0x80, [15] = 9},
	};

	if (one_in(12)) {
		memcpy(to, family == 4 ? PICK(odd4) : PICK(odd6), family == 4 ? 4 : 16);
	} else if (family == 4) {
		put32(to, 0xc6336400 | draw(2) << 8 | draw(3));
	} else {
		memset(to, 0, 16);
		put32(to, 0x20010db8);
		put16(to + 6, draw(2));
		to[15] = (uint8_t)draw(3);
	}
}

static int draw_vip(uint8_t family)
{
	return (family == 4 ? 0 : 1) + (one_in(4) ? 2 : 0) + (one_in(16) ? 2 : 0);
}

static uint16_t draw_service_port(void)
{
	const struct world_service *services;
	unsigned count;

	services = world_services(&count);
	return services[draw(count)].plan->port;
}

/* Often the same, so that flows of one service meet. */
static uint16_t favourite;

static uint16_t draw_port(void)
{
	if (one_in(8))
		return (uint16_t)draw(0x10000);
	return one_in(2) ? favourite : draw_service_port();
}

static void write_ip(uint8_t *ip, uint8_t family, uint8_t protocol, size_t payload)
{
	const uint8_t hops = one_in(8) ? (uint8_t)draw(3) : 64;
	const struct world_vip *vip = &world_vips[draw_vip(family)];

	memset(ip, 0, family == 4 ? IP4_HEADER : IP6_HEADER);
	if (family == 4) {
		ip[0] = 0x45;
		put16(ip + 2, IP4_HEADER + payload);
		ip[6] = one_in(2) ? 0x40 : 0;
		ip[8] = hops;
		ip[9] = protocol;
		draw_client(4, ip + 12);
		memcpy(ip + 16, vip->address, 4);
		return;
	}
	ip[0] = 0x60;
	put16(ip + 4, payload);
	ip[6] = protocol;
	ip[7] = hops;
	draw_client(6, ip + 8);
	memcpy(ip + 24, vip->address, 16);
}

/* Ethernet and IP headers with room for a payload that is the pattern. Returns its place. */
static uint8_t *begin_frame(struct input_frame *frame, uint8_t family, uint8_t protocol,
			    size_t payload)
{
	static const uint8_t peer[6] = {2, 0, 0, 0, 0, 2};
	const size_t header = family == 4 ? IP4_HEADER : IP6_HEADER;

	frame->length = 14 + header + payload;
	input_fill(frame, 0);
	memcpy(frame->bytes, world_own_macs[one_in(4)], 6);
	memcpy(frame->bytes + 6, peer, 6);
	put16(frame->bytes + 12, family == 4 ? 0x0800 : 0x86dd);
	write_ip(frame->bytes + 14, family, protocol, payload);
	return frame->bytes + 14 + header;
}

static uint8_t draw_flags(void)
{
	static const uint8_t flags[] = {0x02, 0x02, 0x10, 0x10, 0x18, 0x11,
					0x04, 0x14, 0x12, 0x03, 0};

	return PICK(flags);
}

static void write_tcp(uint8_t *tcp)
{
	put16(tcp, 1000 + draw(3));
	put16(tcp + 2, draw_port());
	tcp[13] = draw_flags();
	put32(tcp + 4, tcp[13] & 2 ? 7 : 8);
	put32(tcp + 8, draw(3));
	tcp[12] = one_in(16) ? (uint8_t)draw(256) : 0x50;
}

static size_t draw_size(void)
{
	static const size_t edges[] = {0,    1,    6,    18,   26,   1200, 1232,
				       1260, 1432, 1440, 1452, 1460, 1480, 2700};

	return one_in(2) ? draw(30) : PICK(edges) + draw(3);
}

static void make_tcp(struct input_frame *frame, uint8_t family)
{
	write_tcp(begin_frame(frame, family, IPPROTO_TCP, 20 + draw_size()));
}

static void make_udp(struct input_frame *frame, uint8_t family)
{
	uint8_t *udp = begin_frame(frame, family, IPPROTO_UDP, 8 + draw_size());

	put16(udp, 1000 + draw(3));
	put16(udp + 2, draw_port());
}

static void make_echo(struct input_frame *frame, uint8_t family)
{
	uint8_t *icmp = begin_frame(frame, family, family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
				    8 + draw_size());

	icmp[0] = family == 4 ? 8 : 128;
	icmp[1] = one_in(8);
}

static void make_other_icmp(struct input_frame *frame, uint8_t family)
{
	uint8_t *icmp =
	    begin_frame(frame, family, family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 8 + draw(24));

	icmp[0] = (uint8_t)(family == 4 ? draw(20) : one_in(2) ? draw(5) : 127 + draw(12));
	icmp[1] = (uint8_t)draw(5);
	if (one_in(2))
		frame->bytes[14 + (family == 4 ? 8 : 7)] = 255;
}

static void make_other_protocol(struct input_frame *frame, uint8_t family)
{
	static const uint8_t protocols[] = {132, 47, 4, 41, 50, 51, 58, 1, 59, 135, 0, 2};

	begin_frame(frame, family, PICK(protocols), 8 + draw(40));
}

static void make_not_ip(struct input_frame *frame, uint8_t family)
{
	static const uint16_t types[] = {0x0806, 0x88cc, 0x8847, 0x8864, 0x0026};

	begin_frame(frame, family, IPPROTO_TCP, 20 + draw(20));
	put16(frame->bytes + 12, PICK(types));
}

/* What a backend of a service with forward: nat sends to a client, or to one that cannot be. */
static void make_reply(struct input_frame *frame, uint8_t family)
{
	static const uint8_t embed[12] = WORLD_EMBED_BYTES;
	const struct world_service *services, *service;
	uint8_t *ip = frame->bytes + 14, *l4;
	unsigned count;

	services = world_services(&count);
	do
		service = &services[draw(count)];
	while (service->plan->forward != LB_FORWARD_NAT);
	l4 = begin_frame(frame, 6, service->protocol, 20 + draw_size());
	if (service->protocol == IPPROTO_TCP)
		write_tcp(l4);
	memcpy(ip + 8, service->backends[draw(WORLD_BACKENDS)].address, 16);
	memcpy(ip + 24, embed, sizeof(embed));
	draw_client(4, ip + 36);
	put16(l4, one_in(8) ? draw_port() : WORLD_REAL_PORT);
	put16(l4 + 2, 1000 + draw(3));
}

typedef void maker(struct input_frame *frame, uint8_t family);

static void make_frame(struct input_frame *frame)
{
	static maker *const makers[] = {
	    make_tcp,    make_tcp,   make_tcp,        make_udp,
	    make_udp,    make_echo,  make_other_icmp, make_other_protocol,
	    make_not_ip, make_reply, make_reply};

	PICK(makers)(frame, one_in(2) ? 4 : 6);
	seal(frame);
}

/* ---- frames about other frames ---- */

/* An ICMP error from somewhere about what the VIP sent in this frame's flow. */
static void quote_frame(struct input_frame *frame)
{
	static const uint8_t types4[] = {3, 11, 12, 4, 5}, types6[] = {1, 2, 3, 4};
	struct view v;
	uint8_t quoted[128], *icmp;
	size_t length, cut;
	int vip;

	view_of(frame->bytes, frame->length, &v);
	if (v.link != LINK_IP || !v.sound || !v.l4)
		return;
	length = v.ip_length < sizeof(quoted) ? v.ip_length : sizeof(quoted);
	memcpy(quoted, v.frame + v.l3, length);
	memcpy(quoted + (v.src - v.frame) - v.l3, v.dst, v.address_length);
	memcpy(quoted + (v.dst - v.frame) - v.l3, v.src, v.address_length);
	if (v.header + 4 <= length) {
		memcpy(quoted + v.header, v.l4 + 2, 2);
		memcpy(quoted + v.header + 2, v.l4, 2);
	}
	cut = one_in(4) ? v.header + draw(12) : length;
	length = cut < length ? cut : length;
	vip = world_find_vip(v.family, v.dst); /* while the frame is as it was */
	icmp =
	    begin_frame(frame, v.family, v.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, 8 + length);
	if (vip >= 0)
		memcpy(icmp - v.address_length, world_vips[vip].address, v.address_length);
	icmp[0] = v.family == 4 ? PICK(types4) : PICK(types6);
	memcpy(icmp + 8, quoted, length);
}

/* Into a fragment: of IPv4 by the header's word, of IPv6 by an extension header. */
static void fragment_frame(struct input_frame *frame)
{
	static const uint16_t words4[] = {0x2000, 0x0002, 0x2001, 0x0001, 0x1fff};
	static const uint16_t words6[] = {0x0001, 0x0010, 0x0009, 0x0000, 0xfff8};
	struct view v;
	uint8_t *ip, next;

	view_of(frame->bytes, frame->length, &v);
	if (v.link != LINK_IP)
		return;
	ip = frame->bytes + v.l3;
	if (v.family == 4) {
		put16(ip + 6, one_in(2) ? 0x2000 : PICK(words4));
		put16(ip + 4, draw(2));
		return;
	}
	next = ip[6];
	if (next == 44) { /* there is one already */
		put16(ip + IP6_HEADER + 2, PICK(words6));
		return;
	}
	if (!insert(frame, v.l3 + IP6_HEADER, 8))
		return;
	ip[6] = 44;
	ip[IP6_HEADER] = next;
	put16(ip + IP6_HEADER + 2, one_in(2) ? 1 : PICK(words6));
	put32(ip + IP6_HEADER + 4, draw(2));
	fit(frame);
}

/* The rest of the same datagram. */
static void follow_fragment(struct input_frame *frame)
{
	struct view v;
	uint8_t *ip;

	view_of(frame->bytes, frame->length, &v);
	if (v.link != LINK_IP || v.part == PART_WHOLE)
		return;
	ip = frame->bytes + v.l3;
	if (v.family == 4)
		put16(ip + 6, 1 + draw(0x1fff));
	else if (ip[6] == 44)
		put16(ip + IP6_HEADER + 2, (1 + draw(0x1fff)) << 3 | draw(2));
}

/* ---- one field ---- */

static void change_addresses(struct input_frame *frame, const struct view *v)
{
	uint8_t *src = frame->bytes + (v->src - v->frame),
		*dst = frame->bytes + (v->dst - v->frame);

	if (one_in(2))
		draw_client(v->family, src);
	else if (one_in(8))
		dst[0] ^= 1;
	else
		memcpy(dst, world_vips[draw_vip(v->family)].address, v->address_length);
}

static void change_header(struct input_frame *frame, const struct view *v)
{
	static const uint8_t hops[] = {0, 1, 2, 64, 255};
	uint8_t *ip = frame->bytes + v->l3;

	switch (draw(4)) {
	case 0:
		ip[v->family == 4 ? 8 : 7] = PICK(hops);
		break;
	case 1:
		ip[1] = (uint8_t)draw(256);
		break;
	case 2:
		ip[0] = (uint8_t)draw(256);
		break;
	default:
		put16(ip + (v->family == 4 ? 2 : 4),
		      draw(2) ? draw(64) : frame->length - v->l3 + draw(9) - 4);
	}
}

static void change_transport(struct input_frame *frame, const struct view *v)
{
	uint8_t *l4 = frame->bytes + (v->l4 - v->frame);

	if (v->l4_length < 4)
		return;
	switch (draw(4)) {
	case 0:
		put16(l4, 1000 + draw(3));
		break;
	case 1:
		put16(l4 + 2, draw_port());
		break;
	default:
		if (v->protocol == IPPROTO_TCP && v->l4_length >= 20) {
			l4[13] = draw_flags();
			put32(l4 + 4, 7 + draw(2));
		}
	}
}

static void add_options(struct input_frame *frame, const struct view *v)
{
	uint8_t *ip = frame->bytes + v->l3;
	const size_t words = 1 + draw(3);

	if ((ip[0] & 15) + words > 15 || !insert(frame, v->l3 + IP4_HEADER, words * 4))
		return;
	memset(ip + IP4_HEADER, 1, words * 4); /* no operation */
	if (words == 3 && one_in(2))
		memcpy(ip + IP4_HEADER, (const uint8_t[]){131, 11, 4}, 3); /* source route */
	ip[0] = (uint8_t)(ip[0] + words);
	fit(frame);
}

static void add_extension(struct input_frame *frame, const struct view *v)
{
	static const uint8_t kinds[] = {0, 43, 60, 60, 51, 135};
	uint8_t *ip = frame->bytes + v->l3, next = ip[6];
	const size_t words = draw(3);

	if (!insert(frame, v->l3 + IP6_HEADER, (words + 1) * 8))
		return;
	ip[6] = PICK(kinds);
	ip[IP6_HEADER] = next;
	ip[IP6_HEADER + 1] = (uint8_t)(one_in(16) ? draw(256) : words);
	fit(frame);
}

static void change_link(struct input_frame *frame)
{
	static const uint8_t macs[][6] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
					  {1, 0, 0x5e, 0, 0, 1},
					  {2, 0xde, 0xad, 0, 0, 1}, /* world_other_mac */
					  {2, 0, 0, 0, 0, 1},
					  {2, 0, 0, 0, 7, 1}};

	switch (draw(4)) {
	case 0:
		memcpy(frame->bytes, PICK(macs), 6);
		break;
	case 1:
		memcpy(frame->bytes + 6, PICK(macs), 6);
		break;
	default:
		if (insert(frame, 12, 4)) {
			put16(frame->bytes + 12, one_in(2) ? 0x8100 : 0x88a8);
			put16(frame->bytes + 14, draw(4096));
		}
	}
}

/* Padding, or a frame that ends early. */
static void change_length(struct input_frame *frame)
{
	const size_t before = frame->length, other = one_in(3) ? 60 : before + draw(80);

	if (one_in(3))
		frame->length -= draw((uint32_t)before / 2);
	else if (other <= FRAME_MOST)
		frame->length = other;
	frame->length = frame->length < FRAME_LEAST ? FRAME_LEAST : frame->length;
	if (frame->length > before)
		input_fill(frame, before);
	if (one_in(3))
		fit(frame);
}

static void change_bytes(struct input_frame *frame)
{
	const size_t head = frame->length < 128 ? frame->length : 128;

	LLVMFuzzerMutate(frame->bytes, head, head); /* it may shrink; the rest stays in place */
}

static void change_frame(struct input_frame *frame)
{
	struct view v;

	view_of(frame->bytes, frame->length, &v);
	switch (draw(v.link == LINK_IP ? 9 : 3)) {
	case 0:
		change_link(frame);
		break;
	case 1:
		change_length(frame);
		break;
	case 2:
		change_bytes(frame);
		break;
	case 3:
	case 4:
		change_addresses(frame, &v);
		break;
	case 5:
		change_header(frame, &v);
		break;
	case 6:
		(v.family == 4 ? add_options : add_extension)(frame, &v);
		break;
	default:
		if (v.sound && v.l4)
			change_transport(frame, &v);
	}
}

/* ---- the input ---- */

static void add_copy(struct input *input)
{
	struct input_frame *to;

	if (input->count == INPUT_FRAMES)
		return;
	to = &input->frames[input->count++];
	*to = input->frames[draw((uint32_t)input->count - 1)];
	switch (draw(4)) {
	case 0:
		quote_frame(to);
		break;
	case 1:
		follow_fragment(to);
		break;
	case 2:
		change_frame(to);
		break;
	default:
		break;
	}
	seal(to);
}

static void remove_frame(struct input *input)
{
	uint32_t gone = draw((uint32_t)input->count);

	for (int i = (int)gone; i + 1 < input->count; i++)
		input->frames[i] = input->frames[i + 1];
	input->count--;
}

static void mutate_once(struct input *input)
{
	struct input_frame *frame =
	    input->count ? &input->frames[draw((uint32_t)input->count)] : NULL;
	const uint32_t what = draw(16);

	if (!frame || (what < 3 && input->count < INPUT_FRAMES)) {
		make_frame(&input->frames[input->count++]);
	} else if (what < 6) {
		add_copy(input);
	} else if (what == 6) {
		remove_frame(input);
	} else if (what == 7) {
		input->settings = (uint8_t)(one_in(2) ? draw(8) : draw(64));
	} else if (what == 8) {
		fragment_frame(frame);
		seal(frame);
	} else {
		change_frame(frame);
		if (!one_in(8))
			seal(frame);
	}
}

void input_mutate(struct input *input, unsigned seed)
{
	const uint32_t times = 1 + (seed & 1) + (seed >> 1 & 3) / 3;

	state = seed;
	favourite = draw_service_port();
	for (uint32_t i = 0; i < times; i++)
		mutate_once(input);
}
