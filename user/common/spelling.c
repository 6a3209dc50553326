/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The distance between two words. */
#include "spelling.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static char folded(char c)
{
	return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

static bool same(char a, char b)
{
	return folded(a) == folded(b);
}

unsigned spelling_distance(const char *a, const char *b)
{
	unsigned row[3][SPELLING_MAX], *before = row[0], *last = row[1], *now = row[2];
	size_t m = strlen(a), n = strlen(b);

	if (m >= SPELLING_MAX || n >= SPELLING_MAX)
		return SPELLING_MAX;
	for (size_t j = 0; j <= n; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= m; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			now[j] = least(last[j] + 1, least(now[j - 1] + 1,
							  last[j - 1] + !same(a[i - 1], b[j - 1])));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[n];
}
