/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/pins.h: the names of pins. What is behind them is tested in tests/e2e/offline.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/pins.h"

static void the_name_of_an_interface_and_of_its_pin_lead_to_each_other(void **unused)
{
	static const struct {
		const char *interface, *file;
	} cases[] = {{"eth0", "eth0"}, {"eth0.100", "eth0%2e100"}, {"a%b.c", "a%25b%2ec"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char path[64], name[16], expected[64] = "/x/links/";

		strcat(expected, cases[i].file);
		assert_true(pins_link_path(path, sizeof(path), "/x/links", cases[i].interface));
		assert_string_equal(path, expected);
		assert_true(pins_link_name(cases[i].file, name, sizeof(name)));
		assert_string_equal(name, cases[i].interface);
	}
}

static void a_file_that_no_interface_can_have_made_is_no_pin(void **unused)
{
	static const char *const files[] = {"", "eth0%", "eth0%2", "eth0%2f", "0123456789abcdef"};
	char name[16];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		assert_false(pins_link_name(files[i], name, sizeof(name)));
}

static void a_path_that_is_too_long_is_refused(void **unused)
{
	char path[12];

	assert_true(pins_link_path(path, sizeof(path), "/links", "eth0"));
	assert_false(pins_link_path(path, sizeof(path), "/links", "eth01"));
	assert_false(pins_link_path(path, sizeof(path), "/links", "e.0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_name_of_an_interface_and_of_its_pin_lead_to_each_other),
	    cmocka_unit_test(a_file_that_no_interface_can_have_made_is_no_pin),
	    cmocka_unit_test(a_path_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
