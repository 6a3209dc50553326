/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text from outside (names of interfaces and programs, values of a config, answers of servers) made
 * safe for a terminal and for a log. */
#ifndef LBD_PRINTABLE_H
#define LBD_PRINTABLE_H

#include <stdbool.h>

/* Replaces, in place, by one '?' each: control characters, also those of eight bits (C1, which some
 * terminals obey), characters that change the direction of text, and bytes that are not UTF-8.
 * keep_lines: line ends stay. */
void make_printable(char *text, bool keep_lines);

#endif
