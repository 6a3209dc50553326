/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl attach: asks lbd to attach its XDP program to an interface. */
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

static void print_attached(const char *name, const json_t *interface)
{
	text_put(stdout, name);
	printf(": attached, %s\n", show_mode(interface));
	show_warnings(stdout, json_object_get(interface, "warnings"));
}

static int run_attach(struct call *call, struct error *err)
{
	const char *mode = call_option(call, "--mode");
	json_t *answer = NULL;
	int rc;

	rc = call_post(call, "/v1/attach",
		       json_pack("{s:s, s:s*}", "interface", call_argument(call, 0), "mode", mode),
		       &answer, err);
	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else
		print_attached(call_argument(call, 0), json_object_get(answer, "interface"));
	json_decref(answer);
	return rc;
}

REGISTER(verb, attach) = {
    .name = "attach",
    .group = VERB_INTERFACES,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "attach the load balancer to an interface",
    .details =
	"Packets for a VIP that arrive on IFACE are then forwarded. Attaching again changes "
	"nothing. Other XDP programs on IFACE keep running if the kernel can load libxdp's "
	"dispatcher.\n\n"
	"lbd attaches to the interfaces in its config by itself. This verb adds one while lbd "
	"is running.",
    .arguments = {ARGUMENT("IFACE", WORDS_INTERFACE)},
    .options = {{.name = "--mode",
		 .choice = "auto|native|generic",
		 .help =
		     "native: in the driver; generic: works on every interface, but slower; auto: "
		     "native if the driver supports it and packets arrive, else generic. Default: "
		     "`mode` of the config"}},
    .examples = {{"attach eth0", "forward packets that arrive on eth0"},
		 {"attach eth0 --mode native",
		  "the same, but fail if the driver has no native XDP"}},
    .run = run_attach,
};
