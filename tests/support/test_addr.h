/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses in tests. */
#ifndef LBD_TEST_ADDR_H
#define LBD_TEST_ADDR_H

#include "common/addr.h"

/* Fails the test if text is no address. */
struct addr test_addr(const char *text);

#endif
