/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/health/member.c, proof.c: which way a check goes, and what a failure means. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "health_found.h"
#include "health_loop.h"
#include "health_timed.h"
#include "lbd/health/health.h"
#include "lbd/health/proof.h"
#include "support/test_addr.h"

#define VIP   "192.0.2.10"
#define MARK  0x77
#define LACKS "is its decapsulator there?"

/* ---- a network: what becomes of a probe by each way ---- */

static struct {
	const char *tunnel, *direct; /* see new_probe */
	bool astray;                 /* packets through the tunnel leave elsewhere */
	int refusal;
	const char *obstacle; /* why; NULL: that there is no route */
	unsigned to_vip, to_backend, missed;
	uint64_t packets;
	struct addr named;
} net;

static struct health_probe *start_probe(void *state, struct event_base *loop,
					const struct health_probe_spec *spec, health_done_fn *done,
					void *arg)
{
	const struct addr vip = test_addr(VIP);

	assert_int_equal(addr_equal(&spec->address, &vip), spec->mark == MARK);
	net.to_vip += spec->mark != 0;
	net.to_backend += spec->mark == 0;
	net.packets += spec->mark && !net.astray;
	net.named = spec->named;
	return new_probe(loop, spec->mark ? net.tunnel : net.direct, spec->mark ? 3000 : 1000, done,
			 arg);
}

REGISTER(health_kind, netted) = {.name = "netted",
				 .start = start_probe,
				 .serve = serve_probe,
				 .waits_for = probe_waits_for,
				 .cancel = cancel_probe};
REGISTER(health_kind, datagram) = {.name = "datagram",
				   .socket = 2,
				   .start = start_probe,
				   .serve = serve_probe,
				   .waits_for = probe_waits_for,
				   .cancel = cancel_probe};

static int prepare(void *arg, const struct addr *to, char *why, size_t size)
{
	if (net.refusal)
		snprintf(why, size, "%s", net.obstacle ? net.obstacle : "no route to the VIP");
	return net.refusal;
}

static uint64_t sent(void *arg, uint32_t mark)
{
	assert_int_equal(mark, MARK);
	return net.packets;
}

static void missed(void *arg)
{
	net.missed++;
}

static int begin(void **state)
{
	memset(&net, 0, sizeof(net));
	return start_loop(state);
}

/* ---- checks ---- */

static struct health_spec spec_of(enum health_to to)
{
	return (struct health_spec){.type = (char *)"netted",
				    .to = to,
				    .interval_ms = 10,
				    .timeout_ms = PATIENT_MS,
				    .rise = 1,
				    .fall = 2};
}

static struct health_check *add_spec(const struct health_spec *spec, struct found *found)
{
	const struct health_way way = {.to = test_addr(VIP),
				       .port = 80,
				       .mark = MARK,
				       .lacks = LACKS,
				       .prepare = prepare,
				       .sent = sent,
				       .missed = missed};
	const struct addr backend = test_addr("10.0.0.11");
	struct health_check *check =
	    health_add(health, spec, &backend, 80, HEALTH_UNKNOWN, on_result, found);

	assert_non_null(check);
	if (health_wants_way(check, way.port))
		health_set_way(check, &way);
	return check;
}

static struct health_check *add(enum health_to to, struct found *found)
{
	struct health_spec spec = spec_of(to);

	*found = (struct found){0};
	return add_spec(&spec, found);
}

/* So many results more. */
static void results(const struct found *found, unsigned more)
{
	assert_true(run_until(&found->results, found->results + more));
}

static void assert_aim(const struct health_check *check, bool vip, const char *why)
{
	struct health_aim aim = {0};

	health_aim(check, &aim);
	assert_int_equal(aim.vip, vip);
	assert_int_equal(aim.backend, !vip);
	assert_string_equal(aim.why, why);
}

/* ---- before a backend has answered through the tunnel ---- */

/* It may be that this host gets no answers by that way: rp_filter, a firewall. */
static void a_tunnel_that_no_backend_has_answered_by_takes_none_down(void **state)
{
	struct found one, other;
	struct health_check *a, *b;

	net.tunnel = "connect: timed out after 1 s";
	a = add(HEALTH_TO_AUTO, &one);
	b = add(HEALTH_TO_AUTO, &other);
	results(&one, 5);
	results(&other, 5);
	assert_int_equal(one.status, HEALTH_UP);
	assert_int_equal(other.status, HEALTH_UP);
	assert_true(net.to_vip > 0);
	assert_aim(a, false,
		   "no backend has answered through the tunnel yet: connect: timed out after 1 s");
	health_remove(a);
	health_remove(b);
}

static void a_dead_backend_is_down_also_before_that(void **state)
{
	struct found found;
	struct health_check *check;

	net.tunnel = net.direct = "connect: refused";
	check = add(HEALTH_TO_AUTO, &found);
	results(&found, 2);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "connect: refused");
	health_remove(check);
}

/* It does not keep the result that counts waiting, nor the one of the next round. */
static void a_trial_without_an_answer_delays_nothing(void **state)
{
	struct found found;
	struct health_check *check;

	net.tunnel = "";
	check = add(HEALTH_TO_AUTO, &found);
	results(&found, 5);
	assert_int_equal(found.status, HEALTH_UP);
	assert_int_equal(net.to_vip, 1); /* it still runs */
	health_remove(check);
}

/* ---- after that ---- */

/* The check that goes to the VIP, as a backend has answered there. */
static struct health_check *proven(struct found *found)
{
	struct health_check *check = add(HEALTH_TO_AUTO, found);
	struct health_aim aim = {0};

	while (!aim.vip) {
		results(found, 1);
		health_aim(check, &aim);
	}
	results(found, 2);
	assert_int_equal(found->status, HEALTH_UP);
	return check;
}

static void one_that_has_answered_proves_the_way_for_all(void **state)
{
	struct found one, other;
	struct health_check *a = proven(&one), *b;

	net.tunnel = "connect: timed out after 1 s";
	b = add(HEALTH_TO_AUTO, &other);
	assert_aim(b, true, "");
	results(&other, 1);
	assert_int_equal(other.status, HEALTH_DOWN);
	assert_string_equal(other.why, "to the VIP: connect: timed out after 1 s; directly it "
				       "answers: " LACKS);
	health_remove(a);
	health_remove(b);
}

/* Such a reload takes all checks of a service away before it adds the new ones. */
static void a_reload_that_changes_all_checks_keeps_what_is_proven(void **state)
{
	struct found found;
	struct health_check *check = proven(&found);

	health_remove(check);
	net.tunnel = "connect: timed out after 1 s";
	check = add(HEALTH_TO_AUTO, &found);
	results(&found, 1);
	assert_int_equal(found.status, HEALTH_DOWN);
	health_remove(check);
}

static void assert_why(const char *tunnel, const char *direct, const char *why)
{
	struct found found;
	struct health_check *check;

	net.tunnel = net.direct = NULL;
	check = proven(&found);
	net.tunnel = tunnel;
	net.direct = direct;
	while (found.status == HEALTH_UP)
		results(&found, 1);
	results(&found, 1);
	assert_string_equal(found.why, why);
	health_remove(check);
}

static void a_failure_says_what_the_backend_may_lack(void **state)
{
	assert_why("connect: timed out after 1 s", NULL,
		   "to the VIP: connect: timed out after 1 s; directly it answers: " LACKS);
	assert_why("connect: refused", NULL,
		   "to the VIP: connect: refused; directly it answers: the VIP is there, but does "
		   "a server listen on it?");
	assert_why("HTTP: no answer after 1 s: timed out", NULL,
		   "to the VIP: HTTP: no answer after 1 s: timed out; directly it answers: is the "
		   "MTU of the way to it large enough?");
	assert_why("HTTP status 404, expected 200-399", NULL,
		   "to the VIP: HTTP status 404, expected 200-399; directly it answers: it answers "
		   "otherwise to the VIP than to its own address");
	assert_why("connect: timed out after 1 s", "connect: timed out after 1 s",
		   "connect: timed out after 1 s");
}

/* The probe beside it is only for the reason: without an answer it is as long as its timeout. */
static void a_probe_that_passes_does_not_wait_for_the_one_beside_it(void **state)
{
	struct found found;
	struct health_check *check = proven(&found);

	net.tunnel = "connect: refused";
	results(&found, 1);
	net.tunnel = NULL;
	net.direct = "";
	results(&found, 3);
	assert_int_equal(found.status, HEALTH_UP);
	health_remove(check);
}

/* ---- what this host prevents ---- */

static void a_host_that_cannot_send_there_checks_the_backend(void **state)
{
	struct found found;
	struct health_check *check;

	net.refusal = -ENETUNREACH;
	check = add(HEALTH_TO_AUTO, &found);
	results(&found, 3);
	assert_int_equal(found.status, HEALTH_UP);
	assert_int_equal(net.to_vip, 0);
	assert_aim(check, false, "no route to the VIP");
	health_remove(check);
	net.refusal = 0;
	check = proven(&found);
	net.refusal = -ENETUNREACH;
	assert_aim(check, false, "no route to the VIP");
	results(&found, 3);
	assert_int_equal(found.status, HEALTH_UP);
	health_remove(check);
}

/* Names of devices may be any bytes; JSON is not. */
static void what_prevents_it_is_said_in_text(void **state)
{
	struct found found;
	struct health_check *check;

	net.refusal = -EINVAL;
	net.obstacle = "check not sent: et\xff\033: no tc program at its egress";
	check = add(HEALTH_TO_AUTO, &found);
	assert_aim(check, false, "check not sent: et??: no tc program at its egress");
	health_remove(check);
}

/* A long reason is not cut within a character. */
static void a_reason_that_is_cut_is_text(void **state)
{
	char why[256] = "";
	struct found found;
	struct health_check *check;
	struct health_aim aim = {0};

	memset(why, 'a', 239);
	strcat(why, "\u00e9 and more");
	net.tunnel = why;
	check = add(HEALTH_TO_AUTO, &found);
	results(&found, 3);
	health_aim(check, &aim);
	assert_true(aim.backend);
	assert_string_equal(aim.why + strlen(aim.why) - 3, "aa?");
	health_remove(check);
}

/* It says nothing about the backend, which the other way would find up. */
static void a_shortage_of_this_host_changes_nothing(void **state)
{
	struct found found;
	struct health_check *check = proven(&found);
	unsigned direct = net.to_backend;

	net.refusal = -EMFILE;
	results(&found, 1);
	assert_int_equal(found.outcome, HEALTH_NOT_RUN);
	assert_int_equal(net.to_backend, direct);
	health_remove(check);
}

static void packets_that_left_elsewhere_say_nothing_about_the_backend(void **state)
{
	struct found found;
	struct health_check *check = proven(&found);

	net.astray = true;
	net.tunnel = "connect: timed out after 1 s";
	results(&found, 3);
	assert_int_equal(found.status, HEALTH_UP);
	assert_int_equal(net.missed, 1); /* it is not tried again soon */
	net.direct = "connect: refused";
	results(&found, 2);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "connect: refused");
	health_remove(check);
}

/* ---- what does not go there ---- */

static void a_check_at_another_port_goes_to_the_backend(void **state)
{
	struct health_spec spec = spec_of(HEALTH_TO_AUTO);
	struct found found = {0};
	struct health_check *check;

	spec.port = 8080;
	check = add_spec(&spec, &found);
	results(&found, 3);
	assert_int_equal(net.to_vip, 0);
	assert_false(health_wants_way(check, 80));
	health_remove(check);
}

static void datagrams_go_to_the_backend(void **state)
{
	struct health_spec spec = spec_of(HEALTH_TO_AUTO);
	struct found found = {0};
	struct health_check *check;

	spec.type = (char *)"datagram";
	check = add_spec(&spec, &found);
	results(&found, 3);
	assert_int_equal(net.to_vip, 0);
	assert_aim(check, false, "the check is of type datagram");
	health_remove(check);
}

static void of_several_checks_each_goes_its_way(void **state)
{
	struct health_spec list[] = {spec_of(HEALTH_TO_AUTO), spec_of(HEALTH_TO_AUTO)};
	struct health_spec spec = spec_of(HEALTH_TO_AUTO);
	struct found one, found = {0};
	struct health_check *way = proven(&one), *check;
	struct health_aim aim = {0};

	list[1].port = 8080;
	spec.checks = list;
	spec.checks_count = 2;
	check = add_spec(&spec, &found);
	results(&found, 3);
	assert_int_equal(found.status, HEALTH_UP);
	health_aim(check, &aim);
	assert_true(aim.vip && aim.backend && !aim.prevented);
	assert_string_equal(aim.why, "port 8080 is not that of the service, 80");
	health_remove(check);
	health_remove(way);
}

static void a_check_to_the_backend_goes_nowhere_else(void **state)
{
	struct found found;
	struct health_check *check = add(HEALTH_TO_BACKEND, &found);

	results(&found, 3);
	assert_int_equal(net.to_vip, 0);
	assert_aim(check, false, "");
	health_remove(check);
}

static void a_check_to_the_vip_counts_from_the_first_one_on(void **state)
{
	struct found found;
	struct health_check *check;

	net.tunnel = "connect: timed out after 1 s";
	check = add(HEALTH_TO_VIP, &found);
	results(&found, 1);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_aim(check, true, "");
	health_remove(check);
}

/* A server with names must not answer otherwise only for the way. */
static void what_is_asked_for_by_default_is_the_backend_by_both_ways(void **state)
{
	const struct addr backend = test_addr("10.0.0.11");
	struct found found;
	struct health_check *check = proven(&found);

	net.direct = "";
	results(&found, 2);
	assert_true(addr_equal(&net.named, &backend));
	health_remove(check);
	net.direct = NULL;
	check = add(HEALTH_TO_VIP, &found);
	results(&found, 2);
	assert_int_equal(net.named.family, 0);
	health_remove(check);
}

/* ---- the pace of trials ---- */

static void trials_come_at_once_and_then_once_a_second(void **state)
{
	struct proofs *proofs = proofs_new();
	const struct addr vip = test_addr(VIP);
	struct proof *proof = proof_get(proofs, &vip, 80, 5000);
	unsigned at_once = 0;

	assert_ptr_equal(proof_get(proofs, &vip, 80, 5000), proof);
	while (proof_try(proof, 5000))
		at_once++;
	assert_true(at_once >= 8 && at_once <= 32);
	assert_false(proof_try(proof, 5999));
	assert_true(proof_try(proof, 6000));
	assert_false(proof_try(proof, 6001));
	proof_put(proof, 6001);
	proof_put(proof, 6001);
	proofs_free(proofs);
}

static void vips_and_ports_are_proven_apart(void **state)
{
	struct proofs *proofs = proofs_new();
	const struct addr vip = test_addr(VIP), other = test_addr("192.0.2.11");
	struct proof *of[] = {proof_get(proofs, &vip, 80, 1), proof_get(proofs, &vip, 443, 1),
			      proof_get(proofs, &other, 80, 1)};

	of[0]->proven = true;
	assert_false(of[1]->proven || of[2]->proven);
	for (unsigned i = 0; i < 3; i++)
		proof_put(of[i], 1);
	proofs_free(proofs);
}

static void what_nobody_has_asked_about_for_a_minute_is_to_be_proven_again(void **state)
{
	struct proofs *proofs = proofs_new();
	const struct addr vip = test_addr(VIP);
	struct proof *proof = proof_get(proofs, &vip, 80, 100000);

	proof->proven = true;
	proof_put(proof, 200000);
	proof = proof_get(proofs, &vip, 80, 259999);
	assert_true(proof->proven);
	assert_ptr_equal(proof_get(proofs, &vip, 80, 900000), proof); /* it is in use */
	proof_put(proof, 900000);
	proof_put(proof, 900000);
	proof = proof_get(proofs, &vip, 80, 960000);
	assert_false(proof->proven);
	proof_put(proof, 960000);
	proofs_free(proofs);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_tunnel_that_no_backend_has_answered_by_takes_none_down),
	    TEST(a_dead_backend_is_down_also_before_that),
	    TEST(a_trial_without_an_answer_delays_nothing),
	    TEST(one_that_has_answered_proves_the_way_for_all),
	    TEST(a_reload_that_changes_all_checks_keeps_what_is_proven),
	    TEST(a_failure_says_what_the_backend_may_lack),
	    TEST(a_probe_that_passes_does_not_wait_for_the_one_beside_it),
	    TEST(a_host_that_cannot_send_there_checks_the_backend),
	    TEST(what_prevents_it_is_said_in_text),
	    TEST(a_reason_that_is_cut_is_text),
	    TEST(a_shortage_of_this_host_changes_nothing),
	    TEST(packets_that_left_elsewhere_say_nothing_about_the_backend),
	    TEST(a_check_at_another_port_goes_to_the_backend),
	    TEST(datagrams_go_to_the_backend),
	    TEST(of_several_checks_each_goes_its_way),
	    TEST(a_check_to_the_backend_goes_nowhere_else),
	    TEST(a_check_to_the_vip_counts_from_the_first_one_on),
	    TEST(what_is_asked_for_by_default_is_the_backend_by_both_ways),
	    cmocka_unit_test(trials_come_at_once_and_then_once_a_second),
	    cmocka_unit_test(vips_and_ports_are_proven_apart),
	    cmocka_unit_test(what_nobody_has_asked_about_for_a_minute_is_to_be_proven_again),
	};

	if (health_is_worker(argc, argv))
		return health_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
