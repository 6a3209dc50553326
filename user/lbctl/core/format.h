/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers, times and colours for human eyes, and the way back: durations and weights as people
 * type them. Pure but for format_colour. */
#ifndef LBCTL_FORMAT_H
#define LBCTL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_TEXT 32 /* room for each of the formats below */

/* A count in at most six characters: 999, 12.3k, 1.20M, 45.6G. Steps of 1000. */
const char *format_count(uint64_t count, char text[FORMAT_TEXT]);
/* The same of a rate: 0, 0.4, 12.5, 950, 12.3k. Negative and NaN read 0. */
const char *format_rate(double per_second, char text[FORMAT_TEXT]);
/* Bytes of memory or traffic, steps of 1024: 512 B, 1.5 KiB, 64.0 MiB. */
const char *format_bytes(uint64_t bytes, char text[FORMAT_TEXT]);
/* 45 s, 12 min, 3 h 12 min, 5 d 2 h. */
const char *format_duration(uint64_t seconds, char text[FORMAT_TEXT]);
/* The same in one unit, for columns: 45 s, 12 min, 3 h, 5 d. */
const char *format_age(uint64_t seconds, char text[FORMAT_TEXT]);
/* 340 us, 1.2 ms, 2.5 s; "-" for 0 (unknown). */
const char *format_latency(uint64_t microseconds, char text[FORMAT_TEXT]);
/* "1 backend", "2 backends" */
const char *format_plural(uint64_t count, const char *noun, char text[64]);
/* ADDRESS:PORT, with brackets for IPv6; port 0 is "any". protocol is appended as "/tcp" unless
 * empty. */
const char *format_endpoint(const char *address, uint64_t port, const char *protocol,
			    char text[96]);

/* "90" (seconds), "500ms", "60s", "5m", "2h", "1d". 0, or -EINVAL; -ERANGE above a year. */
int parse_duration(const char *text, uint64_t *ret_ms);
/* Decimal digits alone, min..max. 0, -EINVAL, or -ERANGE. */
int parse_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* ---- colours ---- */

enum tone {
	TONE_PLAIN,
	TONE_GOOD,
	TONE_WARN,
	TONE_BAD,
	TONE_DIM,
	TONE_BOLD,
	TONE_REVERSE,
	TONE_COUNT
};

/* Of a backend's condition or a service's status: up is good, down is bad, what is on its way is a
 * warning. */
enum tone format_tone(const char *condition);
/* True on a terminal without NO_COLOR (no-color.org) and with a TERM that is not "dumb". */
bool format_coloured(FILE *out);
/* The escape sequence that begins a tone; "" without colour. TONE_PLAIN ends it. */
const char *format_escape(enum tone tone, bool coloured);
/* Columns of the terminal that out is; 0 when it is none. */
unsigned format_columns(FILE *out);

/* ---- text ---- */

/* Columns that a UTF-8 text takes. */
unsigned text_width(const char *text);
/* Bytes of the longest head that fits in so many columns. */
size_t text_head(const char *text, unsigned columns);
/* Writes text to out with control characters replaced by "?", so that no server's message can drive
 * the terminal. */
void text_put(FILE *out, const char *text);
/* Writes text broken at spaces so that no line passes `columns`; lines after the first are
 * indented. column says where the first one starts. Ends with a newline. columns 0: no breaks. */
void text_wrap(FILE *out, const char *text, unsigned column, unsigned indent, unsigned columns);

#endif
