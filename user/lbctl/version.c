/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl version: of lbctl, and of the lbd that runs. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/client.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

/* lbd need not run: lbctl's own version is an answer too. */
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
			printf(
			    "The two differ: restart lbd to run what is installed; forwarding goes on meanwhile\n");
	}
	json_decref(status);
	return rc;
}

REGISTER(verb, version) = {
    .name = "version",
    .group = VERB_OTHER,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "show the version of lbctl and of the lbd that runs",
    .examples = {{"version", NULL}},
    .run = run_version,
};
