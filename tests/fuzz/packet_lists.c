/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "packet_lists.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb.skel.h"
#include "lbd/dataplane/internal.h"
#include "fuzz.h"

/* NULL: no such list. */
static struct filter_list *list_of(const struct world_prefix *prefixes, unsigned count)
{
	struct filter_list *list = count ? filter_list_new("fuzz", false) : NULL;
	struct error err = {0};

	for (unsigned i = 0; i < count; i++) {
		char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];

		inet_ntop(prefixes[i].family == 4 ? AF_INET : AF_INET6, prefixes[i].address,
			  address, sizeof(address));
		snprintf(text, sizeof(text), "%s/%u", address, prefixes[i].length);
		require(!filter_list_add(list, text, i + 1, &err), "%s", err.text);
	}
	return list;
}

static struct filter *filter_of(const struct world_lists *lists)
{
	struct filter_list *allow = list_of(lists->allow, lists->allow_count),
			   *deny = list_of(lists->deny, lists->deny_count);
	struct filter *filter = NULL;
	struct error err = {0};

	require(!filter_new(allow, deny, &filter, &err), "%s", err.text);
	filter_list_unref(allow);
	filter_list_unref(deny);
	return filter;
}

/* As much of the data plane as filters.c uses. What it keeps stays until the process ends. */
static struct dataplane *dataplane_of(struct fixture *f)
{
	static struct dataplane dp;

	dp = (struct dataplane){.filters_fd = bpf_map__fd(f->skel->maps.filters),
				.skip_grace = true};
	dp.maps.settings = f->map.settings;
	dp.maps.service_slots = FIXTURE_SERVICES;
	dp.by_id = calloc(FIXTURE_SERVICES, sizeof(*dp.by_id));
	dp.filters.of = calloc(FIXTURE_SERVICES, sizeof(*dp.filters.of));
	require(dp.by_id && dp.filters.of, "out of memory");
	return &dp;
}

void lists_install(struct fixture *f, const struct world_service *services, unsigned count)
{
	struct service_plan *plans = calloc(count, sizeof(*plans));
	struct record *records = calloc(count, sizeof(*records));
	struct dataplane *dp = dataplane_of(f);
	struct filters_plan plan;
	struct error err = {0};

	require(plans && records, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		const struct world_lists *lists = services[i].plan->lists;

		records[i].id = services[i].id;
		plans[i].record = &records[i];
		plans[i].want.filter = lists ? filter_of(lists) : NULL;
	}
	require(!filters_plan_make(dp, plans, count, &plan, &err), "%s", err.text);
	filters_install(dp, &plan);
	filters_plan_done(dp, &plan);
	for (unsigned i = 0; i < count; i++)
		filter_unref(plans[i].want.filter);
	free(plans);
	free(records);
}
