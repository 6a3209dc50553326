/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The progress of a drain: read from an answer of lbd, and described in words. */
#include "progress.h"

#include <stdio.h>
#include <string.h>

#include "lbctl/core/format.h"
#include "lbctl/core/json.h"

static json_t *find_backend(const json_t *answer, const char *address)
{
	json_t *backends = json_object_get(answer, "backends"), *backend;
	size_t i;

	json_array_foreach (backends, i, backend)
		if (strcmp(json_text(backend, "address"), address) == 0)
			return backend;
	return NULL;
}

void drain_read_backend(const json_t *backend, struct drain_progress *ret)
{
	const char *condition = json_text(backend, "condition");
	const json_t *drain = json_object_get(backend, "drain");

	*ret = (struct drain_progress){
	    .gone = !backend,
	    .drained = json_flag(backend, "drained"),
	    .active = json_number(backend, "active"),
	    .kept_slots = json_number(backend, "kept_slots"),
	    .since_s = json_number(drain, "since_s"),
	    .held = json_is_integer(json_object_get(drain, "last_packet_s")),
	    .last_packet_s = json_number(drain, "last_packet_s"),
	    .has_deadline = json_is_integer(json_object_get(drain, "forced_in_s")),
	    .forced_in_s = json_number(drain, "forced_in_s"),
	    .forced = json_flag(drain, "forced"),
	    .given_up = json_number(drain, "given_up"),
	};
	/* A draining backend that fails its checks is "down"; only a healthy condition shows that
	 * the drain was ended. */
	ret->undone =
	    !ret->drained && (strcmp(condition, "up") == 0 || strcmp(condition, "starting") == 0);
}

json_t *drain_read(const json_t *answer, const char *address, struct drain_progress *ret)
{
	json_t *found = find_backend(answer, address);
	const json_t *backend;
	size_t i;

	drain_read_backend(found, ret);
	json_array_foreach (json_object_get(answer, "backends"), i, backend)
		ret->others += json_number(backend, "effective_weight") &&
			       strcmp(json_text(backend, "address"), address) != 0;
	return found;
}

bool drain_over(const struct drain_progress *progress)
{
	return progress->gone || progress->drained || progress->undone;
}

void drain_describe(const struct drain_progress *progress, char *text, size_t size)
{
	char flows[64], slots[64];

	if (progress->gone)
		snprintf(text, size, "drained and removed");
	else if (progress->forced)
		snprintf(text, size, "forced, %s given up",
			 format_plural(progress->given_up, "active flow", flows));
	else if (progress->drained)
		snprintf(text, size, "drained");
	else if (progress->undone)
		snprintf(text, size, "no longer draining");
	else
		snprintf(text, size, "%s, %s kept for older flows",
			 format_plural(progress->active, "active flow", flows),
			 format_plural(progress->kept_slots, "slot", slots));
}

void drain_describe_times(const struct drain_progress *progress, char *text, size_t size)
{
	char duration[FORMAT_TEXT];
	size_t used = 0;

	*text = 0;
	if (drain_over(progress))
		return;
	if (progress->since_s)
		used += (size_t)snprintf(text, size, ", draining for %s",
					 format_duration(progress->since_s, duration));
	if (progress->held && used < size)
		used += (size_t)snprintf(text + used, size - used, ", last packet %s ago",
					 format_duration(progress->last_packet_s, duration));
	if (progress->has_deadline && used < size)
		snprintf(text + used, size - used, ", forced in %s",
			 format_duration(progress->forced_in_s, duration));
}
