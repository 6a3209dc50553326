/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Help, generated from the verb table. */
#include "help.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb_api.h"
#include "call.h"
#include "format.h"
#include "tool.h"
#include "verb.h"

#define COLUMNS 80

/* "--mode auto|native|generic", "--watch[=TIME]", "--once" */
static void option_text(const struct verb_option *option, char *text, size_t size)
{
	const char *value = option->choice ? option->choice : option->value;

	snprintf(text, size, "%s%s%s%s", option->name,
		 !value              ? ""
		 : option->may_stand ? "[="
				     : " ",
		 value ? value : "", value && option->may_stand ? "]" : "");
}

/* A text, broken after a "|" where the line ends. Returns the column after it. */
static unsigned put_choices(FILE *out, const char *text, unsigned column, unsigned indent)
{
	while (column + text_width(text) > COLUMNS) {
		size_t head = text_head(text, COLUMNS - column);

		while (head && text[head - 1] != '|')
			head--;
		if (!head)
			break;
		fprintf(out, "%.*s\n%*s", (int)head, text, (int)indent, "");
		column = indent;
		text += head;
	}
	fputs(text, out);
	return column + text_width(text);
}

/* One item of the usage line, such as "[--mode auto|native|generic]"; starts a new line if it does
 * not fit. */
static void put_usage(FILE *out, unsigned *column, const char *before, const char *word,
		      const char *after)
{
	const unsigned indent = sizeof("usage: " TOOL); /* and a space */
	char text[160];
	unsigned width;

	snprintf(text, sizeof(text), "%s%s%s", before, word, after);
	width = text_width(text);
	if (*column + 1 + width > COLUMNS) {
		fprintf(out, "\n%*s", (int)indent, "");
		*column = indent;
	} else {
		putc(' ', out);
		(*column)++;
	}
	*column = put_choices(out, text, *column, indent + 4);
}

void help_usage(FILE *out, const struct verb *verb)
{
	unsigned column = (unsigned)fprintf(out, "usage: " TOOL);

	put_usage(out, &column, "", verb->name, "");
	for (unsigned i = 0; i < VERB_MAX_ARGUMENTS && verb->arguments[i].name; i++) {
		bool optional = verb->arguments[i].optional;

		put_usage(out, &column, optional ? "[" : "", verb->arguments[i].name,
			  optional ? "]" : "");
	}
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++) {
		const struct verb_option *option = &verb->options[i];
		char text[128];

		option_text(option, text, sizeof(text));
		put_usage(out, &column, option->required ? "" : "[", text,
			  option->required ? (option->many ? "..." : "")
					   : (option->many ? "]..." : "]"));
	}
	if (verb->flags & VERB_JSON)
		put_usage(out, &column, "[", "--json", "]");
	putc('\n', out);
}

static void print_paragraphs(FILE *out, const char *text)
{
	while (text) {
		const char *end = strstr(text, "\n\n");
		char paragraph[1024];

		snprintf(paragraph, sizeof(paragraph), "%.*s",
			 end ? (int)(end - text) : (int)strlen(text), text);
		putc('\n', out);
		text_wrap(out, paragraph, 0, 0, COLUMNS);
		text = end ? end + 2 : NULL;
	}
}

static void print_option(FILE *out, const char *head, const char *help)
{
	int used = fprintf(out, "  %-18s", head);

	fprintf(out, used > 20 ? "\n%*s" : "%*s", used > 20 ? 21 : 1, "");
	text_wrap(out, help, 21, 21, COLUMNS);
}

static void print_verb_option(FILE *out, const struct verb_option *option)
{
	char head[128];

	option_text(option, head, sizeof(head));
	print_option(out, head, option->help);
}

void help_verb(FILE *out, const struct verb *verb)
{
	unsigned column = (unsigned)fprintf(out, TOOL " %s: ", verb->name);

	text_wrap(out, verb->summary, column, 6, COLUMNS);
	putc('\n', out);
	help_usage(out, verb);
	print_paragraphs(out, verb->details);
	fputs("\nOptions:\n", out);
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++)
		print_verb_option(out, &verb->options[i]);
	if (verb->flags & VERB_JSON)
		print_option(out, "--json", "print JSON, for scripts");
	if (verb->flags & VERB_SOCKET)
		print_option(out, "--socket PATH",
			     "lbd's socket; default: $" LB_API_SOCKET_ENV ", or " LB_API_SOCKET);
	print_option(out, "-h, --help", "show this help");
	for (unsigned i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++) {
		fprintf(out, "%s  " TOOL " %s\n", i ? "" : "\nExamples:\n",
			verb->examples[i].command);
		if (verb->examples[i].help) {
			fputs("      ", out);
			text_wrap(out, verb->examples[i].help, 6, 6, COLUMNS);
		}
	}
}

void help_all(FILE *out)
{
	const struct verb *const *verbs;
	enum verb_group group = VERB_GROUPS;
	size_t count;

	fputs(TOOL " " TOOL_DOES ".\nusage: " TOOL " VERB [ARGUMENTS] [OPTIONS]\n", out);
	verbs = verb_list(&count);
	for (size_t i = 0; i < count; i++) {
		if (verbs[i]->group != group)
			fprintf(out, "\n%s:\n", verb_group_title(verbs[i]->group));
		group = verbs[i]->group;
		fprintf(out, "  %-21s", verbs[i]->name);
		text_wrap(out, verbs[i]->summary, 23, 23, COLUMNS);
	}
	fputs(TOOL_COMMON, out);
}

unsigned help_family(FILE *out, const char *first_word)
{
	const struct verb *const *verbs;
	size_t count, length = strlen(first_word);
	unsigned found = 0;

	verbs = verb_list(&count);
	for (size_t i = 0; i < count; i++) {
		if (strncmp(verbs[i]->name, first_word, length) || verbs[i]->name[length] != ' ')
			continue;
		found++;
		if (!out)
			continue;
		fprintf(out, "  " TOOL " %-21s ", verbs[i]->name);
		text_wrap(out, verbs[i]->summary, 30, 30, COLUMNS);
	}
	return found;
}

static int run_help(struct call *call, struct error *err)
{
	char *words[2] = {(char *)call_argument(call, 0), (char *)call_argument(call, 1)};
	const struct verb *verb;
	char typed[128], nearest[VERB_NAME];
	bool near;
	int used;

	if (!words[0]) {
		help_all(stdout);
		return 0;
	}
	verb = verb_find(words, words[1] ? 2 : 1, &used);
	if (verb && used == (words[1] ? 2 : 1)) {
		help_verb(stdout, verb);
		return 0;
	}
	if (!words[1] && help_family(stdout, words[0]))
		return 0;
	snprintf(typed, sizeof(typed), "%s%s%s", words[0], words[1] ? " " : "",
		 words[1] ? words[1] : "");
	near = verb_nearest(typed, nearest);
	return error_set(err, -EINVAL, "help: %s: unknown verb%s%s", typed,
			 near ? ". Did you mean: " TOOL " help " : "", near ? nearest : "");
}

REGISTER(verb, help) = {
    .name = "help",
    .group = VERB_OTHER,
    .summary = "list the verbs, or describe one",
    .arguments = {OPTIONAL("VERB", WORDS_VERB), OPTIONAL("WORD", WORDS_VERB)},
    .examples = {{"help " TOOL_HOST "setup", NULL}},
    .run = run_help,
};
