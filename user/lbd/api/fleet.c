/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The other nodes, as `lbctl fleet` shows them. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* "": there is none, or it is not known. */
static json_t *identity_json(uint64_t identity)
{
	char text[20] = "";

	if (identity)
		snprintf(text, sizeof(text), "%016" PRIx64, identity);
	return json_string(text);
}

/* What is known only while there is a session. */
static json_t *session_json(const struct fleet_peer_view *peer)
{
	if (peer->state != FLEET_SYNCING && peer->state != FLEET_SYNCED)
		return json_null();
	return json_pack("{s:s, s:i, s:b, s:b, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "key",
			 peer->key, "protocol", peer->protocol, "same_config", peer->same_config,
			 "peer_synced", peer->synced, "services", peer->services, "other_rings",
			 peer->other_rings, "lag_ms", number(peer->lag_ms), "behind_ms",
			 number(peer->behind_ms), "sent_bytes", number(peer->sent),
			 "received_bytes", number(peer->received), "conflicts",
			 number(peer->conflicts), "unplaced", number(peer->unplaced));
}

static json_t *peer_json(const struct fleet_peer_view *peer, uint64_t now_ms)
{
	char address[ADDR_TEXT];

	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:o}", "address",
			 addr_format(&peer->address, address), "name", peer->name, "identity",
			 identity_json(peer->identity), "version", peer->version, "state",
			 fleet_peer_state_name(peer->state), "why", peer->why, "since_s",
			 number((now_ms - peer->since_ms) / 1000), "connects", peer->connects,
			 "connections", number(peer->connections), "losses", number(peer->losses),
			 "session", session_json(peer));
}

static json_t *peers_json(const struct fleet *fleet, unsigned count)
{
	uint64_t now_ms = clock_monotonic_ms();
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++) {
		struct fleet_peer_view peer;

		fleet_look_at(fleet, i, &peer);
		json_array_append_new(list, peer_json(&peer, now_ms));
	}
	return list;
}

static json_t *fleet_json(const struct fleet *fleet)
{
	char address[ADDR_TEXT], digest[20];
	struct sentences notes = {0};
	struct fleet_view view;
	json_t *notes_list;

	fleet_look(fleet, &view);
	snprintf(digest, sizeof(digest), "%016" PRIx64, view.config_digest);
	fleet_note(fleet, &notes);
	notes_list = api_sentences_json(&notes);
	sentences_done(&notes);
	return json_pack(
	    "{s:s, s:o, s:s, s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "name",
	    view.name, "identity", identity_json(view.identity), "address",
	    view.own.family ? addr_format(&view.own, address) : "", "port", view.port, "version",
	    LBD_VERSION, "key", view.key, "config_digest", digest, "joining", view.joining, "why",
	    view.why, "fault", view.fault, "conflicts", number(view.conflicts), "unplaced",
	    number(view.unplaced), "strangers", number(view.strangers), "notes", notes_list,
	    "peers", peers_json(fleet, view.peers));
}

int api_fleet(struct api_call *call, json_t **ret, struct error *err)
{
	const struct fleet *fleet = call->api->fleet;

	*ret = json_pack("{s:o}", "fleet", fleet ? fleet_json(fleet) : json_null());
	return 0;
}
