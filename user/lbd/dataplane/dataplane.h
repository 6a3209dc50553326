/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The data plane's control: the only code that writes the maps. Turns a list of wanted services
 * into settings, VIP and port tables, rings and backends, in an order that is safe for packets in
 * flight; adopts pinned maps; settles slots; reads counters. Rules: docs/tracking.md. Independent
 * of config files, health checks and netlink. */
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
#include "common/ring_size.h"
#include "lbd/algo/algo.h"
#include "lbd/filter/filter.h"
#include "lbd/neigh/neigh.h"

struct dataplane;

struct dataplane_options {
	/* directory on a bpffs; created if missing. NULL: nothing is pinned (tests) */
	const char *pin;
	/* limits; pinned maps keep theirs, with a warning in the log */
	uint32_t services, backends, slots, flows;
	uint64_t hash_seed;
	/* no seed is configured: the seed of the pinned maps is used, without a warning */
	bool hash_seed_default;
	uint16_t gue_port;
	struct addr encap_source4, encap_source6;
	unsigned encap_source4_len, encap_source6_len;
	unsigned sample; /* of connect times: one flow in so many, a power of two; 0: none */
	bool has_peers;  /* the program notes what other nodes are to be told */
};

struct dp_backend {
	struct addr address;
	uint32_t weight; /* effective; 0: takes no new flow (draining) */
	/* false: dead. Others take its new flows; it keeps its old ones if it is back in time */
	bool usable;
	struct next_hop hop; /* valid when usable */
	uint16_t path_mtu;   /* as routers have reported, at most hop.mtu; 0: as hop.mtu */
	uint32_t latency_us; /* for LB_SELECT_COST algorithms */
	/* LB_FORWARD_NAT: the port at the backend; 0: the service takes any port. Another port is
	 * another backend, with another id. */
	__be16 port;
	bool waits; /* it is left out for now: its real is not free (dataplane_find_bound) */
};

/* A rate of new flows. */
struct dp_rate {
	uint32_t per_minute; /* 0: none */
	uint32_t burst;      /* flows that a full bucket lets through at once, 1.. */
};

struct dp_limit {
	struct dp_rate service, source;
	uint8_t source4, source6; /* length of the prefix that has the source's rate */
};

struct dp_service {
	struct addr vip;
	uint8_t protocol;
	uint16_t port; /* 0: any */
	const struct algo *algorithm;
	uint8_t hash, forward, mask4, mask6;
	uint8_t no_backend; /* enum lb_refusal */
	bool track_always, track_never, affinity, no_fragments;
	struct dp_limit limit; /* UDP services with one track every flow */
	uint32_t tcp_idle_ms, udp_idle_ms, affinity_ms;
	struct filter *filter; /* NULL: every client may use it */
	uint32_t slots;        /* prime; 0: chosen */
	/* number of backends in the configuration, which alone sizes the ring; 0: backends_count */
	unsigned ring_backends;
	enum ring_grain ring_grain; /* also from the configuration alone; 0: RING_FINE */
	/* backends that are not in the list are removed: their flows go to others at once */
	struct dp_backend *backends;
	unsigned backends_count;
};

struct dp_counts {
	uint64_t packets, bytes, flows;
	uint64_t refused; /* connects that the backend refused; LB_FORWARD_NAT */
};

struct dp_returned {
	uint64_t packets, bytes;
};

struct dp_backend_stats {
	struct dp_counts counts;
	struct dp_returned returned; /* replies that came back through here: LB_FORWARD_NAT */
	int32_t active;              /* tracked live flows */
	uint32_t slots;              /* slots that have it as current */
	uint32_t kept_slots;         /* slots in transition that may still send older flows to it */
	/* since the last packet that holds the drain; UINT32_MAX: no packet holds it */
	uint32_t held_ms;
	/* weight 0, and no live flow depends on it (docs/tracking.md, "lbd: settling") */
	bool drained;
};

/* Connects of a sample of the flows of a backend or of a service, since the program was loaded.
 * Those that are under way are in none of the other counts yet. An answer is the backend's SYN-ACK
 * if that passes here (LB_FORWARD_NAT), else the client's next packet shows it. */
struct dp_connects {
	uint64_t sampled;    /* SYNs, but for those sent again */
	uint64_t retried;    /* SYNs of them sent again before any other packet */
	uint64_t reset;      /* the client's next packet was a reset */
	uint64_t unanswered; /* no answer within 3 s */
	uint64_t answered;
	/* LB_FORWARD_NAT: the backend answered with a reset; it sent its SYN-ACK again */
	uint64_t refused, answered_again;
	struct {
		uint64_t sampled, answered, retried, unanswered, refused;
		/* refused, sent again, or unanswered: one that is never answered is sent again too,
		 * unless its client gives up before, and counts once */
		uint64_t failed;
	} recent; /* of the last 5 to 10 s */
	/* from the SYN to the answer, of the recent ones; 0: none was answered */
	uint32_t p50_us, p95_us, p99_us, mean_us;
	/* From the client's first data to the backend's first byte; of a backend that speaks first,
	 * from the end of the handshake. Of services that do not track always. */
	struct {
		uint64_t timed;
		uint64_t none;   /* data of the client, and no byte of the backend within 17 s */
		uint64_t recent; /* timed in the last 5 to 10 s */
		uint32_t p50_us, p95_us, p99_us; /* of the recent ones; 0: there are none */
	} first_byte;
};

/* Times of a service since the program was loaded, for a histogram: counts[i] are less than
 * dataplane_time_bound_s(i), and not less than the bound before; the last of `bounds` + 1 are
 * longer. */
#define DP_HANDSHAKE_BOUNDS  17
#define DP_FIRST_BYTE_BOUNDS 19
struct dp_times {
	unsigned bounds;
	uint64_t counts[DP_FIRST_BYTE_BOUNDS + 1];
	double sum_s; /* off by at most an eighth */
};

struct dp_service_stats {
	struct dp_counts counts;     /* of its backends, including removed ones */
	struct dp_returned returned; /* the same */
	uint32_t slots, slots_in_transition;
	/* of the wanted ring: the same configuration and seed give the same digest */
	uint64_t ring_digest;
	/* has used up its share of a crowded flow table: its new flows go by slot */
	bool limited;
	uint64_t denied; /* packets that the filter did not admit */
	/* packets dropped above the rate of new flows: the service's own, and a source's */
	uint64_t over_rate, over_source_rate;
};

/* A source prefix above its rate. */
struct dp_offender {
	struct dp_service service; /* its key only */
	struct addr prefix;
	uint8_t length;
	uint64_t dropped;  /* packets, at most */
	uint64_t surely;   /* at least */
	uint32_t quiet_ms; /* since the last one */
};

struct dp_memory { /* bytes */
	uint64_t flows, arena, services, backends, counters, filters, other, total;
	uint64_t flow_capacity, flow_entries; /* places, and live entries at the last sweep */
	uint64_t flow_places;                 /* in the part of the table that is in use */
};

/* Opens the embedded program, creates the maps or adopts the pinned ones (-EPROTO if their ABI
 * version differs), loads the program. Does not attach it. 0 or -errno with err set. */
int dataplane_open(const struct dataplane_options *options, struct dataplane **ret,
		   struct error *err);
/* The same, but a takeover's program, which takes the kernel half a second to verify, is not loaded
 * yet: dataplane_load does that, before dataplane_program_fd and dataplane_object are used. It may
 * run while other functions that read are called. 0 or -errno with err set. */
int dataplane_open_maps(const struct dataplane_options *options, struct dataplane **ret,
			struct error *err);
int dataplane_load(struct dataplane *dp, struct error *err);
/* Closes the descriptors. Pinned maps, programs and links stay; forwarding continues. */
void dataplane_close(struct dataplane *dp);
/* Removes the pins. Every interface must be detached before. */
void dataplane_unpin(struct dataplane *dp);

/* How often lbd has stored a word into the maps since it started; flow entries are not counted. */
uint64_t dataplane_stores(void);

/* True when dataplane_open found pinned maps with services in them (a takeover). */
bool dataplane_adopted(const struct dataplane *dp);
/* Until the first commit after a takeover: the backends of a service in the adopted maps, so that
 * none is withdrawn before health checks and neighbours have answered. weight is 0 for a backend
 * that took no new flows, otherwise above 0; hop.source is empty. Returns their number; the caller
 * frees *ret (NULL if there are none). */
unsigned dataplane_adopted_backends(const struct dataplane *dp, const struct dp_service *key,
				    struct dp_backend **ret);
/* Backends that the maps have room for: pinned ones keep the limit that they were made with. */
uint32_t dataplane_backends_most(const struct dataplane *dp);
int dataplane_program_fd(const struct dataplane *dp);
/* the seed in use: pinned maps keep theirs */
uint64_t dataplane_hash_seed(const struct dataplane *dp);
/* What tunnelled packets have, from the options: a reload does not change it. An address of the
 * prefix of outer sources, but not the prefix itself; and the port of GUE. */
struct addr dataplane_outer_source(const struct dataplane *dp, uint8_t family);
uint16_t dataplane_gue_port(const struct dataplane *dp);
/* The loaded object, for libxdp. */
struct bpf_object *dataplane_object(const struct dataplane *dp);
/* The map of an object made of the same source that has the name of this one: libbpf puts the
 * object's name into some. NULL: there is none. */
struct bpf_map *dataplane_map_find(const struct bpf_object *object, const struct bpf_map *like);
/* Allows redirects to this interface. */
int dataplane_add_egress(struct dataplane *dp, uint32_t ifindex);

/* A MAC address for which frames that arrive on this interface are for this host. */
struct dp_mac {
	uint32_t ifindex;
	uint8_t mac[6];
};

/* All of them, for all interfaces with the program; the first of each interface is the one that
 * costs no search. Interfaces that are not in the list take every unicast address. 0, or -ENOSPC:
 * there is no room for some interfaces, which then do the same. */
int dataplane_set_macs(struct dataplane *dp, const struct dp_mac *macs, size_t count);
/* What becomes of packets to ports of a VIP that no service has. */
void dataplane_set_unserved(struct dataplane *dp, enum lb_refusal refusal);

/* ---- replies of backends of LB_FORWARD_NAT services ---- */

struct dp_prefix {
	struct addr address;
	uint8_t length;
};

/* All of these lists may be set at any time, like the MAC addresses, and replace the former one. */

/* Clients that reach the backends past the VIPs: what goes to them is not changed. At most
 * LB_DIRECTS; else -ENOSPC, and nothing changes. */
int dataplane_set_direct(struct dataplane *dp, const struct dp_prefix *prefixes, size_t count);
/* The prefix of the IPv6 addresses in which IPv4 clients reach IPv6 backends (RFC 6052): 32, 40,
 * 48, 56, 64 or 96 bits. length 0: there is none, and packets of services with such backends are
 * dropped. Another one ends their connections; waits for a grace period. */
void dataplane_set_embed(struct dataplane *dp, const struct dp_prefix *prefix);
/* The addresses of this host, which get replies of their own (to health checks, to ssh): to be set
 * before the first commit. 0 or -errno: replies to those that are missing would be lost. */
int dataplane_set_local(struct dataplane *dp, const struct addr *addresses, size_t count);
/* The ways to clients: all that the kernel has, or none. A destination that matches none of them,
 * and one whose way is to be asked for, costs the program a look-up in the kernel's tables. More
 * than LB_HOPS count as none. */
void dataplane_set_hops(struct dataplane *dp, const struct neigh_way *ways, size_t count);
/* Whether packets may come in whose checksum is left to the interface: on veth, tap and virtio.
 * True until it is set. */
void dataplane_set_unfinished(struct dataplane *dp, bool possible);

/* What a router on the way to this address has reported last about the path MTU. */
struct dp_path {
	struct addr address, router;
	uint16_t mtu; /* bytes of an outer packet; 0: forgotten */
	uint32_t tick;
};

/* Called for each address whose path MTU has changed; before: 0 if there was none. */
typedef void dp_path_fn(void *arg, const struct dp_path *path, uint16_t before);

/* Reads what was reported since the last call, and forgets what is ten minutes old. To be called
 * several times a second: it costs nothing if there is nothing new. */
void dataplane_read_paths(struct dataplane *dp, dp_path_fn *changed, void *arg);
/* What was reported, as of that call; NULL: nothing. */
const struct dp_path *dataplane_path(const struct dataplane *dp, const struct addr *address);

/* Makes the maps hold exactly these services. All or nothing: limits are checked before the first
 * write; with -ENOSPC, err names the limit. -EBUSY: an address and port of a backend of
 * LB_FORWARD_NAT belonged to another service until less than an idle timeout ago, and replies may
 * still come; err names both. Services (matched by VIP, protocol and port) and
 * backends (matched by address) keep their ids, also across a takeover. Unchanged services are only
 * compared. As a task it pauses (host/tasks.h): in between, and while dataplane_sweep pauses, only
 * functions that read may be called, and those of interfaces, MAC addresses and paths. */
int dataplane_commit(struct dataplane *dp, const struct dp_service *services, size_t count,
		     struct error *err);
/* A backend of a list of services that dataplane_commit refuses with -EBUSY. */
struct dp_bound {
	size_t service; /* its place in the list */
	unsigned backend;
	char why[256]; /* "10.0.0.1:8080/tcp is a backend of 192.0.2.1:80/tcp (`forward: nat`)" */
};
/* All of them, in the order of the list, whatever their `waits` says. 0 or -ENOMEM; the caller
 * frees *ret. */
int dataplane_find_bound(const struct dataplane *dp, const struct dp_service *services,
			 size_t count, struct dp_bound **ret, size_t *ret_count);

/* One bounded step of the sweep over flow table and slots (expiry, active counts, settling).
 * budget: entries to look at. now_tick: 0 for the clock's tick (tests pass their own). Returns the
 * entries left in this round; 0: the round has ended. */
size_t dataplane_sweep(struct dataplane *dp, size_t budget, uint32_t now_tick);
/* Enlarges the part of the flow table in use if it is crowded by now. To be called several times
 * a second, also while dataplane_sweep pauses. True: entries are to be moved, which the next round
 * of the sweep does: begin it soon. */
bool dataplane_grow(struct dataplane *dp);

int dataplane_service_stats(const struct dataplane *dp, const struct dp_service *key,
			    struct dp_service_stats *ret);
int dataplane_backend_stats(const struct dataplane *dp, const struct dp_service *key,
			    const struct addr *backend, struct dp_backend_stats *ret);
/* The fields of that name alone, which cost little: the counts of ten thousand backends are in as
 * many cache lines for each CPU, and held_ms looks at a whole ring. */
bool dataplane_is_limited(const struct dataplane *dp, const struct dp_service *key);
int dataplane_read_drained(const struct dataplane *dp, const struct dp_service *key,
			   const struct addr *backend, bool *ret);
/* False: connects of the service are not timed, or the program is not loaded yet. */
bool dataplane_connects(const struct dataplane *dp, const struct dp_service *key,
			const struct addr *backend, struct dp_connects *ret);
/* The same of a service, with those of backends that are gone. As of the last tick. */
bool dataplane_service_connects(const struct dataplane *dp, const struct dp_service *key,
				struct dp_connects *ret);
/* Of its connects, and of first bytes. */
bool dataplane_times(const struct dataplane *dp, const struct dp_service *key,
		     struct dp_times *ret_handshakes, struct dp_times *ret_first_bytes);
double dataplane_time_bound_s(unsigned bound);
/* Each second: finds the connects that had no answer, and adds up those of the services. now_ms:
 * CLOCK_MONOTONIC. */
void dataplane_connects_tick(struct dataplane *dp, uint64_t now_ms);
/* Sums of packets and bytes per counter (enum lb_reason, then enum lb_event). */
void dataplane_reason_counts(struct dataplane *dp, struct lb_reason_count ret[LB_COUNTERS]);
/* One event, without a look at every backend's counters. */
uint64_t dataplane_event(const struct dataplane *dp, enum lb_event event);
/* The prefixes with the most packets dropped, most first; returns their number. */
unsigned dataplane_offenders(const struct dataplane *dp, struct dp_offender *ret, unsigned most);
void dataplane_memory(const struct dataplane *dp, struct dp_memory *ret);

/* ---- other nodes: docs/tracking.md, "More than one node" ---- */

#define DP_PEERS 8

/* What nodes say to each other. Backends and services are named by references: their ids at the
 * sender, which it explains before it uses them. Ages are in ticks. */
struct dp_shared_backend {
	uint16_t ref;
	struct addr vip, address;
	uint16_t port;
	uint8_t protocol;
};

struct dp_shared_service {
	uint16_t ref;
	struct addr vip;
	uint16_t port;
	uint8_t protocol;
	uint32_t size;       /* of its ring; 0: the sender has the service no more */
	uint32_t configured; /* the size that its config asks for */
	uint16_t evaluated;  /* age: as of then its quiet slots were quiet */
	uint16_t unplaced;   /* age: a flow found no place then; UINT16_MAX: none */
	bool fresh;          /* no packet has come to it yet: its keepers mean nothing */
	uint64_t digest;
};

struct dp_shared_slot {
	uint16_t service;
	uint32_t index;
	uint32_t claim; /* as in dataplane/internal.h */
};

/* An entry of the flow table with an age in place of its tick, and the place of it. */
struct dp_shared_flow {
	uint32_t bucket;
	uint64_t word;
};

/* Takes what is to be sent, item by item. Each returns false where it has no room: the item is
 * offered again. */
struct dp_share_sink {
	void *arg;
	bool (*backend)(void *arg, const struct dp_shared_backend *backend);
	bool (*service)(void *arg, const struct dp_shared_service *service);
	bool (*slot)(void *arg, const struct dp_shared_slot *slot);
	bool (*flow)(void *arg, const struct dp_shared_flow *flow);
	bool (*want)(void *arg, uint32_t number); /* asks for everything */
	bool (*end)(void *arg, uint32_t number);  /* everything was sent, as asked for */
};

/* A connection to peer `number` (below DP_PEERS) begins: everything is to be sent to it, and is
 * asked for. 0 or -ENOMEM. */
int dataplane_peer_open(struct dataplane *dp, unsigned number);
/* The connection is lost. What the peer has claimed holds for an idle timeout. */
void dataplane_peer_close(struct dataplane *dp, unsigned number);
/* The peer is none any more. */
void dataplane_peer_forget(struct dataplane *dp, unsigned number);
/* Everything that was asked for has come. */
bool dataplane_peer_synced(const struct dataplane *dp, unsigned number);
/* Nothing is left to be sent. */
bool dataplane_peer_told(const struct dataplane *dp, unsigned number);

/* Collects what the program has changed since the last call. */
void dataplane_share_scan(struct dataplane *dp);
/* Offers what is to be sent, slots before flows, until nothing is left (true), the sink has no
 * room, or it has taken long. */
bool dataplane_share(struct dataplane *dp, unsigned number, const struct dp_share_sink *sink);

/* What has come from a peer. -EBADMSG: no node would send that. */
int dataplane_take_backend(struct dataplane *dp, unsigned number,
			   const struct dp_shared_backend *backend);
int dataplane_take_service(struct dataplane *dp, unsigned number,
			   const struct dp_shared_service *service);
int dataplane_take_slot(struct dataplane *dp, unsigned number, const struct dp_shared_slot *slot);
int dataplane_take_flow(struct dataplane *dp, unsigned number, const struct dp_shared_flow *flow);
void dataplane_take_want(struct dataplane *dp, unsigned number, uint32_t want);
int dataplane_take_end(struct dataplane *dp, unsigned number, uint32_t end);

/* Until the peers have told what they know, or cannot be reached. To be set before the first
 * commit. */
enum dp_join {
	DP_JOINED,
	DP_RETURNS, /* an earlier lbd's maps forward: rings keep their size */
	DP_JOINS,   /* no packets come in yet: keepers are the peers' */
};
void dataplane_join(struct dataplane *dp, enum dp_join join);
uint32_t dataplane_flow_buckets(const struct dataplane *dp);

struct dp_share_stats {
	uint64_t conflicts; /* slots found to have untracked flows on two keepers */
	uint64_t unplaced;  /* entries of peers that found no place */
};
void dataplane_share_stats(const struct dataplane *dp, struct dp_share_stats *ret);

struct dp_peer_stats {
	unsigned services; /* that both have */
	unsigned others;   /* of them: the peer wants another ring */
};
void dataplane_peer_stats(const struct dataplane *dp, unsigned number, struct dp_peer_stats *ret);

#endif
