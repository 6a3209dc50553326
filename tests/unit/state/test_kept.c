/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/kept.c and reload.c: which run-time changes hold after a start and after a reload.
 * Needs no kernel feature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_file.h"

/* Service "web" with backends 10.0.0.1 and 10.0.0.2 of weight 100, and room for three more. */
struct scene {
	char directory[64], own[96], former[96], bad[112];
	struct config config;
	struct config_service service;
	struct config_backend backends[2];
	struct state state;
};

static int set_up(void **ret)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	strcpy(scene->directory, "/tmp/test_kept.XXXXXX");
	if (!mkdtemp(scene->directory))
		return -1;
	snprintf(scene->own, sizeof(scene->own), "%s/s.overrides.json", scene->directory);
	snprintf(scene->former, sizeof(scene->former), "%s/overrides.json", scene->directory);
	snprintf(scene->bad, sizeof(scene->bad), "%s.bad", scene->own);
	scene->service = (struct config_service){.name = (char *)"web",
						 .vip = test_addr("192.0.2.10"),
						 .protocol = CONFIG_TCP,
						 .port = 80,
						 .backends = scene->backends,
						 .backends_count = 2};
	scene->backends[0] =
	    (struct config_backend){.address = test_addr("10.0.0.1"), .weight = 100};
	scene->backends[1] =
	    (struct config_backend){.address = test_addr("10.0.0.2"), .weight = 100};
	scene->config = (struct config){
	    .services = &scene->service, .services_count = 1, .limits = {.backends = 5}};
	scene->state = (struct state){.config = &scene->config,
				      .overrides_path = scene->own,
				      .overrides_former = scene->former};
	*ret = scene;
	return 0;
}

static int tear_down(void **ret)
{
	struct scene *scene = *ret;

	overrides_done(&scene->state.overrides);
	remove(scene->own);
	remove(scene->former);
	remove(scene->bad);
	rmdir(scene->directory);
	free(scene);
	return 0;
}

#define LIST(entries)     "{\"version\": 1, \"backends\": [" entries "]}"
#define DRAIN(name, host) "{\"service\": \"" name "\", \"address\": \"" host "\", \"drain\": true}"
#define REMOVE(host)      "{\"service\": \"web\", \"address\": \"" host "\", \"removed\": true}"
#define ADD(host) \
	"{\"service\": \"web\", \"address\": \"" host "\", \"weight\": 9, \"added\": true}"

static struct override *find(const struct scene *scene, const char *text)
{
	struct addr addr = test_addr(text);

	return overrides_find(&scene->state.overrides, "web", &addr);
}

static void read_kept(struct scene *scene)
{
	struct error err = {""};

	if (kept_read(&scene->state, &err))
		fail_msg("\"%s\"", err.text);
}

static void the_old_name_is_taken_over_once(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->former, LIST(DRAIN("web", "10.0.0.2")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 1);
	assert_true(find(scene, "10.0.0.2")->drain);
	assert_int_equal(access(scene->own, F_OK), 0);
	assert_int_not_equal(access(scene->former, F_OK), 0);
	overrides_done(&scene->state.overrides);
	test_file_put(scene->former, LIST(DRAIN("web", "10.0.0.1")));
	read_kept(scene);
	assert_null(find(scene, "10.0.0.1"));
	assert_int_equal(access(scene->former, F_OK), 0);
}

static void the_old_file_of_another_lbd_is_left_alone(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->former, LIST(DRAIN("dns", "10.0.0.2")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 0);
	assert_int_equal(access(scene->former, F_OK), 0);
	assert_int_not_equal(access(scene->own, F_OK), 0);
}

static void a_broken_file_is_kept_as_bad(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->own, "{");
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 0);
	assert_int_equal(access(scene->bad, F_OK), 0);
	assert_int_not_equal(access(scene->own, F_OK), 0);
}

/* For want of descriptors: the drain must not end for that, nor the file become another. */
static void a_file_that_cannot_be_read_now_prevents_the_start(void **ret)
{
	struct scene *scene = *ret;
	struct rlimit before, none;
	struct error err = {""};

	test_file_put(scene->own, LIST(DRAIN("web", "10.0.0.2")));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(kept_read(&scene->state, &err), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	if (!strstr(err.text, scene->own) || !strstr(err.text, "does not start"))
		fail_msg("\"%s\"", err.text);
	assert_int_equal(access(scene->own, F_OK), 0);
	assert_int_not_equal(access(scene->bad, F_OK), 0);
	read_kept(scene);
	assert_true(find(scene, "10.0.0.2")->drain);
}

static void a_fifo_does_not_hold_the_start(void **ret)
{
	struct scene *scene = *ret;

	assert_int_equal(mkfifo(scene->own, 0600), 0);
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 0);
	assert_int_equal(access(scene->bad, F_OK), 0);
}

/* It is not read, so it must not be written over either. */
static void a_record_of_availability_that_is_not_ones_own_is_kept_as_bad(void **ret)
{
	struct scene *scene = *ret;
	char target[16];

	assert_int_equal(symlink("elsewhere", scene->own), 0);
	scene->state.uptime_path = scene->own;
	assert_int_equal(availability_start(&scene->state), 0);
	availability_stop(&scene->state);
	assert_int_equal(readlink(scene->bad, target, sizeof(target)), strlen("elsewhere"));
	assert_int_equal(access(scene->own, F_OK), 0);
}

static void backends_beyond_the_limit_are_dropped_and_the_others_stay(void **ret)
{
	struct scene *scene = *ret;
	struct overrides now;

	test_file_put(scene->own, LIST(DRAIN("web", "10.0.0.1") "," ADD("10.0.1.1") "," ADD(
				      "10.0.1.2") "," ADD("10.0.1.3") "," ADD("10.0.1.4")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 4);
	assert_true(find(scene, "10.0.0.1")->drain);
	assert_non_null(find(scene, "10.0.1.3"));
	assert_null(find(scene, "10.0.1.4"));
	assert_int_equal(kept_write(&scene->state, &scene->config, &scene->state.overrides, NULL),
			 0);
	assert_int_equal(overrides_load(scene->own, 100, &now, NULL), 0);
	assert_int_equal(now.count, 4);
	overrides_done(&now);
}

/* The file has two, of which one is removed: what is in force has room. */
static void a_backend_that_was_removed_leaves_its_room_to_an_added_one(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->own,
		      LIST(REMOVE("10.0.0.1") "," REMOVE("10.0.0.9") "," ADD("10.0.1.1") "," ADD(
			  "10.0.1.2") "," ADD("10.0.1.3") "," ADD("10.0.1.4") "," ADD("10.0.1.5")));
	read_kept(scene);
	assert_true(find(scene, "10.0.0.1")->removed);
	assert_null(find(scene, "10.0.0.9")); /* the file has no such backend: no room either */
	assert_non_null(find(scene, "10.0.1.4"));
	assert_null(find(scene, "10.0.1.5"));
	assert_int_equal(scene->state.overrides.count, 5);
}

/* And the file's other limit is for maps that are made anew. */
static void the_room_is_that_of_the_pinned_maps(void **ret)
{
	struct scene *scene = *ret;
	struct memory_dataplane *memory =
	    memory_dataplane_new((struct memory_limits){4, 8, 1 << 16, 64});

	scene->state.options.dataplane = memory->dp;
	scene->config.limits.backends = 2;
	assert_int_equal(dataplane_backends_most(memory->dp), memory->maps.backend_slots - 1);
	test_file_put(scene->own, LIST(ADD("10.0.1.1") "," ADD("10.0.1.2")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 2);
	scene->state.options.dataplane = NULL;
	memory_dataplane_free(memory);
}

static void more_changes_than_can_apply_are_not_read(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(
	    scene->own,
	    LIST(
		ADD("10.0.1.1") "," ADD("10.0.1.2") "," ADD("10.0.1.3") "," ADD("10.0.1.4") "," ADD(
		    "10.0.1.5") "," ADD("10.0.1.6") "," ADD("10.0.1.7") "," DRAIN("web",
										  "10.0.0.1")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 3);
	assert_null(find(scene, "10.0.0.1"));
}

static void addresses_that_the_file_may_not_name_are_dropped(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->own, LIST(ADD("127.0.0.1") "," ADD("::") "," ADD("224.0.0.1") "," ADD(
				      "192.0.2.10") "," ADD("10.0.1.1")));
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 1);
	assert_non_null(find(scene, "10.0.1.1"));
}

static void what_does_not_fit_is_shed_added_backends_first(void **ret)
{
	struct scene *scene = *ret;

	test_file_put(scene->own, LIST(DRAIN("web", "10.0.0.1") "," ADD("10.0.1.1")));
	read_kept(scene);
	assert_true(kept_shed(&scene->state));
	assert_int_equal(scene->state.overrides.count, 1);
	assert_non_null(find(scene, "10.0.0.1"));
	assert_true(kept_shed(&scene->state));
	assert_int_equal(scene->state.overrides.count, 0);
	assert_false(kept_shed(&scene->state));
	assert_int_equal(access(scene->own, F_OK),
			 0); /* should the start fail for another reason */
	assert_int_equal(kept_write(&scene->state, &scene->config, &scene->state.overrides, NULL),
			 0);
	assert_int_not_equal(access(scene->own, F_OK), 0);
}

#define WEB_TEXT                                                                  \
	"limits: { services: 2, backends: 4 }\nservices:\n  - { name: web, vip: " \
	"192.0.2.10, protocol: tcp, port: 80, backends: [{ address: 10.0.0.1 }] }\n"
#define SERVICES(entries) "{\"version\": 1, \"backends\": [], \"services\": [" entries "]}"
#define AT(name, vip)                                                                    \
	"{\"service\": \"" name "\", \"vip\": \"" vip "\", \"port\": 80, \"protocol\": " \
	"\"tcp\", "
#define SERVICE_ADDED(name, vip, backend)                                      \
	AT(name, vip)                                                          \
	"\"added\": {\"name\": \"" name "\", \"vip\": \"" vip "\", \"port\": " \
	"80, \"protocol\": \"tcp\", \"backends\": [{\"address\": \"" backend "\"}]}}"

/* A config of its own: services change it. */
static struct config *config_of(struct scene *scene)
{
	struct error err;

	if (config_parse(WEB_TEXT, strlen(WEB_TEXT), "lbd.yaml", &scene->state.config, &err))
		fail_msg("%s", err.text);
	return scene->state.config;
}

static void services_added_and_removed_are_in_force_after_a_start(void **ret)
{
	struct scene *scene = *ret;
	struct config *config = config_of(scene);

	test_file_put(scene->own,
		      SERVICES(AT("web", "192.0.2.10") "\"removed\": true}, " SERVICE_ADDED(
			  "shop", "192.0.2.20", "10.0.0.9")));
	read_kept(scene);
	assert_int_equal(config->services_count, 1);
	assert_string_equal(config->services[0].name, "shop");
	assert_int_equal(state_overrides_count(&scene->state), 2);
	assert_false(scene->state.overrides_stale);
	config_free(config);
}

static void services_that_no_longer_fit_are_dropped_at_a_start(void **ret)
{
	struct scene *scene = *ret;
	struct config *config = config_of(scene);

	/* the file has the second now; no room for the fourth; the third removal is of none */
	test_file_put(
	    scene->own,
	    SERVICES(SERVICE_ADDED("shop", "10.0.0.1", "10.0.0.9") ", " SERVICE_ADDED("www", "192.0.2.10", "10.0.0.9") ", " AT(
		"old",
		"192.0.2.30") "\"removed\": true}, " SERVICE_ADDED("a", "192.0.2.21",
								   "10.0.0.9") ", " SERVICE_ADDED("b",
												  "192.0.2.22",
												  "10.0.0.9")));
	read_kept(scene);
	assert_int_equal(config->services_count, 2);
	assert_string_equal(config->services[1].name, "a");
	assert_int_equal(state_overrides_count(&scene->state), 1);
	assert_true(scene->state.overrides_stale);
	config_free(config);
}

static void services_that_cannot_be_committed_are_shed_with_the_backends(void **ret)
{
	struct scene *scene = *ret;
	struct config *config = config_of(scene);

	test_file_put(
	    scene->own,
	    "{\"version\": 1, \"backends\": [" ADD("10.0.0.3") "], \"services\": [" SERVICE_ADDED(
		"shop", "192.0.2.20", "10.0.0.9") "]}");
	read_kept(scene);
	assert_int_equal(state_overrides_count(&scene->state), 2);
	assert_true(kept_shed(&scene->state));
	assert_int_equal(state_overrides_count(&scene->state), 0);
	assert_int_equal(config->services_count, 1);
	assert_false(kept_shed(&scene->state));
	config_free(config);
}

static void a_change_that_cannot_be_written_is_an_error_and_the_next_is_tried_again(void **ret)
{
	struct scene *scene = *ret;
	struct addr one = test_addr("10.0.0.1");
	struct overrides wanted = {0};
	struct error err = {""};

	overrides_get(&wanted, "web", &one)->drain = true;
	assert_int_equal(mkdir(scene->own, 0700), 0);
	assert_int_equal(kept_write(&scene->state, &scene->config, &wanted, &err), -EROFS);
	assert_non_null(strstr(err.text, scene->own));
	rmdir(scene->own);
	assert_int_equal(kept_write(&scene->state, &scene->config, &wanted, &err), 0);
	assert_int_equal(access(scene->own, F_OK), 0);
	overrides_done(&wanted);
}

/* Nothing is refused, as nothing changes: whoever asked must hear of it. */
static void what_could_not_be_written_is_a_warning_of_the_next_change(void **ret)
{
	struct scene *scene = *ret;
	struct addr one = test_addr("10.0.0.1");
	struct sentences warnings = {0};
	struct error err = {""};

	overrides_get(&scene->state.overrides, "web", &one)->drain = true;
	scene->state.overrides_stale = true;
	assert_int_equal(mkdir(scene->own, 0700), 0);
	state_collect(&scene->state, &warnings);
	assert_int_equal(kept_write(&scene->state, &scene->config, &scene->state.overrides, &err),
			 0);
	state_collect(&scene->state, NULL);
	assert_int_equal(warnings.count, 1);
	assert_non_null(strstr(warnings.list[0], "run-time changes cannot be written to disk"));
	assert_non_null(strstr(warnings.list[0], scene->own));
	sentences_done(&warnings);
	rmdir(scene->own);
}

static void warnings_are_bounded_and_none_is_lost_from_the_count(void **ret)
{
	struct scene *scene = *ret;
	struct sentences warnings = {0};

	scene->state.trial = true; /* not in the log */
	state_collect(&scene->state, &warnings);
	for (unsigned i = 0; i < SENTENCES_MAX + 7; i++)
		state_warn(&scene->state, "warning %u", i);
	assert_int_equal(warnings.count, SENTENCES_MAX);
	assert_int_equal(warnings.left_out, 7);
	assert_true(sentences_have(&warnings, "warning 99"));
	assert_false(sentences_have(&warnings, "warning 100"));
	sentences_done(&warnings);
}

/* ---- reload ---- */

struct next {
	struct config config;
	struct config_service service;
	struct config_backend backends[2];
};

static void next_set(struct next *next, const struct scene *scene)
{
	next->service = scene->service;
	memcpy(next->backends, scene->backends, sizeof(next->backends));
	next->service.backends = next->backends;
	next->config = scene->config;
	next->config.services = &next->service;
}

static struct override *change(struct scene *scene, const char *text)
{
	struct addr addr = test_addr(text);

	return overrides_get(&scene->state.overrides, "web", &addr);
}

static void reload_as(struct scene *scene, const struct next *next, bool keep,
		      struct overrides *ret, struct reload_report *report)
{
	*report = (struct reload_report){0};
	assert_int_equal(reload_overrides(&scene->state, (struct config *)&next->config, keep, ret,
					  report, NULL),
			 0);
}

static void reload(struct scene *scene, const struct next *next, struct overrides *ret,
		   struct reload_report *report)
{
	reload_as(scene, next, false, ret, report);
}

static void a_drain_holds_and_all_else_is_dropped_by_name(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.1"), *added;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->drain = entry->has_weight = entry->has_force = true;
	entry->weight = 7;
	entry->drain_ms = 1234;
	entry->force_ms = 5678;
	change(scene, "10.0.0.2")->removed = true;
	added = change(scene, "10.0.1.1");
	added->added = added->has_weight = true;
	added->weight = 9;
	next_set(&next, scene);
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 1);
	assert_true(kept.list[0].drain && kept.list[0].has_force && !kept.list[0].has_weight);
	assert_int_equal(kept.list[0].drain_ms, 1234);
	assert_int_equal(kept.list[0].force_ms, 5678);
	assert_int_equal(report.kept, 1);
	assert_int_equal(report.dropped, 3);
	assert_int_equal(report.count, 4);
	assert_string_equal(report.notes[0].what, "drain");
	assert_true(report.notes[0].kept);
	assert_string_equal(report.notes[1].what, "weight 7 (the file has 100)");
	assert_string_equal(report.notes[2].what, "removal");
	assert_string_equal(report.notes[3].what, "backend added, weight 9");
	reload_report_done(&report);
	overrides_done(&kept);
}

static void a_state_that_is_set_holds_over_a_reload(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.1"), *added;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->admin = ADMIN_MAINTENANCE;
	entry->has_weight = entry->drain = true;
	entry->weight = 7;
	added = change(scene, "10.0.1.1");
	added->added = added->has_weight = true;
	added->admin = ADMIN_UP;
	next_set(&next, scene);
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 1);
	assert_int_equal(kept.list[0].admin, ADMIN_MAINTENANCE);
	assert_true(kept.list[0].drain && !kept.list[0].has_weight);
	assert_int_equal(report.kept, 2);
	assert_string_equal(report.notes[0].what, "drain");
	assert_string_equal(report.notes[1].what, "state maintenance");
	assert_string_equal(report.notes[2].what, "weight 7 (the file has 100)");
	assert_string_equal(report.notes[3].what, "backend added, weight 0");
	reload_report_done(&report);
	overrides_done(&kept);
	reload_as(scene, &next, true, &kept, &report);
	assert_true(overrides_equal(&kept, &scene->state.overrides));
	assert_string_equal(report.notes[0].what, "weight 7, drain, state maintenance");
	assert_string_equal(report.notes[1].what, "backend added, weight 0, state up");
	reload_report_done(&report);
	overrides_done(&kept);
}

static void a_state_ends_with_its_backend(void **ret)
{
	struct scene *scene = *ret;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	change(scene, "10.0.0.2")->admin = ADMIN_DOWN;
	next_set(&next, scene);
	next.service.backends_count = 1;
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_int_equal(report.dropped, 1);
	assert_string_equal(report.notes[0].what, "state down (no longer in the file)");
	reload_report_done(&report);
}

static void the_drain_of_the_node_holds_over_a_reload(void **ret)
{
	struct scene *scene = *ret;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	scene->state.overrides.node = (struct node_order){.drain = true, .drain_ms = 1234};
	next_set(&next, scene);
	reload(scene, &next, &kept, &report);
	assert_true(kept.node.drain);
	assert_int_equal(kept.node.drain_ms, 1234);
	reload_report_done(&report);
	overrides_done(&kept);
}

static void the_drain_of_the_node_holds_when_all_other_changes_are_dropped(void **ret)
{
	struct scene *scene = *ret;

	change(scene, "10.0.0.1")->drain = true;
	scene->state.overrides.node.drain = true;
	assert_true(kept_shed(&scene->state));
	assert_int_equal(scene->state.overrides.count, 0);
	assert_true(scene->state.overrides.node.drain);
}

static void what_the_file_now_says_too_is_not_dropped(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.1");
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->has_weight = true;
	entry->weight = 7;
	change(scene, "10.0.0.2")->removed = true;
	next_set(&next, scene);
	next.backends[0].weight = 7;
	next.service.backends_count = 1;
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_int_equal(report.dropped, 0);
	reload_report_done(&report);
}

static void kept_changes_hold_where_the_file_leaves_their_backends(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.1");
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->has_weight = entry->drain = true;
	entry->weight = 7;
	change(scene, "10.0.0.2")->removed = true;
	entry = change(scene, "10.0.1.1");
	entry->added = entry->has_weight = true;
	entry->weight = 9;
	next_set(&next, scene);
	next.backends[0].weight = 50;
	reload_as(scene, &next, true, &kept, &report);
	assert_int_equal(report.kept, 3);
	assert_int_equal(report.dropped, 0);
	assert_true(overrides_equal(&kept, &scene->state.overrides));
	assert_string_equal(report.notes[0].what, "weight 7, drain");
	assert_string_equal(report.notes[1].what, "removal");
	assert_string_equal(report.notes[2].what, "backend added, weight 9");
	reload_report_done(&report);
	overrides_done(&kept);
}

static void kept_changes_end_with_their_backends_and_services(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.2");
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->has_weight = true;
	entry->weight = 7;
	entry = change(scene, "10.0.1.1");
	entry->added = entry->has_weight = true;
	entry->weight = 9;
	next_set(&next, scene);
	next.service.backends_count = 1;
	next.service.vip = test_addr("10.0.1.1"); /* another service, whose VIP is the added one */
	reload_as(scene, &next, true, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_int_equal(report.dropped, 2);
	assert_string_equal(report.notes[0].what, "weight 7 (no longer in the file)");
	assert_string_equal(report.notes[1].what, "backend added, weight 9");
	reload_report_done(&report);
}

static void a_drain_that_the_file_says_too_is_the_files(void **ret)
{
	struct scene *scene = *ret;
	struct override *entry = change(scene, "10.0.0.1");
	struct reload_report report;
	struct overrides kept;
	struct next next;

	entry->drain = true;
	next_set(&next, scene);
	next.backends[0].drain = true;
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_int_equal(report.kept + report.dropped, 0);
	entry->has_force = true; /* the file has no deadline */
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 1);
	assert_int_equal(report.kept, 1);
	reload_report_done(&report);
	overrides_done(&kept);
	entry->drain = entry->has_force = false;
	entry->undrain = true;
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_string_equal(report.notes[0].what, "undrain (the file has drain: true)");
	reload_report_done(&report);
}

static void a_drain_holds_when_its_service_is_renamed(void **ret)
{
	struct scene *scene = *ret;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	change(scene, "10.0.0.1")->drain = true;
	next_set(&next, scene);
	next.service.name = (char *)"shop";
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 1);
	assert_string_equal(kept.list[0].service, "shop");
	assert_string_equal(report.notes[0].service, "shop");
	reload_report_done(&report);
	overrides_done(&kept);
}

/* The same where the file was renamed while no lbd ran; another service has its former name. */
static void a_drain_holds_over_a_start_with_its_service_renamed(void **ret)
{
	struct scene *scene = *ret;
	struct config_service services[2] = {scene->service, scene->service};
	struct addr one = test_addr("10.0.0.1"), two = test_addr("10.0.0.2");
	struct override *entry = change(scene, "10.0.0.1");

	entry->drain = entry->has_force = true;
	entry->force_ms = 1234567;
	change(scene, "10.0.0.2")->admin = ADMIN_DOWN;
	scene->state.overrides_stale = true;
	assert_int_equal(kept_write(&scene->state, &scene->config, &scene->state.overrides, NULL),
			 0);
	overrides_done(&scene->state.overrides);
	services[0].vip = test_addr("192.0.2.11");
	services[1].name = (char *)"shop";
	scene->config.services = services;
	scene->config.services_count = 2;
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 2);
	entry = overrides_find(&scene->state.overrides, "shop", &one);
	assert_true(entry && entry->drain && entry->has_force);
	assert_int_equal(entry->force_ms, 1234567);
	entry = overrides_find(&scene->state.overrides, "shop", &two);
	assert_true(entry && entry->admin == ADMIN_DOWN);
	assert_true(scene->state.overrides_stale);
	assert_int_equal(scene->state.overrides.named_count, 0);
}

/* The file gives the name of a service that is gone to the one beside it: a change of the service
 * itself stands, not one of what had its name, in whatever order they are kept. */
static void a_drain_stands_where_its_service_gets_the_name_of_one_that_is_gone(void **ret)
{
	struct scene *scene = *ret;
	struct config both = scene->config;
	struct config_service services[2] = {scene->service, scene->service};
	struct config_service renamed = scene->service;
	struct addr one = test_addr("10.0.0.1");
	struct override *entry;

	services[1].name = (char *)"shop";
	services[1].vip = test_addr("192.0.2.11");
	both.services = services;
	both.services_count = 2;
	renamed.name = (char *)"shop";
	for (unsigned drain_first = 0; drain_first < 2; drain_first++) {
		for (unsigned i = 0; i < 2; i++) {
			bool drains = i != drain_first;

			entry = overrides_get(&scene->state.overrides,
					      drains ? scene->service.name : "shop", &one);
			assert_non_null(entry);
			entry->drain = drains;
			entry->has_weight = !drains;
			entry->weight = 5;
		}
		scene->state.overrides_stale = true;
		assert_int_equal(kept_write(&scene->state, &both, &scene->state.overrides, NULL),
				 0);
		overrides_done(&scene->state.overrides);
		scene->config.services = &renamed;
		read_kept(scene);
		entry = overrides_find(&scene->state.overrides, "shop", &one);
		assert_true(entry && entry->drain && !entry->has_weight);
		overrides_done(&scene->state.overrides);
	}
}

/* A service that has another VIP is found by its name, as by a reload; and the file names services
 * as the config in force has them. */
static void a_drain_holds_over_a_start_with_its_service_moved(void **ret)
{
	struct scene *scene = *ret;
	struct config next = scene->config;
	struct config_service moved = scene->service, other = scene->service;
	struct config_service services[2];

	change(scene, "10.0.0.1")->drain = true;
	scene->state.overrides_stale = true;
	assert_int_equal(kept_write(&scene->state, &scene->config, &scene->state.overrides, NULL),
			 0);
	moved.vip = test_addr("192.0.2.11");
	next.services = &moved;
	assert_int_equal(kept_write(&scene->state, &next, &scene->state.overrides, NULL), 0);
	overrides_done(&scene->state.overrides);
	other.name = (char *)"other"; /* it has got the former VIP since */
	services[0] = moved;
	services[1] = other;
	scene->config.services = services;
	scene->config.services_count = 2;
	read_kept(scene);
	assert_int_equal(scene->state.overrides.count, 1);
	assert_true(find(scene, "10.0.0.1")->drain);
	assert_false(scene->state.overrides_stale);
	/* moved again while no lbd ran: the file is to say so */
	overrides_done(&scene->state.overrides);
	services[0].vip = test_addr("192.0.2.12");
	read_kept(scene);
	assert_true(find(scene, "10.0.0.1")->drain);
	assert_true(scene->state.overrides_stale);
}

static void a_drain_ends_with_its_backend_which_is_named(void **ret)
{
	struct scene *scene = *ret;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	change(scene, "10.0.0.2")->drain = true;
	next_set(&next, scene);
	next.service.backends_count = 1;
	reload(scene, &next, &kept, &report);
	assert_int_equal(kept.count, 0);
	assert_int_equal(report.dropped, 1);
	assert_string_equal(report.notes[0].what, "drain (no longer in the file)");
	reload_report_done(&report);
}

static void the_report_is_bounded_and_its_counts_are_not(void **ret)
{
	struct scene *scene = *ret;
	struct reload_report report;
	struct overrides kept;
	struct next next;

	for (unsigned i = 0; i < 2 * RELOAD_NOTES; i++) {
		struct override *entry;
		char text[ADDR_TEXT];

		snprintf(text, sizeof(text), "10.0.1.%u", i);
		entry = change(scene, text);
		entry->added = entry->has_weight = true;
	}
	next_set(&next, scene);
	reload(scene, &next, &kept, &report);
	assert_int_equal(report.count, RELOAD_NOTES);
	assert_int_equal(report.dropped, 2 * RELOAD_NOTES);
	reload_report_done(&report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_old_name_is_taken_over_once),
	    TEST(the_old_file_of_another_lbd_is_left_alone),
	    TEST(a_broken_file_is_kept_as_bad),
	    TEST(a_file_that_cannot_be_read_now_prevents_the_start),
	    TEST(a_fifo_does_not_hold_the_start),
	    TEST(a_record_of_availability_that_is_not_ones_own_is_kept_as_bad),
	    TEST(backends_beyond_the_limit_are_dropped_and_the_others_stay),
	    TEST(a_backend_that_was_removed_leaves_its_room_to_an_added_one),
	    TEST(the_room_is_that_of_the_pinned_maps),
	    TEST(more_changes_than_can_apply_are_not_read),
	    TEST(addresses_that_the_file_may_not_name_are_dropped),
	    TEST(what_does_not_fit_is_shed_added_backends_first),
	    TEST(services_added_and_removed_are_in_force_after_a_start),
	    TEST(services_that_no_longer_fit_are_dropped_at_a_start),
	    TEST(services_that_cannot_be_committed_are_shed_with_the_backends),
	    TEST(a_change_that_cannot_be_written_is_an_error_and_the_next_is_tried_again),
	    TEST(what_could_not_be_written_is_a_warning_of_the_next_change),
	    TEST(warnings_are_bounded_and_none_is_lost_from_the_count),
	    TEST(a_drain_holds_and_all_else_is_dropped_by_name),
	    TEST(a_state_that_is_set_holds_over_a_reload),
	    TEST(a_state_ends_with_its_backend),
	    TEST(the_drain_of_the_node_holds_over_a_reload),
	    TEST(the_drain_of_the_node_holds_when_all_other_changes_are_dropped),
	    TEST(what_the_file_now_says_too_is_not_dropped),
	    TEST(kept_changes_hold_where_the_file_leaves_their_backends),
	    TEST(kept_changes_end_with_their_backends_and_services),
	    TEST(a_drain_that_the_file_says_too_is_the_files),
	    TEST(a_drain_holds_when_its_service_is_renamed),
	    TEST(a_drain_holds_over_a_start_with_its_service_renamed),
	    TEST(a_drain_stands_where_its_service_gets_the_name_of_one_that_is_gone),
	    TEST(a_drain_holds_over_a_start_with_its_service_moved),
	    TEST(a_drain_ends_with_its_backend_which_is_named),
	    TEST(the_report_is_bounded_and_its_counts_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
