/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is forwarded, byte by byte: tunnels, VLANs, options, TTL, TOS, checksums, ports. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/csum.h"
#include "support/packet_case.h"

/* A client's packet to a service of packet_case.h, and the same packet inside the tunnel. */
#define SYN_TO(port)  TCP(.sport = 40000, .dport = port, .seq = 7, .flags = SYN)
#define DGRAM_TO(prt) UDP(.sport = 40000, .dport = prt)

/* One record route option, one no-operation, one end: twelve bytes. */
#define OPTIONS12 .options = "\x07\x0a\x04\xc0\x00\x02\x01\x00\x00\x00\x01\x00", .options_len = 12
#define OPTIONS40                                                                               \
	.options =                                                                              \
	    "\x44\x28\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"  \
	    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", \
	.options_len = 40

static const struct packet_case cases[] = {
    /* ---- four pairings, TCP and UDP ---- */
    CASE("tcp4_goes_to_an_ipv4_backend_as_ip_in_ip", forwarded_tx,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), SYN_TO(P_IPIP4))),
    CASE("tcp6_goes_to_an_ipv4_backend_as_ipv6_in_ipv4", forwarded_tx,
	 .in = PKT(ETH(), IN6(), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), SYN_TO(P_IPIP4))),
    CASE("tcp4_goes_to_an_ipv6_backend_as_ipv4_in_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), IN4(.ttl = 63), SYN_TO(P_IPIP6))),
    CASE("tcp6_goes_to_an_ipv6_backend_as_ipv6_in_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), SYN_TO(P_IPIP6))),
    CASE("udp4_goes_to_an_ipv4_backend", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_IPIP4), DATA(32)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), DGRAM_TO(P_IPIP4), DATA(32))),
    CASE("udp6_goes_to_an_ipv4_backend", forwarded_tx,
	 .in = PKT(ETH(), IN6(), DGRAM_TO(P_IPIP4), DATA(32)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), DGRAM_TO(P_IPIP4), DATA(32))),
    CASE("udp4_goes_to_an_ipv6_backend", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_IPIP6), DATA(32)),
	 .out = PKT(TO_BACKEND, OUT6(), IN4(.ttl = 63), DGRAM_TO(P_IPIP6), DATA(32))),
    CASE("udp6_goes_to_an_ipv6_backend", forwarded_tx,
	 .in = PKT(ETH(), IN6(), DGRAM_TO(P_IPIP6), DATA(32)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), DGRAM_TO(P_IPIP6), DATA(32))),
    CASE("an_empty_udp_datagram_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), DGRAM_TO(P_IPIP4))),
    CASE("a_udp_datagram_without_checksum_stays_without", forwarded_tx,
	 .in = PKT(ETH(), IN4(), UDP(.sport = 9, .dport = P_IPIP4, .no_csum = 1), DATA(8)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    UDP(.sport = 9, .dport = P_IPIP4, .no_csum = 1), DATA(8))),

    /* ---- what is inside the tunnel is the client's packet ---- */
    CASE("a_wrong_tcp_checksum_is_the_backends_business", forwarded_tx,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK, .bad_csum = 0x100),
		   DATA(9)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK, .bad_csum = 0x100), DATA(9))),
    CASE("an_odd_payload_is_carried_whole", forwarded_tx,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(33)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(33))),
    CASE("an_odd_payload_is_carried_whole_over_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(), TCP(.sport = 1, .dport = P_IPIP6, .flags = ACK), DATA(1)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63),
		    TCP(.sport = 1, .dport = P_IPIP6, .flags = ACK), DATA(1))),
    CASE("tcp_options_are_carried", forwarded_tx,
	 .in =
	     PKT(ETH(), IN4(), TCP(.sport = 1, .dport = P_IPIP4, .flags = SYN, .options_len = 40)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = SYN, .options_len = 40))),
    CASE("an_rst_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 1, .dport = P_IPIP4, .flags = RST)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = RST))),
    CASE("the_ipv4_id_and_df_of_the_client_are_kept", forwarded_tx,
	 .in = PKT(ETH(), IN4(.id = 4711, .frag = 0x4000), SYN_TO(P_IPIP4)),
	 .out =
	     PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, .id = 4711, .frag = 0x4000), SYN_TO(P_IPIP4))),
    CASE("the_ipv6_flow_label_of_the_client_is_kept", forwarded_tx,
	 .in = PKT(ETH(), IN6(.flow = 0x12345), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63, .flow = 0x12345), SYN_TO(P_IPIP4))),

    /* ---- TTL and hop limit (RFC 2003 section 3.1, RFC 2473 section 6.3) ---- */
    CASE("ttl_255_leaves_as_254", forwarded_tx, .in = PKT(ETH(), IN4(.ttl = 255), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 254), SYN_TO(P_IPIP4))),
    CASE("ttl_2_leaves_as_1", forwarded_tx, .in = PKT(ETH(), IN4(.ttl = 2), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 1), SYN_TO(P_IPIP4))),
    CASE("ttl_1_to_another_address_is_not_our_business", not_vip,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = "192.0.2.99", .ttl = 1), SYN_TO(P_IPIP4))),

    /* ---- DSCP and ECN: copied outwards (RFC 2983 uniform model, RFC 6040 normal mode) ---- */
    CASE("dscp_and_ect_of_ipv4_are_copied_to_ipv4", forwarded_tx,
	 .in = PKT(ETH(), IN4(.tos = 0xba), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(.tos = 0xba), IN4(.ttl = 63, .tos = 0xba), SYN_TO(P_IPIP4))),
    CASE("dscp_and_ce_of_ipv6_are_copied_to_ipv4", forwarded_tx,
	 .in = PKT(ETH(), IN6(.tclass = 0x2f), SYN_TO(P_IPIP4)),
	 .out =
	     PKT(TO_BACKEND, OUT4(.tos = 0x2f), IN6(.hop = 63, .tclass = 0x2f), SYN_TO(P_IPIP4))),
    CASE("dscp_and_ce_of_ipv4_are_copied_to_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN4(.tos = 0xbb), SYN_TO(P_IPIP6)),
	 .out =
	     PKT(TO_BACKEND, OUT6(.tclass = 0xbb), IN4(.ttl = 63, .tos = 0xbb), SYN_TO(P_IPIP6))),
    CASE("dscp_and_ect_of_ipv6_are_copied_to_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(.tclass = 0xfd), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(.tclass = 0xfd), IN6(.hop = 63, .tclass = 0xfd),
		    SYN_TO(P_IPIP6))),

    /* ---- IPv4 options and IPv6 extension headers ---- */
    CASE("ipv4_options_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN4(OPTIONS12), SYN_TO(P_IPIP4), DATA(5)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, OPTIONS12), SYN_TO(P_IPIP4), DATA(5))),
    CASE("ipv4_options_are_carried_in_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN4(OPTIONS12), SYN_TO(P_IPIP6), DATA(5)),
	 .out = PKT(TO_BACKEND, OUT6(), IN4(.ttl = 63, OPTIONS12), SYN_TO(P_IPIP6), DATA(5))),
    CASE("forty_bytes_of_ipv4_options_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN4(OPTIONS40), DGRAM_TO(P_IPIP4), DATA(5)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, OPTIONS40), DGRAM_TO(P_IPIP4), DATA(5))),
    CASE("hop_by_hop_options_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 0), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), EXT6(.type = 0), SYN_TO(P_IPIP4))),
    CASE("a_routing_header_is_carried", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), EXT6(.type = 43), SYN_TO(P_IPIP6))),
    CASE("long_destination_options_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60, .extra = 4), DGRAM_TO(P_IPIP6), DATA(3)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), EXT6(.type = 60, .extra = 4),
		    DGRAM_TO(P_IPIP6), DATA(3))),
    CASE("three_extension_headers_in_a_row_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 1),
		   EXT6(.type = 43, .extra = 2), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), EXT6(.type = 0),
		    EXT6(.type = 60, .extra = 1), EXT6(.type = 43, .extra = 2), SYN_TO(P_IPIP6))),

    /* ---- VLANs ---- */
    CASE("a_vlan_tag_ends_where_the_packet_is_routed", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN4(), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), SYN_TO(P_IPIP4))),
    CASE("an_untagged_packet_leaves_through_a_vlan", forwarded_tx,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_VLAN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(), IN4(.ttl = 63), SYN_TO(P_VLAN))),
    CASE("a_tagged_packet_leaves_through_another_vlan", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 0xe007), IN4(), SYN_TO(P_VLAN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(), IN4(.ttl = 63), SYN_TO(P_VLAN))),
    CASE("a_double_tag_ends_where_the_packet_is_routed", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), IN6(), SYN_TO(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), SYN_TO(P_IPIP6))),
    CASE("a_double_tagged_packet_leaves_through_one_vlan", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), IN4(), SYN_TO(P_VLAN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(), IN4(.ttl = 63), SYN_TO(P_VLAN))),
    CASE("a_vlan_tagged_udp6_packet_goes_into_ipv6", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN6(), DGRAM_TO(P_IPIP6), DATA(11)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), DGRAM_TO(P_IPIP6), DATA(11))),

    /* ---- L2 ---- */
    CASE("l2_rewrites_the_macs_and_takes_one_from_the_ttl", forwarded_tx,
	 .in = PKT(ETH(), IN4(.id = 4711), SYN_TO(P_L2), DATA(20)),
	 .out = PKT(TO_BACKEND, IN4(.ttl = 63, .id = 4711), SYN_TO(P_L2), DATA(20))),
    CASE("l2_rewrites_the_macs_of_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(), DGRAM_TO(P_L2), DATA(20)),
	 .out = PKT(TO_BACKEND, IN6(.hop = 63), DGRAM_TO(P_L2), DATA(20))),
    CASE("l2_takes_the_vlan_tag_off", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN4(), SYN_TO(P_L2)),
	 .out = PKT(TO_BACKEND, IN4(.ttl = 63), SYN_TO(P_L2))),
    CASE("l2_puts_a_vlan_tag_on", forwarded_tx, .in = PKT(ETH(), IN4(), SYN_TO(P_L2_VLAN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), IN4(.ttl = 63), SYN_TO(P_L2_VLAN))),
    CASE("l2_changes_the_vlan_tag", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN6(), SYN_TO(P_L2_VLAN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), IN6(.hop = 63), SYN_TO(P_L2_VLAN))),
    CASE("l2_keeps_ipv4_options", forwarded_tx, .in = PKT(ETH(), IN4(OPTIONS12), SYN_TO(P_L2)),
	 .out = PKT(TO_BACKEND, IN4(.ttl = 63, OPTIONS12), SYN_TO(P_L2))),
    CASE("l2_sends_ttl_2_as_1", forwarded_tx, .in = PKT(ETH(), IN4(.ttl = 2), SYN_TO(P_L2)),
	 .out = PKT(TO_BACKEND, IN4(.ttl = 1), SYN_TO(P_L2))),
    CASE("l2_sends_hop_limit_2_as_1", forwarded_tx, .in = PKT(ETH(), IN6(.hop = 2), SYN_TO(P_L2)),
	 .out = PKT(TO_BACKEND, IN6(.hop = 1), SYN_TO(P_L2))),

    /* ---- GUE ---- */
    CASE("tcp4_goes_into_gue_over_ipv4", forwarded_tx,
	 .in = PKT(ETH(), IN4(.tos = 0x68), SYN_TO(P_GUE4), DATA(3)),
	 .out = PKT(TO_BACKEND, OUT4(.tos = 0x68), OUT_GUE, IN4(.ttl = 63, .tos = 0x68),
		    SYN_TO(P_GUE4), DATA(3))),
    CASE("udp6_goes_into_gue_over_ipv4", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN6(.tclass = 0x68), DGRAM_TO(P_GUE4), DATA(3)),
	 .out = PKT(TO_BACKEND, OUT4(.tos = 0x68), OUT_GUE, IN6(.hop = 63, .tclass = 0x68),
		    DGRAM_TO(P_GUE4), DATA(3))),
    CASE("tcp6_goes_into_gue_over_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(.tclass = 3), SYN_TO(P_GUE6), DATA(7)),
	 .out = PKT(TO_BACKEND, OUT6(.tclass = 3), OUT_GUE, IN6(.hop = 63, .tclass = 3),
		    SYN_TO(P_GUE6), DATA(7))),
    CASE("udp4_goes_into_gue_over_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_GUE6), DATA(8)),
	 .out = PKT(TO_BACKEND, OUT6(), OUT_GUE, IN4(.ttl = 63), DGRAM_TO(P_GUE6), DATA(8))),
    CASE("gue_leaves_through_a_vlan_of_another_interface", forwarded_redirect,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_GUE4_REDIRECT)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(), OUT_GUE, IN4(.ttl = 63),
		    SYN_TO(P_GUE4_REDIRECT))),

    /* ---- GRE ---- */
    CASE("tcp4_goes_into_gre_over_ipv4", forwarded_tx,
	 .in = PKT(ETH(), IN4(.tos = 0x68), SYN_TO(P_GRE4), DATA(3)),
	 .out = PKT(TO_BACKEND, OUT4(.tos = 0x68), GRE(), IN4(.ttl = 63, .tos = 0x68),
		    SYN_TO(P_GRE4), DATA(3))),
    CASE("udp6_goes_into_gre_over_ipv4", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN6(.tclass = 0x68), DGRAM_TO(P_GRE4), DATA(3)),
	 .out = PKT(TO_BACKEND, OUT4(.tos = 0x68), GRE(), IN6(.hop = 63, .tclass = 0x68),
		    DGRAM_TO(P_GRE4), DATA(3))),
    CASE("tcp6_goes_into_gre_over_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN6(.tclass = 3), SYN_TO(P_GRE6), DATA(7)),
	 .out = PKT(TO_BACKEND, OUT6(.tclass = 3), GRE(), IN6(.hop = 63, .tclass = 3),
		    SYN_TO(P_GRE6), DATA(7))),
    CASE("udp4_goes_into_gre_over_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_GRE6), DATA(8)),
	 .out = PKT(TO_BACKEND, OUT6(), GRE(), IN4(.ttl = 63), DGRAM_TO(P_GRE6), DATA(8))),
    CASE("gre_leaves_through_a_vlan_of_another_interface", forwarded_redirect,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_GRE4_REDIRECT)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(), GRE(), IN4(.ttl = 63),
		    SYN_TO(P_GRE4_REDIRECT))),

    /* ---- the way out ---- */
    CASE("a_backend_behind_another_interface_is_redirected_to", forwarded_redirect,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_REDIRECT)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), SYN_TO(P_REDIRECT))),
    CASE("ipv6_is_redirected_to_a_backend_behind_another_interface", forwarded_redirect,
	 .in = PKT(ETH(), IN6(), SYN_TO(P_REDIRECT)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), SYN_TO(P_REDIRECT))),
    CASE("an_unknown_egress_interface_is_a_counted_drop", redirect_failed,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_UNKNOWN_IF))),

    /* ---- which service ---- */
    CASE("any_port_takes_every_tcp_port", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_ANY), SYN_TO(31337)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = CLIENT4, .dst = VIP4_ANY, .ttl = 63),
		    SYN_TO(31337))),
    CASE("any_port_takes_every_tcp6_port", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = VIP6_ANY), SYN_TO(1)),
	 .out =
	     PKT(TO_BACKEND, OUT6(), IP6(.src = CLIENT6, .dst = VIP6_ANY, .hop = 63), SYN_TO(1))),
    CASE("an_exact_port_beats_any_port", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_ANY), SYN_TO(443)),
	 .out = PKT(TO_BACKEND, IP4(.src = OUTER4, .dst = BACKEND4_B, .frag = 0x4000),
		    IP4(.src = CLIENT4, .dst = VIP4_ANY, .ttl = 63), SYN_TO(443))),
    CASE("an_exact_port_beats_any_port_on_ipv6", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = VIP6_ANY), SYN_TO(443)),
	 .out = PKT(TO_BACKEND, IP6(.src = OUTER6, .dst = BACKEND6_B, .flow = ANY),
		    IP6(.src = CLIENT6, .dst = VIP6_ANY, .hop = 63), SYN_TO(443))),
    CASE("any_port_of_udp_takes_udp", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_UDP), DGRAM_TO(53), DATA(4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = CLIENT4, .dst = VIP4_UDP, .ttl = 63),
		    DGRAM_TO(53), DATA(4))),

    /* ---- lengths ---- */
    CASE("ethernet_padding_is_not_carried_into_the_tunnel", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_IPIP4), DATA(1), PAD(17)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), DGRAM_TO(P_IPIP4), DATA(1), PAD(17))),
    CASE("ethernet_padding_is_not_counted_in_the_outer_ipv6_length", forwarded_tx,
	 .in = PKT(ETH(), IN4(), DGRAM_TO(P_IPIP6), DATA(1), PAD(17)),
	 .out = PKT(TO_BACKEND, OUT6(), IN4(.ttl = 63), DGRAM_TO(P_IPIP6), DATA(1), PAD(17))),
    CASE("a_packet_that_just_fits_the_tunnel_is_sent", forwarded_tx,
	 .in = PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK),
		   DATA(1440)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, .frag = 0x4000),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(1440))),
    CASE("a_packet_that_just_fits_the_ipv6_tunnel_is_sent", forwarded_tx,
	 .in = PKT(ETH(), IN6(), TCP(.sport = 1, .dport = P_IPIP6, .flags = ACK), DATA(1400)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63),
		    TCP(.sport = 1, .dport = P_IPIP6, .flags = ACK), DATA(1400))),
    CASE("a_full_frame_is_sent_where_the_mtu_allows", forwarded_tx,
	 .in = PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = P_JUMBO, .flags = ACK),
		   DATA(2960)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, .frag = 0x4000),
		    TCP(.sport = 1, .dport = P_JUMBO, .flags = ACK), DATA(2960))),
    CASE("a_full_frame_is_sent_by_l2", forwarded_tx,
	 .in = PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = P_L2, .flags = ACK),
		   DATA(1460)),
	 .out = PKT(TO_BACKEND, IN4(.ttl = 63, .frag = 0x4000),
		    TCP(.sport = 1, .dport = P_L2, .flags = ACK), DATA(1460))),
};

/* ---- fields that vary with the flow, and random headers ---- */

/* The 16 bits at `offset` of what came out. */
static int out16(const struct fixture *f, size_t offset)
{
	return f->out.data[offset] << 8 | f->out.data[offset + 1];
}

/* Sends the packet and returns the GUE source port, which must be a dynamic one (RFC 6335). */
static int gue_source_port(struct fixture *f, const struct layer *in, size_t offset)
{
	int sport;

	packet_build(&f->in, in);
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	sport = out16(f, offset);
	assert_in_range(sport, 49152, 65535);
	return sport;
}

LB_TEST(gue_source_ports_differ_between_flows)
{
	struct fixture *f = fixture_get();
	bool seen[65536] = {false};
	int distinct = 0;

	for (int i = 0; i < 256; i++) {
		int sport = gue_source_port(
		    f, PKT(ETH(), IN4(), TCP(.sport = 1000 + i, .dport = P_GUE4, .flags = SYN)),
		    14 + 20);

		distinct += !seen[sport];
		seen[sport] = true;
	}
	assert_in_range(distinct, 240, 256);
}

/* A service of its own with a backend whose outer source varies in the low `bits` bits. */
static void spreading_service(struct fixture *f, const char *dst, const char *src, uint32_t spread)
{
	fixture_single(f, VIP4, IPPROTO_TCP, 7000, (struct lb_service){.forward = LB_FORWARD_IPIP},
		       &(struct backend_spec){.dst = dst, .src = src, .spread = spread});
}

LB_TEST(the_outer_flow_label_varies_with_the_flow)
{
	struct fixture *f = fixture_get();
	bool seen[4096] = {false};
	int distinct = 0;

	for (int i = 0; i < 256; i++) {
		packet_build(&f->in, PKT(ETH(), IN4(),
					 TCP(.sport = 1000 + i, .dport = P_IPIP6, .flags = SYN)));
		fixture_send(f);
		distinct += !seen[out16(f, 16) & 4095];
		seen[out16(f, 16) & 4095] = true;
	}
	assert_in_range(distinct, 230, 256);
}

/* Sends 512 flows. Each must leave with an outer source in the prefix and with every other byte as
 * expected. Returns the number of different sources. */
static int count_sources(struct fixture *f, int family)
{
	size_t last16 = family == 4 ? 14 + 14 : 14 + 22; /* the low 16 bits of the outer source */
	bool seen[65536] = {false};
	int distinct = 0;

	for (int i = 0; i < 512; i++) {
		const struct layer *in =
		    PKT(ETH(), IN4(), TCP(.sport = 1000 + i, .dport = 7000, .flags = SYN));
		char src[INET6_ADDRSTRLEN];
		int low;

		packet_build(&f->in, in);
		fixture_send(f);
		low = out16(f, last16);
		snprintf(src, sizeof(src), family == 4 ? "172.16.%u.%u" : "fd00:1::%x:%x",
			 family == 4 ? low >> 8
				     : f->out.data[last16 - 2] << 8 | f->out.data[last16 - 1],
			 family == 4 ? low & 255 : low);
		expect(
		    f, LB_REASON_forwarded_tx, in,
		    family == 4
			? PKT(TO_BACKEND, IP4(.src = src, .dst = BACKEND4, .frag = 0x4000),
			      IN4(.ttl = 63), TCP(.sport = 1000 + i, .dport = 7000, .flags = SYN))
			: PKT(TO_BACKEND, IP6(.src = src, .dst = BACKEND6, .flow = ANY),
			      IN4(.ttl = 63), TCP(.sport = 1000 + i, .dport = 7000, .flags = SYN)));
		distinct += !seen[low];
		seen[low] = true;
	}
	return distinct;
}

LB_TEST(the_outer_ipv4_source_varies_inside_its_prefix)
{
	struct fixture *f = fixture_get();

	spreading_service(f, BACKEND4, "172.16.0.0", 0xffff);
	assert_in_range(count_sources(f, 4), 480, 512);
}

LB_TEST(the_outer_ipv6_source_varies_inside_its_prefix)
{
	struct fixture *f = fixture_get();

	spreading_service(f, BACKEND6, "fd00:1::", 0xffffffff);
	assert_in_range(count_sources(f, 6), 480, 512);
}

LB_TEST(a_narrow_source_prefix_is_not_left)
{
	struct fixture *f = fixture_get();

	spreading_service(f, BACKEND4, "172.16.255.240", 0xf);
	assert_int_equal(count_sources(f, 4), 16);
}

LB_TEST(every_packet_of_a_flow_has_the_same_outer_source)
{
	struct fixture *f = fixture_get();
	int first;

	spreading_service(f, BACKEND4, "172.16.0.0", 0xffff);
	packet_build(&f->in, PKT(ETH(), IN4(), SYN_TO(7000)));
	fixture_send(f);
	first = out16(f, 28);
	packet_build(&f->in, PKT(ETH(), IN4(.tos = 8, .ttl = 9),
				 TCP(.sport = 40000, .dport = 7000, .flags = ACK), DATA(99)));
	fixture_send(f);
	assert_int_equal(out16(f, 28), first);
}

/* The expected packets, checksums included, are computed from scratch. */
LB_TEST(header_checksums_are_right_for_random_headers)
{
	struct fixture *f = fixture_get();

	srand(20);
	for (int i = 0; i < 3000; i++) {
		int tos = rand() % 256, ttl = 2 + rand() % 254, id = rand() % 65536,
		    len = rand() % 1400;
		int port = rand() % 2 ? P_IPIP4 : P_IPIP6, df = rand() % 2 ? 0x4000 : 0;
		int first = 1 + rand() % 223;
		char client[INET6_ADDRSTRLEN];

		first += first == 127; /* which would be a martian */
		snprintf(client, sizeof(client), "%d.%d.%d.%d", first, rand() % 256, rand() % 256,
			 rand() % 256);
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(),
			   IP4(.src = client, .dst = VIP4, .tos = tos, .ttl = ttl, .id = id,
			       .frag = df),
			   TCP(.sport = 1 + i, .dport = port, .flags = ACK), DATA(len)),
		       port == P_IPIP4
			   ? PKT(TO_BACKEND, OUT4(.tos = tos),
				 IP4(.src = client, .dst = VIP4, .tos = tos, .ttl = ttl - 1,
				     .id = id, .frag = df),
				 TCP(.sport = 1 + i, .dport = port, .flags = ACK), DATA(len))
			   : PKT(TO_BACKEND, OUT6(.tclass = tos),
				 IP4(.src = client, .dst = VIP4, .tos = tos, .ttl = ttl - 1,
				     .id = id, .frag = df),
				 TCP(.sport = 1 + i, .dport = port, .flags = ACK), DATA(len)));
	}
}

/* Each of the 65 536 sums an inner header can have, those next to the wrap among them. */
LB_TEST(the_inner_checksum_is_right_for_every_sum)
{
	struct fixture *f = fixture_get();

	for (int id = 0; id < 65536; id++) {
		struct packet expected;

		packet_build(&f->in, PKT(ETH(), IN4(.id = id), SYN_TO(P_IPIP4)));
		packet_build(&expected,
			     PKT(TO_BACKEND, OUT4(), IN4(.id = id, .ttl = 63), SYN_TO(P_IPIP4)));
		fixture_send_uncounted(f);
		if (!packet_same(&expected, &f->out))
			fail_msg("identification %d: the packet out is not the expected one", id);
	}
}

/* Calls the function that makes the outer checksum: no packet can reach all of its sums. */
LB_TEST(the_outer_checksum_is_right_for_random_headers)
{
	struct packet p;

	srand(21);
	for (int i = 0; i < 300000; i++) {
		uint32_t src = rand(), dst = rand() * 2u;
		uint8_t tos = rand(), proto = i % 2 ? 4 : 41, ttl = rand();
		uint16_t len = rand();
		uint8_t *h = p.data;

		memcpy(h, (uint8_t[20]){0x45, tos, len >> 8, len, 0, 0, 0x40, 0, ttl, proto}, 12);
		memcpy(h + 10, "\0\0", 2);
		memcpy(h + 12, &src, 4);
		memcpy(h + 16, &dst, 4);
		assert_int_equal(csum_outer(csum_of_constants(dst, ttl, proto),
					    htonl(0x45000000 | tos << 16 | len), src),
				 (uint16_t)~packet_sum(h, 20, 0));
	}
}

/* The same where carries meet: sums next to the wraps of 16, 32 and 33 bits. */
LB_TEST(sums_of_words_fold_right_next_to_every_wrap)
{
	static const uint64_t wraps[] = {0x10000, 0x1fffe, 0x100000000, 0x1fffffffe, 0x200000000};

	for (size_t i = 0; i < sizeof(wraps) / sizeof(*wraps); i++)
		for (uint64_t sum = wraps[i] - 0x8000; sum < wraps[i] + 0x30000; sum++) {
			uint64_t folded = sum;

			while (folded >> 16)
				folded = (folded & 0xffff) + (folded >> 16);
			assert_int_equal(csum_fold_words(sum), folded);
		}
}

LB_TEST(every_payload_length_up_to_a_full_frame_is_carried)
{
	struct fixture *f = fixture_get();

	for (int len = 0; len <= 1440; len += len < 130 ? 1 : 37)
		expect(
		    f, LB_REASON_forwarded_tx,
		    PKT(ETH(), IN4(), TCP(.sport = 5, .dport = P_IPIP4, .flags = ACK), DATA(len)),
		    PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
			TCP(.sport = 5, .dport = P_IPIP4, .flags = ACK), DATA(len)));
}

LB_TEST(every_length_of_ipv4_options_is_carried)
{
	static const char nops[41] =
	    "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1";
	struct fixture *f = fixture_get();

	for (int len = 0; len <= 40; len += 4)
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(), IN4(.options = nops, .options_len = len), SYN_TO(P_IPIP4),
			   DATA(len)),
		       PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, .options = nops, .options_len = len),
			   SYN_TO(P_IPIP4), DATA(len)));
}

/* ---- counters ---- */

LB_TEST(a_forwarded_packet_is_counted_with_its_inner_length)
{
	struct fixture *f = fixture_get();
	struct lb_backend_count before, after;
	uint16_t id = 1; /* of the first service: VIP4 TCP P_IPIP4 */

	before = fixture_backend_count(f, id);
	expect(f, LB_REASON_forwarded_tx, PKT(ETH(), IN4(), SYN_TO(P_IPIP4), DATA(100)),
	       PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), SYN_TO(P_IPIP4), DATA(100)));
	after = fixture_backend_count(f, id);
	assert_int_equal(after.packets - before.packets, 1);
	assert_int_equal(after.bytes - before.bytes, 140);
	assert_int_equal(after.flows - before.flows, 1);
}

LB_TEST(only_a_syn_counts_as_a_new_flow)
{
	struct fixture *f = fixture_get();
	struct lb_backend_count before = fixture_backend_count(f, 1), after;

	for (int i = 0; i < 5; i++) {
		packet_build(
		    &f->in,
		    PKT(ETH(), IN4(), TCP(.sport = 4, .dport = P_IPIP4, .flags = i ? ACK : SYN)));
		fixture_send(f);
	}
	after = fixture_backend_count(f, 1);
	assert_int_equal(after.packets - before.packets, 5);
	assert_int_equal(after.bytes - before.bytes, 200);
	assert_int_equal(after.flows - before.flows, 1);
}

LB_TEST(a_drop_is_not_counted_to_the_backend)
{
	struct fixture *f = fixture_get();
	struct lb_backend_count before = fixture_backend_count(f, 1), after;

	f->map.settings->icmp_per_tick = 0;
	expect(f, LB_REASON_ttl_exceeded, PKT(ETH(), IN4(.ttl = 1), SYN_TO(P_IPIP4)), NULL);
	after = fixture_backend_count(f, 1);
	assert_int_equal(after.packets, before.packets);
}

/* For an IP packet its own length is counted, for anything else the length of the frame. */
LB_TEST(every_reason_counts_bytes)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_not_vip,
	       PKT(ETH(), IP4(.src = CLIENT4, .dst = "192.0.2.99"), SYN_TO(80), DATA(10), PAD(6)),
	       NULL);
	assert_int_equal(f->bytes[LB_REASON_not_vip], 50);
	expect(f, LB_REASON_not_ip, PKT(ETH(.type = 0x0806), DATA(28)), NULL);
	assert_int_equal(f->bytes[LB_REASON_not_ip], 42);
	f->map.settings->icmp_per_tick = 0;
	expect(f, LB_REASON_ttl_exceeded, PKT(ETH(), IN6(.hop = 1), SYN_TO(P_IPIP6)), NULL);
	assert_int_equal(f->bytes[LB_REASON_ttl_exceeded], 60);
}

/* ---- a driver without headroom ---- */

LB_TEST(a_frame_without_headroom_is_a_counted_drop)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, PKT(ETH(), IN4(), SYN_TO(P_IPIP6)));
	if (fixture_send_with_metadata(f, 200))
		skip(); /* the kernel takes no more than 32 bytes of metadata */
	assert_int_equal(f->reason, LB_REASON_no_headroom);
	assert_int_equal(f->verdict, XDP_DROP);
}

PACKET_TEST_MAIN("packets: forward", cases)
