/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A request to the JSON gateway of etcd's API v3, over libcurl on the loop. */
#ifndef LBD_SOURCES_GATEWAY_H
#define LBD_SOURCES_GATEWAY_H

#include <curl/curl.h>

#include "kind.h"

#define GATEWAY_ANSWER_MAX (4u << 20) /* bytes */

struct gateway_call {
	/* Has ended, by itself: code and the fields below say how. Ends with gateway_done. */
	void (*ended)(struct gateway_call *call, CURLcode code);
	/* Of a call without end: what has come, of which nothing is kept. False: it is to end.
	 * NULL: the answer is kept, and has to come soon. */
	bool (*arrives)(struct gateway_call *call, const char *data, size_t length);
	void *arg;
	/* ---- its own ---- */
	struct curl_loop *loop;
	CURL *curl; /* NULL: it does not run */
	struct curl_slist *headers;
	char *body; /* of the request */
	char *answer;
	size_t length;
	bool too_long; /* the answer: it was not read to its end */
	char why[CURL_ERROR_SIZE];
};

/* Of a kind of source: what all its calls share is a curl_loop. */
int gateway_open(struct event_base *base, void **ret, struct error *err);
/* Certificates and the key, which the process without rights cannot read: their paths become what
 * is in the files. */
int gateway_prepare(struct config_from *from, struct error *err);

/* server: "http://10.0.0.5:2379". Takes over body; NULL is out of memory. 0 or -ENOMEM. */
int gateway_start(struct gateway_call *call, const struct source_env *env,
		  const struct config_from *from, const char *server, const char *path, char *body);
/* Also while it runs. */
void gateway_stop(struct gateway_call *call);
void gateway_done(struct gateway_call *call);
/* Why it has failed; code is not 0, or the answer is too long. */
const char *gateway_why(const struct gateway_call *call, CURLcode code);

#endif
