/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl fleet: the other nodes that serve the same VIPs, whether they know what this one does, and
 * the config that all of them have. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/table.h"
#include "lbctl/core/verb.h"
#include "lbctl/rollout/rollout.h"

static enum tone tone_of(const char *state)
{
	if (!strcmp(state, "synced"))
		return TONE_GOOD;
	return !strcmp(state, "syncing") || !strcmp(state, "greeting") ? TONE_WARN : TONE_BAD;
}

/* A cell that says whether something is the same there; NULL: not known. */
static void add_same(struct table *table, const json_t *session, bool same, const char *other)
{
	if (session)
		table_add(table, same ? TONE_PLAIN : TONE_WARN, same ? "same" : other);
	else
		table_add(table, TONE_DIM, "-");
}

static void add_rings(struct table *table, const json_t *session)
{
	uint64_t others = json_number(session, "other_rings");
	char text[64];

	snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " differ", others,
		 json_number(session, "services"));
	add_same(table, session, !others, text);
}

static void add_peer(struct table *table, const json_t *peer)
{
	const json_t *session = json_object_get(peer, "session");
	const char *state = json_text(peer, "state"), *name = json_text(peer, "name");
	char since[FORMAT_TEXT], lag[FORMAT_TEXT + 4];

	if (!json_is_object(session))
		session = NULL;
	snprintf(lag, sizeof(lag), "%" PRIu64 "ms", json_number(session, "lag_ms"));
	table_add(table, TONE_PLAIN, json_text(peer, "address"));
	table_add(table, TONE_PLAIN, *name ? name : "-");
	table_add(table, tone_of(state), state);
	table_add(table, TONE_PLAIN, format_age(json_number(peer, "since_s"), since));
	table_add(table, session ? TONE_PLAIN : TONE_DIM, session ? lag : "-");
	add_same(table, session, json_flag(session, "same_config"), "differs");
	add_rings(table, session);
	table_add(table, TONE_PLAIN,
		  *json_text(peer, "version") ? json_text(peer, "version") : "-");
}

static int print_peers(const json_t *peers, struct error *err)
{
	static const struct table_column columns[] = {
	    {.title = "PEER"},
	    {.title = "NAME", .shrinks = true, .spare = 2},
	    {.title = "STATE"},
	    {.title = "SINCE", .right = true, .spare = 3},
	    {.title = "LAG", .right = true},
	    {.title = "CONFIG"},
	    {.title = "RINGS"},
	    {.title = "LBD", .spare = 1},
	    {0},
	};
	struct table *table = table_new(columns);
	const json_t *peer;
	size_t i;
	int rc;

	json_array_foreach (peers, i, peer)
		add_peer(table, peer);
	rc = table_print(table, stdout, format_columns(stdout), format_coloured(stdout));
	table_free(table);
	return rc ? error_set(err, rc, "out of memory") : 0;
}

/* Of those that are not as they should be. */
static void print_reasons(const json_t *peers)
{
	const json_t *peer;
	size_t i;

	json_array_foreach (peers, i, peer) {
		const char *why = json_text(peer, "why");

		if (!*why || !strcmp(json_text(peer, "state"), "synced"))
			continue;
		printf("%s: ", json_text(peer, "address"));
		text_put(stdout, why);
		putchar('\n');
	}
}

/* "lb1 10.0.0.1:7646, key 1a2b3c4d: joined" */
static void print_node(const json_t *fleet)
{
	const char *address = json_text(fleet, "address"), *fault = json_text(fleet, "fault");
	char endpoint[96];

	printf("%s %s, key %s: ", json_text(fleet, "name"),
	       *address ? format_endpoint(address, json_number(fleet, "port"), "", endpoint)
			: "(address not found)",
	       json_text(fleet, "key"));
	if (json_flag(fleet, "joining")) {
		fputs("joining: ", stdout);
		text_put(stdout, json_text(fleet, "why"));
		putchar('\n');
	} else {
		puts("joined");
	}
	if (*fault) {
		fputs("Warning: ", stdout);
		text_put(stdout, fault);
		putchar('\n');
	}
}

/* What cost, or may cost, flows; since lbd's start. */
static void print_counts(const json_t *fleet)
{
	uint64_t conflicts = json_number(fleet, "conflicts"),
		 unplaced = json_number(fleet, "unplaced");
	char text[64];

	if (conflicts)
		printf("Warning: when nodes met, %s had untracked flows on different backends: "
		       "those that change nodes move\n",
		       format_plural(conflicts, "slot", text));
	if (unplaced)
		printf("Warning: %s of other nodes found no place in the flow table (limits: "
		       "flows)\n",
		       format_plural(unplaced, "flow", text));
}

/* Of who the nodes are. */
static void print_notes(const json_t *fleet)
{
	const json_t *note;
	size_t i;

	json_array_foreach (json_object_get(fleet, "notes"), i, note) {
		fputs("Warning: ", stdout);
		text_put(stdout, json_item_text(note));
		putchar('\n');
	}
}

static int print_fleet(const json_t *fleet, struct error *err)
{
	const json_t *peers = json_object_get(fleet, "peers");
	int rc;

	if (!json_is_object(fleet)) {
		puts("The config has no `peers`: this node tells no other of its flows.");
		return 0;
	}
	print_node(fleet);
	rc = print_peers(peers, err);
	print_reasons(peers);
	print_notes(fleet);
	print_counts(fleet);
	return rc;
}

/* Why the fleet is not whole, as an error; 0: it is. */
static int check(const json_t *fleet, struct error *err)
{
	const json_t *peer;
	size_t i;

	if (!json_is_object(fleet))
		return error_set(err, -ENODATA, "the config has no `peers`");
	if (json_flag(fleet, "joining"))
		return error_set(err, -ENODATA, "joining: %.200s", json_text(fleet, "why"));
	json_array_foreach (json_object_get(fleet, "peers"), i, peer)
		if (strcmp(json_text(peer, "state"), "synced") != 0)
			return error_set(err, -ENODATA, "peer %.64s: %s%s%.200s",
					 json_text(peer, "address"), json_text(peer, "state"),
					 *json_text(peer, "why") ? ": " : "",
					 json_text(peer, "why"));
	return 0;
}

static int print_all(const json_t *fleet, const json_t *config, struct error *err)
{
	int rc = print_fleet(fleet, err);

	return rc || !json_is_object(config) ? rc : rollout_print(config, err);
}

static int run(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	const json_t *fleet, *config;
	int rc = call_get(call, "/v1/fleet", &answer, err);

	if (rc)
		return rc;
	fleet = json_object_get(answer, "fleet");
	config = json_object_get(answer, "config");
	rc = call->json ? show_json(answer, err) : print_all(fleet, config, err);
	if (!rc && call_option(call, "--check"))
		rc = check(fleet, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, fleet) = {
    .name = "fleet",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show the other nodes that serve the same VIPs",
    .details =
	"Nodes that the config lists under `peers` tell each other of their flows, so that a flow "
	"that comes to another node stays on its backend. A peer is synced when both have told "
	"each other everything. LAG is the time until what changes there is known here. CONFIG "
	"and RINGS say whether the peer has the same services and backends, and chooses the same "
	"ones at this moment; where they differ flows cost a little more, and none moves.\n\n"
	"If lbd was started with -c etcd://..., the config of the fleet is shown too: whether the "
	"text in etcd is in force here, and how far its rollout is (`lbctl fleet apply`).",
    .options = {{.name = "--check",
		 .help = "exit with 1, and say why, unless all peers are synced"}},
    .examples = {{"fleet --check", "before the next node of a fleet is upgraded"}},
    .run = run,
};
