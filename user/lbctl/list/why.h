/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why a backend takes no flows, or fewer than its weight says, and why a service is not wholly up:
 * sentences made of an answer of lbd. */
#ifndef LBCTL_LIST_WHY_H
#define LBCTL_LIST_WHY_H

#include <jansson.h>

#define WHY_TEXT 320

/* Of GET /v1/backends. "" if it takes its share of new flows. */
const char *why_backend(const json_t *backend, char text[WHY_TEXT]);
/* Which part of its new flows its first level does not get; "": it gets all or nothing. Returns
 * text. */
const char *why_spill(const json_t *service, char text[WHY_TEXT]);
/* Of GET /v1/services. "" if all its backends are up. */
const char *why_service(const json_t *service, char text[WHY_TEXT]);

#endif
