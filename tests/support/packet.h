/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Builds packets from a list of layers, and compares two packets with a decoded diff. Written from
 * the RFCs and without any code of bpf/, so that expectations share no mistake with the program.
 *
 *   packet_build(&p, PKT(ETH(), IP4(.src = "192.0.2.1", .dst = "192.0.2.10"),
 *                        TCP(.dport = 80, .flags = SYN), DATA(10)));
 *
 * A field that is left out is computed or takes its default; ZERO writes a zero where the default
 * is another value. */
#ifndef LBD_TEST_PACKET_H
#define LBD_TEST_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX 4096
#define ZERO       (-1)
#define ANY        (-2) /* packet_build_like copies it; for .flow of IP6, .id of IP4, .sport of UDP */

struct packet {
	size_t len;
	uint8_t data[PACKET_MAX];
};

enum layer_kind {
	LAYER_END,
	LAYER_ETH,
	LAYER_VLAN,
	LAYER_IP4,
	LAYER_IP6,
	LAYER_EXT6,
	LAYER_FRAG6,
	LAYER_TCP,
	LAYER_UDP,
	LAYER_GUE,
	LAYER_GRE,
	LAYER_ICMP,
	LAYER_ICMP6,
	LAYER_DATA,
	LAYER_PAD,
};

struct layer_eth {
	const char *dst, *src; /* default: PACKET_MAC_LB, PACKET_MAC_PEER */
	int type;              /* default: of the next layer */
};

struct layer_vlan {
	int tci;
	int tpid; /* default 0x8100 */
	int type; /* default: of the next layer */
};

struct layer_ip4 {
	const char *src, *dst;
	int ttl; /* default 64 */
	int tos, id;
	int frag;            /* flags and offset as in the header: IP_DF, IP_MF, offset / 8 */
	int proto;           /* default: of the next layer */
	int len;             /* default: to the end of the packet */
	int version, ihl;    /* default 4, and as the options need */
	const char *options; /* options_len bytes, a multiple of 4 */
	int options_len;
	int bad_csum; /* what is added to the right checksum */
};

struct layer_ip6 {
	const char *src, *dst;
	int hop; /* default 64 */
	int tclass, flow;
	int next;    /* default: of the next layer */
	int len;     /* of the payload; default: to the end of the packet */
	int version; /* default 6 */
};

/* Hop-by-hop (0), routing (43), AH (51), destination options (60), mobility (135): with padding. */
struct layer_ext6 {
	int type;
	int extra;   /* 8-byte words after the first; AH: 4-byte words after 8 bytes, even */
	int next;    /* default: of the next layer */
	int hdrlen;  /* default: as extra says */
	int routing; /* type of a routing header; default 4 */
	int left;    /* segments left of a routing header; default 0 */
};

struct layer_frag6 {
	int offset; /* bytes, a multiple of 8 */
	int more;
	uint32_t id;
	int next;
};

enum tcp_flags { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct layer_tcp {
	int sport, dport;
	int flags;
	uint32_t seq, ack;
	int options_len; /* no-operation options, a multiple of 4 */
	int doff;        /* default: as options_len says */
	int window;      /* default 0xfaf0 */
	int bad_csum;
	int first; /* only the first so many bytes are there (quotes in ICMP errors) */
};

struct layer_udp {
	int sport, dport;
	int len;      /* default: to the end of the packet */
	int no_csum;  /* 1: a zero checksum */
	int bad_csum; /* what is added to the right one */
	int first;    /* as for TCP */
};

struct layer_gue {
	int proto; /* default: of the next layer */
};

struct layer_gre {
	int flags; /* and version */
	int type;  /* default: of the next layer */
};

struct layer_icmp { /* ICMP and ICMPv6 */
	int type, code;
	int id, seq;   /* the second word, of an echo */
	uint32_t rest; /* the second word, of anything else (not with id, seq) */
	int bad_csum;
};

struct layer_data {
	int len;
	const void *bytes; /* NULL: a pattern */
};

struct layer {
	enum layer_kind kind;
	union {
		struct layer_eth eth;
		struct layer_vlan vlan;
		struct layer_ip4 ip4;
		struct layer_ip6 ip6;
		struct layer_ext6 ext6;
		struct layer_frag6 frag6;
		struct layer_tcp tcp;
		struct layer_udp udp;
		struct layer_gue gue;
		struct layer_gre gre;
		struct layer_icmp icmp;
		struct layer_data data;
	};
};

/* clang-format off */
#define ETH(...)   { .kind = LAYER_ETH,   .eth   = { __VA_ARGS__ } }
#define VLAN(...)  { .kind = LAYER_VLAN,  .vlan  = { __VA_ARGS__ } }
#define IP4(...)   { .kind = LAYER_IP4,   .ip4   = { __VA_ARGS__ } }
#define IP6(...)   { .kind = LAYER_IP6,   .ip6   = { __VA_ARGS__ } }
#define EXT6(...)  { .kind = LAYER_EXT6,  .ext6  = { __VA_ARGS__ } }
#define FRAG6(...) { .kind = LAYER_FRAG6, .frag6 = { __VA_ARGS__ } }
#define TCP(...)   { .kind = LAYER_TCP,   .tcp   = { __VA_ARGS__ } }
#define UDP(...)   { .kind = LAYER_UDP,   .udp   = { __VA_ARGS__ } }
#define GUE(...)   { .kind = LAYER_GUE,   .gue   = { __VA_ARGS__ } }
#define GRE(...)   { .kind = LAYER_GRE,   .gre   = { __VA_ARGS__ } }
#define ICMP(...)  { .kind = LAYER_ICMP,  .icmp  = { __VA_ARGS__ } }
#define ICMP6(...) { .kind = LAYER_ICMP6, .icmp  = { __VA_ARGS__ } }
#define DATA(n)    { .kind = LAYER_DATA,  .data  = { .len = (int)(n) } }
#define RAW(at, n) { .kind = LAYER_DATA,  .data  = { .len = (int)(n), .bytes = (at) } }
/* Bytes after the end of the IP packet: not covered by any length. */
#define PAD(n)     { .kind = LAYER_PAD,   .data  = { .len = (int)(n) } }
#define PKT(...)   ((const struct layer[]){ __VA_ARGS__, { .kind = LAYER_END } })
/* clang-format on */

#define PACKET_MAC_LB   "02:00:00:00:00:01"
#define PACKET_MAC_PEER "02:00:00:00:00:02"

/* Aborts the program with a message if the list does not fit or an address cannot be parsed. */
void packet_build(struct packet *ret, const struct layer *layers);

/* The same; fields that are ANY are copied from the same place of `like`. */
void packet_build_like(struct packet *ret, const struct layer *layers, const struct packet *like);

/* One's complement sum of 16-bit words as they lie in memory, folded, not inverted (RFC 1071). */
uint16_t packet_sum(const void *data, size_t len, uint32_t start);

/* True if they are the same; otherwise prints on stderr the fields and payload that differ. */
bool packet_same(const struct packet *expected, const struct packet *got);

/* Prints the packet decoded, one field a line, on stderr. */
void packet_print(const char *title, const struct packet *packet);

#endif
