/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "printable.h"

int error_set(struct error *err, int code, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	make_printable(err->text, true);
	return code;
}
