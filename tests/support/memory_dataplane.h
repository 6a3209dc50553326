/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A data plane on plain memory in place of BPF maps: no privileges, and sanitizers see every
 * access. Services and backends to commit come from small builders. */
#ifndef LBD_TEST_MEMORY_DATAPLANE_H
#define LBD_TEST_MEMORY_DATAPLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "lbd/dataplane/internal.h"

struct memory_limits {
	uint32_t services, backends, slots, flow_buckets;
};

struct memory_dataplane {
	struct dp_maps maps;
	struct dataplane_options options;
	struct dataplane *dp;
};

/* Empty maps, and an lbd on them. Aborts when memory is short. */
struct memory_dataplane *memory_dataplane_new(struct memory_limits limits);
/* Closes this lbd and starts another one on the same maps. Returns its dataplane. */
struct dataplane *memory_dataplane_restart(struct memory_dataplane *memory);
/* The same on maps that also have the times of connects, of one flow in `sample`. Once. */
struct dataplane *memory_dataplane_time_connects(struct memory_dataplane *memory, unsigned sample);
void memory_dataplane_free(struct memory_dataplane *memory);
/* An lbd on these maps, plain or the kernel's, that never waits for packets in flight. clock: its
 * tick, 0: that of the real clock. Ended by dataplane_close. */
struct dataplane *dataplane_on(const struct dp_maps *maps, const struct dataplane_options *options,
			       uint32_t clock);

#define WANT_MOST 256 /* backends of a service */

/* A service with its backends, to be changed and committed again. */
struct want {
	struct dp_service service;
	struct dp_backend backends[WANT_MOST];
	bool v6; /* its backends have IPv6 addresses */
};

/* vip "192.0.2.1", protocol IPPROTO_*. Idle timeouts: TCP 300 s, UDP 30 s. No backends. */
void want_init(struct want *want, const char *vip, int protocol, int port, const char *algorithm);
/* Adds backend 10.0.x.y, or fd00::a00:xy, of number n: alive, reached through interface 7. */
struct dp_backend *want_add(struct want *want, unsigned n, uint32_t weight);
void want_remove(struct want *want, unsigned n);
struct dp_backend *want_find(struct want *want, unsigned n);
struct addr want_address(unsigned n); /* IPv4 */
/* The number of a backend below 256. */
unsigned want_number(const struct dp_backend *backend);
/* Commits these services; fails the test with the error's text when it cannot. */
void want_commit(struct dataplane *dp, struct want *wants, unsigned count);

/* The id of backend n, 0 when there is none. */
uint16_t want_id(const struct dataplane *dp, const struct want *want, unsigned n);
struct lb_service *want_line(const struct dataplane *dp, const struct want *want);
/* The words of the service's ring; their number in *ret_size. */
uint32_t *want_slots(const struct dataplane *dp, const struct want *want, uint32_t *ret_size);

/* Whole rounds of the sweep at this tick, which it is from now on. */
void sweep_rounds(struct dataplane *dp, unsigned rounds, uint32_t now);

#endif
