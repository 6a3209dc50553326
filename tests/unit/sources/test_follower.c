/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources/follower.c and user/lbd/state/shared.c: a node of a fleet, on plain memory, with
 * tasks and a source process as lbd has them; and an etcd that is a list of keys. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base64.h"
#include "common/clock.h"
#include "lbd/sources/sources.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_file.h"
#include "support/test_log.h"

#define PATIENCE_MS 60000
#define KEY         "/lbd/config"
#define TEXT(more)                                                            \
	"limits: { backends: 8 }\nservices:\n- name: web\n  vip: 192.0.2.1\n" \
	"  protocol: tcp\n  port: 80\n  health: { type: none }\n"             \
	"  backends: [{ address: 10.0.0.1 }" more "]\n"
#define ONE   TEXT("")
#define TWO   TEXT(", { address: 10.0.0.2 }")
#define THREE TEXT(", { address: 10.0.0.2 }, { address: 10.0.0.3 }")
#define BAD   "services: [{ name: x }]\n"

static struct event_base *base;

/* ---- etcd ---- */

static struct pair {
	char key[64], *value; /* NULL: it is not there */
	unsigned revision;
} pairs[8];
static unsigned revision;
static bool broken; /* answers 503 */
static struct evhttp *http;
static struct evhttp_request *watcher;
static char where_text[192];

static struct pair *find_pair(const char *key)
{
	for (unsigned i = 0; i < 8; i++)
		if (!strcmp(pairs[i].key, key))
			return &pairs[i];
	for (unsigned i = 0; i < 8; i++)
		if (!*pairs[i].key) {
			snprintf(pairs[i].key, sizeof(pairs[i].key), "%s", key);
			return &pairs[i];
		}
	fail_msg("too many keys");
	return NULL;
}

static void tell_watcher(void)
{
	struct evbuffer *line;

	if (!watcher)
		return;
	line = evbuffer_new();
	evbuffer_add_printf(line, "{\"result\":{\"events\":[{}]}}\n");
	evhttp_send_reply_chunk(watcher, line);
	evbuffer_free(line);
}

/* value: NULL: it is deleted. */
static void put(const char *key, const char *value)
{
	struct pair *pair = find_pair(key);

	free(pair->value);
	pair->value = value ? strdup(value) : NULL;
	pair->revision = ++revision;
	tell_watcher();
}

static const char *value_of(const char *key)
{
	const char *value = find_pair(key)->value;

	return value ? value : "";
}

static json_t *body_of(struct evhttp_request *request)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(request);
	size_t length = evbuffer_get_length(body);
	json_t *json = json_loadb((char *)evbuffer_pullup(body, -1), length, 0, NULL);

	assert_non_null(json);
	return json;
}

static void answer(struct evhttp_request *request, json_t *json)
{
	struct evbuffer *body = evbuffer_new();
	char *text = json_dumps(json, JSON_COMPACT);

	if (!broken)
		evbuffer_add(body, text, strlen(text));
	evhttp_send_reply(request, broken ? 503 : 200, "x", body);
	evbuffer_free(body);
	free(text);
	json_decref(json);
}

static json_t *header(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", revision);
	return json_pack("{s:{s:s}}", "header", "revision", text);
}

static void on_range(struct evhttp_request *request, void *arg)
{
	json_t *root = header(), *kvs = json_array();

	for (unsigned i = 0; i < 8; i++) {
		char *key = base64_encode(pairs[i].key, strlen(pairs[i].key)), *value, text[16];

		if (pairs[i].value) {
			value = base64_encode(pairs[i].value, strlen(pairs[i].value));
			snprintf(text, sizeof(text), "%u", pairs[i].revision);
			json_array_append_new(kvs, json_pack("{s:s, s:s, s:s}", "key", key, "value",
							     value, "mod_revision", text));
			free(value);
		}
		free(key);
	}
	json_object_set_new(root, "kvs", kvs);
	answer(request, root);
}

/* Allocated. */
static char *decoded(const json_t *object, const char *name)
{
	char *text = base64_decode_text(json_string_value(json_object_get(object, name)));

	return text ? text : strdup("");
}

static bool fits(const json_t *compare)
{
	char *key = decoded(compare, "key");
	const struct pair *pair = find_pair(key);
	unsigned long is = pair->value ? pair->revision : 0;
	const char *text = json_string_value(json_object_get(compare, "mod_revision"));

	free(key);
	return strtoul(text, NULL, 10) == is;
}

static void on_txn(struct evhttp_request *request, void *arg)
{
	json_t *body = body_of(request), *root, *item;
	bool succeeds = !broken;
	size_t i;

	json_array_foreach (json_object_get(body, "compare"), i, item)
		succeeds = succeeds && fits(item);
	json_array_foreach (json_object_get(body, "success"), i, item) {
		const json_t *one = json_object_get(item, "request_put");
		char *key = decoded(one, "key"), *value = decoded(one, "value");

		if (succeeds)
			put(key, value);
		free(key);
		free(value);
	}
	root = header();
	if (succeeds)
		json_object_set_new(root, "succeeded", json_true());
	json_decref(body);
	answer(request, root);
}

static void on_put(struct evhttp_request *request, void *arg)
{
	json_t *body = body_of(request);
	char *key = decoded(body, "key");

	put(key, "x");
	free(key);
	json_decref(body);
	answer(request, header());
}

static void on_lease(struct evhttp_request *request, void *arg)
{
	answer(request, json_pack("{s:s, s:s}", "ID", "77", "TTL", "15"));
}

static void on_closed(struct evhttp_connection *connection, void *arg)
{
	if (watcher && !evhttp_request_get_connection(watcher))
		evhttp_send_reply_end(watcher);
	watcher = NULL;
}

static void on_watch(struct evhttp_request *request, void *arg)
{
	evhttp_send_reply_start(request, 200, "OK");
	watcher = request;
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, NULL);
	tell_watcher();
}

static void etcd_start(const char *local)
{
	struct evhttp_bound_socket *bound;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	http = evhttp_new(base);
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	assert_non_null(bound);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length);
	snprintf(where_text, sizeof(where_text), "etcd://127.0.0.1:%u" KEY "?node=lb1&local=%s",
		 ntohs(address.sin_port), local);
	evhttp_set_cb(http, "/v3/kv/range", on_range, NULL);
	evhttp_set_cb(http, "/v3/kv/txn", on_txn, NULL);
	evhttp_set_cb(http, "/v3/kv/put", on_put, NULL);
	evhttp_set_cb(http, "/v3/lease/grant", on_lease, NULL);
	evhttp_set_cb(http, "/v3/lease/keepalive", on_lease, NULL);
	evhttp_set_cb(http, "/v3/watch", on_watch, NULL);
}

/* ---- the node ---- */

static struct tasks *tasks;
static struct neigh *neigh;
static struct memory_dataplane *memory;
static struct state *state;
static struct config_follower *follower;
static struct config_remote where;
static char directory[64], kept[96], local[96];
static bool begun;

static void turn(uint64_t until)
{
	const struct timeval soon = clock_span_ms(50);
	struct config_follower_view view;

	if (clock_monotonic_ms() >= until) {
		config_follower_look(follower, &view);
		fail_msg("timed out; why: %s; refused: %s; waits: %s; record: %s", view.why,
			 view.refused, view.waits, value_of(KEY "/rollout"));
	}
	event_base_loopexit(base, &soon);
	event_base_dispatch(base);
}

static void run_begin(void *arg)
{
	struct error err;

	if (state_begin(state, &err))
		fail_msg("%s", err.text);
	config_follower_begin(follower);
	begun = true;
}

/* The node starts with ONE. */
static void start(void)
{
	const struct state_remote remote = {.where = &where, .text = ONE, .kept = kept};
	struct state_options options = {.base = base,
					.config_path = where_text,
					.remote = &remote,
					.dataplane = memory->dp,
					.neigh = neigh,
					.tasks = tasks};
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	struct config_texts texts;
	struct error err = {0};

	if (config_remote_parse(where_text, &where, &err) ||
	    config_remote_texts(&where, ONE, strlen(ONE), &texts, &err) ||
	    config_parse_texts(&texts, &options.config, &err) ||
	    state_new(&options, &state, &err) ||
	    config_follower_new(
		&(struct config_follower_options){
		    .base = base, .state = state, .tasks = tasks, .where = &where},
		&follower, &err))
		fail_msg("%s", err.text);
	config_texts_done(&texts);
	begun = false;
	assert_int_equal(tasks_add(tasks, run_begin, NULL), 0);
	while (!begun)
		turn(until);
}

static int set_up(void **unused)
{
	struct error err;

	strcpy(directory, "/tmp/lbd-follower-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(kept, sizeof(kept), "%s/config.yaml", directory);
	snprintf(local, sizeof(local), "%s/node.yaml", directory);
	test_file_put(local, "metrics: 'off'\n");
	memset(pairs, 0, sizeof(pairs));
	revision = 1;
	broken = false;
	watcher = NULL;
	base = loop_new();
	if (!base || tasks_new(base, &tasks) || neigh_new(base, &neigh, &err))
		return -1;
	memory = memory_dataplane_new((struct memory_limits){8, 8, 65536, 64});
	etcd_start(local);
	put(KEY, ONE);
	return 0;
}

static int tear_down(void **unused)
{
	tasks_finish(tasks);
	config_follower_free(follower);
	state_free(state);
	config_remote_done(&where);
	tasks_free(tasks);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	evhttp_free(http);
	event_base_free(base);
	for (unsigned i = 0; i < 8; i++)
		free(pairs[i].value);
	unlink(kept);
	unlink(local);
	assert_int_equal(rmdir(directory), 0);
	return 0;
}

/* ---- conditions ---- */

static struct config_follower_view look(void)
{
	struct config_follower_view view;

	config_follower_look(follower, &view);
	return view;
}

#define WAIT_UNTIL(condition)                                                    \
	for (uint64_t until = clock_monotonic_ms() + PATIENCE_MS; !(condition);) \
	turn(until)

static unsigned backends(void)
{
	return state_config(state)->services[0].backends_count;
}

static bool is_kept(const char *text)
{
	char read[1024] = "";
	FILE *file = fopen(kept, "r");

	if (file) {
		read[fread(read, 1, sizeof(read) - 1, file)] = 0;
		fclose(file);
	}
	return !strcmp(read, text);
}

static bool is_refused(void)
{
	struct config_age age;

	state_config_age(state, &age);
	return age.refused;
}

/* Of this node, "lb1", or of another one. */
static bool record_says(const char *node, enum rollout_progress progress)
{
	static struct rollout rollout;
	const char *text = value_of(KEY "/rollout");
	const struct rollout_node *found;

	if (rollout_parse(text, strlen(text), &rollout, NULL))
		return false;
	found = rollout_find(&rollout, node);
	return found && found->progress == progress;
}

/* What another node, or lbctl there, has written. */
static void write_rollout(const char *text, enum rollout_progress lb2)
{
	static struct rollout rollout;
	char *record;

	rollout = (struct rollout){
	    .digest = rollout_digest(text), .most = 1, .limit_ms = 60000, .by = "lb2"};
	rollout_set(&rollout, "lb2", lb2, lb2 == ROLLOUT_FAILED ? "service web is down" : "");
	record = rollout_format(&rollout);
	put(KEY "/live/lb2", "x");
	put(KEY "/rollout", record);
	put(KEY, text);
	free(record);
}

/* ---- texts put by hand ---- */

static void a_text_is_taken_over_and_kept_on_disk(void **unused)
{
	start();
	WAIT_UNTIL(is_kept(ONE));
	put(KEY, TWO);
	WAIT_UNTIL(backends() == 2);
	WAIT_UNTIL(is_kept(TWO));
	assert_true(look().in_force);
	assert_string_equal(state_remote_text(state), TWO);
}

static void a_bad_text_changes_nothing_and_is_tried_once(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	put(KEY, BAD);
	WAIT_UNTIL(*look().refused);
	assert_non_null(strstr(look().refused, "etcd:" KEY ":1: service x: "));
	assert_true(is_refused());
	assert_int_equal(backends(), 1);
	assert_false(look().in_force);
	WAIT_UNTIL(is_kept(ONE));
	put(KEY, ONE); /* the one in force: nothing is refused any more */
	WAIT_UNTIL(!is_refused());
	assert_string_equal(look().refused, "");
}

static void a_key_that_is_gone_or_empty_changes_nothing(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	put(KEY, NULL);
	WAIT_UNTIL(look().failed_ms);
	assert_string_equal(look().why, "the key is not there");
	put(KEY, "");
	WAIT_UNTIL(strstr(look().why, "the key is empty"));
	assert_int_equal(backends(), 1);
	assert_false(is_refused());
	put(KEY, TWO);
	WAIT_UNTIL(backends() == 2);
	assert_int_equal(look().failed_ms, 0);
	broken = true;
	tell_watcher();
	WAIT_UNTIL(strstr(look().why, "503"));
	assert_int_equal(backends(), 2);
}

static unsigned lines_of(const char *text, const char *words)
{
	unsigned lines = 0;

	for (const char *at = text; (at = strstr(at, words)); at++)
		lines++;
	return lines;
}

static void a_key_that_comes_and_goes_does_not_flood_the_log(void **unused)
{
	static struct test_log log;
	const char *text;

	start();
	WAIT_UNTIL(look().in_force);
	test_log_begin(&log);
	for (unsigned i = 0; i < 4; i++) {
		put(KEY, "");
		WAIT_UNTIL(look().failed_ms);
		put(KEY, ONE);
		WAIT_UNTIL(!look().failed_ms);
	}
	text = test_log_end(&log);
	assert_int_equal(lines_of(text, "the key is empty; the config in force stays"), 1);
	assert_int_equal(lines_of(text, "can be read again"), 1);
}

static void texts_that_keep_coming_are_taken_over_with_rests(void **unused)
{
	uint64_t begin_ms;

	start();
	WAIT_UNTIL(look().in_force);
	put(KEY, TWO);
	WAIT_UNTIL(backends() == 2);
	begin_ms = clock_monotonic_ms();
	put(KEY, THREE);
	WAIT_UNTIL(backends() == 3);
	put(KEY, TWO);
	WAIT_UNTIL(backends() == 2);
	put(KEY, ONE);
	WAIT_UNTIL(backends() == 1);
	assert_true(clock_monotonic_ms() - begin_ms > 1000); /* 3 rests, less what is late */
}

/* ---- rollouts ---- */

static void a_node_waits_for_its_turn_takes_it_and_says_so(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	write_rollout(TWO, ROLLOUT_APPLYING);
	WAIT_UNTIL(!strcmp(look().waits, "waits for its turn"));
	assert_int_equal(backends(), 1);
	write_rollout(TWO, ROLLOUT_DONE);
	WAIT_UNTIL(record_says("lb1", ROLLOUT_DONE));
	assert_true(record_says("lb2", ROLLOUT_DONE));
	assert_int_equal(backends(), 2);
}

static void a_rollout_that_failed_elsewhere_is_not_taken_over(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	write_rollout(TWO, ROLLOUT_FAILED);
	WAIT_UNTIL(strstr(look().waits, "the rollout is stopped: lb2: service web is down"));
	assert_int_equal(backends(), 1);
	assert_false(record_says("lb1", ROLLOUT_APPLYING));
}

static void a_node_that_refuses_the_text_says_that_it_has_failed(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	write_rollout(BAD, ROLLOUT_DONE);
	WAIT_UNTIL(record_says("lb1", ROLLOUT_FAILED));
	assert_non_null(strstr(value_of(KEY "/rollout"), "service x: "));
	assert_int_equal(backends(), 1);
}

static void a_record_that_is_none_changes_nothing(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	put(KEY "/rollout", "{}");
	WAIT_UNTIL(strstr(look().why, KEY "/rollout: expected the record of a rollout"));
	put(KEY, TWO);
	put(KEY "/rollout", "[]");
	tell_watcher();
	for (unsigned i = 0; i < 4; i++)
		turn(UINT64_MAX);
	assert_int_equal(backends(), 1);
	put(KEY "/rollout", NULL);
	WAIT_UNTIL(backends() == 2);
}

/* ---- writing ---- */

static struct writing {
	struct config_write_options options;
	struct config_written written;
	struct error err;
	int rc;
	bool ended;
} writing;

static void run_write(void *arg)
{
	writing.rc =
	    config_follower_write(follower, &writing.options, &writing.written, &writing.err);
	if (!writing.rc)
		reload_report_done(&writing.written.report);
	writing.ended = true;
}

static int write_text(const char *text, bool trial)
{
	writing = (struct writing){
	    .options = {.text = text, .by = "lb1", .most = 1, .limit_ms = 60000, .trial = trial}};
	assert_int_equal(tasks_add(tasks, run_write, NULL), 0);
	WAIT_UNTIL(writing.ended);
	return writing.rc;
}

static void what_is_written_is_rolled_out_and_can_be_put_back(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	assert_int_equal(write_text(NULL, false), -ENOENT); /* there is none before */
	assert_int_equal(write_text(TWO, true), 0);
	assert_string_equal(value_of(KEY), ONE);
	assert_int_equal(write_text(TWO, false), 0);
	WAIT_UNTIL(look().write.made);
	assert_int_equal(look().write.number, 1);
	WAIT_UNTIL(record_says("lb1", ROLLOUT_DONE));
	assert_int_equal(backends(), 2);
	assert_string_equal(value_of(KEY), TWO);
	assert_string_equal(value_of(KEY "/former"), ONE);
	WAIT_UNTIL(look().has_former && look().rollout && rollout_find(look().rollout, "lb1"));
	WAIT_UNTIL(write_text(NULL, false) != -EBUSY);
	assert_int_equal(writing.rc, 0);
	WAIT_UNTIL(backends() == 1 && record_says("lb1", ROLLOUT_DONE));
	assert_string_equal(value_of(KEY), ONE);
	assert_string_equal(value_of(KEY "/former"), TWO);
}

static void what_is_no_config_is_not_written(void **unused)
{
	char *text = malloc((512 << 10) + 2);

	start();
	WAIT_UNTIL(look().in_force);
	assert_int_equal(write_text(BAD, false), -EINVAL);
	assert_non_null(strstr(writing.err.text, "etcd:" KEY ":1: service x: "));
	memset(text, '#', (512 << 10) + 1);
	text[(512 << 10) + 1] = 0;
	assert_int_equal(write_text(text, false), -EINVAL);
	assert_non_null(strstr(writing.err.text, "expected at most 512 KiB"));
	assert_string_equal(value_of(KEY), ONE);
	assert_int_equal(look().write.number, 0);
	assert_false(is_refused());
	assert_true(look().in_force);
	free(text);
}

/* Another node has written since this one has heard of etcd. */
static void a_write_that_is_overtaken_is_not_made(void **unused)
{
	start();
	WAIT_UNTIL(look().in_force);
	WAIT_UNTIL(rollout_is_live(look().live, "lb1")); /* its last write of its own */
	find_pair(KEY)->revision = ++revision;           /* nobody is told */
	assert_int_equal(write_text(TWO, false), 0);
	WAIT_UNTIL(!look().write.pending);
	assert_false(look().write.made);
	assert_non_null(strstr(look().write.why, "another has written meanwhile"));
	assert_string_equal(value_of(KEY), ONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_text_is_taken_over_and_kept_on_disk),
	    TEST(a_bad_text_changes_nothing_and_is_tried_once),
	    TEST(a_key_that_is_gone_or_empty_changes_nothing),
	    TEST(a_key_that_comes_and_goes_does_not_flood_the_log),
	    TEST(texts_that_keep_coming_are_taken_over_with_rests),
	    TEST(a_node_waits_for_its_turn_takes_it_and_says_so),
	    TEST(a_rollout_that_failed_elsewhere_is_not_taken_over),
	    TEST(a_node_that_refuses_the_text_says_that_it_has_failed),
	    TEST(a_record_that_is_none_changes_nothing),
	    TEST(what_is_written_is_rolled_out_and_can_be_put_back),
	    TEST(what_is_no_config_is_not_written),
	    TEST(a_write_that_is_overtaken_is_not_made),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
