/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend add, remove, drain, undrain, weight: run-time changes of one backend. Drains last
 * until undrain, the others until the next reload. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb_api.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
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

/* POSTs a change and prints "SERVICE ADDRESS: result". Takes over body. */
static int change(struct call *call, const char *path, json_t *body, const char *result,
		  struct error *err)
{
	char address[ADDR_TEXT];
	json_t *answer = NULL;
	int rc = show_read_address(call->verb->name, call_argument(call, 1), address, err);

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
		text_put(stdout, call_argument(call, 0));
		printf(" %s: %s\n", address, result);
	}
	json_decref(answer);
	return rc;
}

static int run_add(struct call *call, struct error *err)
{
	const char *given = call_option(call, "--weight");
	uint64_t weight = DEFAULT_WEIGHT;
	char result[96];

	if (given && weight_of(call, given, &weight, err))
		return -EINVAL;
	snprintf(result, sizeof(result),
		 "added with weight %llu; it takes flows once its health check passes",
		 (unsigned long long)weight);
	return change(call, "/v1/backend/add",
		      json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "weight", (json_int_t)weight),
		      result, err);
}

static int run_remove(struct call *call, struct error *err)
{
	bool now = call_option(call, "--now") != NULL;

	return change(call, "/v1/backend/remove",
		      json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "now", now),
		      now ? "removed; its flows now go to other backends"
			  : "draining; it is removed when its last flow has ended",
		      err);
}

static int run_drain(struct call *call, bool on, const char *result, struct error *err)
{
	return change(call, "/v1/backend/drain",
		      json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "on", on),
		      result, err);
}

static int run_drain_on(struct call *call, struct error *err)
{
	char result[512];

	snprintf(result, sizeof(result),
		 "takes no new flows; to wait until it is drained: lbctl drain %s %s --wait",
		 call_argument(call, 0), call_argument(call, 1));
	return run_drain(call, true, result, err);
}

static int run_drain_off(struct call *call, struct error *err)
{
	return run_drain(call, false, "takes new flows again", err);
}

static int run_weight(struct call *call, struct error *err)
{
	uint64_t weight = 0;
	char result[64];

	if (weight_of(call, call_argument(call, 2), &weight, err))
		return -EINVAL;
	snprintf(result, sizeof(result), "weight %llu%s", (unsigned long long)weight,
		 weight ? "" : ": takes no new flows");
	return change(call, "/v1/backend/weight",
		      json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "weight", (json_int_t)weight),
		      result, err);
}

REGISTER(verb, backend_add) = {
    .name = "backend add",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "add a backend to a service",
    .details = "Lasts until the next reload; add the backend to the config to keep it. Established "
	       "flows keep their backends.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_NONE)},
    .options =
	{{.name = "--weight",
	  .value = "N",
	  .help = "its share of new flows, relative to other backends: 0 to 10000, default 100"}},
    .examples = {{"backend add web 10.0.0.13 --weight 50",
		  "with half the share of a backend of default weight"}},
    .run = run_add,
};

REGISTER(verb, backend_remove) = {
    .name = "backend remove",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "drain a backend, then remove it from its service",
    .details = "Lasts until the next reload; remove the backend from the config as well to keep "
	       "the change.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .options =
	{{.name = "--now",
	  .help =
	      "do not drain: its flows go to other backends at once and their connections break"}},
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
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .examples = {{"backend drain web 10.0.0.12", "before maintenance"}},
    .run = run_drain_on,
};

REGISTER(verb, backend_undrain) = {
    .name = "backend undrain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "end a drain: the backend takes new flows again",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .examples = {{"backend undrain web 10.0.0.12", "after maintenance"}},
    .run = run_drain_off,
};

REGISTER(verb, backend_weight) = {
    .name = "backend weight",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "set a backend's share of new flows",
    .details = "Lasts until the next reload. Established flows keep their "
	       "backends. Weight 0: no new flows.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND),
		  ARGUMENT("WEIGHT", WORDS_NONE)},
    .examples = {{"backend weight web 10.0.0.12 200", "twice the default"}},
    .run = run_weight,
};
