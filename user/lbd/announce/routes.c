/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The routes in the kernel. The kernel is where they are kept: each time they are listed, compared
 * with those that are wanted, and what differs is added or removed. */
#include "internal.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/rtnl.h"

#define DUMP_TRIES 3 /* a dump is interrupted by changes of others */

struct found {
	struct addr address;
	uint32_t metric;
};

struct found_list {
	const struct route_set *set;
	struct found *list;
	size_t count, room;
	bool failed; /* out of memory */
};

int routes_open(struct netlink *netlink, struct error *err)
{
	const int on = 1;
	int rc = netlink_init(netlink, NETLINK_ROUTE);

	if (rc)
		return error_set(err, rc, "rtnetlink: %s", strerror(-rc));
	/* The kernel then lists the routes of one table and protocol only, not all of a router's.
	 */
	if (setsockopt(mnl_socket_get_fd(netlink->socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
		       sizeof(on))) {
		rc = -errno;
		netlink_done(netlink);
		return error_set(err, rc, "rtnetlink: strict checks: %s", strerror(-rc));
	}
	return 0;
}

/* ---- messages ---- */

static struct nlmsghdr *put_request(char *buffer, uint16_t type, uint16_t flags, uint8_t family,
				    const struct route_set *set, struct rtmsg **ret_header)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = family == 4 ? AF_INET : AF_INET6;
	header->rtm_table = set->table < 256 ? (unsigned char)set->table : RT_TABLE_UNSPEC;
	header->rtm_protocol = set->protocol;
	mnl_attr_put_u32(message, RTA_TABLE, set->table);
	*ret_header = header;
	return message;
}

/* `unreachable` has no next hop that could be missing, and if the table were used for routing,
 * packets that the program passes to the kernel would be answered rather than sent in circles. */
static int change_route(struct netlink *netlink, uint16_t type, uint16_t flags,
			const struct route_set *set, const struct found *route)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct rtmsg *header;
	struct nlmsghdr *message = put_request(buffer, type, (uint16_t)(NLM_F_ACK | flags),
					       route->address.family, set, &header);

	header->rtm_dst_len = (unsigned char)(addr_length(&route->address) * 8);
	header->rtm_scope = RT_SCOPE_UNIVERSE;
	header->rtm_type = RTN_UNREACHABLE;
	mnl_attr_put(message, RTA_DST, addr_length(&route->address), route->address.bytes);
	mnl_attr_put_u32(message, RTA_PRIORITY, route->metric);
	return netlink_request(netlink, message, NULL, NULL);
}

/* ---- what is there ---- */

static void remember(struct found_list *list, const struct found *found)
{
	struct found *grown;

	if (list->count == list->room) {
		grown = realloc(list->list, (2 * list->room + 16) * sizeof(*grown));
		if (!grown) {
			list->failed = true;
			return;
		}
		list->list = grown;
		list->room = 2 * list->room + 16;
	}
	list->list[list->count++] = *found;
}

/* A kernel may list more than was asked for. Other routes of this protocol in this table are
 * somebody else's mistake, and stay. */
static void on_route(void *arg, const struct nlmsghdr *message)
{
	struct found_list *list = arg;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	struct rtnl_prefix prefix;
	struct found found = {0};
	const struct nlattr *attr;
	uint32_t table;

	if (message->nlmsg_type != RTM_NEWROUTE || !rtnl_read_prefix(message, &prefix))
		return;
	table = header->rtm_table;
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_payload_len(attr) < 4)
			continue;
		if (mnl_attr_get_type(attr) == RTA_TABLE)
			table = mnl_attr_get_u32(attr);
		if (mnl_attr_get_type(attr) == RTA_PRIORITY)
			found.metric = mnl_attr_get_u32(attr);
	}
	if (table != list->set->table || header->rtm_protocol != list->set->protocol ||
	    header->rtm_type != RTN_UNREACHABLE || header->rtm_flags & RTM_F_CLONED ||
	    prefix.length != addr_length(&prefix.address) * 8)
		return;
	found.address = prefix.address;
	remember(list, &found);
}

static int dump_family(struct netlink *netlink, uint8_t family, struct found_list *list)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	size_t before = list->count;
	struct rtmsg *header;
	int rc = -EINTR;

	for (int i = 0; i < DUMP_TRIES && rc == -EINTR; i++) {
		list->count = before;
		rc = netlink_request(
		    netlink,
		    put_request(buffer, RTM_GETROUTE, NLM_F_DUMP, family, list->set, &header),
		    on_route, list);
	}
	/* No such table, or no IPv6 on this host. */
	return rc == -ENOENT || rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT ? 0 : rc;
}

static int by_address(const void *a, const void *b)
{
	const struct found *first = a, *second = b;
	int rc = addr_compare(&first->address, &second->address);

	return rc ? rc : (first->metric > second->metric) - (first->metric < second->metric);
}

/* The routes of the set in the kernel, by address and metric. */
static int find_routes(struct netlink *netlink, struct found_list *list, struct error *err)
{
	int rc = dump_family(netlink, 4, list);

	if (!rc)
		rc = dump_family(netlink, 6, list);
	if (!rc && list->failed)
		rc = -ENOMEM;
	if (rc)
		return error_set(err, rc, "routes of table %u: cannot be listed: %s",
				 list->set->table, strerror(-rc));
	if (list->count)
		qsort(list->list, list->count, sizeof(*list->list), by_address);
	return 0;
}

static bool has_route(const struct found_list *list, const struct found *route)
{
	return list->count &&
	       bsearch(route, list->list, list->count, sizeof(*list->list), by_address);
}

/* ---- what is wanted ---- */

static void note_failure(int rc, const char *verb, const struct route_set *set,
			 const struct found *route, int *first, struct error *err)
{
	char text[ADDR_TEXT];

	if (*first)
		return;
	*first = error_set(err, rc, "route to %s, table %u, metric %u: cannot be %s: %s",
			   addr_format(&route->address, text), set->table, route->metric, verb,
			   rc == -EEXIST ? "another protocol has one with this metric there"
					 : strerror(-rc));
}

static int add_missing(struct netlink *netlink, const struct found_list *there,
		       struct announce_vip *vips, const bool *wanted, unsigned count,
		       uint32_t metric, struct error *err)
{
	int first = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct found route = {.address = vips[i].address, .metric = metric};
		int rc = 0;

		vips[i].announced = wanted[i];
		if (!wanted[i] || has_route(there, &route))
			continue;
		rc = change_route(netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, there->set,
				  &route);
		if (!rc)
			continue;
		vips[i].announced = false;
		note_failure(rc, "added", there->set, &route, &first, err);
	}
	return first;
}

static bool is_in_force(const struct found *route, const struct announce_vip *vips,
			const bool *wanted, unsigned count, uint32_t metric)
{
	const struct announce_vip *vip = vips_find(vips, count, &route->address);

	return vip && wanted[vip - vips] && route->metric == metric;
}

int routes_apply(struct netlink *netlink, const struct route_set *set, struct announce_vip *vips,
		 const bool *wanted, unsigned count, uint32_t metric, struct error *err)
{
	struct found_list there = {.set = set};
	int first = find_routes(netlink, &there, err);

	if (first) {
		free(there.list);
		return first;
	}
	first = add_missing(netlink, &there, vips, wanted, count, metric, err);
	for (size_t i = 0; i < there.count; i++) {
		int rc;

		if (is_in_force(&there.list[i], vips, wanted, count, metric))
			continue;
		rc = change_route(netlink, RTM_DELROUTE, 0, set, &there.list[i]);
		if (rc && rc != -ESRCH)
			note_failure(rc, "removed", set, &there.list[i], &first, err);
	}
	free(there.list);
	return first;
}

int routes_look(struct netlink *netlink, const struct route_set *set, struct announce_vip *vips,
		unsigned count, struct error *err)
{
	struct found_list there = {.set = set};
	int rc = find_routes(netlink, &there, err);

	for (size_t i = 0; !rc && i < there.count; i++) {
		struct announce_vip *vip = vips_find(vips, count, &there.list[i].address);

		if (vip)
			vip->announced = true;
	}
	free(there.list);
	return rc;
}

int routes_withdraw(struct netlink *netlink, const struct route_set *set, unsigned *ret_count,
		    struct error *err)
{
	struct found_list there = {.set = set};
	int first = find_routes(netlink, &there, err);

	*ret_count = 0;
	for (size_t i = 0; !first && i < there.count; i++) {
		int rc = change_route(netlink, RTM_DELROUTE, 0, set, &there.list[i]);

		if (rc && rc != -ESRCH)
			note_failure(rc, "removed", set, &there.list[i], &first, err);
		else
			(*ret_count)++;
	}
	free(there.list);
	return first;
}
