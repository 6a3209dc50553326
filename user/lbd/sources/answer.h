/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a DNS answer (RFC 1035, RFC 2782), which may hold anything. Pure. */
#ifndef LBD_SOURCES_ANSWER_H
#define LBD_SOURCES_ANSWER_H

#include "common/addr.h"
#include "common/error.h"
#include "lbd/config/config.h"

#define ANSWER_TARGETS_MAX 64
#define ANSWER_NAME        256 /* of a target, with its end */

struct answer_target {
	uint16_t priority, weight, port;
	uint8_t rank; /* 0: of the lowest priority there is, 1: of the next */
	char name[ANSWER_NAME];
};

/* Each address of the answer section, of type A (family 4) or AAAA; found returns 0 to go on. */
typedef int answer_found_fn(void *arg, const struct addr *address);
/* *ret_ttl_s: the least of all records of the answer section. 0; -ENODATA: there is none of the
 * kind; -EBADMSG: it is no DNS answer; or what found returned. */
int answer_addresses(const uint8_t *bytes, int length, uint8_t family, answer_found_fn *found,
		     void *arg, uint32_t *ret_ttl_s);
/* The targets of the SRV records, of whose priorities the first CONFIG_MAX_PRIORITY + 1 count. Of
 * more than ANSWER_TARGETS_MAX those of the lowest priorities are left. Their number, or -ENODATA,
 * -EBADMSG, or -E2BIG: so many have the lowest one. */
int answer_targets(const uint8_t *bytes, int length, struct answer_target ret[ANSWER_TARGETS_MAX],
		   uint32_t *ret_ttl_s);

#endif
