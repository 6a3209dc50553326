/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow hash: gives a flow its slot, bucket and fingerprint. Pure: compiles for BPF and for the
 * host. */
#ifndef LB_HASH_H
#define LB_HASH_H

#include <linux/types.h>

#include "lb_abi.h"

#define LB_HASH_INLINE static inline __attribute__((always_inline))

/* A test build may keep only some of the bits, so that collisions become common. */
#ifndef LB_HASH_FINAL
#define LB_HASH_FINAL(h) (h)
#endif

/* Derives the key from the seed: ten words of SplitMix64 (Steele, Lea, Flood, 2014). */
static inline void lb_hash_key_make(__u64 seed, struct lb_hash_key *ret)
{
	__u32 i;

	for (i = 0; i < sizeof(ret->word) / sizeof(ret->word[0]); i += 2) {
		__u64 x = seed += 0x9e3779b97f4a7c15ULL;

		x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
		x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
		x ^= x >> 31;
		ret->word[i] = (__u32)x;
		ret->word[i + 1] = (__u32)(x >> 32);
	}
}

/* NH (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC", CRYPTO 1999): the sum of products of keyed
 * words. Any two tuples chosen without knowledge of the key collide for one key in 2^32; no two
 * collide for every key. The hash is universal, not cryptographic: the bound does not hold if hash
 * values become known, so they are never shown. */
LB_HASH_INLINE __u64 lb_hash_pair_nh(const struct lb_hash_key *key, __u32 at, __u32 a, __u32 b)
{
	return (__u64)(__u32)(a + key->word[at]) * (__u32)(b + key->word[at + 1]);
}

/* Spreads the sum over all bits: slot, bucket and fingerprint are parts of it. It is a bijection,
 * so it adds no collisions. Two rounds of multiply and fold; multipliers from splitmix64. The sums
 * of one client's ports are an arithmetic progression, and one round would leave one in the upper
 * bits: with an unlucky key, a client's flows in few slots. */
LB_HASH_INLINE __u64 lb_hash_finish(__u64 h)
{
	h = (h ^ h >> 32) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 29) * 0x94d049bb133111ebULL;
	h ^= h >> 32;
	return LB_HASH_FINAL(h);
}

/* Addresses and ports are in the byte order of the packet; ports is the first word of the TCP or
 * UDP header. protocol may carry more bits (LB_HASH_DOMAIN_*) to separate hashes of different
 * kinds. */
LB_HASH_INLINE __u64 lb_hash_v4(const struct lb_hash_key *key, __be32 client, __be32 vip,
				__u32 ports, __u32 protocol)
{
	return lb_hash_finish(lb_hash_pair_nh(key, 0, client, ports) +
			      lb_hash_pair_nh(key, 2, vip, protocol));
}

LB_HASH_INLINE __u64 lb_hash_v6(const struct lb_hash_key *key, __u64 client_high, __u64 client_low,
				__u64 vip_high, __u64 vip_low, __u32 ports, __u32 protocol)
{
	__u64 h = lb_hash_pair_nh(key, 0, (__u32)client_low, ports);

	h += lb_hash_pair_nh(key, 2, (__u32)(client_low >> 32), protocol);
	h += lb_hash_pair_nh(key, 4, (__u32)client_high, (__u32)(client_high >> 32));
	h += lb_hash_pair_nh(key, 6, (__u32)vip_high, (__u32)(vip_high >> 32));
	h += lb_hash_pair_nh(key, 8, (__u32)vip_low, (__u32)(vip_low >> 32));
	return lb_hash_finish(h);
}

#define LB_HASH_DOMAIN_CLIENT   (1u << 8) /* affinity entries */
#define LB_HASH_DOMAIN_FRAGMENT (1u << 9)
#define LB_HASH_DOMAIN_SOURCE   (1u << 10) /* source prefixes of a service */
#define LB_HASH_DOMAIN_REPLY    (1u << 11) /* fragments of replies */

/* The input of a hash. IPv4: both addresses are in [0], the rest is not read. */
struct lb_tuple {
	__be32 client[4];
	__be32 vip[4];
	__u32 ports; /* as in the packet: the client's port, then the VIP's */
	__u8 protocol;
	__u8 family;
	__u8 pad[2];
};

/* Clears the ports that are not hashed (enum lb_hash_fields). */
LB_HASH_INLINE __u32 lb_hash_ports(__u32 ports, __u8 fields)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return ports & ((fields & LB_HASH_SPORT ? 0x0000ffff : 0) |
			(fields & LB_HASH_DPORT ? 0xffff0000 : 0));
#else
	return ports & ((fields & LB_HASH_SPORT ? 0xffff0000 : 0) |
			(fields & LB_HASH_DPORT ? 0x0000ffff : 0));
#endif
}

/* A mask of the first `bits` bits of eight bytes in wire order, for these bytes loaded as one
 * 64-bit word. bits: up to 64. */
LB_HASH_INLINE __u64 lb_hash_prefix(__u32 bits)
{
	__u64 mask = bits == 0 ? 0 : bits >= 64 ? ~0ULL : ~0ULL << (64 - bits);

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	mask = __builtin_bswap64(mask);
#endif
	return mask;
}

/* The same for four bytes. */
LB_HASH_INLINE __u32 lb_hash_prefix_v4(__u32 bits)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u32)lb_hash_prefix(bits);
#else
	return (__u32)(lb_hash_prefix(bits) >> 32);
#endif
}

/* The same hashes over a prefix of the client's address. */
LB_HASH_INLINE __u64 lb_hash_v4_prefix(const struct lb_hash_key *key, __be32 client, __be32 vip,
				       __u32 ports, __u32 protocol, __u32 bits)
{
	return lb_hash_v4(key, client & lb_hash_prefix_v4(bits), vip, ports, protocol);
}

LB_HASH_INLINE __u64 lb_hash_v6_prefix(const struct lb_hash_key *key, __u64 client_high,
				       __u64 client_low, __u64 vip_high, __u64 vip_low, __u32 ports,
				       __u32 protocol, __u32 bits)
{
	client_high &= lb_hash_prefix(bits > 64 ? 64 : bits);
	client_low &= lb_hash_prefix(bits > 64 ? bits - 64 : 0);
	return lb_hash_v6(key, client_high, client_low, vip_high, vip_low, ports, protocol);
}

/* Two adjacent 32-bit words as one 64-bit word, as a single load would read them. */
LB_HASH_INLINE __u64 lb_hash_pair(const __be32 *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u64)word[1] << 32 | word[0];
#else
	return (__u64)word[0] << 32 | word[1];
#endif
}

/* The hash of a tuple over some fields (enum lb_hash_fields) and the first `bits` of the client's
 * address. */
LB_HASH_INLINE __u64 lb_tuple_hash(const struct lb_tuple *tuple, const struct lb_hash_key *key,
				   __u32 domain, __u8 fields, __u32 bits)
{
	__u32 ports = lb_hash_ports(tuple->ports, fields), protocol = tuple->protocol | domain;

	if (tuple->family == 4)
		return lb_hash_v4_prefix(key, tuple->client[0], tuple->vip[0], ports, protocol,
					 bits);
	return lb_hash_v6_prefix(key, lb_hash_pair(tuple->client), lb_hash_pair(tuple->client + 2),
				 lb_hash_pair(tuple->vip), lb_hash_pair(tuple->vip + 2), ports,
				 protocol, bits);
}

/* The hash of the whole tuple: gives bucket and fingerprint, and the slot if the service hashes all
 * fields. */
LB_HASH_INLINE __u64 lb_flow_hash(const struct lb_tuple *tuple, const struct lb_hash_key *key)
{
	return lb_tuple_hash(tuple, key, 0, LB_HASH_FULL, 128);
}

/* The hash that picks the slot: over the fields that the service hashes. */
LB_HASH_INLINE __u64 lb_slot_hash(const struct lb_tuple *tuple, const struct lb_hash_key *key,
				  const struct lb_service *service)
{
	return lb_tuple_hash(tuple, key, 0, service->hash,
			     tuple->family == 4 ? service->mask4 : service->mask6);
}

/* The flow table's two buckets: either one follows from the other and the fingerprint. Both are in
 * the same segment, so both move alike when the table changes its size; they differ, as a segment
 * has at least two. shift: lb_flow_shift; hash: of the flow, or its entry for all but the part of
 * the number that is in the segment. */
LB_HASH_INLINE __u32 lb_bucket(__u64 hash, __u32 shift, __u32 mask)
{
	return (__u32)(hash >> shift) & mask;
}

LB_HASH_INLINE __u32 lb_bucket_other(__u32 bucket, __u64 hash, __u32 shift)
{
	return bucket ^
	       (((__u32)(hash >> LB_FLOW_FP_SHIFT) * 0x5bd1e995u | 1) & LB_FLOW_SEGMENT(shift));
}

/* The bucket that an entry of this bucket has in a part of another size. */
LB_HASH_INLINE __u32 lb_bucket_moved(__u32 bucket, __u64 entry, __u32 shift, __u32 mask)
{
	const __u32 segment = LB_FLOW_SEGMENT(shift);

	return (bucket & segment) | (lb_bucket(entry, shift, mask) & ~segment);
}

#endif
