/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `name`, `zone` and `labels` of a backend. */
#ifndef LBD_CONFIG_LABELS_H
#define LBD_CONFIG_LABELS_H

#include "source.h"
#include "tag.h"

/* at: a backend. name, zone: as written; NULL: not given. *ret has a reference, or is NULL: none of
 * the three is there, or there is a mistake, which is a complaint. */
void config_read_tag(const struct config_place *at, const char *name, const char *zone,
		     struct config_tag **ret);

#endif
