/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The client address alone decides, through a Maglev table: a lost backend moves its own clients
 * alone. Registered in algo.h's list. */
#include "algo.h"

REGISTER(algo, source_hash) = {
    .name = "source-hash",
    .short_name = "sh",
    .help =
	"by the hash of the client address (affinity-mask: of its prefix): a client stays on one backend",
    .select = LB_SELECT_SLOT,
    .hash = 0,
};
