/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources/list.c: what a file may say, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/sources/list.h"
#include "support/test_addr.h"

static void parse(const char *text, struct source_list *ret)
{
	struct error err = {""};

	if (source_list_parse(text, strlen(text), ret, &err))
		fail_msg("%s", err.text);
}

static void refused(const char *text, int code, const char *why)
{
	struct source_list list = {0};
	struct error err = {""};

	assert_int_equal(source_list_parse(text, strlen(text), &list, &err), code);
	assert_string_equal(err.text, why);
	assert_null(list.items);
}

static void expect_item(const struct source_list *list, unsigned at, const char *address,
			unsigned weight, const char *name)
{
	const struct addr addr = test_addr(address);

	assert_true(addr_equal(&list->items[at].address, &addr));
	assert_int_equal(list->items[at].weight, weight);
	assert_string_equal(list->items[at].name, name);
	assert_true(source_item_is_sound(&list->items[at]));
}

static void lines_are_sorted_by_address_and_comments_skipped(void **state)
{
	struct source_list list;

	parse("# of the fleet\n2001:db8::1\n\n10.0.0.12\tweight=50 name=web-2 labels.zone=a  "
	      "labels.rack=7 # spare\r\n10.0.0.11",
	      &list);
	assert_int_equal(list.count, 3);
	expect_item(&list, 0, "10.0.0.11", 100, "");
	expect_item(&list, 1, "10.0.0.12", 50, "web-2");
	expect_item(&list, 2, "2001:db8::1", 100, "");
	assert_int_equal(list.items[1].labels_count, 2);
	assert_string_equal(list.items[1].labels[1].key, "rack");
	assert_string_equal(list.items[1].labels[1].value, "7");
	source_list_done(&list);
}

static void a_text_may_begin_with_a_byte_order_mark(void **state)
{
	struct source_list list;

	parse("\ufeff[\"10.0.0.11\"]", &list);
	expect_item(&list, 0, "10.0.0.11", 100, "");
	source_list_done(&list);
	parse("\xef\xbb\xbf"
	      "10.0.0.11\r\n",
	      &list);
	expect_item(&list, 0, "10.0.0.11", 100, "");
	source_list_done(&list);
}

static void json_says_the_same(void **state)
{
	struct source_list list, lines;

	parse(" [\"10.0.0.11\", {\"address\": \"10.0.0.12\", \"weight\": 50, \"name\": \"web-2\", "
	      "\"labels\": {\"zone\": \"a b\"}}]",
	      &list);
	assert_int_equal(list.count, 2);
	expect_item(&list, 1, "10.0.0.12", 50, "web-2");
	assert_string_equal(list.items[0].name, "");
	parse("10.0.0.11\n10.0.0.12 weight=50 name=web-2 labels.zone=a", &lines);
	assert_false(source_list_equal(&list, &lines));
	strcpy(lines.items[1].labels[0].value, "a b");
	assert_true(source_list_equal(&list, &lines));
	source_list_done(&lines);
	source_list_done(&list);
	parse("{\"backends\": [], \"made_by\": \"x\"}", &list);
	assert_int_equal(list.count, 0);
	parse("", &list);
	assert_int_equal(list.count, 0);
}

static void lines_and_json_have_zones_and_priorities(void **state)
{
	struct source_list lines, json;

	parse("10.0.0.1 zone=eu-1 priority=0\n10.0.0.2 priority=7 weight=5", &lines);
	assert_string_equal(lines.items[0].zone, "eu-1");
	assert_int_equal(lines.items[1].priority, 7);
	expect_item(&lines, 1, "10.0.0.2", 5, "");
	parse("[{\"address\": \"10.0.0.1\", \"zone\": \"eu-1\"}, {\"address\": \"10.0.0.2\", "
	      "\"priority\": 7, \"weight\": 5}]",
	      &json);
	assert_true(source_list_equal(&lines, &json));
	json.items[1].priority = 6;
	assert_false(source_list_equal(&lines, &json));
	json.items[1].priority = 7;
	strcpy(json.items[0].zone, "eu-2");
	assert_false(source_list_equal(&lines, &json));
	json.items[1].priority = 8;
	assert_false(source_item_is_sound(&json.items[1]));
	strcpy(json.items[0].zone, "a b");
	assert_false(source_item_is_sound(&json.items[0]));
	source_list_done(&lines);
	source_list_done(&json);
	refused("10.0.0.1 priority=8", -EINVAL, "line 1: priority: 8: expected an integer 0 to 7");
	refused("10.0.0.1 zone=", -EINVAL, "line 1: zone: " CONFIG_ZONE_EXPECTED);
	refused("[{\"address\": \"10.0.0.1\", \"priority\": \"1\"}]", -EINVAL,
		"backend 1: priority: expected an integer 0 to 7");
	refused("[{\"address\": \"10.0.0.1\", \"zone\": 1}]", -EINVAL,
		"backend 1: zone: " CONFIG_ZONE_EXPECTED);
}

static void lines_and_json_have_ports(void **state)
{
	struct source_list lines, json;

	parse("10.0.0.1 port=8081\n10.0.0.2\n", &lines);
	assert_int_equal(lines.items[0].port, 8081);
	assert_int_equal(lines.items[1].port, 0);
	parse("[{\"address\": \"10.0.0.1\", \"port\": 8081}, \"10.0.0.2\"]", &json);
	assert_true(source_list_equal(&lines, &json));
	json.items[0].port = 8082;
	assert_false(source_list_equal(&lines, &json));
	json.items[0].port = 65536;
	assert_false(source_item_is_sound(&json.items[0]));
	source_list_done(&lines);
	source_list_done(&json);
	refused("10.0.0.1 port=0", -EINVAL, "line 1: port: 0: expected an integer 1 to 65535");
	refused("10.0.0.1 port=65536", -EINVAL,
		"line 1: port: 65536: expected an integer 1 to 65535");
	refused("[{\"address\": \"10.0.0.1\", \"port\": 0}]", -EINVAL,
		"backend 1: port: expected an integer 1 to 65535");
	parse("10.0.0.1 port=9000\n10.0.0.1 port=8080\n", &lines);
	assert_int_equal(lines.items[0].port, 8080); /* in whatever order */
	source_list_done(&lines);
}

static void of_one_that_is_named_twice_the_first_priority_counts(void **state)
{
	struct source_list list;

	parse("10.0.0.1 priority=1 weight=90\n10.0.0.1 weight=20\n", &list);
	assert_int_equal(list.count, 1);
	assert_int_equal(list.items[0].priority, 0);
	expect_item(&list, 0, "10.0.0.1", 20, "");
	source_list_done(&list);
}

static void one_that_is_named_twice_counts_once(void **state)
{
	struct source_list list;

	parse("10.0.0.1\n10.0.0.2\n10.0.0.1 weight=100\n", &list);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.ignored, 1);
	assert_string_equal(list.why, "10.0.0.1: named twice");
	source_list_done(&list);
}

/* The answers of a DNS server turn. */
static void of_one_that_is_named_twice_the_order_does_not_matter(void **state)
{
	struct source_list list;

	parse("10.0.0.1 weight=20\n10.0.0.1 weight=60\n10.0.0.1 weight=30\n", &list);
	expect_item(&list, 0, "10.0.0.1", 60, "");
	source_list_done(&list);
	parse("10.0.0.1 weight=60\n10.0.0.1 weight=30\n10.0.0.1 weight=20\n", &list);
	expect_item(&list, 0, "10.0.0.1", 60, "");
	source_list_done(&list);
}

static void mistakes_are_named_with_their_line(void **state)
{
	refused("10.0.0.1\nweb-2\n", -EINVAL, "line 2: web-2: expected the address of a host");
	refused("127.0.0.1\n", -EINVAL, "line 1: 127.0.0.1: expected the address of a host");
	refused("10.0.0.1 weight=10001", -EINVAL,
		"line 1: weight: 10001: expected an integer 0 to 10000");
	refused("10.0.0.1 weight=-1", -EINVAL,
		"line 1: weight: -1: expected an integer 0 to 10000");
	refused("10.0.0.1 weight=", -EINVAL, "line 1: weight: : expected an integer 0 to 10000");
	refused(
	    "10.0.0.1 50", -EINVAL,
	    "line 1: 50: expected weight=N, priority=N, port=N, zone=ZONE, name=NAME or labels.KEY=VALUE");
	refused("10.0.0.1 name=7", -EINVAL, "line 1: name: " CONFIG_TAG_NAME_EXPECTED);
	refused("10.0.0.1 labels.a=1 labels.a=2", -EINVAL, "line 1: labels: a: given twice");
	refused("[{\"weight\": 1}]", -EINVAL, "backend 1: address: expected the address of a host");
	refused("[{\"address\": \"10.0.0.1\", \"weight\": 1.5}]", -EINVAL,
		"backend 1: weight: expected an integer 0 to 10000");
	refused("[{\"address\": \"10.0.0.1\", \"cost\": 80}]", -EINVAL,
		"backend 1: cost: unknown field: expected address, weight, priority, "
		"port, zone, name or labels");
	refused("[{\"address\": \"10.0.0.1\", \"labels\": {\"a\": 1}}]", -EINVAL,
		"backend 1: labels: a: " CONFIG_LABEL_VALUE_EXPECTED);
	refused("{\"servers\": []}", -EINVAL, "expected a list of backends");
	refused("[\"10.0.0.1\"", -EINVAL, "line 1: ']' expected near end of file");
}

static void a_list_is_bounded(void **state)
{
	char *text = calloc(CONFIG_FROM_MAX + 1, 16);
	struct source_list list;
	size_t length = 0;

	for (unsigned i = 0; i < CONFIG_FROM_MAX; i++)
		length += (size_t)sprintf(text + length, "10.1.%u.%u\n", i / 250, 1 + i % 250);
	parse(text, &list);
	assert_int_equal(list.count, CONFIG_FROM_MAX);
	source_list_done(&list);
	strcpy(text + length, "10.2.0.1\n");
	refused(text, -E2BIG, "line 1025: expected at most 1024 backends");
	free(text);
}

/* A text with as many marks is one value. */
static void json_has_a_bounded_number_of_values(void **state)
{
	const size_t marks = 600000, room = 2 * marks + 16;
	char *text = malloc(room);
	json_t *root;

	strcpy(text, "[1");
	for (size_t i = 0; i < marks; i++)
		memcpy(text + 2 + 2 * i, ",1", 3);
	strcpy(text + 2 + 2 * marks, "]");
	assert_null(source_json(text, strlen(text), 0));
	strcpy(text + 200002, "]");
	root = source_json(text, strlen(text), 0);
	assert_int_equal(json_array_size(root), 100001);
	json_decref(root);
	memset(text, ',', marks);
	memcpy(text, "[\"\\\"", 4);
	strcpy(text + marks, "\"]");
	root = source_json(text, strlen(text), 0);
	assert_int_equal(json_string_length(json_array_get(root, 0)), marks - 3);
	json_decref(root);
	free(text);
}

/* Behind 169.254.169.254 clouds keep what only the host itself should know. */
static void an_address_of_a_link_is_no_backend(void **state)
{
	struct source_item item;

	assert_false(source_item_init(&item, "169.254.169.254"));
	assert_false(source_item_init(&item, "fe80::1"));
	assert_true(source_item_init(&item, "169.253.0.1"));
	item.address = test_addr("169.254.0.1");
	assert_false(source_item_is_sound(&item));
}

static void what_another_process_sends_is_checked_whole(void **state)
{
	struct source_item item;

	assert_true(source_item_init(&item, "10.0.0.1"));
	assert_true(source_item_is_sound(&item));
	item.address.bytes[15] = 1;
	assert_false(source_item_is_sound(&item));
	source_item_init(&item, "10.0.0.1");
	item.address.family = 5;
	assert_false(source_item_is_sound(&item));
	source_item_init(&item, "10.0.0.1");
	memset(item.name, 'a', sizeof(item.name));
	assert_false(source_item_is_sound(&item));
	source_item_init(&item, "10.0.0.1");
	item.weight = CONFIG_MAX_WEIGHT + 1;
	assert_false(source_item_is_sound(&item));
	source_item_init(&item, "10.0.0.1");
	item.labels_count = CONFIG_LABELS_MAX + 1;
	assert_false(source_item_is_sound(&item));
	item.labels_count = 2;
	strcpy(item.labels[0].key, "a");
	strcpy(item.labels[0].value, "1");
	item.labels[1] = item.labels[0];
	assert_false(source_item_is_sound(&item));
	strcpy(item.labels[1].key, "b");
	assert_true(source_item_is_sound(&item));
	memset(item.labels[1].value, 'x', sizeof(item.labels[1].value));
	assert_false(source_item_is_sound(&item));
	assert_false(source_item_init(&item, "255.255.255.255"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_sorted_by_address_and_comments_skipped),
	    cmocka_unit_test(a_text_may_begin_with_a_byte_order_mark),
	    cmocka_unit_test(json_says_the_same),
	    cmocka_unit_test(one_that_is_named_twice_counts_once),
	    cmocka_unit_test(lines_and_json_have_zones_and_priorities),
	    cmocka_unit_test(lines_and_json_have_ports),
	    cmocka_unit_test(of_one_that_is_named_twice_the_first_priority_counts),
	    cmocka_unit_test(of_one_that_is_named_twice_the_order_does_not_matter),
	    cmocka_unit_test(mistakes_are_named_with_their_line),
	    cmocka_unit_test(a_list_is_bounded),
	    cmocka_unit_test(json_has_a_bounded_number_of_values),
	    cmocka_unit_test(an_address_of_a_link_is_no_backend),
	    cmocka_unit_test(what_another_process_sends_is_checked_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
