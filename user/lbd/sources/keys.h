/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What etcd's JSON gateway is asked, and what it answers: keys below a prefix. Pure. */
#ifndef LBD_SOURCES_KEYS_H
#define LBD_SOURCES_KEYS_H

#include "list.h"

/* The body of a request for all keys below the prefix; with revision that of a watch of changes
 * from that one on. Allocated; NULL: out of memory. */
char *keys_request(const char *prefix, const char *revision);
/* Reads the answer to such a request. The rest of a key is an address, or its value has one; a
 * value is empty, a weight, or an object as in a file. What cannot be read is ignored. *ret_next:
 * the revision after that of the answer. 0, or -errno with err set. */
int keys_read(const char *body, size_t length, const char *prefix, struct source_list *ret,
	      char ret_next[24], struct error *err);

#endif
