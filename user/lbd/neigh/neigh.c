/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Watches: each watched address is a target, which follows its route, the route's link and the
 * neighbour. Kernel events mark targets dirty; a moment later on_work asks the kernel again and
 * reports the changes. */
#include "neigh.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/remark.h"
#include "common/rtnl.h"
#include "entry.h"
#include "hop.h"
#include "link.h"
#include "lists.h"

#define BUCKETS        4096
#define DEBOUNCE_MS    50   /* route changes come in bursts */
#define RETRY_MS       1000 /* after a request that the kernel did not answer */
#define WORK_TARGETS   256  /* route requests per turn of the loop, some 10 us each */
#define WORK_NOTICES   1024 /* callbacks per turn, some us each: a gateway may be that of all */
#define EVENT_READS    64   /* datagrams per turn of the loop */
#define EVENT_BUFFER   32768
#define RECEIVE_BUFFER (4 << 20)
/* Some changes, such as a learnt path MTU, cause no message: every route is asked for once in this
 * time. */
#define REREAD_SECONDS 60

struct neigh_watch {
	LIST_ENTRY(neigh_watch) of_target;
	TAILQ_ENTRY(neigh_watch) in_pending;
	struct target *target;
	bool pending; /* its callback is due */
	neigh_changed_fn *changed;
	void *arg;
};

struct target {
	LIST_ENTRY(target) chain; /* of its bucket */
	LIST_ENTRY(target) in_all;
	TAILQ_ENTRY(target) in_dirty;
	LIST_ENTRY(target) of_entry;
	LIST_HEAD(watch_list, neigh_watch) watches;
	struct neigh *neigh;
	struct addr address;
	bool dirty;
	bool pinned; /* `route` is given, and the address may have another target too */
	struct rtnl_route route;
	int route_error;
	uint32_t last_ifindex; /* of the last route there was */
	struct entry *entry;
	bool reported, has_hop; /* what was reported to the watches, or is about to be */
	struct next_hop hop;
	struct remark *why;
};

TAILQ_HEAD(target_queue, target);
TAILQ_HEAD(watch_queue, neigh_watch);

struct neigh {
	struct event_base *base;
	struct rtnl *rtnl;
	struct mnl_socket *events;
	struct event *readable, *work, *debounce, *reread;
	struct link_table *links;
	struct entry_table *entries;
	LIST_HEAD(target_chain, target) buckets[BUCKETS];
	/* all targets: walked for each route message, of which there may be millions */
	LIST_HEAD(target_list, target) targets;
	struct target_queue dirty;
	struct watch_queue pending;
	unsigned reread_bucket;
	bool lost; /* messages were lost: everything must be read again */
	neigh_link_fn *link_changed;
	void *link_arg;
	struct neigh_lists *lists;
	_Alignas(struct nlmsghdr) char buffer[EVENT_BUFFER];
};

/* ---- scheduling the work ---- */

/* In the next turn of the loop, so that events are handled in between. */
static void work_now(struct neigh *neigh)
{
	static const struct timeval now = {0};

	if (!evtimer_pending(neigh->work, NULL))
		evtimer_add(neigh->work, &now);
}

static void work_in_ms(struct neigh *neigh, unsigned ms)
{
	const struct timeval wait = clock_span_ms(ms);

	if (!evtimer_pending(neigh->debounce, NULL))
		evtimer_add(neigh->debounce, &wait);
}

static void mark_dirty(struct target *target)
{
	if (target->dirty)
		return;
	target->dirty = true;
	TAILQ_INSERT_TAIL(&target->neigh->dirty, target, in_dirty);
}

static void clear_dirty(struct target *target)
{
	if (!target->dirty)
		return;
	target->dirty = false;
	TAILQ_REMOVE(&target->neigh->dirty, target, in_dirty);
}

static bool within(const struct addr *address, const struct rtnl_prefix *prefix)
{
	unsigned whole = prefix->length / 8, rest = prefix->length % 8;

	if (address->family != prefix->address.family ||
	    memcmp(address->bytes, prefix->address.bytes, whole))
		return false;
	return !rest || !((address->bytes[whole] ^ prefix->address.bytes[whole]) >> (8 - rest));
}

/* At most once for each target until it is read again, however many messages come. */
static void log_event(const struct rtnl_prefix *prefix, unsigned marked)
{
	char address[ADDR_TEXT];

	if (!marked)
		return;
	if (prefix)
		log_debug("route %s/%u changed: next hops that are read again: %u",
			  addr_format(&prefix->address, address), prefix->length, marked);
	else
		log_debug("links, addresses or rules changed: next hops that are read again: %u",
			  marked);
}

/* prefix NULL: all. */
static void mark_targets(struct neigh *neigh, const struct rtnl_prefix *prefix)
{
	struct target *target;
	unsigned marked = 0;

	for (target = LIST_FIRST(&neigh->targets); target; target = LIST_NEXT(target, in_all))
		if (!prefix || within(&target->address, prefix)) {
			marked += !target->dirty;
			mark_dirty(target);
		}
	log_event(prefix, marked);
	if (!TAILQ_EMPTY(&neigh->dirty))
		work_in_ms(neigh, DEBOUNCE_MS);
}

/* ---- the next hop of a target ---- */

bool next_hop_equal(const struct next_hop *a, const struct next_hop *b)
{
	return a->ifindex == b->ifindex && a->vlan_tci == b->vlan_tci && a->mtu == b->mtu &&
	       !memcmp(a->src_mac, b->src_mac, 6) && !memcmp(a->dst_mac, b->dst_mac, 6) &&
	       addr_equal(&a->source, &b->source) && addr_equal(&a->gateway, &b->gateway);
}

static void make_pending(struct neigh_watch *watch)
{
	struct neigh *neigh = watch->target->neigh;

	if (!watch->pending) {
		watch->pending = true;
		TAILQ_INSERT_TAIL(&neigh->pending, watch, in_pending);
	}
	work_now(neigh);
}

static void log_hop(const struct target *target)
{
	const struct next_hop *hop = &target->hop;
	const uint8_t *mac = hop->dst_mac;
	const struct rtnl_link *link = link_find(target->neigh->links, hop->ifindex);
	char address[ADDR_TEXT];

	addr_format(&target->address, address);
	if (target->has_hop)
		log_debug("next hop of %s: %s, MAC %02x:%02x:%02x:%02x:%02x:%02x, VLAN %u, MTU %u",
			  address, link ? link->name : "?", mac[0], mac[1], mac[2], mac[3], mac[4],
			  mac[5], hop->vlan_tci & 0xfff, hop->mtu);
	else
		log_debug("next hop of %s: none: %s", address, remark_text(target->why));
}

static void find_links(const struct neigh *neigh, uint32_t ifindex,
		       const struct rtnl_link **ret_link, const struct rtnl_link **ret_lower)
{
	const struct rtnl_link *link = link_find(neigh->links, ifindex);

	*ret_link = link;
	*ret_lower = link && link->vlan ? link_find(neigh->links, link->lower) : NULL;
}

/* Computes a target's next hop from what is known, and reports a change to its watches. */
static void update_hop(struct target *target)
{
	struct neigh *neigh = target->neigh;
	struct hop_facts facts = {
	    .route_error = target->route_error,
	    .route = target->route,
	    .entry = target->entry,
	    .last = link_find(neigh->links, target->last_ifindex),
	};
	struct next_hop hop = {0};
	char why[HOP_WHY] = "";
	enum hop_verdict verdict;
	struct neigh_watch *watch;

	find_links(neigh, target->route.ifindex, &facts.link, &facts.lower);
	verdict = hop_decide(&facts, &hop, why);
	if (verdict == HOP_WAIT)
		return;
	if (target->reported && target->has_hop == (verdict == HOP_READY) &&
	    !strcmp(remark_text(target->why), why) && next_hop_equal(&target->hop, &hop))
		return;
	target->reported = true;
	target->has_hop = verdict == HOP_READY;
	target->hop = hop;
	remark_set(&target->why, why);
	for (watch = LIST_FIRST(&target->watches); watch; watch = LIST_NEXT(watch, of_target))
		make_pending(watch);
	if (log_debugs())
		log_hop(target);
}

static void log_entry(const struct entry *entry)
{
	static const char *const verdicts[] = {[ENTRY_WAITING] = "asked for",
					       [ENTRY_ALIVE] = "answers",
					       [ENTRY_DEAD] = "does not answer"};
	char address[ADDR_TEXT], name[IF_NAMESIZE];

	log_debug("neighbour %s on %s: %s%s%s", addr_format(&entry->address, address),
		  if_indextoname(entry->ifindex, name) ? name : "a deleted interface",
		  verdicts[entry->verdict], entry->error ? ": " : "",
		  entry->error ? strerror(-entry->error) : "");
}

static void on_entry_changed(struct entry *entry)
{
	struct target *target;

	if (log_debugs())
		log_entry(entry);
	for (target = LIST_FIRST(&entry->targets); target; target = LIST_NEXT(target, of_entry))
		update_hop(target);
}

static void set_entry(struct target *target, struct entry *entry)
{
	struct entry *old = target->entry;

	if (entry == old)
		return;
	if (old)
		LIST_REMOVE(target, of_entry);
	target->entry = entry;
	if (entry)
		LIST_INSERT_HEAD(&entry->targets, target, of_entry);
	entry_put(old);
}

/* The neighbour of a target's route; NULL: the route has none. */
static struct entry *find_entry(struct target *target)
{
	const struct rtnl_route *route = &target->route;
	const struct rtnl_link *link, *lower;
	char why[HOP_WHY];

	find_links(target->neigh, route->ifindex, &link, &lower);
	if (target->route_error || route->type != RTN_UNICAST || !link ||
	    !hop_link_usable(link, lower, why))
		return NULL;
	return entry_get(target->neigh->entries, route->ifindex,
			 route->gateway.family ? &route->gateway : &target->address);
}

/* False: the kernel did not answer; a next hop that was reported stays. */
static bool resolve(struct target *target)
{
	int rc =
	    target->pinned ? 0 : rtnl_route(target->neigh->rtnl, &target->address, &target->route);
	bool answered = rc != -ETIMEDOUT && rc != -ENOBUFS && rc != -ENOMEM;

	if (!answered && target->has_hop)
		return false;
	target->route_error = rc;
	if (rc)
		target->route = (struct rtnl_route){0};
	else if (target->pinned || target->route.type == RTN_UNICAST)
		target->last_ifindex = target->route.ifindex;
	set_entry(target, find_entry(target));
	update_hop(target);
	return answered;
}

/* ---- the work ---- */

/* Each callback may stop watches and start others. */
static void notify_pending(struct neigh *neigh)
{
	struct neigh_watch *watch;

	for (unsigned i = 0; i < WORK_NOTICES && (watch = TAILQ_FIRST(&neigh->pending)); i++) {
		const struct target *target = watch->target;
		struct addr address = target->address;
		struct next_hop hop = target->hop;
		struct remark *why = NULL;
		bool has_hop = target->has_hop;

		remark_share(&why, target->why);
		TAILQ_REMOVE(&neigh->pending, watch, in_pending);
		watch->pending = false;
		watch->changed(watch->arg, &address, has_hop ? &hop : NULL, remark_text(why));
		remark_drop(&why);
	}
}

/* After lost messages: reads everything again. False: the kernel did not answer. */
static bool read_all(struct neigh *neigh)
{
	if (link_table_read(neigh->links, neigh->rtnl))
		return false;
	neigh->lost = false;
	lists_lost(neigh->lists);
	mark_targets(neigh, NULL);
	entry_table_refresh(neigh->entries);
	return true;
}

static void on_work(int fd, short what, void *arg)
{
	struct neigh *neigh = arg;
	struct target *target;
	bool answered = !neigh->lost || read_all(neigh);

	for (unsigned i = 0; answered && i < WORK_TARGETS && (target = TAILQ_FIRST(&neigh->dirty));
	     i++) {
		clear_dirty(target);
		answered = resolve(target);
		if (!answered)
			mark_dirty(target);
	}
	if (!answered)
		work_in_ms(neigh, RETRY_MS);
	else if (!TAILQ_EMPTY(&neigh->dirty))
		work_now(neigh);
	notify_pending(neigh);
	if (!TAILQ_EMPTY(&neigh->pending))
		work_now(neigh);
	if (!lists_work(neigh->lists, neigh->rtnl))
		work_in_ms(neigh, RETRY_MS);
	else if (!TAILQ_EMPTY(&neigh->dirty)) /* the ways have new gateways */
		work_now(neigh);
}

/* Marks a part of the targets dirty every second, so that REREAD_SECONDS cover all. */
static void on_reread(int fd, short what, void *arg)
{
	struct neigh *neigh = arg;
	struct target *target;

	for (unsigned i = 0; i < BUCKETS / REREAD_SECONDS + 1; i++) {
		for (target = LIST_FIRST(&neigh->buckets[neigh->reread_bucket]); target;
		     target = LIST_NEXT(target, chain))
			mark_dirty(target);
		neigh->reread_bucket = (neigh->reread_bucket + 1) % BUCKETS;
	}
	if (neigh->reread_bucket < BUCKETS / REREAD_SECONDS + 1)
		lists_lost(neigh->lists);
	if (!TAILQ_EMPTY(&neigh->dirty))
		work_now(neigh);
}

/* ---- messages from the kernel ---- */

static void on_link_change(void *arg, enum link_change change, const struct rtnl_link *link)
{
	struct neigh *neigh = arg;

	mark_targets(neigh, NULL);
	if (neigh->link_changed && change != LINK_OTHER)
		neigh->link_changed(neigh->link_arg, link->ifindex, link->name,
				    change != LINK_GONE);
}

static void link_on_event(struct neigh *neigh, const struct nlmsghdr *message)
{
	struct rtnl_link link;

	if (!rtnl_read_link(message, &link))
		return;
	if (message->nlmsg_type == RTM_DELLINK)
		link_delete(neigh->links, link.ifindex);
	else if (link_put(neigh->links, &link))
		neigh->lost = true;
}

static void take_event(struct neigh *neigh, const struct nlmsghdr *message)
{
	struct rtnl_neighbour neighbour;
	struct rtnl_prefix prefix;

	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		link_on_event(neigh, message);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (rtnl_read_neighbour(message, &neighbour))
			entry_on_event(neigh->entries, &neighbour,
				       message->nlmsg_type == RTM_DELNEIGH);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (rtnl_read_prefix(message, &prefix))
			mark_targets(neigh, &prefix);
		if (lists_on_route(neigh->lists))
			work_in_ms(neigh, DEBOUNCE_MS);
		break;
	/* addresses (preferred sources), rules and next-hop objects: any route may be affected */
	default:
		mark_targets(neigh, NULL);
		lists_lost(neigh->lists);
		work_in_ms(neigh, DEBOUNCE_MS);
		break;
	}
}

static void on_readable(int fd, short what, void *arg)
{
	struct neigh *neigh = arg;

	for (unsigned i = 0; i < EVENT_READS; i++) {
		ssize_t received =
		    mnl_socket_recvfrom(neigh->events, neigh->buffer, sizeof(neigh->buffer));
		int length = (int)received;

		if (received < 0 && errno == EAGAIN)
			break;
		if (received < 0 && errno != EINTR)
			neigh->lost = true; /* ENOBUFS: the socket buffer has overflowed */
		for (struct nlmsghdr *message = (struct nlmsghdr *)neigh->buffer;
		     mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length))
			take_event(neigh, message);
	}
	if (neigh->lost)
		work_in_ms(neigh, DEBOUNCE_MS);
}

/* ---- watches ---- */

static unsigned bucket_of(const struct addr *address)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < addr_length(address); i++)
		hash = (hash ^ address->bytes[i]) * 16777619u;
	return hash % BUCKETS;
}

static struct target *find_target(struct neigh *neigh, const struct addr *address)
{
	struct target *target;

	for (target = LIST_FIRST(&neigh->buckets[bucket_of(address)]); target;
	     target = LIST_NEXT(target, chain))
		if (addr_equal(&target->address, address))
			return target;
	return NULL;
}

static void watch_free(struct neigh_watch *watch)
{
	if (watch->pending)
		TAILQ_REMOVE(&watch->target->neigh->pending, watch, in_pending);
	LIST_REMOVE(watch, of_target);
	free(watch);
}

/* route: NULL: the kernel's to the address. */
static struct target *target_new(struct neigh *neigh, const struct addr *address,
				 const struct rtnl_route *route)
{
	struct target *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->neigh = neigh;
	target->address = *address;
	LIST_INIT(&target->watches);
	if (route) {
		target->pinned = true;
		target->route = *route;
	} else {
		LIST_INSERT_HEAD(&neigh->buckets[bucket_of(address)], target, chain);
	}
	LIST_INSERT_HEAD(&neigh->targets, target, in_all);
	mark_dirty(target);
	return target;
}

/* Also frees its watches. */
static void target_free(struct target *target)
{
	struct neigh_watch *watch;

	while ((watch = LIST_FIRST(&target->watches)))
		watch_free(watch);
	clear_dirty(target);
	set_entry(target, NULL);
	if (!target->pinned)
		LIST_REMOVE(target, chain);
	LIST_REMOVE(target, in_all);
	remark_drop(&target->why);
	free(target);
}

struct neigh_watch *neigh_watch_route(struct neigh *neigh, const struct addr *address,
				      const struct rtnl_route *route, neigh_changed_fn *changed,
				      void *arg)
{
	struct neigh_watch *watch = calloc(1, sizeof(*watch));
	struct target *target = route ? NULL : find_target(neigh, address);

	if (watch && !target)
		target = target_new(neigh, address, route);
	if (!watch || !target) {
		free(watch);
		return NULL;
	}
	watch->target = target;
	watch->changed = changed;
	watch->arg = arg;
	LIST_INSERT_HEAD(&target->watches, watch, of_target);
	if (target->reported)
		make_pending(watch);
	work_now(neigh);
	return watch;
}

struct neigh_watch *neigh_watch(struct neigh *neigh, const struct addr *address,
				neigh_changed_fn *changed, void *arg)
{
	return neigh_watch_route(neigh, address, NULL, changed, arg);
}

void neigh_unwatch(struct neigh_watch *watch)
{
	struct target *target;

	if (!watch)
		return;
	target = watch->target;
	watch_free(watch);
	if (LIST_EMPTY(&target->watches))
		target_free(target);
}

void neigh_on_link(struct neigh *neigh, neigh_link_fn *changed, void *arg)
{
	neigh->link_changed = changed;
	neigh->link_arg = arg;
}

int neigh_on_ways(struct neigh *neigh, size_t most, neigh_ways_fn *changed, void *arg)
{
	work_now(neigh);
	return lists_on_ways(neigh->lists, most, changed, arg);
}

int neigh_on_local(struct neigh *neigh, neigh_local_fn *changed, void *arg)
{
	return lists_on_local(neigh->lists, neigh->rtnl, changed, arg);
}

struct mac_search {
	const struct neigh *neigh;
	uint32_t ifindex;
	neigh_mac_fn *found;
	void *arg;
};

static void on_mac(void *arg, const uint8_t mac[6])
{
	const struct mac_search *search = arg;

	search->found(search->arg, search->ifindex, mac);
}

static void on_native_port(void *arg, uint32_t ifindex)
{
	struct mac_search search = *(const struct mac_search *)arg;

	search.ifindex = ifindex;
	link_macs(search.neigh->links, ifindex, on_mac, &search);
}

static void on_generic_port(void *arg, uint32_t ifindex)
{
	const struct mac_search *search = arg;
	const struct rtnl_link *port = link_find(search->neigh->links, ifindex);

	if (port && port->ethernet)
		on_mac(arg, port->mac);
}

void neigh_macs(const struct neigh *neigh, uint32_t ifindex, bool native, neigh_mac_fn *found,
		void *arg)
{
	struct mac_search search = {.neigh = neigh, .ifindex = ifindex, .found = found, .arg = arg};

	link_macs(neigh->links, ifindex, on_mac, &search);
	link_ports(neigh->links, ifindex, native ? on_native_port : on_generic_port, &search);
}

/* ---- opening and closing ---- */

static int open_events(struct neigh *neigh)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,       RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_RULE,  RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP};
	int size = RECEIVE_BUFFER, fd;

	neigh->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!neigh->events || mnl_socket_bind(neigh->events, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	fd = mnl_socket_get_fd(neigh->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])))
			return -errno;
	return 0;
}

static int make_events(struct neigh *neigh)
{
	static const struct timeval second = {.tv_sec = 1};
	struct event_base *base = neigh->base;

	neigh->readable = event_new(base, mnl_socket_get_fd(neigh->events), EV_READ | EV_PERSIST,
				    on_readable, neigh);
	neigh->work = evtimer_new(base, on_work, neigh);
	neigh->debounce = evtimer_new(base, on_work, neigh);
	neigh->reread = event_new(base, -1, EV_PERSIST, on_reread, neigh);
	if (!neigh->readable || !neigh->work || !neigh->debounce || !neigh->reread ||
	    event_add(neigh->readable, NULL) || event_add(neigh->reread, &second))
		return -ENOMEM;
	return 0;
}

static int start(struct neigh *neigh, struct error *err)
{
	int rc = rtnl_open(&neigh->rtnl);

	if (!rc)
		rc = open_events(neigh); /* before the first read, so that no change is missed */
	if (rc)
		return error_set(err, rc, "rtnetlink: opening a socket: %s", strerror(-rc));
	neigh->links = link_table_new(on_link_change, neigh);
	neigh->entries = entry_table_new(neigh->base, neigh->rtnl, on_entry_changed);
	neigh->lists = lists_new(neigh);
	if (!neigh->links || !neigh->entries || !neigh->lists || make_events(neigh))
		return error_set(err, -ENOMEM, "rtnetlink: out of memory");
	rc = link_table_read(neigh->links, neigh->rtnl);
	if (rc)
		return error_set(err, rc, "rtnetlink: reading the interfaces: %s", strerror(-rc));
	return 0;
}

int neigh_new(struct event_base *base, struct neigh **ret, struct error *err)
{
	struct neigh *neigh = calloc(1, sizeof(*neigh));
	int rc;

	if (!neigh)
		return error_set(err, -ENOMEM, "rtnetlink: out of memory");
	neigh->base = base;
	TAILQ_INIT(&neigh->dirty);
	TAILQ_INIT(&neigh->pending);
	rc = start(neigh, err);
	if (rc) {
		neigh_free(neigh);
		return rc;
	}
	*ret = neigh;
	return 0;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

void neigh_free(struct neigh *neigh)
{
	struct target *target;

	if (!neigh)
		return;
	lists_free(neigh->lists);
	while ((target = LIST_FIRST(&neigh->targets)))
		target_free(target);
	free_event(neigh->readable);
	free_event(neigh->work);
	free_event(neigh->debounce);
	free_event(neigh->reread);
	entry_table_free(neigh->entries);
	link_table_free(neigh->links);
	if (neigh->events)
		mnl_socket_close(neigh->events);
	rtnl_close(neigh->rtnl);
	free(neigh);
}
