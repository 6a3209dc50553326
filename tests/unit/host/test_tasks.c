/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/host/tasks.c: long work in turns with the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/host/loop.h"
#include "lbd/host/tasks.h"

#define PATIENCE_MS 60000 /* what takes longer hangs */

static struct event_base *base;
static struct tasks *tasks;

static int set_up(void **unused)
{
	base = loop_new();
	return tasks_new(base, &tasks);
}

static int tear_down(void **unused)
{
	tasks_finish(tasks);
	tasks_free(tasks);
	event_base_free(base);
	libevent_global_shutdown();
	return 0;
}

static void run_until(const bool *done)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (!*done && clock_monotonic_ms() < end)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(*done);
}

/* ---- order ---- */

static unsigned order[3], ended;
static bool all_ended;

static void note(void *arg)
{
	order[ended++] = *(const unsigned *)arg;
	all_ended = ended == 3;
}

static void tasks_run_one_after_the_other(void **unused)
{
	static const unsigned numbers[] = {7, 8, 9};

	ended = 0;
	all_ended = false;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(tasks_add(tasks, note, (void *)&numbers[i]), 0);
	assert_int_equal(ended, 0);
	run_until(&all_ended);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(order[i], numbers[i]);
}

static void add_others(void *arg)
{
	static const unsigned numbers[] = {1, 2, 3};

	for (unsigned i = 0; i < 3; i++)
		tasks_add(tasks, note, (void *)&numbers[i]);
}

static void a_task_may_add_others(void **unused)
{
	ended = 0;
	all_ended = false;
	assert_int_equal(tasks_add(tasks, add_others, NULL), 0);
	run_until(&all_ended);
	assert_int_equal(order[2], 3);
}

/* ---- turns ---- */

struct turns {
	bool inside; /* the task has the turn */
	unsigned events, events_inside;
	bool task_ended;
};

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct turns *turns = arg;

	turns->events++;
	turns->events_inside += turns->inside;
}

/* Ends when the loop has handled events. */
static void work_until_events(void *arg)
{
	struct turns *turns = arg;
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (*(volatile unsigned *)&turns->events < 5 && clock_monotonic_ms() < end) {
		turns->inside = true;
		for (unsigned i = 0; i < 1000; i++)
			__asm__ volatile("");
		turns->inside = false;
		task_pause();
	}
	turns->task_ended = true;
}

static void events_are_handled_between_the_turns_of_a_task_and_never_within(void **unused)
{
	const struct timeval soon = clock_span_ms(1);
	struct turns turns = {0};
	struct event *event = event_new(base, -1, EV_PERSIST, on_event, &turns);

	event_add(event, &soon);
	assert_int_equal(tasks_add(tasks, work_until_events, &turns), 0);
	run_until(&turns.task_ended);
	event_free(event);
	assert_true(turns.events >= 5);
	assert_int_equal(turns.events_inside, 0);
}

static void on_low(evutil_socket_t fd, short what, void *arg)
{
	((struct turns *)arg)->events++;
}

/* Metrics have the lowest priority. */
static void the_least_important_events_are_handled_too(void **unused)
{
	const struct timeval soon = clock_span_ms(1);
	struct turns turns = {0};
	struct event *event = event_new(base, -1, EV_PERSIST, on_low, &turns);

	event_priority_set(event, LOOP_BULK);
	event_add(event, &soon);
	assert_int_equal(tasks_add(tasks, work_until_events, &turns), 0);
	run_until(&turns.task_ended);
	event_free(event);
	assert_true(turns.events >= 5);
}

#define TURNS 100

static void pause_often(void *arg)
{
	for (unsigned i = 0; i < TURNS; i++)
		task_pause();
	*(bool *)arg = true;
}

/* As often as the loop is asked whether anything is ready, which never waits. */
static void a_loop_with_nothing_else_to_do_gives_turns_without_a_rest(void **unused)
{
	bool done = false;

	tasks_set_turn(tasks, 0);
	assert_int_equal(tasks_add(tasks, pause_often, &done), 0);
	for (unsigned i = 0; i < TURNS + 2; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_true(done);
}

/* ---- waits ---- */

struct waits {
	int pipe[2];
	char byte;
	bool task_ended;
};

static void read_byte(void *arg)
{
	struct waits *waits = arg;

	if (read(waits->pipe[0], &waits->byte, 1) != 1)
		waits->byte = '!';
}

static void wait_for_byte(void *arg)
{
	struct waits *waits = arg;

	task_wait(read_byte, waits);
	waits->task_ended = true;
}

static void write_byte(evutil_socket_t fd, short what, void *arg)
{
	if (write(((struct waits *)arg)->pipe[1], "x", 1) != 1)
		abort();
}

static void the_loop_goes_on_while_a_task_waits(void **unused)
{
	const struct timeval soon = clock_span_ms(20);
	struct waits waits = {0};

	assert_int_equal(pipe(waits.pipe), 0);
	struct event *writer = evtimer_new(base, write_byte, &waits);
	event_add(writer, &soon);
	assert_int_equal(tasks_add(tasks, wait_for_byte, &waits), 0);
	run_until(&waits.task_ended);
	event_free(writer);
	assert_int_equal(waits.byte, 'x');
	close(waits.pipe[0]);
	close(waits.pipe[1]);
}

static void work_wait_work(void *arg)
{
	struct waits *waits = arg;

	for (unsigned i = 0; i < 100; i++)
		task_pause();
	task_wait(read_byte, waits);
	for (unsigned i = 0; i < 100; i++)
		task_pause();
	waits->task_ended = true;
}

static void finish_runs_what_has_begun_and_what_waits_to_its_end(void **unused)
{
	struct waits waits[2] = {0};

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pipe(waits[i].pipe), 0);
		write_byte(-1, 0, &waits[i]);
		assert_int_equal(tasks_add(tasks, work_wait_work, &waits[i]), 0);
	}
	event_base_loop(base, EVLOOP_ONCE);
	tasks_finish(tasks);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(waits[i].task_ended);
		assert_int_equal(waits[i].byte, 'x');
		close(waits[i].pipe[0]);
		close(waits[i].pipe[1]);
	}
}

/* A disk does not answer: whoever ends leaves it behind. */
static void finish_within_a_limit_leaves_what_does_not_return(void **unused)
{
	struct waits waits = {0};

	assert_int_equal(pipe(waits.pipe), 0);
	assert_int_equal(tasks_add(tasks, work_wait_work, &waits), 0);
	assert_false(tasks_finish_within(tasks, 20));
	assert_false(waits.task_ended);
	write_byte(-1, 0, &waits);
	assert_true(tasks_finish_within(tasks, PATIENCE_MS));
	assert_true(waits.task_ended);
	assert_int_equal(waits.byte, 'x');
	close(waits.pipe[0]);
	close(waits.pipe[1]);
}

static void what_is_no_task_neither_pauses_nor_needs_the_loop(void **unused)
{
	struct waits waits = {0};

	assert_int_equal(pipe(waits.pipe), 0);
	write_byte(-1, 0, &waits);
	task_pause();
	task_wait(read_byte, &waits);
	assert_int_equal(waits.byte, 'x');
	close(waits.pipe[0]);
	close(waits.pipe[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- by hand ---- */

static unsigned steps;

static void count_step(void *unused)
{
	steps++;
}

static void pause_and_wait(void *unused)
{
	steps++;
	task_pause();
	steps++;
	task_wait(count_step, NULL);
	steps++;
}

static void by_hand_each_pause_is_one_turn_and_the_clock_gives_none(void **unused)
{
	static const unsigned expected[] = {1, 2, 3};

	steps = 0;
	tasks_by_hand(tasks);
	assert_int_equal(tasks_add(tasks, pause_and_wait, NULL), 0);
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(steps, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(tasks_turn(tasks, 0));
		assert_int_equal(steps, expected[i]);
	}
	assert_false(tasks_turn(tasks, 0));
	assert_int_equal(steps, 4);
	assert_int_equal(tasks_add(tasks, pause_and_wait, NULL), 0);
	assert_true(tasks_turn(tasks, 2));
	assert_int_equal(steps, 7);
	assert_false(tasks_turn(tasks, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(tasks_run_one_after_the_other),
	    TEST(a_task_may_add_others),
	    TEST(events_are_handled_between_the_turns_of_a_task_and_never_within),
	    TEST(the_least_important_events_are_handled_too),
	    TEST(a_loop_with_nothing_else_to_do_gives_turns_without_a_rest),
	    TEST(the_loop_goes_on_while_a_task_waits),
	    TEST(finish_runs_what_has_begun_and_what_waits_to_its_end),
	    TEST(finish_within_a_limit_leaves_what_does_not_return),
	    TEST(what_is_no_task_neither_pauses_nor_needs_the_loop),
	    TEST(by_hand_each_pause_is_one_turn_and_the_clock_gives_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
