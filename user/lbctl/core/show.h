/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Output and arguments that several verbs share: answers as JSON, the mode of an interface, the
 * name of a backend, an address. */
#ifndef LBCTL_SHOW_H
#define LBCTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/addr.h"
#include "common/error.h"

/* Prints the answer of lbd, indented. 0 or -EIO. */
int show_json(const json_t *answer, struct error *err);
/* A line each. */
void show_warnings(FILE *to, const json_t *warnings);
/* Run-time changes in lbd's answers, a line each after `before`: "service web: backend 10.0.0.11:
 * drain", and `after`. */
void show_run_time_changes(const json_t *changes, const char *before, const char *after);
/* What a reload would change, of the answer to a dry run: a line each, and how many more. */
void show_changes(const json_t *trial);
/* An interface of /v1/status: "native, beside other XDP programs (libxdp dispatcher)". */
const char *show_mode(const json_t *interface);
/* A backend of lbd's answers: "web-1 10.0.0.11", or "10.0.0.11" without a name. */
#define SHOW_BACKEND 128
const char *show_backend(const json_t *backend, char text[SHOW_BACKEND]);
/* The same after its service: "web web-1 10.0.0.11", or "web" if it is about the service itself. */
void show_backend_name(const json_t *backend, char *text, size_t size);
/* Do its replies come back through lbd, as with `forward: nat`? A service says how it forwards; of
 * the backends only those of such a service have a port of their own, the others null. */
bool show_is_nat(const json_t *of);
bool show_any_nat(const json_t *list);
/* An ADDRESS argument in the notation of lbd. 0, or -EINVAL with err set. */
int show_read_address(const char *verb, const char *text, char ret[ADDR_TEXT], struct error *err);
/* A BACKEND argument, an address or a name. Likewise. */
int show_read_backend(const char *verb, const char *text, char ret[SHOW_BACKEND],
		      struct error *err);

#endif
