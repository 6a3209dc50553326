/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A face: a listening socket with HTTP/1.1 for others to ask lbd, and what it may use at most. One
 * request per connection. Whatever is over a limit is closed or refused at once and counted; the
 * loop handles a face only when nothing more important is due (host/loop.h). */
#ifndef LBD_FACE_H
#define LBD_FACE_H

#include <event2/event.h>
#include <sys/queue.h>

#include "common/error.h"
#include "lbd/host/host.h"
#include "http.h"
#include "text.h"

/* Why a connection was closed or a request refused: the name in metrics, and the text in logs. */
#define FACE_REFUSALS(X)                                                                     \
	X(connections, "all connections are in use: the oldest without a request is closed") \
	X(answers, "too many answers are under way")                                         \
	X(bytes, "the requests being read use all memory they may")                          \
	X(handshake, "the TLS handshake failed")                                             \
	X(slow_handshake, "the TLS handshake was not over in time")                          \
	X(slow_request, "the request was not whole in time")                                 \
	X(slow_answer, "the answer was not taken in time")                                   \
	X(malformed, "the request is malformed or too large")                                \
	X(host, "the Host field names no host that is allowed")                              \
	X(token, "the bearer token is missing or wrong")                                     \
	X(offer, "the request is not offered to this client")                                \
	X(service, "the client may not change this service")

enum face_refusal {
#define X(name, text) FACE_REFUSED_##name,
	FACE_REFUSALS(X)
#undef X
	    FACE_REFUSAL_COUNT
};

struct face_limits {
	unsigned connections;
	unsigned answers;      /* requests that wait for their answer or are taking it */
	size_t bytes;          /* of all requests that are being read */
	size_t body;           /* of one request, bytes */
	unsigned handshake_ms; /* from accept until TLS is ready, if there is any */
	unsigned request_ms;   /* from accept, or from there, until the request is whole */
	unsigned answer_ms;    /* from there until the answer is taken */
};

struct face;
struct face_call; /* a connection with a whole request */
TAILQ_HEAD(face_waiters, face_call);

/* Called with a whole request. It calls face_answer or face_refuse at once, or face_wait. */
typedef void face_handler(void *arg, struct face_call *call);

struct face_options {
	struct event_base *base;
	const char *name;            /* "metrics", for logs */
	int fd;                      /* it listens; the face closes it, also when face_new fails */
	bool json;                   /* its own refusals, as include/lb_api.h describes them */
	enum loop_priority priority; /* of all but large answers, which have LOOP_BULK */
	struct face_limits limits;
	face_handler *handler;
	/* Called with a whole head, before memory is given to a body. False: the client may not ask
	 * for this, and is answered. NULL: all may. */
	bool (*admit)(void *arg, struct face_call *call);
	/* What a new connection speaks TLS with, asked for each time; NULL: there is no TLS. NULL
	 * returned: the connection is closed. */
	struct ssl_ctx_st *(*tls)(void *arg);
	void *arg;
};

struct face_counts {
	unsigned connections; /* open now */
	unsigned answers;     /* under way now */
	uint64_t requests;    /* whole ones, refused ones with them */
	uint64_t refused[FACE_REFUSAL_COUNT];
};

int face_new(const struct face_options *options, struct face **ret, struct error *err);
void face_free(struct face *face); /* NULL is fine. Waiting calls end without an answer */
const struct face_counts *face_counts(const struct face *face);
const struct face_limits *face_limits(const struct face *face);
const char *face_refusal_name(enum face_refusal refusal);

const struct http_request *face_request(const struct face_call *call);
const char *face_body(const struct face_call *call); /* content_length bytes */
/* The user who has connected to a Unix socket. 0 or -errno. */
int face_peer(const struct face_call *call, uid_t *ret);
/* Who the client's certificate says it is ("CN=web-1,O=shop"); "": it has shown none. */
void face_subject(const struct face_call *call, char *ret, size_t size);
/* Its common name ("web-1"); "": there is none, or several. */
void face_common_name(const struct face_call *call, char *ret, size_t size);
/* Was the client greeted with this, or with what was in force before? */
bool face_was_greeted_with(const struct face_call *call, const struct ssl_ctx_st *tls);
/* The local address of the connection. */
int face_local(const struct face_call *call, struct sockaddr *ret, socklen_t *length);

#define FACE_FIELDS_MAX 768
/* Fields of the head of the answer to come, each with its line end, at most FACE_FIELDS_MAX bytes
 * in all. They outlive the call. */
void face_fields(struct face_call *call, const char *fields);
/* Ends the call. The text is shared, not copied. NULL: out of memory, the answer is 500. */
void face_answer(struct face_call *call, int status, const char *type, struct text *text);
/* The same with a line of plain text, or with the line as the error of a JSON object. The line
 * holds nothing to escape. */
void face_answer_line(struct face_call *call, int status, const char *line);
/* The same, counted and, once a minute, logged. */
void face_refuse(struct face_call *call, int status, enum face_refusal refusal, const char *line);

/* Only counts, and logs with why ("": none): the call is answered otherwise. */
void face_count_refusal(struct face_call *call, enum face_refusal refusal, const char *why);

/* The call waits in the list until it is answered. It leaves the list by itself when it ends
 * otherwise: an empty list means that nobody waits any more. */
void face_wait(struct face_call *call, struct face_waiters *waiters);
void face_answer_all(struct face_waiters *waiters, int status, const char *type, struct text *text);

/* Closes the connections that have been taking this text for at least this long. */
void face_cut(struct face *face, const struct text *text, unsigned older_ms);

#endif
