/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests that register themselves: each name is written once. They run in the order of the source.
 *
 *   LB_TEST(a_syn_opens_a_flow)
 *   {
 *           ...                           the body of a cmocka test; its argument is `void **state`
 *   }
 *   LB_TEST_MAIN("flows", .open = fixture_open, .close = fixture_close, .setup = fixture_clear)
 *
 * All tests of a program stand in one source file. Link test_registry.o with it. */
#ifndef LBD_TEST_REGISTRY_H
#define LBD_TEST_REGISTRY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/registry.h"

struct lb_test {
	struct CMUnitTest unit;
	int line; /* compilers may emit variables in any order: tests are sorted by this */
};

REGISTRY(lb_tests, struct lb_test);

/* A test with a setup and a teardown of its own, in place of the group's. NULL: the group's. */
#define LB_TEST_SETUP(test, before, after)                            \
	static void test(void **state);                               \
	REGISTER(lb_tests, test) = {.unit = {.name = #test,           \
					     .test_func = test,       \
					     .setup_func = before,    \
					     .teardown_func = after}, \
				    .line = __LINE__};                \
	static void test(void **state)

#define LB_TEST(test) LB_TEST_SETUP(test, NULL, NULL)

struct lb_test_group {
	const char *name;
	CMFixtureFunction open, close;     /* before the first test, after the last */
	CMFixtureFunction setup, teardown; /* before and after each test that has none of its own */
	/* Tests made from a table. They run before the registered ones. */
	const struct CMUnitTest *table;
	size_t table_count;
};

/* Runs the group's tests. Returns what main returns: 0, or 1 if a test failed or there is none. */
int lb_test_run(const struct lb_test_group *group);

/* The program's main. The arguments are the fields of struct lb_test_group. */
#define LB_TEST_MAIN(group, ...)                                                         \
	int main(void)                                                                   \
	{                                                                                \
		return lb_test_run(&(struct lb_test_group){.name = group, __VA_ARGS__}); \
	}

#endif
