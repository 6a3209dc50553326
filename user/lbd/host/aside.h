/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls what may never return, such as the read of a file on a file system over the network whose
 * server is gone: in a thread of its own, so that neither the loop nor a task waits for it, nor
 * the end of lbd. */
#ifndef LBD_ASIDE_H
#define LBD_ASIDE_H

#include <event2/event.h>
#include <stdbool.h>

#define ASIDE_MAX 64 /* calls at the same time; more wait */

struct aside;

struct aside_options {
	struct event_base *base;
	/* In the thread. It shares nothing with the rest of lbd but arg. */
	void (*call)(void *arg);
	/* From the loop, once the call has returned. The aside is over then. */
	void (*done)(void *arg);
	/* From the loop, once, if it has not returned limit_ms after aside_start. */
	void (*late)(void *arg);
	unsigned limit_ms;
	/* Beyond ASIDE_MAX, and before those that wait: for who calls one at a time, and does not
	 * ask the file systems that others hang in. */
	unsigned extra;
	/* Frees arg, in whatever thread is the last to have it: after `done`, or after aside_drop
	 * or -ETIMEDOUT and the return of the call. */
	void (*free)(void *arg);
	void *arg;
};

/* From the loop or a task. NULL: out of memory or descriptors; arg is still the caller's. */
struct aside *aside_start(const struct aside_options *options);
/* Nobody wants to know any more: neither `done` nor `late` is called. NULL is fine. */
void aside_drop(struct aside *aside);
/* Does it wait for others that do not return? */
bool aside_waits(const struct aside *aside);
/* Waits for it without the loop, at most limit_ms. True: it has returned, `done` was called, and
 * the aside is over. False: it goes on. */
bool aside_finish(struct aside *aside, unsigned limit_ms);
/* For who can wait, but not for ever, such as a task in task_wait: calls, and waits at most
 * limit_ms; `done` is called here. `base` and `late` are not needed. 0; -ETIMEDOUT: nobody hears of
 * it any more; otherwise -errno: it was not called, and arg is still the caller's. */
int aside_within(const struct aside_options *options);

#endif
