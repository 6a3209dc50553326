/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP at a VIP: echo requests are answered, errors go to the backend of the flow that they quote,
 * and packets that are too big for the tunnel are answered. */
#include <linux/bpf.h>
#include <string.h>

#include "support/packet_case.h"

#define ROUTER4           "203.0.113.1"
#define ROUTER6           "2001:db8:ffff::1"
#define FROM_ROUTER4(...) IP4(.src = ROUTER4, .dst = VIP4, __VA_ARGS__)
#define FROM_ROUTER6(...) IP6(.src = ROUTER6, .dst = VIP6, __VA_ARGS__)
/* What leaves towards the client: the MACs swapped. */
#define ANSWER       ETH(.dst = PACKET_MAC_PEER, .src = PACKET_MAC_LB)
#define ANSWER4(...) IP4(.src = VIP4, .dst = CLIENT4, __VA_ARGS__)
#define ANSWER6(...) IP6(.src = VIP6, .dst = CLIENT6, __VA_ARGS__)
/* A quoted packet: from the VIP to the client, cut after eight bytes of its transport header. */
#define QUOTE4(...)      IP4(.src = VIP4, .dst = CLIENT4, .ttl = 50, .len = 500, __VA_ARGS__)
#define QUOTE6(...)      IP6(.src = VIP6, .dst = CLIENT6, .hop = 50, .len = 500, __VA_ARGS__)
#define QUOTED_TCP(port) TCP(.sport = port, .dport = 40000, .seq = 1, .first = 8)
#define QUOTED_UDP(port) UDP(.sport = port, .dport = 40000, .len = 480, .no_csum = 1, .first = 8)

static const struct packet_case cases[] = {
    /* ---- echo ---- */
    CASE("echo_to_a_vip_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 77, .seq = 3), DATA(56)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 77, .seq = 3), DATA(56))),
    CASE("echo_to_an_ipv6_vip_is_answered", echo_answered,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 77, .seq = 3), DATA(56)),
	 .out = PKT(ANSWER, ANSWER6(), ICMP6(.type = 129, .id = 77, .seq = 3), DATA(56))),
    CASE("echo_with_an_odd_payload_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1, .seq = 1), DATA(57)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 1, .seq = 1), DATA(57))),
    CASE("echo_with_an_odd_payload_to_an_ipv6_vip_is_answered", echo_answered,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 1, .seq = 1), DATA(1)),
	 .out = PKT(ANSWER, ANSWER6(), ICMP6(.type = 129, .id = 1, .seq = 1), DATA(1))),
    CASE("echo_without_a_payload_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 0xffff, .seq = 0xf7ff)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 0xffff, .seq = 0xf7ff))),
    CASE("echo_in_a_vlan_is_answered_in_it", echo_answered,
	 .in = PKT(ETH(), VLAN(.tci = 7), IN4(), ICMP(.type = 8, .id = 2, .seq = 1), DATA(8)),
	 .out =
	     PKT(ANSWER, VLAN(.tci = 7), ANSWER4(), ICMP(.type = 0, .id = 2, .seq = 1), DATA(8))),
    CASE("echo_in_two_vlans_is_answered_in_both", echo_answered,
	 .in = PKT(ETH(), VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), IN6(),
		   ICMP6(.type = 128, .id = 2), DATA(8)),
	 .out = PKT(ANSWER, VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), ANSWER6(),
		    ICMP6(.type = 129, .id = 2), DATA(8))),
    CASE("echo_with_ttl_1_is_answered_with_a_fresh_ttl", echo_answered,
	 .in = PKT(ETH(), IN4(.ttl = 1), ICMP(.type = 8, .id = 2), DATA(8)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 2), DATA(8))),
    CASE("echo_with_hop_limit_1_is_answered_with_a_fresh_one", echo_answered,
	 .in = PKT(ETH(), IN6(.hop = 1), ICMP6(.type = 128, .id = 2), DATA(8)),
	 .out = PKT(ANSWER, ANSWER6(), ICMP6(.type = 129, .id = 2), DATA(8))),
    CASE(
	"echo_to_a_vip_without_services_is_answered", echo_answered,
	.in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_EMPTY), ICMP(.type = 8, .id = 2), DATA(8)),
	.out =
	    PKT(ANSWER, IP4(.src = VIP4_EMPTY, .dst = CLIENT4), ICMP(.type = 0, .id = 2), DATA(8))),
    CASE("a_full_size_echo_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 2), DATA(1472)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 2), DATA(1472))),
    CASE("an_echo_request_with_a_code_is_dropped", unserved,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .code = 1, .id = 2), DATA(8))),
    CASE("an_ipv6_echo_request_with_a_code_is_dropped", unserved,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .code = 1, .id = 2), DATA(8))),
    CASE("an_echo_reply_to_a_vip_is_dropped", unserved,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 0, .id = 2), DATA(8))),
    CASE("a_timestamp_request_to_a_vip_is_dropped", unserved,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 13), DATA(12))),
    CASE("neighbour_solicitation_to_a_vip_is_passed", vip_icmp_other,
	 .in = PKT(ETH(), IN6(.hop = 255), ICMP6(.type = 135), DATA(24))),
    CASE("neighbour_discovery_that_was_forwarded_is_dropped", unserved,
	 .in = PKT(ETH(), IN6(.hop = 254), ICMP6(.type = 135), DATA(24))),
    CASE("an_icmpv6_query_that_is_no_neighbour_discovery_is_dropped", unserved,
	 .in = PKT(ETH(), IN6(.hop = 255), ICMP6(.type = 139), DATA(24))),

    /* ---- all reading ends where the IP packet ends, also if Ethernet pads it ---- */
    CASE("icmp_of_0_bytes_is_dropped", vip_malformed, .in = PKT(ETH(), IN4(.proto = 1), PAD(26))),
    CASE("icmp_of_7_bytes_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.len = 27), ICMP(.type = 8), PAD(18))),
    CASE("icmpv6_of_0_bytes_is_dropped", vip_malformed, .in = PKT(ETH(), IN6(.next = 58), PAD(60))),
    CASE("icmpv6_of_7_bytes_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = 7), ICMP6(.type = 128), PAD(18))),
    CASE("a_padded_echo_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1), DATA(1), PAD(17)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 1), DATA(1), PAD(17))),
    CASE("a_padded_echo_to_an_ipv6_vip_is_answered", echo_answered,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 1), DATA(1), PAD(17)),
	 .out = PKT(ANSWER, ANSWER6(), ICMP6(.type = 129, .id = 1), DATA(1), PAD(17))),
    CASE("a_quoted_header_in_the_padding_is_not_read", unserved,
	 .in = PKT(ETH(), FROM_ROUTER4(.len = 47), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_IPIP4))),
    CASE("quoted_ports_in_the_padding_are_not_read", unserved,
	 .in = PKT(ETH(), FROM_ROUTER4(.len = 51), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_IPIP4))),
    CASE("quoted_ports_at_the_very_end_are_read", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(.len = 52), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(.len = 72), FROM_ROUTER4(.ttl = 63, .len = 52),
		    ICMP(.type = 3, .code = 1), QUOTE4(), QUOTED_TCP(P_IPIP4))),
    CASE("a_quoted_ipv6_header_in_the_padding_is_not_read", unserved,
	 .in = PKT(ETH(), FROM_ROUTER6(.len = 47), ICMP6(.type = 1, .code = 4), QUOTE6(),
		   QUOTED_UDP(P_IPIP4))),
    CASE("quoted_ports_of_ipv6_in_the_padding_are_not_read", unserved,
	 .in = PKT(ETH(), FROM_ROUTER6(.len = 51), ICMP6(.type = 1, .code = 4), QUOTE6(),
		   QUOTED_UDP(P_IPIP4))),
    CASE("quoted_ports_of_ipv6_at_the_very_end_are_read", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER6(.len = 52), ICMP6(.type = 1, .code = 4), QUOTE6(),
		   QUOTED_UDP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(.len = 112), FROM_ROUTER6(.hop = 63, .len = 52),
		    ICMP6(.type = 1, .code = 4), QUOTE6(), QUOTED_UDP(P_IPIP4))),
    CASE("a_quoted_extension_header_in_the_padding_is_not_read", unserved,
	 .in = PKT(ETH(), FROM_ROUTER6(.len = 55), ICMP6(.type = 1, .code = 4), QUOTE6(),
		   EXT6(.type = 60), QUOTED_UDP(P_IPIP4))),
    CASE("an_extension_header_that_ends_behind_the_packet_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60, .hdrlen = 5, .next = 132), DATA(39), PAD(20))),
    CASE("an_extension_header_in_the_padding_is_not_read", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = 7), EXT6(.type = 60), ICMP6(.type = 128, .id = 1), DATA(8))),
    CASE("icmpv6_behind_an_extension_header_in_the_padding_is_not_read", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = 15), EXT6(.type = 60), ICMP6(.type = 128, .id = 1), DATA(8))),

    /* ---- a checksum that is wrong: as a host, the VIP has not seen the request ---- */
    CASE("an_echo_with_a_wrong_checksum_is_dropped", echo_refused,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1, .bad_csum = 1), DATA(56))),
    CASE("an_ipv6_echo_with_a_wrong_checksum_is_dropped", echo_refused,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 1, .bad_csum = 256), DATA(56))),
    CASE("a_long_echo_with_a_wrong_checksum_is_dropped", echo_refused,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1, .bad_csum = -1), DATA(1400))),
    CASE("a_long_odd_echo_to_an_ipv6_vip_is_answered", echo_answered,
	 .in = PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 2), DATA(1017)),
	 .out = PKT(ANSWER, ANSWER6(), ICMP6(.type = 129, .id = 2), DATA(1017))),
    CASE("an_echo_of_one_chunk_of_the_sum_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 2), DATA(504)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 2), DATA(504))),
    CASE("an_echo_of_one_byte_more_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(), ICMP(.type = 8, .id = 2), DATA(505)),
	 .out = PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 2), DATA(505))),
    CASE("an_echo_behind_an_extension_header_is_answered", echo_answered,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60), ICMP6(.type = 128, .id = 2), DATA(8)),
	 .out = PKT(ANSWER, ANSWER6(), EXT6(.type = 60), ICMP6(.type = 129, .id = 2), DATA(8))),
    CASE("an_echo_with_ip_options_is_answered", echo_answered,
	 .in = PKT(ETH(), IN4(.options = "\1\1\1\1", .options_len = 4), ICMP(.type = 8, .id = 2),
		   DATA(8)),
	 .out = PKT(ANSWER, ANSWER4(.options = "\1\1\1\1", .options_len = 4),
		    ICMP(.type = 0, .id = 2), DATA(8))),

    /* ---- errors that quote a flow (RFC 792, RFC 4443) go where the flow goes ---- */
    CASE("port_unreachable_goes_to_the_quoted_flows_backend", forwarded_tx,
	 .in =
	     PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 3), QUOTE4(), QUOTED_UDP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), FROM_ROUTER4(.ttl = 63), ICMP(.type = 3, .code = 3),
		    QUOTE4(), QUOTED_UDP(P_IPIP4))),
    CASE("fragmentation_needed_goes_to_the_quoted_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 4, .rest = 1400), QUOTE4(),
		   QUOTED_TCP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), FROM_ROUTER4(.ttl = 63),
		    ICMP(.type = 3, .code = 4, .rest = 1400), QUOTE4(), QUOTED_TCP(P_IPIP4))),
    CASE("time_exceeded_goes_to_the_quoted_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 11), QUOTE4(), QUOTED_TCP(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), FROM_ROUTER4(.ttl = 63), ICMP(.type = 11), QUOTE4(),
		    QUOTED_TCP(P_IPIP6))),
    CASE("a_quote_with_ip_options_finds_its_flow", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3),
		   QUOTE4(.options = "\1\1\1\1", .options_len = 4), QUOTED_TCP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), FROM_ROUTER4(.ttl = 63), ICMP(.type = 3),
		    QUOTE4(.options = "\1\1\1\1", .options_len = 4), QUOTED_TCP(P_IPIP4))),
    CASE("an_error_with_ip_options_finds_its_flow", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(.options = "\1\1\1\1", .options_len = 4), ICMP(.type = 3),
		   QUOTE4(), QUOTED_TCP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(),
		    FROM_ROUTER4(.ttl = 63, .options = "\1\1\1\1", .options_len = 4),
		    ICMP(.type = 3), QUOTE4(), QUOTED_TCP(P_IPIP4))),
    CASE("packet_too_big_goes_to_the_quoted_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER6(), ICMP6(.type = 2, .rest = 1400), QUOTE6(),
		   QUOTED_TCP(P_IPIP6)),
	 .out = PKT(TO_BACKEND, OUT6(), FROM_ROUTER6(.hop = 63), ICMP6(.type = 2, .rest = 1400),
		    QUOTE6(), QUOTED_TCP(P_IPIP6))),
    CASE("unreachable_of_ipv6_goes_to_the_quoted_flows_backend", forwarded_tx,
	 .in =
	     PKT(ETH(), FROM_ROUTER6(), ICMP6(.type = 1, .code = 4), QUOTE6(), QUOTED_UDP(P_IPIP4)),
	 .out = PKT(TO_BACKEND, OUT4(), FROM_ROUTER6(.hop = 63), ICMP6(.type = 1, .code = 4),
		    QUOTE6(), QUOTED_UDP(P_IPIP4))),
    CASE("an_error_is_forwarded_by_l2", forwarded_tx,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(), QUOTED_TCP(P_L2)),
	 .out = PKT(TO_BACKEND, FROM_ROUTER4(.ttl = 63), ICMP(.type = 3, .code = 1), QUOTE4(),
		    QUOTED_TCP(P_L2))),
    CASE("a_quote_of_an_unknown_port_is_dropped", unserved,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 3), QUOTE4(), QUOTED_UDP(9999))),
    CASE("a_quote_that_was_not_sent_by_the_vip_is_dropped", unserved,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 3),
		   IP4(.src = "192.0.2.99", .dst = CLIENT4), QUOTED_TCP(P_IPIP4))),
    CASE("a_quote_of_icmp_is_dropped", unserved,
	 .in = PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(),
		   ICMP(.type = 0, .id = 5))),
    CASE("an_error_for_a_flow_without_a_backend_is_dropped", no_backend,
	 .in =
	     PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(), QUOTED_TCP(P_DEAD))),
};

/* ---- errors follow the flow, not only the service ---- */

static uint16_t two_backends(struct fixture *f, const char *vip, uint16_t ids[2])
{
	uint16_t service = fixture_service(f, vip, IPPROTO_TCP, 7000,
					   (struct lb_service){.forward = LB_FORWARD_IPIP});
	uint32_t slots[251];

	ids[0] = fixture_backend(f, service, &(struct backend_spec){.dst = BACKEND4});
	ids[1] = fixture_backend(f, service, &(struct backend_spec){.dst = BACKEND4_B});
	for (unsigned i = 0; i < ARRAY_SIZE(slots); i++)
		slots[i] = LB_SLOT(ids[i % 2], ids[i % 2]);
	f->map.services[service].ring = fixture_region(f, slots, ARRAY_SIZE(slots));
	return service;
}

/* The last byte of the outer IPv4 destination says which backend it was. */
static int backend_byte(const struct fixture *f)
{
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	return f->out.data[14 + 19];
}

LB_TEST(an_icmp_error_reaches_the_backend_of_its_flow)
{
	struct fixture *f = fixture_get();
	int other = 0;
	uint16_t ids[2];

	two_backends(f, VIP4, ids);
	for (int sport = 1000; sport < 1200; sport++) {
		int backend;

		packet_build(&f->in,
			     PKT(ETH(), IN4(), TCP(.sport = sport, .dport = 7000, .flags = SYN)));
		fixture_send(f);
		backend = backend_byte(f);
		packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1),
					 QUOTE4(), TCP(.sport = 7000, .dport = sport, .first = 8)));
		fixture_send(f);
		assert_int_equal(backend_byte(f), backend);
		other += backend == 12;
	}
	assert_in_range(other, 50, 150);
}

LB_TEST(an_icmpv6_error_reaches_the_backend_of_its_flow)
{
	struct fixture *f = fixture_get();
	uint16_t ids[2];

	two_backends(f, VIP6, ids);
	for (int sport = 1000; sport < 1200; sport++) {
		int backend;

		packet_build(&f->in,
			     PKT(ETH(), IN6(), TCP(.sport = sport, .dport = 7000, .flags = SYN)));
		fixture_send(f);
		backend = backend_byte(f);
		packet_build(&f->in, PKT(ETH(), FROM_ROUTER6(), ICMP6(.type = 2, .rest = 1280),
					 QUOTE6(), TCP(.sport = 7000, .dport = sport, .first = 8)));
		fixture_send(f);
		assert_int_equal(backend_byte(f), backend);
	}
}

LB_TEST(an_icmp_error_follows_a_tracked_flow)
{
	struct fixture *f = fixture_get();
	uint16_t ids[2], service = two_backends(f, VIP4, ids);
	uint64_t ring = f->map.services[service].ring;

	/* all slots from the first backend to the second: a flow that starts now is tracked on the
	 * second, older ones belong to the first */
	for (unsigned i = 0; i < 251; i++)
		f->map.arena[LB_REGION_BASE(ring) + i] =
		    LB_SLOT(ids[1], ids[0]) | LB_SLOT_TRANSITION;
	packet_build(&f->in, PKT(ETH(), IN4(), TCP(.sport = 1, .dport = 7000, .flags = SYN)));
	fixture_send(f);
	assert_int_equal(backend_byte(f), 12);
	packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(),
				 TCP(.sport = 7000, .dport = 1, .first = 8)));
	fixture_send(f);
	assert_int_equal(backend_byte(f), 12);
	packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(),
				 TCP(.sport = 7000, .dport = 2, .first = 8)));
	fixture_send(f);
	assert_int_equal(backend_byte(f), 11);
}

/* A mark decides nothing, for the keeper may have changed since. */
LB_TEST(an_icmp_error_does_not_follow_a_mark)
{
	struct fixture *f = fixture_get();
	uint16_t ids[2], service = two_backends(f, VIP4, ids);
	uint64_t ring = f->map.services[service].ring;

	for (unsigned i = 0; i < 251; i++)
		f->map.arena[LB_REGION_BASE(ring) + i] =
		    LB_SLOT(ids[1], ids[0]) | LB_SLOT_TRANSITION;
	packet_build(&f->in, PKT(ETH(), IN4(), TCP(.sport = 1, .dport = 7000, .flags = ACK)));
	fixture_send(f);
	assert_int_equal(backend_byte(f), 11);
	for (unsigned i = 0; i < 251; i++)
		f->map.arena[LB_REGION_BASE(ring) + i] =
		    LB_SLOT(ids[0], ids[1]) | LB_SLOT_TRANSITION;
	packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(),
				 TCP(.sport = 7000, .dport = 1, .first = 8)));
	fixture_send(f);
	assert_int_equal(backend_byte(f), 12);
}

LB_TEST(an_icmp_error_about_udp_goes_to_the_keeper_only_while_learning)
{
	struct fixture *f = fixture_get();
	uint16_t service = fixture_service(f, VIP4, IPPROTO_UDP, 7000,
					   (struct lb_service){.forward = LB_FORWARD_IPIP});
	uint16_t old = fixture_backend(f, service, &(struct backend_spec){.dst = BACKEND4});
	uint16_t new = fixture_backend(f, service, &(struct backend_spec){.dst = BACKEND4_B});

	packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 3), QUOTE4(),
				 QUOTED_UDP(7000)));
	fixture_ring(f, service, 7, LB_SLOT(new, old) | LB_SLOT_TRANSITION | LB_SLOT_LEARNING);
	fixture_send(f);
	assert_int_equal(backend_byte(f), 11);
	fixture_ring(f, service, 7, LB_SLOT(new, old) | LB_SLOT_TRANSITION);
	fixture_send(f);
	assert_int_equal(backend_byte(f), 12);
	/* or while there may be live flows that found no place in the table */
	f->map.turns[service].unplaced = fixture_tick();
	fixture_send(f);
	assert_int_equal(backend_byte(f), 11);
}

LB_TEST(an_icmp_error_makes_no_flow_entry)
{
	struct fixture *f = fixture_get();
	uint16_t ids[2], service = two_backends(f, VIP4, ids);
	uint64_t ring = f->map.services[service].ring;

	for (unsigned i = 0; i < 251; i++)
		f->map.arena[LB_REGION_BASE(ring) + i] =
		    LB_SLOT(ids[1], ids[0]) | LB_SLOT_TRANSITION;
	packet_build(&f->in, PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(),
				 TCP(.sport = 7000, .dport = 2, .first = 8)));
	fixture_send(f);
	assert_int_equal(f->count[LB_EVENT_flow_inserted], 0);
}

/* ---- too big for the tunnel ---- */

/* How much of the packet is quoted. RFC 792 asks for 28 bytes; RFC 1812 (576 bytes in all) and
 * RFC 4443 (1280) allow more. */
#define QUOTED 512

/* The answer must quote the packet as it came. */
static void too_big4(struct fixture *f, const struct layer *in, int mtu)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, LB_REASON_too_big_answered, in,
	       PKT(ANSWER, ANSWER4(.tos = 0xc0, .frag = 0x4000),
		   ICMP(.type = 3, .code = 4, .rest = mtu), RAW(came.data + 14, QUOTED)));
}

static void too_big6(struct fixture *f, const struct layer *in, int mtu)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, LB_REASON_too_big_answered, in,
	       PKT(ANSWER, ANSWER6(), ICMP6(.type = 2, .rest = mtu), RAW(came.data + 14, QUOTED)));
}

#define FULL_TCP4(port) \
	PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = port, .flags = ACK), DATA(1460))
#define FULL_TCP6(port) PKT(ETH(), IN6(), TCP(.sport = 1, .dport = port, .flags = ACK), DATA(1440))

LB_TEST(a_full_frame_with_df_draws_fragmentation_needed)
{
	too_big4(fixture_get(), FULL_TCP4(P_IPIP4), 1480);
}

LB_TEST(fragmentation_needed_says_what_the_ipv6_tunnel_leaves)
{
	too_big4(fixture_get(), FULL_TCP4(P_IPIP6), 1460);
}

LB_TEST(fragmentation_needed_says_what_gue_leaves)
{
	too_big4(fixture_get(), FULL_TCP4(P_GUE4), 1500 - 20 - 8 - 4);
}

LB_TEST(fragmentation_needed_says_what_gue_over_ipv6_leaves)
{
	too_big4(fixture_get(), FULL_TCP4(P_GUE6), 1500 - 40 - 8 - 4);
}

LB_TEST(fragmentation_needed_says_what_gre_leaves)
{
	too_big4(fixture_get(), FULL_TCP4(P_GRE4), 1500 - 20 - 4);
}

LB_TEST(fragmentation_needed_says_what_gre_over_ipv6_leaves)
{
	too_big4(fixture_get(), FULL_TCP4(P_GRE6), 1500 - 40 - 4);
}

LB_TEST(one_byte_too_many_draws_fragmentation_needed)
{
	too_big4(fixture_get(),
		 PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK),
		     DATA(1441)),
		 1480);
}

LB_TEST(a_full_ipv6_frame_draws_packet_too_big)
{
	too_big6(fixture_get(), FULL_TCP6(P_IPIP4), 1480);
}

LB_TEST(packet_too_big_says_what_the_ipv6_tunnel_leaves)
{
	too_big6(fixture_get(), FULL_TCP6(P_IPIP6), 1460);
}

LB_TEST(too_big_for_the_link_is_answered_by_l2)
{
	too_big4(fixture_get(),
		 PKT(ETH(), IN4(.frag = 0x4000), TCP(.sport = 1, .dport = P_L2, .flags = ACK),
		     DATA(1461)),
		 1500);
}

LB_TEST(too_big_for_the_link_is_answered_by_l2_over_ipv6)
{
	too_big6(fixture_get(),
		 PKT(ETH(), IN6(), TCP(.sport = 1, .dport = P_L2, .flags = ACK), DATA(1441)), 1500);
}

LB_TEST(too_big_with_ip_options_quotes_them)
{
	too_big4(fixture_get(),
		 PKT(ETH(), IN4(.frag = 0x4000, .options = "\1\1\1\1", .options_len = 4),
		     TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(1456)),
		 1480);
}

LB_TEST(too_big_with_an_odd_length_is_answered)
{
	too_big4(fixture_get(),
		 PKT(ETH(), IN4(.frag = 0x4000), UDP(.sport = 1, .dport = P_IPIP4), DATA(1471)),
		 1480);
}

LB_TEST(too_big_in_a_vlan_is_answered_in_it)
{
	struct fixture *f = fixture_get();
	const struct layer *in = PKT(ETH(), VLAN(.tci = 7), IN4(.frag = 0x4000),
				     TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(1460));
	struct packet whole;

	packet_build(&whole, in);
	expect(f, LB_REASON_too_big_answered, in,
	       PKT(ANSWER, VLAN(.tci = 7), ANSWER4(.tos = 0xc0, .frag = 0x4000),
		   ICMP(.type = 3, .code = 4, .rest = 1480), RAW(whole.data + 18, QUOTED)));
}

LB_TEST(too_big_answers_do_not_exceed_the_rate)
{
	struct fixture *f = fixture_get();
	int answered = 0, dropped = 0;
	uint32_t tick;

	f->map.settings->short_per_tick = 5;
	fixture_wait_new_tick();
	tick = fixture_tick();
	for (int i = 0; i < 50; i++) {
		packet_build(&f->in, i % 2 ? FULL_TCP4(P_IPIP4) : FULL_TCP6(P_IPIP6));
		fixture_send(f);
		answered += f->reason == LB_REASON_too_big_answered;
		dropped += f->reason == LB_REASON_too_big && f->verdict == XDP_DROP;
	}
	assert_int_equal(answered + dropped, 50);
	if (fixture_tick() == tick)
		assert_int_equal(answered, 5);
}

LB_TEST(the_rate_is_granted_anew_in_the_next_tick)
{
	struct fixture *f = fixture_get();

	f->map.settings->short_per_tick = 1;
	for (int tick = 0; tick < 2; tick++) {
		fixture_wait_new_tick();
		too_big4(f, FULL_TCP4(P_IPIP4), 1480);
		expect(f, LB_REASON_too_big, FULL_TCP4(P_IPIP4), NULL);
	}
}

LB_TEST(a_rate_of_zero_answers_nothing)
{
	struct fixture *f = fixture_get();

	f->map.settings->short_per_tick = 0;
	expect(f, LB_REASON_too_big, FULL_TCP4(P_IPIP4), NULL);
	expect(f, LB_REASON_too_big, FULL_TCP6(P_IPIP6), NULL);
}

/* What routers have reported; the link takes more. */
static void set_path_mtu(struct fixture *f, int mtu)
{
	for (uint32_t id = 1; id < f->backends; id++)
		f->map.backends[id].mtu = mtu;
}

static void set_mtu(struct fixture *f, int mtu)
{
	for (uint32_t id = 1; id < f->backends; id++)
		f->map.backends[id].link_mtu = mtu;
	set_path_mtu(f, mtu);
}

#define LONG_TCP4(port) \
	PKT(ETH(), IN4(), TCP(.sport = 1, .dport = (port), .flags = ACK), DATA(1400))
#define LONG_TCP6(port) \
	PKT(ETH(), IN6(), TCP(.sport = 1, .dport = (port), .flags = ACK), DATA(1380))

LB_TEST(a_packet_too_long_for_a_report_is_answered)
{
	struct fixture *f = fixture_get();

	set_path_mtu(f, 1400);
	too_big4(f, LONG_TCP4(P_IPIP4), 1380);
	too_big6(f, LONG_TCP6(P_IPIP4), 1380);
}

/* Reports can be forged, and a flood use up the answers: both together must not end connections. */
LB_TEST(a_packet_that_only_a_report_refuses_is_sent_when_no_answer_can_be)
{
	struct fixture *f = fixture_get();

	set_path_mtu(f, 1400);
	f->map.settings->short_per_tick = 0;
	expect(f, LB_REASON_forwarded_tx, LONG_TCP4(P_IPIP4),
	       PKT(TO_BACKEND, OUT4(.proto = 4), IN4(.ttl = 63),
		   TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(1400)));
	expect(f, LB_REASON_forwarded_tx, LONG_TCP6(P_IPIP4),
	       PKT(TO_BACKEND, OUT4(.proto = 41), IN6(.hop = 63),
		   TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(1380)));
	set_mtu(f, 1400);
	expect(f, LB_REASON_too_big, LONG_TCP4(P_IPIP4), NULL);
	expect(f, LB_REASON_too_big, LONG_TCP6(P_IPIP4), NULL);
}

/* To ask whether one can be sent takes none. */
LB_TEST(packets_too_long_for_a_report_are_answered_as_often_as_others)
{
	struct fixture *f = fixture_get();
	uint32_t tick;

	set_path_mtu(f, 1400);
	f->map.settings->short_per_tick = 2;
	do {
		fixture_wait_new_tick();
		tick = fixture_tick();
		too_big4(f, LONG_TCP4(P_IPIP4), 1380);
		packet_build(&f->in, LONG_TCP4(P_IPIP4));
		fixture_send(f);
	} while (fixture_tick() != tick);
	assert_int_equal(f->reason, LB_REASON_too_big_answered);
}

/* No error may be sent about one (RFC 1122, section 3.2.2). */
LB_TEST(a_later_fragment_that_only_a_report_refuses_is_sent)
{
	struct fixture *f = fixture_get();

	expect(
	    f, LB_REASON_forwarded_tx,
	    PKT(ETH(), IN4(.frag = 0x2000, .id = 77), UDP(.sport = 1, .dport = P_IPIP4), DATA(8)),
	    PKT(TO_BACKEND, OUT4(.proto = 4), IN4(.frag = 0x2000, .id = 77, .ttl = 63),
		UDP(.sport = 1, .dport = P_IPIP4), DATA(8)));
	set_path_mtu(f, 600);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IN4(.frag = 0x0002, .id = 77, .proto = 17), DATA(700)),
	       PKT(TO_BACKEND, OUT4(.proto = 4),
		   IN4(.frag = 0x0002, .id = 77, .proto = 17, .ttl = 63), DATA(700)));
	set_mtu(f, 600);
	expect(f, LB_REASON_too_big,
	       PKT(ETH(), IN4(.frag = 0x0002, .id = 77, .proto = 17), DATA(700)), NULL);
}

LB_TEST(no_packet_too_big_says_less_than_1280)
{
	struct fixture *f = fixture_get();

	set_mtu(f, 1300);
	too_big6(f, FULL_TCP6(P_IPIP4), 1280);
	set_mtu(f, 1299);
	expect(f, LB_REASON_too_big, FULL_TCP6(P_IPIP4), NULL);
	too_big4(f, FULL_TCP4(P_IPIP4), 1279);
}

/* It cannot be cut in fragments here, and Linux heeds the answer. */
LB_TEST(a_packet_without_df_draws_fragmentation_needed_too)
{
	too_big4(fixture_get(), PKT(ETH(), IN4(), UDP(.sport = 1, .dport = P_IPIP4), DATA(1472)),
		 1480);
}

LB_TEST(a_first_fragment_that_is_too_big_draws_fragmentation_needed)
{
	too_big4(
	    fixture_get(),
	    PKT(ETH(), IN4(.frag = 0x2000, .id = 9), UDP(.sport = 1, .dport = P_IPIP4), DATA(1472)),
	    1480);
}

/* ---- time exceeded ---- */

#define SYN_TO(port) TCP(.sport = 1, .dport = port, .flags = SYN)

static void time_exceeded4(struct fixture *f, const struct layer *in, unsigned length)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, LB_REASON_time_exceeded_answered, in,
	       PKT(ANSWER, ANSWER4(.tos = 0xc0, .frag = 0x4000), ICMP(.type = 11),
		   RAW(came.data + 14, length)));
}

static void time_exceeded6(struct fixture *f, const struct layer *in, unsigned length)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, LB_REASON_time_exceeded_answered, in,
	       PKT(ANSWER, ANSWER6(), ICMP6(.type = 3), RAW(came.data + 14, length)));
}

LB_TEST(ttl_1_draws_time_exceeded)
{
	time_exceeded4(fixture_get(), PKT(ETH(), IN4(.ttl = 1), SYN_TO(P_IPIP4)), 40);
}

LB_TEST(ttl_0_draws_time_exceeded)
{
	time_exceeded4(fixture_get(), PKT(ETH(), IN4(.ttl = ZERO), SYN_TO(P_GUE6)), 40);
}

LB_TEST(time_exceeded_quotes_no_padding)
{
	time_exceeded4(
	    fixture_get(),
	    PKT(ETH(), IN4(.ttl = 1), UDP(.sport = 1, .dport = P_IPIP4), DATA(1), PAD(17)), 29);
}

LB_TEST(time_exceeded_quotes_512_bytes_at_most)
{
	time_exceeded4(fixture_get(),
		       PKT(ETH(), IN4(.ttl = 1), UDP(.sport = 1, .dport = P_IPIP4), DATA(1400)),
		       QUOTED);
}

LB_TEST(hop_limit_1_draws_time_exceeded)
{
	time_exceeded6(fixture_get(), PKT(ETH(), IN6(.hop = 1), SYN_TO(P_IPIP6)), 60);
}

LB_TEST(hop_limit_0_draws_time_exceeded)
{
	time_exceeded6(fixture_get(), PKT(ETH(), IN6(.hop = ZERO), SYN_TO(P_IPIP4)), 60);
}

/* Where balancers are each other's backends, this is what ends the round. */
LB_TEST(a_hop_limit_that_ends_at_an_l2_service_draws_time_exceeded)
{
	struct fixture *f = fixture_get();

	time_exceeded4(f, PKT(ETH(), IN4(.ttl = 1), SYN_TO(P_L2)), 40);
	time_exceeded4(f, PKT(ETH(), IN4(.ttl = ZERO), SYN_TO(P_L2_VLAN)), 40);
	time_exceeded6(f, PKT(ETH(), IN6(.hop = 1), SYN_TO(P_L2)), 60);
	time_exceeded6(f, PKT(ETH(), IN6(.hop = ZERO), SYN_TO(P_L2_VLAN)), 60);
}

LB_TEST(what_draws_no_answer_ends_at_an_l2_service_without_one)
{
	expect(fixture_get(), LB_REASON_ttl_exceeded,
	       PKT(ETH(), FROM_ROUTER4(.ttl = 1), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_L2)),
	       NULL);
}

LB_TEST(an_icmp_error_with_ttl_1_draws_none)
{
	expect(fixture_get(), LB_REASON_ttl_exceeded,
	       PKT(ETH(), FROM_ROUTER4(.ttl = 1), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_IPIP4)),
	       NULL);
}

/* ---- a rate for each kind of answer ---- */

LB_TEST(echo_answers_do_not_exceed_their_rate)
{
	struct fixture *f = fixture_get();
	int answered = 0, refused = 0;
	uint32_t tick;

	f->map.settings->short_per_tick = 5;
	fixture_wait_new_tick();
	tick = fixture_tick();
	for (int i = 0; i < 50; i++) {
		packet_build(&f->in, i % 2
					 ? PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1), DATA(8))
					 : PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 1), DATA(8)));
		fixture_send(f);
		answered += f->reason == LB_REASON_echo_answered;
		refused += f->reason == LB_REASON_echo_refused && f->verdict == XDP_DROP;
	}
	assert_int_equal(answered + refused, 50);
	if (fixture_tick() == tick)
		assert_int_equal(answered, 5);
}

LB_TEST(a_flood_of_one_kind_leaves_the_others_their_rates)
{
	struct fixture *f = fixture_get();

	f->map.settings->icmp_per_tick = f->map.settings->short_per_tick = 1;
	fixture_wait_new_tick();
	for (int i = 0; i < 3; i++) {
		packet_build(&f->in, PKT(ETH(), IN4(.ttl = 1), SYN_TO(P_IPIP4)));
		fixture_send(f);
		packet_build(&f->in, PKT(ETH(), IN4(), SYN_TO(9999)));
		fixture_send(f);
		packet_build(&f->in, PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1), DATA(8)));
		fixture_send(f);
	}
	too_big4(f, FULL_TCP4(P_IPIP4), 1480);
	/* one rate of each kind is not that of another */
	fixture_wait_new_tick();
	expect(f, LB_REASON_echo_answered, PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1), DATA(8)),
	       PKT(ANSWER, ANSWER4(), ICMP(.type = 0, .id = 1), DATA(8)));
	time_exceeded4(f, PKT(ETH(), IN4(.ttl = 1), SYN_TO(P_IPIP4)), 40);
	packet_build(&f->in, PKT(ETH(), IN4(), SYN_TO(9999)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_unserved_rejected);
}

/* 240.0.0.0/4 may be a host's, and is forwarded; but no error is sent there. */
LB_TEST(nobody_but_one_host_is_answered)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_too_big,
	       PKT(ETH(), IP4(.src = "240.0.0.1", .dst = VIP4, .frag = 0x4000),
		   UDP(.sport = 1, .dport = P_IPIP4), DATA(1472)),
	       NULL);
	expect(f, LB_REASON_echo_refused,
	       PKT(ETH(), IP4(.src = "240.0.0.1", .dst = VIP4), ICMP(.type = 8, .id = 1), DATA(8)),
	       NULL);
}

LB_TEST(an_icmp_error_that_is_too_big_draws_none)
{
	/* RFC 1122 section 3.2.2: never an ICMP error about an ICMP error */
	expect(fixture_get(), LB_REASON_too_big,
	       PKT(ETH(), FROM_ROUTER4(.frag = 0x4000), ICMP(.type = 3, .code = 1), QUOTE4(),
		   QUOTED_TCP(P_IPIP4), DATA(1444)),
	       NULL);
}

LB_TEST(an_icmp_error_that_only_a_report_refuses_is_sent)
{
	struct fixture *f = fixture_get();

	set_path_mtu(f, 600);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), FROM_ROUTER4(), ICMP(.type = 3, .code = 1), QUOTE4(), QUOTED_TCP(P_IPIP4),
		   DATA(700)),
	       PKT(TO_BACKEND, OUT4(), FROM_ROUTER4(.ttl = 63), ICMP(.type = 3, .code = 1),
		   QUOTE4(), QUOTED_TCP(P_IPIP4), DATA(700)));
}

PACKET_TEST_MAIN("packets: icmp", cases)
