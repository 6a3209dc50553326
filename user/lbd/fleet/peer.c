/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One peer: the node with the lower address connects, the other accepts. A session that is there
 * goes on until it fails, or a newer one has shown that it is of the same peer. */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "lbd/events/events.h"

#define RETRY_MS         1000
#define RETRY_REFUSED_MS 2000
#define CONNECT_MS       1500  /* with the second SYN of TCP, after 1 s */
#define REASONS          8     /* that are logged at once */
#define REASONS_LOG_MS   60000 /* then one in this time */
#define SYNCS            8     /* that are logged of a node that comes and goes; then those that */
#define STEADY_MS        10000 /* last so long */

/* A node that was off, or has another key now, is tried again before it goes on without. */
_Static_assert(CONNECT_MS + RETRY_MS < JOIN_LEAST_MS && RETRY_REFUSED_MS < JOIN_LEAST_MS,
	       "a node that boots would join alone");

/* ---- what is shown ---- */

static const char *label(const struct fleet_peer *peer, char text[ADDR_TEXT + NODE_NAME])
{
	char address[ADDR_TEXT];

	snprintf(text, ADDR_TEXT + NODE_NAME, "%s%s%s", peer->name, *peer->name ? " " : "",
		 addr_format(&peer->address, address));
	return text;
}

static void enter(struct fleet_peer *peer, enum fleet_peer_state state)
{
	if (peer->state == state && peer->since_ms)
		return;
	peer->state = state;
	peer->since_ms = clock_monotonic_ms();
}

/* A reason is logged once, until there was a session again. Two that take turns, as of a host that
 * is off, are not logged for ever. */
static bool is_news(struct fleet_peer *peer)
{
	if (!strcmp(peer->why, peer->logged))
		return false;
	return peer->reasons++ < REASONS || log_is_due(&peer->reason_ms, REASONS_LOG_MS);
}

static void log_reason(struct fleet_peer *peer, enum event_kind kind, int level, const char *what)
{
	const struct event_about about = {.why = peer->why, .measured = true};
	char text[ADDR_TEXT + NODE_NAME];

	if (!is_news(peer))
		return;
	memcpy(peer->logged, peer->why, sizeof(peer->logged));
	events_log(kind, level, &about, "peer %s: %s: %s", label(peer, text), what, peer->why);
}

static void log_synced(struct fleet_peer *peer)
{
	const struct event_about about = {.measured = true};
	char text[ADDR_TEXT + NODE_NAME];

	peer->was_synced = true;
	peer->syncs++;
	*peer->logged = 0;
	peer->reasons = 0;
	events_log(EVENT_peer_synced, LOG_INFO, &about, "peer %s: synced", label(peer, text));
}

/* ---- sessions ---- */

static void on_greeted(void *arg, struct session *session)
{
	struct fleet_peer *peer = arg;
	struct session_view view;

	if (peer->greeted && peer->greeted != session)
		session_close(peer->greeted, SESSION_REPLACED, "by a newer connection");
	peer->greeted = session;
	session_look(session, clock_monotonic_ms(), &view);
	memcpy(peer->name, view.hello->name, sizeof(peer->name));
	memcpy(peer->version, view.hello->version, sizeof(peer->version));
	peer->connections++;
	enter(peer, FLEET_SYNCING);
}

static void note_end(struct fleet_peer *peer, const struct session_view *view, bool counted)
{
	snprintf(peer->why, sizeof(peer->why), "%s", view->why);
	if (counted) {
		peer->losses++;
		log_reason(peer, EVENT_peer_lost, LOG_WARNING,
			   view->end == SESSION_STOPPED ? "gone" : "lost");
		peer->was_synced = false;
		enter(peer, FLEET_UNREACHABLE);
	} else if (view->end == SESSION_REFUSED) {
		log_reason(peer, EVENT_peer_refused, LOG_ERR, "refused");
		enter(peer, FLEET_REFUSED);
		peer->try_ms = clock_monotonic_ms() + RETRY_REFUSED_MS;
	} else {
		log_reason(peer, EVENT_peer_lost, LOG_WARNING, "no session");
		enter(peer, FLEET_UNREACHABLE);
	}
}

/* Whether a newer connection has shown the key and waits for its HELLO. The peer, which has had
 * ours, may have closed the older one for it: that is no loss. If it does not greet, its own end
 * says so. */
static bool is_taken_over(const struct fleet_peer *peer)
{
	struct session_view view;

	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		if (!peer->sessions[i])
			continue;
		session_look(peer->sessions[i], clock_monotonic_ms(), &view);
		if (view.state == SESSION_GREETS)
			return true;
	}
	return false;
}

static void on_ended(void *arg, struct session *session)
{
	struct fleet_peer *peer = arg;
	struct session_view view;
	bool counted = peer->greeted == session;

	session_look(session, clock_monotonic_ms(), &view);
	if (counted)
		peer->greeted = NULL;
	if (view.end == SESSION_REPLACED || (counted && is_taken_over(peer)))
		return;
	peer->try_ms = clock_monotonic_ms() + RETRY_MS;
	if (peer->greeted && !counted)
		return; /* another one is in use */
	note_end(peer, &view, counted);
}

/* NULL: too many are being made. */
static struct session **free_place(struct fleet_peer *peer)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		if (!peer->sessions[i])
			return &peer->sessions[i];
	return NULL;
}

static bool add_session(struct fleet_peer *peer, int fd)
{
	const struct session_options options = {.node = &peer->fleet->node,
						.connects = peer->connects,
						.number = peer->number,
						.greeted = on_greeted,
						.ended = on_ended,
						.arg = peer};
	struct session **place = free_place(peer);

	if (!place) {
		close(fd);
		return false;
	}
	*place = session_new(&options, fd);
	if (*place && !peer->greeted && peer->state != FLEET_REFUSED)
		enter(peer, FLEET_GREETING);
	return *place;
}

bool peer_accept(struct fleet_peer *peer, int fd)
{
	if (!peer->connects && !peer->begun) {
		peer->begun = add_session(peer, fd);
		return peer->begun;
	}
	close(fd); /* its list of nodes is another one; or it connects without end */
	return false;
}

/* ---- connecting ---- */

static void note_unreachable(struct fleet_peer *peer, int error)
{
	peer->try_ms = clock_monotonic_ms() + RETRY_MS;
	if (peer->greeted)
		return; /* another one is in use */
	snprintf(peer->why, sizeof(peer->why), "%s", strerror(error));
	enter(peer, FLEET_UNREACHABLE);
	log_reason(peer, EVENT_peer_lost, LOG_WARNING, "cannot be reached");
}

static void end_try(struct fleet_peer *peer)
{
	if (peer->connected)
		event_free(peer->connected);
	peer->connected = NULL;
	peer->fd = -1;
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct fleet_peer *peer = arg;
	socklen_t length = sizeof(int);
	int error = 0;

	end_try(peer);
	if (what & EV_TIMEOUT)
		error = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length))
		error = errno;
	if (!error) {
		add_session(peer, fd);
		return;
	}
	close(fd);
	note_unreachable(peer, error);
}

/* From this node's address, by which the peer knows it. */
static int connect_from(const struct addr *own, const struct addr *to, uint16_t port, int *ret)
{
	struct sockaddr_storage local, remote;
	socklen_t local_length = addr_to_sockaddr(own, 0, &local),
		  remote_length = addr_to_sockaddr(to, port, &remote);
	int fd = socket(remote.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;
	const int on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&local, local_length) ||
	    (connect(fd, (struct sockaddr *)&remote, remote_length) && errno != EINPROGRESS)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret = fd;
	return 0;
}

static void try_to_connect(struct fleet_peer *peer)
{
	struct fleet *fleet = peer->fleet;
	const struct timeval limit = clock_span_ms(CONNECT_MS);
	int rc = connect_from(&fleet->own, &peer->address, fleet->peers_config.port, &peer->fd);

	if (rc) {
		note_unreachable(peer, -rc);
		return;
	}
	peer->connected = event_new(fleet->options.base, peer->fd, EV_WRITE, on_connected, peer);
	if (peer->connected && !event_add(peer->connected, &limit))
		return;
	close(peer->fd);
	end_try(peer);
	note_unreachable(peer, ENOMEM);
}

static unsigned count_sessions(const struct fleet_peer *peer)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		count += peer->sessions[i] != NULL;
	return count;
}

/* The one in use has a key that is not the first any more. Another takes its place before the key
 * is removed; it does once the peer has the new key, too. */
static bool is_outdated(const struct fleet_peer *peer, uint64_t now_ms)
{
	struct session_view view;

	return peer_look(peer, now_ms, &view) && view.state == SESSION_OPEN &&
	       strcmp(view.key, peer->fleet->node.keys.list[0].id) != 0;
}

/* ---- time ---- */

static void drop_ended(struct fleet_peer *peer, uint64_t now_ms)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		struct session_view view;

		if (!peer->sessions[i])
			continue;
		session_look(peer->sessions[i], now_ms, &view);
		if (view.state != SESSION_CLOSED)
			continue;
		session_free(peer->sessions[i], false);
		peer->sessions[i] = NULL;
	}
}

/* It may be that of another machine than before. */
static void note_identity(struct fleet_peer *peer, uint64_t identity, uint64_t now_ms)
{
	if (!identity || identity == peer->identity)
		return;
	if (peer->identity) {
		peer->former = peer->identity;
		peer->former_ms = now_ms;
	}
	peer->identity = identity;
}

static void note_progress(struct fleet_peer *peer, uint64_t now_ms)
{
	struct session_view view;

	if (!peer_look(peer, now_ms, &view))
		return;
	note_identity(peer, view.identity, now_ms);
	enter(peer, view.synced && view.beat.synced ? FLEET_SYNCED : FLEET_SYNCING);
	if (peer->state != FLEET_SYNCED)
		return;
	if (peer->since_ms + STEADY_MS <= now_ms)
		peer->syncs = 0;
	if (!peer->was_synced && peer->syncs < SYNCS)
		log_synced(peer);
}

void peer_tick(struct fleet_peer *peer, uint64_t now_ms)
{
	peer->begun = false;
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		if (peer->sessions[i])
			session_tick(peer->sessions[i], now_ms);
	drop_ended(peer, now_ms);
	note_progress(peer, now_ms);
	if (peer->connects && !peer->connected && now_ms >= peer->try_ms &&
	    count_sessions(peer) <= is_outdated(peer, now_ms))
		try_to_connect(peer);
}

void peer_check_key(struct fleet_peer *peer)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		struct session_view view;

		if (!peer->sessions[i])
			continue;
		session_look(peer->sessions[i], clock_monotonic_ms(), &view);
		if (*view.key &&
		    !fleet_keys_find(&peer->fleet->node.keys, view.key, strlen(view.key)))
			session_close(peer->sessions[i], SESSION_LOST,
				      "its key %s is no longer in key-file", view.key);
	}
}

/* ---- begin and end ---- */

void peer_init(struct fleet_peer *peer, struct fleet *fleet, const struct addr *address,
	       unsigned number)
{
	*peer = (struct fleet_peer){.fleet = fleet,
				    .address = *address,
				    .number = number,
				    .connects = addr_compare(&fleet->own, address) < 0,
				    .fd = -1};
	enter(peer, FLEET_UNREACHABLE);
	if (!peer->connects)
		snprintf(peer->why, sizeof(peer->why), "it has not connected yet");
}

void peer_done(struct fleet_peer *peer, bool stops)
{
	if (peer->connected)
		close(peer->fd);
	end_try(peer);
	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		session_free(peer->sessions[i], stops);
		peer->sessions[i] = NULL;
	}
	peer->greeted = NULL;
}

bool peer_look(const struct fleet_peer *peer, uint64_t now_ms, struct session_view *ret)
{
	if (!peer->greeted)
		return false;
	session_look(peer->greeted, now_ms, ret);
	return true;
}
