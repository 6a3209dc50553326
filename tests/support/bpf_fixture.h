/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The real XDP program with small maps, and one packet at a time through it. The test itself fills
 * the maps as include/lb_abi.h defines them, without the code of lbd.
 *
 * cmocka: fixture_open and fixture_close are the group's setup and teardown, fixture_clear each
 * test's setup. A test begins with fixture_get(), which skips it, visibly, where programs cannot be
 * loaded. Failures abort the test. */
#ifndef LBD_TEST_BPF_FIXTURE_H
#define LBD_TEST_BPF_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lb_abi.h"
#include "lb_reasons.h"
#include "packet.h"

#define FIXTURE_SERVICES 256
#define FIXTURE_BACKENDS 1024
#define FIXTURE_SLOTS    (1 << 18)
#define FIXTURE_BUCKETS  64 /* of the flow table: 512 places */
/* its smallest part has four buckets; a test begins with the whole in use */
#define FIXTURE_FLOW_SHIFT  (LB_FLOW_FP_SHIFT - 2)
#define FIXTURE_VIP_BUCKETS 128 /* of both halves */
#define FIXTURE_VIPS        32
#define FIXTURE_PORTS       256
#define FIXTURE_PATHS       16
#define FIXTURE_REALS       64 /* buckets, of both halves */

/* The maps as memory. */
struct fixture_maps {
	struct lb_settings *settings;
	struct lb_link *links;
	struct lb_vip_bucket *vips;
	struct lb_port_bucket *ports;
	struct lb_service *services; /* [id] */
	struct lb_real_bucket *reals;
	struct lb_return *returns;             /* [id] */
	struct lb_return_count *return_counts; /* [cpu][id] */
	struct lb_direct_list *directs;
	struct lb_hop_list *hops;
	uint32_t *arena;             /* [slot] */
	uint16_t *fronts;            /* [slot] */
	uint16_t *stamps;            /* [slot] */
	struct lb_backend *backends; /* [id] */
	struct lb_load *loads;       /* [id] */
	struct lb_turn *turns;       /* [service] */
	struct lb_flow_bucket *flows;
	uint64_t *frags;
	struct lb_backend_count *backend_counts;
	struct lb_reason_count *reason_counts;
	struct lb_service_count *service_counts;
	struct lb_limit *limits; /* [service] */
	struct lb_source_bucket *sources;
	struct lb_offender *offenders;
	struct lb_connects *connects; /* [id] */
	uint64_t *probes;
};

struct lb_bpf;
struct bpf_object;
struct twin;
struct xdp_md;

/* Which of its services a VIP has on its own line (lb_vip.main), and whether the word is open. */
enum fixture_main {
	MAIN_OF_PACKET, /* the one that the packet is for, if there is one; else the first */
	MAIN_FIRST,
	MAIN_CLOSED, /* the first, and its word is 0 */
	MAIN_NONE,
};

struct fixture {
	struct lb_bpf *skel;
	char skip[128];      /* why the program is not loaded; empty when it is */
	unsigned cpus;       /* possible ones: rows of the counters */
	uint32_t lo, egress; /* ifindexes: packets come in on lo; egress is another in the devmap */
	struct fixture_maps map;
	uint32_t frag_count; /* elements of map.frags */

	/* how much was written so far; ids start at 1 */
	uint32_t vips, ports, services, backends, slots;
	struct lb_vip vip[FIXTURE_VIPS + 1]; /* [id] */
	uint64_t port[FIXTURE_PORTS];

	/* the last packet */
	struct packet in, out;
	int verdict;                 /* XDP_* */
	int reason;                  /* enum lb_reason; -1: none or more than one was counted */
	uint64_t count[LB_COUNTERS]; /* what the packet added to each reason and event */
	uint64_t bytes[LB_COUNTERS]; /* the same, bytes */
	struct lb_reason_count before[LB_COUNTERS]; /* the sums up to the last packet */

	bool sampled; /* the fronts of all slots have the flag of a transition */
	enum fixture_main main;
	/* the same program without its straight path (twin.h); NULL: none */
	struct twin *twin;
	int (*send_twice)(struct fixture *f, const void *data, size_t length, struct xdp_md *ctx);
};

int fixture_open(void **state);
int fixture_close(void **state);
int fixture_clear(void **state);

/* The one fixture; skips the test when the program could not be loaded. */
struct fixture *fixture_get(void);
/* The same for setup functions, which cannot skip: NULL. */
struct fixture *fixture_or_null(void);

/* ---- the test's own writer ---- */

/* The id of the VIP, made when it is new. */
uint16_t fixture_vip(struct fixture *f, const char *address);
/* A service with its VIP and port entries; returns its id. proto: IPPROTO_*; port 0: any. Fields of
 * `service` that are zero take defaults: the whole 5-tuple, all of the client address, idle times
 * of 300 (TCP), 60 (UDP), 60 (SYN), 4 (FIN) and 300 (affinity) ticks. */
uint16_t fixture_service(struct fixture *f, const char *vip, int proto, int port,
			 struct lb_service service);

struct backend_spec {
	const char *dst;     /* outer destination: its family is the backend's */
	const char *src;     /* default 10.0.0.1 or fd00::1 */
	const char *dst_mac; /* default FIXTURE_MAC_BACKEND */
	int vlan;            /* TCI */
	int mtu;             /* default 1500 */
	uint32_t ifindex;    /* default lo */
	uint32_t spread;     /* host order mask */
	bool dead;           /* not usable */
};

#define FIXTURE_MAC_BACKEND "02:00:00:00:00:0b"

/* A backend of the service; returns its id. */
uint16_t fixture_backend(struct fixture *f, uint16_t service, const struct backend_spec *spec);
void fixture_backend_usable(struct fixture *f, uint16_t id, bool usable);

/* Takes count slots of the arena and writes the words; returns the region for lb_service.ring,
 * old_ring or pick. */
uint64_t fixture_region(struct fixture *f, const uint32_t *words, uint32_t count);
/* Gives the service a ring whose every slot is `word`. */
void fixture_ring(struct fixture *f, uint16_t service, uint32_t count, uint32_t word);
/* fixture_service with one backend, which has all seven slots. */
uint16_t fixture_single(struct fixture *f, const char *vip, int proto, int port,
			struct lb_service service, const struct backend_spec *spec);

/* Makes the element of map `paths` for an address of backends, as lbd does, or writes its word. */
void fixture_path(struct fixture *f, const char *address, uint64_t word);
/* Reads it; fails where there is none. */
struct lb_path fixture_path_read(struct fixture *f, const char *address);

/* packets, bytes, flows of a backend, summed over CPUs. */
struct lb_backend_count fixture_backend_count(const struct fixture *f, uint16_t id);
/* What a service dropped, summed over CPUs. */
struct lb_service_count fixture_service_count(const struct fixture *f, uint16_t id);

/* The clock and its tick now, as the program reads them. */
uint64_t fixture_now_ns(void);
uint32_t fixture_tick(void);
/* As if no answer had been sent in this tick. */
void fixture_clear_rates(struct fixture *f);
/* Sleeps until a tick has just begun (at most 1.1 s). */
void fixture_wait_new_tick(void);

/* ---- one packet ---- */

/* Sends f->in through the program; verdict, reason, count, bytes and out are then set. */
void fixture_send(struct fixture *f);
/* The same without the counters (faster): only verdict and out are set. */
void fixture_send_uncounted(struct fixture *f);
/* fixture_send for a frame with so many bytes of XDP metadata, which leave less headroom. 0, or
 * -errno when the kernel refuses. */
int fixture_send_with_metadata(struct fixture *f, uint32_t metadata);

/* Derives what follows from what tests write: fronts from slots, straight words from services. Part
 * of fixture_send. */
void fixture_sync(struct fixture *f);
/* For twin.h: sizes of maps, constants of a skeleton, programs, one run of a program (0 or -errno).
 */
void fixture_size_maps(struct bpf_object *object, unsigned cpus);
/* The programs that the main one calls, once the object is loaded. 0 or -errno. */
int fixture_programs(struct bpf_object *object);
#define FIXTURE_SET_CONSTANTS(rodata)                                                            \
	((rodata)->flow_mask = FIXTURE_BUCKETS - 1, (rodata)->flow_shift = FIXTURE_FLOW_SHIFT,   \
	 (rodata)->backend_slots = FIXTURE_BACKENDS, (rodata)->service_slots = FIXTURE_SERVICES, \
	 (rodata)->vip_mask = FIXTURE_VIP_BUCKETS - 1, (rodata)->slot_mask = FIXTURE_SLOTS - 1,  \
	 (rodata)->real_mask = FIXTURE_REALS - 1, (rodata)->return_mask = FIXTURE_BACKENDS - 1,  \
	 (rodata)->connect_mask = 0 /* all flows of services that track always are timed */)
int fixture_run(int program, const void *data, size_t length, struct xdp_md *ctx,
		struct packet *ret_out, int *ret_verdict);

const char *fixture_reason_name(int reason);
/* The action (XDP_*) of a packet that ends with this reason. */
int fixture_action_of(int reason);

#endif
