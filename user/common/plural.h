/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Endings of words beside a count. */
#ifndef COMMON_PLURAL_H
#define COMMON_PLURAL_H

#include <stdint.h>

/* As in plural(count, "is", "are"). */
static inline const char *plural(uint64_t count, const char *of_one, const char *of_others)
{
	return count == 1 ? of_one : of_others;
}

/* "%u backend%s" */
static inline const char *plural_s(uint64_t count)
{
	return plural(count, "", "s");
}

#endif
