/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hash of the client address selects a slot of a Maglev table: a lost backend moves its own
 * clients only. */
#include "algo.h"

REGISTER(algo, source_hash) = {
    .name = "source-hash",
    .short_name = "sh",
    .help =
	"by the hash of the client address (affinity-mask: of its prefix): a client stays on one backend",
    .select = LB_SELECT_SLOT,
    .hash = 0,
};
