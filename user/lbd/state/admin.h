/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state that an operator gives a backend, apart from what is measured. */
#ifndef LBD_ADMIN_H
#define LBD_ADMIN_H

enum admin_state {
	ADMIN_AUTO,        /* none: checks and agent decide */
	ADMIN_UP,          /* up whatever they say; it needs a next hop all the same */
	ADMIN_DOWN,        /* down whatever they say */
	ADMIN_MAINTENANCE, /* not used, and not missed: it does not count for its service's status
			    */
};

#define ADMIN_STATES_EXPECTED "expected auto, up, down or maintenance"

const char *admin_state_name(enum admin_state state);
/* 0 or -EINVAL. */
int admin_state_parse(const char *text, enum admin_state *ret);

#endif
