/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: rollout.c, what a node of a fleet does next; and documents.c, what etcd is
 * asked and answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/printable.h"
#include "lbd/sources/documents.h"
#include "lbd/sources/rollout.h"

#define TEXT "services: []\n"

static struct rollout rollout;
static struct rollout_view view;
static char why[ROLLOUT_WHY];

/* lb1 and lb2 are there, and the text is rolled out one by one. */
static int set_up(void **unused)
{
	rollout = (struct rollout){
	    .digest = rollout_digest(TEXT), .most = 1, .limit_ms = 1000, .by = "lb1"};
	view = (struct rollout_view){
	    .rollout = &rollout, .live = "lb1\nlb2\n", .digest = rollout.digest, .node = "lb1"};
	return 0;
}

static void set(const char *node, enum rollout_progress progress, const char *reason)
{
	assert_int_equal(rollout_set(&rollout, node, progress, reason), 0);
}

static void expect(enum rollout_step step)
{
	assert_int_equal(rollout_decide(&view, why), step);
}

/* ---- steps ---- */

static void a_text_without_a_record_is_applied_at_once_and_only_once(void **unused)
{
	view.rollout = NULL;
	expect(ROLLOUT_APPLY);
	view.refused = true;
	expect(ROLLOUT_REST);
	view.refused = false;
	view.in_force = true;
	expect(ROLLOUT_REST);
	view.in_force = false;
	view.rollout = &rollout;
	view.digest++; /* another text, put by hand */
	expect(ROLLOUT_APPLY);
}

static void a_turn_goes_from_taking_it_to_done(void **unused)
{
	expect(ROLLOUT_TAKE);
	set("lb1", ROLLOUT_APPLYING, "");
	expect(ROLLOUT_APPLY);
	view.in_force = true;
	expect(ROLLOUT_PROVE);
	set("lb1", ROLLOUT_DONE, "");
	expect(ROLLOUT_REST);
	assert_string_equal(why, "");
}

static void no_more_nodes_than_asked_for_take_their_turn(void **unused)
{
	set("lb2", ROLLOUT_APPLYING, "");
	expect(ROLLOUT_REST);
	assert_string_equal(why, "waits for its turn");
	rollout.most = 2;
	expect(ROLLOUT_TAKE);
	rollout.most = 1;
	set("lb2", ROLLOUT_DONE, "");
	expect(ROLLOUT_TAKE);
}

static void a_node_that_has_failed_stops_the_others(void **unused)
{
	set("lb2", ROLLOUT_FAILED, "service web is down");
	expect(ROLLOUT_REST);
	assert_string_equal(why, "the rollout is stopped: lb2: service web is down");
	view.node = "lb2";
	expect(ROLLOUT_REST);
	view.in_force = true;
	expect(ROLLOUT_REST);
	rollout.most = 64;
	view.node = "lb1";
	view.in_force = false;
	expect(ROLLOUT_REST);
}

/* For the others it would be gone. */
static void a_node_that_etcd_does_not_show_takes_no_turn(void **unused)
{
	view.live = "lb2\n";
	expect(ROLLOUT_REST);
	assert_string_equal(why, "waits until etcd shows that this node is there");
	view.live = "lb1\nlb2\n";
	expect(ROLLOUT_TAKE);
}

/* It may have died of the text. */
static void a_node_that_goes_away_in_its_turn_stops_the_others_until_it_is_back(void **unused)
{
	set("lb2", ROLLOUT_APPLYING, "");
	rollout.most = 2;
	view.live = "lb1\n";
	expect(ROLLOUT_REST);
	assert_string_equal(
	    why, "the rollout is stopped: lb2: went away while it applied the config: it "
		 "goes on when that node is back, or when the config is applied again");
	view.live = "lb1\nlb2\n";
	expect(ROLLOUT_TAKE);
}

/* So that it is said wherever somebody looks. */
static void a_node_that_is_done_says_too_that_the_rollout_is_stopped(void **unused)
{
	set("lb1", ROLLOUT_DONE, "");
	view.in_force = true;
	expect(ROLLOUT_REST);
	assert_string_equal(why, "");
	set("lb2", ROLLOUT_FAILED, "no");
	expect(ROLLOUT_REST);
	assert_string_equal(why, "the rollout is stopped: lb2: no");
}

static void a_node_that_was_never_there_is_not_waited_for(void **unused)
{
	set("lb2", ROLLOUT_DONE, "");
	view.live = "lb1\n";
	expect(ROLLOUT_TAKE);
	set("lb1", ROLLOUT_DONE, "");
	assert_int_equal(rollout_judge(&rollout, "lb1\n", "lb1", why), ROLLOUT_ENDED);
	assert_int_equal(rollout_judge(&rollout, "lb1\nlb3\n", "lb1", why), ROLLOUT_RUNS);
}

static void a_node_that_refuses_the_text_in_its_turn_admits_it(void **unused)
{
	set("lb1", ROLLOUT_APPLYING, "");
	view.refused = true;
	expect(ROLLOUT_ADMIT);
	set("lb1", ROLLOUT_FAILED, "bad");
	expect(ROLLOUT_REST);
}

static void a_node_that_has_the_text_already_says_so_even_if_others_failed(void **unused)
{
	view.in_force = true;
	expect(ROLLOUT_SETTLE);
	set("lb2", ROLLOUT_FAILED, "bad");
	expect(ROLLOUT_SETTLE);
}

static void a_node_that_is_done_and_lost_the_text_takes_it_again(void **unused)
{
	set("lb1", ROLLOUT_DONE, "");
	expect(ROLLOUT_APPLY);
}

static void names_are_compared_whole(void **unused)
{
	assert_true(rollout_is_live("lb10\nlb1\n", "lb1"));
	assert_false(rollout_is_live("lb10\nxlb1\n", "lb1"));
	assert_false(rollout_is_live("", "lb1"));
	assert_false(rollout_is_live(NULL, "lb1"));
}

static void a_rollout_is_judged_by_all_of_it(void **unused)
{
	assert_int_equal(rollout_judge(&rollout, "lb1\nlb2\n", "lb1", why), ROLLOUT_RUNS);
	assert_int_equal(rollout_judge(&rollout, "", "lb1", why), ROLLOUT_RUNS);
	set("lb1", ROLLOUT_DONE, "");
	set("lb2", ROLLOUT_APPLYING, "");
	assert_int_equal(rollout_judge(&rollout, "lb1\nlb2\n", "lb1", why), ROLLOUT_RUNS);
	assert_int_equal(rollout_judge(&rollout, "lb1\n", "lb1", why), ROLLOUT_STOPPED);
	set("lb2", ROLLOUT_DONE, "");
	assert_int_equal(rollout_judge(&rollout, "", "lb1", why), ROLLOUT_ENDED);
	set("lb2", ROLLOUT_FAILED, "x");
	assert_int_equal(rollout_judge(&rollout, "", "lb1", why), ROLLOUT_STOPPED);
	assert_string_equal(why, "lb2: x");
}

/* ---- the record ---- */

static void a_record_comes_back_as_it_was(void **unused)
{
	struct rollout back;
	struct error err;
	char *text;

	set("lb1", ROLLOUT_DONE, "");
	set("lb2", ROLLOUT_FAILED, "service \"web\" is down");
	rollout.time_ms = 1234567890123;
	text = rollout_format(&rollout);
	assert_int_equal(rollout_parse(text, strlen(text), &back, &err), 0);
	assert_int_equal(back.digest, rollout.digest);
	assert_int_equal(back.most, 1);
	assert_int_equal(back.limit_ms, 1000);
	assert_int_equal(back.time_ms, rollout.time_ms);
	assert_string_equal(back.by, "lb1");
	assert_int_equal(back.count, 2);
	assert_int_equal(rollout_find(&back, "lb2")->progress, ROLLOUT_FAILED);
	assert_string_equal(rollout_find(&back, "lb2")->why, "service \"web\" is down");
	free(text);
}

/* A reason is cut where there is no more room, also within a character, which JSON does not take:
 * one that has failed would not be in the record, and the others would go on. */
static void one_that_failed_is_in_the_record_whatever_its_reason(void **unused)
{
	char reason[2 * ROLLOUT_WHY], last[ROLLOUT_WHY];
	struct rollout back;
	struct error err;
	char *text;

	for (unsigned length = ROLLOUT_WHY - 3; length < ROLLOUT_WHY; length++) {
		memset(reason, 'a', length);
		strcpy(reason + length, "\u00e4\u00f6\u00fc");
		set("lb2", ROLLOUT_FAILED, reason);
		text = rollout_format(&rollout);
		assert_non_null(text);
		assert_int_equal(rollout_parse(text, strlen(text), &back, &err), 0);
		assert_non_null(rollout_find(&back, "lb2"));
		free(text);
	}
	for (unsigned length = 100; length < ROLLOUT_WHY; length++) {
		memset(reason, 'a', length);
		strcpy(reason + length, "\u00e4\u00f6\u00fc");
		set("lb2", ROLLOUT_FAILED, reason);
		assert_int_equal(rollout_judge(&rollout, "lb1\n", "lb1", why), ROLLOUT_STOPPED);
		strcpy(last, why);
		make_printable(last, false);
		assert_string_equal(why, last);
		expect(ROLLOUT_REST);
		strcpy(last, why);
		make_printable(last, false);
		assert_string_equal(why, last);
	}
	set("lb1", ROLLOUT_FAILED, reason);
	expect(ROLLOUT_REST);
}

static void a_record_cut_or_changed_is_refused_or_read(void **unused)
{
	static struct rollout back;
	struct error err;
	char *text, *changed;
	size_t length;

	set("lb1", ROLLOUT_APPLYING, "x");
	text = rollout_format(&rollout);
	length = strlen(text);
	changed = strdup(text);
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(rollout_parse(text, cut, &back, &err), -EINVAL);
	for (size_t at = 0; at < length; at++)
		for (unsigned value = 0; value < 256; value += 3) {
			memcpy(changed, text, length);
			changed[at] = (char)value;
			if (!rollout_parse(changed, length, &back, &err))
				assert_in_range(back.most, 1, ROLLOUT_NODES_MAX);
		}
	free(changed);
	free(text);
}

static void a_record_has_a_bounded_number_of_nodes(void **unused)
{
	char name[16];

	for (unsigned i = 0; i < ROLLOUT_NODES_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		set(name, ROLLOUT_DONE, "");
	}
	assert_int_equal(rollout_set(&rollout, "more", ROLLOUT_DONE, ""), -ENOSPC);
	assert_int_equal(rollout_set(&rollout, "n7", ROLLOUT_FAILED, "x"), 0);
	assert_int_equal(rollout.count, ROLLOUT_NODES_MAX);
}

/* ---- documents ---- */

/* /lbd/config = TEXT; /lbd/config/rollout = {}; /lbd/config/live/lb1; /lbd/config.old = x */
#define CONFIG                                                              \
	"{\"key\":\"L2xiZC9jb25maWc=\",\"value\":\"c2VydmljZXM6IFtdCg==\"," \
	"\"mod_revision\":\"7\"}"
#define RECORD \
	"{\"key\":\"L2xiZC9jb25maWcvcm9sbG91dA==\",\"value\":\"e30=\",\"mod_revision\":\"9\"}"
#define LIVE        "{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\"}"
#define OTHER       "{\"key\":\"L2xiZC9jb25maWcub2xk\",\"value\":\"eA==\",\"mod_revision\":\"8\"}"
#define ANSWER(kvs) "{\"header\":{\"revision\":\"41\"},\"kvs\":[" kvs "]}"

static int read_answer(const char *answer, struct source_list *ret, char next[24])
{
	struct error err;

	return documents_read(answer, strlen(answer), "/lbd/config", ret, next, &err);
}

static void documents_of_one_revision_are_read(void **unused)
{
	struct source_list list;
	char next[24];

	assert_int_equal(read_answer(ANSWER(CONFIG "," OTHER "," LIVE "," RECORD), &list, next), 0);
	assert_string_equal(next, "42");
	assert_string_equal(list.documents[SOURCE_CONFIG].bytes, TEXT);
	assert_int_equal(list.documents[SOURCE_CONFIG].revision, 7);
	assert_string_equal(list.documents[SOURCE_ROLLOUT].bytes, "{}");
	assert_int_equal(list.documents[SOURCE_ROLLOUT].revision, 9);
	assert_string_equal(list.documents[SOURCE_LIVE].bytes, "lb1\n");
	assert_null(list.documents[SOURCE_FORMER].bytes);
	source_list_done(&list);
}

static void a_key_that_is_not_there_or_empty_is_no_document(void **unused)
{
	struct source_list list;
	char next[24];

	assert_int_equal(read_answer(ANSWER(""), &list, next), 0);
	assert_null(list.documents[SOURCE_CONFIG].bytes);
	assert_int_equal(list.documents[SOURCE_CONFIG].revision, 0);
	assert_int_equal(
	    read_answer(ANSWER("{\"key\":\"L2xiZC9jb25maWc=\",\"mod_revision\":\"7\"}"), &list,
			next),
	    0);
	assert_null(list.documents[SOURCE_CONFIG].bytes);
	assert_int_equal(list.documents[SOURCE_CONFIG].revision, 7);
	source_list_done(&list);
}

static void an_answer_that_is_none_is_refused(void **unused)
{
	static const char *const answers[] = {
	    "", "[]", "{}", "<html>", "{\"header\":{\"revision\":\"0\"}}",
	    "{\"header\":{\"revision\":\"41\"},\"kvs\":[],\"more\":true}",
	    /* a value that is no base64, and one with a NUL */
	    ANSWER("{\"key\":\"L2xiZC9jb25maWc=\",\"value\":\"*\"}"),
	    ANSWER("{\"key\":\"L2xiZC9jb25maWc=\",\"value\":\"AGE=\"}")};
	struct source_list list;
	char next[24];

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		assert_int_equal(read_answer(answers[i], &list, next), -EBADMSG);
}

/* lbd itself reads them, at once. */
static void records_and_names_of_nodes_have_their_bounds(void **unused)
{
	static const char begin[] = "{\"key\":\"L2xiZC9jb25maWcvcm9sbG91dA==\",\"value\":\"";
	const size_t length = 88000; /* of base64: 66 000 bytes */
	char *text = malloc(length + 512), *at, next[24];
	struct source_list list;
	struct error err;

	at = text + sprintf(text, "{\"header\":{\"revision\":\"41\"},\"kvs\":[%s", begin);
	memset(at, 'I', length);
	strcpy(at + length, "\"}]}");
	assert_int_equal(documents_read(text, strlen(text), "/lbd/config", &list, next, &err),
			 -E2BIG);
	assert_string_equal(err.text, "/lbd/config/rollout: expected at most 64 KiB");
	free(text);
}

/* What is below KEY/live/ is shown as it is. */
static void a_name_that_no_node_can_have_is_none(void **unused)
{
	struct source_list list;
	char next[24];

	/* "l\x1b[1m", and a name of 80 bytes */
	assert_int_equal(
	    read_answer(ANSWER("{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sG1sxbQ==\"}," LIVE ","
			       "{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9hYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
			       "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
			       "YWFhYWFhYWFh\"}"),
			&list, next),
	    0);
	assert_string_equal(list.documents[SOURCE_LIVE].bytes, "lb1\n");
	source_list_done(&list);
}

static void requests_have_the_key_and_what_is_below_it(void **unused)
{
	char *body = documents_request("/lbd/config", "5");

	/* "/lbd/config" up to "/lbd/config0" */
	assert_string_equal(body, "{\"create_request\":{\"key\":\"L2xiZC9jb25maWc=\",\"range_end\":"
				  "\"L2xiZC9jb25maWcw\",\"start_revision\":\"5\"}}");
	free(body);
	body = documents_put_live("/lbd/config", "lb1", "77");
	assert_string_equal(body, "{\"key\":\"L2xiZC9jb25maWcvbGl2ZS9sYjE=\",\"lease\":\"77\"}");
	free(body);
}

static void a_write_is_made_only_as_it_was_read(void **unused)
{
	const struct documents_change change = {
	    .rollout = "{}", .config_revision = 7, .rollout_revision = 9};
	char *body = documents_write("/lbd/config", &change);

	assert_string_equal(
	    body, "{\"compare\":[{\"key\":\"L2xiZC9jb25maWc=\",\"target\":\"MOD\",\"result\":"
		  "\"EQUAL\",\"mod_revision\":\"7\"},{\"key\":\"L2xiZC9jb25maWcvcm9sbG91dA==\","
		  "\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"9\"}],\"success\":["
		  "{\"request_put\":{\"key\":\"L2xiZC9jb25maWcvcm9sbG91dA==\",\"value\":"
		  "\"e30=\"}}]}");
	free(body);
}

static int outcome(const char *answer)
{
	return documents_read_outcome(answer, strlen(answer));
}

static void outcomes_and_leases_are_read(void **unused)
{
	static const char granted[] = "{\"header\":{},\"ID\":\"7587854\",\"TTL\":\"15\"}",
			  renewed[] = "{\"result\":{\"ID\":\"7587854\",\"TTL\":\"15\"}}\n",
			  gone[] = "{\"result\":{\"ID\":\"7587854\"}}\n";
	char id[24] = "";

	assert_int_equal(outcome("{\"header\":{},\"succeeded\":true}"), 0);
	assert_int_equal(outcome("{\"header\":{}}"), -EAGAIN);
	assert_int_equal(outcome("{\"error\":\"x\"}"), -EBADMSG);
	assert_int_equal(outcome(""), -EBADMSG);
	assert_int_equal(documents_read_lease(granted, strlen(granted), id), 0);
	assert_string_equal(id, "7587854");
	assert_int_equal(documents_read_lease(renewed, strlen(renewed), id), 0);
	assert_int_equal(documents_read_lease(gone, strlen(gone), id), -ENOENT);
	assert_int_equal(documents_read_lease("x", 1, id), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_text_without_a_record_is_applied_at_once_and_only_once),
	    TEST(a_turn_goes_from_taking_it_to_done),
	    TEST(no_more_nodes_than_asked_for_take_their_turn),
	    TEST(a_node_that_has_failed_stops_the_others),
	    TEST(a_node_that_etcd_does_not_show_takes_no_turn),
	    TEST(a_node_that_goes_away_in_its_turn_stops_the_others_until_it_is_back),
	    TEST(a_node_that_is_done_says_too_that_the_rollout_is_stopped),
	    TEST(a_node_that_was_never_there_is_not_waited_for),
	    TEST(a_node_that_refuses_the_text_in_its_turn_admits_it),
	    TEST(a_node_that_has_the_text_already_says_so_even_if_others_failed),
	    TEST(a_node_that_is_done_and_lost_the_text_takes_it_again),
	    TEST(names_are_compared_whole),
	    TEST(a_rollout_is_judged_by_all_of_it),
	    TEST(a_record_comes_back_as_it_was),
	    TEST(one_that_failed_is_in_the_record_whatever_its_reason),
	    TEST(a_record_cut_or_changed_is_refused_or_read),
	    TEST(a_record_has_a_bounded_number_of_nodes),
	    TEST(documents_of_one_revision_are_read),
	    TEST(a_key_that_is_not_there_or_empty_is_no_document),
	    TEST(an_answer_that_is_none_is_refused),
	    TEST(records_and_names_of_nodes_have_their_bounds),
	    TEST(a_name_that_no_node_can_have_is_none),
	    TEST(requests_have_the_key_and_what_is_below_it),
	    TEST(a_write_is_made_only_as_it_was_read),
	    TEST(outcomes_and_leases_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
