/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Durations as people write and read them, everywhere: "250ms", "90s", "1h30m". */
#ifndef COMMON_DURATION_H
#define COMMON_DURATION_H

#include <stdint.h>

#define DURATION_TEXT   24
#define DURATION_SYNTAX "a number and ms, s, m, h or d"

/* Numbers with ms, s, m (or min), h and d, larger units first. 0; -EINVAL; -ERANGE: does not fit;
 * -EDOM: a bare number other than 0, which is in *ret: its unit is the caller's to know. */
int duration_parse(const char *text, uint64_t *ret_ms);
/* In the largest unit that gives a whole number: 250ms, 90s, 90m, 2h, 1d; 0s. */
const char *duration_exact(uint64_t ms, char text[DURATION_TEXT]);
/* Rounded down, in one unit or two: 0s, 45s, 12m, 3h12m, 5d2h. */
const char *duration_about(uint64_t ms, char text[DURATION_TEXT]);
/* Of a measurement, three digits: 340us, 1.2ms, 2.5s. */
const char *duration_measured(uint64_t us, char text[DURATION_TEXT]);

#endif
