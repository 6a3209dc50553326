/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend add, put, remove, drain, undrain, weight, state: run-time changes of one backend.
 * Drains last until undrain, states until another is set, registrations until their ends, the
 * others until the next reload. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb_api.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

#define DEFAULT_WEIGHT 100 /* as in the config */

static int weight_of(const struct call *call, const char *text, uint64_t *ret, struct error *err)
{
	if (parse_whole(text, 0, LB_API_MAX_WEIGHT, ret) == 0)
		return 0;
	return error_set(err, -EINVAL, "%s: weight %s: expected a whole number from 0 to %d",
			 call->verb->name, text, LB_API_MAX_WEIGHT);
}

/* The words for what a change has led to, from lbd's answer. */
typedef void result_fn(const json_t *answer, const struct call *call, char *text, size_t size);

/* The service and the backend as lbd has them, else as they were given. */
static void print_target(const struct call *call, const json_t *answer, const char *given)
{
	const json_t *backend = json_object_get(answer, "backend");
	char name[SHOW_BACKEND];

	if (!backend)
		backend = answer;
	show_backend(backend, name);
	text_put(stdout, *json_text(backend, "service") ? json_text(backend, "service")
							: call_argument(call, 0));
	putchar(' ');
	text_put(stdout, *name ? name : given);
}

/* Prints "SERVICE BACKEND: result". Takes over answer. */
static int show_result(const struct call *call, json_t *answer, const char *given,
		       result_fn *result, struct error *err)
{
	char text[512];
	int rc = 0;

	if (call->json) {
		rc = show_json(answer, err);
	} else {
		result(answer, call, text, sizeof(text));
		print_target(call, answer, given);
		printf(": %s\n", text);
	}
	json_decref(answer);
	return rc;
}

/* POSTs a change and shows what has become of it. Takes over body. */
static int change_as(struct call *call, const char *path, json_t *body, result_fn *result,
		     struct error *err)
{
	char given[SHOW_BACKEND];
	json_t *answer = NULL;
	int rc = show_read_backend(call->verb->name, call_argument(call, 1), given, err);

	if (rc) {
		json_decref(body);
		return rc;
	}
	rc = call_post(call, path, body, &answer, err);
	return rc ? rc : show_result(call, answer, given, result, err);
}

static void describe_added(const json_t *answer, const struct call *call, char *text, size_t size)
{
	const json_t *backend = json_object_get(answer, "backend");
	const char *given = call_option(call, "--weight");
	uint64_t weight = DEFAULT_WEIGHT;

	if (given)
		parse_whole(given, 0, LB_API_MAX_WEIGHT, &weight);
	snprintf(text, size, "added with weight %llu; %s", (unsigned long long)weight,
		 !weight                        ? "it takes no new flows with weight 0"
		 : json_flag(backend, "backup") ? "it takes flows when no other backend is up"
		 : json_number(backend, "priority")
		     ? "it takes flows when too few backends of the priorities before it are up"
		 : !strcmp(json_text(backend, "condition"), "up")
		     ? "it takes new flows"
		     : "it takes flows once its health check passes");
}

/* --label KEY=VALUE, which may be given more than once. NULL with err set. */
static json_t *labels_of(const struct call *call, struct error *err)
{
	json_t *labels = json_object();
	unsigned at = 0;
	const char *text;

	while ((text = call_next_option(call, "--label", &at))) {
		size_t length = strcspn(text, "=");
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)length, text);
		if (text[length] && length && length < sizeof(key) &&
		    !json_object_set_new(labels, key, json_string(text + length + 1)))
			continue;
		error_set(err, -EINVAL, "%s: --label %s: expected KEY=VALUE, such as zone=a",
			  call->verb->name, text);
		json_decref(labels);
		return NULL;
	}
	return labels;
}

/* A whole number that is given as an option, as a field of an object. */
static int add_number(const struct call *call, const char *option, const char *field,
		      uint64_t least, uint64_t most, json_t *into, struct error *err)
{
	const char *given = call_option(call, option);
	uint64_t number;

	if (!given)
		return 0;
	if (parse_whole(given, least, most, &number))
		return error_set(err, -EINVAL,
				 "%s: %s %s: expected a whole number from %llu to %llu",
				 call->verb->name, option, given, (unsigned long long)least,
				 (unsigned long long)most);
	json_object_set_new(into, field, json_integer((json_int_t)number));
	return 0;
}

static void add_text(const struct call *call, const char *option, const char *field, json_t *into)
{
	const char *given = call_option(call, option);

	if (given)
		json_object_set_new(into, field, json_string(given));
}

/* Where it is checked. */
static int add_health(const struct call *call, json_t *body, struct error *err)
{
	json_t *health = json_object();
	int rc = add_number(call, "--health-port", "port", 1, 65535, health, err);

	if (!rc)
		rc = add_number(call, "--agent-port", "agent-port", 1, 65535, health, err);
	add_text(call, "--health-address", "address", health);
	if (json_object_size(health))
		json_object_set(body, "health", health);
	json_decref(health);
	return rc;
}

static int add_labels(const struct call *call, json_t *body, struct error *err)
{
	json_t *labels = labels_of(call, err);

	if (!labels)
		return -EINVAL;
	if (json_object_size(labels))
		json_object_set(body, "labels", labels);
	json_decref(labels);
	return 0;
}

/* The address of a new backend, and what it is as the fields of a request. 0, or -EINVAL with err
 * set. */
static int read_new(const struct call *call, char address[ADDR_TEXT], json_t **ret,
		    struct error *err)
{
	const char *given = call_option(call, "--weight");
	uint64_t weight = DEFAULT_WEIGHT;
	json_t *body;

	if (show_read_address(call->verb->name, call_argument(call, 1), address, err) ||
	    (given && weight_of(call, given, &weight, err)))
		return -EINVAL;
	body = json_pack("{s:I}", "weight", (json_int_t)weight);
	add_text(call, "--name", "name", body);
	add_text(call, "--zone", "zone", body);
	if (call_option(call, "--backup"))
		json_object_set_new(body, "backup", json_true());
	if (add_number(call, "--priority", "priority", 0, LB_API_MAX_PRIORITY, body, err) ||
	    add_number(call, "--port", "port", 1, 65535, body, err) ||
	    add_health(call, body, err) || add_labels(call, body, err)) {
		json_decref(body);
		return -EINVAL;
	}
	*ret = body;
	return 0;
}

static int run_add(struct call *call, struct error *err)
{
	char address[ADDR_TEXT];
	json_t *body, *fields;

	if (read_new(call, address, &fields, err))
		return -EINVAL;
	body = json_pack("{s:s, s:s}", "service", call_argument(call, 0), "address", address);
	if (!fields || json_object_update_new(body, fields)) {
		json_decref(body);
		body = NULL;
	}
	return change_as(call, "/v1/backend/add", body, describe_added, err);
}

static void describe_put(const json_t *answer, const struct call *call, char *text, size_t size)
{
	const json_t *backend = json_object_get(answer, "backend");
	const char *ttl = call_option(call, "--ttl");

	snprintf(text, size, "registered with weight %llu%s%s%s; it is %s",
		 (unsigned long long)json_number(backend, "weight"), ttl ? " for " : "",
		 ttl ? ttl : "", ttl ? " from now" : "", json_text(backend, "condition"));
}

static int run_put(struct call *call, struct error *err)
{
	const char *ttl = call_option(call, "--ttl");
	char address[ADDR_TEXT];
	uint64_t ttl_ms = 0;
	json_t *body, *answer = NULL;
	int rc;

	if (call_duration(call, "--ttl", &ttl_ms, err) || read_new(call, address, &body, err))
		return -EINVAL;
	if (ttl)
		json_object_set_new(body, "ttl",
				    json_sprintf("%llums", (unsigned long long)ttl_ms));
	rc = call_put_backend(call, call_argument(call, 0), address, body, &answer, err);
	return rc ? rc : show_result(call, answer, address, describe_put, err);
}

static void describe_removed(const json_t *answer, const struct call *call, char *text, size_t size)
{
	bool now = call_option(call, "--now");
	const char *what = now ? "removed" : "draining; it is removed when its last flow has ended";

	if (json_number(answer, "others"))
		snprintf(text, size, "%s%s", what,
			 now ? "; its flows now go to other backends" : "");
	else
		snprintf(text, size, "%s; no other backend takes flows", what);
}

static int run_remove(struct call *call, struct error *err)
{
	bool now = call_option(call, "--now") != NULL;
	json_t *body = json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				 call_argument(call, 1), "now", now);

	if (body && call_option(call, "--force"))
		json_object_set_new(body, "force", json_true());
	return change_as(call, "/v1/backend/remove", body, describe_removed, err);
}

static int run_drain(struct call *call, bool on, result_fn *result, struct error *err)
{
	return change_as(call, "/v1/backend/drain",
			 json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				   call_argument(call, 1), "on", on),
			 result, err);
}

static void describe_drained(const json_t *answer, const struct call *call, char *text, size_t size)
{
	snprintf(text, size,
		 "takes no new flows; to wait until it is drained: lbctl drain %s %s --wait",
		 call_argument(call, 0), call_argument(call, 1));
}

static int run_drain_on(struct call *call, struct error *err)
{
	return run_drain(call, true, describe_drained, err);
}

static void describe_undrained(const json_t *answer, const struct call *call, char *text,
			       size_t size)
{
	const json_t *backend = json_object_get(answer, "backend");
	const char *condition = json_text(backend, "condition");

	if (backend && !json_number(backend, "weight"))
		snprintf(text, size, "the drain has ended; it takes no new flows with weight 0");
	else if (*condition && strcmp(condition, "up") != 0 && strcmp(condition, "starting") != 0)
		snprintf(text, size, "the drain has ended; it is %s", condition);
	else
		snprintf(text, size, "takes new flows again");
}

static int run_drain_off(struct call *call, struct error *err)
{
	return run_drain(call, false, describe_undrained, err);
}

static void describe_weight(const json_t *answer, const struct call *call, char *text, size_t size)
{
	uint64_t weight = 0;

	parse_whole(call_argument(call, 2), 0, LB_API_MAX_WEIGHT, &weight);
	snprintf(text, size, "weight %llu%s", (unsigned long long)weight,
		 weight ? "" : ": takes no new flows");
}

static int run_weight(struct call *call, struct error *err)
{
	uint64_t weight = 0;

	if (weight_of(call, call_argument(call, 2), &weight, err))
		return -EINVAL;
	return change_as(call, "/v1/backend/weight",
			 json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address",
				   call_argument(call, 1), "weight", (json_int_t)weight),
			 describe_weight, err);
}

static void describe_state(const json_t *answer, const struct call *call, char *text, size_t size)
{
	const json_t *backend = json_object_get(answer, "backend");
	const char *condition = json_text(backend, "condition"), *why = json_text(backend, "why"),
		   *state = call_argument(call, 2);

	if (!strcmp(state, "auto"))
		snprintf(text, size, "its checks decide; it is %s%s%s", condition, *why ? ": " : "",
			 why);
	else if (!strcmp(state, "up") && strcmp(condition, "up") && strcmp(condition, "starting"))
		snprintf(text, size, "set to up; it is %s%s%s", condition, *why ? ": " : "", why);
	else if (!strcmp(state, "up"))
		snprintf(text, size, "set to up, whatever its checks find");
	else
		snprintf(text, size,
			 "set to %s: its flows go to other backends; to end it: "
			 "lbctl backend state %s %s auto",
			 state, call_argument(call, 0), call_argument(call, 1));
}

static int run_state(struct call *call, struct error *err)
{
	return change_as(call, "/v1/backend/state",
			 json_pack("{s:s, s:s, s:s}", "service", call_argument(call, 0), "address",
				   call_argument(call, 1), "state", call_argument(call, 2)),
			 describe_state, err);
}

/* What a new backend is. */
/* clang-format off */
#define NEW_OPTIONS \
	{.name = "--weight", .value = "N", \
	 .help = "its share of new flows, relative to other backends: 0 to 10000, default 100"}, \
	{.name = "--zone", .value = "ZONE", \
	 .help = "where it is: backends of the zone of lbd's node come first"}, \
	{.name = "--priority", .value = "N", \
	 .help = "0 to 7, default 0; those of 1 take flows when too few of 0 are up, and so on"}, \
	{.name = "--backup", .help = "it takes flows only when no other backend is up"}, \
	{.name = "--port", .value = "PORT", \
	 .help = "with `forward: nat`, where it listens; default: the service's backend-port"}, \
	{.name = "--health-port", .value = "PORT", \
	 .help = "it is checked at this port; default: as the service says"}, \
	{.name = "--health-address", .value = "ADDRESS", \
	 .help = "it is checked at this address; default: its own"}, \
	{.name = "--agent-port", .value = "PORT", \
	 .help = "its agent answers at this port; default: as the service says"}, \
	{.name = "--name", .value = "NAME", .help = "a name, unique in the service"}, \
	{.name = "--label", .value = "KEY=VALUE", \
	 .help = "a label for the metrics; may be given 8 times", .many = true}
/* clang-format on */

REGISTER(verb, backend_add) = {
    .name = "backend add",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "add a backend to a service",
    .details = "Lasts until the next reload, over restarts of lbd too; `lbctl save` writes it into "
	       "the config file. Established flows keep their backends.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_NONE)},
    .options = {NEW_OPTIONS},
    .examples = {{"backend add web 10.0.0.13 --weight 50",
		  "with half the share of a backend of default weight"},
		 {"backend add web 10.0.0.14 --name web-4 --zone b", "with a name, in zone b"},
		 {"backend add web 10.0.0.15 --backup --health-port 8081",
		  "used when no other is up; checked at port 8081"}},
    .run = run_add,
};

REGISTER(verb, backend_put) = {
    .name = "backend put",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "register a backend, or renew that",
    .details =
	"For servers that come and go by themselves. Unlike what `backend add` adds, the "
	"backend holds over reloads, like one of the config file; with --ttl until it is not "
	"registered again for that time: then it is drained and removed. To end it at once: "
	"`lbctl backend remove`. The same command again changes nothing but the time.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_NONE)},
    .options = {{.name = "--ttl",
		 .value = "TIME",
		 .help = "1s or longer; it must be registered again within it; default: no end"},
		NEW_OPTIONS},
    .examples = {{"backend put web 10.0.0.13 --ttl 30s", "every 10 s, from the server itself"}},
    .run = run_put,
};

REGISTER(verb, backend_remove) = {
    .name = "backend remove",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "drain a backend, then remove it from its service",
    .details = "Lasts until the next reload, over restarts of lbd too; `lbctl save` takes the "
	       "backend out of the config file.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND)},
    .options =
	{{.name = "--now",
	  .help =
	      "do not drain: its flows go to other backends at once and their connections break"},
	 {.name = "--force",
	  .help = "remove it also if it is the last backend of the service, which then has none"}},
    .examples = {{"backend remove web 10.0.0.12",
		  "it takes no new flows, and is removed when its last flow has ended"},
		 {"backend remove web 10.0.0.12 --now", "its host has failed"}},
    .run = run_remove,
};

REGISTER(verb, backend_drain) = {
    .name = "backend drain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "stop new flows to a backend; it keeps the flows it has",
    .details = "The same as `lbctl drain` without its options. Lasts until `lbctl backend "
	       "undrain`, also over a reload.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND)},
    .examples = {{"backend drain web 10.0.0.12", "before maintenance"}},
    .run = run_drain_on,
};

REGISTER(verb, backend_undrain) = {
    .name = "backend undrain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "end a drain: the backend takes new flows again",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND)},
    .examples = {{"backend undrain web 10.0.0.12", "after maintenance"}},
    .run = run_drain_off,
};

REGISTER(verb, backend_weight) = {
    .name = "backend weight",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "set a backend's share of new flows",
    .details = "Lasts until the next reload, over restarts of lbd too; `lbctl save` writes it into "
	       "the config file. Established flows keep their backends. Weight 0: no new flows. "
	       "Where all weights in the config are equal, it counts in twenty-fifths of them; "
	       "`slots` makes that finer.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND),
		  ARGUMENT("WEIGHT", WORDS_NONE)},
    .examples = {{"backend weight web 10.0.0.12 200", "twice the default"}},
    .run = run_weight,
};

REGISTER(verb, backend_state) = {
    .name = "backend state",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "set a backend's state, whatever its checks find",
    .details =
	"STATE is one of: maintenance (it is not used, its flows go to other backends at "
	"once, and its service does not count as degraded for it); down (the same, but it "
	"counts as down); up (it is used although its check or its agent says otherwise, "
	"but needs a next hop); auto (checks and agent decide again). Checks go on in each "
	"state, so that after auto the last results count. To let flows end first: lbctl "
	"drain --wait. Lasts until it is set to auto, also over reloads and restarts of lbd; "
	"`lbctl save` does not write it.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND),
		  ARGUMENT("STATE", WORDS_STATE)},
    .examples = {{"backend state web 10.0.0.12 maintenance", "its host is about to be rebuilt"},
		 {"backend state web 10.0.0.12 auto", "it is back; slow start begins when its "
						      "check passes"}},
    .run = run_state,
};
