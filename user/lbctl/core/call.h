/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A call of a verb: its arguments and options, and its requests to lbd. */
#ifndef LBCTL_CALL_H
#define LBCTL_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "verb.h"

struct call_value {
	const struct verb_option *option;
	const char *value; /* "" for a flag */
};

struct client;

/* A verb with the arguments and options of one call. */
struct call {
	const struct verb *verb;
	const char *socket;
	bool json, help;
	const char **arguments; /* arguments_count of them */
	unsigned arguments_count;
	struct call_value *values;
	unsigned values_count;
	struct client *client; /* opened by the first request */
	bool shows_all_fields; /* this lbd does not know those that were asked for */
	json_t *warnings;      /* of lbd's answers to changes; NULL: none */
};

/* Fills call from the words after the verb. 0, or -EINVAL with err set. Release with call_release,
 * also on failure. */
int call_parse(const struct verb *verb, char *const *words, int count, struct call *call,
	       struct error *err);
void call_release(struct call *call);
/* The option if it is one that every verb takes (not in a verb's table), else NULL. word may be
 * "--socket=PATH". */
const struct verb_option *call_common_option(const char *word);
/* "-1" is not an option but a bad number, which the verb refuses. */
bool word_is_option(const char *word);
/* The argument at this position, NULL if it was not given. */
const char *call_argument(const struct call *call, unsigned at);
/* The value of an option, "" for a flag and for a value left out, NULL if it was not given. */
const char *call_option(const struct call *call, const char *name);
/* The value of an option as a time, in ms; *ret stays as it is if it was not given. 0, or -EINVAL
 * with err set. */
int call_duration(const struct call *call, const char *name, uint64_t *ret, struct error *err);
/* The next value of an option that may be given more than once; *at starts at 0. NULL: no more. */
const char *call_next_option(const struct call *call, const char *name, unsigned *at);

/* One request to lbd (client.h) on the call's own connection. *ret is owned by the caller. */
int call_get(struct call *call, const char *path, json_t **ret, struct error *err);
/* Takes over body, also on failure; body NULL is -ENOMEM. ret may be NULL. */
int call_post(struct call *call, const char *path, json_t *body, json_t **ret, struct error *err);
/* PUTs what a backend is to be; else as call_post. */
int call_put_backend(struct call *call, const char *service, const char *address, json_t *body,
		     json_t **ret, struct error *err);
/* As call_post, but texts of the answer are as lbd sent them: for a terminal, call_make_printable.
 */
int call_post_raw(struct call *call, const char *path, json_t *body, json_t **ret,
		  struct error *err);
/* Names and sentences of an answer may hold what others chose: takes out what a terminal obeys. */
void call_make_printable(json_t *value);
/* GET /v1/backends of one service; service NULL: of all. */
int call_backends(struct call *call, const char *service, json_t **ret, struct error *err);
struct call_wanted {
	const char *service; /* NULL: all */
	bool down;           /* only those that are down or have no next hop */
	const char *filter;  /* as in match_backend; NULL: all */
	const char *fields;  /* "address,condition": of each backend only these; NULL: all */
};

/* An lbd that does not know one of the fields is asked again without them: it answers with all. */
int call_some_backends(struct call *call, const struct call_wanted *wanted, json_t **ret,
		       struct error *err);

#endif
