/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Samples whether packets on a veth have whole checksums. What a socket behind the other end sends
 * has none, as the kernel leaves them to the device; a native XDP program passes only bytes on, and
 * the receiver drops the packet. The program cannot see that. The kernel frees each packet that was
 * sent back here: consume_skb. It runs for all packets of the host, so lbd attaches this for
 * moments only. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "lb_checksums.h"

#include "kernel.h"

#define CHECKSUM_PARTIAL 3      /* of the kernel's include/linux/skbuff.h */
#define PACKET_OUTGOING  4      /* of its include/uapi/linux/if_packet.h */
#define MAC_HEADER_UNSET 0xffff /* of its skb_mac_header_was_set() */

/* The devices that are looked at, by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LB_CHECKSUMS);
	__type(key, __u32);
	__type(value, struct lb_checksums);
} checksums SEC(".maps");

static __always_inline int is_ip(__be16 protocol)
{
	return protocol == bpf_htons(ETH_P_IP) || protocol == bpf_htons(ETH_P_IPV6);
}

/* What a socket of this host sends at once may be cut by the kernel, if the device does not: it
 * finishes the checksums of the parts, and frees the whole. To a veth with an XDP program
 * everything comes cut: the kernel takes GSO from its other end. */
static __always_inline int is_uncut(struct sk_buff *skb)
{
	struct skb_shared_info *info = (void *)(skb->head + skb->end);

	return BPF_CORE_READ(info, gso_size) != 0;
}

SEC("tp_btf/consume_skb")
int BPF_PROG(look, struct sk_buff *skb)
{
	struct net_device *device = skb->dev;
	struct lb_checksums *seen;
	__u32 ifindex;

	if (!device || !is_ip(skb->protocol))
		return 0;
	/* the copy that tcpdump gets of a packet of this host */
	if (BPF_CORE_READ_BITFIELD(skb, pkt_type) == PACKET_OUTGOING)
		return 0;
	/* the copy of a packet of this host that waits for a neighbour's address (neigh_probe): it
	 * has no Ethernet header yet, and its checksum is finished when it is sent */
	if (skb->mac_header == MAC_HEADER_UNSET || is_uncut(skb))
		return 0;
	ifindex = (__u32)device->ifindex;
	seen = bpf_map_lookup_elem(&checksums, &ifindex);
	if (!seen || !is_in_namespace(device))
		return 0;
	if (BPF_CORE_READ_BITFIELD(skb, ip_summed) == CHECKSUM_PARTIAL)
		__sync_fetch_and_add(&seen->unfinished, 1);
	else
		__sync_fetch_and_add(&seen->whole, 1);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
