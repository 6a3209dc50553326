/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Long work beside the events of the loop. Tasks run one after the other, on a thread that takes
 * turns with the loop: never do both run at the same time, so nothing needs a lock. A turn lasts
 * some ms; between two turns the loop handles events. */
#ifndef LBD_TASKS_H
#define LBD_TASKS_H

#include <event2/event.h>
#include <stdbool.h>

struct tasks;

typedef void task_fn(void *arg);

/* 0 or -errno. The thread lives until tasks_free. */
int tasks_new(struct event_base *base, struct tasks **ret);
/* Without tasks left (tasks_finish); NULL is fine. */
void tasks_free(struct tasks *tasks);
/* Runs it in later turns, after those that were added before. 0 or -ENOMEM. */
int tasks_add(struct tasks *tasks, task_fn *run, void *arg);
/* Runs all to their end, without the loop. */
void tasks_finish(struct tasks *tasks);
/* Waits at most so long for each task_wait. False: one has not returned; its thread has the tasks
 * and what they use from then on, for good: no tasks_free. */
bool tasks_finish_within(struct tasks *tasks, unsigned limit_ms);

/* Length of a turn; 3 ms at first. With 0 every pause is one. */
void tasks_set_turn(struct tasks *tasks, unsigned us);
/* For tests whose runs must not depend on the clock: turns come from tasks_turn alone, and what
 * task_wait calls runs in one of them. */
void tasks_by_hand(struct tasks *tasks);
/* Has a task begun that has not ended? */
bool tasks_running(const struct tasks *tasks);
/* Does a task need a turn? */
bool tasks_busy(const struct tasks *tasks);
/* Gives one turn, which goes on over so many pauses. True: a task needs another. */
bool tasks_turn(struct tasks *tasks, unsigned pauses);

/* Long work calls this at places where others may read what it changes: if it is a task whose turn
 * has lasted long enough, the loop runs in between. What is no task goes on. */
void task_pause(void);
/* Calls something that waits, such as a system call, and that shares no data with the loop or with
 * tasks. If this is a task, the loop runs meanwhile. */
void task_wait(task_fn *call, void *arg);

#endif
