/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` on plain memory: reals and their lines, how long they stay, who may have them,
 * what replies are counted for; and the lists of destinations. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bpf/csum.h"
#include "support/memory_dataplane.h"
#include "support/packet.h"
#include "support/test_addr.h"
#include "support/test_registry.h"

#define TCP_IDLE 280 /* ticks of 300 s */
#define UDP_IDLE 28

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want wants[2];

static void want_nat(struct want *at, const char *vip, int protocol, int port)
{
	want_init(at, vip, protocol, port, "maglev");
	at->service.slots = 251;
	at->service.forward = LB_FORWARD_NAT;
}

/* port: of the backend. */
static struct dp_backend *add(struct want *at, unsigned n, int port)
{
	struct dp_backend *backend = want_add(at, n, 100);

	backend->port = htons(port);
	return backend;
}

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){64, 256, 1 << 16, 64});
	dp = memory->dp;
	dp->clock = 10000;
	want_nat(&wants[0], "192.0.2.1", IPPROTO_TCP, 80);
	want_nat(&wants[1], "192.0.2.2", IPPROTO_TCP, 80);
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* ---- the program's look-up ---- */

static uint16_t look_at(const struct addr *address, int protocol, int port)
{
	uint64_t word = dp->maps.settings->tables[dp->maps.settings->active & 1].reals, hash;
	uint64_t half[2] = {0};
	uint32_t v4, at;

	if (!word)
		return 0;
	memcpy(&v4, address->bytes, 4);
	half[1] = v4;
	if (address->family == 6)
		memcpy(half, address->bytes, 16);
	hash = lb_real_hash(half[0], half[1], LB_REAL_KIND(htons(port), protocol),
			    LB_REALS_MULTIPLIER(word));
	at = LB_REALS_BASE(word) + (LB_REAL_BUCKET(hash) & (LB_REALS_BUCKETS(word) - 1));
	assert_true(at < dp->maps.real_buckets);
	if (!dp->maps.reals[at].real[LB_REAL_WAY(hash)])
		return 0;
	for (unsigned way = 0; way < LB_REAL_WAYS; way++) {
		uint64_t found = dp->maps.reals[at].real[way];
		uint16_t id = LB_REAL_BACKEND(found);
		const struct lb_return *line = &dp->maps.returns[id];

		if ((found ^ hash) >> 32 || !found)
			continue;
		if (line->family == address->family &&
		    !memcmp(line->real, address->bytes, sizeof(line->real)) &&
		    (!protocol || (line->protocol == protocol && line->port == htons(port))))
			return id;
	}
	return 0;
}

/* The id of the backend whose reply it is; 0: none. */
static uint16_t look(unsigned n, int protocol, int port)
{
	const struct addr address = want_address(n);

	return look_at(&address, protocol, port);
}

static uint16_t id_of(const struct want *at, unsigned n)
{
	return want_id(dp, at, n);
}

static int try_commit(struct want *list, unsigned count, struct error *err)
{
	struct dp_service services[8];

	for (unsigned i = 0; i < count; i++)
		services[i] = list[i].service;
	*err = (struct error){0};
	return dataplane_commit(dp, services, count, err);
}

/* ---- reals ---- */

TEST(a_nat_backend_has_a_real_and_others_have_none)
{
	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 9090);
	want_commit(dp, &wants[0], 1);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[0], 1));
	assert_int_equal(look(2, IPPROTO_TCP, 9090), id_of(&wants[0], 2));
	assert_int_equal(look(1, IPPROTO_UDP, 8080), 0);
	assert_int_equal(look(1, IPPROTO_TCP, 80), 0);
	assert_int_equal(look(3, IPPROTO_TCP, 8080), 0);
	assert_int_equal(look(1, 0, 0), id_of(&wants[0], 1)); /* some real has this address */
	want_init(&wants[1], "192.0.2.9", IPPROTO_TCP, 80, "maglev");
	want_add(&wants[1], 3, 100);
	want_commit(dp, wants, 2);
	assert_int_equal(look(3, IPPROTO_TCP, 80), 0);
	assert_int_equal(look(3, 0, 0), 0);
}

TEST(a_backend_that_is_dead_from_the_start_has_its_real)
{
	add(&wants[0], 1, 8080)->usable = false;
	want_commit(dp, &wants[0], 1);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[0], 1));
}

TEST(a_line_says_vip_and_port_of_the_service)
{
	const struct lb_return *line;

	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	line = &dp->maps.returns[id_of(&wants[0], 1)];
	assert_memory_equal(line->vip, wants[0].service.vip.bytes, 16);
	assert_int_equal(line->vip_port, htons(80));
	assert_int_equal(line->port, htons(8080));
	assert_int_equal(line->protocol, IPPROTO_TCP);
	assert_int_equal(line->idle, TCP_IDLE);
	assert_int_equal(line->left, 0);
}

/* What the sums become, against sums over the whole. */
static void check_delta(uint16_t delta, const void *before, const void *after, size_t length)
{
	uint16_t expected = packet_sum(after, length, 0);
	uint32_t sum = packet_sum(before, length, 0) + delta;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum % 0xffff, expected % 0xffff);
}

TEST(the_differences_of_the_sums_are_those_of_the_headers)
{
	struct {
		uint8_t ttl[2], address[4], port[2];
	} vip = {{64}, {192, 0, 2, 1}, {0, 80}}, real = {{64}, {10, 0, 0, 1}, {0x1f, 0x90}}, to;
	const struct lb_backend *line;
	const struct lb_return *back;

	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	line = &dp->maps.backends[id_of(&wants[0], 1)];
	back = &dp->maps.returns[id_of(&wants[0], 1)];
	check_delta(line->nat.delta4, &vip.address, &real.address, 6);
	check_delta(back->delta4, &real.address, &vip.address, 6);
	to = real;
	to.ttl[0]--;
	check_delta(line->nat.delta3, &vip, &to, 6);
	to = vip;
	to.ttl[0]--;
	check_delta(back->delta3, &real, &to, 6);
	assert_int_equal(line->nat.port, htons(8080));
	assert_int_equal(line->flags, LB_BACKEND_USED | LB_BACKEND_USABLE);
}

TEST(a_service_of_any_port_has_reals_of_any_port)
{
	want_nat(&wants[0], "192.0.2.1", IPPROTO_TCP, 0);
	add(&wants[0], 1, 0);
	want_commit(dp, &wants[0], 1);
	assert_int_equal(look(1, IPPROTO_TCP, 0), id_of(&wants[0], 1));
	assert_true(dp->maps.settings->tables[0].reals & LB_REALS_ANY);
	assert_int_equal(dp->maps.returns[id_of(&wants[0], 1)].vip_port, 0);
}

TEST(ipv6_reals_are_found)
{
	struct dp_backend *backend;

	want_nat(&wants[0], "2001:db8::1", IPPROTO_UDP, 53);
	backend = add(&wants[0], 1, 5353);
	backend->address = test_addr("fd00::17");
	want_commit(dp, &wants[0], 1);
	assert_int_not_equal(look_at(&backend->address, IPPROTO_UDP, 5353), 0);
	assert_int_equal(look_at(&backend->address, IPPROTO_TCP, 5353), 0);
}

/* The last bytes of an IPv6 address lie where a hash might have the port. */
TEST(reals_of_ipv6_whose_addresses_and_ports_add_up_to_the_same_are_found)
{
	static const char *const addresses[] = {"fd00::61", "fd00::63", "fd00::65"};
	static const int ports[] = {0x1f90, 0x1f92, 0x1f94};

	want_nat(&wants[0], "2001:db8::1", IPPROTO_TCP, 80);
	for (unsigned i = 0; i < 3; i++)
		add(&wants[0], i + 1, ports[i])->address = test_addr(addresses[i]);
	want_commit(dp, &wants[0], 1);
	for (unsigned i = 0; i < 3; i++) {
		const struct addr address = test_addr(addresses[i]);

		assert_int_not_equal(look_at(&address, IPPROTO_TCP, ports[i]), 0);
	}
}

/* ---- IPv4 VIPs with IPv6 backends ---- */

#define TRANSLATED (IPPROTO_TCP | LB_REAL_TRANSLATED)

static uint64_t reals_flags(void)
{
	return dp->maps.settings->tables[dp->maps.settings->active & 1].reals;
}

TEST(a_backend_of_the_other_family_has_a_real_of_its_own_kind)
{
	struct {
		uint8_t address[16], port[2];
	} vip = {{192, 0, 2, 1}, {0, 80}}, real = {{0xfd, [15] = 0x17}, {0x1f, 0x90}};
	const struct addr address = test_addr("fd00::17");
	const struct lb_return *line;
	uint16_t id;

	add(&wants[0], 1, 8080)->address = address;
	want_commit(dp, &wants[0], 1);
	id = look_at(&address, TRANSLATED, 8080);
	assert_int_not_equal(id, 0);
	assert_int_equal(look_at(&address, IPPROTO_TCP, 8080), 0);
	assert_true(reals_flags() & LB_REALS_TRANSLATED);
	line = &dp->maps.returns[id];
	assert_int_equal(line->family, 6);
	assert_int_equal(line->vip[0], inet_addr("192.0.2.1"));
	assert_int_equal(line->vip_port, htons(80));
	check_delta(line->delta4, &real, &vip, sizeof(vip));
	check_delta(dp->maps.backends[id].nat.delta4, &vip, &real, sizeof(vip));
	assert_int_equal(dp->maps.backends[id].family, 6);
}

TEST(without_such_backends_no_packet_asks_for_them)
{
	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	assert_false(reals_flags() & LB_REALS_TRANSLATED);
}

TEST(a_real_may_be_of_one_service_for_each_family_of_clients)
{
	const struct addr address = test_addr("fd00::17");
	struct error err;

	want_nat(&wants[1], "2001:db8::1", IPPROTO_TCP, 80);
	add(&wants[0], 1, 8080)->address = address;
	add(&wants[1], 1, 8080)->address = address;
	want_commit(dp, wants, 2);
	assert_int_not_equal(look_at(&address, TRANSLATED, 8080), 0);
	assert_int_not_equal(look_at(&address, IPPROTO_TCP, 8080), 0);
	assert_int_not_equal(look_at(&address, TRANSLATED, 8080),
			     look_at(&address, IPPROTO_TCP, 8080));
	want_nat(&wants[1], "192.0.2.2", IPPROTO_TCP, 80);
	add(&wants[1], 1, 8080)->address = address;
	assert_int_equal(try_commit(wants, 2, &err), -EBUSY);
	assert_non_null(strstr(err.text, "192.0.2.1:80/tcp"));
	assert_non_null(strstr(err.text, "192.0.2.2:80/tcp"));
	assert_non_null(strstr(err.text, "[fd00::17]:8080/tcp"));
}

TEST(the_prefix_of_clients_is_put_in_force_whole)
{
	const struct dp_prefix prefix = {.address = test_addr("2001:db8:46::"), .length = 96},
			       other = {.address = test_addr("2001:db8:1::"), .length = 48},
			       none = {{0}, 0};
	const struct lb_settings *settings = dp->maps.settings;
	uint64_t before;

	dataplane_set_embed(dp, &none);
	assert_int_equal(settings->embed_length, 0);
	assert_true(settings->embed_mask[0] == UINT64_MAX && !settings->embed[0]);
	dataplane_set_embed(dp, &prefix);
	assert_int_equal(settings->embed_length, 96);
	assert_memory_equal(settings->embed, prefix.address.bytes, 16);
	assert_true(settings->embed_mask[0] == UINT64_MAX);
	assert_int_equal(((const uint8_t *)settings->embed_mask)[11], 0xff);
	assert_int_equal(((const uint8_t *)settings->embed_mask)[12], 0);
	before = dataplane_stores();
	dataplane_set_embed(dp, &prefix);
	assert_int_equal(dataplane_stores(), before);
	dataplane_set_embed(dp, &other);
	assert_int_equal(settings->embed_length, 48);
	assert_memory_equal(settings->embed, other.address.bytes, 16);
	dataplane_set_embed(dp, &none);
	assert_int_equal(settings->embed_length, 0);
	assert_true(settings->embed_mask[1] == UINT64_MAX);
}

TEST(all_of_many_reals_are_found)
{
	for (unsigned n = 1; n <= 200; n++)
		add(&wants[0], n, 8000 + (int)n % 3);
	want_commit(dp, &wants[0], 1);
	for (unsigned n = 1; n <= 200; n++) {
		assert_int_equal(look(n, IPPROTO_TCP, 8000 + (int)n % 3), id_of(&wants[0], n));
		assert_int_equal(look(n, 0, 0), id_of(&wants[0], n));
	}
}

TEST(an_unchanged_commit_writes_nothing)
{
	uint64_t before;

	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	before = dataplane_stores();
	want_commit(dp, &wants[0], 1);
	assert_int_equal(dataplane_stores(), before);
}

/* ---- how long they stay ---- */

TEST(a_real_outlives_its_backend_by_an_idle_timeout)
{
	uint16_t id;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, &wants[0], 1);
	id = id_of(&wants[0], 1);
	want_remove(&wants[0], 1);
	want_commit(dp, &wants[0], 1);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id);
	assert_int_equal(dp->backend_ids.state[id], ID_QUARANTINED);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), 0);
	assert_int_equal(dp->backend_ids.state[id], ID_FREE);
	assert_int_equal(look(2, IPPROTO_TCP, 8080), id_of(&wants[0], 2));
}

/* Its id is not free yet, but its time is over: the replies from there are of the new one. */
TEST(a_real_whose_time_is_over_gets_no_replies_of_one_that_has_all_ports)
{
	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, &wants[0], 1);
	want_remove(&wants[0], 1);
	want_commit(dp, &wants[0], 1);
	dp->clock += TCP_IDLE + 1;
	want_nat(&wants[1], "192.0.2.2", IPPROTO_TCP, 0);
	add(&wants[1], 1, 0);
	want_commit(dp, wants, 2);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), 0);
	assert_int_equal(look(1, IPPROTO_TCP, 0), id_of(&wants[1], 1));
}

TEST(a_real_outlives_its_service)
{
	want_nat(&wants[0], "192.0.2.1", IPPROTO_UDP, 53);
	add(&wants[0], 1, 5353);
	want_commit(dp, &wants[0], 1);
	want_commit(dp, NULL, 0);
	sweep_rounds(dp, 3, 10000 + UDP_IDLE);
	assert_int_not_equal(look(1, IPPROTO_UDP, 5353), 0);
	sweep_rounds(dp, 3, 10000 + UDP_IDLE + 1);
	assert_int_equal(look(1, IPPROTO_UDP, 5353), 0);
	assert_int_equal(dp->maps.settings->tables[0].reals, 0);
	assert_int_equal(dp->maps.settings->tables[1].reals, 0);
}

TEST(a_changed_idle_timeout_counts)
{
	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	wants[0].service.tcp_idle_ms = 600000;
	want_commit(dp, &wants[0], 1);
	assert_int_equal(dp->maps.returns[id_of(&wants[0], 1)].idle, dp_ticks(600000));
}

/* The id is given to no other backend meanwhile, even if there is no other. */
TEST(an_id_whose_replies_may_come_is_not_taken)
{
	struct error err;
	uint16_t id;

	for (unsigned n = 1; n <= 256; n++)
		add(n <= 200 ? &wants[0] : &wants[1], n, 8080);
	want_commit(dp, wants, 2);
	id = id_of(&wants[0], 7);
	want_remove(&wants[0], 7);
	want_commit(dp, wants, 2);
	add(&wants[0], 300, 8080);
	assert_int_equal(try_commit(wants, 2, &err), -ENOSPC);
	assert_int_equal(look(7, IPPROTO_TCP, 8080), id);
	dp->clock += TCP_IDLE + 1;
	want_commit(dp, wants, 2);
	assert_int_equal(id_of(&wants[0], 300), id);
	assert_int_equal(look(300, IPPROTO_TCP, 8080), id);
	assert_int_equal(look(7, IPPROTO_TCP, 8080), 0);
}

TEST(a_backend_that_is_back_gets_its_real_again)
{
	uint16_t before, after;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, &wants[0], 1);
	before = id_of(&wants[0], 1);
	want_remove(&wants[0], 1);
	want_commit(dp, &wants[0], 1);
	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	after = id_of(&wants[0], 1);
	assert_int_not_equal(before, after);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), after);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	assert_int_equal(dp->backend_ids.state[before], ID_FREE);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), after);
	assert_int_equal(look(1, 0, 0), after);
}

TEST(another_port_is_another_backend)
{
	uint16_t before;

	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	before = id_of(&wants[0], 1);
	wants[0].backends[0].port = htons(9090);
	want_commit(dp, &wants[0], 1);
	assert_int_not_equal(id_of(&wants[0], 1), before);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), before);
	assert_int_equal(look(1, IPPROTO_TCP, 9090), id_of(&wants[0], 1));
	assert_int_equal(dp->maps.backends[before].flags, 0);
}

TEST(another_way_of_forwarding_is_another_backend)
{
	uint16_t tunnel, nat;

	want_init(&wants[0], "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&wants[0], 1, 100);
	want_commit(dp, &wants[0], 1);
	tunnel = id_of(&wants[0], 1);
	wants[0].service.forward = LB_FORWARD_NAT;
	wants[0].backends[0].port = htons(8080);
	want_commit(dp, &wants[0], 1);
	nat = id_of(&wants[0], 1);
	assert_int_not_equal(nat, tunnel);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), nat);
	wants[0].service.forward = LB_FORWARD_IPIP;
	wants[0].backends[0].port = 0;
	want_commit(dp, &wants[0], 1);
	assert_int_not_equal(id_of(&wants[0], 1), nat);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), nat);
	assert_int_equal(dp->maps.backends[id_of(&wants[0], 1)].csum,
			 csum_of_constants(dp->maps.backends[id_of(&wants[0], 1)].outer_dst[0],
					   OUTER_TTL, IPPROTO_IPIP));
}

/* ---- one real, one service ---- */

TEST(a_real_of_two_services_is_refused)
{
	struct error err;

	add(&wants[0], 1, 8080);
	add(&wants[1], 1, 8080);
	assert_int_equal(try_commit(wants, 2, &err), -EEXIST);
	assert_non_null(strstr(err.text, "10.0.0.1:8080/tcp"));
	assert_non_null(strstr(err.text, "192.0.2.1:80/tcp"));
	assert_non_null(strstr(err.text, "192.0.2.2:80/tcp"));
	wants[1].backends[0].port = htons(8081);
	want_commit(dp, wants, 2);
}

TEST(the_same_address_and_port_may_be_of_two_protocols)
{
	add(&wants[0], 1, 53);
	want_nat(&wants[1], "192.0.2.2", IPPROTO_UDP, 53);
	add(&wants[1], 1, 53);
	want_commit(dp, wants, 2);
	assert_int_equal(look(1, IPPROTO_TCP, 53), id_of(&wants[0], 1));
	assert_int_equal(look(1, IPPROTO_UDP, 53), id_of(&wants[1], 1));
}

TEST(a_real_of_any_port_and_one_of_a_port_are_refused)
{
	struct error err;

	add(&wants[0], 1, 8080);
	want_nat(&wants[1], "192.0.2.2", IPPROTO_TCP, 0);
	add(&wants[1], 1, 0);
	assert_int_equal(try_commit(wants, 2, &err), -EEXIST);
	assert_non_null(strstr(err.text, "any"));
}

TEST(a_real_cannot_move_until_its_replies_are_over)
{
	struct error err;
	uint64_t before;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	add(&wants[1], 3, 8080);
	want_commit(dp, wants, 2);
	/* at once */
	want_remove(&wants[0], 1);
	add(&wants[1], 1, 8080);
	before = dataplane_stores();
	assert_int_equal(try_commit(wants, 2, &err), -EBUSY);
	assert_int_equal(dataplane_stores(), before);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[0], 1));
	/* after it has left */
	want_remove(&wants[1], 1);
	want_commit(dp, wants, 2);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE);
	add(&wants[1], 1, 8080);
	assert_int_equal(try_commit(wants, 2, &err), -EBUSY);
	assert_non_null(strstr(err.text, "10.0.0.1:8080/tcp"));
	assert_non_null(strstr(err.text, "192.0.2.1:80/tcp"));
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	want_commit(dp, wants, 2);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[1], 1));
	assert_memory_equal(dp->maps.returns[id_of(&wants[1], 1)].vip, wants[1].service.vip.bytes,
			    16);
}

/* ---- takeover ---- */

TEST(another_lbd_takes_over_reals_and_those_that_are_leaving)
{
	uint16_t stays, leaves;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, &wants[0], 1);
	stays = id_of(&wants[0], 1);
	leaves = id_of(&wants[0], 2);
	want_remove(&wants[0], 2);
	want_commit(dp, &wants[0], 1);
	dp = memory_dataplane_restart(memory);
	dp->clock = 10100;
	assert_int_equal(look(1, IPPROTO_TCP, 8080), stays);
	assert_int_equal(look(2, IPPROTO_TCP, 8080), leaves);
	want_commit(dp, &wants[0], 1);
	assert_int_equal(id_of(&wants[0], 1), stays);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE);
	assert_int_equal(look(2, IPPROTO_TCP, 8080), leaves);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	assert_int_equal(look(2, IPPROTO_TCP, 8080), 0);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), stays);
}

static void restart_at(uint32_t tick)
{
	memory->dp->clock = tick;
	dp = memory_dataplane_restart(memory);
	dp->clock = tick;
}

TEST(the_time_of_a_real_that_leaves_goes_on_over_restarts)
{
	struct error err;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, wants, 2);
	want_remove(&wants[0], 1);
	want_commit(dp, wants, 2);
	add(&wants[1], 1, 8080);
	restart_at(10000 + TCP_IDLE / 2);
	assert_int_equal(try_commit(wants, 2, &err), -EBUSY);
	restart_at(10000 + TCP_IDLE);
	assert_int_equal(try_commit(wants, 2, &err), -EBUSY);
	assert_non_null(strstr(err.text, "may come for 1 s more"));
	/* its id is not free yet, but it is in nobody's way */
	restart_at(10000 + TCP_IDLE + 1);
	want_commit(dp, wants, 2);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[1], 1));
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 2);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[1], 1));
}

TEST(a_real_that_was_about_to_leave_and_is_in_use_has_not_left)
{
	uint16_t id;

	add(&wants[0], 1, 8080);
	want_commit(dp, wants, 1);
	id = id_of(&wants[0], 1);
	dp->maps.returns[id].left = 9000;
	restart_at(10000);
	want_commit(dp, wants, 1);
	want_remove(&wants[0], 1);
	want_commit(dp, wants, 1);
	assert_int_equal(id_of(&wants[0], 1), 0);
	assert_int_equal(dp->maps.returns[id].left, 10000);
}

/* All reals of a service whose VIP is another one in the file, and one that is free. */
TEST(what_cannot_be_committed_is_found_and_can_be_left_out)
{
	struct dp_bound *bound;
	struct error err;
	size_t count;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	want_commit(dp, &wants[0], 1);
	restart_at(10000);
	add(&wants[1], 1, 8080);
	add(&wants[1], 2, 8080);
	add(&wants[1], 3, 8080);
	assert_int_equal(try_commit(&wants[1], 1, &err), -EBUSY);
	assert_null(strstr(err.text, " s more")); /* it has not left: nobody knows when it will */
	assert_int_equal(dataplane_find_bound(dp, &wants[1].service, 1, &bound, &count), 0);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++) {
		struct dp_backend *backend = &wants[1].service.backends[bound[i].backend];

		assert_int_equal(bound[i].service, 0);
		assert_true(want_number(backend) < 3);
		backend->waits = true;
	}
	assert_string_equal(bound[0].why,
			    "10.0.0.1:8080/tcp is a backend of 192.0.2.1:80/tcp (`forward: nat`)");
	free(bound);
	want_commit(dp, &wants[1], 1);
	assert_int_equal(id_of(&wants[1], 1), 0);
	assert_int_equal(look(3, IPPROTO_TCP, 8080), id_of(&wants[1], 3));
	/* its own real is nobody else's; the others have left now */
	dp->clock = 10000 + TCP_IDLE;
	assert_int_equal(dataplane_find_bound(dp, &wants[1].service, 1, &bound, &count), 0);
	assert_int_equal(count, 2);
	assert_non_null(strstr(bound[0].why, "was a backend of 192.0.2.1:80/tcp"));
	free(bound);
	dp->clock++;
	assert_int_equal(dataplane_find_bound(dp, &wants[1].service, 1, &bound, &count), 0);
	assert_int_equal(count, 0);
	free(bound);
	for (unsigned i = 0; i < wants[1].service.backends_count; i++)
		wants[1].service.backends[i].waits = false;
	want_commit(dp, &wants[1], 1);
	assert_int_equal(look(1, IPPROTO_TCP, 8080), id_of(&wants[1], 1));
}

TEST(another_lbd_knows_the_ports_of_backends)
{
	struct dp_backend *list;

	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	dp = memory_dataplane_restart(memory);
	assert_int_equal(dataplane_adopted_backends(dp, &wants[0].service, &list), 1);
	assert_int_equal(list[0].port, htons(8080));
	free(list);
}

/* Killed after the line was written: no service has the backend. */
TEST(a_real_that_was_never_used_leaves)
{
	add(&wants[0], 1, 8080);
	want_commit(dp, &wants[0], 1);
	dp->maps.returns[9] = dp->maps.returns[id_of(&wants[0], 1)];
	dp->maps.returns[9].port = htons(9999);
	dp = memory_dataplane_restart(memory);
	dp->clock = 10000;
	dp_grace(dp);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 2);
	assert_int_equal(dp->maps.returns[9].family, 0);
	assert_int_equal(dp->backend_ids.state[9], ID_FREE);
}

/* ---- counts ---- */

static void returned(uint16_t id, uint64_t packets)
{
	dp->maps.return_counts[id].packets += packets;
	dp->maps.return_counts[dp->maps.backend_slots + id].bytes += 100 * packets;
}

static struct dp_returned of_service(const struct want *at)
{
	struct dp_service_stats stats;

	assert_int_equal(dataplane_service_stats(dp, &at->service, &stats), 0);
	return stats.returned;
}

TEST(replies_count_for_backend_and_service_also_when_it_is_gone)
{
	struct dp_backend_stats stats;
	struct addr address = want_address(1);
	uint16_t id;

	add(&wants[0], 1, 8080);
	add(&wants[0], 2, 8080);
	add(&wants[1], 3, 8080);
	want_commit(dp, wants, 2);
	id = id_of(&wants[0], 1);
	returned(id, 5);
	returned(id_of(&wants[0], 2), 1);
	assert_int_equal(dataplane_backend_stats(dp, &wants[0].service, &address, &stats), 0);
	assert_int_equal(stats.returned.packets, 5);
	assert_int_equal(stats.returned.bytes, 500);
	assert_int_equal(of_service(&wants[0]).packets, 6);
	want_remove(&wants[0], 1);
	want_commit(dp, wants, 2);
	assert_int_equal(of_service(&wants[0]).packets, 6);
	sweep_rounds(dp, 3, 10010);
	returned(id, 2); /* late */
	assert_int_equal(of_service(&wants[0]).packets, 8);
	assert_int_equal(of_service(&wants[1]).packets, 0);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	assert_int_equal(dp->backend_ids.state[id], ID_FREE);
	assert_int_equal(of_service(&wants[0]).packets, 8);
	assert_int_equal(of_service(&wants[0]).bytes, 800);
}

TEST(replies_from_the_other_family_count_for_the_service_also_when_their_backend_is_gone)
{
	const struct addr address = test_addr("fd00::17");
	uint16_t id;

	add(&wants[0], 2, 8080);
	add(&wants[0], 1, 8080)->address = address;
	want_commit(dp, wants, 1);
	id = look_at(&address, TRANSLATED, 8080);
	returned(id, 5);
	assert_int_equal(of_service(&wants[0]).packets, 5);
	wants[0].service.backends_count--;
	want_commit(dp, wants, 1);
	assert_int_equal(of_service(&wants[0]).packets, 5);
	sweep_rounds(dp, 3, 10010);
	returned(id, 2); /* late */
	assert_int_equal(of_service(&wants[0]).packets, 7);
	sweep_rounds(dp, 3, 10000 + TCP_IDLE + 1);
	assert_int_equal(dp->backend_ids.state[id], ID_FREE);
	assert_int_equal(of_service(&wants[0]).packets, 7);
	assert_int_equal(of_service(&wants[0]).bytes, 700);
}

/* ---- destinations ---- */

TEST(direct_prefixes_are_put_elsewhere_each_time)
{
	const struct dp_prefix first[] = {{test_addr("2001:db8::"), 32},
					  {test_addr("198.51.100.0"), 25}};
	const struct lb_settings *settings = dp->maps.settings;
	const struct lb_prefix *prefix;
	struct dp_prefix many[LB_DIRECTS + 1];
	uint32_t list;

	assert_int_equal(dataplane_set_direct(dp, first, 2), 0);
	list = settings->direct4;
	assert_int_equal(LB_LIST_LENGTH(list), 1);
	prefix = &dp->maps.directs[LB_LIST_PLACE(list)].prefix[LB_LIST_FIRST(list)];
	assert_int_equal(prefix->addr[0], inet_addr("198.51.100.0"));
	assert_int_equal(prefix->mask[0], inet_addr("255.255.255.128"));
	assert_int_equal(LB_LIST_LENGTH(settings->direct6), 1);
	assert_int_equal(LB_LIST_FIRST(settings->direct6), 1);
	assert_int_equal(dataplane_set_direct(dp, first, 2), 0);
	assert_int_not_equal(LB_LIST_PLACE(settings->direct4), LB_LIST_PLACE(list));
	for (unsigned i = 0; i <= LB_DIRECTS; i++)
		many[i] = first[1];
	list = settings->direct4;
	assert_int_equal(dataplane_set_direct(dp, many, LB_DIRECTS + 1), -ENOSPC);
	assert_int_equal(settings->direct4, list);
	assert_int_equal(dataplane_set_direct(dp, NULL, 0), 0);
	assert_int_equal(settings->direct4 | settings->direct6, 0);
}

TEST(ways_keep_their_order_by_family)
{
	struct neigh_way ways[] = {
	    {.prefix = test_addr("198.51.100.0"), .length = 24, .ready = false},
	    {.prefix = test_addr("2001:db8::"),
	     .length = 32,
	     .ready = true,
	     .hop = {.ifindex = 9, .mtu = 1400, .vlan_tci = 5}},
	    {.prefix = test_addr("0.0.0.0"),
	     .length = 0,
	     .ready = true,
	     .hop = {.ifindex = 7, .mtu = 1500, .dst_mac = {2, 1, 1, 1, 1, 1}}},
	};
	const struct lb_settings *settings = dp->maps.settings;
	const struct lb_hop *hop;
	struct neigh_way many[LB_HOPS + 1];

	dataplane_set_hops(dp, ways, 3);
	hop = dp->maps.hops[LB_LIST_PLACE(settings->hops4)].hop;
	assert_int_equal(LB_LIST_LENGTH(settings->hops4), 2);
	assert_int_equal(hop[0].ifindex, 0);
	assert_int_equal(hop[0].prefix.mask[0], inet_addr("255.255.255.0"));
	assert_int_equal(hop[1].ifindex, 7);
	assert_int_equal(hop[1].prefix.mask[0], 0);
	assert_int_equal(hop[1].dst_mac[0], 2);
	assert_int_equal(LB_LIST_FIRST(settings->hops6), 2);
	assert_int_equal(LB_LIST_LENGTH(settings->hops6), 1);
	assert_int_equal(hop[2].mtu, 1400);
	assert_int_equal(hop[2].vlan_tci, htons(5));
	assert_int_equal(hop[0].plain_mtu, 0);
	assert_int_equal(hop[1].plain_mtu, 1500);
	assert_int_equal(hop[2].plain_mtu, 0); /* it takes a tag */
	for (unsigned i = 0; i <= LB_HOPS; i++)
		many[i] = ways[2];
	dataplane_set_hops(dp, many, LB_HOPS + 1);
	assert_int_equal(LB_LIST_LENGTH(settings->hops4), 0);
	assert_int_equal(LB_LIST_LENGTH(settings->hops6), 0);
}

/* The program computes the change of a sum as a difference, lbd and RFC 1624 as a sum. */
TEST(a_sum_changes_by_a_difference_as_by_a_sum)
{
	for (uint32_t check = 0; check < 65536; check += check < 8 || check > 65520 ? 1 : 37)
		for (uint32_t delta = 0; delta < 65536;
		     delta += delta < 8 || delta > 65520 ? 1 : 41)
			assert_int_equal(csum_shift_16(check, delta), csum_shift(check, delta));
}

TEST(addresses_of_this_host_have_their_bits)
{
	const struct addr addresses[] = {test_addr("10.0.0.1"), test_addr("fd00::1")};
	const uint64_t *bits = (const uint64_t *)dp->maps.settings->local;
	unsigned set = 0;
	uint32_t word, bit;

	assert_int_equal(dataplane_set_local(dp, addresses, 2), 0);
	memcpy(&word, addresses[0].bytes, 4);
	bit = lb_address_bit(word, 0, 0, 0);
	assert_true(bits[bit / 64] >> bit % 64 & 1);
	for (unsigned i = 0; i < LB_ADDRESS_BITS; i++)
		set += bits[i / 64] >> i % 64 & 1;
	assert_int_equal(set, 2);
	assert_int_equal(dataplane_set_local(dp, addresses, 0), 0);
	assert_int_equal(bits[0] | bits[1] | bits[2] | bits[3], 0);
}

static uint64_t served(void)
{
	return dp->maps.settings->served;
}

/* By the 1024: those below 1024 always are. */
TEST(the_ports_of_datagram_services_and_their_reals_are_served)
{
	add(&wants[0], 1, 8080);
	want_commit(dp, wants, 1);
	assert_int_equal(served(), 1);
	want_nat(&wants[1], "192.0.2.2", IPPROTO_UDP, 2050);
	add(&wants[1], 2, 5353);
	add(&wants[1], 3, 65535);
	want_commit(dp, wants, 2);
	assert_int_equal(served(), 1 | 1 << 2 | 1 << 5 | 1ull << 63);
	want_commit(dp, wants, 1);
	assert_int_equal(served(), 1);
	wants[1].service.forward = LB_FORWARD_IPIP; /* its backends answer from the VIP */
	wants[1].backends[0].port = wants[1].backends[1].port = 0;
	want_commit(dp, wants, 2);
	assert_int_equal(served(), 1 | 1 << 2);
	wants[1].service.port = 0;
	want_commit(dp, wants, 2);
	assert_true(served() == UINT64_MAX);
}

TEST(checksums_are_looked_at_until_it_is_known_that_they_are_finished)
{
	assert_int_equal(dp->maps.settings->finished, 0);
	dataplane_set_unfinished(dp, false);
	assert_int_equal(dp->maps.settings->finished, 1);
	dataplane_set_unfinished(dp, true);
	assert_int_equal(dp->maps.settings->finished, 0);
}

LB_TEST_MAIN("dataplane nat")
