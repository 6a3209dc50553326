/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fragments follow the first fragment of their datagram. If none came, they are dropped and
 * counted. */
#include <linux/bpf.h>

#include "support/packet_case.h"

#define MF          0x2000
#define AT(bytes)   ((bytes) / 8)
#define FRAG4(f, i) .frag = (f), .id = (i)

static const struct packet_case cases[] = {
    CASE("a_first_fragment_goes_to_its_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), IN4(FRAG4(MF, 5)), UDP(.sport = 1, .dport = P_IPIP4), DATA(600)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, FRAG4(MF, 5)),
		    UDP(.sport = 1, .dport = P_IPIP4), DATA(600))),
    CASE("a_first_ipv6_fragment_goes_to_its_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), IN6(), FRAG6(.more = 1, .id = 5), UDP(.sport = 1, .dport = P_IPIP6),
		   DATA(600)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), FRAG6(.more = 1, .id = 5),
		    UDP(.sport = 1, .dport = P_IPIP6), DATA(600))),
    CASE("an_atomic_ipv6_fragment_is_a_whole_packet", forwarded_tx,
	 .in = PKT(ETH(), IN6(), FRAG6(.id = 5), TCP(.sport = 1, .dport = P_IPIP6, .flags = SYN)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), FRAG6(.id = 5),
		    TCP(.sport = 1, .dport = P_IPIP6, .flags = SYN))),
    CASE("a_later_fragment_of_an_unknown_datagram_is_dropped", fragment_unknown,
	 .in = PKT(ETH(), IN4(FRAG4(AT(608), 9), .proto = 17), DATA(100))),
    CASE("a_middle_fragment_of_an_unknown_datagram_is_dropped", fragment_unknown,
	 .in = PKT(ETH(), IN4(FRAG4(MF | AT(608), 9), .proto = 6), DATA(104))),
    CASE("a_later_ipv6_fragment_of_an_unknown_datagram_is_dropped", fragment_unknown,
	 .in = PKT(ETH(), IN6(), FRAG6(.offset = 608, .id = 9, .next = 17), DATA(100))),
    CASE("a_first_ipv6_fragment_behind_options_goes_to_its_flows_backend", forwarded_tx,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60), FRAG6(.more = 1, .id = 5),
		   UDP(.sport = 1, .dport = P_IPIP6), DATA(64)),
	 .out = PKT(TO_BACKEND, OUT6(), IN6(.hop = 63), EXT6(.type = 60), FRAG6(.more = 1, .id = 5),
		    UDP(.sport = 1, .dport = P_IPIP6), DATA(64))),
    CASE("a_first_fragment_too_short_for_its_ports_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(FRAG4(MF, 5), .proto = 6), DATA(8))), /* RFC 1858: tiny fragments */
    CASE("a_fragment_over_the_flags_of_tcp_is_dropped", vip_malformed, /* RFC 3128 */
	 .in = PKT(ETH(), IN4(FRAG4(MF | AT(8), 9), .proto = 6), DATA(104))),
    CASE("an_ipv6_fragment_over_the_flags_of_tcp_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(), FRAG6(.offset = 8, .id = 9, .next = 6), DATA(104))),
    CASE("a_later_fragment_of_udp_may_begin_there", fragment_unknown,
	 .in = PKT(ETH(), IN4(FRAG4(MF | AT(8), 9), .proto = 17), DATA(104))),
    CASE("a_later_ipv6_fragment_of_udp_may_begin_there", fragment_unknown,
	 .in = PKT(ETH(), IN6(), FRAG6(.offset = 8, .id = 9, .next = 17), DATA(104))),
    CASE("a_later_fragment_of_another_protocol_is_dropped", unserved,
	 .in = PKT(ETH(), IN4(FRAG4(AT(72), 5), .proto = 132), DATA(64))),
    CASE("a_first_tcp_fragment_to_a_port_without_a_service_draws_no_reset", unserved,
	 .in = PKT(ETH(), IN4(FRAG4(MF, 5)), TCP(.sport = 1, .dport = 9999, .flags = SYN),
		   DATA(600))),
};

/* The first fragment records its datagram. Each later one leaves the same way, byte for byte. */
LB_TEST(later_fragments_follow_the_first)
{
	struct fixture *f = fixture_get();

	for (int id = 1; id < 200; id += 7) {
		int port = id % 2 ? P_IPIP4 : P_VLAN;

		packet_build(&f->in, PKT(ETH(), IN4(FRAG4(MF, id)), UDP(.sport = id, .dport = port),
					 DATA(600)));
		fixture_send(f);
		assert_int_equal(f->reason, LB_REASON_forwarded_tx);
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(), IN4(FRAG4(MF | AT(608), id), .proto = 17), DATA(800)),
		       port == P_IPIP4
			   ? PKT(TO_BACKEND, OUT4(),
				 IN4(.ttl = 63, FRAG4(MF | AT(608), id), .proto = 17), DATA(800))
			   : PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(),
				 IN4(.ttl = 63, FRAG4(MF | AT(608), id), .proto = 17), DATA(800)));
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(), IN4(FRAG4(AT(1408), id), .proto = 17), DATA(3)),
		       port == P_IPIP4
			   ? PKT(TO_BACKEND, OUT4(),
				 IN4(.ttl = 63, FRAG4(AT(1408), id), .proto = 17), DATA(3))
			   : PKT(TO_BACKEND, VLAN(.tci = WORLD_VLAN), OUT4(),
				 IN4(.ttl = 63, FRAG4(AT(1408), id), .proto = 17), DATA(3)));
	}
}

LB_TEST(later_ipv6_fragments_follow_the_first)
{
	struct fixture *f = fixture_get();

	for (int id = 1; id < 200; id += 7) {
		packet_build(&f->in, PKT(ETH(), IN6(), FRAG6(.more = 1, .id = id),
					 UDP(.sport = id, .dport = P_IPIP6), DATA(600)));
		fixture_send(f);
		assert_int_equal(f->reason, LB_REASON_forwarded_tx);
		expect(f, LB_REASON_forwarded_tx,
		       PKT(ETH(), IN6(), FRAG6(.offset = 608, .id = id, .next = 17), DATA(100)),
		       PKT(TO_BACKEND, OUT6(), IN6(.hop = 63),
			   FRAG6(.offset = 608, .id = id, .next = 17), DATA(100)));
	}
}

LB_TEST(later_fragments_are_forwarded_by_l2)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_L2), DATA(64)));
	fixture_send(f);
	expect(f, LB_REASON_forwarded_tx, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)),
	       PKT(TO_BACKEND, IN4(.ttl = 63, FRAG4(AT(72), 3), .proto = 17), DATA(9)));
}

/* An entry is found by client, VIP, protocol and identification: all four must match. */
LB_TEST(a_fragment_of_another_datagram_does_not_follow)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_IPIP4), DATA(64)));
	fixture_send(f);
	expect(f, LB_REASON_fragment_unknown,
	       PKT(ETH(), IN4(FRAG4(AT(72), 4), .proto = 17), DATA(9)), NULL);
	expect(f, LB_REASON_fragment_unknown,
	       PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 6), DATA(9)), NULL);
	expect(f, LB_REASON_fragment_unknown,
	       PKT(ETH(), IP4(.src = "198.51.100.8", .dst = VIP4, FRAG4(AT(72), 3), .proto = 17),
		   DATA(9)),
	       NULL);
	expect(f, LB_REASON_fragment_unknown,
	       PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_ANY, FRAG4(AT(72), 3), .proto = 17),
		   DATA(9)),
	       NULL);
}

/* Sends the first fragment of datagram 3, and gives its entry every place of the fragment table.
 * Returns the entry. */
static uint64_t crowd_fragments(struct fixture *f)
{
	uint64_t word = 0;

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_IPIP4), DATA(64)));
	fixture_send(f);
	for (uint32_t i = 0; i < f->frag_count; i++)
		word |= f->map.frags[i];
	assert_true(word & LB_FRAG_USED);
	for (uint32_t i = 0; i < f->frag_count; i++)
		f->map.frags[i] = word;
	return word;
}

/* Every place of the fragment table is taken by another datagram. */
LB_TEST(a_fragment_whose_place_another_datagram_has_does_not_follow)
{
	struct fixture *f = fixture_get();

	crowd_fragments(f);
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	expect(f, LB_REASON_fragment_unknown,
	       PKT(ETH(), IN4(FRAG4(AT(72), 4), .proto = 17), DATA(9)), NULL);
}

LB_TEST(a_later_fragment_of_a_dead_backend_is_dropped)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_IPIP4), DATA(64)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	for (uint16_t id = 1; id < f->backends; id++)
		fixture_backend_usable(f, id, false);
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)));
	fixture_send(f);
	assert_int_equal(f->verdict, XDP_DROP);
}

/* Makes every fragment entry older by so many ticks. */
static void age_fragments(struct fixture *f, uint64_t ticks)
{
	for (uint32_t i = 0; i < f->frag_count; i++)
		f->map.frags[i] = (f->map.frags[i] & ~(uint64_t)LB_FLOW_TICK_MASK) |
				  ((f->map.frags[i] - ticks) & LB_FLOW_TICK_MASK);
}

LB_TEST(a_datagrams_way_is_forgotten_after_half_a_minute)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_IPIP4), DATA(64)));
	fixture_send(f);
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)));
	age_fragments(f, 25);
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	age_fragments(f, 10);
	expect_built(f, LB_REASON_fragment_unknown, NULL);
}

LB_TEST(later_fragments_of_what_was_passed_are_passed)
{
	struct fixture *f = fixture_get();

	f->map.settings->unserved = LB_REFUSE_PASS;
	expect(f, LB_REASON_vip_no_service,
	       PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = 9999), DATA(64)), NULL);
	expect(f, LB_REASON_vip_no_service, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)),
	       NULL);
}

LB_TEST(later_fragments_of_what_was_rejected_are_dropped)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = 9999), DATA(64)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_unserved_rejected);
	expect(f, LB_REASON_unserved, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 17), DATA(9)),
	       NULL);
}

LB_TEST(no_fragment_is_answered_as_an_echo)
{
	struct fixture *f = fixture_get();

	/* the whole echo request is not in the first fragment, so no reply can be right */
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(MF, 3)), ICMP(.type = 8, .id = 1), DATA(64)));
	fixture_send(f);
	assert_int_not_equal(f->verdict, XDP_TX);
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(AT(72), 3), .proto = 1), DATA(64)));
	fixture_send(f);
	assert_int_not_equal(f->verdict, XDP_TX);
}

/* A SYN past a rate: flags that open nothing, and others that a receiver might put over them. */
LB_TEST(a_tcp_fragment_that_overwrites_the_flags_does_not_follow)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(MF, 3)),
				 TCP(.sport = 1, .dport = P_IPIP4, .flags = ACK), DATA(28)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	expect(f, LB_REASON_vip_malformed,
	       PKT(ETH(), IN4(FRAG4(MF | AT(8), 3), .proto = 6), DATA(40)), NULL);
	packet_build(&f->in, PKT(ETH(), IN4(FRAG4(AT(48), 3), .proto = 6), DATA(40)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
}

/* ---- `fragments: drop` ---- */

/* A service on `port` that takes no fragments. */
static void without_fragments(struct fixture *f, const char *vip, int port, int flags)
{
	fixture_single(f, vip, IPPROTO_UDP, port,
		       (struct lb_service){.flags = LB_SERVICE_NO_FRAGMENTS | flags},
		       &(struct backend_spec){.dst = BACKEND4});
}

LB_TEST(a_service_that_takes_no_fragments_drops_them_all)
{
	struct fixture *f = fixture_get();

	without_fragments(f, VIP4, 7000, 0);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = 7000), DATA(64)), NULL);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN4(FRAG4(MF | AT(72), 3), .proto = 17), DATA(64)), NULL);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN4(FRAG4(AT(136), 3), .proto = 17), DATA(9)), NULL);
}

LB_TEST(a_service_that_takes_no_ipv6_fragments_drops_them_all)
{
	struct fixture *f = fixture_get();

	without_fragments(f, VIP6, 7000, 0);
	expect(
	    f, LB_REASON_fragment_refused,
	    PKT(ETH(), IN6(), FRAG6(.more = 1, .id = 5), UDP(.sport = 1, .dport = 7000), DATA(64)),
	    NULL);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN6(), FRAG6(.offset = 72, .id = 5, .next = 17), DATA(9)), NULL);
}

LB_TEST(a_service_that_takes_no_fragments_takes_whole_packets)
{
	struct fixture *f = fixture_get();

	without_fragments(f, VIP4, 7000, 0);
	without_fragments(f, VIP6, 7000, 0);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IN4(), UDP(.sport = 1, .dport = 7000), DATA(64)),
	       PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63), UDP(.sport = 1, .dport = 7000), DATA(64)));
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IN6(), FRAG6(.id = 5), UDP(.sport = 1, .dport = 7000), DATA(64)),
	       PKT(TO_BACKEND, OUT4(), IN6(.hop = 63), FRAG6(.id = 5),
		   UDP(.sport = 1, .dport = 7000), DATA(64)));
}

LB_TEST(other_services_of_the_vip_take_fragments)
{
	struct fixture *f = fixture_get();

	without_fragments(f, VIP4, 7000, 0);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = P_IPIP4), DATA(64)),
	       PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63, FRAG4(MF, 3)),
		   UDP(.sport = 1, .dport = P_IPIP4), DATA(64)));
}

LB_TEST(a_dropped_fragment_opens_no_flow)
{
	struct fixture *f = fixture_get();

	without_fragments(f, VIP4, 7000, LB_SERVICE_TRACK_ALWAYS);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN4(FRAG4(MF, 3)), UDP(.sport = 1, .dport = 7000), DATA(64)), NULL);
	assert_int_equal(f->count[LB_EVENT_flow_inserted], 0);
	packet_build(&f->in, PKT(ETH(), IN4(), UDP(.sport = 1, .dport = 7000), DATA(64)));
	fixture_send(f);
	assert_int_equal(f->count[LB_EVENT_flow_inserted], 1);
}

/* Every place of the fragment table is taken by another datagram, until that is forgotten. */
LB_TEST(dropped_fragments_do_not_displace_those_that_are_forwarded)
{
	struct fixture *f = fixture_get();
	const struct layer *dropped =
	    PKT(ETH(), IN4(FRAG4(MF, 4)), UDP(.sport = 1, .dport = 7000), DATA(64));
	uint64_t word;

	without_fragments(f, VIP4, 7000, 0);
	word = crowd_fragments(f);
	expect(f, LB_REASON_fragment_refused, dropped, NULL);
	for (uint32_t i = 0; i < f->frag_count; i++)
		assert_true(f->map.frags[i] == word);
	age_fragments(f, 35);
	expect(f, LB_REASON_fragment_refused, dropped, NULL);
	expect(f, LB_REASON_fragment_refused,
	       PKT(ETH(), IN4(FRAG4(AT(72), 4), .proto = 17), DATA(9)), NULL);
}

PACKET_TEST_MAIN("packets: fragments", cases)
