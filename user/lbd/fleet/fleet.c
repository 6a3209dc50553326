/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Listens, keeps time for all peers, and decides when the node has joined them. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "digest.h"
#include "lbd/events/events.h"

#define SECOND_TICKS     (1000 / SESSION_TICK_MS)
#define ACCEPTS          256 /* in a tick */
#define ACCEPTS_BEGUN    32  /* that one with a handshake counts for: it takes time */
#define BACKLOG          1024
#define JOIN_MOST_MS     10000 /* for all others */
#define STRANGERS_LOG_MS 60000

_Static_assert(ACCEPTS_BEGUN *DP_PEERS <= ACCEPTS, "peers would wait for each other");

static void set_fault(struct fleet *fleet, const char *fault)
{
	if (!strcmp(fleet->fault, fault))
		return;
	if (*fault)
		log_error("peers: %s; tried again each second", fault);
	else
		log_info("peers: listening again");
	snprintf(fleet->fault, sizeof(fleet->fault), "%s", fault);
}

/* ---- connections that come ---- */

static struct fleet_peer *find_peer(struct fleet *fleet, const struct addr *address)
{
	for (unsigned i = 0; i < fleet->count; i++)
		if (addr_equal(&fleet->list[i].address, address))
			return &fleet->list[i];
	return NULL;
}

static void note_stranger(struct fleet *fleet, const struct addr *address)
{
	char text[ADDR_TEXT];

	fleet->strangers++;
	if (log_is_due(&fleet->stranger_ms, STRANGERS_LOG_MS))
		log_warning("peers: a connection from %s was closed: it is none of the nodes",
			    addr_format(address, text));
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
		      int length, void *arg)
{
	struct fleet *fleet = arg;
	struct fleet_peer *peer = NULL;
	struct addr address = {0};
	bool begun = false;

	if (!addr_from_sockaddr(from, &address))
		peer = find_peer(fleet, &address);
	if (peer) {
		begun = peer_accept(peer, fd);
	} else {
		close(fd);
		note_stranger(fleet, &address);
	}
	/* peers wait behind strangers, and one that connects without end: those go at once */
	fleet->accepted += begun ? ACCEPTS_BEGUN : 1;
	fleet->rests = fleet->accepted >= ACCEPTS;
	if (fleet->rests)
		evconnlistener_disable(listener);
}

/* Out of descriptors, say: libevent would try again at once, for as long as that is so. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct fleet *fleet = arg;

	fleet->rests = true;
	evconnlistener_disable(listener);
}

static int listen_on(struct fleet *fleet)
{
	struct sockaddr_storage local;
	socklen_t length = addr_to_sockaddr(&fleet->own, fleet->peers_config.port, &local);

	fleet->listener = evconnlistener_new_bind(fleet->options.base, on_accept, fleet,
						  LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
						      LEV_OPT_REUSEABLE,
						  BACKLOG, (struct sockaddr *)&local, (int)length);
	if (!fleet->listener)
		return errno ? -errno : -ENOMEM;
	evconnlistener_set_error_cb(fleet->listener, on_accept_error);
	return 0;
}

/* ---- who is who ---- */

static int find_own(struct fleet *fleet)
{
	const struct config_peers *config = &fleet->peers_config;
	char first[ADDR_TEXT], second[ADDR_TEXT], fault[FLEET_WHY];
	const struct addr *own = NULL;

	for (unsigned i = 0; i < config->nodes_count; i++) {
		const struct addr *node = &config->nodes[i];

		if (fleet->options.own ? !addr_equal(node, fleet->options.own) : !addr_is_own(node))
			continue;
		if (own) {
			snprintf(fault, sizeof(fault),
				 "nodes: %s and %s are both addresses of this host: expected one",
				 addr_format(own, first), addr_format(node, second));
			set_fault(fleet, fault);
			return -EINVAL;
		}
		own = node;
	}
	if (!own) {
		set_fault(fleet, "nodes: none is an address of this host: expected one of them");
		return -EADDRNOTAVAIL;
	}
	fleet->own = *own;
	return 0;
}

static void make_peers(struct fleet *fleet)
{
	const struct config_peers *config = &fleet->peers_config;

	for (unsigned i = 0; i < config->nodes_count; i++)
		if (!addr_equal(&config->nodes[i], &fleet->own)) {
			peer_init(&fleet->list[fleet->count], fleet, &config->nodes[i],
				  fleet->count);
			fleet->count++;
		}
}

/* What is needed before peers can be met. Tried again each second. */
static void get_ready(struct fleet *fleet)
{
	char text[ADDR_TEXT], fault[FLEET_WHY];
	int rc;

	if (fleet->listener)
		return;
	if (!fleet->own.family) {
		if (find_own(fleet))
			return;
		make_peers(fleet);
	}
	rc = listen_on(fleet);
	if (!rc) {
		if (*fleet->fault)
			set_fault(fleet, "");
		return;
	}
	snprintf(fault, sizeof(fault), "cannot listen on %s port %u: %s",
		 addr_format(&fleet->own, text), fleet->peers_config.port, strerror(-rc));
	set_fault(fleet, fault);
}

/* ---- joining ---- */

static bool is_met(const struct fleet_peer *peer, uint64_t now_ms)
{
	struct session_view view;

	return peer_look(peer, now_ms, &view) && view.synced && view.told && view.beat.synced;
}

/* Is there a chance that it will be soon? */
static bool is_awaited(const struct fleet *fleet, const struct fleet_peer *peer, uint64_t now_ms)
{
	return peer->state == FLEET_SYNCING || peer->state == FLEET_GREETING ||
	       now_ms - fleet->begun_ms < JOIN_LEAST_MS;
}

static void say_whom(char why[FLEET_WHY], const struct fleet_peer *peer)
{
	char text[ADDR_TEXT];

	snprintf(why, FLEET_WHY, "waits for peer %s, which is %s%s%.100s",
		 addr_format(&peer->address, text), fleet_peer_state_name(peer->state),
		 *peer->why ? ": " : "", peer->why);
}

/* Those that are awaited; of the first one, in `waits`. */
static unsigned count_awaited(struct fleet *fleet, uint64_t now_ms)
{
	unsigned awaited = !fleet->listener;

	if (awaited)
		snprintf(fleet->waits, sizeof(fleet->waits), "%s", fleet->fault);
	for (unsigned i = 0; i < fleet->count; i++) {
		const struct fleet_peer *peer = &fleet->list[i];

		if (is_met(peer, now_ms) || !is_awaited(fleet, peer, now_ms))
			continue;
		if (!awaited++)
			say_whom(fleet->waits, peer);
	}
	return awaited;
}

static void run_joined(void *arg)
{
	const struct fleet *fleet = arg;

	dataplane_join(fleet->options.dp, DP_JOINED);
}

static unsigned count_synced(const struct fleet *fleet)
{
	unsigned synced = 0;

	for (unsigned i = 0; i < fleet->count; i++)
		synced += fleet->list[i].state == FLEET_SYNCED;
	return synced;
}

static void look_at_joining(struct fleet *fleet, uint64_t now_ms)
{
	unsigned awaited;
	bool late = now_ms - fleet->begun_ms >= JOIN_MOST_MS;

	if (fleet->joined)
		return;
	awaited = count_awaited(fleet, now_ms);
	if (awaited && !late)
		return;
	if (!fleet->options.tasks)
		run_joined(fleet);
	else if (tasks_add(fleet->options.tasks, run_joined, fleet))
		return;
	fleet->joined = true;
	if (awaited)
		log_warning("peers: not synced with all after %u s (%s): goes on without; flows "
			    "of others that come to this node may be reset",
			    JOIN_MOST_MS / 1000, fleet->waits);
	else
		log_info("peers: joined: synced with %u of %u", count_synced(fleet), fleet->count);
	*fleet->waits = 0;
}

/* ---- the config ---- */

int fleet_check_keys(const struct config_peers *peers, struct error *err)
{
	struct fleet_keys keys;
	int rc = fleet_keys_read(peers->key_file, &keys, err);

	if (!rc)
		fleet_keys_clear(&keys);
	return rc;
}

static void read_keys_again(struct fleet *fleet, const struct config_peers *config)
{
	struct fleet_keys keys;
	struct error err;

	if (!config->on || !config->key_file)
		return;
	if (fleet_keys_read(config->key_file, &keys, &err)) {
		log_error("%s: the keys that were read before stay in force", err.text);
		return;
	}
	fleet->node.keys = keys;
	fleet_keys_clear(&keys);
	for (unsigned i = 0; i < fleet->count; i++)
		peer_check_key(&fleet->list[i]);
}

/* After each change of the config; the keys after a reload. What `peers` says needs a restart, but
 * for those. A config may be where one was that has been freed: its address shows nothing. */
static void look_at_config(struct fleet *fleet)
{
	const struct state *state = fleet->options.state;
	struct config_age age;
	bool reloaded;

	if (!state)
		return;
	state_config_age(state, &age);
	reloaded = fleet->generation && age.applied_ms != fleet->applied_ms;
	if (fleet->generation == state_generation(state) && !reloaded)
		return;
	fleet->generation = state_generation(state);
	fleet->applied_ms = age.applied_ms;
	fleet->node.config_digest = config_digest(state_config(state), state_zone(state));
	if (reloaded)
		read_keys_again(fleet, &state_config(state)->peers);
}

/* ---- who the nodes are ---- */

/* Once each, as long as it holds. */
static void log_notes(struct fleet *fleet)
{
	struct sentences now = {0};

	fleet_note(fleet, &now);
	for (unsigned i = 0; i < now.count; i++)
		if (!sentences_have(&fleet->noted, now.list[i]))
			log_warning("peers: %s", now.list[i]);
	sentences_done(&fleet->noted);
	fleet->noted = now;
}

/* ---- time ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct fleet *fleet = arg;
	uint64_t now_ms = clock_monotonic_ms();

	if (fleet->ticks++ % SECOND_TICKS == 0) {
		get_ready(fleet);
		look_at_config(fleet);
		log_notes(fleet);
	}
	fleet->accepted = 0;
	if (fleet->rests && fleet->listener)
		evconnlistener_enable(fleet->listener);
	fleet->rests = false;
	dataplane_share_scan(fleet->options.dp);
	for (unsigned i = 0; i < fleet->count; i++)
		peer_tick(&fleet->list[i], now_ms);
	look_at_joining(fleet, now_ms);
}

/* ---- begin and end ---- */

/* Of the host, as far as it is a name. */
static void find_name(char name[NODE_NAME])
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	snprintf(name, NODE_NAME, "%.*s", NODE_NAME - 1, host);
	for (char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
}

static int open_all(struct fleet *fleet, const struct config_peers *peers, struct error *err)
{
	struct session_node *node = &fleet->node;
	int rc;

	fleet->peers_config = *peers;
	fleet->peers_config.key_file = strdup(peers->key_file);
	node->base = fleet->options.base;
	node->tasks = fleet->options.tasks;
	node->dp = fleet->options.dp;
	node->tls = tls_new();
	node->chunk = malloc(FRAME_MOST);
	fleet->tick = event_new(node->base, -1, EV_PERSIST, on_tick, fleet);
	if (!fleet->peers_config.key_file || !node->tls || !node->chunk || !fleet->tick)
		return error_set(err, -ENOMEM, "out of memory");
	rc = fleet_keys_read(peers->key_file, &node->keys, err);
	if (rc)
		return rc;
	if (getrandom(&node->boot, sizeof(node->boot), 0) != sizeof(node->boot))
		return error_set(err, -EIO, "peers: no random numbers");
	find_name(node->name);
	node->speaks = (struct fleet_range){FRAME_OLDEST, FRAME_LATEST};
	if (fleet->options.identity)
		node->identity = identity_find(fleet->options.identity);
	fleet->options.identity = NULL; /* the path is the caller's */
	return 0;
}

int fleet_new(const struct fleet_options *options, struct fleet **ret, struct error *err)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));
	int rc;

	if (!fleet)
		return error_set(err, -ENOMEM, "out of memory");
	fleet->options = *options;
	fleet->options.peers = NULL; /* copied */
	rc = open_all(fleet, options->peers, err);
	if (rc)
		fleet_free(fleet);
	else
		*ret = fleet;
	return rc;
}

int fleet_begin(struct fleet *fleet, struct error *err)
{
	const struct timeval tick = clock_span_ms(SESSION_TICK_MS);

	fleet->begun = true;
	fleet->begun_ms = clock_monotonic_ms();
	if (event_add(fleet->tick, &tick))
		return error_set(err, -ENOMEM, "out of memory");
	get_ready(fleet);
	look_at_config(fleet);
	return 0;
}

void fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return;
	for (unsigned i = 0; i < fleet->count; i++)
		peer_done(&fleet->list[i], true);
	if (fleet->listener)
		evconnlistener_free(fleet->listener);
	if (fleet->tick)
		event_free(fleet->tick);
	SSL_CTX_free(fleet->node.tls);
	fleet_keys_clear(&fleet->node.keys);
	sentences_done(&fleet->noted);
	free(fleet->node.chunk);
	free(fleet->peers_config.key_file);
	free(fleet);
}
