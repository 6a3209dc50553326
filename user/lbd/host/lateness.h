/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Measures how late the event loop is: a timer (the beat) is due every 50 ms, and the delay of each
 * is recorded. Long callbacks, a busy CPU and a stopped process all show. The meter itself has no
 * clock, for tests. */
#ifndef LBD_LATENESS_H
#define LBD_LATENESS_H

#include <event2/event.h>
#include <stdint.h>

#define LATENESS_BEAT_US 50000

/* Upper bounds of the histogram, us; one more bucket has no bound. */
#define LATENESS_BOUNDS                                                                      \
	{                                                                                    \
		1000, 5000, 20000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000 \
	}
#define LATENESS_BUCKETS 11

/* All times are of CLOCK_MONOTONIC, us. */
struct lateness_meter {
	uint64_t due_us;                    /* the next beat */
	uint64_t buckets[LATENESS_BUCKETS]; /* number of beats */
	uint64_t beats, sum_us, max_us;
	uint64_t minute_us;                      /* when the minute below began */
	uint64_t this_minute_us, last_minute_us; /* the longest delay of each */
};

void lateness_start(struct lateness_meter *meter, uint64_t now_us);
/* A beat has come. The next is due LATENESS_BEAT_US after now_us. */
void lateness_beat(struct lateness_meter *meter, uint64_t now_us);
/* All lateness since the start, us, including that of a beat that is overdue now. Never decreases.
 * Each period of lateness is measured up to LATENESS_BEAT_US too short, as it may begin between two
 * beats. */
uint64_t lateness_total(const struct lateness_meter *meter, uint64_t now_us);
/* The longest delay of the last one to two minutes, us. */
uint64_t lateness_recent(const struct lateness_meter *meter, uint64_t now_us);

/* ---- the meter of a loop ---- */

struct lateness;

/* 0 or -ENOMEM. The beat runs as long as the loop runs. */
int lateness_new(struct event_base *base, struct lateness **ret);
void lateness_free(struct lateness *lateness); /* NULL is fine */
const struct lateness_meter *lateness_meter(const struct lateness *lateness);

#endif
