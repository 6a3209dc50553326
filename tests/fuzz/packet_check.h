/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every byte of what the program sends: from the RFCs and docs/, without the program's code. A
 * promise that does not hold aborts. */
#ifndef LBD_FUZZ_PACKET_CHECK_H
#define LBD_FUZZ_PACKET_CHECK_H

#include "packet_model.h"

/* A forwarded packet; returns the index of the backend that it went to. */
int check_forwarded(const struct view *in, const struct expectation *expected, const uint8_t *out,
		    size_t length);
/* An answer: reason is one of those that send one. */
void check_answer(const struct view *in, const struct expectation *expected, int reason,
		  const uint8_t *out, size_t length);

/* Of what leaves, so many bytes are as expected. */
void check_same(const uint8_t *got, const uint8_t *expected, size_t length, const char *what);

#endif
