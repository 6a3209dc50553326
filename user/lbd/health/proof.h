/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether checks through the tunnel are known to work for a VIP and port: as soon as one backend
 * has answered one. Before that a failure may be this host's or the network's (no way back, say),
 * and is held against no backend. */
#ifndef LBD_HEALTH_PROOF_H
#define LBD_HEALTH_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "failure.h"

struct proof {
	bool proven;
	char why[FAILURE_TEXT]; /* of the last trial that failed; "" if none has */
	struct addr vip;
	uint16_t port;
	unsigned users;
	uint64_t left_ms;  /* CLOCK_MONOTONIC, when the last user left it */
	unsigned trials;   /* before it is proven */
	unsigned failed;   /* of them, of backends that answer directly */
	uint64_t tried_ms; /* CLOCK_MONOTONIC; of the last one */
	/* With port 0, of the VIP alone: the longest packet that a backend has answered, bytes,
	 * when (CLOCK_MONOTONIC), and whether the log has said that longer ones are lost. */
	uint16_t longest;
	uint64_t longest_ms;
	bool told;
	struct proof *next;
};

struct proofs;

struct proofs *proofs_new(void);
/* No proof is in use. NULL is allowed. */
void proofs_free(struct proofs *proofs);
/* The one of a VIP and port, for all checks that ask for it. NULL: out of memory. */
struct proof *proof_get(struct proofs *proofs, const struct addr *vip, uint16_t port,
			uint64_t now_ms);
/* One that nobody uses is forgotten a minute later: a reload that changes all checks of a service
 * takes them away before it adds the new ones. NULL is allowed. */
void proof_put(struct proof *proof, uint64_t now_ms);
/* Is a trial due? It counts as made then: the first few at once, then one a second, whichever
 * backend it is of. */
bool proof_try(struct proof *proof, uint64_t now_ms);

#endif
