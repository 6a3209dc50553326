/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts and bytes of the `send` and `expect` keys. Pure. */
#ifndef LBD_HEALTH_BYTES_H
#define LBD_HEALTH_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BYTES_MAX 511 /* of what is sent or expected */

struct bytes {
	uint8_t data[BYTES_MAX];
	size_t length;
};

/* Pairs of hexadecimal digits, any case: at least one. */
bool bytes_is_hex(const char *text);
/* From the text or, if that is NULL, from the digits; both NULL: no bytes. What is too long is cut
 * off. */
void bytes_set(struct bytes *ret, const char *text, const char *digits);
/* Where nothing is sought, everything contains it. */
bool bytes_within(const struct bytes *sought, const void *data, size_t length);

#endif
