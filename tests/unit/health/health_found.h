/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the last probe of a check has found. */
#ifndef LBD_TEST_HEALTH_FOUND_H
#define LBD_TEST_HEALTH_FOUND_H

#include <stdint.h>
#include <stdio.h>

#include "lbd/health/health.h"

struct found {
	unsigned results;
	enum health_outcome outcome;
	enum health_status status;
	uint32_t latency_us;
	char why[320], said[320];
};

static void on_result(void *arg, const struct health_result *result)
{
	struct found *found = arg;

	found->results++;
	found->outcome = result->outcome;
	found->status = result->status;
	found->latency_us = result->latency_us;
	snprintf(found->why, sizeof(found->why), "%s", result->why);
	snprintf(found->said, sizeof(found->said), "%s", result->said);
}

#endif
