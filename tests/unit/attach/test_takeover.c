/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/takeover.c: interfaces of an earlier lbd. Its links are files, and the kernel's
 * answers about them are made up; devices take their time: each call lasts until the event loop has
 * handled what came meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attach_made.h"
#include "common/clock.h"
#include "lbd/host/host.h"
#include "support/test_file.h"
#include "support/test_log.h"
#include "support/test_netns.h"

#define PATIENCE_S 5 /* of a device; a loop that does not run is noticed after it */
#define FORMER     7 /* id of the earlier lbd's program */

static struct attach attach;
static bool no_descriptors; /* none is left for a list of interfaces */
static char links[] = "/tmp/lbd-test-takeover-XXXXXX";
static struct event_base *base;
static struct tasks *tasks;
static struct event *knocked;
static int knock[2], program;
static sem_t answered;
static struct {
	unsigned calls, stalls;     /* of devices; those in which the loop did not run */
	unsigned replaced;          /* links */
	const char *while_replaced; /* a command that runs meanwhile; NULL: none */
} devices;

/* ---- devices ---- */

static void on_knock(evutil_socket_t fd, short what, void *arg)
{
	char byte;

	if (read(fd, &byte, 1) == 1)
		sem_post(&answered);
}

static void take_time(void)
{
	struct timespec until;

	devices.calls++;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	if (write(knock[1], "", 1) != 1 || sem_timedwait(&answered, &until))
		devices.stalls++;
}

/* The interface of a link, as is in its file; 0: it is empty. */
static unsigned pinned(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned ifindex = 0;

	assert_non_null(file);
	if (fscanf(file, "%u", &ifindex) != 1)
		ifindex = 0;
	fclose(file);
	return ifindex;
}

int __wrap_pins_link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id);
int __wrap_pins_link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id)
{
	unsigned ifindex = pinned(path);

	take_time();
	*ret_ifindex = ifindex ? ifindex : if_nametoindex("a0");
	*ret_program_id = FORMER;
	return 0;
}

int __wrap_attach_look(struct dataplane *dp, uint32_t ifindex, struct occupant *ret);
int __wrap_attach_look(struct dataplane *dp, uint32_t ifindex, struct occupant *ret)
{
	take_time();
	*ret = (struct occupant){.id = ifindex ? FORMER : 0};
	return 0;
}

int __wrap_link_replace(const char *path, int program_fd);
int __wrap_link_replace(const char *path, int program_fd)
{
	devices.replaced++;
	if (devices.while_replaced && system(devices.while_replaced) != 0)
		return -EIO;
	take_time();
	return 0;
}

int __wrap_dataplane_program_fd(const struct dataplane *dp);
int __wrap_dataplane_program_fd(const struct dataplane *dp)
{
	return program;
}

int __wrap_dataplane_add_egress(struct dataplane *dp, uint32_t ifindex);
int __wrap_dataplane_add_egress(struct dataplane *dp, uint32_t ifindex)
{
	return 0;
}

struct if_nameindex *__real_if_nameindex(void);
struct if_nameindex *__wrap_if_nameindex(void);
struct if_nameindex *__wrap_if_nameindex(void)
{
	errno = EMFILE;
	return no_descriptors ? NULL : __real_if_nameindex();
}

/* ---- a takeover ---- */

static int begin(void **state)
{
	attach = (struct attach){.links = links};
	memset(&devices, 0, sizeof(devices));
	if (!netns_entered())
		return 0;
	attach.offloads = offloads_new("/nonexistent/offloads.json");
	here("ip link add a0 type veth peer name a1");
	base = loop_new();
	program = load_pass();
	strcpy(links + strlen(links) - 6, "XXXXXX");
	if (!base || program < 0 || tasks_new(base, &tasks) || sem_init(&answered, 0, 0) ||
	    pipe2(knock, O_CLOEXEC))
		return -1;
	knocked = event_new(base, knock[0], EV_READ | EV_PERSIST, on_knock, NULL);
	return !knocked || event_add(knocked, NULL) || !mkdtemp(links);
}

static int end(void **state)
{
	if (!netns_entered())
		return 0;
	tasks_finish(tasks);
	tasks_free(tasks);
	event_free(knocked);
	event_base_free(base);
	close(knock[0]);
	close(knock[1]);
	close(program);
	sem_destroy(&answered);
	free_parts(&attach);
	here("ip link del a1; rm -r %s", links);
	return 0;
}

static int outcome;
static struct error why;

static void run_takeover(void *arg)
{
	outcome = attach_take_over(&attach, "/nonexistent/former.json", &why);
	event_base_loopbreak(base);
}

/* As a task. outcome and why say how it went. */
static void try_takeover(void)
{
	struct test_log log;

	test_log_begin(&log);
	assert_int_equal(tasks_add(tasks, run_takeover, NULL), 0);
	event_base_dispatch(base);
	test_log_end(&log);
}

/* pin: the name of the link that the earlier lbd left. */
static void take_over(const char *pin)
{
	char path[sizeof(links) + 32];

	snprintf(path, sizeof(path), "%s/%s", links, pin);
	test_file_put(path, "");
	try_takeover();
	assert_int_equal(outcome, 0);
	assert_int_equal(devices.replaced, 1);
	assert_int_equal(attach.count, 1);
}

static void the_loop_runs_while_devices_are_asked_and_get_the_program(void **state)
{
	needs_root();
	take_over("a0");
	assert_in_range(devices.calls, 4, UINT32_MAX); /* the link, its replacement, two devices */
	assert_int_equal(devices.stalls, 0);
	assert_string_equal(attach.list[0].name, "a0");
}

static void a_link_whose_interface_was_renamed_before_is_taken_over_once(void **state)
{
	char path[sizeof(links) + 32];

	needs_root();
	take_over("former");
	assert_string_equal(attach.list[0].name, "a0");
	snprintf(path, sizeof(path), "%s/a0", links);
	assert_int_equal(access(path, F_OK), 0);
}

static void an_interface_that_is_renamed_meanwhile_is_found_by_its_new_name(void **state)
{
	char path[sizeof(links) + 32];
	struct test_log log;

	needs_root();
	devices.while_replaced = "ip link set a0 name c0";
	take_over("a0");
	test_log_begin(&log);
	attach_catch_up(&attach);
	assert_non_null(strstr(test_log_end(&log), "a0: renamed to c0"));
	assert_int_equal(attach.count, 1);
	assert_string_equal(attach.list[0].name, "c0");
	snprintf(path, sizeof(path), "%s/c0", links);
	assert_int_equal(access(path, F_OK), 0);
}

/* ---- names that are swapped ---- */

static void put_pin(const char *pin, const char *interface)
{
	char path[sizeof(links) + 32], text[16];

	snprintf(path, sizeof(path), "%s/%s", links, pin);
	snprintf(text, sizeof(text), "%u", if_nametoindex(interface));
	test_file_put(path, text);
}

static void expect_pin(const char *pin, unsigned ifindex)
{
	const struct attachment *there = attach_find(&attach, ifindex);
	char path[sizeof(links) + 32];

	snprintf(path, sizeof(path), "%s/%s", links, pin);
	assert_int_equal(pinned(path), ifindex);
	assert_non_null(there);
	assert_string_equal(there->name, pin);
	assert_string_equal(there->pinned_as, pin);
}

static void links_whose_interfaces_have_swapped_their_names_are_told_apart(void **state)
{
	needs_root();
	here("ip link add b0 type veth peer name b1");
	put_pin("a0", "a1");
	put_pin("a1", "b0");
	put_pin("b0", "a0");
	try_takeover();
	assert_int_equal(outcome, 0);
	assert_int_equal(attach.count, 3);
	expect_pin("a0", if_nametoindex("a0"));
	expect_pin("a1", if_nametoindex("a1"));
	expect_pin("b0", if_nametoindex("b0"));
	here("ip link del b0");
}

/* It would change places with itself for ever. */
static void a_link_that_is_pinned_twice_is_taken_over_once(void **state)
{
	needs_root();
	put_pin("a0", "a0");
	put_pin("again", "a0");
	try_takeover();
	assert_int_equal(outcome, 0);
	assert_int_equal(attach.count, 1);
	expect_pin("a0", if_nametoindex("a0"));
}

static void pins_follow_names_that_are_swapped_at_once(void **state)
{
	unsigned first = if_nametoindex("a0"), second = if_nametoindex("a1");
	struct test_log log;

	needs_root();
	put_pin("a0", "a0");
	put_pin("a1", "a1");
	assert_int_equal(attach_remember(&attach, "a0", first, true, false), 0);
	assert_int_equal(attach_remember(&attach, "a1", second, true, false), 0);
	here("ip link set a0 name c0; ip link set a1 name a0; ip link set c0 name a1");
	test_log_begin(&log);
	attach_catch_up(&attach);
	test_log_end(&log);
	expect_pin("a1", first);
	expect_pin("a0", second);
}

static void an_interface_that_goes_after_the_takeover_is_forgotten(void **state)
{
	struct test_log log;

	needs_root();
	take_over("a0");
	here("ip link del a0; ip link add a1 type veth peer name b1");
	test_log_begin(&log);
	attach_catch_up(&attach);
	assert_non_null(strstr(test_log_end(&log), "a0: interface is gone"));
	assert_int_equal(attach.count, 0);
}

/* The kernel finds it by that name, but names it by the other ever after: a reload would attach it
 * again, and its pin is another. */
static void an_alternative_name_is_no_name_of_an_interface(void **state)
{
	static const char expected[] = "uplink: another name of a0 (altname): expected a0";

	needs_root();
	here("ip link property add dev a0 altname uplink");
	assert_int_equal(attach_interface(&attach, "uplink", CONFIG_MODE_AUTO, &why), -EINVAL);
	assert_string_equal(why.text, expected);
	/* no reason for lbd not to start: it warns, as of one that is not there */
	assert_int_equal(attach_check_free(&attach, "uplink", &why), 0);
	assert_int_equal(attach.count, 0);
}

/* An lbd that knows of no interface would take the pins with it when it ends. */
static void a_takeover_that_cannot_list_the_interfaces_fails_and_is_not_idle(void **state)
{
	needs_root();
	no_descriptors = true;
	try_takeover();
	no_descriptors = false;
	assert_int_equal(outcome, -EMFILE);
	assert_string_equal(why.text, "the interfaces of this host cannot be listed: Too many open "
				      "files");
	assert_false(attach_is_idle(&attach));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(the_loop_runs_while_devices_are_asked_and_get_the_program),
	    TEST(a_link_whose_interface_was_renamed_before_is_taken_over_once),
	    TEST(an_interface_that_is_renamed_meanwhile_is_found_by_its_new_name),
	    TEST(links_whose_interfaces_have_swapped_their_names_are_told_apart),
	    TEST(a_link_that_is_pinned_twice_is_taken_over_once),
	    TEST(pins_follow_names_that_are_swapped_at_once),
	    TEST(an_interface_that_goes_after_the_takeover_is_forgotten),
	    TEST(an_alternative_name_is_no_name_of_an_interface),
	    TEST(a_takeover_that_cannot_list_the_interfaces_fails_and_is_not_idle),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
