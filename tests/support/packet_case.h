/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packet tests as tables: name, packet in, reason, packet out. And the VIPs, services and backends
 * that all of these tests share. */
#ifndef LBD_TEST_PACKET_CASE_H
#define LBD_TEST_PACKET_CASE_H

#include <netinet/in.h>

#include "bpf_fixture.h"
#include "test_registry.h"

/* ---- VIPs and services, each with one backend: the port chooses how a packet is forwarded ---- */

#define VIP4       "192.0.2.10"
#define VIP6       "2001:db8::10"
#define VIP4_ANY   "192.0.2.11" /* TCP only: port 443 to BACKEND4_B, any other to BACKEND4 */
#define VIP6_ANY   "2001:db8::11"
#define VIP4_EMPTY "192.0.2.12" /* a VIP without any service */
#define VIP4_UDP   "192.0.2.13" /* UDP: any port to BACKEND4 */
#define CLIENT4    "198.51.100.7"
#define CLIENT6    "2001:db8:c::7"
#define OUTER4     "10.0.0.1"
#define OUTER6     "fd00::1"
#define BACKEND4   "10.0.0.11"
#define BACKEND6   "fd00::11"
#define BACKEND4_B "10.0.0.12"
#define BACKEND6_B "fd00::12"

enum world_port {
	P_IPIP4 = 80,         /* IP in IPv4 */
	P_IPIP6 = 81,         /* IP in IPv6 */
	P_GUE4 = 82,          /* GUE over IPv4 */
	P_GUE6 = 83,          /* GUE over IPv6 */
	P_L2 = 84,            /* MAC rewrite */
	P_VLAN = 85,          /* IP in IPv4, out through VLAN 100 */
	P_DEAD = 86,          /* its backend is not usable */
	P_DISABLED = 87,      /* in the port table, but the service's row is empty */
	P_REDIRECT = 88,      /* IP in IPv4, out through another interface */
	P_UNKNOWN_IF = 89,    /* out through an interface that is not in the devmap */
	P_NO_RING = 90,       /* a service without a ring */
	P_HOLE = 91,          /* its slots are empty */
	P_L2_VLAN = 92,       /* MAC rewrite, out through VLAN 100 */
	P_JUMBO = 93,         /* IP in IPv4, MTU 9000 */
	P_GUE4_REDIRECT = 94, /* GUE over IPv4, other interface, VLAN 100 */
	P_GRE4 = 95,          /* GRE over IPv4 */
	P_GRE6 = 96,          /* GRE over IPv6 */
	P_GRE4_REDIRECT = 97, /* GRE over IPv4, other interface, VLAN 100 */
};

#define WORLD_VLAN     100
#define WORLD_GUE_PORT 6080

/* Clears the maps and fills them with the above, for TCP and UDP: the setup of each test. */
int world_setup(void **state);

/* ---- what goes in and comes out ---- */

/* clang-format off */
#define IN4(...)  IP4(.src = CLIENT4, .dst = VIP4, __VA_ARGS__)
#define IN6(...)  IP6(.src = CLIENT6, .dst = VIP6, __VA_ARGS__)
#define TO_BACKEND     ETH(.dst = FIXTURE_MAC_BACKEND, .src = PACKET_MAC_LB)
#define OUT4(...) IP4(.src = OUTER4, .dst = BACKEND4, .frag = 0x4000, __VA_ARGS__)
#define OUT6(...) IP6(.src = OUTER6, .dst = BACKEND6, .flow = ANY, __VA_ARGS__)
#define OUT_GUE   UDP(.sport = ANY, .dport = WORLD_GUE_PORT, .no_csum = 1), GUE()
/* clang-format on */

struct packet_case {
	const char *name;
	int reason; /* enum lb_reason: also says the XDP action */
	const struct layer *in;
	/* SENT: what leaves. PASSED: what the kernel gets; NULL: the packet is unchanged */
	const struct layer *out;
};

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CASE(promise, why, ...)                                         \
	{                                                               \
		.name = promise, .reason = LB_REASON_##why, __VA_ARGS__ \
	}

/* Sends the packet and checks reason, action, and every byte that leaves. */
void expect(struct fixture *f, int reason, const struct layer *in, const struct layer *out);
/* The same for f->in, a packet that is already built. */
void expect_built(struct fixture *f, int reason, const struct layer *out);

/* Runs the cases and then the registered tests, each with world_setup. Returns what main does. */
int run_packet_tests(const char *group, const struct packet_case *cases, size_t count);
/* The same with another setup. */
int run_packet_tests_in(const char *group, int (*setup)(void **state),
			const struct packet_case *cases, size_t count);

#define PACKET_TEST_MAIN(group, cases)                                    \
	int main(void)                                                    \
	{                                                                 \
		return run_packet_tests(group, cases, ARRAY_SIZE(cases)); \
	}

#endif
