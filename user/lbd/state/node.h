/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the user has ordered for the whole node: lbctl node drain. */
#ifndef LBD_STATE_NODE_H
#define LBD_STATE_NODE_H

#include <stdbool.h>
#include <stdint.h>

struct node_order {
	bool drain;        /* the VIPs are announced with the drain-metric */
	bool withdraw;     /* with drain: they are not announced at all */
	uint64_t drain_ms; /* with drain: CLOCK_MONOTONIC when it began */
};

#endif
