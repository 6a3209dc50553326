/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A verb: its file fills in this struct and registers it. Dispatch, help, usage errors, man page
 * and completion are derived from it. */
#ifndef LBCTL_VERB_H
#define LBCTL_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/registry.h"

#define VERB_MAX_ARGUMENTS 4
#define VERB_MAX_OPTIONS   12
#define VERB_MAX_EXAMPLES  4

/* in the order of the help */
enum verb_group {
	VERB_INTERFACES,
	VERB_SHOW,
	VERB_CHANGE,
	VERB_BACKEND_HOST,
	VERB_OTHER,
	VERB_GROUPS
};

/* what a word names, for completion */
enum verb_words {
	WORDS_NONE,
	WORDS_INTERFACE,
	WORDS_SERVICE,
	WORDS_BACKEND, /* of the service in the argument before */
	WORDS_VERB,
	WORDS_FILE,
	WORDS_STATE, /* that an operator gives a backend */
};

enum verb_flags {
	VERB_SOCKET = 1 << 0, /* connects to lbd: takes --socket */
	VERB_JSON = 1 << 1,   /* has JSON output: takes --json */
};

struct verb_argument {
	const char *name; /* "SERVICE"; NULL ends the list */
	enum verb_words words;
	bool optional; /* then all after it are optional too */
};

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
	const char *choice; /* "auto|native|generic": the accepted words, or NULL */
	const char *help;
	enum verb_words words;
	bool required;
	bool many; /* may be given more than once */
	/* It may stand without its value: --watch[=TIME]. The next word is its value if this says
	 * that it can be one. */
	bool (*may_stand)(const char *next);
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
	/* 0, or -errno with err set: -EINVAL for wrong usage, -ETIME for a wait that timed out (see
	 * cli_exit_code). */
	int (*run)(struct call *call, struct error *err);
};

REGISTRY(verb, struct verb);

/* ---- the table ---- */

/* Every verb, by group and name. */
const struct verb *const *verb_list(size_t *ret_count);
/* The title of a group in help and man page. */
const char *verb_group_title(enum verb_group group);

/* The verb that the first two words name, else the first one; NULL if there is none. *ret_words:
 * how many. */
const struct verb *verb_find(char *const *words, int count, int *ret_words);
#define VERB_NAME 32 /* room for a verb's name */
/* The verb or family ("backend") most similar to what was typed; false if none is similar. */
bool verb_nearest(const char *typed, char ret[VERB_NAME]);

#endif
