/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An event loop in tests. */
#ifndef LBD_TEST_LOOP_H
#define LBD_TEST_LOOP_H

#include <event2/event.h>
#include <stdint.h>

/* Runs the loop for so long, whatever else ends it. */
void test_loop_run(struct event_base *base, uint64_t ms);

#endif
