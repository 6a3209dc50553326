/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/remark.c: sentences that most objects do not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/remark.h"

static void what_says_nothing_takes_no_memory(void **unused)
{
	struct remark *remark = NULL;

	assert_string_equal(remark_text(remark), "");
	assert_false(remark_set(&remark, ""));
	assert_null(remark);
	assert_true(remark_set(&remark, "connect: refused"));
	assert_true(remark_set(&remark, ""));
	assert_null(remark);
	remark_drop(&remark);
}

static void another_text_is_noticed(void **unused)
{
	struct remark *remark = NULL;

	assert_true(remark_set(&remark, "connect: refused"));
	assert_false(remark_set(&remark, "connect: refused"));
	assert_true(remark_set(&remark, "connect: timed out"));
	assert_string_equal(remark_text(remark), "connect: timed out");
	remark_drop(&remark);
	assert_null(remark);
}

static void one_that_shares_a_text_keeps_it_when_the_other_changes(void **unused)
{
	struct remark *present = NULL, *next = NULL;

	remark_set(&present, "no route");
	remark_share(&next, present);
	assert_ptr_equal(next, present);
	remark_set(&present, "no answer to ARP");
	assert_string_equal(remark_text(next), "no route");
	remark_share(&next, present);
	remark_drop(&present);
	assert_string_equal(remark_text(next), "no answer to ARP");
	remark_share(&next, NULL);
	assert_null(next);
}

static void sharing_with_itself_changes_nothing(void **unused)
{
	struct remark *remark = NULL;

	remark_set(&remark, "no route");
	remark_share(&remark, remark);
	assert_string_equal(remark_text(remark), "no route");
	remark_drop(&remark);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_says_nothing_takes_no_memory),
	    cmocka_unit_test(another_text_is_noticed),
	    cmocka_unit_test(one_that_shares_a_text_keeps_it_when_the_other_changes),
	    cmocka_unit_test(sharing_with_itself_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
