/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From argv to a verb's run() and its exit code. Called by main.c and the tests. */
#include "cli.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/lb_api.h"
#include "../common/cleanup.h"
#include "client.h"

#define USAGE "usage: lbctl VERB [ARGUMENTS] [OPTIONS]; lbctl help lists the verbs"

/* Every verb takes these; they are not in its table. */
static const struct verb_option common_options[] = {
    {.name = "--help"}, {.name = "--json"}, {.name = "--socket", .value = "PATH"}};

/* ---- the table ----------------------------------------------------------------------------------------------- */

static int by_group_and_name(const void *a, const void *b)
{
	const struct verb *x = *(const struct verb *const *)a, *y = *(const struct verb *const *)b;

	return x->group != y->group ? (int)x->group - (int)y->group : strcmp(x->name, y->name);
}

const struct verb *const *verb_list(size_t *ret_count)
{
	static const struct verb *sorted[64];
	static size_t count;

	if (!count) {
		registry_for_each (verb, v)
			if (count < sizeof(sorted) / sizeof(*sorted))
				sorted[count++] = v;
		qsort(sorted, count, sizeof(*sorted), by_group_and_name);
	}
	*ret_count = count;
	return sorted;
}

const char *verb_group_title(enum verb_group group)
{
	static const char *const titles[] = {
	    [VERB_INTERFACES] = "Interfaces",     [VERB_SHOW] = "Looking", [VERB_CHANGE] = "Changing",
	    [VERB_BACKEND_HOST] = "On a backend", [VERB_OTHER] = "Other",
	};
	return titles[group];
}

/* How many words of `words` spell this verb; 0 when they do not. */
static int matches(const struct verb *verb, char *const *words, int count)
{
	const char *space = strchr(verb->name, ' ');
	size_t first = space ? (size_t)(space - verb->name) : strlen(verb->name);

	if (count < 1 || strlen(words[0]) != first || strncmp(words[0], verb->name, first))
		return 0;
	if (!space)
		return 1;
	return count > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

const struct verb *cli_find(char *const *words, int count, int *ret_words)
{
	registry_for_each (verb, v) {
		*ret_words = matches(v, words, count);
		if (*ret_words)
			return v;
	}
	return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) between two words; the optimal string alignment distance. */
static unsigned edits(const char *a, const char *b)
{
	unsigned row[3][40], *before = row[0], *last = row[1], *now = row[2];
	size_t m = strlen(a), n = strlen(b);

	if (m >= 40 || n >= 40)
		return 40;
	for (size_t j = 0; j <= n; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= m; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			now[j] = least(last[j] + 1, least(now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[n];
}

bool cli_nearest(const char *typed, char ret[CLI_NAME])
{
	unsigned best = (unsigned)strlen(typed) / 3 + 2; /* more than the most that still is near */
	size_t length = strlen(typed);
	bool found = false;

	registry_for_each (verb, v) {
		char name[CLI_NAME];
		unsigned distance;

		snprintf(name, sizeof(name), "%s", v->name);
		if (!strchr(typed, ' '))
			name[strcspn(name, " ")] = 0;
		distance = edits(typed, name);
		if (length >= 3 && strncmp(name, typed, length) == 0)
			distance = 0; /* cut short: "back", "stat" */
		if (distance < best) {
			best = distance;
			strcpy(ret, name);
			found = true;
		}
	}
	return found;
}

/* ---- words ---------------------------------------------------------------------------------------------------- */

static const struct verb_option *find_in(const struct verb_option *options, size_t max, const char *name, size_t length)
{
	for (size_t i = 0; i < max && options[i].name; i++)
		if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

static int check_choice(const struct verb *verb, const struct verb_option *option, const char *value, struct error *err)
{
	size_t length = strlen(value);

	if (!option->choice)
		return 0;
	for (const char *word = option->choice; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
		if (strcspn(word, "|") == length && strncmp(word, value, length) == 0)
			return 0;
	return error_set(err, -EINVAL, "%s: %s %s: expected %s", verb->name, option->name, value, option->choice);
}

static int take_common(const struct verb *verb, const struct verb_option *option, const char *value, struct call *call,
		       struct error *err)
{
	if (strcmp(option->name, "--help") == 0) {
		call->help = true;
	} else if (strcmp(option->name, "--json") == 0) {
		if (!(verb->flags & VERB_JSON))
			return error_set(err, -EINVAL, "%s: --json: shows no data", verb->name);
		call->json = true;
	} else {
		if (!(verb->flags & VERB_TALKS))
			return error_set(err, -EINVAL, "%s: --socket: does not talk to lbd", verb->name);
		call->socket = value;
	}
	return 0;
}

static int take_option(const struct verb *verb, const struct verb_option *option, const char *value, struct call *call,
		       struct error *err)
{
	int result = check_choice(verb, option, value, err);

	if (result)
		return result;
	if (!option->many && call_option(call, option->name))
		return error_set(err, -EINVAL, "%s: %s: given twice", verb->name, option->name);
	call->values[call->values_count++] = (struct call_value){option, value};
	return 0;
}

/* An option word and, if it takes one, its value (the next word, or after "="). Returns the words used or -EINVAL. */
static int parse_option(const struct verb *verb, char *const *words, int count, struct call *call, struct error *err)
{
	const char *word = strcmp(words[0], "-h") == 0 ? "--help" : words[0], *equals = strchr(word, '='), *value = "";
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const struct verb_option *option = find_in(verb->options, VERB_MAX_OPTIONS, word, length), *common = NULL;
	int used = 1, result;

	if (!option)
		option = common =
		    find_in(common_options, sizeof(common_options) / sizeof(*common_options), word, length);
	if (!option)
		return error_set(err, -EINVAL, "%s: %.*s: no such option", verb->name, (int)length, word);
	if (!option->value && !option->choice) {
		if (equals)
			return error_set(err, -EINVAL, "%s: %s: takes no value", verb->name, option->name);
	} else if (equals) {
		value = equals + 1;
	} else if (count > 1) {
		value = words[1];
		used = 2;
	} else {
		return error_set(err, -EINVAL, "%s: %s: expected %s after it", verb->name, option->name,
				 option->choice ? option->choice : option->value);
	}
	result = common ? take_common(verb, common, value, call, err) : take_option(verb, option, value, call, err);
	return result ? result : used;
}

static int check_complete(const struct verb *verb, const struct call *call, struct error *err)
{
	unsigned wanted = 0;

	while (wanted < VERB_MAX_ARGUMENTS && verb->arguments[wanted].name)
		wanted++;
	if (call->arguments_count > wanted)
		return error_set(err, -EINVAL, "%s: %s: one argument too many", verb->name, call->arguments[wanted]);
	if (call->arguments_count < wanted && !verb->arguments[call->arguments_count].optional)
		return error_set(err, -EINVAL, "%s: %s is missing", verb->name,
				 verb->arguments[call->arguments_count].name);
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++)
		if (verb->options[i].required && !call_option(call, verb->options[i].name))
			return error_set(err, -EINVAL, "%s: %s %s is missing", verb->name, verb->options[i].name,
					 verb->options[i].value);
	return 0;
}

/* "-1" is a (bad) number for the verb to judge, not an option. */
static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] && (word[1] < '0' || word[1] > '9');
}

int cli_parse(const struct verb *verb, char *const *words, int count, struct call *call, struct error *err)
{
	const char *socket = getenv(LB_API_SOCKET_ENV);
	bool only_arguments = false;

	*call = (struct call){.verb = verb, .socket = socket && *socket ? socket : LB_API_SOCKET};
	call->arguments = calloc((size_t)count + 1, sizeof(*call->arguments));
	call->values = calloc((size_t)count + 1, sizeof(*call->values));
	if (!call->arguments || !call->values)
		return error_set(err, -ENOMEM, "out of memory");
	for (int i = 0; i < count;) {
		if (!only_arguments && strcmp(words[i], "--") == 0) {
			only_arguments = true;
			i++;
		} else if (!only_arguments && is_option(words[i])) {
			int used = parse_option(verb, words + i, count - i, call, err);

			if (used < 0)
				return used;
			i += used;
		} else {
			call->arguments[call->arguments_count++] = words[i++];
		}
	}
	return call->help ? 0 : check_complete(verb, call, err);
}

void cli_release(struct call *call)
{
	client_close(call->client);
	free(call->arguments);
	free(call->values);
	*call = (struct call){0};
}

const char *call_argument(const struct call *call, unsigned at)
{
	return at < call->arguments_count ? call->arguments[at] : NULL;
}

const char *call_next_option(const struct call *call, const char *name, unsigned *at)
{
	while (*at < call->values_count) {
		const struct call_value *value = &call->values[(*at)++];

		if (strcmp(value->option->name, name) == 0)
			return value->value;
	}
	return NULL;
}

const char *call_option(const struct call *call, const char *name)
{
	unsigned at = 0;

	return call_next_option(call, name, &at);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static int connect_once(struct call *call, struct error *err)
{
	return call->client ? 0 : client_open(call->socket, &call->client, err);
}

int call_get(struct call *call, const char *path, json_t **ret, struct error *err)
{
	int result = connect_once(call, err);

	return result ? result : client_get(call->client, path, ret, err);
}

int call_post(struct call *call, const char *path, json_t *body, json_t **ret, struct error *err)
{
	json_t *answer = NULL;
	int result;

	if (!body)
		return error_set(err, -ENOMEM, "out of memory");
	result = connect_once(call, err);
	if (!result)
		result = client_post(call->client, path, body, &answer, err);
	json_decref(body);
	if (!result && ret)
		*ret = answer;
	else
		json_decref(answer);
	return result;
}

int call_backends(struct call *call, const char *service, json_t **ret, struct error *err)
{
	_cleanup_free_ char *escaped = NULL, *path = NULL;
	int result = connect_once(call, err);

	if (result)
		return result;
	escaped = client_escape(call->client, service ? service : "");
	if (!escaped || asprintf(&path, "/v1/backends%s%s", service ? "?service=" : "", escaped) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return client_get(call->client, path, ret, err);
}

/* ---- the program ----------------------------------------------------------------------------------------------- */

enum cli_exit cli_exit_code(int result)
{
	switch (result) {
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
	char typed[128], nearest[CLI_NAME];
	bool near;

	if (help_family(NULL, first) && !second) {
		fprintf(stderr, "lbctl: %s: say what to do:\n", first);
		help_family(stderr, first);
		return CLI_USAGE;
	}
	snprintf(typed, sizeof(typed), "%s%s%s", first, second ? " " : "", second ? second : "");
	near = cli_nearest(typed, nearest);
	if (!near) {
		snprintf(typed, sizeof(typed), "%s", first);
		near = cli_nearest(typed, nearest);
	}
	fprintf(stderr, "lbctl: %s: no such verb%s%s\n" USAGE "\n", typed, near ? ". Did you mean: lbctl " : "",
		near ? nearest : "");
	return CLI_USAGE;
}

static int run_verb(const struct verb *verb, char **words, int count)
{
	struct error err = {""};
	struct call call = {0};
	int result;

	result = cli_parse(verb, words, count, &call, &err);
	if (!result && call.help)
		help_verb(stdout, verb);
	else if (!result)
		result = verb->run(&call, &err);
	cli_release(&call);
	if (fflush(stdout) && !result)
		result = error_set(&err, -EIO, "standard output: %s", strerror(errno));
	if (result && err.text[0])
		fprintf(stderr, "lbctl: %s\n", err.text);
	if (result == -EINVAL)
		help_usage(stderr, verb);
	return cli_exit_code(result);
}

/* What the Makefile and bash call, not people. */
static bool run_hidden(int argc, char **argv, int *ret_exit)
{
	*ret_exit = CLI_OK;
	if (strcmp(argv[1], "--generate-man") == 0)
		man_generate(stdout);
	else if (strcmp(argv[1], "--generate-completion") == 0)
		completion_generate(stdout);
	else if (strcmp(argv[1], "--words") == 0)
		*ret_exit = cli_exit_code(completion_words(argc - 2, argv + 2, stdout));
	else
		return false;
	if (fflush(stdout))
		*ret_exit = CLI_FAILED;
	return true;
}

/* Options may come before the verb as well: `lbctl --json status`. Moves them behind it. */
static void verb_first(int argc, char **argv)
{
	int at = 1;

	while (at < argc && is_option(argv[at])) {
		bool valued = strcmp(argv[at], "--socket") == 0;

		if (find_in(common_options, sizeof(common_options) / sizeof(*common_options), argv[at],
			    strcspn(argv[at], "=")) == NULL)
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
	verb = cli_find(argv + 1, argc - 1, &words);
	if (verb)
		return run_verb(verb, argv + 1 + words, argc - 1 - words);
	if (find_in(common_options, sizeof(common_options) / sizeof(*common_options), argv[1], strcspn(argv[1], "="))) {
		fprintf(stderr, "lbctl: %s: expected a verb after the options\n" USAGE "\n", argv[1]);
		return CLI_USAGE;
	}
	if (is_option(argv[1])) {
		fprintf(stderr, "lbctl: %s: no such option\n" USAGE "\n", argv[1]);
		return CLI_USAGE;
	}
	for (int i = 2; i < argc; i++)
		if ((strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) && help_family(stdout, argv[1]))
			return CLI_OK;
	return unknown_verb(argv[1], argc > 2 && !is_option(argv[2]) ? argv[2] : NULL);
}
