/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "printable.h"

int log_level = LOG_INFO;

void log_set_level(int level)
{
	log_level = level;
}

void log_print(int level, const char *format, ...)
{
	static const char *const words[] = {[LOG_ERR] = "error: ",
					    [LOG_WARNING] = "warning: ",
					    [LOG_INFO] = "",
					    [LOG_DEBUG] = "debug: "};
	char line[2048];
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	make_printable(line, false);
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "lbd: %s%s\n", words[level], line);
}

bool log_is_due(uint64_t *last_ms, uint64_t every_ms)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (*last_ms && now_ms - *last_ms < every_ms)
		return false;
	*last_ms = now_ms;
	return true;
}
