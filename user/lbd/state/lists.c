/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the files of `allow` and `deny` lists again, without the config. */
#include "internal.h"

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/plural.h"

static void swap_lists(struct config *config, struct config_lists *lists)
{
	for (unsigned i = 0; i < config->services_count; i++) {
		struct config_lists before = config->services[i].lists;

		config->services[i].lists = lists[i];
		lists[i] = before;
	}
}

/* before: the lists that were in force. */
static struct lists_report compare(const struct config *config, const struct config_lists *before)
{
	struct lists_report report = {0};

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_lists *lists = &config->services[i].lists;

		report.services += lists->allow || lists->deny;
		report.changed += !filter_equal(lists->filter, before[i].filter);
		report.prefixes += filter_list_count(lists->allow);
		report.prefixes += filter_list_count(lists->deny);
	}
	return report;
}

struct reading {
	const struct config *config;
	struct config_lists *lists;
	struct error err;
	int rc;
};

static void read_again(void *arg)
{
	struct reading *reading = arg;

	reading->rc = config_read_lists_again(reading->config, &reading->lists, &reading->err);
}

int state_reload_lists(struct state *state, struct lists_report *ret, struct error *err)
{
	struct config *config = state->config;
	struct reading reading = {.config = config};
	uint64_t start = clock_monotonic_us();
	struct lists_report report;
	struct config_lists *lists;
	char time[DURATION_TEXT];
	int rc;

	/* Reads the config, which only tasks change, and counts references, which only tasks do. */
	task_wait(read_again, &reading);
	lists = reading.lists;
	if (reading.rc) {
		*err = reading.err;
		return reading.rc;
	}
	swap_lists(config, lists);
	rc = world_commit(state, &state->world, err);
	if (rc)
		swap_lists(config, lists);
	else
		report = compare(config, lists);
	config_lists_free(lists, config->services_count);
	if (rc)
		return rc;
	report_world(state);
	state_tell(state);
	events_log(EVENT_lists_reloaded, LOG_INFO, NULL,
		   "lists reloaded: %u service%s lists, %u changed", report.services,
		   plural(report.services, " has", "s have"), report.changed);
	log_debug("lists: %llu prefixes in %s", (unsigned long long)report.prefixes,
		  duration_measured(clock_monotonic_us() - start, time));
	*ret = report;
	return 0;
}
