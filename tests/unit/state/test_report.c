/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/report.c: how many lines a change of many backends has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/clock.h"
#include "lbd/state/internal.h"
#include "support/test_log.h"

#define BACKENDS 120
#define HOUR_MS  3600000

struct scene {
	struct config_service config;
	struct service service, *services[1];
	struct backend backends[BACKENDS], *list[BACKENDS];
	struct state state;
};

/* All in one second, however long the test takes. */
static struct scene *scene_new(void)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->config =
	    (struct config_service){.name = (char *)"web", .protocol = CONFIG_TCP, .port = 80};
	scene->config.health.type = (char *)"tcp";
	addr_parse("192.0.2.10", &scene->config.vip);
	scene->service = (struct service){.state = &scene->state,
					  .config = &scene->config,
					  .backends = scene->list,
					  .backends_count = BACKENDS};
	for (unsigned i = 0; i < BACKENDS; i++) {
		scene->list[i] = &scene->backends[i];
		scene->backends[i].service = &scene->service;
		scene->backends[i].address = (struct addr){4, {10, 0, 0, (uint8_t)i}};
		remark_set(&scene->backends[i].why, "connect: refused");
	}
	scene->services[0] = &scene->service;
	scene->state.world = (struct world){scene->services, 1};
	scene->state.report.second_ms = clock_monotonic_ms() + HOUR_MS;
	return scene;
}

static void scene_free(struct scene *scene)
{
	for (unsigned i = 0; i < BACKENDS; i++)
		backend_drop_remarks(&scene->backends[i]);
	free(scene);
}

static void become(struct scene *scene, unsigned count, enum backend_condition condition)
{
	for (unsigned i = 0; i < count; i++)
		scene->backends[i].condition = condition;
}

static unsigned count_of(const struct test_log *log, const char *part)
{
	unsigned count = 0;

	for (const char *at = log->text; (at = strstr(at, part)); at++)
		count++;
	return count;
}

static void report(struct scene *scene, struct test_log *log)
{
	test_log_begin(log);
	report_world(&scene->state);
	report_others(&scene->state);
	test_log_end(log);
}

static void a_change_of_few_backends_has_a_line_for_each(void **unused)
{
	struct scene *scene = scene_new();
	struct test_log log;

	become(scene, REPORT_NAMED, BACKEND_DOWN);
	report(scene, &log);
	assert_int_equal(count_of(&log, " down: connect: refused"), REPORT_NAMED);
	assert_int_equal(count_of(&log, "more backends"), 0);
	scene_free(scene);
}

static void what_changes_beyond_the_first_hundred_is_summed_up(void **unused)
{
	struct scene *scene = scene_new();
	struct test_log log;

	become(scene, BACKENDS, BACKEND_DOWN);
	scene->service.status = SERVICE_DOWN;
	report(scene, &log);
	assert_int_equal(count_of(&log, " down: connect: refused"), REPORT_NAMED);
	assert_non_null(strstr(log.text, "more backends changed at the same time: 20 down; lbctl "
					 "backends lists all"));
	assert_non_null(strstr(log.text, "more services changed at the same time: 1 down; lbctl "
					 "services lists all"));
	scene_free(scene);
}

static void the_sum_counts_what_backends_have_become(void **unused)
{
	struct scene *scene = scene_new();
	struct test_log log;

	scene->state.report.named = REPORT_NAMED;
	become(scene, 100, BACKEND_DOWN);
	become(scene, 30, BACKEND_DRAINING);
	report(scene, &log);
	assert_non_null(strstr(log.text, "at the same time: 30 draining, 70 down;"));
	scene_free(scene);
}

static void a_change_is_counted_once(void **unused)
{
	struct scene *scene = scene_new();
	struct test_log log;

	scene->state.report.named = REPORT_NAMED;
	become(scene, BACKENDS, BACKEND_DOWN);
	report(scene, &log);
	report(scene, &log);
	assert_int_equal(count_of(&log, "more backends"), 0);
	scene_free(scene);
}

static unsigned count_events(const char *kind, uint64_t *ret_stand_for)
{
	struct event_record record;
	unsigned count = 0;

	*ret_stand_for = 0;
	for (uint64_t after = 0; events_next(after, &record); after = record.seq) {
		json_t *json = json_loadb(record.json, record.length, 0, NULL);

		if (!strcmp(json_string_value(json_object_get(json, "kind")), kind)) {
			count++;
			*ret_stand_for +=
			    (uint64_t)json_integer_value(json_object_get(json, "count"));
		}
		json_decref(json);
	}
	return count;
}

static void events_are_what_the_log_has_and_the_sum_says_for_how_many_it_stands(void **unused)
{
	struct scene *scene = scene_new();
	struct event_record record;
	struct test_log log;
	struct error err;
	uint64_t stand_for;

	assert_int_equal(events_open(&(struct events_options){.path = NULL}, &err), 0);
	become(scene, BACKENDS, BACKEND_DOWN);
	report(scene, &log);
	assert_int_equal(count_events("backend-down", &stand_for), REPORT_NAMED);
	assert_int_equal(count_events("backends-changed", &stand_for), 1);
	assert_int_equal(stand_for, BACKENDS - REPORT_NAMED);
	assert_true(events_next(0, &record));
	assert_string_equal(record.service, "web");
	assert_non_null(strstr(record.json, "\"why\":\"connect: refused\""));
	events_close();
	scene_free(scene);
}

static void each_second_has_lines_of_its_own(void **unused)
{
	struct report report = {0};

	for (unsigned i = 0; i < REPORT_NAMED; i++)
		assert_true(report_may_name(&report, 5000 + i));
	assert_false(report_may_name(&report, 5999));
	assert_true(report_may_name(&report, 6000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_change_of_few_backends_has_a_line_for_each),
	    cmocka_unit_test(what_changes_beyond_the_first_hundred_is_summed_up),
	    cmocka_unit_test(the_sum_counts_what_backends_have_become),
	    cmocka_unit_test(a_change_is_counted_once),
	    cmocka_unit_test(events_are_what_the_log_has_and_the_sum_says_for_how_many_it_stands),
	    cmocka_unit_test(each_second_has_lines_of_its_own),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
