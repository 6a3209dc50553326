/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/health/hole.c: which rounds of echoes show an MTU hole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "lbd/health/hole.h"

#define START 1000

static uint64_t now_ms;

static struct hole hole_of(uint16_t length)
{
	struct hole hole = {0};

	now_ms = START;
	hole_set_length(&hole, length);
	return hole;
}

/* The next round that is due, with a short echo if it is asked for. */
static void round_of(struct hole *hole, enum hole_answer of_long, enum hole_answer of_short)
{
	if (hole->due_ms > now_ms)
		now_ms = hole->due_ms;
	assert_true(hole_is_due(hole, now_ms));
	hole_take(hole, of_long, hole_wants_short(hole) ? of_short : HOLE_NOT_ASKED, now_ms);
}

static void answered(struct hole *hole)
{
	round_of(hole, HOLE_ANSWERED, HOLE_ANSWERED);
}

static void lost(struct hole *hole)
{
	round_of(hole, HOLE_SILENT, HOLE_ANSWERED);
}

static void silent(struct hole *hole)
{
	round_of(hole, HOLE_SILENT, HOLE_SILENT);
}

static void long_packets_alone_that_are_lost_three_times_are_a_hole(void **state)
{
	struct hole hole = hole_of(1480);

	lost(&hole);
	lost(&hole);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	assert_int_equal(now_ms, START); /* at once */
	lost(&hole);
	assert_int_equal(hole.state, HOLE_FOUND);
	assert_int_equal(hole.of, 1480);
	assert_false(hole_is_due(&hole, now_ms + HOLE_AGAIN_MS - 1));
	answered(&hole);
	assert_int_equal(hole.state, HOLE_NONE);
	assert_int_equal(now_ms, START + HOLE_AGAIN_MS);
}

static void one_that_is_answered_between_begins_the_count_anew(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < 10; i++) {
		lost(&hole);
		lost(&hole);
		assert_int_not_equal(hole.state, HOLE_FOUND);
		answered(&hole);
		assert_int_equal(hole.state, HOLE_NONE);
	}
}

/* A short one is sent only when there is doubt: what is lost alone may be one packet. */
static void a_loss_without_a_short_one_beside_it_does_not_count(void **state)
{
	struct hole hole = hole_of(1480);

	answered(&hole);
	assert_false(hole_wants_short(&hole));
	assert_false(hole_is_due(&hole, now_ms + HOLE_INTERVAL_MS - 1));
	lost(&hole);
	assert_true(hole_wants_short(&hole));
	lost(&hole);
	lost(&hole);
	assert_int_equal(hole.state, HOLE_NONE);
	assert_int_equal(now_ms, START + HOLE_INTERVAL_MS);
	lost(&hole);
	assert_int_equal(hole.state, HOLE_FOUND);
}

static void a_backend_that_answers_no_echo_is_asked_seldom(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		silent(&hole);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	assert_int_equal(now_ms, START);
	assert_false(hole_is_due(&hole, now_ms + HOLE_SILENT_MS - 1));
	silent(&hole);
	assert_int_equal(now_ms, START + HOLE_SILENT_MS);
	assert_false(hole_is_due(&hole, now_ms + HOLE_SILENT_MS - 1));
}

static void silence_is_no_loss(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < 10; i++) {
		lost(&hole);
		lost(&hole);
		silent(&hole);
		assert_int_equal(hole.state, HOLE_UNKNOWN);
	}
}

/* Its firewall may have been closed meanwhile. */
static void a_hole_ends_when_no_echo_is_answered_any_more(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		lost(&hole);
	silent(&hole);
	silent(&hole);
	assert_int_equal(hole.state, HOLE_FOUND);
	silent(&hole);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
}

static void a_round_that_could_not_be_had_changes_nothing(void **state)
{
	struct hole hole = hole_of(1480);

	lost(&hole);
	lost(&hole);
	round_of(&hole, HOLE_NOT_ASKED, HOLE_ANSWERED);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	assert_false(hole_is_due(&hole, now_ms + HOLE_INTERVAL_MS - 1));
	lost(&hole);
	assert_int_equal(hole.state, HOLE_FOUND);
	round_of(&hole, HOLE_NOT_ASKED, HOLE_ANSWERED);
	assert_int_equal(hole.state, HOLE_FOUND);
}

/* Such as a device of this host that takes no packets so long any more. */
static void a_hole_ends_when_no_round_can_be_had_any_more(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		lost(&hole);
	for (unsigned i = 0; i < 10; i++) {
		round_of(&hole, HOLE_NOT_ASKED, HOLE_ANSWERED);
		round_of(&hole, HOLE_NOT_ASKED, HOLE_ANSWERED);
		lost(&hole);
		assert_int_equal(hole.state, HOLE_FOUND);
	}
	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		round_of(&hole, HOLE_NOT_ASKED, HOLE_ANSWERED);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	lost(&hole);
	lost(&hole);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
}

/* A router has said "too big", or the operator has changed an MTU. */
static void another_length_is_tried_at_once_and_counted_anew(void **state)
{
	struct hole hole = hole_of(1480);

	lost(&hole);
	lost(&hole);
	hole_set_length(&hole, 1380);
	lost(&hole);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	answered(&hole);
	hole_set_length(&hole, 1280);
	assert_int_equal(hole.state, HOLE_NONE); /* as a longer one arrives */
	assert_true(hole_is_due(&hole, now_ms));
	answered(&hole);
	hole_set_length(&hole, 1480);
	assert_int_equal(hole.state, HOLE_UNKNOWN);
	assert_true(hole_is_due(&hole, now_ms));
}

static void a_hole_lasts_until_a_packet_of_another_length_has_passed(void **state)
{
	struct hole hole = hole_of(1480);

	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		lost(&hole);
	hole_set_length(&hole, 1380);
	assert_int_equal(hole.state, HOLE_FOUND);
	assert_int_equal(hole.of, 1480);
	answered(&hole);
	assert_int_equal(hole.state, HOLE_NONE);
}

static void where_there_are_no_long_packets_none_is_tried(void **state)
{
	struct hole hole = hole_of(0);

	assert_false(hole_is_due(&hole, UINT64_MAX));
	hole_set_length(&hole, 1480);
	for (unsigned i = 0; i < HOLE_ROUNDS; i++)
		lost(&hole);
	hole_set_length(&hole, 0); /* nothing would end it */
	assert_int_equal(hole.state, HOLE_UNKNOWN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(long_packets_alone_that_are_lost_three_times_are_a_hole),
	    cmocka_unit_test(one_that_is_answered_between_begins_the_count_anew),
	    cmocka_unit_test(a_loss_without_a_short_one_beside_it_does_not_count),
	    cmocka_unit_test(a_backend_that_answers_no_echo_is_asked_seldom),
	    cmocka_unit_test(silence_is_no_loss),
	    cmocka_unit_test(a_hole_ends_when_no_echo_is_answered_any_more),
	    cmocka_unit_test(a_round_that_could_not_be_had_changes_nothing),
	    cmocka_unit_test(a_hole_ends_when_no_round_can_be_had_any_more),
	    cmocka_unit_test(another_length_is_tried_at_once_and_counted_anew),
	    cmocka_unit_test(a_hole_lasts_until_a_packet_of_another_length_has_passed),
	    cmocka_unit_test(where_there_are_no_long_packets_none_is_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
