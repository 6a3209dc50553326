/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lists of prefixes and filters: parsing, files, the longest match against a naive model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lbd/filter/filter.h"
#include "support/filter_model.h"
#include "support/test_file.h"
#include "support/test_registry.h"

/* ---- one prefix ---- */

LB_TEST(an_address_is_a_prefix_of_its_whole_length)
{
	struct filter_prefix prefix;

	assert_int_equal(filter_prefix_parse("192.0.2.1", &prefix, NULL), 0);
	assert_int_equal(prefix.length, 32);
	assert_int_equal(filter_prefix_parse("2001:db8::1", &prefix, NULL), 0);
	assert_int_equal(prefix.length, 128);
	assert_int_equal(prefix.address.family, 6);
}

LB_TEST(prefixes_of_every_length_are_read)
{
	struct filter_prefix prefix;
	char text[64];

	for (int length = 0; length <= 32; length++) {
		snprintf(text, sizeof(text), "0.0.0.0/%d", length);
		assert_int_equal(filter_prefix_parse(text, &prefix, NULL), 0);
		assert_int_equal(prefix.length, length);
	}
	for (int length = 0; length <= 128; length++) {
		snprintf(text, sizeof(text), "::/%d", length);
		assert_int_equal(filter_prefix_parse(text, &prefix, NULL), 0);
		assert_int_equal(prefix.length, length);
	}
}

LB_TEST(a_wrong_prefix_is_named_with_what_was_expected)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"10.0.0.0/33", "10.0.0.0/33: expected a length from 0 to 32"},
	    {"10.0.0.0/", "10.0.0.0/: expected a length from 0 to 32"},
	    {"10.0.0.0/-1", "10.0.0.0/-1: expected a length from 0 to 32"},
	    {"10.0.0.0/99999999999999999999",
	     "10.0.0.0/99999999999999999999: expected a length from 0 to 32"},
	    {"2001:db8::/129", "2001:db8::/129: expected a length from 0 to 128"},
	    {"10.1.0.0/8", "10.1.0.0/8: has bits beyond its length: expected 10.0.0.0/8"},
	    {"10.0.0.129/25", "10.0.0.129/25: has bits beyond its length: expected 10.0.0.128/25"},
	    {"2001:db8::1/64", "2001:db8::1/64: has bits beyond its length: expected "
			       "2001:db8::/64"},
	    {"10.0.0", "10.0.0: expected an IPv4 or IPv6 prefix or address, such as "
		       "192.0.2.0/24 or 2001:db8::/32"},
	    {"", ": expected an IPv4 or IPv6 prefix or address, such as 192.0.2.0/24 or "
		 "2001:db8::/32"},
	};
	struct filter_prefix prefix;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct error err = {0};

		assert_int_equal(filter_prefix_parse(cases[i].text, &prefix, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].error);
	}
}

/* ---- files ---- */

static char path[64];

static int make_path(void **state)
{
	snprintf(path, sizeof(path), "/tmp/test_filter-%d.txt", (int)getpid());
	return 0;
}

static int remove_path(void **state)
{
	unlink(path);
	return 0;
}

#define FILE_TEST(name) LB_TEST_SETUP(name, make_path, remove_path)

FILE_TEST(a_file_has_a_prefix_a_line_with_comments_and_blanks)
{
	struct filter_list *list;
	struct error err = {0};

	test_file_put(path, "# blocked\n\n10.0.0.0/8\n \t192.0.2.1 \t# one host\r\n"
			    "2001:db8::/32#v6\n   \n#\n203.0.113.0/24");
	if (filter_list_read(path, &list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(list->count, 4);
	assert_int_equal(list->counts[0], 3);
	assert_int_equal(list->counts[1], 1);
	assert_int_equal(list->prefixes[1].length, 32);
	assert_int_equal(list->prefixes[1].line, 4);
	assert_int_equal(list->prefixes[3].line, 8);
	filter_list_unref(list);
}

FILE_TEST(a_file_may_begin_with_a_byte_order_mark)
{
	struct filter_list *list;
	struct error err = {0};

	test_file_put(path, "\xef\xbb\xbf"
			    "10.0.0.0/8\r\n203.0.113.0/24\r\n");
	if (filter_list_read(path, &list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(list->count, 2);
	assert_int_equal(list->prefixes[0].line, 1);
	filter_list_unref(list);
}

FILE_TEST(an_empty_file_is_an_empty_list)
{
	struct filter_list *list;

	test_file_put(path, "");
	assert_int_equal(filter_list_read(path, &list, NULL), 0);
	assert_int_equal(list->count, 0);
	filter_list_unref(list);
}

static void expect_unread(const char *error)
{
	struct filter_list *list = NULL;
	struct error err = {0};
	char text[1200];

	assert_true(filter_list_read(path, &list, &err) < 0);
	snprintf(text, sizeof(text), "%s%s", path, error);
	assert_string_equal(err.text, text);
	assert_null(list);
}

FILE_TEST(a_wrong_line_is_named_by_file_line_and_value)
{
	test_file_put(path, "10.0.0.0/8\n# x\n\n10.0.0.0/8 10.1.0.0/16\n");
	expect_unread(":4: 10.0.0.0/8 10.1.0.0/16: expected a length from 0 to 32");
	test_file_put(path, "10.0.0.0/8\nexample.com\n");
	expect_unread(":2: expected an IPv4 or IPv6 prefix or address, such as "
		      "192.0.2.0/24 or 2001:db8::/32");
}

FILE_TEST(what_may_be_a_secret_is_not_in_the_error)
{
	test_file_put(path, "# /etc/shadow\nroot:$y$j9T$abc:19000:0:99999:7:::\n");
	expect_unread(":2: expected an IPv4 or IPv6 prefix or address, such as 192.0.2.0/24 or "
		      "2001:db8::/32");
	test_file_put(path, "0123456789abcdef0123456789abcdef\n");
	expect_unread(":1: expected an IPv4 or IPv6 prefix or address, such as 192.0.2.0/24 or "
		      "2001:db8::/32");
}

FILE_TEST(what_is_no_file_of_text_is_refused)
{
	FILE *file;

	expect_unread(": cannot open: No such file or directory");
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_unread(": expected a regular file");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_unread(": expected a regular file");
	rmdir(path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite("10.0.0.0/8\n1\0\n", 1, 14, file), 14);
	fclose(file);
	expect_unread(":2: a zero byte: expected text");
}

FILE_TEST(a_link_to_a_file_is_followed)
{
	struct filter_list *list;
	char link[80];

	test_file_put(path, "10.0.0.0/8\n");
	snprintf(link, sizeof(link), "%s.link", path);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(filter_list_read(link, &list, NULL), 0);
	unlink(link);
	assert_int_equal(list->count, 1);
	filter_list_unref(list);
}

FILE_TEST(a_large_file_is_read_whole)
{
	FILE *file = fopen(path, "w");
	struct filter_list *list;

	assert_non_null(file);
	for (unsigned i = 0; i < 100000; i++)
		fprintf(file, "%u.%u.%u.0/24\n", 1 + i / 65536, i / 256 % 256, i % 256);
	fclose(file);
	assert_int_equal(filter_list_read(path, &list, NULL), 0);
	assert_int_equal(list->count, 100000);
	filter_list_unref(list);
}

FILE_TEST(a_file_that_two_services_name_is_read_once)
{
	struct filter_pool *pool = filter_pool_new();
	struct filter *one, *other;
	struct filter_list *a, *b;

	test_file_put(path, "10.0.0.0/8\n");
	assert_int_equal(filter_pool_read(pool, path, &a, NULL), 0);
	test_file_put(path, "11.0.0.0/8\n");
	assert_int_equal(filter_pool_read(pool, path, &b, NULL), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(filter_pool_make(pool, NULL, a, &one, NULL), 0);
	assert_int_equal(filter_pool_make(pool, NULL, b, &other, NULL), 0);
	assert_ptr_equal(one, other);
	filter_pool_free(pool);
	filter_list_unref(a);
	filter_list_unref(b);
	filter_unref(one);
	filter_unref(other);
}

/* ---- verdicts ---- */

static uint32_t number4(const struct addr *address)
{
	const uint8_t *b = address->bytes;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool reached6(const struct lb_filter_bound *bound, const struct addr *address)
{
	uint64_t half[2] = {0};

	for (int i = 0; i < 16; i++)
		half[i / 8] = half[i / 8] << 8 | address->bytes[i];
	return bound->high < half[0] || (bound->high == half[0] && bound->low <= half[1]);
}

static bool denies(const struct filter *filter, const struct addr *address)
{
	uint32_t below = 0;

	if (address->family == 4) {
		while (below < filter->count4 && filter->bounds4[below] <= number4(address))
			below++;
		return (below & 1) ^ filter->denies4;
	}
	while (below < filter->count6 && reached6(&filter->bounds6[below], address))
		below++;
	return (below & 1) ^ filter->denies6;
}

static void expect_verdicts(const char *allow, const char *deny, const char *allowed,
			    const char *denied)
{
	struct filter *filter = filter_of(allow, deny);
	struct filter_list *yes = list_of(allowed), *no = list_of(denied);

	for (uint32_t i = 0; i < yes->count; i++)
		assert_false(denies(filter, &yes->prefixes[i].address));
	for (uint32_t i = 0; i < no->count; i++)
		assert_true(denies(filter, &no->prefixes[i].address));
	filter_list_unref(yes);
	filter_list_unref(no);
	filter_unref(filter);
}

LB_TEST(with_allow_alone_all_else_is_denied)
{
	expect_verdicts("10.0.0.0/8 192.0.2.1", NULL, "10.0.0.0 10.255.255.255 192.0.2.1",
			"9.255.255.255 11.0.0.0 192.0.2.0 192.0.2.2 0.0.0.0 255.255.255.255 "
			"2001:db8::1 :: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

LB_TEST(with_deny_alone_all_else_is_allowed)
{
	expect_verdicts(NULL, "10.0.0.0/8 2001:db8::/32 255.255.255.255 0.0.0.0",
			"9.255.255.255 11.0.0.0 255.255.255.254 0.0.0.1 2001:db7:: 2001:db9::",
			"10.0.0.0 10.255.255.255 255.255.255.255 0.0.0.0 2001:db8:: "
			"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
}

LB_TEST(with_both_lists_the_longest_prefix_decides)
{
	expect_verdicts("10.0.0.0/8 10.1.2.3", "10.1.0.0/16 10.1.2.0/25",
			"10.0.0.1 10.2.0.0 10.1.2.3 10.255.0.0",
			"10.1.0.0 10.1.255.255 10.1.2.2 10.1.2.4 11.0.0.0");
	expect_verdicts("0.0.0.0/0 10.1.0.0/16", "10.0.0.0/8", "10.1.0.0 10.1.255.255 11.0.0.0",
			"10.0.0.0 10.2.0.0 10.255.255.255");
}

LB_TEST(prefixes_that_reach_the_last_address_end_there)
{
	expect_verdicts(NULL, "128.0.0.0/1 255.255.255.0/24 8000::/1",
			"127.255.255.255 7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"128.0.0.0 255.255.255.255 8000:: "
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	expect_verdicts("255.255.255.255", "192.0.0.0/2", "255.255.255.255",
			"192.0.0.0 255.255.255.254 1.0.0.0");
}

LB_TEST(a_prefix_in_both_lists_is_refused_with_both_places)
{
	struct filter_list *allow = list_of("1.0.0.0/8 10.0.0.0/8"),
			   *deny = list_of("10.0.0.0/9 11.0.0.0/8 10.0.0.0/8"),
			   *allow6 = list_of("2001:db8::/32"), *deny6 = list_of("2001:db8::/32");
	struct filter *filter = NULL;
	struct error err = {0};

	assert_int_equal(filter_new(allow, deny, &filter, &err), -EEXIST);
	assert_string_equal(err.text, "10.0.0.0/8: is in both lists: expected one of them: allow "
				      "at test:2, deny at test:3");
	assert_int_equal(filter_new(allow6, deny6, &filter, &err), -EEXIST);
	assert_string_equal(err.text, "2001:db8::/32: is in both lists: expected one of them: "
				      "allow at test:1, deny at test:1");
	assert_null(filter);
	filter_list_unref(allow);
	filter_list_unref(deny);
	filter_list_unref(allow6);
	filter_list_unref(deny6);
}

LB_TEST(order_repetition_and_division_of_prefixes_make_no_difference)
{
	struct filter *whole = filter_of(NULL, "10.0.0.0/8 2001:db8::/32"),
		      *parts = filter_of(NULL, "2001:db8::/33 10.128.0.0/9 2001:db8:8000::/33 "
					       "10.0.0.0/9 10.0.0.0/9 10.1.2.3"),
		      *other = filter_of(NULL, "10.0.0.0/8 2001:db8::/33"),
		      *allow = filter_of("10.0.0.0/8 2001:db8::/32", NULL);

	assert_true(filter_equal(whole, parts));
	assert_int_equal(whole->count4, 2);
	assert_false(filter_equal(whole, other));
	assert_false(filter_equal(whole, allow));
	assert_false(filter_equal(whole, NULL));
	filter_unref(whole);
	filter_unref(parts);
	filter_unref(other);
	filter_unref(allow);
}

static void compare_with_model(const struct filter_list *allow, const struct filter_list *deny)
{
	struct filter *filter = filter_of_lists(allow, deny);

	for (int i = 0; i < 200; i++) {
		struct addr address = model_address(allow, deny, i % 2 ? 4 : 6);
		bool model = model_denies(allow, deny, &address);
		char text[ADDR_TEXT];

		if (denies(filter, &address) != model)
			fail_msg("%s: denied %d, expected %d", addr_format(&address, text), !model,
				 model);
	}
	for (uint32_t i = 1; i < filter->count4; i++)
		assert_true(filter->bounds4[i - 1] < filter->bounds4[i]);
	filter_unref(filter);
}

LB_TEST(random_lists_admit_whom_the_naive_model_admits)
{
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		struct filter_list *allow, *deny;

		model_seed(seed);
		allow = seed % 3 ? model_list(40, NULL) : NULL;
		deny = seed % 3 != 1 ? model_list(40, allow) : NULL;
		compare_with_model(allow, deny);
		filter_list_unref(allow);
		filter_list_unref(deny);
	}
}

LB_TEST_MAIN("filter")
