/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How packets reach the backends of a service: `forward`. */
#ifndef LBCTL_IMPORT_WAYS_H
#define LBCTL_IMPORT_WAYS_H

#include "import.h"

/* Decides it for a service that has backends, after those before it: what cannot have its way is
 * left out, with a note each. */
void ways_settle(struct import *im, struct import_service *service);
/* The port of a backend that the config has to say: its own, with forward: nat; 0: none. */
unsigned ways_port(const struct import_service *service, const struct import_backend *backend);

#endif
