/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks of type exec. That nothing of a command is left is tested in host/test_command.c.
 * This program is the keeper of the commands. */
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
#include "health_found.h"
#include "health_loop.h"
#include "lbd/health/health.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_netns.h"

static char directory[] = "/tmp/lbd-test-exec-XXXXXX";

static struct health_spec spec_of(const char *command)
{
	return (struct health_spec){.type = (char *)"exec",
				    .command = (char *)command,
				    .interval_ms = 200,
				    .timeout_ms = PATIENT_MS,
				    .rise = 1,
				    .fall = 1};
}

static struct health_check *add(const struct health_spec *spec, enum health_status initial,
				struct found *found)
{
	const struct addr addr = test_addr("192.0.2.7");
	struct health_check *check =
	    health_add(health, spec, &addr, 8080, initial, on_result, found);

	assert_non_null(check);
	return check;
}

static struct found probe_as(const struct health_spec *spec, enum health_status initial)
{
	struct found found = {0};
	struct health_check *check = add(spec, initial, &found);

	assert_true(run_until(&found.results, 1));
	health_remove(check);
	return found;
}

static struct found probe(const char *command)
{
	const struct health_spec spec = spec_of(command);

	return probe_as(&spec, HEALTH_UNKNOWN);
}

static char *in_directory(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void a_command_that_ends_well_is_up(void **state)
{
	struct found found = probe("/bin/true");

	assert_int_equal(found.status, HEALTH_UP);
	assert_string_equal(found.why, "");
}

static void its_status_and_its_first_line_are_the_reason(void **state)
{
	struct found found = probe("/bin/sh\n-c\necho replica lags 40 s >&2; echo more; exit 2");

	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "command: ended with status 2: replica lags 40 s");
	found = probe("/bin/false");
	assert_string_equal(found.why, "command: ended with status 1");
	found = probe("/bin/sh\n-c\nkill -ABRT $$");
	assert_string_equal(found.why, "command: killed by SIGABRT");
}

static void a_command_that_cannot_be_started_says_nothing_about_the_backend(void **state)
{
	struct health_spec spec = spec_of("/nonexistent");
	struct found found = probe_as(&spec, HEALTH_UP);

	assert_int_equal(found.outcome, HEALTH_NOT_RUN);
	assert_int_equal(found.status, HEALTH_UP);
	assert_string_equal(found.why, "probe not run: command: ended with status 127: "
				       "/nonexistent: No such file or directory");
	spec.command = (char *)"/etc/passwd";
	found = probe_as(&spec, HEALTH_DOWN);
	assert_int_equal(found.outcome, HEALTH_NOT_RUN);
	assert_int_equal(found.status, HEALTH_DOWN);
}

static void a_command_that_hangs_is_killed_at_its_timeout(void **state)
{
	struct health_spec spec = spec_of("/bin/sleep\n1000");
	struct found found;

	spec.timeout_ms = 150;
	found = probe_as(&spec, HEALTH_UNKNOWN);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "command: killed after 150ms");
}

static void a_command_that_floods_its_output_is_judged_by_its_end(void **state)
{
	struct found found = probe("/bin/sh\n-c\nyes | head -c 1000000; exit 0");

	assert_int_equal(found.status, HEALTH_UP);
}

/* Words are passed as they are, but those that name what is known; and so is the environment. */
static void a_command_is_told_what_it_checks(void **state)
{
	static const struct health_names names = {.service = "web",
						  .vip = "192.0.2.10",
						  .vip_port = "80",
						  .protocol = "tcp",
						  .backend = "web-1"};
	struct health_spec spec =
	    spec_of("/bin/sh\n-c\n"
		    "[ \"$1 $2 $3 $4\" = '192.0.2.7 8080 web $LBD_PORT.' ] || exit 1; "
		    "[ \"$LBD_SERVICE $LBD_VIP $LBD_VIP_PORT $LBD_PROTOCOL $LBD_BACKEND\" = "
		    "'web 192.0.2.10 80 tcp web-1' ] || exit 2; "
		    "[ \"$LBD_ADDRESS $LBD_PORT\" = '192.0.2.7 8080' ] || exit 3; "
		    "[ \"$5\" = '' ] && [ $# = 5 ] || exit 4\n"
		    "sh\n$LBD_ADDRESS\n$LBD_PORT\n$LBD_SERVICE\n$LBD_PORT.\n");
	struct found found = {0};
	struct health_check *check = add(&spec, HEALTH_UNKNOWN, &found);

	assert_int_equal(health_name(check, &names), 0);
	assert_int_equal(health_name(check, &names), 0); /* a reload says it again */
	assert_true(run_until(&found.results, 1));
	health_remove(check);
	assert_string_equal(found.why, "");
	assert_int_equal(found.status, HEALTH_UP);
}

static void no_shell_reads_the_command(void **state)
{
	char command[512], *mark = in_directory("mark");

	snprintf(command, sizeof(command), "/bin/echo\n;\ntouch\n%s\n$(touch %s)", mark, mark);
	assert_int_equal(probe(command).status, HEALTH_UP);
	assert_int_not_equal(access(mark, F_OK), 0);
}

static void a_check_removed_while_its_command_runs_is_silent(void **state)
{
	struct health_spec spec = spec_of(NULL);
	char command[512], *mark = in_directory("runs");
	struct found found = {0};
	struct health_check *check;
	uint64_t end = clock_monotonic_ms() + HANG_MS;

	snprintf(command, sizeof(command), "/bin/sh\n-c\ntouch $0; sleep 1000\n%s", mark);
	spec.command = command;
	check = add(&spec, HEALTH_UNKNOWN, &found);
	while (access(mark, F_OK) && clock_monotonic_ms() < end)
		turn();
	assert_int_equal(access(mark, F_OK), 0);
	health_remove(check);
	assert_int_equal(found.results, 0);
}

/* More than run at a time: those that have to wait are neither failed nor not run. */
static void three_hundred_commands_at_once_are_all_up(void **state)
{
	enum { COUNT = 300 };
	static struct found found[COUNT];
	static struct health_check *checks[COUNT];
	struct health_spec spec = spec_of("/bin/true");

	memset(found, 0, sizeof(found));
	spec.interval_ms = 10000;
	for (unsigned i = 0; i < COUNT; i++)
		checks[i] = add(&spec, HEALTH_UNKNOWN, &found[i]);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(run_until(&found[i].results, 1));
		assert_string_equal(found[i].why, "");
		assert_int_equal(found[i].status, HEALTH_UP);
	}
	for (unsigned i = 0; i < COUNT; i++)
		health_remove(checks[i]);
}

/* Where lbd itself has no address that it could send a check from. */
static void a_command_needs_no_source_address(void **state)
{
	const struct health_spec spec = spec_of("/bin/true");
	const struct addr only = test_addr("127.0.0.1");
	struct found found = {0};
	struct health_check *check;

	needs_root();
	assert_int_equal(health_avoid(health, &only, 1), 0);
	check = health_add(health, &spec, &only, 80, HEALTH_UNKNOWN, on_result, &found);
	assert_non_null(check);
	assert_true(run_until(&found.results, 1));
	health_remove(check);
	assert_string_equal(found.why, "");
	assert_int_equal(found.status, HEALTH_UP);
}

/* It may have `to: vip` from `defaults`, which says nothing about a command: there is no way. */
static void a_command_needs_no_way_to_the_vip(void **state)
{
	struct health_spec spec = spec_of("/bin/true");

	spec.to = HEALTH_TO_VIP;
	assert_int_equal(probe_as(&spec, HEALTH_UNKNOWN).status, HEALTH_UP);
}

static void beside_other_checks_it_counts_as_they_do(void **state)
{
	struct health_spec list[] = {spec_of("/bin/true"), spec_of("/bin/false")};
	struct health_spec spec = spec_of(NULL);
	struct found found;

	spec.type = (char *)"several";
	spec.checks = list;
	spec.checks_count = 2;
	found = probe_as(&spec, HEALTH_UNKNOWN);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "check 2, exec: command: ended with status 1");
	spec.any = true;
	found = probe_as(&spec, HEALTH_UNKNOWN);
	assert_int_equal(found.status, HEALTH_UP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_loop, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_command_that_ends_well_is_up),
	    TEST(its_status_and_its_first_line_are_the_reason),
	    TEST(a_command_that_cannot_be_started_says_nothing_about_the_backend),
	    TEST(a_command_that_hangs_is_killed_at_its_timeout),
	    TEST(a_command_that_floods_its_output_is_judged_by_its_end),
	    TEST(a_command_is_told_what_it_checks),
	    TEST(no_shell_reads_the_command),
	    TEST(a_check_removed_while_its_command_runs_is_silent),
	    TEST(three_hundred_commands_at_once_are_all_up),
	    TEST(a_command_needs_no_source_address),
	    TEST(a_command_needs_no_way_to_the_vip),
	    TEST(beside_other_checks_it_counts_as_they_do),
	};
	char text[128];
	int failed;

	if (command_is_process(argc, argv))
		return command_run_process(argc, argv);
	if (health_is_worker(argc, argv))
		return health_run_worker();
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory) || chmod(directory, 0777))
		return 1;
	failed = cmocka_run_group_tests(tests, netns_enter, NULL);
	snprintf(text, sizeof(text), "rm -rf %s", directory);
	return system(text) || failed;
}
