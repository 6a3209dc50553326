/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The command of `notify`: what it is given, what it may do, and that it holds up nothing. This
 * program starts itself as the process that runs the command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/files.h"
#include "common/log.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "events_say.h"
#include "support/test_file.h"

#define PATIENCE_MS 60000 /* a wait that long means that the test hangs */
#define LONG_MS     600000

/* Others may write to it, as the command is another user's process. */
static char directory[] = "/tmp/lbd-test-hook-XXXXXX";
static struct event_base *base;

static const char *in_directory(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static void begin_with(unsigned limit_ms, unsigned stop_ms)
{
	struct events_options options = {.socket = "/run/lbd/lbd.sock",
					 .hook = {.gather_ms = 1, .rest_ms = 1}};
	struct error err;

	options.hook.limit_ms = limit_ms;
	options.hook.stop_ms = stop_ms;
	options.base = base = loop_new();
	assert_non_null(base);
	if (events_open(&options, &err))
		fail_msg("%s", err.text);
}

static void begin_limited(unsigned limit_ms)
{
	begin_with(limit_ms, 1);
}

static void begin(void)
{
	begin_limited(LONG_MS);
}

static int clean(void **unused)
{
	char command[128];

	events_close();
	if (base)
		event_base_free(base);
	base = NULL;
	snprintf(command, sizeof(command), "rm -rf %s/*", directory);
	return system(command);
}

/* A script in the directory, and the command that runs it. */
static void use_script(const char *body)
{
	char text[1024];
	const char *path = in_directory("script");

	snprintf(text, sizeof(text), "#!/bin/sh\ncd %s\n%s\n", directory, body);
	test_file_put(path, text);
	assert_int_equal(chmod(path, 0755), 0);
	events_set_command(path);
}

static bool is_there(const char *name)
{
	return !access(in_directory(name), F_OK);
}

static void run_until(bool holds(const void *arg), const void *arg)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (!holds(arg)) {
		assert_true(clock_monotonic_ms() < end);
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

static bool file_is_there(const void *name)
{
	return is_there(name);
}

static uint64_t runs(void)
{
	const uint64_t *counts = events_notify_counts();
	uint64_t sum = 0;

	for (unsigned i = 0; i < NOTIFY_RESULT_COUNT; i++)
		sum += counts[i];
	return sum;
}

static bool have_ended(const void *count)
{
	return runs() >= *(const unsigned *)count;
}

static void run_until_ended(unsigned count)
{
	run_until(have_ended, &count);
}

static const char *content(const char *name)
{
	static char text[65536];
	FILE *file = fopen(in_directory(name), "r");
	size_t length;

	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = 0;
	fclose(file);
	return text;
}

/* Runs a script that makes the file `child` and then does not end, until its limit. That grows
 * until the machine has started the script in time. Returns it, in milliseconds. */
static unsigned run_to_its_limit(const char *script)
{
	for (unsigned limit_ms = 1500;; limit_ms *= 4) {
		begin_limited(limit_ms);
		use_script(script);
		say("x");
		run_until_ended(1);
		if (is_there("child") || limit_ms >= PATIENCE_MS / 4) {
			assert_int_equal(events_notify_counts()[NOTIFY_timeout], 1);
			return limit_ms;
		}
		assert_int_equal(clean(NULL), 0);
	}
}

/* ---- what it is given ---- */

static void events_are_handed_over_as_lines_of_json(void **unused)
{
	const char *text;
	json_t *json;

	begin();
	use_script("cat >input");
	say("one");
	say("two");
	run_until_ended(1);
	assert_int_equal(events_notify_counts()[NOTIFY_ok], 1);
	text = content("input");
	json = json_loadb(text, strcspn(text, "\n"), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "text")), "one");
	json_decref(json);
	text = strchr(text, '\n') + 1;
	json = json_loadb(text, strcspn(text, "\n"), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "text")), "two");
	assert_string_equal(strchr(text, '\n'), "\n");
	json_decref(json);
}

static void the_environment_has_the_newest_event(void **unused)
{
	const char *text;

	begin();
	use_script("env >environment");
	say("one");
	say("two $(touch broken)");
	run_until_ended(1);
	text = content("environment");
	assert_non_null(strstr(text, "LBD_EVENTS=2\n"));
	assert_non_null(strstr(text, "LBD_MISSED=0\n"));
	assert_non_null(strstr(text, "LBD_TEXT=two $(touch broken)\n"));
	assert_non_null(strstr(text, "LBD_KIND=backend-down\n"));
	assert_non_null(strstr(text, "LBD_LEVEL=warning\n"));
	assert_non_null(strstr(text, "LBD_SERVICE=web\n"));
	assert_non_null(strstr(text, "LBD_BACKEND=10.0.0.1\n"));
	assert_non_null(strstr(text, "LBD_INTERFACE=\n"));
	assert_non_null(strstr(text, "LBD_WHY=refused\n"));
	assert_non_null(strstr(text, "LBD_WHO=lbd\n"));
	assert_non_null(strstr(text, "LBD_SOCKET=/run/lbd/lbd.sock\n"));
	assert_null(strstr(text, "HOME="));
	assert_false(is_there("broken"));
}

static void arguments_are_passed_as_they_are(void **unused)
{
	char command[160];

	begin();
	use_script("printf '%s\\n' \"$#\" \"$@\" >arguments");
	snprintf(command, sizeof(command), "%s  --to  *;id  x", in_directory("script"));
	events_set_command(command);
	say("x");
	run_until_ended(1);
	assert_string_equal(content("arguments"), "3\n--to\n*;id\nx\n");
}

/* mkdir fails if another one runs. */
static void one_runs_at_a_time_and_what_comes_meanwhile_is_bundled(void **unused)
{
	begin();
	use_script("mkdir running || touch two\n"
		   "echo $LBD_EVENTS >>runs\n"
		   "while [ ! -e go ]; do sleep 0.02; done\n"
		   "rmdir running");
	say("first");
	run_until(file_is_there, "running");
	for (unsigned i = 0; i < 10; i++)
		say("more");
	test_file_put(in_directory("go"), "");
	run_until_ended(2);
	assert_string_equal(content("runs"), "1\n10\n");
	assert_false(is_there("two"));
}

static void what_was_before_the_command_is_not_for_it(void **unused)
{
	begin();
	say("before");
	use_script("echo $LBD_EVENTS $LBD_TEXT >>runs");
	say("after");
	run_until_ended(1);
	assert_string_equal(content("runs"), "1 after\n");
}

/* In several bundles. */
static void a_flood_is_handed_over_whole_or_said_to_be_missed(void **unused)
{
	unsigned long long handed = 0, missed = 0, count, flag;
	const char *text;
	char long_text[500];
	int length;

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	begin();
	use_script("wc -l <&0 >lines; echo $(cat lines) $LBD_MISSED >>runs");
	for (unsigned i = 0; i < EVENTS_MAX + 100; i++)
		say(long_text);
	run_until_ended(20);
	for (text = content("runs"); sscanf(text, "%llu %llu\n%n", &count, &flag, &length) == 2;
	     text += length) {
		handed += count;
		missed += flag;
	}
	assert_true(handed > 500);
	assert_int_equal(missed, 1);
}

/* ---- what it may do ---- */

static void it_has_no_rights_and_a_session_of_its_own(void **unused)
{
	const char *text;
	char line[64];
	unsigned pid = 0, group = 1, session = 2;

	begin();
	use_script("cat /proc/self/status >status\n"
		   "echo $$ $(cut -d' ' -f5,6 /proc/$$/stat) >session\n"
		   "(ls /proc/$$/fd | tr '\\n' ' ' >descriptors); id -u >user; pwd >where");
	say("x");
	run_until_ended(1);
	text = content("status");
	assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
	assert_non_null(strstr(text, "CapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(text, "CapAmb:\t0000000000000000\n"));
	assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
	assert_int_equal(sscanf(content("session"), "%u %u %u", &pid, &group, &session), 3);
	/* that of the process that runs it */
	assert_int_equal(group, session);
	assert_int_not_equal(session, getsid(0));
	snprintf(line, sizeof(line), "%u\n", geteuid() ? (unsigned)geteuid() : RIGHTS_USER);
	assert_string_equal(content("user"), line);
	/* 10 is the script itself, which dash has open there */
	assert_true(!strcmp(content("descriptors"), "0 1 10 2 ") ||
		    !strcmp(content("descriptors"), "0 1 2 "));
}

/* ---- what goes wrong ---- */

static void expect_logged(const struct test_log *log, const char *part)
{
	if (!strstr(log->text, part))
		fail_msg("expected \"%s\" in: %s", part, log->text);
}

static void a_failure_is_counted_and_logged_with_its_first_line(void **unused)
{
	struct test_log log;

	begin();
	use_script("echo no route >&2; echo more; exit 3");
	log_begin(&log);
	say("x");
	run_until_ended(1);
	log_end(&log);
	assert_int_equal(events_notify_counts()[NOTIFY_failed], 1);
	expect_logged(&log, "script: ended with status 3: no route; events that it was given: 1 ");
}

static void a_command_that_does_not_exist_is_counted_and_logged(void **unused)
{
	struct test_log log;

	begin();
	events_set_command("/nonexistent/command x");
	log_begin(&log);
	say("x");
	run_until_ended(1);
	log_end(&log);
	assert_int_equal(events_notify_counts()[NOTIFY_not_started], 1);
	expect_logged(&log, "/nonexistent/command x: cannot be started: /nonexistent/command: No "
			    "such file or directory");
}

/* The process whose number the script has written. */
static void read_child(char pid[32])
{
	const char *text = content("child");

	snprintf(pid, 32, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Gone, or waiting for its parent. */
static bool has_ended(const void *arg)
{
	char path[64], line[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/stat", (const char *)arg);
	file = fopen(path, "r");
	if (!file)
		return true;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	return !line[0] || strstr(line, ") Z ");
}

static void one_that_hangs_is_killed_with_its_children(void **unused)
{
	char pid[32], text[DURATION_TEXT], message[128];
	struct test_log log;
	unsigned limit_ms;

	log_begin(&log);
	limit_ms = run_to_its_limit("sleep 1000 &\necho $! >child.new; mv child.new child; wait");
	log_end(&log);
	snprintf(message, sizeof(message), "killed after %s, with what it had started",
		 duration_exact(limit_ms, text));
	expect_logged(&log, message);
	read_child(pid);
	run_until(has_ended, pid);
}

static void what_it_leaves_behind_ends_with_it(void **unused)
{
	char pid[32];

	begin();
	use_script("sleep 1000 &\necho $! >child");
	say("x");
	run_until_ended(1);
	assert_int_equal(events_notify_counts()[NOTIFY_ok], 1);
	read_child(pid);
	run_until(has_ended, pid);
}

/* It has left session and group, and its parent has ended. */
#define DAEMON "setsid sh -c 'echo $$ >child.new; mv child.new child; exec sleep 1000' &\n"

static void what_has_left_its_session_is_killed_with_it(void **unused)
{
	char pid[32];

	run_to_its_limit("(" DAEMON ")\nsleep 1000");
	read_child(pid);
	assert_true(has_ended(pid));
}

static void what_has_left_its_session_ends_with_it(void **unused)
{
	char pid[32];

	begin();
	use_script("(" DAEMON ")\nuntil test -e child; do sleep 0.01; done; exit 3");
	say("x");
	run_until_ended(1);
	assert_int_equal(events_notify_counts()[NOTIFY_failed], 1);
	read_child(pid);
	assert_true(has_ended(pid));
}

static void what_has_left_its_session_ends_with_lbd(void **unused)
{
	char pid[32];

	begin();
	use_script("(" DAEMON ")\nsleep 1000");
	say("x");
	run_until(file_is_there, "child");
	read_child(pid);
	events_close();
	assert_true(has_ended(pid));
}

/* As its process, which is asked to end it, does not. */
static void one_whose_process_is_stopped_is_killed_all_the_same(void **unused)
{
	char pid[32];

	run_to_its_limit("echo $$ >child.new; mv child.new child; kill -STOP $PPID; "
			 "exec sleep 1000");
	read_child(pid);
	run_until(has_ended, pid);
}

static void one_that_a_signal_ends_is_said_to_be(void **unused)
{
	struct test_log log;

	begin();
	use_script("kill -SEGV $$");
	log_begin(&log);
	say("x");
	run_until_ended(1);
	log_end(&log);
	expect_logged(&log, "killed by SIGSEGV");
}

static void one_that_prints_without_end_is_not_listened_to(void **unused)
{
	begin();
	use_script("exec yes");
	say("x");
	run_until_ended(1);
	assert_int_equal(events_notify_counts()[NOTIFY_failed], 1);
}

static void one_that_reads_nothing_is_no_failure(void **unused)
{
	char text[1000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	begin();
	use_script("exit 0");
	for (unsigned i = 0; i < 40; i++)
		say(text);
	run_until_ended(1);
	assert_int_equal(events_notify_counts()[NOTIFY_ok], 1);
}

static void one_that_runs_ends_with_lbd(void **unused)
{
	char pid[32];

	begin();
	use_script("echo $$ >child.new; mv child.new child; exec sleep 1000");
	say("x");
	run_until(file_is_there, "child");
	read_child(pid);
	events_close();
	assert_true(has_ended(pid));
}

static void what_came_last_is_handed_over_before_the_end(void **unused)
{
	begin_with(LONG_MS, PATIENCE_MS);
	use_script("cat >input");
	say("the last");
	events_close(); /* the loop has had no turn since */
	assert_non_null(strstr(content("input"), "the last"));
}

static void one_that_runs_may_end_and_the_next_is_handed_over_before_the_end(void **unused)
{
	begin_with(LONG_MS, PATIENCE_MS);
	use_script("cat >>input; touch began; sleep 0.3; echo ended >>input");
	say("one");
	run_until(file_is_there, "began");
	say("two");
	events_close();
	assert_non_null(strstr(content("input"), "one"));
	assert_non_null(strstr(content("input"), "two"));
	assert_non_null(strstr(strstr(content("input"), "ended") + 1, "ended"));
}

static void no_descriptor_is_left(void **unused)
{
	unsigned before;

	begin();
	use_script("exit 0");
	say("x");
	run_until_ended(1);
	before = test_file_descriptors();
	say("x");
	run_until_ended(2);
	events_set_command("/nonexistent");
	say("x");
	run_until_ended(3);
	assert_int_equal(test_file_descriptors(), before);
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(events_are_handed_over_as_lines_of_json),
	    TEST(the_environment_has_the_newest_event),
	    TEST(arguments_are_passed_as_they_are),
	    TEST(one_runs_at_a_time_and_what_comes_meanwhile_is_bundled),
	    TEST(what_was_before_the_command_is_not_for_it),
	    TEST(a_flood_is_handed_over_whole_or_said_to_be_missed),
	    TEST(it_has_no_rights_and_a_session_of_its_own),
	    TEST(a_failure_is_counted_and_logged_with_its_first_line),
	    TEST(a_command_that_does_not_exist_is_counted_and_logged),
	    TEST(one_that_hangs_is_killed_with_its_children),
	    TEST(what_it_leaves_behind_ends_with_it),
	    TEST(what_has_left_its_session_is_killed_with_it),
	    TEST(what_has_left_its_session_ends_with_it),
	    TEST(what_has_left_its_session_ends_with_lbd),
	    TEST(one_whose_process_is_stopped_is_killed_all_the_same),
	    TEST(one_that_a_signal_ends_is_said_to_be),
	    TEST(one_that_prints_without_end_is_not_listened_to),
	    TEST(one_that_reads_nothing_is_no_failure),
	    TEST(one_that_runs_ends_with_lbd),
	    TEST(what_came_last_is_handed_over_before_the_end),
	    TEST(one_that_runs_may_end_and_the_next_is_handed_over_before_the_end),
	    TEST(no_descriptor_is_left),
	};
	int failed;

	if (command_is_process(argc, argv))
		return command_run_process(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* as lbd does: a command need not read what it is given */
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_EMERG);
	if (!mkdtemp(directory) || chmod(directory, 0777))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
