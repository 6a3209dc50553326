/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* load.c makes of a tree what libcyaml makes of its text: both are written back as text here, and
 * the texts compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/config/load.h"
#include "lbd/config/shape.h"

/* ---- a schema with each type that the config's has ---- */

struct inner {
	char *text;
	uint8_t *word;
};

struct outer {
	char *text;
	uint8_t word;
	uint8_t *perhaps, *set;
	struct inner *group;
	char **texts;
	unsigned texts_count;
	struct inner *groups;
	unsigned groups_count;
};

static const cyaml_strval_t words[] = {{"one", 1}, {"two", 2}, {"both", 3}};
#define LOOSE (CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT)

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CONFIG_MAX_TEXT)};
static const cyaml_schema_field_t inner_keys[] = {
    CYAML_FIELD_STRING_PTR("text", CYAML_FLAG_OPTIONAL, struct inner, text, 0, CONFIG_MAX_TEXT),
    CYAML_FIELD_ENUM_PTR("word", LOOSE, struct inner, word, words, 3), CYAML_FIELD_END};
static const cyaml_schema_value_t inner_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct inner, inner_keys)};
static const cyaml_schema_field_t outer_keys[] = {
    CYAML_FIELD_STRING_PTR("text", CYAML_FLAG_OPTIONAL, struct outer, text, 0, CONFIG_MAX_TEXT),
    CYAML_FIELD_ENUM("word", CYAML_FLAG_STRICT, struct outer, word, words, 3),
    CYAML_FIELD_ENUM_PTR("perhaps", LOOSE, struct outer, perhaps, words, 3),
    CYAML_FIELD_FLAGS_PTR("set", LOOSE, struct outer, set, words, 2),
    CYAML_FIELD_MAPPING_PTR("group", CYAML_FLAG_OPTIONAL, struct outer, group, inner_keys),
    CYAML_FIELD_IGNORE("ignored", CYAML_FLAG_OPTIONAL),
    CYAML_FIELD_SEQUENCE("texts", CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER, struct outer, texts,
			 &text_schema, 0, 8),
    CYAML_FIELD_SEQUENCE("groups", CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER, struct outer, groups,
			 &inner_schema, 0, 8),
    CYAML_FIELD_END};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct outer, outer_keys)};

static const cyaml_config_t options = {.mem_fn = cyaml_mem};

/* ---- both ways ---- */

static struct outer *load(const char *text)
{
	struct config_source source;
	void *loaded = NULL;

	assert_int_equal(config_source_load(&source, "f", text, strlen(text)), 0);
	if (config_shape_check(&source, &schema))
		fail_msg("%s", source.complaint.text);
	assert_int_equal(config_load_tree(&source, &schema, &loaded), 0);
	config_source_done(&source);
	return loaded; /* of which nothing is in the tree */
}

static void expect_same(const struct outer *loaded, const struct outer *wanted)
{
	char *text = NULL, *wanted_text = NULL;
	size_t length = 0, wanted_length = 0;

	assert_int_equal(
	    cyaml_save_data(&text, &length, &options, &schema, (cyaml_data_t *)loaded, 0),
	    CYAML_OK);
	assert_int_equal(cyaml_save_data(&wanted_text, &wanted_length, &options, &schema,
					 (cyaml_data_t *)wanted, 0),
			 CYAML_OK);
	if (length != wanted_length || memcmp(text, wanted_text, length) != 0)
		fail_msg("%.*s\nbut libcyaml:\n%.*s", (int)length, text, (int)wanted_length,
			 wanted_text);
	free(text);
	free(wanted_text);
}

static void try_text(const char *text)
{
	struct outer *loaded = load(text);
	cyaml_data_t *wanted = NULL;

	assert_int_equal(
	    cyaml_load_data((const uint8_t *)text, strlen(text), &options, &schema, &wanted, NULL),
	    CYAML_OK);
	expect_same(loaded, wanted);
	cyaml_free(&options, &schema, loaded, 0);
	cyaml_free(&options, &schema, wanted, 0);
}

static void a_tree_is_loaded_as_libcyaml_loads_its_text(void **state)
{
	static const char *const texts[] = {
	    "word: one\n",
	    "word: both\ntext: \"a\\tb: # c\"\nperhaps: two\nset: [one, two]\n",
	    "{word: two, text: '', set: [], texts: [], groups: []}\n",
	    "word: one\nset: [two, two]\ntext: |\n  several\n  lines\n",
	    "word: one\ngroup: {}\ngroups:\n  - {}\n  - {text: x, word: both}\n",
	    "word: one\nignored: {a: [b, {c: d}]}\ntexts: [a, '', \"\\u00e4\"]\n",
	    "word: one\ntext: &t twice\ngroup: &g {text: *t, word: two}\ngroups: [*g, *g]\n",
	    "groups: [{word: one}, {text: b}, {word: two}]\nword: two\ntexts: [~, 1, true]\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		try_text(texts[i]);
}

static void what_is_loaded_has_the_numbers_of_its_words(void **state)
{
	struct outer *loaded = load("word: both\nperhaps: two\nset: [one, two]\n"
				    "group: {word: one}\ntexts: [a, b, c]\n");

	assert_int_equal(loaded->word, 3);
	assert_int_equal(*loaded->perhaps, 2);
	assert_int_equal(*loaded->set, 3);
	assert_int_equal(*loaded->group->word, 1);
	assert_int_equal(loaded->texts_count, 3);
	assert_string_equal(loaded->texts[2], "c");
	assert_null(loaded->text);
	assert_null(loaded->groups);
	assert_int_equal(loaded->groups_count, 0);
	cyaml_free(&options, &schema, loaded, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_tree_is_loaded_as_libcyaml_loads_its_text),
	    cmocka_unit_test(what_is_loaded_has_the_numbers_of_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
