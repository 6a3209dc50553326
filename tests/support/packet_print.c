/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets as text: one field a line, and the lines in which two packets differ. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "packet.h"

struct reader {
	const struct packet *packet;
	size_t at;
	FILE *out;
	unsigned depth; /* of IP headers seen */
};

/* Prints one header; returns the next printer's key or NO_MORE. */
typedef int layer_printer(struct reader *);

/* Keys of the printers: ethertypes are above 1535, IP protocols below 256. */
#define NO_MORE (-1)

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static unsigned long get32(const uint8_t *at)
{
	return (unsigned long)get16(at) << 16 | get16(at + 2);
}

static const uint8_t *take(struct reader *r, size_t bytes)
{
	const uint8_t *at = r->packet->data + r->at;

	if (r->at + bytes > r->packet->len)
		return NULL;
	r->at += bytes;
	return at;
}

static int print_eth(struct reader *r)
{
	const uint8_t *h = take(r, 14);

	if (!h)
		return NO_MORE;
	for (int i = 0; i < 2; i++) {
		const uint8_t *m = h + 6 * i;

		fprintf(r->out, "eth.%s %02x:%02x:%02x:%02x:%02x:%02x\n", i ? "src" : "dst", m[0],
			m[1], m[2], m[3], m[4], m[5]);
	}
	fprintf(r->out, "eth.type %04x\n", get16(h + 12));
	return get16(h + 12);
}

static int print_vlan(struct reader *r)
{
	const uint8_t *h = take(r, 4);

	if (!h)
		return NO_MORE;
	fprintf(r->out, "vlan.tci %u\nvlan.type %04x\n", get16(h), get16(h + 2));
	return get16(h + 2);
}

static int print_ip4(struct reader *r)
{
	char src[INET_ADDRSTRLEN], dst[INET_ADDRSTRLEN];
	unsigned d = ++r->depth;
	const uint8_t *h = take(r, 20);

	if (!h)
		return NO_MORE;
	inet_ntop(AF_INET, h + 12, src, sizeof(src));
	inet_ntop(AF_INET, h + 16, dst, sizeof(dst));
	fprintf(
	    r->out,
	    "ip4#%u.version/ihl %02x\nip4#%u.tos %02x\nip4#%u.len %u\nip4#%u.id %u\nip4#%u.frag %04x\n",
	    d, h[0], d, h[1], d, get16(h + 2), d, get16(h + 4), d, get16(h + 6));
	fprintf(r->out,
		"ip4#%u.ttl %u\nip4#%u.proto %u\nip4#%u.csum %04x\nip4#%u.src %s\nip4#%u.dst %s\n",
		d, h[8], d, h[9], d, get16(h + 10), d, src, d, dst);
	if ((h[0] & 15) > 5)
		take(r, (h[0] & 15) * 4 - 20);
	return get16(h + 6) & 0x1fff ? NO_MORE : h[9];
}

static int print_ip6(struct reader *r)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	unsigned d = ++r->depth;
	const uint8_t *h = take(r, 40);

	if (!h)
		return NO_MORE;
	inet_ntop(AF_INET6, h + 8, src, sizeof(src));
	inet_ntop(AF_INET6, h + 24, dst, sizeof(dst));
	fprintf(r->out, "ip6#%u.version %u\nip6#%u.class %02x\nip6#%u.flow %05lx\nip6#%u.len %u\n",
		d, h[0] >> 4, d, get16(h) >> 4 & 255, d, get32(h) & 0xfffff, d, get16(h + 4));
	fprintf(r->out, "ip6#%u.next %u\nip6#%u.hop %u\nip6#%u.src %s\nip6#%u.dst %s\n", d, h[6], d,
		h[7], d, src, d, dst);
	return h[6];
}

static int print_ext6(struct reader *r)
{
	const uint8_t *h = take(r, 8);

	if (!h)
		return NO_MORE;
	fprintf(r->out, "ext6.next %u\next6.len %u\n", h[0], h[1]);
	take(r, h[1] * 8);
	return h[0];
}

static int print_frag6(struct reader *r)
{
	const uint8_t *h = take(r, 8);

	if (!h)
		return NO_MORE;
	fprintf(r->out, "frag6.next %u\nfrag6.offset/more %04x\nfrag6.id %08lx\n", h[0],
		get16(h + 2), get32(h + 4));
	return get16(h + 2) & ~7u ? NO_MORE : h[0];
}

static int print_tcp(struct reader *r)
{
	const uint8_t *h = take(r, 20);

	if (!h)
		return NO_MORE;
	fprintf(
	    r->out,
	    "tcp.sport %u\ntcp.dport %u\ntcp.seq %lu\ntcp.ack %lu\ntcp.doff %u\ntcp.flags %02x\n",
	    get16(h), get16(h + 2), get32(h + 4), get32(h + 8), h[12] >> 4, h[13]);
	fprintf(r->out, "tcp.csum %04x\n", get16(h + 16));
	return NO_MORE;
}

static int print_udp(struct reader *r)
{
	const uint8_t *h = take(r, 8);

	if (!h)
		return NO_MORE;
	fprintf(r->out, "udp.sport %u\nudp.dport %u\nudp.len %u\nudp.csum %04x\n", get16(h),
		get16(h + 2), get16(h + 4), get16(h + 6));
	return NO_MORE;
}

static int print_icmp(struct reader *r)
{
	const uint8_t *h = take(r, 8);

	if (!h)
		return NO_MORE;
	fprintf(r->out, "icmp.type %u\nicmp.code %u\nicmp.csum %04x\nicmp.rest %08lx\n", h[0], h[1],
		get16(h + 2), get32(h + 4));
	return NO_MORE;
}

static layer_printer *printer_of(int key)
{
	static const struct {
		int key;
		layer_printer *print;
	} printers[] = {
	    {0x8100, print_vlan}, {0x88a8, print_vlan}, {0x0800, print_ip4}, {0x86dd, print_ip6},
	    {4, print_ip4},       {41, print_ip6},      {0, print_ext6},     {43, print_ext6},
	    {60, print_ext6},     {44, print_frag6},    {6, print_tcp},      {17, print_udp},
	    {1, print_icmp},      {58, print_icmp},
	};

	for (size_t i = 0; i < sizeof(printers) / sizeof(printers[0]); i++)
		if (printers[i].key == key)
			return printers[i].print;
	return NULL;
}

/* The packet as text; the caller frees. NULL when out of memory. */
static char *packet_text(const struct packet *packet)
{
	char *text = NULL;
	size_t size = 0;
	struct reader r = {.packet = packet, .out = open_memstream(&text, &size)};
	layer_printer *print = print_eth;

	if (!r.out)
		return NULL;
	while (print)
		print = printer_of(print(&r));
	fprintf(r.out, "rest of %zu bytes:", packet->len);
	for (size_t i = r.at; i < packet->len; i++)
		fprintf(r.out, "%s%02x", (i - r.at) % 24 ? " " : "\n  ", packet->data[i]);
	fprintf(r.out, "\n");
	fclose(r.out);
	return text;
}

void packet_print(const char *title, const struct packet *packet)
{
	_cleanup_free_ char *text = packet_text(packet);

	fprintf(stderr, "%s:\n%s", title, text ? text : "(out of memory)\n");
}

static char *next_line(char **rest)
{
	char *line = strsep(rest, "\n");

	return line ? line : "";
}

bool packet_same(const struct packet *expected, const struct packet *got)
{
	_cleanup_free_ char *want = NULL, *have = NULL;
	char *want_rest, *have_rest;

	if (expected->len == got->len && !memcmp(expected->data, got->data, got->len))
		return true;
	want_rest = want = packet_text(expected);
	have_rest = have = packet_text(got);
	fprintf(stderr, "packets differ (%zu bytes expected, %zu got):\n", expected->len, got->len);
	while (want_rest || have_rest) {
		const char *w = next_line(&want_rest), *h = next_line(&have_rest);

		if (strcmp(w, h))
			fprintf(stderr, "  expected %-36s got %s\n", w, h);
	}
	return false;
}
