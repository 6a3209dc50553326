/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/addr.c: parsing, formatting and comparing addresses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "common/addr.h"

static struct addr parse(const char *text)
{
	struct addr addr = {0};

	if (addr_parse(text, &addr))
		fail_msg("%s was refused", text);
	return addr;
}

static void an_address_is_written_in_its_shortest_form(void **state)
{
	static const char *const rows[][2] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"0.0.0.0", "0.0.0.0"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"::", "::"},
	    {"2001:DB8:0:0::1", "2001:db8::1"},
	    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
	    {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
	};
	char text[ADDR_TEXT];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr addr = parse(rows[i][0]);

		assert_string_equal(addr_format(&addr, text), rows[i][1]);
		assert_int_equal(addr.family, strchr(rows[i][0], ':') ? 6 : 4);
	}
}

static void the_longest_address_fits_its_text(void **state)
{
	static const char longest[] = "1111:2222:3333:4444:5555:6666:7777:8888";
	struct addr addr = parse(longest);
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(&addr, text), longest);
}

static void no_address_is_written_as_none(void **state)
{
	struct addr addr = {0};
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(&addr, text), "none");
}

static void what_is_no_address_is_refused_and_leaves_the_value_alone(void **state)
{
	static const char *const rows[] = {
	    "",          " ",          "1.2.3",      "1.2.3.4.5",
	    "1.2.3.256", "01.2.3.4 ",  "1.2.3.4/32", "1.2.3.4:80",
	    "[::1]",     ":::",        "1::2::3",    "fe80::1%eth0",
	    "localhost", "0x7f000001", "12345::",    "1:2:3:4:5:6:7:8:9"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr addr = {.family = 9};

		if (addr_parse(rows[i], &addr) != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i]);
		assert_int_equal(addr.family, 9);
	}
}

static void a_prefix_has_a_length_and_no_bits_beyond_it(void **state)
{
	static const struct {
		const char *text;
		unsigned len;
	} rows[] = {{"0.0.0.0/0", 0},    {"10.0.0.0/8", 8}, {"10.128.0.0/9", 9},
		    {"10.0.0.1/32", 32}, {"::/0", 0},       {"2001:db8::/32", 32},
		    {"100::/64", 64},    {"::1/128", 128}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr addr;
		unsigned len = 999;

		assert_int_equal(addr_parse_prefix(rows[i].text, &addr, &len), 0);
		assert_int_equal(len, rows[i].len);
	}
}

static void a_bad_prefix_is_refused_and_leaves_the_values_alone(void **state)
{
	static const char *const rows[] = {"10.0.0.0",
					   "10.0.0.0/",
					   "10.0.0.0/33",
					   "10.0.0.0/-1",
					   "10.0.0.0/ 8",
					   "10.0.0.0/8x",
					   "10.0.0.1/31",
					   "10.0.0.0/+8",
					   "10.192.0.0/9",
					   "/8",
					   "::1/127",
					   "::/129",
					   "2001:db9::/31",
					   "10.0.0.0/8/8",
					   "x/8",
					   "10.0.0.0/4294967304",
					   "10.0.0.0/18446744073709551624",
					   "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/8"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr addr = {.family = 9};
		unsigned len = 999;

		if (addr_parse_prefix(rows[i], &addr, &len) != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i]);
		assert_int_equal(addr.family, 9);
		assert_int_equal(len, 999);
	}
}

static void addresses_are_ordered_by_family_then_value(void **state)
{
	static const char *const ascending[] = {
	    "0.0.0.0", "9.255.255.255", "10.0.0.0",   "10.0.0.1", "255.0.0.0",
	    "::",      "::1",           "2001:db8::", "ff00::"};
	const size_t count = sizeof(ascending) / sizeof(ascending[0]);

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++) {
			struct addr a = parse(ascending[i]), b = parse(ascending[j]);
			int rc = addr_compare(&a, &b);

			assert_int_equal((rc > 0) - (rc < 0), (i > j) - (i < j));
			assert_int_equal(addr_equal(&a, &b), i == j);
		}
}

static void a_sockaddr_has_address_and_port_in_wire_order(void **state)
{
	struct sockaddr_storage storage;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&storage;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&storage;
	struct addr addr = parse("192.0.2.1");

	assert_int_equal(addr_to_sockaddr(&addr, 8080, &storage), sizeof(*in));
	assert_int_equal(in->sin_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), 8080);
	assert_memory_equal(&in->sin_addr, addr.bytes, 4);
	addr = parse("2001:db8::1");
	assert_int_equal(addr_to_sockaddr(&addr, 443, &storage), sizeof(*in6));
	assert_int_equal(in6->sin6_family, AF_INET6);
	assert_int_equal(ntohs(in6->sin6_port), 443);
	assert_memory_equal(&in6->sin6_addr, addr.bytes, 16);
	assert_int_equal(in6->sin6_scope_id, 0);
}

static void addresses_of_no_single_host_are_named(void **state)
{
	static const struct {
		const char *address, *why;
	} cases[] = {
	    {"0.0.0.0", "an unspecified address"},
	    {"0.1.2.3", "an unspecified address"},
	    {"127.0.0.1", "a loopback address"},
	    {"127.255.255.255", "a loopback address"},
	    {"224.0.0.1", "a multicast address"},
	    {"239.255.255.255", "a multicast address"},
	    {"255.255.255.255", "the broadcast address"},
	    {"::", "an unspecified address"},
	    {"::1", "a loopback address"},
	    {"ff02::1", "a multicast address"},
	    {"fe80::1", "a link-local address"},
	    {"::ffff:10.0.0.1", "an IPv4-mapped address"},
	    {"10.0.0.1", NULL},
	    {"1.0.0.0", NULL},
	    {"2001:db8::1", NULL},
	    {"fec0::1", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr addr = parse(cases[i].address);
		const char *why = addr_why_no_host(&addr);

		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
		else
			assert_null(why);
	}
}

static void an_address_of_this_host_is_known(void **state)
{
	struct addr loopback = parse("127.0.0.1"), far = parse("192.0.2.77"),
		    far6 = parse("2001:db8::77");

	assert_true(addr_is_own(&loopback));
	assert_false(addr_is_own(&far));
	assert_false(addr_is_own(&far6));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_address_is_written_in_its_shortest_form),
	    cmocka_unit_test(the_longest_address_fits_its_text),
	    cmocka_unit_test(no_address_is_written_as_none),
	    cmocka_unit_test(what_is_no_address_is_refused_and_leaves_the_value_alone),
	    cmocka_unit_test(a_prefix_has_a_length_and_no_bits_beyond_it),
	    cmocka_unit_test(a_bad_prefix_is_refused_and_leaves_the_values_alone),
	    cmocka_unit_test(addresses_are_ordered_by_family_then_value),
	    cmocka_unit_test(a_sockaddr_has_address_and_port_in_wire_order),
	    cmocka_unit_test(addresses_of_no_single_host_are_named),
	    cmocka_unit_test(an_address_of_this_host_is_known),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
