/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The services of the packet target. */
#include "packet_world.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"
#include "fuzz.h"
#include "packet_lists.h"
#include "support/fixture_nat.h"

#define SLOTS         7
#define SERVICES_MOST 128
#define MTU           1500
#define HOUR          3600000000000ULL /* ns */
#define SHARE         64               /* places of the flow table for each service that tracks */

struct world_vip world_vips[WORLD_VIPS] = {
    {.text = "192.0.2.10"},   {.text = "2001:db8::10"}, {.text = "192.0.2.11"},
    {.text = "2001:db8::11"}, {.text = "192.0.2.12"},   {.text = "2001:db8::12"},
};

const uint8_t world_own_macs[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 7, 1}};
const uint8_t world_other_mac[6] = {2, 0xde, 0xad, 0, 0, 1};

/* Clients are 198.51.100.0/23 and 2001:db8::/63, and impossible ones (packet_mutate.c). */
static const struct world_prefix denied[] = {
    {4, 24, {198, 51, 101}},
    {4, 32, {198, 51, 100, 1}},
    {6, 64, {0x20, 1, 0x0d, 0xb8, [7] = 1}},
    {6, 127, {0x20, 1, 0x0d, 0xb8, [15] = 2}},
};
static const struct world_prefix allowed[] = {
    {4, 23, {198, 51, 100}},
    {4, 31, {198, 51, 101, 2}},
    {6, 56, {0x20, 1, 0x0d, 0xb8}},
    {6, 128, {0x20, 1, 0x0d, 0xb8, [7] = 1, [15] = 1}},
};
static const struct world_lists deny_alone = {NULL, denied, 0, 4};
static const struct world_lists allow_alone = {allowed + 1, NULL, 3, 0};
static const struct world_lists both_lists = {allowed, denied, 4, 4};

#define ROW(port_, kind_, forward_, family_, egress_, vlan_, mtu_, no_backend_, spread_, ...)     \
	{                                                                                         \
		.port = (port_), .kind = (kind_), .forward = (forward_), .family = (family_),     \
		.egress = (egress_), .vlan = (vlan_), .mtu = (mtu_), .no_backend = (no_backend_), \
		.spread = (spread_), __VA_ARGS__                                                  \
	}

/* On the first two VIPs. The next two have port "any" and 443, the last two no service. */
static const struct world_plan plans[] = {
    ROW(80, KIND_MAGLEV, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(81, KIND_MAGLEV, LB_FORWARD_IPIP, 6, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0xffff),
    ROW(82, KIND_MAGLEV, LB_FORWARD_GUE, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0xffff),
    ROW(83, KIND_MAGLEV, LB_FORWARD_GUE, 6, EGRESS_OTHER, true, MTU, LB_REFUSE_REJECT, 0),
    ROW(84, KIND_MAGLEV, LB_FORWARD_L2, 0, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(85, KIND_MAGLEV, LB_FORWARD_L2, 0, EGRESS_OTHER, true, MTU, LB_REFUSE_REJECT, 0),
    ROW(86, KIND_MAGLEV, LB_FORWARD_GRE, 4, EGRESS_OTHER, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(87, KIND_MAGLEV, LB_FORWARD_GRE, 6, EGRESS_SAME, true, MTU, LB_REFUSE_REJECT, 0),
    ROW(88, KIND_DEAD, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(89, KIND_DEAD, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_DROP, 0),
    ROW(90, KIND_DEAD, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_PASS, 0),
    ROW(91, KIND_TURNS, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(92, KIND_LEAST, LB_FORWARD_IPIP, 6, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(93, KIND_TRANSITION, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(94, KIND_SOURCE, LB_FORWARD_IPIP, 4, EGRESS_SAME, true, MTU, LB_REFUSE_REJECT, 0xff),
    ROW(95, KIND_AFFINITY, LB_FORWARD_GRE, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(96, KIND_MAGLEV, LB_FORWARD_IPIP, 4, EGRESS_UNKNOWN, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(97, KIND_MAGLEV, LB_FORWARD_GRE, 6, EGRESS_SAME, false, 1300, LB_REFUSE_DROP, 0),
    ROW(98, KIND_MAGLEV, LB_FORWARD_GUE, 4, EGRESS_SAME, true, 2800, LB_REFUSE_PASS, 0xf),
    ROW(99, KIND_MAGLEV, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.lists = &deny_alone),
    ROW(100, KIND_LEAST, LB_FORWARD_IPIP, 6, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.lists = &both_lists),
    ROW(101, KIND_MAGLEV, LB_FORWARD_L2, 0, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.lists = &allow_alone, .no_fragments = true, .burst = 3),
    ROW(102, KIND_TURNS, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.no_fragments = true),
    ROW(103, KIND_MAGLEV, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.burst = 2),
    ROW(104, KIND_TURNS, LB_FORWARD_GUE, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.burst = 3, .source_burst = 1),
    ROW(105, KIND_MAGLEV, LB_FORWARD_IPIP, 4, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0,
	.path_mtu = 1340),
};
/* On the first VIP alone. */
static const struct world_plan translated_plans[] = {
    ROW(106, KIND_MAGLEV, LB_FORWARD_NAT, 6, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(107, KIND_TURNS, LB_FORWARD_NAT, 6, EGRESS_SAME, true, MTU, LB_REFUSE_REJECT, 0),
};
static const struct world_plan any_plans[] = {
    ROW(0, KIND_MAGLEV, LB_FORWARD_IPIP, 0, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
    ROW(443, KIND_MAGLEV, LB_FORWARD_IPIP, 0, EGRESS_SAME, false, MTU, LB_REFUSE_REJECT, 0),
};

static struct world_service services[SERVICES_MOST];
static unsigned count;

/* ---- the maps ---- */

static struct lb_service line_of(const struct world_plan *plan, uint8_t protocol)
{
	struct lb_service line = {.forward = plan->forward, .no_backend = plan->no_backend};
	const bool tracks =
	    plan->kind == KIND_TURNS || plan->kind == KIND_LEAST || plan->kind == KIND_AFFINITY;

	line.select = plan->kind == KIND_TURNS   ? LB_SELECT_TURN
		      : plan->kind == KIND_LEAST ? LB_SELECT_COST
						 : LB_SELECT_SLOT;
	line.flags = tracks ? LB_SERVICE_TRACK_ALWAYS : 0;
	if (plan->kind == KIND_AFFINITY)
		line.flags |= LB_SERVICE_AFFINITY;
	if (plan->kind == KIND_SOURCE) {
		line.mask4 = 24;
		line.mask6 = 56;
	}
	if (plan->no_fragments)
		line.flags |= LB_SERVICE_NO_FRAGMENTS;
	if (plan->lists)
		line.flags |= LB_SERVICE_FILTERED;
	/* docs/limits.md: with a rate, every UDP flow is tracked */
	if (plan->burst)
		line.flags |=
		    LB_SERVICE_LIMIT | (protocol == IPPROTO_UDP ? LB_SERVICE_TRACK_ALWAYS : 0);
	return line;
}

/* A flow costs an hour: time gives none back while an input runs. */
static void add_limit(struct fixture *f, const struct world_service *service)
{
	const struct world_plan *plan = service->plan;
	const uint64_t units = HOUR >> LB_SOURCE_SHIFT;

	if (!plan->burst)
		return;
	f->map.limits[service->id] =
	    (struct lb_limit){.cost = HOUR,
			      .span = plan->burst * HOUR,
			      .source_cost = plan->source_burst ? units : 0,
			      .source_span = plan->source_burst * units,
			      .mask4 = htonl(0xffffff00),
			      .mask6 = {~0u, htonl(0xffffff00)},
			      .length4 = 24,
			      .length6 = 56};
}

/* The words of the sources are a megabyte: cleared only if a flow was counted. */
static void fill_buckets(struct fixture *f)
{
	bool used = false;

	for (unsigned i = 0; i < count; i++) {
		__u64 *full_at = &f->map.limits[services[i].id].full_at;

		used |= *full_at != 0;
		*full_at = 0;
	}
	if (used)
		memset(f->map.sources, 0, LB_SOURCE_BUCKETS * sizeof(*f->map.sources));
}

/* Backends of all services differ in address and MAC address. */
static void add_backend(struct fixture *f, struct world_service *service, int number)
{
	static unsigned made;
	const struct world_plan *plan = service->plan;
	struct world_backend *backend = &service->backends[number];
	char dst[64], mac[32];
	const unsigned high = ++made >> 8, low = made & 255;
	struct backend_spec spec = {.dst = dst,
				    .dst_mac = mac,
				    .vlan = plan->vlan ? WORLD_VLAN : WORLD_NO_VLAN,
				    .mtu = plan->mtu,
				    .spread = plan->spread,
				    .dead = plan->kind == KIND_DEAD};
	struct addr addr;

	if (plan->egress != EGRESS_SAME)
		spec.ifindex = plan->egress == EGRESS_OTHER ? f->egress : 777;
	snprintf(dst, sizeof(dst), service->outer_family == 4 ? "10.7.%u.%u" : "fd00:7::%x:%x",
		 high, low);
	snprintf(mac, sizeof(mac), "02:00:07:00:%02x:%02x", high, low);
	require(!addr_parse(dst, &addr), "%s", dst);
	memcpy(backend->address, addr.bytes, 16);
	memcpy(backend->mac, (const uint8_t[]){2, 0, 7, 0, (uint8_t)high, (uint8_t)low}, 6);
	backend->usable = !spec.dead;
	backend->id = fixture_backend(f, service->id, &spec);
	if (plan->forward == LB_FORWARD_NAT)
		fixture_real(f, backend->id, world_vips[service->vip].text, service->protocol,
			     plan->port, WORLD_REAL_PORT);
}

static uint32_t slot_word(const struct world_service *service, unsigned slot)
{
	const struct world_backend *b = service->backends;

	if (service->plan->kind == KIND_TRANSITION)
		return LB_SLOT(b[0].id, b[1].id) | LB_SLOT_TRANSITION | LB_SLOT_LEARNING;
	return LB_SLOT(b[slot % WORLD_BACKENDS].id, b[slot % WORLD_BACKENDS].id);
}

static void add_service(struct fixture *f, int vip, uint8_t protocol, const struct world_plan *plan)
{
	struct world_service *service = &services[count++];
	struct lb_service line = line_of(plan, protocol);
	uint32_t slots[SLOTS], members[WORLD_BACKENDS];

	require(count <= SERVICES_MOST, "too many services");
	*service = (struct world_service){.plan = plan,
					  .vip = vip,
					  .protocol = protocol,
					  .outer_family =
					      plan->family ? plan->family : world_vips[vip].family};
	service->id = fixture_service(f, world_vips[vip].text, protocol, plan->port, line);
	if (plan->kind == KIND_SOURCE)
		f->map.services[service->id].hash = 0;
	for (int i = 0; i < WORLD_BACKENDS; i++) {
		add_backend(f, service, i);
		members[i] = service->backends[i].id;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		slots[i] = slot_word(service, i);
	f->map.services[service->id].ring = fixture_region(f, slots, SLOTS);
	f->map.services[service->id].pick = fixture_region(f, members, WORLD_BACKENDS);
	for (int i = 0; plan->path_mtu && i < WORLD_BACKENDS; i++)
		f->map.backends[members[i]].mtu = plan->path_mtu;
	add_limit(f, service);
}

static void add_services(struct fixture *f, int vip, const struct world_plan *list, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		add_service(f, vip, IPPROTO_TCP, &list[i]);
		add_service(f, vip, IPPROTO_UDP, &list[i]);
	}
}

struct fixture *world_open(void)
{
	const struct way_spec way = {
	    .prefix = "0.0.0.0/0", .dst_mac = MAC_ROUTER, .mtu = WORLD_HOP_MTU};
	const size_t all = sizeof(plans) / sizeof(plans[0]);
	void *state = NULL;
	struct fixture *f;
	struct addr addr;

	require(!fixture_open(&state), "the program cannot be loaded");
	f = fixture_or_null();
	if (!f)
		return NULL;
	fixture_clear(&state);
	for (int i = 0; i < WORLD_VIPS; i++) {
		require(!addr_parse(world_vips[i].text, &addr), "%s", world_vips[i].text);
		world_vips[i].family = addr.family;
		memcpy(world_vips[i].address, addr.bytes, 16);
		fixture_vip(f, world_vips[i].text);
	}
	add_services(f, 0, plans, all);
	add_services(f, 1, plans, all);
	add_services(f, 0, translated_plans, 2);
	add_services(f, 2, any_plans, 2);
	add_services(f, 3, any_plans, 2);
	lists_install(f, services, count);
	fixture_embed(f, WORLD_EMBED);
	fixture_ways(f, &way, 1);
	f->map.settings->finished = 1;
	return f;
}

/* The interface alone, or another one beside it, which has the place that would be the first one's:
 * an interface is in place `ifindex % LB_LINKS`, or in the next that is free. */
static void set_links(struct fixture *f, const struct world_settings *settings)
{
	const uint32_t first = f->lo % LB_LINKS;
	struct lb_link *own = &f->map.links[(first + settings->two_links) % LB_LINKS];

	memset(f->map.links, 0, LB_LINKS * sizeof(*f->map.links));
	f->map.settings->own_mac = LB_MAC_NONE;
	if (!settings->links_known)
		return;
	if (settings->two_links) {
		f->map.links[first].ifindex = f->egress;
		memcpy(&f->map.links[first].mac[0], world_other_mac, 6);
	}
	own->ifindex = f->lo;
	memcpy(&own->mac[0], world_own_macs[0], 6);
	memcpy(&own->mac[1], world_own_macs[1], 6);
	if (!settings->two_links)
		f->map.settings->own_mac = own->mac[0];
}

void world_reset(struct fixture *f, const struct world_settings *settings)
{
	memset(f->map.flows, 0, FIXTURE_BUCKETS * sizeof(*f->map.flows));
	memset(f->map.frags, 0, f->frag_count * sizeof(*f->map.frags));
	memset(f->map.stamps, 0, f->slots * sizeof(*f->map.stamps));
	memset(f->map.turns, 0, FIXTURE_SERVICES * sizeof(*f->map.turns));
	for (uint32_t id = 0; id < f->services; id++)
		f->map.turns[id].share = SHARE;
	for (uint32_t id = 0; id < f->backends; id++)
		f->map.loads[id].active = 0;
	f->map.settings->unserved = settings->unserved;
	f->map.settings->icmp_per_tick = settings->no_errors ? 0 : UINT16_MAX;
	f->map.settings->short_per_tick = settings->no_short ? 0 : UINT16_MAX;
	set_links(f, settings);
	fill_buckets(f);
}

/* ---- the table ---- */

int world_find_vip(uint8_t family, const uint8_t *address)
{
	for (int i = 0; i < WORLD_VIPS; i++)
		if (world_vips[i].family == family &&
		    !memcmp(world_vips[i].address, address, family == 4 ? 4 : 16))
			return i;
	return -1;
}

const struct world_service *world_find_service(int vip, uint8_t protocol, uint16_t port)
{
	const struct world_service *any = NULL;

	for (unsigned i = 0; i < count; i++) {
		if (services[i].vip != vip || services[i].protocol != protocol)
			continue;
		if (services[i].plan->port == port && port)
			return &services[i];
		if (!services[i].plan->port)
			any = &services[i];
	}
	return any;
}

const struct world_service *world_services(unsigned *ret_count)
{
	*ret_count = count;
	return services;
}
