/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbctl top shows: rates made of two samples of GET /v1/top. Pure. */
#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/match.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/list/why.h"

static char *copy(const char *text, bool *failed)
{
	char *copied = strdup(text);

	*failed |= !copied;
	return copied;
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

static const json_t *same_service(const json_t *before, size_t guess, const json_t *service)
{
	return find_same(json_object_get(before, "services"), guess, service, "name", NULL);
}

static const json_t *same_backend(const json_t *before, size_t guess, const json_t *backend)
{
	return find_same(json_object_get(before, "backends"), guess, backend, "address", "service");
}

static const json_t *same_counter(const json_t *before, const char *list, size_t guess,
				  const json_t *counter)
{
	return find_same(json_object_get(before, list), guess, counter, "name", NULL);
}

static double rate(const json_t *before, const json_t *now, const char *name, double seconds,
		   bool *known)
{
	uint64_t old = json_number(before, name), new = json_number(now, name);

	*known &= before && new >= old;
	return *known ? (double)(new - old) / seconds : 0;
}

static struct top_rates rates(const json_t *before, const json_t *now, double seconds)
{
	struct top_rates rates = {.known = true, .active = json_number(now, "active")};

	rates.packets = rate(before, now, "packets", seconds, &rates.known);
	rates.bits = rate(before, now, "bytes", seconds, &rates.known) * 8;
	rates.flows = rate(before, now, "flows", seconds, &rates.known);
	rates.returned_packets = rate(before, now, "returned_packets", seconds, &rates.known);
	rates.returned_bits = rate(before, now, "returned_bytes", seconds, &rates.known) * 8;
	if (!rates.known)
		rates.packets = rates.bits = rates.flows = rates.returned_packets =
		    rates.returned_bits = 0;
	/* an lbd of before counts no replies */
	rates.nat = show_is_nat(now) && json_object_get(now, "returned_packets");
	return rates;
}

/* Of clients, as the traffic shows them. */
static struct top_connects connects(const json_t *of)
{
	const json_t *object = json_object_get(of, "connects"),
		     *recent = json_object_get(object, "recent");

	return (struct top_connects){.p95_us = json_number(object, "p95_us"),
				     .failed = json_number(recent, "failed"),
				     .timed = json_number(recent, "sampled")};
}

static void add_rates(struct top_rates *to, const struct top_rates *more)
{
	to->packets += more->packets;
	to->bits += more->bits;
	to->flows += more->flows;
	to->returned_packets += more->returned_packets;
	to->returned_bits += more->returned_bits;
	to->nat |= more->nat;
}

static int read_service(const json_t *before, const json_t *now, size_t at, struct top_model *model)
{
	struct top_service *row = &model->services[model->services_count++];
	char endpoint[96], why[WHY_TEXT];
	bool failed = false;

	*row = (struct top_service){
	    .at = at,
	    .backends_count_up = json_number(now, "backends_up"),
	    .backends_all = json_number(now, "backends"),
	    .connects = connects(now),
	    .rates = rates(same_service(before, at, now), now, model->seconds),
	};
	row->name = copy(json_text(now, "name"), &failed);
	row->status = copy(json_text(now, "status"), &failed);
	row->why = copy(why_service(now, why), &failed);
	row->endpoint = copy(format_endpoint(json_text(now, "vip"), json_number(now, "port"),
					     json_text(now, "protocol"), endpoint),
			     &failed);
	add_rates(&model->total, &row->rates);
	return failed ? -ENOMEM : 0;
}

static int read_services(const json_t *before, const json_t *now, struct top_model *model)
{
	const json_t *services = json_object_get(now, "services"), *service;
	int rc = 0;
	size_t i;

	model->total.known = true;
	model->services = calloc(json_array_size(services) + 1, sizeof(*model->services));
	if (!model->services)
		return -ENOMEM;
	json_array_foreach (services, i, service)
		rc = rc ? rc : read_service(before, service, i, model);
	return rc;
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

static struct top_backend *new_backend(struct top_service *service)
{
	size_t count = service->backends_count;
	struct top_backend *grown;

	if ((count & (count - 1)) == 0) { /* grows at powers of two */
		grown = realloc(service->backends, (count ? 2 * count : 1) * sizeof(*grown));
		if (!grown)
			return NULL;
		service->backends = grown;
	}
	return &service->backends[service->backends_count++];
}

static int add_backend(struct top_service *service, const json_t *before, const json_t *now,
		       size_t at, double seconds)
{
	struct top_backend *row = new_backend(service);
	bool failed = false;
	char why[WHY_TEXT], labels[MATCH_LABELS];

	if (!row)
		return -ENOMEM;
	*row = (struct top_backend){
	    .at = at,
	    .weight = json_number(now, "effective_weight"),
	    .latency_us = json_number(now, "latency_us"),
	    .connects = connects(now),
	    .rates = rates(before, now, seconds),
	};
	row->address = copy(json_text(now, "address"), &failed);
	row->name = copy(json_text(now, "name"), &failed);
	row->condition = copy(json_text(now, "condition"), &failed);
	row->labels = copy(match_labels(now, labels), &failed);
	row->why = copy(why_backend(now, why), &failed);
	service->rates.active += row->rates.active;
	service->weight += row->weight;
	if (row->latency_us > service->latency_us)
		service->latency_us = row->latency_us;
	return failed ? -ENOMEM : 0;
}

static int read_backends(const json_t *before, const json_t *now, struct top_model *model)
{
	const json_t *backends = json_object_get(now, "backends"), *backend;
	size_t i, guess = 0;
	int rc = 0;

	json_array_foreach (backends, i, backend) {
		struct top_service *service =
		    service_of(model, json_text(backend, "service"), &guess);

		if (!service)
			continue;
		rc = add_backend(service, same_backend(before, i, backend), backend, i,
				 model->seconds);
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
	const json_t *counters = json_object_get(now, list), *counter;
	bool failed = false, known;
	size_t i;

	json_array_foreach (counters, i, counter) {
		struct top_reason *row = &model->reasons[model->reasons_count++];

		known = true;
		row->name = copy(json_text(counter, "name"), &failed);
		row->help = copy(json_text(counter, "help"), &failed);
		row->outcome = copy(
		    strcmp(list, "events") == 0 ? "event" : json_text(counter, "outcome"), &failed);
		row->total = json_number(counter, count);
		row->packets = rate(same_counter(before, list, i, counter), counter, count,
				    model->seconds, &known);
		if (failed)
			return -ENOMEM;
		count_outcome(model, row);
	}
	return 0;
}

/* 0: it did not increase. */
static double seconds_between(const json_t *before, const json_t *now)
{
	uint64_t began = json_number(before, "time_ms"), ended = json_number(now, "time_ms");

	return ended > began ? (double)(ended - began) / 1000 : 0;
}

int top_model_read(const json_t *before, const json_t *now, struct top_model *ret)
{
	struct top_model model = {.seconds = seconds_between(before, now)};
	size_t counters = json_array_size(json_object_get(now, "reasons")) +
			  json_array_size(json_object_get(now, "events"));
	int rc;

	if (model.seconds <= 0)
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
		free(service->backends[i].name);
		free(service->backends[i].condition);
		free(service->backends[i].labels);
		free(service->backends[i].why);
	}
	free(service->backends);
	free(service->name);
	free(service->endpoint);
	free(service->status);
	free(service->why);
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

/* ---- as JSON ---- */

/* null: not known. */
static json_t *rates_json(const struct top_rates *of)
{
	if (!of->known)
		return json_null();
	return json_pack("{s:f, s:f, s:f, s:f, s:f}", "packets", of->packets, "bits", of->bits,
			 "flows", of->flows, "returned_packets", of->returned_packets,
			 "returned_bits", of->returned_bits);
}

/* Adds "rate" to each counter of a list; null: not known. */
static int add_counter_rates(const json_t *before, json_t *now, const char *list, const char *count,
			     double seconds)
{
	json_t *counters = json_object_get(now, list), *counter;
	int rc = 0;
	size_t i;

	json_array_foreach (counters, i, counter) {
		bool known = true;
		double value =
		    rate(same_counter(before, list, i, counter), counter, count, seconds, &known);

		rc |= json_object_set_new(counter, "rate", known ? json_real(value) : json_null());
	}
	return rc ? -ENOMEM : 0;
}

int top_rates_add(const json_t *before, json_t *now)
{
	double seconds = seconds_between(before, now);
	json_t *services = json_object_get(now, "services"),
	       *backends = json_object_get(now, "backends"), *row;
	struct top_rates total = {.known = true}, of;
	int rc = 0;
	size_t i;

	if (seconds <= 0)
		return -EINVAL;
	json_array_foreach (services, i, row) {
		of = rates(same_service(before, i, row), row, seconds);
		add_rates(&total, &of);
		rc |= json_object_set_new(row, "rates", rates_json(&of));
	}
	json_array_foreach (backends, i, row) {
		of = rates(same_backend(before, i, row), row, seconds);
		rc |= json_object_set_new(row, "rates", rates_json(&of));
	}
	rc |= add_counter_rates(before, now, "reasons", "packets", seconds);
	rc |= add_counter_rates(before, now, "events", "count", seconds);
	rc |= json_object_set_new(now, "rates", rates_json(&total));
	rc |= json_object_set_new(now, "interval_ms",
				  json_integer((json_int_t)(seconds * 1000 + 0.5)));
	return rc ? -ENOMEM : 0;
}
