/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` from an IPv4 VIP to IPv6 backends and back (RFC 7915), byte by byte: what comes
 * out is built anew, with sums made from all that they cover. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"
#include "lb_abi.h"
#include "lb.skel.h"
#include "support/nat_case.h"

#define PREFIX        "2001:db8:46::/96"
#define E(client)     "2001:db8:46::" client
#define CLIENT        E(CLIENT4)
#define T_VIP         "192.0.2.60"
#define T_REAL        "fd00::61"
#define T_REAL_VLAN   "fd00::62"
#define T_REAL_FAR    "fd00::63"
#define T_REAL_ANY    "fd00::64"
#define T_REAL_NARROW "fd00::65"
#define T_VIP_ANY     "192.0.2.61"
#define T_VIP6        "2001:db8::60"
#define ROUTER4       "203.0.113.1"
#define ROUTER6       "2001:db8:ffff::1"

enum { T_WEB = 80, T_DNS = 53, T_VLAN = 81, T_FAR = 82, T_NARROW = 83 };

#define IN(...)      IP4(.src = CLIENT4, .dst = T_VIP, __VA_ARGS__)
#define TO_REAL(...) IP6(.src = CLIENT, .dst = T_REAL, .hop = 63, __VA_ARGS__)
#define BACK(...)    IP6(.src = T_REAL, .dst = CLIENT, __VA_ARGS__)
/* What may be cut on its way has an identification. */
#define TO_CLIENT(...) IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .id = ANY, __VA_ARGS__)
#define WHOLE_TO_CLIENT(...) \
	IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .frag = 0x4000, __VA_ARGS__)
#define SYN_IN       TCP(.sport = 40000, .dport = T_WEB, .seq = 7, .flags = SYN)
#define SYN_REAL     TCP(.sport = 40000, .dport = 8080, .seq = 7, .flags = SYN)
#define SEGMENT      TCP(.sport = 8080, .dport = 40000, .seq = 9, .ack = 8, .flags = SYN | ACK)
#define SEGMENT_VIP  TCP(.sport = T_WEB, .dport = 40000, .seq = 9, .ack = 8, .flags = SYN | ACK)
#define OPTIONS      .options = "\x07\x07\x04\x00\x00\x00\x00\x01", .options_len = 8
#define BACK_TO_PEER ETH(.dst = PACKET_MAC_PEER, .src = PACKET_MAC_LB)

/* Quotes: a reply as the client got it, and as the backend sent it; a packet as the backend got it,
 * and as the client sent it, as far as that is known. */
#define Q_REPLY   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 60, .id = 3), SEGMENT_VIP
#define Q_REPLY6  IP6(.src = T_REAL, .dst = CLIENT, .hop = 60), SEGMENT
#define Q_PACKET6 IP6(.src = CLIENT, .dst = T_REAL, .hop = 60), SYN_REAL
#define Q_PACKET  IP4(.src = CLIENT4, .dst = T_VIP, .ttl = 60, .frag = 0x4000), SYN_IN
#define ERROR_IN(t, c, r)                                      \
	ETH(), IP4(.src = ROUTER4, .dst = T_VIP, .tos = 0xc0), \
	    ICMP(.type = t, .code = c, .rest = r), Q_REPLY
#define ERROR_TO_REAL(t, c, r)                                                        \
	TO_BACKEND, IP6(.src = E(ROUTER4), .dst = T_REAL, .hop = 63, .tclass = 0xc0), \
	    ICMP6(.type = t, .code = c, .rest = r), Q_REPLY6
#define ERROR_BACK(from, t, c, r)                                                           \
	FROM_REAL, IP6(.src = from, .dst = CLIENT), ICMP6(.type = t, .code = c, .rest = r), \
	    Q_PACKET6
#define ERROR_TO_CLIENT(t, c, r)                                                 \
	TO_ROUTER, IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .frag = 0x4000), \
	    ICMP(.type = t, .code = c, .rest = r), Q_PACKET

static const struct packet_case cases[] = {
    /* ---- to a backend ---- */
    CASE("a_tcp_packet_becomes_one_of_ipv6", forwarded_tx, .in = PKT(ETH(), IN(), SYN_IN),
	 .out = PKT(TO_BACKEND, TO_REAL(), SYN_REAL)),
    CASE("an_odd_payload_and_the_traffic_class", forwarded_tx,
	 .in = PKT(ETH(), IN(.id = 77, .tos = 0xb9, .frag = 0x4000),
		   TCP(.sport = 1, .dport = T_WEB, .flags = ACK, .options_len = 12), DATA(333)),
	 .out = PKT(TO_BACKEND, TO_REAL(.tclass = 0xb9),
		    TCP(.sport = 1, .dport = 8080, .flags = ACK, .options_len = 12), DATA(333))),
    CASE("a_datagram", forwarded_tx,
	 .in = PKT(ETH(), IN(), UDP(.sport = 9, .dport = T_DNS), DATA(33)),
	 .out = PKT(TO_BACKEND, TO_REAL(), UDP(.sport = 9, .dport = 5353), DATA(33))),
    CASE("an_empty_datagram_in_a_padded_frame", forwarded_tx,
	 .in = PKT(ETH(), IN(), UDP(.sport = 9, .dport = T_DNS), PAD(18)),
	 .out = PKT(TO_BACKEND, TO_REAL(), UDP(.sport = 9, .dport = 5353), PAD(18))),
    CASE("a_datagram_without_a_checksum_gets_one", forwarded_tx,
	 .in = PKT(ETH(), IN(), UDP(.sport = 9, .dport = T_DNS, .no_csum = 1), DATA(1301)),
	 .out = PKT(TO_BACKEND, TO_REAL(), UDP(.sport = 9, .dport = 5353), DATA(1301))),
    CASE("a_wrong_checksum_stays_wrong", forwarded_tx,
	 .in = PKT(ETH(), IN(), TCP(.sport = 1, .dport = T_WEB, .flags = ACK, .bad_csum = 0x100)),
	 .out = PKT(TO_BACKEND, TO_REAL(),
		    TCP(.sport = 1, .dport = 8080, .flags = ACK, .bad_csum = 0x100))),
    CASE("its_checksum_covers_no_more_than_its_length", forwarded_tx,
	 .in = PKT(ETH(), IN(.len = 61), UDP(.sport = 9, .dport = T_DNS, .no_csum = 1), DATA(10),
		   PAD(23)),
	 .out = PKT(TO_BACKEND, TO_REAL(.len = 41), UDP(.sport = 9, .dport = 5353), DATA(10),
		    PAD(23))),
    CASE("options_have_no_counterpart", forwarded_tx,
	 .in = PKT(ETH(), IN(OPTIONS), SYN_IN, DATA(9)),
	 .out = PKT(TO_BACKEND, TO_REAL(), SYN_REAL, DATA(9))),
    CASE("in_by_one_vlan_and_out_by_another", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN(), TCP(.sport = 1, .dport = T_VLAN, .flags = SYN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = 100), IP6(.src = CLIENT, .dst = T_REAL_VLAN, .hop = 63),
		    TCP(.sport = 1, .dport = T_VLAN, .flags = SYN))),
    CASE("in_by_two_tags", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7, .tpid = 0x88a8), VLAN(.tci = 8), IN(), SYN_IN, DATA(3)),
	 .out = PKT(TO_BACKEND, TO_REAL(), SYN_REAL, DATA(3))),
    CASE("through_another_interface", forwarded_redirect,
	 .in = PKT(ETH(), IN(), TCP(.sport = 1, .dport = T_FAR, .flags = SYN)),
	 .out = PKT(TO_BACKEND, IP6(.src = CLIENT, .dst = T_REAL_FAR, .hop = 63),
		    TCP(.sport = 1, .dport = 8082, .flags = SYN))),
    CASE("a_service_of_any_port_keeps_the_port", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = T_VIP_ANY),
		   TCP(.sport = 1, .dport = 12345, .flags = SYN)),
	 .out = PKT(TO_BACKEND, IP6(.src = CLIENT, .dst = T_REAL_ANY, .hop = 63),
		    TCP(.sport = 1, .dport = 12345, .flags = SYN))),
    CASE("a_full_packet_that_just_fits", forwarded_tx,
	 .in = PKT(ETH(), IN(.frag = 0x4000), TCP(.sport = 1, .dport = T_WEB, .flags = ACK),
		   DATA(1440)),
	 .out =
	     PKT(TO_BACKEND, TO_REAL(), TCP(.sport = 1, .dport = 8080, .flags = ACK), DATA(1440))),

    /* ---- fragments to a backend ---- */
    CASE("a_first_fragment_gets_a_fragment_header", forwarded_tx,
	 .in = PKT(ETH(), IN(.id = 0xabcd, .frag = 0x2000),
		   UDP(.sport = 9, .dport = T_DNS, .len = 200), DATA(64)),
	 .out = PKT(TO_BACKEND, TO_REAL(), FRAG6(.more = 1, .id = 0xabcd, .next = 17),
		    UDP(.sport = 9, .dport = 5353, .len = 200), DATA(64))),
    CASE("a_first_fragment_without_a_checksum_cannot_get_one", untranslatable,
	 .in = PKT(ETH(), IN(.id = 5, .frag = 0x2000),
		   UDP(.sport = 9, .dport = T_DNS, .len = 200, .no_csum = 1), DATA(64))),

    /* ---- to a client ---- */
    CASE("a_reply_becomes_one_of_ipv4", returned_tx, .in = PKT(FROM_REAL, BACK(), SEGMENT),
	 .out = PKT(TO_ROUTER, TO_CLIENT(), SEGMENT_VIP)),
    CASE("a_reply_with_an_odd_payload", returned_tx,
	 .in = PKT(FROM_REAL, BACK(.hop = 2, .tclass = 3, .flow = 0x12345),
		   TCP(.sport = 8080, .dport = 1, .flags = ACK, .options_len = 8), DATA(901)),
	 .out = PKT(TO_ROUTER, IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 1, .tos = 3, .id = ANY),
		    TCP(.sport = T_WEB, .dport = 1, .flags = ACK, .options_len = 8), DATA(901))),
    CASE("the_longest_reply_that_may_be_cut", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), SEGMENT, DATA(1220)),
	 .out = PKT(TO_ROUTER, TO_CLIENT(), SEGMENT_VIP, DATA(1220))),
    CASE("a_longer_reply_may_not", returned_tx, .in = PKT(FROM_REAL, BACK(), SEGMENT, DATA(1221)),
	 .out = PKT(TO_ROUTER, WHOLE_TO_CLIENT(), SEGMENT_VIP, DATA(1221))),
    CASE("a_datagram_in_reply", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), UDP(.sport = 5353, .dport = 9), DATA(77)),
	 .out = PKT(TO_ROUTER, TO_CLIENT(), UDP(.sport = T_DNS, .dport = 9), DATA(77))),
    CASE("a_datagram_without_a_checksum_stays_without", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), UDP(.sport = 5353, .dport = 9, .no_csum = 1), DATA(8)),
	 .out =
	     PKT(TO_ROUTER, TO_CLIENT(), UDP(.sport = T_DNS, .dport = 9, .no_csum = 1), DATA(8))),
    CASE("an_atomic_fragment", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.id = 0x12345, .next = 6), SEGMENT, DATA(7)),
	 .out = PKT(TO_ROUTER, TO_CLIENT(), SEGMENT_VIP, DATA(7))),
    CASE("extension_headers_have_no_counterpart", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), EXT6(.type = 0), EXT6(.type = 60, .extra = 2), SEGMENT),
	 .out = PKT(TO_ROUTER, TO_CLIENT(), SEGMENT_VIP)),
    CASE("a_reply_that_came_by_a_vlan_and_leaves_by_another", returned_tx,
	 .in =
	     PKT(FROM_REAL, VLAN(.tci = 100), IP6(.src = T_REAL, .dst = E(CLIENT4_VLAN)), SEGMENT),
	 .out = PKT(TO_ROUTER, VLAN(.tci = 200),
		    IP4(.src = T_VIP, .dst = CLIENT4_VLAN, .ttl = 63, .id = ANY), SEGMENT_VIP)),
    CASE("a_reply_through_another_interface", returned_redirect,
	 .in = PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(CLIENT4_FAR)), SEGMENT),
	 .out = PKT(TO_ROUTER, IP4(.src = T_VIP, .dst = CLIENT4_FAR, .ttl = 63, .id = ANY),
		    SEGMENT_VIP)),
    CASE("a_reply_of_a_service_of_any_port", returned_tx,
	 .in = PKT(FROM_REAL, IP6(.src = T_REAL_ANY, .dst = CLIENT),
		   TCP(.sport = 12345, .dport = 1, .flags = ACK)),
	 .out = PKT(TO_ROUTER, IP4(.src = T_VIP_ANY, .dst = CLIENT4, .ttl = 63, .id = ANY),
		    TCP(.sport = 12345, .dport = 1, .flags = ACK))),

    /* ---- replies that the kernel sends: it takes the hop itself ---- */
    CASE("a_reply_without_a_way_is_the_kernels_with_its_vip", returned_kernel,
	 .in = PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(CLIENT4_ASK)), SEGMENT),
	 .out = PKT(FROM_REAL, IP4(.src = T_VIP, .dst = CLIENT4_ASK, .id = ANY), SEGMENT_VIP)),
    CASE("it_keeps_the_tags_that_it_came_in_by", returned_kernel,
	 .in = PKT(FROM_REAL, VLAN(.tci = 5), VLAN(.tci = 6),
		   IP6(.src = T_REAL, .dst = E(CLIENT4_ASK)), SEGMENT, DATA(5)),
	 .out = PKT(FROM_REAL, VLAN(.tci = 5), VLAN(.tci = 6),
		    IP4(.src = T_VIP, .dst = CLIENT4_ASK, .id = ANY), SEGMENT_VIP, DATA(5))),
    CASE("a_reply_whose_interface_takes_no_redirects", returned_kernel,
	 .in = PKT(FROM_REAL, VLAN(.tci = 5), IP6(.src = T_REAL, .dst = E(CLIENT4_NO_IF)), SEGMENT),
	 .out = PKT(FROM_REAL, VLAN(.tci = 5), IP4(.src = T_VIP, .dst = CLIENT4_NO_IF, .id = ANY),
		    SEGMENT_VIP)),

    /* ---- fragments to a client ---- */
    CASE("a_first_fragment_of_a_reply", returned_tx,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .id = 0x12345678, .next = 17),
		   UDP(.sport = 5353, .dport = 9, .len = 200), DATA(64)),
	 .out = PKT(TO_ROUTER,
		    IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .id = 0x5678, .frag = 0x2000),
		    UDP(.sport = T_DNS, .dport = 9, .len = 200), DATA(64))),
    CASE("a_fragment_whose_header_is_not_the_last", untranslatable,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .id = 7, .next = 60), EXT6(.type = 60),
		   UDP(.sport = 5353, .dport = 9, .len = 200), DATA(64))),
    CASE("a_fragment_whose_last_header_is_like_one_of_a_fragment", untranslatable,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .next = 43), EXT6(.type = 43),
		   UDP(.sport = 5353, .dport = 9, .len = 200), DATA(64))),
    CASE("a_whole_packet_in_a_fragment_does_not_leave_as_one", untranslatable,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .id = 7, .next = 44), FRAG6(.next = 17),
		   UDP(.sport = 5353, .dport = 9, .len = 200), DATA(64))),
    CASE("a_later_fragment_of_an_unknown_datagram_does_not_leave", fragment_unknown,
	 .in = PKT(FROM_REAL, BACK(), FRAG6(.offset = 800, .next = 17, .id = 5), DATA(64))),

    /* ---- what is no reply ---- */
    CASE("a_backend_to_another_host_of_ipv6", not_vip,
	 .in = PKT(FROM_REAL, IP6(.src = T_REAL, .dst = CLIENT6), SEGMENT)),
    CASE("another_port_of_a_backend", not_vip,
	 .in = PKT(FROM_REAL, BACK(), TCP(.sport = 22, .dport = 1, .flags = ACK))),
    CASE("another_host_to_a_client", not_vip,
	 .in = PKT(FROM_REAL, IP6(.src = "fd00::99", .dst = CLIENT), SEGMENT)),
    CASE("an_address_that_no_host_has", untranslatable,
	 .in = PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E("224.0.0.1")), SEGMENT)),
    CASE("an_error_about_a_protocol_that_is_no_transport", not_vip,
	 .in = PKT(FROM_REAL, VLAN(.tci = 9), IP6(.src = ROUTER6, .dst = CLIENT6),
		   ICMP6(.type = 1, .code = 4),
		   IP6(.src = CLIENT6, .dst = T_REAL, .hop = 60, .next = 0x80 | IPPROTO_TCP),
		   SYN_REAL)),
    CASE("an_error_about_such_a_protocol_to_a_client", not_vip,
	 .in = PKT(FROM_REAL, VLAN(.tci = 9), IP6(.src = ROUTER6, .dst = CLIENT),
		   ICMP6(.type = 1, .code = 4),
		   IP6(.src = CLIENT, .dst = T_REAL, .hop = 60, .next = 0x80 | IPPROTO_TCP),
		   SYN_REAL)),
    CASE("an_error_about_a_packet_of_another_client", untranslatable,
	 .in = PKT(FROM_REAL, IP6(.src = ROUTER6, .dst = E("203.0.113.99")),
		   ICMP6(.type = 1, .code = 4), Q_PACKET6)),
    CASE("an_echo_request_of_a_backend", not_vip,
	 .in = PKT(FROM_REAL, BACK(), ICMP6(.type = 128), DATA(8))),

    /* ---- ICMP errors to a backend ---- */
    CASE("a_closed_port_of_a_client", forwarded_tx,
	 .in = PKT(ETH(), IN(), ICMP(.type = 3, .code = 3), Q_REPLY),
	 .out = PKT(TO_BACKEND, TO_REAL(), ICMP6(.type = 1, .code = 4), Q_REPLY6)),
    CASE("a_narrow_link_to_the_client", forwarded_tx, .in = PKT(ERROR_IN(3, 4, 1400)),
	 .out = PKT(ERROR_TO_REAL(2, 0, 1420))),
    CASE("a_link_that_is_too_narrow_for_ipv6", forwarded_tx, .in = PKT(ERROR_IN(3, 4, 600)),
	 .out = PKT(ERROR_TO_REAL(2, 0, 1280))),
    CASE("a_link_that_is_wider_than_the_way_to_the_backend", forwarded_tx,
	 .in = PKT(ERROR_IN(3, 4, 4000)), .out = PKT(ERROR_TO_REAL(2, 0, 1500))),
    CASE("a_host_that_is_unreachable", forwarded_tx, .in = PKT(ERROR_IN(3, 1, 0)),
	 .out = PKT(ERROR_TO_REAL(1, 0, 0))),
    CASE("a_protocol_that_is_unreachable", forwarded_tx, .in = PKT(ERROR_IN(3, 2, 0)),
	 .out = PKT(ERROR_TO_REAL(4, 1, 6))),
    CASE("what_is_prohibited", forwarded_tx, .in = PKT(ERROR_IN(3, 13, 0)),
	 .out = PKT(ERROR_TO_REAL(1, 1, 0))),
    CASE("a_precedence_has_no_counterpart", untranslatable, .in = PKT(ERROR_IN(3, 14, 0))),
    CASE("a_ttl_that_is_exceeded", forwarded_tx, .in = PKT(ERROR_IN(11, 1, 0)),
	 .out = PKT(ERROR_TO_REAL(3, 1, 0))),
    CASE("a_problem_with_the_protocol_field", forwarded_tx, .in = PKT(ERROR_IN(12, 0, 9 << 24)),
	 .out = PKT(ERROR_TO_REAL(4, 0, 6))),
    CASE("a_problem_with_a_field_that_ipv6_has_not", untranslatable,
	 .in = PKT(ERROR_IN(12, 0, 6 << 24))),
    CASE("a_missing_option", untranslatable, .in = PKT(ERROR_IN(12, 1, 0))),
    CASE("a_bad_length", forwarded_tx, .in = PKT(ERROR_IN(12, 2, 2 << 24)),
	 .out = PKT(ERROR_TO_REAL(4, 0, 4))),
    CASE("a_problem_of_a_kind_that_has_no_name", untranslatable, .in = PKT(ERROR_IN(12, 3, 0))),
    CASE("an_error_with_a_wrong_sum_does_not_become_right", vip_malformed,
	 .in = PKT(ETH(), IN(), ICMP(.type = 3, .code = 3, .bad_csum = 0x100), Q_REPLY)),
    CASE("an_error_in_a_padded_frame_by_a_vlan", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 5), IN(), ICMP(.type = 3, .code = 3),
		   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 60, .len = 40),
		   TCP(.sport = T_WEB, .dport = 40000, .seq = 9, .first = 8), PAD(30)),
	 .out = PKT(TO_BACKEND, TO_REAL(), ICMP6(.type = 1, .code = 4),
		    IP6(.src = T_REAL, .dst = CLIENT, .hop = 60, .len = 20),
		    TCP(.sport = 8080, .dport = 40000, .seq = 9, .first = 8))),
    CASE("a_quote_of_a_first_fragment", forwarded_tx,
	 .in = PKT(ETH(), IN(), ICMP(.type = 11, .code = 1),
		   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 60, .frag = 0x2000, .id = 5),
		   UDP(.sport = T_DNS, .dport = 9, .len = 200), DATA(64)),
	 .out = PKT(TO_BACKEND, TO_REAL(), ICMP6(.type = 3, .code = 1),
		    IP6(.src = T_REAL, .dst = CLIENT, .hop = 60),
		    UDP(.sport = 5353, .dport = 9, .len = 200), DATA(64))),
    CASE("a_quote_of_eight_bytes", forwarded_tx,
	 .in = PKT(ETH(), IN(), ICMP(.type = 3, .code = 3),
		   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 60, .len = 40),
		   TCP(.sport = T_WEB, .dport = 40000, .seq = 9, .first = 8)),
	 .out = PKT(TO_BACKEND, TO_REAL(), ICMP6(.type = 1, .code = 4),
		    IP6(.src = T_REAL, .dst = CLIENT, .hop = 60, .len = 20),
		    TCP(.sport = 8080, .dport = 40000, .seq = 9, .first = 8))),

    /* ---- ICMP errors to a client ---- */
    CASE("a_closed_port_of_a_backend", returned_tx, .in = PKT(ERROR_BACK(T_REAL, 1, 4, 0)),
	 .out = PKT(ERROR_TO_CLIENT(3, 3, 0))),
    CASE("a_narrow_link_to_the_backend_is_told_by_the_vip", returned_tx,
	 .in = PKT(ERROR_BACK(ROUTER6, 2, 0, 1400)), .out = PKT(ERROR_TO_CLIENT(3, 4, 1380))),
    CASE("a_backend_that_is_unreachable", returned_tx, .in = PKT(ERROR_BACK(ROUTER6, 1, 3, 0)),
	 .out = PKT(ERROR_TO_CLIENT(3, 1, 0))),
    CASE("a_backend_behind_a_filter", returned_tx, .in = PKT(ERROR_BACK(ROUTER6, 1, 1, 0)),
	 .out = PKT(ERROR_TO_CLIENT(3, 10, 0))),
    CASE("a_hop_limit_that_is_exceeded", returned_tx, .in = PKT(ERROR_BACK(ROUTER6, 3, 0, 0)),
	 .out = PKT(ERROR_TO_CLIENT(11, 0, 0))),
    CASE("a_next_header_that_is_unknown", returned_tx, .in = PKT(ERROR_BACK(T_REAL, 4, 1, 6)),
	 .out = PKT(ERROR_TO_CLIENT(3, 2, 0))),
    CASE("a_problem_with_the_next_header_field", returned_tx,
	 .in = PKT(ERROR_BACK(T_REAL, 4, 0, 6)), .out = PKT(ERROR_TO_CLIENT(12, 0, 9 << 24))),
    CASE("a_problem_with_the_flow_label", untranslatable, .in = PKT(ERROR_BACK(T_REAL, 4, 0, 2))),
    CASE("an_unknown_option", untranslatable, .in = PKT(ERROR_BACK(T_REAL, 4, 2, 40))),
};

static const struct nat_service services[] = {
    {T_VIP, IPPROTO_TCP, T_WEB, T_REAL, 8080, {0}, false},
    {T_VIP, IPPROTO_UDP, T_DNS, T_REAL, 5353, {0}, false},
    {T_VIP, IPPROTO_TCP, T_VLAN, T_REAL_VLAN, 81, {.vlan = 100}, false},
    {T_VIP, IPPROTO_TCP, T_FAR, T_REAL_FAR, 8082, {0}, true},
    {T_VIP, IPPROTO_TCP, T_NARROW, T_REAL_NARROW, 8083, {.mtu = 1400}, false},
    {T_VIP_ANY, IPPROTO_TCP, 0, T_REAL_ANY, 0, {0}, false},
};

static int setup(void **state)
{
	struct fixture *f = fixture_or_null();

	nat_setup(state);
	if (!f)
		return 0;               /* the test itself skips */
	fixture_programs(f->skel->obj); /* a test takes them away */
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		nat_service_add(f, &services[i]);
	fixture_embed(f, PREFIX);
	return 0;
}

/* ---- the prefix ---- */

/* RFC 6052, section 2.2, byte by byte: the bits 64 to 71 are left out. */
static void embed(const char *prefix, const char *client, char text[ADDR_TEXT])
{
	struct addr address, host;
	unsigned length, at;

	assert_int_equal(addr_parse_prefix(prefix, &address, &length), 0);
	assert_int_equal(addr_parse(client, &host), 0);
	at = length / 8;
	for (unsigned i = 0; i < 4; i++) {
		at += at == 8;
		address.bytes[at++] = host.bytes[i];
	}
	addr_format(&address, text);
}

/* The table of RFC 6052, section 2.4. */
static const struct {
	const char *prefix, *address;
} lengths[] = {
    {"2001:db8::/32", "2001:db8:c000:221::"},
    {"2001:db8:100::/40", "2001:db8:1c0:2:21::"},
    {"2001:db8:122::/48", "2001:db8:122:c000:2:2100::"},
    {"2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"},
    {"2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"},
    {"2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"},
};

LB_TEST(clients_are_embedded_as_rfc_6052_has_them)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct addr expected;
		char text[ADDR_TEXT], want[ADDR_TEXT];

		embed(lengths[i].prefix, "192.0.2.33", text);
		assert_int_equal(addr_parse(lengths[i].address, &expected), 0);
		assert_string_equal(text, addr_format(&expected, want));
	}
}

LB_TEST(prefixes_of_all_lengths_work_both_ways)
{
	static const char *const clients[] = {CLIENT4, "192.0.2.33", "1.2.3.4", "223.255.254.253"};
	struct fixture *f = fixture_get();

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		fixture_embed(f, lengths[i].prefix);
		for (size_t j = 0; j < ARRAY_SIZE(clients); j++) {
			char client[ADDR_TEXT];

			embed(lengths[i].prefix, clients[j], client);
			expect(f, LB_REASON_forwarded_tx,
			       PKT(ETH(), IP4(.src = clients[j], .dst = T_VIP), SYN_IN, DATA(5)),
			       PKT(TO_BACKEND, IP6(.src = client, .dst = T_REAL, .hop = 63),
				   SYN_REAL, DATA(5)));
			expect(f, LB_REASON_returned_tx,
			       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = client), SEGMENT, DATA(5)),
			       PKT(TO_ROUTER,
				   IP4(.src = T_VIP, .dst = clients[j], .ttl = 63, .id = ANY),
				   SEGMENT_VIP, DATA(5)));
			expect(f, LB_REASON_forwarded_tx,
			       PKT(ETH(), IP4(.src = clients[j], .dst = T_VIP),
				   ICMP(.type = 3, .code = 3), IP4(.src = T_VIP, .dst = clients[j]),
				   SEGMENT_VIP),
			       PKT(TO_BACKEND, IP6(.src = client, .dst = T_REAL, .hop = 63),
				   ICMP6(.type = 1, .code = 4), IP6(.src = T_REAL, .dst = client),
				   SEGMENT));
		}
	}
}

LB_TEST(without_a_prefix_nothing_is_translated)
{
	struct fixture *f = fixture_get();

	f->map.settings->embed_length = 0;
	expect(f, LB_REASON_untranslatable, PKT(ETH(), IN(), SYN_IN), NULL);
	expect(f, LB_REASON_not_vip, PKT(FROM_REAL, BACK(), SEGMENT), NULL);
}

/* ---- a backend behind VIPs of both families ---- */

LB_TEST(a_backend_may_have_clients_of_both_families)
{
	struct fixture *f = fixture_get();
	const struct nat_service both = {T_VIP6, IPPROTO_TCP, 443, T_REAL, 8080, {0}, false};

	nat_service_add(f, &both);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IP6(.src = CLIENT6, .dst = T_VIP6),
		   TCP(.sport = 1, .dport = 443, .flags = SYN)),
	       PKT(TO_BACKEND, IP6(.src = CLIENT6, .dst = T_REAL, .hop = 63),
		   TCP(.sport = 1, .dport = 8080, .flags = SYN)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = CLIENT6),
		   TCP(.sport = 8080, .dport = 1, .flags = ACK)),
	       PKT(TO_ROUTER, IP6(.src = T_VIP6, .dst = CLIENT6, .hop = 63),
		   TCP(.sport = 443, .dport = 1, .flags = ACK)));
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, BACK(), SEGMENT),
	       PKT(TO_ROUTER, TO_CLIENT(), SEGMENT_VIP));
}

/* ---- fragments: the first says where the rest goes ---- */

LB_TEST(later_fragments_follow_the_first_both_ways)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IN(.id = 9, .frag = 0x2000), UDP(.sport = 9, .dport = T_DNS, .len = 136),
		   DATA(64)),
	       PKT(TO_BACKEND, TO_REAL(), FRAG6(.more = 1, .id = 9, .next = 17),
		   UDP(.sport = 9, .dport = 5353, .len = 136), DATA(64)));
	expect(f, LB_REASON_forwarded_tx, PKT(ETH(), IN(.id = 9, .frag = 9, .proto = 17), DATA(64)),
	       PKT(TO_BACKEND, TO_REAL(), FRAG6(.offset = 72, .id = 9, .next = 17), DATA(64)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .id = 0x10009, .next = 17),
		   UDP(.sport = 5353, .dport = 9, .len = 136), DATA(64)),
	       PKT(TO_ROUTER, IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .id = 9, .frag = 0x2000),
		   UDP(.sport = T_DNS, .dport = 9, .len = 136), DATA(64)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, BACK(), FRAG6(.offset = 72, .id = 0x10009, .next = 17), DATA(63)),
	       PKT(TO_ROUTER,
		   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .id = 9, .frag = 9, .proto = 17),
		   DATA(63)));
}

LB_TEST(a_later_fragment_of_another_protocol_does_not_leave)
{
	static const int others[] = {IPPROTO_ICMPV6, IPPROTO_DSTOPTS, 132};
	struct fixture *f = fixture_get();

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		expect(f, LB_REASON_returned_tx,
		       PKT(FROM_REAL, BACK(), FRAG6(.more = 1, .id = 9, .next = 17),
			   UDP(.sport = 5353, .dport = 9, .len = 136), DATA(64)),
		       PKT(TO_ROUTER,
			   IP4(.src = T_VIP, .dst = CLIENT4, .ttl = 63, .id = 9, .frag = 0x2000),
			   UDP(.sport = T_DNS, .dport = 9, .len = 136), DATA(64)));
		expect(f, LB_REASON_untranslatable,
		       PKT(FROM_REAL, VLAN(.tci = 9), BACK(),
			   FRAG6(.offset = 72, .id = 9, .next = others[i]), DATA(63)),
		       NULL);
		expect(f, LB_REASON_untranslatable,
		       PKT(FROM_REAL, BACK(), FRAG6(.offset = 72, .id = 9, .next = others[i]),
			   DATA(63)),
		       NULL);
	}
}

/* ---- what does not fit ---- */

static void expect_too_big(struct fixture *f, const struct layer *in, uint32_t mtu)
{
	struct packet sent;

	packet_build(&sent, in);
	expect(f, LB_REASON_too_big_answered, in,
	       PKT(BACK_TO_PEER, IP4(.src = T_VIP, .dst = CLIENT4, .tos = 0xc0, .frag = 0x4000),
		   ICMP(.type = 3, .code = 4, .rest = mtu), RAW(sent.data + 14, 512)));
}

LB_TEST(a_packet_that_becomes_too_long_is_answered_with_what_fits)
{
	struct fixture *f = fixture_get();

	expect_too_big(
	    f, PKT(ETH(), IN(.frag = 0x4000), TCP(.dport = T_WEB, .flags = ACK), DATA(1441)), 1480);
	expect_too_big(f, PKT(ETH(), IN(), TCP(.dport = T_WEB, .flags = ACK), DATA(1441)), 1480);
	expect_too_big(f, PKT(ETH(), IN(), TCP(.dport = T_NARROW, .flags = ACK), DATA(1341)), 1380);
	expect_too_big(
	    f,
	    PKT(ETH(), IN(.id = 1, .frag = 0x2000), UDP(.dport = T_DNS, .len = 3000), DATA(1448)),
	    1472);
}

LB_TEST(a_reply_that_is_too_long_for_its_way_is_answered_in_its_family)
{
	struct fixture *f = fixture_get();
	struct packet sent;
	const struct layer *in =
	    PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(CLIENT4_NARROW)), SEGMENT, DATA(1361));

	packet_build(&sent, in);
	expect(f, LB_REASON_too_big_answered, in,
	       PKT(ETH(.dst = FIXTURE_MAC_BACKEND, .src = PACKET_MAC_LB),
		   IP6(.src = E(CLIENT4_NARROW), .dst = T_REAL), ICMP6(.type = 2, .rest = 1420),
		   RAW(sent.data + 14, 512)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(CLIENT4_NARROW)), SEGMENT, DATA(1360)),
	       PKT(TO_ROUTER, IP4(.src = T_VIP, .dst = CLIENT4_NARROW, .ttl = 63, .frag = 0x4000),
		   SEGMENT_VIP, DATA(1360)));
}

/* IPv6 cannot be told of less than 1280 bytes: such a way gets packets that may be cut. */
LB_TEST(on_a_very_narrow_way_the_kernel_cuts)
{
	const struct way_spec ways[] = {
	    {.prefix = "0.0.0.0/0", .dst_mac = MAC_ROUTER, .mtu = 1000}};
	struct fixture *f = fixture_get();

	fixture_ways(f, ways, 1);
	expect(
	    f, LB_REASON_returned_kernel, PKT(FROM_REAL, BACK(), SEGMENT, DATA(1220)),
	    PKT(FROM_REAL, IP4(.src = T_VIP, .dst = CLIENT4, .id = ANY), SEGMENT_VIP, DATA(1220)));
	packet_build(&f->in, PKT(FROM_REAL, BACK(), SEGMENT, DATA(1221)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_too_big_answered);
	assert_int_equal(f->out.data[14 + 40 + 6] << 8 | f->out.data[14 + 40 + 7], 1280);
}

LB_TEST(a_hop_limit_that_ends_here_is_answered)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, PKT(ETH(), IN(.ttl = 1), SYN_IN));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_time_exceeded_answered);
	packet_build(&f->in, PKT(FROM_REAL, BACK(.hop = 1), SEGMENT));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_time_exceeded_answered);
}

/* ---- the identification of what may be cut ---- */

static int id_of(struct fixture *f, uint32_t seq)
{
	packet_build(&f->in,
		     PKT(FROM_REAL, BACK(),
			 TCP(.sport = 8080, .dport = 1, .seq = seq, .flags = ACK), DATA(9)));
	fixture_send(f);
	return f->out.data[14 + 4] << 8 | f->out.data[14 + 5];
}

LB_TEST(segments_that_follow_one_another_have_other_identifications)
{
	struct fixture *f = fixture_get();
	bool seen[65536] = {0};

	for (uint32_t i = 0; i < 64; i++) {
		int id = id_of(f, 1000 + 1200 * i);

		assert_false(seen[id]);
		seen[id] = true;
	}
}

/* An empty datagram in a frame with bytes behind it. */
LB_TEST(an_identification_does_not_depend_on_padding)
{
	struct fixture *f = fixture_get();
	int ids[2];

	for (int i = 0; i < 2; i++) {
		packet_build(&f->in,
			     PKT(FROM_REAL, BACK(), UDP(.sport = 5353, .dport = 9), PAD(8)));
		memset(f->in.data + f->in.len - 8, i * 0x55, 8);
		fixture_send(f);
		assert_int_equal(f->reason, LB_REASON_returned_tx);
		ids[i] = f->out.data[14 + 4] << 8 | f->out.data[14 + 5];
	}
	assert_int_equal(ids[0], ids[1]);
}

/* ---- counters, and what is this host's ---- */

LB_TEST(replies_are_counted_for_their_backend_with_the_length_that_came)
{
	struct fixture *f = fixture_get();
	uint16_t id = nat_backend(f, T_REAL, 8080);
	struct lb_return_count before = fixture_return_count(f, id), after;

	packet_build(&f->in, PKT(FROM_REAL, BACK(), SEGMENT, DATA(100)));
	fixture_send(f);
	after = fixture_return_count(f, id);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, 160);
	assert_int_equal(f->bytes[LB_REASON_returned_tx], 160);
}

LB_TEST(an_address_of_this_host_is_not_changed)
{
	struct fixture *f = fixture_get();

	fixture_local(f, CLIENT);
	expect(f, LB_REASON_not_vip, PKT(FROM_REAL, BACK(), SEGMENT), NULL);
}

LB_TEST(a_copy_of_a_frame_for_a_group_is_not_changed)
{
	expect(fixture_get(), LB_REASON_not_vip,
	       PKT(ETH(.dst = "ff:ff:ff:ff:ff:ff", .src = FIXTURE_MAC_BACKEND), BACK(), SEGMENT),
	       NULL);
}

/* Else a stranger to IPv4 could reach the host, or send it a packet from its own VIP. */
LB_TEST(what_is_embedded_is_not_this_host)
{
	struct fixture *f = fixture_get();

	fixture_local(f, "198.51.100.99");
	expect(f, LB_REASON_untranslatable,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E("198.51.100.99")), SEGMENT), NULL);
	expect(f, LB_REASON_untranslatable,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(T_VIP)), SEGMENT), NULL);
}

LB_TEST(what_is_embedded_is_no_vip)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_untranslatable,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(VIP4)), SEGMENT), NULL);
	expect(f, LB_REASON_untranslatable,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(VIP4)),
		   UDP(.sport = 5353, .dport = N_DNS), DATA(4)),
	       NULL);
	expect(f, LB_REASON_untranslatable,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(VIP4)), ICMP6(.type = 1, .code = 4),
		   IP6(.src = E(VIP4), .dst = T_REAL, .hop = 60), SYN_REAL),
	       NULL);
}

/* The kernel empties the map of programs when its pin is removed and no lbd runs. What is not to a
 * client of IPv4 goes on, neighbour discovery above all. */
LB_TEST(without_the_program_that_translates_all_else_goes_on)
{
	struct fixture *f = fixture_get();
	const __u32 place = LB_PROGRAM_TRANSLATE;

	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(f->skel->maps.programs), &place), 0);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = "ff02::1:ff00:10", .hop = 255),
		   ICMP6(.type = 135), DATA(24)),
	       NULL);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, IP6(.src = T_REAL, .dst = "ff02::16", .hop = 1), EXT6(.type = 0),
		   ICMP6(.type = 143), DATA(20)),
	       NULL);
}

/* It would answer the backend's answer, and the backend that, with no end. */
LB_TEST(what_answers_is_no_client_of_a_datagram)
{
	static const struct {
		const char *client;
		int port, reason;
	} clients[] = {{VIP4, N_DNS, LB_REASON_martian},
		       {"10.0.0.1", 123, LB_REASON_martian},
		       {REAL4, 5353, LB_REASON_nat_hairpin}};
	struct fixture *f = fixture_get();

	fixture_local(f, "10.0.0.1");
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		expect(f, clients[i].reason,
		       PKT(ETH(), IP4(.src = clients[i].client, .dst = T_VIP),
			   UDP(.sport = clients[i].port, .dport = T_DNS), DATA(9)),
		       NULL);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IP4(.src = REAL4, .dst = T_VIP), UDP(.sport = 40000, .dport = T_DNS),
		   DATA(9)),
	       PKT(TO_BACKEND, IP6(.src = E(REAL4), .dst = T_REAL, .hop = 63),
		   UDP(.sport = 40000, .dport = 5353), DATA(9)));
}

/* ---- tracked flows ---- */

static uint16_t add_tracked(struct fixture *f, int protocol)
{
	fixture_single(
	    f, T_VIP, protocol, 9000,
	    (struct lb_service){.forward = LB_FORWARD_NAT, .flags = LB_SERVICE_TRACK_ALWAYS},
	    &(struct backend_spec){.dst = "fd00::69"});
	fixture_real(f, f->backends - 1, T_VIP, protocol, 9000, 9001);
	return f->backends - 1;
}

static int only_state(const struct fixture *f)
{
	int state = LB_FLOW_EMPTY;

	for (size_t i = 0; i < FIXTURE_BUCKETS; i++)
		for (size_t way = 0; way < LB_FLOW_WAYS; way++) {
			int found = LB_FLOW_STATE(f->map.flows[i].flow[way]);

			assert_true(!found || !state);
			state = found ? found : state;
		}
	return state;
}

LB_TEST(a_tracked_connection_is_new_once)
{
	struct fixture *f = fixture_get();
	uint16_t id = add_tracked(f, IPPROTO_TCP);
	uint64_t before = fixture_backend_count(f, id).flows;

	for (int i = 0; i < 2; i++) {
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(), IN(), TCP(.sport = 1, .dport = 9000, .flags = SYN)),
		       PKT(TO_BACKEND, IP6(.src = CLIENT, .dst = "fd00::69", .hop = 63),
			   TCP(.sport = 1, .dport = 9001, .flags = SYN)));
		assert_int_equal(fixture_backend_count(f, id).flows - before, 1);
	}
	assert_int_equal(only_state(f), LB_FLOW_SYN);
}

LB_TEST(the_end_of_a_tracked_connection_is_seen)
{
	static const int flags[] = {SYN, ACK};
	struct fixture *f = fixture_get();

	add_tracked(f, IPPROTO_TCP);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		packet_build(&f->in,
			     PKT(ETH(), IN(), TCP(.sport = 1, .dport = 9000, .flags = flags[i])));
		fixture_send(f);
	}
	assert_int_equal(only_state(f), LB_FLOW_ESTABLISHED);
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, IP6(.src = "fd00::69", .dst = CLIENT),
		   TCP(.sport = 9001, .dport = 1, .flags = FIN | ACK)),
	       PKT(TO_ROUTER, TO_CLIENT(), TCP(.sport = 9000, .dport = 1, .flags = FIN | ACK)));
	assert_int_equal(only_state(f), LB_FLOW_ENDING);
}

/* One datagram, which may be forged, shows no flow. */
LB_TEST(a_tracked_datagram_is_one_datagram)
{
	struct fixture *f = fixture_get();
	uint16_t id = add_tracked(f, IPPROTO_UDP);
	uint64_t before = fixture_backend_count(f, id).flows;

	expect(f, LB_REASON_forwarded_tx, PKT(ETH(), IN(), UDP(.sport = 1, .dport = 9000), DATA(5)),
	       PKT(TO_BACKEND, IP6(.src = CLIENT, .dst = "fd00::69", .hop = 63),
		   UDP(.sport = 1, .dport = 9001), DATA(5)));
	assert_int_equal(only_state(f), LB_FLOW_UDP_NEW);
	assert_int_equal(fixture_backend_count(f, id).flows - before, 1);
}

/* ---- unfinished checksums ---- */

static void unfinish(struct packet *p, size_t header, size_t field)
{
	uint8_t *ip = p->data + 14;
	bool v6 = ip[0] >> 4 == 6;
	uint16_t length = htons(p->data + p->len - ip - header),
		 protocol = htons(v6 ? ip[6] : ip[9]), sum;

	sum = v6 ? packet_sum(ip + 8, 32, length + protocol)
		 : packet_sum(ip + 12, 8, length + protocol);
	memcpy(ip + header + field, &sum, 2);
}

LB_TEST(unfinished_checksums_are_made_anew)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, PKT(ETH(), IN(), SYN_IN, DATA(1001)));
	unfinish(&f->in, 20, 16);
	expect_built(f, LB_REASON_forwarded_tx, PKT(TO_BACKEND, TO_REAL(), SYN_REAL, DATA(1001)));
	packet_build(&f->in, PKT(FROM_REAL, BACK(), UDP(.sport = 5353, .dport = 9), DATA(77)));
	unfinish(&f->in, 40, 6);
	expect_built(f, LB_REASON_returned_tx,
		     PKT(TO_ROUTER, TO_CLIENT(), UDP(.sport = T_DNS, .dport = 9), DATA(77)));
}

LB_TEST(an_unfinished_checksum_for_the_kernel_stays_unfinished)
{
	struct fixture *f = fixture_get();
	struct packet expected;

	packet_build(&f->in,
		     PKT(FROM_REAL, IP6(.src = T_REAL, .dst = E(CLIENT4_ASK)), SEGMENT, DATA(10)));
	unfinish(&f->in, 40, 16);
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_returned_kernel);
	packet_build_like(
	    &expected,
	    PKT(FROM_REAL, IP4(.src = T_VIP, .dst = CLIENT4_ASK, .id = ANY), SEGMENT_VIP, DATA(10)),
	    &f->out);
	unfinish(&expected, 20, 16);
	assert_true(packet_same(&expected, &f->out));
}

int main(void)
{
	return run_packet_tests_in("nat_translate", setup, cases, ARRAY_SIZE(cases));
}
