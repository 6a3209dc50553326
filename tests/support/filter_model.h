/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What allow and deny lists mean, by looking at every prefix; and random lists and addresses to
 * try. */
#ifndef LBD_TEST_FILTER_MODEL_H
#define LBD_TEST_FILTER_MODEL_H

#include "lbd/filter/filter.h"

/* Is the address denied? NULL: no such list. */
bool model_denies(const struct filter_list *allow, const struct filter_list *deny,
		  const struct addr *address);

/* A number below `below` from a generator of the tests' own: the same for the same seed. */
void model_seed(uint64_t seed);
uint32_t model_random(uint32_t below);

/* A list of up to `most` prefixes of both families, many of them nested and neighbours, none of
 * which is in `other` (NULL: any). */
struct filter_list *model_list(uint32_t most, const struct filter_list *other);
/* An address at or beside the edge of a prefix of the lists, or anywhere. */
struct addr model_address(const struct filter_list *allow, const struct filter_list *deny,
			  uint8_t family);

/* A list of these prefixes, separated by blanks. */
struct filter_list *list_of(const char *prefixes);
/* The filter of such lists, NULL: no such list. Fails the test if they make none. */
struct filter *filter_of(const char *allow, const char *deny);
struct filter *filter_of_lists(const struct filter_list *allow, const struct filter_list *deny);

#endif
