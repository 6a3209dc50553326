/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP about tunnel packets: what routers on the way to a backend report about the path MTU. */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <string.h>

#include "support/packet_case.h"

#define ROUTER4 "203.0.113.1"
#define ROUTER6 "2001:db8:ffff::1"
/* outer sources of two flows, within 172.16.0.0/16 and 100::/64 */
#define SOURCE4          "172.16.5.9"
#define SOURCE6          "100::5:9"
#define DF               0x4000

#define TO_US4           ETH(), IP4(.src = ROUTER4, .dst = SOURCE4)
#define TO_US6           ETH(), IP6(.src = ROUTER6, .dst = SOURCE6)
#define FRAG_NEEDED(mtu) ICMP(.type = 3, .code = 4, .rest = (mtu))
#define TOO_BIG(mtu)     ICMP6(.type = 2, .rest = (mtu))
/* the quoted tunnel packet; what it carries is not looked at */
#define OURS4_OF(length, ...) \
	IP4(.src = SOURCE4, .dst = BACKEND4, .ttl = 60, .frag = DF, .len = (length), __VA_ARGS__)
#define OURS4(...)    OURS4_OF(1500, __VA_ARGS__)
#define OURS6(...)    IP6(.src = SOURCE6, .dst = BACKEND6, .hop = 60, .len = 1460, __VA_ARGS__)
#define REPORT4(mtu)  PKT(TO_US4, FRAG_NEEDED(mtu), OURS4(.proto = 4), DATA(8))
#define REPORT6(mtu)  PKT(TO_US6, TOO_BIG(mtu), OURS6(.next = 41), DATA(8))
#define GUE_QUOTED(p) UDP(.sport = 0xc123, .dport = (p), .len = 1480, .no_csum = 1, .first = 8)

/* The settings and elements that lbd makes for these prefixes and backends. */
static struct fixture *paths_setup(void)
{
	struct fixture *f = fixture_get();
	struct lb_settings *s = f->map.settings;

	s->encap4 = inet_addr("172.16.0.0");
	s->encap4_spread = htonl(0xffff);
	inet_pton(AF_INET6, "100::", s->encap6);
	s->encap6_spread = 0xffffffff;
	fixture_path(f, BACKEND4, 0);
	fixture_path(f, BACKEND6, 0);
	return f;
}

static uint32_t mtu_of(struct fixture *f, const char *backend)
{
	return LB_PATH_MTU(fixture_path_read(f, backend).word);
}

/* Sends what lbd takes for itself, and checks what it then knows of the IPv4 backend. */
static void learns4(struct fixture *f, const struct layer *in, uint32_t mtu)
{
	fixture_path(f, BACKEND4, 0);
	expect(f, LB_REASON_path_mtu, in, NULL);
	assert_int_equal(mtu_of(f, BACKEND4), mtu);
}

static void learns6(struct fixture *f, const struct layer *in, uint32_t mtu)
{
	fixture_path(f, BACKEND6, 0);
	expect(f, LB_REASON_path_mtu, in, NULL);
	assert_int_equal(mtu_of(f, BACKEND6), mtu);
}

/* Sends what is the kernel's: passed untouched, and nothing is learnt. */
static void passes(struct fixture *f, const struct layer *in)
{
	expect(f, LB_REASON_not_vip, in, NULL);
	assert_int_equal(mtu_of(f, BACKEND4), 0);
	assert_int_equal(mtu_of(f, BACKEND6), 0);
	assert_int_equal(f->map.settings->paths_lowered, 0);
}

LB_TEST(too_big_about_a_tunnel_packet_is_noted)
{
	struct fixture *f = paths_setup();
	uint32_t before = fixture_tick();
	struct lb_path path;

	learns4(f, REPORT4(1400), 1400);
	path = fixture_path_read(f, BACKEND4);
	assert_in_range(LB_PATH_TICK(path.word), before, fixture_tick());
	assert_int_equal(path.router[0], inet_addr(ROUTER4));
	assert_int_equal(f->map.settings->paths_lowered, 1);
}

LB_TEST(too_big_about_an_ipv6_tunnel_packet_is_noted)
{
	struct fixture *f = paths_setup();
	struct lb_path path;
	uint8_t router[16];

	learns6(f, REPORT6(1400), 1400);
	path = fixture_path_read(f, BACKEND6);
	inet_pton(AF_INET6, ROUTER6, router);
	assert_memory_equal(path.router, router, sizeof(router));
	assert_int_equal(f->map.settings->paths_lowered, 1);
}

LB_TEST(every_kind_of_tunnel_is_known)
{
	struct fixture *f = paths_setup();

	learns4(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(.proto = 41), DATA(8)), 1400);
	learns4(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(.proto = 47), DATA(8)), 1400);
	learns4(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(), GUE_QUOTED(WORLD_GUE_PORT)), 1400);
	learns6(f, PKT(TO_US6, TOO_BIG(1400), OURS6(.next = 4), DATA(8)), 1400);
	learns6(f, PKT(TO_US6, TOO_BIG(1400), OURS6(.next = 47), DATA(8)), 1400);
	learns6(f, PKT(TO_US6, TOO_BIG(1400), OURS6(), GUE_QUOTED(WORLD_GUE_PORT)), 1400);
}

LB_TEST(a_report_in_a_vlan_is_noted)
{
	struct fixture *f = paths_setup();

	learns4(f,
		PKT(ETH(), VLAN(.tci = 7), IP4(.src = ROUTER4, .dst = SOURCE4), FRAG_NEEDED(1400),
		    OURS4(.proto = 4), DATA(8)),
		1400);
}

LB_TEST(a_long_quote_is_noted)
{
	struct fixture *f = paths_setup();

	learns4(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(.proto = 4), DATA(528)), 1400);
	learns6(f, PKT(TO_US6, TOO_BIG(1400), OURS6(.next = 41), DATA(1192)), 1400);
}

/* ---- what a report can do ---- */

LB_TEST(no_report_goes_below_what_every_host_accepts)
{
	struct fixture *f = paths_setup();

	learns4(f, REPORT4(576), 576);
	learns4(f, REPORT4(575), 576);
	learns4(f, REPORT4(1), 576);
	learns6(f, REPORT6(1280), 1280);
	learns6(f, REPORT6(1279), 1280);
	learns6(f, REPORT6(0), 1280);
}

LB_TEST(a_report_that_would_have_let_the_packet_pass_is_of_no_use)
{
	struct fixture *f = paths_setup();

	learns4(f, REPORT4(1499), 1499);
	learns4(f, REPORT4(1500), 0);
	learns4(f, REPORT4(65535), 0);
	learns6(f, REPORT6(1499), 1499);
	learns6(f, REPORT6(1500), 0);
	learns6(f, REPORT6(0x10000 + 1400), 0);
}

LB_TEST(only_sixteen_bits_of_an_ipv4_report_are_the_mtu)
{
	learns4(paths_setup(), REPORT4(0xabcd0000u | 1400), 1400);
}

LB_TEST(a_report_without_an_mtu_means_the_next_plateau)
{
	struct fixture *f = paths_setup();

	learns4(f, REPORT4(0), 1492);
	learns4(f, PKT(TO_US4, FRAG_NEEDED(0), OURS4_OF(1492, .proto = 4), DATA(8)), 1006);
	learns4(f, PKT(TO_US4, FRAG_NEEDED(0), OURS4_OF(1006, .proto = 4), DATA(8)), 576);
}

LB_TEST(a_report_lowers_and_never_raises)
{
	struct fixture *f = paths_setup();
	uint64_t word;

	learns4(f, REPORT4(1400), 1400);
	word = fixture_path_read(f, BACKEND4).word;
	expect(f, LB_REASON_path_mtu, REPORT4(1450), NULL);
	assert_true(fixture_path_read(f, BACKEND4).word == word);
	expect(f, LB_REASON_path_mtu, REPORT4(1300), NULL);
	assert_int_equal(mtu_of(f, BACKEND4), 1300);
	assert_int_equal(f->map.settings->paths_lowered, 2);
}

/* lbd need not look again: nothing has changed but the time. */
LB_TEST(the_same_report_again_is_only_younger)
{
	struct fixture *f = paths_setup();

	fixture_path(f, BACKEND4, LB_PATH(1400, fixture_tick() - 300));
	expect(f, LB_REASON_path_mtu, REPORT4(1400), NULL);
	assert_in_range(LB_PATH_TICK(fixture_path_read(f, BACKEND4).word), fixture_tick() - 1,
			fixture_tick());
	assert_int_equal(f->map.settings->paths_lowered, 0);
}

/* Also while lbd is away, which would have forgotten it. */
LB_TEST(a_report_replaces_one_that_is_too_old)
{
	struct fixture *f = paths_setup();

	fixture_path(f, BACKEND4, LB_PATH(1400, fixture_tick() - LB_PATH_IDLE + 2));
	expect(f, LB_REASON_path_mtu, REPORT4(1450), NULL);
	assert_int_equal(mtu_of(f, BACKEND4), 1400);
	fixture_path(f, BACKEND4, LB_PATH(1400, fixture_tick() - LB_PATH_IDLE - 1));
	expect(f, LB_REASON_path_mtu, REPORT4(1450), NULL);
	assert_int_equal(mtu_of(f, BACKEND4), 1450);
}

/* Another CPU has noted a report while this one waited, with a clock that is a tick ahead. */
LB_TEST(a_report_does_not_raise_one_that_is_younger)
{
	struct fixture *f = paths_setup();
	uint64_t word = LB_PATH(1400, fixture_tick() + 3);

	fixture_path(f, BACKEND4, word);
	expect(f, LB_REASON_path_mtu, REPORT4(1450), NULL);
	assert_true(fixture_path_read(f, BACKEND4).word == word);
	assert_int_equal(f->map.settings->paths_lowered, 0);
}

LB_TEST(a_report_about_one_backend_leaves_the_others)
{
	struct fixture *f = paths_setup();

	fixture_path(f, BACKEND4_B, 0);
	learns4(f, REPORT4(1400), 1400);
	assert_int_equal(mtu_of(f, BACKEND4_B), 0);
	assert_int_equal(mtu_of(f, BACKEND6), 0);
}

LB_TEST(a_report_with_a_wrong_checksum_changes_nothing)
{
	struct fixture *f = paths_setup();

	learns4(f,
		PKT(TO_US4, ICMP(.type = 3, .code = 4, .rest = 1400, .bad_csum = 1),
		    OURS4(.proto = 4), DATA(8)),
		0);
	learns6(
	    f,
	    PKT(TO_US6, ICMP6(.type = 2, .rest = 1400, .bad_csum = 1), OURS6(.next = 41), DATA(8)),
	    0);
}

/* ---- what is not about a packet of ours ---- */

LB_TEST(a_report_about_a_packet_to_no_backend_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(TO_US4, FRAG_NEEDED(1400),
		      IP4(.src = SOURCE4, .dst = "10.0.0.99", .len = 1500, .proto = 4), DATA(8)));
	passes(f, PKT(TO_US6, TOO_BIG(1400),
		      IP6(.src = SOURCE6, .dst = "fd00::99", .len = 1460, .next = 41), DATA(8)));
}

LB_TEST(a_report_about_a_source_that_is_not_ours_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(ETH(), IP4(.src = ROUTER4, .dst = "172.17.5.9"), FRAG_NEEDED(1400),
		      IP4(.src = "172.17.5.9", .dst = BACKEND4, .len = 1500, .proto = 4), DATA(8)));
	passes(f,
	       PKT(ETH(), IP6(.src = ROUTER6, .dst = "100::1:0:0:1"), TOO_BIG(1400),
		   IP6(.src = "100::1:0:0:1", .dst = BACKEND6, .len = 1460, .next = 41), DATA(8)));
	passes(f,
	       PKT(ETH(), IP6(.src = ROUTER6, .dst = "100:0:1::5:9"), TOO_BIG(1400),
		   IP6(.src = "100:0:1::5:9", .dst = BACKEND6, .len = 1460, .next = 41), DATA(8)));
	passes(f, PKT(ETH(), IP6(.src = ROUTER6, .dst = "101::5:9"), TOO_BIG(1400),
		      IP6(.src = "101::5:9", .dst = BACKEND6, .len = 1460, .next = 41), DATA(8)));
}

/* A prefix of 112 bits, 100::5:0 to 100::5:ffff. */
LB_TEST(a_prefix_of_ipv6_may_be_long)
{
	struct fixture *f = paths_setup();

	inet_pton(AF_INET6, "100::5:0", f->map.settings->encap6);
	f->map.settings->encap6_spread = htonl(0xffff);
	passes(f, PKT(ETH(), IP6(.src = ROUTER6, .dst = "100::6:9"), TOO_BIG(1400),
		      IP6(.src = "100::6:9", .dst = BACKEND6, .len = 1460, .next = 41), DATA(8)));
	learns6(f, REPORT6(1400), 1400);
}

LB_TEST(a_report_to_another_than_the_quoted_source_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(ETH(), IP4(.src = ROUTER4, .dst = "172.16.5.10"), FRAG_NEEDED(1400),
		      OURS4(.proto = 4), DATA(8)));
	passes(f, PKT(ETH(), IP6(.src = ROUTER6, .dst = "100::5:a"), TOO_BIG(1400),
		      OURS6(.next = 41), DATA(8)));
}

/* Such as a health check, which the host itself sends. */
LB_TEST(a_report_about_a_packet_that_is_no_tunnel_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(.proto = 6), DATA(8)));
	passes(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(), GUE_QUOTED(WORLD_GUE_PORT + 1)));
	passes(f, PKT(TO_US6, TOO_BIG(1400), OURS6(.next = 6), DATA(8)));
}

LB_TEST(a_prefix_that_is_not_known_takes_no_reports)
{
	struct fixture *f = paths_setup();

	f->map.settings->encap4 = f->map.settings->encap4_spread = 0;
	memset(f->map.settings->encap6, 0, sizeof(f->map.settings->encap6));
	f->map.settings->encap4_spread = f->map.settings->encap6_spread = 0xffffffff;
	passes(f, REPORT4(1400));
	passes(f, REPORT6(1400));
}

LB_TEST(other_icmp_about_a_tunnel_packet_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f,
	       PKT(TO_US4, ICMP(.type = 3, .code = 1, .rest = 1400), OURS4(.proto = 4), DATA(8)));
	passes(f,
	       PKT(TO_US4, ICMP(.type = 11, .code = 4, .rest = 1400), OURS4(.proto = 4), DATA(8)));
	passes(f, PKT(TO_US6, ICMP6(.type = 1, .rest = 1400), OURS6(.next = 41), DATA(8)));
	passes(f, PKT(TO_US4, ICMP(.type = 8, .id = 1), DATA(56)));
}

LB_TEST(a_report_for_another_hosts_mac_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(ETH(.dst = "ff:ff:ff:ff:ff:ff"), IP4(.src = ROUTER4, .dst = SOURCE4),
		      FRAG_NEEDED(1400), OURS4(.proto = 4), DATA(8)));
}

LB_TEST(a_report_whose_quote_is_cut_short_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(TO_US4, FRAG_NEEDED(1400), OURS4(.proto = 4), DATA(7)));
	passes(f, PKT(TO_US6, TOO_BIG(1400), OURS6(.next = 41), DATA(7)));
	passes(f, PKT(TO_US4, FRAG_NEEDED(1400)));
	passes(f, PKT(TO_US6, TOO_BIG(1400)));
}

LB_TEST(a_quote_in_ethernet_padding_is_not_read)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(ETH(), IP4(.src = ROUTER4, .dst = SOURCE4, .len = 55), FRAG_NEEDED(1400),
		      OURS4(.proto = 4), DATA(8)));
	passes(f, PKT(ETH(), IP6(.src = ROUTER6, .dst = SOURCE6, .len = 55), TOO_BIG(1400),
		      OURS6(.next = 41), DATA(8)));
}

LB_TEST(a_fragment_of_a_report_is_passed)
{
	struct fixture *f = paths_setup();

	passes(f, PKT(ETH(), IP4(.src = ROUTER4, .dst = SOURCE4, .frag = 0x2000), FRAG_NEEDED(1400),
		      OURS4(.proto = 4), DATA(8)));
}

static const struct packet_case cases[] = {
    CASE("icmp_to_an_address_that_is_no_vip_is_passed", not_vip,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = "192.0.2.99"), ICMP(.type = 8), DATA(8))),
    CASE("icmpv6_to_an_address_that_is_no_vip_is_passed", not_vip,
	 .in = PKT(ETH(), IP6(.src = CLIENT6, .dst = "2001:db8::99"), ICMP6(.type = 2), DATA(8))),
    CASE("icmp_of_no_bytes_is_passed", not_vip,
	 .in = PKT(ETH(), IP4(.src = CLIENT4, .dst = "192.0.2.99", .proto = 1))),
};

PACKET_TEST_MAIN("packets: path MTU", cases)
