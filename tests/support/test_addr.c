/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses in tests. */
#include "test_addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct addr test_addr(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}
