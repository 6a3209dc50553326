/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The VIPs, services and backends that packets are sent to, written into the program's maps; and
 * the same as a table, which is all that the model knows of them. */
#ifndef LBD_FUZZ_PACKET_WORLD_H
#define LBD_FUZZ_PACKET_WORLD_H

#include "support/bpf_fixture.h"

#define WORLD_VIPS     6
#define WORLD_VLAN     100
#define WORLD_GUE_PORT 6080
#define WORLD_BACKENDS 3
#define WORLD_NO_VLAN  0
/* Services with forward: nat have IPv4 VIPs, and backends with IPv6 addresses. */
#define WORLD_REAL_PORT 8080
#define WORLD_EMBED     "2001:db8:46::/96" /* the prefix of IPv4 clients */
#define WORLD_EMBED_BYTES                       \
	{                                       \
		0x20, 0x01, 0x0d, 0xb8, 0, 0x46 \
	}
#define WORLD_HOP_MTU 1500 /* of the way to clients */

/* What a new flow's backend depends on. */
enum world_kind {
	KIND_MAGLEV,     /* the 5-tuple; slots are stable */
	KIND_SOURCE,     /* the client's /24 or /56 */
	KIND_TURNS,      /* round robin: every flow is remembered */
	KIND_LEAST,      /* least connections: every flow is remembered */
	KIND_AFFINITY,   /* where the client's last flow went; every flow is remembered */
	KIND_TRANSITION, /* new flows to the first backend, older ones to the second */
	KIND_DEAD,       /* no backend is usable */
};

enum world_egress { EGRESS_SAME, EGRESS_OTHER, EGRESS_UNKNOWN };

struct world_prefix {
	uint8_t family, length;
	uint8_t address[16];
};

/* What `allow` and `deny` of a service name. */
struct world_lists {
	const struct world_prefix *allow, *deny;
	unsigned allow_count, deny_count; /* 0: there is no such list */
};

/* A row of the table: the same service on each VIP that has services, for TCP and UDP. */
struct world_plan {
	uint16_t port; /* host order; 0: any */
	enum world_kind kind;
	uint8_t forward; /* enum lb_forward */
	uint8_t family;  /* of the backends; 0: as the VIP */
	enum world_egress egress;
	bool vlan;
	uint16_t mtu;
	uint8_t no_backend; /* enum lb_refusal */
	uint32_t spread;    /* bits of the outer source that vary with the flow */

	uint16_t path_mtu; /* that a router has reported, less than mtu; 0: none */
	const struct world_lists *lists;
	bool no_fragments;
	/* new flows of the service, and of each /24 or /56 of its clients, until the next reset; 0:
	 * any number */
	unsigned burst, source_burst;
};

struct world_backend {
	uint16_t id;
	uint8_t address[16]; /* IPv4: the first four */
	uint8_t mac[6];
	bool usable;
};

struct world_service {
	const struct world_plan *plan;
	int vip; /* index */
	uint8_t protocol;
	uint16_t id;
	uint8_t outer_family;
	struct world_backend backends[WORLD_BACKENDS];
};

struct world_vip {
	const char *text;
	uint8_t family;
	uint8_t address[16];
};

extern struct world_vip world_vips[WORLD_VIPS];
extern const uint8_t world_own_macs[2][6]; /* of the interface that frames come in on */
extern const uint8_t world_other_mac[6];   /* of another interface */

/* Loads the program and fills its maps. */
struct fixture *world_open(void);
struct world_settings {
	uint8_t unserved; /* enum lb_refusal */
	bool links_known; /* the program has been told the interfaces' MAC addresses */
	bool two_links;   /* another interface has the program too */
	bool no_errors,
	    no_short; /* the rates of answers are 0: of errors, and of echo and too big */
};

/* As after world_open: forgets flows, fragments and counts of active flows. */
void world_reset(struct fixture *f, const struct world_settings *settings);

/* The VIP with this address, -1: none. */
int world_find_vip(uint8_t family, const uint8_t *address);
/* The service of the VIP's port (host order), NULL: none. */
const struct world_service *world_find_service(int vip, uint8_t protocol, uint16_t port);
/* All of them. */
const struct world_service *world_services(unsigned *ret_count);

#endif
