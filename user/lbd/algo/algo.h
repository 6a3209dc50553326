/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An algorithm: one file in algo/, which fills in this table. Read by config.c (names) and
 * dataplane.c (what to
 * write). */
#ifndef LBD_ALGO_H
#define LBD_ALGO_H

#include <stdbool.h>
#include <stdint.h>

#include "lb_abi.h"
#include "common/registry.h"

struct algo {
	const char *name;       /* "least-conn" */
	const char *short_name; /* as IPVS says it: "lc" */
	const char *help;       /* one line, for man pages and errors */
	enum lb_select select;
	uint8_t hash;         /* default enum lb_hash_fields of the slot hash */
	/* backends are equal: state.c hands on the same weight for each that is above 0 */
	bool ignores_weights;
	/* For LB_SELECT_COST: the cost of one flow on a backend, 1..2^31. weight >= 1; latency_us
	 * is the moving average of what health probes measure, 0 when unknown. NULL otherwise. */
	uint32_t (*cost)(uint32_t weight, uint32_t latency_us);
};

REGISTRY(algo, struct algo);

/* By name or short name; NULL if there is none. */
const struct algo *algo_find(const char *name);

#endif
