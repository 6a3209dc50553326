/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `allow` and `deny` of a service: lists of prefixes, inline or in files. */
#ifndef LBD_CONFIG_LISTS_H
#define LBD_CONFIG_LISTS_H

#include "config.h"
#include "source.h"

/* What has been read while one text is read: a list that many services share is read once. */
struct config_list_cache;

/* NULL: out of memory. */
struct config_list_cache *config_list_cache_new(void);
void config_list_cache_free(struct config_list_cache *cache); /* NULL is fine */

/* The keys of the place, a service or `defaults`, replace those inherited. Mistakes are complaints,
 * also those in the files. */
void config_read_lists(const struct config_place *at, struct config_lists *lists);
/* Makes the filter, once both lists are known. */
void config_finish_lists(const struct config_place *at, struct config_service *service);
void config_lists_done(struct config_lists *lists);

#endif
