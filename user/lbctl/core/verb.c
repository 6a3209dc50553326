/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table of verbs: order, lookup, and the most similar name to a typing error. */
#include "verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spelling.h"

static int by_group_and_name(const void *a, const void *b)
{
	const struct verb *x = *(const struct verb *const *)a, *y = *(const struct verb *const *)b;

	return x->group != y->group ? (int)x->group - (int)y->group : strcmp(x->name, y->name);
}

const struct verb *const *verb_list(size_t *ret_count)
{
	static const struct verb *sorted[64];
	static size_t count;

	if (!count) {
		registry_for_each (verb, v)
			if (count < sizeof(sorted) / sizeof(*sorted))
				sorted[count++] = v;
		qsort(sorted, count, sizeof(*sorted), by_group_and_name);
	}
	*ret_count = count;
	return sorted;
}

const char *verb_group_title(enum verb_group group)
{
	static const char *const titles[] = {
	    [VERB_INTERFACES] = "Interfaces", [VERB_SHOW] = "Monitoring",
	    [VERB_CHANGE] = "Changes",        [VERB_BACKEND_HOST] = "On a backend host",
	    [VERB_OTHER] = "Other",
	};
	return titles[group];
}

/* How many of the words name this verb; 0 if they do not. */
static int matches(const struct verb *verb, char *const *words, int count)
{
	const char *space = strchr(verb->name, ' ');
	size_t first = space ? (size_t)(space - verb->name) : strlen(verb->name);

	if (count < 1 || strlen(words[0]) != first || strncmp(words[0], verb->name, first))
		return 0;
	if (!space)
		return 1;
	return count > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

const struct verb *verb_find(char *const *words, int count, int *ret_words)
{
	const struct verb *found = NULL;

	*ret_words = 0;
	registry_for_each (verb, v) {
		int used = matches(v, words, count);

		if (used > *ret_words) {
			*ret_words = used;
			found = v;
		}
	}
	return found;
}

bool verb_nearest(const char *typed, char ret[VERB_NAME])
{
	size_t length = strlen(typed);
	/* distances below this are similar, if half of the letters are right */
	unsigned best = (unsigned)length / 3 + 2;
	bool found = false;

	registry_for_each (verb, v) {
		char name[VERB_NAME];
		unsigned distance;

		snprintf(name, sizeof(name), "%s", v->name);
		if (!strchr(typed, ' '))
			name[strcspn(name, " ")] = 0;
		distance = spelling_distance(typed, name);
		if (length >= 3 && strncmp(name, typed, length) == 0)
			distance = 0; /* cut short: "back", "stat" */
		if (distance < best && 2 * distance <= length) {
			best = distance;
			strcpy(ret, name);
			found = true;
		}
	}
	return found;
}
