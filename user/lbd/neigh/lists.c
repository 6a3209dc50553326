/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Routes and addresses as whole lists. Each route with one gateway has a watch of its own, which
 * reports the gateway's MAC address. */
#include "lists.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES      3    /* of a list that changes while it is read */
#define FEW_ROUTES 1024 /* of a family: if there are more, they are not read */

struct way {
	struct rtnl_way found;
	struct neigh_way seen; /* as reported */
	struct neigh_watch *watch;
	struct neigh_lists *lists;
};

struct neigh_lists {
	struct neigh *neigh;
	neigh_ways_fn *ways_changed;
	neigh_local_fn *local_changed;
	void *ways_arg, *local_arg;
	size_t most;
	bool read_ways, read_local, report_ways;
	bool many;        /* there are too many routes */
	struct way *ways; /* most specific first */
	size_t ways_count;
	struct addr *local; /* sorted */
	size_t local_count;
};

struct neigh_lists *lists_new(struct neigh *neigh)
{
	struct neigh_lists *lists = calloc(1, sizeof(*lists));

	if (lists)
		lists->neigh = neigh;
	return lists;
}

static void ways_free(struct way *ways, size_t count)
{
	for (size_t i = 0; i < count; i++)
		neigh_unwatch(ways[i].watch);
	free(ways);
}

void lists_free(struct neigh_lists *lists)
{
	if (!lists)
		return;
	ways_free(lists->ways, lists->ways_count);
	free(lists->local);
	free(lists);
}

void lists_lost(struct neigh_lists *lists)
{
	lists->read_ways = lists->ways_changed;
	lists->read_local = lists->local_changed;
}

bool lists_on_route(struct neigh_lists *lists)
{
	if (lists->ways_changed && !lists->many)
		lists->read_ways = true;
	return lists->read_ways;
}

/* ---- how many routes there are ---- */

/* Whether the file has more lines than that; it is read no further. */
static bool has_more_lines(const char *path, unsigned most)
{
	FILE *file = fopen(path, "re");
	unsigned lines = 0;
	char line[256];

	if (!file)
		return false; /* no IPv6 on this host */
	while (lines <= most && fgets(line, sizeof(line), file))
		lines++;
	fclose(file);
	return lines > most;
}

/* A dump by rtnetlink cannot be ended early. */
static bool has_many_routes(void)
{
	return has_more_lines("/proc/self/net/route", FEW_ROUTES) ||
	       has_more_lines("/proc/self/net/ipv6_route", FEW_ROUTES);
}

/* ---- routes ---- */

struct reading {
	struct way *ways;
	size_t count, room;
	bool failed;
};

static void on_way(void *arg, const struct rtnl_way *way)
{
	struct reading *reading = arg;

	if (reading->count == reading->room) {
		size_t room = reading->room ? 2 * reading->room : 64;
		struct way *ways = reallocarray(reading->ways, room, sizeof(*ways));

		if (!ways) {
			reading->failed = true;
			return;
		}
		reading->ways = ways;
		reading->room = room;
	}
	reading->ways[reading->count++] = (struct way){.found = *way};
}

static int by_length(const void *a, const void *b)
{
	const struct rtnl_way *x = &((const struct way *)a)->found;
	const struct rtnl_way *y = &((const struct way *)b)->found;
	int order = (int)y->prefix.length - (int)x->prefix.length;

	if (!order)
		order = addr_compare(&x->prefix.address, &y->prefix.address);
	return order ? order : (x->metric > y->metric) - (x->metric < y->metric);
}

static bool same_prefix(const struct rtnl_way *a, const struct rtnl_way *b)
{
	return a->prefix.length == b->prefix.length &&
	       addr_equal(&a->prefix.address, &b->prefix.address);
}

/* Of several routes to a prefix the one with the least metric counts. Of two with the same metric
 * the kernel chooses. */
static size_t drop_others(struct way *ways, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct way *last = kept ? &ways[kept - 1] : NULL;

		if (!last || !same_prefix(&last->found, &ways[i].found))
			ways[kept++] = ways[i];
		else if (last->found.metric == ways[i].found.metric)
			last->found.plain = false;
	}
	return kept;
}

/* Routes of one family, or none if they do not say where a packet goes. */
static int read_family(struct rtnl *rtnl, uint8_t family, struct reading *reading, bool *ret_rules)
{
	size_t before = reading->count;
	int rc = rtnl_has_rules(rtnl, family, ret_rules);

	if (rc || *ret_rules)
		return rc;
	rc = -EINTR;
	for (int i = 0; i < TRIES && rc == -EINTR; i++) {
		reading->count = before;
		rc = rtnl_ways(rtnl, family, on_way, reading);
	}
	return rc;
}

static int read_routes(struct rtnl *rtnl, struct reading *reading)
{
	bool rules = false;
	int rc = read_family(rtnl, 4, reading, &rules);

	if (!rc && !rules)
		rc = read_family(rtnl, 6, reading, &rules);
	if (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT) /* no IPv6 on this host */
		rc = 0;
	if (rules)
		reading->count = 0;
	if (reading->failed)
		rc = -ENOMEM;
	if (!rc && reading->count) {
		qsort(reading->ways, reading->count, sizeof(*reading->ways), by_length);
		reading->count = drop_others(reading->ways, reading->count);
	}
	return rc;
}

static void on_gateway(void *arg, const struct addr *address, const struct next_hop *hop,
		       const char *why)
{
	struct way *way = arg;

	way->seen.ready = hop;
	way->seen.hop = hop ? *hop : (struct next_hop){0};
	way->lists->report_ways = true;
}

static void start_watch(struct neigh_lists *lists, struct way *way)
{
	const struct rtnl_route *route = &way->found.route;

	way->lists = lists;
	way->seen = (struct neigh_way){.prefix = way->found.prefix.address,
				       .length = (uint8_t)way->found.prefix.length};
	if (way->found.plain && route->type == RTN_UNICAST && route->gateway.family)
		way->watch =
		    neigh_watch_route(lists->neigh, &route->gateway, route, on_gateway, way);
}

/* The new watches begin before the former end: they need not ask for the neighbours again. */
static void use_ways(struct neigh_lists *lists, struct reading *reading)
{
	struct way *former = lists->ways;
	size_t former_count = lists->ways_count;

	for (size_t i = 0; i < reading->count; i++)
		start_watch(lists, &reading->ways[i]);
	lists->ways = reading->ways;
	lists->ways_count = reading->count;
	ways_free(former, former_count);
	lists->report_ways = true;
}

static bool same_routes(const struct neigh_lists *lists, const struct reading *reading)
{
	if (lists->ways_count != reading->count)
		return false;
	for (size_t i = 0; i < reading->count; i++) {
		const struct rtnl_way *a = &lists->ways[i].found, *b = &reading->ways[i].found;

		if (!same_prefix(a, b) || a->plain != b->plain || a->route.type != b->route.type ||
		    a->route.ifindex != b->route.ifindex || a->route.mtu != b->route.mtu ||
		    !addr_equal(&a->route.gateway, &b->route.gateway))
			return false;
	}
	return true;
}

static bool read_ways(struct neigh_lists *lists, struct rtnl *rtnl)
{
	struct reading reading = {0};
	int rc;

	lists->many = has_many_routes();
	rc = lists->many ? 0 : read_routes(rtnl, &reading);
	if (rc) {
		free(reading.ways);
		return false;
	}
	if (reading.count > lists->most)
		reading.count = 0;
	if (same_routes(lists, &reading) && lists->ways)
		free(reading.ways);
	else
		use_ways(lists, &reading);
	return true;
}

static void report_ways(struct neigh_lists *lists)
{
	struct neigh_way *ways = calloc(lists->ways_count + 1, sizeof(*ways));

	for (size_t i = 0; ways && i < lists->ways_count; i++)
		ways[i] = lists->ways[i].seen;
	/* out of memory: the kernel is asked for every packet */
	lists->ways_changed(lists->ways_arg, ways, ways ? lists->ways_count : 0);
	free(ways);
}

int lists_on_ways(struct neigh_lists *lists, size_t most, neigh_ways_fn *changed, void *arg)
{
	lists->most = most;
	lists->ways_changed = changed;
	lists->ways_arg = arg;
	lists->read_ways = lists->report_ways = changed;
	return 0;
}

/* ---- addresses ---- */

struct addresses {
	struct addr *list;
	size_t count, room;
	bool failed;
};

static void on_address(void *arg, const struct addr *address)
{
	struct addresses *addresses = arg;

	if (addresses->count == addresses->room) {
		size_t room = addresses->room ? 2 * addresses->room : 64;
		struct addr *list = reallocarray(addresses->list, room, sizeof(*list));

		if (!list) {
			addresses->failed = true;
			return;
		}
		addresses->list = list;
		addresses->room = room;
	}
	addresses->list[addresses->count++] = *address;
}

static int by_address(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static bool same_local(const struct neigh_lists *lists, const struct addresses *now)
{
	if (!lists->local || lists->local_count != now->count)
		return false;
	for (size_t i = 0; i < now->count; i++)
		if (!addr_equal(&lists->local[i], &now->list[i]))
			return false;
	return true;
}

static int read_local(struct neigh_lists *lists, struct rtnl *rtnl)
{
	struct addresses now = {0};
	int rc = -EINTR;

	for (int i = 0; i < TRIES && rc == -EINTR; i++) {
		now.count = 0;
		rc = rtnl_addresses(rtnl, on_address, &now);
	}
	if (now.failed)
		rc = -ENOMEM;
	if (!rc && now.count)
		qsort(now.list, now.count, sizeof(*now.list), by_address);
	if (rc || same_local(lists, &now)) {
		free(now.list);
		return rc;
	}
	free(lists->local);
	lists->local = now.list;
	lists->local_count = now.count;
	lists->local_changed(lists->local_arg, lists->local, lists->local_count);
	return 0;
}

int lists_on_local(struct neigh_lists *lists, struct rtnl *rtnl, neigh_local_fn *changed, void *arg)
{
	lists->local_changed = changed;
	lists->local_arg = arg;
	free(lists->local);
	lists->local = NULL;
	return changed ? read_local(lists, rtnl) : 0;
}

/* ---- both ---- */

bool lists_work(struct neigh_lists *lists, struct rtnl *rtnl)
{
	bool answered = true;

	if (lists->read_local) {
		lists->read_local = read_local(lists, rtnl) != 0;
		answered = !lists->read_local;
	}
	if (answered && lists->read_ways) {
		lists->read_ways = !read_ways(lists, rtnl);
		answered = !lists->read_ways;
	}
	if (lists->report_ways && !lists->read_ways) {
		lists->report_ways = false;
		report_ways(lists);
	}
	return answered;
}
