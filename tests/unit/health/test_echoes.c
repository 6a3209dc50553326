/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/health/echoes.c: long packets beside checks that pass. This program is also the probe
 * process, and answers echoes as a network would: the VIP says which. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "health_found.h"
#include "health_loop.h"
#include "health_timed.h"
#include "lbd/health/descriptor.h"
#include "lbd/health/echoes.h"
#include "lbd/health/message.h"
#include "lbd/health/worker.h"
#include "support/test_addr.h"

/* What becomes of echoes to it. */
#define OPEN    "192.0.2.10" /* all are answered */
#define NARROW  "192.0.2.11" /* those of up to 1400 bytes */
#define ODD     "192.0.2.12" /* those of up to 1200 bytes, and of an even length */
#define QUIET   "192.0.2.13" /* none */
#define LATE    "192.0.2.14" /* as ODD, and that one is lost is known after LATE_MS */
#define MARK    0x77

#define LATE_MS 1000

/* ---- the probe process ---- */

static bool is_answered(const struct request *request)
{
	static const unsigned most[] = {UINT16_MAX, 1400, 1200, 0, 1200};
	unsigned vip = request->address[3] - 10U;

	return request->length <= most[vip] || (vip && vip % 2 == 0 && request->length % 2 == 0);
}

static void send_result(const struct request *request)
{
	struct attempt_result result = {.began_us = clock_monotonic_us(),
					.ended_us = clock_monotonic_us(),
					.outcome =
					    is_answered(request) ? ATTEMPT_PASSED : ATTEMPT_FAILED,
					.why = ""};
	struct reply reply;

	message_put_result(&reply, request->id, &result);
	send(WORKER_FD, &reply, sizeof(reply), MSG_NOSIGNAL);
}

static void send_pong(const struct request *request)
{
	const struct reply reply = {.type = REPLY_PONG, .id = request->id};

	send(WORKER_FD, &reply, sizeof(reply), MSG_NOSIGNAL);
}

static bool is_late(const struct request *request)
{
	return request->type == REQUEST_START && request->address[3] == 14 && !is_answered(request);
}

static int play_network(void)
{
	struct pollfd ready = {.fd = WORKER_FD, .events = POLLIN};
	struct request request, late;
	uint64_t late_ms = 0; /* 0: none is late */
	struct descriptors came;
	int count;

	while ((count = poll(&ready, 1, late_ms ? 5 : -1)) >= 0) {
		if (late_ms && clock_monotonic_ms() >= late_ms) {
			send_result(&late);
			late_ms = 0;
		}
		if (!count)
			continue;
		if (descriptor_receive(WORKER_FD, &request, sizeof(request), &came) <= 0)
			break;
		if (came.fd >= 0)
			close(came.fd);
		if (is_late(&request)) {
			late = request;
			late_ms = clock_monotonic_ms() + LATE_MS;
		} else if (request.type == REQUEST_START) {
			send_result(&request);
		} else if (request.type == REQUEST_PING) {
			send_pong(&request);
		}
	}
	return 0;
}

/* ---- checks, which pass ---- */

static struct {
	uint32_t interval_ms;
	bool astray;
	uint64_t packets;
} net;

static struct health_probe *start_probe(void *state, struct event_base *loop,
					const struct health_probe_spec *spec, health_done_fn *done,
					void *arg)
{
	net.packets++;
	return new_probe(loop, NULL, 1000, done, arg);
}

REGISTER(health_kind, passing) = {.name = "passing",
				  .start = start_probe,
				  .serve = serve_probe,
				  .waits_for = probe_waits_for,
				  .cancel = cancel_probe};

static int prepare(void *arg, const struct addr *to, char *why, size_t size)
{
	return 0;
}

/* Those of the check, and, unless they go astray, of echoes, which leave between two calls. */
static uint64_t sent(void *arg, uint32_t mark)
{
	net.packets += net.astray ? 0 : 2;
	return net.packets;
}

static void missed(void *arg)
{
}

/* Of a backend. */
struct end {
	uint16_t longest;
	int16_t shrinks; /* with each look at it */
	unsigned looks;  /* none while an echo is under way */
	struct found found;
};

static struct end one, other;
static struct health_mtu mtu;

static uint16_t longest(void *owner)
{
	struct end *end = owner;

	end->looks++;
	end->longest = (uint16_t)(end->longest - end->shrinks);
	return end->longest;
}

static struct health_check *add(struct end *end, const char *vip, uint32_t most)
{
	const struct health_spec spec = {.type = (char *)"passing",
					 .to = HEALTH_TO_VIP,
					 .interval_ms = net.interval_ms,
					 .timeout_ms = PATIENT_MS,
					 .rise = 1,
					 .fall = 2,
					 .mtu = most};
	const struct health_way way = {.to = test_addr(vip),
				       .port = 80,
				       .mark = MARK,
				       .prepare = prepare,
				       .sent = sent,
				       .missed = missed,
				       .longest = longest,
				       .owner = end};
	const struct addr backend = test_addr("10.0.0.11");
	struct health_check *check =
	    health_add(health, &spec, &backend, 80, HEALTH_UNKNOWN, on_result, &end->found);

	assert_non_null(check);
	health_set_way(check, &way);
	return check;
}

static void wait_for_state(const struct health_check *check, const char *state, const char *why)
{
	uint64_t end = clock_monotonic_ms() + HANG_MS;

	do {
		turn();
		assert_true(health_mtu(check, &mtu));
	} while ((strcmp(mtu.state, state) || strcmp(mtu.why, why)) && clock_monotonic_ms() < end);
	assert_string_equal(mtu.state, state);
	assert_string_equal(mtu.why, why);
}

static void wait_for_status(const struct end *end, enum health_status status)
{
	uint64_t until_ms = clock_monotonic_ms() + HANG_MS;

	while (end->found.status != status && clock_monotonic_ms() < until_ms)
		turn();
	assert_int_equal(end->found.status, status);
}

/* So many, with which it is up as before. */
static void stays_up(const struct end *end, unsigned results)
{
	for (unsigned i = 0; i < results; i++) {
		assert_true(run_until(&end->found.results, end->found.results + 1));
		assert_int_equal(end->found.status, HEALTH_UP);
	}
}

static int begin(void **state)
{
	memset(&net, 0, sizeof(net));
	net.interval_ms = 10;
	one = other = (struct end){.longest = 1480};
	return start_loop(state);
}

/* It takes an ICMP socket and a mark. */
static void skip_without_rights(void)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), mark = MARK;
	bool may = fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));

	if (fd >= 0)
		close(fd);
	if (!may)
		skip();
}

/* ---- tests ---- */

#define NO_PROOF "that does not count: no other backend has answered one so long meanwhile"

static void long_packets_that_are_answered_change_nothing(void **state)
{
	struct health_check *check;

	skip_without_rights();
	check = add(&one, OPEN, 1500);
	wait_for_state(check, "arrive", "");
	assert_int_equal(mtu.length, 1480);
	stays_up(&one, 5);
	health_remove(check);
}

static void no_packet_is_longer_than_those_of_clients(void **state)
{
	struct health_check *check;

	skip_without_rights();
	one.longest = 8980;
	check = add(&one, OPEN, 1500);
	wait_for_state(check, "arrive", "");
	assert_int_equal(mtu.length, 1500);
	health_remove(check);
}

/* It may be this host that gets none. */
static void a_hole_does_not_count_if_no_other_backend_has_answered_one_so_long(void **state)
{
	struct health_check *a, *b;

	skip_without_rights();
	one.longest = 1401;
	other.longest = 1400;
	a = add(&one, NARROW, 1500);
	wait_for_state(a, "lost", NO_PROOF);
	assert_int_equal(mtu.length, 1401);
	b = add(&other, NARROW, 1500);
	wait_for_state(b, "arrive", "");
	one.longest = 1403; /* at once */
	wait_for_state(a, "lost", NO_PROOF);
	stays_up(&one, 5);
	one.longest = 1400;
	wait_for_state(a, "arrive", "");
	health_remove(a);
	health_remove(b);
}

static void a_hole_takes_a_backend_down_and_its_end_up_again(void **state)
{
	struct health_check *a, *b;

	skip_without_rights();
	a = add(&one, ODD, 1500);
	wait_for_state(a, "arrive", "");
	one.longest = 1471;
	wait_for_state(a, "lost", NO_PROOF);
	b = add(&other, ODD, 1500);
	wait_for_state(b, "arrive", "");
	wait_for_status(&one, HEALTH_DOWN);
	assert_string_equal(one.found.why,
			    "to the VIP: packets of 1471 bytes are lost, of 84 bytes they arrive: "
			    "MTU hole: a link on the way has a smaller MTU, and no router says "
			    "\"too big\"");
	wait_for_state(a, "lost", "");
	assert_int_equal(other.found.status, HEALTH_UP);
	one.longest = 1200; /* as one says it now */
	wait_for_status(&one, HEALTH_UP);
	wait_for_state(a, "arrive", "");
	health_remove(a);
	health_remove(b);
}

/* The check of `one`, of which long packets are lost. Nobody has answered one. */
static struct health_check *lose(const char *vip)
{
	struct health_check *check;

	skip_without_rights();
	one.longest = 1471;
	check = add(&one, vip, 1500);
	wait_for_state(check, "lost", NO_PROOF);
	return check;
}

/* This host got no long answers, and gets them now: what was lost before says nothing. */
static void losses_before_another_backend_has_answered_do_not_count(void **state)
{
	struct health_check *a, *b;

	a = lose(ODD);
	b = add(&other, ODD, 1500);
	wait_for_state(b, "arrive", "");
	stays_up(&one, 3);
	one.longest = 1472;
	wait_for_state(a, "arrive", "");
	stays_up(&one, 3);
	health_remove(a);
	health_remove(b);
}

static void wait_for_an_echo_under_way(const struct end *end)
{
	uint64_t until_ms = clock_monotonic_ms() + HANG_MS;
	unsigned looks, results;

	do {
		looks = end->looks;
		results = end->found.results;
		assert_true(run_until(&end->found.results, results + 5));
	} while (end->looks != looks && clock_monotonic_ms() < until_ms);
	assert_int_equal(end->looks, looks);
}

/* This host got no long answers until after one was sent that is known to be lost later. */
static void a_loss_of_what_was_sent_before_another_backend_answered_does_not_count(void **state)
{
	struct health_check *a, *b;
	unsigned looks;

	a = lose(LATE);
	wait_for_an_echo_under_way(&one);
	looks = one.looks;
	b = add(&other, LATE, 1500);
	wait_for_state(b, "arrive", "");
	if (one.looks != looks)
		fail_msg("the echo has ended before the other was answered");
	while (one.looks == looks)
		turn();
	wait_for_state(a, "lost", NO_PROOF);
	one.longest = 1472;
	wait_for_state(a, "arrive", "");
	stays_up(&one, 3);
	health_remove(a);
	health_remove(b);
}

/* Of the only round since the other has answered nothing is known. */
static void a_round_that_says_nothing_makes_no_loss_count(void **state)
{
	struct health_check *a, *b;
	unsigned looks;

	a = lose(LATE);
	b = add(&other, LATE, 1500);
	wait_for_state(b, "arrive", "");
	wait_for_an_echo_under_way(&one);
	looks = one.looks;
	one.longest = 1473;
	while (one.looks == looks)
		turn();
	assert_true(health_mtu(a, &mtu));
	assert_string_equal(mtu.state, "lost");
	assert_string_equal(mtu.why, NO_PROOF);
	stays_up(&one, 3);
	health_remove(a);
	health_remove(b);
}

static void a_backend_that_answers_no_echo_is_up(void **state)
{
	struct health_check *check;

	skip_without_rights();
	check = add(&one, QUIET, 1500);
	wait_for_state(check, "unknown", "it answers no echo to the VIP");
	stays_up(&one, 5);
	health_remove(check);
}

static void echoes_that_left_elsewhere_say_nothing(void **state)
{
	struct health_check *check;

	skip_without_rights();
	net.astray = true;
	net.interval_ms = HANG_MS; /* no packet of another check leaves meanwhile */
	check = add(&one, OPEN, 1500);
	wait_for_state(check, "unknown", "packets to the VIP did not take the tunnel");
	health_remove(check);
}

/* A router has said "too big" because of the echo itself. */
static void a_way_whose_mtu_changes_meanwhile_is_tried_again(void **state)
{
	struct health_check *check;

	skip_without_rights();
	one.shrinks = 1;
	check = add(&one, NARROW, 1500);
	wait_for_state(check, "unknown", "the MTU of the way has changed");
	stays_up(&one, 10);
	wait_for_state(check, "unknown", "the MTU of the way has changed");
	one.shrinks = 0;
	one.longest = 1400;
	wait_for_state(check, "arrive", "");
	health_remove(check);
}

static void where_all_packets_are_short_none_is_tried(void **state)
{
	struct health_check *check;

	one.longest = 200;
	check = add(&one, QUIET, 1500);
	stays_up(&one, 10);
	wait_for_state(check, "unknown", "");
	assert_int_equal(mtu.length, 0);
	health_remove(check);
}

static void it_can_be_switched_off(void **state)
{
	struct health_check *check = add(&one, QUIET, 0);
	struct health_process process;

	stays_up(&one, 10);
	assert_false(health_mtu(check, &mtu));
	health_process(health, &process);
	assert_false(process.needed);
	health_remove(check);
}

static void rounds_of_all_backends_are_spread(void **state)
{
	uint64_t last_us = 0;

	assert_true(echoes_may_begin(&last_us, 7 * ECHOES_SPAN_US));
	assert_false(echoes_may_begin(&last_us, 8 * ECHOES_SPAN_US - 1));
	assert_true(echoes_may_begin(&last_us, 8 * ECHOES_SPAN_US));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(long_packets_that_are_answered_change_nothing),
	    TEST(no_packet_is_longer_than_those_of_clients),
	    TEST(a_hole_does_not_count_if_no_other_backend_has_answered_one_so_long),
	    TEST(a_hole_takes_a_backend_down_and_its_end_up_again),
	    TEST(losses_before_another_backend_has_answered_do_not_count),
	    TEST(a_loss_of_what_was_sent_before_another_backend_answered_does_not_count),
	    TEST(a_round_that_says_nothing_makes_no_loss_count),
	    TEST(a_backend_that_answers_no_echo_is_up),
	    TEST(echoes_that_left_elsewhere_say_nothing),
	    TEST(a_way_whose_mtu_changes_meanwhile_is_tried_again),
	    TEST(where_all_packets_are_short_none_is_tried),
	    TEST(it_can_be_switched_off),
	    cmocka_unit_test(rounds_of_all_backends_are_spread),
	};

	if (health_is_worker(argc, argv))
		return play_network();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
