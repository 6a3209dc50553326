/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the decapsulator accepts, as a JSON object:
 *   "from": [ PREFIX... ]        outer sources
 *   "to": [ ADDRESS... ]         of --to; only in the record
 *   "addresses": [ ADDRESS... ]  outer destinations: those of the host, and "to"
 *   "ports": [ "80/tcp"... ]     of the VIPs; empty: every port
 *   "gue_port": NUMBER
 * The lists are sorted and without repeats. */
#ifndef LBCTL_BACKEND_HOST_ACCEPT_H
#define LBCTL_BACKEND_HOST_ACCEPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "change.h"
#include "decap.h"
#include "vips.h"
#include "lbctl/core/call.h"

/* Reads the options --from, --to, --port and --gue-port: *ret has only those that were given. 0, or
 * -EINVAL with err set. */
int accept_read(const struct call *call, json_t **ret, struct error *err);
/* What the decapsulator is to accept: what is given, else what is on record, else what it accepts
 * now (NULL: nothing is known), else the defaults; and the addresses of the host but VIPs. */
int accept_wanted(const struct host *host, const struct vips *vips, const struct decap *decap,
		  const json_t *given, const json_t *current, json_t **ret, struct error *err);
/* The record says the same, and so does the decapsulator (NULL: it is not known). */
bool accept_is_current(const struct host *host, const json_t *wanted, const json_t *current);
/* Addresses of the host that are no VIPs of the decapsulator. NULL with err set if they cannot be
 * listed. */
json_t *accept_host_addresses(const struct vips *vips, const struct decap *decap,
			      struct error *err);

void accept_describe(const json_t *accept, char *text, size_t size);
/* Only what differs. old may be NULL: not known. */
void accept_describe_change(const json_t *old, const json_t *new, char *text, size_t size);
/* Keeps one entry of the record, with the last of the changes to it. */
int accept_fold(struct host *host, struct error *err);

#endif
