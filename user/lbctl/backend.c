/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend add, remove, drain, undrain, weight: run-time changes of one backend, which hold
 * until the config says otherwise. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb_api.h"
#include "lbctl/core/client.h"
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

/* POSTs a change; what it says on success ends the line "SERVICE ADDRESS: ". Takes over body. */
static int change(struct call *call, const char *path, json_t *body, const char *said,
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
	if (call->json)
		rc = show_json(answer, err);
	else
		printf("%s %s: %s\n", call_argument(call, 0), address, said);
	json_decref(answer);
	return rc;
}

static int run_add(struct call *call, struct error *err)
{
	const char *given = call_option(call, "--weight");
	uint64_t weight = DEFAULT_WEIGHT;
	char said[96];

	if (given && weight_of(call, given, &weight, err))
		return -EINVAL;
	snprintf(said, sizeof(said),
		 "added with weight %llu; it takes flows once its health check passes",
		 (unsigned long long)weight);
	return change(call, "/v1/backend/add",
		      json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "weight", (json_int_t)weight),
		      said, err);
}

static int run_remove(struct call *call, struct error *err)
{
	bool now = call_option(call, "--now") != NULL;

	return change(call, "/v1/backend/remove",
		      json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "now", now),
		      now ? "removed; its flows went to other backends"
			  : "drains, and is forgotten when its last flow is gone",
		      err);
}

static int run_drain(struct call *call, bool on, const char *said, struct error *err)
{
	return change(call, "/v1/backend/drain",
		      json_pack("{s:s, s:s, s:b}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "on", on),
		      said, err);
}

static int run_drain_on(struct call *call, struct error *err)
{
	return run_drain(call, true,
			 "takes no new flow; lbctl drain ... --wait says when it is safe to stop",
			 err);
}

static int run_drain_off(struct call *call, struct error *err)
{
	return run_drain(call, false, "takes new flows again", err);
}

static int run_weight(struct call *call, struct error *err)
{
	uint64_t weight = 0;
	char said[64];

	if (weight_of(call, call_argument(call, 2), &weight, err))
		return -EINVAL;
	snprintf(said, sizeof(said), "weight %llu%s", (unsigned long long)weight,
		 weight ? "" : ": takes no new flow");
	return change(call, "/v1/backend/weight",
		      json_pack("{s:s, s:s, s:I}", "service", call_argument(call, 0), "address",
				call_argument(call, 1), "weight", (json_int_t)weight),
		      said, err);
}

REGISTER(verb, backend_add) = {
    .name = "backend add",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "give a service one more backend",
    .details =
	"Holds until the next reload; put it into the config to keep it. Established flows stay where they are.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_NONE)},
    .options = {{.name = "--weight",
		 .value = "N",
		 .help = "its share of new flows, 0 to 10000; 100 by default"}},
    .examples = {{"backend add web 10.0.0.13 --weight 50", "at half the share of the others"}},
    .run = run_add,
};

REGISTER(verb, backend_remove) = {
    .name = "backend remove",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "take a backend from a service, after it has drained",
    .details = "Holds until the next reload; take it from the config as well to keep it so.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .options = {{.name = "--now",
		 .help = "do not drain: its flows go to other backends at once, and break there"}},
    .examples = {{"backend remove web 10.0.0.12",
		  "no new flow from now on, gone with the last one"},
		 {"backend remove web 10.0.0.12 --now", "the host is gone anyway"}},
    .run = run_remove,
};

REGISTER(verb, backend_drain) = {
    .name = "backend drain",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "give a backend no new flow and let it keep those it has",
    .details = "The same as `lbctl drain`, which can also wait.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .examples = {{"backend drain web 10.0.0.12", "before maintenance"}},
    .run = run_drain_on,
};

REGISTER(verb, backend_undrain) = {
    .name = "backend undrain",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "end a drain: the backend takes new flows again",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND)},
    .examples = {{"backend undrain web 10.0.0.12", "after maintenance"}},
    .run = run_drain_off,
};

REGISTER(verb, backend_weight) = {
    .name = "backend weight",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "set a backend's share of new flows",
    .details =
	"Holds until the next reload. Established flows stay where they are. 0: no new flow.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("ADDRESS", WORDS_BACKEND),
		  ARGUMENT("WEIGHT", WORDS_NONE)},
    .examples = {{"backend weight web 10.0.0.12 200", "twice the default"}},
    .run = run_weight,
};
