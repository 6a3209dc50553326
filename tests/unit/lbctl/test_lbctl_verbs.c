/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests the verb table and what is derived from it: help, man page, completion, usage errors,
 * suggestions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fake_lbd.h"
#include "lbctl_run.h"

static struct lbctl_run run;

static const char *const promised[] = {"attach",
				       "detach",
				       "status",
				       "services",
				       "backends",
				       "health",
				       "connects",
				       "diff",
				       "service add",
				       "service remove",
				       "events",
				       "backend add",
				       "backend put",
				       "backend remove",
				       "backend drain",
				       "backend undrain",
				       "backend weight",
				       "backend state",
				       "drain",
				       "node drain",
				       "node undrain",
				       "reload",
				       "save",
				       "stats",
				       "top",
				       "version",
				       "help",
				       "backend-host setup",
				       "backend-host undo",
				       "backend-host status"};

/* The verb's name as one or two words. */
static void split(const char *name, char first[64], char **ret_second)
{
	snprintf(first, 64, "%s", name);
	*ret_second = strchr(first, ' ');
	if (*ret_second)
		*(*ret_second)++ = 0;
}

static void every_promised_verb_is_in_the_table(void **state)
{
	for (size_t i = 0; i < sizeof(promised) / sizeof(*promised); i++) {
		char text[64], *words[2] = {text, NULL};
		int used;

		split(promised[i], text, &words[1]);
		assert_non_null(verb_find(words, words[1] ? 2 : 1, &used));
		assert_int_equal(used, words[1] ? 2 : 1);
	}
}

static void every_verb_has_a_summary_an_example_and_option_help(void **state)
{
	const struct verb *const *verbs;
	size_t count;

	verbs = verb_list(&count);
	assert_true(count >= sizeof(promised) / sizeof(*promised));
	for (size_t i = 0; i < count; i++) {
		assert_non_null(verbs[i]->run);
		assert_non_null(verbs[i]->examples[0].command);
		assert_true(strlen(verbs[i]->summary) > 10);
		assert_int_not_equal(verbs[i]->summary[strlen(verbs[i]->summary) - 1], '.');
		for (unsigned o = 0; o < VERB_MAX_OPTIONS && verbs[i]->options[o].name; o++)
			assert_non_null(verbs[i]->options[o].help);
	}
}

static void help_man_and_completion_cover_every_verb_and_option(void **state)
{
	static struct lbctl_run man, bash;
	const struct verb *const *verbs;
	size_t count;

	lbctl_run(&run, "help");
	lbctl_run(&man, "--generate-man");
	lbctl_run(&bash, "--generate-completion");
	assert_int_equal(run.exit_code | man.exit_code | bash.exit_code, 0);
	verbs = verb_list(&count);
	for (size_t i = 0; i < count; i++) {
		char escaped[96] = ".SS \"lbctl ";

		assert_non_null(strstr(run.out, verbs[i]->name));
		assert_non_null(strstr(bash.out, verbs[i]->name));
		for (const char *at = verbs[i]->name; *at; at++)
			strncat(escaped, *at == '-' ? "\\-" : (char[2]){*at, 0},
				sizeof(escaped) - strlen(escaped) - 1);
		assert_non_null(strstr(man.out, escaped));
		for (unsigned o = 0; o < VERB_MAX_OPTIONS && verbs[i]->options[o].name; o++)
			assert_non_null(strstr(bash.out, verbs[i]->options[o].name));
	}
}

static void each_shell_has_a_completion_that_asks_lbctl_for_the_words(void **state)
{
	static const char *const shells[][2] = {{"bash", "complete -F _lbctl lbctl\n"},
						{"zsh", "#compdef lbctl\n"},
						{"fish", "complete -c lbctl "}};

	for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
		lbctl_run(&run, "--generate-completion", shells[i][0]);
		assert_int_equal(run.exit_code, 0);
		assert_non_null(strstr(run.out, shells[i][1]));
		assert_non_null(strstr(run.out, " --words "));
	}
	lbctl_run(&run, "--generate-completion", "tcsh");
	assert_int_equal(run.exit_code, 2);
}

static void no_line_of_help_is_wider_than_80_columns(void **state)
{
	const struct verb *const *verbs;
	char first[64], *second;
	size_t count;

	verbs = verb_list(&count);
	for (size_t i = 0; i <= count; i++) {
		if (i < count) {
			split(verbs[i]->name, first, &second);
			lbctl_run(&run, "help", first, second);
		} else {
			lbctl_run(&run, "help");
		}
		assert_int_equal(run.exit_code, 0);
		for (char *line = strtok(run.out, "\n"); line; line = strtok(NULL, "\n"))
			if (strlen(line) > 80)
				fail_msg("%s", line);
	}
}

static void asking_any_verb_for_help_exits_with_0(void **state)
{
	const struct verb *const *verbs;
	size_t count;

	verbs = verb_list(&count);
	for (size_t i = 0; i < count; i++) {
		char first[64], *second;

		split(verbs[i]->name, first, &second);
		lbctl_run(&run, first, second ? second : "--help", "-h");
		assert_int_equal(run.exit_code, 0);
		assert_non_null(strstr(run.out, "usage: lbctl"));
		assert_non_null(strstr(run.out, "\nOptions:\n"));
		assert_string_equal(run.err, "");
	}
	lbctl_run(&run, "--help");
	assert_int_equal(run.exit_code, 0);
	lbctl_run(&run, "backend", "--help");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "backend undrain"));
}

static void wrong_usage_exits_with_2_and_shows_the_usage_line(void **state)
{
	static const char *const cases[][6] = {
	    {"attach"},
	    {"attach", "eth0", "eth1"},
	    {"attach", "eth0", "--mode", "fast"},
	    {"attach", "eth0", "--mode"},
	    {"attach", "eth0", "--speed=9"},
	    {"attach", "eth0", "--mode=auto", "--mode=auto"},
	    {"detach"},
	    {"detach", "--offline"},
	    {"detach", "eth0", "--all"},
	    {"detach", "eth0", "--offline", "--force"},
	    {"detach", "eth0", "--pin", "/sys/fs/bpf/lbd"},
	    {"detach", "--json=yes", "eth0"},
	    {"backend", "add", "web", "10.0.0"},
	    {"backend", "add", "web", "10.0.0.1", "--weight", "10001"},
	    {"backend", "weight", "web", "10.0.0.1", "-1"},
	    {"drain", "web", "10.0.0.1", "--timeout", "soon"},
	    {"drain", "web", "10.0.0"},
	    {"backend", "drain", "web", "a:b"},
	    {"backend", "add", "web", "10.0.0.1", "--label", "zone"},
	    {"service", "add", "shop", "192.0.2.1:80/tcp"},
	    {"service", "add", "shop", "192.0.2.1:80", "--backend=10.0.0.1"},
	    {"service", "add", "shop", "192.0.2.1/tcp", "--backend=10.0.0.1"},
	    {"service", "add", "shop", "2001:db8::1:80/tcp", "--backend=10.0.0.1"},
	    {"service", "add", "shop", "[2001:db8::1]/tcp", "--backend=10.0.0.1"},
	    {"service", "add", "shop", "1.2.3.4:80/tcp", "--backend=10.0.0.1,weight"},
	    {"service", "add", "shop", "1.2.3.4:80/tcp", "--backend=10.0.0.1", "--set=slots"},
	    {"top", "--interval", "1ms"},
	    {"top", "--sort", "loudness"},
	    {"top", "--view", "sky"},
	    {"top", "--filter", "0123456789012345678901234567890123456789012345678901234567890123"},
	    {"backends", "--watch=0"},
	    {"backends", "--watch", "2h"},
	    {"backends", "--watch=soon"},
	    {"backends", "--watch=2h"},
	    {"backends", "--sort", "status"},
	    {"backends", "--sort"},
	    {"backends", "--filter"},
	    {"services", "--watch=", "--watch=1"},
	    {"services", "--sort", "latency"},
	    {"stats", "--exact=yes"},
	    {"help", "nosuchverb"},
	    {"backend-host", "setup", "--vip", "192.0.2.10"},
	    {"backend-host", "setup", "--iface", "eth0", "--vip", "192.0.2.10/32"},
	    {"backend-host", "setup", "--iface", "eth0", "--vip", "127.0.0.1"},
	    {"backend-host", "undo", "--json", "--iface", "eth0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *words[7] = {NULL};

		memcpy(words, cases[i], sizeof(cases[i]));
		lbctl_run_after(&run, NULL, words);
		assert_int_equal(run.exit_code, 2);
		assert_non_null(strstr(run.err, "\nusage: lbctl "));
		assert_string_equal(run.out, "");
	}
}

static bool is_quantity(const struct verb_option *option)
{
	static const char *const values[] = {"TIME", "N", "PORT"};

	for (unsigned i = 0; option->value && i < 3; i++)
		if (!strcmp(option->value, values[i]))
			return true;
	return false;
}

static const char *word_for(const struct verb_argument *argument)
{
	switch (argument->words) {
	case WORDS_SERVICE:
		return "web";
	case WORDS_FILE:
		return "/proc/version";
	default:
		return "10.0.0.1";
	}
}

/* The verb, with what it asks for and one option that has no meaning. */
static void run_with_nonsense(const struct verb *verb, const struct verb_option *option,
			      const char *socket)
{
	const char *words[12] = {NULL};
	char first[64], *second, nonsense[64];
	unsigned count = 0;

	split(verb->name, first, &second);
	words[count++] = first;
	if (second)
		words[count++] = second;
	for (unsigned i = 0; i < VERB_MAX_ARGUMENTS && verb->arguments[i].name; i++)
		words[count++] = word_for(&verb->arguments[i]);
	snprintf(nonsense, sizeof(nonsense), "%s=nonsense", option->name);
	words[count++] = nonsense;
	words[count++] = "--socket";
	words[count] = socket;
	lbctl_run_after(&run, NULL, words);
}

static void a_time_or_number_that_is_none_is_refused_before_lbd_is_asked(void **state)
{
	const struct fake_answer answers[] = {{NULL}};
	const struct verb *const *verbs;
	struct fake_lbd fake;
	char requests[1024];
	size_t count, tried = 0;

	verbs = verb_list(&count);
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	for (size_t i = 0; i < count; i++)
		for (unsigned j = 0; j < VERB_MAX_OPTIONS && verbs[i]->options[j].name; j++) {
			if (!(verbs[i]->flags & VERB_SOCKET) || !is_quantity(&verbs[i]->options[j]))
				continue;
			run_with_nonsense(verbs[i], &verbs[i]->options[j], fake.socket);
			fake_lbd_requests(&fake, requests, sizeof(requests));
			if (run.exit_code != 2 || *requests)
				fail_msg("%s %s=nonsense: %d: %s%s", verbs[i]->name,
					 verbs[i]->options[j].name, run.exit_code, run.err,
					 requests);
			tried++;
		}
	fake_lbd_stop(&fake);
	assert_true(tried > 10);
}

static void a_misspelt_verb_gets_a_suggestion(void **state)
{
	static const struct {
		const char *first, *second, *nearest;
	} cases[] = {{"statsu", NULL, "lbctl stats\n"},
		     {"atach", "eth0", "lbctl attach\n"},
		     {"back", NULL, "lbctl backend"},
		     {"backend", "ad", "lbctl backend add\n"},
		     {"realod", NULL, "lbctl reload\n"},
		     {"backend-host", "stup", "lbctl backend-host setup\n"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		lbctl_run(&run, cases[i].first, cases[i].second);
		assert_int_equal(run.exit_code, 2);
		assert_non_null(strstr(run.err, "Did you mean: "));
		assert_non_null(strstr(run.err, cases[i].nearest));
	}
	lbctl_run(&run, "xyzzy");
	assert_int_equal(run.exit_code, 2);
	assert_null(strstr(run.err, "Did you mean"));
	lbctl_run(&run, "foo"); /* as far from "top" as from "bar" */
	assert_int_equal(run.exit_code, 2);
	assert_null(strstr(run.err, "Did you mean"));
}

static void options_may_stand_anywhere_and_be_joined_with_equals(void **state)
{
	char *words[] = {"--mode=generic", "eth0", "--json", "--socket", "/x"},
	     *ends[] = {"--", "--mode"};
	char *name[] = {"attach"};
	struct call call;
	struct error err;
	int used;
	const struct verb *verb = verb_find(name, 1, &used);

	assert_int_equal(call_parse(verb, words, 5, &call, &err), 0);
	assert_string_equal(call_argument(&call, 0), "eth0");
	assert_string_equal(call_option(&call, "--mode"), "generic");
	assert_string_equal(call.socket, "/x");
	assert_true(call.json);
	call_release(&call);
	assert_int_equal(call_parse(verb, ends, 2, &call, &err), 0);
	assert_string_equal(call_argument(&call, 0), "--mode");
	call_release(&call);
}

static void an_option_may_stand_without_its_value(void **state)
{
	char *alone[] = {"--watch", "web"}, *valued[] = {"--watch=5", "web"},
	     *name[] = {"backends"};
	/* the word after it is its value if it is a duration */
	struct {
		char *words[3];
		const char *value, *service;
	} next[] = {
	    {{"--watch", "2", "web"}, "2", "web"},   {{"--watch", "500ms", "web"}, "500ms", "web"},
	    {{"web", "--watch", "1h"}, "1h", "web"}, {{"2", "--json", "--watch"}, "", "2"},
	    {{"--watch", "--", "2"}, "", "2"},       {{"--watch", "2x", "--json"}, "", "2x"},
	};
	struct call call;
	struct error err;
	int used;
	const struct verb *verb = verb_find(name, 1, &used);

	assert_int_equal(call_parse(verb, alone, 2, &call, &err), 0);
	assert_string_equal(call_option(&call, "--watch"), "");
	assert_string_equal(call_argument(&call, 0), "web");
	call_release(&call);
	assert_int_equal(call_parse(verb, valued, 2, &call, &err), 0);
	assert_string_equal(call_option(&call, "--watch"), "5");
	call_release(&call);
	for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
		assert_int_equal(call_parse(verb, next[i].words, 3, &call, &err), 0);
		assert_string_equal(call_option(&call, "--watch"), next[i].value);
		assert_string_equal(call_argument(&call, 0), next[i].service);
		call_release(&call);
	}
	lbctl_run(&run, "help", "backends");
	assert_non_null(strstr(run.out, "[--watch[=TIME]]"));
	assert_non_null(strstr(run.out, "\n  --watch[=TIME]"));
	lbctl_run(&run, "--generate-man");
	assert_non_null(strstr(run.out, "[\\fB\\-\\-watch\\fR[=\\fITIME\\fR]]"));
	lbctl_run(&run, "--words", "services", "--watch");
	assert_non_null(strstr(run.out, "--sort\n"));
	lbctl_run(&run, "--words", "backends", "--sort");
	assert_string_equal(run.out, "flows\npackets\nbytes\nactive\nname\nlatency\nweight\n");
}

static void completion_offers_verbs_second_words_choices_and_options(void **state)
{
	lbctl_run(&run, "--words");
	assert_non_null(strstr(run.out, "attach\n"));
	assert_non_null(strstr(run.out, "backend-host\n"));
	lbctl_run(&run, "--words", "backend");
	assert_string_equal(run.out, "add\ndrain\nput\nremove\nstate\nundrain\nweight\n");
	lbctl_run(&run, "--words", "attach", "eth0", "--mode");
	assert_string_equal(run.out, "auto\nnative\ngeneric\n");
	lbctl_run(&run, "--words", "attach");
	assert_non_null(strstr(run.out, "lo\n"));
	assert_non_null(strstr(run.out, "--mode\n"));
	lbctl_run(&run, "--words", "help", "backend");
	assert_non_null(strstr(run.out, "undrain\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_promised_verb_is_in_the_table),
	    cmocka_unit_test(every_verb_has_a_summary_an_example_and_option_help),
	    cmocka_unit_test(help_man_and_completion_cover_every_verb_and_option),
	    cmocka_unit_test(each_shell_has_a_completion_that_asks_lbctl_for_the_words),
	    cmocka_unit_test(no_line_of_help_is_wider_than_80_columns),
	    cmocka_unit_test(asking_any_verb_for_help_exits_with_0),
	    cmocka_unit_test(wrong_usage_exits_with_2_and_shows_the_usage_line),
	    cmocka_unit_test(a_time_or_number_that_is_none_is_refused_before_lbd_is_asked),
	    cmocka_unit_test(a_misspelt_verb_gets_a_suggestion),
	    cmocka_unit_test(options_may_stand_anywhere_and_be_joined_with_equals),
	    cmocka_unit_test(an_option_may_stand_without_its_value),
	    cmocka_unit_test(completion_offers_verbs_second_words_choices_and_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
