/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bash completion out of the verb table. */
#ifndef LBCTL_COMPLETION_H
#define LBCTL_COMPLETION_H

#include <stdio.h>

/* The script that `make install` puts in place. */
void completion_generate(FILE *out);
/* The words that may follow those typed so far, one a line. 0 or -errno. */
int completion_words(int argc, char **argv, FILE *out);

#endif
