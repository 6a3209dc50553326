/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this room: handlers take a call, with JSON in its body, and return
 * JSON. */
#ifndef LBD_API_INTERNAL_H
#define LBD_API_INTERNAL_H

#include <event2/http.h>
#include <jansson.h>
#include <net/if.h>

#include "api.h"

struct api {
	struct evhttp *http;
	struct accept_rest *rest;
	char *path; /* of the socket */
	struct state *state;
	struct attach *attach;
	struct dataplane *dp;
	const struct lateness *lateness;
	uint64_t start_ms; /* CLOCK_MONOTONIC */
	/* The last interface name looked up for this answer: thousands of backends share a few
	 * interfaces. 0: none. */
	uint32_t named_ifindex;
	char named[IF_NAMESIZE];
};

struct api_call {
	struct api *api;
	const json_t *body;            /* an object; NULL for GET */
	const struct evkeyvalq *query; /* of the URI */
};

/* 0 with *ret set, or -errno with the sentence for the user in err; the table in api.c gives the
 * HTTP status. */
typedef int api_handler(struct api_call *call, json_t **ret, struct error *err);

struct api_route {
	const char *method; /* "GET" or "POST" */
	const char *path;
	api_handler *handler;
};

/* ---- show.c ---- */
api_handler api_status, api_services, api_backends, api_stats, api_top;
json_t *api_backend_json(struct api *api, const struct backend *backend);
json_t *api_interface_json(const struct api *api, const struct attachment *attachment);

/* ---- change.c ---- */
api_handler api_attach, api_detach, api_reload, api_add, api_remove, api_drain, api_weight;

/* ---- args.c: fields of a body. Errors name field, value and what was expected ---- */

/* -EINVAL if the body has a field that is not in names (NULL-terminated). */
int api_arg_only(const json_t *body, const char *const *names, struct error *err);
/* The name of an object; the field is called after its kind: "service", "interface". The text
 * belongs to body. */
int api_arg_name(const json_t *body, const char *name, const char **ret, struct error *err);
int api_arg_address(const json_t *body, const char *name, struct addr *ret, struct error *err);
int api_arg_weight(const json_t *body, const char *name, uint32_t *ret, struct error *err);
int api_arg_ms(const json_t *body, const char *name, uint64_t *ret, struct error *err);
int api_arg_bool(const json_t *body, const char *name, bool fallback, bool *ret, struct error *err);
int api_arg_mode(const json_t *body, const char *name, enum config_mode *ret, struct error *err);

#endif
