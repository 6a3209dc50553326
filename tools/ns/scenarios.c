/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is measured: the table of scenarios, and the sweeps of docs/performance.md. */
#include <string.h>

#include "tools/ns/ns.h"

#define K                 1000u
#define M                 1000000u

#define PORTS_OF_A_CLIENT 8 /* BENCH_PORT */

const struct scenario scenarios[] = {
    {"tcp4-1", "established TCP over IPv4, 1 flow", .flows = 1},
    {"tcp4-10k", "10 000 flows", .flows = 10 * K},
    {"tcp4-100k", "100 000 flows", .flows = 100 * K},
    {"tcp4-1m", "1 000 000 flows", .flows = M},
    {"tcp4-new", "every packet a new flow (SYN)", .traffic = SYN, .flows = 1, .fresh = true},
    {"udp4-10k", "UDP over IPv4, 10 000 flows", .traffic = DATAGRAM, .flows = 10 * K},
    {"tcp6-10k", "TCP over IPv6 in IPv6, 10 000 flows", .flows = 10 * K, .ipv6 = true},
    {"tcp6-1m", "1 000 000 flows", .flows = M, .ipv6 = true},
    {"tcp6-new", "every packet a new flow (SYN)", .traffic = SYN, .flows = 1, .fresh = true,
     .ipv6 = true},
    {"udp6-10k", "UDP over IPv6 in IPv6, 10 000 flows", .traffic = DATAGRAM, .flows = 10 * K,
     .ipv6 = true},

    {"l2-4-10k", "forward: l2, TCP over IPv4, 10 000 flows", .flows = 10 * K, .direct = true},
    {"l2-4-new", "every packet a new flow (SYN)", .traffic = SYN, .flows = 1, .fresh = true,
     .direct = true},
    {"l2-6-10k", "over IPv6, 10 000 flows", .flows = 10 * K, .direct = true, .ipv6 = true},

    {"not-vip", "not for a VIP, 10 000 flows", .flows = 10 * K, .not_vip = true},
    {"not-vip-v6", "the same over IPv6", .flows = 10 * K, .not_vip = true, .ipv6 = true},

    {"not-vip-nat", "not for a VIP, no reply, beside a service with forward: nat", .flows = 10 * K,
     .not_vip = true, .nat = true},
    {"not-vip-nat-v6", "the same over IPv6", .flows = 10 * K, .not_vip = true, .nat = true,
     .ipv6 = true},
    {"nat4-10k", "forward: nat, TCP over IPv4, 10 000 flows", .flows = 10 * K, .nat = true},
    {"nat4-1m", "1 000 000 flows", .flows = M, .nat = true},
    {"nat4-new", "every packet a new flow (SYN)", .traffic = SYN, .flows = 1, .fresh = true,
     .nat = true},
    {"nat6-10k", "over IPv6, 10 000 flows", .flows = 10 * K, .nat = true, .ipv6 = true},
    {"nat-udp4-10k", "UDP, 10 000 flows", .traffic = DATAGRAM, .flows = 10 * K, .nat = true},
    {"nat-round-robin-hit", "10 000 tracked flows", "round-robin", .flows = 10 * K, .warm = true,
     .nat = true},
    {"reply4", "replies of 10 backends of 8 services each", .flows = 80, .nat = true,
     .reply = true},
    {"reply4-10k", "replies of 1 250 backends of 8 services each", .flows = 10 * K, .nat = true,
     .reply = true},
    {"reply6", "replies over IPv6", .flows = 80, .nat = true, .reply = true, .ipv6 = true},
    {"reply-udp4", "replies over UDP", .traffic = DATAGRAM, .flows = 80, .nat = true,
     .reply = true},

    {"nat46-10k", "forward: nat, TCP over IPv4 to IPv6 backends, 10 000 flows; no tail call",
     .flows = 10 * K, .nat = true, .translated = true},
    {"nat46-new", "every packet a new flow (SYN)", .traffic = SYN, .flows = 1, .fresh = true,
     .nat = true, .translated = true},
    {"reply64", "replies of 10 IPv6 backends of 8 services each to IPv4 clients; no tail call",
     .flows = 80, .nat = true, .translated = true, .reply = true, .ipv6 = true},

    {"services-64", "64 services x 10 backends, all busy, 1 000 000 flows", .flows = M,
     .services = 64},
    {"services-1000", "1 000 services x 10 backends, all busy, 1 000 000 flows", .flows = M,
     .services = 1000},
    {"services-64-v6", "64 services over IPv6", .flows = M, .services = 64, .ipv6 = true},
    {"services-1000-v6", "1 000 services over IPv6", .flows = M, .services = 1000, .ipv6 = true},

    {"transition-10", "a tenth of the slots in transition, 1 000 000 flows", .flows = M,
     .drained = 1, .warm = true},
    {"transition-10-v6", "the same over IPv6", .flows = M, .drained = 1, .warm = true,
     .ipv6 = true},
    {"transition-all-hit", "all slots in transition, 10 000 tracked flows", .flows = 10 * K,
     .replaced = true, .warm = true},
    {"transition-all-flooded", "the same 10 000 flows after 8 million SYNs of a flood",
     .flows = 10 * K, .replaced = true, .warm = true, .flooded = true},
    {"transition-all-insert", "all slots in transition, every packet a new flow", .traffic = SYN,
     .flows = 1, .replaced = true, .fresh = true},

    {"source-hash", "established, 10 000 flows", "source-hash", .flows = 10 * K},
    {"round-robin-hit", "10 000 tracked flows", "round-robin", .flows = 10 * K, .warm = true},
    {"round-robin-hit-100k", "100 000 tracked flows", "round-robin", .flows = 100 * K,
     .warm = true},
    {"round-robin-hit-1m", "1 000 000 tracked flows", "round-robin", .flows = M, .warm = true},
    {"round-robin-insert", "every packet a new flow", "round-robin", .traffic = SYN, .flows = 1,
     .fresh = true},
    {"round-robin-insert-64k", "every packet a new flow, up to 65 536 in the flow table",
     "round-robin", .traffic = SYN, .flows = 1, .fresh = true, .room = 65536},
    {"round-robin-hit-v6", "10 000 tracked flows over IPv6", "round-robin", .flows = 10 * K,
     .warm = true, .ipv6 = true},
    {"round-robin-hit-100k-v6", "100 000 tracked flows over IPv6", "round-robin", .flows = 100 * K,
     .warm = true, .ipv6 = true},
    {"round-robin-hit-1m-v6", "1 000 000 tracked flows over IPv6", "round-robin", .flows = M,
     .warm = true, .ipv6 = true},
    {"round-robin-insert-v6", "every packet a new flow over IPv6", "round-robin", .traffic = SYN,
     .flows = 1, .fresh = true, .ipv6 = true},
    {"round-robin-insert-64k-v6", "over IPv6, up to 65 536 in the flow table", "round-robin",
     .traffic = SYN, .flows = 1, .fresh = true, .room = 65536, .ipv6 = true},
    {"weighted-round-robin-hit", "10 000 tracked flows", "weighted-round-robin", .flows = 10 * K,
     .warm = true},
    {"weighted-round-robin-insert", "every packet a new flow", "weighted-round-robin",
     .traffic = SYN, .flows = 1, .fresh = true},
    {"least-conn-hit", "10 000 tracked flows", "least-conn", .flows = 10 * K, .warm = true},
    {"least-conn-insert", "every packet a new flow", "least-conn", .traffic = SYN, .flows = 1,
     .fresh = true},
    {"least-response-time-hit", "10 000 tracked flows", "least-response-time", .flows = 10 * K,
     .warm = true},
    {"least-response-time-insert", "every packet a new flow", "least-response-time", .traffic = SYN,
     .flows = 1, .fresh = true},

    {"sampled-tcp4-10k", "established, 10 000 flows, connect times of 1 in 16", .flows = 10 * K,
     .sample = 16},
    {"sampled-tcp4-10k-all", "connect times of all of them", .flows = 10 * K, .sample = 1},
    {"sampled-tcp4-new", "every packet a new flow (SYN), connect times of 1 in 16", .traffic = SYN,
     .flows = 1, .fresh = true, .sample = 16},
    {"sampled-tcp4-new-all", "connect times of all of them", .traffic = SYN, .flows = 1,
     .fresh = true, .sample = 1},
    {"sampled-round-robin-hit", "10 000 tracked flows, connect times of 1 in 16", "round-robin",
     .flows = 10 * K, .warm = true, .sample = 16},
    {"sampled-round-robin-insert", "every packet a new flow", "round-robin", .traffic = SYN,
     .flows = 1, .fresh = true, .sample = 16},

    {"limit-tcp4-10k", "established, 10 000 flows of a service with rates of new flows",
     .flows = 10 * K, .limited = true},
    {"limit-tcp4-new", "every packet a new flow, below the rates of service and source",
     .traffic = SYN, .flows = 1, .fresh = true, .limited = true},
    {"limit-udp4-10k", "UDP, 10 000 flows of a service with rates of new flows",
     .traffic = DATAGRAM, .flows = 10 * K, .warm = true, .limited = true},

    {"tcp4-10k-peers", "established, 10 000 flows, with other nodes that are told of flows",
     .flows = 10 * K, .peers = true},
    {"round-robin-hit-peers", "10 000 tracked flows", "round-robin", .flows = 10 * K, .warm = true,
     .peers = true},
    {"round-robin-insert-peers", "every packet a new flow", "round-robin", .traffic = SYN,
     .flows = 1, .fresh = true, .peers = true},
    {"least-conn-insert-peers", "every packet a new flow", "least-conn", .traffic = SYN, .flows = 1,
     .fresh = true, .peers = true},

    {"tcp4-1m-spread", "1 000 000 flows of clients from all over the Internet", .flows = M,
     .spread = true},
    {"tcp4-1m-deny", "the same, with a deny list of 100 000 prefixes", .flows = M, .spread = true,
     .denied = 100 * K},
    {"tcp4-10k-deny", "10 000 flows, with a deny list of 100 000 prefixes", .flows = 10 * K,
     .spread = true, .denied = 100 * K},
    {"tcp6-10k-deny", "the same over IPv6", .flows = 10 * K, .ipv6 = true, .denied = 100 * K},
};

const size_t scenarios_count = sizeof(scenarios) / sizeof(*scenarios);

uint32_t scenario_services(const struct scenario *scenario)
{
	return scenario->reply ? PORTS_OF_A_CLIENT : scenario->services ?: 1;
}

uint32_t scenario_backends(const struct scenario *scenario)
{
	/* the clients of other scenarios are the backends here */
	return scenario->reply ? scenario_clients(scenario) : scenario->backends ?: 10;
}

uint32_t scenario_clients(const struct scenario *scenario)
{
	return (scenario->flows + PORTS_OF_A_CLIENT - 1) / PORTS_OF_A_CLIENT;
}

uint32_t scenario_source_step(const struct scenario *scenario)
{
	uint32_t clients = scenario_clients(scenario);

	return scenario->spread ? (0x7e000000 - BENCH_FIRST_SOURCE) / clients : 1;
}

/* ---- sweeps: one thing grows, all else stays ---- */

#define POINTS 8

struct axis {
	const char *name;
	uint32_t value[POINTS]; /* 0: the end */
	/* the curves: a scenario each, without what the axis sets */
	struct scenario curve[4];
	void (*set)(struct scenario *scenario, uint32_t value);
};

static void set_flows(struct scenario *scenario, uint32_t value)
{
	scenario->flows = value;
}

static void set_services(struct scenario *scenario, uint32_t value)
{
	scenario->services = value;
}

static void set_backends(struct scenario *scenario, uint32_t value)
{
	scenario->backends = value;
}

/* Per cent of the slots; of a hundred backends so many are drained. 100: all are replaced. */
static void set_transition(struct scenario *scenario, uint32_t value)
{
	scenario->backends = 100;
	scenario->drained = value < 100 ? value : 0;
	scenario->replaced = value >= 100;
}

static const struct axis axes[] = {
    {"flows",
     {1, 100, K, 10 * K, 100 * K, M},
     {{.series = "IPv4, by hash"},
      {.series = "IPv6, by hash", .ipv6 = true},
      {.series = "IPv4, tracked", .algorithm = "round-robin", .warm = true},
      {.series = "IPv6, tracked", .algorithm = "round-robin", .warm = true, .ipv6 = true}},
     set_flows},
    {"services",
     {1, 4, 16, 64, 250, 1000},
     {{.series = "IPv4, by hash", .flows = M},
      {.series = "IPv6, by hash", .flows = M, .ipv6 = true}},
     set_services},
    {"backends",
     {1, 10, 64, 100, K, 10 * K},
     {{.series = "by hash", .flows = M},
      {.series = "round robin, new flow",
       .algorithm = "round-robin",
       .traffic = SYN,
       .flows = 1,
       .fresh = true},
      {.series = "least-conn, new flow",
       .algorithm = "least-conn",
       .traffic = SYN,
       .flows = 1,
       .fresh = true}},
     set_backends},
    {"transition",
     {1, 3, 10, 30, 60, 100},
     {{.series = "10 000 flows", .flows = 10 * K, .warm = true},
      {.series = "100 000 flows", .flows = 100 * K, .warm = true},
      {.series = "1 000 000 flows", .flows = M, .warm = true}},
     set_transition},
};

static size_t axis_points(const struct axis *axis)
{
	size_t points = 0;

	while (points < POINTS && axis->value[points])
		points++;
	return points;
}

static size_t axis_curves(const struct axis *axis)
{
	size_t curves = 0;

	while (curves < 4 && axis->curve[curves].series)
		curves++;
	return curves;
}

bool sweep_point(size_t i, struct scenario *ret, char name[64])
{
	for (size_t a = 0; a < sizeof(axes) / sizeof(*axes); a++) {
		const struct axis *axis = &axes[a];
		size_t points = axis_points(axis), all = points * axis_curves(axis);

		if (i >= all) {
			i -= all;
			continue;
		}
		*ret = axis->curve[i / points];
		ret->axis = axis->name;
		ret->value = axis->value[i % points];
		axis->set(ret, ret->value);
		snprintf(name, 64, "%s=%u, %s", axis->name, ret->value, ret->series);
		ret->name = name;
		return true;
	}
	return false;
}
