/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* When long work is done: as a task, one after the other; and when the present world is committed
 * next: in the next turn of the loop, or after a rest. */
#include "internal.h"

#include "common/clock.h"

#define COMMIT_REST_TIMES  9 /* times the duration of the last commit */
#define COMMIT_REST_MAX_US 200000

int state_do(const struct state *state, task_fn *run, void *arg)
{
	if (state->options.tasks)
		return tasks_add(state->options.tasks, run, arg);
	run(arg);
	return 0;
}

void state_arm(struct event *event, uint64_t us)
{
	const struct timeval in = clock_span_us(us);

	event_add(event, &in);
}

void state_touch(struct state *state)
{
	uint64_t now = clock_monotonic_us();

	if (!event_pending(state->commit, EV_TIMEOUT, NULL))
		state_arm(state->commit,
			  state->rest_until_us > now ? state->rest_until_us - now : 0);
}

/* Thousands of probes may change something in every turn of the loop. The rest limits commits to a
 * tenth of the time, as long as one takes less than 22 ms. */
void state_rest(struct state *state, uint64_t start_us)
{
	uint64_t end = clock_monotonic_us(), rest = (end - start_us) * COMMIT_REST_TIMES;

	state->rest_until_us = end + (rest < COMMIT_REST_MAX_US ? rest : COMMIT_REST_MAX_US);
}
