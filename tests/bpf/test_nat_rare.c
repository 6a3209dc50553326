/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` for packets that are not plain, byte by byte: options and extension headers,
 * fragments, ICMP errors with their quotes, packets that are too long. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <string.h>

#include "support/nat_case.h"

#define SYN_IN          TCP(.sport = 40000, .dport = N_WEB, .seq = 7, .flags = SYN)
#define SYN_REAL        TCP(.sport = 40000, .dport = 8080, .seq = 7, .flags = SYN)
#define BACK            TCP(.sport = 8080, .dport = 40000, .flags = ACK)
#define BACK_VIP        TCP(.sport = N_WEB, .dport = 40000, .flags = ACK)
#define OPTIONS         .options = "\x07\x07\x04\x00\x00\x00\x00\x01", .options_len = 8

#define LSRR            .options = "\x83\x07\x04\xc0\x00\x02\x01\x00", .options_len = 8

#define UNREACHABLE(c)  ICMP(.type = 3, .code = c)
#define FRAG_NEEDED(m)  ICMP(.type = 3, .code = 4, .rest = m)
#define UNREACHABLE6(c) ICMP6(.type = 1, .code = c)
#define TOO_BIG6(m)     ICMP6(.type = 2, .rest = m)
#define ROUTER4         "10.0.0.254"
#define ROUTER6         "fd00::fe"

/* Packets as a quote has them: the reply as the client's side saw it, and as the backend sent it;
 * the way in as the backend's side saw it, and as the client sent it. */
#define Q_REPLY_VIP  IP4(.src = VIP4, .dst = CLIENT4, .ttl = 60, .id = 3), BACK_VIP
#define Q_REPLY_REAL IP4(.src = REAL4, .dst = CLIENT4, .ttl = 60, .id = 3), BACK
#define Q_IN_REAL    IP4(.src = CLIENT4, .dst = REAL4, .ttl = 60, .id = 3), SYN_REAL
#define Q_IN_VIP     IP4(.src = CLIENT4, .dst = VIP4, .ttl = 60, .id = 3), SYN_IN

static const struct packet_case cases[] = {
    /* ---- tags, options, extension headers ---- */
    CASE("a_tagged_packet_on_the_way_in", forwarded_tx,
	 .in = PKT(ETH(), VLAN(.tci = 7), CLIENT_VIP(), SYN_IN),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), SYN_REAL)),
    CASE("options_on_the_way_in", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(OPTIONS), SYN_IN, DATA(9)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63, OPTIONS), SYN_REAL, DATA(9))),
    CASE("options_on_the_way_back", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(OPTIONS), BACK, DATA(9)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63, OPTIONS), BACK_VIP, DATA(9))),
    CASE("extension_headers_on_the_way_in", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 2), SYN_IN),
	 .out = PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), EXT6(.type = 0),
		    EXT6(.type = 60, .extra = 2), SYN_REAL)),
    CASE("extension_headers_on_the_way_back", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), EXT6(.type = 60, .extra = 1),
		   UDP(.sport = 5353, .dport = 9), DATA(4)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), EXT6(.type = 60, .extra = 1),
		    UDP(.sport = N_DNS, .dport = 9), DATA(4))),
    CASE("a_used_up_routing_header_on_the_way_in", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP6(), EXT6(.type = 43, .extra = 2), SYN_IN),
	 .out = PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), EXT6(.type = 43, .extra = 2), SYN_REAL)),
    CASE("a_used_up_routing_header_on_the_way_back", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), EXT6(.type = 43, .extra = 2),
		   UDP(.sport = 5353, .dport = 9), DATA(4)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), EXT6(.type = 43, .extra = 2),
		    UDP(.sport = N_DNS, .dport = 9), DATA(4))),
    CASE("a_request_whose_route_leads_on_is_dropped", martian,
	 .in = PKT(ETH(), CLIENT_VIP6(), EXT6(.type = 43, .extra = 2, .left = 1), SYN_IN)),
    CASE("a_reply_whose_route_leads_on_does_not_leave", martian,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), EXT6(.type = 43, .extra = 2, .left = 1),
		   UDP(.sport = 5353, .dport = 9), DATA(4))),
    CASE("a_reply_with_a_routing_header_of_type_0_does_not_leave", martian,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), EXT6(.type = 43, .routing = ZERO),
		   UDP(.sport = 5353, .dport = 9), DATA(4))),
    CASE("a_source_routed_reply_does_not_leave", martian,
	 .in = PKT(FROM_REAL, REAL_CLIENT(LSRR), BACK, DATA(9))),
    CASE("a_source_route_of_another_host_is_not_lbds", not_vip,
	 .in = PKT(FROM_REAL, IP4(.src = "10.0.0.99", .dst = CLIENT4, LSRR), BACK, DATA(9))),
    CASE("a_route_of_another_host_that_leads_on_is_not_lbds", not_vip,
	 .in =
	     PKT(FROM_REAL, IP6(.src = "fd00::99", .dst = CLIENT6),
		 EXT6(.type = 43, .extra = 2, .left = 1), UDP(.sport = 5353, .dport = 9), DATA(4))),
    CASE("a_truncated_reply_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.len = 200), BACK, DATA(8))),

    /* ---- fragments that stand alone ---- */
    CASE("a_later_fragment_of_a_backends_unknown_datagram_does_not_leave", fragment_unknown,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.frag = 100, .proto = 17), DATA(64))),
    CASE("a_later_fragment_of_another_host_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, IP4(.src = "10.0.0.99", .dst = CLIENT4, .frag = 100, .proto = 17),
		   DATA(64))),
    CASE("a_later_fragment_of_ipv6_of_an_unknown_datagram", fragment_unknown,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), FRAG6(.offset = 800, .next = 17, .id = 5), DATA(64))),

    CASE("a_later_fragment_of_a_backends_long_ping_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.frag = 185, .id = 3, .proto = 1), DATA(64))),
    CASE("a_later_fragment_of_a_backends_own_esp_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.frag = 185, .id = 3, .proto = 50), DATA(64))),
    CASE("a_later_fragment_of_a_backends_long_ping_of_ipv6_is_not_changed", not_vip,
	 .in =
	     PKT(FROM_REAL, REAL_CLIENT6(), FRAG6(.offset = 1448, .next = 58, .id = 5), DATA(64))),
    CASE("a_later_fragment_behind_extension_headers_may_be_of_a_reply", fragment_unknown,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), FRAG6(.offset = 800, .next = 60, .id = 5), DATA(64))),
    CASE("an_error_about_a_later_fragment_of_esp_to_a_backend_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, IP4(.src = ROUTER4, .dst = CLIENT4), FRAG_NEEDED(1300),
		   IP4(.src = CLIENT4, .dst = REAL4, .frag = 185, .proto = 50), DATA(8))),

    /* ---- too long ---- */
    CASE("a_reply_too_long_for_the_clients_way_that_may_be_cut_is_the_kernels", returned_kernel,
	 .in = PKT(FROM_REAL, IP4(.src = REAL4, .dst = CLIENT4_NARROW),
		   UDP(.sport = 5353, .dport = 9), DATA(1373)),
	 .out = PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_NARROW),
		    UDP(.sport = N_DNS, .dport = 9), DATA(1373))),
    CASE("a_reply_that_just_fits", returned_tx,
	 .in = PKT(FROM_REAL, IP4(.src = REAL4, .dst = CLIENT4_NARROW, .frag = 0x4000),
		   UDP(.sport = 5353, .dport = 9), DATA(1372)),
	 .out = PKT(TO_ROUTER, IP4(.src = VIP4, .dst = CLIENT4_NARROW, .ttl = 63, .frag = 0x4000),
		    UDP(.sport = N_DNS, .dport = 9), DATA(1372))),

    /* ---- a hop limit that ends ---- */
    CASE("a_hop_limit_that_ends_on_the_way_in_is_answered", time_exceeded_answered,
	 .in = PKT(ETH(), CLIENT_VIP(.ttl = 1), SYN_IN),
	 .out = PKT(ETH(.dst = PACKET_MAC_PEER, .src = PACKET_MAC_LB),
		    IP4(.src = VIP4, .dst = CLIENT4, .tos = 0xc0, .frag = 0x4000), ICMP(.type = 11),
		    CLIENT_VIP(.ttl = 1), SYN_IN)),

    /* ---- ICMP errors about replies, on the way in ---- */
    CASE("an_error_about_a_reply_reaches_its_backend", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "192.0.2.254", .dst = VIP4), FRAG_NEEDED(1400), Q_REPLY_VIP),
	 .out = PKT(TO_BACKEND, IP4(.src = "192.0.2.254", .dst = REAL4, .ttl = 63),
		    FRAG_NEEDED(1400), Q_REPLY_REAL)),
    CASE("an_error_with_eight_bytes_of_the_tcp_header", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = "192.0.2.254", .dst = VIP4), FRAG_NEEDED(1400),
		   IP4(.src = VIP4, .dst = CLIENT4, .len = 40),
		   TCP(.sport = N_WEB, .dport = 40000, .first = 8)),
	 .out = PKT(TO_BACKEND, IP4(.src = "192.0.2.254", .dst = REAL4, .ttl = 63),
		    FRAG_NEEDED(1400), IP4(.src = REAL4, .dst = CLIENT4, .len = 40),
		    TCP(.sport = 8080, .dport = 40000, .first = 8))),
    CASE("an_error_about_a_datagram_in_reply", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4), UNREACHABLE(3),
		   IP4(.src = VIP4, .dst = CLIENT4, OPTIONS), UDP(.sport = N_DNS, .dport = 9),
		   DATA(9)),
	 .out = PKT(TO_BACKEND, IP4(.src = CLIENT4, .dst = REAL4, .ttl = 63), UNREACHABLE(3),
		    IP4(.src = REAL4, .dst = CLIENT4, OPTIONS), UDP(.sport = 5353, .dport = 9),
		    DATA(9))),
    CASE("an_error_about_a_datagram_without_a_checksum", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4), UNREACHABLE(3),
		   IP4(.src = VIP4, .dst = CLIENT4), UDP(.sport = N_DNS, .dport = 9, .no_csum = 1)),
	 .out =
	     PKT(TO_BACKEND, IP4(.src = CLIENT4, .dst = REAL4, .ttl = 63), UNREACHABLE(3),
		 IP4(.src = REAL4, .dst = CLIENT4), UDP(.sport = 5353, .dport = 9, .no_csum = 1))),
    CASE("an_error_of_ipv6_about_a_reply", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = ROUTER6, .dst = VIP6), TOO_BIG6(1400),
		   IP6(.src = VIP6, .dst = CLIENT6), BACK_VIP, DATA(30)),
	 .out = PKT(TO_BACKEND, IP6(.src = ROUTER6, .dst = REAL6, .hop = 63), TOO_BIG6(1400),
		    IP6(.src = REAL6, .dst = CLIENT6), BACK, DATA(30))),
    CASE("an_error_of_ipv6_about_a_reply_with_extension_headers", forwarded_tx,
	 .in = PKT(ETH(), IP6(.src = ROUTER6, .dst = VIP6), TOO_BIG6(1400),
		   IP6(.src = VIP6, .dst = CLIENT6), EXT6(.type = 60),
		   UDP(.sport = N_DNS, .dport = 9), DATA(3)),
	 .out = PKT(TO_BACKEND, IP6(.src = ROUTER6, .dst = REAL6, .hop = 63), TOO_BIG6(1400),
		    IP6(.src = REAL6, .dst = CLIENT6), EXT6(.type = 60),
		    UDP(.sport = 5353, .dport = 9), DATA(3))),

    /* ---- ICMP errors about the way in, on the way back ---- */
    CASE("a_closed_port_is_reported_by_the_vip", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UNREACHABLE(3),
		   IP4(.src = CLIENT4, .dst = REAL4, .ttl = 63), UDP(.sport = 9, .dport = 5353),
		   DATA(12)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), UNREACHABLE(3),
		    IP4(.src = CLIENT4, .dst = VIP4, .ttl = 63), UDP(.sport = 9, .dport = N_DNS),
		    DATA(12))),
    CASE("a_closed_port_of_ipv6_is_reported_by_the_vip", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), UNREACHABLE6(4),
		   IP6(.src = CLIENT6, .dst = REAL6, .hop = 63), UDP(.sport = 9, .dport = 5353),
		   DATA(12)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), UNREACHABLE6(4),
		    IP6(.src = CLIENT6, .dst = VIP6, .hop = 63), UDP(.sport = 9, .dport = N_DNS),
		    DATA(12))),
    CASE("a_router_before_the_backend_keeps_its_address", returned_tx,
	 .in = PKT(FROM_REAL, IP4(.src = ROUTER4, .dst = CLIENT4), FRAG_NEEDED(1300), Q_IN_REAL),
	 .out = PKT(TO_ROUTER, IP4(.src = ROUTER4, .dst = CLIENT4, .ttl = 63), FRAG_NEEDED(1300),
		    Q_IN_VIP)),
    CASE("a_router_of_ipv6_before_the_backend_keeps_its_address", returned_tx,
	 .in = PKT(FROM_REAL, IP6(.src = ROUTER6, .dst = CLIENT6), TOO_BIG6(1300),
		   IP6(.src = CLIENT6, .dst = REAL6, .hop = 63), SYN_REAL, DATA(100)),
	 .out = PKT(TO_ROUTER, IP6(.src = ROUTER6, .dst = CLIENT6, .hop = 63), TOO_BIG6(1300),
		    IP6(.src = CLIENT6, .dst = VIP6, .hop = 63), SYN_IN, DATA(100))),
    CASE("an_error_that_the_kernel_sends", returned_kernel,
	 .in = PKT(FROM_REAL, IP4(.src = REAL4, .dst = CLIENT4_ASK), UNREACHABLE(3),
		   IP4(.src = CLIENT4_ASK, .dst = REAL4), UDP(.sport = 9, .dport = 5353)),
	 .out = PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_ASK), UNREACHABLE(3),
		    IP4(.src = CLIENT4_ASK, .dst = VIP4), UDP(.sport = 9, .dport = N_DNS))),
    CASE("an_error_about_another_port_of_a_backend_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UNREACHABLE(3), IP4(.src = CLIENT4, .dst = REAL4),
		   UDP(.sport = 9, .dport = 123))),
    CASE("an_error_about_a_later_fragment_to_a_backend_does_not_leave", fragment_unknown,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UNREACHABLE(3),
		   IP4(.src = CLIENT4, .dst = REAL4, .frag = 100, .proto = 17), DATA(8))),
    CASE("an_echo_reply_of_a_backend_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), ICMP(.type = 0, .id = 1, .seq = 1), DATA(8))),
    CASE("a_cut_quote_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UNREACHABLE(3), IP4(.src = CLIENT4, .dst = REAL4),
		   DATA(2))),
};

/* ---- whole datagrams in fragments ---- */

/* Of a datagram of 4 000 bytes, in three parts. The checksum covers all of it. */
static uint16_t whole_sum(const char *src, const char *dst, int sport, int dport, uint16_t *ret)
{
	static struct packet whole;

	packet_build(&whole, PKT(ETH(), IP4(.src = src, .dst = dst),
				 UDP(.sport = sport, .dport = dport), DATA(3992)));
	memcpy(ret, whole.data + 14 + 20 + 6, 2);
	return *ret;
}

/* Part number n, with the checksum of the whole. */
static void build_part(struct packet *p, const struct layer *eth, const char *src, const char *dst,
		       int sport, int dport, int ttl, int n)
{
	static struct packet whole;
	const struct layer udp = UDP(.sport = sport, .dport = dport);
	const struct layer ip = IP4(.src = src, .dst = dst, .id = 99, .ttl = ttl, .proto = 17,
				    .frag = (n < 2 ? 0x2000 : 0) | n * 1480 / 8);
	int length = n < 2 ? 1480 : 4000 - 2960;
	uint16_t sum;

	packet_build(&whole, PKT(ETH(), IP4(.src = src, .dst = dst), udp, DATA(3992)));
	whole_sum(src, dst, sport, dport, &sum);
	packet_build(p, PKT(*eth, ip, RAW(whole.data + 34 + n * 1480, length)));
	if (!n)
		memcpy(p->data + 34 + 6, &sum, 2);
}

static void expect_part(struct fixture *f, int reason, const struct layer *in, const char *src,
			const char *dst, int sport, int dport, const struct layer *out,
			const char *out_src, const char *out_dst, int out_sport, int out_dport,
			int n)
{
	struct packet expected;

	build_part(&f->in, in, src, dst, sport, dport, 64, n);
	fixture_send(f);
	assert_int_equal(f->reason, reason);
	build_part(&expected, out, out_src, out_dst, out_sport, out_dport, 63, n);
	assert_true(packet_same(&expected, &f->out));
}

LB_TEST(a_datagram_of_4000_bytes_passes_in_fragments_both_ways)
{
	const struct layer client = ETH(), backend = TO_BACKEND, real = FROM_REAL,
			   router = TO_ROUTER;
	struct fixture *f = fixture_get();

	for (int n = 0; n < 3; n++)
		expect_part(f, LB_REASON_forwarded_tx, &client, CLIENT4, VIP4, 9, N_DNS, &backend,
			    CLIENT4, REAL4, 9, 5353, n);
	for (int n = 0; n < 3; n++)
		expect_part(f, LB_REASON_returned_tx, &real, REAL4, CLIENT4, 5353, 9, &router, VIP4,
			    CLIENT4, N_DNS, 9, n);
}

LB_TEST(fragments_of_ipv6_follow_the_first_both_ways)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), CLIENT_VIP6(), FRAG6(.more = 1, .id = 5), UDP(.sport = 9, .dport = N_DNS),
		   DATA(800)),
	       PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), FRAG6(.more = 1, .id = 5),
		   UDP(.sport = 9, .dport = 5353), DATA(800)));
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), CLIENT_VIP6(), FRAG6(.offset = 808, .id = 5, .next = 17), DATA(100)),
	       PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), FRAG6(.offset = 808, .id = 5, .next = 17),
		   DATA(100)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, REAL_CLIENT6(), FRAG6(.more = 1, .id = 6),
		   UDP(.sport = 5353, .dport = 9), DATA(800)),
	       PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), FRAG6(.more = 1, .id = 6),
		   UDP(.sport = N_DNS, .dport = 9), DATA(800)));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, REAL_CLIENT6(), FRAG6(.offset = 808, .id = 6, .next = 17), DATA(100)),
	       PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), FRAG6(.offset = 808, .id = 6, .next = 17),
		   DATA(100)));
}

/* What a backend's host sends for itself: the whole datagram stays as it is. */
LB_TEST(fragments_of_another_port_of_a_backend_are_not_changed)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(.frag = 0x2000, .id = 8), UDP(.sport = 123, .dport = 9),
		   DATA(800)),
	       NULL);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(.frag = 101, .id = 8, .proto = 17), DATA(100)), NULL);
}

LB_TEST(fragments_to_this_host_are_not_changed)
{
	struct fixture *f = fixture_get();

	fixture_local(f, CLIENT4);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(.frag = 0x2000, .id = 8), UDP(.sport = 5353, .dport = 9),
		   DATA(800)),
	       NULL);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(.frag = 101, .id = 8, .proto = 17), DATA(100)), NULL);
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(.frag = 101, .id = 9, .proto = 17), DATA(100)), NULL);
}

/* The backend is told, so that it sends shorter ones: path MTU discovery on the way back. */
LB_TEST(a_reply_too_long_for_the_clients_way_is_answered)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in,
		     PKT(FROM_REAL, IP4(.src = REAL4, .dst = CLIENT4_NARROW, .frag = 0x4000), BACK,
			 DATA(1361)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_too_big_answered);
	assert_int_equal(f->verdict, XDP_TX);
	assert_int_equal(f->out.data[34], 3);
	assert_int_equal(f->out.data[35], 4);
	assert_int_equal(f->out.data[40] << 8 | f->out.data[41], 1400);
	/* to the backend, about what it sent */
	assert_memory_equal(f->out.data + 30, f->in.data + 26, 4);
	assert_memory_equal(f->out.data + 42 + 12, f->in.data + 26, 8);
	packet_build(&f->in,
		     PKT(FROM_REAL, IP6(.src = REAL6, .dst = CLIENT6_NARROW), BACK, DATA(1341)));
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_too_big_answered);
	assert_int_equal(f->out.data[54], 2);
}

LB_TEST(too_long_for_the_backend_is_answered_by_the_vip)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, PKT(ETH(), CLIENT_VIP(.frag = 0x4000),
				 TCP(.sport = 1, .dport = N_WEB, .flags = ACK), DATA(1461)));
	expect_built(f, LB_REASON_too_big_answered,
		     PKT(ETH(.dst = PACKET_MAC_PEER, .src = PACKET_MAC_LB),
			 IP4(.src = VIP4, .dst = CLIENT4, .tos = 0xc0, .frag = 0x4000),
			 FRAG_NEEDED(1500), RAW(f->in.data + 14, 512)));
}

/* Not even the last copy of a frame may be sent twice. */
LB_TEST(what_is_for_another_host_is_not_changed)
{
	struct fixture *f = fixture_get();

	f->map.links[f->lo % LB_LINKS] =
	    (struct lb_link){.ifindex = f->lo, .mac = {0x010000000002}};
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT(), BACK),
	       PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP));
	expect(
	    f, LB_REASON_not_vip,
	    PKT(ETH(.dst = "02:00:00:00:00:77", .src = FIXTURE_MAC_BACKEND), REAL_CLIENT(), BACK),
	    NULL);
	expect(f, LB_REASON_not_vip,
	       PKT(ETH(.dst = "02:00:00:00:00:77", .src = FIXTURE_MAC_BACKEND),
		   REAL_CLIENT(OPTIONS), BACK),
	       NULL);
}

/* Nothing of an ICMP error that is wrong becomes right: its sum changes as its content does. */
LB_TEST(a_wrong_sum_of_an_error_stays_wrong)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, REAL_CLIENT(), ICMP(.type = 3, .code = 3, .bad_csum = 0x100),
		   IP4(.src = CLIENT4, .dst = REAL4), UDP(.sport = 9, .dport = 5353)),
	       PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), ICMP(.type = 3, .code = 3, .bad_csum = 0x100),
		   IP4(.src = CLIENT4, .dst = VIP4), UDP(.sport = 9, .dport = N_DNS)));
}

int main(void)
{
	return run_packet_tests_in("nat_rare", nat_setup, cases, ARRAY_SIZE(cases));
}
