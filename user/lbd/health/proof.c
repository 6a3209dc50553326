/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keeps a proof for each VIP and port, and paces the trials before it. */
#include "proof.h"

#include <stdlib.h>

#include "common/lookup.h"

#define BUCKETS      1024
#define TRIALS_FIRST 16 /* to find one that works at once among some that do not */
#define TRIAL_MS     1000
#define KEEP_MS      60000

struct proofs {
	struct proof *buckets[BUCKETS];
};

static struct proof **bucket_of(struct proofs *proofs, const struct addr *vip, uint16_t port)
{
	uint64_t hash = lookup_hash_number(lookup_hash_addr(LOOKUP_START, vip), port);

	return &proofs->buckets[hash % BUCKETS];
}

struct proofs *proofs_new(void)
{
	return calloc(1, sizeof(struct proofs));
}

/* Those of a bucket that nobody has used since then. */
static void forget(struct proof **at, uint64_t since_ms)
{
	while (*at) {
		struct proof *proof = *at;

		if (proof->users || proof->left_ms > since_ms) {
			at = &proof->next;
			continue;
		}
		*at = proof->next;
		free(proof);
	}
}

void proofs_free(struct proofs *proofs)
{
	for (unsigned i = 0; proofs && i < BUCKETS; i++)
		forget(&proofs->buckets[i], UINT64_MAX);
	free(proofs);
}

struct proof *proof_get(struct proofs *proofs, const struct addr *vip, uint16_t port,
			uint64_t now_ms)
{
	struct proof **bucket = bucket_of(proofs, vip, port), *proof;

	forget(bucket, now_ms > KEEP_MS ? now_ms - KEEP_MS : 0);
	for (proof = *bucket; proof; proof = proof->next)
		if (proof->port == port && addr_equal(&proof->vip, vip))
			break;
	if (!proof) {
		proof = calloc(1, sizeof(*proof));
		if (!proof)
			return NULL;
		proof->vip = *vip;
		proof->port = port;
		proof->next = *bucket;
		*bucket = proof;
	}
	proof->users++;
	return proof;
}

void proof_put(struct proof *proof, uint64_t now_ms)
{
	if (!proof)
		return;
	proof->users--;
	proof->left_ms = now_ms;
}

bool proof_try(struct proof *proof, uint64_t now_ms)
{
	if (proof->trials >= TRIALS_FIRST && now_ms - proof->tried_ms < TRIAL_MS)
		return false;
	proof->trials++;
	proof->tried_ms = now_ms;
	return true;
}
