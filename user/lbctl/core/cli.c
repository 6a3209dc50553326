/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds the verb in argv, runs it, and turns its result into an exit code. */
#include "cli.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "completion.h"
#include "help.h"
#include "man.h"
#include "show.h"
#include "tool.h"

#define USAGE "usage: " TOOL " VERB [ARGUMENTS] [OPTIONS]; " TOOL " help lists the verbs"

enum cli_exit cli_exit_code(int rc)
{
	switch (rc) {
	case 0:
		return CLI_OK;
	case -EINVAL:
		return CLI_USAGE;
	case -ETIME:
		return CLI_TIMEOUT;
	}
	return CLI_FAILED;
}

static int unknown_verb(const char *first, const char *second)
{
	char typed[128], nearest[VERB_NAME];
	bool near;

	if (help_family(NULL, first) && !second) {
		fprintf(stderr, TOOL ": %s: incomplete verb: expected one of:\n", first);
		help_family(stderr, first);
		return CLI_USAGE;
	}
	snprintf(typed, sizeof(typed), "%s%s%s", first, second ? " " : "", second ? second : "");
	near = verb_nearest(typed, nearest);
	if (!near) {
		snprintf(typed, sizeof(typed), "%s", first);
		near = verb_nearest(typed, nearest);
	}
	fprintf(stderr, TOOL ": %s: unknown verb%s%s\n" USAGE "\n", typed,
		near ? ". Did you mean: " TOOL " " : "", near ? nearest : "");
	return CLI_USAGE;
}

static int run_verb(const struct verb *verb, char **words, int count)
{
	struct error err = {""};
	struct call call = {0};
	int rc;

	rc = call_parse(verb, words, count, &call, &err);
	if (!rc && call.help)
		help_verb(stdout, verb);
	else if (!rc)
		rc = verb->run(&call, &err);
	show_warnings(stdout, call.warnings);
	call_release(&call);
	if (fflush(stdout) && !rc)
		rc = error_set(&err, -EIO, "standard output: %s", strerror(errno));
	if (rc && err.text[0])
		fprintf(stderr, TOOL ": %s\n", err.text);
	if (rc == -EINVAL)
		help_usage(stderr, verb);
	return cli_exit_code(rc);
}

/* What the build and completion ask for; not in the help. */
static bool run_hidden(int argc, char **argv, int *ret_exit)
{
	*ret_exit = CLI_OK;
	if (strcmp(argv[1], "--generate-man") == 0)
		man_generate(stdout);
	else if (strcmp(argv[1], "--generate-completion") == 0)
		*ret_exit = cli_exit_code(completion_generate(stdout, argc > 2 ? argv[2] : "bash"));
	else if (strcmp(argv[1], "--words") == 0)
		*ret_exit = cli_exit_code(completion_words(argc - 2, argv + 2, stdout));
	else
		return false;
	if (fflush(stdout))
		*ret_exit = CLI_FAILED;
	return true;
}

/* Moves options before the verb, as in `lbctl --json status`, to the end. */
static void verb_first(int argc, char **argv)
{
	int at = 1;

	while (at < argc && word_is_option(argv[at])) {
		bool valued = strcmp(argv[at], "--socket") == 0;

		if (!call_common_option(argv[at]))
			return;
		at += valued ? 2 : 1;
	}
	if (at == 1 || at >= argc)
		return;
	for (int moved = at; moved > 1; moved--) {
		char *word = argv[1];

		memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof(*argv));
		argv[argc - 1] = word;
	}
}

int cli_main(int argc, char **argv)
{
	const struct verb *verb;
	int words, exit_code;

	setlocale(LC_CTYPE, "");
	verb_first(argc, argv);
	if (argc < 2) {
		help_all(stderr);
		return CLI_USAGE;
	}
	if (run_hidden(argc, argv, &exit_code))
		return exit_code;
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		help_all(stdout);
		return CLI_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = argv[1] + 2;
	verb = verb_find(argv + 1, argc - 1, &words);
	if (verb)
		return run_verb(verb, argv + 1 + words, argc - 1 - words);
	if (call_common_option(argv[1])) {
		fprintf(stderr,
			TOOL ": %s: missing verb: expected one after the options\n" USAGE "\n",
			argv[1]);
		return CLI_USAGE;
	}
	if (word_is_option(argv[1])) {
		fprintf(stderr, TOOL ": %s: unknown option\n" USAGE "\n", argv[1]);
		return CLI_USAGE;
	}
	for (int i = 2; i < argc; i++)
		if ((strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) &&
		    help_family(stdout, argv[1]))
			return CLI_OK;
	return unknown_verb(argv[1], argc > 2 && !word_is_option(argv[2]) ? argv[2] : NULL);
}
