/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends health checks that go to a VIP as the load balancer sends a client's packets: in the same
 * tunnel, to one backend. The socket's mark names the backend. Runs at the egress (tc) of the
 * device that the kernel's route to the VIP leads to; other packets continue as if it were not
 * there. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lb_detour.h"

#include "csum.h"

#define V4_LENGTH  (ETH_HLEN + 2)
#define V4_CSUM    (ETH_HLEN + 10)
#define V6_LENGTH  (ETH_HLEN + 4)
#define V6_HEADER  40
#define UDP_LENGTH 4

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_DETOUR_WAYS);
	__type(key, __u32);
	__type(value, struct lb_detour);
} ways SEC(".maps");

static __always_inline void write_16(__u8 *to, __u32 value)
{
	to[0] = (__u8)(value >> 8);
	to[1] = (__u8)value;
}

/* length: of the outer packet. */
static __always_inline void fill_in(__u8 header[LB_DETOUR_HEADER], const struct lb_detour *way,
				    __u32 length)
{
	if (way->outer == 4) {
		write_16(header + V4_LENGTH, length);
		write_16(header + V4_CSUM, ~csum_fold(way->csum + length));
	} else if (way->outer == 6) {
		write_16(header + V6_LENGTH, length - V6_HEADER);
	}
	if (way->udp == ETH_HLEN + 20)
		write_16(header + ETH_HLEN + 20 + UDP_LENGTH, length - 20);
	else if (way->udp == ETH_HLEN + V6_HEADER)
		write_16(header + ETH_HLEN + V6_HEADER + UDP_LENGTH, length - V6_HEADER);
}

static __always_inline int send(struct __sk_buff *skb, struct lb_detour *way)
{
	__u8 header[LB_DETOUR_HEADER];
	__u32 room = way->room;

	asm volatile("" : "+r"(room)); /* or the compiler's check is one that the verifier misses */
	if (room > LB_DETOUR_ROOM)
		return TC_ACT_SHOT;
	if (room && bpf_skb_adjust_room(skb, (__s32)room, BPF_ADJ_ROOM_MAC, way->flags))
		return TC_ACT_SHOT;
	__builtin_memcpy(header, way->header, sizeof(header));
	fill_in(header, way, skb->len - ETH_HLEN);
	if (bpf_skb_store_bytes(skb, 0, header, ETH_HLEN + room, 0))
		return TC_ACT_SHOT;
	if (way->vlan_tci && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), way->vlan_tci))
		return TC_ACT_SHOT;
	__sync_fetch_and_add(&way->packets, 1);
	skb->mark = 0; /* it leaves by the same device, and passes here again */
	return (int)bpf_redirect(way->ifindex, 0);
}

/* A check whose way is gone is dropped: it must not reach the VIP as a client's packet does. */
SEC("tc")
int detour(struct __sk_buff *skb)
{
	__u32 number = skb->mark & ~LB_DETOUR_MASK;
	struct lb_detour *way;

	if ((skb->mark & LB_DETOUR_MASK) != LB_DETOUR_MARK)
		return TC_ACT_UNSPEC;
	way = bpf_map_lookup_elem(&ways, &number);
	if (!way || !way->ifindex)
		return TC_ACT_SHOT;
	return send(skb, way);
}

char _license[] SEC("license") = "Dual BSD/GPL";
