/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The only writer of the maps: turns a wanted list of services into settings, VIP and port
 * tables, rings, backends, in an order that is safe for packets in flight; adopts pinned maps;
 * settles slots; reads counters. Rules: docs/tracking.md. Knows nothing of config files, health
 * or netlink. */
#ifndef LBD_DATAPLANE_H
#define LBD_DATAPLANE_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb_abi.h"
#include "lb_reasons.h"
#include "common/addr.h"
#include "common/error.h"
#include "lbd/algo/algo.h"
#include "lbd/neigh/neigh.h"

struct dataplane;

struct dataplane_options {
	/* directory on a bpffs; made if missing. NULL: nothing is pinned (tests) */
	const char *pin;
	uint32_t services, backends, slots,
	    flows; /* limits; a pinned set keeps its own and a warning is logged */
	uint64_t hash_seed;
	/* no seed is configured: the pinned maps' counts, without a warning */
	bool hash_seed_default;
	uint16_t gue_port;
	struct addr encap_source4, encap_source6;
	unsigned encap_source4_len, encap_source6_len;
};

struct dp_backend {
	struct addr address;
	uint32_t weight; /* effective; 0: takes no new flow (draining) */
	/* false: dead; others stand in for it, and it finds its flows when it is back in time */
	bool usable;
	struct next_hop hop; /* valid when usable */
	uint32_t latency_us; /* for LB_SELECT_COST algorithms */
};

struct dp_service {
	struct addr vip;
	uint8_t protocol;
	uint16_t port; /* 0: any */
	const struct algo *algorithm;
	uint8_t hash, forward, mask4, mask6;
	bool track_always, track_never, affinity;
	uint32_t tcp_idle_ms, udp_idle_ms, affinity_ms;
	uint32_t slots;         /* prime; 0: chosen */
	/* those the configuration asks for: they alone size the ring; 0: all of backends */
	unsigned ring_backends;
	/* those not in the list are removed: their flows go to others at once */
	struct dp_backend *backends;
	unsigned backends_count;
};

struct dp_counts {
	uint64_t packets, bytes, flows;
};

struct dp_backend_stats {
	struct dp_counts counts;
	int32_t active;      /* tracked live flows */
	uint32_t slots;      /* slots whose current it is */
	uint32_t kept_slots; /* slots in transition that may still send older flows to it */
	uint32_t held_ms; /* since the last packet that holds the drain; UINT32_MAX: nothing does */
	bool drained; /* weight 0 and nothing live depends on it (docs/tracking.md, last rule) */
};

struct dp_service_stats {
	struct dp_counts counts; /* of its backends, present and past */
	uint32_t slots, slots_in_transition;
	/* of what the ring is to hold: the same config and seed give the same */
	uint64_t ring_digest;
	/* holds more than its share of a crowded flow table: its new flows go by slot */
	bool limited;
};

struct dp_memory { /* bytes */
	uint64_t flows, arena, services, backends, counters, other, total;
	uint64_t flow_capacity, flow_entries; /* places, and live ones at the last sweep */
};

/* Opens the embedded program, creates the maps or adopts the pinned ones (same ABI version, else
 * -EPROTO and a clear error), loads the program. Does not attach. 0 or -errno with err set (names a
 * missing kernel feature where it
 * can). */
int dataplane_open(const struct dataplane_options *options, struct dataplane **ret,
		   struct error *err);
/* Lets go of descriptors. Pinned maps, programs and links stay; forwarding goes on. */
void dataplane_close(struct dataplane *dp);
/* Removes the pins (after every interface was detached). */
void dataplane_unpin(struct dataplane *dp);

/* True when dataplane_open found pinned maps with services in them (a takeover). */
bool dataplane_adopted(const struct dataplane *dp);
/* Until the first commit after a takeover: what the adopted maps say of a service's backends, so
 * that nothing is withdrawn before health checks and neighbours have answered. weight is 0 for one
 * that took no new flow, otherwise some number above; hop.source stays empty. Returns how many;
 * *ret is the caller's to free (NULL when there are none). */
unsigned dataplane_adopted_backends(const struct dataplane *dp, const struct dp_service *key,
				    struct dp_backend **ret);
int dataplane_program_fd(const struct dataplane *dp);
/* the one in force: pinned maps keep theirs */
uint64_t dataplane_hash_seed(const struct dataplane *dp);
/* The loaded object, for attach.c (libxdp). */
struct bpf_object *dataplane_object(const struct dataplane *dp);
/* Lets redirects leave through this interface. Called by commit for next hops; by attach for
 * attached ones. */
int dataplane_add_egress(struct dataplane *dp, uint32_t ifindex);

/* Makes the data plane hold just these services. All or nothing: limits are checked before the
 * first write; -ENOSPC names the limit. Services and backends keep their ids (matched by VIP,
 * protocol, port; by address), also across a takeover; unchanged services cost a comparison. */
int dataplane_commit(struct dataplane *dp, const struct dp_service *services, size_t count,
		     struct error *err);

/* One bounded step of the sweep over flow table and slots (settling, active counts, expiry);
 * budget: entries looked at. now_tick 0: the clock (tests pass their own). Returns the entries left
 * in this round: 0 when a round ended. */
size_t dataplane_sweep(struct dataplane *dp, size_t budget, uint32_t now_tick);

int dataplane_service_stats(const struct dataplane *dp, const struct dp_service *key,
			    struct dp_service_stats *ret);
int dataplane_backend_stats(const struct dataplane *dp, const struct dp_service *key,
			    const struct addr *backend, struct dp_backend_stats *ret);
/* Fills LB_COUNTERS sums of packets and bytes (reasons, then events). */
void dataplane_reason_counts(const struct dataplane *dp, struct lb_reason_count ret[LB_COUNTERS]);
void dataplane_memory(const struct dataplane *dp, struct dp_memory *ret);

#endif
