/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fixture of the tracking tests, on the real program: one TCP and one UDP service with the same
 * three backends, A, B and C. All slots of a service's ring hold the same word, so it does not
 * matter which slot a flow hashes to. A client is a source port.
 *
 * And the flow table, as a test reads and writes it. */
#ifndef LBD_TEST_RIG_H
#define LBD_TEST_RIG_H

#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "bpf_fixture.h"
#include "test_registry.h"

#define RIG_VIP    "192.0.2.10"
#define RIG_SLOTS  7
#define RIG_PLACES (FIXTURE_BUCKETS * LB_FLOW_WAYS) /* of the flow table */
#define RIG_ISN    0xfffffff0u                      /* of every SYN */

#define T          LB_SLOT_TRANSITION
#define L          LB_SLOT_LEARNING

enum { A, B, C, BACKENDS, NOWHERE = -1 };

struct rig {
	struct fixture *f;
	uint16_t tcp, udp; /* services */
	uint16_t tcp_id[BACKENDS], udp_id[BACKENDS];
	char client[INET6_ADDRSTRLEN];
};

/* tcp: what the TCP service has besides the defaults of fixture_service. */
struct rig rig_make(struct lb_service tcp);
#define RIG() rig_make((struct lb_service){0})
/* The TCP service takes turns by this list and tracks always. All slots are stable on C. */
struct rig rig_make_turns(const int *list, int count);
/* All slots are stable on A, and in the sample of flows that are timed. */
struct rig rig_make_sampled(struct lb_service tcp);
/* The test group of a program that tests with a rig. */
#define RIG_TEST_MAIN(group) \
	LB_TEST_MAIN(group, .open = fixture_open, .close = fixture_close, .setup = fixture_clear)

/* ---- slots and backends ---- */

/* The words and the stamps of the service's ring, RIG_SLOTS of each. */
uint32_t *rig_slots(struct rig *r, uint16_t service);
uint16_t *rig_stamps(struct rig *r, uint16_t service);
/* How many slots of the service have a stamp. */
int rig_stamped(struct rig *r, uint16_t service);
/* Writes all slots of both services. keeper NOWHERE: none. */
void rig_set_slots(struct rig *r, int current, int keeper, uint32_t flags);
/* All slots of both services are stable on this backend. */
void rig_set_stable(struct rig *r, int backend);
/* For both services. */
void rig_set_usable(struct rig *r, int backend, bool usable);
/* Each service is sure of so many places in the flow table, and the common half is used up. */
void rig_set_share(struct rig *r, int share);
/* The active flows of the TCP service on this backend. */
int rig_active(struct rig *r, int backend);

/* ---- packets: each returns the backend that it went to, or NOWHERE ---- */

int rig_went_to(struct rig *r);
/* A TCP packet with these flags. The sequence number is RIG_ISN in a SYN, else RIG_ISN + 1. */
int rig_tcp(struct rig *r, int client, int flags);
int rig_tcp_seq(struct rig *r, int client, int flags, uint32_t seq);
/* What a client sends after its SYN: data, and the acknowledgement of the backend's (rig_tcp: of
 * none). */
struct rig_talk {
	int flags;      /* besides ACK */
	uint32_t at;    /* bytes of data that came before */
	uint32_t bytes; /* of data here */
	uint32_t acked; /* bytes of the backend */
	bool tagged;
};
int rig_talk(struct rig *r, int client, struct rig_talk talk);
/* rig_tcp without counters, for several senders at a time. */
int rig_tcp_uncounted(struct rig *r, int client, int flags);
int rig_udp(struct rig *r, int client);
/* How often the last packet counted this event (LB_EVENT_*). */
uint64_t rig_counted(const struct rig *r, int event);

/* ---- connects of the TCP service that are timed ---- */

/* So many units of the probes' clock. */
#define PROBE_UNITS(ms) ((uint32_t)((ms)*1000000ULL >> LB_PROBE_TIME_SHIFT))

/* How often this bucket or LB_CONNECT_* was counted. */
uint32_t rig_connects(const struct rig *r, int backend, unsigned word);
/* In the buckets from this one on; 0: in all. */
uint32_t rig_answered(const struct rig *r, int backend, unsigned from);
/* First bytes that took so many units or more. */
uint32_t rig_first_bytes(const struct rig *r, int backend, uint32_t units);
/* SYNs that are noted, without those of connects that have failed. */
unsigned rig_probes(const struct rig *r);
/* Clears those of connects that have failed, as lbd does 3 s after the SYN. Returns how many. */
unsigned rig_clear_spent(const struct rig *r);
/* Connections whose first byte is awaited. */
unsigned rig_awaited(const struct rig *r);
/* As if all of them, or their answers, had been noted so much earlier. */
void rig_age_probes(const struct rig *r, uint32_t units);

/* ---- the flow table ---- */

__u64 *rig_place(struct rig *r, int i);
/* How many places hold an entry. */
int rig_entries(struct rig *r);
/* The place of the only entry. Fails the test unless there is exactly one. */
__u64 *rig_only_entry(struct rig *r);
/* Fills every free place with an entry of another flow. */
void rig_fill_table(struct rig *r, uint16_t backend, int state, uint32_t tick);
void rig_clear_table(struct rig *r);

/* An entry of a flow that no test sends. number: each has another fingerprint. */
uint64_t entry_make(uint32_t number, uint16_t backend, int state, uint32_t tick);
/* Makes its last packet so many ticks older. */
void entry_age(__u64 *entry, uint32_t ticks);
void entry_set_state(__u64 *entry, int state);
void entry_set_backend(__u64 *entry, uint16_t backend);
void assert_entry(uint64_t entry, int state, uint16_t backend);

#endif
