/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The line of an agent, in the words of HAProxy's agent-check: "up 50%", "drain", "down #disk
 * full". Pure. It is read in the probe process, which passes it on in its own words, and these are
 * read in the same way by lbd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "health.h"

#define BLANKS     " \t,"
#define DIGITS_MAX 4

static const struct {
	const char *word;
	uint8_t state, order;
} words[] = {
    {"up", HEALTH_ADVICE_UP, 0},        {"down", HEALTH_ADVICE_DOWN, 0},
    {"fail", HEALTH_ADVICE_DOWN, 0},    {"failed", HEALTH_ADVICE_DOWN, 0},
    {"stopped", HEALTH_ADVICE_DOWN, 0}, {"ready", 0, HEALTH_ADVICE_READY},
    {"drain", 0, HEALTH_ADVICE_DRAIN},  {"maint", 0, HEALTH_ADVICE_MAINT},
};

static bool read_state(const char *word, struct health_advice *advice)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(word, words[i].word) != 0)
			continue;
		if (words[i].state)
			advice->state = words[i].state;
		else
			advice->order = words[i].order;
		return true;
	}
	return false;
}

static bool read_weight(const char *word, struct health_advice *advice)
{
	size_t digits = strspn(word, "0123456789");
	unsigned long percent;

	if (!digits || digits > DIGITS_MAX || strcmp(word + digits, "%") != 0)
		return false;
	percent = strtoul(word, NULL, 10);
	if (percent > HEALTH_ADVICE_PERCENT_MAX)
		return false;
	advice->has_weight = true;
	advice->percent = (uint16_t)percent;
	return true;
}

/* lbd has no such limit. */
static bool is_ignored(const char *word)
{
	return !strncasecmp(word, "maxconn:", 8);
}

int health_advice_parse(const char *line, struct health_advice *ret, char why[HEALTH_ADVICE_WHY])
{
	struct health_advice advice = {0};
	const char *text = strchr(line, '#');
	char copy[HEALTH_ADVICE_LINE + 1], *at = copy;
	unsigned known = 0;

	if (strlen(line) > HEALTH_ADVICE_LINE) {
		snprintf(why, HEALTH_ADVICE_WHY, "longer than %d bytes", HEALTH_ADVICE_LINE);
		return -EINVAL;
	}
	snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "#"), line);
	for (char *word; (word = strsep(&at, BLANKS));) {
		if (!*word)
			continue;
		if (!read_state(word, &advice) && !read_weight(word, &advice) &&
		    !is_ignored(word)) {
			snprintf(why, HEALTH_ADVICE_WHY, "unknown word \"%.40s\"", word);
			return -EINVAL;
		}
		known++;
	}
	if (!known) {
		snprintf(why, HEALTH_ADVICE_WHY, "no word that says anything");
		return -EINVAL;
	}
	if (text)
		snprintf(advice.text, sizeof(advice.text), "%s",
			 text + 1 + strspn(text + 1, BLANKS));
	*ret = advice;
	return 0;
}

void health_advice_format(const struct health_advice *advice, char text[HEALTH_ADVICE_LINE + 1])
{
	static const char *const states[] = {"", "up ", "down "}, *const orders[] = {"", "ready ",
										     "drain ",
										     "maint "};
	char weight[16] = "";

	if (advice->has_weight)
		snprintf(weight, sizeof(weight), "%u%% ", advice->percent);
	snprintf(text, HEALTH_ADVICE_LINE + 1, "%s%s%s%s%.*s", states[advice->state],
		 orders[advice->order], weight, *advice->text ? "#" : "", (int)sizeof(advice->text),
		 advice->text);
}
