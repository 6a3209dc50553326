/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Many packets in one system call, through the program of tests/bpf/batch.bpf.c, on real maps. Any
 * number of lbds may run on those maps, one after the other. */
#ifndef LBD_TEST_BATCH_H
#define LBD_TEST_BATCH_H

#include <netinet/in.h>

#include "lbd/dataplane/internal.h"
#include "batch_abi.h"

struct batch {
	struct dataplane *owner; /* only creates the maps */
	struct dataplane_options options;
	void *build; /* its skeleton */
	bool narrow; /* the build with a narrow hash: tests/bpf/batch_narrow.bpf.c */
	struct bpf_object *object;
	struct batch_control *control;
	struct shot *shots; /* BATCH_MOST; to be filled before batch_fire, in the order of ticks */
	struct lb_turn *turns;
	__u64 *syns;
};

enum batch_build {
	BATCH_ALONE,
	BATCH_PEERS,  /* tells other nodes of flows */
	BATCH_NARROW, /* has a narrow hash: tests/bpf/batch_narrow.bpf.c */
};

/* Creates the maps and loads the program. segment: bits of the number of buckets in the smallest
 * part of the flow table; 0: as lbd has it. 0, or -errno with the reason in err: -EPERM where
 * programs cannot be loaded. */
int batch_open(uint32_t services, uint32_t backends, uint32_t slots, uint32_t flows,
	       uint32_t segment, enum batch_build build, struct batch *ret, struct error *err);
void batch_close(struct batch *batch);
/* Empties the maps; no lbd may be on them. dice: the seed of the program's random numbers. */
void batch_clear(struct batch *batch, uint64_t dice);
/* A new lbd on the maps as they are, with its clock at this tick. Ended by dataplane_close. */
struct dataplane *batch_lbd(const struct batch *batch, uint32_t tick);
/* A template's frame: TCP or UDP from 11.0.x.y or 2001:db8::x:y to the VIP's port. */
void batch_template(struct batch *batch, unsigned number, const struct addr *vip, int protocol,
		    uint16_t port);
/* Sends the first count shots, each at its tick, and writes verdicts and destinations into them.
 * Aborts the test on failure. */
void batch_fire(struct batch *batch, uint32_t count);

#endif
