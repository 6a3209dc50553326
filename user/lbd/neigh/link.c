/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The interfaces of this host, from the kernel's messages. */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS    256
#define READ_TRIES 5

struct link {
	LIST_ENTRY(link) chain;
	struct rtnl_link is;
	unsigned generation; /* of the last link_table_read that saw it */
};

struct link_table {
	LIST_HEAD(link_list, link) buckets[BUCKETS];
	unsigned generation;
	int read_error;
	link_changed_fn *changed;
	void *arg;
};

struct link_table *link_table_new(link_changed_fn *changed, void *arg)
{
	struct link_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->changed = changed;
	table->arg = arg;
	return table;
}

void link_table_free(struct link_table *table)
{
	struct link *link;

	if (!table)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		while ((link = LIST_FIRST(&table->buckets[i]))) {
			LIST_REMOVE(link, chain);
			free(link);
		}
	free(table);
}

static struct link *find(const struct link_table *table, uint32_t ifindex)
{
	struct link *link;

	for (link = LIST_FIRST(&table->buckets[ifindex % BUCKETS]); link;
	     link = LIST_NEXT(link, chain))
		if (link->is.ifindex == ifindex)
			return link;
	return NULL;
}

const struct rtnl_link *link_find(const struct link_table *table, uint32_t ifindex)
{
	const struct link *link = find(table, ifindex);

	return link ? &link->is : NULL;
}

static enum link_change compare(const struct rtnl_link *was, const struct rtnl_link *is)
{
	if (strcmp(was->name, is->name) || memcmp(was->mac, is->mac, sizeof(is->mac)) ||
	    was->master != is->master)
		return LINK_SEEN;
	if (was->mtu != is->mtu || was->up != is->up || was->carrier != is->carrier ||
	    was->ethernet != is->ethernet || was->vlan != is->vlan ||
	    was->vlan_elsewhere != is->vlan_elsewhere || was->vlan_id != is->vlan_id ||
	    was->vlan_protocol != is->vlan_protocol || was->lower != is->lower)
		return LINK_OTHER;
	return LINK_SAME;
}

/* ---- addresses ---- */

#define STACK_MOST 1024

/* An interface and the devices on it. */
struct stack {
	uint32_t ifindex[STACK_MOST];
	unsigned count;
	bool overflow;
};

static void stack_add(struct stack *stack, uint32_t ifindex)
{
	for (unsigned i = 0; i < stack->count; i++)
		if (stack->ifindex[i] == ifindex)
			return;
	if (!ifindex)
		return;
	if (stack->count < STACK_MOST)
		stack->ifindex[stack->count++] = ifindex;
	else
		stack->overflow = true;
}

static bool is_on(const struct rtnl_link *link, uint32_t lower)
{
	return (link->vlan || link->macvlan) && !link->vlan_elsewhere && link->lower == lower;
}

static void stack_add_upper(const struct link_table *table, struct stack *stack, uint32_t lower)
{
	const struct link *link = find(table, lower);

	if (link)
		stack_add(stack, link->is.master);
	for (unsigned i = 0; i < BUCKETS; i++)
		for (link = LIST_FIRST(&table->buckets[i]); link; link = LIST_NEXT(link, chain))
			if (is_on(&link->is, lower))
				stack_add(stack, link->is.ifindex);
}

void link_macs(const struct link_table *table, uint32_t ifindex,
	       void (*found)(void *arg, const uint8_t mac[6]), void *arg)
{
	struct stack stack = {.ifindex = {ifindex}, .count = 1};

	for (unsigned i = 0; i < stack.count; i++)
		stack_add_upper(table, &stack, stack.ifindex[i]);
	/* With only some of its addresses an interface would lose the packets to the others. */
	for (unsigned i = 0; i < stack.count && !stack.overflow; i++) {
		const struct link *link = find(table, stack.ifindex[i]);

		if (link && link->is.ethernet)
			found(arg, link->is.mac);
	}
}

void link_ports(const struct link_table *table, uint32_t master,
		void (*found)(void *arg, uint32_t ifindex), void *arg)
{
	const struct link *link;

	for (unsigned i = 0; i < BUCKETS; i++)
		for (link = LIST_FIRST(&table->buckets[i]); link; link = LIST_NEXT(link, chain))
			if (link->is.master == master)
				found(arg, link->is.ifindex);
}

/* ---- changes ---- */

int link_put(struct link_table *table, const struct rtnl_link *is)
{
	struct link *link = find(table, is->ifindex);
	enum link_change change = LINK_SEEN;

	if (link) {
		change = compare(&link->is, is);
	} else {
		link = calloc(1, sizeof(*link));
		if (!link)
			return -ENOMEM;
		LIST_INSERT_HEAD(&table->buckets[is->ifindex % BUCKETS], link, chain);
	}
	link->is = *is;
	link->generation = table->generation;
	if (change != LINK_SAME)
		table->changed(table->arg, change, is);
	return 0;
}

static void drop(struct link_table *table, struct link *link)
{
	struct rtnl_link was = link->is;

	LIST_REMOVE(link, chain);
	free(link);
	table->changed(table->arg, LINK_GONE, &was);
}

void link_delete(struct link_table *table, uint32_t ifindex)
{
	struct link *link = find(table, ifindex);

	if (link)
		drop(table, link);
}

static void read_one(void *arg, const struct rtnl_link *is)
{
	struct link_table *table = arg;

	if (link_put(table, is))
		table->read_error = -ENOMEM;
}

static void drop_unseen(struct link_table *table)
{
	struct link *link, *next;

	for (unsigned i = 0; i < BUCKETS; i++)
		for (link = LIST_FIRST(&table->buckets[i]); link; link = next) {
			next = LIST_NEXT(link, chain);
			if (link->generation != table->generation)
				drop(table, link);
		}
}

int link_table_read(struct link_table *table, struct rtnl *rtnl)
{
	int rc = -EINTR;

	table->generation++;
	table->read_error = 0;
	for (unsigned i = 0; i < READ_TRIES && rc == -EINTR; i++)
		rc = rtnl_links(rtnl, read_one, table);
	if (rc || table->read_error)
		return rc ? rc : table->read_error;
	drop_unseen(table);
	return 0;
}
