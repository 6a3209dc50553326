/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Configures a host as a backend, in steps that change only what is missing. */
#ifndef LBCTL_BACKEND_HOST_SETUP_H
#define LBCTL_BACKEND_HOST_SETUP_H

#include <stdbool.h>

#include "change.h"
#include "vips.h"

struct host_options {
	bool tunnel;          /* the kernel's tunnels instead of the decapsulator */
	const char *mode;     /* of the decapsulator: "auto", "native" or "generic" */
	const json_t *accept; /* what is given of accept.h */
};

/* Finds what is wrong before the first change. host must have an interface. */
int host_check(const struct host *host, const struct vips *vips, const struct host_options *options,
	       struct error *err);
/* On an error, the changes made so far are on record. */
int host_setup(struct host *host, const struct vips *vips, const struct host_options *options,
	       struct error *err);
/* Prints what the MTU of the interface means for clients, if it is too small for their packets. */
void host_report_mtu(const struct host *host);

#endif
