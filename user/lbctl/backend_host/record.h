/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The journal of what `backend-host setup` changed, so that undo restores just that: a JSON file
 * per interface, written before each change is made. */
#ifndef LBCTL_BACKEND_HOST_RECORD_H
#define LBCTL_BACKEND_HOST_RECORD_H

#include <jansson.h>

#include "common/error.h"

#define HOST_RUN_DIRECTORY "/run/lbd"

struct host_record {
	char path[256];
	json_t *changes; /* array of objects with "kind", in the order they were made */
};

/* Reads the record of an interface, empty when there is none. Interfaces of the same name in other
 * network namespaces have records of their own: all but the first process's namespace have their
 * cookie in the file's name. */
int host_record_open(const char *directory, const char *interface, struct host_record *ret,
		     struct error *err);
void host_record_close(struct host_record *record);
/* Writes the file (safe against a crash in between), or removes it when no change is left. */
int host_record_save(const struct host_record *record, struct error *err);

#endif
