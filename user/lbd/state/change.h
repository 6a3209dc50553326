/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A change of one backend at run time: from the copy of the run-time changes that it is made in to
 * the switch to that copy. */
#ifndef LBD_STATE_CHANGE_H
#define LBD_STATE_CHANGE_H

#include "internal.h"
#include "reals.h"

struct change {
	struct service *service;
	struct backend *backend;           /* NULL: not there yet */
	const struct config_backend *file; /* NULL: not in the file */
	struct overrides overrides;        /* the copy to change */
	struct override *entry;
	const char *name; /* of the service: that of its config, which the switch keeps */
	struct addr address;
	uint16_t from_port, to_port; /* it gets another one; equal: it does not */
	/* "web 192.0.2.10:80/tcp: backend web-1 10.0.0.11" */
	char label[SERVICE_LABEL + CONFIG_BACKEND_LABEL + 16];
};

/* What it is about; without a copy of the run-time changes, and so without an entry. 0 or -ENOENT.
 */
int change_find(const struct state *state, const char *name, const struct addr *address,
		struct change *ret, struct error *err);
/* The same with a copy and the backend's entry in it. 0, -ENOENT or -ENOMEM. Ends with change_end
 * or change_refuse. */
int change_begin(struct state *state, const char *name, const struct addr *address,
		 struct change *ret, struct error *err);
int change_end(struct state *state, struct change *change, struct error *err);
/* Returns code, with "LABEL: why" in err. */
int change_refuse(struct change *change, struct error *err, int code, const char *why);

void change_set_label(struct change *change, const struct config_tag *tag,
		      const struct addr *address);
/* May it be what put says? reals: those of the world and of what comes with it, which its own is
 * added to; NULL: it comes alone. 0, or -errno with the end of a sentence that begins with the
 * backend in err. */
int change_check(const struct state *state, const struct change *change,
		 const struct state_put *put, struct reals *reals, struct error *err);
/* Makes it one that is removed. */
void change_set_removed(struct override *entry);
/* Notes from_port and to_port, before the switch. */
void change_note_port(struct change *change, const struct state_put *put);
/* Makes an added backend what put says. */
void change_set_added(struct override *entry, const struct state_put *put);
/* A line and an event, also after change_end. */
void change_report(const struct change *change, enum event_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void change_report_removed(const struct change *change, bool now);
/* Of a change that leaves a service without a backend that takes flows, or other balancers with
 * another ring. */
void change_warn(const struct state *state, const char *name, bool was_down, bool other_backends);

#endif
