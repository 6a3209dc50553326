/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The record of a rollout is one JSON document, which is replaced only as it was read: so no two
 * nodes take a turn that is one, and no word of a node is lost. A turn has no end by the clock: a
 * node that goes away in it may have done so because of the text, so the others wait. */
#include "rollout.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/lookup.h"
#include "common/printable.h"

static const char *const progress_names[] = {
    [ROLLOUT_APPLYING] = "applying", [ROLLOUT_DONE] = "done", [ROLLOUT_FAILED] = "failed"};

const char *rollout_progress_name(enum rollout_progress progress)
{
	return progress_names[progress];
}

const char *rollout_outcome_name(enum rollout_outcome outcome)
{
	static const char *const names[] = {
	    [ROLLOUT_RUNS] = "running", [ROLLOUT_ENDED] = "done", [ROLLOUT_STOPPED] = "stopped"};

	return names[outcome];
}

uint64_t rollout_digest(const char *text)
{
	uint64_t digest = lookup_hash_text(LOOKUP_START, text);

	return digest ? digest : 1;
}

const struct rollout_node *rollout_find(const struct rollout *rollout, const char *node)
{
	for (unsigned i = 0; i < rollout->count; i++)
		if (!strcmp(rollout->nodes[i].name, node))
			return &rollout->nodes[i];
	return NULL;
}

int rollout_set(struct rollout *rollout, const char *node, enum rollout_progress progress,
		const char *why)
{
	struct rollout_node *to = (struct rollout_node *)rollout_find(rollout, node);

	if (!to && rollout->count == ROLLOUT_NODES_MAX)
		return -ENOSPC;
	if (!to)
		to = &rollout->nodes[rollout->count++];
	*to = (struct rollout_node){.progress = progress};
	snprintf(to->name, sizeof(to->name), "%s", node);
	snprintf(to->why, sizeof(to->why), "%s", why);
	make_printable(to->why, false); /* JSON takes no part of a character */
	return 0;
}

/* ---- as JSON ---- */

static int parse_progress(const char *text, enum rollout_progress *ret)
{
	for (unsigned i = 0; text && i < ROLLOUT_PROGRESSES; i++)
		if (!strcmp(progress_names[i], text)) {
			*ret = (enum rollout_progress)i;
			return 0;
		}
	return -EINVAL;
}

static int read_node(const char *name, const json_t *node, struct rollout *rollout)
{
	const char *why = json_string_value(json_object_get(node, "why"));
	enum rollout_progress progress;

	if (!*name || strlen(name) > CONFIG_NODE_TEXT ||
	    parse_progress(json_string_value(json_object_get(node, "state")), &progress))
		return -EINVAL;
	return rollout_set(rollout, name, progress, why ? why : "");
}

static int read_record(const json_t *root, struct rollout *ret)
{
	const char *digest = json_string_value(json_object_get(root, "digest")),
		   *by = json_string_value(json_object_get(root, "by"));
	json_int_t most = json_integer_value(json_object_get(root, "max_unavailable")),
		   limit = json_integer_value(json_object_get(root, "limit_ms"));
	json_t *nodes = json_object_get(root, "nodes"), *node;
	const char *name;
	int rc = 0;

	*ret = (struct rollout){.digest = digest ? strtoull(digest, NULL, 16) : 0,
				.most = (unsigned)most,
				.limit_ms = (uint64_t)limit};
	if (!ret->digest || most < 1 || most > ROLLOUT_NODES_MAX || limit < 1 ||
	    limit > ROLLOUT_LIMIT_MAX || !json_is_object(nodes))
		return -EINVAL;
	ret->time_ms = (uint64_t)json_integer_value(json_object_get(root, "time_ms"));
	snprintf(ret->by, sizeof(ret->by), "%s", by ? by : "");
	make_printable(ret->by, false);
	json_object_foreach (nodes, name, node)
		if (!rc)
			rc = read_node(name, node, ret);
	return rc;
}

int rollout_parse(const char *text, size_t length, struct rollout *ret, struct error *err)
{
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	int rc = read_record(root, ret);

	json_decref(root);
	return rc ? error_set(err, -EINVAL, "expected the record of a rollout, as lbd writes it")
		  : 0;
}

char *rollout_format(const struct rollout *rollout)
{
	json_t *nodes = json_object(), *root;
	char digest[20], *text;

	for (unsigned i = 0; i < rollout->count; i++) {
		const struct rollout_node *node = &rollout->nodes[i];

		json_object_set_new(nodes, node->name,
				    json_pack("{s:s, s:s}", "state", progress_names[node->progress],
					      "why", node->why));
	}
	snprintf(digest, sizeof(digest), "%016" PRIx64, rollout->digest);
	root = json_pack("{s:s, s:i, s:I, s:s, s:I, s:o}", "digest", digest, "max_unavailable",
			 (int)rollout->most, "limit_ms", (json_int_t)rollout->limit_ms, "by",
			 rollout->by, "time_ms", (json_int_t)rollout->time_ms, "nodes", nodes);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}

/* ---- what is to be done ---- */

bool rollout_is_live(const char *live, const char *node)
{
	size_t length = strlen(node);

	for (const char *at = live; at && *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (!strncmp(at, node, length) && at[length] == '\n')
			return true;
	return false;
}

/* Why no further node may take its turn; false: nothing is wrong. */
static bool is_stopped(const struct rollout *rollout, const char *live, char why[ROLLOUT_WHY])
{
	for (unsigned i = 0; i < rollout->count; i++) {
		const struct rollout_node *node = &rollout->nodes[i];

		if (node->progress == ROLLOUT_FAILED)
			snprintf(why, ROLLOUT_WHY, "%s: %.180s", node->name, node->why);
		else if (node->progress == ROLLOUT_APPLYING && !rollout_is_live(live, node->name))
			snprintf(why, ROLLOUT_WHY,
				 "%s: went away while it applied the config: it goes on when that "
				 "node is back, or when the config is applied again",
				 node->name);
		else
			continue;
		make_printable(why, false);
		return true;
	}
	return false;
}

static unsigned applying(const struct rollout *rollout)
{
	unsigned count = 0;

	for (unsigned i = 0; i < rollout->count; i++)
		count += rollout->nodes[i].progress == ROLLOUT_APPLYING;
	return count;
}

/* False: it is not stopped. */
static bool tell_of_stop(const struct rollout_view *view, char why[ROLLOUT_WHY])
{
	char stopped[ROLLOUT_WHY];

	if (!is_stopped(view->rollout, view->live, stopped))
		return false;
	snprintf(why, ROLLOUT_WHY, "the rollout is stopped: %.200s", stopped);
	make_printable(why, false);
	return true;
}

/* Of a node that has had its turn. */
static enum rollout_step watch(const struct rollout_view *view, char why[ROLLOUT_WHY])
{
	tell_of_stop(view, why);
	return ROLLOUT_REST;
}

/* Of a node that has not had its turn. */
static enum rollout_step wait_for_turn(const struct rollout_view *view, char why[ROLLOUT_WHY])
{
	if (view->in_force)
		return ROLLOUT_SETTLE;
	if (tell_of_stop(view, why))
		return ROLLOUT_REST;
	/* for the others it would be one that has gone away in its turn */
	if (!rollout_is_live(view->live, view->node))
		snprintf(why, ROLLOUT_WHY, "waits until etcd shows that this node is there");
	else if (applying(view->rollout) < view->rollout->most)
		return ROLLOUT_TAKE;
	else
		snprintf(why, ROLLOUT_WHY, "waits for its turn");
	return ROLLOUT_REST;
}

enum rollout_step rollout_decide(const struct rollout_view *view, char why[ROLLOUT_WHY])
{
	const struct rollout *rollout = view->rollout;
	const struct rollout_node *self = rollout ? rollout_find(rollout, view->node) : NULL;

	*why = 0;
	if (!rollout || rollout->digest != view->digest)
		return view->in_force || view->refused ? ROLLOUT_REST : ROLLOUT_APPLY;
	if (!self)
		return wait_for_turn(view, why);
	if (self->progress == ROLLOUT_FAILED) {
		snprintf(why, ROLLOUT_WHY, "the rollout is stopped: %.64s: %.150s", self->name,
			 self->why);
		make_printable(why, false);
		return ROLLOUT_REST;
	}
	if (view->in_force)
		return self->progress == ROLLOUT_APPLYING ? ROLLOUT_PROVE : watch(view, why);
	return view->refused ? ROLLOUT_ADMIT : ROLLOUT_APPLY;
}

/* Those that are there have all had their turns. One that is not takes it when it is back. */
enum rollout_outcome rollout_judge(const struct rollout *rollout, const char *live,
				   const char *node, char why[ROLLOUT_WHY])
{
	*why = 0;
	if (is_stopped(rollout, live, why))
		return ROLLOUT_STOPPED;
	if (applying(rollout) || !rollout_find(rollout, node))
		return ROLLOUT_RUNS;
	for (const char *at = live; at && *at; at += strcspn(at, "\n"), at += *at == '\n') {
		char other[CONFIG_NODE_TEXT + 1];

		snprintf(other, sizeof(other), "%.*s", (int)strcspn(at, "\n"), at);
		if (!rollout_find(rollout, other))
			return ROLLOUT_RUNS;
	}
	return ROLLOUT_ENDED;
}
