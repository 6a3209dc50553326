/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GET /metrics in the Prometheus text format 0.0.4, over HTTP through libevent. */
#ifndef LBD_METRICS_H
#define LBD_METRICS_H

#include "lbd/state/state.h"

struct metrics;

int metrics_new(struct event_base *base, struct state *state, struct dataplane *dp,
		const struct lateness *lateness, const struct addr *address, uint16_t port,
		struct metrics **ret, struct error *err);
void metrics_free(struct metrics *metrics);

#endif
