/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl diff: what is in force beside what the config file says. */
#include <errno.h>
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static int run_diff(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	bool differs;
	int rc = call_post(call, "/v1/reload", json_pack("{s:b}", "dry_run", 1), &answer, err);

	if (rc)
		return rc;
	differs = json_number(answer, "changed") || json_number(answer, "kept_overrides");
	if (call->json) {
		rc = show_json(answer, err);
	} else if (differs) {
		printf("the config file differs from what is in force:\n");
		show_changes(answer);
		/* a reload keeps them: they are not among what it would change */
		show_run_time_changes(json_object_get(answer, "kept"), "  ", " at run time");
		printf(
		    "To put the file into force: lbctl reload (it keeps drains). To write run-time "
		    "changes into the file: lbctl save\n");
	} else {
		printf("what is in force is what the config file says\n");
	}
	json_decref(answer);
	return rc || !differs ? rc : -EXDEV;
}

REGISTER(verb, diff) = {
    .name = "diff",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show how the config file differs from what is in force",
    .details = "Run-time changes, and changes of the file that were not loaded yet. Each line says "
	       "what a reload would do. The exit status is 1 if something differs; with --json the "
	       "answer is that of `lbctl reload --dry-run`.",
    .examples = {{"diff", "before a reload, or a reboot"}},
    .run = run_diff,
};
