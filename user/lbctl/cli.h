/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From argv to a verb's run() and its exit code. Called by main.c and the tests. */
#ifndef LBCTL_CLI_H
#define LBCTL_CLI_H

#include <stdio.h>

#include "verb.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_TIMEOUT = 3 };

/* The whole program; returns the exit code. */
int cli_main(int argc, char **argv);

/* The verb that the first one or two words name; *ret_words says how many. NULL if there is none. */
const struct verb *cli_find(char *const *words, int count, int *ret_words);
#define CLI_NAME 32 /* room for a verb's name */
/* The verb or family ("backend") nearest to what was typed; false when nothing is near. */
bool cli_nearest(const char *typed, char ret[CLI_NAME]);
/* Fills call from the words after the verb. 0, or -EINVAL with err set. Release with cli_release. */
int cli_parse(const struct verb *verb, char *const *words, int count, struct call *call, struct error *err);
void cli_release(struct call *call);
enum cli_exit cli_exit_code(int result);

/* help.c. "usage: lbctl attach IFACE [--mode auto|native|generic]", wrapped at 80 columns */
void help_usage(FILE *out, const struct verb *verb);
void help_verb(FILE *out, const struct verb *verb);
void help_all(FILE *out);
/* Every verb of a group ("backend"), a line each. Returns how many there are. */
unsigned help_family(FILE *out, const char *first_word);

/* man.c and completion.c: the files that `make install` puts in place, and the words that completion asks for. */
void man_generate(FILE *out);
void completion_generate(FILE *out);
int completion_words(int argc, char **argv, FILE *out);

#endif
