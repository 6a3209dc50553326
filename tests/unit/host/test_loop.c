/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/host/loop.c: priorities, and work in slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/host/loop.h"

#define FACES 500

static struct event_base *base;
static unsigned order, core_at, served;

static void on_core(evutil_socket_t fd, short what, void *arg)
{
	core_at = ++order;
}

static void on_face(evutil_socket_t fd, short what, void *arg)
{
	struct event *core = arg;

	order++;
	if (!served++)
		event_active(core, EV_READ, 0);
}

static void new_events_are_more_important_than_faces(void **unused)
{
	struct event *core = event_new(base, -1, 0, on_core, NULL);

	assert_int_equal(event_base_get_npriorities(base), LOOP_PRIORITIES);
	assert_int_equal(event_get_priority(core), LOOP_CORE);
	event_free(core);
}

/* Hundreds of ready faces: the core's event, which becomes ready after the first, is not last. */
static void core_event_comes_before_the_faces_that_were_ready_first(void **unused)
{
	struct event *core = event_new(base, -1, 0, on_core, NULL), *faces[FACES];

	order = core_at = served = 0;
	for (unsigned i = 0; i < FACES; i++) {
		faces[i] = event_new(base, -1, 0, on_face, core);
		event_priority_set(faces[i], LOOP_BULK);
		event_active(faces[i], EV_READ, 0);
	}
	while (served < FACES)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(core_at, 2);
	for (unsigned i = 0; i < FACES; i++)
		event_free(faces[i]);
	event_free(core);
}

/* ---- work ---- */

struct job {
	struct loop_work *work;
	unsigned steps, left;
};

static bool on_step(void *arg)
{
	struct job *job = arg;
	uint64_t until = clock_monotonic_us() + 500;

	while (clock_monotonic_us() < until)
		;
	job->steps++;
	if (--job->left)
		return true;
	loop_work_free(job->work);
	job->work = NULL;
	return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct job *job = arg;

	if (job->work)
		core_at++;
}

static void long_work_lets_other_events_through(void **unused)
{
	const struct timeval soon = {.tv_usec = 1000};
	struct job job = {.left = 200};
	struct event *tick = event_new(base, -1, EV_PERSIST, on_tick, &job);

	core_at = 0;
	job.work = loop_work_new(base, LOOP_BULK, on_step, &job);
	loop_work_start(job.work, 0);
	event_add(tick, &soon);
	while (job.work)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(job.steps, 200);
	assert_true(core_at >= 2); /* once would also be seen after one long turn */
	event_free(tick);
}

static bool on_only_step(void *arg)
{
	unsigned *steps = arg;

	++*steps;
	return true;
}

static void stopped_work_takes_no_further_step(void **unused)
{
	unsigned steps = 0;
	struct loop_work *work = loop_work_new(base, LOOP_CONTROL, on_only_step, &steps);

	loop_work_start(work, 0);
	loop_work_stop(work);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(steps, 0);
	loop_work_free(work);
}

static int set_up(void **unused)
{
	base = loop_new();
	return !base;
}

static int tear_down(void **unused)
{
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(new_events_are_more_important_than_faces),
	    cmocka_unit_test(core_event_comes_before_the_faces_that_were_ready_first),
	    cmocka_unit_test(long_work_lets_other_events_through),
	    cmocka_unit_test(stopped_work_takes_no_further_step),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
