/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every way a packet's story ends, from one list: the XDP action, the metric and the help text. */
#ifndef LB_REASONS_H
#define LB_REASONS_H

/* outcome: SENT (to a backend, or answered), PASSED (to the kernel, untouched), DROPPED.
 * X(name, outcome, help) */
#define LB_REASONS(X)                                                                             \
	/* sent */                                                                                \
	X(forwarded_tx, SENT, "sent to a backend through the interface it came in on")            \
	X(forwarded_redirect, SENT, "sent to a backend through another interface")                \
	X(echo_answered, SENT, "echo request to a VIP, answered")                                 \
	X(too_big_answered, SENT, "too long for the tunnel, answered with ICMP packet too big")   \
	/* passed */                                                                              \
	X(not_ip, PASSED, "neither IPv4 nor IPv6")                                                \
	X(not_vip, PASSED, "destination is not a VIP")                                            \
	X(malformed, PASSED, "header cut short or with impossible lengths")                       \
	X(vip_no_service, PASSED, "to a VIP, but to a protocol or port without a service")        \
	X(vip_icmp_other, PASSED,                                                                 \
	  "ICMP to a VIP that is neither an echo request nor quotes a known flow")                \
	/* dropped */                                                                             \
	X(no_backend, DROPPED, "the service has no usable backend")                               \
	X(vip_malformed, DROPPED, "to a VIP, with a header cut short or impossible lengths")      \
	X(fragment_unknown, DROPPED, "later fragment to a VIP whose first fragment was not seen") \
	X(too_big, DROPPED,                                                                       \
	  "too long for the tunnel, and no ICMP was owed or the rate limit was reached")          \
	X(ttl_exceeded, DROPPED, "TTL or hop limit was used up")                                  \
	X(no_headroom, DROPPED, "the driver left no room for the outer header")                   \
	X(redirect_failed, DROPPED, "the egress interface is not known to the program")

enum lb_reason {
#define X(name, outcome, help) LB_REASON_##name,
	LB_REASONS(X)
#undef X
	    LB_REASON_COUNT
};

/* Events that are not an end of a packet's story: counted beside the reasons, in the same map,
 * after them. */
#define LB_EVENTS(X)                                                                            \
	X(flow_inserted, "flow table: entries made")                                            \
	X(flow_evicted, "flow table: embryonic, closing or idle entries replaced by new flows") \
	X(flow_table_full, "flow table: new flows for which no place was found")                \
	X(keeper_packets, "packets of older flows sent to their slot's keeper")                 \
	X(fallback_slot, "flows of a tracking algorithm sent by slot, for want of an entry")

enum lb_event {
	LB_EVENT_BASE = LB_REASON_COUNT - 1,
#define X(name, help) LB_EVENT_##name,
	LB_EVENTS(X)
#undef X
	    LB_COUNTERS
};

enum lb_outcome { LB_SENT, LB_PASSED, LB_DROPPED };

#endif
