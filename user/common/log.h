/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Log lines on stderr; under systemd (JOURNAL_STREAM set) each with its priority (sd-daemon(3):
 * "<3>text"). A line is one line: control characters in it become '?' (printable.h). */
#ifndef LBD_LOG_H
#define LBD_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

/* Lines above this level are not printed; LOG_INFO at the start. */
extern int log_level;

void log_set_level(int level);
void log_print(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For a line that could come often: is the last one, at *last_ms, so long ago? It is now then.
 * CLOCK_MONOTONIC; 0: there was none. */
bool log_is_due(uint64_t *last_ms, uint64_t every_ms);

/* For work that is needed for debug lines only. */
static inline bool log_debugs(void)
{
	return log_level >= LOG_DEBUG;
}

#define log_error(...)   log_print(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_print(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_print(LOG_INFO, __VA_ARGS__)

/* Evaluates its arguments only if the line is printed. */
#define log_debug(...)                                     \
	do {                                               \
		if (log_debugs())                          \
			log_print(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
