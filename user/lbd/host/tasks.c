/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The thread of the tasks and the loop pass a turn between them. A thread, and not a second stack,
 * as debuggers and sanitizers know threads, and as a system call that waits needs one anyway. */
#include "tasks.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"
#include "loop.h"

#define TURN_US 3000
#define REST_MS 1 /* between two turns, at most: for events of less importance, too */

struct task {
	STAILQ_ENTRY(task) link;
	task_fn *run;
	void *arg;
};

enum holder { LOOP, TASKS };

struct tasks {
	struct event_base *base;
	struct event turn; /* the thread's next one is due */
	struct event idle; /* ... as the loop has nothing else to do */
	struct event back; /* `returned` is readable */
	int returned;      /* eventfd: the thread is back from task_wait */
	pthread_t thread;
	pthread_mutex_t lock; /* of holder; all else belongs to the holder */
	pthread_cond_t passed;
	enum holder holder;
	STAILQ_HEAD(task_queue, task) waiting;
	struct task *running; /* NULL: none has begun */
	bool away;            /* it is in task_wait, and needs no turn */
	bool in_a_hurry;      /* tasks_finish: no pauses */
	bool by_hand;         /* tasks_by_hand: turns come from tasks_turn alone */
	unsigned pauses;      /* that are none in this turn; by hand */
	bool ends;
	unsigned turn_us;
	uint64_t until_us; /* CLOCK_MONOTONIC: end of the present turn */
};

/* The tasks whose thread this is. */
static _Thread_local struct tasks *own;

/* ---- turns ---- */

static void pass_to(struct tasks *tasks, enum holder holder)
{
	pthread_mutex_lock(&tasks->lock);
	tasks->holder = holder;
	pthread_cond_broadcast(&tasks->passed);
	pthread_mutex_unlock(&tasks->lock);
}

static void wait_for_turn(struct tasks *tasks, enum holder holder)
{
	pthread_mutex_lock(&tasks->lock);
	while (tasks->holder != holder)
		pthread_cond_wait(&tasks->passed, &tasks->lock);
	pthread_mutex_unlock(&tasks->lock);
}

static bool needs_turn(const struct tasks *tasks)
{
	return tasks->running ? !tasks->away : !STAILQ_EMPTY(&tasks->waiting);
}

/* By the loop. */
static void give_turn(struct tasks *tasks)
{
	tasks->until_us = clock_monotonic_us() + tasks->turn_us;
	pass_to(tasks, TASKS);
	wait_for_turn(tasks, LOOP);
}

static void arm_turn(struct tasks *tasks)
{
	const struct timeval wait = clock_span_ms(tasks->running ? REST_MS : 0), now = {0};

	if (tasks->by_hand)
		return;
	/* otherwise the rest counts from the start of this turn of the loop */
	event_base_update_cache_time(tasks->base);
	event_add(&tasks->turn, &wait);
	event_add(&tasks->idle, &now);
}

static void disarm_turn(struct tasks *tasks)
{
	event_del(&tasks->turn);
	event_del(&tasks->idle);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct tasks *tasks = arg;

	disarm_turn(tasks);
	if (needs_turn(tasks))
		give_turn(tasks);
	if (needs_turn(tasks))
		arm_turn(tasks);
}

static void on_back(evutil_socket_t fd, short what, void *arg)
{
	struct tasks *tasks = arg;
	uint64_t count;

	if (read(tasks->returned, &count, sizeof(count)) != sizeof(count))
		return;
	tasks->away = false;
	on_turn(-1, 0, tasks);
}

/* ---- the thread ---- */

static void run_next(struct tasks *tasks)
{
	struct task *task = STAILQ_FIRST(&tasks->waiting);

	STAILQ_REMOVE_HEAD(&tasks->waiting, link);
	tasks->running = task;
	task->run(task->arg);
	tasks->running = NULL;
	free(task);
}

static void *thread_main(void *arg)
{
	struct tasks *tasks = own = arg;

	for (;;) {
		wait_for_turn(tasks, TASKS);
		if (tasks->ends)
			return NULL;
		if (!STAILQ_EMPTY(&tasks->waiting))
			run_next(tasks);
		pass_to(tasks, LOOP);
	}
}

static bool turn_is_over(struct tasks *tasks)
{
	if (!tasks->by_hand)
		return clock_monotonic_us() >= tasks->until_us;
	if (!tasks->pauses)
		return true;
	tasks->pauses--;
	return false;
}

void task_pause(void)
{
	struct tasks *tasks = own;
	int code = errno;

	if (!tasks || tasks->in_a_hurry || !turn_is_over(tasks))
		return;
	pass_to(tasks, LOOP);
	wait_for_turn(tasks, TASKS);
	errno = code;
}

static void report_back(const struct tasks *tasks)
{
	const uint64_t one = 1;

	while (write(tasks->returned, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void task_wait(task_fn *call, void *arg)
{
	struct tasks *tasks = own;

	if (!tasks) {
		call(arg);
		return;
	}
	if (tasks->by_hand) {
		task_pause();
		call(arg);
		task_pause();
		return;
	}
	tasks->away = true;
	pass_to(tasks, LOOP);
	call(arg);
	report_back(tasks);
	wait_for_turn(tasks, TASKS);
}

/* ---- from outside ---- */

int tasks_add(struct tasks *tasks, task_fn *run, void *arg)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return -ENOMEM;
	task->run = run;
	task->arg = arg;
	STAILQ_INSERT_TAIL(&tasks->waiting, task, link);
	if (!tasks->running)
		arm_turn(tasks);
	return 0;
}

void tasks_set_turn(struct tasks *tasks, unsigned us)
{
	tasks->turn_us = us;
}

void tasks_by_hand(struct tasks *tasks)
{
	tasks->by_hand = true;
}

bool tasks_running(const struct tasks *tasks)
{
	return tasks->running;
}

bool tasks_busy(const struct tasks *tasks)
{
	return needs_turn(tasks);
}

bool tasks_turn(struct tasks *tasks, unsigned pauses)
{
	tasks->pauses = pauses;
	if (needs_turn(tasks))
		give_turn(tasks);
	return needs_turn(tasks);
}

/* limit_ms: for what a task waits for; negative: none. */
static bool finish(struct tasks *tasks, int limit_ms)
{
	struct pollfd back = {.fd = tasks->returned, .events = POLLIN};
	int rc = 1;

	tasks->in_a_hurry = true;
	while (rc && (tasks->running || !STAILQ_EMPTY(&tasks->waiting))) {
		if (!tasks->away)
			give_turn(tasks);
		else if ((rc = poll(&back, 1, limit_ms)) > 0)
			on_back(-1, 0, tasks);
	}
	disarm_turn(tasks);
	tasks->in_a_hurry = false;
	return rc;
}

void tasks_finish(struct tasks *tasks)
{
	finish(tasks, -1);
}

bool tasks_finish_within(struct tasks *tasks, unsigned limit_ms)
{
	return finish(tasks, (int)limit_ms);
}

static int start_thread(struct tasks *tasks)
{
	sigset_t all, before;
	int rc;

	/* signals are for the loop */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&tasks->thread, NULL, thread_main, tasks);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int tasks_new(struct event_base *base, struct tasks **ret)
{
	struct tasks *tasks = calloc(1, sizeof(*tasks));
	int priority = loop_priority_in(base, LOOP_CONTROL), rc;

	if (!tasks)
		return -ENOMEM;
	tasks->base = base;
	tasks->turn_us = TURN_US;
	STAILQ_INIT(&tasks->waiting);
	pthread_mutex_init(&tasks->lock, NULL);
	pthread_cond_init(&tasks->passed, NULL);
	tasks->returned = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = tasks->returned < 0 ? -errno : start_thread(tasks);
	if (rc) {
		if (tasks->returned >= 0)
			close(tasks->returned);
		free(tasks);
		return rc;
	}
	/* More important, it would keep the control socket waiting until all tasks have ended; less
	 * important, a flood of requests would keep it waiting. */
	evtimer_assign(&tasks->turn, base, on_turn, tasks);
	event_priority_set(&tasks->turn, priority);
	evtimer_assign(&tasks->idle, base, on_turn, tasks);
	event_priority_set(&tasks->idle, loop_priority_in(base, LOOP_IDLE));
	event_assign(&tasks->back, base, tasks->returned, EV_READ | EV_PERSIST, on_back, tasks);
	event_priority_set(&tasks->back, priority);
	event_add(&tasks->back, NULL);
	*ret = tasks;
	return 0;
}

void tasks_free(struct tasks *tasks)
{
	if (!tasks)
		return;
	tasks->ends = true;
	pass_to(tasks, TASKS);
	pthread_join(tasks->thread, NULL);
	disarm_turn(tasks);
	event_del(&tasks->back);
	close(tasks->returned);
	pthread_cond_destroy(&tasks->passed);
	pthread_mutex_destroy(&tasks->lock);
	free(tasks);
}
