/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* New flows a second of a service. */
#include "flow_rate.h"

#include "internal.h"

void flow_rate_add(struct flow_rate *rate, uint64_t now_ms, uint64_t count)
{
	if (rate->began.at_ms && count < rate->began.count)
		*rate = (struct flow_rate){0};
	if (!rate->began.at_ms || now_ms >= rate->began.at_ms + FLOW_RATE_WINDOW_MS) {
		rate->last = rate->began;
		rate->began.at_ms = now_ms;
		rate->began.count = count;
	}
	if (!rate->last.at_ms)
		rate->last = rate->began;
	rate->per_s = now_ms > rate->last.at_ms ? 1000.0 * (double)(count - rate->last.count) /
						      (double)(now_ms - rate->last.at_ms)
						: 0;
}

void service_count_flows(struct service *service, uint64_t now_ms)
{
	struct dp_service_stats stats;
	struct dp_service key;

	service_key(service, &key);
	if (!dataplane_service_stats(service->state->options.dataplane, &key, &stats))
		flow_rate_add(&service->rate, now_ms, stats.counts.flows);
}

double service_flows_per_s(const struct service *service)
{
	return service->rate.per_s;
}
