/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend add, remove, drain, undrain, weight: run-time changes of one backend. Drains last
 * until undrain, the others until the next reload. */
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

/* POSTs a change and prints "SERVICE BACKEND: result". Takes over body. */
static int change_as(struct call *call, const char *path, json_t *body, result_fn *result,
		     struct error *err)
{
	char given[SHOW_BACKEND], text[512];
	json_t *answer = NULL;
	int rc = show_read_backend(call->verb->name, call_argument(call, 1), given, err);

	if (rc) {
		json_decref(body);
		return rc;
	}
	rc = call_post(call, path, body, &answer, err);
	if (rc)
		return rc;
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

static void describe_added(const json_t *answer, const struct call *call, char *text, size_t size)
{
	const json_t *backend = json_object_get(answer, "backend");
	const char *given = call_option(call, "--weight");
	uint64_t weight = DEFAULT_WEIGHT;

	if (given)
		parse_whole(given, 0, LB_API_MAX_WEIGHT, &weight);
	snprintf(text, size, "added with weight %llu; %s", (unsigned long long)weight,
		 !weight ? "it takes no new flows with weight 0"
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

static int run_add(struct call *call, struct error *err)
{
	const char *given = call_option(call, "--weight"), *name = call_option(call, "--name");
	uint64_t weight = DEFAULT_WEIGHT;
	char address[ADDR_TEXT];
	json_t *body, *labels;

	if (show_read_address(call->verb->name, call_argument(call, 1), address, err) ||
	    (given && weight_of(call, given, &weight, err)))
		return -EINVAL;
	labels = labels_of(call, err);
	if (!labels)
		return -EINVAL;
	body = json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address", address,
			 "weight", (json_int_t)weight);
	if (body && name)
		json_object_set_new(body, "name", json_string(name));
	if (body && json_object_size(labels))
		json_object_set(body, "labels", labels);
	json_decref(labels);
	return change_as(call, "/v1/backend/add", body, describe_added, err);
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

REGISTER(verb, backend_add) = {
    .name = "backend add",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "add a backend to a service",
    .details = "Lasts until the next reload, over restarts of lbd too; `lbctl save` writes it into "
	       "the config file. Established flows keep their backends.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_NONE)},
    .options = {{.name = "--weight",
		 .value = "N",
		 .help =
		     "its share of new flows, relative to other backends: 0 to 10000, default 100"},
		{.name = "--name", .value = "NAME", .help = "a name, unique in the service"},
		{.name = "--label",
		 .value = "KEY=VALUE",
		 .help = "a label for the metrics; may be given 8 times",
		 .many = true}},
    .examples = {{"backend add web 10.0.0.13 --weight 50",
		  "with half the share of a backend of default weight"},
		 {"backend add web 10.0.0.14 --name web-4 --label zone=b", "with a name"}},
    .run = run_add,
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
