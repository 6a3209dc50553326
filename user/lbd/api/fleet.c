/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The other nodes, and the config that all of them have, as `lbctl fleet` shows them. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

/* ---- the config in etcd ---- */

/* Since another node has written it, by the clocks of both. */
static json_t *record_age_json(uint64_t at_ms)
{
	uint64_t now_ms = clock_wall_ms();

	return at_ms ? number(now_ms > at_ms ? (now_ms - at_ms) / 1000 : 0) : json_null();
}

/* Of a node that is not in the record: it has yet to take its turn. */
static json_t *node_json(const char *name, const char *state, bool live, const char *why)
{
	return json_pack("{s:s, s:s, s:b, s:s}", "name", name, "state", state, "live", live, "why",
			 why);
}

/* Those of the record, then those that are there and have not had their turn. */
static json_t *nodes_json(const struct rollout *rollout, const char *live)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < rollout->count; i++) {
		const struct rollout_node *node = &rollout->nodes[i];

		json_array_append_new(list,
				      node_json(node->name, rollout_progress_name(node->progress),
						rollout_is_live(live, node->name), node->why));
	}
	while (*live) {
		size_t length = strcspn(live, "\n");
		char name[CONFIG_NODE_TEXT + 1];

		snprintf(name, sizeof(name), "%.*s", (int)length, live);
		if (!rollout_find(rollout, name))
			json_array_append_new(list, node_json(name, "waiting", true, ""));
		live += length + (live[length] == '\n');
	}
	return list;
}

static json_t *rollout_json(const struct config_follower_view *view)
{
	const struct rollout *rollout = view->rollout;
	enum rollout_outcome outcome;
	char digest[20], why[ROLLOUT_WHY];

	if (!rollout)
		return json_null();
	outcome = rollout_judge(rollout, view->live, view->where->from.node, why);
	snprintf(digest, sizeof(digest), "%016" PRIx64, rollout->digest);
	return json_pack("{s:s, s:i, s:I, s:s, s:o, s:s, s:s, s:o}", "digest", digest,
			 "max_unavailable", (int)rollout->most, "limit_ms",
			 (json_int_t)rollout->limit_ms, "by", rollout->by, "age_s",
			 record_age_json(rollout->time_ms), "state", rollout_outcome_name(outcome),
			 "why", why, "nodes", nodes_json(rollout, view->live));
}

static json_t *write_json(const struct config_write *write)
{
	if (!write->number)
		return json_null();
	return json_pack("{s:o, s:s, s:s}", "number", number(write->number), "state",
			 write->pending ? "pending"
			 : write->made  ? "made"
					: "failed",
			 "why", write->why);
}

json_t *api_shared_config_json(const struct api *api)
{
	struct config_follower_view view;

	if (!api->follower)
		return json_null();
	config_follower_look(api->follower, &view);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:b, s:b, s:s, s:s, s:b, s:o, s:o}",
			 "servers", view.where->from.etcd, "key", view.where->from.prefix, "node",
			 view.where->from.node, "heard_s", api_age_json(view.heard_ms), "failed_s",
			 api_age_json(view.failed_ms), "why", view.why, "revision",
			 view.revision ? number(view.revision) : json_null(), "in_force",
			 view.in_force, "copy", view.is_copy, "refused", view.refused, "waits",
			 view.waits, "former", view.has_former, "rollout", rollout_json(&view),
			 "write", write_json(&view.write));
}

int api_fleet(struct api_call *call, json_t **ret, struct error *err)
{
	const struct fleet *fleet = call->api->fleet;

	*ret = json_pack("{s:o, s:o}", "fleet", fleet ? fleet_json(fleet) : json_null(), "config",
			 api_shared_config_json(call->api));
	return 0;
}

static int read_most(const json_t *body, unsigned *ret, struct error *err)
{
	json_t *most = json_object_get(body, "max_unavailable");

	*ret = 1;
	if (!most)
		return 0;
	if (!json_is_integer(most) || json_integer_value(most) < 1 ||
	    json_integer_value(most) > ROLLOUT_NODES_MAX)
		return error_set(err, -EINVAL, "max_unavailable: expected an integer of 1 to %d",
				 ROLLOUT_NODES_MAX);
	*ret = (unsigned)json_integer_value(most);
	return 0;
}

static int read_limit(const json_t *body, uint64_t *ret, struct error *err)
{
	int rc = 0;

	*ret = ROLLOUT_LIMIT_MS;
	if (json_object_get(body, "limit"))
		rc = api_arg_duration(body, "limit", ret, err);
	if (!rc && (*ret < 1000 || *ret > ROLLOUT_LIMIT_MAX))
		rc = error_set(err, -EINVAL, "limit: expected 1s to 1h");
	return rc;
}

static int read_apply(const struct api_call *call, struct config_write_options *ret,
		      struct error *err)
{
	static const char *const fields[] = {"text",    "rollback", "max_unavailable",
					     "dry_run", "limit",    NULL};
	struct config_follower_view view;
	bool rollback;
	int rc;

	if ((rc = api_arg_only(call->body, fields, err)) ||
	    (rc = api_arg_text(call->body, "text", &ret->text, err)) ||
	    (rc = api_arg_bool(call->body, "rollback", false, &rollback, err)) ||
	    (rc = api_arg_bool(call->body, "dry_run", false, &ret->trial, err)) ||
	    (rc = read_limit(call->body, &ret->limit_ms, err)) ||
	    (rc = read_most(call->body, &ret->most, err)))
		return rc;
	if (!ret->text == !rollback)
		return error_set(err, -EINVAL, "expected either text or \"rollback\": true");
	config_follower_look(call->api->follower, &view);
	ret->by = view.where->from.node;
	return 0;
}

int api_fleet_apply(struct api_call *call, json_t **ret, struct error *err)
{
	struct config_follower *follower = call->api->follower;
	struct config_write_options options;
	struct config_written written;
	char digest[20];
	int rc;

	if (!follower)
		return error_set(err, -EBUSY,
				 "the config is in files of this node: expected lbd to be started "
				 "with -c etcd://...");
	rc = read_apply(call, &options, err);
	if (rc)
		return rc;
	rc = config_follower_write(follower, &options, &written, err);
	if (rc)
		return rc == -EBUSY || rc == -ENOENT ? rc : api_reload_failure(rc);
	snprintf(digest, sizeof(digest), "%016" PRIx64, written.digest);
	*ret = json_pack("{s:o, s:s}", "write",
			 options.trial ? json_null() : number(written.number), "digest", digest);
	json_object_update_new(*ret, api_changes_json(&written.report.changes));
	reload_report_done(&written.report);
	return 0;
}
