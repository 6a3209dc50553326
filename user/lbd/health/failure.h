/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Texts for failed probes, common to all kinds, as `lbctl backends` shows them. */
#ifndef LBD_HEALTH_FAILURE_H
#define LBD_HEALTH_FAILURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "health.h"

#define FAILURE_TEXT HEALTH_WHY

/* "connect: refused", "connect: no route to host", ...; error is a positive errno. */
void failure_connect(char text[FAILURE_TEXT], int error);
/* The same for an exchange that has begun: "refused (ICMP port unreachable)", "reset", ... */
void failure_send(char text[FAILURE_TEXT], int error);
/* "the answer does not contain "PONG"": of `expect` or `expect-hex`. */
void failure_content(char text[FAILURE_TEXT], const char *what, const char *expect,
		     const char *expect_hex);
/* "connect: timed out after 1 s": what is missing, and the limit. */
void failure_timeout(char text[FAILURE_TEXT], const char *what, uint32_t timeout_ms);
/* Whether this errno means a shortage on this host (descriptors, memory, ports), not a failure of
 * the backend. */
bool failure_is_local(int error);

#endif
