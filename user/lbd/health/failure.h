/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The words for what went wrong with a probe, the same for every kind, as `lbctl backends` shows
 * them. */
#ifndef LBD_HEALTH_FAILURE_H
#define LBD_HEALTH_FAILURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAILURE_TEXT 320

/* "connect: refused", "connect: no route to host", ...; error is a positive errno. */
void failure_connect(char text[FAILURE_TEXT], int error);
/* "connect: timed out after 1 s": stage, what did not come, and the limit. */
void failure_timeout(char text[FAILURE_TEXT], const char *what, uint32_t timeout_ms);
/* True if this errno tells of a shortage on this host (descriptors, memory, ports), not of the
 * backend. */
bool failure_is_local(int error);

#endif
