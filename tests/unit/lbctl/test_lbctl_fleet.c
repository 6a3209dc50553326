/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/fleet.c: what is printed of other nodes, and the exit status of --check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define FLEET "GET /v1/fleet"
#define NODE(joining, why, fault, conflicts, peers)                                          \
	"{\"fleet\":{\"name\":\"lb1\",\"address\":\"10.0.0.1\",\"port\":7646,"               \
	"\"version\":\"0.1.0\",\"key\":\"5c1d9e02\",\"config_digest\":\"0123456789abcdef\"," \
	"\"joining\":" joining ",\"why\":\"" why "\",\"fault\":\"" fault                     \
	"\",\"conflicts\":" #conflicts ",\"unplaced\":0,\"strangers\":0,\"peers\":[" peers "]}}"
#define PEER(address, state, why, session)                                                       \
	"{\"address\":\"" address "\",\"name\":\"lb2\",\"version\":\"0.1.0\",\"state\":\"" state \
	"\",\"why\":\"" why "\",\"since_s\":720,\"connects\":true,\"connections\":1,"            \
	"\"losses\":0,\"session\":" session "}"
#define SESSION(same, others)                                                                 \
	"{\"key\":\"5c1d9e02\",\"same_config\":" same ",\"peer_synced\":true,\"services\":5," \
	"\"other_rings\":" #others ",\"lag_ms\":11,\"behind_ms\":0,\"sent_bytes\":1,"         \
	"\"received_bytes\":1,\"conflicts\":0,\"unplaced\":0}"
#define SYNCED PEER("10.0.0.2", "synced", "", SESSION("true", 0))

static struct lbctl_run run;

static void fleet_of(const char *body, const char *option)
{
	const struct fake_answer answers[] = {{FLEET, 200, body}, {NULL}};
	struct fake_lbd fake;

	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "fleet", "--socket", fake.socket, option);
	fake_lbd_stop(&fake);
}

static void expect_out(const char *part)
{
	if (!strstr(run.out, part))
		fail_msg("expected \"%s\" in: %s", part, run.out);
}

static void a_peer_that_is_synced_is_a_row(void **state)
{
	fleet_of(NODE("false", "", "", 0, SYNCED), NULL);
	assert_int_equal(run.exit_code, 0);
	expect_out("lb1 10.0.0.1:7646, key 5c1d9e02: joined\n");
	expect_out("10.0.0.2  lb2   synced    12m  11ms  same    same   0.1.0\n");
	assert_null(strstr(run.out, "Warning"));
}

static void what_differs_is_named(void **state)
{
	fleet_of(NODE("false", "", "", 3, PEER("10.0.0.2", "synced", "", SESSION("false", 2))),
		 NULL);
	expect_out("differs");
	expect_out("2 of 5 differ");
	expect_out("3 slots had untracked flows on different backends");
}

static void notes_of_who_the_nodes_are_are_warnings(void **state)
{
	fleet_of(
	    "{\"fleet\":{\"name\":\"lb1\",\"address\":\"10.0.0.1\",\"port\":7646,\"key\":\"1\","
	    "\"joining\":false,\"why\":\"\",\"fault\":\"\",\"conflicts\":0,\"unplaced\":0,"
	    "\"notes\":[\"node 10.0.0.2 is another than before\"],\"peers\":[" SYNCED "]}}",
	    NULL);
	assert_int_equal(run.exit_code, 0);
	expect_out("Warning: node 10.0.0.2 is another than before\n");
}

static void a_peer_without_a_session_has_its_reason_below_the_table(void **state)
{
	fleet_of(NODE("true", "waits for peer 10.0.0.2", "cannot listen", 0,
		      PEER("10.0.0.2", "refused", "the hash seeds differ", "null")),
		 NULL);
	assert_int_equal(run.exit_code, 0);
	expect_out("joining: waits for peer 10.0.0.2\n");
	expect_out("Warning: cannot listen\n");
	expect_out("10.0.0.2: the hash seeds differ\n");
}

static void check_fails_unless_all_peers_are_synced(void **state)
{
	fleet_of(NODE("false", "", "", 0, SYNCED), "--check");
	assert_int_equal(run.exit_code, 0);
	fleet_of(NODE("false", "", "", 0,
		      SYNCED "," PEER("10.0.0.3", "unreachable", "timed out", "null")),
		 "--check");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "peer 10.0.0.3: unreachable: timed out"));
	fleet_of(NODE("true", "lbd starts", "", 0, SYNCED), "--check");
	assert_int_equal(run.exit_code, 1);
	fleet_of("{\"fleet\":null}", "--check");
	assert_int_equal(run.exit_code, 1);
}

static void without_peers_it_says_so(void **state)
{
	fleet_of("{\"fleet\":null}", NULL);
	assert_int_equal(run.exit_code, 0);
	expect_out("The config has no `peers`");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_peer_that_is_synced_is_a_row),
	    cmocka_unit_test(what_differs_is_named),
	    cmocka_unit_test(notes_of_who_the_nodes_are_are_warnings),
	    cmocka_unit_test(a_peer_without_a_session_has_its_reason_below_the_table),
	    cmocka_unit_test(check_fails_unless_all_peers_are_synced),
	    cmocka_unit_test(without_peers_it_says_so),
	};

	return cmocka_run_group_tests_name("lbctl fleet", tests, NULL, NULL);
}
