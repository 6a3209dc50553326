/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* keepalived's health checkers, which real servers have, as the one check that a service of lbd
 * has. */
#ifndef LBCTL_IMPORT_CHECKER_H
#define LBCTL_IMPORT_CHECKER_H

#include "blocks.h"
#include "import.h"

/* Of a virtual server, a real server or a checker: each gives its own to what is in it. */
struct checker_times {
	uint64_t delay_ms, connect_ms; /* 0: not given */
	uint64_t retry;
	bool has_retry;
	const char *virtualhost; /* or NULL */
};

/* The check of the first real server that has one, and what the others have. */
struct checker_choice {
	struct import_health health;
	struct import_place at; /* of that real server */
	struct import_place unchecked_at;
	bool chosen, unchecked; /* there are real servers with a check, without one */
};

/* Reads a statement if it is one of those; else false. */
bool checker_read_time(struct import *im, const struct statement *statement,
		       struct checker_times *times);
/* Is this statement a checker? */
bool checker_find(const struct statement *statement);
/* Takes the checkers of one real server into account. */
void checker_choose(struct import *im, const struct statement *real_server,
		    const struct checker_times *times, bool udp, struct checker_choice *choice);
/* The check of the service, when all real servers have been seen. */
void checker_settle(struct import *im, struct import_place at, const struct checker_choice *choice,
		    struct import_health *ret);

#endif
