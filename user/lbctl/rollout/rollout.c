/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config in etcd in words, and its rollout as a table. */
#include "rollout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/plural.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/table.h"

void rollout_describe(const json_t *config, char text[ROLLOUT_LINE], bool *ret_is_bad)
{
	const char *why = json_text(config, "why"), *refused = json_text(config, "refused"),
		   *waits = json_text(config, "waits");
	uint64_t revision = json_number(config, "revision");

	*ret_is_bad = *why || !revision || *refused;
	if (*why)
		snprintf(text, ROLLOUT_LINE, "etcd cannot be read: %s; %s", why,
			 json_flag(config, "copy") ? "the copy on disk is in force"
						   : "what it had last stays in force");
	else if (!revision)
		snprintf(text, ROLLOUT_LINE, "etcd has not answered yet%s",
			 json_flag(config, "copy") ? "; the copy on disk is in force" : "");
	else if (*refused)
		snprintf(text, ROLLOUT_LINE,
			 "revision %" PRIu64 " was refused, an earlier one is in force: %s",
			 revision, refused);
	else if (json_flag(config, "in_force"))
		snprintf(text, ROLLOUT_LINE, "revision %" PRIu64 " is in force%s%s", revision,
			 *waits ? "; " : "", waits);
	else
		snprintf(text, ROLLOUT_LINE, "revision %" PRIu64 " is not in force yet: %s",
			 revision, *waits ? waits : "it is being applied");
}

void rollout_count(const json_t *rollout, char *text, size_t size)
{
	const json_t *nodes = json_object_get(rollout, "nodes"), *node;
	unsigned done = 0;
	size_t i;

	json_array_foreach (nodes, i, node)
		done += !strcmp(json_text(node, "state"), "done");
	snprintf(text, size, "%u of %zu node%s done", done, json_array_size(nodes),
		 plural_s(json_array_size(nodes)));
}

static enum tone tone_of(const char *state)
{
	if (!strcmp(state, "failed"))
		return TONE_BAD;
	return !strcmp(state, "done") ? TONE_GOOD : TONE_WARN;
}

static int print_nodes(const json_t *nodes, struct error *err)
{
	static const struct table_column columns[] = {
	    {.title = "NODE"}, {.title = "CONFIG"}, {.title = "WHY", .shrinks = true}, {0}};
	struct table *table = table_new(columns);
	const json_t *node;
	size_t i;
	int rc;

	json_array_foreach (nodes, i, node) {
		const char *state = json_text(node, "state"), *why = json_text(node, "why");

		table_add(table, TONE_PLAIN, json_text(node, "name"));
		table_add(table, tone_of(state), state);
		table_add(table, TONE_PLAIN,
			  *why                      ? why
			  : json_flag(node, "live") ? "-"
						    : "the node is not there");
	}
	rc = table_print(table, stdout, format_columns(stdout), format_coloured(stdout));
	table_free(table);
	return rc ? error_set(err, rc, "out of memory") : 0;
}

int rollout_print(const json_t *config, struct error *err)
{
	const json_t *rollout = json_object_get(config, "rollout");
	char text[ROLLOUT_LINE], count[64];
	bool is_bad;

	rollout_describe(config, text, &is_bad);
	printf("%sconfig %s, node %s: ", is_bad ? "Warning: " : "", json_text(config, "key"),
	       json_text(config, "node"));
	text_put(stdout, text);
	putchar('\n');
	if (!json_is_object(rollout))
		return 0;
	rollout_count(rollout, count, sizeof(count));
	printf("rollout by %s: %s, %s", json_text(rollout, "by"), json_text(rollout, "state"),
	       count);
	if (*json_text(rollout, "why")) {
		fputs(": ", stdout);
		text_put(stdout, json_text(rollout, "why"));
	}
	putchar('\n');
	return print_nodes(json_object_get(rollout, "nodes"), err);
}
