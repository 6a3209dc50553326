/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Completion for bash, zsh and fish, generated from the verb table. */
#ifndef LBCTL_COMPLETION_H
#define LBCTL_COMPLETION_H

#include <stdio.h>

/* Writes the script for "bash", "zsh" or "fish" that `make install` installs. 0, or -EINVAL: for
 * another shell. */
int completion_generate(FILE *out, const char *shell);
/* Writes the words that may follow those typed so far, one per line. 0 or -errno. */
int completion_words(int argc, char **argv, FILE *out);

#endif
