/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbctl top shows: rates made of two samples of GET /v1/top. Pure. */
#ifndef LBCTL_TOP_MODEL_H
#define LBCTL_TOP_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct top_rates {
	bool known;                  /* false: not in the earlier sample, or counted anew since */
	bool nat;                    /* replies come back this way, and are counted */
	double packets, bits, flows; /* a second */
	double returned_packets, returned_bits;
	uint64_t active;
};

struct top_connects {
	uint64_t p95_us;        /* 0: unknown */
	uint64_t failed, timed; /* timed 0: there were none */
};

struct top_backend {
	char *address, *name, *condition;
	char *labels;                /* "zone=a rack=7" */
	char *why;                   /* it takes no flows, or fewer than its weight says; "" */
	uint64_t weight, latency_us; /* effective; of health checks, 0: unknown */
	struct top_connects connects;
	struct top_rates rates;
	size_t at; /* in the answer */
};

struct top_service {
	char *name, *endpoint, *status, *why;
	uint64_t backends_count_up, backends_all;
	uint64_t weight;     /* the sum of its backends' */
	uint64_t latency_us; /* the largest */
	struct top_connects connects;
	struct top_rates rates;
	struct top_backend *backends;
	size_t backends_count;
	size_t at;
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
	TOP_SORT_NAME,
	TOP_SORT_STATUS,
	TOP_SORT_WEIGHT,
	TOP_SORT_LATENCY,
	TOP_SORT_P95,
	TOP_SORT_FAIL,
	TOP_SORTS
};

/* Rates between two answers; those of a counter that is new or has decreased are 0 and not known.
 * 0, -ENOMEM, or -EINVAL if time_ms did not increase. Release with top_model_done. */
int top_model_read(const json_t *before, const json_t *now, struct top_model *ret);
void top_model_done(struct top_model *model);
/* Adds the rates to the later answer: of all, of each service and backend, of each reason and
 * event, and interval_ms, the time between the two. 0, -ENOMEM, or -EINVAL if time_ms did not
 * increase. */
int top_rates_add(const json_t *before, json_t *now);

/* ---- order ---- */

/* Sorts services, and backends within each: rates and numbers descend, names ascend, the worst
 * status comes first. TOP_SORT_CONFIG: as in the answer. */
void top_model_sort(struct top_model *model, enum top_sort sort, bool reverse);
/* The word for it in --sort. */
const char *top_sort_name(enum top_sort sort);

struct top_pair { /* a backend and its service */
	const struct top_service *service;
	const struct top_backend *backend;
};

/* Sorts backends of different services. */
void top_pairs_sort(struct top_pair *pairs, size_t count, enum top_sort sort, bool reverse);

#endif
