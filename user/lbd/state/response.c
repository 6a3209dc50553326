/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long backends take to answer, by connects or checks. */
#include "response.h"

#include <stdlib.h>

#include "common/cleanup.h"
#include "internal.h"
#include "lbd/host/host.h"

/* ---- pure ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t response_distance_us(const struct response_sight *sights, unsigned count,
			      uint32_t *scratch)
{
	unsigned known = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct response_sight *sight = &sights[i];

		if (sight->answered < RESPONSE_CONNECTS || !sight->check_us)
			continue;
		scratch[known++] =
		    sight->connect_us > sight->check_us ? sight->connect_us - sight->check_us : 0;
	}
	if (!known)
		return 0;
	qsort(scratch, known, sizeof(*scratch), compare_u32);
	/* of two the lesser: what is more is a backend's own */
	return scratch[(known - 1) / 2];
}

uint32_t response_us(const struct response_sight *sight, uint32_t distance_us)
{
	uint64_t by_check = sight->check_us ? (uint64_t)sight->check_us + distance_us : 0, missing,
		 us;

	if (sight->answered < RESPONSE_CONNECTS && (!sight->answered || !by_check)) {
		us = by_check;
	} else if (sight->answered < RESPONSE_CONNECTS) {
		missing = RESPONSE_CONNECTS - sight->answered;
		us = (sight->answered * sight->connect_us + missing * by_check) / RESPONSE_CONNECTS;
	} else {
		us = sight->connect_us ? sight->connect_us : 1;
	}
	return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* ---- the backends ---- */

static struct response_sight sight_of(const struct backend *backend, const struct dp_service *key)
{
	struct response_sight sight = {.check_us = backend->latency_us};
	struct dp_connects connects;

	if (dataplane_connects(backend->service->state->options.dataplane, key, &backend->address,
			       &connects)) {
		sight.answered = connects.recent.answered;
		sight.connect_us = connects.mean_us;
	}
	return sight;
}

/* Without memory the times of before hold. */
void service_time_responses(struct service *service)
{
	const unsigned count = service->backends_count;
	_cleanup_free_ struct response_sight *sights = NULL;
	_cleanup_free_ uint32_t *scratch = NULL;
	struct dp_service key;
	uint32_t distance_us;

	if (!service->config->algorithm->by_latency)
		return;
	sights = calloc(count + 1, sizeof(*sights));
	scratch = calloc(count + 1, sizeof(*scratch));
	if (!sights || !scratch)
		return;
	service_key(service, &key);
	for (unsigned i = 0; i < count; i++) {
		task_pause();
		sights[i] = sight_of(service->backends[i], &key);
	}
	distance_us = response_distance_us(sights, count, scratch);
	for (unsigned i = 0; i < count; i++)
		service->backends[i]->response_us = response_us(&sights[i], distance_us);
}

uint32_t backend_response_us(const struct backend *backend)
{
	return backend->service->config->algorithm->by_latency && backend->response_us
		   ? backend->response_us
		   : backend->latency_us;
}
