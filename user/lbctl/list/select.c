/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which services and backends of an answer are shown, and in which order. */
#include "select.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/match.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"

/* ---- the filter ---- */

static bool backend_matches(const json_t *backend, const struct selection *selection)
{
	const char *condition = json_text(backend, "condition");

	if (selection->down && strcmp(condition, "down") && strcmp(condition, "no-next-hop"))
		return false;
	return !selection->filter || match_backend(selection->filter, backend);
}

static bool service_matches(const json_t *service, const struct selection *selection)
{
	char endpoint[96];
	const char *const texts[] = {
	    json_text(service, "name"), json_text(service, "status"), json_text(service, "why"),
	    format_endpoint(json_text(service, "vip"), json_number(service, "port"),
			    json_text(service, "protocol"), endpoint)};

	if (selection->down && strcmp(texts[1], "down"))
		return false;
	return !selection->filter ||
	       match_words(selection->filter, texts, sizeof(texts) / sizeof(*texts));
}

/* ---- the order ---- */

int select_rank(const char *condition)
{
	static const char *const order[] = {"down",     "blind",    "no-next-hop", "panic",
					    "backup",   "degraded", "checking",    "starting",
					    "draining", "drained",  "up"};
	int rank = 0;

	while (rank < (int)(sizeof(order) / sizeof(*order)) && strcmp(order[rank], condition))
		rank++;
	return rank;
}

struct entry {
	json_t *value;
	size_t at; /* in the answer */
	uint64_t number;
	const char *name, *second; /* NULL: by number */
};

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = (x->number < y->number) - (x->number > y->number);

	if (!order && x->name)
		order = strverscmp(x->name, y->name);
	if (!order && x->name)
		order = strverscmp(x->second, y->second);
	return order ? order : (x->at > y->at) - (x->at < y->at);
}

static struct entry entry_of(json_t *value, size_t at, const char *sort)
{
	struct entry entry = {.value = value, .at = at};

	if (!sort)
		return entry;
	if (strcmp(sort, "name") == 0) {
		bool backend = json_object_get(value, "address") != NULL;

		entry.name = json_text(value, backend ? "service" : "name");
		entry.second = !backend                    ? ""
			       : *json_text(value, "name") ? json_text(value, "name")
							   : json_text(value, "address");
	} else if (strcmp(sort, "status") == 0) {
		entry.number = (uint64_t)(INT32_MAX - select_rank(json_text(value, "status")));
	} else {
		entry.number = json_number(value, strcmp(sort, "latency") == 0  ? "latency_us"
						  : strcmp(sort, "weight") == 0 ? "effective_weight"
										: sort);
	}
	return entry;
}

typedef bool matches_fn(const json_t *value, const struct selection *selection);

static json_t *pick(const json_t *array, const struct selection *selection, matches_fn *matches)
{
	struct entry *entries = calloc(json_array_size(array) + 1, sizeof(*entries));
	json_t *ret = json_array();
	size_t count = 0;

	for (size_t i = 0; entries && i < json_array_size(array); i++) {
		json_t *value = json_array_get(array, i);

		if (matches(value, selection))
			entries[count++] = entry_of(value, i, selection->sort);
	}
	if (count)
		qsort(entries, count, sizeof(*entries), compare);
	for (size_t i = 0; i < count; i++)
		json_array_append(ret, entries[i].value);
	if (!entries || json_array_size(ret) != count) {
		json_decref(ret);
		ret = NULL;
	}
	free(entries);
	return ret;
}

json_t *select_backends(const json_t *backends, const struct selection *selection)
{
	return pick(backends, selection, backend_matches);
}

json_t *select_services(const json_t *services, const struct selection *selection)
{
	return pick(services, selection, service_matches);
}
