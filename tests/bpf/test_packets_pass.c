/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is not for a VIP is passed unchanged. And every packet, however broken, has one outcome,
 * which is counted once. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/packet_case.h"

#define OTHER4 "192.0.2.99"
#define OTHER6 "2001:db8::99"
/* To an address that is no VIP; the port is that of a service. */
#define NOT4(...) IP4(.src = CLIENT4, .dst = OTHER4, __VA_ARGS__)
#define NOT6(...) IP6(.src = CLIENT6, .dst = OTHER6, __VA_ARGS__)
#define SYN_WEB   TCP(.sport = 1, .dport = 80, .flags = SYN)

static const struct packet_case cases[] = {
    /* ---- not IP ---- */
    CASE("arp_is_passed_untouched", not_ip,
	 .in = PKT(ETH(.dst = "ff:ff:ff:ff:ff:ff", .type = 0x0806), DATA(28))),
    CASE("lldp_is_passed_untouched", not_ip,
	 .in = PKT(ETH(.dst = "01:80:c2:00:00:0e", .type = 0x88cc), DATA(60))),
    CASE("stp_is_passed_untouched", not_ip,
	 .in = PKT(ETH(.dst = "01:80:c2:00:00:00", .type = 38), DATA(46))),
    CASE("eapol_is_passed_untouched", not_ip, .in = PKT(ETH(.type = 0x888e), DATA(20))),
    CASE("lacp_is_passed_untouched", not_ip,
	 .in = PKT(ETH(.dst = "01:80:c2:00:00:02", .type = 0x8809), DATA(110))),
    CASE("mpls_is_passed_untouched", not_ip, .in = PKT(ETH(.type = 0x8847), DATA(64))),
    CASE("pppoe_is_passed_untouched", not_ip, .in = PKT(ETH(.type = 0x8864), DATA(64))),
    CASE("arp_in_a_vlan_is_passed_untouched", not_ip,
	 .in = PKT(ETH(), VLAN(.tci = 5, .type = 0x0806), DATA(28))),
    CASE("a_bare_ethernet_header_is_passed_untouched", not_ip, .in = PKT(ETH(.type = 0x0806))),
    CASE("three_vlan_tags_are_passed_untouched", not_ip,
	 .in = PKT(ETH(), VLAN(.tci = 1, .tpid = 0x88a8), VLAN(.tci = 2), VLAN(.tci = 3), IN4(),
		   SYN_WEB)),

    /* ---- IP, not to a VIP ---- */
    CASE("tcp4_to_another_address_is_passed_untouched", not_vip, .in = PKT(ETH(), NOT4(), SYN_WEB)),
    CASE("tcp6_to_another_address_is_passed_untouched", not_vip, .in = PKT(ETH(), NOT6(), SYN_WEB)),
    CASE("udp_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(), UDP(.sport = 1, .dport = 80), DATA(9))),
    CASE("a_packet_from_a_vip_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), IP4(.src = VIP4, .dst = CLIENT4),
		   TCP(.sport = 80, .dport = 1, .flags = ACK))),
    CASE("a_first_fragment_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.frag = 0x2000, .id = 5), UDP(.sport = 1, .dport = 80), DATA(600))),
    CASE("a_later_fragment_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.frag = 0x0045, .id = 5, .proto = 17), DATA(600))),
    CASE("an_ipv6_fragment_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(), FRAG6(.offset = 1232, .id = 9, .next = 17), DATA(400))),
    CASE("ipv4_options_to_another_address_are_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.options = "\x07\x07\x04\x00\x00\x00\x00\x00", .options_len = 8),
		   SYN_WEB)),
    CASE("router_alert_igmp_is_passed_untouched", not_vip,
	 .in = PKT(ETH(),
		   IP4(.src = CLIENT4, .dst = "224.0.0.22", .ttl = 1, .proto = 2,
		       .options = "\x94\x04\x00\x00", .options_len = 4),
		   DATA(16))),
    CASE("ip_in_ip_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(), IN4(), SYN_WEB)),
    CASE("ipv6_in_ipv4_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(), IN6(), SYN_WEB)),
    CASE("ipv6_in_ipv6_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(), IN6(), SYN_WEB)),
    CASE("gre_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.proto = 47), DATA(80))),
    CASE("esp_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.proto = 50), DATA(80))),
    CASE("ah_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(), EXT6(.type = 51, .extra = 4), SYN_WEB)),
    CASE("sctp_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.proto = 132), DATA(40))),
    CASE("ospf_is_passed_untouched", not_vip,
	 .in =
	     PKT(ETH(), IP4(.src = CLIENT4, .dst = "224.0.0.5", .ttl = 1, .proto = 89), DATA(44))),
    CASE("echo_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(), ICMP(.type = 8, .id = 1, .seq = 1), DATA(56))),
    CASE("icmp_errors_to_another_address_are_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(), ICMP(.type = 3, .code = 1), IP4(.src = VIP4, .dst = CLIENT4),
		   TCP(.sport = 80, .dport = 1, .first = 8))),
    CASE("neighbour_solicitation_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = "ff02::1:ff00:10", .hop = 255),
		   ICMP6(.type = 135), DATA(24))),
    CASE("mld_with_hop_by_hop_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), IP6(.src = "fe80::1", .dst = "ff02::16", .hop = 1), EXT6(.type = 0),
		   ICMP6(.type = 143), DATA(20))),
    CASE("extension_headers_to_another_address_are_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 3), EXT6(.type = 43),
		   SYN_WEB)),
    CASE("ten_extension_headers_to_another_address_are_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(), EXT6(.type = 60), EXT6(.type = 60), EXT6(.type = 60),
		   EXT6(.type = 60), EXT6(.type = 60), EXT6(.type = 60), EXT6(.type = 60),
		   EXT6(.type = 60), EXT6(.type = 60), EXT6(.type = 60), SYN_WEB)),
    CASE("a_jumbogram_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(.len = ZERO), EXT6(.type = 0), SYN_WEB)),
    CASE("broadcast_dhcp_is_passed_untouched", not_vip,
	 .in = PKT(ETH(.dst = "ff:ff:ff:ff:ff:ff"), IP4(.src = "0.0.0.0", .dst = "255.255.255.255"),
		   UDP(.sport = 68, .dport = 67), DATA(300))),
    CASE("a_tagged_packet_to_another_address_keeps_its_tag", not_vip,
	 .in = PKT(ETH(), VLAN(.tci = 7), NOT4(), SYN_WEB)),
    CASE("a_double_tagged_packet_to_another_address_keeps_both", not_vip,
	 .in = PKT(ETH(), VLAN(.tpid = 0x88a8, .tci = 3), VLAN(.tci = 7), NOT6(), SYN_WEB)),
    CASE("bad_checksums_to_another_address_are_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.bad_csum = 1), TCP(.dport = 80, .flags = SYN, .bad_csum = 1))),
    CASE("a_cut_tcp_header_to_another_address_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.proto = 6), DATA(3))),
    CASE("an_ipv4_vip_mapped_into_ipv6_is_not_the_vip", not_vip,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = "::ffff:192.0.2.10"), SYN_WEB)),
    CASE("an_ipv6_address_that_starts_like_an_ipv4_vip_is_not_it", not_vip,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = "c000:020a::"), SYN_WEB)),
    CASE("a_vlan_tag_within_a_q_in_q_tag_of_802_1q_is_looked_through", not_vip,
	 .in = PKT(ETH(), VLAN(.tci = 3), VLAN(.tci = 7), NOT4(), SYN_WEB)),

    /* ---- impossible headers, not to a VIP ---- */
    CASE("ipv4_with_version_6_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.version = 6), SYN_WEB)),
    CASE("ipv6_with_version_4_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT6(.version = 4), SYN_WEB)),
    CASE("an_ipv4_header_of_16_bytes_is_passed_untouched", not_vip,
	 .in = PKT(ETH(), NOT4(.ihl = 4), SYN_WEB)),
    CASE("half_an_ipv4_header_is_passed_untouched", malformed,
	 .in = PKT(ETH(.type = 0x0800), DATA(10))),
    CASE("half_an_ipv6_header_is_passed_untouched", malformed,
	 .in = PKT(ETH(.type = 0x86dd), DATA(30))),
    CASE("a_vlan_tag_cut_short_is_passed_untouched", malformed,
	 .in = PKT(ETH(.type = 0x8100), DATA(2))),

    /* ---- impossible headers to a VIP ---- */
    CASE("options_cut_short_to_a_vip_are_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.ihl = 15, .proto = 6), DATA(20))),
    CASE("ipv4_with_version_6_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.version = 6), SYN_WEB)),
    CASE("ipv6_with_version_4_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(.version = 4), SYN_WEB)),
    CASE("an_ipv4_header_of_16_bytes_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.ihl = 4), SYN_WEB)),
    CASE("an_ipv4_length_beyond_the_frame_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.len = 9000), SYN_WEB)),
    CASE("an_ipv4_length_shorter_than_its_header_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.len = 10), SYN_WEB)),
    CASE("an_ipv4_length_that_ends_inside_tcp_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.len = 30), SYN_WEB)),
    CASE("an_ipv6_length_beyond_the_frame_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = 9000), SYN_WEB)),
    CASE("an_ipv6_length_that_ends_inside_tcp_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = 10), SYN_WEB)),
    CASE("a_cut_udp_header_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.proto = 17), DATA(7))),
    CASE("a_cut_icmp_header_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN4(.proto = 1), DATA(5))),
    CASE("a_jumbogram_to_a_vip_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(.len = ZERO), EXT6(.type = 0), SYN_WEB)),
    CASE("an_extension_header_that_says_too_much_is_dropped", vip_malformed,
	 .in = PKT(ETH(), IN6(), EXT6(.type = 60, .hdrlen = 200), SYN_WEB)),
    CASE("a_frame_longer_than_the_ip_packet_to_another_address_is_passed", not_vip,
	 .in = PKT(ETH(), NOT4(.len = 9000), SYN_WEB)),
};

/* ---- the VIP table ---- */

static void sends_to(struct fixture *f, int family, const char *dst)
{
	if (family == 4)
		packet_build(&f->in, PKT(ETH(), IP4(.src = CLIENT4, .dst = dst), SYN_WEB));
	else
		packet_build(&f->in, PKT(ETH(), IP6(.src = CLIENT6, .dst = dst), SYN_WEB));
	fixture_send(f);
}

/* An address that differs from the VIP in one 32-bit word and hashes to the same bucket. */
static void neighbour_in_bucket(const struct fixture *f, const struct lb_vip *vip, int word,
				char *ret, size_t size)
{
	const struct lb_tables *tables = &f->map.settings->tables[1];
	uint32_t bucket =
	    lb_vip_hash(vip->addr, vip->family, tables->multiplier) & tables->vip_mask;
	__be32 addr[4];

	memcpy(addr, vip->addr, sizeof(addr));
	do
		addr[word] = htonl(ntohl(addr[word]) + 1);
	while ((lb_vip_hash(addr, vip->family, tables->multiplier) & tables->vip_mask) != bucket);
	inet_ntop(vip->family == 4 ? AF_INET : AF_INET6, addr, ret, size);
}

LB_TEST(a_neighbour_of_a_vip_in_its_bucket_is_not_it)
{
	struct fixture *f = fixture_get();
	char address[INET6_ADDRSTRLEN];

	for (uint32_t id = 1; id < f->vips; id++) {
		for (int word = 0; word < (f->vip[id].family == 4 ? 1 : 4); word++) {
			neighbour_in_bucket(f, &f->vip[id], word, address, sizeof(address));
			sends_to(f, f->vip[id].family, address);
			assert_int_equal(f->reason, LB_REASON_not_vip);
			assert_true(packet_same(&f->in, &f->out));
		}
	}
}

LB_TEST(every_vip_of_a_full_table_is_found)
{
	struct fixture *f = fixture_get();
	char address[INET6_ADDRSTRLEN];

	for (int i = 0; f->vips <= FIXTURE_VIPS; i++) {
		snprintf(address, sizeof(address), i % 2 ? "2001:db8:1::%d" : "203.0.113.%d",
			 1 + i);
		fixture_vip(f, address);
	}
	for (uint32_t id = 1; id < f->vips; id++) {
		inet_ntop(f->vip[id].family == 4 ? AF_INET : AF_INET6, f->vip[id].addr, address,
			  sizeof(address));
		sends_to(f, f->vip[id].family, address);
		assert_int_not_equal(f->reason, LB_REASON_not_vip);
	}
}

LB_TEST(the_tables_in_force_are_the_ones_looked_at)
{
	struct fixture *f = fixture_get();

	sends_to(f, 4, VIP4);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
	f->map.settings->active = 0; /* the other half of the tables is empty */
	sends_to(f, 4, VIP4);
	assert_int_equal(f->reason, LB_REASON_not_vip);
	f->map.settings->active = 1;
	sends_to(f, 4, VIP4);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
}

/* ---- every prefix of a good packet ---- */

/* Cuts the packet after every byte: only the whole one may be forwarded. */
static void cut_everywhere(const struct layer *layers)
{
	struct fixture *f = fixture_get();
	struct packet whole;

	packet_build(&whole, layers);
	for (size_t len = 14; len < whole.len; len++) {
		f->in = whole;
		f->in.len = len;
		fixture_send(f);
		assert_true(f->reason >= 0);
		if (f->verdict != XDP_PASS && f->verdict != XDP_DROP) {
			packet_print("packet in, cut", &f->in);
			fail_msg("cut after %zu of %zu bytes: reason %s", len, whole.len,
				 fixture_reason_name(f->reason));
		}
		if (f->verdict == XDP_PASS)
			assert_true(packet_same(&f->in, &f->out));
	}
	f->in = whole;
	fixture_send(f);
	assert_int_equal(f->reason, LB_REASON_forwarded_tx);
}

LB_TEST(no_cut_tcp4_packet_is_forwarded)
{
	cut_everywhere(PKT(ETH(), IN4(), SYN_WEB, DATA(3)));
}

LB_TEST(no_cut_tcp4_packet_with_options_and_tags_is_forwarded)
{
	cut_everywhere(PKT(ETH(), VLAN(.tpid = 0x88a8), VLAN(.tci = 7),
			   IN4(.options = "\1\1\1\1\1\1\1\1", .options_len = 8),
			   TCP(.sport = 1, .dport = 80, .flags = SYN, .options_len = 8)));
}

LB_TEST(no_cut_udp4_packet_is_forwarded)
{
	cut_everywhere(PKT(ETH(), IN4(), UDP(.sport = 1, .dport = 80), DATA(5)));
}

LB_TEST(no_cut_udp6_packet_is_forwarded)
{
	cut_everywhere(PKT(ETH(), IN6(), UDP(.sport = 1, .dport = 80), DATA(5)));
}

LB_TEST(no_cut_tcp6_packet_with_extension_headers_is_forwarded)
{
	cut_everywhere(
	    PKT(ETH(), IN6(), EXT6(.type = 0), EXT6(.type = 60, .extra = 1), SYN_WEB, DATA(3)));
}

LB_TEST(no_cut_l2_packet_is_forwarded)
{
	cut_everywhere(
	    PKT(ETH(), VLAN(.tci = 2), IN4(), TCP(.sport = 1, .dport = P_L2, .flags = SYN)));
}

LB_TEST(no_cut_icmp_error_is_forwarded)
{
	cut_everywhere(PKT(ETH(), IP4(.src = "203.0.113.1", .dst = VIP4),
			   ICMP(.type = 3, .code = 1), IP4(.src = VIP4, .dst = CLIENT4),
			   TCP(.sport = 80, .dport = 1, .first = 8)));
}

LB_TEST(no_cut_fragment_is_forwarded)
{
	cut_everywhere(
	    PKT(ETH(), IN4(.frag = 0x2000, .id = 77), UDP(.sport = 1, .dport = 80), DATA(24)));
}

/* ---- random packets ---- */

static uint32_t random_state = 1;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* The action must be a known one with exactly one reason, and a passed packet must be unchanged. */
static void check_anything(struct fixture *f)
{
	fixture_send(f);
	if (f->reason < 0) {
		packet_print("packet in", &f->in);
		fail_msg("not exactly one reason was counted");
	}
	assert_true(f->verdict == XDP_DROP || f->verdict == XDP_PASS || f->verdict == XDP_TX ||
		    f->verdict == XDP_REDIRECT);
	if (f->verdict == XDP_PASS && !packet_same(&f->in, &f->out))
		fail_msg("a packet that was passed was changed");
}

LB_TEST(twenty_thousand_random_packets_have_one_reason_each)
{
	struct fixture *f = fixture_get();

	for (int i = 0; i < 20000; i++) {
		f->in.len = 14 + random32() % 200;
		for (size_t at = 0; at < f->in.len; at++)
			f->in.data[at] = random32();
		if (i % 2) { /* half of them look like IP to a VIP */
			static const uint8_t type4[] = {0x08, 0x00, 0x45},
					     type6[] = {0x86, 0xdd, 0x60};

			memcpy(f->in.data + 12, i % 4 == 1 ? type4 : type6, 3);
			if (f->in.len >= 34 && i % 4 == 1)
				memcpy(f->in.data + 30, "\xc0\x00\x02\x0a", 4);
		}
		check_anything(f);
	}
}

/* Valid packets to a VIP, of every kind that the program handles. */
static const struct layer *const seeds[] = {
    PKT(ETH(), IN4(), SYN_WEB, DATA(8)),
    PKT(ETH(), VLAN(.tci = 9), IN6(), EXT6(.type = 0), UDP(.sport = 1, .dport = 81), DATA(30)),
    PKT(ETH(), IN4(), ICMP(.type = 8, .id = 3), DATA(33)),
    PKT(ETH(), IN4(), ICMP(.type = 3, .code = 4), IP4(.src = VIP4, .dst = CLIENT4),
	TCP(.sport = 80, .dport = 9, .first = 8)),
    PKT(ETH(), IN6(), ICMP6(.type = 1), IP6(.src = VIP6, .dst = CLIENT6),
	UDP(.sport = 80, .dport = 9), DATA(9)),
    PKT(ETH(), IN4(.frag = 0x2000, .id = 4), UDP(.sport = 1, .dport = 83), DATA(64)),
    PKT(ETH(), IN6(), FRAG6(.offset = 64, .id = 4), UDP(.sport = 1, .dport = 84), DATA(64)),
    PKT(ETH(), IN6(), ICMP6(.type = 128, .id = 3), DATA(33)),
};

LB_TEST(twenty_thousand_damaged_packets_have_one_reason_each)
{
	struct fixture *f = fixture_get();

	for (int i = 0; i < 20000; i++) {
		struct packet *p = &f->in;

		packet_build(p, seeds[i % ARRAY_SIZE(seeds)]);
		for (unsigned flips = random32() % 4; flips; flips--)
			p->data[12 + random32() % (p->len - 12)] = random32();
		if (random32() % 4 == 0)
			p->len = 14 + random32() % (p->len - 14);
		check_anything(f);
	}
}

PACKET_TEST_MAIN("packets: pass", cases)
