/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The order of services and backends in lbctl top. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "lbctl/list/select.h"

struct order {
	enum top_sort sort;
	bool reverse;
};

/* What is compared of a row, of whatever kind it is. */
struct key {
	const struct top_rates *rates;
	const struct top_connects *connects;
	uint64_t weight, latency_us;
	const char *name, *status;
	size_t at;
};

static struct key service_key(const struct top_service *service)
{
	return (struct key){&service->rates,     &service->connects, service->weight,
			    service->latency_us, service->name,      service->status,
			    service->at};
}

static struct key backend_key(const struct top_backend *backend)
{
	const char *name = *backend->name ? backend->name : backend->address;

	return (struct key){
	    &backend->rates,    &backend->connects, backend->weight, backend->latency_us, name,
	    backend->condition, backend->at};
}

static double failing_share(const struct top_connects *connects)
{
	return connects->timed ? (double)connects->failed / (double)connects->timed : 0;
}

/* What descends. */
static double number_of(const struct key *key, enum top_sort sort)
{
	switch (sort) {
	case TOP_SORT_PACKETS:
		return key->rates->packets;
	case TOP_SORT_BITS:
		return key->rates->bits;
	case TOP_SORT_FLOWS:
		return key->rates->flows;
	case TOP_SORT_ACTIVE:
		return (double)key->rates->active;
	case TOP_SORT_WEIGHT:
		return (double)key->weight;
	case TOP_SORT_LATENCY:
		return (double)key->latency_us;
	case TOP_SORT_P95:
		return (double)key->connects->p95_us;
	case TOP_SORT_FAIL:
		return failing_share(key->connects);
	case TOP_SORT_STATUS:
		return -select_rank(key->status);
	default:
		return 0;
	}
}

/* Rows with equal numbers have the order of their names: not one that changes with each sample. */
static int compare(const struct key *a, const struct key *b, const struct order *order)
{
	double x = number_of(a, order->sort), y = number_of(b, order->sort);
	int result = (x < y) - (x > y), names = strverscmp(a->name, b->name),
	    places = (a->at > b->at) - (a->at < b->at);

	if (order->sort == TOP_SORT_NAME)
		result = names;
	else if (order->sort == TOP_SORT_CONFIG)
		result = places;
	if (order->reverse)
		result = -result;
	if (!result)
		result = names;
	return result ? result : places;
}

static int compare_services(const void *a, const void *b, void *order)
{
	struct key x = service_key(a), y = service_key(b);

	return compare(&x, &y, order);
}

static int compare_backends(const void *a, const void *b, void *order)
{
	struct key x = backend_key(a), y = backend_key(b);

	return compare(&x, &y, order);
}

static int compare_pairs(const void *a, const void *b, void *order)
{
	const struct top_pair *x = a, *y = b;
	const struct order *by = order;
	int names = by->sort == TOP_SORT_NAME ? strverscmp(x->service->name, y->service->name) : 0;

	if (names)
		return by->reverse ? -names : names;
	return compare_backends(x->backend, y->backend, order);
}

void top_model_sort(struct top_model *model, enum top_sort sort, bool reverse)
{
	struct order order = {sort, reverse};

	qsort_r(model->services, model->services_count, sizeof(*model->services), compare_services,
		&order);
	for (size_t i = 0; i < model->services_count; i++)
		if (model->services[i].backends_count)
			qsort_r(model->services[i].backends, model->services[i].backends_count,
				sizeof(*model->services[i].backends), compare_backends, &order);
}

void top_pairs_sort(struct top_pair *pairs, size_t count, enum top_sort sort, bool reverse)
{
	struct order order = {sort, reverse};

	if (count)
		qsort_r(pairs, count, sizeof(*pairs), compare_pairs, &order);
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[TOP_SORTS] = {
	    [TOP_SORT_CONFIG] = "config",   [TOP_SORT_PACKETS] = "packets",
	    [TOP_SORT_BITS] = "bits",       [TOP_SORT_FLOWS] = "flows",
	    [TOP_SORT_ACTIVE] = "active",   [TOP_SORT_NAME] = "name",
	    [TOP_SORT_STATUS] = "status",   [TOP_SORT_WEIGHT] = "weight",
	    [TOP_SORT_LATENCY] = "latency", [TOP_SORT_P95] = "p95",
	    [TOP_SORT_FAIL] = "fail"};

	return names[sort];
}
