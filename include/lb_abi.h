/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The layout of every map, shared by the XDP program and lbd. A change of layout bumps
 * LB_ABI_VERSION. */
#ifndef LB_ABI_H
#define LB_ABI_H

#include <linux/types.h>

#define LB_ABI_VERSION 11

/* ---- limits ---- */

#define LB_BACKEND_BITS 15
/* (service, backend) pairs; ids are 1..; 0 is "none" */
#define LB_MAX_BACKENDS ((1 << LB_BACKEND_BITS) - 1)
#define LB_MAX_SERVICES 16384 /* service ids are 1..; 0 is "none" */
/* least-cost search is exact up to here; above, the better of two that are drawn at random */
#define LB_EXACT_MEMBERS 16

#define LB_DIRECTS       16 /* prefixes of clients that reach backends past the VIPs */
#define LB_HOPS          64 /* ways to clients, of both families together */

/* ---- settings: one element, mmapable ---- */

/* A variable of the program: the map's name in the object file is that of its section. */
#define LB_SETTINGS_MAP ".data.settings"
#define LB_HOPS_MAP     ".data.hops"
#define LB_PROBES_MAP   ".data.probes"
/* Wide maps (user/common/wide.h): one value with all elements. */
#define LB_VIPS_MAP    ".data.wide.vips"
#define LB_ARENA_MAP   ".data.wide.arena"
#define LB_FRONTS_MAP  ".data.wide.fronts"
#define LB_REALS_MAP   ".data.wide.reals"
#define LB_RETURNS_MAP ".data.wide.returns"
/* The only variable of the program that begins as zero: one value with a line for every id that
 * there can be. libbpf before 1.2 knows no other section for that, and puts the object's name
 * before the map's: dataplane_map_find. */
#define LB_BACKENDS_MAP ".bss"

/* What becomes of a packet that nothing takes: its port has no service, or the service has no
 * usable backend. */
enum lb_refusal {
	LB_REFUSE_REJECT, /* a TCP reset or an ICMP error, up to a rate; the rest is dropped */
	LB_REFUSE_DROP,
	LB_REFUSE_PASS, /* to the kernel */
};

/* Where the VIP and port tables are. lbd fills the half that is not in use, flips `active`, and
 * waits for a grace period before it writes the other half again. */
struct lb_tables {
	__u32 vip_base;  /* first bucket of map `vips` */
	__u32 vip_mask;  /* number of buckets - 1 (power of two) */
	__u32 port_base; /* first bucket of map `ports` */
	__u32 port_mask;
	__u64 multiplier; /* of both hashes; chosen so that no bucket overflows */
	__u64 reals;      /* LB_REALS, the same in both; 0: no service is LB_FORWARD_NAT */
};

/* The key of the flow hash (lb_hash.h), derived from flow_seed. */
struct lb_hash_key {
	__u32 word[10];
};

/* The first six bytes of a frame, read as a 64-bit word. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LB_MAC_MASK 0x0000ffffffffffffULL
#else
#define LB_MAC_MASK 0xffffffffffff0000ULL
#endif
#define LB_MAC_NONE (~0ULL) /* no frame's */

/* A part of a list, as one word: the list's element of its map, the part's first entry, and its
 * length. A changed list is put into another element, in turn: by the time one is used again, no
 * packet that found the former list there is left. Lists have up to 64 entries, so element and
 * first entry together number the entries of all lists of 64: LB_LIST_AT. */
#define LB_LIST(place, first, length) ((__u32)(place) << 14 | (__u32)(first) << 8 | (__u32)(length))
#define LB_LIST_PLACE(list)           ((list) >> 14)
#define LB_LIST_FIRST(list)           ((list) >> 8 & 63)
#define LB_LIST_LENGTH(list)          ((list)&0xff)
#define LB_LIST_AT(list)              ((list) >> 8)
#define LB_LIST_PLACES                8

#define LB_ADDRESS_BITS               256

/* The bit of a port, host order, among 64: one for each 1024 ports. */
#define LB_PORTS_BIT(port) (1ULL << ((port) >> 10))

/* address: IPv4: one word, the rest zero. */
static inline __attribute__((always_inline)) __u32 lb_address_bit(__u32 a, __u32 b, __u32 c,
								  __u32 d)
{
	return ((a ^ b ^ c ^ d) * 0x9e3779b1u) >> 24;
}

/* Which part of the flow table is in use: a mask of bucket numbers, twice. `look`: where an entry
 * is looked for first; `put`: where it is looked for next, and where new ones go. They differ only
 * while the table changes its size. One word, changed by compare-and-exchange. */
union lb_flow_masks {
	struct {
		__u32 look, put;
	};
	__u64 word;
};

struct lb_settings {
	__u32 abi_version;
	__u32 active; /* 0 or 1: which of tables[] is in use */
	/* while a single interface has the program: its first address, as in struct lb_link; else
	 * LB_MAC_NONE. On a line that every packet reads, unlike `links` */
	__u64 own_mac;
	__be16 gue_port; /* outer UDP destination of forward: gue */
	/* answers of each kind that the VIPs may send per tick and CPU: time exceeded, and resets
	 * or unreachables */
	__u16 icmp_per_tick;
	/* tick in which lbd last ended a round of the sweep; a gap: lbd was not running */
	__u32 swept;
	struct lb_hash_key key;
	struct lb_tables tables[2];
	/* A line that only lbd, rare packets and those of services with lists read. */
	/* the hash key is derived from it; all instances that must agree have the same one
	 * (`hash-seed`) */
	__u64 flow_seed;
	/* the same of answers that are never longer than what they answer: echo replies, and packet
	 * too big */
	__u16 short_per_tick;
	__u8 unserved; /* enum lb_refusal: for ports of a VIP without a service */
	__u8 pad;
	__u32 filters; /* 1 + the first chunk of the filters in force; 0: no service has one */
	/* grows whenever the program has changed an MTU in map `paths`; all else here but
	 * flow_masks is written by lbd */
	__u32 paths_lowered;
	/* The prefixes of outer sources; 0: none. Spread: as in struct lb_backend. */
	__be32 encap4, encap4_spread;
	__be32 encap6[4], encap6_spread;
	union lb_flow_masks flow_masks; /* by both; the program only enlarges */
	__u64 served;                   /* UDP ports that something may answer from: LB_PORTS_BIT */
	/* A line for replies: LB_FORWARD_NAT. A bit for each address of this host, in the same
	 * way. */
	__u64 local[LB_ADDRESS_BITS / 64];
	__u32 direct4, direct6; /* prefixes in map `directs`: LB_LIST */
	__u32 hops4, hops6;     /* ways in map `hops`: LB_LIST */
	__u8 finished;          /* no packet's checksum is left to an interface */
	__u8 embed_length;      /* of `embed`, bits: 32, 40, 48, 56, 64 or 96; 0: there is none */
	__u8 pad2[14];
	/* A line for what is not to a VIP, while there are reals: a bit for each address of a real,
	 * at lb_address_bit. Where it is not set, the source is none of them. */
	__u64 real[LB_ADDRESS_BITS / 64];
	/* The prefix of the IPv6 addresses in which IPv4 clients reach IPv6 backends (RFC 6052), as
	 * two words of a packet: its bits, the rest zero, and which bits those are. */
	__u64 embed[2], embed_mask[2];
};

/* ---- links: the MAC addresses that are this host's, for each interface with the program ---- */

#define LB_LINKS     64
#define LB_LINK_MACS 7

/* An interface is in element `ifindex % LB_LINKS`, or in the next that is free; with more than
 * LB_LINK_MACS addresses it has several elements. */
struct lb_link {
	__u32 ifindex; /* 0: empty */
	__u32 pad;
	__u64 mac[LB_LINK_MACS]; /* as in the frame, the last two bytes zero; 0: none */
};

/* ---- vips: VIP address -> VIP id. Buckets of one cache line ---- */

#define LB_VIP_WAYS 2

enum lb_vip_flags {
	LB_VIP_ANY_TCP = 1 << 0, /* a service takes every TCP port: look up port 0 too */
	LB_VIP_ANY_UDP = 1 << 1,
};

struct lb_vip {
	__be32 addr[4]; /* IPv4: addr[0], the rest zero */
	__u16 id;       /* 1..; 0: empty */
	__u8 family;    /* 4 or 6 */
	__u8 flags;     /* enum lb_vip_flags */
	/* one of the VIP's services with a port, whose packets need no look-up in `ports` and
	 * `services`: LB_VIP_MAIN. 0: none */
	__u32 main;
	__u64 straight; /* LB_STRAIGHT of that service; 0: it takes the long path */
};

struct lb_vip_bucket {
	struct lb_vip vip[LB_VIP_WAYS];
};

/* ---- ports: (VIP id, protocol, port) -> service id ---- */

#define LB_PORT_WAYS 8

/* One word: vip id << 48 | port (host order) << 32 | protocol << 24 | service id (16 bits, low). 0:
 * empty. */
#define LB_PORT_KEY(vip, port, proto) \
	((__u64)(vip) << 48 | (__u64)(port) << 32 | (__u64)(proto) << 24)
#define LB_PORT_KEY_MASK      (~0xffffffULL)
#define LB_PORT_VIP(word)     ((__u32)((word) >> 48))
#define LB_PORT_SERVICE(word) ((__u32)((word)&0xffff))

struct lb_port_bucket {
	__u64 port[LB_PORT_WAYS];
};

/* The hashes of both tables; lbd and the program use the same functions. The seed is part of the
 * odd multiplier (multiply-shift, Dietzfelbinger 1997): if it were added to the key, another seed
 * would only shift all buckets alike, and no seed could separate two keys that collide. */
#define LB_TABLE_MULTIPLIER(seed) (0x9e3779b97f4a7c15ULL ^ (__u64)(seed) << 1)

static inline __attribute__((always_inline)) __u32 lb_vip_hash(const __be32 addr[4], __u8 family,
							       __u64 multiplier)
{
	__u64 h = (__u64)addr[0] * multiplier;

	if (family == 6) {
		h ^= h >> 32;
		h = (h ^ ((__u64)addr[1] << 32 | addr[2])) * 0xbf58476d1ce4e5b9ULL;
		h ^= h >> 32;
		h = (h ^ addr[3]) * multiplier;
	}
	return (__u32)(h >> 32);
}

/* Uses the VIP's hash, not its id: the program can look up VIP and port at the same time instead of
 * one after the other. */
static inline __u32 lb_port_hash(__u32 vip_hash, __u64 key, __u64 multiplier)
{
	return vip_hash + (__u32)(((key >> 24 & 0xffffff) * multiplier) >> 32);
}

/* ---- services ---- */

/* How a new flow's backend is found. */
enum lb_select {
	LB_SELECT_SLOT, /* the ring's slot: maglev, source-hash */
	LB_SELECT_TURN, /* the next entry of the turn list: (weighted) round robin */
	/* least (active + 1) * cost among the members: least-conn, least-response-time */
	LB_SELECT_COST,
};

/* What the slot hash covers besides the client address. Both ports: the whole 5-tuple. */
enum lb_hash_fields {
	LB_HASH_SPORT = 1 << 0,
	LB_HASH_DPORT = 1 << 1,
	LB_HASH_FULL = LB_HASH_SPORT | LB_HASH_DPORT,
};

enum lb_service_flags {
	LB_SERVICE_TRACK_ALWAYS =
	    1 << 0, /* every flow is in the flow table (always set unless LB_SELECT_SLOT) */
	LB_SERVICE_TRACK_NEVER =
	    1 << 1, /* the flow table is not used; slots are never in transition */
	LB_SERVICE_AFFINITY = 1 << 2, /* new flows of a client go to the backend of its last one */
	LB_SERVICE_NO_FRAGMENTS = 1 << 3, /* fragments are dropped */
	LB_SERVICE_FILTERED = 1 << 4,     /* not every client may use it: see filters */
	LB_SERVICE_LIMIT = 1 << 5,        /* new flows have a rate: map `limits` */
};

enum lb_forward {
	LB_FORWARD_IPIP, /* outer family = backend's: 4in4, 6in4, 4in6, 6in6 */
	LB_FORWARD_GUE,  /* UDP + 4-byte GUE header (variant 0), port lb_settings.gue_port */
	LB_FORWARD_L2,   /* MAC rewrite, and one off the hop limit */
	LB_FORWARD_GRE,  /* IP + 4-byte GRE header (RFC 2784: no checksum, no key) */
	/* destination address and port become the backend's; replies come back through here */
	LB_FORWARD_NAT,
};

/* A region of the arena, read and written as one word: base (high 32 bits, in slots) and length. 0:
 * none. */
#define LB_REGION(base, size) ((__u64)(base) << 32 | (__u32)(size))
#define LB_REGION_BASE(r)     ((__u32)((r) >> 32))
#define LB_REGION_SIZE(r)     ((__u32)(r))

struct lb_service {
	__u64 ring; /* Maglev slots: LB_SLOT words in the arena */
	/* while the ring changes size: the frozen old ring, which has the keepers of untracked
	 * flows */
	__u64 old_ring;
	/* u32 backend ids in the arena. LB_SELECT_TURN: turn list. LB_SELECT_COST: the members, up
	 * to LB_EXACT_MEMBERS; of more, each is in the list as often as its weight says */
	__u64 pick;
	__u8 select;  /* enum lb_select */
	__u8 hash;    /* enum lb_hash_fields */
	__u8 flags;   /* enum lb_service_flags */
	__u8 forward; /* enum lb_forward */
	/* prefix length of the client address in the slot hash and in affinity; 32 and 128: the
	 * whole address */
	__u8 mask4;
	__u8 mask6;
	/* ticks without a packet after which a TCP flow is over, with or without FIN or RST */
	__u16 tcp_idle;
	__u16 udp_idle;  /* ticks */
	__u16 syn_idle;  /* ticks for which an embryonic flow is kept */
	__u8 no_backend; /* enum lb_refusal: without a usable backend */
	__u8 pad2;
	__u16 affinity_idle;
	__u32 id; /* its own, 1.. ; 0: this service is not in use */
	__u32 pad0;
	__u64 pad1[2];
};

/* The fields of a service that control the selection, read as one word: lbd changes them with one
 * store. */
union lb_selection {
	struct {
		__u8 select, hash, flags, forward, mask4, mask6;
		__u16 tcp_idle;
	};
	__u64 word;
};

static inline union lb_selection lb_selection(const struct lb_service *service)
{
	return (union lb_selection){.word =
					*(const volatile __u64 *)(const void *)&service->select};
}

_Static_assert(__builtin_offsetof(struct lb_service, select) == 24 &&
		   __builtin_offsetof(struct lb_service, tcp_idle) ==
		       24 + __builtin_offsetof(union lb_selection, tcp_idle),
	       "union lb_selection mirrors struct lb_service");

/* ---- the straight path: what it needs of a service, in one word ---- */

#define LB_SERVICE_TRACKING (LB_SERVICE_TRACK_ALWAYS | LB_SERVICE_AFFINITY)

/* A service is straight if a packet of a stable slot goes to the slot's current backend, with no
 * other question; or, tracked, if one of an established flow goes to the backend in its entry. The
 * word follows from the service's line alone.
 *   base of the ring, or the service's id if it is tracked (63-32) | open 1 (31) | tracked 1 (30) |
 *   limited 1 (29): new flows have a rate | enum lb_forward 3 (28-26) | size of the ring (25-0), or
 *   if it is tracked, 1 or 0: whether a new flow goes to the backend that is next, with no other
 *   question */
#define LB_STRAIGHT_OPEN       (1u << 31)
#define LB_STRAIGHT_TRACKED    (1u << 30)
#define LB_STRAIGHT_LIMITED    (1u << 29)
#define LB_STRAIGHT_SIZE       ((1u << 26) - 1)
#define LB_STRAIGHT_NEW        1u
#define LB_STRAIGHT_UPPER(w)   ((__u32)((w) >> 32))
#define LB_STRAIGHT_KIND(w)    ((__u32)(w) >> 26) /* all but the ring: of IP in IP, OPEN alone */
#define LB_STRAIGHT_FORWARD(w) ((__u32)(w) >> 26 & 7)

/* lb_vip.main. port: wire order. */
#define LB_VIP_MAIN(port, protocol) ((__u32)(port) << 16 | (__u32)(protocol))

/* The same of a packet. ports: the first word of its TCP or UDP header. */
static inline __u32 lb_vip_main(__u32 ports, __u8 protocol)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (ports & 0xffff0000) | protocol;
#else
	return ports << 16 | protocol;
#endif
}

/* family: of the VIP. 0: the service is not straight. */
static inline __u64 lb_straight(const struct lb_service *s, __u8 family)
{
	const __u64 ring = *(const volatile __u64 *)&s->ring; /* once: it may be changed */
	const union lb_selection rules = lb_selection(s);
	const int whole =
	    rules.hash == LB_HASH_FULL && (family == 4 ? rules.mask4 == 32 : rules.mask6 == 128);
	const __u8 apart = LB_SERVICE_TRACKING | LB_SERVICE_LIMIT;
	__u32 low = LB_STRAIGHT_OPEN | (__u32)(rules.forward & 7) << 26;

	if (rules.flags & LB_SERVICE_FILTERED || !LB_REGION_SIZE(ring) ||
	    LB_REGION_SIZE(ring) > LB_STRAIGHT_SIZE)
		return 0;
	if (rules.flags & LB_SERVICE_LIMIT)
		low |= LB_STRAIGHT_LIMITED;
	if (whole && (rules.flags & apart) == LB_SERVICE_TRACK_ALWAYS)
		return LB_REGION(s->id, low | LB_STRAIGHT_TRACKED | LB_STRAIGHT_NEW);
	if (rules.flags & LB_SERVICE_TRACKING)
		return LB_REGION(s->id, low | LB_STRAIGHT_TRACKED);
	if (!whole)
		return 0;
	return LB_REGION(LB_REGION_BASE(ring), low | LB_REGION_SIZE(ring));
}

/* ---- filters: the clients that may use a service (`allow`, `deny`) ---- */

/* A map of chunks: arrays of blocks, all of the same size, so that the look-up is inlined into the
 * program. The filters of all services are an image, a run of chunks that is never changed: lbd
 * makes a new one in other chunks and puts it in force with one store (lb_settings.filters), so a
 * packet sees one or the other. Block ID of an image is the head of service ID; the rest follows
 * the heads. Equal filters are stored once.
 *
 * A filter is a sorted list of bounds in the address space. The addresses below the first bound
 * have one verdict, those from the first to the second the other, and so on in turn. An array has
 * the verdict of all addresses that begin with the same bits, two bits for each, and there are so
 * many that few have a bound within. For those the directory has, by fewer of the upper bits, how
 * many bounds lie below the addresses that begin with them; and one entry more. Between two entries
 * there are few bounds to search. */
#define LB_FILTER_WORDS  16
#define LB_FILTER_CHUNK  65536 /* blocks: 4 MiB */
#define LB_FILTER_CHUNKS 256   /* in the map */

struct lb_filter_block {
	__u32 word[LB_FILTER_WORDS];
};

/* Bounds of one address family: of 32 or 128 bits. */
struct lb_filter_table {
	__u32 denies;         /* 1: addresses below the first bound are denied; 0: allowed */
	__u32 verdicts_shift; /* of the first 32 bits of an address to its place in the verdicts */
	__u32 verdicts;       /* their first word, counted from block 0 */
	__u32 shift;          /* the same for the directory; 0: the service has no filter */
	__u32 directory;
	__u32 bounds; /* the first one's first word, at the beginning of a block */
};

enum lb_filter_verdict {
	LB_FILTER_ALLOWED,
	LB_FILTER_DENIED,
	LB_FILTER_MIXED, /* a bound is within */
};
#define LB_FILTER_VERDICTS       16 /* in a word, the first in its lowest bits */

#define LB_FILTER_SHIFT_LEAST    16 /* so many bits at least are left to search */
#define LB_FILTER_VERDICTS_LEAST 8  /* the same for verdicts: a /24 each at most, 4 MiB */
#define LB_FILTER_SEARCH         22 /* halvings that find a place among the most bounds */
#define LB_FILTER_BOUNDS         ((1u << LB_FILTER_SEARCH) - 1) /* of a table at most */

struct lb_filter_head {
	struct lb_filter_table v4, v6;
	__u32 pad[4];
};

/* An IPv6 bound, in host order. */
struct lb_filter_bound {
	__u64 high, low;
};

/* ---- arena: slots, turn lists and member lists; 32-bit words ---- */

/* A slot is one word: current backend (bits 0-14), keeper (15-29), learning (30), transition (31).
 * Learning: the first idle timeout of the transition, in which every live older flow shows itself.
 * docs/tracking.md has the rules. */
#define LB_SLOT_LEARNING         (1u << 30)
#define LB_SLOT_TRANSITION       (1u << 31)
#define LB_SLOT(current, keeper) ((__u32)(current) | (__u32)(keeper) << LB_BACKEND_BITS)
#define LB_SLOT_CURRENT(s)       ((s)&LB_MAX_BACKENDS)
#define LB_SLOT_KEEPER(s)        (((s) >> LB_BACKEND_BITS) & LB_MAX_BACKENDS)

/* fronts: what the common path needs of each slot of the arena (same index), in half the bytes:
 * with many services the size of the rings decides what stays in the CPU caches. Current backend
 * (bits 0-14) and transition (15). lbd writes the slot first, then its front. */
#define LB_FRONT_TRANSITION (1u << 15)

static inline __u16 lb_front(__u32 slot)
{
	return (__u16)(LB_SLOT_CURRENT(slot) | (slot & LB_SLOT_TRANSITION) >> 16);
}

/* stamps: one 16-bit tick for each slot of the arena (same index). While a slot is in transition:
 * the last tick in which one of its packets went to a backend other than its current. lbd writes
 * the tick in which the transition began. */
struct lb_stamp_line {
	__u16 tick[4];
};

/* The slot of a flow hash in a ring of `size` slots: multiply-shift over the high half (Lemire
 * 2016). */
static inline __u32 lb_ring_index(__u64 hash, __u32 size)
{
	return (__u32)(((hash >> 32) * size) >> 32);
}

/* ---- backends: one cache line each ---- */

enum lb_backend_flags {
	LB_BACKEND_USED = 1 << 0,   /* the id is taken */
	LB_BACKEND_USABLE = 1 << 1, /* alive and has a next hop: packets may be sent to it */
	LB_BACKEND_TAGGED = 1 << 2, /* vlan_tci is not 0 */
};

struct lb_backend {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__be16 vlan_tci; /* of the egress link, 0: untagged */
	__u16 mtu;       /* of the path: the longest outer IP packet, bytes */
	__u32 ifindex;   /* of the egress link (the device below a VLAN) */
	/* IPv4 outer: folded one's complement sum of DF, TTL, protocol and dst, as 16-bit words in
	 * wire order; the program adds version, TOS, length and src */
	__u16 csum;
	__u16 link_mtu; /* of the egress link; mtu is less if a router has reported so */
	/* owner: a flow entry that names a backend of another service does not match */
	__u16 service;
	__u8 flags;  /* enum lb_backend_flags */
	__u8 family; /* of the outer header: 4 or 6 */
	/* mask of the bits in the last 32 of outer_src that vary with the flow: zero there */
	__be32 spread;
	union {
		__be32 outer_src[4]; /* IPv4: [0] */
		/* LB_FORWARD_NAT: the backend's address is outer_dst */
		struct lb_nat {
			__be16 port; /* 0: the destination port stays */
			/* what becomes of the sums in the IP header, TTL - 1 included, and in the
			 * TCP or UDP header */
			__u16 delta3, delta4;
			__u8 on_link; /* no router is between: it is reached without a gateway */
			__u8 pad;
		} nat;
	};
	__be32 outer_dst[4]; /* IPv4: [0]; also the backend's identity */
};

/* Flags and family as one number: a backend that can be sent to without a tag. */
#define LB_BACKEND_STRAIGHT(family) ((LB_BACKEND_USED | LB_BACKEND_USABLE) | (__u32)(family) << 8)

static inline __u32 lb_backend_kind(const struct lb_backend *b)
{
	return b->flags | (__u32)b->family << 8;
}

/* ---- replies: LB_FORWARD_NAT ---- */

/* A real is (address, protocol, port) of a backend. It belongs to one service, so the source of a
 * reply says which VIP and port it gets: no flow is looked up. */

/* reals: buckets of one cache line, in two halves, as `ports`; but which half is in use is in
 * lb_tables.reals: a real must be known before a packet is sent to it. A word: fingerprint 32
 * (63-32) | backend 15 (14-0); 0: empty. The line in `returns` says whether it is the real that it
 * looks like. A port of 0: of a service that takes any. A protocol of 0, with port 0: some real has
 * this address. */
#define LB_REAL_WAYS         8
#define LB_REAL_BUCKETS_MOST (1u << 16) /* in a half */
#define LB_REAL(hash, id)    ((hash) >> 32 << 32 | (__u32)(id))
#define LB_REAL_BACKEND(w)   ((__u32)(w)&LB_MAX_BACKENDS)
#define LB_REAL_BUCKET(hash) ((__u32)(hash) >> 16)
/* The way in which a word is, unless another one was there before: where it is empty, there is no
 * word with that hash. */
#define LB_REAL_WAY(hash) ((__u32)(hash) >> 13 & (LB_REAL_WAYS - 1))

struct lb_real_bucket {
	__u64 real[LB_REAL_WAYS];
};

/* The first bucket (63-32) | seed of the hash 8 (31-24) | some service takes any port 1 (23) | some
 * service translates 1 (22) | number of buckets, a power of two (21-0). */
#define LB_REALS(base, buckets, seed) ((__u64)(base) << 32 | (__u32)(seed) << 24 | (__u32)(buckets))
#define LB_REALS_BASE(w)              ((__u32)((w) >> 32))
#define LB_REALS_SEED(w)              ((__u32)(w) >> 24)
#define LB_REALS_ANY                  (1u << 23)
#define LB_REALS_TRANSLATED           (1u << 22)
#define LB_REALS_BUCKETS(w)           ((__u32)(w) & (LB_REALS_TRANSLATED - 1))
#define LB_REALS_MULTIPLIER(w)        LB_TABLE_MULTIPLIER(LB_REALS_SEED(w))

/* What a real is besides its address, as one word. port: wire order. */
#define LB_REAL_KIND(port, protocol) ((__u32)(port) | (__u32)(protocol) << 16)

/* high, low: of the address, as loaded from a packet; IPv4: 0 and the address. kind: LB_REAL_KIND,
 * in a round of its own: together with an address it could make up for the difference to another
 * one, under every seed. */
static inline __attribute__((always_inline)) __u64 lb_real_hash(__u64 high, __u64 low, __u32 kind,
								__u64 multiplier)
{
	__u64 h = low * multiplier;

	h = (h ^ h >> 32 ^ high) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 32 ^ kind) * multiplier;
	return h ^ h >> 32;
}

/* In the protocol of a real: the service has an IPv4 VIP and the backend an IPv6 address, so its
 * clients are in lb_settings.embed. The same backend may be of a service with an IPv6 VIP too. */
#define LB_REAL_TRANSLATED 0x80

/* returns: what a reply gets, by backend: one line each. It stays when the backend is removed,
 * until no reply can come any more. */
struct lb_return {
	__be32 real[4]; /* IPv4: [0] */
	__be32 vip[4];
	/* compared as one word: LB_RETURN_KIND */
	__be16 port;   /* 0: any; the port stays */
	__u8 protocol; /* with LB_REAL_TRANSLATED: vip is an IPv4 address */
	__u8 family;   /* of real: 4 or 6; 0: the backend gets no replies here. Written last */
	__be16 vip_port;
	__u16 delta3, delta4; /* as in struct lb_nat */
	__u8 pad[2];
	__u32 idle; /* ticks without a packet after which a flow is over */
	__u32 left; /* tick in which the backend was removed; 0: it was not */
	__u32 pad1[3];
};

#define LB_RETURN_KIND(port, protocol, family) \
	(LB_REAL_KIND(port, protocol) | (__u32)(family) << 24)

static inline __u32 lb_return_kind(const struct lb_return *line)
{
	return LB_RETURN_KIND(line->port, line->protocol, line->family);
}

/* return_counts[cpu * backends + id] */
struct lb_return_count {
	__u64 packets;
	__u64 bytes;
};

/* ---- between IPv4 and IPv6: a program of its own, which the main one calls ---- */

/* programs: it lasts from one lbd to the next, so both programs of a takeover fit each other. */
#define LB_PROGRAM_TRANSLATE 0
#define LB_PROGRAMS          1

/* handovers: one element for each CPU, what the called program is to do with the packet. */
struct lb_handover {
	__u32 backend; /* that it is for; 0: it may be a reply */
	__u32 pad;
};

/* directs: prefixes of clients who reach reals past the VIPs. */
struct lb_prefix {
	__be32 addr[4], mask[4]; /* IPv4: [0], the rest zero */
};

/* hops: the ways to clients, most specific first. The first fields as in struct lb_backend. */
struct lb_hop {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__be16 vlan_tci;
	__u16 mtu;
	__u32 ifindex; /* 0: the kernel is asked */
	struct lb_prefix prefix;
	/* mtu, or 0 if it takes more than an Ethernet header to send by this way: the kernel is
	 * asked, or there is a tag */
	__u16 plain_mtu;
	__u16 pad;
	__u32 pad1[2];
};

struct lb_direct_list {
	struct lb_prefix prefix[LB_DIRECTS];
};

struct lb_hop_list {
	struct lb_hop hop[LB_HOPS];
};

/* locals: the addresses of this host. The key is a struct lb_path_key. */

/* ---- paths: path MTUs that routers have reported about tunnel packets ---- */

/* An address of backends; lbd makes the elements. */
struct lb_path_key {
	__be32 addr[4]; /* IPv4: addr[0], the rest zero */
	__u32 family;   /* 4 or 6 */
};

/* mtu: of the outer packet, 0: nothing is reported; tick: of the last report. One word, so that
 * they belong together. */
struct lb_path {
	__u64 word;
	__be32 router[4]; /* that sent the last report: IPv4: [0] */
};

#define LB_PATH(mtu, tick) ((__u64)(mtu) << 32 | (__u32)(tick))
#define LB_PATH_MTU(word)  ((__u32)((word) >> 32))
#define LB_PATH_TICK(word) ((__u32)(word))
/* Ticks (10 min, RFC 1191, section 6.3, and RFC 8201, section 5.3) after which a report is
 * forgotten */
#define LB_PATH_IDLE 559
/* No report lowers a path below these: what every host must accept (RFC 791, section 3.1), and
 * what every link of IPv6 carries (RFC 8200, section 5) */
#define LB_PATH_LEAST4 576
#define LB_PATH_LEAST6 1280

/* loads: what the least-cost search reads and the flow table maintains. mmapable. */
struct lb_load {
	__s32 active; /* tracked live flows; atomic; corrected by the sweep */
	/* of one flow, from the algorithm's cost() (user/lbd/algo/algo.h), up to 2^31; 0: takes no
	 * new flow */
	__u32 cost;
};

/* turns: per-service state that the XDP program maintains. One line each. turns[0] is the common
 * half of the flow table: `held` is the number of places that services hold beyond their shares,
 * `share` the number of places it has. */
struct lb_turn {
	__u64 next;      /* position in the turn list, atomic */
	__u32 unplaced;  /* last tick in which a new flow found no place in the table; 0: never */
	__u32 forgotten; /* last tick in which the mark of an older flow was lost; 0: never */
	__s32 held;      /* entries in a state of LB_FLOW_HELD; atomic; corrected by the sweep */
	__s32 share;     /* entries that are guaranteed to the service; written by lbd */
	__u64 pad[5];
};

/* ---- flows: set-associative, one cache line per bucket ---- */

/* An entry is one word, changed by compare-and-exchange only:
 *   fingerprint 30 bits (63-34) | overflow 1 (33; of the bucket, in way 0 only) |
 *   backend 15 (32-18) | state 4 (17-14) | tick 14 (13-0)
 * The fingerprint is the high 30 bits of the hash. The bucket is the bits from lb_flow_shift on, as
 * many as the part of the table in use has. When that part is smallest, they end below the
 * fingerprint; all that come with its growth are bits of the fingerprint, so an entry itself says
 * where it goes (docs/tracking.md, "The size of the table"). */
#define LB_FLOW_WAYS          8
#define LB_FLOW_TICK_BITS     14
#define LB_FLOW_TICK_MASK     ((1u << LB_FLOW_TICK_BITS) - 1)
#define LB_FLOW_STATE_SHIFT   14
#define LB_FLOW_STATE_MASK    15u
#define LB_FLOW_BACKEND_SHIFT 18
#define LB_FLOW_OVERFLOW      (1ULL << 33)
#define LB_FLOW_FP_SHIFT      34
/* The whole table has at most so many times the buckets, as a power of two, of the smallest part of
 * it that is in use: as many bits of the fingerprint tell flows of a bucket apart no more */
#define LB_FLOW_GROWTH 4
#define LB_FLOW_SMALL  9 /* a table of 2^9 buckets (32 KiB) or fewer is always used whole */
/* Ticks, 2 h 23 min (RFC 5382 asks for 2 h 4 min); half the wrap of the tick */
#define LB_FLOW_MAX_IDLE 8000

/* The transitions between states are in docs/tracking.md, "Flow table". */
enum lb_flow_state {
	LB_FLOW_EMPTY,
	LB_FLOW_SYN,         /* embryonic: a SYN was seen, nothing since */
	LB_FLOW_ESTABLISHED, /* TCP */
	/* the client's FIN was seen: half closed, or closed, as far as its half shows */
	LB_FLOW_FIN,
	LB_FLOW_RST,     /* an RST was seen and nothing since */
	LB_FLOW_UDP_NEW, /* one datagram was seen */
	LB_FLOW_UDP,
	LB_FLOW_AFFINITY_NEW, /* a client, not a flow; none of its flows has been established yet */
	LB_FLOW_AFFINITY,
	/* mark: an older TCP flow was seen on its keeper in one tick; decides nothing */
	LB_FLOW_HEARD,
	LB_FLOW_KEPT, /* mark: the same flow was seen again in a later tick */
	/* silent for longer than its idle timeout; only where the service tracks always */
	LB_FLOW_DORMANT,
	/* of LB_FORWARD_NAT: */
	LB_FLOW_ENDING, /* as ESTABLISHED, and the backend's FIN was seen */
	LB_FLOW_CLOSED, /* the FIN of both ends was seen */
};

#define LB_FLOW_SET(state) (1u << LB_FLOW_##state)
/* The states that count as an active flow. */
#define LB_FLOW_COUNTED                                                                          \
	(LB_FLOW_SET(SYN) | LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(UDP_NEW) | LB_FLOW_SET(UDP) | \
	 LB_FLOW_SET(KEPT) | LB_FLOW_SET(ENDING))
/* The states of entries that are not evicted while the flow is live. */
#define LB_FLOW_FIRM                                                          \
	(LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(UDP_NEW) | LB_FLOW_SET(UDP) | \
	 LB_FLOW_SET(AFFINITY) | LB_FLOW_SET(ENDING))
/* The states of an established flow that is not over. */
#define LB_FLOW_LASTING (LB_FLOW_SET(ESTABLISHED) | LB_FLOW_SET(UDP) | LB_FLOW_SET(ENDING))
/* The states that count towards a service's share. SYN is one of them: a handshake must still have
 * its place when it completes. */
#define LB_FLOW_HELD (LB_FLOW_FIRM | LB_FLOW_SET(SYN))

/* The states that other nodes are not told of: the flow, or client, is not established yet. */
#define LB_FLOW_YOUNG      (LB_FLOW_SET(SYN) | LB_FLOW_SET(UDP_NEW) | LB_FLOW_SET(AFFINITY_NEW))

#define LB_FLOW_STATE(e)   ((__u32)((e) >> LB_FLOW_STATE_SHIFT) & LB_FLOW_STATE_MASK)
#define LB_FLOW_BACKEND(e) ((__u32)((e) >> LB_FLOW_BACKEND_SHIFT) & LB_MAX_BACKENDS)
#define LB_FLOW_TICK(e)    ((__u32)(e)&LB_FLOW_TICK_MASK)

/* The idle time, in ticks, after which an entry of this service in this state has expired. */
static inline __u32 lb_flow_idle(const struct lb_service *service, __u32 state)
{
	switch (state) {
	case LB_FLOW_SYN:
		return service->syn_idle;
	case LB_FLOW_UDP_NEW:
	case LB_FLOW_UDP:
		return service->udp_idle;
	case LB_FLOW_AFFINITY_NEW:
	case LB_FLOW_AFFINITY:
		return service->affinity_idle;
	default:
		return service->tcp_idle;
	}
}

struct lb_flow_bucket {
	__u64 flow[LB_FLOW_WAYS];
};

/* The first bit of the hash that is part of the bucket's number, for a whole table of so many
 * buckets (a power of two). */
static inline __u32 lb_flow_shift(__u32 buckets)
{
	__u32 bits = 31 - (__u32)__builtin_clz(buckets);

	if (bits > LB_FLOW_SMALL + LB_FLOW_GROWTH)
		bits -= LB_FLOW_GROWTH;
	else if (bits > LB_FLOW_SMALL)
		bits = LB_FLOW_SMALL;
	return LB_FLOW_FP_SHIFT - bits;
}

/* The mask of the smallest part, a segment: growth adds more of them. */
#define LB_FLOW_SEGMENT(shift) ((1u << (LB_FLOW_FP_SHIFT - (shift))) - 1)

/* dirty: a byte for each bucket of `flows`. The program sets it when an entry of the bucket is new
 * or in another state; lbd clears it, then reads the bucket and sends it to the other nodes. Not
 * set for the states in LB_FLOW_YOUNG, which are not sent. */
#define LB_DIRTY_BUCKETS 64

struct lb_dirty_line {
	__u8 bucket[LB_DIRTY_BUCKETS];
};

/* One tick is 2^30 ns (1.07 s) of CLOCK_MONOTONIC_COARSE, on both sides. */
#define LB_TICK_SHIFT 30

/* ---- counters: plain arrays with one row per CPU, summed by lbd ---- */

/* backend_counts[cpu * backends + id] */
struct lb_backend_count {
	__u64 packets;
	__u64 bytes; /* inner IP length */
	/* TCP SYNs forwarded, of tracked flows only the first; and UDP flows where they are
	 * tracked */
	__u64 flows;
	__u64 refused; /* resets that answer a SYN; of LB_FORWARD_NAT */
};

/* reason_counts[cpu * LB_COUNTERS + counter]: enum lb_reason, then enum lb_event. The counters
 * of forwarded_tx and returned_tx are not used: all that backend_counts, or return_counts, and
 * totals have, less forwarded_redirect, or returned_redirect and returned_kernel. */
struct lb_reason_count {
	__u64 packets;
	__u64 bytes;
};

/* totals[service]: the counts of removed backends, so that a service's totals never decrease; in
 * totals[0] those of removed services. Written by lbd only. */
struct lb_total {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
	__u64 returned_packets, returned_bytes; /* replies */
	__u64 refused;
};

/* service_counts[cpu * services + id]: packets dropped, by reason */
struct lb_service_count {
	__u64 denied;
	__u64 over_service;
	__u64 over_source;
};

/* frags: where the first fragment of a datagram went. Direct-mapped, one word: fingerprint 32
 * (63-32) | used 1 (31) | dropped 1 (30) | backend 15 (28-14), 0: to the kernel, or dropped |
 * tick 14 (13-0). Of a reply: which backend it came from, 0: none of LB_FORWARD_NAT. */
#define LB_FRAG_USED          (1ULL << 31)
#define LB_FRAG_DROPPED       (1ULL << 30)
#define LB_FRAG_BACKEND_SHIFT LB_FLOW_TICK_BITS
#define LB_FRAG_BACKEND(word) ((__u32)((word) >> LB_FRAG_BACKEND_SHIFT) & LB_MAX_BACKENDS)

/* ---- connect times of a sample of the flows: bpf/connect.h ---- */

/* probes: SYNs that are not answered yet, or whose answer the client has not confirmed; and, where
 * the slot is in the sample, connections that have had no byte of their backend. Direct-mapped, one
 * word: fingerprint 19 (63-45) | asked 1 (44) | open 1 (43) | answered again 1 (42) | answered 1
 * (41) | sent again 1 (40) | backend 15 (39-25) | used 1 (24) | time 24 (23-0) of the SYN, of its
 * answer, or of what the client has sent after that, in units of 8.192 us, which wraps after 137 s
 */
#define LB_PROBES        16384 /* power of two */
#define LB_PROBE_USED    (1ULL << 24)
#define LB_PROBE_RETRIED (1ULL << 40)
/* by the backend, of LB_FORWARD_NAT */
#define LB_PROBE_ANSWERED       (1ULL << 41)
#define LB_PROBE_ANSWERED_AGAIN (1ULL << 42)
#define LB_PROBE_OPEN           (1ULL << 43) /* the handshake is over */
#define LB_PROBE_ASKED          (1ULL << 44) /* the client has sent data */
#define LB_PROBE_TIME           0xffffffu
#define LB_PROBE_TIME_SHIFT     13
#define LB_PROBE_AGAIN          (100000000u >> LB_PROBE_TIME_SHIFT) /* 0.1 s */
#define LB_PROBE_FP(word)       ((__u32)((word) >> 45))
#define LB_PROBE_HASH_FP(hash)  ((__u32)(hash) >> 13)
/* not of the bits 32 to 34: who has just used the upper half need not keep it for this */
#define LB_PROBE_INDEX(hash)   ((__u32)((hash) >> 35) & (LB_PROBES - 1))
#define LB_PROBE_BACKEND(word) ((__u32)((word) >> 25) & LB_MAX_BACKENDS)
#define LB_PROBE(hash, backend, time) \
	((__u64)LB_PROBE_HASH_FP(hash) << 45 | (__u64)(backend) << 25 | LB_PROBE_USED | (time))

/* first_bytes[place in probes]: of one that is open, by what its backend's first byte is known.
 * Used by the program only. */
struct lb_first_byte {
	__u32 seq;  /* of the first byte of the client */
	__u32 ack;  /* with which the client acknowledges the SYN-ACK, and no byte */
	__u32 trip; /* which the handshake took without the backend, units of LB_PROBE_TIME_SHIFT */
	__u32 pad;
};

/* So many bytes at most, and a FIN, are in flight before the client acknowledges the first one */
#define LB_FIRST_BYTE_WINDOW (1u << 17)

/* connects_of[backend]: how often a connect took so long, four buckets an octave, and what else
 * became of connects. To the backend's answer, if that passes here (LB_FORWARD_NAT), else to the
 * client's next packet. And how often its first byte did. The program only adds, by atomics; lbd
 * adds those without an answer. */
#define LB_CONNECT_BUCKETS    72 /* up to 4.3 s: after 3 s lbd counts a connect as unanswered */
#define LB_FIRST_BYTE_BUCKETS 80 /* up to 17 s: then lbd waits no longer */
enum lb_connect_count {
	LB_CONNECT_SAMPLED = LB_CONNECT_BUCKETS, /* SYNs noted */
	LB_CONNECT_RETRIED,                      /* of them sent again before any other packet */
	LB_CONNECT_RESET,                        /* the client's next packet was a reset */
	LB_CONNECT_UNANSWERED,                   /* no next packet within 3 s */
	/* of LB_FORWARD_NAT */
	LB_CONNECT_REFUSED,        /* the backend answered with a reset */
	LB_CONNECT_ANSWERED_AGAIN, /* it sent its answer again before the client's next packet */

	LB_CONNECT_NO_BYTE, /* data of the client, and no byte of the backend within 17 s */
	LB_CONNECT_FIRST_BYTE = LB_CONNECT_BUCKETS + 8, /* the first of LB_FIRST_BYTE_BUCKETS */
	LB_CONNECT_WORDS = LB_CONNECT_FIRST_BYTE + LB_FIRST_BYTE_BUCKETS,
};

struct lb_connects {
	__u32 word[LB_CONNECT_WORDS];
};

/* The bucket, of `buckets`, of so many units of LB_PROBE_TIME_SHIFT. */
static inline __attribute__((always_inline)) __u32 lb_time_bucket(__u32 units, __u32 buckets)
{
	__u32 octave = 0, v = units;

	if (units < 4)
		return units;
	if (v >> 16) {
		v >>= 16;
		octave += 16;
	}
	if (v >> 8) {
		v >>= 8;
		octave += 8;
	}
	if (v >> 4) {
		v >>= 4;
		octave += 4;
	}
	if (v >> 2) {
		v >>= 2;
		octave += 2;
	}
	octave += v >> 1;
	v = (octave - 1) * 4 + (units >> (octave - 2) & 3);
	return v < buckets ? v : buckets - 1;
}

static inline __attribute__((always_inline)) __u32 lb_connect_bucket(__u32 units)
{
	return lb_time_bucket(units, LB_CONNECT_BUCKETS);
}

static inline __attribute__((always_inline)) __u32 lb_first_byte_bucket(__u32 units)
{
	return LB_CONNECT_FIRST_BYTE + lb_time_bucket(units, LB_FIRST_BYTE_BUCKETS);
}

/* ---- rates of new flows: lb_limit.h has the token words, docs/limits.md the rules ---- */

/* limits[service]: one line each. A time is how long a bucket takes to fill by so much. Only
 * `full_at` is written by the program. */
struct lb_limit {
	__u64 full_at;                  /* the service's token word, ns of CLOCK_MONOTONIC_COARSE */
	__u64 cost;                     /* of a new flow of the service, ns: 1 / rate; 0: no rate */
	__u64 span;                     /* of the whole bucket, ns: burst * cost */
	__u64 source_cost, source_span; /* the same for a source prefix, units of LB_SOURCE_SHIFT */
	__u32 mask6[4];                 /* of a source prefix, as an address has it in a packet */
	__u32 mask4;
	__u8 length4, length6; /* of a source prefix */
	__u8 pad[2];
};

/* sources: token words of source prefixes, a cache line per bucket. An element is one word, changed
 * by compare-and-exchange only: fingerprint 22 bits (63-42) | the moment at which the bucket is
 * full, 42 bits (41-0), in units of 256 ns. The place comes from the low bits of the keyed hash of
 * service and prefix, the fingerprint is its high bits. */
#define LB_SOURCE_WAYS      8
#define LB_SOURCE_BUCKETS   16384 /* power of two */
#define LB_SOURCE_SHIFT     8
#define LB_SOURCE_TIME_BITS 42
#define LB_SOURCE_TIME      ((1ULL << LB_SOURCE_TIME_BITS) - 1)

struct lb_source_bucket {
	__u64 word[LB_SOURCE_WAYS];
};

/* offenders[cpu * LB_OFFENDERS + place]: source prefixes over their rate, with the packets dropped.
 * LB_OFFENDER_WAYS places each; of a full set the least is replaced, and its count goes on ("space
 * saving": Metwally, Agrawal, El Abbadi, 2005). */
#define LB_OFFENDERS     256 /* power of two */
#define LB_OFFENDER_WAYS 4
/* Ticks without a drop after which a place counts as empty if another prefix needs it */
#define LB_OFFENDER_IDLE 600

struct lb_offender {
	__u64 tag; /* lb_source_hash of the rest; 0: empty, or being written */
	__u64 dropped;
	__u64 inherited; /* of `dropped`: counted for others, at most */
	__be32 addr[4];  /* IPv4: [0] */
	__u32 service;
	__u32 last; /* tick of the last drop */
	__u8 family;
	__u8 length; /* of the prefix */
	__u8 pad[14];
};

_Static_assert(sizeof(struct lb_service_count) == 24, "layout");
_Static_assert(sizeof(struct lb_limit) == 64, "layout");
_Static_assert(sizeof(struct lb_source_bucket) == 64, "layout");
_Static_assert(sizeof(struct lb_offender) == 64, "layout");
_Static_assert(sizeof(struct lb_tables) == 32, "layout");
_Static_assert(sizeof(struct lb_settings) == 320, "layout");
_Static_assert(sizeof(struct lb_link) == 64, "layout");
_Static_assert(sizeof(struct lb_vip_bucket) == 64, "layout");
_Static_assert(sizeof(struct lb_port_bucket) == 64, "layout");
_Static_assert(sizeof(struct lb_service) == 64, "layout");
_Static_assert(sizeof(struct lb_filter_block) == 64, "layout");
_Static_assert(sizeof(struct lb_filter_head) == sizeof(struct lb_filter_block), "layout");
_Static_assert(sizeof(struct lb_filter_bound) == 16, "layout");
_Static_assert(sizeof(struct lb_backend) == 64, "layout");
_Static_assert(sizeof(struct lb_real_bucket) == 64, "layout");
_Static_assert(sizeof(struct lb_return) == 64, "layout");
_Static_assert(sizeof(struct lb_hop) == 64, "layout");
_Static_assert(__builtin_offsetof(struct lb_hop, ifindex) ==
		   __builtin_offsetof(struct lb_backend, ifindex),
	       "layout");
_Static_assert(sizeof(struct lb_path_key) == 20, "layout");
_Static_assert(sizeof(struct lb_path) == 24, "layout");
_Static_assert(sizeof(struct lb_load) == 8, "layout");
_Static_assert(sizeof(struct lb_turn) == 64, "layout");
_Static_assert(sizeof(struct lb_flow_bucket) == 64, "layout");
_Static_assert(sizeof(struct lb_dirty_line) == 64, "layout");
_Static_assert(sizeof(struct lb_backend_count) == 32, "layout");

#endif
