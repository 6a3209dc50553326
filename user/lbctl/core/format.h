/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers, times, colours and text for terminals, and the parsing of numbers and durations. */
#ifndef LBCTL_FORMAT_H
#define LBCTL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_TEXT 32 /* room for each of the formats below */

/* A count in at most six characters: 999, 12.3k, 1.20M, 45.6G. Steps of 1000. */
const char *format_count(uint64_t count, char text[FORMAT_TEXT]);
/* The same count with all its digits. */
const char *format_exact(uint64_t count, char text[FORMAT_TEXT]);
/* A size of `limits` as the config has it: 1M is 1048576, 1000 is 1000; "?" for 0 (unknown). */
const char *format_limit(uint64_t count, char text[FORMAT_TEXT]);
/* A rate: 0, 0.4, 12.5, 950, 12.3k. Negative values and NaN are shown as 0. */
const char *format_rate(double per_second, char text[FORMAT_TEXT]);
/* Bytes of memory or traffic, steps of 1024: 512 B, 1.5 KiB, 64.0 MiB. */
const char *format_bytes(uint64_t bytes, char text[FORMAT_TEXT]);
/* 45s, 12m, 3h12m, 5d2h. */
const char *format_duration(uint64_t seconds, char text[FORMAT_TEXT]);
/* A duration in one unit, for columns: 45s, 12m, 3h, 5d. */
const char *format_age(uint64_t seconds, char text[FORMAT_TEXT]);
/* 340us, 1.2ms, 2.5s; "-" for 0 (unknown). */
const char *format_latency(uint64_t microseconds, char text[FORMAT_TEXT]);
/* A share of 0 to 1: 99.95%, rounded down, so that 100% means all of it; "-" below 0 (unknown). */
const char *format_share(double share, char text[FORMAT_TEXT]);
/* "19.9", the percentage of part in all; "-" if all is 0 */
const char *format_percent(uint64_t part, uint64_t all, char text[FORMAT_TEXT]);
/* "1 backend", "2 backends" */
const char *format_plural(uint64_t count, const char *noun, char text[64]);
/* ADDRESS:PORT/PROTOCOL, with brackets for IPv6; port 0 is "any"; protocol may be "". */
const char *format_endpoint(const char *address, uint64_t port, const char *protocol,
			    char text[96]);

/* As duration_parse; a bare number is seconds. 0, or -EINVAL; -ERANGE above a year. */
int parse_duration(const char *text, uint64_t *ret_ms);
bool is_duration(const char *text);
/* Only decimal digits, min to max. 0, -EINVAL, or -ERANGE. */
int parse_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* ---- colours ---- */

enum tone {
	TONE_PLAIN,
	TONE_GOOD,
	TONE_WARN,
	TONE_BAD,
	TONE_DIM,
	TONE_BOLD,
	TONE_ACCENT, /* labels, and what belongs to a name */
	TONE_TITLES, /* the line of column titles */
	TONE_SORTED, /* the title of the column that the rows are sorted by */
	TONE_KEY,    /* of the keyboard */
	TONE_ALARM,  /* a line that must not be overlooked */
	TONE_COUNT
};

/* The tone of a backend's condition or a service's status: up is good, down is bad, transitions and
 * degraded states are warnings. */
enum tone format_tone(const char *condition);
/* Of a share that should be 0. */
enum tone format_fail_tone(uint64_t part, uint64_t all);
/* Does the environment set NO_COLOR (no-color.org)? */
bool format_no_color(void);
/* True on a terminal without NO_COLOR and with a TERM that is not "dumb". */
bool format_coloured(FILE *out);
/* The escape sequence that starts a tone, "" without colour. TONE_PLAIN resets it. */
const char *format_escape(enum tone tone, bool coloured);
/* Columns of the terminal; 0 if out is not a terminal. */
unsigned format_columns(FILE *out);
unsigned format_rows(FILE *out); /* and its rows */
/* "15:04:05" of CLOCK_REALTIME in ms, local time. */
const char *format_clock(uint64_t wall_ms, char text[FORMAT_TEXT]);

/* ---- text ---- */

/* Does the locale take UTF-8? */
bool text_is_utf8(void);
/* Width of a UTF-8 text in columns. */
unsigned text_width(const char *text);
/* Length in bytes of the longest prefix that fits in this many columns. */
size_t text_head(const char *text, unsigned columns);

enum text_cut {
	CUT_MIDDLE, /* names: their ends tell them apart */
	CUT_END,    /* sentences */
};

/* text in at most this many columns. What is cut out is shown as an ellipsis of one column: "~"
 * where the locale has no other. */
const char *text_fit(const char *text, unsigned columns, enum text_cut cut, char *ret, size_t size);
/* Control characters become "?", so that no text from lbd can control the terminal. */
char text_printable(char c);
void text_put(FILE *out, const char *text);
void text_put_bytes(FILE *out, const char *text, size_t length);
/* Writes text broken at spaces into lines of at most `columns` (0: no breaks), with a newline at
 * the end; a number stays with the word after it. The first line starts at `column`; the others are
 * indented. */
void text_wrap(FILE *out, const char *text, unsigned column, unsigned indent, unsigned columns);

#endif
