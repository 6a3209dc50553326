/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Help, generated from the verb table: for all verbs, for one, for a family ("backend"), and the
 * usage line of errors. */
#ifndef LBCTL_HELP_H
#define LBCTL_HELP_H

#include <stdio.h>

#include "verb.h"

/* "usage: lbctl attach IFACE [--mode auto|native|generic]", wrapped at 80 columns */
void help_usage(FILE *out, const struct verb *verb);
void help_verb(FILE *out, const struct verb *verb);
void help_all(FILE *out);
/* The verbs of a family ("backend"), one per line. Returns their number; out NULL: only that. */
unsigned help_family(FILE *out, const char *first_word);

#endif
