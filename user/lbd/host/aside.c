/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A thread for one call. It and the loop each hold a reference; who gives back the last one frees.
 */
#include "aside.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/clock.h"

#define STACK (1024 * 1024)

struct aside {
	STAILQ_ENTRY(aside) link; /* of those that wait */
	bool waits;
	bool told; /* that it is late */
	struct aside_options options;
	int returned; /* eventfd: the call has */
	struct event done, late;
	atomic_uint refs;
};

static atomic_uint under_way;
static STAILQ_HEAD(asides, aside) waiting = STAILQ_HEAD_INITIALIZER(waiting); /* the loop's */

static void unref(struct aside *aside)
{
	if (atomic_fetch_sub(&aside->refs, 1) != 1)
		return;
	close(aside->returned);
	aside->options.free(aside->options.arg);
	free(aside);
}

static void *run(void *arg)
{
	struct aside *aside = arg;
	const uint64_t one = 1;

	aside->options.call(aside->options.arg);
	atomic_fetch_sub(&under_way, 1);
	(void)!write(aside->returned, &one, sizeof(one));
	unref(aside);
	return NULL;
}

static void start_waiting(void);

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct aside *aside = arg;
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
	event_del(&aside->done);
	event_del(&aside->late);
	aside->options.done(aside->options.arg);
	unref(aside);
	start_waiting();
}

/* Whoever waits also looks whether there is room now: of calls that were dropped nobody hears that
 * they have returned, and a thread that could not be started may start now. */
static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct aside *aside = arg;
	const struct timeval again = clock_span_ms(aside->options.limit_ms);
	bool waits = aside->waits;

	if (waits)
		event_add(&aside->late, &again);
	if (!aside->told) {
		aside->told = true;
		aside->options.late(aside->options.arg); /* it may drop this one */
	}
	if (waits)
		start_waiting();
}

/* Without signals, which are the loop's. 0 or an error number. */
static int start_thread(struct aside *aside)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int rc = pthread_attr_init(&attributes);

	if (rc)
		return rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	rc = pthread_create(&thread, &attributes, run, aside);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return rc;
}

/* One that could not be started waits on, as the next may be luckier. */
static void start_waiting(void)
{
	struct aside *aside;

	while ((aside = STAILQ_FIRST(&waiting)) &&
	       atomic_load(&under_way) < ASIDE_MAX + aside->options.extra) {
		atomic_fetch_add(&under_way, 1);
		if (start_thread(aside)) {
			atomic_fetch_sub(&under_way, 1);
			return;
		}
		STAILQ_REMOVE_HEAD(&waiting, link);
		aside->waits = false;
	}
}

/* With two references. NULL, and errno. */
static struct aside *aside_new(const struct aside_options *options)
{
	struct aside *aside = calloc(1, sizeof(*aside));

	if (!aside)
		return NULL;
	aside->options = *options;
	aside->returned = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (aside->returned < 0) {
		free(aside);
		return NULL;
	}
	atomic_init(&aside->refs, 2);
	return aside;
}

struct aside *aside_start(const struct aside_options *options)
{
	const struct timeval limit = clock_span_ms(options->limit_ms);
	struct aside *aside = aside_new(options);

	if (!aside)
		return NULL;
	aside->waits = true;
	event_assign(&aside->done, options->base, aside->returned, EV_READ, on_done, aside);
	evtimer_assign(&aside->late, options->base, on_late, aside);
	event_add(&aside->done, NULL);
	event_add(&aside->late, &limit);
	if (options->extra)
		STAILQ_INSERT_HEAD(&waiting, aside, link);
	else
		STAILQ_INSERT_TAIL(&waiting, aside, link);
	start_waiting();
	return aside;
}

void aside_drop(struct aside *aside)
{
	if (!aside)
		return;
	event_del(&aside->done);
	event_del(&aside->late);
	if (aside->waits) {
		STAILQ_REMOVE(&waiting, aside, aside, link);
		unref(aside); /* the thread's */
	}
	unref(aside);
}

bool aside_waits(const struct aside *aside)
{
	return aside->waits;
}

static bool returns_within(const struct aside *aside, unsigned limit_ms)
{
	uint64_t now = clock_monotonic_ms(), until = now + limit_ms;
	struct pollfd returned = {.fd = aside->returned, .events = POLLIN};
	int rc;

	do {
		rc = poll(&returned, 1, (int)(until - now));
		now = clock_monotonic_ms();
	} while (rc < 0 && errno == EINTR && now < until);
	return rc > 0;
}

bool aside_finish(struct aside *aside, unsigned limit_ms)
{
	if (aside->waits || !returns_within(aside, limit_ms))
		return false;
	on_done(aside->returned, EV_READ, aside);
	return true;
}

/* It does not wait for its turn among the others: there is a limit to its time. */
static int start_now(struct aside *aside)
{
	int rc = -EAGAIN;

	if (atomic_fetch_add(&under_way, 1) < ASIDE_MAX + aside->options.extra)
		rc = -start_thread(aside);
	if (rc)
		atomic_fetch_sub(&under_way, 1);
	return rc;
}

int aside_within(const struct aside_options *options)
{
	struct aside *aside = aside_new(options);
	uint64_t count;
	int rc = aside ? start_now(aside) : -errno;

	if (rc) {
		if (aside)
			close(aside->returned);
		free(aside);
		return rc;
	}
	if (returns_within(aside, options->limit_ms)) {
		(void)!read(aside->returned, &count, sizeof(count));
		options->done(options->arg);
	} else {
		rc = -ETIMEDOUT;
	}
	unref(aside);
	return rc;
}
