/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl version: the versions of lbctl and of the running lbd. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

/* Succeeds without lbd: lbctl's own version is shown then. */
static int run_version(struct call *call, struct error *err)
{
	json_t *status = NULL;
	struct error silent;
	bool runs = call_get(call, "/v1/status", &status, &silent) == 0;
	int rc = 0;

	if (call->json) {
		json_t *answer = json_pack("{s:s, s:s?}", "lbctl", LBD_VERSION, "lbd",
					   runs ? json_text(status, "version") : NULL);

		rc = show_json(answer, err);
		json_decref(answer);
	} else {
		printf("lbctl %s\n", LBD_VERSION);
		if (runs)
			printf("lbd   %s\n", json_text(status, "version"));
		if (runs && strcmp(json_text(status, "version"), LBD_VERSION) != 0)
			printf("The versions differ: restart lbd to run the installed version; "
			       "forwarding continues during the restart\n");
	}
	json_decref(status);
	return rc;
}

REGISTER(verb, version) = {
    .name = "version",
    .group = VERB_OTHER,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show the versions of lbctl and of the running lbd",
    .examples = {{"version", NULL}},
    .run = run_version,
};
