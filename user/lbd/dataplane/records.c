/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of services and their members: order, look-up, name. */
#include "internal.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

void record_free(struct record *record)
{
	if (!record)
		return;
	claims_done(record);
	filter_unref(record->want.filter);
	free(record->members);
	free(record->since);
	free(record);
}

int dp_compare_keys(const struct dp_service *a, const struct dp_service *b)
{
	int order = addr_compare(&a->vip, &b->vip);

	if (order)
		return order;
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	return (a->port > b->port) - (a->port < b->port);
}

struct record *dp_find(const struct dataplane *dp, const struct dp_service *key)
{
	size_t low = 0, high = dp->records_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = dp_compare_keys(key, &dp->records[middle]->want);

		if (!order)
			return dp->records[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct member *record_find(const struct record *record, const struct addr *address)
{
	unsigned low = 0, high = record->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = addr_compare(address, &record->members[middle].want.address);

		if (!order)
			return &record->members[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

int member_compare(const void *a, const void *b)
{
	return addr_compare(&((const struct member *)a)->want.address,
			    &((const struct member *)b)->want.address);
}

const char *dp_key_text(const struct dp_service *key, char text[DP_KEY_TEXT])
{
	const char *protocol = key->protocol == IPPROTO_UDP ? "udp" : "tcp";
	char address[ADDR_TEXT], port[8] = "any";

	addr_format(&key->vip, address);
	if (key->port)
		snprintf(port, sizeof(port), "%u", key->port);
	snprintf(text, DP_KEY_TEXT, key->vip.family == 6 ? "[%s]:%s/%s" : "%s:%s/%s", address, port,
		 protocol);
	return text;
}
