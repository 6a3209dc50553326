/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Shared by the files of this folder: dataplane.c and start.c (opening), adopt.c (takeover),
 * commit.c (changes; uses rings.c, picks.c, tables.c, reals.c, straight.c, backends.c, filters.c,
 * ids.c, limits.c, paths.c, connects.c), links.c, ways.c, sweep.c (uses flows.c), stats.c; for
 * other nodes claims.c, share.c, merge.c. */
#ifndef LBD_DATAPLANE_INTERNAL_H
#define LBD_DATAPLANE_INTERNAL_H

#include <string.h>

#include "arena.h"
#include "dataplane.h"

/* ---- the maps ---- */

struct dp_maps {
	struct lb_settings *settings;
	struct lb_link *links; /* LB_LINKS elements */
	struct lb_vip_bucket *vips;
	struct lb_port_bucket *ports;
	struct lb_service *services;
	struct lb_real_bucket *reals;
	struct lb_return *returns; /* by backend */
	struct lb_return_count *return_counts;
	struct lb_direct_list *directs; /* LB_LIST_PLACES elements, as of hops */
	struct lb_hop_list *hops;
	uint32_t *arena;
	uint16_t *fronts; /* of the slots; written by dp_slot_store */
	uint16_t *stamps;
	struct lb_backend *backends;
	struct lb_load *loads;
	struct lb_turn *turns;
	uint64_t *flows; /* LB_FLOW_WAYS words a bucket */
	uint8_t *dirty;  /* a byte for each bucket of `flows` */
	uint64_t *frags;
	struct lb_backend_count *backend_counts;
	struct lb_reason_count *reason_counts;
	struct lb_service_count *service_counts;
	struct lb_total *totals;
	struct lb_limit *limits;
	uint64_t *sources; /* LB_SOURCE_WAYS words a bucket, LB_SOURCE_BUCKETS */
	struct lb_offender *offenders;
	struct lb_connects *connects; /* by backend; NULL: there is no sample, or no program yet */
	uint64_t *probes;             /* LB_PROBES */

	uint32_t vip_buckets, port_buckets, real_buckets; /* in both halves */
	uint32_t return_lines;                            /* a power of two */
	uint32_t service_slots, backend_slots;            /* highest id + 1 */
	uint32_t arena_slots, front_count, flow_words, frag_words, cpus;
	uint32_t flow_shift; /* lb_flow_shift; tests have others */
};

/* Eight bytes of a map value, regardless of its fields. */
typedef uint64_t __attribute__((may_alias)) line_word;

/* Stores into maps since lbd started. */
extern uint64_t dp_stores;

/* One aligned store: a packet on another CPU sees it whole, and after all stores before it. */
#define dp_store(at, value) (dp_stores++, __atomic_store_n(at, value, __ATOMIC_RELEASE))
#define dp_load(at)         __atomic_load_n(at, __ATOMIC_ACQUIRE)
/* The same, but does not write if the value is already there. */
#define dp_update(at, value)                          \
	do {                                          \
		__typeof__(*(at)) dp_value = (value); \
		if (dp_load(at) != dp_value)          \
			dp_store(at, dp_value);       \
	} while (0)

/* ---- ids (ids.c) ---- */

enum id_state {
	ID_FREE,
	ID_USED,
	/* given up, but packets in flight may still use it until the next grace period */
	ID_LEAVING,
	/* the flow table may still name it until a whole round of the sweep has cleared it */
	ID_QUARANTINED,
};

struct ids {
	uint8_t *state;  /* enum id_state */
	uint32_t *since; /* round of the sweep in which the quarantine began */
	/* how often the id was taken: with the id it names one object for as long as lbd runs */
	uint32_t *serial;
	uint32_t count; /* ids are 1..count-1 */
	uint32_t leaving, quarantined;
	uint32_t first_free; /* no lower id is free */
};

int ids_init(struct ids *ids, uint32_t count);
void ids_done(struct ids *ids);
/* Takes the lowest free id; 0: none is free. */
uint32_t ids_take(struct ids *ids);
void ids_untake(struct ids *ids, uint32_t id); /* the data plane has never seen it: free at once */
void ids_leave(struct ids *ids, uint32_t id);

/* ---- filters (filters.c) ---- */

/* The filters of all services as in lb_abi.h: in chunks of map `filters`, or in plain memory. */
struct filter_image {
	uint32_t first, chunks;         /* in the map; no chunks: no service has a filter */
	struct lb_filter_block *blocks; /* in plain memory; else while it is made */
	uint32_t count;                 /* of blocks */
	struct filter **of;             /* by service id */
};

/* ---- services ---- */

struct claims;

struct member {
	struct dp_backend want; /* as last committed */
	uint16_t id;
	uint32_t drain_round; /* round of the sweep in which its weight became 0 */
};

/* A service in the maps. Its rings and lists are only in its value in maps.services. */
struct record {
	struct dp_service want; /* as last committed; backends NULL */
	uint32_t id;
	/* taken over, and not committed since: `want` and the members' weights are not known yet */
	bool adopted;
	struct member *members; /* sorted by address */
	unsigned count;
	uint16_t *since;        /* per slot of the ring: tick in which its transition began */
	uint32_t in_transition; /* slots */
	uint32_t wanted_size;   /* size of the ring after the current resize has settled */
	bool ever_by_slot;    /* has selected by slot at some time: older flows may have no entry */
	uint64_t full_before; /* flow_table_full when the service was created */
	uint64_t digest;      /* of the wanted ring */
	int32_t held_before;  /* turns[].held when the round of the sweep began */
	uint32_t configured;  /* size of the ring by our config; peers may ask for more */
	/* What the peers have said of its slots, by peer; NULL: nothing. */
	struct claims *claims[DP_PEERS];
	/* Made since this node joined the others, or before: its slots have had no packet yet, and
	 * take over the keepers of the peers. Until this round of the sweep has ended. */
	uint32_t fresh_round;
};

/* What the words of struct lb_connects add up to in a service: now, when this window of connects.c
 * began, and when the last one did. */
struct connects_sums {
	uint64_t now[LB_CONNECT_WORDS], began[LB_CONNECT_WORDS], last[LB_CONNECT_WORDS];
};

struct sweep {
	enum { SWEEP_IDLE, SWEEP_MOVE, SWEEP_FLOWS, SWEEP_FRAGS, SWEEP_SLOTS } phase;
	bool moves;         /* the flow table was changing its size when the round began */
	uint32_t round;     /* number of the current round, or of the last one */
	uint32_t completed; /* number of the last round that ended */
	uint32_t now;       /* tick in which the round began */
	uint32_t stepped;   /* tick of the last step; 0: none yet */
	uint32_t at;        /* word of the table, or service id */
	uint32_t slot;      /* of that service's ring */
	uint64_t entries;   /* live entries so far in this round */
	uint64_t dormant;   /* of them */
	uint64_t entries_last;
	uint64_t dropped; /* dormant entries removed for their places, since lbd started */
	uint32_t source;  /* word of `sources` to look at next, over all rounds */
};

/* How much of the flow table is needed (flows.c). */
struct flow_need {
	uint64_t needed;   /* entries but dormant ones, at the last sweep */
	uint64_t inserted; /* flow_inserted when that sweep began */
	uint64_t inserted_next;
	uint64_t looked;    /* 1 + flow_inserted when it was last looked whether it must grow */
	uint32_t patience;  /* ticks for which it must be almost empty before it shrinks */
	uint32_t low_since; /* tick since which it is, if `low`; and the most entries since then */
	uint64_t low_most;
	bool low;
	uint32_t stuck; /* entries that could not be moved in this round */
};

struct dataplane {
	struct dp_maps maps;
	struct arena arena;
	struct ids service_ids, backend_ids;
	struct record **records; /* sorted by key */
	size_t records_count;
	struct record **by_id; /* service id -> record */
	unsigned dropped;      /* backends with BACKEND_DROPPED */

	/* Per backend id. */
	uint8_t *traits;    /* enum backend_trait */
	uint32_t *slots_of; /* slots whose current it is */
	uint32_t *kept_of;  /* slots in transition that keep it, at the last count */
	uint32_t *slots_so_far, *kept_so_far; /* the same, in a count that has not ended */
	uint32_t *counting; /* entries in a state of LB_FLOW_COUNTED, so far in this round */
	uint32_t *closing;  /* closing entries that hold a drain, so far in this round */
	uint32_t *marked;   /* of those in `counting`: marks of older flows */
	/* entries in a state of LB_FLOW_HELD, so far in this round */
	uint32_t *holding;
	uint32_t *live_of;      /* entries that hold a drain, at the end of the last round */
	int32_t *active_before; /* loads[].active when the round began */
	uint32_t *died_at;      /* tick in which it last became dead */
	uint64_t *label_of;     /* maglev_label of its address, for digests of rings */

	uint64_t *retired; /* regions to free after the next grace period */
	size_t retired_count, retired_room;
	struct peer *peers[DP_PEERS]; /* NULL: there is none of that number */
	uint64_t *quiet;              /* a bit for each slot of the arena: claims.c */
	uint16_t *told_ticks;         /* of each entry, as peers know it */
	uint32_t evaluated;           /* tick as of which `quiet` was looked at */
	enum dp_join join;
	uint64_t conflicts;  /* slots that had untracked flows on two keepers */
	uint64_t unshared;   /* entries of peers that found no place */
	uint64_t no_room_ms; /* when it was last logged that a peer's ring is too large for us */
	bool ids_changed;    /* an id was given or given up since claims_translate */
	bool ids_taken;      /* we have something that we did not have */

	bool grace_owed;  /* something waits for the next grace period */
	bool half_owed;   /* so does the half of the tables that is not in use */
	bool reals_owed;  /* and that of the table of reals */
	bool reals_stale; /* that has reals of backends that are gone */
	int grace_map_fd; /* see dp_grace */

	struct sweep sweep;
	struct flow_need flows;

	/* Path MTUs that routers have reported, sorted by address (paths.c). */
	struct dp_path *paths;
	size_t paths_count;
	bool paths_read;        /* at least once */
	uint32_t paths_lowered; /* settings.paths_lowered when they were read */
	bool paths_unused;      /* the map may have elements that no backend has */
	uint32_t paths_cleaned; /* tick in which they were last removed */

	/* The outer source addresses, from the options. */
	struct addr encap_source[2]; /* IPv4, IPv6 */
	unsigned encap_source_len[2];

	/* Connect times (connects.c). */
	unsigned sample;  /* one flow in so many; 0: none */
	uint8_t *sampled; /* a bit by slot of the arena; NULL: none is */
	uint32_t *rank_of;
	struct lb_connects *connects_before; /* by backend: when this window began, and the last */
	struct lb_connects *connects_added;  /* by backend: what is in its service's sums */
	struct connects_sums *connects_sums; /* by service; NULL: nothing is timed */
	uint64_t connects_ms;                /* CLOCK_MONOTONIC when this window began */

	/* Opened by dataplane.c; NULL and -1 in tests on plain memory. */
	struct lb_bpf *skel;
	struct mapping *mappings;
	char *pin;
	int egress_fd, paths_fd, locals_fd;
	int filters_fd;              /* map `filters`; -1: on plain memory */
	struct filter_image filters; /* in force */
	/* by chunk: there is one, of an image or of an earlier lbd */
	bool filter_chunks[LB_FILTER_CHUNKS];
	bool filters_adopted; /* those of an earlier lbd are in force */
	uint32_t clock;       /* tests: the current tick; 0: read the clock */
	/* tests: do not wait in grace periods, as no packets are in flight */
	bool skip_grace;
	uint64_t other_bytes; /* size of the maps that are not in dp_maps */
	/* the most that was derived so far */
	struct lb_reason_count forwarded_tx, returned_tx;
	bool adopted;
	bool loaded; /* the program */
};

enum backend_trait {
	BACKEND_ALIVE = 1 << 0,   /* belongs to a service, and usable */
	BACKEND_DRAINS = 1 << 1,  /* alive, with weight 0 */
	BACKEND_PRESENT = 1 << 2, /* belongs to a service, alive or not: slots may name it */
	BACKEND_REVIVED = 1 << 3, /* became alive with this commit */
	/* Its service has it no more; packets in flight may, and its id is not leaving yet. */
	BACKEND_DROPPED = 1 << 4,
};

/* Builds the process's view of the maps; dp->maps must be set. Adopts what is in them. 0, -ENOMEM,
 * or -EPROTO if the maps are inconsistent. */
int dp_start(struct dataplane *dp, const struct dataplane_options *options, struct error *err);
void dp_stop(struct dataplane *dp);
int dp_adopt(struct dataplane *dp, struct error *err);

/* Waits until no packet in flight can use anything that was withdrawn before, then frees the
 * waiting regions and quarantines the waiting ids. Tens of milliseconds; returns at once if nothing
 * waits. */
void dp_grace(struct dataplane *dp);
/* Frees the region after the next grace period. Cannot fail: dp_retire_room has made room. */
void dp_retire(struct dataplane *dp, uint64_t region);
int dp_retire_room(struct dataplane *dp, size_t more);
void dp_free_region(struct dataplane *dp, uint64_t region);
/* Frees the ids whose quarantine began before this round: by then no packet and no entry uses
 * them. */
void dp_release_quarantine(struct dataplane *dp, uint32_t before_round);

/* lb_return.protocol of a backend of this family. */
static inline uint8_t dp_return_protocol(const struct dp_service *service, uint8_t family)
{
	return service->protocol | (service->vip.family != family ? LB_REAL_TRANSLATED : 0);
}

/* The key of the service that the line is of. */
struct dp_service dp_return_key(const struct lb_return *line);
/* The service that a backend's replies count for; 0: it is gone. */
uint32_t dp_returned_to(const struct dataplane *dp, uint32_t id);

struct record *dp_find(const struct dataplane *dp, const struct dp_service *key);
struct member *record_find(const struct record *record, const struct addr *address);
/* Order of members by address, for qsort and bsearch. */
int member_compare(const void *a, const void *b);
/* Order of (vip, protocol, port). */
int dp_compare_keys(const struct dp_service *a, const struct dp_service *b);
void record_free(struct record *record);

static inline struct lb_path_key dp_address_key(const struct addr *address)
{
	struct lb_path_key key = {.family = address->family};

	memcpy(key.addr, address->bytes, sizeof(key.addr));
	return key;
}

/* bits: as lb_settings.local and .real. */
static inline void dp_set_address_bit(uint64_t bits[LB_ADDRESS_BITS / 64], const __be32 address[4])
{
	uint32_t bit = lb_address_bit(address[0], address[1], address[2], address[3]);

	bits[bit / 64] |= 1ull << bit % 64;
}

/* The slots of a region. */
static inline uint32_t *dp_slots(const struct dataplane *dp, uint64_t region)
{
	return dp->maps.arena + LB_REGION_BASE(region);
}

/* The front of a slot: that of one in the sample has the flag of a transition, as if it were in
 * one. The program finds in the slot that it is not. */
static inline uint16_t dp_front(const struct dataplane *dp, uint32_t at, uint32_t slot)
{
	bool sampled = dp->sampled && dp->sampled[at / 8] >> at % 8 & 1;

	return (uint16_t)(lb_front(slot) | (sampled ? LB_FRONT_TRANSITION : 0));
}

/* share.c: the slot is to be sent to the peers. */
void share_slot(const struct dataplane *dp, uint32_t at);

/* Writes a slot, then its front: a packet that sees the transition in the front must find it in the
 * slot. */
static inline void dp_slot_store(const struct dataplane *dp, uint32_t at, uint32_t slot)
{
	if (dp_load(&dp->maps.arena[at]) != slot) {
		dp_store(&dp->maps.arena[at], slot);
		if (dp->quiet)
			share_slot(dp, at);
	}
	dp_update(&dp->maps.fronts[at], dp_front(dp, at, slot));
}

static inline uint16_t *dp_stamps(const struct dataplane *dp, uint64_t region)
{
	return dp->maps.stamps + LB_REGION_BASE(region);
}

/* Ticks from then to now, of a clock that wraps at mask. A packet may have read a later tick than
 * lbd: that counts as age 0. */
static inline uint32_t dp_age(uint32_t now, uint32_t then, uint32_t mask)
{
	uint32_t age = (now - then) & mask;

	return age > mask - 64 ? 0 : age;
}
#define dp_flow_age(now, entry) dp_age(now, LB_FLOW_TICK(entry), LB_FLOW_TICK_MASK)
/* now: the beginning of a round. It may be long ago if lbd was stopped in between, so later stamps
 * count as age 0. */
static inline uint32_t dp_stamp_age(uint32_t now, uint16_t stamp)
{
	int16_t age = (int16_t)(now - stamp);

	return age > 0 ? (uint32_t)age : 0;
}

/* The current tick of CLOCK_MONOTONIC_COARSE, as the program computes it; or the one a test has
 * set. */
uint32_t dp_tick(const struct dataplane *dp);
/* ms in ticks, rounded up, 1..LB_FLOW_MAX_IDLE. */
uint16_t dp_ticks(uint32_t ms);
/* "192.0.2.1:80/tcp", "[2001:db8::1]:any/udp" for messages. */
#define DP_KEY_TEXT (ADDR_TEXT + 20)
const char *dp_key_text(const struct dp_service *key, char text[DP_KEY_TEXT]);

/* ---- a change, planned before the first write (commit.c) ---- */

struct ring_plan {
	uint32_t size;       /* from now on */
	uint32_t wanted;     /* differs from size while an earlier resize has not settled */
	uint32_t configured; /* by our config; a peer's may want a larger one */
	bool again;          /* in place of one that has not settled: old_ring stays */
	uint64_t region;     /* if the ring is new or changes size; else 0 */
	uint16_t *since;     /* for the new region */
	uint16_t *table;     /* wanted backend of every slot */
	/* the same for old_ring, present or future; NULL: none */
	uint16_t *old_table;
	uint64_t digest; /* of the backends' addresses: the same on every machine */
};

struct pick_plan {
	bool changed;
	uint64_t region; /* 0: no list */
	uint32_t *list;
	uint32_t count;
	uint32_t median_us; /* latency of the measured members */
};

struct service_plan {
	struct dp_service want; /* backends NULL */
	struct record *record;
	bool made;              /* the record is new */
	bool changed;           /* false: nothing below is set */
	struct member *members; /* sorted by address, ids given */
	unsigned count;
	struct ring_plan ring;
	struct pick_plan pick;
};

/* rings.c */
/* Size, region and tables. -EINVAL (slots is no prime), -ENOSPC, -ENOMEM with err set. */
int ring_plan_make(struct dataplane *dp, struct service_plan *plan, struct error *err);
/* Writes the slots, and the rings into the service's value. The traits of the backends must be the
 * new ones. */
void ring_apply(struct dataplane *dp, struct service_plan *plan);
void ring_plan_done(struct dataplane *dp, struct ring_plan *ring);
/* Whether the ring is to change its size now, because of a peer or as an earlier resize is over. */
bool ring_is_due(const struct dataplane *dp, const struct record *record);
/* Counts slots_of, kept_of and in_transition of a service again, with pauses. */
void ring_count(struct dataplane *dp, struct record *record, uint32_t now);
uint16_t ring_idle(const struct lb_service *line, uint8_t protocol);
/* Whether marks of older flows were lost recently: those flows may be live without holding their
 * slots. The next packet of such a flow makes a new mark, and the one after that holds the slot:
 * two idle timeouts. */
bool ring_has_forgotten(const struct dataplane *dp, const struct record *record, uint32_t now);
/* How slots of a service change. */
struct slot_rules {
	bool never;
	bool learns;   /* there may be live flows that are not in the flow table */
	bool hears;    /* learning begins again when the keeper ceases to be current */
	bool resizing; /* keeper 0: the keeper is in the old ring */
	/* a peer does not have the wanted backend as current and keeper: the slot is not stable */
	bool contested;
};
struct slot_change {
	uint32_t slot;
	bool moved; /* stamp it */
	bool began; /* a transition began, or its learning began again */
};
enum keeper_claim {
	KEEPER_GONE,
	KEEPER_STANDS, /* also while it is dead: it may be back before its flows are over */
	/* while it was dead, flows without a place in the table went to current */
	KEEPER_SUPERSEDED,
};
struct slot_change slot_after(uint32_t slot, uint16_t wanted, bool current_present,
			      enum keeper_claim claim, struct slot_rules rules);

/* picks.c */
int pick_plan_make(struct dataplane *dp, struct service_plan *plan, struct error *err);
void pick_apply(struct dataplane *dp, struct service_plan *plan);
void pick_plan_done(struct dataplane *dp, struct pick_plan *pick);
/* Cost of a new flow on the member; 0: it takes none. 1 if the algorithm has no costs, as affinity
 * needs to know which members take new flows. */
uint32_t pick_cost(const struct service_plan *plan, unsigned member);

/* backends.c */
/* The bits of the outer source addresses of a family (4 or 6) that vary with the flow: a mask of
 * the last 32. */
__be32 dp_spread(const struct dataplane *dp, unsigned family);
/* Write the values of the members that are usable, flags last; and, later, of those that are
 * not. */
void backends_publish(struct dataplane *dp, const struct service_plan *plan);
void backends_withdraw(struct dataplane *dp, const struct service_plan *plan);
/* Withdraws a removed backend and gives up its id. */
void backend_retire(struct dataplane *dp, uint16_t id);

/* paths.c */
/* Tunnel packets go to this address: reports about it are heeded from now on. */
void path_open(struct dataplane *dp, const struct addr *address);
/* A backend is gone; others may have its address. */
void path_close(struct dataplane *dp);

/* filters.c */
#define FILTER_CHUNK_BYTES (LB_FILTER_CHUNK * sizeof(struct lb_filter_block))
struct filters_plan {
	bool changed;
	bool empty; /* no service has a filter */
	bool done;  /* it is in force, and `image` is the former one */
	struct filter_image image;
};
/* Makes the filters of all services ready, beside those in force. A service that is about to be
 * removed keeps its own. -ENOMEM and others with err set. */
int filters_plan_make(struct dataplane *dp, const struct service_plan *services, size_t count,
		      struct filters_plan *ret, struct error *err);
/* Puts them in force, all at once, unless there are none: before the services' values. */
void filters_install(struct dataplane *dp, struct filters_plan *plan);
/* If there are none: after the services' values. */
void filters_remove(struct dataplane *dp, struct filters_plan *plan);
/* Also after an error of filters_plan_make. Waits until no packet uses the former ones. */
void filters_plan_done(struct dataplane *dp, struct filters_plan *plan);
void filters_adopt(struct dataplane *dp);
void filters_done(struct dataplane *dp);

/* tables.c */
struct tables_plan {
	struct lb_vip_bucket *vips;
	struct lb_port_bucket *ports;
	struct lb_tables tables; /* the bases are set by tables_apply */
};
struct table_entry {
	const struct dp_service *key;
	uint32_t id;
};
/* Tables for these services (sorted by key). 0; -ENOSPC: no seed without an overflow was found;
 * -ENOMEM. */
int tables_plan_make(const struct dataplane *dp, const struct table_entry *entries, size_t count,
		     struct tables_plan *ret);
void tables_apply(struct dataplane *dp, const struct tables_plan *plan);
void tables_plan_done(struct tables_plan *plan);
/* Buckets that one half needs for so many services. */
uint32_t tables_vip_buckets(uint32_t services);
uint32_t tables_port_buckets(uint32_t services);
/* Calls found for every (VIP, protocol, port) in the half that is in use. Stops at the first
 * non-zero result and returns it. -EBADMSG: the tables are inconsistent; -ENOMEM. */
int tables_walk(const struct dataplane *dp,
		int (*found)(void *arg, const struct dp_service *key, uint32_t id), void *arg);

/* reals.c */
struct reals_plan {
	bool changed;
	struct lb_real_bucket *buckets;
	uint64_t word;                       /* LB_REALS without the base, which reals_apply sets */
	uint64_t bits[LB_ADDRESS_BITS / 64]; /* lb_settings.real */
	/* of the backends that it adds */
	struct lb_return *lines;
	uint16_t *ids;
	size_t count;
};
/* Reals for the members that have none yet, beside all that there are. -EBUSY, -EEXIST (a real of
 * two services), -ENOSPC, -ENOMEM with err set. */
int reals_plan_make(struct dataplane *dp, const struct service_plan *services, size_t count,
		    struct reals_plan *ret, struct error *err);
/* Before any packet is sent to those backends. */
void reals_apply(struct dataplane *dp, const struct reals_plan *plan);
/* Also after an error of reals_plan_make. */
void reals_plan_done(struct reals_plan *plan);
/* What the line of a backend has for the way in. */
struct lb_nat reals_nat(const struct dp_service *service, const struct dp_backend *want);
/* Whether the backend with this id may go on as the wanted one: replies of its former real, if it
 * had another, may still come. */
bool reals_keep(const struct dataplane *dp, const struct dp_service *service,
		const struct dp_backend *want, uint16_t id);
/* How long its replies may come, as the service says now. */
void reals_set_idle(struct dataplane *dp, const struct dp_service *service, uint16_t id);
/* The backend is removed: its replies may come for an idle timeout, from the first call on. */
void reals_leave(struct dataplane *dp, uint16_t id);
/* It is in use after all: the lbd that was about to remove it was stopped. */
void reals_return(struct dataplane *dp, uint16_t id);
/* Whether they may still: the id is not to be given to another. */
bool reals_wait(const struct dataplane *dp, uint32_t id);
/* The id is free. */
void reals_release(struct dataplane *dp, uint32_t id);
/* Takes those reals out of the table. */
void reals_refresh(struct dataplane *dp);
/* Buckets that one half needs for so many backends. */
uint32_t reals_buckets(uint32_t backends);

/* straight.c */
/* Packets of this service take the long path from now on, until straight_open. Before a change of
 * its line. */
void straight_close(struct dataplane *dp, const struct dp_service *key);
/* Writes the straight word as the service's line says, into the half of the VIP table in use. */
void straight_open(struct dataplane *dp, const struct record *record);

/* commit.c: resizes the ring of one service to its wanted size, after the previous resize has
 * settled. */
void dp_resize(struct dataplane *dp, struct record *record);

/* entries.c */
/* The age in ticks at which the entry has expired. Where there are other nodes it lasts a little
 * longer, as they are told a little later that the flow goes on; a slot settles still later. */
uint32_t entry_idle(const struct dataplane *dp, uint64_t entry);
/* Whether the entry's backend is gone. */
bool entry_is_void(const struct dataplane *dp, uint64_t entry);
/* Replaces an entry of the flow table and corrects the counts. The bucket's overflow bit stays. to:
 * the new entry; 0: none. False: a packet was faster and has renewed the entry. */
bool entry_change(struct dataplane *dp, uint64_t *at, uint64_t entry, uint64_t to);
/* The same with a copy of another entry, which counts already. */
bool entry_cover(struct dataplane *dp, uint64_t *at, uint64_t entry, uint64_t copy);
/* Clears the entry of the fragment table if it names a backend that is gone. */
void frag_purge(struct dataplane *dp, uint64_t *at);
/* Removes all entries of backends that are gone from the flow table in one pass: when an id is
 * needed before the sweep has freed one. */
void dp_purge(struct dataplane *dp);

/* flows.c */
/* The smallest part of a new table is in use. */
void flows_init(struct dataplane *dp);
union lb_flow_masks flows_masks(const struct dataplane *dp);
/* Of adopted maps: the part in use is one that an lbd would use. */
bool flows_are_valid(const struct dataplane *dp);
/* Words of maps.flows that entries are in. It may grow at any time. */
uint32_t flows_words(const struct dataplane *dp);
/* Of those, the ones with entries that may have to be moved. */
uint32_t flows_old_words(const struct dataplane *dp);
/* From now on new entries go to the part with this mask; the next rounds of the sweep move the
 * others. False: the size is just changing, or it has this size. */
bool flows_resize(struct dataplane *dp, uint32_t mask);
/* Moves the entries of the words from sweep.at to end. */
void flows_move(struct dataplane *dp, uint32_t end);
/* All words were seen. */
void flows_moved(struct dataplane *dp);
/* The sweep has counted the entries: is it time to grow or to shrink? */
void flows_counted(struct dataplane *dp);

/* limits.c */
bool dp_limits_equal(const struct dp_limit *a, const struct dp_limit *b);
bool dp_has_limit(const struct dp_limit *limit);
/* Writes the rates of a service. A reload keeps the state of its bucket; made: the service is new,
 * and begins with a full bucket. */
void limit_write(struct dataplane *dp, uint32_t service, const struct dp_limit *limit, bool made);
/* Clears some words of source prefixes whose buckets are full. */
void sources_sweep(struct dataplane *dp, uint32_t now_tick);
/* Clears all: their moments may have wrapped. */
void sources_clear(struct dataplane *dp);
/* Empties the places of a service whose id comes free. */
void offenders_forget(struct dataplane *dp, uint32_t service);

/* ---- other nodes: docs/tracking.md, "More than one node" ---- */

/* A quiet slot was not stamped for so much longer than an idle timeout; and peers that are heard of
 * less often settle nothing. Covers rounds of the sweep and the time that a claim takes. */
#define DP_SLACK 16u

/* A claim is a slot's word with the ids of the peer, which are references here. In place of
 * `learning` it says whether the slot is quiet. */
#define CLAIM_QUIET   LB_SLOT_LEARNING
#define CLAIM_UNKNOWN UINT32_MAX

struct claims {
	uint32_t size;       /* of the peer's ring */
	uint32_t held;       /* claims that are kept: all, or none where there is no room */
	uint32_t configured; /* the size that its config asks for */
	uint32_t evaluated;  /* our tick as of which its quiet slots were quiet */
	bool fresh;          /* no packet has come to it yet: its keepers mean nothing */
	uint64_t digest;
	uint32_t slot[]; /* claims */
};

struct peer_backend {
	struct addr vip, address;
	uint16_t port;
	uint8_t protocol;
};

struct peer_service {
	struct addr vip;
	uint16_t port;
	uint8_t protocol;
};

#define PEER_NOBODY UINT16_MAX /* a backend that we do not have */

struct peer {
	bool open;        /* there is a connection */
	uint32_t lost_at; /* tick at which the last one ended */
	/* the number of the last request for everything, of the last one that was sent, and of the
	 * last one that is answered */
	uint32_t wanted, asked, answered;

	/* What it has said; by its ids. */
	struct peer_backend *backends;
	uint16_t *local; /* our id of that backend */
	struct peer_service *services;
	uint64_t held; /* claims of all its rings; may count some that are gone */

	/* What is to be sent to it; by our ids. */
	uint64_t *slots, *buckets;      /* bits, by place in the arena and by bucket */
	uint32_t *told, *told_services; /* 1 + serials of the ids that it knows */
	uint32_t *told_round;           /* round as of which it knows a service */
	uint64_t *told_rings;           /* the ring that it knows */
	struct peer_service *told_keys;
	uint32_t at_bucket; /* where the last share stopped */
	bool wants;         /* a request for everything is to be sent */
	bool owes_end;      /* everything is being sent; then its end */
	uint32_t end;       /* the number of that request */
	bool again;         /* it has asked since: everything once more after that */
	uint32_t next_end;  /* the number of its last request then */
};

/* claims.c */
/* What the peers say about a slot that has `current`. Without peers all are true. */
struct claims_view {
	/* all have it as current and keeper, and no flow elsewhere: the slot may be stable */
	bool allows;
	bool readies; /* all have it as current and are quiet: it may become the keeper */
	bool settles; /* both: the slot may settle */
	bool moves;   /* all have it in transition */
	bool apart;   /* the ring of one has another size: the others are false */
};
bool claims_any(const struct dataplane *dp);
struct claims_view claims_look(const struct dataplane *dp, const struct record *record,
			       uint32_t index, uint16_t current, uint32_t now);
/* Whether a peer that is connected has not told all that it claims. */
bool claims_missing(const struct dataplane *dp);
/* Whether a peer may tell of a service that is added now, to which packets come. */
bool claims_come(const struct dataplane *dp);
/* What we claim of our own slot. */
uint32_t claims_of(const struct dataplane *dp, uint32_t at);
/* Whether flows of a slot may still go by the keepers of the ring's former size. */
bool claim_needs_old_ring(uint32_t claim);
/* The largest ring of a peer that still needs its old one; 0: none does. Ours becomes as large,
 * also in place of one that nothing has settled in: rings of two sizes settle nothing. */
uint32_t claims_pull(const struct dataplane *dp, const struct record *record);
/* Whether our ring of this size must not change its size: a peer with the same size still needs its
 * old ring, and rings of two sizes settle nothing; or what a peer has is not known yet. */
bool claims_resizing(const struct dataplane *dp, const struct record *record, uint32_t size);
/* Drops the claims of peers that were lost so long ago that they do not hold any more. */
void claims_expire(struct dataplane *dp, struct record *record, uint32_t now);
/* The size of the peers' rings, for a ring of ours that has had no packet yet; 0: any. */
uint32_t claims_fresh_size(const struct dataplane *dp, const struct record *record);
/* The largest ring that a peer's config asks for; 0: none does. */
uint32_t claims_size(const struct dataplane *dp, const struct record *record);
/* Whether slots of the service have had no packet yet, and take over the peers' keepers. */
bool claims_fresh(const struct dataplane *dp, const struct record *record);
/* Puts the slot, if it is stable and contested, into transition; if it is fresh, takes over the
 * keeper that the peers have. */
void claims_enforce(struct dataplane *dp, struct record *record, uint32_t index);
void claims_enforce_all(struct dataplane *dp, struct record *record);
/* After a commit: if ids were given or given up, what peers name may have another id here. If we
 * have something new, the peers are asked for everything again. */
void claims_translate(struct dataplane *dp);
void claims_done(struct record *record);
void claims_end(struct dataplane *dp);
/* Notes whether the slot is quiet, for the peers. */
void claims_note_quiet(const struct dataplane *dp, uint32_t at, bool quiet);

/* share.c */
int share_open(struct dataplane *dp, struct peer *peer);
void share_all(const struct dataplane *dp, struct peer *peer);
void share_done(struct peer *peer);
/* Sends the bucket again if the flow has sent since the peers were told of it, and that is a
 * quarter of an idle timeout ago. */
void share_entry(struct dataplane *dp, uint32_t word, uint64_t entry, uint32_t now);

/* The sweep has moved an entry: what is to be sent of it is so at its new place, too. Places are
 * numbers of words. */
void share_moved(const struct dataplane *dp, uint32_t from, uint32_t to);

/* merge.c: what becomes of our word when a peer has another one; both with our ids and ticks. The
 * same: ours stays. */
uint64_t merge_entries(uint64_t ours, uint64_t theirs, uint32_t now);

/* adopt.c: lbd was not running for so long that ticks may have wrapped. Gives all stamps of slots
 * in transition and all entries the present tick: nothing settles and no entry expires until an
 * idle timeout from now, in which live flows renew theirs. */
void dp_restart_clocks(struct dataplane *dp, uint32_t now);

/* ---- connects.c ---- */

/* sample: as in struct dataplane. 0 or -ENOMEM. */
int connects_init(struct dataplane *dp, unsigned sample);
/* When the program has been loaded. 0 or -errno. */
int connects_map(struct dataplane *dp);
void connects_done(struct dataplane *dp);
/* Chooses the slots of the service's ring that are in the sample, after each change of it. */
void connects_sample_ring(struct dataplane *dp, const struct service_plan *plan);
/* The backend, or the service, is gone: another may get its id. */
void connects_forget(struct dataplane *dp, uint32_t id);
void connects_forget_service(struct dataplane *dp, uint32_t id);

#endif
