/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is traffic forwarded? One rule for lbctl status, its --check, and lbd's /healthz and metrics.
 * Pure. */
#ifndef COMMON_FORWARDING_H
#define COMMON_FORWARDING_H

#include <stdbool.h>
#include <stdint.h>

#define FORWARDING_TEXT 256

struct forwarding_facts {
	unsigned interfaces, running; /* attached; of them up, with a carrier */
	const char *not_running;      /* the first attached one that is not; NULL: all run */
	uint64_t services, down, blind;
	uint64_t backends, up;
};

enum forwarding {
	FORWARDING_NOT,  /* no packet of any service is forwarded */
	FORWARDING_PART, /* something is missing */
	FORWARDING_ALL,
};

/* text: a sentence that says it, and what to do next if something is missing. */
enum forwarding forwarding_judge(const struct forwarding_facts *facts, char text[FORWARDING_TEXT]);

#endif
