/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An event of which only the text matters, and the log of a part of a test. */
#ifndef LBD_TEST_EVENTS_SAY_H
#define LBD_TEST_EVENTS_SAY_H

#include "common/log.h"
#include "lbd/events/events.h"
#include "support/test_log.h"

/* Else nothing is printed: some tests log thousands of lines. */
static inline void log_begin(struct test_log *log)
{
	log_set_level(LOG_INFO);
	test_log_begin(log);
}

static inline void log_end(struct test_log *log)
{
	test_log_end(log);
	log_set_level(LOG_EMERG);
}

static inline void say(const char *text)
{
	events_log(EVENT_backend_down, LOG_WARNING,
		   &(struct event_about){.service = "web", .backend = "10.0.0.1", .why = "refused"},
		   "%s", text);
}

#endif
