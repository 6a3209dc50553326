/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/health/source.h: probes do not leave from a VIP. The kernel's choice is tested with a
 * veth in a network namespace of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lbd/health/source.h"
#include "support/test_addr.h"
#include "support/test_netns.h"

#define VIP "2001:db8:77::10"
#define OWN "2001:db8:77::2"
#define TO  "2001:db8:77::11"

static struct sources *sources;

static void assert_address(const struct addr *got, const char *expected)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(got, text), expected);
}

/* ---- choosing ---- */

static struct source source(const char *text, const char *interface, bool avoid)
{
	struct source made = {.address = test_addr(text), .avoid = avoid};

	snprintf(made.interface, sizeof(made.interface), "%s", interface);
	return made;
}

static void assert_chosen(const struct source *list, unsigned count, const char *to,
			  const char *expected)
{
	const struct addr destination = test_addr(to);
	const struct source *chosen = source_choose(list, count, 0, &destination);

	if (!expected) {
		assert_null(chosen);
		return;
	}
	assert_non_null(chosen);
	assert_address(&chosen->address, expected);
}

static void an_address_of_the_same_interface_and_prefix_is_chosen(void **state)
{
	const struct source list[] = {
	    source(VIP, "eth0", true), source("2001:db8:9::1", "eth0", false),
	    source("2001:db8:77::5", "eth1", false), source(OWN, "eth0", false)};

	assert_chosen(list, 4, TO, OWN);
	assert_chosen(list, 2, TO, "2001:db8:9::1");
}

static void an_address_of_another_interface_is_better_than_none(void **state)
{
	const struct source list[] = {source(VIP, "eth0", true),
				      source("2001:db8:9::1", "eth1", false)};

	assert_chosen(list, 2, TO, "2001:db8:9::1");
}

static void neither_loopback_nor_link_local_nor_another_family_is_chosen(void **state)
{
	const struct source list[] = {
	    source(VIP, "eth0", true), source("::1", "lo", false), source("fe80::1", "eth0", false),
	    source("10.0.0.1", "eth0", false), source("2001:db8:77::20", "eth0", true)};

	assert_chosen(list, 5, TO, NULL);
}

static void ipv4_is_chosen_alike(void **state)
{
	const struct source list[] = {
	    source("10.0.0.10", "eth0", true), source("127.0.0.1", "lo", false),
	    source("192.0.2.1", "eth0", false), source("10.0.0.2", "eth0", false)};

	assert_chosen(list, 4, "10.0.0.11", "10.0.0.2");
}

/* ---- with the kernel ---- */

static int begin(void **state)
{
	sources = sources_new();
	if (!sources)
		return -1;
	if (!netns_entered())
		return 0;
	here("ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up");
	here("ip addr add " OWN "/64 dev d0 nodad && ip addr add " VIP "/128 dev d0 nodad");
	return 0;
}

static int end(void **state)
{
	sources_free(sources);
	if (netns_entered())
		here("ip link del d0");
	return 0;
}

static void avoid(const char *vip)
{
	const struct addr list[] = {test_addr("192.0.2.1"), test_addr(vip),
				    test_addr("2001:db8:1::1")};

	assert_int_equal(sources_avoid(sources, list, 3), 0);
}

static struct addr find(const char *to)
{
	const struct addr destination = test_addr(to);
	char why[FAILURE_TEXT] = "";
	struct addr found;

	assert_int_equal(sources_find(sources, &destination, &found, why), 0);
	return found;
}

static void a_vip_that_the_kernel_would_choose_is_replaced(void **state)
{
	struct addr found;

	needs_root();
	avoid(VIP);
	found = find(TO);
	assert_address(&found, OWN);
}

static void the_kernel_chooses_where_it_takes_no_vip(void **state)
{
	needs_root();
	assert_int_equal(find(TO).family, 0);
	avoid("2001:db8:77::99");
	assert_int_equal(find(TO).family, 0);
	avoid(VIP);
	assert_int_equal(find("10.9.9.9").family, 0); /* no route */
}

static void without_another_address_the_check_says_which_vip_is_in_the_way(void **state)
{
	const struct addr destination = test_addr(TO);
	char why[FAILURE_TEXT] = "";
	struct addr found;

	needs_root();
	here("ip addr del " OWN "/64 dev d0 && ip route add 2001:db8:77::/64 dev d0");
	avoid(VIP);
	assert_int_equal(sources_find(sources, &destination, &found, why), -EADDRNOTAVAIL);
	assert_string_equal(why, "check not sent: its source would be " VIP
				 ", which is a VIP: add another IPv6 address to d0");
}

/* sources_find while this process may open no descriptor. */
static int find_without_descriptors(char why[FAILURE_TEXT])
{
	const struct addr destination = test_addr(TO);
	struct rlimit before, none;
	struct addr found;
	int rc;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = sources_find(sources, &destination, &found, why);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	return rc;
}

static void a_source_that_cannot_be_known_is_not_left_to_the_kernel(void **state)
{
	char why[FAILURE_TEXT] = "";

	needs_root();
	avoid(VIP);
	assert_int_equal(find_without_descriptors(why), -EMFILE); /* addresses */
	assert_string_equal(why, "its source is unknown, and may be a VIP: Too many open files");
	avoid(VIP);
	find(TO);
	assert_int_equal(find_without_descriptors(why), -EMFILE); /* the kernel's choice */
	sources_avoid(sources, NULL, 0);
	assert_int_equal(find_without_descriptors(why), 0); /* nothing is to be avoided */
}

static void a_socket_is_bound_to_the_address_without_a_port(void **state)
{
	const struct addr own = test_addr(OWN);
	struct sockaddr_storage bound;
	socklen_t length = sizeof(bound);
	struct addr there;
	int fd;

	needs_root();
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(source_set(fd, &own, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &length), 0);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&bound, &there), 0);
	assert_address(&there, OWN);
	assert_int_equal(((const struct sockaddr_in6 *)&bound)->sin6_port, 0);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_address_of_the_same_interface_and_prefix_is_chosen),
	    cmocka_unit_test(an_address_of_another_interface_is_better_than_none),
	    cmocka_unit_test(neither_loopback_nor_link_local_nor_another_family_is_chosen),
	    cmocka_unit_test(ipv4_is_chosen_alike),
	    TEST(a_vip_that_the_kernel_would_choose_is_replaced),
	    TEST(the_kernel_chooses_where_it_takes_no_vip),
	    TEST(without_another_address_the_check_says_which_vip_is_in_the_way),
	    TEST(a_source_that_cannot_be_known_is_not_left_to_the_kernel),
	    TEST(a_socket_is_bound_to_the_address_without_a_port),
	};

	return cmocka_run_group_tests(tests, netns_enter, NULL);
}
