/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/host/aside.c: calls that do not return, those that wait for them, and those that nobody
 * wants to hear of any more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/host/aside.h"
#include "lbd/host/loop.h"

#define PATIENCE_MS 20000
#define LIMIT_MS    50

static struct event_base *base;
static int gate[2]; /* a call returns once it has read a byte, or the other end is closed */
static int freed[2];
static unsigned done, late;

static void wait_at_gate(void *arg)
{
	char byte;

	(void)!read(gate[0], &byte, 1);
}

static void return_at_once(void *arg)
{
}

static void on_done(void *arg)
{
	done++;
}

static void on_late(void *arg)
{
	late++;
}

/* In any thread. */
static void on_free(void *arg)
{
	assert_int_equal(write(freed[1], "", 1), 1);
}

static struct aside *start(void (*call)(void *))
{
	const struct aside_options options = {.base = base,
					      .call = call,
					      .done = on_done,
					      .late = on_late,
					      .limit_ms = LIMIT_MS,
					      .free = on_free};
	struct aside *aside = aside_start(&options);

	assert_non_null(aside);
	return aside;
}

static void wait_until(const unsigned *count, unsigned value)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (*count < value) {
		assert_true(clock_monotonic_ms() < until);
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

static void wait_for_freed(unsigned count)
{
	char byte;

	while (count--)
		assert_int_equal(read(freed[0], &byte, 1), 1);
}

static void a_call_that_returns_is_done(void **unused)
{
	start(return_at_once);
	wait_until(&done, 1);
	wait_for_freed(1);
	close(gate[1]);
}

static void one_that_does_not_return_is_late_once_and_done_when_it_does(void **unused)
{
	uint64_t until;

	start(wait_at_gate);
	wait_until(&late, 1);
	until = clock_monotonic_ms() + 3 * LIMIT_MS;
	while (clock_monotonic_ms() < until)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(late, 1);
	assert_int_equal(done, 0);
	close(gate[1]);
	wait_until(&done, 1);
	wait_for_freed(1);
}

static void fill(struct aside *all[ASIDE_MAX])
{
	for (unsigned i = 0; i < ASIDE_MAX; i++) {
		all[i] = start(wait_at_gate);
		assert_false(aside_waits(all[i]));
	}
}

static void more_than_may_be_under_way_wait_and_may_be_dropped(void **unused)
{
	struct aside *all[ASIDE_MAX], *last, *dropped;

	fill(all);
	dropped = start(return_at_once);
	last = start(return_at_once);
	assert_true(aside_waits(dropped) && aside_waits(last));
	aside_drop(dropped);
	wait_for_freed(1);
	close(gate[1]);
	wait_until(&done, ASIDE_MAX + 1);
	wait_for_freed(ASIDE_MAX + 1);
}

/* The calls that fill all places do not return: this one has one of its own. */
static void one_with_a_place_of_its_own_waits_for_no_other(void **unused)
{
	struct aside_options options = {.base = base,
					.call = return_at_once,
					.done = on_done,
					.late = on_late,
					.limit_ms = PATIENCE_MS,
					.extra = 1,
					.free = on_free};
	struct aside *all[ASIDE_MAX], *other;

	fill(all);
	other = start(return_at_once);
	assert_true(aside_waits(other));
	assert_non_null(aside_start(&options));
	wait_until(&done, 1);
	assert_true(aside_waits(other));
	assert_int_equal(done, 1);
	wait_for_freed(1);
	close(gate[1]);
	wait_until(&done, ASIDE_MAX + 2);
	wait_for_freed(ASIDE_MAX + 1);
}

/* As after a reload that names other files: nobody is told that the former calls have returned. */
static void one_that_waits_begins_when_those_that_were_dropped_have_returned(void **unused)
{
	struct aside *all[ASIDE_MAX];

	fill(all);
	assert_true(aside_waits(start(return_at_once)));
	for (unsigned i = 0; i < ASIDE_MAX; i++)
		aside_drop(all[i]);
	close(gate[1]);
	wait_for_freed(ASIDE_MAX);
	wait_until(&done, 1);
	assert_int_equal(done, 1);
	assert_true(late <= 1);
	wait_for_freed(1);
}

/* ---- without the loop ---- */

static void one_that_has_returned_is_done_without_the_loop(void **unused)
{
	struct aside *aside = start(return_at_once);

	assert_true(aside_finish(aside, PATIENCE_MS));
	assert_int_equal(done, 1);
	wait_for_freed(1);
	close(gate[1]);
}

static void one_that_does_not_return_goes_on_after_the_limit(void **unused)
{
	struct aside *aside = start(wait_at_gate);

	assert_false(aside_finish(aside, LIMIT_MS));
	assert_int_equal(done, 0);
	close(gate[1]);
	wait_until(&done, 1);
	wait_for_freed(1);
}

static int call_within(void (*call)(void *), unsigned limit_ms)
{
	const struct aside_options options = {
	    .call = call, .done = on_done, .limit_ms = limit_ms, .free = on_free};

	return aside_within(&options);
}

static void a_call_within_its_limit_is_done_before_it_is_over(void **unused)
{
	assert_int_equal(call_within(return_at_once, PATIENCE_MS), 0);
	assert_int_equal(done, 1);
	wait_for_freed(1);
	close(gate[1]);
}

static void of_one_that_takes_longer_nobody_hears(void **unused)
{
	assert_int_equal(call_within(wait_at_gate, LIMIT_MS), -ETIMEDOUT);
	close(gate[1]);
	wait_for_freed(1);
	assert_int_equal(done, 0);
}

/* arg stays the caller's: it is not freed. */
static void a_call_that_finds_no_room_is_not_made(void **unused)
{
	struct aside *all[ASIDE_MAX];

	fill(all);
	assert_int_equal(call_within(return_at_once, PATIENCE_MS), -EAGAIN);
	assert_int_equal(done, 0);
	for (unsigned i = 0; i < ASIDE_MAX; i++)
		aside_drop(all[i]);
	close(gate[1]);
	wait_for_freed(ASIDE_MAX);
	while (call_within(return_at_once, PATIENCE_MS) == -EAGAIN)
		usleep(1000); /* the last ones are about to end */
	wait_for_freed(1);
}

static int set_up(void **unused)
{
	done = late = 0;
	return pipe(gate) || pipe(freed) || !(base = loop_new());
}

static int tear_down(void **unused)
{
	event_base_free(base);
	close(gate[0]);
	close(freed[0]);
	close(freed[1]);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_call_that_returns_is_done),
	    TEST(one_that_does_not_return_is_late_once_and_done_when_it_does),
	    TEST(more_than_may_be_under_way_wait_and_may_be_dropped),
	    TEST(one_with_a_place_of_its_own_waits_for_no_other),
	    TEST(one_that_waits_begins_when_those_that_were_dropped_have_returned),
	    TEST(one_that_has_returned_is_done_without_the_loop),
	    TEST(one_that_does_not_return_goes_on_after_the_limit),
	    TEST(a_call_within_its_limit_is_done_before_it_is_over),
	    TEST(of_one_that_takes_longer_nobody_hears),
	    TEST(a_call_that_finds_no_room_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
