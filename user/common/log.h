/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Log lines on stderr; under systemd (JOURNAL_STREAM set) each with its priority (sd-daemon(3):
 * "<3>text"). */
#ifndef LBD_LOG_H
#define LBD_LOG_H

#include <syslog.h>

/* Lines above this level are not printed; LOG_INFO at the start. */
void log_set_level(int level);
void log_print(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_print(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_print(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_print(LOG_DEBUG, __VA_ARGS__)

#endif
