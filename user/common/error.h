/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An error as one sentence for the user, passed up to the code that prints it. */
#ifndef LBD_ERROR_H
#define LBD_ERROR_H

struct error {
	char text[1024];
};

/* Writes the sentence (object: value: what was expected). Returns code, a negative errno, for
 * `return error_set(err, -EINVAL, ...)`. Control characters but line ends become '?' (printable.h).
 * err may be NULL. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
