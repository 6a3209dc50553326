/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "packet_lists.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/fixture_filters.h"
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

/* What the data plane keeps stays until the process ends. */
void lists_install(struct fixture *f, const struct world_service *services, unsigned count)
{
	struct filter **filters = calloc(count, sizeof(*filters));
	uint16_t *ids = calloc(count, sizeof(*ids));
	static struct dataplane dp;

	require(filters && ids, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		const struct world_lists *lists = services[i].plan->lists;

		ids[i] = services[i].id;
		filters[i] = lists ? filter_of(lists) : NULL;
	}
	fixture_filters_open(f, &dp);
	fixture_filters_put(&dp, ids, filters, count);
	for (unsigned i = 0; i < count; i++)
		filter_unref(filters[i]);
	free(filters);
	free(ids);
}
