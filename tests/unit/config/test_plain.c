/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Plain YAML is read into the tree that libyaml makes of it, to the last mark; what is not plain is
 * left to libyaml. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/config/plain.h"
#include "lbd/config/source.h"

#define SEEDS   "tests/fuzz/seeds/config"
#define CHANGES 400 /* of each text, at random; LBD_CHANGES overrides it */

/* ---- comparing ---- */

static bool same_mark(yaml_mark_t a, yaml_mark_t b)
{
	return a.index == b.index && a.line == b.line && a.column == b.column;
}

static bool same_numbers(const int *a, const int *a_top, const int *b, const int *b_top)
{
	return a_top - a == b_top - b && !memcmp(a, b, (size_t)(a_top - a) * sizeof(*a));
}

static bool same_content(const yaml_node_t *a, const yaml_node_t *b)
{
	switch (a->type) {
	case YAML_SCALAR_NODE:
		return a->data.scalar.style == b->data.scalar.style &&
		       a->data.scalar.length == b->data.scalar.length &&
		       !memcmp(a->data.scalar.value, b->data.scalar.value,
			       a->data.scalar.length + 1);
	case YAML_SEQUENCE_NODE:
		return a->data.sequence.style == b->data.sequence.style &&
		       same_numbers(a->data.sequence.items.start, a->data.sequence.items.top,
				    b->data.sequence.items.start, b->data.sequence.items.top);
	default:
		return a->data.mapping.style == b->data.mapping.style &&
		       same_numbers((const int *)a->data.mapping.pairs.start,
				    (const int *)a->data.mapping.pairs.top,
				    (const int *)b->data.mapping.pairs.start,
				    (const int *)b->data.mapping.pairs.top);
	}
}

static bool same_node(const yaml_node_t *a, const yaml_node_t *b)
{
	return a->type == b->type && same_mark(a->start_mark, b->start_mark) &&
	       same_mark(a->end_mark, b->end_mark) && same_content(a, b);
}

static void expect_same(const yaml_document_t *plain, const yaml_document_t *yaml, const char *text)
{
	ptrdiff_t count = plain->nodes.top - plain->nodes.start;

	if (count != yaml->nodes.top - yaml->nodes.start)
		fail_msg("%zd nodes, libyaml has %zd: %s", count,
			 yaml->nodes.top - yaml->nodes.start, text);
	for (ptrdiff_t i = 0; i < count; i++)
		if (!same_node(&plain->nodes.start[i], &yaml->nodes.start[i]))
			fail_msg("node %zd, line %zu, differs from libyaml's: %s", i + 1,
				 plain->nodes.start[i].start_mark.line + 1, text);
}

/* True: it is plain, and then both trees are the same. */
static bool compare(const char *text, size_t length)
{
	struct config_source source;
	struct config_plain memory;
	yaml_document_t document;

	if (!config_plain_load(text, length, &document, &memory))
		return false;
	if (config_source_load_yaml(&source, "f", text, length))
		fail_msg("plain, but %s: %s", source.complaint.text, text);
	expect_same(&document, &source.document, text);
	config_source_done(&source);
	config_plain_done(&document, &memory);
	return true;
}

/* ---- texts ---- */

static const char *const plain[] = {
    "a: b\n",
    "a: b",
    "a: b   # c\n\n# d\n",
    "# c\n\n  a: b\n  c: d\n",
    "a:\nb:   \nc: # d\n",
    "a:\n",
    "a:",
    "a: b c  d \n",
    "a: b#c\nd: e:f\ng: -1\nh: http://x/y?z=1,2\n",
    "a : b\n'c': \"d e\"\n\"f\" : ''\n",
    "a: [b, c]\nd: {e: f, g: h}\n",
    "a: []\nb: {}\nc: [ ]\nd: [a, ]\ne: {f: g, }\n",
    "a: [b,\n  c, # d\ne\n ]\nf: {g:\n h,\n i: [j, {k: l}]}\n",
    "a: [\"b\", 'c d', e f]\n",
    "a: {\"b\":1,\"c\":[{\"d\":\"e\"}],'f' :g}\n",
    "{\"a\":[1,{\"b\":\"c\"}]}",
    "[a, b]\n# c\n",
    "- a\n- b: c\n  d: e\n- {f: g}\n- \"h\"\n",
    "a:\n  - b\n  - c: d\n    e:\n    - f\n    - g\n  -\n    h: i\nj: k\n",
    "a:\n- b\n- c: d\n  e: f\n\n# g\ng: h\n",
    "a:\n  b:\n    c: d\n  e: f\ng:\n  - h\n",
    "a:\n  b:\n    c: d\n",
    "a:\n  b:\n    - c",
    "- a: b\n\n  c: [d]  # e\n-   f: g\n    h: i\n",
    "a:\n\n\n   - b\n\n   - c\nd: e\n",
    "a: 'b # c'\nd: \"e: f\"\n",
};

static const char *const left[] = {
    "",
    "# a\n",
    "a\n",
    "\"a\"\n",
    "---\na: b\n",
    "a: b\n...\n",
    "a: b\n---\nc: d\n",
    "%YAML 1.1\n---\na: b\n",
    "a: &b c\nd: *b\n",
    "<<: *a\n",
    "a: !!str b\n",
    "a: |\n  b\n",
    "a: >\n  b\n",
    "a: b\n  c\n",
    "a: b\n\n  c\nd: e\n",
    "a: [b\n  c]\n",
    "- a\n  b\n",
    "a: \"b\\n\"\n",
    "a: 'b''c'\n",
    "a: 'b\n  c'\n",
    "? a\n: b\n",
    "a: - b\n",
    "- - a\n",
    "-\n  - a\n",
    "-\n- a\n",
    "a: b: c\n",
    "a: [b: c]\n",
    "a: {b}\n",
    "a: {b: , c: d}\n",
    "a: [b, , c]\n",
    "a: [b\n",
    "a: {b: c\n",
    "a: [b] c\n",
    "a: \"b\" c\n",
    "a: b]\nc: [d]]\n",
    "a:\n  b: c\n d: e\n",
    "  a: b\nc: d\n",
    "a: b\n- c\n",
    "- a\nb: c\n",
    "a:\n  - b\n c: d\n",
    "a:\tb\n",
    "a: b\r\n",
    "a: \xc3\xa4\n",
    "a: \x01\n",
    "a: @b\n",
    "a: `b\n",
    "a: {b:,c: d}\n",
    "a: [b?, c]\n",
    "[a]: b\n",
    "a: b\n---c: d\n",
    "  a: b\n#",
    "  a: b\n ",
};

static void plain_texts_have_libyamls_tree(void **unused)
{
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!compare(plain[i], strlen(plain[i])))
			fail_msg("is plain: %s", plain[i]);
}

static void what_is_not_plain_is_left_to_libyaml(void **unused)
{
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		if (compare(left[i], strlen(left[i])))
			fail_msg("is not plain: %s", left[i]);
	assert_false(compare("a: b\0c\n", 7));
}

static void a_key_is_no_longer_than_libyaml_takes_it(void **unused)
{
	char text[1300];

	for (size_t length = 900; length < 1200; length++) {
		memset(text, 'k', length);
		strcpy(text + length, ": v\n");
		assert_int_equal(compare(text, strlen(text)), length <= 1000);
	}
}

static void nesting_is_limited(void **unused)
{
	char text[4096] = "a: ";

	for (unsigned i = 0; i < 1000; i++)
		strcat(text, "[");
	for (unsigned i = 0; i < 1000; i++)
		strcat(text, "]");
	assert_false(compare(text, strlen(text)));
}

/* ---- at random ---- */

static uint64_t random_state = 1;

static unsigned below(unsigned most)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 11) % most);
}

/* One to three bytes become others, come or go. */
static size_t change(char *text, size_t length)
{
	static const char bytes[] = "  \n\n::--,[]{}#'\"ab1?&*!|>%@`.\\\t\xc3";

	for (unsigned i = below(3) + 1; i; i--) {
		unsigned at = below((unsigned)length + 1);
		char byte = bytes[below(sizeof(bytes) - 1)];

		switch (below(3)) {
		case 0:
			if (at < length)
				text[at] = byte;
			break;
		case 1:
			memmove(text + at + 1, text + at, length - at);
			text[at] = byte;
			length++;
			break;
		default:
			if (at < length) {
				memmove(text + at, text + at + 1, length - at - 1);
				length--;
			}
		}
	}
	text[length] = 0;
	return length;
}

static unsigned changes_of_each(void)
{
	const char *given = getenv("LBD_CHANGES");

	return given ? (unsigned)strtoul(given, NULL, 10) : CHANGES;
}

/* Returns how many of the changed texts are plain. */
static unsigned change_often(const char *text, size_t length)
{
	char *changed = malloc(length + 8);
	unsigned count = 0;

	assert_non_null(changed);
	for (unsigned i = 0; i < changes_of_each(); i++) {
		memcpy(changed, text, length);
		count += compare(changed, change(changed, length));
	}
	free(changed);
	return count;
}

static void changed_texts_have_libyamls_tree_or_are_left_to_it(void **unused)
{
	unsigned count = 0;

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		count += change_often(plain[i], strlen(plain[i]));
	for (size_t i = 1; i < sizeof(left) / sizeof(left[0]); i++)
		count += change_often(left[i], strlen(left[i]));
	assert_true(count > changes_of_each()); /* it does try what it compares */
}

static void so_have_the_seeds_of_the_fuzzer(void **unused)
{
	DIR *directory = opendir(SEEDS);
	const struct dirent *entry;
	unsigned count = 0;

	if (!directory)
		skip();
	while ((entry = readdir(directory))) {
		static char text[1 << 20];
		char path[512];
		size_t length;
		FILE *file;

		snprintf(path, sizeof(path), SEEDS "/%s", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!file)
			continue;
		length = fread(text, 1, sizeof(text) - 8, file);
		fclose(file);
		count += compare(text, length);
		change_often(text, length);
	}
	closedir(directory);
	assert_true(count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_texts_have_libyamls_tree),
	    cmocka_unit_test(what_is_not_plain_is_left_to_libyaml),
	    cmocka_unit_test(a_key_is_no_longer_than_libyaml_takes_it),
	    cmocka_unit_test(nesting_is_limited),
	    cmocka_unit_test(changed_texts_have_libyamls_tree_or_are_left_to_it),
	    cmocka_unit_test(so_have_the_seeds_of_the_fuzzer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
