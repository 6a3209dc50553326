/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat`, byte by byte: plain packets in both directions, where replies go, and what is not
 * changed. */
#include <arpa/inet.h>
#include <string.h>

#include "support/nat_case.h"

#define SYN_IN    TCP(.sport = 40000, .dport = N_WEB, .seq = 7, .flags = SYN)
#define SYN_REAL  TCP(.sport = 40000, .dport = 8080, .seq = 7, .flags = SYN)
#define BACK      TCP(.sport = 8080, .dport = 40000, .seq = 9, .ack = 8, .flags = SYN | ACK)
#define BACK_VIP  TCP(.sport = N_WEB, .dport = 40000, .seq = 9, .ack = 8, .flags = SYN | ACK)
#define TO(c)     IP4(.src = REAL4, .dst = c)
#define VIP_TO(c) IP4(.src = VIP4, .dst = c, .ttl = 63)

static const struct packet_case cases[] = {
    /* ---- the way in ---- */
    CASE("a_tcp_packet_gets_address_and_port_of_the_backend", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(), SYN_IN),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), SYN_REAL)),
    CASE("a_tcp_packet_with_an_odd_payload", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(.id = 77, .tos = 0xb9, .frag = 0x4000),
		   TCP(.sport = 1, .dport = N_WEB, .flags = ACK, .options_len = 12), DATA(333)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63, .id = 77, .tos = 0xb9, .frag = 0x4000),
		    TCP(.sport = 1, .dport = 8080, .flags = ACK, .options_len = 12), DATA(333))),
    CASE("a_tcp6_packet_gets_address_and_port_of_the_backend", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP6(.flow = 0x12345), SYN_IN),
	 .out = PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63, .flow = 0x12345), SYN_REAL)),
    CASE("a_datagram_gets_address_and_port_of_the_backend", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(), UDP(.sport = 9, .dport = N_DNS), DATA(33)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), UDP(.sport = 9, .dport = 5353), DATA(33))),
    CASE("a_datagram_of_ipv6", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP6(), UDP(.sport = 9, .dport = N_DNS), DATA(33)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), UDP(.sport = 9, .dport = 5353), DATA(33))),
    CASE("an_empty_datagram_of_ipv6", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP6(), UDP(.sport = 9, .dport = N_DNS)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), UDP(.sport = 9, .dport = 5353))),
    CASE("a_datagram_without_a_checksum_stays_without", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(), UDP(.sport = 9, .dport = N_DNS, .no_csum = 1), DATA(8)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63),
		    UDP(.sport = 9, .dport = 5353, .no_csum = 1), DATA(8))),
    CASE("the_same_port_at_both_ends_through_a_vlan", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(), TCP(.sport = 1, .dport = N_VLAN, .flags = SYN)),
	 .out = PKT(TO_BACKEND, VLAN(.tci = 100), IP4(.src = CLIENT4, .dst = REAL4_VLAN, .ttl = 63),
		    TCP(.sport = 1, .dport = N_VLAN, .flags = SYN))),
    CASE("through_another_interface", forwarded_redirect,
	 .in = PKT(ETH(), CLIENT_VIP(), TCP(.sport = 1, .dport = N_FAR, .flags = SYN)),
	 .out = PKT(TO_BACKEND, IP4(.src = CLIENT4, .dst = REAL4_FAR, .ttl = 63),
		    TCP(.sport = 1, .dport = 8082, .flags = SYN))),
    CASE("a_service_of_any_port_keeps_the_port", forwarded_tx,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = VIP4_ANY),
		   TCP(.sport = 1, .dport = 12345, .flags = SYN)),
	 .out = PKT(TO_BACKEND, IP4(.src = CLIENT4, .dst = REAL4_ANY, .ttl = 63),
		    TCP(.sport = 1, .dport = 12345, .flags = SYN))),
    CASE("a_wrong_checksum_stays_wrong", forwarded_tx,
	 .in = PKT(ETH(), CLIENT_VIP(),
		   TCP(.sport = 40000, .dport = N_WEB, .flags = ACK, .bad_csum = 0x100), DATA(7)),
	 .out = PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63),
		    TCP(.sport = 40000, .dport = 8080, .flags = ACK, .bad_csum = 0x100), DATA(7))),
    CASE("a_dead_backend_gets_nothing", no_backend,
	 .in = PKT(ETH(), CLIENT_VIP(),
		   TCP(.sport = 1, .dport = N_DEAD, .flags = SYN | RST))), /* owed no answer */

    /* ---- the way back ---- */
    CASE("a_reply_gets_the_vip_and_its_port", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), BACK),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP)),
    CASE("a_reply_with_an_odd_payload", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.id = 5, .tos = 2, .frag = 0x4000, .ttl = 2),
		   TCP(.sport = 8080, .dport = 1, .flags = ACK | FIN, .options_len = 8), DATA(901)),
	 .out =
	     PKT(TO_ROUTER, VIP_CLIENT(.ttl = 1, .id = 5, .tos = 2, .frag = 0x4000),
		 TCP(.sport = N_WEB, .dport = 1, .flags = ACK | FIN, .options_len = 8), DATA(901))),
    CASE("a_reply_of_ipv6", returned_tx, .in = PKT(FROM_REAL, REAL_CLIENT6(.flow = 9), BACK),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63, .flow = 9), BACK_VIP)),
    CASE("a_datagram_in_reply", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UDP(.sport = 5353, .dport = 9), DATA(77)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), UDP(.sport = N_DNS, .dport = 9), DATA(77))),
    CASE("a_datagram_of_ipv6_in_reply", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), UDP(.sport = 5353, .dport = 9), DATA(77)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), UDP(.sport = N_DNS, .dport = 9), DATA(77))),
    CASE("a_short_datagram_of_ipv6_in_reply", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(), UDP(.sport = 5353, .dport = 9), DATA(3)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), UDP(.sport = N_DNS, .dport = 9), DATA(3))),
    CASE("a_reply_without_a_checksum_stays_without", returned_tx,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UDP(.sport = 5353, .dport = 9, .no_csum = 1), DATA(8)),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), UDP(.sport = N_DNS, .dport = 9, .no_csum = 1),
		    DATA(8))),
    CASE("a_reply_of_a_service_of_any_port", returned_tx,
	 .in = PKT(FROM_REAL, IP4(.src = REAL4_ANY, .dst = CLIENT4),
		   TCP(.sport = 12345, .dport = 1, .flags = ACK)),
	 .out = PKT(TO_ROUTER, IP4(.src = VIP4_ANY, .dst = CLIENT4, .ttl = 63),
		    TCP(.sport = 12345, .dport = 1, .flags = ACK))),
    CASE("a_reply_of_a_dead_backend_gets_its_vip_too", returned_tx,
	 .in = PKT(FROM_REAL, IP4(.src = REAL4_DEAD, .dst = CLIENT4),
		   TCP(.sport = 8083, .dport = 1, .flags = ACK)),
	 .out = PKT(TO_ROUTER, IP4(.src = VIP4, .dst = CLIENT4, .ttl = 63),
		    TCP(.sport = N_DEAD, .dport = 1, .flags = ACK))),
    CASE("a_reply_by_a_more_specific_way_through_a_vlan", returned_tx,
	 .in = PKT(FROM_REAL, TO(CLIENT4_VLAN), BACK),
	 .out = PKT(TO_ROUTER, VLAN(.tci = 200), VIP_TO(CLIENT4_VLAN), BACK_VIP)),
    CASE("a_reply_that_came_in_through_a_vlan", returned_tx,
	 .in = PKT(FROM_REAL, VLAN(.tci = 100), REAL_CLIENT(), BACK),
	 .out = PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP)),
    CASE("a_reply_from_a_vlan_to_a_vlan", returned_tx,
	 .in = PKT(FROM_REAL, VLAN(.tci = 100), TO(CLIENT4_VLAN), BACK),
	 .out = PKT(TO_ROUTER, VLAN(.tci = 200), VIP_TO(CLIENT4_VLAN), BACK_VIP)),
    CASE("a_reply_through_another_interface", returned_redirect,
	 .in = PKT(FROM_REAL, TO(CLIENT4_FAR), BACK),
	 .out = PKT(TO_ROUTER, VIP_TO(CLIENT4_FAR), BACK_VIP)),

    /* ---- not sent from here: the kernel gets it with its VIP, and takes the hop itself ---- */
    CASE("a_reply_without_a_way_is_the_kernels_with_its_vip", returned_kernel,
	 .in = PKT(FROM_REAL, TO(CLIENT4_ASK), BACK),
	 .out = PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_ASK), BACK_VIP)),
    CASE("a_reply_of_ipv6_without_a_way", returned_kernel,
	 .in = PKT(FROM_REAL, IP6(.src = REAL6, .dst = CLIENT6_ASK), BACK),
	 .out = PKT(FROM_REAL, IP6(.src = VIP6, .dst = CLIENT6_ASK), BACK_VIP)),
    CASE("a_reply_whose_interface_takes_no_redirects", returned_kernel,
	 .in = PKT(FROM_REAL, TO(CLIENT4_NO_IF), BACK),
	 .out = PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_NO_IF), BACK_VIP)),

    /* ---- what is no reply ---- */
    CASE("another_port_of_a_backend_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), TCP(.sport = 22, .dport = 1, .flags = ACK))),
    CASE("another_protocol_of_a_backends_port_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(), UDP(.sport = 8080, .dport = 1), DATA(8))),
    CASE("another_host_is_not_changed", not_vip,
	 .in = PKT(FROM_REAL, IP4(.src = "10.0.0.99", .dst = CLIENT4), BACK)),
    CASE("a_packet_to_the_real_itself_is_not_changed", not_vip,
	 .in = PKT(ETH(), CLIENT_REAL(), TCP(.sport = 1, .dport = 8080, .flags = SYN))),
    CASE("a_reply_whose_ttl_ends_here_is_the_kernels_to_answer", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT(.ttl = 1), BACK)),
    CASE("a_reply_of_ipv6_whose_hop_limit_ends_here", not_vip,
	 .in = PKT(FROM_REAL, REAL_CLIENT6(.hop = 1), BACK)),
    CASE("a_copy_of_a_frame_for_a_group_is_not_changed", not_vip,
	 .in =
	     PKT(ETH(.dst = "ff:ff:ff:ff:ff:ff", .src = FIXTURE_MAC_BACKEND), REAL_CLIENT(), BACK)),
};

static void count_is(struct fixture *f, const char *real, int port, uint64_t packets,
		     uint64_t bytes)
{
	struct lb_return_count count = fixture_return_count(f, nat_backend(f, real, port));

	assert_int_equal(count.packets, packets);
	assert_int_equal(count.bytes, bytes);
}

LB_TEST(replies_are_counted_for_their_backend)
{
	struct fixture *f = fixture_get();
	uint16_t id = nat_backend(f, REAL4, 8080);
	struct lb_return_count before = fixture_return_count(f, id);

	packet_build(&f->in, PKT(FROM_REAL, REAL_CLIENT(), BACK, DATA(100)));
	fixture_send(f);
	packet_build(&f->in, PKT(FROM_REAL, TO(CLIENT4_ASK), BACK, DATA(100)));
	fixture_send(f);
	count_is(f, REAL4, 8080, before.packets + 2, before.bytes + 280);
	packet_build(&f->in, PKT(FROM_REAL, REAL_CLIENT(.ttl = 1), BACK));
	fixture_send(f);
	count_is(f, REAL4, 8080, before.packets + 2, before.bytes + 280);
	assert_int_equal(f->bytes[LB_REASON_not_vip], 40);
}

LB_TEST(what_goes_to_this_host_is_not_changed)
{
	struct fixture *f = fixture_get();

	fixture_local(f, CLIENT4);
	fixture_local(f, CLIENT6);
	expect(f, LB_REASON_not_vip, PKT(FROM_REAL, REAL_CLIENT(), BACK), NULL);
	expect(f, LB_REASON_not_vip, PKT(FROM_REAL, REAL_CLIENT6(), BACK), NULL);
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, TO("198.51.100.8"), BACK),
	       PKT(TO_ROUTER, VIP_TO("198.51.100.8"), BACK_VIP));
}

/* Another address with the same bit as one of this host's. */
LB_TEST(an_address_that_only_looks_like_this_hosts_gets_replies)
{
	struct fixture *f = fixture_get();

	fixture_local(f, "10.0.0.1");
	memset(f->map.settings->local, 0xff, sizeof(f->map.settings->local));
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT(), BACK),
	       PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP));
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT6(), BACK),
	       PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), BACK_VIP));
}

LB_TEST(what_goes_to_a_direct_client_is_not_changed)
{
	static const char *const direct[] = {"2001:db8:c::/48", "192.0.2.128/25",
					     "198.51.100.4/30"};
	struct fixture *f = fixture_get();

	fixture_direct(f, direct, 3);
	expect(f, LB_REASON_nat_direct, PKT(FROM_REAL, REAL_CLIENT(), BACK), NULL);
	expect(f, LB_REASON_nat_direct, PKT(FROM_REAL, TO("192.0.2.200"), BACK), NULL);
	expect(f, LB_REASON_nat_direct, PKT(FROM_REAL, REAL_CLIENT6(), BACK), NULL);
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, TO("198.51.100.8"), BACK),
	       PKT(TO_ROUTER, VIP_TO("198.51.100.8"), BACK_VIP));
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, TO("192.0.2.127"), BACK),
	       PKT(TO_ROUTER, VIP_TO("192.0.2.127"), BACK_VIP));
}

/* Each word goes one way on, and none is left empty. */
LB_TEST(reals_that_are_not_in_their_own_ways_are_found)
{
	const struct lb_real_bucket none = {};
	struct fixture *f = fixture_get();

	for (unsigned i = 0; i < FIXTURE_REALS / 2; i++) {
		const struct lb_real_bucket before = f->map.reals[i];
		struct lb_real_bucket *bucket = &f->map.reals[i];

		if (!memcmp(&before, &none, sizeof(none)))
			continue;
		for (unsigned way = 0; way < LB_REAL_WAYS; way++) {
			__u64 word = before.real[(way + 1) % LB_REAL_WAYS];

			bucket->real[way] = word ? word : LB_REAL(~before.real[way], 1);
		}
	}
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT(), BACK),
	       PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP));
	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT6(), BACK),
	       PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), BACK_VIP));
	expect(f, LB_REASON_returned_tx,
	       PKT(FROM_REAL, IP4(.src = REAL4_ANY, .dst = CLIENT4),
		   TCP(.sport = 12345, .dport = 1, .flags = ACK)),
	       PKT(TO_ROUTER, IP4(.src = VIP4_ANY, .dst = CLIENT4, .ttl = 63),
		   TCP(.sport = 12345, .dport = 1, .flags = ACK)));
	expect(f, LB_REASON_not_vip,
	       PKT(FROM_REAL, REAL_CLIENT(), TCP(.sport = 22, .dport = 1, .flags = ACK)), NULL);
}

LB_TEST(without_nat_services_nothing_is_a_reply)
{
	struct fixture *f = fixture_get();

	f->map.settings->tables[1].reals = 0;
	expect(f, LB_REASON_not_vip, PKT(FROM_REAL, REAL_CLIENT(), BACK), NULL);
}

LB_TEST(without_known_ways_the_kernel_is_asked)
{
	struct fixture *f = fixture_get();

	f->map.settings->hops4 = f->map.settings->hops6 = 0;
	expect(f, LB_REASON_returned_kernel, PKT(FROM_REAL, REAL_CLIENT(), BACK),
	       PKT(FROM_REAL, VIP_CLIENT(), BACK_VIP));
}

/* ---- hairpins ---- */

#define FROM(c, port) TCP(.sport = 40000, .dport = port, .flags = SYN)

LB_TEST(a_backend_is_not_sent_to_itself)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_nat_hairpin,
	       PKT(FROM_REAL, IP4(.src = REAL4, .dst = VIP4), FROM(REAL4, N_WEB)), NULL);
	expect(f, LB_REASON_nat_hairpin,
	       PKT(FROM_REAL, IP6(.src = REAL6, .dst = VIP6), FROM(REAL6, N_WEB)), NULL);
}

LB_TEST(a_backend_is_not_sent_to_one_on_its_link)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_nat_hairpin,
	       PKT(FROM_REAL, IP4(.src = REAL4_BESIDE, .dst = VIP4), FROM(REAL4_BESIDE, N_WEB)),
	       NULL);
	/* the reverse way, REAL4_FAR is behind a router and another interface */
	expect(f, LB_REASON_forwarded_tx,
	       PKT(FROM_REAL, IP4(.src = REAL4_FAR, .dst = VIP4), FROM(REAL4_FAR, N_WEB)),
	       PKT(TO_BACKEND, IP4(.src = REAL4_FAR, .dst = REAL4, .ttl = 63),
		   TCP(.sport = 40000, .dport = 8080, .flags = SYN)));
	expect(f, LB_REASON_forwarded_redirect,
	       PKT(FROM_REAL, IP4(.src = REAL4, .dst = VIP4), FROM(REAL4, N_FAR)),
	       PKT(TO_BACKEND, IP4(.src = REAL4, .dst = REAL4_FAR, .ttl = 63),
		   TCP(.sport = 40000, .dport = 8082, .flags = SYN)));
}

/* ---- clients that answer ---- */

#define OTHER_REAL4 "10.0.0.17" /* UDP, through another interface */
#define OTHER_REAL6 "fd00::17"
#define HOST4       "10.0.0.1"
#define HOST6       "fd00::1"

enum { N_OTHER = 54, ON_OTHER = 5454, ECHO = 7, EPHEMERAL = 40000 };

static void add_other_datagram_service(struct fixture *f)
{
	const struct nat_service others[] = {
	    {VIP4_ANY, IPPROTO_UDP, N_OTHER, OTHER_REAL4, ON_OTHER, {0}, true},
	    {VIP6, IPPROTO_UDP, N_OTHER, OTHER_REAL6, ON_OTHER, {0}, true}};

	nat_service_add(f, &others[0]);
	nat_service_add(f, &others[1]);
	fixture_local(f, HOST4);
	fixture_local(f, HOST6);
}

/* Plain, and by the long path. */
static void expect_datagram4(struct fixture *f, int reason, const char *from, int port)
{
	const struct layer *sent = PKT(TO_BACKEND, IP4(.src = from, .dst = REAL4, .ttl = 63),
				       UDP(.sport = port, .dport = 5353), DATA(9));

	sent = reason == LB_REASON_forwarded_tx ? sent : NULL;
	expect(
	    f, reason,
	    PKT(ETH(), IP4(.src = from, .dst = VIP4), UDP(.sport = port, .dport = N_DNS), DATA(9)),
	    sent);
	expect(f, reason,
	       PKT(ETH(), VLAN(.tci = 7), IP4(.src = from, .dst = VIP4),
		   UDP(.sport = port, .dport = N_DNS), DATA(9)),
	       sent);
}

static void expect_datagram6(struct fixture *f, int reason, const char *from, int port)
{
	const struct layer *sent = PKT(TO_BACKEND, IP6(.src = from, .dst = REAL6, .hop = 63),
				       UDP(.sport = port, .dport = 5353), DATA(9));

	expect(
	    f, reason,
	    PKT(ETH(), IP6(.src = from, .dst = VIP6), UDP(.sport = port, .dport = N_DNS), DATA(9)),
	    reason == LB_REASON_forwarded_tx ? sent : NULL);
}

/* It would answer the backend's answer, and the backend that, with no end. */
LB_TEST(a_vip_is_no_client_of_a_datagram)
{
	struct fixture *f = fixture_get();

	add_other_datagram_service(f);
	expect_datagram4(f, LB_REASON_martian, VIP4_ANY, N_OTHER);
	expect_datagram4(f, LB_REASON_martian, VIP4_ANY, N_DNS);
	/* nothing serves there, so it ends with the backend's answer */
	expect_datagram4(f, LB_REASON_forwarded_tx, VIP4_ANY, EPHEMERAL);
	expect_datagram4(f, LB_REASON_forwarded_tx, CLIENT4, N_OTHER);
}

LB_TEST(this_host_is_no_client_of_a_datagram)
{
	struct fixture *f = fixture_get();

	add_other_datagram_service(f);
	expect_datagram4(f, LB_REASON_martian, HOST4, ECHO);
	expect_datagram4(f, LB_REASON_martian, HOST4, 123);
	expect_datagram6(f, LB_REASON_martian, HOST6, 123);
	expect_datagram6(f, LB_REASON_forwarded_tx, CLIENT6, 123);
}

LB_TEST(a_real_is_no_client_of_a_datagram)
{
	struct fixture *f = fixture_get();

	add_other_datagram_service(f);
	expect_datagram4(f, LB_REASON_nat_hairpin, OTHER_REAL4, ON_OTHER);
	expect_datagram6(f, LB_REASON_nat_hairpin, OTHER_REAL6, ON_OTHER);
	/* as a client its host has another port */
	expect_datagram4(f, LB_REASON_forwarded_tx, OTHER_REAL4, EPHEMERAL);
	expect_datagram4(f, LB_REASON_forwarded_tx, OTHER_REAL4, ON_OTHER + 1);
	expect_datagram6(f, LB_REASON_forwarded_tx, OTHER_REAL6, EPHEMERAL);
	/* the answer to a datagram that claimed to come from that VIP */
	expect(f, LB_REASON_nat_hairpin,
	       PKT(FROM_REAL, IP4(.src = REAL4, .dst = VIP4_ANY),
		   UDP(.sport = 5353, .dport = N_OTHER), DATA(9)),
	       NULL);
}

LB_TEST(connections_of_such_clients_end_by_themselves)
{
	struct fixture *f = fixture_get();

	add_other_datagram_service(f);
	expect(f, LB_REASON_forwarded_tx,
	       PKT(ETH(), IP4(.src = VIP4_ANY, .dst = VIP4), TCP(.sport = 53, .dport = N_WEB)),
	       PKT(TO_BACKEND, IP4(.src = VIP4_ANY, .dst = REAL4, .ttl = 63),
		   TCP(.sport = 53, .dport = 8080)));
}

LB_TEST(a_reply_to_a_backend_gets_its_vip)
{
	struct fixture *f = fixture_get();

	expect(f, LB_REASON_returned_tx, PKT(FROM_REAL, IP4(.src = REAL4, .dst = REAL4_FAR), BACK),
	       PKT(TO_ROUTER, IP4(.src = VIP4, .dst = REAL4_FAR, .ttl = 63), BACK_VIP));
}

/* ---- unfinished checksums ---- */

/* The field as a host leaves it that counts on its interface. */
static void unfinish(struct packet *p, size_t header, size_t field)
{
	uint8_t *ip = p->data + (p->data[12] == 0x81 ? 18 : 14);
	bool v6 = ip[0] >> 4 == 6;
	uint16_t length = htons(p->data + p->len - ip - header),
		 protocol = htons(field == 16 ? IPPROTO_TCP : IPPROTO_UDP), sum;

	sum = v6 ? packet_sum(ip + 8, 32, length + protocol)
		 : packet_sum(ip + 12, 8, length + protocol);
	memcpy(ip + header + field, &sum, 2);
}

static void expect_unfinished(int reason, const struct layer *in, size_t header, size_t field,
			      const struct layer *out)
{
	struct fixture *f = fixture_get();

	packet_build(&f->in, in);
	unfinish(&f->in, header, field);
	expect_built(f, reason, out);
}

LB_TEST(unfinished_checksums_are_made_anew)
{
	expect_unfinished(LB_REASON_forwarded_tx, PKT(ETH(), CLIENT_VIP(), SYN_IN, DATA(1001)), 20,
			  16, PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), SYN_REAL, DATA(1001)));
	expect_unfinished(LB_REASON_forwarded_tx, PKT(ETH(), CLIENT_VIP6(), SYN_IN, DATA(8)), 40,
			  16, PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), SYN_REAL, DATA(8)));
	expect_unfinished(LB_REASON_returned_tx, PKT(FROM_REAL, REAL_CLIENT(), BACK, DATA(700)), 20,
			  16, PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63), BACK_VIP, DATA(700)));
	expect_unfinished(
	    LB_REASON_returned_tx,
	    PKT(FROM_REAL, REAL_CLIENT6(), UDP(.sport = 5353, .dport = 9), DATA(77)), 40, 6,
	    PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), UDP(.sport = N_DNS, .dport = 9), DATA(77)));
	expect_unfinished(LB_REASON_returned_tx,
			  PKT(FROM_REAL, VLAN(.tci = 100), TO(CLIENT4_VLAN),
			      UDP(.sport = 5353, .dport = 9), DATA(5)),
			  20, 6,
			  PKT(TO_ROUTER, VLAN(.tci = 200), VIP_TO(CLIENT4_VLAN),
			      UDP(.sport = N_DNS, .dport = 9), DATA(5)));
}

#define OPTIONS .options = "\x07\x07\x04\x00\x00\x00\x00\x01", .options_len = 8

LB_TEST(unfinished_checksums_behind_options_are_made_anew)
{
	expect_unfinished(LB_REASON_forwarded_tx, PKT(ETH(), CLIENT_VIP(OPTIONS), SYN_IN, DATA(11)),
			  28, 16,
			  PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63, OPTIONS), SYN_REAL, DATA(11)));
	expect_unfinished(
	    LB_REASON_returned_tx,
	    PKT(FROM_REAL, REAL_CLIENT(OPTIONS), UDP(.sport = 5353, .dport = 9), DATA(6)), 28, 6,
	    PKT(TO_ROUTER, VIP_CLIENT(.ttl = 63, OPTIONS), UDP(.sport = N_DNS, .dport = 9),
		DATA(6)));
}

LB_TEST(unfinished_checksums_behind_extension_headers_are_made_anew)
{
	expect_unfinished(
	    LB_REASON_forwarded_tx,
	    PKT(ETH(), CLIENT_VIP6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 2), SYN_IN),
	    40 + 8 + 24, 16,
	    PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), EXT6(.type = 0), EXT6(.type = 60, .extra = 2),
		SYN_REAL));
	expect_unfinished(
	    LB_REASON_returned_tx,
	    PKT(FROM_REAL, REAL_CLIENT6(), EXT6(.type = 60, .extra = 1), BACK, DATA(3)), 40 + 16,
	    16,
	    PKT(TO_ROUTER, VIP_CLIENT6(.hop = 63), EXT6(.type = 60, .extra = 1), BACK_VIP,
		DATA(3)));
}

/* Longer than what the kernel has room for in one page: the rest is in another buffer. */
LB_TEST(unfinished_checksums_of_packets_in_several_buffers_are_made_anew)
{
	struct fixture *f = fixture_get();

	for (uint32_t id = 1; id < f->backends; id++)
		f->map.backends[id].link_mtu = f->map.backends[id].mtu = 9000;
	expect_unfinished(LB_REASON_forwarded_tx, PKT(ETH(), CLIENT_VIP(), SYN_IN, DATA(3960)), 20,
			  16, PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), SYN_REAL, DATA(3960)));
	expect_unfinished(LB_REASON_forwarded_tx, PKT(ETH(), CLIENT_VIP6(), SYN_IN, DATA(3801)), 40,
			  16, PKT(TO_BACKEND, CLIENT_REAL6(.hop = 63), SYN_REAL, DATA(3801)));
}

LB_TEST(no_checksum_is_looked_at_where_all_are_finished)
{
	struct fixture *f = fixture_get();
	struct packet expected;

	f->map.settings->finished = 1;
	packet_build(&f->in, PKT(ETH(), CLIENT_VIP(), SYN_IN, DATA(9)));
	unfinish(&f->in, 20, 16);
	fixture_send(f);
	packet_build(&expected, PKT(TO_BACKEND, CLIENT_REAL(.ttl = 63), SYN_REAL, DATA(9)));
	assert_memory_not_equal(f->out.data + 50, expected.data + 50, 2);
}

/* The kernel finishes what it has marked: there the field must have the new pseudo-header. */
LB_TEST(an_unfinished_checksum_for_the_kernel_stays_unfinished)
{
	struct fixture *f = fixture_get();
	struct packet expected;

	packet_build(&f->in, PKT(FROM_REAL, TO(CLIENT4_ASK), BACK, DATA(10)));
	unfinish(&f->in, 20, 16);
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_returned_kernel);
	packet_build(&expected,
		     PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_ASK), BACK_VIP, DATA(10)));
	unfinish(&expected, 20, 16);
	assert_true(packet_same(&expected, &f->out));
}

LB_TEST(an_unfinished_checksum_behind_options_for_the_kernel_stays_unfinished)
{
	struct fixture *f = fixture_get();
	struct packet expected;

	packet_build(
	    &f->in, PKT(FROM_REAL, IP4(.src = REAL4, .dst = CLIENT4_ASK, OPTIONS), BACK, DATA(10)));
	unfinish(&f->in, 28, 16);
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_returned_kernel);
	packet_build(&expected, PKT(FROM_REAL, IP4(.src = VIP4, .dst = CLIENT4_ASK, OPTIONS),
				    BACK_VIP, DATA(10)));
	unfinish(&expected, 28, 16);
	assert_true(packet_same(&expected, &f->out));
}

int main(void)
{
	return run_packet_tests_in("nat", nat_setup, cases, ARRAY_SIZE(cases));
}
