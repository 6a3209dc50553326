/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Base64: binary as text. */
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const char *bytes, size_t length)
{
	char *encoded = malloc((length + 2) / 3 * 4 + 1), *at = encoded;

	for (size_t i = 0; encoded && i < length; i += 3) {
		uint32_t bits = (uint32_t)(uint8_t)bytes[i] << 16;

		bits |= i + 1 < length ? (uint32_t)(uint8_t)bytes[i + 1] << 8 : 0;
		bits |= i + 2 < length ? (uint8_t)bytes[i + 2] : 0;
		*at++ = digits[bits >> 18];
		*at++ = digits[bits >> 12 & 63];
		*at++ = i + 1 < length ? digits[bits >> 6 & 63] : '=';
		*at++ = i + 2 < length ? digits[bits & 63] : '=';
	}
	if (encoded)
		*at = 0;
	return encoded;
}

char *base64_decode_text(const char *encoded)
{
	size_t length = encoded ? strlen(encoded) : 0, used = 0;
	char *text = length % 4 ? NULL : malloc(length / 4 * 3 + 1);
	uint32_t bits = 0;

	for (size_t i = 0; text && i < length && encoded[i] != '='; i++) {
		const char *digit = strchr(digits, encoded[i]);

		if (!digit) {
			free(text);
			return NULL;
		}
		bits = bits << 6 | (uint32_t)(digit - digits);
		if (i % 4)
			text[used++] = (char)(bits >> (6 - i % 4 * 2));
	}
	if (!text)
		return NULL;
	text[used] = 0;
	if (strlen(text) == used)
		return text;
	free(text);
	return NULL;
}
