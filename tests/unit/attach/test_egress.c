/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/egress.c: which devices lose what the program sends to them, by the interfaces
 * that it is attached to. Devices of the kernel; the list of interfaces is made up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbd/attach/internal.h"
#include "support/test_netns.h"

static struct attach attach;
static struct attachment list[2];

static int begin(void **state)
{
	attach = (struct attach){.list = list};
	if (!netns_entered())
		return 0;
	netdev_open(&attach.netdev); /* without it on kernels before 6.3 */
	here("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	here("ip link add w0 type veth peer name w1 && ip link set w0 up && ip link set w1 up");
	here("ethtool -K v1 gro off && ethtool -K w1 gro on");
	here("ip link add br0 type bridge");
	return 0;
}

static int end(void **state)
{
	netdev_close(attach.netdev);
	free(attach.egresses);
	if (netns_entered())
		here("ip link del v0; ip link del w0; ip link del br0");
	return 0;
}

static void attached(const char *name, bool native)
{
	struct attachment *there = &list[attach.count++];

	*there = (struct attachment){
	    .ifindex = if_nametoindex(name), .native = native, .veth = device_is_veth(name)};
	snprintf(there->name, sizeof(there->name), "%s", name);
	egress_refresh(&attach);
}

static const char *fault(const char *name)
{
	return attach_egress_fault(&attach, if_nametoindex(name));
}

static void native_mode_does_not_reach_a_bridge_and_generic_mode_does(void **state)
{
	needs_root();
	assert_null(fault("br0")); /* nothing is attached */
	attached("w0", false);
	assert_null(fault("br0"));
	attach.count = 0;
	attached("w0", true);
	assert_non_null(strstr(fault("br0"), "br0 (bridge) takes no frames from native XDP"));
	attach.count = 0;
	attached("w0", false);
	assert_null(fault("br0"));
}

/* Faults become JSON. */
static void a_device_may_be_called_anything(void **state)
{
	needs_root();
	attached("w0", true);
	here("ip link add \"$(printf 'b\\377d')\" type bridge");
	assert_non_null(strstr(fault("b\377d"), "b?d (bridge) takes no frames from native XDP"));
	here("ip link del \"$(printf 'b\\377d')\"");
}

static void a_veth_whose_other_end_does_not_poll_loses_also_what_is_sent_back(void **state)
{
	needs_root();
	attached("v0", true);
	assert_non_null(strstr(fault("v0"), "the other end of v0 takes no frames from XDP"));
	assert_null(fault("w0"));
	here("ethtool -K v1 gro on");
	assert_true(egress_refresh(&attach));
	assert_null(fault("v0"));
	assert_false(egress_refresh(&attach)); /* nothing has changed */
}

/* Clients may be behind the same interface: that it takes no redirects is a warning only. */
static void an_attached_interface_is_reached_by_sending_back(void **state)
{
	needs_root();
	attached("w0", true);
	attached("br0", true);
	assert_null(fault("br0"));
}

static void a_redirect_that_the_kernel_refused_counts_from_then_on(void **state)
{
	needs_root();
	attached("w0", true);
	assert_null(fault("w0"));
	egress_refused(&attach, if_nametoindex("w0"));
	assert_true(egress_refresh(&attach));
	assert_string_equal(fault("w0"),
			    "the kernel refuses to redirect frames to w0: use mode: generic, or "
			    "change the device and try again: lbctl reload");
	assert_false(egress_refresh(&attach));
	assert_non_null(fault("w0"));
}

/* As an operator who has mended the device expects. */
static void a_redirect_that_the_kernel_refused_is_tried_again_at_a_reload(void **state)
{
	needs_root();
	attached("w0", true);
	assert_null(fault("w0"));
	egress_refused(&attach, if_nametoindex("w0"));
	assert_true(egress_refresh(&attach));
	attach_try_again(&attach);
	assert_null(fault("w0"));
}

static void what_the_kernel_says_of_a_device_replaces_what_it_refused(void **state)
{
	needs_root();
	attached("v0", true);
	assert_non_null(fault("v0"));
	egress_refused(&attach, if_nametoindex("v0"));
	egress_refresh(&attach);
	here("ethtool -K v1 gro on");
	assert_true(egress_refresh(&attach));
	assert_null(fault("v0"));
}

static void a_device_takes_the_place_of_one_that_is_gone(void **state)
{
	needs_root();
	attached("w0", true);
	for (uint32_t i = 0; i < EGRESS_MOST; i++)
		assert_null(attach_egress_fault(&attach, 1000000 + i)); /* no such devices */
	assert_non_null(fault("br0")); /* in the place of one that is gone */
	assert_int_equal(attach.egresses_count, EGRESS_MOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(native_mode_does_not_reach_a_bridge_and_generic_mode_does),
	    TEST(a_device_may_be_called_anything),
	    TEST(a_veth_whose_other_end_does_not_poll_loses_also_what_is_sent_back),
	    TEST(an_attached_interface_is_reached_by_sending_back),
	    TEST(a_redirect_that_the_kernel_refused_counts_from_then_on),
	    TEST(a_redirect_that_the_kernel_refused_is_tried_again_at_a_reload),
	    TEST(what_the_kernel_says_of_a_device_replaces_what_it_refused),
	    TEST(a_device_takes_the_place_of_one_that_is_gone),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
