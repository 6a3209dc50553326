/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `allow` and `deny`: which clients reach a service. The lists are put into the maps by the data
 * plane's own code. */
#include <linux/bpf.h>
#include <string.h>

#include "support/filter_model.h"
#include "support/fixture_filters.h"
#include "support/packet_case.h"

#define MF        0x2000
#define AT(bytes) ((bytes) / 8)
#define P_LISTED  7000
#define OTHER4    "198.51.100.8"
#define OTHER6    "2001:db8:c::8"
#define ROUTER4   "203.0.113.1"
#define ROUTER6   "2001:db8:f::1"

static const struct packet_case cases[] = {
    CASE("a_service_without_lists_takes_everyone", forwarded_tx,
	 .in = PKT(ETH(), IN4(), TCP(.sport = 1, .dport = P_IPIP4, .flags = SYN)),
	 .out = PKT(TO_BACKEND, OUT4(), IN4(.ttl = 63),
		    TCP(.sport = 1, .dport = P_IPIP4, .flags = SYN))),
};

/* ---- lists in the maps ---- */

static struct dataplane dp;

/* A service without a filter keeps the flag of the one that it had. */
static void put(const uint16_t *ids, struct filter *const *filters, size_t count)
{
	fixture_filters_put(&dp, ids, filters, count);
	for (size_t i = 0; i < count; i++)
		if (filters[i])
			fixture_get()->map.services[ids[i]].flags |= LB_SERVICE_FILTERED;
}

static int setup(void **state)
{
	struct fixture *f = fixture_or_null();

	if (!f)
		return 0; /* the test itself skips */
	world_setup(state);
	fixture_filters_open(f, &dp);
	return 0;
}

static int teardown(void **state)
{
	if (fixture_or_null())
		fixture_filters_close(&dp);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* Gives one service this filter. */
static void give(uint16_t service, struct filter *filter)
{
	put(&service, &filter, 1);
	filter_unref(filter);
}

/* A service with one backend, at P_LISTED of this VIP. */
static uint16_t listed(struct fixture *f, const char *vip, int protocol, uint8_t flags)
{
	return fixture_single(
	    f, vip, protocol, P_LISTED, (struct lb_service){.flags = flags},
	    &(struct backend_spec){.dst = strchr(vip, ':') ? BACKEND6 : BACKEND4});
}

static int reason_from(struct fixture *f, const char *client, uint8_t flags)
{
	if (strchr(client, ':'))
		packet_build(&f->in, PKT(ETH(), IP6(.src = client, .dst = VIP6),
					 TCP(.sport = 9, .dport = P_LISTED, .flags = flags)));
	else
		packet_build(&f->in, PKT(ETH(), IP4(.src = client, .dst = VIP4),
					 TCP(.sport = 9, .dport = P_LISTED, .flags = flags)));
	fixture_send(f);
	return f->reason;
}

static uint64_t denied_count(const struct fixture *f, uint16_t service)
{
	return fixture_service_count(f, service).denied;
}

/* ---- whole packets ---- */

TEST(a_client_that_is_not_allowed_is_dropped_and_counted)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);
	uint64_t before = denied_count(f, service);

	give(service, filter_of(CLIENT4, NULL));
	assert_int_equal(reason_from(f, CLIENT4, SYN), LB_REASON_forwarded_tx);
	assert_int_equal(denied_count(f, service), before);
	assert_int_equal(reason_from(f, OTHER4, SYN), LB_REASON_denied);
	assert_int_equal(f->verdict, XDP_DROP);
	assert_int_equal(denied_count(f, service), before + 1);
	assert_int_equal(f->count[LB_REASON_denied], 1);
}

TEST(a_client_that_is_denied_is_dropped_also_on_ipv6)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP6, IPPROTO_TCP, 0);

	give(service, filter_of(NULL, OTHER6));
	assert_int_equal(reason_from(f, CLIENT6, SYN), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from(f, OTHER6, SYN), LB_REASON_denied);
	give(service, filter_of(OTHER6, NULL));
	assert_int_equal(reason_from(f, CLIENT6, SYN), LB_REASON_denied);
	assert_int_equal(reason_from(f, OTHER6, SYN), LB_REASON_forwarded_tx);
}

TEST(every_packet_of_a_connection_is_judged_not_only_its_first)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, LB_SERVICE_TRACK_ALWAYS);

	assert_int_equal(reason_from(f, CLIENT4, SYN), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from(f, CLIENT4, ACK), LB_REASON_forwarded_tx);
	give(service, filter_of(NULL, CLIENT4));
	assert_int_equal(reason_from(f, CLIENT4, ACK), LB_REASON_denied);
	assert_int_equal(reason_from(f, CLIENT4, FIN | ACK), LB_REASON_denied);
	give(service, filter_of(NULL, OTHER4));
	assert_int_equal(reason_from(f, CLIENT4, ACK), LB_REASON_forwarded_tx);
}

TEST(a_denied_client_opens_no_flow_and_takes_no_turn)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, LB_SERVICE_TRACK_ALWAYS);

	give(service, filter_of(NULL, "0.0.0.0/0"));
	assert_int_equal(reason_from(f, CLIENT4, SYN), LB_REASON_denied);
	assert_int_equal(f->count[LB_EVENT_flow_inserted], 0);
}

TEST(a_denied_client_gets_no_answer_where_no_backend_is_left)
{
	struct fixture *f = fixture_get();
	uint16_t service = fixture_service(f, VIP4, IPPROTO_TCP, P_LISTED,
					   (struct lb_service){.no_backend = LB_REFUSE_REJECT});

	give(service, filter_of(NULL, CLIENT4));
	assert_int_equal(reason_from(f, CLIENT4, SYN), LB_REASON_denied);
	assert_int_equal(reason_from(f, OTHER4, SYN), LB_REASON_no_backend_rejected);
}

TEST(udp_and_packets_with_options_are_judged)
{
	struct fixture *f = fixture_get();
	uint16_t udp = listed(f, VIP4, IPPROTO_UDP, 0), udp6 = listed(f, VIP6, IPPROTO_UDP, 0);
	uint16_t ids[] = {udp, udp6};
	struct filter *filter = filter_of(NULL, CLIENT4 " " CLIENT6);

	put(ids, (struct filter *[]){filter, filter}, 2);
	expect(f, LB_REASON_denied, PKT(ETH(), IN4(), UDP(.sport = 1, .dport = P_LISTED), DATA(10)),
	       NULL);
	expect(f, LB_REASON_denied,
	       PKT(ETH(), IN6(), EXT6(.type = 60), UDP(.sport = 1, .dport = P_LISTED), DATA(10)),
	       NULL);
	filter_unref(filter);
}

TEST(services_have_lists_of_their_own)
{
	struct fixture *f = fixture_get();
	uint16_t tcp = listed(f, VIP4, IPPROTO_TCP, 0), tcp6 = listed(f, VIP6, IPPROTO_TCP, 0);
	uint16_t ids[] = {tcp, tcp6};
	struct filter *filters[] = {filter_of(CLIENT4 " " CLIENT6, NULL),
				    filter_of(OTHER4 " " OTHER6, NULL)};

	put(ids, filters, 2);
	assert_int_equal(reason_from(f, CLIENT4, SYN), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from(f, OTHER4, SYN), LB_REASON_denied);
	assert_int_equal(reason_from(f, CLIENT6, SYN), LB_REASON_denied);
	assert_int_equal(reason_from(f, OTHER6, SYN), LB_REASON_forwarded_tx);
	filter_unref(filters[0]);
	filter_unref(filters[1]);
}

TEST(a_service_whose_lists_are_gone_takes_everyone)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);

	give(service, filter_of(CLIENT4, NULL));
	put(&service, (struct filter *[]){NULL}, 1);
	assert_int_equal(reason_from(f, OTHER4, SYN), LB_REASON_forwarded_tx);
}

/* ---- fragments ---- */

#define FRAGMENT_FIRST(n) \
	PKT(ETH(), IN4(.frag = MF, .id = (n)), UDP(.sport = 1, .dport = P_LISTED), DATA(600))
#define FRAGMENT_LATER(n) PKT(ETH(), IN4(.frag = AT(608), .id = (n), .proto = 17), DATA(100))

static int reason_of(struct fixture *f, const struct layer *layers)
{
	packet_build(&f->in, layers);
	fixture_send(f);
	return f->reason;
}

TEST(no_fragment_of_a_denied_client_is_forwarded)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_UDP, 0);

	give(service, filter_of(NULL, CLIENT4));
	assert_int_equal(reason_of(f, FRAGMENT_FIRST(5)), LB_REASON_denied);
	assert_int_equal(reason_of(f, FRAGMENT_LATER(5)), LB_REASON_fragment_unknown);
}

TEST(later_fragments_are_judged_by_the_lists_of_their_own_time)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_UDP, 0);

	give(service, filter_of(NULL, OTHER4));
	assert_int_equal(reason_of(f, FRAGMENT_FIRST(6)), LB_REASON_forwarded_tx);
	assert_int_equal(reason_of(f, FRAGMENT_LATER(6)), LB_REASON_forwarded_tx);
	give(service, filter_of(NULL, CLIENT4));
	assert_int_equal(reason_of(f, FRAGMENT_LATER(6)), LB_REASON_denied);
}

/* ---- ICMP errors ---- */

static int reason_of_error4(struct fixture *f, const char *router, const char *client)
{
	return reason_of(f,
			 PKT(ETH(), IP4(.src = router, .dst = VIP4), ICMP(.type = 3, .code = 4),
			     IP4(.src = VIP4, .dst = client), TCP(.sport = P_LISTED, .dport = 9)));
}

static int reason_of_error6(struct fixture *f, const char *router, const char *client)
{
	return reason_of(f,
			 PKT(ETH(), IP6(.src = router, .dst = VIP6), ICMP6(.type = 2),
			     IP6(.src = VIP6, .dst = client), TCP(.sport = P_LISTED, .dport = 9)));
}

TEST(an_icmp_error_counts_as_the_clients_whose_packet_it_quotes)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);

	give(service, filter_of(CLIENT4, NULL));
	assert_int_equal(reason_of_error4(f, ROUTER4, CLIENT4), LB_REASON_forwarded_tx);
	assert_int_equal(reason_of_error4(f, ROUTER4, OTHER4), LB_REASON_denied);
	assert_int_equal(reason_of_error4(f, CLIENT4, OTHER4), LB_REASON_denied);
}

TEST(an_icmpv6_error_counts_as_the_clients_whose_packet_it_quotes)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP6, IPPROTO_TCP, 0);

	give(service, filter_of(CLIENT6, NULL));
	assert_int_equal(reason_of_error6(f, ROUTER6, CLIENT6), LB_REASON_forwarded_tx);
	assert_int_equal(reason_of_error6(f, ROUTER6, OTHER6), LB_REASON_denied);
}

TEST(an_echo_to_the_vip_belongs_to_no_service_and_is_answered)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);

	give(service, filter_of(NULL, CLIENT4));
	assert_int_equal(reason_of(f, PKT(ETH(), IN4(), ICMP(.type = 8, .id = 1), DATA(8))),
			 LB_REASON_echo_answered);
}

/* ---- the search ---- */

static void try_address(struct fixture *f, const struct filter_list *allow,
			const struct filter_list *deny, uint8_t family)
{
	struct addr address = model_address(allow, deny, family);
	bool model = model_denies(allow, deny, &address);
	char text[ADDR_TEXT];

	reason_from(f, addr_format(&address, text), ACK);
	if (f->reason == LB_REASON_martian)
		return;
	if (f->reason != (model ? LB_REASON_denied : LB_REASON_forwarded_tx))
		fail_msg("%s: %s, expected %s", text, fixture_reason_name(f->reason),
			 model ? "denied" : "forwarded_tx");
}

/* Each round has other lists for the two services, some as long as those of many bounds between two
 * entries of the directory. */
TEST(random_lists_admit_whom_the_naive_model_admits)
{
	struct fixture *f = fixture_get();
	uint16_t ids[] = {listed(f, VIP4, IPPROTO_TCP, 0), listed(f, VIP6, IPPROTO_TCP, 0)};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct filter_list *allow, *deny;
		struct filter *filter;

		model_seed(seed);
		allow = seed % 3 ? model_list(seed % 10 ? 60 : 700, NULL) : NULL;
		deny = seed % 3 != 1 ? model_list(60, allow) : NULL;
		filter = filter_of_lists(allow, deny);
		put(ids, (struct filter *[]){filter, filter}, 2);
		for (int i = 0; i < 100; i++)
			try_address(f, allow, deny, i % 2 ? 4 : 6);
		filter_list_unref(allow);
		filter_list_unref(deny);
		filter_unref(filter);
	}
}

/* Every second address of a /16 is denied: 65 536 bounds between two entries of the directory, so
 * the search needs all its steps but five. */
TEST(as_many_bounds_as_fit_between_two_entries_are_searched)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);
	struct filter_list *deny = list_of("");
	char text[32];

	for (unsigned i = 0; i < 65536; i += 2) {
		snprintf(text, sizeof(text), "10.1.%u.%u", i >> 8, i & 255);
		assert_int_equal(filter_list_add(deny, text, 1, NULL), 0);
	}
	give(service, filter_of_lists(NULL, deny));
	for (unsigned i = 0; i < 65536; i += 251) {
		snprintf(text, sizeof(text), "10.1.%u.%u", i >> 8, i & 255);
		assert_int_equal(reason_from(f, text, ACK),
				 i % 2 ? LB_REASON_forwarded_tx : LB_REASON_denied);
	}
	assert_int_equal(reason_from(f, "10.0.255.255", ACK), LB_REASON_forwarded_tx);
	assert_int_equal(reason_from(f, "10.2.0.0", ACK), LB_REASON_forwarded_tx);
	filter_list_unref(deny);
}

/* The directory and the bounds are in the second chunk, and some bounds in the third. */
TEST(filters_that_take_several_chunks_are_searched)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP4, IPPROTO_TCP, 0);
	struct filter_list *deny = list_of("");
	char text[32];

	for (unsigned i = 0; i < 600000; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 15, i >> 7 & 255, i << 1 & 255);
		assert_int_equal(filter_list_add(deny, text, 1, NULL), 0);
	}
	give(service, filter_of_lists(NULL, deny));
	assert_true(dp.filters.chunks > 2);
	for (unsigned i = 0; i < 1200000; i += 4999) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(reason_from(f, text, ACK),
				 i % 2 ? LB_REASON_forwarded_tx : LB_REASON_denied);
	}
	assert_int_equal(reason_from(f, "11.0.0.0", ACK), LB_REASON_forwarded_tx);
	filter_list_unref(deny);
}

/* Of IPv6 prefixes with the same first 32 bits, as one site has them, all must be searched. */
TEST(ipv6_prefixes_that_share_their_first_words_are_searched)
{
	struct fixture *f = fixture_get();
	uint16_t service = listed(f, VIP6, IPPROTO_TCP, 0);
	struct filter_list *deny = list_of("");
	char text[64];

	for (unsigned i = 0; i < 65536; i += 2) {
		snprintf(text, sizeof(text), "2001:db9:0:%x::/64", i);
		assert_int_equal(filter_list_add(deny, text, 1, NULL), 0);
		snprintf(text, sizeof(text), "2001:db9:ffff:ffff::%x", i);
		assert_int_equal(filter_list_add(deny, text, 1, NULL), 0);
	}
	give(service, filter_of_lists(NULL, deny));
	for (unsigned i = 0; i < 65536; i += 503) {
		snprintf(text, sizeof(text), "2001:db9:0:%x:ffff::1", i);
		assert_int_equal(reason_from(f, text, ACK),
				 i % 2 ? LB_REASON_forwarded_tx : LB_REASON_denied);
		snprintf(text, sizeof(text), "2001:db9:ffff:ffff::%x", i);
		assert_int_equal(reason_from(f, text, ACK),
				 i % 2 ? LB_REASON_forwarded_tx : LB_REASON_denied);
	}
	filter_list_unref(deny);
}

PACKET_TEST_MAIN("packets: filters", cases)
