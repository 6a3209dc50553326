/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs nodes and flows tick by tick. */
#include "fleet.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/fleet/exchange.h"
#include "lb_hash.h"
#include "sequence.h"

#define TICK_MS    1073 /* a little less than a tick: idle timeouts are rounded up to ticks */
#define LOOPBACK   1
#define WIRE_BYTES (1 << 20)
#define FIN        0x01
#define SYN        0x02
#define ACK        0x10
#define SENT       200000 /* bytes: more than any first window */

enum { NONE, OPENING, LIVE };

static void broken(struct fleet *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void broken(struct fleet *f, const char *format, ...)
{
	va_list args;

	if (f->failure[0])
		return;
	va_start(args, format);
	vsnprintf(f->failure, sizeof(f->failure), format, args);
	va_end(args);
}

static void tell(const struct fleet *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void tell(const struct fleet *f, const char *format, ...)
{
	va_list args;

	if (!f->trace)
		return;
	fprintf(f->trace, "  tick %u: ", f->now);
	va_start(args, format);
	vfprintf(f->trace, format, args);
	va_end(args);
	fputc('\n', f->trace);
}

/* A number that depends on seed, tick, actor and purpose alone. */
static uint32_t roll(const struct fleet *f, uint32_t actor, uint32_t purpose, uint32_t below)
{
	return sequence_roll(f->seed + (uint64_t)f->now * 0x9e3779b97f4a7c15ULL, actor, purpose,
			     below);
}

static bool acts(const struct fleet *f, enum fleet_actor actor)
{
	return f->actors >> actor & 1;
}

static uint32_t clock_of(const struct fleet *f, const struct fleet_node *node)
{
	return f->now + node->offset;
}

/* ---- the config ---- */

static void build_want(struct fleet *f, struct fleet_node *node, unsigned service)
{
	static const char *const vips[FLEET_SERVICES] = {"192.0.2.1", "192.0.2.2"};
	const struct fleet_service *s = &f->service[service];
	unsigned first = (unsigned)(node - f->nodes) * 2 + roll(f, service, 90, FLEET_BACKENDS);
	struct want *want = &node->want[service];
	int protocol = s->udp ? IPPROTO_UDP : IPPROTO_TCP;

	want_init(want, vips[service], protocol, 80, s->algorithm);
	want->service.tcp_idle_ms = want->service.udp_idle_ms = s->idle * TICK_MS;
	want->service.track_always = s->always;
	want->service.slots = s->slots;
	for (unsigned i = 0; i < FLEET_BACKENDS; i++) {
		unsigned backend = (first + i) % FLEET_BACKENDS,
			 number = service * FLEET_BACKENDS + backend;
		struct dp_backend *added;

		if (!s->present[backend])
			continue;
		added = want_add(want, number, s->weight[backend]);
		added->hop.ifindex = LOOPBACK;
		added->usable = !node->dead[number];
	}
}

static void apply(struct fleet *f, struct fleet_node *node)
{
	struct dp_service services[FLEET_SERVICES];
	struct error err = {0};
	bool had[FLEET_NUMBERS] = {false};

	node->applies_at = 0;
	for (unsigned i = 0; i < FLEET_NUMBERS; i++) {
		struct want *want = &node->want[i / FLEET_BACKENDS];

		had[i] = want->service.backends_count && want_find(want, i);
	}
	for (unsigned i = 0; i < f->services_count; i++) {
		build_want(f, node, i);
		services[i] = node->want[i].service;
	}
	for (unsigned i = 0; i < f->services_count * FLEET_BACKENDS; i++) {
		bool has = want_find(&node->want[i / FLEET_BACKENDS], i);

		node->removals[i] += had[i] && !has;
		node->deaths[i] += node->dead[i] && !node->applied_dead[i];
		node->applied_dead[i] = node->dead[i];
		if (has && !had[i])
			node->added[i] = f->now;
	}
	if (dataplane_commit(node->dp, services, f->services_count, &err))
		broken(f, "tick %u: a commit fails: %s", f->now, err.text);
}

/* Each node learns of it when it does. */
static void publish(struct fleet *f)
{
	for (unsigned i = 0; i < f->nodes_count; i++) {
		uint32_t late = acts(f, FLEET_LATE) ? roll(f, i, 91, 12) : 0;

		if (!f->nodes[i].applies_at)
			f->nodes[i].applies_at = f->now + late;
	}
}

static void change_config(struct fleet *f)
{
	static const uint32_t slots[] = {7, 13, 31, 101};
	unsigned service = roll(f, 0, 1, f->services_count),
		 backend = roll(f, 0, 2, FLEET_BACKENDS), what = roll(f, 0, 3, 8);
	struct fleet_service *s = &f->service[service];

	if (what == 0 && acts(f, FLEET_RESIZES)) {
		s->slots = slots[roll(f, 0, 4, 4)];
		s->resized = f->now;
		tell(f, "service %u: %u slots", service, s->slots);
	} else if (what == 1 && acts(f, FLEET_REMOVES)) {
		s->present[backend] = false;
		tell(f, "backend %u/%u is removed", service, backend);
	} else if (what < 4) {
		s->weight[backend] = 0;
		tell(f, "backend %u/%u drains", service, backend);
	} else {
		s->present[backend] = true;
		s->weight[backend] = 1 + roll(f, 0, 5, 3);
		tell(f, "backend %u/%u has weight %u", service, backend, s->weight[backend]);
	}
	publish(f);
}

static void set_dead(struct fleet *f, struct fleet_node *node, unsigned number, bool dead)
{
	node->dead[number] = dead;
	if (!node->applies_at)
		node->applies_at = f->now + (acts(f, FLEET_LATE) ? roll(f, number, 92, 3) : 0);
}

static void change_health(struct fleet *f)
{
	unsigned number = roll(f, 0, 10, f->services_count * FLEET_BACKENDS);
	unsigned only = roll(f, 0, 11, 2) ? roll(f, 0, 12, f->nodes_count) : FLEET_NODES;
	bool dead = roll(f, 0, 13, 2);

	for (unsigned i = 0; i < f->nodes_count; i++)
		if (only == FLEET_NODES || only == i)
			set_dead(f, &f->nodes[i], number, dead);
	tell(f, "backend %u/%u %s%s", number / FLEET_BACKENDS, number % FLEET_BACKENDS,
	     dead ? "dies" : "is back", only == FLEET_NODES ? "" : " for one node");
	if (f->trace && only < FLEET_NODES)
		fprintf(f->trace, "    node %u\n", only);
}

/* ---- nodes and links ---- */

static bool hears(const struct fleet *f, unsigned a, unsigned b)
{
	return f->linked[a][b] && f->nodes[a].dp && f->nodes[b].dp;
}

static void connect_pair(struct fleet *f, unsigned a, unsigned b)
{
	if (dataplane_peer_open(f->nodes[a].dp, b) || dataplane_peer_open(f->nodes[b].dp, a))
		abort();
}

static void connect_node(struct fleet *f, unsigned number)
{
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (i != number && hears(f, i, number))
			connect_pair(f, i, number);
}

static void lose_node(struct fleet *f, unsigned number)
{
	for (unsigned i = 0; i < f->nodes_count; i++) {
		if (i == number || !hears(f, i, number))
			continue;
		dataplane_peer_close(f->nodes[i].dp, number);
		dataplane_peer_close(f->nodes[number].dp, i);
	}
}

static void start_lbd(struct fleet *f, struct fleet_node *node, enum dp_join join)
{
	node->dp = batch_lbd(node->batch, clock_of(f, node));
	dataplane_join(node->dp, join);
	node->back_at = 0;
	if (join == DP_JOINS)
		memset(node->want, 0, sizeof(node->want));
	apply(f, node);
}

static void stop_lbd(struct fleet *f, unsigned number)
{
	lose_node(f, number);
	dataplane_close(f->nodes[number].dp);
	f->nodes[number].dp = NULL;
	f->nodes[number].away_since = f->now;
}

static void prepare_maps(struct fleet *f, struct fleet_node *node)
{
	struct addr vip;

	batch_clear(node->batch, f->seed + (uint64_t)(node - f->nodes));
	for (unsigned i = 0; i < f->services_count; i++) {
		addr_parse(i ? "192.0.2.2" : "192.0.2.1", &vip);
		batch_template(node->batch, i, &vip, f->service[i].udp ? IPPROTO_UDP : IPPROTO_TCP,
			       80);
	}
}

/* ---- what nodes say ---- */

static void deliver(struct fleet *f, unsigned from, unsigned to, size_t length)
{
	const char *why = "";
	struct frame frame;
	size_t at = 0;

	while (at < length && !f->failure[0]) {
		int took = frame_next(f->wire + at, length - at, &frame, &why);

		if (took <= 0 || exchange_take(f->nodes[to].dp, from, &frame, &why))
			broken(f, "tick %u: node %u cannot read what node %u says: %s", f->now, to,
			       from, why);
		at += took > 0 ? (size_t)took : length;
		f->told += frame.count;
	}
}

/* True: there was nothing to say. */
static bool say(struct fleet *f, unsigned from, unsigned to)
{
	struct frame_writer writer = {.bytes = f->wire, .room = WIRE_BYTES};
	bool all;

	dataplane_share_scan(f->nodes[from].dp);
	all = exchange_fill(f->nodes[from].dp, to, &writer);
	deliver(f, from, to, writer.used);
	return all && !writer.used;
}

static void exchange(struct fleet *f)
{
	bool quiet = false;

	for (unsigned round = 0; !quiet && round < 20 && !f->failure[0]; round++) {
		quiet = true;
		for (unsigned i = 0; i < f->nodes_count; i++)
			for (unsigned j = 0; j < f->nodes_count; j++)
				if (i != j && hears(f, i, j))
					quiet &= say(f, i, j);
	}
	if (!quiet)
		broken(f, "tick %u: the nodes never stop talking", f->now);
}

static void note_apart(struct fleet *f)
{
	for (unsigned i = 0; i < f->nodes_count; i++)
		for (unsigned j = 0; j < f->nodes_count; j++)
			if (i != j && f->nodes[i].serves && f->nodes[j].serves && !f->linked[i][j])
				f->apart[i][j] = f->now;
}

/* ---- what happens to nodes ---- */

static unsigned count_serving(const struct fleet *f)
{
	unsigned count = 0;

	for (unsigned i = 0; i < f->nodes_count; i++)
		count += f->nodes[i].serves;
	return count;
}

static bool all_whole(const struct fleet *f)
{
	for (unsigned i = 0; i < f->nodes_count; i++) {
		if (!f->nodes[i].serves || f->nodes[i].back_at)
			return false;
		for (unsigned j = 0; j < f->nodes_count; j++)
			if (i != j && !f->linked[i][j])
				return false;
	}
	return true;
}

static void reboot(struct fleet *f, unsigned number)
{
	struct fleet_node *node = &f->nodes[number];

	tell(f, "node %u dies", number);
	stop_lbd(f, number);
	node->runs = node->serves = false;
	node->back_at = f->now + 1 + roll(f, 0, 20, 30);
}

static void come_back(struct fleet *f, unsigned number)
{
	struct fleet_node *node = &f->nodes[number];
	bool reboots = !node->runs;

	tell(f, "node %u %s", number, reboots ? "has booted" : "has another lbd");
	if (reboots) {
		prepare_maps(f, node);
		node->runs = true;
		for (unsigned i = 0; i < FLEET_NUMBERS; i++)
			node->removals[i] = node->deaths[i] = 0;
	}
	start_lbd(f, node, reboots ? DP_JOINS : DP_RETURNS);
	connect_node(f, number);
	exchange(f);
	dataplane_join(node->dp, DP_JOINED);
	node->serves = true;
	for (unsigned i = 0; reboots && i < f->flows_count; i++) {
		struct fleet_flow *flow = &f->flows[i];
		struct want *want = &node->want[flow->service];

		flow->deaths[number] = flow->seen[number] = 0;
		/* a config without the backend counts as its removal */
		flow->removals[number] = flow->owner >= 0 && !want_find(want, flow->owner);
	}
	for (unsigned i = 0; reboots && i < f->services_count; i++)
		if (f->service[i].resized)
			node->joined_in_resize[i] = f->now;
}

static void restart(struct fleet *f, unsigned number)
{
	tell(f, "node %u: lbd ends", number);
	stop_lbd(f, number);
	f->nodes[number].back_at = f->now + 1 + roll(f, 0, 21, f->service[0].idle);
}

static void part(struct fleet *f, unsigned number)
{
	tell(f, "node %u is cut off", number);
	lose_node(f, number);
	for (unsigned i = 0; i < f->nodes_count; i++)
		f->linked[i][number] = f->linked[number][i] = false;
}

static void meet(struct fleet *f)
{
	for (unsigned i = 0; i < f->nodes_count; i++)
		for (unsigned j = i + 1; j < f->nodes_count; j++)
			if (!f->linked[i][j]) {
				f->linked[i][j] = f->linked[j][i] = true;
				f->apart[i][j] = f->apart[j][i] = f->now; /* until they talk */
				tell(f, "nodes %u and %u meet", i, j);
				if (hears(f, i, j))
					connect_pair(f, i, j);
			}
}

static void nodes_act(struct fleet *f)
{
	unsigned number = roll(f, 0, 30, f->nodes_count);

	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->nodes[i].back_at && f->nodes[i].back_at <= f->now)
			come_back(f, i);
	if (!all_whole(f)) {
		if (!roll(f, 0, 31, 12))
			meet(f);
		return;
	}
	if (acts(f, FLEET_REBOOTS) && !roll(f, 0, 32, 40) && count_serving(f) > 1)
		reboot(f, number);
	else if (acts(f, FLEET_RESTARTS) && !roll(f, 0, 33, 40))
		restart(f, number);
	else if (acts(f, FLEET_PARTS) && !roll(f, 0, 34, 40))
		part(f, number);
}

/* ---- flows ---- */

struct sent {
	uint16_t flow;
	enum { OPENS, ESTABLISHES, LIVES, ENDS } kind;
};

static struct sent pending[FLEET_NODES][4 * FLEET_FLOWS];
static unsigned pending_count[FLEET_NODES];

static void send_packet(struct fleet *f, unsigned number, int kind, uint8_t tcp_flags)
{
	struct fleet_flow *flow = &f->flows[number];
	struct fleet_node *node = &f->nodes[flow->home];
	uint32_t seq = flow->isn + (kind == OPENS ? 0 : kind == ESTABLISHES ? 1 : 1 + SENT);
	unsigned at = pending_count[flow->home]++;

	node->batch->shots[at] = (struct shot){
	    .client = htonl(0x0b000000 + number / 4),
	    .port = htons(1024 + number % 4 * 16000 + flow->generation),
	    .tcp_flags = tcp_flags,
	    .seq = htonl(seq),
	    .template = flow->service,
	    .tick = clock_of(f, node),
	};
	pending[flow->home][at] = (struct sent){number, kind};
}

static uint32_t idle_of(const struct fleet *f, const struct fleet_flow *flow)
{
	return f->service[flow->service].idle;
}

static void open_flow(struct fleet *f, unsigned number)
{
	struct fleet_flow *flow = &f->flows[number];

	flow->generation++;
	flow->isn = roll(f, number, 41, UINT32_MAX);
	flow->firm = false;
	flow->opened_by = flow->home;
	if (f->service[flow->service].udp) {
		send_packet(f, number, OPENS, 0);
		return;
	}
	send_packet(f, number, OPENS, SYN);
	if (roll(f, number, 42, 8))
		send_packet(f, number, ESTABLISHES, ACK);
}

static bool sends_now(const struct fleet *f, unsigned number)
{
	const struct fleet_flow *flow = &f->flows[number];
	bool last_chance = f->now - flow->last == idle_of(f, flow);

	/* some send once per idle timeout */
	return last_chance || !roll(f, number, 43, number % 3 ? 3 : 100);
}

static void flow_acts(struct fleet *f, unsigned number)
{
	struct fleet_flow *flow = &f->flows[number];

	if (f->now - flow->last > idle_of(f, flow))
		flow->phase = NONE;
	if (flow->phase == NONE) {
		if (!roll(f, number, 40, 5))
			open_flow(f, number);
	} else if (flow->phase == OPENING) {
		send_packet(f, number, ESTABLISHES, ACK);
	} else if (sends_now(f, number)) {
		if (roll(f, number, 44, 25))
			send_packet(f, number, LIVES, ACK);
		else
			send_packet(f, number, ENDS, FIN | ACK);
	}
}

/* ---- the router ---- */

static unsigned some_node(const struct fleet *f, uint32_t actor, uint32_t purpose)
{
	unsigned at = roll(f, actor, purpose, f->nodes_count);

	while (!f->nodes[at].serves)
		at = (at + 1) % f->nodes_count;
	return at;
}

static void route(struct fleet *f)
{
	bool all = !roll(f, 0, 50, 15);

	for (unsigned i = 0; i < f->flows_count; i++) {
		struct fleet_flow *flow = &f->flows[i];
		unsigned before = flow->home;

		if (!f->nodes[before].serves || (all && roll(f, i, 51, 2)) || !roll(f, i, 52, 10))
			flow->home = some_node(f, i, 53);
		f->shifted += flow->home != before && flow->phase == LIVE;
	}
}

/* ---- the model ---- */

static const struct dp_backend *backend_of(const struct fleet_node *node, int number)
{
	return want_find((struct want *)&node->want[number / FLEET_BACKENDS], number);
}

static bool is_usable(const struct fleet_node *node, int number)
{
	const struct dp_backend *backend = number >= 0 ? backend_of(node, number) : NULL;

	return backend && backend->usable;
}

/* Excused: two nodes were apart, and both forwarded, since the flow began: their slots may have got
 * different keepers. */
static bool was_apart(const struct fleet *f, const struct fleet_flow *flow)
{
	for (unsigned i = 0; i < f->nodes_count; i++)
		for (unsigned j = 0; j < f->nodes_count; j++)
			if (f->apart[i][j] && f->apart[i][j] >= flow->opened)
				return true;
	return false;
}

/* Excused: the node's config did not have the backend for a while, or has it for less than a tick,
 * so that it has not asked for the flows yet; or the node that had them was gone by then. While a
 * ring changes size, a keeper that dies is replaced at once, and a node that boots does not learn
 * of the frozen ring. */
static bool is_excused_on(const struct fleet *f, const struct fleet_flow *flow, unsigned node)
{
	const struct fleet_node *at = &f->nodes[node];

	return flow->removals[node] != at->removals[flow->owner] ||
	       at->added[flow->owner] == f->now ||
	       (at->added[flow->owner] >= flow->opened &&
		f->nodes[flow->opened_by].away_since >= flow->opened) ||
	       (flow->deaths[node] != at->deaths[flow->owner] &&
		f->service[flow->service].resized) ||
	       at->joined_in_resize[flow->service] >= flow->opened;
}

/* Excused: a node without an lbd forwards, but tells and learns nothing; nor does it tell later of
 * flows whose backend is not in its config any more. */
static bool is_untold(const struct fleet *f, const struct fleet_flow *flow, unsigned node)
{
	for (unsigned i = 0; i < f->nodes_count; i++) {
		const struct fleet_node *at = &f->nodes[i];

		if (at->runs && (!at->dp || flow->removals[i] != at->removals[flow->owner]) &&
		    i != node && at->away_since && flow->seen[i] >= at->away_since)
			return true;
		if (at->runs && !at->dp && i == node && flow->known >= at->away_since)
			return true;
	}
	return false;
}

/* Excused: to a node one datagram is not yet a flow that the others need to know of. */
static bool is_bound(const struct fleet *f, const struct fleet_flow *flow, unsigned node)
{
	return flow->phase == LIVE && f->now - flow->last <= idle_of(f, flow) &&
	       is_usable(&f->nodes[node], flow->owner) &&
	       (flow->firm || !f->service[flow->service].udp) && !was_apart(f, flow) &&
	       !is_excused_on(f, flow, node) && !is_untold(f, flow, node);
}

static void establish(const struct fleet *f, struct fleet_flow *flow, int to)
{
	flow->phase = LIVE;
	flow->known = f->now;
	flow->owner = (int16_t)to;
	for (unsigned i = 0; i < f->nodes_count; i++) {
		flow->removals[i] = f->nodes[i].removals[to];
		flow->deaths[i] = f->nodes[i].deaths[to];
	}
}

static void check_live(struct fleet *f, unsigned number, unsigned node, int to, bool ends)
{
	struct fleet_flow *flow = &f->flows[number];

	if (is_bound(f, flow, node)) {
		f->checked++;
		f->checked_after_shift += node != flow->opened_by;
		if (to != flow->owner) {
			f->guilty = number;
			broken(f,
			       "tick %u: flow %u is on backend %d, opened at tick %u by node %u; "
			       "node %u sends it to backend %d",
			       f->now, number, flow->owner % FLEET_BACKENDS, flow->opened,
			       flow->opened_by, node, to < 0 ? to : to % FLEET_BACKENDS);
		}
	}
	if (to != flow->owner || ends)
		flow->phase = NONE;
	if (!flow->firm && flow->seen[node] && f->now - flow->seen[node] <= idle_of(f, flow)) {
		flow->firm = true;
		flow->known = f->now;
	}
	flow->seen[node] = f->now;
}

static void check(struct fleet *f, const struct sent *sent, unsigned node, int to)
{
	struct fleet_flow *flow = &f->flows[sent->flow];

	switch (sent->kind) {
	case OPENS:
		flow->phase = to < 0 ? NONE : OPENING;
		flow->owner = (int16_t)to;
		flow->opened = f->now;
		memset(flow->seen, 0, sizeof(flow->seen));
		flow->seen[node] = f->now;
		if (to >= 0 && f->service[flow->service].udp)
			establish(f, flow, to);
		break;
	case ESTABLISHES:
		if (flow->phase == OPENING && to == flow->owner && node == flow->opened_by)
			establish(f, flow, to);
		else
			flow->phase = NONE;
		flow->seen[node] = f->now;
		break;
	default:
		check_live(f, sent->flow, node, to, sent->kind == ENDS);
	}
	flow->last = f->now;
}

static void print_backend(const struct fleet *f, const struct dataplane *dp, const char *what,
			  uint32_t id)
{
	uint32_t address = ntohl(dp->maps.backends[id].outer_dst[0]);

	if (id)
		fprintf(f->trace, "%s %u", what, (address & 0xff) % FLEET_BACKENDS);
	else
		fprintf(f->trace, "%s none", what);
}

static struct lb_tuple tuple_of(const struct fleet *f, const struct want *want, unsigned number)
{
	struct lb_tuple tuple = {.protocol = want->service.protocol, .family = 4};
	__be16 ports[2] = {htons(1024 + number % 4 * 16000 + f->flows[number].generation),
			   htons(80)};

	tuple.client[0] = htonl(0x0b000000 + number / 4);
	memcpy(tuple.vip, want->service.vip.bytes, 4);
	memcpy(&tuple.ports, ports, sizeof(ports));
	return tuple;
}

static uint64_t entry_of(const struct dataplane *dp, uint64_t hash)
{
	const union lb_flow_masks masks = flows_masks(dp);
	const uint32_t shift = dp->maps.flow_shift;

	for (unsigned at = 0; at < 4; at++) {
		uint32_t bucket = lb_bucket(hash, shift, at < 2 ? masks.look : masks.put);

		if (at % 2)
			bucket = lb_bucket_other(bucket, hash, shift);
		for (unsigned i = 0; i < LB_FLOW_WAYS; i++) {
			uint64_t entry = dp->maps.flows[bucket * LB_FLOW_WAYS + i];

			if (LB_FLOW_STATE(entry) && (entry ^ hash) >> LB_FLOW_FP_SHIFT == 0)
				return entry;
		}
	}
	return 0;
}

/* What the node has for the flow. */
static void trace_node(const struct fleet *f, unsigned node, unsigned number)
{
	const struct dataplane *dp = f->nodes[node].dp;
	const struct want *want = &f->nodes[node].want[f->flows[number].service];
	struct lb_tuple tuple = tuple_of(f, want, number);
	uint32_t size, index, now = clock_of(f, &f->nodes[node]);
	const struct lb_service *line;
	uint64_t entry;

	if (!dp)
		return;
	line = want_line(dp, want);
	want_slots(dp, want, &size);
	index = lb_ring_index(lb_slot_hash(&tuple, &dp->maps.settings->key, line), size);
	fprintf(f->trace, "    node %u, slot %u of %u:", node, index, size);
	index += LB_REGION_BASE(line->ring);
	print_backend(f, dp, " current", LB_SLOT_CURRENT(dp->maps.arena[index]));
	print_backend(f, dp, ", keeper", LB_SLOT_KEEPER(dp->maps.arena[index]));
	if (dp->maps.arena[index] & LB_SLOT_TRANSITION)
		fprintf(f->trace, ", in transition%s, stamped %u ticks ago%s",
			dp->maps.arena[index] & LB_SLOT_LEARNING ? " and learning" : "",
			(uint16_t)(now - dp->maps.stamps[index]),
			dp->quiet[index / 64] >> index % 64 & 1 ? ", quiet" : "");
	entry = entry_of(dp, lb_flow_hash(&tuple, &dp->maps.settings->key));
	if (entry) {
		fprintf(f->trace, "; entry: state %u,", LB_FLOW_STATE(entry));
		print_backend(f, dp, " backend", LB_FLOW_BACKEND(entry));
		fprintf(f->trace, ", %u ticks old",
			(now - LB_FLOW_TICK(entry)) & LB_FLOW_TICK_MASK);
	}
	fputc('\n', f->trace);
}

static void trace_packet(const struct fleet *f, const struct sent *sent, unsigned node, int to)
{
	static const char *const kinds[] = {"opens", "is established", "sends", "ends"};
	if (!f->trace || sent->flow != f->traced)
		return;
	tell(f, "flow %u %s: node %u sends it to backend %d", sent->flow, kinds[sent->kind], node,
	     to < 0 ? to : to % FLEET_BACKENDS);
	for (unsigned i = 0; i < f->nodes_count; i++)
		trace_node(f, i, sent->flow);
}

static int destination(struct fleet *f, unsigned node, const struct shot *shot)
{
	int number = ntohl(shot->outer_dst) & 0xff;

	if (shot->verdict != XDP_TX)
		return -1;
	if (!is_usable(&f->nodes[node], number))
		broken(f, "tick %u: node %u sends to backend %d, which is dead or removed", f->now,
		       node, number);
	return number;
}

static void fire(struct fleet *f)
{
	for (unsigned node = 0; node < f->nodes_count; node++) {
		if (!pending_count[node])
			continue;
		batch_fire(f->nodes[node].batch, pending_count[node]);
		for (unsigned i = 0; i < pending_count[node] && !f->failure[0]; i++) {
			int to = destination(f, node, &f->nodes[node].batch->shots[i]);

			trace_packet(f, &pending[node][i], node, to);
			check(f, &pending[node][i], node, to);
		}
		f->packets += pending_count[node];
		pending_count[node] = 0;
	}
}

/* ---- time ---- */

static void sweep(struct fleet *f, unsigned number, bool whole)
{
	struct dataplane *dp = f->nodes[number].dp;

	if (!dp)
		return;
	while (dataplane_sweep(dp, whole ? 1000000 : 1 + roll(f, number, 61, 20000), 0) && whole)
		;
}

static void begin_tick(struct fleet *f)
{
	f->now++;
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->nodes[i].dp)
			f->nodes[i].dp->clock = clock_of(f, &f->nodes[i]);
}

static void apply_due(struct fleet *f)
{
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->nodes[i].dp)
			dataplane_grow(f->nodes[i].dp);
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->nodes[i].dp && f->nodes[i].applies_at && f->nodes[i].applies_at <= f->now)
			apply(f, &f->nodes[i]);
}

/* After each tick of a flow that lives. */
static void trace_tick(const struct fleet *f)
{
	for (unsigned i = 0; f->trace && i < f->nodes_count; i++) {
		if (!i)
			tell(f, "ends:");
		trace_node(f, i, f->traced);
	}
}

static void tick(struct fleet *f)
{
	begin_tick(f);
	nodes_act(f);
	if (!roll(f, 0, 70, 12))
		change_config(f);
	if (acts(f, FLEET_HEALTH) && !roll(f, 0, 71, 15))
		change_health(f);
	apply_due(f);
	route(f);
	for (unsigned i = 0; i < f->flows_count; i++)
		flow_acts(f, i);
	fire(f);
	note_apart(f);
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->now % 3 == i)
			sweep(f, i, true); /* a round each two seconds, about */
		else if (!roll(f, i, 72, 4))
			sweep(f, i, false);
	exchange(f);
	if (f->flows[f->traced].phase != NONE)
		trace_tick(f);
}

/* ---- the end: the same config everywhere, and no flows ---- */

static const uint32_t *ring_of(const struct fleet *f, unsigned node, unsigned service,
			       uint32_t *size)
{
	return want_slots(f->nodes[node].dp, &f->nodes[node].want[service], size);
}

static int backend_at(const struct fleet *f, unsigned node, uint32_t slot)
{
	return (int)(ntohl(f->nodes[node].dp->maps.backends[LB_SLOT_CURRENT(slot)].outer_dst[0]) &
		     0xff);
}

/* Why the first slot in transition does not settle. */
static void trace_slot(const struct fleet *f, unsigned node, unsigned service, uint32_t index)
{
	const struct dataplane *dp = f->nodes[node].dp;
	const struct record *record = dp_find(dp, &f->nodes[node].want[service].service);
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t at = LB_REGION_BASE(line->ring) + index;

	if (!f->trace)
		return;
	fprintf(f->trace,
		"    node %u, slot %u: %#x, quiet %u, stamped %u ago, old ring %u, wanted size %u, "
		"forgotten %u ago\n",
		node, index, dp->maps.arena[at], (unsigned)(dp->quiet[at / 64] >> at % 64 & 1),
		(uint16_t)(dp->clock - dp->maps.stamps[at]), LB_REGION_SIZE(line->old_ring),
		record->wanted_size, dp->clock - dp->maps.turns[record->id].forgotten);
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (record->claims[i])
			fprintf(f->trace,
				"      claim of node %u: %#x of %u, configured %u, evaluated %u "
				"ago, synced %u\n",
				i, record->claims[i]->slot[index], record->claims[i]->size,
				record->claims[i]->configured,
				dp->clock - record->claims[i]->evaluated,
				dataplane_peer_synced(dp, i));
}

static void check_rings(struct fleet *f, unsigned node, unsigned service)
{
	uint32_t size, theirs_size, differ = 0, in_transition = 0;
	const uint32_t *slots = ring_of(f, 0, service, &size),
		       *theirs = ring_of(f, node, service, &theirs_size);

	if (size != theirs_size) {
		broken(f, "service %u: node 0 has %u slots, node %u %u", service, size, node,
		       theirs_size);
		return;
	}
	for (uint32_t i = 0; i < size; i++) {
		differ += backend_at(f, 0, slots[i]) != backend_at(f, node, theirs[i]);
		if (theirs[i] >> 31 && !in_transition++)
			for (unsigned j = 0; j < f->nodes_count; j++)
				trace_slot(f, j, service, i);
	}
	if (differ || in_transition)
		broken(
		    f,
		    "tick %u: service %u: same config, no flow is left: %u of %u slots of node %u "
		    "differ, %u in transition",
		    f->now, service, differ, size, node, in_transition);
}

static void agree(struct fleet *f)
{
	meet(f);
	for (unsigned i = 0; i < f->nodes_count; i++) {
		if (f->nodes[i].back_at)
			come_back(f, i);
		memset(f->nodes[i].dead, 0, sizeof(f->nodes[i].dead));
		apply(f, &f->nodes[i]);
	}
	exchange(f);
}

static void rest(struct fleet *f, uint32_t ticks)
{
	for (uint32_t i = 0; i < ticks && !f->failure[0]; i++) {
		begin_tick(f);
		for (unsigned node = 0; node < f->nodes_count; node++)
			sweep(f, node, true);
		exchange(f);
	}
}

static void end(struct fleet *f)
{
	uint32_t idle = 0;

	agree(f);
	/* the flows that are left go on, wherever the router sends them */
	f->actors = 0;
	for (unsigned i = 0; i < 10 && !f->failure[0]; i++) {
		begin_tick(f);
		route(f);
		for (unsigned flow = 0; flow < f->flows_count; flow++)
			flow_acts(f, flow);
		fire(f);
		exchange(f);
	}
	for (unsigned i = 0; i < f->services_count; i++)
		idle = f->service[i].idle > idle ? f->service[i].idle : idle;
	/* a resize may have waited for another */
	rest(f, 3 * (2 * idle + 3 * DP_SLACK));
	for (unsigned node = 0; node < f->nodes_count; node++)
		for (unsigned i = 0; i < f->services_count && !f->failure[0]; i++)
			check_rings(f, node, i);
}

static void begin(struct fleet *f)
{
	static const char *const algorithms[] = {"maglev",      "maglev",     "maglev",
						 "round-robin", "least-conn", "source-hash"};
	static const uint32_t idles[] = {2, 3, 5, 10, 20}, slots[] = {7, 13, 31, 101};

	f->now = 100;
	f->nodes_count = 2 + roll(f, 0, 80, FLEET_NODES - 1);
	f->services_count = 1 + roll(f, 0, 81, FLEET_SERVICES);
	f->flows_count = 20 + roll(f, 0, 82, FLEET_FLOWS - 20);
	f->end = f->now + 100 + roll(f, 0, 83, 200);
	for (unsigned i = 0; i < f->services_count; i++) {
		struct fleet_service *s = &f->service[i];

		s->udp = !roll(f, i, 84, 3);
		s->algorithm = algorithms[roll(f, i, 85, 6)];
		s->always = !roll(f, i, 86, 5);
		s->idle = idles[roll(f, i, 87, 5)];
		s->slots = slots[roll(f, i, 88, 4)];
		for (unsigned b = 0; b < 3; b++) {
			s->present[b] = true;
			s->weight[b] = 1 + b;
		}
	}
	for (unsigned i = 0; i < f->flows_count; i++)
		f->flows[i].service = i % f->services_count;
	for (unsigned i = 0; i < f->nodes_count; i++) {
		f->nodes[i].offset = roll(f, i, 89, 70000);
		f->nodes[i].runs = f->nodes[i].serves = true;
		for (unsigned j = 0; j < f->nodes_count; j++)
			f->linked[i][j] = i != j;
		prepare_maps(f, &f->nodes[i]);
		start_lbd(f, &f->nodes[i], DP_JOINS);
	}
	for (unsigned i = 0; i < f->nodes_count; i++)
		for (unsigned j = i + 1; j < f->nodes_count; j++)
			connect_pair(f, i, j);
	exchange(f);
	for (unsigned i = 0; i < f->nodes_count; i++)
		dataplane_join(f->nodes[i].dp, DP_JOINED);
}

void fleet_run(struct fleet *f, struct batch *batches, uint64_t seed, uint32_t actors, FILE *trace,
	       unsigned traced)
{
	memset(f, 0, sizeof(*f));
	memset(pending_count, 0, sizeof(pending_count));
	f->seed = seed;
	f->actors = actors & sequence_roll(seed, 0, 100, UINT32_MAX);
	f->trace = trace;
	f->traced = traced;
	f->wire = malloc(WIRE_BYTES);
	if (!f->wire)
		abort();
	for (unsigned i = 0; i < FLEET_NODES; i++)
		f->nodes[i].batch = &batches[i];
	begin(f);
	while (f->now < f->end && !f->failure[0])
		tick(f);
	if (!f->failure[0])
		end(f);
	for (unsigned i = 0; i < f->nodes_count; i++)
		if (f->nodes[i].dp)
			dataplane_close(f->nodes[i].dp);
	free(f->wire);
	f->wire = NULL;
}
