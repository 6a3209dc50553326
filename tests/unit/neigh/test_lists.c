/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The lists of routes and of own addresses, with the kernel's routes and neighbours: a veth pair to
 * a second network namespace, in which the gateway is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <net/if.h>
#include <string.h>

#include "support/test_addr.h"

#include "neigh_pair.h"

#define MOST 8

/* ---- what was reported ---- */

static struct neigh_way ways[MOST + 1];
static size_t ways_count;
static struct addr local[64];
static size_t local_count;
static unsigned ways_calls, local_calls;

static void on_ways(void *arg, const struct neigh_way *list, size_t count)
{
	assert_true(count <= MOST);
	memcpy(ways, list, count * sizeof(*list));
	ways_count = count;
	ways_calls++;
}

static void on_local(void *arg, const struct addr *list, size_t count)
{
	assert_true(count <= 64);
	memcpy(local, list, count * sizeof(*list));
	local_count = count;
	local_calls++;
}

static const struct neigh_way *way_to(const char *prefix, unsigned length)
{
	const struct addr address = test_addr(prefix);

	for (size_t i = 0; i < ways_count; i++)
		if (ways[i].length == length && addr_equal(&ways[i].prefix, &address))
			return &ways[i];
	return NULL;
}

static bool is_ready(const char *prefix, unsigned length)
{
	const struct neigh_way *way = way_to(prefix, length);

	return way && way->ready;
}

static bool is_own(const char *text)
{
	const struct addr address = test_addr(text);

	for (size_t i = 0; i < local_count; i++)
		if (addr_equal(&local[i], &address))
			return true;
	return false;
}

/* ---- two namespaces ---- */

static int begin(void **state)
{
	if (!netns_entered())
		return 0;
	if (make_pair())
		return -1;
	here("ip link set nt0 up");
	on_peer("ip link set nt1 up");
	ways_count = local_count = ways_calls = local_calls = 0;
	return start_neigh();
}

/* ---- routes ---- */

static void a_route_through_a_gateway_has_its_next_hop(void **state)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};

	needs_root();
	here("ip route add default via 10.9.0.2");
	here("ip route add 198.51.100.0/24 via 10.9.0.2 mtu 1400");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0) && is_ready("198.51.100.0", 24));
	assert_memory_equal(way_to("0.0.0.0", 0)->hop.dst_mac, mac, 6);
	assert_int_equal(way_to("0.0.0.0", 0)->hop.mtu, 1500);
	assert_int_equal(way_to("198.51.100.0", 24)->hop.mtu, 1400);
	assert_int_equal(way_to("198.51.100.0", 24)->hop.ifindex, if_nametoindex("nt0"));
	/* most specific first */
	for (size_t i = 1; i < ways_count; i++)
		assert_true(ways[i - 1].length >= ways[i].length);
}

static void destinations_on_the_link_are_the_kernels(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.2");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	assert_non_null(way_to("10.9.0.0", 24));
	assert_false(is_ready("10.9.0.0", 24));
}

static void several_next_hops_are_the_kernels(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.2");
	here("ip route add 198.51.100.0/24 nexthop via 10.9.0.2 nexthop via 10.9.0.3");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	assert_non_null(way_to("198.51.100.0", 24));
	assert_false(is_ready("198.51.100.0", 24));
}

static void the_route_with_the_least_metric_counts(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.77 metric 200");
	here("ip route add default via 10.9.0.2 metric 100");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	assert_int_equal(way_to("0.0.0.0", 0)->hop.dst_mac[5], 2);
}

static void changes_of_routes_are_followed(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.2");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	here("ip route add 203.0.113.0/24 via 10.9.0.2");
	RUN_UNTIL(is_ready("203.0.113.0", 24));
	here("ip route del 203.0.113.0/24");
	RUN_UNTIL(!way_to("203.0.113.0", 24));
}

static void policy_rules_leave_all_to_the_kernel(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.2");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	here("ip rule add from 192.0.2.0/24 table 100");
	RUN_UNTIL(!ways_count);
	here("ip rule del from 192.0.2.0/24 table 100");
	RUN_UNTIL(is_ready("0.0.0.0", 0));
}

static void too_many_routes_are_none(void **state)
{
	needs_root();
	here("ip route add default via 10.9.0.2");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	here("for i in $(seq 9); do ip route add 203.0.113.$i via 10.9.0.2; done");
	RUN_UNTIL(!ways_count);
}

static void a_list_that_is_stopped_is_silent(void **state)
{
	unsigned before;

	needs_root();
	here("ip route add default via 10.9.0.2");
	assert_int_equal(neigh_on_ways(neigh, MOST, on_ways, NULL), 0);
	RUN_UNTIL(is_ready("0.0.0.0", 0));
	assert_int_equal(neigh_on_local(neigh, on_local, NULL), 0);
	assert_int_equal(neigh_on_ways(neigh, 0, NULL, NULL), 0);
	before = ways_calls;
	here("ip route add 203.0.113.0/24 via 10.9.0.2 && ip addr add 10.9.7.1/32 dev lo");
	RUN_UNTIL(is_own("10.9.7.1"));
	assert_int_equal(ways_calls, before);
}

/* ---- addresses ---- */

static void own_addresses_are_reported_at_once_and_when_they_change(void **state)
{
	needs_root();
	here("ip addr add fd09::1/64 dev nt0 nodad");
	assert_int_equal(neigh_on_local(neigh, on_local, NULL), 0);
	assert_int_equal(local_calls, 1);
	assert_true(is_own("10.9.0.1") && is_own("127.0.0.1") && is_own("fd09::1"));
	here("ip addr add 10.9.0.5/24 dev nt0");
	RUN_UNTIL(is_own("10.9.0.5"));
	here("ip addr del 10.9.0.5/24 dev nt0");
	RUN_UNTIL(!is_own("10.9.0.5"));
	assert_true(is_own("10.9.0.1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_route_through_a_gateway_has_its_next_hop),
	    TEST(destinations_on_the_link_are_the_kernels),
	    TEST(several_next_hops_are_the_kernels),
	    TEST(the_route_with_the_least_metric_counts),
	    TEST(changes_of_routes_are_followed),
	    TEST(policy_rules_leave_all_to_the_kernel),
	    TEST(too_many_routes_are_none),
	    TEST(a_list_that_is_stopped_is_silent),
	    TEST(own_addresses_are_reported_at_once_and_when_they_change),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
