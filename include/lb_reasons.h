/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The result of every packet, in one list: name, outcome (XDP action) and help text, for the XDP
 * program, `lbctl stats` and the metrics. */
#ifndef LB_REASONS_H
#define LB_REASONS_H

/* outcome: SENT (to a backend or client, or answered), PASSED (to the kernel), DROPPED.
 * X(name, outcome, help) */
#define LB_REASONS(X)                                                                             \
	/* sent */                                                                                \
	X(forwarded_tx, SENT, "sent to a backend through the interface it came in on")            \
	X(forwarded_redirect, SENT, "sent to a backend through another interface")                \
	X(returned_tx, SENT,                                                                      \
	  "reply of a backend (`forward: nat`), sent to the client through the interface it "     \
	  "came in on")                                                                           \
	X(returned_redirect, SENT,                                                                \
	  "reply of a backend (`forward: nat`), sent to the client through another interface")    \
	X(echo_answered, SENT, "echo request to a VIP, answered")                                 \
	X(too_big_answered, SENT, "too long for the tunnel; answered with ICMP packet too big")   \
	X(time_exceeded_answered, SENT, "TTL or hop limit exceeded; answered with ICMP")          \
	X(unserved_rejected, SENT,                                                                \
	  "no service has this protocol and port; answered with a reset or ICMP unreachable")     \
	X(no_backend_rejected, SENT,                                                              \
	  "the service has no usable backend; answered with a reset or ICMP unreachable")         \
	/* passed */                                                                              \
	X(not_ip, PASSED, "neither IPv4 nor IPv6")                                                \
	X(not_vip, PASSED, "destination is not a VIP")                                            \
	X(returned_kernel, PASSED,                                                                \
	  "reply of a backend (`forward: nat`), given its VIP and left to the kernel to send")    \
	X(nat_direct, PASSED,                                                                     \
	  "from a backend (`forward: nat`) to a client that reaches it past the VIP "             \
	  "(`nat: direct`)")                                                                      \
	X(malformed, PASSED, "truncated header or impossible lengths")                            \
	X(vip_other_mac, PASSED,                                                                  \
	  "to a VIP, but the frame is for another host's MAC address, broadcast or multicast")    \
	X(vip_no_service, PASSED,                                                                 \
	  "to a VIP, but no service has this protocol and port (`unserved: pass`)")               \
	X(vip_icmp_other, PASSED,                                                                 \
	  "ICMP to a VIP that is the kernel's: neighbour discovery, and "                         \
	  "what no flow is known for (`unserved: pass`)")                                         \
	X(no_backend_passed, PASSED, "the service has no usable backend (`no-backend: pass`)")    \
	/* dropped */                                                                             \
	X(no_backend, DROPPED,                                                                    \
	  "the service has no usable backend; no answer is due, or its rate limit was reached")   \
	X(unserved, DROPPED,                                                                      \
	  "to a VIP, but no service has this protocol and port, or no flow is "                   \
	  "known for this ICMP; no answer is due, or its rate limit was reached")                 \
	X(martian, DROPPED,                                                                       \
	  "to a VIP from an impossible source address or the VIP itself, or source-routed; of "   \
	  "`forward: nat` a reply that is source-routed, or a datagram from a VIP or this host")  \
	X(denied, DROPPED, "the service's `allow` and `deny` lists do not admit the client")      \
	X(vip_malformed, DROPPED, "to a VIP, with a truncated header or impossible lengths")      \
	X(over_service_rate, DROPPED, "new flow, above the service's rate of new flows")          \
	X(over_source_rate, DROPPED, "new flow, above the rate of its source prefix")             \
	X(echo_refused, DROPPED,                                                                  \
	  "echo request to a VIP with a wrong checksum, or above the rate limit")                 \
	X(fragment_unknown, DROPPED, "later fragment to a VIP whose first fragment was not seen") \
	X(fragment_refused, DROPPED, "fragment to a service with `fragments: drop`")              \
	X(nat_hairpin, DROPPED,                                                                   \
	  "from a backend to a VIP whose backend would reply to it past the balancer "            \
	  "(`forward: nat`): the same host, or one on the same link; or a datagram that a "       \
	  "backend sends to a VIP from the port that it serves")                                  \
	X(untranslatable, DROPPED,                                                                \
	  "between IPv4 and IPv6 (`forward: nat`, `nat: prefix`): has no counterpart in the "     \
	  "other family, or the program for it is missing")                                       \
	X(path_mtu, DROPPED,                                                                      \
	  "ICMP packet too big about a tunnel packet to a backend: for lbd, which lowers the "    \
	  "path MTU")                                                                             \
	X(too_big, DROPPED,                                                                       \
	  "too long for the tunnel; no ICMP error is due, or its rate limit was reached")         \
	X(ttl_exceeded, DROPPED,                                                                  \
	  "TTL or hop limit exceeded; no ICMP error is due, or its rate "                         \
	  "limit was reached")                                                                    \
	X(no_headroom, DROPPED, "the driver left no room for the outer header")                   \
	X(redirect_failed, DROPPED, "the egress interface is not in the program's list")

enum lb_reason {
#define X(name, outcome, help) LB_REASON_##name,
	LB_REASONS(X)
#undef X
	    LB_REASON_COUNT
};

/* Events that do not end a packet: counted in the same map as the reasons, after them. */
#define LB_EVENTS(X)                                                                            \
	X(flow_inserted, "flow table: entries inserted")                                        \
	X(flow_evicted, "flow table: embryonic, closing or idle entries replaced by new flows") \
	X(flow_table_full, "flow table: new flows that found no place")                         \
	X(keeper_packets, "packets of older flows sent to their slot's keeper")                 \
	X(fallback_slot, "flows of a tracking algorithm sent by slot because they have no entry")

enum lb_event {
	LB_EVENT_BASE = LB_REASON_COUNT - 1,
#define X(name, help) LB_EVENT_##name,
	LB_EVENTS(X)
#undef X
	    LB_COUNTERS
};

enum lb_outcome { LB_SENT, LB_PASSED, LB_DROPPED };

#endif
