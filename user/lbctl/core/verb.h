/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a verb is: one file that fills in this table and registers it. Dispatch, help, usage errors,
 * man page and completion all derive from it. */
#ifndef LBCTL_VERB_H
#define LBCTL_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/registry.h"

#define VERB_MAX_ARGUMENTS 4
#define VERB_MAX_OPTIONS   8
#define VERB_MAX_EXAMPLES  4

/* in the order help shows them */
enum verb_group {
	VERB_INTERFACES,
	VERB_SHOW,
	VERB_CHANGE,
	VERB_BACKEND_HOST,
	VERB_OTHER,
	VERB_GROUPS
};

/* what a word stands for, for completion */
enum verb_words {
	WORDS_NONE,
	WORDS_INTERFACE,
	WORDS_SERVICE,
	WORDS_BACKEND, /* of the service in the argument before */
	WORDS_VERB,
	WORDS_FILE,
};

enum verb_flags {
	VERB_TALKS = 1 << 0, /* to lbd: takes --socket */
	VERB_JSON = 1 << 1,  /* shows data: takes --json */
};

struct verb_argument {
	const char *name; /* "SERVICE"; NULL ends the list */
	enum verb_words words;
	bool optional; /* then all that follow are */
};

/* For the table. */
#define ARGUMENT(name, words)      \
	{                          \
		name, words, false \
	}
#define OPTIONAL(name, words)     \
	{                         \
		name, words, true \
	}

struct verb_option {
	const char *name;   /* "--mode"; NULL ends the list */
	const char *value;  /* "SECONDS"; NULL: a flag */
	const char *choice; /* "auto|native|generic": the words that are accepted, or NULL */
	const char *help;
	enum verb_words words;
	bool required;
	bool many; /* may be given more than once */
};

struct verb_example {
	const char *command; /* without the leading "lbctl"; NULL ends the list */
	const char *help;
};

struct call;

struct verb {
	const char *name; /* one word or two: "attach", "backend add" */
	enum verb_group group;
	unsigned flags;      /* enum verb_flags */
	const char *summary; /* one line, no full stop */
	const char *details; /* paragraphs separated by an empty line, or NULL */
	struct verb_argument arguments[VERB_MAX_ARGUMENTS];
	struct verb_option options[VERB_MAX_OPTIONS];
	struct verb_example examples[VERB_MAX_EXAMPLES];
	/* 0, or -errno with err set: -EINVAL is a usage error, -ETIME a wait that ran out (see
	 * cli_exit_code). */
	int (*run)(struct call *call, struct error *err);
};

REGISTRY(verb, struct verb);

/* ---- the table ---- */

/* Every verb in the order of help: by group, then by name. Valid for the life of the process. */
const struct verb *const *verb_list(size_t *ret_count);
/* The title of a group, as help and man page show it. */
const char *verb_group_title(enum verb_group group);

/* The verb that the first one or two words name; *ret_words says how many. NULL if there is
 * none. */
const struct verb *verb_find(char *const *words, int count, int *ret_words);
#define VERB_NAME 32 /* room for a verb's name */
/* The verb or family ("backend") nearest to what was typed; false when nothing is near. */
bool verb_nearest(const char *typed, char ret[VERB_NAME]);

#endif
