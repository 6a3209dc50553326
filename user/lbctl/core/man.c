/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The man page lbctl.8, generated from the verb table (lbctl --generate-man). */
#include "man.h"

#include <ctype.h>
#include <stdio.h>

#include "lb_api.h"
#include "tool.h"
#include "verb.h"

/* roff: a backslash starts an escape, an unescaped "-" is a hyphen, and "." or "'" at the start of
 * a line starts a request. */
static void put(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (text[0] == '\n' && text[1] == '\n') {
			fputs("\n.PP\n", out);
			text++;
		} else if (*text == '\\') {
			fputs("\\e", out);
		} else if (*text == '-') {
			fputs("\\-", out);
		} else {
			putc(*text, out);
		}
	}
}

/* A sentence: the first letter becomes upper case. */
static void put_sentence(FILE *out, const char *text)
{
	putc(toupper((unsigned char)*text), out);
	put(out, text + 1);
}

/* "|" of a choice in roman, the words in bold. */
static void put_choice(FILE *out, const char *choice)
{
	fputs("\\fB", out);
	for (; *choice; choice++) {
		if (*choice == '|')
			fputs("\\fR|\\fB", out);
		else
			putc(*choice, out);
	}
	fputs("\\fR", out);
}

static void put_option(FILE *out, const struct verb_option *option)
{
	fputs("\\fB", out);
	put(out, option->name);
	fputs("\\fR", out);
	if (option->choice) {
		putc(' ', out);
		put_choice(out, option->choice);
	} else if (option->value && option->may_stand) {
		fprintf(out, "[=\\fI%s\\fR]", option->value);
	} else if (option->value) {
		fprintf(out, " \\fI%s\\fR", option->value);
	}
}

static void put_synopsis(FILE *out, const struct verb *verb)
{
	fputs(".SS \"" TOOL_ROFF " ", out);
	put(out, verb->name);
	for (unsigned i = 0; i < VERB_MAX_ARGUMENTS && verb->arguments[i].name; i++)
		fprintf(out, verb->arguments[i].optional ? " [\\fI%s\\fR]" : " \\fI%s\\fR",
			verb->arguments[i].name);
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++) {
		fputs(verb->options[i].required ? " " : " [", out);
		put_option(out, &verb->options[i]);
		fprintf(out, "%s%s", verb->options[i].required ? "" : "]",
			verb->options[i].many ? "..." : "");
	}
	fprintf(out, "%s\"\n", verb->flags & VERB_JSON ? " [\\fB\\-\\-json\\fR]" : "");
}

static void put_verb(FILE *out, const struct verb *verb)
{
	put_synopsis(out, verb);
	put_sentence(out, verb->summary);
	fputs(".\n", out);
	if (verb->details) {
		fputs(".PP\n", out);
		put(out, verb->details);
		putc('\n', out);
	}
	for (unsigned i = 0; i < VERB_MAX_OPTIONS && verb->options[i].name; i++) {
		fputs(".TP\n", out);
		put_option(out, &verb->options[i]);
		putc('\n', out);
		put_sentence(out, verb->options[i].help);
		fputs(".\n", out);
	}
	for (unsigned i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++) {
		fputs(".PP\n", out);
		if (verb->examples[i].help) {
			put_sentence(out, verb->examples[i].help);
			fputs(":\n", out);
		}
		fputs(".RS 4\n.nf\n" TOOL_ROFF " ", out);
		put(out, verb->examples[i].command);
		fputs("\n.fi\n.RE\n", out);
	}
}

static const char head[] =
    ".TH " TOOL_TITLE " 8 \"\" \"lbd " LBD_VERSION "\" \"System administration\"\n"
    ".SH NAME\n" TOOL_ROFF " \\- " TOOL_DOES "\n"
    ".SH SYNOPSIS\n\\fB" TOOL_ROFF "\\fR \\fIVERB\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n"
    ".SH DESCRIPTION\n" TOOL_SERVER;

static const char tail[] =
    ".SH OPTIONS\n"
    ".TP\n\\fB\\-\\-json\\fR\nPrint JSON, for scripts.\n" TOOL_MAN_OPTIONS
    ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow help about the verb.\n"
    ".SH EXIT STATUS\n"
    ".TP\n0\nSuccess.\n.TP\n1\nFailure; the message says why and what to do next.\n"
    ".TP\n2\nWrong usage.\n" TOOL_MAN_TAIL ".SH SEE ALSO\n" TOOL_SEE_ALSO "\n";

void man_generate(FILE *out)
{
	const struct verb *const *verbs;
	enum verb_group group = VERB_GROUPS;
	size_t count;

	fputs(head, out);
	verbs = verb_list(&count);
	for (size_t i = 0; i < count; i++) {
		if (verbs[i]->group != group) {
			group = verbs[i]->group;
			fprintf(out, ".SH \"VERBS: %s\"\n", verb_group_title(group));
		}
		put_verb(out, verbs[i]);
	}
	fputs(tail, out);
}
