/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The journal of the changes of `backend-host setup`, for undo: a JSON file per interface, written
 * before each change is made. */
#ifndef LBCTL_BACKEND_HOST_RECORD_H
#define LBCTL_BACKEND_HOST_RECORD_H

#include <jansson.h>

#include "common/error.h"

/* Root's alone. What is in /run/lbd belongs to user lbd as soon as systemd starts lbd there. */
#define HOST_RUN_DIRECTORY    "/run/lbd-backend"
#define HOST_FORMER_DIRECTORY "/run/lbd" /* of an lbctl of before */

struct host_record {
	char path[256];
	char former[256]; /* where an lbctl of before had it */
	json_t *changes;  /* array of objects with "kind", in the order they were made */
};

/* Reads the record of an interface, empty if there is none, or that of `former`. Interfaces of the
 * same name in different network namespaces have different records: the file name contains the
 * cookie of the namespace, unless it is that of process 1. */
int host_record_open(const char *directory, const char *former, const char *interface,
		     struct host_record *ret, struct error *err);
void host_record_close(struct host_record *record);
/* Writes the file whole or not at all, or removes it if no change is left. */
int host_record_save(const struct host_record *record, struct error *err);

#endif
