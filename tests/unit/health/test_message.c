/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The messages between lbd and its probe process: what is written can be read, what is malformed is
 * refused, and what cannot be true is moved into bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lbd/health/message.h"
#include "support/test_addr.h"

#define HEAD offsetof(struct request, text)

static struct health_spec config = {.path = (char *)"/healthz",
				    .host = (char *)"www.example.com",
				    .status_min = 200,
				    .status_max = 204,
				    .timeout_ms = 1500};

static const struct health_kind https = {.name = "https", .confined = true};

static struct health_probe_spec spec_of(const char *address, const struct health_spec *of)
{
	return (struct health_probe_spec){.kind = &https,
					  .address = test_addr(address),
					  .port = 8080,
					  .length = 1480,
					  .config = of};
}

/* ---- requests ---- */

static void assert_survives(const char *address, const struct health_spec *of, bool repeated)
{
	struct health_probe_spec spec = spec_of(address, of), read;
	struct health_spec copy;
	struct request request;
	size_t length;

	memset(&request, 0xa5, sizeof(request));
	length = message_put_start(&request, 77, &spec, repeated);
	assert_in_range(length, HEAD, sizeof(request));
	assert_null(message_check_request(&request, length, 0));
	assert_int_equal(request.type, REQUEST_START);
	assert_int_equal(request.id, 77);
	assert_int_equal(request.repeated, repeated);
	assert_string_equal(request.kind, "https");
	assert_int_equal(request.with_socket, 0);
	assert_int_equal(message_get_start(&request, &copy, &read), 0);
	assert_int_equal(read.socket, -1);
	assert_true(addr_equal(&read.address, &spec.address));
	assert_int_equal(read.port, 8080);
	assert_int_equal(read.length, 1480);
	assert_ptr_equal(read.config, &copy);
	assert_int_equal(copy.status_min, of->status_min);
	assert_int_equal(copy.status_max, of->status_max);
	assert_int_equal(copy.timeout_ms, of->timeout_ms);
	assert_int_equal(copy.verify, of->verify);
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		assert_true(of->texts[i] ? copy.texts[i] && !strcmp(copy.texts[i], of->texts[i])
					 : !copy.texts[i]);
	health_spec_done(&copy);
}

static void start_survives_the_way(void **state)
{
	struct health_spec plain = {.timeout_ms = 10};

	assert_survives("192.0.2.1", &config, false);
	assert_survives("2001:db8::1", &config, true);
	assert_survives("192.0.2.1", &plain, false);
}

static void texts_of_any_length_that_the_config_allows_survive(void **state)
{
	static char text[HEALTH_TEXT_COUNT][65536];
	struct health_spec longest = {.timeout_ms = 10, .verify = true};

	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		memset(text[i], 'a' + (int)i, health_text_max[i]);
		longest.texts[i] = text[i];
	}
	assert_survives("192.0.2.1", &longest, false);
}

static size_t start(struct request *request)
{
	struct health_probe_spec spec = spec_of("192.0.2.1", &config);

	memset(request, 0, sizeof(*request));
	return message_put_start(request, 1, &spec, false);
}

static void malformed_requests_are_refused(void **state)
{
	struct request request;
	size_t length = start(&request);

	for (size_t shorter = 0; shorter < length; shorter++)
		assert_non_null(message_check_request(&request, shorter, 0));
	assert_non_null(message_check_request(&request, length + 1, 0));
	start(&request);
	request.type = 0;
	assert_non_null(message_check_request(&request, length, 0));
	request.type = REQUEST_PING + 1;
	assert_non_null(message_check_request(&request, length, 0));
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		start(&request);
		request.lengths[i] = UINT16_MAX;
		assert_non_null(message_check_request(&request, length, 0));
		start(&request);
		request.lengths[i]++;
		assert_non_null(message_check_request(&request, length, 0));
	}
	start(&request);
	request.text[2] = 0;
	assert_non_null(message_check_request(&request, length, 0));
	start(&request);
	request.family = 5;
	assert_non_null(message_check_request(&request, length, 0));
	start(&request);
	memset(request.kind, 'x', sizeof(request.kind));
	assert_non_null(message_check_request(&request, length, 0));
	start(&request);
	request.kind[0] = 0;
	assert_non_null(message_check_request(&request, length, 0));
	start(&request);
	request.length = HEALTH_MTU_MAX + 1;
	assert_non_null(message_check_request(&request, length, 0));
	start(&request);
	request.repeated = 2;
	assert_non_null(message_check_request(&request, length, 0));
	length = message_put_plain(&request, REQUEST_PING, 1);
	assert_null(message_check_request(&request, length, 0));
	assert_non_null(message_check_request(&request, length + 1, 0));
}

static void probe_with_a_source_or_mark_or_without_tcp_comes_with_one_socket(void **state)
{
	static const struct health_kind udp = {.name = "udp", .socket = SOCK_DGRAM};
	struct health_probe_spec with_source = spec_of("192.0.2.1", &config), with_mark, datagram;
	struct health_probe_spec read;
	struct health_spec copy;
	struct request request;
	size_t length;

	with_mark = datagram = with_source;
	datagram.kind = &udp;
	length = message_put_start(&request, 1, &datagram, false);
	assert_int_equal(request.with_socket, 1);
	assert_null(message_check_request(&request, length, 1));
	with_mark.mark = 7;
	with_source.source = test_addr("192.0.2.9");
	length = message_put_start(&request, 1, &with_mark, false);
	assert_int_equal(request.with_socket, 1);
	assert_null(message_check_request(&request, length, 1));
	length = message_put_start(&request, 1, &with_source, false);
	assert_int_equal(request.with_socket, 1);
	assert_null(message_check_request(&request, length, 1));
	assert_int_equal(message_get_start(&request, &copy, &read), 0);
	assert_int_equal(read.socket, -1);
	assert_int_equal(read.source.family, 0);
	health_spec_done(&copy);
}

static void descriptors_that_do_not_fit_the_message_are_refused(void **state)
{
	struct health_probe_spec marked = spec_of("192.0.2.1", &config);
	struct request request;
	size_t length = start(&request);

	assert_non_null(message_check_request(&request, length, 1));
	marked.mark = 7;
	length = message_put_start(&request, 1, &marked, false);
	assert_non_null(message_check_request(&request, length, 0));
	assert_non_null(message_check_request(&request, length, 2));
	request.with_socket = 2;
	assert_non_null(message_check_request(&request, length, 2));
	length = message_put_plain(&request, REQUEST_PING, 1);
	assert_non_null(message_check_request(&request, length, 1));
	length = message_put_plain(&request, REQUEST_CANCEL, 1);
	assert_null(message_check_request(&request, length, 0));
	assert_non_null(message_check_request(&request, length, 1));
}

/* ---- replies ---- */

static struct reply result_of(enum attempt_outcome outcome, const char *why)
{
	struct attempt_result result = {.outcome = outcome,
					.began_us = 2000,
					.ended_us = 5000,
					.late_us = 70,
					.latency_us = 900,
					.why = why};
	struct reply reply;

	memset(&reply, 0xa5, sizeof(reply));
	message_put_result(&reply, 9, &result);
	return reply;
}

static void result_survives_the_way(void **state)
{
	struct reply reply = result_of(ATTEMPT_VOID, "HTTP: no answer after 1s");
	struct attempt_result read;

	assert_null(message_check_reply(&reply, sizeof(reply)));
	assert_int_equal(reply.id, 9);
	message_get_result(&reply, 1000, 6000, &read);
	assert_int_equal(read.outcome, ATTEMPT_VOID);
	assert_int_equal(read.began_us, 2000);
	assert_int_equal(read.ended_us, 5000);
	assert_int_equal(read.late_us, 70);
	assert_string_equal(read.why, "HTTP: no answer after 1s");
	reply = result_of(ATTEMPT_PASSED, "");
	message_get_result(&reply, 1000, 6000, &read);
	assert_int_equal(read.outcome, ATTEMPT_PASSED);
	assert_int_equal(read.latency_us, 900);
}

static void why_that_is_too_long_is_cut_off(void **state)
{
	char why[FAILURE_TEXT * 2];
	struct reply reply;

	memset(why, 'w', sizeof(why));
	why[sizeof(why) - 1] = 0;
	reply = result_of(ATTEMPT_FAILED, why);
	assert_null(message_check_reply(&reply, sizeof(reply)));
	assert_int_equal(strlen(reply.why), FAILURE_TEXT - 1);
}

static void malformed_replies_are_refused(void **state)
{
	struct reply reply = result_of(ATTEMPT_FAILED, "x");

	for (size_t length = 0; length < sizeof(reply); length++)
		assert_string_equal(message_check_reply(&reply, length), "too short");
	assert_string_equal(message_check_reply(&reply, sizeof(reply) + 1), "too long");
	reply.type = 0;
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "unknown type");
	reply.type = REPLY_PONG + 1;
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "unknown type");
	reply = result_of(ATTEMPT_LOST, "x"); /* only lbd itself can find that */
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "unknown outcome");
	reply = result_of(UINT32_MAX, "x");
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "unknown outcome");
	reply = result_of(ATTEMPT_FAILED, "x");
	memset(reply.why, 'x', sizeof(reply.why));
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "text without an end");
	reply = result_of(ATTEMPT_FAILED, "x");
	reply.reserved = 1;
	assert_string_equal(message_check_reply(&reply, sizeof(reply)), "reserved bytes are not 0");
}

static void assert_times(uint64_t began_us, uint64_t ended_us, uint64_t expected_began_us,
			 uint64_t expected_ended_us)
{
	struct reply reply = result_of(ATTEMPT_PASSED, "");
	struct attempt_result read;

	reply.began_us = began_us;
	reply.ended_us = ended_us;
	reply.latency_us = UINT32_MAX;
	reply.late_us = UINT64_MAX;
	message_get_result(&reply, 1000, 6000, &read);
	assert_int_equal(read.began_us, expected_began_us);
	assert_int_equal(read.ended_us, expected_ended_us);
	assert_int_equal(read.latency_us, expected_ended_us - expected_began_us);
	assert_int_equal(read.late_us, 5000);
}

static void times_are_moved_between_the_request_and_now(void **state)
{
	assert_times(2000, 5000, 2000, 5000);
	assert_times(0, 0, 1000, 1000);
	assert_times(999, 6001, 1000, 6000);
	assert_times(UINT64_MAX, 0, 6000, 6000);
	assert_times(0, UINT64_MAX, 1000, 6000);
	assert_times(5000, 2000, 5000, 5000);
}

static void failed_probe_has_no_latency(void **state)
{
	struct reply reply = result_of(ATTEMPT_FAILED, "x");
	struct attempt_result read;

	message_get_result(&reply, 1000, 6000, &read);
	assert_int_equal(read.latency_us, 0);
}

static void control_characters_do_not_pass(void **state)
{
	struct reply reply = result_of(ATTEMPT_FAILED, "a\x1b[2Jb\nc\xff");
	struct attempt_result read;

	message_get_result(&reply, 1000, 6000, &read);
	assert_string_equal(read.why, "a?[2Jb?c?");
}

/* Whatever bytes come: refused, or within bounds. */
static void random_replies_are_refused_or_harmless(void **state)
{
	unsigned accepted = 0;

	srandom(1);
	for (unsigned round = 0; round < 200000; round++) {
		struct reply reply;
		struct attempt_result read;

		for (size_t i = 0; i < sizeof(reply); i++)
			((unsigned char *)&reply)[i] = (unsigned char)random();
		if (round % 2) { /* near what is well formed */
			reply.type = (uint32_t)random() % 6;
			reply.outcome = (uint32_t)random() % 6;
			reply.reserved = 0;
		}
		if (message_check_reply(&reply, sizeof(reply)) || reply.type != REPLY_RESULT)
			continue;
		accepted++;
		message_get_result(&reply, 1000, 6000, &read);
		assert_in_range(read.outcome, 0, ATTEMPT_VOID);
		assert_in_range(read.began_us, 1000, 6000);
		assert_in_range(read.ended_us, read.began_us, 6000);
		assert_in_range(read.latency_us, 0, 5000);
		assert_true(strlen(read.why) < FAILURE_TEXT);
	}
	assert_true(accepted > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(start_survives_the_way),
	    cmocka_unit_test(texts_of_any_length_that_the_config_allows_survive),
	    cmocka_unit_test(malformed_requests_are_refused),
	    cmocka_unit_test(probe_with_a_source_or_mark_or_without_tcp_comes_with_one_socket),
	    cmocka_unit_test(descriptors_that_do_not_fit_the_message_are_refused),
	    cmocka_unit_test(result_survives_the_way),
	    cmocka_unit_test(why_that_is_too_long_is_cut_off),
	    cmocka_unit_test(malformed_replies_are_refused),
	    cmocka_unit_test(times_are_moved_between_the_request_and_now),
	    cmocka_unit_test(failed_probe_has_no_latency),
	    cmocka_unit_test(control_characters_do_not_pass),
	    cmocka_unit_test(random_replies_are_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
