/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fields of a JSON object by name. */
#ifndef LBCTL_JSON_H
#define LBCTL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Of an item of a list: what is no text reads as "". */
static inline const char *json_item_text(const json_t *item)
{
	const char *text = json_string_value(item);

	return text ? text : "";
}

/* A missing field reads as "", 0 or false, so that answers of an older lbd can be shown. */
static inline const char *json_text(const json_t *object, const char *name)
{
	return json_item_text(json_object_get(object, name));
}

static inline uint64_t json_number(const json_t *object, const char *name)
{
	double value = json_number_value(json_object_get(object, name));
	json_int_t whole = json_integer_value(json_object_get(object, name));

	if (whole > 0)
		return (uint64_t)whole;
	return value > 0 ? (uint64_t)value : 0;
}

static inline bool json_flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

#endif
