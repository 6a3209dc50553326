/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/leases.c and register.c: backends that register themselves, on plain memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_log.h"

#define CONFIG                                                                               \
	"metrics: off\nlimits: { backends: 8 }\nservices:\n"                                 \
	"  - { name: web, vip: 192.0.2.1, protocol: tcp, port: 80, health: { type: none }, " \
	"backends: [{ address: 10.0.0.1 }, { address: 10.0.0.2 }] }\n"                       \
	"  - { name: one, vip: 192.0.2.2, protocol: tcp, port: 80, health: { type: none }, " \
	"backends: [{ address: 10.0.0.1 }] }\n"

/* A reply from 10.0.1.1:8080 is of "first". */
#define NAT_CONFIG                                                                          \
	"metrics: off\nlimits: { backends: 8 }\n"                                           \
	"defaults: { forward: nat, health: { type: none } }\nservices:\n"                   \
	"  - { name: first, vip: 192.0.2.1, protocol: tcp, port: 80, backend-port: 8080, "  \
	"backends: [{ address: 10.0.1.1 }] }\n"                                             \
	"  - { name: second, vip: 192.0.2.2, protocol: tcp, port: 80, backend-port: 8080, " \
	"backends: [{ address: 10.0.1.2 }] }\n"

static const struct state_put plain = {.weight = 1};
static struct event_base *base;
static struct neigh *neigh;
static struct memory_dataplane *memory;
static struct state *state;
static char directory[64], path[96];

static void start_with(const char *config)
{
	struct state_options options = {.base = base,
					.config_path = "lbd.yaml",
					.overrides_path = path,
					.dataplane = memory->dp,
					.neigh = neigh};
	struct error err = {0};

	if (config_parse(config, strlen(config), "lbd.yaml", &options.config, &err) ||
	    state_new(&options, &state, &err))
		fail_msg("%s", err.text);
}

static void start(void)
{
	start_with(CONFIG);
}

static int set_up(void **unused)
{
	struct error err;

	strcpy(directory, "/tmp/lbd-leases-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/overrides.json", directory);
	base = event_base_new();
	if (!base || neigh_new(base, &neigh, &err))
		return -1;
	memory = memory_dataplane_new((struct memory_limits){4, 8, 65536, 64});
	start();
	return 0;
}

static int tear_down(void **unused)
{
	state_free(state);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	unlink(path);
	rmdir(directory);
	return 0;
}

/* kill -9: nothing is written at the end. */
static void crash(void)
{
	state->leases_stale = false;
	state_free(state);
	start();
}

static int put(const char *service, const char *text, uint32_t weight, uint64_t ttl_ms)
{
	const struct addr address = test_addr(text);
	struct error err;

	return state_backend_put(state, service, &address,
				 &(struct state_put){.weight = weight, .ttl_ms = ttl_ms}, &err);
}

static struct override *entry_of(const char *service, const char *text)
{
	const struct addr address = test_addr(text);

	return overrides_find(&state->overrides, service, &address);
}

static struct backend *backend_of(const char *service, const char *text)
{
	const struct addr address = test_addr(text);

	return service_find_backend(state_find_service(state, service), &address);
}

/* As if so much time had passed since the last renewal. */
static void let_pass(struct override *entry, uint64_t ms)
{
	entry->until_ms -= ms;
}

static void the_first_put_adds_and_the_same_again_changes_nothing_but_the_time(void **unused)
{
	uint64_t generation;

	assert_int_equal(put("web", "10.0.0.3", 50, 30000), 0);
	assert_int_equal(backend_of("web", "10.0.0.3")->weight, 50);
	assert_int_equal(backend_of("web", "10.0.0.3")->origin, ORIGIN_lease);
	generation = state_generation(state);
	let_pass(entry_of("web", "10.0.0.3"), 20000);
	assert_int_equal(put("web", "10.0.0.3", 50, 30000), 0);
	assert_int_equal(state_generation(state), generation);
	assert_true(entry_of("web", "10.0.0.3")->until_ms > clock_monotonic_ms() + 20000);
	assert_int_equal(backend_of("web", "10.0.0.3")->until_ms,
			 entry_of("web", "10.0.0.3")->until_ms);
	assert_int_equal(put("web", "10.0.0.3", 70, 30000), 0);
	assert_int_equal(backend_of("web", "10.0.0.3")->weight, 70);
	assert_true(state_generation(state) > generation);
	assert_int_equal(state_overrides_count(state), 0);
}

/* Of service web, weight 1, ttl 30 s. */
static void put_all(struct state_registration *list, const char *const *addresses, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		list[i] = (struct state_registration){.service = "web",
						      .address = test_addr(addresses[i]),
						      .put = {.weight = 1, .ttl_ms = 30000}};
	state_backends_register(state, list, count);
	for (unsigned i = 0; i < count; i++) {
		assert_true(list[i].done);
		sentences_done(&list[i].warnings);
	}
}

static const char *const together[] = {"10.0.0.3", "10.0.0.4", "10.0.0.5"};

static void several_are_on_disk_before_they_are_confirmed(void **unused)
{
	struct state_registration list[3];

	put_all(list, together, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(list[i].rc, 0);
	crash();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(backend_of("web", together[i])->origin, ORIGIN_lease);
}

/* Made and removed again, each: the kernel makes one of two events that are the same. */
static void expect_tries(int inotify, unsigned tries)
{
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t length = read(inotify, bytes, sizeof(bytes));
	unsigned events = 0;

	for (ssize_t at = 0; at < length; events++)
		at += (ssize_t)(sizeof(struct inotify_event) +
				((const struct inotify_event *)(bytes + at))->len);
	assert_int_equal(events, 2 * tries);
	close(inotify);
}

static void several_that_cannot_be_written_are_refused_and_change_nothing(void **unused)
{
	struct state_registration list[3];
	uint64_t generation = state_generation(state);
	int events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char kept[128];

	/* no file can take the place of a directory that is not empty */
	snprintf(kept, sizeof(kept), "%s/kept", path);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	test_file_put(kept, "");
	assert_true(inotify_add_watch(events, directory, IN_CREATE | IN_DELETE) > 0);
	put_all(list, together, 3);
	expect_tries(events, 1); /* none is tried again alone */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(list[i].rc, -EROFS);
		assert_non_null(strstr(list[i].err.text, path));
		assert_null(backend_of("web", together[i]));
		assert_null(entry_of("web", together[i]));
	}
	assert_int_equal(state_generation(state), generation);
	unlink(kept);
	rmdir(path);
}

/* The renewal is not undone by the world that the others need. */
static void one_that_renews_among_several_keeps_its_new_end(void **unused)
{
	struct state_registration list[3];

	assert_int_equal(put("web", "10.0.0.3", 1, 30000), 0);
	let_pass(entry_of("web", "10.0.0.3"), 20000);
	put_all(list, together, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(list[i].rc, 0);
	assert_true(entry_of("web", "10.0.0.3")->until_ms > clock_monotonic_ms() + 20000);
	assert_int_equal(backend_of("web", "10.0.0.3")->until_ms,
			 entry_of("web", "10.0.0.3")->until_ms);
}

/* Registrations of service web, each "+ADDRESS", or "-ADDRESS": it leaves at once. */
static void make_all(struct state_registration *list, const char *const *texts, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		list[i] = (struct state_registration){.service = "web",
						      .address = test_addr(texts[i] + 1),
						      .leaves = *texts[i] == '-',
						      .now = true,
						      .put = {.weight = 1}};
	state_backends_register(state, list, count);
}

static void expect_made(struct state_registration *list, unsigned count, const int *results)
{
	for (unsigned i = 0; i < count; i++) {
		assert_true(list[i].done);
		assert_int_equal(list[i].rc, results[i]);
		sentences_done(&list[i].warnings);
		config_tag_unref(list[i].put.tag);
	}
}

static const int made[] = {0, 0, 0, 0};

static void put_named(const char *text, const char *name)
{
	struct config_tag *tag = config_tag_new(name, NULL, NULL, 0);
	const struct addr address = test_addr(text);
	const struct state_put wanted = {.weight = 1, .tag = tag};
	struct error err;

	assert_int_equal(state_backend_put(state, "web", &address, &wanted, &err), 0);
	config_tag_unref(tag);
}

/* It may have flows, so that it is drained unless it leaves at once. */
static void let_serve(const char *text)
{
	backend_of("web", text)->health = HEALTH_UP;
	backend_of("web", text)->has_hop = true;
}

/* One that is not there has nothing to leave, and one that comes meanwhile comes with them. */
static void several_leave_as_one_change_that_is_on_disk(void **unused)
{
	static const char *const texts[] = {"-10.0.0.3", "-10.0.0.4", "-10.0.0.5", "+10.0.0.6"};
	struct state_registration list[4];
	uint64_t generation;

	put_named("10.0.0.3", "web-3");
	put_named("10.0.0.4", "web-4");
	let_serve("10.0.0.3");
	let_serve("10.0.0.4");
	generation = state_generation(state);
	make_all(list, texts, 4);
	assert_int_equal(state_generation(state), generation + 1);
	assert_string_equal(config_tag_name(list[0].put.tag), "web-3");
	assert_string_equal(config_tag_name(list[1].put.tag), "web-4");
	expect_made(list, 4, made);
	assert_null(backend_of("web", "10.0.0.3"));
	assert_null(backend_of("web", "10.0.0.4"));
	crash();
	assert_null(entry_of("web", "10.0.0.3"));
	assert_null(entry_of("web", "10.0.0.4"));
	assert_non_null(entry_of("web", "10.0.0.6"));
}

static void of_several_the_same_backend_does_the_one_after_the_other(void **unused)
{
	static const char *const comes_last[] = {"+10.0.0.4", "-10.0.0.3", "+10.0.0.3"},
				 *const leaves_last[] = {"+10.0.0.5", "+10.0.0.4", "-10.0.0.4"};
	struct state_registration list[3];

	assert_int_equal(put("web", "10.0.0.3", 7, 30000), 0);
	make_all(list, comes_last, 3);
	expect_made(list, 3, made);
	assert_int_equal(backend_of("web", "10.0.0.3")->weight, 1);
	assert_int_equal(entry_of("web", "10.0.0.3")->ttl_ms, 0);
	make_all(list, leaves_last, 3);
	expect_made(list, 3, made);
	assert_non_null(backend_of("web", "10.0.0.5"));
	assert_null(backend_of("web", "10.0.0.4"));
}

static void remove_those_of_the_file(void)
{
	const struct addr first = test_addr("10.0.0.1"), second = test_addr("10.0.0.2");
	struct error err;

	assert_int_equal(state_backend_remove(state, "web", &first, true, true, &err), 0);
	if (backend_of("web", "10.0.0.2"))
		assert_int_equal(state_backend_remove(state, "web", &second, true, true, &err), 0);
}

/* It stays, also where others leave with it, or one comes after it; not where one came before. */
static void of_several_that_leave_the_last_of_the_service_stays(void **unused)
{
	static const char *const all_leave[] = {"-10.0.0.3", "-10.0.0.4", "+10.0.0.5"},
				 *const one_comes[] = {"+10.0.0.6", "-10.0.0.4", "-10.0.0.5"};
	struct state_registration list[3];

	assert_int_equal(put("web", "10.0.0.3", 1, 0), 0);
	assert_int_equal(put("web", "10.0.0.4", 1, 0), 0);
	remove_those_of_the_file();
	make_all(list, all_leave, 3);
	assert_non_null(strstr(list[1].err.text, "is the last backend of the service"));
	expect_made(list, 3, (int[]){0, -EBUSY, 0});
	make_all(list, one_comes, 3);
	expect_made(list, 3, made);
	assert_null(backend_of("web", "10.0.0.4"));
	assert_null(backend_of("web", "10.0.0.5"));
}

/* What did not happen must not become "at once" later. */
static void several_that_cannot_leave_stay_as_they_were(void **unused)
{
	static const char *const texts[] = {"-10.0.0.3", "-10.0.0.4"};
	struct state_registration list[2];
	char kept[128];

	assert_int_equal(put("web", "10.0.0.3", 1, 0), 0);
	assert_int_equal(put("web", "10.0.0.4", 1, 0), 0);
	snprintf(kept, sizeof(kept), "%s/kept", path);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	test_file_put(kept, "");
	make_all(list, texts, 2);
	expect_made(list, 2, (int[]){-EROFS, -EROFS});
	for (unsigned i = 0; i < 2; i++) {
		assert_false(backend_of("web", texts[i] + 1)->removed_now);
		assert_false(backend_of("web", texts[i] + 1)->removed);
		assert_non_null(entry_of("web", texts[i] + 1));
	}
	unlink(kept);
	rmdir(path);
}

static void names_may_be_repeated_by_their_owner_alone(void **unused)
{
	struct config_tag *tag = config_tag_new("web-3", NULL, NULL, 0);
	const struct addr three = test_addr("10.0.0.3"), four = test_addr("10.0.0.4");
	struct state_put wanted = {.weight = 1, .tag = tag, .ttl_ms = 30000};
	struct error err;

	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	wanted.weight = 2;
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	assert_int_equal(state_backend_put(state, "web", &four, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "name: web-3: backend 10.0.0.3 has the same name"));
	assert_int_equal(entry_of("web", "10.0.0.3")->tag->refs, tag->refs);
	config_tag_unref(tag);
}

static void backends_of_the_file_are_not_registered(void **unused)
{
	const struct addr first = test_addr("10.0.0.1"), vip = test_addr("192.0.2.1");
	const struct state_put wanted = {.weight = 1};
	struct error err;

	assert_int_equal(state_backend_put(state, "web", &first, &wanted, &err), -EBUSY);
	assert_non_null(strstr(err.text, "is in the config file"));
	assert_int_equal(state_backend_delete(state, "web", &first, false, true, &err), -EBUSY);
	assert_int_equal(state_backend_put(state, "web", &vip, &wanted, &err), -EINVAL);
	assert_int_equal(state_backend_put(state, "nope", &first, &wanted, &err), -ENOENT);
	assert_int_equal(state->overrides.count, 0);
}

static void delete_may_be_repeated(void **unused)
{
	const struct addr three = test_addr("10.0.0.3");
	struct error err;

	assert_int_equal(put("web", "10.0.0.3", 1, 0), 0);
	assert_int_equal(state_backend_delete(state, "web", &three, true, false, &err), 0);
	assert_null(entry_of("web", "10.0.0.3"));
	assert_null(backend_of("web", "10.0.0.3"));
	assert_int_equal(state_backend_delete(state, "web", &three, true, false, &err), 0);
}

static void its_weight_is_the_registrations_and_a_drain_holds(void **unused)
{
	const struct addr three = test_addr("10.0.0.3");
	struct error err;

	assert_int_equal(put("web", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(state_backend_weight(state, "web", &three, 5, &err), -EBUSY);
	assert_non_null(strstr(err.text, "is registered with a weight of its own"));
	assert_int_equal(state_backend_drain(state, "web", &three, true, NULL, &err), 0);
	assert_int_equal(put("web", "10.0.0.3", 9, 30000), 0);
	assert_true(backend_of("web", "10.0.0.3")->drain);
	assert_int_equal(state_overrides_count(state), 1);
}

static void a_backend_that_is_not_renewed_is_removed_and_may_come_again(void **unused)
{
	assert_int_equal(put("web", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(put("web", "10.0.0.4", 1, 0), 0);
	leases_tick(state);
	assert_non_null(entry_of("web", "10.0.0.3"));
	let_pass(entry_of("web", "10.0.0.3"), 30000);
	leases_tick(state);
	assert_null(entry_of("web", "10.0.0.3"));
	assert_true(!backend_of("web", "10.0.0.3") || backend_of("web", "10.0.0.3")->removed);
	assert_non_null(entry_of("web", "10.0.0.4"));
	assert_int_equal(put("web", "10.0.0.3", 1, 30000), 0);
	assert_false(backend_of("web", "10.0.0.3")->removed);
}

static void the_last_backend_stays_until_there_is_another(void **unused)
{
	const struct addr first = test_addr("10.0.0.1");
	struct error err;

	assert_int_equal(put("one", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(put("one", "10.0.0.4", 1, 30000), 0);
	assert_int_equal(state_backend_remove(state, "one", &first, true, false, &err), 0);
	let_pass(entry_of("one", "10.0.0.3"), 30000);
	let_pass(entry_of("one", "10.0.0.4"), 30000);
	leases_tick(state);
	leases_tick(state);
	assert_int_equal(!entry_of("one", "10.0.0.3") + !entry_of("one", "10.0.0.4"), 1);
	assert_non_null(entry_of("one", "10.0.0.3"));
	assert_true(entry_of("one", "10.0.0.3")->lapsed);
	assert_int_equal(put("one", "10.0.0.5", 1, 30000), 0);
	leases_tick(state);
	assert_null(entry_of("one", "10.0.0.3"));
	assert_non_null(entry_of("one", "10.0.0.5"));
}

/* Each second it would cost a copy of all run-time changes. */
static void the_last_one_is_looked_at_again_when_something_has_changed(void **unused)
{
	const struct addr first = test_addr("10.0.0.1");
	struct error err;

	assert_int_equal(put("one", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(state_backend_remove(state, "one", &first, true, false, &err), 0);
	let_pass(entry_of("one", "10.0.0.3"), 30000);
	leases_tick(state);
	assert_int_equal(state->leases_generation, state_generation(state));
	assert_int_equal(state_backend_add(state, "one", &first, &plain, &err), 0);
	assert_int_not_equal(state->leases_generation, state_generation(state));
	leases_tick(state);
	assert_null(entry_of("one", "10.0.0.3"));
}

static unsigned lines_with(const char *text, const char *word)
{
	unsigned count = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		count++;
	return count;
}

static void a_file_that_cannot_be_written_is_no_line_each_second(void **unused)
{
	static struct test_log log;
	char aside[128];

	snprintf(aside, sizeof(aside), "%s.aside", directory);
	assert_int_equal(put("web", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(put("web", "10.0.0.4", 1, 30000), 0);
	let_pass(entry_of("web", "10.0.0.3"), 30000);
	assert_int_equal(rename(directory, aside), 0);
	test_log_begin(&log);
	for (unsigned i = 0; i < 5; i++)
		leases_tick(state);
	assert_int_equal(lines_with(test_log_end(&log), "are not removed"), 1);
	assert_non_null(entry_of("web", "10.0.0.3"));
	assert_int_equal(rename(aside, directory), 0);
	leases_tick(state);
	assert_null(entry_of("web", "10.0.0.3"));
}

static void a_renewal_ends_the_grace_of_the_last_one(void **unused)
{
	const struct addr first = test_addr("10.0.0.1");
	struct error err;

	assert_int_equal(put("one", "10.0.0.3", 1, 30000), 0);
	assert_int_equal(state_backend_remove(state, "one", &first, true, false, &err), 0);
	let_pass(entry_of("one", "10.0.0.3"), 30000);
	leases_tick(state);
	assert_true(entry_of("one", "10.0.0.3")->lapsed);
	assert_int_equal(put("one", "10.0.0.3", 1, 30000), 0);
	assert_false(entry_of("one", "10.0.0.3")->lapsed);
}

static void leases_go_on_after_a_crash_with_the_time_they_had(void **unused)
{
	uint64_t until, now;

	assert_int_equal(put("web", "10.0.0.3", 50, 30000), 0);
	until = entry_of("web", "10.0.0.3")->until_ms;
	crash();
	now = clock_monotonic_ms();
	assert_int_equal(backend_of("web", "10.0.0.3")->weight, 50);
	assert_int_equal(entry_of("web", "10.0.0.3")->origin, ORIGIN_lease);
	assert_true(entry_of("web", "10.0.0.3")->until_ms >= until);
	assert_true(entry_of("web", "10.0.0.3")->until_ms <= now + 30000);
}

static void a_lease_that_ended_while_lbd_was_away_begins_again(void **unused)
{
	uint64_t before;

	assert_int_equal(put("web", "10.0.0.3", 50, 30000), 0);
	let_pass(entry_of("web", "10.0.0.3"), 90000);
	before = clock_monotonic_ms();
	assert_int_equal(kept_write_leases(state, NULL), 0);
	crash();
	assert_non_null(entry_of("web", "10.0.0.3"));
	assert_true(entry_of("web", "10.0.0.3")->until_ms >= before + 30000);
	leases_tick(state);
	assert_non_null(entry_of("web", "10.0.0.3"));
}

/* From before a reboot, if the file outlives it. */
static void no_lease_lasts_longer_than_its_ttl_from_the_start(void **unused)
{
	assert_int_equal(put("web", "10.0.0.3", 50, 30000), 0);
	entry_of("web", "10.0.0.3")->until_ms += 1000000;
	assert_int_equal(kept_write_leases(state, NULL), 0);
	crash();
	assert_true(entry_of("web", "10.0.0.3")->until_ms <= clock_monotonic_ms() + 30000);
}

static void renewals_reach_the_file_at_the_end_and_now_and_then(void **unused)
{
	struct overrides read;

	assert_int_equal(put("web", "10.0.0.3", 50, 60000), 0);
	let_pass(entry_of("web", "10.0.0.3"), 50000);
	assert_int_equal(kept_write_leases(state, NULL), 0);
	assert_int_equal(put("web", "10.0.0.3", 50, 60000), 0);
	assert_true(state->leases_stale);
	leases_tick(state);
	assert_true(state->leases_stale); /* written just before */
	state->leases_saved_ms -= 6000;
	leases_tick(state);
	assert_false(state->leases_stale);
	assert_int_equal(overrides_load(path, 100, &read, NULL), 0);
	assert_int_equal(read.list[0].until_ms, entry_of("web", "10.0.0.3")->until_ms);
	overrides_done(&read);
	assert_int_equal(put("web", "10.0.0.3", 50, 60000), 0);
	state_free(state);
	assert_int_equal(overrides_load(path, 100, &read, NULL), 0);
	assert_true(read.list[0].until_ms > clock_monotonic_ms() + 50000);
	overrides_done(&read);
	start();
}

static void time_in_which_lbd_did_not_run_does_not_count(void **unused)
{
	assert_int_equal(put("web", "10.0.0.3", 1, 10000), 0);
	leases_tick(state);
	/* a minute later, with the lease's end long past */
	let_pass(entry_of("web", "10.0.0.3"), 60000);
	state->leases_ms -= 60000;
	leases_tick(state);
	assert_non_null(entry_of("web", "10.0.0.3"));
	assert_true(entry_of("web", "10.0.0.3")->until_ms <= clock_monotonic_ms() + 10000);
	assert_true(entry_of("web", "10.0.0.3")->until_ms > clock_monotonic_ms() + 5000);
	assert_true(state->leases_stale); /* the file has the former end */
}

/* Renewals wait behind a long change, and for their turn after this tick. */
static void a_tick_that_comes_late_ends_no_short_lease(void **unused)
{
	assert_int_equal(put("web", "10.0.0.3", 1, 2000), 0);
	leases_tick(state);
	let_pass(entry_of("web", "10.0.0.3"), 2000);
	state->leases_ms -= 2500;
	leases_tick(state);
	assert_non_null(entry_of("web", "10.0.0.3"));
	/* but one that comes late each time ends it in the end */
	for (unsigned i = 0; i < 3; i++) {
		let_pass(entry_of("web", "10.0.0.3"), 2500);
		state->leases_ms -= 2500;
		leases_tick(state);
		if (!entry_of("web", "10.0.0.3"))
			return;
	}
	fail();
}

static void a_start_drops_what_the_file_has_now(void **unused)
{
	test_file_put(path,
		      "{\"version\": 1, \"backends\": ["
		      "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"weight\": 9, "
		      "\"added\": true},"
		      "{\"service\": \"web\", \"address\": \"10.0.0.7\", \"weight\": 9, "
		      "\"added\": true}], \"origins\": ["
		      "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"from\": \"lease\"},"
		      "{\"service\": \"web\", \"address\": \"10.0.0.7\", \"from\": "
		      "\"lease\"}]}");
	crash();
	assert_null(entry_of("web", "10.0.0.1"));
	assert_int_equal(backend_of("web", "10.0.0.1")->weight, 100);
	assert_int_equal(backend_of("web", "10.0.0.7")->origin, ORIGIN_lease);
}

/* As after a reload. */
static void a_drain_outlives_a_start_with_a_file_that_has_the_backend_now(void **unused)
{
	test_file_put(path, "{\"version\": 1, \"backends\": ["
			    "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"weight\": 9, "
			    "\"drain\": true, \"added\": true}], \"origins\": ["
			    "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"from\": "
			    "\"lease\", \"ttl_ms\": 30000, \"until_ms\": 1}]}");
	crash();
	assert_true(backend_of("web", "10.0.0.1")->drain);
	assert_int_equal(backend_of("web", "10.0.0.1")->weight, 100);
	assert_int_equal(backend_of("web", "10.0.0.1")->origin, ORIGIN_config);
	assert_false(override_comes_by_itself(entry_of("web", "10.0.0.1")));
}

static void a_state_outlives_a_start_with_a_file_that_has_the_backend_now(void **unused)
{
	test_file_put(path, "{\"version\": 1, \"backends\": ["
			    "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"weight\": 9, "
			    "\"added\": true}], \"states\": ["
			    "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"state\": "
			    "\"maintenance\"}], \"origins\": ["
			    "{\"service\": \"web\", \"address\": \"10.0.0.1\", \"from\": "
			    "\"lease\", \"ttl_ms\": 30000, \"until_ms\": 1}]}");
	crash();
	assert_int_equal(backend_of("web", "10.0.0.1")->admin, ADMIN_MAINTENANCE);
	assert_int_equal(backend_of("web", "10.0.0.1")->weight, 100);
	assert_int_equal(backend_of("web", "10.0.0.1")->origin, ORIGIN_config);
}

static void a_reload_keeps_what_is_registered_and_says_nothing_of_it(void **unused)
{
	const struct addr four = test_addr("10.0.0.4");
	struct reload_report report = {0};
	struct overrides kept;
	struct config *next;
	struct error err;

	assert_int_equal(put("web", "10.0.0.3", 7, 30000), 0);
	assert_int_equal(put("one", "10.0.0.2", 7, 0), 0);
	assert_int_equal(state_backend_add(state, "web", &four, &plain, &err), 0);
	assert_int_equal(config_parse(CONFIG, strlen(CONFIG), "lbd.yaml", &next, &err), 0);
	assert_int_equal(reload_overrides(state, next, false, &kept, &report, &err), 0);
	assert_int_equal(kept.count, 2);
	assert_int_equal(report.kept, 0);
	assert_int_equal(report.dropped, 1); /* what was added by hand */
	assert_int_equal(kept.list[0].until_ms, entry_of("web", "10.0.0.3")->until_ms);
	overrides_done(&kept);
	reload_report_done(&report);
	/* without the service, and with a file that has one of them itself */
	next->services[0].backends[1].address = test_addr("10.0.0.3");
	config_remove_service(next, 1);
	assert_int_equal(reload_overrides(state, next, true, &kept, &report, &err), 0);
	assert_int_equal(kept.count, 1); /* keep: that by hand */
	assert_false(override_comes_by_itself(&kept.list[0]));
	assert_int_equal(report.dropped, 2);
	assert_string_equal(report.notes[0].what, "weight 7 (the file has 100)");
	assert_string_equal(report.notes[1].what, "backend registered, weight 7");
	overrides_done(&kept);
	reload_report_done(&report);
	config_free(next);
}

/* Its lease is renewed only by what is the same in all. */
static void a_put_says_zone_priority_and_health_and_changes_them(void **unused)
{
	const struct addr three = test_addr("10.0.0.3");
	struct config_tag *tags[] = {config_tag_new(NULL, "a", NULL, 0),
				     config_tag_new(NULL, "b", NULL, 0)};
	struct state_put wanted = {.weight = 1, .tag = tags[0], .ttl_ms = 30000};
	const struct backend *backend;
	struct error err = {""};

	state->options.zone = "a";
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	assert_true(state_backend_renew(state, "web", &three, &wanted));
	assert_false(backend_of("web", "10.0.0.3")->elsewhere);
	assert_true(backend_of("web", "10.0.0.1")->elsewhere); /* has no zone */
	wanted.tag = tags[1];
	assert_false(state_backend_renew(state, "web", &three, &wanted));
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	assert_true(backend_of("web", "10.0.0.3")->elsewhere);
	wanted.priority = 2;
	wanted.target.port = 8080;
	assert_false(state_backend_renew(state, "web", &three, &wanted));
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	backend = backend_of("web", "10.0.0.3");
	assert_int_equal(backend->priority, 2);
	assert_int_equal(backend->target.port, 8080);
	assert_int_equal(backend_level(backend), 5);
	wanted.backup = true;
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "priority: 2: has no meaning for a backup"));
	wanted.priority = 0;
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), 0);
	assert_int_equal(backend_level(backend_of("web", "10.0.0.3")), LEVELS_PRIMARY + 1);
	for (unsigned i = 0; i < 2; i++)
		config_tag_unref(tags[i]);
}

static void a_backend_of_the_file_gets_a_weight_alone(void **unused)
{
	const struct addr one = test_addr("10.0.0.1");
	struct state_put wanted = {.weight = 7, .priority = 1};
	struct error err = {""};

	assert_int_equal(state_backend_remove(state, "web", &one, true, false, &err), 0);
	assert_int_equal(state_backend_add(state, "web", &one, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is in the config file, which says what it is"));
	wanted.priority = 0;
	assert_int_equal(state_backend_add(state, "web", &one, &wanted, &err), 0);
	assert_int_equal(backend_of("web", "10.0.0.1")->weight, 7);
}

/* It would be checked at port 0. */
static void none_is_added_without_a_port_to_be_checked_at(void **unused)
{
	const struct addr first = test_addr("10.0.0.1"), second = test_addr("10.0.0.2");
	struct config_service *config =
	    (struct config_service *)state_find_service(state, "one")->config;
	char tcp[] = "tcp", *none = config->health.type;
	const struct state_put own_port = {
	    .weight = 1, .target.port = 8080, .priority = 1, .backup = true};
	struct error err;

	config->port = 0;
	config->health.type = tcp;
	config->backends[0].target.port = 80;
	assert_int_equal(state_backend_add(state, "one", &second, &plain, &err), -EINVAL);
	assert_non_null(
	    strstr(err.text,
		   "any/tcp: backend 10.0.0.2: has no port to be checked at: the service takes any "
		   "port, expected health.port of this backend, or of the service in the config "
		   "file"));
	assert_int_equal(put("one", "10.0.0.2", 1, 0), -EINVAL);
	assert_int_equal(state_backend_add(state, "one", &first, &plain, &err), -EEXIST);
	/* with a port of its own it is refused for what comes after that */
	assert_int_equal(state_backend_add(state, "one", &second, &own_port, &err), -EINVAL);
	assert_non_null(strstr(err.text, "priority: 1: has no meaning for a backup"));
	config->port = 80;
	config->health.type = none;
	assert_int_equal(put("one", "10.0.0.2", 1, 0), 0);
}

static void nat_puts(struct state_registration *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		list[i].put = (struct state_put){.weight = 1, .ttl_ms = 30000};
	state_backends_register(state, list, count);
	for (unsigned i = 0; i < count; i++)
		sentences_done(&list[i].warnings);
}

static void expect_taken(const struct state_registration *each, const char *service)
{
	char taken[64];

	snprintf(taken, sizeof(taken), "8080/tcp is of service %s", service);
	assert_int_equal(each->rc, -EINVAL);
	if (!strstr(each->err.text, taken))
		fail_msg("\"%s\", expected \"%s\"", each->err.text, taken);
}

/* Also where two that are registered at the same moment meet. The others are one change. */
static void a_real_is_of_one_service_among_several_too(void **unused)
{
	struct state_registration list[] = {
	    {.service = "first", .address = test_addr("10.0.1.3")},
	    {.service = "second", .address = test_addr("10.0.1.3")},
	    {.service = "second", .address = test_addr("10.0.1.1")},
	    {.service = "second", .address = test_addr("10.0.1.4")},
	};
	uint64_t generation;

	state_free(state);
	start_with(NAT_CONFIG);
	generation = state_generation(state);
	nat_puts(list, 4);
	assert_int_equal(list[0].rc, 0);
	expect_taken(&list[1], "first");
	expect_taken(&list[2], "first");
	assert_int_equal(list[3].rc, 0);
	assert_int_equal(state_generation(state), generation + 1);
	assert_int_equal(backend_of("second", "10.0.1.4")->port, 8080);
	assert_null(backend_of("second", "10.0.1.3"));
	assert_null(entry_of("second", "10.0.1.1"));
}

static void a_real_of_another_service_is_refused_to_one_alone(void **unused)
{
	struct addr address = test_addr("10.0.1.1");
	struct error err;

	state_free(state);
	start_with(NAT_CONFIG);
	assert_int_equal(state_backend_add(state, "second", &address, &plain, &err), -EINVAL);
	assert_non_null(
	    strstr(err.text, "backend 10.0.1.1: 10.0.1.1:8080/tcp is of service first"));
	assert_int_equal(put("second", "10.0.1.1", 1, 30000), -EINVAL);
	assert_int_equal(put("second", "10.0.1.3", 1, 30000), 0);
	address = test_addr("10.0.1.3");
	assert_int_equal(state_backend_add(state, "first", &address, &plain, &err), -EINVAL);
	assert_non_null(strstr(err.text, "10.0.1.3:8080/tcp is of service second"));
}

static void a_port_of_its_own_is_where_it_gets_its_packets_over_a_crash_too(void **unused)
{
	const struct addr three = test_addr("10.0.1.3");
	struct state_put wanted = {.weight = 1, .port = 8081, .ttl_ms = 30000};
	struct sentences warnings = {0};
	struct error err;

	state_free(state);
	start_with(NAT_CONFIG);
	assert_int_equal(state_backend_put(state, "first", &three, &wanted, &err), 0);
	assert_int_equal(backend_of("first", "10.0.1.3")->port, 8081);
	assert_true(state_backend_renew(state, "first", &three, &wanted));
	state->leases_stale = false;
	state_free(state);
	start_with(NAT_CONFIG);
	assert_int_equal(backend_of("first", "10.0.1.3")->port, 8081);
	wanted.port = 8082;
	assert_false(state_backend_renew(state, "first", &three, &wanted));
	state_collect(state, &warnings);
	assert_int_equal(state_backend_put(state, "first", &three, &wanted, &err), 0);
	state_collect(state, NULL);
	assert_int_equal(backend_of("first", "10.0.1.3")->port, 8082);
	assert_int_equal(warnings.count, 1);
	assert_non_null(
	    strstr(warnings.list[0], "backend 10.0.1.3: port 8081 -> 8082: connections end"));
	sentences_done(&warnings);
	wanted.port = 0;
	assert_int_equal(state_backend_put(state, "first", &three, &wanted, &err), 0);
	assert_int_equal(backend_of("first", "10.0.1.3")->port, 8080);
}

/* The same, and "second" has another VIP. */
#define MOVED_CONFIG                                                                        \
	"metrics: off\nlimits: { backends: 8 }\n"                                           \
	"defaults: { forward: nat, health: { type: none } }\nservices:\n"                   \
	"  - { name: first, vip: 192.0.2.1, protocol: tcp, port: 80, backend-port: 8080, "  \
	"backends: [{ address: 10.0.1.1 }] }\n"                                             \
	"  - { name: second, vip: 192.0.2.7, protocol: tcp, port: 80, backend-port: 8080, " \
	"backends: [{ address: 10.0.1.2 }] }\n"

static void expect_bound(const char *address, const char *words)
{
	const char *why = remark_text(backend_of("second", address)->why);

	if (!strstr(why, words))
		fail_msg("%s: \"%s\", expected \"%s\"", address, why, words);
	assert_non_null(entry_of("first", "10.0.1.3"));
	assert_non_null(backend_of("first", "10.0.1.3"));
}

/* Started with a file whose reload was refused: none of what was registered is at fault. */
static void a_start_with_a_real_that_is_not_free_drops_nothing_that_is_registered(void **unused)
{
	state_free(state);
	start_with(NAT_CONFIG);
	assert_int_equal(put("first", "10.0.1.3", 1, 3600000), 0);
	assert_int_equal(put("second", "10.0.1.4", 1, 3600000), 0);
	for (unsigned starts = 0; starts < 3; starts++) {
		state_free(state);
		memory_dataplane_restart(memory);
		start_with(MOVED_CONFIG);
		expect_bound("10.0.1.2", "10.0.1.2:8080/tcp");
		expect_bound("10.0.1.4", starts ? "was a backend of 192.0.2.2:80/tcp"
						: "is a backend of 192.0.2.2:80/tcp");
		assert_non_null(entry_of("second", "10.0.1.4"));
	}
	/* and with the former file again they are its own */
	state_free(state);
	memory_dataplane_restart(memory);
	start_with(NAT_CONFIG);
	assert_null(backend_of("second", "10.0.1.2")->bound_why);
	assert_null(backend_of("second", "10.0.1.4")->bound_why);
	assert_null(backend_of("first", "10.0.1.3")->bound_why);
}

/* The server of another service, at a port of its own. */
static void with_a_port_of_its_own_it_shares_a_host(void **unused)
{
	struct state_registration list[] = {
	    {.service = "first", .address = test_addr("10.0.1.2")},
	    {.service = "second", .address = test_addr("10.0.1.1")},
	};
	const struct addr one = test_addr("10.0.1.1"), three = test_addr("10.0.1.3");
	struct state_put wanted = {.weight = 1, .port = 9000};
	struct error err;

	state_free(state);
	start_with(NAT_CONFIG);
	for (unsigned i = 0; i < 2; i++)
		list[i].put = (struct state_put){.weight = 1, .port = (uint16_t)(8081 + i)};
	state_backends_register(state, list, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(list[i].rc, 0);
		assert_int_equal(backend_of(list[i].service, i ? "10.0.1.1" : "10.0.1.2")->port,
				 8081 + i);
		sentences_done(&list[i].warnings);
	}
	wanted.port = 8082; /* the second has it there */
	assert_int_equal(state_backend_add(state, "first", &three, &wanted, &err), 0);
	wanted.port = 8080;
	assert_int_equal(state_backend_put(state, "second", &one, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "10.0.1.1:8080/tcp is of service first"));
	assert_int_equal(backend_of("second", "10.0.1.1")->port, 8082);
}

static void a_port_without_nat_is_refused(void **unused)
{
	const struct addr three = test_addr("10.0.0.3"), one = test_addr("10.0.0.1");
	const struct state_put wanted = {.weight = 1, .port = 8081};
	struct error err;

	assert_int_equal(state_backend_add(state, "web", &three, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "backend 10.0.0.3: port: 8081: has no meaning without "
					 "`forward: nat`"));
	assert_int_equal(state_backend_put(state, "web", &three, &wanted, &err), -EINVAL);
	assert_int_equal(state_backend_remove(state, "web", &one, true, false, &err), 0);
	assert_int_equal(state_backend_add(state, "web", &one, &wanted, &err), -EINVAL);
	assert_non_null(strstr(err.text, "is in the config file, which says what it is"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_first_put_adds_and_the_same_again_changes_nothing_but_the_time),
	    TEST(several_are_on_disk_before_they_are_confirmed),
	    TEST(several_that_cannot_be_written_are_refused_and_change_nothing),
	    TEST(one_that_renews_among_several_keeps_its_new_end),
	    TEST(several_leave_as_one_change_that_is_on_disk),
	    TEST(of_several_the_same_backend_does_the_one_after_the_other),
	    TEST(of_several_that_leave_the_last_of_the_service_stays),
	    TEST(several_that_cannot_leave_stay_as_they_were),
	    TEST(names_may_be_repeated_by_their_owner_alone),
	    TEST(backends_of_the_file_are_not_registered),
	    TEST(delete_may_be_repeated),
	    TEST(none_is_added_without_a_port_to_be_checked_at),
	    TEST(a_put_says_zone_priority_and_health_and_changes_them),
	    TEST(a_backend_of_the_file_gets_a_weight_alone),
	    TEST(a_port_of_its_own_is_where_it_gets_its_packets_over_a_crash_too),
	    TEST(a_start_with_a_real_that_is_not_free_drops_nothing_that_is_registered),
	    TEST(with_a_port_of_its_own_it_shares_a_host),
	    TEST(a_port_without_nat_is_refused),
	    TEST(its_weight_is_the_registrations_and_a_drain_holds),
	    TEST(a_backend_that_is_not_renewed_is_removed_and_may_come_again),
	    TEST(the_last_backend_stays_until_there_is_another),
	    TEST(the_last_one_is_looked_at_again_when_something_has_changed),
	    TEST(a_file_that_cannot_be_written_is_no_line_each_second),
	    TEST(a_renewal_ends_the_grace_of_the_last_one),
	    TEST(leases_go_on_after_a_crash_with_the_time_they_had),
	    TEST(a_lease_that_ended_while_lbd_was_away_begins_again),
	    TEST(no_lease_lasts_longer_than_its_ttl_from_the_start),
	    TEST(renewals_reach_the_file_at_the_end_and_now_and_then),
	    TEST(time_in_which_lbd_did_not_run_does_not_count),
	    TEST(a_tick_that_comes_late_ends_no_short_lease),
	    TEST(a_start_drops_what_the_file_has_now),
	    TEST(a_drain_outlives_a_start_with_a_file_that_has_the_backend_now),
	    TEST(a_state_outlives_a_start_with_a_file_that_has_the_backend_now),
	    TEST(a_reload_keeps_what_is_registered_and_says_nothing_of_it),
	    TEST(a_real_is_of_one_service_among_several_too),
	    TEST(a_real_of_another_service_is_refused_to_one_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
