/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decapsulator of backends: a packet that the load balancer tunnelled to a VIP of this host
 * comes out as it went in, with congestion marks as in RFC 6040. All other packets are unchanged,
 * and counted by reason. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include "support/packet_case.h"
#include "decap.skel.h"

#define GUE_PORT            6080
#define ODD_GUE_PORT        4754
#define LB4                 "172.16.0.1" /* outer sources: in the prefixes that are accepted */
#define LB6                 "100::1"
#define STRANGER4           "172.17.0.1"
#define STRANGER6           "100:0:0:1::1"
#define HTTP                80 /* the port that is served, TCP only, where ports are given */
#define TUNNEL4(...)        IP4(.src = LB4, .dst = BACKEND4, .frag = 0x4000, __VA_ARGS__)
#define TUNNEL6(...)        IP6(.src = LB6, .dst = BACKEND6, __VA_ARGS__)
#define OUTER4_OF(from, to) IP4(.src = from, .dst = to, .frag = 0x4000)
#define OUTER6_OF(from, to) IP6(.src = from, .dst = to)
#define GUE_UDP             UDP(.sport = 50000, .dport = GUE_PORT, .no_csum = 1)
#define ODD_GUE_UDP         UDP(.sport = 50000, .dport = ODD_GUE_PORT, .no_csum = 1)
#define SEGMENT             TCP(.sport = 40000, .dport = HTTP, .flags = ACK), DATA(100)
#define SSH                 TCP(.sport = 40000, .dport = 22, .flags = SYN), DATA(0)

enum ecn { NOT_ECT, ECT1, ECT0, CE };

/* The counters in the program's order. */
enum counter {
	PASSED,
	DECAPSULATED,
	DROPPED_CE,
	FOREIGN_SOURCE,
	FOREIGN_DESTINATION,
	NOT_A_VIP,
	PORT_NOT_SERVED,
	NESTED,
	FRAGMENTED,
	UNSUPPORTED,
	MALFORMED,
	COUNTERS
};

enum setup {
	EVERY_PORT,
	SOME_PORTS,     /* HTTP */
	ODD_GUE,        /* the GUE port is another one */
	ANY_SOURCE6,    /* ::/0, and no IPv4 prefix */
	MAPPED_SOURCE4, /* only 172.16.0.0/16 and 10.0.0.11, to see what IPv6 makes of them */
	SETUPS
};

struct decap_case {
	const char *name;
	const struct layer *in;
	const struct layer *out; /* NULL: dropped, or as in if untouched */
	bool untouched;
	enum counter counter;
	enum setup setup;
};

#define OPENED_IN(with, promise, what_in, what_out)                                               \
	{                                                                                         \
		.name = promise, .in = PKT what_in, .out = PKT what_out, .counter = DECAPSULATED, \
		.setup = with                                                                     \
	}
#define OPENED(...) OPENED_IN(EVERY_PORT, __VA_ARGS__)
#define UNTOUCHED_IN(with, why, promise, ...)                                               \
	{                                                                                   \
		.name = promise, .in = PKT(__VA_ARGS__), .untouched = true, .counter = why, \
		.setup = with                                                               \
	}
#define UNTOUCHED(...)  UNTOUCHED_IN(EVERY_PORT, __VA_ARGS__)
#define NOT_SERVED(...) UNTOUCHED_IN(SOME_PORTS, PORT_NOT_SERVED, __VA_ARGS__)
#define DROPPED(promise, ...)                                                  \
	{                                                                      \
		.name = promise, .in = PKT(__VA_ARGS__), .counter = DROPPED_CE \
	}

/* clang-format off */
static const struct decap_case cases[] = {
	/* ---- the pairings ---- */
	OPENED("ipv4_in_ipv4_is_opened",
	       (ETH(), TUNNEL4(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_ipv4_is_opened",
	       (ETH(), TUNNEL4(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_ipv6_is_opened",
	       (ETH(), TUNNEL6(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_ipv6_is_opened",
	       (ETH(), TUNNEL6(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gue_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, GUE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, GUE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gue_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, GUE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, GUE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gre_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GRE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gre_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GRE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gre_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GRE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gre_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GRE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),

	/* ---- what is around and inside ---- */
	OPENED("a_vlan_tag_stays", (ETH(), VLAN(.tci = 7), TUNNEL4(), IN4(), SEGMENT),
	       (ETH(), VLAN(.tci = 7), IN4(), SEGMENT)),
	OPENED("two_vlan_tags_stay_and_the_family_changes",
	       (ETH(), VLAN(.tci = 7, .tpid = 0x88a8), VLAN(.tci = 9), TUNNEL6(), IN4(), SEGMENT),
	       (ETH(), VLAN(.tci = 7, .tpid = 0x88a8), VLAN(.tci = 9), IN4(), SEGMENT)),
	OPENED("the_ttl_inside_is_kept",
	       (ETH(), TUNNEL4(), IN4(.ttl = 1), SEGMENT), (ETH(), IN4(.ttl = 1), SEGMENT)),
	OPENED("a_fragment_inside_stays_one",
	       (ETH(), TUNNEL4(), IN4(.frag = 0x2000, .proto = 17), DATA(64)),
	       (ETH(), IN4(.frag = 0x2000, .proto = 17), DATA(64))),
	OPENED("outer_options_go_too",
	       (ETH(), TUNNEL4(.options = "\x01\x01\x01\x01", .options_len = 4), IN4(), SEGMENT),
	       (ETH(), IN4(), SEGMENT)),
	OPENED("an_outer_destination_option_goes_too",
	       (ETH(), TUNNEL6(), EXT6(.type = 60), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("the_least_packet_is_opened",
	       (ETH(), TUNNEL4(), IN4(.proto = 253)), (ETH(), IN4(.proto = 253))),

	/* ---- RFC 6040, figure 4 ---- */
	OPENED("congestion_outside_marks_ect0_inside",
	       (ETH(), TUNNEL4(.tos = CE), IN4(.tos = 0xb8 | ECT0), SEGMENT),
	       (ETH(), IN4(.tos = 0xb8 | CE), SEGMENT)),
	OPENED("congestion_outside_marks_ect1_inside",
	       (ETH(), TUNNEL4(.tos = CE), IN4(.tos = ECT1), SEGMENT),
	       (ETH(), IN4(.tos = CE), SEGMENT)),
	OPENED("congestion_outside_marks_ipv6_inside",
	       (ETH(), TUNNEL6(.tclass = CE), IN6(.tclass = 0xb8 | ECT0, .flow = 0xabcde), SEGMENT),
	       (ETH(), IN6(.tclass = 0xb8 | CE, .flow = 0xabcde), SEGMENT)),
	OPENED("ect1_outside_replaces_ect0_inside",
	       (ETH(), TUNNEL4(.tos = ECT1), IN4(.tos = ECT0), SEGMENT),
	       (ETH(), IN4(.tos = ECT1), SEGMENT)),
	OPENED("ect0_outside_leaves_ect1_inside",
	       (ETH(), TUNNEL4(.tos = ECT0), IN4(.tos = ECT1), SEGMENT),
	       (ETH(), IN4(.tos = ECT1), SEGMENT)),
	OPENED("congestion_inside_stays", (ETH(), TUNNEL4(.tos = ECT0), IN4(.tos = CE), SEGMENT),
	       (ETH(), IN4(.tos = CE), SEGMENT)),
	OPENED("ect_outside_does_not_make_ect_inside",
	       (ETH(), TUNNEL4(.tos = ECT1), IN4(.tos = NOT_ECT), SEGMENT),
	       (ETH(), IN4(.tos = NOT_ECT), SEGMENT)),
	DROPPED("congestion_that_cannot_be_told_drops_ipv4",
		ETH(), TUNNEL4(.tos = CE), IN4(), SEGMENT),
	DROPPED("congestion_that_cannot_be_told_drops_ipv6",
		ETH(), TUNNEL6(.tclass = CE), IN6(), SEGMENT),
	OPENED("dscp_outside_is_forgotten",
	       (ETH(), TUNNEL4(.tos = 0x28), IN4(.tos = 0xb8), SEGMENT),
	       (ETH(), IN4(.tos = 0xb8), SEGMENT)),

	/* ---- GUE variant 1: no header of its own ---- */
	OPENED("ipv4_in_gue_variant_1_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_variant_1_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gue_variant_1_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_variant_1_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	UNTOUCHED(UNSUPPORTED, "gue_variant_1_with_version_5_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, IN4(.version = 5), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_variant_1_with_version_7_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, IN4(.version = 7), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_variant_2_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, RAW("\x80\x04\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_variant_3_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, RAW("\xc0\x04\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(NOT_A_VIP, "gue_variant_1_to_another_address_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, IP4(.src = CLIENT4, .dst = "192.0.2.99"), SEGMENT),
	UNTOUCHED(MALFORMED, "gue_variant_1_cut_short_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, RAW("\x45\x00\x00", 3)),

	/* ---- another GUE port ---- */
	OPENED_IN(ODD_GUE, "gue_to_the_port_that_was_set_is_opened",
		  (ETH(), TUNNEL4(), ODD_GUE_UDP, GUE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED_IN(ODD_GUE, "gue_variant_1_to_the_port_that_was_set_is_opened",
		  (ETH(), TUNNEL6(), ODD_GUE_UDP, IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	UNTOUCHED_IN(ODD_GUE, PASSED, "the_default_gue_port_is_plain_udp_when_another_was_set",
		     ETH(), TUNNEL4(), GUE_UDP, GUE(), IN4(), SEGMENT),
	OPENED_IN(ODD_GUE, "ip_in_ip_does_not_depend_on_the_gue_port",
		  (ETH(), TUNNEL4(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),

	/* ---- who sent it ---- */
	UNTOUCHED(FOREIGN_SOURCE, "ip_in_ipv4_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER4_OF(STRANGER4, BACKEND4), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "ip_in_ipv6_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER6_OF(STRANGER6, BACKEND6), IN6(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "gre_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER4_OF(STRANGER4, BACKEND4), GRE(), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "gre_over_ipv6_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER6_OF(STRANGER6, BACKEND6), GRE(), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "gue_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER4_OF(STRANGER4, BACKEND4), GUE_UDP, GUE(), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "gue_variant_1_from_outside_the_prefix_is_untouched",
		  ETH(), OUTER6_OF(STRANGER6, BACKEND6), GUE_UDP, IN6(), SEGMENT),
	UNTOUCHED(FOREIGN_SOURCE, "the_inner_source_does_not_count_as_the_sender",
		  ETH(), OUTER4_OF(STRANGER4, BACKEND4), IP4(.src = LB4, .dst = VIP4), SEGMENT),
	OPENED("the_last_address_of_the_ipv4_prefix_is_in_it",
	       (ETH(), OUTER4_OF("172.16.255.255", BACKEND4), IN4(), SEGMENT),
	       (ETH(), IN4(), SEGMENT)),
	OPENED("the_last_address_of_the_ipv6_prefix_is_in_it",
	       (ETH(), OUTER6_OF("100::ffff:ffff:ffff:ffff", BACKEND6), IN6(), SEGMENT),
	       (ETH(), IN6(), SEGMENT)),
	UNTOUCHED(FOREIGN_SOURCE, "the_address_before_the_ipv4_prefix_is_not_in_it",
		  ETH(), OUTER4_OF("172.15.255.255", BACKEND4), IN4(), SEGMENT),
	UNTOUCHED_IN(ANY_SOURCE6, FOREIGN_SOURCE, "an_ipv6_prefix_of_length_0_takes_no_ipv4",
		     ETH(), TUNNEL4(), IN4(), SEGMENT),
	OPENED_IN(ANY_SOURCE6, "an_ipv6_prefix_of_length_0_takes_all_ipv6",
		  (ETH(), OUTER6_OF("2001:db8::bad", BACKEND6), IN6(), SEGMENT),
		  (ETH(), IN6(), SEGMENT)),
	UNTOUCHED_IN(MAPPED_SOURCE4, FOREIGN_SOURCE,
		     "a_mapped_ipv6_source_is_not_in_an_ipv4_prefix",
		     
		     ETH(), OUTER6_OF("::ffff:172.16.0.1", BACKEND6), IN6(), SEGMENT),

	/* ---- to whom ---- */
	UNTOUCHED(FOREIGN_DESTINATION, "an_ipv4_tunnel_to_another_host_is_untouched",
		  ETH(), OUTER4_OF(LB4, BACKEND4_B), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "an_ipv6_tunnel_to_another_host_is_untouched",
		  ETH(), OUTER6_OF(LB6, BACKEND6_B), IN6(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "gre_to_another_host_is_untouched",
		  ETH(), OUTER4_OF(LB4, BACKEND4_B), GRE(), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "gue_to_another_host_is_untouched",
		  ETH(), OUTER6_OF(LB6, BACKEND6_B), GUE_UDP, GUE(), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "a_tunnel_to_the_vip_itself_is_untouched",
		  ETH(), OUTER4_OF(LB4, VIP4), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "a_tunnel_to_broadcast_is_untouched",
		  ETH(), OUTER4_OF(LB4, "255.255.255.255"), IN4(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "a_tunnel_to_multicast_is_untouched",
		  ETH(), OUTER6_OF(LB6, "ff02::1"), IN6(), SEGMENT),
	UNTOUCHED(FOREIGN_DESTINATION, "a_mapped_ipv6_destination_is_not_the_ipv4_address",
		  ETH(), OUTER6_OF(LB6, "::ffff:10.0.0.11"), IN6(), SEGMENT),
	UNTOUCHED(NOT_A_VIP, "a_mapped_ipv6_destination_is_not_the_ipv4_vip",
		  ETH(), TUNNEL4(), IP6(.src = CLIENT6, .dst = "::ffff:192.0.2.10"), SEGMENT),

	/* ---- which ports ---- */
	OPENED_IN(SOME_PORTS, "a_served_port_is_opened",
		  (ETH(), TUNNEL4(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED_IN(SOME_PORTS, "a_served_port_over_ipv6_is_opened",
		  (ETH(), TUNNEL6(), GUE_UDP, GUE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	NOT_SERVED("another_port_is_untouched",
		   ETH(), TUNNEL4(), IN4(), SSH),
	NOT_SERVED("another_port_over_ipv6_is_untouched",
		   ETH(), TUNNEL6(), GRE(), IN6(), SSH),
	NOT_SERVED("the_served_port_as_source_is_untouched",
		   ETH(), TUNNEL4(), IN4(), TCP(.sport = HTTP, .dport = 22, .flags = SYN)),
	NOT_SERVED("the_served_port_of_another_protocol_is_untouched",
		   
		   ETH(), TUNNEL4(), IN4(), UDP(.sport = 40000, .dport = HTTP), DATA(10)),
	NOT_SERVED("another_protocol_is_untouched_where_ports_are_given",
		   
		   ETH(), TUNNEL4(), IN4(.proto = 132),
		   RAW("\x9c\x40\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00", 12)),
	OPENED_IN(SOME_PORTS, "a_served_port_behind_options_is_opened",
		  (ETH(), TUNNEL4(), IN4(.options = "\x01\x01\x01\x01", .options_len = 4), SEGMENT),
		  (ETH(), IN4(.options = "\x01\x01\x01\x01", .options_len = 4), SEGMENT)),
	NOT_SERVED("another_port_behind_options_is_untouched",
		   ETH(), TUNNEL4(), IN4(.options = "\x01\x01\x01\x01", .options_len = 4), SSH),
	OPENED_IN(SOME_PORTS, "a_served_port_behind_extensions_is_opened",
		  (ETH(), TUNNEL6(), IN6(), EXT6(.type = 60), SEGMENT),
		  (ETH(), IN6(), EXT6(.type = 60), SEGMENT)),
	NOT_SERVED("another_port_behind_extensions_is_untouched",
		   ETH(), TUNNEL6(), IN6(), EXT6(.type = 60), SSH),
	OPENED_IN(SOME_PORTS, "a_first_fragment_to_a_served_port_is_opened",
		  (ETH(), TUNNEL4(), IN4(.frag = 0x2000), SEGMENT),
		  (ETH(), IN4(.frag = 0x2000), SEGMENT)),
	NOT_SERVED("a_first_fragment_to_another_port_is_untouched",
		   ETH(), TUNNEL4(), IN4(.frag = 0x2000), SSH),
	UNTOUCHED_IN(SOME_PORTS, MALFORMED, "a_first_fragment_without_ports_is_untouched",
		     ETH(), TUNNEL4(), IN4(.frag = 0x2000, .proto = 6), DATA(8)),
	OPENED_IN(SOME_PORTS, "a_later_fragment_is_opened",
		  (ETH(), TUNNEL4(), IN4(.frag = 10, .proto = 17), DATA(64)),
		  (ETH(), IN4(.frag = 10, .proto = 17), DATA(64))),
	OPENED_IN(SOME_PORTS, "an_icmp_error_is_opened",
		  (ETH(), TUNNEL4(), IN4(), ICMP(.type = 3, .code = 4), DATA(28)),
		  (ETH(), IN4(), ICMP(.type = 3, .code = 4), DATA(28))),
	OPENED_IN(SOME_PORTS, "an_icmpv6_error_is_opened",
		  (ETH(), TUNNEL6(), IN6(), ICMP6(.type = 2), DATA(48)),
		  (ETH(), IN6(), ICMP6(.type = 2), DATA(48))),
	NOT_SERVED("an_echo_request_is_untouched_where_ports_are_given",
		   
		   ETH(), TUNNEL4(), IN4(), ICMP(.type = 8), DATA(8)),
	NOT_SERVED("an_icmp_redirect_is_untouched_where_ports_are_given",
		   
		   ETH(), TUNNEL4(), IN4(), ICMP(.type = 5), DATA(28)),
	NOT_SERVED("a_router_advertisement_is_untouched_where_ports_are_given",
		   
		   ETH(), TUNNEL6(), IN6(), ICMP6(.type = 134), DATA(28)),
	NOT_SERVED("icmp_in_the_padding_is_not_read",
		   ETH(), TUNNEL4(.len = 40), IN4(.proto = 1, .len = 20),
		   RAW("\x03\x04\x00\x00\x00\x00\x00\x00", 8)),
	OPENED("every_port_is_opened_where_none_is_given",
	       (ETH(), TUNNEL4(), IN4(), SSH), (ETH(), IN4(), SSH)),

	/* ---- tunnels in tunnels ---- */
	UNTOUCHED(NESTED, "ip_in_ip_in_ip_is_untouched", ETH(), TUNNEL4(), IN4(), IN4(), SEGMENT),
	UNTOUCHED(NESTED, "ipv6_in_ip_in_ip_is_untouched", ETH(), TUNNEL4(), IN4(), IN6(), SEGMENT),
	UNTOUCHED(NESTED, "ip_in_ipv6_in_gue_is_untouched",
		  ETH(), TUNNEL6(), GUE_UDP, GUE(), IN6(), IN4(), SEGMENT),
	UNTOUCHED(NESTED, "gre_in_ip_in_ip_is_untouched",
		  ETH(), TUNNEL4(), IN4(), GRE(), IN4(), SEGMENT),
	UNTOUCHED(NESTED, "a_tunnel_behind_extensions_inside_is_untouched",
		  ETH(), TUNNEL6(), IN6(), EXT6(.type = 60), IN6(), SEGMENT),
	UNTOUCHED(NESTED, "a_fragment_of_a_tunnel_inside_is_untouched",
		  ETH(), TUNNEL4(), IN4(.frag = 10, .proto = 4), DATA(64)),
	OPENED("gue_to_the_vip_is_unwrapped_once",
	       (ETH(), TUNNEL4(), IN4(), GUE_UDP, GUE(), IN4(), SEGMENT),
	       (ETH(), IN4(), GUE_UDP, GUE(), IN4(), SEGMENT)),
	UNTOUCHED(FOREIGN_DESTINATION,
		  "what_an_unwrapped_gue_packet_would_be_is_not_unwrapped_again",
		  
		  ETH(), IP4(.src = LB4, .dst = VIP4), GUE_UDP, GUE(), IN4(), SEGMENT),

	/* ---- none of ours ---- */
	UNTOUCHED(PASSED, "a_plain_packet_to_the_vip_is_untouched", ETH(), IN4(), SEGMENT),
	UNTOUCHED(PASSED, "a_plain_packet_to_the_host_is_untouched", ETH(), TUNNEL4(), SEGMENT),
	UNTOUCHED(NOT_A_VIP, "a_tunnel_to_another_address_is_untouched",
		  ETH(), TUNNEL4(), IP4(.src = CLIENT4, .dst = "192.0.2.99"), SEGMENT),
	UNTOUCHED(NOT_A_VIP, "an_ipv6_tunnel_to_another_address_is_untouched",
		  ETH(), TUNNEL6(), IP6(.src = CLIENT6, .dst = "2001:db8::99"), SEGMENT),
	UNTOUCHED(NOT_A_VIP, "a_tunnel_to_the_host_itself_is_untouched",
		  ETH(), TUNNEL4(), IP4(.src = CLIENT4, .dst = BACKEND4), SSH),
	UNTOUCHED(FRAGMENTED, "a_fragment_of_a_tunnel_is_untouched",
		  ETH(), IP4(.src = LB4, .dst = BACKEND4, .frag = 0x2000), IN4(), SEGMENT),
	UNTOUCHED(FRAGMENTED, "a_later_fragment_of_a_tunnel_is_untouched",
		  ETH(), IP4(.src = LB4, .dst = BACKEND4, .frag = 10, .proto = 4), IN4(), SEGMENT),
	UNTOUCHED(FRAGMENTED, "a_fragment_of_an_ipv6_tunnel_is_untouched",
		  ETH(), TUNNEL6(), FRAG6(.more = 1, .next = 4), IN4(), SEGMENT),
	UNTOUCHED(FRAGMENTED, "a_fragment_of_gue_is_untouched",
		  ETH(), IP4(.src = LB4, .dst = BACKEND4, .frag = 0x2000),
		  GUE_UDP, GUE(), IN4(), SEGMENT),
	UNTOUCHED(PASSED, "another_udp_port_is_untouched",
		  ETH(), TUNNEL4(), UDP(.sport = 50000, .dport = GUE_PORT + 1, .no_csum = 1),
		  GUE(), IN4(), SEGMENT),
	UNTOUCHED(PASSED, "the_gue_port_as_source_is_untouched",
		  ETH(), TUNNEL4(), UDP(.sport = GUE_PORT, .dport = 50000, .no_csum = 1),
		  GUE(), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_of_another_protocol_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, GUE(.proto = 47), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "a_gue_control_message_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, RAW("\x20\x04\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_with_a_longer_header_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP,
		  RAW("\x01\x04\x00\x00\x00\x00\x00\x00", 8), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gue_with_flags_is_untouched",
		  ETH(), TUNNEL4(), GUE_UDP, RAW("\x00\x04\x80\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_with_a_checksum_is_untouched",
		  ETH(), TUNNEL4(), GRE(.flags = 0x8000, .type = 0x0800),
		  RAW("\x00\x00\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_with_routing_is_untouched",
		  ETH(), TUNNEL4(), GRE(.flags = 0x4000), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_with_a_key_is_untouched",
		  ETH(), TUNNEL4(), GRE(.flags = 0x2000), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_with_a_sequence_number_is_untouched",
		  ETH(), TUNNEL6(), GRE(.flags = 0x1000, .type = 0x0800),
		  RAW("\x00\x00\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_of_another_version_is_untouched",
		  ETH(), TUNNEL4(), GRE(.flags = 1), IN4(), SEGMENT),
	UNTOUCHED(UNSUPPORTED, "gre_of_another_protocol_is_untouched",
		  ETH(), TUNNEL4(), GRE(.type = 0x6558), IN4(), SEGMENT),
	UNTOUCHED(MALFORMED, "gre_cut_short_is_untouched", ETH(), TUNNEL4(.proto = 47), DATA(3)),
	UNTOUCHED(MALFORMED, "a_tunnel_cut_short_inside_is_untouched",
		  ETH(), TUNNEL4(.proto = 4), DATA(19)),
	UNTOUCHED(MALFORMED, "an_ipv6_tunnel_cut_short_inside_is_untouched",
		  ETH(), TUNNEL6(.next = 41), DATA(39)),
	UNTOUCHED(MALFORMED, "another_version_inside_is_untouched",
		  ETH(), TUNNEL4(.proto = 4), IN4(.version = 5), SEGMENT),
	UNTOUCHED(MALFORMED, "ipv4_inside_that_is_announced_as_ipv6_is_untouched",
		  ETH(), TUNNEL4(.proto = 41), IN4(), SEGMENT),
	UNTOUCHED(MALFORMED, "an_inner_header_shorter_than_20_bytes_is_untouched",
		  ETH(), TUNNEL4(), IN4(.ihl = 4), SEGMENT),
	UNTOUCHED(MALFORMED, "an_inner_packet_longer_than_the_outer_is_untouched",
		  ETH(), TUNNEL4(), IN4(.len = 200), SEGMENT),
	UNTOUCHED(MALFORMED, "an_inner_ipv6_packet_longer_than_the_outer_is_untouched",
		  ETH(), TUNNEL6(), IN6(.len = 200), SEGMENT),
	UNTOUCHED(MALFORMED, "an_inner_packet_in_the_padding_is_untouched",
		  ETH(), TUNNEL4(.len = 30), IN4(), SEGMENT),
	UNTOUCHED(MALFORMED, "an_outer_packet_longer_than_the_frame_is_untouched",
		  ETH(), TUNNEL4(.len = 1000), IN4(), SEGMENT),
	UNTOUCHED(PASSED, "arp_is_untouched", ETH(.type = 0x0806), DATA(46)),
};
/* clang-format on */

static struct decap_bpf *skeletons[SETUPS];

/* ---- the program, with what it accepts ---- */

static void put(struct bpf_map *map, const void *key, size_t size)
{
	unsigned char value = 1;

	assert_int_equal(bpf_map__update_elem(map, key, size, &value, sizeof(value), BPF_ANY), 0);
}

static void add_address(struct bpf_map *map, int family, const char *address)
{
	unsigned char key[16] = {[10] = 0xff, [11] = 0xff};

	if (family == AF_INET6)
		memset(key, 0, sizeof(key));
	assert_int_equal(inet_pton(family, address, family == AF_INET ? key + 12 : key), 1);
	put(map, key, sizeof(key));
}

static void add_prefix(struct decap_bpf *skel, int family, const char *address, unsigned bits)
{
	struct {
		uint32_t length, family;
		unsigned char address[16];
	} key = {.length = 32 + bits, .family = family == AF_INET ? 4 : 6};

	assert_int_equal(inet_pton(family, address, key.address), 1);
	put(skel->maps.prefixes, &key, sizeof(key));
}

static void fill_maps(struct decap_bpf *skel, enum setup setup)
{
	const unsigned char http[4] = {HTTP >> 8, HTTP & 255, IPPROTO_TCP};

	add_address(skel->maps.vips, AF_INET, VIP4);
	add_address(skel->maps.vips, AF_INET6, VIP6);
	add_address(skel->maps.addresses, AF_INET, BACKEND4);
	if (setup != MAPPED_SOURCE4)
		add_address(skel->maps.addresses, AF_INET6, BACKEND6);
	if (setup != ANY_SOURCE6)
		add_prefix(skel, AF_INET, "172.16.0.0", 16);
	if (setup != MAPPED_SOURCE4)
		add_prefix(skel, AF_INET6,
			   setup == ANY_SOURCE6 ? "::" : "100::", setup == ANY_SOURCE6 ? 0 : 64);
	put(skel->maps.ports, http, sizeof(http));
}

static struct decap_bpf *load(enum setup setup)
{
	struct decap_bpf *skel = decap_bpf__open();

	if (!skel)
		return NULL;
	skel->rodata->every_port = setup != SOME_PORTS;
	if (setup == ODD_GUE)
		skel->rodata->gue_port = htons(ODD_GUE_PORT);
	bpf_map__set_max_entries(skel->maps.prefixes, 2);
	bpf_map__set_max_entries(skel->maps.addresses, 2);
	if (decap_bpf__load(skel)) {
		decap_bpf__destroy(skel);
		return NULL;
	}
	fill_maps(skel, setup);
	return skel;
}

/* A program that cannot be loaded is NULL: its tests skip. */
static int load_all(void **state)
{
	for (int setup = 0; setup < SETUPS; setup++)
		skeletons[setup] = load(setup);
	return 0;
}

static int destroy_all(void **state)
{
	for (int setup = 0; setup < SETUPS; setup++)
		decap_bpf__destroy(skeletons[setup]);
	return 0;
}

/* ---- counters ---- */

static void read_counters(enum setup setup, uint64_t ret[COUNTERS])
{
	struct bpf_map *map = skeletons[setup]->maps.counts;
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	uint64_t(*counts)[COUNTERS] = calloc(cpus, sizeof(*counts));
	uint32_t zero = 0;

	assert_non_null(counts);
	assert_int_equal(bpf_map__value_size(map), sizeof(*counts));
	assert_int_equal(
	    bpf_map__lookup_elem(map, &zero, sizeof(zero), counts, cpus * sizeof(*counts), 0), 0);
	memset(ret, 0, sizeof(*counts));
	for (size_t cpu = 0; cpu < cpus; cpu++)
		for (int i = 0; i < COUNTERS; i++)
			ret[i] += counts[cpu][i];
	free(counts);
}

/* ---- a packet through the program ---- */

/* Returns the verdict. */
static uint32_t run(enum setup setup, const struct packet *in, struct packet *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = (uint32_t)in->len,
		    .data_out = out->data, .data_size_out = PACKET_MAX, .repeat = 1);

	assert_int_equal(
	    bpf_prog_test_run_opts(bpf_program__fd(skeletons[setup]->progs.decap), &opts), 0);
	out->len = opts.data_size_out;
	return opts.retval;
}

static void require(enum setup setup)
{
	if (skeletons[setup])
		return;
	print_message("# skip: the program cannot be loaded here\n");
	skip();
}

static void run_case(void **state)
{
	const struct decap_case *c = *state;
	uint64_t before[COUNTERS], after[COUNTERS];
	struct packet in, expected, out = {0};
	uint32_t verdict;

	require(c->setup);
	packet_build(&in, c->in);
	read_counters(c->setup, before);
	verdict = run(c->setup, &in, &out);
	read_counters(c->setup, after);
	for (int i = 0; i < COUNTERS; i++)
		assert_int_equal(after[i] - before[i], i == (int)c->counter);
	assert_int_equal(verdict, c->untouched || c->out ? XDP_PASS : XDP_DROP);
	if (verdict == XDP_DROP)
		return;
	packet_build(&expected, c->untouched ? c->in : c->out);
	assert_true(packet_same(&expected, &out));
}

/* ---- truncated frames ---- */

/* Each packet of the table, cut at every length: no header of it is read beyond its end, and what
 * has lost a byte of the inner packet is passed as it came. */
static void every_truncated_packet_is_untouched(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct decap_case *c = &cases[i];
		struct packet in, out;
		size_t whole;

		require(c->setup);
		packet_build(&in, c->in);
		whole = in.len;
		/* The kernel runs no frame shorter than an Ethernet header. */
		for (in.len = 14; c->out && in.len < whole; in.len++) {
			assert_int_equal(run(c->setup, &in, &out), XDP_PASS);
			assert_true(packet_same(&in, &out));
		}
	}
}

/* ---- random packets ---- */

#define CHANGED_MOST 110 /* bytes from the frame's start on that are changed: all headers */

/* xorshift64 */
static uint64_t dice = 88172645463325252ULL;

static uint32_t draw(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 32) % below;
}

/* One to four bytes of a packet of the table, and at times its length. */
static void draw_packet(struct packet *packet)
{
	packet_build(packet, cases[draw(ARRAY_SIZE(cases))].in);
	for (uint32_t i = draw(4) + 1; i; i--) {
		uint32_t most = packet->len < CHANGED_MOST ? (uint32_t)packet->len : CHANGED_MOST;

		packet->data[draw(most)] = (uint8_t)(draw(2) ? draw(256) : 1u << draw(8));
	}
	if (!draw(8) && packet->len > 14)
		packet->len -= draw((uint32_t)packet->len - 14);
}

/* The offset of the IP header behind at most two tags. */
static size_t l3_of(const struct packet *packet)
{
	size_t at = 12;

	while (at < 20 && (packet->data[at] == 0x81 || packet->data[at] == 0x88) &&
	       (packet->data[at + 1] == 0 || packet->data[at + 1] == 0xa8))
		at += 4;
	return at + 2;
}

static bool is_ipv4(const struct packet *packet)
{
	return packet->data[l3_of(packet) - 1] == 0;
}

static void assert_in(const uint8_t *at, int family, const char *address, unsigned bytes)
{
	uint8_t expected[16];

	assert_int_equal(inet_pton(family, address, expected), 1);
	assert_memory_equal(at, expected, bytes);
}

static void check_outer(const struct packet *in)
{
	const uint8_t *ip = in->data + l3_of(in);

	assert_in(ip + (is_ipv4(in) ? 12 : 8), is_ipv4(in) ? AF_INET : AF_INET6,
		  is_ipv4(in) ? "172.16.0.0" : "100::", is_ipv4(in) ? 2 : 8);
	assert_in(ip + (is_ipv4(in) ? 16 : 24), is_ipv4(in) ? AF_INET : AF_INET6,
		  is_ipv4(in) ? BACKEND4 : BACKEND6, is_ipv4(in) ? 4 : 16);
}

/* For a VIP, whole, and no tunnel itself. */
static void check_inner(const struct packet *out, bool every_port)
{
	const size_t l3 = l3_of(out);
	const uint8_t *ip = out->data + l3;
	const bool v4 = is_ipv4(out);
	const uint8_t protocol = ip[v4 ? 9 : 6];

	assert_int_equal(ip[0] >> 4, v4 ? 4 : 6);
	assert_in(ip + (v4 ? 16 : 24), v4 ? AF_INET : AF_INET6, v4 ? VIP4 : VIP6, v4 ? 4 : 16);
	assert_true((v4 ? 0u : 40u) + (size_t)(ip[v4 ? 2 : 4] << 8 | ip[v4 ? 3 : 5]) <=
		    out->len - l3);
	assert_true(protocol != IPPROTO_IPIP && protocol != IPPROTO_IPV6 &&
		    protocol != IPPROTO_GRE);
	if (!every_port && protocol == IPPROTO_UDP && v4 && !(ip[6] & 0x1f) && !ip[7])
		fail_msg("UDP is not served");
}

/* What came out is the end of what came in behind the same link header, but for ECN and the
 * checksum that covers it. */
static void check_opened(const struct packet *in, const struct packet *out, bool every_port)
{
	const size_t l3 = l3_of(out), length = out->len - l3;
	struct packet tail = {.len = length};
	const bool v4 = is_ipv4(out);

	assert_true(out->len < in->len);
	assert_int_equal(l3, l3_of(in));
	assert_memory_equal(out->data, in->data, l3 - 2);
	memcpy(tail.data, in->data + in->len - length, length);
	tail.data[1] =
	    (uint8_t)((tail.data[1] & ~(v4 ? 3 : 0x30)) | (out->data[l3 + 1] & (v4 ? 3 : 0x30)));
	if (v4)
		memcpy(tail.data + 10, out->data + l3 + 10, 2);
	assert_memory_equal(out->data + l3, tail.data, length);
	check_outer(in);
	check_inner(out, every_port);
}

static enum counter counted(enum setup setup, const uint64_t before[COUNTERS])
{
	enum counter which = COUNTERS;
	uint64_t after[COUNTERS];

	read_counters(setup, after);
	for (int i = 0; i < COUNTERS; i++) {
		if (after[i] == before[i])
			continue;
		assert_int_equal(after[i] - before[i], 1);
		assert_int_equal(which, COUNTERS);
		which = (enum counter)i;
	}
	assert_int_not_equal(which, COUNTERS);
	return which;
}

static void forty_thousand_random_packets_are_opened_rightly_or_untouched(void **state)
{
	unsigned opened = 0;

	for (int i = 0; i < 40000; i++) {
		const enum setup setup = i % 2 ? EVERY_PORT : SOME_PORTS;
		struct packet in, out = {0};
		uint64_t before[COUNTERS];
		enum counter counter;
		uint32_t verdict;

		require(setup);
		draw_packet(&in);
		read_counters(setup, before);
		verdict = run(setup, &in, &out);
		counter = counted(setup, before);
		assert_int_equal(verdict, counter == DROPPED_CE ? XDP_DROP : XDP_PASS);
		if (counter == DECAPSULATED)
			check_opened(&in, &out, setup == EVERY_PORT);
		else if (counter != DROPPED_CE)
			assert_true(packet_same(&in, &out));
		opened += counter == DECAPSULATED;
	}
	assert_true(opened > 4000); /* the changes leave some as they were */
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(cases) + 2];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
					       .test_func = run_case,
					       .initial_state = (void *)&cases[i]};
	tests[ARRAY_SIZE(cases)] =
	    (struct CMUnitTest)cmocka_unit_test(every_truncated_packet_is_untouched);
	tests[ARRAY_SIZE(cases) + 1] = (struct CMUnitTest)cmocka_unit_test(
	    forty_thousand_random_packets_are_opened_rightly_or_untouched);
	return cmocka_run_group_tests_name("decap", tests, load_all, destroy_all);
}
