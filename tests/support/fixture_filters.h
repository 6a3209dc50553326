/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Filters of the fixture's services, put into the maps by lbd's own code. */
#ifndef LBD_FIXTURE_FILTERS_H
#define LBD_FIXTURE_FILTERS_H

#include "lbd/dataplane/internal.h"
#include "bpf_fixture.h"

/* As much of a data plane as filters.c uses. */
void fixture_filters_open(struct fixture *f, struct dataplane *ret);
/* Takes all filters out of the maps. */
void fixture_filters_close(struct dataplane *dp);
/* These filters are in force from now on, and no others; NULL: none. The services' flags stay as
 * they are. */
void fixture_filters_put(struct dataplane *dp, const uint16_t *ids, struct filter *const *filters,
			 size_t count);

#endif
