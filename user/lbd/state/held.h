/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Interfaces of the config that were detached by hand, as a JSON list of names in a file: neither a
 * reload nor the next lbd after a crash attaches them. */
#ifndef LBD_STATE_HELD_H
#define LBD_STATE_HELD_H

#include <stdbool.h>

#include "common/error.h"

struct held {
	char **names;
	unsigned count;
};

/* A file that does not exist is an empty list. On error *ret is untouched, and err names the file.
 */
int held_load(const char *path, struct held *ret, struct error *err);
/* Whole or not at all; an empty list removes the file. */
int held_save(const struct held *held, const char *path, struct error *err);
bool held_has(const struct held *held, const char *name);
int held_add(struct held *held, const char *name, struct error *err);
void held_remove(struct held *held, const char *name);
/* Drops the names for which keep returns false. */
void held_filter(struct held *held, bool (*keep)(void *arg, const char *name), void *arg);
void held_done(struct held *held);

#endif
