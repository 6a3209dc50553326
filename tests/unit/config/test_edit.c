/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/config/edit.c: backends change in the text of a config, and nothing else does. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/config/config.h"

#define BLOCK                                        \
	"# the shop\n"                               \
	"services:\n"                                \
	"  - name: web        # fr\u00fch\n"         \
	"    vip: 192.0.2.10\n"                      \
	"    protocol: tcp\n"                        \
	"    port: 80\n"                             \
	"    backends:\n"                            \
	"      # rack 1\n"                           \
	"      - address: 10.0.0.1   # \u00e4lter\n" \
	"        weight: 7           # half\n"       \
	"      - { address: 10.0.0.2 } # new\n"      \
	"\n"                                         \
	"      # rack 2\n"                           \
	"      - address: 10.0.0.3   # slow\n"
#define FLOW                                                                            \
	"services: [{ name: web, vip: 192.0.2.10, protocol: tcp, port: 80, backends: [" \
	"{ address: 10.0.0.1, weight: 7 }, { address: 10.0.0.2 }, { address: 10.0.0.3 }] }]\n"

static int try_edit(const char *text, const struct config_edit *edits, unsigned count, char **ret)
{
	struct config_text one = {(char *)"lbd.yaml", strdup(text), strlen(text)};
	struct config_texts texts = {.list = &one, .count = 1};
	struct error err = {""};
	bool changed = false;
	int rc = config_edit_texts(&texts, NULL, edits, count, &changed, &err);

	assert_true(changed);
	if (rc) {
		assert_true(*err.text);
		free(one.bytes);
		return rc;
	}
	assert_int_equal(one.length, strlen(one.bytes));
	*ret = one.bytes;
	return 0;
}

/* The text in which each `from` has become `to`. */
static void expect(const char *text, struct config_edit edit, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *got = NULL, want[2048];
	struct config *config;
	struct error err;

	assert_non_null(at);
	snprintf(want, sizeof(want), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	assert_int_equal(try_edit(text, &edit, 1, &got), 0);
	assert_string_equal(got, want);
	if (config_parse(got, strlen(got), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	config_free(config);
	free(got);
}

#define WEIGHT(at, value)                                          \
	(struct config_edit)                                       \
	{                                                          \
		.backend = at, .has_weight = true, .weight = value \
	}
#define DRAIN(at, value)                                         \
	(struct config_edit)                                     \
	{                                                        \
		.backend = at, .has_drain = true, .drain = value \
	}
#define REMOVE(at)                            \
	(struct config_edit)                  \
	{                                     \
		.backend = at, .remove = true \
	}

static void a_weight_is_replaced_where_it_is(void **state)
{
	expect(BLOCK, WEIGHT(0, 100), "weight: 7 ", "weight: 100 ");
	expect(FLOW, WEIGHT(0, 0), "weight: 7 ", "weight: 0 ");
}

static void a_key_that_is_new_follows_the_others(void **state)
{
	expect(BLOCK, DRAIN(0, true), "# half\n", "# half\n        drain: true\n");
	expect(BLOCK, WEIGHT(1, 5), "10.0.0.2 }", "10.0.0.2, weight: 5 }");
	expect(BLOCK, WEIGHT(2, 5), "# slow\n", "# slow\n        weight: 5\n");
	expect(FLOW, DRAIN(1, true), "10.0.0.2 }", "10.0.0.2, drain: true }");
}

static void a_removed_backend_goes_with_its_lines_alone(void **state)
{
	expect(BLOCK, REMOVE(0),
	       "      - address: 10.0.0.1   # \u00e4lter\n        weight: 7           # half\n",
	       "");
	expect(BLOCK, REMOVE(1), "      - { address: 10.0.0.2 } # new\n", "");
	expect(BLOCK, REMOVE(2), "      - address: 10.0.0.3   # slow\n", "");
	expect(FLOW, REMOVE(0), "{ address: 10.0.0.1, weight: 7 }, ", "");
	expect(FLOW, REMOVE(2), ", { address: 10.0.0.3 }", "");
}

/* As editors of other systems write them. */
static void bytes_before_the_text_and_other_ends_of_lines_are_no_matter(void **state)
{
	static const char cr[] = "services:\r- name: web\r  vip: 192.0.2.10\r  protocol: tcp\r"
				 "  port: 80\r  backends:\r  - address: 10.0.0.1\r    weight: 7\r"
				 "  - address: 10.0.0.2\r";
	static const char ls[] = "services:\n- name: web\n  vip: 192.0.2.10\n  protocol: tcp\n"
				 "  port: 80\n  backends:\n  - address: 10.0.0.1\u2028"
				 "  - address: 10.0.0.2\n";

	expect("\ufeff" FLOW, WEIGHT(0, 100), "weight: 7 ", "weight: 100 ");
	expect("\ufeff" BLOCK, WEIGHT(0, 100), "weight: 7 ", "weight: 100 ");
	expect("# a\u2028# b\xc2\x85# c\u2029" BLOCK, WEIGHT(0, 100), "weight: 7 ", "weight: 100 ");
	expect(cr, WEIGHT(0, 100), "weight: 7", "weight: 100");
	expect(ls, WEIGHT(0, 5), "10.0.0.1", "10.0.0.1\n    weight: 5");
	expect("# \r\n" BLOCK, REMOVE(1), "      - { address: 10.0.0.2 } # new\n", "");
}

static int add_two(const char *text, char **ret)
{
	struct config_edit edits[2];

	for (unsigned i = 0; i < 2; i++) {
		edits[i] = (struct config_edit){
		    .backend = CONFIG_EDIT_ADD, .has_weight = true, .weight = 8 + i};
		assert_int_equal(addr_parse(i ? "10.0.0.9" : "10.0.0.8", &edits[i].address), 0);
	}
	return try_edit(text, edits, 2, ret);
}

static void a_service_without_backends_of_its_own_gets_a_list(void **state)
{
	static const char block[] = "services:\n"
				    "  - vip: 192.0.2.10\n"
				    "    protocol: tcp\n"
				    "    port: 80\n"
				    "    backends-from:\n"
				    "      file: /etc/lbd/web # of the shop\n"
				    "  # the end\n",
			  flow[] = "services: [{ vip: 192.0.2.10, protocol: tcp, port: 80, "
				   "backends-from: { file: /etc/lbd/web } }]\n";
	char *got;

	assert_int_equal(add_two(block, &got), 0);
	assert_string_equal(got, "services:\n"
				 "  - vip: 192.0.2.10\n"
				 "    protocol: tcp\n"
				 "    port: 80\n"
				 "    backends-from:\n"
				 "      file: /etc/lbd/web # of the shop\n"
				 "    backends:\n"
				 "      - { address: 10.0.0.8, weight: 8 }\n"
				 "      - { address: 10.0.0.9, weight: 9 }\n"
				 "  # the end\n");
	free(got);
	assert_int_equal(add_two(flow, &got), 0);
	assert_string_equal(got, "services: [{ vip: 192.0.2.10, protocol: tcp, port: 80, "
				 "backends-from: { file: /etc/lbd/web }, backends: [{ address: "
				 "10.0.0.8, weight: 8 }, { address: 10.0.0.9, weight: 9 }] }]\n");
	free(got);
}

static void a_backend_is_added_at_the_end_of_its_list(void **state)
{
	struct config_edit add = {.backend = CONFIG_EDIT_ADD, .has_weight = true, .weight = 9};
	static const char unended[] = "services:\n- vip: 192.0.2.10\n  protocol: tcp\n  port: 80\n"
				      "  backends:\n  - address: 10.0.0.1";

	assert_int_equal(addr_parse("10.0.0.9", &add.address), 0);
	expect(BLOCK, add, "# slow\n", "# slow\n      - { address: 10.0.0.9, weight: 9 }\n");
	expect(FLOW, add, "10.0.0.3 }", "10.0.0.3 }, { address: 10.0.0.9, weight: 9 }");
	expect(unended, add, "10.0.0.1", "10.0.0.1\n  - { address: 10.0.0.9, weight: 9 }\n");
	assert_int_equal(addr_parse("2001:db8::9", &add.address), 0);
	add.has_drain = add.drain = true;
	expect(FLOW, add, "10.0.0.3 }",
	       "10.0.0.3 }, { address: \"2001:db8::9\", weight: 9, drain: true }");
}

static void an_added_backend_has_its_name_and_labels(void **state)
{
	const struct config_label labels[] = {{"zone", "a"}, {"note", "a: \"b\" \\ }"}};
	struct config_tag *tag = config_tag_new("web-9", "b", labels, 2);
	struct config_edit add = {
	    .backend = CONFIG_EDIT_ADD, .has_weight = true, .weight = 9, .priority = 1, .tag = tag};
	struct config *config;
	struct error err;
	char *got = NULL;

	assert_int_equal(addr_parse("10.0.0.9", &add.address), 0);
	assert_int_equal(try_edit(BLOCK, &add, 1, &got), 0);
	if (config_parse(got, strlen(got), "lbd.yaml", &config, &err))
		fail_msg("%s in %s", err.text, got);
	assert_non_null(strstr(got, "- { address: 10.0.0.9, name: web-9, weight: 9, "
				    "zone: \"b\", priority: 1, labels: { "));
	assert_true(config_tag_equal(config->services[0].backends[3].tag, tag));
	config_free(config);
	config_tag_unref(tag);
	free(got);
}

static void keys_after_labels_in_lines_of_their_own_keep_their_place(void **state)
{
	static const char text[] = "services:\n"
				   "  - vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n"
				   "    backends:\n"
				   "      - address: 10.0.0.1\n"
				   "        labels:\n"
				   "          zone: a # here\n";

	expect(text, WEIGHT(0, 5), "# here\n", "# here\n        weight: 5\n");
}

static void several_changes_do_not_disturb_each_other(void **state)
{
	struct config_edit edits[] = {REMOVE(2),
				      WEIGHT(0, 1),
				      {.backend = CONFIG_EDIT_ADD, .has_weight = true, .weight = 9},
				      DRAIN(1, true)};
	static const char *const texts[] = {BLOCK, FLOW};

	assert_int_equal(addr_parse("10.0.0.9", &edits[2].address), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct config *config = NULL;
		struct error err = {""};
		char *got = NULL;

		assert_int_equal(try_edit(texts[i], edits, 4, &got), 0);
		if (config_parse(got, strlen(got), "lbd.yaml", &config, &err))
			fail_msg("%s in %s", err.text, got);
		assert_int_equal(config->services[0].backends_count, 3);
		assert_int_equal(config->services[0].backends[0].weight, 1);
		assert_true(config->services[0].backends[1].drain);
		assert_int_equal(config->services[0].backends[2].weight, 9);
		config_free(config);
		free(got);
	}
}

static void lines_that_end_in_cr_lf_stay_so(void **state)
{
	static const char text[] = "services:\r\n  - vip: 192.0.2.10\r\n    protocol: tcp\r\n"
				   "    port: 80\r\n    backends:\r\n"
				   "      - address: 10.0.0.1 # one\r\n";

	expect(text, WEIGHT(0, 5), "# one\r\n", "# one\r\n        weight: 5\r\n");
}

static void backends_behind_an_alias_are_not_changed(void **state)
{
	static const char text[] =
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backends: &pool [{ address: "
	    "10.0.0.1 }] }\n"
	    "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 80, backends: *pool }\n";
	struct config_edit edit = WEIGHT(0, 5);
	char *got = NULL;

	assert_int_equal(try_edit(text, &edit, 1, &got), -EINVAL);
	edit.service = 1;
	assert_int_equal(try_edit(text, &edit, 1, &got), -EINVAL);
	assert_null(got);
}

/* ---- services ---- */

#define JSON                                                                              \
	"{\"name\":\"shop\",\"vip\":\"2001:db8::20\",\"port\":443,\"protocol\":\"tcp\","  \
	"\"health\":{\"type\":\"http\",\"path\":\"/a b: #\"},\"hash\":[\"source-port\"]," \
	"\"backends\":[{\"address\":\"10.0.0.9\",\"labels\":{\"note\":\"yes: {\"}},"      \
	"{\"address\":\"2001:db8::9\"}]}"
#define LINES(indent)                                                                        \
	indent "- name: shop\n" indent "  vip: 2001:db8::20\n" indent "  port: 443\n" indent \
	       "  protocol: tcp\n" indent "  health: {type: http, path: '/a b: #'}\n" indent \
	       "  hash: [source-port]\n" indent "  backends:\n" indent                       \
	       "  - {address: 10.0.0.9, labels: {note: 'yes: {'}}\n" indent                  \
	       "  - {address: '2001:db8::9'}\n"
#define SECOND                                                                      \
	"  - { name: dns, vip: 192.0.2.53, protocol: udp, port: 53, # the second\n" \
	"      backends: [{ address: 10.0.0.1 }] }\n"

static void expect_services(const char *text, const struct config_edit *edits, unsigned count,
			    const char *want)
{
	struct config *config;
	struct error err;
	char *got = NULL;

	assert_int_equal(try_edit(text, edits, count, &got), 0);
	if (want)
		assert_string_equal(got, want);
	if (config_parse(got, strlen(got), "lbd.yaml", &config, &err))
		fail_msg("%s in %s", err.text, got);
	config_free(config);
	free(got);
}

static void an_added_service_is_written_as_a_person_would_write_it(void **state)
{
	const struct config_edit add = {.added_service = JSON};
	char *got = NULL;

	assert_int_equal(try_edit(BLOCK, &add, 1, &got), 0);
	assert_string_equal(got, BLOCK LINES("  "));
	free(got);
	assert_int_equal(try_edit("services: [] # none yet\ngroup: root\n", &add, 1, &got), 0);
	assert_memory_equal(got, "services:\n" LINES("  "), strlen("services:\n" LINES("  ")) - 1);
	assert_string_equal(got + strlen("services:\n" LINES("  ")) - 1,
			    " # none yet\ngroup: root\n");
	free(got);
}

static void a_removed_service_goes_with_its_lines_alone(void **state)
{
	const struct config_edit first = {.service = 0, .remove_service = true},
				 second = {.service = 1, .remove_service = true};
	const struct config_edit both[] = {first, second};
	const struct config_edit flow = {.service = 0, .remove_service = true};

	expect_services(BLOCK SECOND, &second, 1, BLOCK);
	expect_services(BLOCK SECOND "# the end\n", &first, 1,
			"# the shop\nservices:\n" SECOND "# the end\n");
	expect_services(BLOCK SECOND "# the end\n", both, 2,
			"# the shop\nservices: []\n# the end\n");
	expect_services(FLOW, &flow, 1, "services: []\n");
}

static void services_are_added_and_removed_at_once(void **state)
{
	const struct config_edit edits[] = {
	    {.service = 0, .remove_service = true},
	    {.added_service =
		 "{\"name\":\"a\",\"vip\":\"192.0.2.1\",\"port\":1,\"protocol\":\"tcp\","
		 "\"backends\":[{\"address\":\"10.0.0.9\"}]}"},
	    {.added_service =
		 "{\"name\":\"b\",\"vip\":\"192.0.2.1\",\"port\":2,\"protocol\":\"tcp\","
		 "\"backends\":[{\"address\":\"10.0.0.9\"}]}"},
	};

	expect_services(BLOCK, edits, 3, NULL);
	expect_services(BLOCK SECOND, edits, 3, NULL);
	expect_services("services: []\n", edits + 1, 2, NULL);
	expect_services(FLOW, edits + 1, 2, NULL);
}

static void a_change_goes_into_the_file_that_has_the_service(void **state)
{
	struct config_text list[] = {{(char *)"lbd.yaml", strdup(FLOW), strlen(FLOW)},
				     {(char *)"a.yaml", strdup(FLOW), strlen(FLOW)},
				     {(char *)"b.yaml", strdup(BLOCK), strlen(BLOCK)}};
	const struct config_edit edits[] = {
	    {.file = 2, .backend = 0, .has_weight = true, .weight = 5},
	    {.file = 2, .backend = 1, .remove = true},
	    {.file = 1, .backend = 0, .has_weight = true, .weight = 6},
	};
	struct config_texts texts = {.list = list, .count = 3};
	bool changed[3] = {false};
	struct error err;

	assert_int_equal(config_edit_texts(&texts, NULL, edits, 3, changed, &err), 0);
	assert_true(!changed[0] && changed[1] && changed[2]);
	assert_string_equal(list[0].bytes, FLOW);
	assert_non_null(strstr(list[1].bytes, "weight: 6"));
	assert_non_null(strstr(list[2].bytes, "weight: 5 "));
	assert_null(strstr(list[2].bytes, "10.0.0.2"));
	for (unsigned i = 0; i < 3; i++)
		free(list[i].bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_weight_is_replaced_where_it_is),
	    cmocka_unit_test(a_key_that_is_new_follows_the_others),
	    cmocka_unit_test(a_removed_backend_goes_with_its_lines_alone),
	    cmocka_unit_test(bytes_before_the_text_and_other_ends_of_lines_are_no_matter),
	    cmocka_unit_test(a_backend_is_added_at_the_end_of_its_list),
	    cmocka_unit_test(a_service_without_backends_of_its_own_gets_a_list),
	    cmocka_unit_test(an_added_backend_has_its_name_and_labels),
	    cmocka_unit_test(keys_after_labels_in_lines_of_their_own_keep_their_place),
	    cmocka_unit_test(several_changes_do_not_disturb_each_other),
	    cmocka_unit_test(lines_that_end_in_cr_lf_stay_so),
	    cmocka_unit_test(backends_behind_an_alias_are_not_changed),
	    cmocka_unit_test(an_added_service_is_written_as_a_person_would_write_it),
	    cmocka_unit_test(a_removed_service_goes_with_its_lines_alone),
	    cmocka_unit_test(services_are_added_and_removed_at_once),
	    cmocka_unit_test(a_change_goes_into_the_file_that_has_the_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
