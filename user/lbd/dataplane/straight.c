/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The straight words of the VIP table (lb_abi.h, "the straight path"). At any time a word is 0, or
 * what the line of its service says: it is closed before a rule or the ring is changed, and opened
 * when the change is complete. */
#include "internal.h"

#include <arpa/inet.h>
#include <string.h>

/* The place of the service's word in one half of the table; NULL: it has none there. */
static __u64 *word_in(const struct dataplane *dp, const struct dp_service *key, unsigned half)
{
	const struct lb_tables *tables = &dp->maps.settings->tables[half];
	const uint32_t main = LB_VIP_MAIN(htons(key->port), key->protocol);
	struct lb_vip_bucket *bucket;
	__be32 address[4];
	uint32_t at;

	if (!key->port || (uint64_t)tables->vip_base + tables->vip_mask >= dp->maps.vip_buckets)
		return NULL;
	memcpy(address, key->vip.bytes, sizeof(address));
	at = lb_vip_hash(address, key->vip.family, tables->multiplier) & tables->vip_mask;
	bucket = &dp->maps.vips[tables->vip_base + at];
	for (unsigned way = 0; way < LB_VIP_WAYS; way++) {
		struct lb_vip *vip = &bucket->vip[way];

		if (vip->id && vip->family == key->vip.family && vip->main == main &&
		    !memcmp(vip->addr, address, sizeof(address)))
			return &vip->straight;
	}
	return NULL;
}

/* In both halves: a packet in flight may still use the one that was in use before. */
void straight_close(struct dataplane *dp, const struct dp_service *key)
{
	for (unsigned half = 0; half < 2; half++) {
		__u64 *word = word_in(dp, key, half);

		if (word)
			dp_update(word, 0);
	}
}

void straight_open(struct dataplane *dp, const struct record *record)
{
	const struct dp_service *key = &record->want;
	__u64 *word = word_in(dp, key, dp->maps.settings->active & 1);

	if (word)
		dp_update(word, lb_straight(&dp->maps.services[record->id], key->vip.family));
}
