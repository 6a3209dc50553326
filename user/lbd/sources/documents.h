/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What etcd's JSON gateway is asked, and what it answers, about the config of a fleet: a key, and
 * KEY/former, KEY/rollout and KEY/live/NAME beside it. Pure. */
#ifndef LBD_SOURCES_DOCUMENTS_H
#define LBD_SOURCES_DOCUMENTS_H

#include "list.h"

/* As keys_request and keys_read. What is beside these keys is ignored. */
char *documents_request(const char *key, const char *revision);
int documents_read(const char *body, size_t length, const char *key, struct source_list *ret,
		   char ret_next[24], struct error *err);

/* Bodies, allocated; NULL: out of memory. Of a request for a lease, its renewal, and the key with
 * it.
 */
char *documents_grant(unsigned lease_s);
char *documents_renew(const char *lease);
char *documents_put_live(const char *key, const char *node, const char *lease);
/* A document that is written, if those that are NULL stay as they are. */
struct documents_change {
	const char *config, *former, *rollout;
	/* Only if these were written in these revisions: those of the documents that were read. */
	uint64_t config_revision, rollout_revision;
};
/* The body of a transaction: all of it, or nothing. */
char *documents_write(const char *key, const struct documents_change *change);

/* "ID" of the answer to a request for a lease, or its "TTL"; of a renewal, which is a stream, too.
 * 0; -ENOENT: there is no such lease any more; -EBADMSG. */
int documents_read_lease(const char *body, size_t length, char ret_id[24]);
/* Was the transaction made? 0; -EAGAIN: another has written meanwhile; -EBADMSG. */
int documents_read_outcome(const char *body, size_t length);

#endif
