/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `backends-from` of a service. */
#include "from.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "scalar.h"

/* ---- values ---- */

static bool is_path(const char *text)
{
	return *text == '/' && text[1];
}

static const struct config_text_key from_texts[] = {
    CONFIG_TEXT("file", raw_from, file, config_from, file, is_path,
		"a path from /, such as /etc/lbd/backends/web"),
    {.key = NULL},
};

static const struct config_number_key from_numbers[] = {
    CONFIG_NUMBER("min", raw_from, min, config_from, min, count, 1, CONFIG_FROM_MAX),
    {.key = NULL},
};

/* ---- kinds ---- */

/* The key that each kind of source has. */
static const struct {
	const char *kind;
	size_t raw, value;
} kinds[] = {
    {"file", offsetof(struct raw_from, file), offsetof(struct config_from, file)},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static char *const *text_of(const struct config_from *from, size_t offset)
{
	return (char *const *)((const char *)from + offset);
}

const char *config_from_kind(const struct config_from *from)
{
	for (size_t i = 0; i < KINDS; i++)
		if (*text_of(from, kinds[i].value))
			return kinds[i].kind;
	return NULL;
}

const char *config_from_what(const struct config_from *from)
{
	for (size_t i = 0; i < KINDS; i++)
		if (*text_of(from, kinds[i].value))
			return *text_of(from, kinds[i].value);
	return "";
}

static void check_kind(const struct config_place *at, const struct raw_from *raw)
{
	unsigned count = 0;

	for (size_t i = 0; i < KINDS; i++)
		count += *(char *const *)((const char *)raw + kinds[i].raw) != NULL;
	if (count != 1)
		config_complain(at, NULL, NULL, "expected a source: file");
}

void config_read_from(const struct config_place *at, const struct raw_from *raw,
		      struct config_from *ret)
{
	struct config_place group;

	config_place_field(at, "backends-from", &group);
	ret->min = 1;
	config_read_texts(&group, from_texts, raw, ret);
	config_read_numbers(&group, from_numbers, raw, ret);
	check_kind(&group, raw);
}

/* ---- copies ---- */

static const size_t owned[] = {
    offsetof(struct config_from, file),
};
#define OWNED (sizeof(owned) / sizeof(owned[0]))

int config_from_copy(const struct config_from *from, struct config_from *ret)
{
	bool failed = false;

	*ret = *from;
	for (size_t i = 0; i < OWNED; i++)
		*(char **)text_of(ret, owned[i]) = copy_text(*text_of(from, owned[i]), &failed);
	return failed ? -ENOMEM : 0;
}

void config_from_done(struct config_from *from)
{
	for (size_t i = 0; i < OWNED; i++)
		free(*text_of(from, owned[i]));
	*from = (struct config_from){0};
}

bool config_from_equal(const struct config_from *a, const struct config_from *b)
{
	for (size_t i = 0; i < OWNED; i++)
		if (!same_text(*text_of(a, owned[i]), *text_of(b, owned[i])))
			return false;
	return a->min == b->min;
}
