/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A session sends from the loop, each tick and whenever there is room in its buffer. What comes is
 * taken in a task, as it changes slots: it may not run in the pauses of a commit or of the sweep.
 * Both buffers are bounded: what cannot be sent stays a bit in the data plane, and what is not
 * taken yet keeps the peer from sending. */
#include "session.h"

#include <errno.h>
#include <limits.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "exchange.h"

#define OUTPUT_MOST  (256 * 1024)  /* bytes that wait to be sent */
#define OUTPUT_LOW   (64 * 1024)   /* then more is put there */
#define INPUT_MOST   (1024 * 1024) /* bytes that wait to be taken; then no more is read */
#define GREET_MS     5000          /* for handshake and HELLO */
#define BEAT_MS      300
#define LOST_MS      10 /* and the way there and back, without an acknowledgement of what was sent */
#define SILENT_MS    3000  /* without a byte: the peer is lost */
#define PROGRESS_MS  10000 /* without a frame but beats, though not everything was told */
#define UNREAD_MS    30000 /* without an echo of a new beat: a long commit keeps it from taking */
#define TELL_MS      60000 /* to tell everything */
#define RTO_MIN_US   50000 /* before TCP sends again, longer than acknowledgements are delayed */
#define SHARES       4     /* calls of exchange_fill in a turn */
#define TAKE_MS      20    /* likewise: one of services may take long */
#define TAKE_FRAMES  16 /* in one task: a peer that always has more must not hold up other tasks */
#define PART_MS      1000 /* for the reason of a refusal to be sent */
#define TICK_MOST_MS 100  /* that a tick counts for: lbd may have been late, and not the peer */

#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US 45 /* Linux 6.15; older kernels refuse it, and wait 200 ms */
#endif

struct session {
	struct session_options options;
	struct bufferevent *bev;
	SSL *ssl; /* of bev */
	struct tls_end tls;
	enum session_state state;
	enum session_end end;
	char why[SESSION_WHY];

	struct fleet_hello hello;
	uint8_t version;        /* that both speak; 0: not known yet */
	uint64_t identity;      /* of the peer; 0: not known */
	struct fleet_beat beat; /* the peer's last one */
	uint64_t beat_ms;       /* when it came; 0: none yet */
	uint64_t sent_beat_ms;
	uint32_t rtt_ms;
	uint64_t sequence, expected; /* numbers of frames: the next one sent, and taken */
	uint64_t sent, received;

	uint64_t tick_ms; /* of the last tick */
	/* ms: in this state; without a byte; without a frame but beats; without an echo of a beat;
	 * not synced */
	unsigned in_state, silent, idle, unread, unsynced;
	bool more;          /* the last share was not complete */
	uint64_t behind_ms; /* since when something waits; 0: nothing does */

	uint8_t *frame;     /* FRAME_MOST bytes: the one that is being taken */
	bool queued;        /* the task has been added */
	bool known;         /* dataplane_peer_open was called */
	bool taking, freed; /* session_free was called while the task paused */
	bool full;          /* no more is read before some of it is taken */
	bool ends;          /* the connection has ended; what has come is still taken */
};

static struct session_node *node_of(const struct session *session)
{
	return session->options.node;
}

static void enter(struct session *session, enum session_state state)
{
	session->state = state;
	session->in_state = 0;
}

/* ---- the end ---- */

static void leave_dataplane(struct session *session)
{
	if (session->known)
		dataplane_peer_close(node_of(session)->dp, session->options.number);
	session->known = false;
}

static void end(struct session *session, enum session_end how)
{
	if (session->state == SESSION_CLOSED)
		return;
	enter(session, SESSION_CLOSED);
	session->end = how;
	leave_dataplane(session);
	bufferevent_free(session->bev);
	session->bev = NULL;
	session->ssl = NULL;
	session->options.ended(session->options.arg, session);
}

void session_close(struct session *session, enum session_end how, const char *format, ...)
{
	va_list args;

	if (session->state == SESSION_CLOSED)
		return;
	va_start(args, format);
	vsnprintf(session->why, sizeof(session->why), format, args);
	va_end(args);
	end(session, how);
}

static void destroy(struct session *session)
{
	free(session->frame);
	free(session);
}

/* Past what waits in the buffer there is no place for it; then the peer sees an end like any
 * other. */
static void say_bye(struct session *session)
{
	uint8_t bytes[FRAME_HEAD + 8];
	struct frame_writer writer = {.bytes = bytes,
				      .room = sizeof(bytes),
				      .version = session->version,
				      .sequence = session->sequence};

	if (session->state != SESSION_OPEN ||
	    evbuffer_get_length(bufferevent_get_output(session->bev)) || !frame_put_bye(&writer))
		return;
	if (SSL_write(session->ssl, bytes, (int)writer.used) > 0)
		SSL_shutdown(session->ssl);
}

void session_free(struct session *session, bool stops)
{
	if (!session)
		return;
	if (session->state != SESSION_CLOSED) {
		if (stops)
			say_bye(session);
		leave_dataplane(session);
		session->state = SESSION_CLOSED;
		bufferevent_free(session->bev);
		session->bev = NULL;
	}
	session->freed = true;
	if (!session->queued && !session->taking)
		destroy(session);
}

/* ---- sending ---- */

static void write_frames(struct session *session, const struct frame_writer *writer)
{
	if (!writer->used)
		return;
	session->sequence = writer->sequence;
	session->sent += writer->used;
	bufferevent_write(session->bev, writer->bytes, writer->used);
}

static struct frame_writer writer_of(const struct session *session)
{
	return (struct frame_writer){.bytes = node_of(session)->chunk,
				     .room = FRAME_MOST,
				     .version = session->version,
				     .sequence = session->sequence};
}

/* As much as there is, room for it, and time in one turn of the loop. */
static void share(struct session *session)
{
	struct evbuffer *output = bufferevent_get_output(session->bev);

	session->more = true;
	for (unsigned i = 0;
	     session->more && i < SHARES && evbuffer_get_length(output) < OUTPUT_MOST; i++) {
		struct frame_writer writer = writer_of(session);

		session->more =
		    !exchange_fill(node_of(session)->dp, session->options.number, &writer);
		write_frames(session, &writer);
	}
}

static void send_hello(struct session *session)
{
	const struct session_node *node = node_of(session);
	struct frame_writer writer = writer_of(session);
	struct fleet_hello hello = {.boot = node->boot,
				    .config_digest = node->config_digest,
				    .buckets = dataplane_flow_buckets(node->dp),
				    .version = LBD_VERSION,
				    .speaks = node->speaks};

	if (tls_digest(session->ssl, dataplane_hash_seed(node->dp), &hello.seed_digest)) {
		session_close(session, SESSION_LOST, "TLS: no digest of the seed");
		return;
	}
	memcpy(hello.name, node->name, sizeof(hello.name));
	frame_put_hello(&writer, &hello);
	write_frames(session, &writer);
}

static void send_beat(struct session *session, uint64_t now_ms)
{
	struct frame_writer writer = writer_of(session);
	struct dp_share_stats stats;
	struct fleet_beat beat = {
	    .sent_ms = now_ms,
	    .echo_ms = session->beat.sent_ms,
	    .held_ms = session->beat_ms ? now_ms - session->beat_ms : 0,
	    .config_digest = node_of(session)->config_digest,
	    .behind = session->behind_ms ? (uint32_t)(now_ms - session->behind_ms) : 0,
	    .synced = dataplane_peer_synced(node_of(session)->dp, session->options.number),
	};

	dataplane_share_stats(node_of(session)->dp, &stats);
	beat.conflicts = stats.conflicts;
	beat.unplaced = stats.unplaced;
	frame_put_beat(&writer, &beat);
	write_frames(session, &writer);
	session->sent_beat_ms = now_ms;
}

/* The peer learns why before the connection ends. */
static void refuse(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(struct session *session, const char *format, ...)
{
	struct frame_writer writer = writer_of(session);
	va_list args;

	va_start(args, format);
	vsnprintf(session->why, REFUSED_TEXT, format, args);
	va_end(args);
	frame_put_refused(&writer, session->why);
	write_frames(session, &writer);
	leave_dataplane(session);
	enter(session, SESSION_PARTS);
}

/* ---- HELLO ---- */

/* The latest version that both speak; 0: there is none. */
static uint8_t common_version(const struct fleet_range *a, const struct fleet_range *b)
{
	uint8_t latest = a->latest < b->latest ? a->latest : b->latest;

	return latest >= a->oldest && latest >= b->oldest ? latest : 0;
}

/* Sentences that hold at either end, as the peer is told the same one. */
static bool fits(struct session *session, const struct fleet_hello *hello)
{
	const struct dataplane *dp = node_of(session)->dp;
	uint64_t digest;

	if (tls_digest(session->ssl, dataplane_hash_seed(dp), &digest))
		session_close(session, SESSION_LOST, "TLS: no digest of the seed");
	else if (hello->seed_digest != digest)
		refuse(session,
		       "the hash seeds differ: expected the same hash-seed in both configs");
	else if (!common_version(&hello->speaks, &node_of(session)->speaks))
		refuse(
		    session,
		    "versions %u to %u and %u to %u of the protocol: expected lbds that have one "
		    "in common: upgrade by way of a version between them",
		    hello->speaks.oldest, hello->speaks.latest, node_of(session)->speaks.oldest,
		    node_of(session)->speaks.latest);
	else if (hello->buckets != dataplane_flow_buckets(dp))
		refuse(session,
		       "the flow tables have %u and %u buckets: expected the same limits: flows "
		       "in both configs",
		       hello->buckets, dataplane_flow_buckets(dp));
	else if (hello->boot == node_of(session)->boot)
		refuse(session, "this is the node itself");
	else
		return true;
	return false;
}

static void send_node(struct session *session)
{
	struct frame_writer writer = writer_of(session);

	frame_put_node(&writer, node_of(session)->identity);
	write_frames(session, &writer);
}

static void take_hello(struct session *session, const struct frame *frame)
{
	struct fleet_hello hello;

	if (frame->type != FRAME_HELLO || frame_get_hello(frame, &hello)) {
		session_close(session, SESSION_LOST, "it does not begin with HELLO");
		return;
	}
	if (!fits(session, &hello))
		return;
	session->hello = hello;
	session->version = common_version(&hello.speaks, &node_of(session)->speaks);
	enter(session, SESSION_OPENS);
	if (session->version >= 2)
		send_node(session);
	session->options.greeted(session->options.arg, session);
}

/* ---- taking ---- */

static void take_beat(struct session *session, const struct frame *frame)
{
	uint64_t now_ms = clock_monotonic_ms(), back;
	struct fleet_beat beat;

	if (frame_get_beat(frame, &beat)) {
		session_close(session, SESSION_LOST, "it sent a beat that no node sends");
		return;
	}
	back = beat.echo_ms + beat.held_ms;
	if (beat.echo_ms && back <= now_ms && now_ms - back < UINT32_MAX)
		session->rtt_ms = (uint32_t)(now_ms - back);
	if (beat.echo_ms != session->beat.echo_ms)
		session->unread = 0;
	session->beat = beat;
	session->beat_ms = now_ms;
}

static void take_refusal(struct session *session, const struct frame *frame)
{
	char why[REFUSED_TEXT];

	if (frame_get_refused(frame, why))
		session_close(session, SESSION_LOST, "it refused, in no text");
	else if (session->state != SESSION_PARTS) /* else both say the same */
		session_close(session, SESSION_REFUSED, "%s", why);
}

/* Once in a session: it belongs to the start of an lbd. */
static void take_node(struct session *session, const struct frame *frame)
{
	uint64_t identity = frame_get_node(frame);

	if (session->identity && session->identity != identity)
		session_close(session, SESSION_LOST, "it sent another identity than before");
	else
		session->identity = identity;
}

static void take_other(struct session *session, const struct frame *frame)
{
	switch (frame->type) {
	case FRAME_BEAT:
		take_beat(session, frame);
		break;
	case FRAME_NODE:
		take_node(session, frame);
		break;
	case FRAME_BYE:
		session_close(session, SESSION_STOPPED, "its lbd was stopped");
		break;
	default:
		session_close(session, SESSION_LOST,
			      "it sent a frame of type %u, which does not "
			      "belong there",
			      frame->type);
	}
}

static void take_frame(struct session *session, const struct frame *frame)
{
	const char *why = "";
	int rc;

	if (frame->type == FRAME_REFUSED) {
		take_refusal(session, frame);
		return;
	}
	if (session->state == SESSION_GREETS) {
		take_hello(session, frame);
		return;
	}
	rc = exchange_take(node_of(session)->dp, session->options.number, frame, &why);
	if (session->state != SESSION_OPEN)
		return; /* it ended in a pause */
	if (rc == -ENOMEM)
		session_close(session, SESSION_LOST, "out of memory");
	else if (rc < 0)
		session_close(session, SESSION_LOST, "it sent %s", why);
	else if (rc > 0)
		take_other(session, frame);
	else
		session->idle = 0;
	if (frame->type == FRAME_END)
		session->unsynced = 0; /* it has told everything; more was asked for since */
}

static uint32_t length_of(const uint8_t head[FRAME_HEAD])
{
	return (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
	       (uint32_t)head[3] << 24;
}

/* After a refusal: what has come is of no use, but the peer's own refusal shows that it has all
 * that it needs. To close before that could cost it the reason. */
static void take_parting(struct session *session)
{
	struct evbuffer *input = bufferevent_get_input(session->bev);
	uint8_t head[FRAME_HEAD];

	while (evbuffer_copyout(input, head, sizeof(head)) == sizeof(head)) {
		uint32_t length = length_of(head);

		if (length < FRAME_HEAD || length > FRAME_MOST)
			evbuffer_drain(input, evbuffer_get_length(input));
		if (evbuffer_get_length(input) < length)
			return;
		evbuffer_drain(input, length);
		if (head[4] != FRAME_REFUSED)
			continue;
		end(session, SESSION_REFUSED);
		return;
	}
}

static bool has_right_version(struct session *session, const uint8_t head[FRAME_HEAD])
{
	uint8_t type = head[4], version = head[5];
	bool same_in_all = type == FRAME_HELLO || type == FRAME_REFUSED;
	uint8_t expected = same_in_all || !session->version ? FRAME_FIRST : session->version;

	if (version == expected)
		return true;
	if (session->state == SESSION_GREETS)
		refuse(
		    session,
		    "it begins with version %u of the protocol, and not with %u: expected an lbd",
		    version, expected);
	else
		session_close(session, SESSION_LOST,
			      "it sent a frame of version %u, and not %u, of the protocol", version,
			      expected);
	return false;
}

/* The next frame, copied out of the buffer: the session may end in a pause. False: there is none,
 * or the session has ended. */
static bool next_frame(struct session *session, struct frame *ret)
{
	struct evbuffer *input = bufferevent_get_input(session->bev);
	uint8_t head[FRAME_HEAD];
	const char *why = "";
	size_t have = evbuffer_get_length(input);
	uint32_t length;
	int rc;

	if (have < FRAME_HEAD)
		return false;
	evbuffer_copyout(input, head, sizeof(head));
	length = length_of(head);
	if (!has_right_version(session, head))
		return false;
	if (length > FRAME_MOST || length < FRAME_HEAD) {
		session_close(session, SESSION_LOST, "it sent a frame of %u bytes", length);
		return false;
	}
	if (have < length)
		return false;
	evbuffer_remove(input, session->frame, length);
	session->received += length;
	rc = frame_next(session->frame, length, ret, &why);
	if (rc > 0 && ret->sequence == session->expected++)
		return true;
	session_close(session, SESSION_LOST, "it sent %s", rc > 0 ? "a frame out of order" : why);
	return false;
}

static void join_dataplane(struct session *session)
{
	if (dataplane_peer_open(node_of(session)->dp, session->options.number)) {
		session_close(session, SESSION_LOST, "out of memory");
		return;
	}
	session->known = true;
	session->idle = session->unread = session->unsynced = 0;
	enter(session, SESSION_OPEN);
}

/* False: there may be more. */
static bool take_frames(struct session *session)
{
	unsigned most = node_of(session)->tasks ? TAKE_FRAMES : UINT_MAX;
	uint64_t begin_ms = clock_monotonic_ms();
	struct frame frame;

	for (; session->state == SESSION_OPEN && most; most--) {
		if (!next_frame(session, &frame))
			return true;
		if (most < TAKE_FRAMES && clock_monotonic_ms() - begin_ms > TAKE_MS)
			most = 1; /* the last one */
		take_frame(session, &frame);
		task_pause();
	}
	return session->state != SESSION_OPEN;
}

static void queue_take(struct session *session);

/* The task. */
static void run_take(void *arg)
{
	struct session *session = arg;
	bool all;

	session->queued = false;
	session->taking = true;
	if (session->state == SESSION_OPENS)
		join_dataplane(session);
	all = take_frames(session);
	session->taking = false;
	if (session->state == SESSION_OPEN && !all)
		queue_take(session);
	else if (session->ends && session->state == SESSION_OPEN)
		end(session, SESSION_LOST);
	if (session->freed)
		destroy(session);
}

static void queue_take(struct session *session)
{
	struct tasks *tasks = node_of(session)->tasks;

	if (session->queued || session->taking)
		return;
	session->queued = true;
	if (!tasks)
		run_take(session);
	else if (tasks_add(tasks, run_take, session))
		session->queued = false; /* the next tick tries again */
}

static bool has_input(const struct session *session)
{
	return evbuffer_get_length(bufferevent_get_input(session->bev)) >= FRAME_HEAD;
}

/* HELLO, and its refusal, change nothing but the session. */
static void take_greeting(struct session *session)
{
	struct frame frame;

	if (session->state == SESSION_GREETS && next_frame(session, &frame))
		take_frame(session, &frame);
}

static void go_on(struct session *session)
{
	take_greeting(session);
	if (session->state == SESSION_OPENS ||
	    (session->state == SESSION_OPEN && (session->ends || has_input(session))))
		queue_take(session);
}

/* ---- events ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
	struct session *session = arg;
	struct evbuffer *input = bufferevent_get_input(bev);

	session->silent = 0;
	if (session->state == SESSION_PARTS) {
		take_parting(session);
		return;
	}
	session->full = evbuffer_get_length(input) > INPUT_MOST;
	if (session->full)
		bufferevent_disable(bev, EV_READ);
	go_on(session);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct session *session = arg;

	if (session->state == SESSION_OPEN && session->more)
		share(session);
}

/* Not before: libevent makes new events then, of the priority of the core. While there is always
 * more to be sent, as marks in a flood of ACKs, tasks and requests would get no turn. */
static void on_connected(struct session *session)
{
	bufferevent_priority_set(session->bev,
				 loop_priority_in(node_of(session)->base, LOOP_CONTROL));
	enter(session, SESSION_GREETS);
	send_hello(session);
}

/* The handshake failed, or was cut off. The end that accepts knows the key that it was offered; the
 * other one only that it was refused. */
static void explain_handshake(struct session *session, unsigned long code, int error)
{
	if (session->tls.stranger)
		session_close(session, SESSION_REFUSED,
			      "its key%s%s is not in key-file: expected the same keys on all nodes",
			      *session->tls.theirs ? " " : "", session->tls.theirs);
	else if (code && session->options.connects)
		session_close(session, SESSION_REFUSED,
			      "it refuses key %s (TLS: %s): expected the same keys on all nodes",
			      session->tls.key, tls_error(code));
	else if (code)
		session_close(session, SESSION_REFUSED, "TLS: %s", tls_error(code));
	else
		session_close(session, SESSION_LOST, "the connection ended in the handshake%s%s",
			      error ? ": " : "", error ? strerror(error) : "");
}

/* What has come before the end is taken: a node that dies has told of its flows until then. */
static void end_after_input(struct session *session, unsigned long code, int error)
{
	if (code)
		snprintf(session->why, sizeof(session->why), "TLS: %s", tls_error(code));
	else
		snprintf(session->why, sizeof(session->why), "the connection ended%s%s",
			 error ? ": " : "", error ? strerror(error) : "");
	session->ends = true;
	bufferevent_disable(session->bev, EV_READ | EV_WRITE);
	queue_take(session);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct session *session = arg;
	int error = what & BEV_EVENT_ERROR ? EVUTIL_SOCKET_ERROR() : 0;
	unsigned long code = bufferevent_get_openssl_error(bev);

	if (what & BEV_EVENT_CONNECTED) {
		on_connected(session);
		return;
	}
	if (session->state == SESSION_SHAKES) {
		explain_handshake(session, code, error);
		return;
	}
	take_greeting(session); /* why it refused us may be in the buffer */
	if (session->state == SESSION_CLOSED || session->ends)
		return;
	if (session->state == SESSION_PARTS)
		end(session, SESSION_REFUSED);
	else if (session->state == SESSION_GREETS)
		session_close(session, SESSION_LOST, "the connection ended before HELLO");
	else
		end_after_input(session, code, error);
}

/* ---- time ---- */

/* The peer is given up if it was silent, does not read, or does not tell everything: as long as it
 * does not, slots do not settle here. */
static void look_at_peer(struct session *session)
{
	if (session->silent > SILENT_MS)
		session_close(session, SESSION_LOST, "silent for %u s", SILENT_MS / 1000);
	else if (session->state != SESSION_OPEN)
		return;
	else if (session->unsynced && session->idle > PROGRESS_MS)
		session_close(session, SESSION_LOST,
			      "it has told nothing for %u s, and not everything",
			      PROGRESS_MS / 1000);
	else if (session->unread > UNREAD_MS)
		session_close(session, SESSION_LOST, "it has read nothing for %u s",
			      UNREAD_MS / 1000);
	else if (session->unsynced > TELL_MS)
		session_close(session, SESSION_LOST, "it has not told everything in %u s",
			      TELL_MS / 1000);
}

static void count_time(struct session *session, uint64_t now_ms)
{
	const struct session_node *node = node_of(session);
	uint64_t passed = session->tick_ms ? now_ms - session->tick_ms : 0;
	unsigned ms = passed < TICK_MOST_MS ? (unsigned)passed : TICK_MOST_MS;

	session->tick_ms = now_ms;
	session->in_state += ms;
	if (session->queued || session->taking)
		return; /* lbd is late, not the peer */
	session->silent += ms;
	session->idle += ms;
	session->unread += ms;
	if (session->state == SESSION_OPEN &&
	    !dataplane_peer_synced(node->dp, session->options.number))
		session->unsynced += ms ? ms : 1;
	else
		session->unsynced = 0;
}

/* TCP takes a segment for lost when a later one is acknowledged. If none follows it waits 200 ms
 * (TCP_RTO_MIN), in which the peer does not know the flows that were in it. So a beat follows, at
 * each tick until all has been acknowledged, unless there is more that TCP may not send yet. */
static bool may_be_lost(const struct session *session)
{
	int fd = bufferevent_getfd(session->bev), unsent = 0;
	struct tcp_info info;
	socklen_t length = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) && info.tcpi_unacked &&
	       info.tcpi_last_data_sent >= LOST_MS + info.tcpi_rtt / 1000 &&
	       !ioctl(fd, SIOCOUTQNSD, &unsent) && !unsent;
}

static void tick_open(struct session *session, uint64_t now_ms)
{
	bool waits = session->more || evbuffer_get_length(bufferevent_get_output(session->bev));

	if (!waits)
		session->behind_ms = 0;
	else if (!session->behind_ms)
		session->behind_ms = now_ms;
	share(session);
	/* beats also go where there is always more to be sent: the buffer is full then */
	if ((now_ms - session->sent_beat_ms >= BEAT_MS || may_be_lost(session)) &&
	    evbuffer_get_length(bufferevent_get_output(session->bev)) <
		OUTPUT_MOST + 2 * FRAME_MOST)
		send_beat(session, now_ms);
}

static void read_on(struct session *session)
{
	struct evbuffer *input = bufferevent_get_input(session->bev);

	if (!session->full || evbuffer_get_length(input) > INPUT_MOST / 2)
		return;
	session->full = false;
	bufferevent_enable(session->bev, EV_READ);
}

void session_tick(struct session *session, uint64_t now_ms)
{
	if (session->state == SESSION_CLOSED)
		return;
	count_time(session, now_ms);
	if (session->state == SESSION_PARTS) {
		if (session->in_state > PART_MS)
			end(session, SESSION_REFUSED);
		return;
	}
	if (session->state < SESSION_OPENS) {
		if (session->in_state > GREET_MS)
			session_close(session, SESSION_LOST, "no %s within %u s",
				      session->state == SESSION_SHAKES ? "TLS handshake" : "HELLO",
				      GREET_MS / 1000);
		return;
	}
	if (session->ends) {
		queue_take(session);
		return;
	}
	look_at_peer(session);
	if (session->state != SESSION_CLOSED)
		read_on(session);
	if (session->state != SESSION_CLOSED)
		go_on(session);
	if (session->state == SESSION_OPEN && !session->ends)
		tick_open(session, now_ms);
}

/* ---- begin ---- */

static struct bufferevent *make_bufferevent(struct session *session, int fd)
{
	const struct session_node *node = node_of(session);
	enum bufferevent_ssl_state state =
	    session->options.connects ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING;
	const int on = 1, rto_min_us = RTO_MIN_US;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_RTO_MIN_US, &rto_min_us, sizeof(rto_min_us));
	session->ssl = tls_connection(node->tls, &session->tls);
	if (!session->ssl)
		return NULL;
	/* if it fails, it has freed the SSL */
	return bufferevent_openssl_socket_new(node->base, fd, session->ssl, state,
					      BEV_OPT_CLOSE_ON_FREE);
}

struct session *session_new(const struct session_options *options, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session)
		*session = (struct session){
		    .options = *options, .rtt_ms = UINT32_MAX, .tls.keys = &options->node->keys};
	if (session)
		session->frame = malloc(FRAME_MOST);
	if (!session || !session->frame || !(session->bev = make_bufferevent(session, fd))) {
		close(fd);
		if (session)
			destroy(session);
		return NULL;
	}
	bufferevent_setcb(session->bev, on_read, on_write, on_event, session);
	bufferevent_setwatermark(session->bev, EV_WRITE, OUTPUT_LOW, 0);
	bufferevent_enable(session->bev, EV_READ | EV_WRITE);
	return session;
}

void session_look(const struct session *session, uint64_t now_ms, struct session_view *ret)
{
	const struct dataplane *dp = node_of(session)->dp;
	bool open = session->state == SESSION_OPEN;

	*ret = (struct session_view){
	    .state = session->state,
	    .end = session->end,
	    .why = session->why,
	    .key = session->tls.key,
	    .hello = &session->hello,
	    .version = session->version,
	    .identity = session->identity,
	    .beat = session->beat,
	    .synced = open && dataplane_peer_synced(dp, session->options.number),
	    .told = open && dataplane_peer_told(dp, session->options.number),
	    .behind_ms = session->behind_ms ? (uint32_t)(now_ms - session->behind_ms) : 0,
	    .rtt_ms = session->rtt_ms,
	    .sent = session->sent,
	    .received = session->received,
	};
}
