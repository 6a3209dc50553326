/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bash completion, generated from the verb table. */
#ifndef LBCTL_COMPLETION_H
#define LBCTL_COMPLETION_H

#include <stdio.h>

/* Writes the script that `make install` installs. */
void completion_generate(FILE *out);
/* Writes the words that may follow those typed so far, one per line. 0 or -errno. */
int completion_words(int argc, char **argv, FILE *out);

#endif
