/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A balancing algorithm: one file in algo/, which registers this table. */
#ifndef LBD_ALGO_H
#define LBD_ALGO_H

#include <stdbool.h>
#include <stdint.h>

#include "lb_abi.h"
#include "common/registry.h"

struct algo {
	const char *name;       /* "least-conn" */
	const char *short_name; /* the name in IPVS: "lc" */
	const char *help;       /* one line, for man pages and errors */
	enum lb_select select;
	uint8_t hash; /* default enum lb_hash_fields of the slot hash */
	/* every weight above 0 counts the same */
	bool ignores_weights;
	bool by_latency; /* the cost depends on the latency */
	/* For LB_SELECT_COST, else NULL: the cost of one flow on a backend, 1..2^31. weight >= 1;
	 * latency_us: how long it takes to answer, 0: unknown. */
	uint32_t (*cost)(uint32_t weight, uint32_t latency_us);
};

REGISTRY(algo, struct algo);

/* By name or short name; NULL: there is none. */
const struct algo *algo_find(const char *name);

#endif
