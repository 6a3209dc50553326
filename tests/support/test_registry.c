/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Collects the registered tests and runs them as one cmocka group. */
#include "test_registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

/* The section is missing from programs that register no test. */
extern const struct lb_test *const __start_lb_tests[] __attribute__((weak));
extern const struct lb_test *const __stop_lb_tests[] __attribute__((weak));

static int by_line(const void *a, const void *b)
{
	const struct lb_test *one = *(const struct lb_test *const *)a;
	const struct lb_test *two = *(const struct lb_test *const *)b;

	return one->line - two->line;
}

static struct CMUnitTest with_defaults(const struct lb_test_group *group, struct CMUnitTest unit)
{
	if (!unit.setup_func)
		unit.setup_func = group->setup;
	if (!unit.teardown_func)
		unit.teardown_func = group->teardown;
	return unit;
}

int lb_test_run(const struct lb_test_group *group)
{
	size_t registered = __stop_lb_tests - __start_lb_tests, count = group->table_count;
	_cleanup_free_ const struct lb_test **sorted = calloc(registered + 1, sizeof(*sorted));
	_cleanup_free_ struct CMUnitTest *all = calloc(registered + count + 1, sizeof(*all));

	if (!registered) {
		fprintf(stderr, "%s: no test is registered\n", group->name);
		return 1;
	}
	if (!sorted || !all)
		return 1;
	memcpy(sorted, __start_lb_tests, registered * sizeof(*sorted));
	qsort(sorted, registered, sizeof(*sorted), by_line);
	for (size_t i = 0; i < count; i++)
		all[i] = with_defaults(group, group->table[i]);
	for (size_t i = 0; i < registered; i++)
		all[count + i] = with_defaults(group, sorted[i]->unit);
	return _cmocka_run_group_tests(group->name, all, count + registered, group->open,
				       group->close) != 0;
}
