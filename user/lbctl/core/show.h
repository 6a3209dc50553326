/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What several verbs print alike: answers as JSON, and how an interface or a backend is
 * described. */
#ifndef LBCTL_SHOW_H
#define LBCTL_SHOW_H

#include <jansson.h>

#include "common/addr.h"
#include "common/error.h"

/* The answer as lbd gave it, indented, on stdout. 0 or -EIO. */
int show_json(const json_t *answer, struct error *err);
/* "native, beside other programs (libxdp dispatcher)" of an interface of /v1/status. */
const char *show_mode(const json_t *interface);
/* "web 10.0.0.11", of a backend of /v1/backends. */
void show_backend_name(const json_t *backend, char *text, size_t size);
/* An ADDRESS argument in the form lbd writes it: 0, or -EINVAL with err set. */
int show_read_address(const char *verb, const char *text, char ret[ADDR_TEXT], struct error *err);

#endif
