/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sysctls of a backend: settings that direct server return needs. */
#ifndef LBCTL_BACKEND_HOST_SETTINGS_H
#define LBCTL_BACKEND_HOST_SETTINGS_H

#include <jansson.h>

#include "change.h"
#include "vips.h"

/* Changes the settings that VIPs of these families need and that differ. */
int settings_apply(struct host *host, const struct vips *vips, struct error *err);
/* Changes a strict rp_filter that applies to this interface to loose. */
int settings_loosen_rp_filter(struct host *host, const char *interface, struct error *err);
/* [ { "name", "value", "family", "good": bool } ]; NULL if out of memory. */
json_t *settings_list(const struct host *host);

#endif
