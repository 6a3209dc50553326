/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl detach: asks lbd to detach its XDP program from an interface. */
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static int run_detach(struct call *call, struct error *err)
{
	const char *name = call_argument(call, 0);
	json_t *answer = NULL;
	int rc = call_post(call, "/v1/detach", json_pack("{s:s}", "interface", name), &answer, err);

	if (rc)
		return rc;
	if (call->json) {
		rc = show_json(answer, err);
	} else {
		text_put(stdout, name);
		printf(": detached; packets that arrive on it are no longer forwarded\n");
	}
	json_decref(answer);
	return rc;
}

REGISTER(verb, detach) = {
    .name = "detach",
    .group = VERB_INTERFACES,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "detach the load balancer from an interface",
    .details = "Packets that arrive on IFACE are no longer forwarded. Forwarding on other "
	       "interfaces continues.",
    .arguments = {ARGUMENT("IFACE", WORDS_INTERFACE)},
    .examples = {{"detach eth0", "stop forwarding packets that arrive on eth0"}},
    .run = run_detach,
};
