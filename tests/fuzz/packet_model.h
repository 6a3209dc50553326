/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What must become of a packet, from README.md, ARCHITECTURE.md, docs/ and the RFCs: the reasons
 * that it may end with, and the backends it may go to. Where the documents leave a choice, all that
 * they allow is allowed. Written without the program's code. */
#ifndef LBD_FUZZ_PACKET_MODEL_H
#define LBD_FUZZ_PACKET_MODEL_H

#include "packet_view.h"
#include "packet_world.h"

#define MODEL_PACKETS 8

typedef uint64_t reason_set;
#define REASON(name) ((reason_set)1 << LB_REASON_##name)

/* A flow of which a packet came to its service. */
struct model_flow {
	const struct world_service *service;
	uint8_t client[16];
	uint16_t client_port, vip_port;
	int backend;  /* -1: not known, as none of its packets could be sent */
	bool older;   /* its first packet did not open it (TCP without SYN) */
	bool settled; /* its backend can no longer change */
	bool opening; /* it has sent nothing but its SYN */
	uint32_t next_seq;
};

/* A datagram whose first fragment was seen. */
struct model_datagram {
	uint8_t family, protocol;
	uint8_t src[16], dst[16];
	uint32_t id;
	const struct world_service *service; /* NULL: none took it */
	int backend;                         /* -1: not known */
	bool refused;                        /* the service takes no fragments */
};

/* New flows of a service, or of a source prefix to it, that were let through: at least and at most
 * so many, as the documents leave open of some packets whether they open one. */
struct model_rate {
	const struct world_service *service;
	bool of_source;
	uint8_t family, prefix[7]; /* a /24 or a /56 */
	unsigned least, most;
};

struct model {
	struct world_settings settings;
	struct model_flow flows[MODEL_PACKETS];
	struct model_datagram datagrams[MODEL_PACKETS];
	struct model_rate rates[2 * MODEL_PACKETS];
	int flow_count, datagram_count, rate_count;
	bool odd_syn; /* a SYN with RST was there: whether its flow is known is open */
};

/* Does a packet open a flow, as docs/limits.md counts them? */
enum opening { OPENS_NOTHING, OPENS_PERHAPS, OPENS_FLOW };

struct expectation {
	reason_set reasons;                  /* of REASON */
	const struct world_service *service; /* that it may be forwarded for */
	unsigned backends;                   /* set of 1 << index */
	/* of the flow that it belongs to */
	const uint8_t *client;
	uint16_t client_port, vip_port;
	bool reached;         /* it is sound and for a VIP */
	bool follows;         /* ICMP or a later fragment: not the flow's own packet */
	enum opening opening; /* of a service with a rate */
	bool returns;         /* it may be a reply of the service */
};

void model_expect(const struct model *model, const struct view *view, struct expectation *ret);
/* The packet ended with this reason; backend: index, -1: it was not forwarded. */
void model_note(struct model *model, const struct view *view, const struct expectation *expected,
		int reason, int backend);
/* The longest packet, with what the tunnel adds, that its sender is not told to make shorter. */
size_t model_mtu(const struct world_service *service);
/* Bytes that the service's tunnel adds in front of the packet's IP header. */
size_t model_overhead(const struct world_service *service);
bool model_is_own_mac(const struct model *model, const uint8_t *mac);
/* Whether the sender may be told by an ICMP error: RFC 1122, 3.2.2; RFC 4443, 2.4 (e). */
bool model_draws_error(const struct model *model, const struct view *view);
/* The same that its packet is too big, which has another rate. */
bool model_draws_too_big(const struct model *model, const struct view *view);

#endif
