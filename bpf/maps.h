/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map of the program and the constants the loader sets before it loads. Layouts:
 * include/lb_abi.h. Sizes (max_entries) are defaults: lbd sets them before it loads. */
#ifndef LB_MAPS_H
#define LB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lb_abi.h"
#include "lb_reasons.h"

#define LB_FRAGS 8192
#ifndef LB_SYNS
#define LB_SYNS 16384
#endif

const volatile __u32 flow_mask = 1; /* number of buckets of `flows` - 1; at least two buckets */
const volatile __u32 flow_shift = LB_FLOW_FP_SHIFT - 1; /* lb_flow_shift of that number */
/* length of a row of `backend_counts`: entries of `backends` */
const volatile __u32 backend_slots = 2;
const volatile __u32 service_slots = 2; /* of a row of `service_counts`: entries of `services` */
const volatile __u32 vip_mask = 0;      /* number of buckets of `vips` - 1 */
const volatile __u32 slot_mask = 15;    /* number of `fronts` and of `arena` - 1 */
const volatile __u32 real_mask = 0;     /* of `reals` - 1 */
const volatile __u32 return_mask = 0;   /* of `returns` - 1: more than entries of `backends` */
/* Other nodes are told of flows (`peers` of the config). Where it is 0 the verifier removes what
 * that costs. */
const volatile __u8 has_peers = 0;

/* 0 in these bits of the hash: a flow whose connect is timed; all ones: none */
const volatile __u32 connect_mask = ~0u;

/* The values of a BPF array begin on a cache line only if the array is mmapable. */
#define LB_ARRAY(name, value_type, entries)        \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, entries);      \
		__type(key, __u32);                \
		__type(value, value_type);         \
	} name SEC(".maps")

LB_ARRAY(links, struct lb_link, LB_LINKS);
LB_ARRAY(ports, struct lb_port_bucket, 2);
LB_ARRAY(services, struct lb_service, 2);
LB_ARRAY(return_counts, struct lb_return_count, 2);
LB_ARRAY(directs, struct lb_direct_list, LB_LIST_PLACES);
LB_ARRAY(stamps, struct lb_stamp_line, 1);
LB_ARRAY(loads, struct lb_load, 2);
LB_ARRAY(turns, struct lb_turn, 2);
LB_ARRAY(flows, struct lb_flow_bucket, 2);
LB_ARRAY(dirty, struct lb_dirty_line, 1);
LB_ARRAY(frags, __u64, LB_FRAGS);
LB_ARRAY(syns, __u64, LB_SYNS);                         /* used by the program only */
LB_ARRAY(first_bytes, struct lb_first_byte, LB_PROBES); /* used by the program only */
LB_ARRAY(connects_of, struct lb_connects, 2);
LB_ARRAY(backend_counts, struct lb_backend_count, 2);
LB_ARRAY(reason_counts, struct lb_reason_count, LB_COUNTERS);
LB_ARRAY(service_counts, struct lb_service_count, 2);
LB_ARRAY(totals, struct lb_total, 2); /* used by lbd only */
LB_ARRAY(limits, struct lb_limit, 2);
LB_ARRAY(sources, struct lb_source_bucket, LB_SOURCE_BUCKETS);
LB_ARRAY(offenders, struct lb_offender, LB_OFFENDERS);

/* What every packet reads is in variables, which have fixed addresses. A look-up would put its key
 * on the stack, load it again and test the result for NULL, all of it between a slot and the
 * packet's next line of memory. */
struct lb_settings settings SEC(LB_SETTINGS_MAP);
struct lb_backend backends[LB_MAX_BACKENDS + 1] SEC(LB_BACKENDS_MAP);
struct lb_hop_list hops[LB_LIST_PLACES] SEC(LB_HOPS_MAP);
/* Wide: lbd gives them their length. */
struct lb_vip_bucket vips[1] SEC(LB_VIPS_MAP);
__u32 arena[16] SEC(LB_ARENA_MAP);
__u16 fronts[32] SEC(LB_FRONTS_MAP);
__u64 probes[LB_PROBES] SEC(LB_PROBES_MAP);
struct lb_real_bucket reals[1] SEC(LB_REALS_MAP);
struct lb_return returns[1] SEC(LB_RETURNS_MAP);

/* The line of a backend; one that is not in use has no flags. */
static __always_inline struct lb_backend *backend_at(__u32 id)
{
	/* hidden: the compiler may know the bits better than the verifier, and drop the mask */
	asm volatile("" : "+r"(id));
	return &backends[id & LB_MAX_BACKENDS];
}

/* index: LB_LIST_AT, and the number of the entry in its part of the list. */
static __always_inline const struct lb_hop *hop_at(__u32 index)
{
	asm volatile("" : "+r"(index));
	return &hops[0].hop[index & (LB_LIST_PLACES * LB_HOPS - 1)];
}

/* The first entry of a part of the list: LB_LIST. */
static __always_inline const struct lb_hop *hop_first(__u32 part)
{
	return &hops[0].hop[LB_LIST_AT(part) & (LB_LIST_PLACES * LB_HOPS - 1)];
}

static __always_inline struct lb_vip_bucket *vip_bucket_at(__u32 index)
{
	struct lb_vip_bucket *first = vips;

	asm volatile("" : "+r"(first)); /* the compiler knows a length that is not the real one */
	return first + (index & vip_mask);
}

static __always_inline struct lb_real_bucket *real_bucket_at(__u32 index)
{
	struct lb_real_bucket *first = reals;

	asm volatile("" : "+r"(first));
	return first + (index & real_mask);
}

/* The line of a backend; one that gets no replies has no family. */
static __always_inline struct lb_return *return_of(__u32 id)
{
	struct lb_return *first = returns;

	asm volatile("" : "+r"(first));
	return first + (id & return_mask);
}

/* index: of a slot, or of a word of a list. */
static __always_inline __u32 slot_read(__u32 index)
{
	__u32 *first = arena;

	asm volatile("" : "+r"(first));
	return *(volatile __u32 *)(first + (index & slot_mask));
}

/* Two words of a list: an even index, and the one after it. */
static __always_inline __u64 slots_read(__u32 index)
{
	__u32 *first = arena;

	asm volatile("" : "+r"(first));
	return *(volatile __u64 *)(first + (index & slot_mask & ~1u));
}

/* In bytes, the front of a slot of the arena. */
static __always_inline __u64 front_offset(__u32 index)
{
	return (__u64)(index & slot_mask) * sizeof(__u16);
}

static __always_inline __u32 front_at(__u64 offset)
{
	void *first = fronts;

	asm volatile("" : "+r"(first));
	return *(volatile __u16 *)(first + offset);
}

static __always_inline __u32 front_read(__u32 index)
{
	return front_at(front_offset(index));
}

/* The jiffy (63-32) in which a packet last read the clock, and the tick that it read (31-0). */
__u64 tick_read_last SEC(".data.tick");

/* Empty while no service has a filter. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, LB_FILTER_CHUNKS);
	__type(key, __u32);
	__array(
	    values, struct {
		    __uint(type, BPF_MAP_TYPE_ARRAY);
		    __uint(map_flags, BPF_F_MMAPABLE);
		    __uint(max_entries, LB_FILTER_CHUNK);
		    __uint(key_size, sizeof(__u32));
		    /* with __type, clang describes the struct by its name alone */
		    __uint(value_size, sizeof(struct lb_filter_block));
	    });
} filters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);   /* ifindex */
	__type(value, __u32); /* the same */
} egress SEC(".maps");

/* Allocates as elements are made: the program only finds and changes them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2);
	__type(key, struct lb_path_key);
	__type(value, struct lb_path);
} paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct lb_path_key);
	__type(value, __u32);
} locals SEC(".maps");

/* Programs that rare packets go on in. Pinned, as the kernel empties it when no process and no pin
 * has it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, LB_PROGRAMS);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_handover);
} handovers SEC(".maps");

/* What a VIP itself sends, by kind: a flood of one kind leaves the others their rates. */
enum answer_kind {
	ANSWER_TOO_BIG,
	ANSWER_TIME_EXCEEDED,
	ANSWER_REFUSAL, /* a TCP reset, or ICMP unreachable */
	ANSWER_ECHO,
	ANSWER_KINDS,
};

/* How many this CPU has sent in this tick. */
struct icmp_budget {
	__u32 tick;
	__u32 sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ANSWER_KINDS);
	__type(key, __u32); /* enum answer_kind */
	__type(value, struct icmp_budget);
} icmp_budgets SEC(".maps");

#endif
