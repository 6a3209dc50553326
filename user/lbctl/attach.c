/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl attach: asks lbd to put its program on an interface. */
#include <stdio.h>

#include "lbctl/core/client.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static int run_attach(struct call *call, struct error *err)
{
	const char *mode = call_option(call, "--mode");
	json_t *answer = NULL, *interface;
	int rc;

	rc = call_post(call, "/v1/attach",
		       json_pack("{s:s, s:s}", "interface", call_argument(call, 0), "mode",
				 mode ? mode : "auto"),
		       &answer, err);
	if (rc)
		return rc;
	interface = json_object_get(answer, "interface");
	if (call->json)
		rc = show_json(answer, err);
	else
		printf("%s: attached, %s\n", call_argument(call, 0), show_mode(interface));
	json_decref(answer);
	return rc;
}

REGISTER(verb, attach) = {
    .name = "attach",
    .group = VERB_INTERFACES,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "put the load balancer on an interface",
    .details =
	"From then on packets to a VIP that come in on IFACE are forwarded. Attaching twice changes nothing. "
	"Other XDP programs stay where the kernel lets libxdp's dispatcher load.\n\n"
	"The interfaces that the config names are attached by lbd itself; this verb adds one while lbd runs.",
    .arguments = {ARGUMENT("IFACE", WORDS_INTERFACE)},
    .options = {{.name = "--mode",
		 .choice = "auto|native|generic",
		 .help =
		     "native runs in the driver; generic works on every interface and is slower; "
		     "auto (the default) takes native where the driver has it and else generic"}},
    .examples = {{"attach eth0", "forward what comes in on eth0"},
		 {"attach eth0 --mode native", "the same, or fail if the driver has no XDP"}},
    .run = run_attach,
};
