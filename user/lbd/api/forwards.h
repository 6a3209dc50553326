/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is traffic forwarded, as /healthz, /v1/status and the metrics say it? */
#ifndef LBD_FORWARDS_H
#define LBD_FORWARDS_H

#include "common/forwarding.h"
#include "lbd/state/state.h"

/* attach: NULL has no interfaces. */
enum forwarding api_forwarding(const struct state *state, const struct attach *attach,
			       char text[FORWARDING_TEXT]);

#endif
