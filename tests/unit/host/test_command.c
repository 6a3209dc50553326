/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/host/command.c, keeper.c: what a command may do, and that nothing of it is left. What it
 * is given and what is logged is tested in events/test_hook.c. This program is its own keeper. */
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

#include "common/clock.h"
#include "lbd/host/host.h"
#include "support/test_file.h"

#define PATIENCE_MS 60000 /* a wait that long means that the test hangs */
#define LONG_MS     600000

/* Others may write to it, as the command is another user's process. */
static char directory[] = "/tmp/lbd-test-command-XXXXXX";
static struct event_base *base;
static struct commands *commands;

struct ended {
	unsigned count;
	struct command_result result;
	char line[COMMAND_LINE_MAX + 1];
};

static void on_done(void *arg, const struct command_result *result)
{
	struct ended *ended = arg;

	ended->count++;
	ended->result = *result;
	snprintf(ended->line, sizeof(ended->line), "%s", result->line);
}

static int set_up(void **unused)
{
	base = loop_new();
	return !base || commands_new(base, NULL, &commands);
}

static int tear_down(void **unused)
{
	char text[128];

	commands_free(commands);
	event_base_free(base);
	snprintf(text, sizeof(text), "rm -rf %s/*", directory);
	return system(text);
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	usleep(1000);
}

static void run_until_ended(struct ended *ended)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (!ended->count) {
		assert_true(clock_monotonic_ms() < end);
		turn();
	}
}

static void run_until_none_is_left(void)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (commands_running(commands)) {
		assert_true(clock_monotonic_ms() < end);
		turn();
	}
}

/* A line for /bin/sh, in the directory. */
static struct command *start(const char *script, unsigned limit_ms, struct ended *ended)
{
	static const char *const environment[] = {"GREETING=hello", NULL};
	char text[1024];
	const char *const words[] = {"/bin/sh", "-c", text, NULL};
	struct command_options options = {.words = words,
					  .environment = environment,
					  .limit_ms = limit_ms,
					  .priority = -1,
					  .done = on_done,
					  .arg = ended};
	struct command *command;

	snprintf(text, sizeof(text), "cd %s\n%s", directory, script);
	*ended = (struct ended){0};
	assert_int_equal(command_start(commands, &options, &command), 0);
	return command;
}

static struct ended run(const char *script, unsigned limit_ms)
{
	struct ended ended;

	start(script, limit_ms, &ended);
	run_until_ended(&ended);
	assert_int_equal(commands_running(commands), 0);
	return ended;
}

static bool is_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return !access(path, F_OK);
}

static void run_until_there(const char *name)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (!is_there(name)) {
		assert_true(clock_monotonic_ms() < end);
		turn();
	}
}

/* The processes whose numbers are in the file have ended, or wait for their parent. */
static unsigned alive_of(const char *name)
{
	char path[128], line[256];
	unsigned pid, alive = 0;
	FILE *pids, *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	pids = fopen(path, "r");
	assert_non_null(pids);
	while (fscanf(pids, "%u", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%u/stat", pid);
		file = fopen(path, "r");
		if (!file)
			continue;
		alive += fgets(line, sizeof(line), file) && !strstr(line, ") Z ");
		fclose(file);
	}
	fclose(pids);
	return alive;
}

/* ---- how it ends ---- */

static void its_status_and_first_line_are_kept(void **unused)
{
	struct ended ended = run("echo $GREETING there; echo more; exit 3", LONG_MS);

	assert_int_equal(ended.result.status, 3);
	assert_int_equal(ended.result.signal, 0);
	assert_false(ended.result.timed_out);
	assert_string_equal(ended.line, "hello there");
	ended = run("printf 'a\\033[2Jb' >&2", LONG_MS);
	assert_int_equal(ended.result.status, 0);
	assert_string_equal(ended.line, "a?[2Jb");
}

static void a_signal_that_ends_it_is_told(void **unused)
{
	struct ended ended = run("kill -SEGV $$", LONG_MS);
	char text[COMMAND_TEXT];

	assert_int_equal(ended.result.signal, SIGSEGV);
	assert_string_equal(command_describe(&ended.result, 0, text), "killed by SIGSEGV");
}

static void one_that_does_not_exist_says_so(void **unused)
{
	static const char *const words[] = {"/nonexistent", NULL};
	struct ended ended = {0};
	struct command_options options = {
	    .words = words, .priority = -1, .done = on_done, .arg = &ended};
	struct command *command;

	assert_int_equal(command_start(commands, &options, &command), 0);
	run_until_ended(&ended);
	assert_int_equal(ended.result.status, COMMAND_NOT_STARTED);
	assert_string_equal(ended.line, "/nonexistent: No such file or directory");
}

/* ---- nothing of it is left ---- */

/* Three of its processes: one of its group, one that has left group and session, and one that has
 * also lost its parent. */
#define FAMILY                                                                                \
	"echo $$ >pids; sleep 1000 & echo $! >>pids\n"                                        \
	"setsid sh -c 'echo $$ >>pids; exec sleep 1000' &\n"                                  \
	"(setsid sh -c 'echo $$ >>pids; sleep 1000 & echo $! >>pids; touch ready; wait' &)\n" \
	"while [ ! -e ready ] || [ $(wc -l <pids) -lt 5 ]; do sleep 0.01; done; touch go\n"

static void what_it_leaves_behind_ends_with_it(void **unused)
{
	struct ended ended = run(FAMILY "exit 4", LONG_MS);

	assert_int_equal(ended.result.status, 4);
	assert_int_equal(alive_of("pids"), 0);
}

/* The limit grows until the machine has started the family in time. */
static void at_its_limit_it_is_killed_with_all_it_has_started(void **unused)
{
	for (unsigned limit_ms = 1000;; limit_ms *= 4) {
		struct ended ended = run("rm -f *\n" FAMILY "wait; sleep 1000", limit_ms);

		assert_true(ended.result.timed_out);
		if (!is_there("go") && limit_ms < PATIENCE_MS / 4)
			continue;
		assert_true(is_there("go"));
		assert_int_equal(alive_of("pids"), 0);
		return;
	}
}

static void one_that_its_owner_ends_is_gone_with_all_it_has_started(void **unused)
{
	struct ended ended;
	struct command *command = start(FAMILY "wait; sleep 1000", 0, &ended);

	run_until_there("go");
	assert_int_not_equal(alive_of("pids"), 0);
	command_end(command);
	run_until_none_is_left();
	assert_int_equal(ended.count, 0);
	assert_int_equal(alive_of("pids"), 0);
}

static void none_is_left_when_their_owner_ends(void **unused)
{
	struct ended ended;

	start(FAMILY "wait; sleep 1000", 0, &ended);
	run_until_there("go");
	commands_free(commands);
	commands = NULL;
	assert_int_equal(ended.count, 0);
	assert_int_equal(alive_of("pids"), 0);
}

static void one_that_ignores_signals_ends_too(void **unused)
{
	struct ended ended = run("trap '' TERM INT HUP; while :; do sleep 1; done", 500);

	assert_true(ended.result.timed_out);
}

/* Each process starts two more and ends: there is always one that no list has. */
static void one_that_forks_without_end_is_ended(void **unused)
{
	struct ended ended = run("f() { echo . >>forks; f & f & }; f; sleep 1000", 1000);

	assert_true(ended.result.timed_out);
	assert_int_equal(commands_running(commands), 0);
	/* and the next one can be started, as no process is left */
	ended = run("exit 0", LONG_MS);
	assert_int_equal(ended.result.status, 0);
}

/* The same, and none is in the group of another. */
static void one_that_forks_into_sessions_of_their_own_is_ended(void **unused)
{
	struct ended ended;
	unsigned limit_ms = 1000;

	do { /* until the machine has started it in time */
		ended = run("echo 'echo $$ >>pids; setsid sh f & setsid sh f &' >f\n"
			    "sh f; sleep 1000",
			    limit_ms);
		assert_true(ended.result.timed_out);
		limit_ms *= 4;
	} while (!is_there("pids") && limit_ms < PATIENCE_MS);
	assert_int_equal(alive_of("pids"), 0);
	ended = run("exit 0", LONG_MS);
	assert_int_equal(ended.result.status, 0);
}

/* ---- it holds up nothing ---- */

static void what_it_prints_without_end_is_not_read(void **unused)
{
	struct ended ended = run("exec yes", LONG_MS);

	assert_string_equal(ended.line, "y");
	assert_int_equal(ended.result.signal, SIGPIPE);
	ended = run("exec tr '\\0' x </dev/zero", LONG_MS);
	assert_int_equal(strlen(ended.line), COMMAND_LINE_MAX);
}

static void no_descriptor_is_left(void **unused)
{
	unsigned before = test_file_descriptors();
	struct ended ended;

	run("exit 0", LONG_MS);
	run("exec yes", LONG_MS);
	command_end(start("sleep 1000", 0, &ended));
	run_until_none_is_left();
	assert_int_equal(test_file_descriptors(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(its_status_and_first_line_are_kept),
	    TEST(a_signal_that_ends_it_is_told),
	    TEST(one_that_does_not_exist_says_so),
	    TEST(what_it_leaves_behind_ends_with_it),
	    TEST(at_its_limit_it_is_killed_with_all_it_has_started),
	    TEST(one_that_its_owner_ends_is_gone_with_all_it_has_started),
	    TEST(none_is_left_when_their_owner_ends),
	    TEST(one_that_ignores_signals_ends_too),
	    TEST(one_that_forks_without_end_is_ended),
	    TEST(one_that_forks_into_sessions_of_their_own_is_ended),
	    TEST(what_it_prints_without_end_is_not_read),
	    TEST(no_descriptor_is_left),
	};
	int failed;

	if (command_is_process(argc, argv))
		return command_run_process(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* as lbd does */
	if (!mkdtemp(directory) || chmod(directory, 0777))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
