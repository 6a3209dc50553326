/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Converts a text as lbctl import does, and has lbd's own reader of configs judge the result. */
#ifndef LBD_TEST_IMPORT_RUN_H
#define LBD_TEST_IMPORT_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lb_abi.h"
#include "lbctl/import/import.h"
#include "lbd/algo/algo.h"
#include "lbd/config/config.h"
#include "lbd/health/health.h"

struct result {
	struct import im;
	char *text; /* the config */
	struct config *config;
};

static inline bool resolve(const char *name, uint8_t family, struct addr *ret)
{
	(void)family;
	if (!strcmp(name, "www.example.org"))
		*ret = (struct addr){.family = 4, .bytes = {192, 0, 2, 10}};
	else if (!strncmp(name, "web", 3) && name[3] >= '1' && name[3] <= '3')
		*ret = (struct addr){.family = 4, .bytes = {10, 0, 0, (uint8_t)(name[3] - '0')}};
	else
		return false;
	return true;
}

/* lbd must take every config. */
static inline void take_config(struct result *ret, const char *dialect)
{
	struct error err = {""};
	size_t length;
	FILE *out = open_memstream(&ret->text, &length);

	import_print_config(&ret->im, out, dialect);
	fclose(out);
	if (config_parse(ret->text, length, "lbd.yaml", &ret->config, &err))
		fail_msg("%s\n%s", err.text, ret->text);
}

static inline struct result convert(const char *dialect, const char *text)
{
	struct result result = {.text = NULL};
	struct error err = {""};

	import_begin(&result.im);
	result.im.may_open = false;
	result.im.resolve = resolve;
	assert_int_equal(addr_parse("192.0.2.10", &result.im.vip4), 0);
	assert_non_null(dialect_find(dialect));
	assert_int_equal(
	    import_run_text(&result.im, dialect_find(dialect), text, strlen(text), &err), 0);
	take_config(&result, dialect);
	return result;
}

static inline void done(struct result *result)
{
	config_free(result->config);
	free(result->text);
	import_end(&result->im);
}

static inline const struct config_service *only(const struct result *result)
{
	if (result->config->services_count != 1)
		fail_msg("%u services\n%s", result->config->services_count, result->text);
	return &result->config->services[0];
}

/* Is there a note with this text, about this line? */
static inline bool has_note(const struct result *result, bool left, unsigned line, const char *part)
{
	for (const struct import_note *note = result->im.notes; note; note = note->next)
		if (note->left == left && note->at.line == line && strstr(note->text, part))
			return true;
	return false;
}

static inline void assert_left(const struct result *result, unsigned line, const char *part)
{
	if (!has_note(result, true, line, part))
		fail_msg("line %u: not left: %s\n%s", line, part, result->text);
}

static inline void assert_nothing_left(const struct result *result)
{
	if (result->im.left_count)
		fail_msg("%s", result->text);
}

/* Both NULL, or the same. */
static inline void assert_same_text(const char *got, const char *wanted)
{
	if (wanted ? !got || strcmp(got, wanted) != 0 : got != NULL)
		fail_msg("%s, not %s", got ? got : "nothing", wanted ? wanted : "nothing");
}

static inline const char *address(const struct addr *addr)
{
	static char text[ADDR_TEXT];

	return addr_format(addr, text);
}

#endif
