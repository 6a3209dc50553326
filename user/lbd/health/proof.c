/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keeps a proof for each VIP and port, and paces the trials before it. */
#include "proof.h"

#include <stdlib.h>

#include "common/lookup.h"

#define BUCKETS 1024
#define TRIALS_FIRST                                                                 \
	16 /* so that one backend that works is found at once among some that do not \
	    */
#define TRIAL_MS 1000

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

void proofs_free(struct proofs *proofs)
{
	free(proofs);
}

struct proof *proof_get(struct proofs *proofs, const struct addr *vip, uint16_t port)
{
	struct proof **bucket = bucket_of(proofs, vip, port), *proof;

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

void proof_put(struct proofs *proofs, struct proof *proof)
{
	struct proof **at;

	if (!proof || --proof->users)
		return;
	at = bucket_of(proofs, &proof->vip, proof->port);
	while (*at != proof)
		at = &(*at)->next;
	*at = proof->next;
	free(proof);
}

bool proof_try(struct proof *proof, uint64_t now_ms)
{
	if (proof->trials >= TRIALS_FIRST && now_ms - proof->tried_ms < TRIAL_MS)
		return false;
	proof->trials++;
	proof->tried_ms = now_ms;
	return true;
}
