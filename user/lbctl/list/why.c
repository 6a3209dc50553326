/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why a backend takes no flows, or fewer than its weight says, and why a service is not wholly up.
 */
#include "why.h"

#include <stdio.h>
#include <string.h>

#include "lbctl/core/json.h"
#include "lbctl/drain/progress.h"

static bool is(const json_t *object, const char *field, const char *value)
{
	return strcmp(json_text(object, field), value) == 0;
}

static void describe_drain(const json_t *backend, char text[WHY_TEXT])
{
	struct drain_progress progress;
	char rest[120], times[120];

	drain_read_backend(backend, &progress);
	if (progress.forced) {
		snprintf(text, WHY_TEXT, "the drain's deadline has passed");
		return;
	}
	drain_describe(&progress, rest, sizeof(rest));
	drain_describe_times(&progress, times, sizeof(times));
	snprintf(text, WHY_TEXT, "takes no new flows; %s%s", rest, times);
}

/* It is healthy and reachable, and yet has no share of the new flows. */
static const char *without_share(const json_t *backend)
{
	if (!json_number(backend, "weight"))
		return "its weight is 0";
	if (json_flag(backend, "backup"))
		return "a backup: takes flows when no other backend is up";
	if (json_number(backend, "priority"))
		return "takes flows when too few backends of the priorities before it are up";
	if (json_object_get(backend, "local") && !json_flag(backend, "local"))
		return "in another zone: takes flows when too few backends of this one are up";
	return "";
}

static void describe(const json_t *backend, char text[WHY_TEXT])
{
	uint64_t weight = json_number(backend, "weight"),
		 effective = json_number(backend, "effective_weight");
	const json_t *of_agent = json_object_get(json_object_get(backend, "agent"), "weight");

	if (is(backend, "condition", "drained"))
		snprintf(text, WHY_TEXT, "no flow depends on it: safe to stop");
	else if (is(backend, "condition", "draining"))
		describe_drain(backend, text);
	else if (is(backend, "condition", "checking"))
		snprintf(text, WHY_TEXT, "no health check has ended yet");
	else if (!effective)
		snprintf(text, WHY_TEXT, "%s",
			 *json_text(backend, "why") ? json_text(backend, "why")
						    : without_share(backend));
	else if (is(backend, "condition", "starting") && effective > weight)
		snprintf(text, WHY_TEXT, "slow start"); /* scaled: flows go to several levels */
	else if (is(backend, "condition", "starting"))
		snprintf(text, WHY_TEXT, "slow start: weight %llu of %llu",
			 (unsigned long long)effective, (unsigned long long)weight);
	else if (effective != weight && json_is_integer(of_agent) &&
		 json_integer_value(of_agent) != 100)
		snprintf(text, WHY_TEXT, "its agent says: %lld%%",
			 (long long)json_integer_value(of_agent));
}

const char *why_backend(const json_t *backend, char text[WHY_TEXT])
{
	const char *why = json_text(backend, "why");

	*text = 0;
	if (*why && (!is(backend, "condition", "up") || is(backend, "admin", "up")))
		snprintf(text, WHY_TEXT, "%s", why);
	else
		describe(backend, text);
	if (!*text)
		snprintf(text, WHY_TEXT, "%s", json_text(backend, "hint"));
	return text;
}

const char *why_spill(const json_t *service, char text[WHY_TEXT])
{
	const json_t *levels = json_object_get(service, "levels"),
		     *first = json_array_get(levels, 0);
	double share = json_real_value(json_object_get(first, "share"));

	*text = 0;
	if (json_array_size(levels) > 1 && share > 0 && share < 1)
		snprintf(text, WHY_TEXT,
			 "%.1f%% of new flows go to other zones or later priorities",
			 100 * (1 - share));
	return text;
}

const char *why_service(const json_t *service, char text[WHY_TEXT])
{
	static const char *const states[][2] = {
	    {"panic", "too few backends are up: all are used"},
	    {"backup", "only backups are used"},
	    {"blind", "no backend answers: the ring is frozen until checks have new results"}};

	snprintf(text, WHY_TEXT, "%s", json_text(service, "why"));
	for (size_t i = 0; !*text && i < sizeof(states) / sizeof(*states); i++)
		if (is(service, "status", states[i][0]))
			snprintf(text, WHY_TEXT, "%s", states[i][1]);
	if (!*text)
		why_spill(service, text);
	if (!*text && json_flag(service, "limited"))
		snprintf(text, WHY_TEXT, "has its share of the crowded flow table");
	return text;
}
