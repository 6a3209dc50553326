/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the packet tests of `forward: nat` share: services, backends, ways to clients. */
#ifndef LBD_TEST_NAT_CASE_H
#define LBD_TEST_NAT_CASE_H

#include "fixture_nat.h"
#include "packet_case.h"

#define REAL4        "10.0.0.11"
#define REAL6        "fd00::11"
#define REAL4_VLAN   "10.0.0.12"
#define REAL4_FAR    "10.0.0.13" /* through another interface */
#define REAL4_ANY    "10.0.0.14"
#define REAL4_DEAD   "10.0.0.15"
#define REAL4_BESIDE "10.0.0.16" /* on the link, as REAL4 */

enum nat_port {
	N_WEB = 80,   /* TCP: REAL4 and REAL6, port 8080 */
	N_DNS = 53,   /* UDP: the same, port 5353 */
	N_VLAN = 81,  /* TCP: REAL4_VLAN, port 81: the same at both ends */
	N_FAR = 82,   /* TCP: REAL4_FAR, port 8082 */
	N_DEAD = 83,  /* TCP: REAL4_DEAD, port 8083 */
	N_BESIDE = 84 /* TCP: REAL4_BESIDE, port 8084 */
};

/* Clients, by the way to them. CLIENT4 and CLIENT6: the default, through lo. */
#define CLIENT4_VLAN   "203.0.113.7" /* lo, VLAN 200 */
#define CLIENT4_FAR    "198.18.0.7"  /* another interface */
#define CLIENT4_NARROW "203.0.114.7" /* MTU 1400 */
#define CLIENT6_NARROW "2001:db8:e::7"
#define CLIENT4_ASK    "198.51.101.7" /* the kernel is asked, and has no way */
#define CLIENT6_ASK    "2001:db8:f::7"
#define CLIENT4_NO_IF  "198.51.102.7" /* out through an interface that is not in the devmap */

/* The setup of each test. */
int nat_setup(void **state);

/* A service with one backend. */
struct nat_service {
	const char *vip;
	int protocol, vip_port;
	const char *real;
	int port;
	struct backend_spec backend; /* but for its address and its interface */
	bool far;                    /* through another interface */
};
void nat_service_add(struct fixture *f, const struct nat_service *service);

/* The backend whose real it is. */
uint16_t nat_backend(const struct fixture *f, const char *real, int port);

/* clang-format off */
#define FROM_REAL      ETH(.src = FIXTURE_MAC_BACKEND)
#define TO_ROUTER      ETH(.dst = MAC_ROUTER, .src = PACKET_MAC_LB)
#define CLIENT_VIP(...)  IP4(.src = CLIENT4, .dst = VIP4, __VA_ARGS__)
#define CLIENT_REAL(...) IP4(.src = CLIENT4, .dst = REAL4, __VA_ARGS__)
#define REAL_CLIENT(...) IP4(.src = REAL4, .dst = CLIENT4, __VA_ARGS__)
#define VIP_CLIENT(...)  IP4(.src = VIP4, .dst = CLIENT4, __VA_ARGS__)
#define CLIENT_VIP6(...)  IP6(.src = CLIENT6, .dst = VIP6, __VA_ARGS__)
#define CLIENT_REAL6(...) IP6(.src = CLIENT6, .dst = REAL6, __VA_ARGS__)
#define REAL_CLIENT6(...) IP6(.src = REAL6, .dst = CLIENT6, __VA_ARGS__)
#define VIP_CLIENT6(...)  IP6(.src = VIP6, .dst = CLIENT6, __VA_ARGS__)
/* clang-format on */

#endif
