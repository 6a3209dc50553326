/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Base64 (RFC 4648, section 4). */
#ifndef LBD_BASE64_H
#define LBD_BASE64_H

#include <stddef.h>

/* Allocated, with a 0 at its end. NULL: out of memory. */
char *base64_encode(const char *bytes, size_t length);
/* A text, without a NUL in it, allocated. NULL: it is none, or out of memory. encoded may be NULL.
 */
char *base64_decode_text(const char *encoded);

#endif
