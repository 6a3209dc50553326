/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What others ask of the fleet. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

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
	    .key = "",
	    .connections = peer->connections,
	    .losses = peer->losses,
	};
	if (peer_look(peer, clock_monotonic_ms(), &view))
		look_at_session(peer, &view, ret);
}
