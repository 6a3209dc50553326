/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What must become of packets between an IPv4 VIP and backends with IPv6 addresses, from
 * docs/nat.md, RFC 7915 and RFC 6052: the reasons, and what leaves. Not known here: which datagram
 * a backend's later fragment is of, and what an ICMP error becomes but for its addresses and
 * checksums. */
#ifndef LBD_FUZZ_PACKET_TRANSLATE_H
#define LBD_FUZZ_PACKET_TRANSLATE_H

#include "packet_model.h"

/* ---- to a backend ---- */

bool is_translated(const struct world_service *service);
/* Bytes that the packet's headers become longer by. */
size_t translated_growth(const struct view *in);
/* The reasons of a packet of a flow, and of an error about one. */
reason_set translated_reasons(const struct model *model, const struct view *in,
			      const struct world_service *service);
/* out: from the IP header on, as far as the frame goes. */
void check_translated(const struct view *in, const struct world_service *service, int backend,
		      const uint8_t *out, size_t length);

/* ---- from a backend ---- */

/* If the packet may be of a backend, or an error about one to a backend: *ret is what may become of
 * it. */
void translated_reply(const struct model *model, const struct view *in, struct expectation *ret);
/* returned_tx, or returned_kernel. */
void check_returned(const struct view *in, const struct expectation *expected, int reason,
		    const uint8_t *out, size_t length);

#endif
