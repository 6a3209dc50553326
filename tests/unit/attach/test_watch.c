/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/watch.c: what becomes of interfaces whose packets are lost. Devices of the kernel
 * with a program that passes everything; the list of interfaces is made up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach_made.h"
#include "lbd/host/host.h"
#include "support/test_file.h"
#include "support/test_log.h"
#include "support/test_netns.h"

static struct attach attach;
static char links[] = "/tmp/lbd-test-watch-XXXXXX";

/* Two veths whose other ends take no frames from XDP. */
static int begin(void **state)
{
	attach = (struct attach){.links = links};
	if (!netns_entered())
		return 0;
	netdev_open(&attach.netdev); /* without it on kernels before 6.3 */
	netdev_open(&attach.asking);
	attach.offloads = offloads_new("/nonexistent/offloads.json");
	here("for v in a b; do ip link add ${v}0 type veth peer name ${v}1; "
	     "ip link set ${v}0 up; ip link set ${v}1 up; ethtool -K ${v}1 gro off; done");
	/* they are judged once they run, on a busy machine a second later */
	here("for v in a0 b0; do for i in $(seq 1000); do ip -br link show $v | grep -q ' UP ' && "
	     "break; sleep 0.01; done; done");
	strcpy(links + strlen(links) - 6, "XXXXXX");
	return !mkdtemp(links);
}

static int end(void **state)
{
	free_parts(&attach);
	if (netns_entered())
		here("ip link del a0; ip link del b0; rm -r %s", links);
	return 0;
}

/* A program in native mode that is not lbd's. */
static void run_a_program(uint32_t ifindex)
{
	int fd = load_pass();

	assert_true(fd >= 0);
	assert_int_equal(bpf_xdp_attach((int)ifindex, fd, XDP_FLAGS_DRV_MODE, NULL), 0);
	close(fd);
}

static void attached(const char *name, bool automatic)
{
	const uint32_t ifindex = if_nametoindex(name);
	struct attachment *there;

	attach.list = realloc(attach.list, (attach.count + 1) * sizeof(*attach.list));
	assert_non_null(attach.list);
	there = &attach.list[attach.count++];
	*there = (struct attachment){
	    .ifindex = ifindex, .native = true, .automatic = automatic, .veth = true};
	snprintf(there->name, sizeof(there->name), "%s", name);
	run_a_program(ifindex);
}

/* What the log gets from a round. */
static const char *check(struct test_log *log)
{
	test_log_begin(log);
	attach_check(&attach);
	return test_log_end(log);
}

static void an_interface_that_cannot_be_detached_does_not_keep_others_from_their_turn(void **state)
{
	struct test_log log;
	const char *lines;

	needs_root();
	here("touch %s/a0", links); /* in the place of the pinned link */
	attached("a0", true);
	attached("b0", false);
	lines = check(&log);
	assert_non_null(strstr(lines, "a0: cannot detach: "));
	assert_non_null(strstr(lines, "b0: native mode loses packets: "));
	assert_int_equal(attach.count, 2);
	assert_true(attach.list[0].native);
	lines = check(&log);
	assert_null(strstr(lines, "a0: cannot detach: ")); /* not each second */
	assert_null(strstr(lines, "b0: "));
	attach.list[0].stuck_ms -= 60000;
	assert_non_null(strstr(check(&log), "a0: cannot detach: "));
}

/* ---- as a task ---- */

struct round {
	struct event_base *base;
	struct tasks *tasks;
	struct test_log log;
	bool ended;
};

static void run_check(void *arg)
{
	struct round *round = arg;

	attach_check(&attach);
	round->ended = true;
}

/* The round has asked the kernel nothing yet when this returns. */
static void begin_round(struct round *round)
{
	*round = (struct round){.base = loop_new()};
	assert_int_equal(tasks_new(round->base, &round->tasks), 0);
	tasks_by_hand(round->tasks);
	test_log_begin(&round->log);
	assert_int_equal(tasks_add(round->tasks, run_check, round), 0);
	assert_true(tasks_turn(round->tasks, 0)); /* it waits: the loop goes on */
	assert_false(round->ended);
}

static const char *end_round(struct round *round)
{
	while (tasks_turn(round->tasks, 0))
		;
	assert_true(round->ended);
	tasks_free(round->tasks);
	event_base_free(round->base);
	return test_log_end(&round->log);
}

static void the_loop_goes_on_while_the_kernel_is_asked(void **state)
{
	struct round round;

	needs_root();
	attached("a0", false);
	begin_round(&round);
	assert_non_null(strstr(end_round(&round), "a0: native mode loses packets: "));
}

static void what_is_detached_or_attached_while_the_kernel_is_asked_is_not_judged(void **state)
{
	struct round round;

	needs_root();
	attached("a0", false);
	begin_round(&round);
	attach.count = 0;
	attached("b0", false);
	assert_null(strstr(end_round(&round), "native mode loses packets"));
	assert_int_equal(attach.count, 1);
}

/* The list of what was turned off: a device that is waited for when it is turned on again. */
static void turned_off(uint32_t ifindex)
{
	char path[sizeof(links) + 16], text[96];

	snprintf(path, sizeof(path), "%s/offloads", links);
	snprintf(text, sizeof(text), "[{\"for\":%u,\"device\":%u,\"feature\":\"rx-gro\"}]", ifindex,
		 ifindex);
	test_file_put(path, text);
	offloads_free(attach.offloads);
	attach.offloads = offloads_new(path);
	assert_non_null(attach.offloads);
}

static void an_interface_that_goes_while_its_offloads_are_turned_on_again_is_forgotten_once(
    void **state)
{
	struct round round;
	uint32_t ifindex;

	needs_root();
	attached("a0", false);
	attached("b0", false);
	ifindex = attach.list[0].ifindex;
	assert_int_equal(bpf_xdp_detach((int)ifindex, XDP_FLAGS_DRV_MODE, NULL), 0);
	turned_off(ifindex);
	begin_round(&round);
	assert_true(tasks_turn(round.tasks, 0)); /* the kernel was asked */
	assert_true(tasks_turn(round.tasks, 0)); /* a0 was found without a program */
	attach_link_changed(&attach, ifindex, "a0", false);
	assert_non_null(strstr(end_round(&round), "a0: another process detached lbd's program"));
	assert_int_equal(attach.count, 1);
	assert_string_equal(attach.list[0].name, "b0");
}

static void find_hint(void *arg, const char *sentence)
{
	*(bool *)arg |= strstr(sentence, "a0 is a veth in generic mode") != NULL;
}

static void what_status_warns_of_is_known_without_asking_the_kernel_again(void **state)
{
	bool found = false;

	needs_root();
	attached("a0", false);
	attach.list[0].native = false; /* its other end may join packets */
	watch_look(&attach, attach.list[0].ifindex);
	attach_warnings(&attach, &attach.list[0], find_hint, &found);
	assert_true(found);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(an_interface_that_cannot_be_detached_does_not_keep_others_from_their_turn),
	    TEST(the_loop_goes_on_while_the_kernel_is_asked),
	    TEST(what_is_detached_or_attached_while_the_kernel_is_asked_is_not_judged),
	    TEST(an_interface_that_goes_while_its_offloads_are_turned_on_again_is_forgotten_once),
	    TEST(what_status_warns_of_is_known_without_asking_the_kernel_again),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
