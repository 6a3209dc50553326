/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts and bytes of the `send` and `expect` keys. */
#include "bytes.h"

#include <string.h>

static const char digits[] = "0123456789abcdefABCDEF";

bool bytes_is_hex(const char *text)
{
	size_t length = strlen(text);

	return length && length % 2 == 0 && strspn(text, digits) == length;
}

/* digit: one of digits. */
static unsigned value_of(char digit)
{
	unsigned value = (unsigned)(strchr(digits, digit) - digits);

	return value < 16 ? value : value - 6;
}

void bytes_set(struct bytes *ret, const char *text, const char *hex)
{
	size_t length = text ? strlen(text) : hex ? strlen(hex) / 2 : 0;

	ret->length = length < BYTES_MAX ? length : BYTES_MAX;
	for (size_t i = 0; i < ret->length; i++)
		ret->data[i] =
		    text ? (uint8_t)text[i]
			 : (uint8_t)(value_of(hex[2 * i]) << 4 | value_of(hex[2 * i + 1]));
}

bool bytes_within(const struct bytes *sought, const void *data, size_t length)
{
	return memmem(data, length, sought->data, sought->length);
}
