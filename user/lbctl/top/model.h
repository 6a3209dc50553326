/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbctl top shows: rates made of two samples of GET /v1/top. Pure. */
#ifndef LBCTL_TOP_MODEL_H
#define LBCTL_TOP_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct top_rates {
	double packets, bits, flows; /* a second */
	uint64_t active;
};

struct top_backend {
	char *address, *condition, *why;
	uint64_t weight;
	struct top_rates rates;
};

struct top_service {
	char *name, *endpoint, *status;
	uint64_t backends_count_up, backends_all;
	struct top_rates rates;
	struct top_backend *backends;
	size_t backends_count;
};

struct top_reason {
	char *name, *outcome, *help;
	double packets; /* a second */
	uint64_t total;
};

struct top_model {
	double seconds; /* between the samples */
	struct top_service *services;
	size_t services_count;
	struct top_reason *reasons; /* and events, whose outcome is "event" */
	size_t reasons_count;
	double sent, passed, dropped; /* packets a second */
	struct top_rates total;
	json_t *status; /* as in /v1/status */
};

enum top_sort {
	TOP_SORT_CONFIG,
	TOP_SORT_PACKETS,
	TOP_SORT_BITS,
	TOP_SORT_FLOWS,
	TOP_SORT_ACTIVE,
	TOP_SORTS
};

/* Rates between two answers; the rate of a counter that is new or has decreased is 0. 0, -ENOMEM,
 * or -EINVAL if time_ms did not increase. Release with top_model_done. */
int top_model_read(const json_t *before, const json_t *now, struct top_model *ret);
void top_model_done(struct top_model *model);
/* Sorts services, and backends within each, by descending rate; TOP_SORT_CONFIG keeps the order of
 * the answer. */
void top_model_sort(struct top_model *model, enum top_sort sort);
const char *top_sort_name(enum top_sort sort);

#endif
