/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* JSON at the end of a text, without a copy of its own in between. */
#include "json_text.h"

static int add_dumped(const char *bytes, size_t length, void *arg)
{
	text_add(arg, bytes, length);
	return 0;
}

void text_add_json(struct text *text, json_t *value)
{
	if (!value || json_dump_callback(value, add_dumped, text, JSON_COMPACT | JSON_ENCODE_ANY))
		text->failed = true;
	json_decref(value);
}
