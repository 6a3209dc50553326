/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The registered algorithms by name. */
#include "algo.h"

#include <stddef.h>
#include <string.h>

const struct algo *algo_find(const char *name)
{
	registry_for_each (algo, algo) {
		if (!strcmp(algo->name, name) || !strcmp(algo->short_name, name))
			return algo;
	}
	return NULL;
}
