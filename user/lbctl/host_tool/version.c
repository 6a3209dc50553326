/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd-backend version. */
#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/verb.h"

static int run_version(struct call *call, struct error *err)
{
	printf("lbd-backend " LBD_VERSION "\n");
	return 0;
}

REGISTER(verb, version) = {
    .name = "version",
    .group = VERB_OTHER,
    .summary = "show the version of lbd-backend",
    .examples = {{"version", NULL}},
    .run = run_version,
};
