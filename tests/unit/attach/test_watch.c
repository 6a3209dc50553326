/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/watch.c: what becomes of interfaces whose packets are lost. Devices of the kernel
 * with a program that passes everything; the list of interfaces is made up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lbd/attach/internal.h"
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
	here("for v in a b; do ip link add ${v}0 type veth peer name ${v}1; "
	     "ip link set ${v}0 up; ip link set ${v}1 up; ethtool -K ${v}1 gro off; done");
	strcpy(links + strlen(links) - 6, "XXXXXX");
	return !mkdtemp(links);
}

static int end(void **state)
{
	netdev_close(attach.netdev);
	free(attach.egresses);
	free(attach.list);
	if (netns_entered())
		here("ip link del a0; ip link del b0; rm -r %s", links);
	return 0;
}

/* A program in native mode that is not lbd's. */
static void run_a_program(uint32_t ifindex)
{
	const struct bpf_insn pass[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT}};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);

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
	*there = (struct attachment){.ifindex = ifindex, .native = true, .automatic = automatic};
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(an_interface_that_cannot_be_detached_does_not_keep_others_from_their_turn),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
