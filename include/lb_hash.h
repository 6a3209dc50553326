/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow hash: which slot, bucket and fingerprint a flow has. Pure: compiles for BPF and for the host.
 * Included by bpf/packet.h, select.h, frag.h, flow.h and by the tests' model. */
#ifndef LB_HASH_H
#define LB_HASH_H

#include <linux/types.h>

#include "lb_abi.h"

#define LB_HASH_INLINE static inline __attribute__((always_inline))

/* Multiply, then fold the high half into the low one. The multipliers are odd with about half their bits set (from
 * splitmix64 and MurmurHash3, Appleby; any such would do). Keyed, not cryptographic: who does not know the seed cannot
 * aim at a slot, which is what a load balancer needs. What a client can choose of IPv4 lies in the low half of each
 * word, so that a change of it always reaches bits that the next word cannot undo. */
LB_HASH_INLINE __u64 lb_hash_mix(__u64 h, __u64 multiplier)
{
	h *= multiplier;
	return h ^ h >> 32;
}

/* All addresses and ports as they lie in the packet: ports is the first word of the TCP or UDP header. protocol may
 * carry more bits (LB_HASH_DOMAIN_*) to tell apart hashes of different things. */
LB_HASH_INLINE __u64 lb_hash_v4(__u64 seed, __be32 client, __be32 vip, __u32 ports, __u32 protocol)
{
	__u64 h = lb_hash_mix(seed ^ ((__u64)vip << 32 | client), 0x9e3779b97f4a7c15ULL);

	h = lb_hash_mix(h ^ ((__u64)protocol << 32 | ports), 0xbf58476d1ce4e5b9ULL);
	return lb_hash_mix(h, 0x94d049bb133111ebULL);
}

/* Two lanes that the CPU runs side by side, one for each half of the addresses. */
LB_HASH_INLINE __u64 lb_hash_v6(__u64 seed, __u64 client_high, __u64 client_low, __u64 vip_high, __u64 vip_low,
				__u32 ports, __u32 protocol)
{
	__u64 high = lb_hash_mix(seed ^ client_high, 0x9e3779b97f4a7c15ULL);
	__u64 low = lb_hash_mix(~seed ^ client_low, 0xff51afd7ed558ccdULL);

	high = lb_hash_mix(high ^ vip_high, 0xc4ceb9fe1a85ec53ULL);
	low = lb_hash_mix(low ^ vip_low, 0x9fb21c651e98df25ULL);
	high = lb_hash_mix((high + low) ^ ((__u64)protocol << 32 | ports), 0xbf58476d1ce4e5b9ULL);
	return lb_hash_mix(high, 0x94d049bb133111ebULL);
}

#define LB_HASH_DOMAIN_CLIENT   (1u << 8) /* affinity entries */
#define LB_HASH_DOMAIN_FRAGMENT (1u << 9)

/* What a hash is made of. Both addresses of an IPv4 tuple are in [0], the rest is not read. */
struct lb_tuple {
	__be32 client[4];
	__be32 vip[4];
	__u32 ports; /* as in the packet: client's port, then the VIP's */
	__u8 protocol;
	__u8 family;
	__u8 pad[2];
};

/* Leaves out what a service does not hash: ports by enum lb_hash_fields, the client's bits beyond the prefix. */
LB_HASH_INLINE void lb_tuple_reduce(struct lb_tuple *tuple, __u8 fields, __u8 prefix)
{
	__be16 *port = (__be16 *)&tuple->ports;
	__u32 i, mask;

	if (!(fields & LB_HASH_SPORT))
		port[0] = 0;
	if (!(fields & LB_HASH_DPORT))
		port[1] = 0;
	for (i = 0; i < 4; i++) {
		mask = prefix >= 32 * (i + 1) ? ~0u : prefix <= 32 * i ? 0 : ~0u << (32 * (i + 1) - prefix);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		mask = __builtin_bswap32(mask);
#endif
		tuple->client[i] &= mask;
	}
}

LB_HASH_INLINE __u64 lb_pair(const __be32 *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u64)word[1] << 32 | word[0];
#else
	return (__u64)word[0] << 32 | word[1];
#endif
}

LB_HASH_INLINE __u64 lb_tuple_hash(const struct lb_tuple *tuple, __u64 seed, __u32 domain)
{
	if (tuple->family == 4)
		return lb_hash_v4(seed, tuple->client[0], tuple->vip[0], tuple->ports, tuple->protocol | domain);
	return lb_hash_v6(seed, lb_pair(tuple->client), lb_pair(tuple->client + 2), lb_pair(tuple->vip),
			  lb_pair(tuple->vip + 2), tuple->ports, tuple->protocol | domain);
}

/* The flow table's two buckets: the second from the first and the fingerprint, and the other way round. Differs from
 * the bucket it is given as long as there are two. */
LB_HASH_INLINE __u32 lb_bucket(__u64 hash, __u32 mask)
{
	return (__u32)hash & 0x7fffffff & mask;
}

LB_HASH_INLINE __u32 lb_bucket_other(__u32 bucket, __u64 hash, __u32 mask)
{
	return (bucket ^ ((__u32)(hash >> 33) * 0x5bd1e995u | 1)) & mask;
}

#endif
