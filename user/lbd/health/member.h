/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One of the checks of a backend, which are made at the same time: its probe, and the way that it
 * takes, to the VIP through the tunnel or to the backend's own address. A second probe may take the
 * other way beside the one that counts: to find out whether the tunnel works here at all, or to
 * tell a backend that is dead from a tunnel that is broken. */
#ifndef LBD_HEALTH_MEMBER_H
#define LBD_HEALTH_MEMBER_H

#include "attempt.h"
#include "echoes.h"
#include "proof.h"
#include "remote.h"
#include "source.h"

struct member;

/* The probe that counts has ended, once for each start that was not stopped. True: the member may
 * be gone. */
typedef bool member_done_fn(struct member *member, const struct attempt_result *result);

/* What the members of a check have in common. */
struct members {
	struct attempts *attempts;
	struct remote *remote;
	struct sources *sources;
	struct health_way way; /* mark 0: none yet */
	struct proof *proof;   /* NULL: none goes to the VIP of its own accord */
	struct echoes *echoes; /* NULL: long packets are not tried */
	bool repeated;         /* the probes before these were void */
	uint64_t start_us;     /* when these were started */
	member_done_fn *done;
};

/* A probe by one way. */
struct member_probe {
	struct member *member;
	struct health_probe_spec spec;
	/* if it runs, here or in the probe process */
	struct attempt *local;
	struct remote_probe *remote;
};

struct member {
	struct health_check *check;
	const struct members *all;
	const struct health_kind *kind;
	const struct health_spec *config;
	struct member_probe direct, tunnel;
	struct member_probe *counts; /* the one of the two whose result is that of the check */
	uint64_t way_packets;        /* when the tunnel's began */
	uint64_t astray_ms;         /* until then the tunnel is not tried: packets left elsewhere */
	bool suspect;               /* none, or not the last one, has passed the tunnel */
	bool answers;               /* in this round: directly */
	bool no_process;            /* it could not be started for lack of it */
	struct attempt_result kept; /* of the tunnel, until the one beside has ended */
	char *kept_why;             /* NULL: none is kept */
};

void member_init(struct member *member, struct health_check *check, const struct members *all,
		 const struct health_spec *config, const struct health_kind *kind,
		 const struct addr *address, uint16_t port);
/* Before a probe and after the end; names may be NULL. */
void member_name(struct member *member, const struct health_names *names);
/* True: done was called, and has said that the member may be gone. */
bool member_start(struct member *member);
/* The probe that counts is not needed any more. */
void member_stop(struct member *member);
/* Nor is anything else of it. */
void member_done(struct member *member);

/* May it go to the VIP, if there is a way for the service's port? */
bool member_wants_way(const struct member *member, uint16_t port);
/* Adds where its next probe goes. */
void member_aim(const struct member *member, struct health_aim *ret);

#endif
