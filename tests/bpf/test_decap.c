/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The decapsulator of backends: a packet that was tunnelled to a VIP of this host comes out as it
 * went in, with congestion marks as in RFC 6040. All other packets are unchanged. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include "support/packet_case.h"
#include "decap.skel.h"

#define GUE_PORT     6080
#define TUNNEL4(...) IP4(.src = "172.16.0.1", .dst = BACKEND4, .frag = 0x4000, __VA_ARGS__)
#define TUNNEL6(...) IP6(.src = "fd00::1", .dst = BACKEND6, __VA_ARGS__)
#define GUE_UDP      UDP(.sport = 50000, .dport = GUE_PORT, .no_csum = 1)
#define SEGMENT      TCP(.sport = 40000, .dport = 80, .flags = ACK), DATA(100)

enum ecn { NOT_ECT, ECT1, ECT0, CE };

struct decap_case {
	const char *name;
	const struct layer *in;
	const struct layer *out; /* NULL: dropped; the same as in: passed untouched */
	bool untouched;
};

#define OPENED(promise, what_in, what_out)                              \
	{                                                               \
		.name = promise, .in = PKT what_in, .out = PKT what_out \
	}
#define UNTOUCHED(promise, ...)                                            \
	{                                                                  \
		.name = promise, .in = PKT(__VA_ARGS__), .untouched = true \
	}
#define DROPPED(promise, ...)                           \
	{                                               \
		.name = promise, .in = PKT(__VA_ARGS__) \
	}

/* clang-format off */
static const struct decap_case cases[] = {
	/* ---- the pairings ---- */
	OPENED("ipv4_in_ipv4_is_opened", (ETH(), TUNNEL4(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_ipv4_is_opened", (ETH(), TUNNEL4(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_ipv6_is_opened", (ETH(), TUNNEL6(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_ipv6_is_opened", (ETH(), TUNNEL6(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gue_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, GUE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_over_ipv4_is_opened",
	       (ETH(), TUNNEL4(), GUE_UDP, GUE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gue_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, GUE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gue_over_ipv6_is_opened",
	       (ETH(), TUNNEL6(), GUE_UDP, GUE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gre_over_ipv4_is_opened", (ETH(), TUNNEL4(), GRE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gre_over_ipv4_is_opened", (ETH(), TUNNEL4(), GRE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("ipv4_in_gre_over_ipv6_is_opened", (ETH(), TUNNEL6(), GRE(), IN4(), SEGMENT), (ETH(), IN4(), SEGMENT)),
	OPENED("ipv6_in_gre_over_ipv6_is_opened", (ETH(), TUNNEL6(), GRE(), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),

	/* ---- what is around and inside ---- */
	OPENED("a_vlan_tag_stays", (ETH(), VLAN(.tci = 7), TUNNEL4(), IN4(), SEGMENT),
	       (ETH(), VLAN(.tci = 7), IN4(), SEGMENT)),
	OPENED("two_vlan_tags_stay_and_the_family_changes",
	       (ETH(), VLAN(.tci = 7, .tpid = 0x88a8), VLAN(.tci = 9), TUNNEL6(), IN4(), SEGMENT),
	       (ETH(), VLAN(.tci = 7, .tpid = 0x88a8), VLAN(.tci = 9), IN4(), SEGMENT)),
	OPENED("the_ttl_inside_is_kept", (ETH(), TUNNEL4(), IN4(.ttl = 1), SEGMENT), (ETH(), IN4(.ttl = 1), SEGMENT)),
	OPENED("a_fragment_inside_stays_one", (ETH(), TUNNEL4(), IN4(.frag = 0x2000, .proto = 17), DATA(64)),
	       (ETH(), IN4(.frag = 0x2000, .proto = 17), DATA(64))),
	OPENED("outer_options_go_too",
	       (ETH(), TUNNEL4(.options = "\x01\x01\x01\x01", .options_len = 4), IN4(), SEGMENT),
	       (ETH(), IN4(), SEGMENT)),
	OPENED("an_outer_destination_option_goes_too",
	       (ETH(), TUNNEL6(), EXT6(.type = 60), IN6(), SEGMENT), (ETH(), IN6(), SEGMENT)),
	OPENED("the_least_packet_is_opened", (ETH(), TUNNEL4(), IN4(.proto = 253)), (ETH(), IN4(.proto = 253))),

	/* ---- RFC 6040, figure 4 ---- */
	OPENED("congestion_outside_marks_ect0_inside", (ETH(), TUNNEL4(.tos = CE), IN4(.tos = 0xb8 | ECT0), SEGMENT),
	       (ETH(), IN4(.tos = 0xb8 | CE), SEGMENT)),
	OPENED("congestion_outside_marks_ect1_inside", (ETH(), TUNNEL4(.tos = CE), IN4(.tos = ECT1), SEGMENT),
	       (ETH(), IN4(.tos = CE), SEGMENT)),
	OPENED("congestion_outside_marks_ipv6_inside",
	       (ETH(), TUNNEL6(.tclass = CE), IN6(.tclass = 0xb8 | ECT0, .flow = 0xabcde), SEGMENT),
	       (ETH(), IN6(.tclass = 0xb8 | CE, .flow = 0xabcde), SEGMENT)),
	OPENED("ect1_outside_replaces_ect0_inside", (ETH(), TUNNEL4(.tos = ECT1), IN4(.tos = ECT0), SEGMENT),
	       (ETH(), IN4(.tos = ECT1), SEGMENT)),
	OPENED("ect0_outside_leaves_ect1_inside", (ETH(), TUNNEL4(.tos = ECT0), IN4(.tos = ECT1), SEGMENT),
	       (ETH(), IN4(.tos = ECT1), SEGMENT)),
	OPENED("congestion_inside_stays", (ETH(), TUNNEL4(.tos = ECT0), IN4(.tos = CE), SEGMENT),
	       (ETH(), IN4(.tos = CE), SEGMENT)),
	OPENED("ect_outside_does_not_make_ect_inside", (ETH(), TUNNEL4(.tos = ECT1), IN4(.tos = NOT_ECT), SEGMENT),
	       (ETH(), IN4(.tos = NOT_ECT), SEGMENT)),
	DROPPED("congestion_that_cannot_be_told_drops_ipv4", ETH(), TUNNEL4(.tos = CE), IN4(), SEGMENT),
	DROPPED("congestion_that_cannot_be_told_drops_ipv6", ETH(), TUNNEL6(.tclass = CE), IN6(), SEGMENT),
	OPENED("dscp_outside_is_forgotten", (ETH(), TUNNEL4(.tos = 0x28), IN4(.tos = 0xb8), SEGMENT),
	       (ETH(), IN4(.tos = 0xb8), SEGMENT)),

	/* ---- none of ours ---- */
	UNTOUCHED("a_plain_packet_to_the_vip_is_untouched", ETH(), IN4(), SEGMENT),
	UNTOUCHED("a_tunnel_to_another_address_is_untouched",
		  ETH(), TUNNEL4(), IP4(.src = CLIENT4, .dst = "192.0.2.99"), SEGMENT),
	UNTOUCHED("an_ipv6_tunnel_to_another_address_is_untouched",
		  ETH(), TUNNEL6(), IP6(.src = CLIENT6, .dst = "2001:db8::99"), SEGMENT),
	UNTOUCHED("a_fragment_of_a_tunnel_is_untouched", ETH(), IP4(.src = "172.16.0.1", .dst = BACKEND4, .frag = 0x2000), IN4(), SEGMENT),
	UNTOUCHED("another_udp_port_is_untouched",
		  ETH(), TUNNEL4(), UDP(.sport = 50000, .dport = GUE_PORT + 1, .no_csum = 1), GUE(), IN4(), SEGMENT),
	UNTOUCHED("gue_of_another_protocol_is_untouched", ETH(), TUNNEL4(), GUE_UDP, GUE(.proto = 47), IN4(), SEGMENT),
	UNTOUCHED("a_gue_control_message_is_untouched", ETH(), TUNNEL4(), GUE_UDP, RAW("\x20\x04\x00\x00", 4), IN4(), SEGMENT),
	UNTOUCHED("gue_with_flags_is_untouched", ETH(), TUNNEL4(), GUE_UDP, RAW("\x00\x04\x80\x00", 4), IN4(), SEGMENT),
	UNTOUCHED("gre_with_a_key_is_untouched", ETH(), TUNNEL4(), GRE(.flags = 0x2000), IN4(), SEGMENT),
	UNTOUCHED("gre_of_another_version_is_untouched", ETH(), TUNNEL4(), GRE(.flags = 1), IN4(), SEGMENT),
	UNTOUCHED("gre_of_another_protocol_is_untouched", ETH(), TUNNEL4(), GRE(.type = 0x6558), IN4(), SEGMENT),
	UNTOUCHED("gre_cut_short_is_untouched", ETH(), TUNNEL4(.proto = 47), DATA(3)),
	UNTOUCHED("a_tunnel_cut_short_inside_is_untouched", ETH(), TUNNEL4(.proto = 4), DATA(19)),
	UNTOUCHED("an_ipv6_tunnel_cut_short_inside_is_untouched", ETH(), TUNNEL6(.next = 41), DATA(39)),
	UNTOUCHED("another_version_inside_is_untouched", ETH(), TUNNEL4(.proto = 4), IN4(.version = 5), SEGMENT),
	UNTOUCHED("arp_is_untouched", ETH(.type = 0x0806), DATA(46)),
};
/* clang-format on */

static struct decap_bpf *skel;

static void add_vip(int family, const char *address)
{
	unsigned char key[16] = {[10] = 0xff, [11] = 0xff}, value = 1;

	assert_int_equal(inet_pton(family, address, family == AF_INET ? key + 12 : key), 1);
	assert_int_equal(
	    bpf_map__update_elem(skel->maps.vips, key, sizeof(key), &value, sizeof(value), BPF_ANY),
	    0);
}

static int open_decap(void **state)
{
	skel = decap_bpf__open_and_load();
	if (!skel)
		return 0; /* the tests skip */
	add_vip(AF_INET, VIP4);
	add_vip(AF_INET6, VIP6);
	return 0;
}

static int close_decap(void **state)
{
	decap_bpf__destroy(skel);
	return 0;
}

static uint64_t counted(size_t offset)
{
	int cpus = libbpf_num_possible_cpus();
	struct {
		uint64_t passed, decapsulated, dropped;
	} *counts = calloc((size_t)cpus, sizeof(*counts));
	uint32_t zero = 0;
	uint64_t sum = 0, one;

	assert_non_null(counts);
	assert_int_equal(bpf_map__lookup_elem(skel->maps.counts, &zero, sizeof(zero), counts,
					      (size_t)cpus * sizeof(*counts), 0),
			 0);
	for (int i = 0; i < cpus; i++) {
		memcpy(&one, (const char *)&counts[i] + offset, sizeof(one));
		sum += one;
	}
	free(counts);
	return sum;
}

enum { PASSED_AT = 0, OPENED_AT = 8, DROPPED_AT = 16 };

static void run_case(void **state)
{
	const struct decap_case *c = *state;
	struct packet in, expected, out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in.data, .data_out = out.data,
		    .data_size_out = PACKET_MAX, .repeat = 1);
	size_t counter = c->untouched ? PASSED_AT : c->out ? OPENED_AT : DROPPED_AT;
	uint64_t before;

	if (!skel) {
		print_message("# skip: the program cannot be loaded here\n");
		skip();
	}
	packet_build(&in, c->in);
	run.data_size_in = (uint32_t)in.len;
	before = counted(counter);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.decap), &run), 0);
	assert_int_equal(run.retval, c->untouched || c->out ? XDP_PASS : XDP_DROP);
	assert_int_equal(counted(counter), before + 1);
	if (run.retval == XDP_DROP)
		return;
	packet_build(&expected, c->untouched ? c->in : c->out);
	out.len = run.data_size_out;
	assert_true(packet_same(&expected, &out));
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(cases)];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
					       .test_func = run_case,
					       .initial_state = (void *)&cases[i]};
	return cmocka_run_group_tests_name("decap", tests, open_decap, close_decap);
}
