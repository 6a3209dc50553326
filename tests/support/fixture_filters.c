/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A data plane of filters alone, on the fixture's maps. */
#include "fixture_filters.h"

#include <bpf/libbpf.h>
#include <stdlib.h>

#include "lb.skel.h"

void fixture_filters_open(struct fixture *f, struct dataplane *ret)
{
	*ret = (struct dataplane){.filters_fd = bpf_map__fd(f->skel->maps.filters),
				  .skip_grace = true};
	ret->maps.settings = f->map.settings;
	ret->maps.service_slots = FIXTURE_SERVICES;
	ret->by_id = calloc(FIXTURE_SERVICES, sizeof(*ret->by_id));
	ret->filters.of = calloc(FIXTURE_SERVICES, sizeof(*ret->filters.of));
	assert_non_null(ret->by_id);
	assert_non_null(ret->filters.of);
}

void fixture_filters_close(struct dataplane *dp)
{
	fixture_filters_put(dp, NULL, NULL, 0);
	filters_done(dp);
	free(dp->by_id);
}

void fixture_filters_put(struct dataplane *dp, const uint16_t *ids, struct filter *const *filters,
			 size_t count)
{
	struct service_plan *services = calloc(count + 1, sizeof(*services));
	struct record *records = calloc(count + 1, sizeof(*records));
	struct filters_plan plan;
	struct error err = {0};

	assert_non_null(services);
	assert_non_null(records);
	for (size_t i = 0; i < count; i++) {
		records[i].id = ids[i];
		services[i].record = &records[i];
		services[i].want.filter = filters[i];
	}
	if (filters_plan_make(dp, services, count, &plan, &err))
		fail_msg("%s", err.text);
	filters_install(dp, &plan);
	filters_remove(dp, &plan);
	filters_plan_done(dp, &plan);
	free(services);
	free(records);
}
