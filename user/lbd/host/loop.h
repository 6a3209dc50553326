/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The event loop and its priorities. Of the events that are ready the more important ones come
 * first, and after each few less important ones the loop looks for more important ones again. */
#ifndef LBD_LOOP_H
#define LBD_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

/* Lower is more important. libevent gives new events the middle one, LOOP_CORE: health checks,
 * netlink, timers of state. LOOP_BULK: metrics, and answers of many bytes on the control socket.
 * LOOP_IDLE: turns of tasks, when nothing else is ready. */
enum loop_priority { LOOP_WATCHDOG, LOOP_CORE = 3, LOOP_CONTROL, LOOP_BULK, LOOP_IDLE };
#define LOOP_PRIORITIES 7

/* NULL: out of memory. */
struct event_base *loop_new(void);
/* The priority for this base: one without priorities, as in tests, has only 0. */
int loop_priority_in(const struct event_base *base, enum loop_priority priority);

/* ---- work in slices ---- */

struct loop_work;

/* Does a small piece, much less than a ms. Before it returns false it stops, restarts or frees
 * the work. */
typedef bool loop_step(void *arg);

struct loop_work *loop_work_new(struct event_base *base, enum loop_priority priority,
				loop_step *step, void *arg);
void loop_work_free(struct loop_work *work); /* NULL is fine */
/* Calls step from later turns of the loop, in slices of about 2 ms, until it returns false.
 * after_ms: the wait before the first slice. */
void loop_work_start(struct loop_work *work, unsigned after_ms);
void loop_work_stop(struct loop_work *work);

#endif
