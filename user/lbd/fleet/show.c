/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What others ask of the fleet. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define CHANGED_SHOWN_MS (24 * 3600 * 1000ULL)

const char *fleet_peer_state_name(enum fleet_peer_state state)
{
	static const char *const names[] = {
#define X(name, text) [FLEET_##name] = text,
	    FLEET_PEER_STATES(X)
#undef X
	};

	return names[state];
}

bool fleet_is_joining(const struct fleet *fleet, char why[FLEET_WHY])
{
	*why = 0;
	if (!fleet || fleet->joined)
		return false;
	snprintf(why, FLEET_WHY, "%s", *fleet->waits ? fleet->waits : "lbd starts");
	return true;
}

void fleet_look(const struct fleet *fleet, struct fleet_view *ret)
{
	struct dp_share_stats stats;

	dataplane_share_stats(fleet->options.dp, &stats);
	*ret = (struct fleet_view){
	    .fault = fleet->fault,
	    .name = fleet->node.name,
	    .identity = fleet->node.identity,
	    .own = fleet->own,
	    .port = fleet->peers_config.port,
	    .config_digest = fleet->node.config_digest,
	    .conflicts = stats.conflicts,
	    .unplaced = stats.unplaced,
	    .strangers = fleet->strangers,
	    .peers = fleet->count,
	};
	ret->joining = fleet_is_joining(fleet, ret->why);
	snprintf(ret->key, sizeof(ret->key), "%s", fleet->node.keys.list[0].id);
}

/* The peer sends what has changed each tick: half of that, what it says that it is behind, and half
 * of the way there and back. */
static uint32_t lag_of(const struct session_view *view)
{
	uint32_t way = view->rtt_ms == UINT32_MAX ? 0 : view->rtt_ms / 2;

	return SESSION_TICK_MS / 2 + view->beat.behind + way;
}

static void look_at_session(const struct fleet_peer *peer, const struct session_view *view,
			    struct fleet_peer_view *ret)
{
	struct dp_peer_stats stats;

	dataplane_peer_stats(peer->fleet->options.dp, peer->number, &stats);
	ret->key = view->key;
	ret->protocol = view->version;
	ret->same_config =
	    (view->beat.sent_ms ? view->beat.config_digest : view->hello->config_digest) ==
	    peer->fleet->node.config_digest;
	ret->synced = view->beat.synced;
	ret->services = stats.services;
	ret->other_rings = stats.others;
	ret->lag_ms = lag_of(view);
	ret->behind_ms = view->behind_ms;
	ret->sent = view->sent;
	ret->received = view->received;
	ret->conflicts = view->beat.conflicts;
	ret->unplaced = view->beat.unplaced;
}

void fleet_look_at(const struct fleet *fleet, unsigned i, struct fleet_peer_view *ret)
{
	const struct fleet_peer *peer = &fleet->list[i];
	struct session_view view;

	*ret = (struct fleet_peer_view){
	    .address = peer->address,
	    .state = peer->state,
	    .why = peer->why,
	    .since_ms = peer->since_ms,
	    .connects = peer->connects,
	    .name = peer->name,
	    .version = peer->version,
	    .identity = peer->identity,
	    .key = "",
	    .connections = peer->connections,
	    .losses = peer->losses,
	};
	if (peer_look(peer, clock_monotonic_ms(), &view))
		look_at_session(peer, &view, ret);
}

/* ---- who the nodes are ---- */

/* This node, or a peer. */
struct who {
	const char *name;
	uint64_t identity;
	const struct addr *address;
};

static struct who who_is(const struct fleet *fleet, unsigned i)
{
	const struct fleet_peer *peer = i ? &fleet->list[i - 1] : NULL;

	return peer ? (struct who){peer->name, peer->identity, &peer->address}
		    : (struct who){fleet->node.name, fleet->node.identity, &fleet->own};
}

static void compare(const struct who *a, const struct who *b, struct sentences *ret)
{
	bool same_node = a->identity && a->identity == b->identity,
	     same_name = *a->name && !strcmp(a->name, b->name);
	char first[ADDR_TEXT], second[ADDR_TEXT];

	if (!same_node && !same_name)
		return;
	addr_format(a->address, first);
	addr_format(b->address, second);
	if (same_node)
		sentences_add(
		    ret,
		    "nodes %s and %s have the same identity %016" PRIx64
		    ": one has a copy of the other's state directory: remove node-id-* there "
		    "and restart its lbd",
		    first, second, a->identity);
	else
		sentences_add(ret, "nodes %s and %s have the same name %s: give one another", first,
			      second, a->name);
}

static void note_changed(const struct fleet_peer *peer, struct sentences *ret)
{
	char address[ADDR_TEXT];

	if (peer->former && clock_monotonic_ms() - peer->former_ms < CHANGED_SHOWN_MS)
		sentences_add(ret,
			      "node %s is another than before: its identity was %016" PRIx64
			      " and is %016" PRIx64
			      ": it was installed anew, or another machine has its address",
			      addr_format(&peer->address, address), peer->former, peer->identity);
}

void fleet_note(const struct fleet *fleet, struct sentences *ret)
{
	for (unsigned i = 0; i <= fleet->count; i++) {
		struct who one = who_is(fleet, i);

		for (unsigned j = i + 1; one.address->family && j <= fleet->count; j++) {
			struct who other = who_is(fleet, j);

			compare(&one, &other, ret);
		}
		if (i)
			note_changed(&fleet->list[i - 1], ret);
	}
}
