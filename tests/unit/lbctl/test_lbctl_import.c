/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests the verbs import ...: output, exit status, wrong usage. What becomes of what is in
 * tests/unit/import. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbctl/import/import.h"
#include "lbctl_run.h"

#define DIRECTORY "/tmp/lbd-test-import"

static struct lbctl_run run;

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* A file of this test alone. */
static const char *file_with(const char *text)
{
	static char path[64];

	snprintf(path, sizeof(path), DIRECTORY ".%d", (int)getpid());
	put(path, text);
	return path;
}

static void each_dialect_has_a_verb(void **state)
{
	unsigned count = 0;

	registry_for_each (dialect, dialect) {
		char *words[2] = {(char *)"import", (char *)dialect->name};
		int used;

		assert_non_null(verb_find(words, 2, &used));
		assert_int_equal(used, 2);
		count++;
	}
	lbctl_run(&run, "import");
	assert_int_equal(run.exit_code, 2);
	for (unsigned i = 0; i < count; i++)
		registry_for_each (dialect, dialect)
			assert_non_null(strstr(run.err, dialect->name));
}

static void a_whole_import_exits_with_0_and_prints_a_config(void **state)
{
	const char *path = file_with("-A -t 192.0.2.10:80 -s rr\n"
				     "-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g -w 1\n");

	lbctl_run(&run, "import", "ipvs", "--iface", "eth0", "--iface", "eth1", path);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "\nservices:\n"));
	assert_non_null(strstr(run.out, "interfaces: [\"eth0\", \"eth1\"]\n"));
	assert_null(strstr(run.err, "not carried over"));
	unlink(path);
}

static void what_is_left_is_named_in_both_outputs_and_exits_with_1(void **state)
{
	const char *path = file_with("-A -t 192.0.2.10:80 -s rr\n"
				     "-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g -w 1\n"
				     "-A -f 7 -s rr\n");
	char wanted[128];

	lbctl_run(&run, "import", "ipvs", path);
	assert_int_equal(run.exit_code, 1);
	snprintf(wanted, sizeof(wanted), "%s:3: not carried over: firewall mark 7", path);
	assert_non_null(strstr(run.err, wanted));
	snprintf(wanted, sizeof(wanted), "#   %s:3: firewall mark 7", path);
	assert_non_null(strstr(run.out, wanted));
	assert_non_null(strstr(run.err, "lbctl: 1 setting not carried over"));
	assert_non_null(strstr(run.out, "vip: 192.0.2.10\n"));
	unlink(path);
}

static void take_standard_input(void)
{
	const char *path = file_with("listen l\nbind *:80\nserver a 10.0.0.1:80 check\n");

	if (!freopen(path, "r", stdin))
		_exit(99);
	unlink(path);
}

static void a_dash_reads_standard_input(void **state)
{
	const char *const words[] = {"import", "haproxy",      "--vip", "192.0.2.10",
				     "--vip",  "2001:db8::10", "-",     NULL};

	lbctl_run_after(&run, take_standard_input, words);
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "vip: 192.0.2.10\n"));
	assert_non_null(strstr(run.out, "# -:2\n"));
}

static void included_files_are_read(void **state)
{
	char path[64], inner[96], text[256];

	snprintf(inner, sizeof(inner), DIRECTORY "-inner.%d.conf", (int)getpid());
	put(inner, "virtual_server 192.0.2.10 80 {\nlb_kind DR\n"
		   "real_server 10.0.0.11 80 {\nfrobnicate\n}\n}\n");
	snprintf(text, sizeof(text), "include %s\n", strrchr(inner, '/') + 1);
	snprintf(path, sizeof(path), "%s", file_with(text));
	lbctl_run(&run, "import", "keepalived", path);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.out, "vip: 192.0.2.10\n"));
	snprintf(text, sizeof(text), "%s:4: not carried over: frobnicate", inner);
	assert_non_null(strstr(run.err, text));
	unlink(inner);
	unlink(path);
}

/* A file that includes itself ends, and says where. */
static void a_file_that_includes_itself_is_read_a_few_times(void **state)
{
	char text[64];
	const char *path;

	snprintf(text, sizeof(text), "include " DIRECTORY ".%d\n", (int)getpid());
	path = file_with(text);
	lbctl_run(&run, "import", "keepalived", path);
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "not read"));
	unlink(path);
}

static void wrong_usage_is_refused_with_what_was_expected(void **state)
{
	static const struct {
		const char *words[8];
		int exit_code;
		const char *part;
	} cases[] = {
	    {{"import", "ipvs"}, 2, "missing argument: expected FILE"},
	    {{"import", "ipvs", "/nonexistent"}, 1, "/nonexistent: No such file"},
	    {{"import", "ipvs", "/tmp"}, 1, "/tmp: is a directory"},
	    {{"import", "ipvs", "--iface", "a/b", "/dev/null"}, 2, "--iface a/b: expected"},
	    {{"import", "ipvs", "--vip", "192.0.2.1", "/dev/null"}, 2, "--vip: unknown option"},
	    {{"import", "haproxy", "--vip", "lb", "/dev/null"}, 2, "--vip lb: expected an address"},
	    {{"import", "haproxy", "--vip", "127.0.0.1", "/dev/null"}, 2, "loopback"},
	    {{"import", "haproxy", "--vip", "192.0.2.1", "--vip", "192.0.2.2", "/dev/null"},
	     2,
	     "at most"},
	    {{"import", "nginx", "/dev/null"}, 2, "import"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		lbctl_run_after(&run, NULL, cases[i].words);
		if (run.exit_code != cases[i].exit_code || !strstr(run.err, cases[i].part))
			fail_msg("%s %s: %d: %s", cases[i].words[1], cases[i].part, run.exit_code,
				 run.err);
	}
}

static void an_empty_file_gives_a_config_without_services(void **state)
{
	lbctl_run(&run, "import", "haproxy", "/dev/null");
	assert_int_equal(run.exit_code, 0);
	assert_non_null(strstr(run.out, "services: []\n"));
}

/* Completion has the second words, and says that the shell completes a path. */
static void completion_knows_the_dialects_and_the_file(void **state)
{
	lbctl_run(&run, "--words", "import");
	assert_string_equal(run.out, "haproxy\nipvs\nkeepalived\n");
	lbctl_run(&run, "--words", "import", "ipvs");
	assert_string_equal(run.out, "/\n--iface\n--help\n");
	lbctl_run(&run, "--words", "import", "ipvs", "rules");
	assert_null(strstr(run.out, "/\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_dialect_has_a_verb),
	    cmocka_unit_test(a_whole_import_exits_with_0_and_prints_a_config),
	    cmocka_unit_test(what_is_left_is_named_in_both_outputs_and_exits_with_1),
	    cmocka_unit_test(a_dash_reads_standard_input),
	    cmocka_unit_test(included_files_are_read),
	    cmocka_unit_test(a_file_that_includes_itself_is_read_a_few_times),
	    cmocka_unit_test(wrong_usage_is_refused_with_what_was_expected),
	    cmocka_unit_test(an_empty_file_gives_a_config_without_services),
	    cmocka_unit_test(completion_knows_the_dialects_and_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
