/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources/message.c and answer.c: what the source process and DNS servers may send. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/sources/answer.h"
#include "lbd/sources/message.h"

static struct source_reply reply;

static void make_list(unsigned count)
{
	memset(&reply, 0, sizeof(reply));
	reply.type = SOURCE_LIST;
	reply.count = count;
	reply.first = reply.last = 1;
	for (unsigned i = 0; i < count; i++)
		source_item_init(&reply.items[i], "10.0.0.1");
}

static void expect_refused(const char *why)
{
	assert_string_equal(source_message_check(&reply, source_message_length(&reply)), why);
}

static void a_whole_list_is_taken(void **state)
{
	make_list(SOURCE_PART);
	assert_null(source_message_check(&reply, sizeof(reply)));
	make_list(0);
	assert_null(source_message_check(&reply, source_message_length(&reply)));
}

static void a_message_is_as_long_as_it_says(void **state)
{
	make_list(2);
	assert_string_equal(source_message_check(&reply, source_message_length(&reply) - 1),
			    "wrong length");
	assert_string_equal(source_message_check(&reply, source_message_length(&reply) + 1),
			    "wrong length");
	assert_string_equal(source_message_check(&reply, 4), "it is too short");
	reply.count = SOURCE_PART + 1;
	assert_string_equal(source_message_check(&reply, sizeof(reply)), "too many items");
	reply.count = UINT32_MAX;
	assert_string_equal(source_message_check(&reply, sizeof(reply)), "too many items");
}

static void no_field_is_believed(void **state)
{
	make_list(2);
	reply.type = 0;
	expect_refused("unknown type");
	reply.type = SOURCE_BEAT;
	expect_refused("too many items");
	make_list(2);
	reply.last = 2;
	expect_refused("neither yes nor no");
	make_list(2);
	memset(reply.why, 'x', sizeof(reply.why));
	expect_refused("a reason without end");
	make_list(2);
	reply.items[1].weight = 10001;
	expect_refused("what cannot be a backend");
	make_list(2);
	reply.items[1].port = 65536;
	expect_refused("what cannot be a backend");
}

static void a_request_comes_back_as_it_was(void **state)
{
	const struct config_from from = {.dns = (char *)"web.example.net",
					 .server = (char *)"10.0.0.53",
					 .server_name = (char *)"last",
					 .record = CONFIG_RECORD_SRV,
					 .family = CONFIG_FAMILY_IPV6,
					 .min = 7};
	static struct source_request request;
	struct config_from back;

	assert_int_equal(source_message_start(&request, 5, "dns", &from), 0);
	assert_string_equal(request.kind, "dns");
	assert_true(source_message_from(&request, source_message_request_length(&request), &back));
	assert_string_equal(back.dns, from.dns);
	assert_string_equal(back.server, from.server);
	assert_null(back.file);
	assert_string_equal(back.server_name, "last");
	assert_int_equal(back.record, CONFIG_RECORD_SRV);
	assert_int_equal(back.family, CONFIG_FAMILY_IPV6);
	assert_false(
	    source_message_from(&request, source_message_request_length(&request) - 1, &back));
	request.texts[request.length - 1] = 'x';
	assert_false(source_message_from(&request, source_message_request_length(&request), &back));
	request.length = SOURCE_TEXTS + 1;
	assert_false(source_message_from(&request, source_message_request_length(&request), &back));
	request.length = 0;
	assert_false(source_message_from(&request, source_message_request_length(&request), &back));
}

/* ---- answers ---- */

static int count_address(void *arg, const struct addr *address)
{
	++*(unsigned *)arg;
	return 0;
}

/* Each prefix of an answer, and each answer with one byte changed, is read or refused; ASan looks.
 */
static void a_cut_or_changed_answer_is_refused_or_read(void **state)
{
	static const uint8_t answer[] = {
	    0,    1,  0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 1, 'a', 0, 0, 33, 0,  1, /* SRV a */
	    0xc0, 12, 0,    33,   0, 1, 0, 0, 0, 9, 0, 9, 0, 1,   0, 2, 0,  80, 1,    'b', 0,
	    0xc0, 12, 0,    33,   0, 1, 0, 0, 0, 5, 0, 8, 0, 1,   0, 3, 0,  80, 0xc0, 12};
	struct answer_target targets[ANSWER_TARGETS_MAX];
	uint8_t changed[sizeof(answer)];
	uint32_t ttl_s = 0;
	unsigned count = 0;

	assert_int_equal(answer_targets(answer, sizeof(answer), targets, &ttl_s), 2);
	assert_int_equal(ttl_s, 5);
	assert_string_equal(targets[0].name, "b");
	assert_string_equal(targets[1].name, "a");
	assert_int_equal(targets[1].weight, 3);
	assert_int_equal(answer_addresses(answer, sizeof(answer), 4, count_address, &count, &ttl_s),
			 -ENODATA);
	for (int length = 0; length < (int)sizeof(answer); length++)
		assert_true(answer_targets(answer, length, targets, &ttl_s) < 0);
	for (size_t at = 0; at < sizeof(answer); at++)
		for (unsigned value = 0; value < 256; value++) {
			memcpy(changed, answer, sizeof(answer));
			changed[at] = (uint8_t)value;
			assert_true(answer_targets(changed, sizeof(changed), targets, &ttl_s) <=
				    ANSWER_TARGETS_MAX);
			answer_addresses(changed, sizeof(changed), 6, count_address, &count,
					 &ttl_s);
		}
	assert_int_equal(count, 0);
}

/* An answer with SRV records of these priorities, each of another target; its length. */
static int answer_of(const uint16_t *priorities, unsigned count, uint8_t *ret)
{
	uint8_t *at = ret;

	memcpy(at, "\0\1\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\x21\0\1", 19);
	ret[6] = (uint8_t)(count >> 8);
	ret[7] = (uint8_t)count;
	at += 19;
	for (unsigned i = 0; i < count; i++) {
		memcpy(at, "\xc0\x0c\0\x21\0\1\0\0\0\5\0\x0b", 12);
		at += 12;
		*at++ = (uint8_t)(priorities[i] >> 8);
		*at++ = (uint8_t)priorities[i];
		memcpy(at, "\0\1\0\x50\3", 5);
		at += 5;
		*at++ = (uint8_t)('a' + i / 26);
		*at++ = (uint8_t)('a' + i % 26);
		*at++ = 'x';
		*at++ = 0;
	}
	return (int)(at - ret);
}

static unsigned count_rank(const struct answer_target *targets, int count, uint8_t rank)
{
	unsigned found = 0;

	for (int i = 0; i < count; i++)
		found += targets[i].rank == rank;
	return found;
}

static void priorities_become_ranks_of_which_eight_count(void **state)
{
	static const uint16_t priorities[] = {900, 7, 20, 7, 65535, 30, 40, 50, 60, 70, 80};
	struct answer_target targets[ANSWER_TARGETS_MAX];
	uint8_t answer[1024];
	uint32_t ttl_s;
	int length = answer_of(priorities, 11, answer);

	assert_int_equal(answer_targets(answer, length, targets, &ttl_s), 9);
	assert_int_equal(count_rank(targets, 9, 0), 2);
	for (uint8_t rank = 1; rank < 8; rank++)
		assert_int_equal(count_rank(targets, 9, rank), 1);
}

static void of_too_many_targets_those_of_the_first_priorities_stay(void **state)
{
	uint16_t priorities[ANSWER_TARGETS_MAX + 10];
	struct answer_target targets[ANSWER_TARGETS_MAX];
	uint8_t answer[4096];
	uint32_t ttl_s;
	int length;

	for (unsigned i = 0; i < ANSWER_TARGETS_MAX + 10; i++)
		priorities[i] = i < 20 ? 9 : i < 70 ? 3 : 1;
	length = answer_of(priorities, ANSWER_TARGETS_MAX + 10, answer);
	assert_int_equal(answer_targets(answer, length, targets, &ttl_s), ANSWER_TARGETS_MAX);
	assert_int_equal(count_rank(targets, ANSWER_TARGETS_MAX, 0), 4);
	assert_int_equal(count_rank(targets, ANSWER_TARGETS_MAX, 1), 50);
	assert_int_equal(count_rank(targets, ANSWER_TARGETS_MAX, 2), 10);
	for (unsigned i = 0; i < ANSWER_TARGETS_MAX + 10; i++)
		priorities[i] = 5;
	length = answer_of(priorities, ANSWER_TARGETS_MAX + 10, answer);
	assert_int_equal(answer_targets(answer, length, targets, &ttl_s), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_whole_list_is_taken),
	    cmocka_unit_test(a_message_is_as_long_as_it_says),
	    cmocka_unit_test(no_field_is_believed),
	    cmocka_unit_test(a_request_comes_back_as_it_was),
	    cmocka_unit_test(a_cut_or_changed_answer_is_refused_or_read),
	    cmocka_unit_test(priorities_become_ranks_of_which_eight_count),
	    cmocka_unit_test(of_too_many_targets_those_of_the_first_priorities_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
