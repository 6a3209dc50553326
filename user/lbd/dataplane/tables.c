/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The VIP and port tables: built in memory with a seed for which no bucket overflows, copied into
 * the half that is not in use, then activated with one store. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "lbd/host/host.h"

#define SEEDS_PER_SIZE 64   /* before a larger table is tried */
#define SEEDS_AT_MOST  8192 /* at the full size */
#define PORT_HTTPS     443

/* A bucket of two overflows when three of N VIPs fall into it: with B buckets this happens N^3 /
 * 6B^2 times on average. If that is below four, one seed in fifty has no overflow. */
uint32_t tables_vip_buckets(uint32_t services)
{
	uint64_t n = services;
	uint64_t buckets = 8;

	while (24 * buckets * buckets < n * n * n)
		buckets *= 2;
	return buckets;
}

/* On average one of the eight ways is in use. */
uint32_t tables_port_buckets(uint32_t services)
{
	uint32_t buckets = 4;

	while (buckets < services)
		buckets *= 2;
	return buckets;
}

#define FEW_SERVICES 256 /* up to here larger tables do not displace other data from the caches */

/* The content of the tables, before it is placed in buckets. */
struct content {
	struct lb_vip *vips;
	uint64_t *ports;
	size_t vips_count, ports_count;
};

static void content_done(struct content *content)
{
	free(content->vips);
	free(content->ports);
}

static uint8_t any_flag(const struct dp_service *key)
{
	if (key->port)
		return 0;
	return key->protocol == IPPROTO_TCP ? LB_VIP_ANY_TCP : LB_VIP_ANY_UDP;
}

/* Whether packets of this service are to be found with the VIP itself: the first with a port, but
 * HTTPS before any other, as it has most of the traffic. */
static bool is_main(const struct lb_vip *vip, const struct dp_service *key)
{
	return key->port &&
	       (!vip->main || (key->protocol == IPPROTO_TCP && key->port == PORT_HTTPS));
}

/* Entries are sorted, so those of a VIP are adjacent. */
static int content_make(const struct table_entry *entries, size_t count, struct content *ret)
{
	struct content content = {calloc(count + 1, sizeof(*content.vips)),
				  calloc(count + 1, sizeof(*content.ports)), 0, count};

	if (!content.vips || !content.ports) {
		content_done(&content);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		const struct dp_service *key = entries[i].key;
		struct lb_vip *vip;

		if (!i || !addr_equal(&entries[i - 1].key->vip, &key->vip)) {
			vip = &content.vips[content.vips_count++];
			memcpy(vip->addr, key->vip.bytes, sizeof(vip->addr));
			vip->family = key->vip.family;
			vip->id = content.vips_count;
		}
		vip = &content.vips[content.vips_count - 1];
		vip->flags |= any_flag(key);
		if (is_main(vip, key))
			vip->main = LB_VIP_MAIN(htons(key->port), key->protocol);
		content.ports[i] =
		    LB_PORT_KEY(content.vips_count, key->port, key->protocol) | entries[i].id;
	}
	*ret = content;
	return 0;
}

static uint32_t vip_bucket(const struct lb_vip *vip, const struct lb_tables *tables)
{
	return lb_vip_hash(vip->addr, vip->family, tables->multiplier) & tables->vip_mask;
}

/* VIP ids count from 1 in the order of content->vips. */
static uint32_t port_bucket(const struct content *content, uint64_t port,
			    const struct lb_tables *tables)
{
	const struct lb_vip *vip = &content->vips[LB_PORT_VIP(port) - 1];
	uint32_t vip_hash = lb_vip_hash(vip->addr, vip->family, tables->multiplier);

	return lb_port_hash(vip_hash, port & LB_PORT_KEY_MASK, tables->multiplier) &
	       tables->port_mask;
}

/* used: has an element for every bucket of the larger table. */
static bool seed_fits(const struct content *content, const struct lb_tables *tables, uint8_t *used)
{
	memset(used, 0, tables->vip_mask + 1);
	for (size_t i = 0; i < content->vips_count; i++)
		if (++used[vip_bucket(&content->vips[i], tables)] > LB_VIP_WAYS)
			return false;
	memset(used, 0, tables->port_mask + 1);
	for (size_t i = 0; i < content->ports_count; i++)
		if (++used[port_bucket(content, content->ports[i], tables)] > LB_PORT_WAYS)
			return false;
	return true;
}

static uint32_t seed_of(uint32_t try)
{
	uint32_t seed = try * 0x9e3779b1u;

	return seed ^ seed >> 15;
}

/* Finds the smallest tables that hold the content, so that packets touch few cache lines. With few
 * services there is some room, so that most keys are in the first way of their bucket: with 64
 * services, branch mispredictions on the way cost 10 ns per packet. */
static int choose(const struct dataplane *dp, const struct content *content, struct lb_tables *ret)
{
	uint32_t vip_most = dp->maps.vip_buckets / 2, port_most = dp->maps.port_buckets / 2;
	uint32_t vips = 2, ports = 1;
	bool few = content->ports_count <= FEW_SERVICES;
	_cleanup_free_ uint8_t *used = malloc(vip_most > port_most ? vip_most : port_most);

	if (!used)
		return -ENOMEM;
	while (vips < vip_most && vips < content->vips_count * (few ? 4 : 2))
		vips *= 2;
	while (ports < port_most && ports < content->ports_count * (few ? 2 : 1))
		ports *= 2;
	for (;;) {
		bool full_size = vips == vip_most && ports == port_most;

		for (uint32_t try = 1; try <= (full_size ? SEEDS_AT_MOST : SEEDS_PER_SIZE); try++) {
			*ret = (struct lb_tables){.vip_mask = vips - 1, .port_mask = ports - 1};
			ret->multiplier = LB_TABLE_MULTIPLIER(seed_of(try));
			if (seed_fits(content, ret, used))
				return 0;
			task_pause();
		}
		if (full_size)
			return -ENOSPC;
		vips = vips < vip_most ? vips * 2 : vips;
		ports = ports < port_most ? ports * 2 : ports;
	}
}

static void place(const struct content *content, struct tables_plan *plan)
{
	for (size_t i = 0; i < content->vips_count; i++) {
		struct lb_vip *way = plan->vips[vip_bucket(&content->vips[i], &plan->tables)].vip;

		while (way->id)
			way++;
		*way = content->vips[i];
	}
	for (size_t i = 0; i < content->ports_count; i++) {
		__u64 *way =
		    plan->ports[port_bucket(content, content->ports[i], &plan->tables)].port;

		while (*way)
			way++;
		*way = content->ports[i];
	}
}

int tables_plan_make(const struct dataplane *dp, const struct table_entry *entries, size_t count,
		     struct tables_plan *ret)
{
	struct tables_plan plan = {0};
	struct content content;
	int rc = content_make(entries, count, &content);

	if (rc)
		return rc;
	rc = choose(dp, &content, &plan.tables);
	if (!rc) {
		plan.vips = calloc(plan.tables.vip_mask + 1, sizeof(*plan.vips));
		plan.ports = calloc(plan.tables.port_mask + 1, sizeof(*plan.ports));
		if (!plan.vips || !plan.ports)
			rc = -ENOMEM;
	}
	if (rc) {
		tables_plan_done(&plan);
	} else {
		place(&content, &plan);
		*ret = plan;
	}
	content_done(&content);
	return rc;
}

void tables_plan_done(struct tables_plan *plan)
{
	free(plan->vips);
	free(plan->ports);
	*plan = (struct tables_plan){0};
}

void tables_apply(struct dataplane *dp, const struct tables_plan *plan)
{
	struct lb_settings *settings = dp->maps.settings;
	uint32_t spare = !settings->active;
	struct lb_tables tables = plan->tables;

	if (dp->half_owed)
		dp_grace(dp);
	tables.vip_base = spare * (dp->maps.vip_buckets / 2);
	tables.port_base = spare * (dp->maps.port_buckets / 2);
	tables.reals = settings->tables[!spare].reals;
	memcpy(&dp->maps.vips[tables.vip_base], plan->vips,
	       (tables.vip_mask + 1) * sizeof(*plan->vips));
	memcpy(&dp->maps.ports[tables.port_base], plan->ports,
	       (tables.port_mask + 1) * sizeof(*plan->ports));
	settings->tables[spare] = tables;
	dp_store(&settings->active, spare);
	dp->grace_owed = dp->half_owed = true;
}

/* ---- reading them back ---- */

/* The VIPs by id: 65 536 elements. */
static const struct lb_vip **index_vips(const struct dataplane *dp, const struct lb_tables *tables)
{
	const struct lb_vip **by_id = calloc(65536, sizeof(*by_id));

	for (uint32_t i = 0; by_id && i <= tables->vip_mask; i++)
		for (unsigned way = 0; way < LB_VIP_WAYS; way++) {
			const struct lb_vip *vip = &dp->maps.vips[tables->vip_base + i].vip[way];

			by_id[vip->id] = vip->id ? vip : NULL;
		}
	return by_id;
}

int tables_walk(const struct dataplane *dp,
		int (*found)(void *arg, const struct dp_service *key, uint32_t id), void *arg)
{
	const struct lb_tables *tables = &dp->maps.settings->tables[dp->maps.settings->active & 1];
	_cleanup_free_ const struct lb_vip **vips = NULL;
	const __u64 *ports;
	int rc = 0;

	if ((uint64_t)tables->vip_base + tables->vip_mask >= dp->maps.vip_buckets ||
	    (uint64_t)tables->port_base + tables->port_mask >= dp->maps.port_buckets)
		return -EBADMSG;
	vips = index_vips(dp, tables);
	if (!vips)
		return -ENOMEM;
	ports = dp->maps.ports[tables->port_base].port;
	for (size_t i = 0; !rc && i < ((size_t)tables->port_mask + 1) * LB_PORT_WAYS; i++) {
		const struct lb_vip *vip = vips[ports[i] >> 48];
		struct dp_service key = {.protocol = ports[i] >> 24, .port = ports[i] >> 32};

		if (!ports[i])
			continue;
		if (!vip)
			return -EBADMSG;
		key.vip.family = vip->family;
		memcpy(key.vip.bytes, vip->addr, sizeof(key.vip.bytes));
		rc = found(arg, &key, LB_PORT_SERVICE(ports[i]));
	}
	return rc;
}
