/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The files of a config as texts: the main one, and those that its `include` names. */
#ifndef LBD_CONFIG_TEXTS_H
#define LBD_CONFIG_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct config_text {
	char *name; /* the path, for errors */
	char *bytes;
	size_t length;
};

struct config_texts {
	struct config_text *list; /* the main file, then the included ones by name */
	unsigned count;
	bool remote; /* the main one is of a fleet; the other, if there is one, of this node */
};

#define CONFIG_INCLUDE_EXPECTED "a directory and /*.yaml, such as conf.d/*.yaml"
bool config_include_fits(const char *text);

/* Reads the main file and what it includes; a directory in `include` is relative to that of the
 * main file. 0 with *ret for config_texts_done, or -errno with err set. */
int config_read_files(const char *path, struct config_texts *ret, struct error *err);
/* A copy of the text of a fleet, and the file of this node at local. needed: without it that is an
 * error. Likewise. */
int config_join_texts(const struct config_text *fleet, const char *local, bool needed,
		      struct config_texts *ret, struct error *err);
void config_texts_done(struct config_texts *texts);

#endif
