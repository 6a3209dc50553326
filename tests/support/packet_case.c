/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The services of the packet tests, and the function that runs one row of their tables. */
#include "packet_case.h"

#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "twin.h"

/* ---- the world ---- */

struct path {
	int port;
	int forward;
	int family; /* of the backend; 0: as the VIP */
	struct backend_spec backend;
	enum { NO_EGRESS, EGRESS, EGRESS_UNKNOWN } egress;
};

static const struct path paths[] = {
    {P_IPIP4, LB_FORWARD_IPIP, 4, {0}, NO_EGRESS},
    {P_IPIP6, LB_FORWARD_IPIP, 6, {0}, NO_EGRESS},
    {P_GUE4, LB_FORWARD_GUE, 4, {0}, NO_EGRESS},
    {P_GUE6, LB_FORWARD_GUE, 6, {0}, NO_EGRESS},
    {P_L2, LB_FORWARD_L2, 0, {0}, NO_EGRESS},
    {P_VLAN, LB_FORWARD_IPIP, 4, {.vlan = WORLD_VLAN}, NO_EGRESS},
    {P_DEAD, LB_FORWARD_IPIP, 4, {.dead = true}, NO_EGRESS},
    {P_DISABLED, LB_FORWARD_IPIP, 4, {0}, NO_EGRESS},
    {P_REDIRECT, LB_FORWARD_IPIP, 4, {0}, EGRESS},
    {P_UNKNOWN_IF, LB_FORWARD_IPIP, 4, {0}, EGRESS_UNKNOWN},
    {P_NO_RING, LB_FORWARD_IPIP, 4, {0}, NO_EGRESS},
    {P_HOLE, LB_FORWARD_IPIP, 4, {0}, NO_EGRESS},
    {P_L2_VLAN, LB_FORWARD_L2, 0, {.vlan = WORLD_VLAN}, NO_EGRESS},
    {P_JUMBO, LB_FORWARD_IPIP, 4, {.mtu = 9000}, NO_EGRESS},
    {P_GUE4_REDIRECT, LB_FORWARD_GUE, 4, {.vlan = WORLD_VLAN}, EGRESS},
    {P_GRE4, LB_FORWARD_GRE, 4, {0}, NO_EGRESS},
    {P_GRE6, LB_FORWARD_GRE, 6, {0}, NO_EGRESS},
    {P_GRE4_REDIRECT, LB_FORWARD_GRE, 4, {.vlan = WORLD_VLAN}, EGRESS},
};

static uint16_t single(struct fixture *f, const char *vip, int proto, int port, int forward,
		       const struct backend_spec *spec)
{
	return fixture_single(f, vip, proto, port, (struct lb_service){.forward = forward}, spec);
}

static void add_path(struct fixture *f, const char *vip, int proto, const struct path *path)
{
	struct backend_spec spec = path->backend;
	int family = path->family ? path->family : strchr(vip, ':') ? 6 : 4;
	uint16_t service;

	spec.dst = family == 4 ? BACKEND4 : BACKEND6;
	if (path->egress != NO_EGRESS)
		spec.ifindex = path->egress == EGRESS ? f->egress : 777;
	service = single(f, vip, proto, path->port, path->forward, &spec);
	if (path->port == P_HOLE)
		fixture_ring(f, service, 7, 0);
	if (path->port == P_NO_RING)
		f->map.services[service].ring = 0;
	if (path->port == P_DISABLED)
		memset(&f->map.services[service], 0, sizeof(f->map.services[service]));
}

int world_setup(void **state)
{
	const struct backend_spec b4 = {.dst = BACKEND4}, b4_b = {.dst = BACKEND4_B};
	const struct backend_spec b6 = {.dst = BACKEND6}, b6_b = {.dst = BACKEND6_B};
	struct fixture *f = fixture_or_null();

	if (!f)
		return 0; /* the test itself skips */
	fixture_clear(state);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		add_path(f, VIP4, IPPROTO_TCP, &paths[i]);
		add_path(f, VIP6, IPPROTO_TCP, &paths[i]);
		add_path(f, VIP4, IPPROTO_UDP, &paths[i]);
		add_path(f, VIP6, IPPROTO_UDP, &paths[i]);
	}
	single(f, VIP4_ANY, IPPROTO_TCP, 0, LB_FORWARD_IPIP, &b4);
	single(f, VIP4_ANY, IPPROTO_TCP, 443, LB_FORWARD_IPIP, &b4_b);
	single(f, VIP6_ANY, IPPROTO_TCP, 0, LB_FORWARD_IPIP, &b6);
	single(f, VIP6_ANY, IPPROTO_TCP, 443, LB_FORWARD_IPIP, &b6_b);
	single(f, VIP4_UDP, IPPROTO_UDP, 0, LB_FORWARD_IPIP, &b4);
	fixture_vip(f, VIP4_EMPTY);
	return 0;
}

/* ---- one case ---- */

static void compare(struct fixture *f, const struct layer *out)
{
	struct packet expected = f->in; /* what is passed is untouched, but for replies */

	if (f->verdict == XDP_DROP)
		return;
	if (f->verdict != XDP_PASS || out)
		packet_build_like(&expected, out, &f->out);
	if (packet_same(&expected, &f->out))
		return;
	packet_print("packet in", &f->in);
	fail_msg("the packet out is not the expected one");
}

void expect_built(struct fixture *f, int reason, const struct layer *out)
{
	fixture_send(f);
	if (f->reason != reason) {
		packet_print("packet in", &f->in);
		fail_msg("reason: expected %s, got %s", fixture_reason_name(reason),
			 fixture_reason_name(f->reason));
	}
	assert_int_equal(f->verdict, fixture_action_of(reason));
	compare(f, out);
}

void expect(struct fixture *f, int reason, const struct layer *in, const struct layer *out)
{
	packet_build(&f->in, in);
	expect_built(f, reason, out);
}

static void run_case(void **state)
{
	const struct packet_case *c = *state;

	expect(fixture_get(), c->reason, c->in, c->out);
}

/* In an emulated guest a second program takes the verifier minutes, and test_straight has one. */
static int open_fixture(void **state)
{
	return getenv("VMTEST") ? fixture_open(state) : twin_fixture_open(state);
}

int run_packet_tests_in(const char *group, int (*setup)(void **state),
			const struct packet_case *cases, size_t count)
{
	_cleanup_free_ struct CMUnitTest *table = calloc(count, sizeof(*table));

	if (!table)
		return 1;
	for (size_t i = 0; i < count; i++)
		table[i] = (struct CMUnitTest){.name = cases[i].name,
					       .test_func = run_case,
					       .initial_state = (void *)&cases[i]};
	return lb_test_run(&(struct lb_test_group){.name = group,
						   .open = open_fixture,
						   .close = twin_fixture_close,
						   .setup = setup,
						   .table = table,
						   .table_count = count});
}

int run_packet_tests(const char *group, const struct packet_case *cases, size_t count)
{
	return run_packet_tests_in(group, world_setup, cases, count);
}
