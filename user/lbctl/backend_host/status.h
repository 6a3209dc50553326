/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state of a backend's host, as JSON and as text. */
#ifndef LBCTL_BACKEND_HOST_STATUS_H
#define LBCTL_BACKEND_HOST_STATUS_H

#include <jansson.h>

#include "change.h"
#include "decap.h"
#include "vips.h"

/* Includes the VIPs on record and the given ones. NULL if out of memory. */
json_t *host_status(const struct host *host, const struct vips *given, const struct decap *decap);
void host_status_print(const json_t *status);

#endif
