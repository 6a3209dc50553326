/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* JSON at the end of a text. */
#ifndef LBD_JSON_TEXT_H
#define LBD_JSON_TEXT_H

#include <jansson.h>

#include "text.h"

/* Takes ownership of value; NULL is "out of memory": the text has then failed. */
void text_add_json(struct text *text, json_t *value);

#endif
