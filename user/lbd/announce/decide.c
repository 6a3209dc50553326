/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which VIPs can be announced, and what state the node is in. Pure. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/plural.h"

/* ---- services ---- */

static bool is_usable(const struct service *service, uint32_t min_up)
{
	return service->opened && !service->blind && service->up >= min_up;
}

static void describe(const struct service *service, uint32_t min_up, char why[128])
{
	const char *name = service->config->name;

	if (!service->opened)
		snprintf(why, 128, "%.64s: first health checks are not over", name);
	else if (service->blind)
		snprintf(why, 128, "%.64s: blind", name);
	else
		snprintf(why, 128, "%.64s: %u of %u backend%s up, expected %u", name, service->up,
			 service->backends_count, plural_s(service->backends_count), min_up);
}

static int by_vip(const void *a, const void *b)
{
	const struct service *const *first = a, *const *second = b;

	return addr_compare(&(*first)->config->vip, &(*second)->config->vip);
}

/* The services of one VIP. The first one that is not usable says why the VIP is not. A service that
 * a change has added takes no usable VIP away from the others while its first checks go on. */
static void judge(struct service *const *services, unsigned count,
		  const struct config_announce *config, bool was_usable, struct announce_vip *ret)
{
	unsigned usable = 0, needed = 0;

	*ret = (struct announce_vip){.address = services[0]->config->vip};
	for (unsigned i = 0; i < count; i++) {
		needed += services[i]->opened || !was_usable;
		if (is_usable(services[i], config->min_up))
			usable++;
		else if (!ret->why[0])
			describe(services[i], config->min_up, ret->why);
	}
	ret->usable = usable && (!config->all || usable == needed);
	if (ret->usable)
		ret->why[0] = 0;
}

static void count_service(const struct service *service, struct node_tally *tally)
{
	tally->services++;
	tally->unopened += !service->opened;
	tally->blind += service->blind;
	if (service->opened && !service->blind)
		tally->up += service->up;
}

static int vip_by_address(const void *key, const void *item)
{
	return addr_compare(key, &((const struct announce_vip *)item)->address);
}

struct announce_vip *vips_find(const struct announce_vip *vips, unsigned count,
			       const struct addr *address)
{
	return count ? bsearch(address, vips, count, sizeof(*vips), vip_by_address) : NULL;
}

static bool was_usable(const struct vips_before *before, const struct addr *address)
{
	const struct announce_vip *vip = vips_find(before->vips, before->count, address);

	return vip && vip->usable;
}

int vips_collect(struct service *const *services, unsigned count,
		 const struct config_announce *config, const struct vips_before *before,
		 struct announce_vip **ret, struct node_tally *ret_tally)
{
	_cleanup_free_ struct service **sorted = calloc(count + 1, sizeof(struct service *));
	struct announce_vip *vips = calloc(count + 1, sizeof(*vips));
	struct node_tally tally = {0};

	if (!sorted || !vips) {
		free(vips);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		sorted[i] = services[i];
		count_service(services[i], &tally);
	}
	qsort(sorted, count, sizeof(struct service *), by_vip);
	for (unsigned first = 0, next; first < count; first = next) {
		next = first + 1;
		while (next < count && !by_vip(&sorted[first], &sorted[next]))
			next++;
		judge(&sorted[first], next - first, config,
		      was_usable(before, &sorted[first]->config->vip), &vips[tally.vips]);
		tally.usable += vips[tally.vips++].usable;
	}
	*ret = vips;
	*ret_tally = tally;
	return 0;
}

/* ---- the node ---- */

/* Services without health checks have backends that are up, so they never make a node blind. */
static bool is_blind(const struct node_tally *tally)
{
	return tally->blind && !tally->up;
}

enum node_state node_decide(const struct node_facts *facts, const struct node_tally *tally,
			    char why[ANNOUNCE_WHY])
{
	*why = 0;
	if (facts->detached) {
		snprintf(why, ANNOUNCE_WHY, "%s", facts->detached);
		return NODE_WITHDRAWN;
	}
	if (facts->order.drain && facts->order.withdraw) {
		snprintf(why, ANNOUNCE_WHY, "drained; lbctl node undrain ends that");
		return NODE_WITHDRAWN;
	}
	if (is_blind(tally)) {
		snprintf(why, ANNOUNCE_WHY,
			 "no backend answers, as all of a service were lost at once: this host's "
			 "own links may have failed");
		return NODE_BLIND;
	}
	if (!facts->opened) {
		snprintf(why, ANNOUNCE_WHY,
			 "first health checks of %u of %u service%s are not over", tally->unopened,
			 tally->services, plural_s(tally->services));
		return NODE_STARTING;
	}
	if (facts->syncing) {
		snprintf(why, ANNOUNCE_WHY, "%s", facts->syncing);
		return NODE_SYNCING;
	}
	if (!tally->usable) {
		snprintf(why, ANNOUNCE_WHY, "%s",
			 tally->vips ? "no VIP has enough usable backends"
				     : "the config has no services");
		return NODE_WITHDRAWN;
	}
	return facts->order.drain ? NODE_DRAINING : NODE_UP;
}

int node_priority(enum node_state state)
{
	static const int priorities[NODE_STATES] = {
	    [NODE_UP] = 0,        [NODE_DRAINING] = -50, [NODE_STARTING] = -90,
	    [NODE_SYNCING] = -90, [NODE_BLIND] = -90,    [NODE_WITHDRAWN] = -90};

	return priorities[state];
}

const char *announce_state_name(enum node_state state)
{
	static const char *const names[NODE_STATES] = {[NODE_STARTING] = "starting",
						       [NODE_SYNCING] = "syncing",
						       [NODE_UP] = "up",
						       [NODE_DRAINING] = "draining",
						       [NODE_BLIND] = "blind",
						       [NODE_WITHDRAWN] = "withdrawn"};

	return names[state];
}
