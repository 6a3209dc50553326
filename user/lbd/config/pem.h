/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Certificates and keys of health checks, which are read with the config: the process that uses
 * them can open no file. */
#ifndef LBD_CONFIG_PEM_H
#define LBD_CONFIG_PEM_H

#include <stddef.h>

#include "source.h"

/* Reads the file that a key names: text in PEM with `marker` in it, at most max bytes. *ret, whose
 * former text is freed, is allocated. Mistakes are complaints about the key. */
void config_read_pem(const struct config_place *at, const char *key, const char *path,
		     const char *marker, size_t max, char **ret);

#endif
