/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kinds of sources that are asked over HTTP share: the servers of a cluster, which get
 * their turns, and one request at a time to one of them, by libcurl on the loop, whose answer comes
 * whole or as it arrives. In the source process. */
#ifndef LBD_SOURCES_TRANSFER_H
#define LBD_SOURCES_TRANSFER_H

#include <curl/curl.h>

#include "kind.h"

/* ---- servers ---- */

#define SERVERS_MAX 8

struct servers {
	char *list[SERVERS_MAX]; /* URLs, in texts */
	unsigned count, at;
	char *texts;
	uint64_t retry_ms;
};

/* urls: separated by blanks. False: there is none, or out of memory. */
bool servers_init(struct servers *servers, const char *urls);
void servers_done(struct servers *servers);
/* How long to wait, ms: longer each time until servers_work, and never the same for two nodes. */
uint64_t servers_wait_ms(struct servers *servers);
/* The next one gets its turn. The same. */
uint64_t servers_failed_ms(struct servers *servers);
void servers_work(struct servers *servers);
/* "URL: why", of the one whose turn it is. */
const char *servers_say(const struct servers *servers, const char *why, char text[SOURCE_WHY]);

/* How long to wait, ms, for more changes after the first one. last_ms (CLOCK_MONOTONIC): when such
 * were asked for or named last: what changes all the time is not each time. */
uint64_t transfer_gather_ms(uint64_t last_ms);

/* ---- a request ---- */

#define TRANSFER_MAX (4u << 20)  /* bytes of an answer ... */
#define HEAD_MAX     (64u << 10) /* ... and of its head */

struct transfer;

struct transfer_answer {
	const char *why;  /* it failed; NULL: it has come whole, with status 200 */
	int status;       /* of HTTP; 0: none has come */
	const char *body; /* "" if it was taken as it came */
	size_t length;
	CURL *curl; /* for transfer_header */
};

/* A part of an answer with status 200. False: no more of it. */
typedef bool transfer_take_fn(struct transfer *transfer, const char *data, size_t length);
/* It has ended by itself; the next may be started. */
typedef void transfer_end_fn(struct transfer *transfer, const struct transfer_answer *answer);

struct transfer {
	void *run;              /* its owner's */
	transfer_take_fn *take; /* NULL: the answer is collected */
	transfer_end_fn *end;
	const struct source_env *env;
	CURL *curl; /* NULL: it does not run */
	struct curl_slist *headers, *way;
	const char *token; /* NULL: none was sent */
	char *sent;        /* of a POST */
	char *body;        /* of the answer */
	size_t length;     /* of that */
	size_t head_length;
	bool too_long;
	char said[SOURCE_WHY]; /* why its owner takes no more; "" */
	char why[CURL_ERROR_SIZE];
};

struct transfer_request {
	const struct config_from *from; /* certificates, and the token */
	const char *server;             /* URL */
	const char *path;               /* from /, with its query */
	char *json;                     /* of a POST, taken over; NULL: a GET */
	const char *token;              /* the header that the token is in; NULL: none */
	bool is_bearer;                 /* the word before it there */
	uint64_t most_ms;               /* until its end; 0: as long as it takes */
};

/* For source_kind.open of such kinds. */
int transfer_open(struct event_base *base, void **ret, struct error *err);
/* Its owner sets run, take, end and env before. 0 or -ENOMEM. */
int transfer_start(struct transfer *transfer, const struct transfer_request *request);
void transfer_stop(struct transfer *transfer); /* nothing runs: fine */
/* For take, before it returns false: why. */
void transfer_refuse(struct transfer *transfer, const char *why);
/* A field of the answer's head. NULL: it has none. */
const char *transfer_header(const struct transfer_answer *answer, const char *name);

#endif
