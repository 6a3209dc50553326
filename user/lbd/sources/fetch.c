/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config of a fleet at the start of lbd, when there is no loop yet: one of its own asks each
 * server, in the source process, until one has answered. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "prepare.h"
#include "process.h"

#define LIMIT_MS 8000

struct fetch {
	struct event_base *base;
	const struct config_remote *where;
	unsigned left; /* servers that have not failed */
	bool came;
	struct config_fetched fetched;
	char why[SOURCE_WHY];
};

/* Has the node its turn still before it? */
static bool waits_for_turn(const struct source_list *list, const char *text, const char *node)
{
	const struct source_document *record = &list->documents[SOURCE_ROLLOUT];
	struct rollout *rollout = record->bytes ? malloc(sizeof(*rollout)) : NULL;
	bool waits = rollout && !rollout_parse(record->bytes, record->length, rollout, NULL) &&
		     rollout->digest == rollout_digest(text) && !rollout_find(rollout, node);

	free(rollout);
	return waits;
}

static void on_report(void *arg, struct source_list *list, const char *why)
{
	struct fetch *fetch = arg;
	struct source_document *config = list ? &list->documents[SOURCE_CONFIG] : NULL;

	if (fetch->came)
		return;
	if (config && config->bytes) {
		fetch->came = true;
		fetch->fetched.text = config->bytes;
		fetch->fetched.waits = waits_for_turn(list, config->bytes, fetch->where->from.node);
		config->bytes = NULL;
	} else if (list) {
		snprintf(fetch->why, sizeof(fetch->why), "the key is not there, or empty");
	} else {
		snprintf(fetch->why, sizeof(fetch->why), "%s", why);
	}
	fetch->left -= fetch->left != 0;
	if (list || !fetch->left) /* what one of them has, all have */
		event_base_loopbreak(fetch->base);
	if (list)
		source_list_done(list);
}

static unsigned servers_of(const char *urls)
{
	unsigned count = 1;

	for (; *urls; urls++)
		count += *urls == ' ';
	return count;
}

static int run(struct fetch *fetch, const struct config_from *from, struct error *err)
{
	const struct timeval limit = clock_span_ms(LIMIT_MS);
	struct source_process *process;
	void *source;

	if (source_process_new(fetch->base, on_report, &process))
		return error_set(err, -ENOMEM, "out of memory");
	source = source_process_start(process, source_kind_find(SOURCE_KIND_FLEET), from, fetch);
	if (source) {
		event_base_loopexit(fetch->base, &limit);
		event_base_dispatch(fetch->base);
		source_process_stop(source);
	}
	source_process_free(process);
	if (fetch->came)
		return 0;
	return error_set(err, -EHOSTUNREACH, "%s: %s", fetch->where->name,
			 *fetch->why ? fetch->why : "no server has answered");
}

int config_fetch(const struct config_remote *where, struct config_fetched *ret, struct error *err)
{
	struct fetch fetch = {
	    .base = loop_new(), .where = where, .left = servers_of(where->from.etcd)};
	struct source_prepared prepared;
	int rc;

	source_prepare(source_kind_find(SOURCE_KIND_FLEET), &where->from, &prepared);
	free(prepared.from.node); /* the node is not there yet */
	prepared.from.node = NULL;
	if (!fetch.base)
		rc = error_set(err, -ENOMEM, "out of memory");
	else if (prepared.rc)
		rc = error_set(err, prepared.rc, "%s", prepared.err.text);
	else
		rc = run(&fetch, &prepared.from, err);
	if (!rc)
		*ret = fetch.fetched;
	config_from_done(&prepared.from);
	if (fetch.base)
		event_base_free(fetch.base);
	return rc;
}
