/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/fleet_apply.c and user/lbctl/rollout: what is asked, what is waited for, and
 * what a rollout looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define APPLY "POST /v1/fleet/apply"
#define FLEET "GET /v1/fleet"
#define APPLIED                                                                              \
	"{\"write\":1,\"digest\":\"00000000000000aa\",\"changed\":1,\"changes\":[\"service " \
	"web: added, 2 backends\"],\"warnings\":[]}"
#define CONFIG(why, refused, waits, in_force, rollout, write)                                \
	"{\"fleet\":null,\"config\":{\"servers\":\"http://10.0.0.5:2379\",\"key\":"          \
	"\"/lbd/config\",\"node\":\"lb1\",\"heard_s\":0,\"failed_s\":null,\"why\":\"" why    \
	"\",\"revision\":17,\"in_force\":" in_force ",\"copy\":false,\"refused\":\"" refused \
	"\",\"waits\":\"" waits "\",\"former\":true,\"rollout\":" rollout ",\"write\":" write "}}"
#define ROLLOUT(digest, state, why, nodes)                                                    \
	"{\"digest\":\"" digest "\",\"max_unavailable\":1,\"limit_ms\":60000,\"by\":\"lb1\"," \
	"\"age_s\":3,\"state\":\"" state "\",\"why\":\"" why "\",\"nodes\":[" nodes "]}"
#define NODE(name, state, why) \
	"{\"name\":\"" name "\",\"state\":\"" state "\",\"live\":true,\"why\":\"" why "\"}"
#define MADE    "{\"number\":1,\"state\":\"made\",\"why\":\"\"}"
#define PENDING "{\"number\":1,\"state\":\"pending\",\"why\":\"\"}"
#define OURS    "00000000000000aa"

static struct lbctl_run run;
static char requests[8192], path[] = "/tmp/lbd-apply-XXXXXX";

static void apply(const struct fake_answer *answers, const char *a, const char *b)
{
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "fleet", "apply", "--socket", fake.socket, a, b);
	fake_lbd_requests(&fake, requests, sizeof(requests));
	fake_lbd_stop(&fake);
}

static void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("expected \"%s\" in: %s", part, text);
}

static void it_waits_until_all_nodes_are_done(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 200, APPLIED},
	    {FLEET, 200, CONFIG("", "", "", "true", "null", PENDING)},
	    {FLEET, 200,
	     CONFIG("", "", "", "true", ROLLOUT("00000000000000bb", "stopped", "lb3: old", ""),
		    MADE)}, /* that of before: not heard yet */
	    {FLEET, 200,
	     CONFIG("", "", "", "false",
		    ROLLOUT(OURS, "running", "",
			    NODE("lb1", "applying", "") "," NODE("lb2", "waiting", "")),
		    MADE)},
	    {FLEET, 200,
	     CONFIG("", "", "", "true",
		    ROLLOUT(OURS, "done", "", NODE("lb1", "done", "") "," NODE("lb2", "done", "")),
		    MADE)},
	    {NULL}};

	apply(answers, path, NULL);
	assert_int_equal(run.exit_code, 0);
	expect_in(run.out, "the config is valid on this node, and makes 1 change\n");
	expect_in(run.out, "lb1: applying\nlb1: done\nlb2: done\nrolled out: 2 of 2 nodes done\n");
	expect_in(requests, "\"max_unavailable\":1");
	expect_in(requests, "\"text\":\"services: []\\n\"");
}

static void a_rollout_that_is_stopped_is_a_failure_with_its_reason(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 200, APPLIED},
	    {FLEET, 200,
	     CONFIG("", "", "", "true",
		    ROLLOUT(OURS, "stopped", "lb2: service web is down",
			    NODE("lb2", "failed", "service web is down")),
		    MADE)},
	    {NULL}};

	apply(answers, path, NULL);
	assert_int_equal(run.exit_code, 1);
	expect_in(run.out, "lb2: failed: service web is down\n");
	expect_in(run.err, "the rollout is stopped: lb2: service web is down. To put the former "
			   "config back: lbctl fleet apply --rollback");
}

static void what_was_not_written_is_a_failure(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 200, APPLIED},
	    {FLEET, 200,
	     CONFIG("", "", "", "true", "null",
		    "{\"number\":1,\"state\":\"failed\",\"why\":\"another has written "
		    "meanwhile\"}")},
	    {NULL}};

	apply(answers, path, NULL);
	assert_int_equal(run.exit_code, 1);
	expect_in(run.err, "nothing was written: another has written meanwhile");
}

static void a_node_that_is_busy_is_asked_again(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 409, "{\"error\":\"another write is under way: try again\",\"hint\":\"\"}"},
	    {APPLY, 200, APPLIED},
	    {NULL}};

	apply(answers, path, "--no-wait");
	assert_int_equal(run.exit_code, 0);
}

static void a_bad_config_is_refused_with_its_mistake(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 422, "{\"error\":\"etcd:/lbd/config:1: x: unknown key\",\"hint\":\"\"}"},
	    {NULL}};

	apply(answers, path, NULL);
	assert_int_equal(run.exit_code, 1);
	expect_in(run.err, "etcd:/lbd/config:1: x: unknown key");
}

static void options_are_handed_on_and_checked(void **unused)
{
	const struct fake_answer answers[] = {{APPLY, 200, APPLIED}, {NULL}};

	apply(answers, "--rollback", "--dry-run");
	assert_int_equal(run.exit_code, 0);
	expect_in(requests, "\"rollback\":true");
	expect_in(requests, "\"dry_run\":true");
	expect_in(run.out, "would make 1 change\n");
	apply(answers, path, "--rollback");
	assert_int_equal(run.exit_code, 2);
	apply(answers, "--no-wait", NULL);
	assert_int_equal(run.exit_code, 2);
	apply(answers, path, "--max-unavailable=0");
	assert_int_equal(run.exit_code, 2);
	expect_in(run.err, "--max-unavailable 0: expected a number of 1 to 64");
	apply(answers, "--rollback", "--timeout=soon");
	assert_int_equal(run.exit_code, 2);
	expect_in(run.err, "--timeout soon: expected a duration");
	assert_string_equal(requests, "");
	apply(answers, "/nonexistent", "--no-wait");
	assert_int_equal(run.exit_code, 1);
	expect_in(run.err, "/nonexistent: No such file");
	apply(answers, "/dev/null", "--no-wait");
	assert_int_equal(run.exit_code, 1);
	expect_in(run.err, "/dev/null: expected a config: it is empty");
}

static void a_wait_has_a_limit(void **unused)
{
	const struct fake_answer answers[] = {
	    {APPLY, 200, APPLIED},
	    {FLEET, 200,
	     CONFIG("", "", "", "true", ROLLOUT(OURS, "running", "", NODE("lb1", "applying", "")),
		    MADE)},
	    {NULL}};

	apply(answers, path, "--timeout=1s");
	assert_int_equal(run.exit_code, 3);
	expect_in(run.err, "the rollout goes on");
}

/* ---- what lbctl fleet prints of it ---- */

static void fleet_of(const char *body)
{
	const struct fake_answer answers[] = {{FLEET, 200, body}, {NULL}};
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "fleet", "--socket", fake.socket);
	fake_lbd_stop(&fake);
}

static void the_state_of_the_config_is_one_line(void **unused)
{
	fleet_of(CONFIG("", "", "", "true", "null", "null"));
	expect_in(run.out, "config /lbd/config, node lb1: revision 17 is in force\n");
	fleet_of(CONFIG("", "", "waits for its turn", "false", "null", "null"));
	expect_in(run.out, "revision 17 is not in force yet: waits for its turn\n");
	fleet_of(CONFIG("", "etcd:/k:1: x", "", "false", "null", "null"));
	expect_in(run.out, "Warning: config /lbd/config, node lb1: revision 17 was refused, an "
			   "earlier one is in force: etcd:/k:1: x\n");
	fleet_of(CONFIG("timed out", "", "", "true", "null", "null"));
	expect_in(run.out, "etcd cannot be read: timed out; what it had last stays in force\n");
}

static void before_etcd_has_answered_the_copy_is_named(void **unused)
{
	fleet_of("{\"fleet\":null,\"config\":{\"key\":\"/k\",\"node\":\"lb1\",\"why\":\"\","
		 "\"revision\":null,\"in_force\":false,\"copy\":true,\"refused\":\"\","
		 "\"waits\":\"\",\"rollout\":null}}");
	expect_in(run.out, "etcd has not answered yet; the copy on disk is in force\n");
}

static void a_rollout_is_a_table_of_nodes(void **unused)
{
	fleet_of(CONFIG("", "", "", "true",
			ROLLOUT(OURS, "stopped", "lb2: bad",
				NODE("lb1", "done", "") "," NODE("lb2", "failed", "bad")),
			"null"));
	expect_in(run.out, "rollout by lb1: stopped, 1 of 2 nodes done: lb2: bad\n");
	expect_in(run.out, "lb2   failed  bad\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_waits_until_all_nodes_are_done),
	    cmocka_unit_test(a_rollout_that_is_stopped_is_a_failure_with_its_reason),
	    cmocka_unit_test(what_was_not_written_is_a_failure),
	    cmocka_unit_test(a_node_that_is_busy_is_asked_again),
	    cmocka_unit_test(a_bad_config_is_refused_with_its_mistake),
	    cmocka_unit_test(options_are_handed_on_and_checked),
	    cmocka_unit_test(a_wait_has_a_limit),
	    cmocka_unit_test(the_state_of_the_config_is_one_line),
	    cmocka_unit_test(before_etcd_has_answered_the_copy_is_named),
	    cmocka_unit_test(a_rollout_is_a_table_of_nodes),
	};
	int fd = mkstemp(path), rc;

	if (fd < 0)
		return 1;
	assert_int_equal(write(fd, "services: []\n", 13), 13);
	close(fd);
	rc = cmocka_run_group_tests_name("lbctl fleet apply", tests, NULL, NULL);
	unlink(path);
	return rc;
}
