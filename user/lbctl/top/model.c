/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbctl top shows: rates made of two samples of GET /v1/top. Pure. */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"

static char *copy(const json_t *object, const char *name, bool *failed)
{
	char *text = strdup(json_text(object, name));

	*failed |= !text;
	return text;
}

/* The object in an array of the earlier sample that has the same values under the names a and b (b
 * may be NULL). The search starts at guess: with thousands of backends a full search for each is
 * slow. */
static const json_t *find_same(const json_t *array, size_t guess, const json_t *like, const char *a,
			       const char *b)
{
	size_t count = json_array_size(array);

	for (size_t i = 0; i < count; i++) {
		const json_t *object = json_array_get(array, (guess + i) % count);

		if (strcmp(json_text(object, a), json_text(like, a)) == 0 &&
		    (!b || strcmp(json_text(object, b), json_text(like, b)) == 0))
			return object;
	}
	return NULL;
}

static double rate(const json_t *before, const json_t *now, const char *name, double seconds)
{
	uint64_t old = json_number(before, name), new = json_number(now, name);

	return before && new > old ? (double)(new - old) / seconds : 0;
}

static struct top_rates rates(const json_t *before, const json_t *now, double seconds)
{
	return (struct top_rates){.packets = rate(before, now, "packets", seconds),
				  .bits = rate(before, now, "bytes", seconds) * 8,
				  .flows = rate(before, now, "flows", seconds),
				  .active = json_number(now, "active")};
}

static int read_services(const json_t *before, const json_t *now, struct top_model *model)
{
	const json_t *olds = json_object_get(before, "services"),
		     *news = json_object_get(now, "services"), *service;
	bool failed = false;
	size_t i;

	model->services = calloc(json_array_size(news) + 1, sizeof(*model->services));
	if (!model->services)
		return -ENOMEM;
	json_array_foreach (news, i, service) {
		struct top_service *row = &model->services[model->services_count++];
		char endpoint[96];

		row->name = copy(service, "name", &failed);
		row->status = copy(service, "status", &failed);
		row->endpoint =
		    strdup(format_endpoint(json_text(service, "vip"), json_number(service, "port"),
					   json_text(service, "protocol"), endpoint));
		failed |= !row->endpoint;
		row->backends_count_up = json_number(service, "backends_up");
		row->backends_all = json_number(service, "backends");
		row->rates =
		    rates(find_same(olds, i, service, "name", NULL), service, model->seconds);
		model->total.packets += row->rates.packets;
		model->total.bits += row->rates.bits;
		model->total.flows += row->rates.flows;
	}
	return failed ? -ENOMEM : 0;
}

static struct top_service *service_of(const struct top_model *model, const char *name,
				      size_t *guess)
{
	for (size_t i = 0; i < model->services_count; i++) {
		size_t at = (*guess + i) % model->services_count;

		if (strcmp(model->services[at].name, name) == 0) {
			*guess = at;
			return &model->services[at];
		}
	}
	return NULL;
}

static int add_backend(struct top_service *service, const json_t *before, const json_t *now,
		       double seconds)
{
	size_t count = service->backends_count;
	struct top_backend *row, *grown;
	char label[SHOW_BACKEND];
	bool failed = false;

	if ((count & (count - 1)) == 0) { /* grows at powers of two */
		grown = realloc(service->backends, (count ? 2 * count : 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		service->backends = grown;
	}
	row = &service->backends[service->backends_count++];
	*row = (struct top_backend){.weight = json_number(now, "effective_weight"),
				    .rates = rates(before, now, seconds)};
	row->address = strdup(show_backend(now, label));
	failed |= !row->address;
	row->condition = copy(now, "condition", &failed);
	row->why = copy(now, "why", &failed);
	service->rates.active += row->rates.active;
	return failed ? -ENOMEM : 0;
}

static int read_backends(const json_t *before, const json_t *now, struct top_model *model)
{
	const json_t *olds = json_object_get(before, "backends"),
		     *news = json_object_get(now, "backends"), *backend;
	size_t i, guess = 0;
	int rc = 0;

	json_array_foreach (news, i, backend) {
		struct top_service *service =
		    service_of(model, json_text(backend, "service"), &guess);

		if (!service)
			continue;
		rc = add_backend(service, find_same(olds, i, backend, "address", "service"),
				 backend, model->seconds);
		if (rc)
			return rc;
		model->total.active += json_number(backend, "active");
	}
	return 0;
}

static void count_outcome(struct top_model *model, const struct top_reason *reason)
{
	if (strcmp(reason->outcome, "sent") == 0)
		model->sent += reason->packets;
	else if (strcmp(reason->outcome, "passed") == 0)
		model->passed += reason->packets;
	else if (strcmp(reason->outcome, "dropped") == 0)
		model->dropped += reason->packets;
}

static int read_counters(const json_t *before, const json_t *now, const char *list,
			 const char *count, struct top_model *model)
{
	const json_t *olds = json_object_get(before, list), *news = json_object_get(now, list),
		     *counter;
	bool failed = false;
	size_t i;

	json_array_foreach (news, i, counter) {
		struct top_reason *row = &model->reasons[model->reasons_count++];

		row->name = copy(counter, "name", &failed);
		row->help = copy(counter, "help", &failed);
		row->outcome = strcmp(list, "events") == 0 ? strdup("event")
							   : copy(counter, "outcome", &failed);
		row->total = json_number(counter, count);
		row->packets =
		    rate(find_same(olds, i, counter, "name", NULL), counter, count, model->seconds);
		if (failed || !row->outcome)
			return -ENOMEM;
		count_outcome(model, row);
	}
	return 0;
}

int top_model_read(const json_t *before, const json_t *now, struct top_model *ret)
{
	uint64_t began = json_number(before, "time_ms"), ended = json_number(now, "time_ms");
	struct top_model model = {.seconds = (double)(ended - began) / 1000};
	size_t counters = json_array_size(json_object_get(now, "reasons")) +
			  json_array_size(json_object_get(now, "events"));
	int rc;

	if (ended <= began)
		return -EINVAL;
	model.status = json_incref(json_object_get(now, "status"));
	model.reasons = calloc(counters + 1, sizeof(*model.reasons));
	rc = model.reasons ? read_services(before, now, &model) : -ENOMEM;
	if (!rc)
		rc = read_backends(before, now, &model);
	if (!rc)
		rc = read_counters(before, now, "reasons", "packets", &model);
	if (!rc)
		rc = read_counters(before, now, "events", "count", &model);
	if (rc)
		top_model_done(&model);
	else
		*ret = model;
	return rc;
}

static void service_done(struct top_service *service)
{
	for (size_t i = 0; i < service->backends_count; i++) {
		free(service->backends[i].address);
		free(service->backends[i].condition);
		free(service->backends[i].why);
	}
	free(service->backends);
	free(service->name);
	free(service->endpoint);
	free(service->status);
}

void top_model_done(struct top_model *model)
{
	for (size_t i = 0; i < model->services_count; i++)
		service_done(&model->services[i]);
	for (size_t i = 0; i < model->reasons_count; i++) {
		free(model->reasons[i].name);
		free(model->reasons[i].outcome);
		free(model->reasons[i].help);
	}
	free(model->services);
	free(model->reasons);
	json_decref(model->status);
	*model = (struct top_model){0};
}

/* ---- order ---- */

static double sort_key(const struct top_rates *of, enum top_sort sort)
{
	switch (sort) {
	case TOP_SORT_PACKETS:
		return of->packets;
	case TOP_SORT_BITS:
		return of->bits;
	case TOP_SORT_FLOWS:
		return of->flows;
	case TOP_SORT_ACTIVE:
		return (double)of->active;
	default:
		return 0;
	}
}

/* Descending. */
static int compare_rates(const struct top_rates *a, const struct top_rates *b, enum top_sort sort)
{
	double x = sort_key(a, sort), y = sort_key(b, sort);

	return (x < y) - (x > y);
}

static int compare_services(const void *a, const void *b, void *sort)
{
	const struct top_service *x = a, *y = b;
	int order = compare_rates(&x->rates, &y->rates, *(enum top_sort *)sort);

	return order ? order : strcmp(x->name, y->name);
}

static int compare_backends(const void *a, const void *b, void *sort)
{
	const struct top_backend *x = a, *y = b;
	int order = compare_rates(&x->rates, &y->rates, *(enum top_sort *)sort);

	return order ? order : strcmp(x->address, y->address);
}

void top_model_sort(struct top_model *model, enum top_sort sort)
{
	if (sort == TOP_SORT_CONFIG)
		return;
	qsort_r(model->services, model->services_count, sizeof(*model->services), compare_services,
		&sort);
	for (size_t i = 0; i < model->services_count; i++)
		qsort_r(model->services[i].backends, model->services[i].backends_count,
			sizeof(*model->services[i].backends), compare_backends, &sort);
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[TOP_SORTS] = {"config", "packets", "bits", "new flows",
						     "active"};

	return names[sort];
}
