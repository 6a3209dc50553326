/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The straight path does what the long path does: random packets to services of every kind through
 * the program and its twin (twin.h), which has no straight path. The packet tests (packet_case.h)
 * send all of theirs through both too. */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#include "support/packet_case.h"
#include "support/rig.h"
#include "support/twin.h"
#include "lb.skel.h"

#define BATCHES 4000
#define PACKETS 250 /* in a batch: the maps are the same at its end */

/* ---- services besides those of packet_case.h ---- */

enum {
	P_FIRST_RULES = 200,
	P_MIXED = 220,
	P_SPREAD,
	P_SHORT,
	P_MOVING,
	P_TURNS,       /* takes turns; two backends, in all three orders that the list has */
	P_TURNS_MIXED, /* the same, with a ring of which some slots are in transition */
	P_TURNS_TAGGED,
	P_TURNS_LIMITED,
	P_COST, /* one member: which one of several is left to chance */
	P_LAST
};

/* Services on ports from P_FIRST_RULES, each with a rule that the straight path must heed. */
static const struct lb_service rules[] = {
    {.flags = LB_SERVICE_TRACK_ALWAYS},
    {.flags = LB_SERVICE_TRACK_ALWAYS | LB_SERVICE_AFFINITY},
    {.flags = LB_SERVICE_TRACK_ALWAYS | LB_SERVICE_LIMIT, .forward = LB_FORWARD_GUE},
    {.flags = LB_SERVICE_TRACK_ALWAYS | LB_SERVICE_FILTERED},
    {.flags = LB_SERVICE_TRACK_NEVER},
    {.flags = LB_SERVICE_LIMIT},
    {.flags = LB_SERVICE_FILTERED},
    {.flags = LB_SERVICE_NO_FRAGMENTS},
    {.hash = LB_HASH_DPORT},
    {.hash = LB_HASH_SPORT},
    {.mask4 = 24, .mask6 = 64},
    {.forward = LB_FORWARD_L2, .flags = LB_SERVICE_TRACK_ALWAYS},
    {.flags = LB_SERVICE_AFFINITY},
    {.flags = LB_SERVICE_TRACK_ALWAYS, .hash = LB_HASH_DPORT},
    {.flags = LB_SERVICE_TRACK_ALWAYS, .mask4 = 24, .mask6 = 64},
};

#define RULES ((int)ARRAY_SIZE(rules))
_Static_assert(P_FIRST_RULES + RULES <= P_MIXED, "ports overlap");

/* A ring of two backends, in which some slots are in transition or name none. */
static void mixed_ring(struct fixture *f, uint16_t service, uint16_t first, uint16_t second)
{
	const uint32_t words[] = {LB_SLOT(first, first),
				  LB_SLOT(second, second),
				  LB_SLOT(first, second) | LB_SLOT_TRANSITION,
				  LB_SLOT(second, first) | LB_SLOT_TRANSITION | LB_SLOT_LEARNING,
				  LB_SLOT(first, first),
				  0,
				  LB_SLOT(second, second)};

	f->map.services[service].ring = fixture_region(f, words, ARRAY_SIZE(words));
}

/* All slots change from this backend to the service's other one. */
static void moving_ring(struct fixture *f, uint16_t service, uint16_t keeper)
{
	uint64_t ring = f->map.services[service].ring;
	uint32_t *slots = &f->map.arena[LB_REGION_BASE(ring)];

	for (uint32_t i = 0; i < LB_REGION_SIZE(ring); i++)
		slots[i] = LB_SLOT(LB_SLOT_CURRENT(slots[i]), keeper) | LB_SLOT_TRANSITION;
}

/* A service that tracks always, and takes turns in a list in which an id may be of no backend. */
static uint16_t add_turns(struct fixture *f, const char *vip, int protocol, int port,
			  struct lb_service service, const struct backend_spec specs[2])
{
	uint16_t id, one, other;

	service.flags |= LB_SERVICE_TRACK_ALWAYS;
	service.select = LB_SELECT_TURN;
	id = fixture_service(f, vip, protocol, port, service);
	one = fixture_backend(f, id, &specs[0]);
	other = fixture_backend(f, id, &specs[1]);
	fixture_ring(f, id, 7, LB_SLOT(one, one));
	f->map.services[id].pick =
	    fixture_region(f, (uint32_t[]){one, other, other, one, other}, 5);
	if (port == P_TURNS_MIXED) {
		mixed_ring(f, id, one, other);
		f->map.services[id].pick = fixture_region(f, (uint32_t[]){one, other, 0, other}, 4);
	}
	return id;
}

static void add_trackers(struct fixture *f, const char *vip, int protocol,
			 const struct backend_spec *one, const struct backend_spec *other)
{
	const struct backend_spec tagged = {.dst = other->dst, .vlan = 100},
				  both[2] = {*one, *other}, mixed[2] = {*one, tagged};
	const struct lb_service gue = {.forward = LB_FORWARD_GUE}, l2 = {.forward = LB_FORWARD_L2},
				limited = {.flags = LB_SERVICE_LIMIT};
	uint32_t member;
	uint16_t id;

	add_turns(f, vip, protocol, P_TURNS, (struct lb_service){0}, both);
	add_turns(f, vip, protocol, P_TURNS_MIXED, protocol == IPPROTO_TCP ? gue : l2, both);
	add_turns(f, vip, protocol, P_TURNS_TAGGED, gue, mixed);
	add_turns(f, vip, protocol, P_TURNS_LIMITED, limited, both);
	id = fixture_single(
	    f, vip, protocol, P_COST,
	    (struct lb_service){.flags = LB_SERVICE_TRACK_ALWAYS, .select = LB_SELECT_COST}, one);
	member = f->backends - 1;
	f->map.services[id].pick = fixture_region(f, &member, 1);
	f->map.loads[member].cost = 1;
}

static void add_services(struct fixture *f, const char *vip, int protocol)
{
	const bool v6 = strchr(vip, ':');
	const struct backend_spec one = {.dst = v6 ? BACKEND6 : BACKEND4},
				  other = {.dst = v6 ? BACKEND4_B : BACKEND6_B},
				  spread = {.dst = one.dst, .spread = 0xffff},
				  small = {.dst = one.dst, .mtu = 600};
	uint16_t id;

	for (int i = 0; i < RULES; i++)
		fixture_single(f, vip, protocol, P_FIRST_RULES + i, rules[i], &one);
	id = fixture_service(f, vip, protocol, P_MIXED, (struct lb_service){0});
	mixed_ring(f, id, fixture_backend(f, id, &one), fixture_backend(f, id, &other));
	fixture_single(f, vip, protocol, P_SPREAD, (struct lb_service){0}, &spread);
	fixture_single(f, vip, protocol, P_SHORT, (struct lb_service){0}, &small);
	id = fixture_single(f, vip, protocol, P_MOVING, (struct lb_service){0}, &one);
	moving_ring(f, id, fixture_backend(f, id, &other));
	add_trackers(f, vip, protocol, &one, &other);
}

static int setup(void **state)
{
	struct fixture *f = fixture_or_null();

	world_setup(state);
	if (!f)
		return 0;
	f->main = MAIN_OF_PACKET;
	for (int i = 0; i < 4; i++)
		add_services(f, i & 1 ? VIP6 : VIP4, i & 2 ? IPPROTO_UDP : IPPROTO_TCP);
	return 0;
}

/* ---- random numbers ---- */

static uint64_t dice;

static uint32_t draw(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)((dice >> 32) * below >> 32);
}

/* True once in so many times. */
static bool once_in(uint32_t times)
{
	return !draw(times);
}

#define ONE_OF(list) ((list)[draw(ARRAY_SIZE(list))])

/* ---- a random packet: a plain one, with at most a few things out of the ordinary ---- */

struct writer {
	uint8_t *at;
	bool v6;
};

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put_address(struct writer *w, const char *text)
{
	assert_int_equal(inet_pton(w->v6 ? AF_INET6 : AF_INET, text, w->at), 1);
	w->at += w->v6 ? 16 : 4;
}

static void put_client(struct writer *w)
{
	static const char *const odd4[] = {"127.0.0.1",       "0.0.0.0", "224.0.0.1",
					   "255.255.255.255", VIP4,      "240.0.0.1"};
	static const char *const odd6[] = {"::1", "::", "ff02::1", "::ffff:192.0.2.1", VIP6};

	if (once_in(64)) {
		put_address(w, w->v6 ? ONE_OF(odd6) : ONE_OF(odd4));
		return;
	}
	put_address(w, w->v6 ? CLIENT6 : CLIENT4);
	w->at[-1] = draw(4);
}

static void put_vip(struct writer *w)
{
	static const char *const others4[] = {VIP4_ANY, VIP4_EMPTY, VIP4_UDP, "192.0.2.99"};
	static const char *const others6[] = {VIP6_ANY, "2001:db8::99"};

	if (!once_in(12))
		put_address(w, w->v6 ? VIP6 : VIP4);
	else
		put_address(w, w->v6 ? ONE_OF(others6) : ONE_OF(others4));
}

static uint32_t draw_port(void)
{
	if (once_in(40))
		return draw(65536);
	if (once_in(2))
		return P_IPIP4 + draw(P_GRE4_REDIRECT - P_IPIP4 + 1);
	return once_in(3) ? P_MIXED + draw(P_LAST - P_MIXED) : P_FIRST_RULES + draw(RULES);
}

static uint32_t draw_protocol(bool v6)
{
	static const uint8_t odd[] = {0, 50, 43, 44, 60, 132};

	if (once_in(50))
		return ONE_OF(odd);
	if (once_in(30))
		return v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	return once_in(3) ? IPPROTO_UDP : IPPROTO_TCP;
}

static uint32_t draw_hops(void)
{
	return once_in(40) ? draw(3) : 3 + draw(253);
}

static void put_ipv4(struct writer *w, uint32_t protocol, uint32_t payload)
{
	static const uint16_t checks[] = {0xffff, 0xfeff, 0xfefe, 0xfffe, 0, 1};
	uint32_t options = once_in(40) ? 4 * draw(11) : 0;
	uint8_t *ip = w->at;

	memset(ip, 0, 20 + options);
	ip[0] = 0x45 + options / 4;
	ip[1] = draw(256);
	put16(ip + 2, 20 + options + payload);
	put16(ip + 4, draw(4));
	put16(ip + 6, once_in(30) ? draw(65536) : once_in(2) ? 0x4000 : 0);
	ip[8] = draw_hops();
	ip[9] = protocol;
	put16(ip + 10, once_in(8) ? ONE_OF(checks) : draw(65536));
	w->at += 12;
	put_client(w);
	put_vip(w);
	w->at += options;
}

static void put_ipv6(struct writer *w, uint32_t protocol, uint32_t payload)
{
	uint8_t *ip = w->at;

	ip[0] = 0x60 | draw(16);
	ip[1] = draw(256);
	put16(ip + 2, draw(65536));
	put16(ip + 4, payload);
	ip[6] = protocol;
	ip[7] = draw_hops();
	w->at += 8;
	put_client(w);
	put_vip(w);
}

static void put_transport(struct writer *w, uint32_t payload)
{
	static const uint8_t flags[] = {ACK, ACK,       ACK, ACK,       ACK | PSH, SYN,
					SYN, FIN | ACK, RST, SYN | ACK, 0,         0xff};

	for (uint32_t i = 0; i < payload && i < 40; i++)
		w->at[i] = draw(256);
	put16(w->at, 1024 + draw(8));
	put16(w->at + 2, draw_port());
	w->at[13] = ONE_OF(flags);
	w->at += payload;
}

static void put_link(struct writer *w)
{
	static const uint8_t own[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};

	memcpy(w->at, own, sizeof(own));
	if (once_in(40))
		w->at[draw(6)] ^= 1u << draw(8);
	w->at += 12;
	for (uint32_t tags = once_in(40) ? 1 + draw(3) : 0; tags; tags--) {
		put16(w->at, once_in(2) ? 0x8100 : 0x88a8);
		put16(w->at + 2, draw(4096));
		w->at += 4;
	}
	put16(w->at, w->v6 ? 0x86dd : 0x0800);
	w->at += 2;
}

static void build(struct packet *p)
{
	struct writer w = {.at = p->data, .v6 = once_in(3)};
	uint32_t payload = once_in(8) ? draw(1500) : 20 + draw(60);
	uint32_t protocol = draw_protocol(w.v6);

	put_link(&w);
	if (w.v6)
		put_ipv6(&w, protocol, payload);
	else
		put_ipv4(&w, protocol, payload);
	put_transport(&w, payload);
	p->len = (size_t)(w.at - p->data);
	if (once_in(40))
		p->len -= draw(p->len - 14); /* truncated */
	else if (once_in(20))
		p->len += draw(40); /* padded */
	if (once_in(40))
		p->data[draw(p->len < 60 ? p->len : 60)] = draw(256);
}

/* ---- a batch ---- */

/* The interface's own address is known in each of the ways that admit.h knows. */
static void draw_macs(struct fixture *f)
{
	const uint64_t own = 0x010000000002;
	struct lb_link *link = &f->map.links[f->lo & (LB_LINKS - 1)];

	memset(link, 0, sizeof(*link));
	f->map.settings->own_mac = LB_MAC_NONE;
	if (once_in(2))
		f->map.settings->own_mac = own;
	else if (once_in(2))
		*link = (struct lb_link){.ifindex = f->lo, .mac = {once_in(2) ? own : 77, own}};
}

/* Entries of the last batch, older, in another state or of another backend: as long as the table is
 * not so full that an entry is evicted at random. */
static void draw_entries(struct fixture *f)
{
	__u64 *entry = f->map.flows->flow;
	int used = 0;

	for (int i = 0; i < FIXTURE_BUCKETS * LB_FLOW_WAYS; i++) {
		used += LB_FLOW_STATE(entry[i]) != 0;
		if (!LB_FLOW_STATE(entry[i]))
			continue;
		if (once_in(4))
			entry_age(&entry[i], draw(400));
		if (once_in(6))
			entry_set_state(&entry[i], 1 + draw(LB_FLOW_DORMANT));
		if (once_in(6))
			entry_set_backend(&entry[i], draw(f->backends));
	}
	if (used > FIXTURE_BUCKETS * LB_FLOW_WAYS / 4)
		memset(f->map.flows, 0, FIXTURE_BUCKETS * sizeof(*f->map.flows));
}

static void draw_turns(struct fixture *f)
{
	memset(f->map.turns, 0, FIXTURE_SERVICES * sizeof(*f->map.turns));
	for (uint32_t id = 0; id < f->services; id++) {
		if (once_in(4))
			f->map.turns[id].unplaced = fixture_tick() - draw(120);
		if (once_in(2))
			f->map.turns[id].share = draw(8);
	}
}

/* The whole of the flow table is in use, or it comes into use. */
static void draw_masks(struct fixture *f)
{
	const uint32_t whole = FIXTURE_BUCKETS - 1;

	f->map.settings->flow_masks =
	    (union lb_flow_masks){{once_in(4) ? whole / 2 : whole, whole}};
}

static void draw_state(struct fixture *f)
{
	draw_entries(f);
	draw_turns(f);
	draw_masks(f);
	for (uint32_t id = 1; id < f->backends; id++) {
		f->map.loads[id].active = 0;
		fixture_backend_usable(f, id, !once_in(20));
		if (once_in(40))
			f->map.backends[id].mtu = 60 + draw(1500);
	}
	f->main = once_in(2) ? MAIN_OF_PACKET : draw(MAIN_NONE + 1);
	draw_macs(f);
}

/* False: what differs is in what. */
static bool send_batch(struct fixture *f, char *what)
{
	for (int i = 0; i < PACKETS; i++) {
		build(&f->in);
		if (i % 16 == 0)
			fixture_sync(f); /* MAIN_OF_PACKET: of this one */
		if (!twin_send(f, what))
			return false;
	}
	return twin_same_maps(f, what);
}

static void check_batch(struct fixture *f)
{
	const uint64_t begin = dice;
	char what[256];

	twin_begin(f);
	for (int i = 0; i < TWIN_TRIES; i++) {
		uint32_t tick = fixture_tick();

		if (i)
			twin_again(f);
		dice = begin;
		if (send_batch(f, what))
			return;
		if (i && fixture_tick() == tick)
			break;
	}
	packet_print("packet in", &f->in);
	fail_msg("the straight path and the long one differ (batch of dice %llx): %s",
		 (unsigned long long)begin, what);
}

LB_TEST(a_million_random_packets_fare_alike_on_both_paths)
{
	struct fixture *f = fixture_get();

	dice = 0x9e3779b97f4a7c15ULL;
	for (int i = 0; i < BATCHES; i++) {
		draw_state(f);
		check_batch(f);
	}
}

/* ---- which packets take it: the long path is made to end them without a service ---- */

/* f->in, after lbd's tables have lost every port, but not the words of the straight path. */
static void send_straight_only(struct fixture *f)
{
	fixture_sync(f);
	f->map.settings->unserved = LB_REFUSE_DROP;
	memset(f->map.ports, 0, bpf_map__max_entries(f->skel->maps.ports) * sizeof(*f->map.ports));
	assert_int_equal(fixture_run(bpf_program__fd(f->skel->progs.lb), f->in.data, f->in.len,
				     NULL, &f->out, &f->verdict),
			 0);
}

static void plain_packet(struct fixture *f, bool v6, int port, int flags)
{
	const uint32_t seq = flags == SYN ? 1000 : 1001;

	if (v6)
		packet_build(&f->in,
			     PKT(ETH(), IN6(), TCP(.dport = port, .flags = flags, .seq = seq)));
	else
		packet_build(&f->in, PKT(ETH(), IN4(),
					 TCP(.dport = port, .flags = flags, .seq = seq), DATA(6)));
}

LB_TEST(plain_packets_of_every_way_to_forward_are_straight)
{
	static const int ports[] = {P_IPIP4, P_IPIP6, P_GUE4,  P_GUE6,    P_GRE4,
				    P_GRE6,  P_L2,    P_JUMBO, P_REDIRECT};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(ports); i++) {
		int port = ports[i / 2];
		struct fixture *f;

		setup(state);
		f = fixture_get();
		f->map.settings->own_mac = 0x010000000002;
		plain_packet(f, i % 2, port, ACK);
		send_straight_only(f);
		assert_int_equal(f->verdict, port == P_REDIRECT ? XDP_REDIRECT : XDP_TX);
	}
}

LB_TEST(services_with_lists_or_other_hashes_are_not_straight)
{
	static const int ports[] = {P_FIRST_RULES + 3, P_FIRST_RULES + 6, P_FIRST_RULES + 8,
				    P_FIRST_RULES + 9, P_FIRST_RULES + 10};

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		struct fixture *f;

		setup(state);
		f = fixture_get();
		f->map.settings->own_mac = 0x010000000002;
		plain_packet(f, false, ports[i], ACK);
		send_straight_only(f);
		assert_int_equal(f->verdict, XDP_DROP);
	}
}

/* SYN of a service with a rate: only the long path may let it in. */
LB_TEST(what_may_open_a_flow_of_a_service_with_a_rate_is_not_straight)
{
	struct fixture *f = fixture_get();

	f->map.settings->own_mac = 0x010000000002;
	plain_packet(f, false, P_FIRST_RULES + 5, SYN);
	send_straight_only(f);
	assert_int_equal(f->verdict, XDP_DROP);
	setup(state);
	f->map.settings->own_mac = 0x010000000002;
	plain_packet(f, false, P_FIRST_RULES + 5, ACK);
	send_straight_only(f);
	assert_int_equal(f->verdict, XDP_TX);
}

/* ---- tracked flows ---- */

static __u64 *only_entry(struct fixture *f)
{
	for (int i = 0; i < FIXTURE_BUCKETS * LB_FLOW_WAYS; i++)
		if (LB_FLOW_STATE(f->map.flows->flow[i]))
			return &f->map.flows->flow[i];
	fail_msg("no entry in the flow table");
	return NULL;
}

/* The verdict on a flow's third packet when only the straight path can send it. change: of the
 * flow's entry before that; NULL: none. */
static int third_packet(void **state, int port, void (*change)(__u64 *entry))
{
	struct fixture *f = fixture_get();
	uint32_t tick;

	for (int i = 0; i < TWIN_TRIES; i++) {
		setup(state);
		f->map.settings->own_mac = 0x010000000002;
		tick = fixture_tick();
		plain_packet(f, false, port, SYN);
		fixture_send(f);
		plain_packet(f, false, port, ACK);
		fixture_send(f);
		assert_int_equal(f->verdict, XDP_TX);
		if (change)
			change(only_entry(f));
		send_straight_only(f);
		if (fixture_tick() == tick)
			break; /* all within one tick */
	}
	return f->verdict;
}

#define OLDER 5 /* ticks */

static void make_older(__u64 *entry)
{
	entry_age(entry, OLDER);
}

static bool is_renewed(__u64 entry)
{
	return ((fixture_tick() - LB_FLOW_TICK(entry)) & LB_FLOW_TICK_MASK) < OLDER;
}

static void give_to_first(__u64 *entry) /* backend: of P_IPIP4 */
{
	entry_set_backend(entry, 1);
}

static void give_to_keeper(__u64 *entry) /* of P_MOVING */
{
	entry_set_backend(entry, LB_FLOW_BACKEND(*entry) + 1);
}

LB_TEST(an_established_tracked_flow_is_straight)
{
	assert_int_equal(third_packet(state, P_FIRST_RULES, NULL), XDP_TX);
}

LB_TEST(a_tracked_flow_is_straight_when_its_entry_is_to_be_renewed)
{
	assert_int_equal(third_packet(state, P_FIRST_RULES, make_older), XDP_TX);
	assert_true(is_renewed(*only_entry(fixture_get())));
}

LB_TEST(in_a_slot_in_transition_a_flow_is_straight_when_its_entry_is_to_be_renewed)
{
	assert_int_equal(third_packet(state, P_MOVING, make_older), XDP_TX);
	assert_true(is_renewed(*only_entry(fixture_get())));
}

LB_TEST(a_tracked_flow_is_not_straight_to_the_backend_of_another_service)
{
	assert_int_equal(third_packet(state, P_FIRST_RULES, give_to_first), XDP_DROP);
}

LB_TEST(in_a_slot_in_transition_a_tracked_flow_on_current_is_straight)
{
	assert_int_equal(third_packet(state, P_MOVING, NULL), XDP_TX);
}

/* It must stamp the slot. */
LB_TEST(in_a_slot_in_transition_a_tracked_flow_elsewhere_is_not_straight)
{
	assert_int_equal(third_packet(state, P_MOVING, give_to_keeper), XDP_DROP);
}

LB_TEST(in_a_slot_in_transition_a_flow_without_an_entry_is_not_straight)
{
	struct fixture *f = fixture_get();

	f->map.settings->own_mac = 0x010000000002;
	plain_packet(f, false, P_MOVING, ACK);
	send_straight_only(f);
	assert_int_equal(f->verdict, XDP_DROP);
}

/* ---- new flows ---- */

struct opening {
	struct fixture *f;
	uint16_t service, first; /* of P_TURNS; and the first of its two backends, which is next */
	bool udp;
	int port, flags, ttl;
};

/* The id of the service at VIP4 with this port. */
static uint16_t service_at(struct fixture *f, int protocol, int port)
{
	const uint64_t key = LB_PORT_KEY(fixture_vip(f, VIP4), port, protocol);

	for (uint32_t i = 0; i < f->ports; i++)
		if ((f->port[i] & LB_PORT_KEY_MASK) == key)
			return LB_PORT_SERVICE(f->port[i]);
	fail_msg("no service with port %d", port);
	return 0;
}

static struct opening opening(void **state, bool udp)
{
	struct opening o = {.udp = udp, .port = P_TURNS, .flags = SYN, .ttl = 64};
	uint64_t ring;

	setup(state);
	o.f = fixture_get();
	o.f->map.settings->own_mac = 0x010000000002;
	o.service = service_at(o.f, udp ? IPPROTO_UDP : IPPROTO_TCP, P_TURNS);
	ring = o.f->map.services[o.service].ring;
	o.first = LB_SLOT_CURRENT(o.f->map.arena[LB_REGION_BASE(ring)]);
	return o;
}

/* Whether the straight path takes the first packet of a flow from this port. */
static bool opens_from(struct opening *o, int port)
{
	if (o->udp)
		packet_build(&o->f->in, PKT(ETH(), IN4(.ttl = o->ttl),
					    UDP(.sport = port, .dport = o->port), DATA(18)));
	else
		packet_build(&o->f->in,
			     PKT(ETH(), IN4(.ttl = o->ttl),
				 TCP(.sport = port, .dport = o->port, .flags = o->flags), DATA(6)));
	send_straight_only(o->f);
	assert_true(o->f->verdict == XDP_TX || o->f->verdict == XDP_DROP);
	return o->f->verdict == XDP_TX;
}

static int entries(const struct opening *o)
{
	int count = 0;

	for (int i = 0; i < FIXTURE_BUCKETS * LB_FLOW_WAYS; i++)
		count += LB_FLOW_STATE(o->f->map.flows->flow[i]) != 0;
	return count;
}

/* It takes the packet, and the backend is this one. */
static void expect_opens(struct opening *o, int port, uint16_t backend)
{
	const struct lb_load *load = &o->f->map.loads[backend];
	const int active = load->active, flows = fixture_backend_count(o->f, backend).flows;
	const int held = o->f->map.turns[o->service].held, before = entries(o);

	assert_true(opens_from(o, port));
	assert_int_equal(load->active, active + 1);
	assert_int_equal(fixture_backend_count(o->f, backend).flows, flows + 1);
	assert_int_equal(o->f->map.turns[o->service].held, held + 1);
	assert_int_equal(entries(o), before + 1);
}

/* It does not, and has changed nothing. */
static void expect_leaves(struct opening *o, int port)
{
	const uint64_t next = o->f->map.turns[o->service].next;
	const int before = entries(o);

	assert_false(opens_from(o, port));
	assert_true(o->f->map.turns[o->service].next == next);
	assert_int_equal(entries(o), before);
}

LB_TEST(new_flows_of_a_service_that_takes_turns_are_straight)
{
	for (int udp = 0; udp < 2; udp++) {
		struct opening o = opening(state, udp);

		expect_opens(&o, 1001, o.first);
		expect_opens(&o, 1002, o.first + 1);
		expect_opens(&o, 1003, o.first + 1);
		expect_opens(&o, 1004, o.first);
		expect_opens(&o, 1005, o.first + 1);
		expect_opens(&o, 1006, o.first);
		expect_leaves(&o, 1006); /* it has an entry */
	}
}

LB_TEST(a_syn_that_offers_ecn_is_straight)
{
	struct opening o = opening(state, false);

	o.flags = SYN | 0xc0;
	expect_opens(&o, 1001, o.first);
}

LB_TEST(a_segment_that_is_more_or_less_than_a_syn_opens_nothing_straight)
{
	static const int flags[] = {0, PSH, SYN | ACK, SYN | FIN, SYN | RST, FIN, RST, ACK};
	struct opening o = opening(state, false);

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		o.flags = flags[i];
		expect_leaves(&o, 1001);
	}
}

LB_TEST(services_that_ask_more_of_a_new_flow_open_none_straight)
{
	static const int ports[] = {P_FIRST_RULES + 1,  P_FIRST_RULES + 2,  P_FIRST_RULES + 3,
				    P_FIRST_RULES + 13, P_FIRST_RULES + 14, P_TURNS_LIMITED};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(ports); i++) {
		struct opening o = opening(state, i % 2);

		o.port = ports[i / 2];
		expect_leaves(&o, 1001);
	}
}

static void dying(struct opening *o)
{
	fixture_backend_usable(o->f, o->first, false);
}

static void given_to_another_service(struct opening *o)
{
	o->f->map.backends[o->first].service++;
}

static void short_path(struct opening *o)
{
	o->f->map.backends[o->first].mtu = 20 + 46 - 1;
}

static void tagged(struct opening *o)
{
	o->f->map.backends[o->first].flags |= LB_BACKEND_TAGGED;
}

static void last_hop(struct opening *o)
{
	o->ttl = 1;
}

static void in_transition(struct opening *o)
{
	moving_ring(o->f, o->service, o->first);
}

static void without_a_ring(struct opening *o)
{
	uint64_t ring = o->f->map.services[o->service].ring;

	memset(&o->f->map.arena[LB_REGION_BASE(ring)], 0, LB_REGION_SIZE(ring) * sizeof(uint32_t));
}

static void without_a_list(struct opening *o)
{
	o->f->map.services[o->service].pick = 0;
}

static void changing_size(struct opening *o)
{
	o->f->map.settings->flow_masks.put = FIXTURE_BUCKETS / 2 - 1;
}

static void used_up(struct opening *o)
{
	o->f->map.turns[o->service] = (struct lb_turn){.held = 3, .share = 3};
	o->f->map.turns[0] = (struct lb_turn){.held = 5, .share = 5};
}

static void full(struct opening *o)
{
	for (int i = 0; i < FIXTURE_BUCKETS * LB_FLOW_WAYS; i++)
		o->f->map.flows->flow[i] =
		    (uint64_t)LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT | fixture_tick();
}

static void overflowing(struct opening *o)
{
	for (int i = 0; i < FIXTURE_BUCKETS; i++)
		o->f->map.flows[i].flow[0] = LB_FLOW_OVERFLOW;
}

LB_TEST(what_is_in_question_is_left_to_the_long_path)
{
	static void (*const changes[])(struct opening *) = {
	    dying,          given_to_another_service,
	    short_path,     tagged,
	    last_hop,       in_transition,
	    without_a_ring, without_a_list,
	    changing_size,  used_up,
	    full,           overflowing};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(changes); i++) {
		struct opening o = opening(state, i % 2);

		changes[i / 2](&o);
		expect_leaves(&o, 1001);
	}
}

/* As long as its share, or the common half, has places. */
LB_TEST(a_service_with_a_place_left_opens_flows_straight)
{
	struct opening o = opening(state, false);

	used_up(&o);
	o.f->map.turns[o.service].share++;
	expect_opens(&o, 1001, o.first);
	assert_int_equal(o.f->map.turns[0].held, 5);
	o.f->map.turns[0].share++;
	expect_opens(&o, 1002, o.first + 1);
	assert_int_equal(o.f->map.turns[0].held, 6);
}

/* A datagram may be of a flow that found no place; a SYN is not. */
LB_TEST(after_a_flow_without_a_place_no_datagram_opens_one_straight)
{
	for (int udp = 0; udp < 2; udp++) {
		struct opening o = opening(state, udp);
		struct lb_turn *turn = &o.f->map.turns[o.service];
		uint32_t idle = o.f->map.services[o.service].udp_idle;

		turn->unplaced = fixture_tick() - idle + 1;
		if (udp)
			expect_leaves(&o, 1001);
		else
			expect_opens(&o, 1001, o.first);
		turn->unplaced = fixture_tick() - idle - 1;
		turn->next = 0;
		expect_opens(&o, 1002, o.first);
	}
}

LB_TEST_MAIN("straight path", .open = twin_fixture_open, .close = twin_fixture_close,
	     .setup = setup)
