/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates of new flows: token words, for the program, lbd and tests. A word holds the moment at which
 * its bucket is full again (the "theoretical arrival time" of the generic cell rate algorithm,
 * ITU-T I.371). Each new flow moves it by the cost of a flow; one that would move it beyond now +
 * span is over the rate. So time alone fills a bucket, and one compare-and-exchange empties it.
 * Pure: compiles for BPF and for the host. */
#ifndef LB_LIMIT_H
#define LB_LIMIT_H

#include "lb_abi.h"
#include "lb_hash.h"

/* ---- words of services: full_at, ns ---- */

#define LB_LIMIT_SLACK  (1ULL << 28) /* ns: 268 ms; the clock steps by 10 ms at most */
#define LB_SOURCE_SLACK (LB_LIMIT_SLACK >> LB_SOURCE_SHIFT)

/* How far the moment is ahead: 0 or less: the bucket is full. */
LB_HASH_INLINE __s64 lb_limit_ahead(__u64 full_at, __u64 now)
{
	return (__s64)(full_at - now);
}

/* What is missing in the bucket, 0 to span: the time until it is full. A word that is further ahead
 * than the bucket can be was written under a slower rate, before a reload: the bucket is empty but
 * for one flow. slack: how much two CPUs may differ in what time it is. */
LB_HASH_INLINE __u64 lb_limit_debt(__s64 ahead, __u64 span, __u64 cost, __u64 slack)
{
	if (ahead <= 0)
		return 0;
	if ((__u64)ahead > span + slack)
		return span - cost;
	return (__u64)ahead > span ? span : (__u64)ahead;
}

/* ---- words of source prefixes ---- */

#define LB_SOURCE_PAST (-(1LL << (LB_SOURCE_TIME_BITS - 1))) /* no moment is earlier */

LB_HASH_INLINE __u64 lb_source_now(__u64 now_ns)
{
	return now_ns >> LB_SOURCE_SHIFT;
}

/* The moments are compared modulo their width: lbd clears words that are in the past before they
 * could look like future ones (6.5 days). Not for a word of 0, which is an empty place. */
LB_HASH_INLINE __s64 lb_source_ahead(__u64 word, __u64 now)
{
	const int unused = 64 - LB_SOURCE_TIME_BITS;

	return (__s64)((word - now) << unused) >> unused;
}

LB_HASH_INLINE __u64 lb_source_word(__u64 hash, __u64 full_at)
{
	return (hash & ~LB_SOURCE_TIME) | (full_at & LB_SOURCE_TIME);
}

/* Whether the word is of the prefix with this hash, as far as the fingerprint shows. */
LB_HASH_INLINE _Bool lb_source_matches(__u64 word, __u64 hash)
{
	return (word ^ hash) >> LB_SOURCE_TIME_BITS == 0;
}

LB_HASH_INLINE __u32 lb_source_bucket_of(__u64 hash)
{
	return (__u32)hash & (LB_SOURCE_BUCKETS - 1);
}

/* Bits of the hash that neither bucket nor fingerprint use. */
LB_HASH_INLINE __u32 lb_offender_place_of(__u64 hash)
{
	return (__u32)(hash >> 20) & (LB_OFFENDERS / LB_OFFENDER_WAYS - 1);
}

/* The keyed hash of a source prefix of a service. source: family and client; the rest of the
 * address is zero. */
LB_HASH_INLINE __u64 lb_source_hash(const struct lb_tuple *source, const struct lb_hash_key *key,
				    __u32 service)
{
	if (source->family == 4)
		return lb_hash_v4(key, source->client[0], service, 0, LB_HASH_DOMAIN_SOURCE);
	return lb_hash_v6(key, lb_hash_pair(source->client), lb_hash_pair(source->client + 2),
			  service, 0, 0, LB_HASH_DOMAIN_SOURCE);
}

#endif
