/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Warnings of a change: for the log, and for the answer to whoever asked for it. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/log.h"

void state_collect(struct state *state, struct sentences *into)
{
	state->warnings = into;
}

void state_warn(const struct state *state, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!state->trial)
		log_warning("%s", text);
	if (state->warnings)
		sentences_add(state->warnings, "%s", text);
}
