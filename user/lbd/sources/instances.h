/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The instances of a service in Consul, as its health endpoint lists them. Pure. */
#ifndef LBD_SOURCES_INSTANCES_H
#define LBD_SOURCES_INSTANCES_H

#include "list.h"

/* An answer of /v1/health/service/NAME. 0; -EBADMSG, -E2BIG or -ENOMEM with err set. */
int instances_read(const char *body, size_t length, struct source_list *ret, struct error *err);
/* The index in the answer's head, which the next query waits to change. NULL is fine. 0: it is
 * none. */
uint64_t instances_index(const char *text);

#endif
