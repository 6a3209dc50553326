/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections of a face, from accept to close. A connection is greeted, if it speaks TLS, read
 * until its request is whole, waits for its answer, sends it, and after a refusal reads on for a
 * moment, so that the refusal is not lost with what the client still sends. One timer limits each
 * of these stages as a whole: single bytes do not prolong it. */
#include "face.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/plural.h"
#include "stream.h"

#define ERROR_FORMAT  "{\"error\":\"%s\",\"hint\":\"%s\"}\n"
#define ACCEPTS_MAX   16    /* in one turn of the loop */
#define REST_MS       200   /* after accept has failed: it would fail again at once */
#define READ_MAX      16384 /* bytes in one turn */
#define SEND_MAX      65536
#define SEND_BUFFER   65536 /* bytes of an answer that wait in the kernel; it doubles this */
#define HEAD_MAX      (384 + FACE_FIELDS_MAX) /* of an answer */
#define LINGER_MS     500
#define WARN_EVERY_MS 60000
#define STALLED_MS    1000 /* without a byte taken: an answer gives way to another */

enum stage { GREETING, READING, WAITING, SENDING, LINGERING };

TAILQ_HEAD(call_list, face_call);

struct face_call {
	TAILQ_ENTRY(face_call) link; /* in the face's list of its stage, oldest first */
	TAILQ_ENTRY(face_call) wait;
	struct face_waiters *waiters; /* the list that `wait` is in; NULL: none */
	struct face *face;
	struct stream stream;
	enum stage stage;
	uint64_t since_ms; /* CLOCK_MONOTONIC when the stage began */
	uint64_t moved_ms; /* the same of the answer's last bytes */
	struct event io, deadline;
	char *in; /* what was read */
	size_t in_length, in_size;
	struct http_request request;
	bool counted; /* among the answers under way; a refusal is not */
	bool refused; /* by status: linger after the answer */
	bool head_only;
	const char *fields; /* of the answer's head; NULL: none of its own */
	char head[HEAD_MAX];
	size_t head_length, sent; /* sent: of head and text together */
	struct text *text;
};

struct face {
	struct face_options options;
	struct event accept, rest; /* rest: after accept has failed */
	struct call_list lists[LINGERING + 1];
	struct face_counts counts;
	size_t bytes; /* of all `in` */
	uint64_t warned_ms, warned_accept_ms;
	uint64_t quiet; /* refusals since the last warning */
};

static const struct {
	const char *name, *text;
} refusals[] = {
#define X(name, text) {#name, text},
    FACE_REFUSALS(X)
#undef X
};

const char *face_refusal_name(enum face_refusal refusal)
{
	return refusals[refusal].name;
}

/* ---- counting ---- */

/* why: of this one, after the text for all such; "": none. */
static void count_refusal_why(struct face *face, enum face_refusal refusal, const char *why)
{
	face->counts.refused[refusal]++;
	face->quiet++;
	if (!log_is_due(&face->warned_ms, WARN_EVERY_MS))
		return;
	log_warning("%s: %s%s%s; %llu refusal%s since the last such line (logged once a minute, "
		    "counted in lbd_face_refused_total)",
		    face->options.name, refusals[refusal].text, *why ? ": " : "", why,
		    (unsigned long long)face->quiet, plural_s(face->quiet));
	face->quiet = 0;
}

static void count_refusal(struct face *face, enum face_refusal refusal)
{
	count_refusal_why(face, refusal, "");
}

/* ---- stages ---- */

static void arm(struct face_call *call, unsigned ms)
{
	const struct timeval wait = clock_span_ms(ms);

	/* otherwise the time counts from the start of this turn of the loop */
	event_base_update_cache_time(call->face->options.base);
	event_add(&call->deadline, &wait);
}

static void enter(struct face_call *call, enum stage stage)
{
	TAILQ_REMOVE(&call->face->lists[call->stage], call, link);
	call->stage = stage;
	call->since_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&call->face->lists[stage], call, link);
}

static void leave_waiters(struct face_call *call)
{
	if (call->waiters)
		TAILQ_REMOVE(call->waiters, call, wait);
	call->waiters = NULL;
}

static void release_input(struct face_call *call)
{
	call->face->bytes -= call->in_size;
	free(call->in);
	call->in = NULL;
	call->in_length = call->in_size = 0;
}

static void count_answer(struct face_call *call, bool under_way)
{
	if (call->counted != under_way)
		call->face->counts.answers += under_way ? 1 : -1U;
	call->counted = under_way;
}

static void close_call(struct face_call *call)
{
	struct face *face = call->face;

	TAILQ_REMOVE(&face->lists[call->stage], call, link);
	leave_waiters(call);
	count_answer(call, false);
	face->counts.connections--;
	event_del(&call->io);
	event_del(&call->deadline);
	release_input(call);
	text_unref(call->text);
	stream_close(&call->stream);
	free(call);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct face_call *call = arg;

	if (call->stage == GREETING)
		count_refusal(call->face, FACE_REFUSED_slow_handshake);
	else if (call->stage == READING)
		count_refusal(call->face, FACE_REFUSED_slow_request);
	else if (call->stage != LINGERING)
		count_refusal(call->face, FACE_REFUSED_slow_answer);
	close_call(call);
}

static void set_priority(const struct face *face, struct event *event, enum loop_priority priority)
{
	event_priority_set(event, loop_priority_in(face->options.base, priority));
}

static bool is_large(const struct face_call *call)
{
	return call->stage == SENDING && call->text && call->text->length >= TEXT_LARGE;
}

static void on_io(evutil_socket_t fd, short what, void *arg);

static void listen_for(struct face_call *call, short what)
{
	event_del(&call->io);
	event_assign(&call->io, call->face->options.base, call->stream.fd, what | EV_PERSIST, on_io,
		     call);
	set_priority(call->face, &call->io,
		     is_large(call) ? LOOP_BULK : call->face->options.priority);
	event_add(&call->io, NULL);
}

/* ---- answers ---- */

static void write_head(struct face_call *call, int status, const char *type)
{
	int length = snprintf(
	    call->head, sizeof(call->head),
	    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%sConnection: close\r\n\r\n",
	    status, http_status_text(status), type, call->text ? call->text->length : 0,
	    status == 503 ? "Retry-After: 1\r\n" : "",
	    status == 401 ? "WWW-Authenticate: Bearer realm=\"lbd\"\r\n" : "",
	    call->fields ? call->fields : "");

	call->head_length = (size_t)length;
}

void face_fields(struct face_call *call, const char *fields)
{
	call->fields = fields;
}

/* Sends in later turns of the loop, in which the answers of a face take turns. */
void face_answer(struct face_call *call, int status, const char *type, struct text *text)
{
	leave_waiters(call);
	if (!text || text->failed) {
		status = 500;
		text = NULL;
	}
	call->text = text ? text_ref(text) : NULL;
	call->sent = 0;
	call->refused = status >= 400;
	write_head(call, status, type);
	release_input(call);
	enter(call, SENDING);
	call->moved_ms = call->since_ms;
	arm(call, call->face->options.limits.answer_ms);
	listen_for(call, EV_WRITE);
}

void face_answer_line(struct face_call *call, int status, const char *line)
{
	struct text *text = text_new();

	if (text && call->face->options.json)
		text_printf(text, ERROR_FORMAT, line, status == 503 ? "Try again" : "");
	else if (text)
		text_printf(text, "%s\n", line);
	face_answer(call, status,
		    call->face->options.json ? "application/json" : "text/plain; charset=utf-8",
		    text);
	text_unref(text);
}

void face_refuse(struct face_call *call, int status, enum face_refusal refusal, const char *line)
{
	count_refusal(call->face, refusal);
	face_answer_line(call, status, line);
}

void face_count_refusal(struct face_call *call, enum face_refusal refusal, const char *why)
{
	count_refusal_why(call->face, refusal, why);
}

void face_wait(struct face_call *call, struct face_waiters *waiters)
{
	call->waiters = waiters;
	TAILQ_INSERT_TAIL(waiters, call, wait);
}

void face_answer_all(struct face_waiters *waiters, int status, const char *type, struct text *text)
{
	struct face_call *call;

	while ((call = TAILQ_FIRST(waiters)))
		face_answer(call, status, type, text);
}

void face_cut(struct face *face, const struct text *text, unsigned older_ms)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct face_call *call, *next;

	for (call = TAILQ_FIRST(&face->lists[SENDING]); call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->text != text || now_ms - call->since_ms < older_ms)
			continue;
		count_refusal(face, FACE_REFUSED_slow_answer);
		close_call(call);
	}
}

/* Closes an answer whose client has stopped taking it, so that one who asks is not kept out.
 * Whether there was one. */
static bool cut_stalled(struct face *face)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct face_call *call = TAILQ_FIRST(&face->lists[SENDING]);

	while (call && now_ms - call->moved_ms < STALLED_MS)
		call = TAILQ_NEXT(call, link);
	if (!call)
		return false;
	count_refusal(face, FACE_REFUSED_slow_answer);
	close_call(call);
	return true;
}

static void finish(struct face_call *call)
{
	stream_finish(&call->stream);
	if (!call->refused) {
		close_call(call);
		return;
	}
	count_answer(call, false);
	text_unref(call->text);
	call->text = NULL;
	enter(call, LINGERING);
	arm(call, LINGER_MS);
	listen_for(call, EV_READ);
}

/* In one call, so that a short answer is one packet. */
static ssize_t send_plain(const struct face_call *call, const struct iovec parts[2])
{
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = 2};
	ssize_t sent = sendmsg(call->stream.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return sent;
}

static void send_some(struct face_call *call)
{
	size_t text_length = call->text && !call->head_only ? call->text->length : 0;
	size_t in_head = call->sent < call->head_length ? call->head_length - call->sent : 0;
	size_t at = call->sent > call->head_length ? call->sent - call->head_length : 0;
	size_t more = text_length - at < SEND_MAX ? text_length - at : SEND_MAX;
	const struct iovec parts[2] = {{call->head + call->head_length - in_head, in_head},
				       {more ? call->text->bytes + at : NULL, more}};
	ssize_t sent = call->stream.ssl ? stream_write(&call->stream, parts[!in_head].iov_base,
						       parts[!in_head].iov_len)
					: send_plain(call, parts);

	if (sent < 0) {
		if (sent != -EAGAIN)
			close_call(call);
		return;
	}
	call->sent += (size_t)sent;
	call->moved_ms = clock_monotonic_ms();
	if (call->sent == call->head_length + text_length)
		finish(call);
}

/* ---- requests ---- */

static void take_request(struct face_call *call)
{
	struct face *face = call->face;

	face->counts.requests++;
	call->head_only = !strcmp(call->request.method, "HEAD");
	if (face->counts.answers >= face->options.limits.answers && !cut_stalled(face)) {
		face_refuse(call, 503, FACE_REFUSED_answers, "too many answers are under way");
		return;
	}
	count_answer(call, true);
	enter(call, WAITING);
	event_del(&call->io);
	arm(call, face->options.limits.answer_ms);
	face->options.handler(face->options.arg, call);
	/* While the loop has much to do, each of its turns lasts some ms. */
	if (call->stage == SENDING && !is_large(call))
		send_some(call);
}

static void refuse_request(struct face_call *call, int status, enum face_refusal refusal,
			   const char *line)
{
	call->face->counts.requests++;
	face_refuse(call, status, refusal, line);
}

static void take_head(struct face_call *call, size_t length)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct face *face = call->face;
	const char *why = "";
	int status = http_parse(call->in, length, &call->request, &why);

	if (status) {
		refuse_request(call, status, FACE_REFUSED_malformed, why);
		return;
	}
	if (face->options.admit && !face->options.admit(face->options.arg, call)) {
		face->counts.requests++;
		return;
	}
	if (call->request.content_length > face->options.limits.body) {
		refuse_request(call, 413, FACE_REFUSED_malformed, "the body is too large");
		return;
	}
	if (call->in_length - length >= call->request.content_length)
		take_request(call);
	else if (call->request.expects_continue &&
		 stream_write(&call->stream, go_on, sizeof(go_on) - 1) < 0)
		close_call(call);
}

/* Bytes were added: `before` were there. The call may be gone afterwards. */
static void take_input(struct face_call *call, size_t before)
{
	size_t length;

	if (call->request.head_length) {
		if (call->in_length - call->request.head_length >= call->request.content_length)
			take_request(call);
		return;
	}
	length = http_head_length(call->in, call->in_length, before);
	if (length > HTTP_HEAD_MAX || (!length && call->in_length > HTTP_HEAD_MAX))
		refuse_request(call, 431, FACE_REFUSED_malformed, "the header is too large");
	else if (length)
		take_head(call, length);
}

/* Room for one read. -ENOBUFS: all memory that requests may use is in use. The texts of a parsed
 * head move with it. */
static int make_room(struct face_call *call)
{
	struct face *face = call->face;
	struct http_request *request = &call->request;
	size_t size = call->in_size ? call->in_size * 2 : 1024;
	char *grown, *old = call->in;

	if (call->in_length < call->in_size)
		return 0;
	if (face->bytes + size - call->in_size > face->options.limits.bytes)
		return -ENOBUFS;
	grown = malloc(size);
	if (!grown)
		return -ENOBUFS;
	if (old)
		memcpy(grown, old, call->in_length);
	if (request->head_length) {
		request->target = grown + (request->target - old);
		request->host = request->host ? grown + (request->host - old) : NULL;
		request->authorization =
		    request->authorization ? grown + (request->authorization - old) : NULL;
	}
	free(old);
	face->bytes += size - call->in_size;
	call->in = grown;
	call->in_size = size;
	return 0;
}

/* No event tells of what is left of a record: it is read at once, and is at most READ_MAX. */
static void read_some(struct face_call *call)
{
	size_t before = call->in_length, room;
	ssize_t got;

	do {
		if (make_room(call)) {
			refuse_request(call, 503, FACE_REFUSED_bytes,
				       "too many requests are being read");
			return;
		}
		room = call->in_size - call->in_length;
		got = stream_read(&call->stream, call->in + call->in_length,
				  room < READ_MAX ? room : READ_MAX);
		call->in_length += got > 0 ? (size_t)got : 0;
	} while (got > 0 && stream_has_more(&call->stream));
	if (got > 0)
		take_input(call, before);
	else if (got != -EAGAIN)
		close_call(call);
}

/* TLS, up to where the request may come. */
static void greet(struct face_call *call)
{
	char why[STREAM_WHY];
	short wait;
	int rc = stream_greet(&call->stream, &wait, why);

	if (rc == -EAGAIN) {
		listen_for(call, wait);
	} else if (rc) {
		count_refusal_why(call->face, FACE_REFUSED_handshake, why);
		close_call(call);
	} else {
		enter(call, READING);
		arm(call, call->face->options.limits.request_ms);
		listen_for(call, EV_READ);
	}
}

static void discard_some(struct face_call *call)
{
	char bytes[READ_MAX];
	ssize_t got = recv(call->stream.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
		close_call(call);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct face_call *call = arg;

	if (call->stage == GREETING)
		greet(call);
	else if (call->stage == READING)
		read_some(call);
	else if (call->stage == SENDING)
		send_some(call);
	else
		discard_some(call);
}

/* ---- accept ---- */

/* Answers a connection that there is no room for, without waiting for it; one with TLS would have
 * to be greeted first, and is just closed. */
static void turn_away(const struct face *face, int fd)
{
	static const char plain[] = "all connections are in use\n";
	char answer[320], error[128];
	const char *body = face->options.json ? error : plain;
	int length;

	if (face->options.tls) {
		close(fd);
		return;
	}
	snprintf(error, sizeof(error), ERROR_FORMAT, "all connections are in use", "Try again");
	length = snprintf(answer, sizeof(answer),
			  "HTTP/1.1 503 %s\r\nRetry-After: 1\r\nContent-Length: %zu\r\n"
			  "Connection: close\r\n\r\n%s",
			  http_status_text(503), strlen(body), body);
	(void)!send(fd, answer, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* The oldest without a request. What has been greeted may ask, and stays before what has not; but
 * without a certificate anybody is greeted, and then age alone counts. */
static struct face_call *oldest_idle(const struct face *face)
{
	struct face_call *greets = TAILQ_FIRST(&face->lists[GREETING]),
			 *read = TAILQ_FIRST(&face->lists[READING]);

	if (!greets || !read)
		return greets ? greets : read;
	return stream_is_known(&read->stream) || greets->since_ms < read->since_ms ? greets : read;
}

/* Room for one more connection: of those without a request the oldest gives way, then one that has
 * stopped taking its answer. An idle or slow client so never keeps out one that asks. */
static bool room_for_one(struct face *face)
{
	struct face_call *oldest;

	if (face->counts.connections < face->options.limits.connections)
		return true;
	count_refusal(face, FACE_REFUSED_connections);
	oldest = TAILQ_FIRST(&face->lists[LINGERING]);
	if (!oldest)
		oldest = oldest_idle(face);
	if (!oldest)
		return cut_stalled(face);
	close_call(oldest);
	return true;
}

/* NULL: out of memory; fd is still open. */
static struct face_call *new_call(struct face *face, int fd)
{
	const struct face_options *options = &face->options;
	SSL_CTX *tls = options->tls ? options->tls(options->arg) : NULL;
	struct face_call *call = tls || !options->tls ? calloc(1, sizeof(*call)) : NULL;

	if (call && stream_open(fd, tls, &call->stream)) {
		free(call);
		call = NULL;
	}
	return call;
}

static void take_connection(struct face *face, int fd)
{
	struct face_call *call = room_for_one(face) ? new_call(face, fd) : NULL;
	const int buffer = SEND_BUFFER;

	if (!call) {
		turn_away(face, fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	call->face = face;
	call->stage = call->stream.ready ? READING : GREETING;
	call->since_ms = clock_monotonic_ms();
	TAILQ_INSERT_TAIL(&face->lists[call->stage], call, link);
	face->counts.connections++;
	event_assign(&call->io, face->options.base, fd, EV_READ | EV_PERSIST, on_io, call);
	set_priority(face, &call->io, face->options.priority);
	evtimer_assign(&call->deadline, face->options.base, on_deadline, call);
	set_priority(face, &call->deadline, face->options.priority);
	event_add(&call->io, NULL);
	if (call->stage == GREETING) {
		/* A handshake takes about a ms: each step of one gets a turn of its own. */
		arm(call, face->options.limits.handshake_ms);
		return;
	}
	arm(call, face->options.limits.request_ms);
	/* A request that is there already is taken before a later connection may displace it. */
	read_some(call);
}

static void on_accept_failed(struct face *face)
{
	const struct timeval wait = clock_span_ms(REST_MS);
	int code = errno;

	event_del(&face->accept);
	event_add(&face->rest, &wait);
	if (log_is_due(&face->warned_accept_ms, WARN_EVERY_MS))
		log_warning("%s: cannot accept a connection: %s; it waits (logged once a minute)",
			    face->options.name, strerror(code));
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct face *face = arg;

	for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_connection(face, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno != EINTR && errno != ECONNABORTED) {
			on_accept_failed(face);
			return;
		}
	}
}

static void on_rest_over(evutil_socket_t fd, short what, void *arg)
{
	struct face *face = arg;

	event_add(&face->accept, NULL);
}

/* ---- the face ---- */

int face_new(const struct face_options *options, struct face **ret, struct error *err)
{
	struct face *face = calloc(1, sizeof(*face));

	if (!face) {
		close(options->fd);
		return error_set(err, -ENOMEM, "out of memory");
	}
	face->options = *options;
	for (unsigned i = 0; i < sizeof(face->lists) / sizeof(face->lists[0]); i++)
		TAILQ_INIT(&face->lists[i]);
	event_assign(&face->accept, options->base, options->fd, EV_READ | EV_PERSIST, on_accept,
		     face);
	evtimer_assign(&face->rest, options->base, on_rest_over, face);
	set_priority(face, &face->accept, options->priority);
	set_priority(face, &face->rest, options->priority);
	event_add(&face->accept, NULL);
	*ret = face;
	return 0;
}

void face_free(struct face *face)
{
	struct face_call *call;

	if (!face)
		return;
	for (unsigned i = 0; i < sizeof(face->lists) / sizeof(face->lists[0]); i++)
		while ((call = TAILQ_FIRST(&face->lists[i])))
			close_call(call);
	event_del(&face->accept);
	event_del(&face->rest);
	close(face->options.fd);
	free(face);
}

const struct face_counts *face_counts(const struct face *face)
{
	return &face->counts;
}

const struct face_limits *face_limits(const struct face *face)
{
	return &face->options.limits;
}

const struct http_request *face_request(const struct face_call *call)
{
	return &call->request;
}

const char *face_body(const struct face_call *call)
{
	return call->in + call->request.head_length;
}

int face_peer(const struct face_call *call, uid_t *ret)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(call->stream.fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
		return -errno;
	if (peer.uid == (uid_t)-1)
		return -ENODATA;
	*ret = peer.uid;
	return 0;
}

void face_subject(const struct face_call *call, char *ret, size_t size)
{
	stream_subject(&call->stream, ret, size);
}

void face_common_name(const struct face_call *call, char *ret, size_t size)
{
	stream_common_name(&call->stream, ret, size);
}

bool face_was_greeted_with(const struct face_call *call, const struct ssl_ctx_st *tls)
{
	return call->stream.ssl && SSL_get_SSL_CTX(call->stream.ssl) == tls;
}

int face_local(const struct face_call *call, struct sockaddr *ret, socklen_t *length)
{
	return getsockname(call->stream.fd, ret, length) ? -errno : 0;
}
