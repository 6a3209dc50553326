/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets to a VIP are this host's: frames for its own MAC addresses, from sources that a
 * host can have. */
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#include "support/packet_case.h"

#define MAC_OTHER         "02:de:ad:be:ef:01"
#define MAC_BROADCAST     "ff:ff:ff:ff:ff:ff"
#define MAC_MULTICAST     "01:00:5e:00:00:01"
#define SYN_TO(port)      TCP(.sport = 1, .dport = port, .flags = SYN)

#define OPTIONS(bytes, n) .options = (bytes), .options_len = (n)
#define LSRR              "\x83"
#define SSRR              "\x89"
#define NOPS10            "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"
/* a source route over one router, and the end of the options */
#define ROUTE(kind) OPTIONS(kind "\x07\x04\xcb\x00\x71\x01\x00", 8)

static const struct packet_case cases[] = {
    /* ---- frames that are nobody's own: also on an interface whose addresses are not known ---- */
    CASE("a_broadcast_frame_to_a_vip_is_passed_untouched", vip_other_mac,
	 .in = PKT(ETH(.dst = MAC_BROADCAST), IN4(), SYN_TO(P_IPIP4))),
    CASE("a_multicast_frame_to_a_vip_is_passed_untouched", vip_other_mac,
	 .in = PKT(ETH(.dst = MAC_MULTICAST), IN4(), SYN_TO(P_IPIP4))),
    CASE("a_multicast_frame_to_an_ipv6_vip_is_passed_untouched", vip_other_mac,
	 .in = PKT(ETH(.dst = "33:33:00:00:00:01"), IN6(), SYN_TO(P_IPIP4))),
    CASE("a_broadcast_echo_to_a_vip_is_not_answered", vip_other_mac,
	 .in = PKT(ETH(.dst = MAC_BROADCAST), IN4(), ICMP(.type = 8, .id = 1), DATA(8))),
    CASE("an_interface_whose_addresses_are_not_known_takes_every_unicast_frame", forwarded_tx,
	 .in = PKT(ETH(.dst = MAC_OTHER), IN4(), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), SYN_TO(P_IPIP4))),

    /* ---- sources ---- */
    CASE("a_source_in_this_network_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "0.0.0.0", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("a_source_in_0_8_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "0.255.255.255", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("a_loopback_source_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "127.0.0.1", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("a_multicast_source_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "224.0.0.1", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("the_last_multicast_source_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "239.255.255.255", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("a_broadcast_source_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "255.255.255.255", .dst = VIP4), SYN_TO(P_IPIP4))),
    CASE("a_packet_from_the_vip_to_itself_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = VIP4, .dst = VIP4),
		   TCP(.sport = P_IPIP4, .dport = P_IPIP4, .flags = SYN))),
    CASE("an_echo_from_a_martian_is_dropped", martian,
	 .in = PKT(ETH(), IP4(.src = "127.0.0.1", .dst = VIP4), ICMP(.type = 8), DATA(8))),
    CASE("an_echo_from_a_broadcast_mac_address_is_not_answered", echo_refused,
	 .in = PKT(ETH(.src = MAC_BROADCAST), IN4(), ICMP(.type = 8, .id = 1), DATA(8))),
    CASE("a_segment_from_a_multicast_mac_address_draws_no_reset", unserved,
	 .in = PKT(ETH(.src = MAC_MULTICAST), IN4(), SYN_TO(9999))),
    CASE("a_datagram_from_a_multicast_mac_address_draws_no_error", unserved,
	 .in = PKT(ETH(.src = "33:33:00:00:00:01"), IN6(), UDP(.sport = 1, .dport = 9999))),
    CASE("a_source_in_1_8_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "1.0.0.1", .dst = VIP4), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = "1.0.0.1", .dst = VIP4, .ttl = 63),
		    SYN_TO(P_IPIP4))),
    CASE("a_source_in_126_8_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "126.0.0.1", .dst = VIP4), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = "126.0.0.1", .dst = VIP4, .ttl = 63),
		    SYN_TO(P_IPIP4))),
    CASE("a_source_in_223_8_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "223.255.255.255", .dst = VIP4), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = "223.255.255.255", .dst = VIP4, .ttl = 63),
		    SYN_TO(P_IPIP4))),
    CASE("a_source_in_240_4_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "255.255.255.254", .dst = VIP4), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP4(.src = "255.255.255.254", .dst = VIP4, .ttl = 63),
		    SYN_TO(P_IPIP4))),
    CASE("an_unspecified_ipv6_source_is_dropped", martian,
	 .in = PKT(ETH(), IP6(.src = "::", .dst = VIP6), SYN_TO(P_IPIP4))),
    CASE("an_ipv6_loopback_source_is_dropped", martian,
	 .in = PKT(ETH(), IP6(.src = "::1", .dst = VIP6), SYN_TO(P_IPIP4))),
    CASE("an_ipv4_mapped_source_is_dropped", martian,
	 .in = PKT(ETH(), IP6(.src = "::ffff:198.51.100.7", .dst = VIP6), SYN_TO(P_IPIP4))),
    CASE("an_ipv6_multicast_source_is_dropped", martian,
	 .in = PKT(ETH(), IP6(.src = "ff02::1", .dst = VIP6), SYN_TO(P_IPIP4))),
    CASE("a_packet_from_the_ipv6_vip_to_itself_is_dropped", martian,
	 .in = PKT(ETH(), IP6(.src = VIP6, .dst = VIP6),
		   TCP(.sport = P_IPIP4, .dport = P_IPIP4, .flags = SYN))),
    CASE("a_source_in_the_vips_own_64_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = "2001:db8::7", .dst = VIP6), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP6(.src = "2001:db8::7", .dst = VIP6, .hop = 63),
		    SYN_TO(P_IPIP4))),
    CASE("a_source_with_the_vips_interface_identifier_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = "2001:db8:c::10", .dst = VIP6), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP6(.src = "2001:db8:c::10", .dst = VIP6, .hop = 63),
		    SYN_TO(P_IPIP4))),
    CASE("a_translated_source_of_64_ff9b_is_forwarded", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = "64:ff9b::198.51.100.7", .dst = VIP6), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IP6(.src = "64:ff9b::198.51.100.7", .dst = VIP6, .hop = 63),
		    SYN_TO(P_IPIP4))),

    /* ---- source routes ---- */
    CASE("a_loose_source_route_is_dropped", martian,
	 .in = PKT(ETH(), IN4(ROUTE(LSRR)), SYN_TO(P_IPIP4))),
    CASE("a_strict_source_route_is_dropped", martian,
	 .in = PKT(ETH(), IN4(ROUTE(SSRR)), SYN_TO(P_IPIP4))),
    CASE("a_source_route_behind_other_options_is_dropped", martian,
	 .in = PKT(ETH(), IN4(OPTIONS("\x01\x07\x07\x04\0\0\0\0\x01" LSRR "\x07\x04\0\0\0\0", 16)),
		   SYN_TO(P_IPIP4))),
    CASE("a_source_route_at_the_end_of_40_bytes_of_options_is_dropped", martian,
	 .in = PKT(ETH(),
		   IN4(OPTIONS(NOPS10 NOPS10 NOPS10 "\x01\x01\x01" LSRR "\x07\x04\0\0\0\0", 40)),
		   SYN_TO(P_IPIP4))),
    CASE("a_source_route_in_a_vlan_is_dropped", martian,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN4(ROUTE(LSRR)), SYN_TO(P_IPIP4))),
    CASE("an_echo_with_a_source_route_is_not_answered", martian,
	 .in = PKT(ETH(), IN4(ROUTE(LSRR)), ICMP(.type = 8, .id = 1), DATA(8))),
    CASE("a_later_fragment_with_a_source_route_is_dropped", martian,
	 .in = PKT(ETH(), IN4(ROUTE(LSRR), .frag = 9, .id = 5, .proto = 17), DATA(64))),
    CASE("a_source_route_to_another_address_is_passed", not_vip,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = "192.0.2.99", ROUTE(LSRR)), SYN_TO(80))),
    CASE("the_numbers_of_source_routes_within_an_option_are_none", forwarded_tx,
	 .in = PKT(ETH(),
		   IN4(OPTIONS("\x07\x0b\x04" LSRR SSRR LSRR SSRR LSRR SSRR LSRR SSRR "\0", 12)),
		   SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(),
		    IN4(.ttl = 63,
			OPTIONS("\x07\x0b\x04" LSRR SSRR LSRR SSRR LSRR SSRR LSRR SSRR "\0", 12)),
		    SYN_TO(P_IPIP4))),
    CASE("options_that_are_all_padding_are_carried", forwarded_tx,
	 .in = PKT(ETH(), IN4(OPTIONS(NOPS10 NOPS10 NOPS10 NOPS10, 40)), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, OPTIONS(NOPS10 NOPS10 NOPS10 NOPS10, 40)),
		    SYN_TO(P_IPIP4))),
    CASE("a_routing_header_of_type_0_is_dropped", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .routing = ZERO), SYN_TO(P_IPIP4))),
    CASE("a_routing_header_of_type_0_behind_options_is_dropped", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 1),
		   EXT6(.type = 43, .extra = 2, .routing = ZERO), SYN_TO(P_IPIP4))),
    CASE("an_ipv6_echo_with_a_routing_header_of_type_0_is_not_answered", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .routing = ZERO), ICMP6(.type = 128), DATA(8))),
    CASE("a_later_fragment_with_a_routing_header_of_type_0_is_dropped", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .routing = ZERO),
		   FRAG6(.offset = 608, .id = 9, .next = 17), DATA(100))),
    CASE("a_routing_header_that_is_not_used_up_is_dropped", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .extra = 2, .left = 1), SYN_TO(P_IPIP4))),
    CASE("an_ipv6_echo_that_is_to_go_on_is_not_answered", martian,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .routing = 2, .left = 1), ICMP6(.type = 128),
		   DATA(8))),
    CASE("a_routing_header_of_type_2_is_carried", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 43, .routing = 2), SYN_TO(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), EXT6(.type = 43, .routing = 2),
		    SYN_TO(P_IPIP4))),
};

/* ---- an interface whose addresses are known ---- */

static void set_mac(struct lb_link *link, uint32_t ifindex, int at, const char *mac)
{
	uint8_t bytes[8] = {0};

	assert_int_equal(sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &bytes[0], &bytes[1],
				&bytes[2], &bytes[3], &bytes[4], &bytes[5]),
			 6);
	link->ifindex = ifindex;
	memcpy(&link->mac[at], bytes, sizeof(bytes));
}

static int reason_for(struct fixture *f, const char *mac)
{
	packet_build(&f->in, PKT(ETH(.dst = mac), IN4(), SYN_TO(P_IPIP4)));
	fixture_send(f);
	if (f->verdict == XDP_PASS)
		assert_true(packet_same(&f->in, &f->out));
	return f->reason;
}

LB_TEST(a_frame_for_another_hosts_mac_is_passed_untouched)
{
	struct fixture *f = fixture_get();

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, PACKET_MAC_LB);
	assert_int_equal(reason_for(f, PACKET_MAC_LB), LB_REASON_forwarded_tx);
	assert_int_equal(reason_for(f, MAC_OTHER), LB_REASON_vip_other_mac);
	assert_int_equal(reason_for(f, MAC_BROADCAST), LB_REASON_vip_other_mac);
	assert_int_equal(reason_for(f, "02:00:00:00:00:03"), LB_REASON_vip_other_mac);
	assert_int_equal(reason_for(f, "06:00:00:00:00:01"), LB_REASON_vip_other_mac);
	expect(f, LB_REASON_vip_other_mac,
	       PKT(ETH(.dst = MAC_OTHER), IN6(), ICMP6(.type = 128), DATA(8)), NULL);
	expect(f, LB_REASON_vip_other_mac, PKT(ETH(.dst = MAC_OTHER), IN4(), SYN_TO(9999)), NULL);
}

LB_TEST(the_address_of_a_sole_interface_is_its_own)
{
	struct fixture *f = fixture_get();
	uint8_t mac[8] = {2, 0, 0, 0, 0, 1};

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, "02:00:00:00:00:03");
	memcpy(&f->map.settings->own_mac, mac, sizeof(mac));
	assert_int_equal(reason_for(f, PACKET_MAC_LB), LB_REASON_forwarded_tx);
	assert_int_equal(reason_for(f, "02:00:00:00:00:03"), LB_REASON_forwarded_tx);
	assert_int_equal(reason_for(f, MAC_OTHER), LB_REASON_vip_other_mac);
	f->map.settings->own_mac = LB_MAC_NONE;
	assert_int_equal(reason_for(f, PACKET_MAC_LB), LB_REASON_vip_other_mac);
	assert_int_equal(reason_for(f, MAC_BROADCAST), LB_REASON_vip_other_mac);
}

LB_TEST(a_foreign_frame_to_another_address_counts_as_not_vip)
{
	struct fixture *f = fixture_get();

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, PACKET_MAC_LB);
	expect(f, LB_REASON_not_vip,
	       PKT(ETH(.dst = MAC_OTHER), IP4(.src = CLIENT4, .dst = "192.0.2.99"), SYN_TO(80)),
	       NULL);
}

LB_TEST(a_foreign_frame_opens_no_flow)
{
	struct fixture *f = fixture_get();

	fixture_single(f, VIP4, IPPROTO_TCP, 7000,
		       (struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS},
		       &(struct backend_spec){.dst = BACKEND4});
	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, PACKET_MAC_LB);
	expect(f, LB_REASON_vip_other_mac, PKT(ETH(.dst = MAC_OTHER), IN4(), SYN_TO(7000)), NULL);
	assert_int_equal(f->count[LB_EVENT_flow_inserted], 0);
}

LB_TEST(every_address_of_an_interface_is_its_own)
{
	struct fixture *f = fixture_get();
	char mac[32];

	for (int i = 0; i < LB_LINK_MACS + 2; i++) {
		snprintf(mac, sizeof(mac), "02:00:00:00:01:%02x", i);
		set_mac(&f->map.links[(f->lo + (i >= LB_LINK_MACS)) % LB_LINKS], f->lo,
			i % LB_LINK_MACS, mac);
	}
	for (int i = 0; i < LB_LINK_MACS + 2; i++) {
		snprintf(mac, sizeof(mac), "02:00:00:00:01:%02x", i);
		assert_int_equal(reason_for(f, mac), LB_REASON_forwarded_tx);
	}
	assert_int_equal(reason_for(f, MAC_OTHER), LB_REASON_vip_other_mac);
	assert_int_equal(reason_for(f, "00:00:00:00:00:00"), LB_REASON_vip_other_mac);
}

LB_TEST(an_interface_is_found_in_another_place)
{
	struct fixture *f = fixture_get();

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo + LB_LINKS, 0, MAC_OTHER);
	set_mac(&f->map.links[LB_LINKS - 1], f->lo, 0, PACKET_MAC_LB);
	assert_int_equal(reason_for(f, PACKET_MAC_LB), LB_REASON_forwarded_tx);
	assert_int_equal(reason_for(f, MAC_OTHER), LB_REASON_vip_other_mac);
}

LB_TEST(the_addresses_of_another_interface_are_not_this_ones)
{
	struct fixture *f = fixture_get();

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, PACKET_MAC_LB);
	set_mac(&f->map.links[f->egress % LB_LINKS], f->egress, 0, MAC_OTHER);
	assert_int_equal(reason_for(f, MAC_OTHER), LB_REASON_vip_other_mac);
}

LB_TEST(an_answer_leaves_from_the_address_that_the_request_was_sent_to)
{
	struct fixture *f = fixture_get();

	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 0, PACKET_MAC_LB);
	set_mac(&f->map.links[f->lo % LB_LINKS], f->lo, 1, MAC_OTHER);
	expect(f, LB_REASON_echo_answered,
	       PKT(ETH(.dst = MAC_OTHER), IN4(), ICMP(.type = 8, .id = 1), DATA(8)),
	       PKT(ETH(.dst = PACKET_MAC_PEER, .src = MAC_OTHER), IP4(.src = VIP4, .dst = CLIENT4),
		   ICMP(.type = 0, .id = 1), DATA(8)));
}

PACKET_TEST_MAIN("packets: admit", cases)
