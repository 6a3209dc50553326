/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets to a VIP that nothing takes: no service has the port, or the service has no backend.
 * Rejected as a host would (RFC 1122, RFC 9293), dropped, or passed. */
#include <linux/bpf.h>
#include <string.h>

#include "support/packet_case.h"

#define ANSWER       ETH(.dst = PACKET_MAC_PEER, .src = PACKET_MAC_LB)
#define ANSWER4(...) IP4(.src = VIP4, .dst = CLIENT4, __VA_ARGS__)
#define ANSWER6(...) IP6(.src = VIP6, .dst = CLIENT6, __VA_ARGS__)
#define RESET4(...)  ANSWER4(.frag = 0x4000, __VA_ARGS__)
#define FREE         9999 /* a port without a service */
#define SYN_TO(port) TCP(.sport = 7, .dport = port, .flags = SYN, .seq = 1000)
/* The answer to a segment without ACK: its end is acknowledged. */
#define REFUSED(port, end) \
	TCP(.sport = port, .dport = 7, .flags = RST | ACK, .ack = end, .window = ZERO)
/* The answer to one with ACK: it is where that says. */
#define RESET(port, at) TCP(.sport = port, .dport = 7, .flags = RST, .seq = at, .window = ZERO)

static const struct packet_case cases[] = {
    /* ---- TCP: a reset ---- */
    CASE("syn_to_a_port_without_a_service_draws_a_reset", unserved_rejected,
	 .in = PKT(ETH(), IN4(), SYN_TO(FREE)), .out = PKT(ANSWER, RESET4(), REFUSED(FREE, 1001))),
    CASE("syn_to_an_ipv6_port_without_a_service_draws_a_reset", unserved_rejected,
	 .in = PKT(ETH(), IN6(), SYN_TO(FREE)), .out = PKT(ANSWER, ANSWER6(), REFUSED(FREE, 1001))),
    CASE("a_reset_has_none_of_the_options_and_data", unserved_rejected,
	 .in = PKT(ETH(), IN4(.options = "\1\1\1\1", .options_len = 4, .tos = 0x28, .id = 9),
		   TCP(.sport = 7, .dport = FREE, .flags = SYN, .seq = 1000, .options_len = 20),
		   DATA(30)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(FREE, 1031), PAD(6))),
    CASE("a_reset_to_ipv6_has_none_of_the_extension_headers", unserved_rejected,
	 .in = PKT(ETH(), IN6(.tclass = 3), EXT6(.type = 60),
		   TCP(.sport = 7, .dport = FREE, .flags = SYN | FIN, .seq = 1000)),
	 .out = PKT(ANSWER, ANSWER6(), REFUSED(FREE, 1002))),
    CASE("a_segment_with_an_ack_draws_a_reset_at_that", unserved_rejected,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = FREE, .flags = ACK, .seq = 5, .ack = 77),
		   DATA(9)),
	 .out = PKT(ANSWER, RESET4(), RESET(FREE, 77), PAD(6))),
    CASE("a_syn_ack_to_ipv6_draws_a_reset_at_its_ack", unserved_rejected,
	 .in = PKT(ETH(), IN6(),
		   TCP(.sport = 7, .dport = FREE, .flags = SYN | ACK, .seq = 5, .ack = 77)),
	 .out = PKT(ANSWER, ANSWER6(), RESET(FREE, 77))),
    CASE("a_padded_syn_draws_a_padded_reset", unserved_rejected,
	 .in = PKT(ETH(), IN4(), SYN_TO(FREE), PAD(6)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(FREE, 1001), PAD(6))),
    CASE("a_reset_in_vlans_is_sent_in_them", unserved_rejected,
	 .in = PKT(ETH(), VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), IN4(), SYN_TO(FREE),
		   DATA(100)),
	 .out = PKT(ANSWER, VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), RESET4(),
		    REFUSED(FREE, 1101))),
    CASE("a_sequence_number_wraps", unserved_rejected,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = FREE, .flags = SYN, .seq = 0xffffffff)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(FREE, 0))),
    CASE("a_reset_draws_none", unserved,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = FREE, .flags = RST))),
    CASE("a_checksum_that_is_left_to_the_card_is_no_fault", unserved_rejected,
	 .in = PKT(ETH(), IN4(),
		   TCP(.sport = 7, .dport = FREE, .flags = SYN, .seq = 1000, .bad_csum = 1)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(FREE, 1001))),
    CASE("a_data_offset_beyond_the_segment_draws_none", unserved,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = FREE, .flags = SYN, .doff = 15))),
    CASE("a_data_offset_below_the_header_draws_none", unserved,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = FREE, .flags = SYN, .doff = 4))),
    CASE("syn_to_a_vip_without_services_draws_a_reset", unserved_rejected,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_EMPTY), SYN_TO(80)),
	 .out = PKT(ANSWER, IP4(.src = VIP4_EMPTY, .dst = CLIENT4, .frag = 0x4000),
		    REFUSED(80, 1001))),
    CASE("any_port_of_udp_does_not_take_tcp", unserved_rejected,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_UDP), SYN_TO(53)),
	 .out =
	     PKT(ANSWER, IP4(.src = VIP4_UDP, .dst = CLIENT4, .frag = 0x4000), REFUSED(53, 1001))),
    CASE("port_0_is_a_port_like_another", unserved_rejected, .in = PKT(ETH(), IN4(), SYN_TO(0)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(0, 1001))),
    CASE("a_disabled_service_is_none", unserved_rejected,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_DISABLED)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(P_DISABLED, 1001))),
    CASE("a_segment_from_240_4_draws_none", unserved,
	 .in = PKT(ETH(), IP4(.src = "240.0.0.1", .dst = VIP4), SYN_TO(FREE))),

    /* ---- no backend ---- */
    CASE("a_dead_backend_gets_nothing", no_backend_rejected,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_DEAD)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(P_DEAD, 1001))),
    CASE("an_established_flow_of_a_dead_backend_is_not_reset", no_backend,
	 .in =
	     PKT(ETH(), IN4(), TCP(.sport = 7, .dport = P_DEAD, .flags = ACK, .seq = 5, .ack = 8))),
    CASE("a_service_without_a_ring_has_no_backend", no_backend_rejected,
	 .in = PKT(ETH(), IN4(), SYN_TO(P_NO_RING)),
	 .out = PKT(ANSWER, RESET4(), REFUSED(P_NO_RING, 1001))),
    CASE("an_empty_slot_has_no_backend", no_backend_rejected,
	 .in = PKT(ETH(), IN6(), SYN_TO(P_HOLE)),
	 .out = PKT(ANSWER, ANSWER6(), REFUSED(P_HOLE, 1001))),
    CASE("a_reset_without_a_backend_draws_none", no_backend,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 7, .dport = P_DEAD, .flags = RST))),

    /* ---- protocols that draw no error ---- */
    CASE("another_protocol_behind_an_extension_header_is_dropped", unserved,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60, .next = 132), DATA(40))),
};

/* ---- ICMP unreachable ---- */

/* The answer quotes the packet, all of it up to 512 bytes, but no padding. */
static void unreachable4(struct fixture *f, int reason, int code, const struct layer *in,
			 unsigned length)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, reason, in,
	       PKT(ANSWER, ANSWER4(.tos = 0xc0, .frag = 0x4000), ICMP(.type = 3, .code = code),
		   RAW(came.data + 14, length)));
}

static void error6(struct fixture *f, int reason, int type, int code, int rest,
		   const struct layer *in, unsigned length)
{
	struct packet came;

	packet_build(&came, in);
	expect(f, reason, in,
	       PKT(ANSWER, ANSWER6(), ICMP6(.type = type, .code = code, .rest = rest),
		   RAW(came.data + 14, length)));
}

#define DGRAM_TO(port) UDP(.sport = 7, .dport = port)

LB_TEST(udp_to_a_port_without_a_service_draws_port_unreachable)
{
	struct fixture *f = fixture_get();

	unreachable4(f, LB_REASON_unserved_rejected, 3, PKT(ETH(), IN4(), DGRAM_TO(FREE)), 28);
	unreachable4(f, LB_REASON_unserved_rejected, 3, PKT(ETH(), IN4(), DGRAM_TO(FREE), DATA(7)),
		     35);
	unreachable4(f, LB_REASON_unserved_rejected, 3,
		     PKT(ETH(), IN4(), DGRAM_TO(FREE), DATA(1), PAD(17)), 29);
	unreachable4(f, LB_REASON_unserved_rejected, 3,
		     PKT(ETH(), IN4(), DGRAM_TO(FREE), DATA(1400)), 512);
	error6(f, LB_REASON_unserved_rejected, 1, 4, 0, PKT(ETH(), IN6(), DGRAM_TO(FREE), DATA(3)),
	       51);
}

LB_TEST(udp_without_a_backend_draws_port_unreachable)
{
	struct fixture *f = fixture_get();

	unreachable4(f, LB_REASON_no_backend_rejected, 3,
		     PKT(ETH(), IN4(), DGRAM_TO(P_DEAD), DATA(4)), 32);
	error6(f, LB_REASON_no_backend_rejected, 1, 4, 0,
	       PKT(ETH(), IN6(), DGRAM_TO(P_DEAD), DATA(4)), 52);
}

LB_TEST(another_protocol_draws_protocol_unreachable)
{
	struct fixture *f = fixture_get();

	unreachable4(f, LB_REASON_unserved_rejected, 2, PKT(ETH(), IN4(.proto = 132), DATA(40)),
		     60);
	unreachable4(f, LB_REASON_unserved_rejected, 2, PKT(ETH(), IN4(.proto = 58), DATA(40)), 60);
	unreachable4(f, LB_REASON_unserved_rejected, 2,
		     PKT(ETH(), IN4(), IP4(.src = CLIENT4, .dst = VIP4), SYN_TO(80)), 60);
	unreachable4(f, LB_REASON_unserved_rejected, 2, PKT(ETH(), IN4(.proto = 47)), 20);
}

/* RFC 8200, section 4: the pointer says where the unknown next header is. */
LB_TEST(another_next_header_draws_parameter_problem)
{
	struct fixture *f = fixture_get();

	error6(f, LB_REASON_unserved_rejected, 4, 1, 6, PKT(ETH(), IN6(.next = 1), DATA(40)), 80);
	error6(f, LB_REASON_unserved_rejected, 4, 1, 6,
	       PKT(ETH(), IN6(), EXT6(.type = 51, .extra = 4), SYN_TO(80)), 84);
	error6(f, LB_REASON_unserved_rejected, 4, 1, 6, PKT(ETH(), IN6(.next = 59)), 40);
}

LB_TEST(any_port_of_tcp_does_not_take_udp)
{
	struct fixture *f = fixture_get();
	const struct layer *in =
	    PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_ANY), DGRAM_TO(53), DATA(4));
	struct packet came;

	packet_build(&came, in);
	expect(f, LB_REASON_unserved_rejected, in,
	       PKT(ANSWER, IP4(.src = VIP4_ANY, .dst = CLIENT4, .tos = 0xc0, .frag = 0x4000),
		   ICMP(.type = 3, .code = 3), RAW(came.data + 14, 32)));
}

/* ---- drop and pass ---- */

LB_TEST(unserved_drop_drops_in_silence)
{
	struct fixture *f = fixture_get();

	f->map.settings->unserved = LB_REFUSE_DROP;
	expect(f, LB_REASON_unserved, PKT(ETH(), IN4(), SYN_TO(FREE)), NULL);
	expect(f, LB_REASON_unserved, PKT(ETH(), IN6(), DGRAM_TO(FREE), DATA(3)), NULL);
	expect(f, LB_REASON_unserved, PKT(ETH(), IN4(.proto = 47), DATA(3)), NULL);
	expect(f, LB_REASON_unserved, PKT(ETH(), IN4(), ICMP(.type = 13), DATA(12)), NULL);
	expect(f, LB_REASON_vip_icmp_other,
	       PKT(ETH(), IN6(.hop = 255), ICMP6(.type = 135), DATA(24)), NULL);
}

LB_TEST(unserved_pass_passes_untouched)
{
	struct fixture *f = fixture_get();

	f->map.settings->unserved = LB_REFUSE_PASS;
	expect(f, LB_REASON_vip_no_service, PKT(ETH(), IN4(), SYN_TO(FREE)), NULL);
	expect(f, LB_REASON_vip_no_service, PKT(ETH(), IN6(), DGRAM_TO(FREE), DATA(3)), NULL);
	expect(f, LB_REASON_vip_no_service, PKT(ETH(), IN4(.proto = 47), DATA(3)), NULL);
	expect(f, LB_REASON_vip_icmp_other, PKT(ETH(), IN4(), ICMP(.type = 13), DATA(12)), NULL);
	expect(f, LB_REASON_vip_icmp_other, PKT(ETH(), IN4(.frag = 0x0009, .proto = 1), DATA(64)),
	       NULL);
}

static void set_no_backend(struct fixture *f, int refusal)
{
	for (uint32_t id = 1; id < f->services; id++)
		f->map.services[id].no_backend = refusal;
}

LB_TEST(no_backend_drop_drops_in_silence)
{
	struct fixture *f = fixture_get();

	set_no_backend(f, LB_REFUSE_DROP);
	expect(f, LB_REASON_no_backend, PKT(ETH(), IN4(), SYN_TO(P_DEAD)), NULL);
	expect(f, LB_REASON_no_backend, PKT(ETH(), IN6(), DGRAM_TO(P_HOLE), DATA(3)), NULL);
}

LB_TEST(no_backend_pass_passes_untouched)
{
	struct fixture *f = fixture_get();

	set_no_backend(f, LB_REFUSE_PASS);
	expect(f, LB_REASON_no_backend_passed, PKT(ETH(), IN4(), SYN_TO(P_DEAD)), NULL);
	expect(f, LB_REASON_no_backend_passed, PKT(ETH(), IN6(), DGRAM_TO(P_NO_RING), DATA(3)),
	       NULL);
}

/* What a service does without backends says nothing about ports without a service. */
LB_TEST(each_has_a_setting_of_its_own)
{
	struct fixture *f = fixture_get();

	set_no_backend(f, LB_REFUSE_PASS);
	f->map.settings->unserved = LB_REFUSE_DROP;
	expect(f, LB_REASON_no_backend_passed, PKT(ETH(), IN4(), SYN_TO(P_DEAD)), NULL);
	expect(f, LB_REASON_unserved, PKT(ETH(), IN4(), SYN_TO(FREE)), NULL);
}

/* ---- the rate ---- */

LB_TEST(refusals_do_not_exceed_the_rate)
{
	struct fixture *f = fixture_get();
	int answered = 0, dropped = 0;
	uint32_t tick;

	f->map.settings->icmp_per_tick = 5;
	fixture_wait_new_tick();
	tick = fixture_tick();
	for (int i = 0; i < 60; i++) {
		packet_build(&f->in, i % 3 == 0   ? PKT(ETH(), IN4(), SYN_TO(FREE))
				     : i % 3 == 1 ? PKT(ETH(), IN6(), DGRAM_TO(FREE), DATA(3))
						  : PKT(ETH(), IN6(), SYN_TO(FREE)));
		fixture_send(f);
		answered += f->reason == LB_REASON_unserved_rejected;
		dropped += f->reason == LB_REASON_unserved && f->verdict == XDP_DROP;
	}
	assert_int_equal(answered + dropped, 60);
	if (fixture_tick() == tick)
		assert_int_equal(answered, 5);
}

PACKET_TEST_MAIN("packets: refused", cases)
