/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources/sources.c, file.c and user/lbd/state/sourced.c: files of backends, on plain
 * memory, with tasks as lbd has them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/sources/sources.h"
#include "lbd/state/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_log.h"

#define PATIENCE_MS 60000
#define SERVICES    30 /* at most */

static struct event_base *base;
static struct tasks *tasks;
static struct neigh *neigh;
static struct memory_dataplane *memory;
static struct state *state;
static struct source_table *sources;
static char directory[64], file[96], beside[96], kept[96], config_path[96];
static bool begun;

static void write_config(const char *lines)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "metrics: off\nlimits: { backends: 8 }\nservices:\n"
		 "  - name: web\n    vip: 192.0.2.1\n    protocol: tcp\n    port: 80\n"
		 "    health: { type: none }\n%s",
		 lines);
	test_file_put(config_path, text);
}

static void from_file(const char *more)
{
	char lines[512];

	snprintf(lines, sizeof(lines), "    backends-from: { file: %s, min: 2 }\n%s", file, more);
	write_config(lines);
}

/* Renamed into place. */
static void put(const char *text)
{
	test_file_put(beside, text);
	assert_int_equal(rename(beside, file), 0);
}

static void turn(uint64_t until)
{
	const struct timeval soon = clock_span_ms(100);

	assert_true(clock_monotonic_ms() < until);
	event_base_loopexit(base, &soon);
	event_base_dispatch(base);
}

static void run_begin(void *arg)
{
	struct error err;

	if (state_begin(state, &err))
		fail_msg("%s", err.text);
	source_table_begin(sources);
	begun = true;
}

static void start(void)
{
	struct state_options options = {.base = base,
					.config_path = config_path,
					.overrides_path = kept,
					.dataplane = memory->dp,
					.neigh = neigh,
					.tasks = tasks};
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	struct error err = {0};

	if (config_load(config_path, &options.config, &err) || state_new(&options, &state, &err) ||
	    source_table_new(&(struct source_table_options){base, state, tasks}, &sources, &err))
		fail_msg("%s", err.text);
	begun = false;
	assert_int_equal(tasks_add(tasks, run_begin, NULL), 0);
	while (!begun)
		turn(until);
}

static void stop(void)
{
	tasks_finish(tasks);
	source_table_free(sources);
	state_free(state);
}

static int set_up(void **unused)
{
	struct error err;

	strcpy(directory, "/tmp/lbd-sources-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(file, sizeof(file), "%s/web", directory);
	snprintf(beside, sizeof(beside), "%s/web.new", directory);
	snprintf(kept, sizeof(kept), "%s/overrides.json", directory);
	snprintf(config_path, sizeof(config_path), "%s/lbd.yaml", directory);
	base = loop_new();
	if (!base || tasks_new(base, &tasks) || neigh_new(base, &neigh, &err))
		return -1;
	memory = memory_dataplane_new((struct memory_limits){SERVICES, 8, 65536, 64});
	from_file("");
	return 0;
}

static int tear_down(void **unused)
{
	stop();
	tasks_free(tasks);
	neigh_free(neigh);
	memory_dataplane_free(memory);
	event_base_free(base);
	unlink(file);
	unlink(beside);
	unlink(kept);
	unlink(config_path);
	assert_int_equal(rmdir(directory), 0);
	return 0;
}

/* The backends of web that are not leaving, "10.0.0.1 10.0.0.2". */
static const char *members(void)
{
	static char text[512];
	const struct service *service = state_find_service(state, "web");
	size_t used = 0;

	*text = 0;
	for (unsigned i = 0; i < service->backends_count; i++) {
		char address[ADDR_TEXT];

		if (!service->backends[i]->removed)
			used += (size_t)snprintf(
			    text + used, sizeof(text) - used, "%s%s", used ? " " : "",
			    addr_format(&service->backends[i]->address, address));
	}
	return text;
}

static void wait_for_members(const char *expected)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (strcmp(members(), expected) != 0)
		turn(until);
}

static void wait_for_failure(const char *why)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	const struct source_status *status;

	while (!(status = state_source_status(state, "web")) || !strstr(status->why, why))
		turn(until);
	/* not of the wall clock, of which a step would be a long failure */
	assert_true(status->failed_ms && status->failed_ms <= clock_monotonic_ms() &&
		    clock_monotonic_ms() - status->failed_ms <= PATIENCE_MS);
}

static void a_file_is_followed_when_it_is_replaced(void **unused)
{
	const struct source_status *status;

	put("10.0.0.1\n10.0.0.2 weight=7 name=two\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	assert_int_equal(state_find_service(state, "web")->backends[1]->weight, 7);
	assert_int_equal(state_find_service(state, "web")->backends[1]->origin, ORIGIN_source);
	put("10.0.0.2 weight=9 name=two\n10.0.0.3 name=three\n10.0.0.4\n");
	wait_for_members("10.0.0.2 10.0.0.3 10.0.0.4");
	status = state_source_status(state, "web");
	assert_int_equal(status->named, 3);
	assert_false(status->failed_ms);
	assert_true(status->listed_ms);
	assert_int_equal(state_overrides_count(state), 0);
}

/* With a thousand of them in one directory each change would have all read. */
static void what_else_changes_in_the_directory_has_no_file_read(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	usleep(1500000); /* one that has just been written is read again */
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	for (unsigned i = 0; i < 4; i++) {
		test_file_put(beside, "10.0.0.9\n");
		turn(clock_monotonic_ms() + PATIENCE_MS);
	}
	assert_int_equal(state_source_status(state, "web")->lists, 1);
	put("10.0.0.1\n10.0.0.3\n");
	wait_for_members("10.0.0.1 10.0.0.3");
}

/* As an archive is unpacked, or a file is copied with its time. */
static void one_that_is_as_long_and_as_old_is_read_too(void **unused)
{
	const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

	put("10.0.0.1\n10.0.0.2\n");
	assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
	usleep(1500000);
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	test_file_put(file, "10.0.0.1\n10.0.0.3\n"); /* the same inode */
	assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
	wait_for_members("10.0.0.1 10.0.0.3");
}

static void a_file_that_names_too_few_or_nonsense_changes_nothing(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	put("");
	wait_for_failure("it names 0 backends: expected 2 (min) or more");
	put("10.0.0.3\n");
	wait_for_failure("it names 1 backend: expected 2 (min) or more");
	put("10.0.0.3\n10.0.0.4\nnonsense\n");
	wait_for_failure("line 3: nonsense: expected the address of a host");
	unlink(file);
	wait_for_failure("No such file or directory");
	put("192.0.2.1\n10.0.0.3\n");
	wait_for_failure("1 of the 2 that it names cannot be backends, first: 192.0.2.1: ");
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	put("10.0.0.1\n10.0.0.2\n10.0.0.3\n192.0.2.1\n");
	wait_for_members("10.0.0.1 10.0.0.2 10.0.0.3");
}

/* Whoever may add a service could have lbd show its keys. */
static void a_file_that_not_all_may_read_is_not_quoted(void **unused)
{
	mode_t mask;

	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	unlink(file);
	mask = umask(0077);
	put("10.0.0.1\n1f2e3d4c\n");
	umask(mask);
	wait_for_failure("line 2: expected a backend; what is there is shown of files that "
			 "everybody may read");
}

static void the_last_list_stays_over_a_restart(void **unused)
{
	const struct addr two = test_addr("10.0.0.2");

	put("10.0.0.1\n10.0.0.2 name=two\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	stop();
	unlink(file);
	start();
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	wait_for_failure("No such file or directory");
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	assert_string_equal(service_find_backend(state_find_service(state, "web"), &two)->tag->name,
			    "two");
}

/* ---- a change that takes long ---- */

static atomic_ulong ahead_ms; /* of the clock */
static uint64_t held_up_ms;   /* each change */

uint64_t __real_clock_monotonic_ms(void);
uint64_t __wrap_clock_monotonic_ms(void);
uint64_t __wrap_clock_monotonic_ms(void)
{
	return __real_clock_monotonic_ms() + ahead_ms;
}

int __real_state_source_apply(struct state *to, struct source_change *changes, unsigned count);
int __wrap_state_source_apply(struct state *to, struct source_change *changes, unsigned count);
int __wrap_state_source_apply(struct state *to, struct source_change *changes, unsigned count)
{
	int rc = __real_state_source_apply(to, changes, count);

	ahead_ms += held_up_ms;
	return rc;
}

/* ---- a file system that does not answer, or fails: that of the source's file ---- */

static atomic_bool hangs;
static atomic_int fails; /* 0, or -errno of each read */
static atomic_uint hanging;

ssize_t __real_file_read(int fd, char *text, size_t max);
ssize_t __wrap_file_read(int fd, char *text, size_t max);
ssize_t __wrap_file_read(int fd, char *text, size_t max)
{
	char link[40], path[128] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0 || strcmp(path, file) != 0)
		return __real_file_read(fd, text, max);
	atomic_fetch_add(&hanging, 1);
	while (hangs)
		usleep(1000);
	atomic_fetch_sub(&hanging, 1);
	if (fails)
		return fails;
	return __real_file_read(fd, text, max);
}

static void wait_for_hanging(unsigned count)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (hanging != count)
		turn(until);
}

static void let_go(void)
{
	hangs = false;
	while (hanging)
		usleep(1000);
}

static void reload(void);

static void a_file_system_that_hangs_holds_up_neither_loop_nor_tasks(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	hangs = true;
	put("10.0.0.1\n10.0.0.3\n");
	wait_for_hanging(1);
	from_file("    algorithm: round-robin\n");
	reload(); /* a task, and the loop that waits for its end */
	assert_int_equal(hanging, 1);
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	hangs = false;
	wait_for_members("10.0.0.1 10.0.0.3");
}

static void one_that_hangs_is_a_failure_and_may_come_back(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	hangs = true;
	put("10.0.0.1\n10.0.0.3\n");
	wait_for_failure("its file system has not answered for 5 s");
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	assert_int_equal(hanging, 1); /* polls have not begun others */
	hangs = false;
	wait_for_members("10.0.0.1 10.0.0.3");
	assert_false(state_source_status(state, "web")->failed_ms);
}

static void wait_for_recovery(void)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (state_source_status(state, "web")->failed_ms)
		turn(until);
}

/* The file is as it was when it could not be read: nothing of it has to change once more. */
static void one_that_could_not_be_read_for_a_while_is_read_again(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	fails = -EIO;
	put("10.0.0.1\n10.0.0.3\n");
	wait_for_failure("Input/output error");
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	fails = 0;
	wait_for_members("10.0.0.1 10.0.0.3");
	assert_false(state_source_status(state, "web")->failed_ms);
}

/* As a debugger, a freezer or a disk may hold lbd up in the midst of a change. */
static void a_change_that_was_held_up_is_not_paid_for_with_a_long_rest(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	held_up_ms = 600000;
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	held_up_ms = 0;
	put("10.0.0.1\n10.0.0.3\n");
	ahead_ms += 31000;
	wait_for_members("10.0.0.1 10.0.0.3");
}

static void a_want_of_descriptors_is_a_failure_that_passes(void **unused)
{
	struct rlimit usual, none;

	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = usual;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	wait_for_failure("out of memory or descriptors");
	setrlimit(RLIMIT_NOFILE, &usual);
	wait_for_recovery();
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
}

/* The thread outlives what it was begun for, and the end of lbd does not wait for it. */
static void an_end_does_not_wait_for_one_that_hangs(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	hangs = true;
	put("10.0.0.1\n10.0.0.3\n");
	wait_for_hanging(1);
	stop();
	assert_int_equal(hanging, 1);
	let_go();
	start();
	wait_for_members("10.0.0.1 10.0.0.3");
}

static int reloaded;

static void run_reload(void *arg)
{
	struct error err;

	if (state_reload(state, NULL, &err))
		fail_msg("%s", err.text);
	reloaded++;
}

static void reload(void)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	int before = reloaded;

	assert_int_equal(tasks_add(tasks, run_reload, NULL), 0);
	while (reloaded == before)
		turn(until);
}

static void a_reload_keeps_them_and_the_config_has_the_last_word(void **unused)
{
	const struct addr one = test_addr("10.0.0.1");

	put("10.0.0.1 weight=7\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	reload();
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	from_file("    backends: [{ address: 10.0.0.1 }]\n");
	reload();
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	assert_int_equal(service_find_backend(state_find_service(state, "web"), &one)->weight, 100);
	from_file("");
	reload();
	wait_for_members("10.0.0.2 10.0.0.1"); /* the source still names it */
	assert_int_equal(service_find_backend(state_find_service(state, "web"), &one)->weight, 7);
	write_config("    backends: [{ address: 10.0.0.9 }]\n");
	reload();
	assert_string_equal(members(), "10.0.0.9");
	assert_null(state_source_status(state, "web"));
	assert_int_equal(state->overrides.count, 0);
}

/* ---- one that hangs under the files of a source on the network ---- */

static void from_server(const char *more)
{
	char lines[512];

	snprintf(
	    lines, sizeof(lines),
	    "    backends-from: { consul: \"http://127.0.0.1:1\", service: web, token-file: %s }\n%s",
	    file, more);
	write_config(lines);
}

static void a_token_that_hangs_holds_up_neither_loop_nor_tasks(void **unused)
{
	put("secret-of-one-line\n");
	from_server("");
	hangs = true;
	start(); /* a task, and the loop that waits for its end */
	wait_for_hanging(1);
	from_server("    backends: [{ address: 10.0.0.9 }]\n");
	reload();
	assert_string_equal(members(), "10.0.0.9");
	wait_for_failure("their file system has not answered for 5 s");
	assert_int_equal(hanging, 1); /* it is asked for once */
	hangs = false;
	wait_for_failure("the source process"); /* which a test has not: it is followed now */
}

static void an_end_does_not_wait_for_a_token_that_hangs(void **unused)
{
	put("secret-of-one-line\n");
	from_server("");
	hangs = true;
	start();
	wait_for_hanging(1);
	stop();
	assert_int_equal(hanging, 1);
	let_go();
	start();
	wait_for_failure("the source process");
}

static void a_source_that_the_config_no_longer_has_is_not_followed(void **unused)
{
	uint64_t until;

	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	write_config("    backends-from: { file: /nonexistent/lbd }\n");
	reload();
	wait_for_failure("No such file or directory");
	put("10.0.0.1\n10.0.0.2\n10.0.0.3\n");
	for (until = clock_monotonic_ms() + 500; clock_monotonic_ms() < until;)
		turn(until + PATIENCE_MS);
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
	assert_true(state_source_status(state, "web")->failed_ms);
}

struct hand {
	int weight, removed, drained;
	bool done;
};

static void run_by_hand(void *arg)
{
	const struct addr one = test_addr("10.0.0.1");
	struct hand *hand = arg;
	struct error err;

	hand->weight = state_backend_weight(state, "web", &one, 3, &err);
	hand->removed = state_backend_remove(state, "web", &one, true, true, &err);
	hand->drained = state_backend_drain(state, "web", &one, true, NULL, &err);
	hand->done = true;
}

static void by_hand_they_can_be_drained_only_and_stay_so(void **unused)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	const struct addr one = test_addr("10.0.0.1");
	struct hand hand = {.done = false};

	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	assert_int_equal(tasks_add(tasks, run_by_hand, &hand), 0);
	while (!hand.done)
		turn(until);
	assert_int_equal(hand.weight, -EBUSY);
	assert_int_equal(hand.removed, -EBUSY);
	assert_int_equal(hand.drained, 0);
	put("10.0.0.1 weight=9\n10.0.0.2\n10.0.0.3\n");
	wait_for_members("10.0.0.1 10.0.0.2 10.0.0.3");
	assert_true(service_find_backend(state_find_service(state, "web"), &one)->drain);
}

static void a_name_that_another_has_is_left_out(void **unused)
{
	const struct source_status *status;

	from_file("    backends: [{ address: 10.0.0.9, name: nine }]\n");
	put("10.0.0.1 name=nine\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.9 10.0.0.1 10.0.0.2");
	status = state_source_status(state, "web");
	assert_int_equal(status->ignored, 1);
	assert_string_equal(status->ignored_why,
			    "10.0.0.1: name nine: another backend of the service has it");
}

static uint16_t port_of(const char *text)
{
	const struct addr address = test_addr(text);

	return service_find_backend(state_find_service(state, "web"), &address)->port;
}

static void a_port_is_where_the_backend_gets_its_packets(void **unused)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	from_file("    forward: nat\n    backend-port: 8080\n");
	put("10.0.0.1 port=8081\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	assert_int_equal(port_of("10.0.0.1"), 8081);
	assert_int_equal(port_of("10.0.0.2"), 8080);
	put("10.0.0.1 port=8082\n10.0.0.2\n");
	while (port_of("10.0.0.1") != 8082)
		turn(until);
	stop();
	assert_int_equal(unlink(file), 0);
	start();
	assert_int_equal(port_of("10.0.0.1"), 8082);
}

static void a_port_that_the_service_cannot_use_is_ignored_and_named(void **unused)
{
	const struct source_status *status;

	put("10.0.0.1 port=8081\n10.0.0.2\n10.0.0.3\n");
	start();
	wait_for_members("10.0.0.2 10.0.0.3");
	status = state_source_status(state, "web");
	assert_int_equal(status->ignored, 1);
	assert_string_equal(status->ignored_why,
			    "10.0.0.1: port: 8081: has no meaning without `forward: nat`: a "
			    "backend gets packets at the VIP's port");
}

struct hinted {
	struct source_change change;
	bool done;
};

static void run_apply(void *arg)
{
	struct hinted *hinted = arg;

	state_source_apply(state, &hinted->change, 1);
	hinted->done = true;
}

/* As an SRV record has one, whoever reads it. */
static void a_port_that_nobody_asked_for_is_no_mistake(void **unused)
{
	const struct source_backend named[] = {
	    {.address = test_addr("10.0.0.1"), .weight = 100, .port = 8081},
	    {.address = test_addr("10.0.0.2"), .weight = 100, .port = 8082}};
	struct hinted hinted = {
	    .change = {.service = "web", .list = named, .count = 2, .has_ports = true}};
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	start();
	assert_int_equal(tasks_add(tasks, run_apply, &hinted), 0);
	while (!hinted.done)
		turn(until);
	assert_int_equal(hinted.change.rc, 0);
	assert_int_equal(hinted.change.done.added, 2);
	assert_int_equal(hinted.change.done.ignored, 0);
	assert_int_equal(port_of("10.0.0.1"), 0);
}

static unsigned failed_sources(void)
{
	unsigned all, failed;

	state_count_sources(state, &all, &failed);
	return failed;
}

/* What all share has failed: a server, a disk, the source process. */
static void when_all_fail_not_each_has_a_line(void **unused)
{
	static struct test_log log;
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	char text[8192] = "metrics: off\nservices:\n";
	unsigned lines = 0;

	for (unsigned i = 0; i < SERVICES; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "  - { vip: 192.0.2.%u, protocol: tcp, port: 80, health: { type: none }, "
			 "backends-from: { file: /nonexistent/lbd } }\n",
			 i + 1);
	test_file_put(config_path, text);
	test_log_begin(&log);
	start();
	while (failed_sources() < SERVICES)
		turn(until);
	for (const char *at = test_log_end(&log); (at = strstr(at, "No such file")); at++)
		lines++;
	assert_int_equal(lines, 20);
}

static void wait_for_ignored(unsigned ignored)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (state_source_status(state, "web")->ignored != ignored)
		turn(until);
}

/* The VIP is no backend of its own. */
static void what_is_ignored_now_and_then_does_not_flood_the_log(void **unused)
{
	static struct test_log log;
	unsigned lines = 0;

	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	test_log_begin(&log);
	for (unsigned i = 0; i < 4; i++) {
		put("10.0.0.1\n10.0.0.2\n10.0.0.3\n192.0.2.1\n");
		wait_for_ignored(1);
		put("10.0.0.1\n10.0.0.2\n");
		wait_for_ignored(0);
	}
	for (const char *at = test_log_end(&log); (at = strstr(at, "ignored, first")); at++)
		lines++;
	assert_int_equal(lines, 1);
}

static void two_may_exchange_their_names(void **unused)
{
	const struct addr one = test_addr("10.0.0.1"), two = test_addr("10.0.0.2");
	const struct service *service;

	put("10.0.0.1 name=a\n10.0.0.2 name=b\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	put("10.0.0.1 name=b\n10.0.0.2 name=a\n10.0.0.3\n");
	wait_for_members("10.0.0.1 10.0.0.2 10.0.0.3");
	service = state_find_service(state, "web");
	assert_string_equal(config_tag_name(service_find_backend(service, &one)->tag), "b");
	assert_string_equal(config_tag_name(service_find_backend(service, &two)->tag), "a");
	assert_int_equal(state_source_status(state, "web")->ignored, 0);
}

#define TWO_SERVICES                                                                       \
	"    backends-from: { file: %s }\n"                                                \
	"  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 80, health: { type: none }, " \
	"backends-from: { file: %s.b } }\n"

static void two_services(void)
{
	char lines[512];

	snprintf(lines, sizeof(lines), TWO_SERVICES, file, file);
	write_config(lines);
}

/* Of one service more costs as much as of all. */
static void lists_of_several_services_are_one_change(void **unused)
{
	const struct config_label zone = {"zone", "a"};
	const struct source_backend list[] =
	    {{.address = test_addr("10.0.0.1"), .weight = 7, .name = "one"},
	     {.address = test_addr("10.0.0.2"), .weight = 1, .labels = {zone}, .labels_count = 1}},
				    vip[] = {{.address = test_addr("192.0.2.2"), .weight = 1}};
	struct source_change changes[] = {{.service = "web", .list = list, .count = 2},
					  {.service = "b", .list = list, .count = 1},
					  {.service = "nope", .list = list, .count = 1}};
	uint64_t generation;

	two_services();
	start();
	generation = state_generation(state);
	assert_int_equal(state_source_apply(state, changes, 3), 0);
	assert_int_equal(state_generation(state), generation + 1);
	assert_int_equal(changes[0].rc, 0);
	assert_int_equal(changes[0].done.added, 2);
	assert_int_equal(changes[1].done.added, 1);
	assert_int_equal(changes[2].rc, -ENOENT);
	assert_int_equal(state_find_service(state, "b")->backends_count, 1);
	/* what is so already is none */
	assert_int_equal(state_source_apply(state, changes, 2), 0);
	assert_int_equal(state_generation(state), generation + 1);
	assert_int_equal(changes[0].done.added + changes[0].done.changed, 0);
	/* one that cannot be does not keep the other from it, nor take away what it had */
	changes[0].count = 1;
	changes[1].list = vip;
	assert_int_equal(state_source_apply(state, changes, 2), 0);
	assert_int_equal(changes[0].done.removed, 1);
	assert_int_equal(changes[1].rc, -EINVAL);
	assert_string_equal(members(), "10.0.0.1");
	assert_int_equal(state_find_service(state, "b")->backends_count, 1);
}

static void one_that_is_over_the_limit_does_not_hold_up_another(void **unused)
{
	const struct addr one = test_addr("10.0.0.1");
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	char path[128];

	snprintf(path, sizeof(path), "%s.b", file);
	put("10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n10.0.0.5\n10.0.0.6\n10.0.0.7\n10.0.0.8\n"
	    "10.0.0.9\n");
	test_file_put(path, "10.0.0.1\n");
	two_services();
	start();
	while (!service_find_backend(state_find_service(state, "b"), &one))
		turn(until);
	wait_for_failure("backends");
	assert_string_equal(members(), "");
	unlink(path);
}

/* What is there by other means too is taken over again every 5 s. */
static void a_list_that_is_taken_over_again_does_not_hide_a_failure(void **unused)
{
	uint64_t until, failures;

	from_file("    backends: [{ address: 10.0.0.1 }]\n");
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	put("");
	wait_for_failure("it names 0 backends");
	failures = state_source_status(state, "web")->failed_ms;
	reload();
	for (until = clock_monotonic_ms() + 6000; clock_monotonic_ms() < until;)
		turn(until + PATIENCE_MS);
	assert_int_equal(state_source_status(state, "web")->failed_ms, failures);
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
}

static void more_than_the_limit_is_a_failure_that_changes_nothing(void **unused)
{
	put("10.0.0.1\n10.0.0.2\n");
	start();
	wait_for_members("10.0.0.1 10.0.0.2");
	put("10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n10.0.0.5\n10.0.0.6\n10.0.0.7\n10.0.0.8\n"
	    "10.0.0.9\n");
	wait_for_failure("backends");
	assert_string_equal(members(), "10.0.0.1 10.0.0.2");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_is_followed_when_it_is_replaced),
	    TEST(what_else_changes_in_the_directory_has_no_file_read),
	    TEST(one_that_is_as_long_and_as_old_is_read_too),
	    TEST(a_file_that_names_too_few_or_nonsense_changes_nothing),
	    TEST(a_file_that_not_all_may_read_is_not_quoted),
	    TEST(a_file_system_that_hangs_holds_up_neither_loop_nor_tasks),
	    TEST(one_that_hangs_is_a_failure_and_may_come_back),
	    TEST(one_that_could_not_be_read_for_a_while_is_read_again),
	    TEST(a_change_that_was_held_up_is_not_paid_for_with_a_long_rest),
	    TEST(a_want_of_descriptors_is_a_failure_that_passes),
	    TEST(an_end_does_not_wait_for_one_that_hangs),
	    TEST(a_token_that_hangs_holds_up_neither_loop_nor_tasks),
	    TEST(an_end_does_not_wait_for_a_token_that_hangs),
	    TEST(the_last_list_stays_over_a_restart),
	    TEST(a_reload_keeps_them_and_the_config_has_the_last_word),
	    TEST(a_source_that_the_config_no_longer_has_is_not_followed),
	    TEST(by_hand_they_can_be_drained_only_and_stay_so),
	    TEST(a_name_that_another_has_is_left_out),
	    TEST(a_port_is_where_the_backend_gets_its_packets),
	    TEST(a_port_that_the_service_cannot_use_is_ignored_and_named),
	    TEST(a_port_that_nobody_asked_for_is_no_mistake),
	    TEST(when_all_fail_not_each_has_a_line),
	    TEST(what_is_ignored_now_and_then_does_not_flood_the_log),
	    TEST(two_may_exchange_their_names),
	    TEST(lists_of_several_services_are_one_change),
	    TEST(one_that_is_over_the_limit_does_not_hold_up_another),
	    TEST(a_list_that_is_taken_over_again_does_not_hide_a_failure),
	    TEST(more_than_the_limit_is_a_failure_that_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
