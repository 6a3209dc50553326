/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The API's listener for other machines (`api:` in the config): TLS, who may ask, and for what. The
 * requests themselves are those of the control socket. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "listen.h"

#define COMMON_NAME  128
#define HANDSHAKE_MS 3000
#define REQUEST_MS   5000
#define ANSWER_MS    20000
#define BYTES_MAX    (4 * LB_API_MAX_BODY)

/* What a reload has read is in force from the next connection on. A config without `api:` changes
 * nothing until lbd is started again, as one with another address. */
static struct ssl_ctx_st *tls_now(void *arg)
{
	struct api_door *door = arg;
	struct config_api *now = state_config(door->api->state)->api;

	if (now && now != door->offered) {
		config_api_unref(door->offered);
		door->offered = config_api_ref(now);
	}
	return door->offered->tls;
}

/* ---- who asks ---- */

/* Looks at all of them, so that the time it takes does not tell which one is nearly right. */
static const struct config_token *find_token(const struct config_api *offered,
					     const struct http_request *request)
{
	const struct config_token *found = NULL;

	for (unsigned i = 0; i < offered->tokens_count; i++)
		if (http_bearer_is(request->authorization, offered->tokens[i].secret))
			found = &offered->tokens[i];
	return found;
}

/* "CN=web-1,O=shop", "token web-fleet", or both. */
static void name_asker(const struct face_call *call, const struct config_token *token,
		       struct event_actor *ret)
{
	char subject[sizeof(ret->name)], name[sizeof(ret->name)];

	face_subject(call, subject, sizeof(subject));
	snprintf(name, sizeof(name), "%.*s%s%s%s",
		 (int)(sizeof(name) - sizeof(token->name) - sizeof(", token ")), subject,
		 token && *subject ? ", " : "", token ? "token " : "", token ? token->name : "");
	event_actor_set(name, ret);
}

/* A page in a browser that has a certificate for this listener must not use it: what asks here is
 * no browser. */
static bool is_offered(const struct config_api *offered, const struct http_request *request)
{
	const char *method = request->method;

	if (request->has_origin)
		return false;
	if (!strcmp(method, "PUT") || !strcmp(method, "DELETE"))
		return offered->offers >= CONFIG_OFFER_REGISTER;
	return !strcmp(method, "GET") || offered->offers == CONFIG_OFFER_ALL;
}

bool remote_admit(struct api_door *door, struct face_call *call, struct event_actor *ret)
{
	const struct http_request *request = face_request(call);
	const struct config_token *token;

	/* One that was greeted before a reload may have been asked for no certificate. */
	if (!face_was_greeted_with(call, tls_now(door)) && door->offered->verifies) {
		face_answer_line(call, 503,
				 "the config was read again since this connection began");
		return false;
	}
	token = find_token(door->offered, request);
	if (door->offered->tokens_count && !token) {
		face_refuse(call, 401, FACE_REFUSED_token, "expected the bearer token");
		return false;
	}
	if (!is_offered(door->offered, request)) {
		face_refuse(call, 403, FACE_REFUSED_offer,
			    "not offered here: see api: offers in the config");
		return false;
	}
	name_asker(call, token, ret);
	return true;
}

/* ---- where he may register ---- */

/* common: for its name, as long as the asker is used. */
static struct config_asker asker_of(const struct config_api *offered, const struct face_call *call,
				    char common[COMMON_NAME])
{
	const struct config_token *token = find_token(offered, face_request(call));

	face_common_name(call, common, COMMON_NAME);
	return (struct config_asker){.token = token ? token->name : NULL,
				     .certificate = *common ? common : NULL};
}

/* What is no registration in one service is for those alone who may register in all. */
static int judge(const struct asked *asked, const struct config_asker *asker,
		 const struct service *service, struct error *err)
{
	const struct config_api *offered = asked->door->offered;
	const char *name = service ? service->config->name : NULL,
		   *who = *asked->actor.name ? asked->actor.name : "this client";
	char permitted[256];

	if (config_api_permits(offered, asker, name))
		return 0;
	config_api_permitted(offered, asker, permitted, sizeof(permitted));
	return name ? error_set(err, -EKEYREJECTED,
				"service %s: %s may register %s: see api: clients in the "
				"config",
				name, who, permitted)
		    : error_set(err, -EKEYREJECTED,
				"%s may register %s, and change nothing else: see api: clients "
				"in the config",
				who, permitted);
}

int remote_permit(const struct asked *asked, const struct api_route *route, const json_t *body,
		  struct error *err)
{
	const struct config_api *offered = asked->door->offered;
	char common[COMMON_NAME];
	const struct config_asker asker = asker_of(offered, asked->call, common);
	struct service *service = NULL;
	const char *text;
	int rc;

	if (config_api_permits(offered, &asker, NULL))
		return 0; /* the service may be one that a change before this one adds */
	if (api_registers(route) &&
	    ((rc = api_arg_name(body, "service", &text, err)) ||
	     (rc = state_resolve_service(asked->door->api->state, text, &service, err))))
		return rc;
	rc = judge(asked, &asker, service, err);
	if (rc)
		face_count_refusal(asked->call, FACE_REFUSED_service, err->text);
	return rc;
}

/* ---- the listener ---- */

/* Before its body is read: who may not ask, or may send no long one, takes no memory from those who
 * may. */
static bool may_go_on(void *arg, struct face_call *call)
{
	struct api_door *door = arg;
	struct config_asker asker;
	struct event_actor unused;
	char common[COMMON_NAME];

	if (!remote_admit(door, call, &unused))
		return false;
	asker = asker_of(door->offered, call, common);
	return api_admit_length(call, !config_api_permits(door->offered, &asker, NULL));
}

int remote_open(struct api_door *door, unsigned connections, struct error *err)
{
	struct config_api *config = state_config(door->api->state)->api;
	struct face_options face = {
	    .base = door->api->base,
	    .name = "api",
	    .json = true,
	    .priority = LOOP_BULK,
	    .limits = {.connections = connections,
		       .answers = connections,
		       .bytes = BYTES_MAX,
		       .body = LB_API_MAX_BODY,
		       .handshake_ms = HANDSHAKE_MS,
		       .request_ms = REQUEST_MS,
		       .answer_ms = ANSWER_MS},
	    .handler = api_on_call,
	    .admit = may_go_on,
	    .tls = tls_now,
	    .arg = door,
	};
	int rc = listen_tcp("api", &config->address, config->port,
			    "choose another address, or leave out `api:`", &face.fd, err);

	if (rc)
		return rc;
	door->offered = config_api_ref(config);
	return face_new(&face, &door->face, err);
}
