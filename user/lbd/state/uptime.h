/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The availability of services: for how much of the last hour, day and 30 days each had a usable
 * backend, and how many of its connects in the sample were answered. Time in which nobody looked
 * (lbd did not run, was stopped, or was blind) does not count. Kept over restarts in a file of
 * text. */
#ifndef LBD_UPTIME_H
#define LBD_UPTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define UPTIME_KEY 80 /* bytes of a service's key, with the NUL */

enum uptime_window { UPTIME_HOUR, UPTIME_DAY, UPTIME_MONTH, UPTIME_WINDOWS };

/* "1h", "24h", "30d". */
extern const char *const uptime_window_names[UPTIME_WINDOWS];

struct uptime;  /* of one service */
struct uptimes; /* of all, also of those that are gone */

struct uptime_share {
	uint64_t up_ms, seen_ms;       /* seen_ms 0: nothing is known */
	uint64_t answered, unanswered; /* connects in the sample */
};

struct uptimes *uptimes_new(void);          /* NULL: out of memory */
void uptimes_free(struct uptimes *uptimes); /* NULL is fine */
/* That of the service with this key, made if there is none. It lives until uptimes_tidy drops it.
 * NULL: out of memory. */
struct uptime *uptimes_get(struct uptimes *uptimes, const char *key);
/* The next uptimes_tidy keeps it. */
void uptime_use(struct uptime *uptime);
/* Drops those that are not used and of which nothing was seen in the last 30 days, and of the
 * others that are not used all but UPTIMES_UNUSED_MAX, which were seen last. Without memory for
 * that it drops nothing. */
#define UPTIMES_UNUSED_MAX 4096
void uptimes_tidy(struct uptimes *uptimes, uint64_t wall_ms);

/* The service was up, or down, for span_ms until wall_ms (CLOCK_REALTIME). */
void uptime_add(struct uptime *uptime, uint64_t wall_ms, uint32_t span_ms, bool up);
/* So many connects were answered, or not, just before wall_ms. */
void uptime_add_connects(struct uptime *uptime, uint64_t wall_ms, uint64_t answered,
			 uint64_t unanswered);
/* wall_ms: now. The present minute (hour, day) is the last of the window. */
struct uptime_share uptime_share(const struct uptime *uptime, enum uptime_window window,
				 uint64_t wall_ms);
/* The times of each minute (hour, day) of the window, the oldest first. Returns how many. */
#define UPTIME_SPANS_MAX 60
unsigned uptime_spans(const struct uptime *uptime, enum uptime_window window, uint64_t wall_ms,
		      struct uptime_share ret[UPTIME_SPANS_MAX]);
/* The times since uptimes_new. */
struct uptime_share uptime_total(const struct uptime *uptime);

/* Adds what the file says. 0, also if there is no file, or -errno with err: -EINVAL names the line
 * that is no record of this kind; then some may have been added. */
int uptimes_load(struct uptimes *uptimes, const char *path, struct error *err);
/* The text of the file, without those of which nothing was seen in the last 30 days. NULL: out of
 * memory; otherwise the caller's to free. */
char *uptimes_text(const struct uptimes *uptimes, uint64_t wall_ms);

#endif
