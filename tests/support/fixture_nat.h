/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` for packet tests: reals, ways to clients, and a world of services. */
#ifndef LBD_TEST_FIXTURE_NAT_H
#define LBD_TEST_FIXTURE_NAT_H

#include "bpf_fixture.h"

/* Makes the backend one of `forward: nat` that replies here: its line and its real. The service is
 * of this VIP and port; port: of the backend. Both 0: any. */
void fixture_real(struct fixture *f, uint16_t backend, const char *vip, int protocol, int vip_port,
		  int port);

#define MAC_ROUTER "02:00:00:00:00:0c" /* between clients and this host */

/* The ways to clients, most specific first. dst_mac NULL: the kernel is to be asked. */
struct way_spec {
	const char *prefix; /* ADDRESS/LENGTH */
	const char *dst_mac;
	uint32_t ifindex; /* default lo */
	int vlan;
	int mtu; /* default 1500 */
};
void fixture_ways(struct fixture *f, const struct way_spec *ways, unsigned count);
/* The prefix in which IPv4 clients reach IPv6 backends, as ADDRESS/LENGTH. */
void fixture_embed(struct fixture *f, const char *prefix);
/* Clients that reach the reals past the VIPs. */
void fixture_direct(struct fixture *f, const char *const *prefixes, unsigned count);
/* An address of this host. */
void fixture_local(struct fixture *f, const char *address);

/* Frames are for this host by their MAC address: plain ones take the straight path. */
void fixture_own_mac(struct fixture *f);

struct lb_return_count fixture_return_count(const struct fixture *f, uint16_t id);

#endif
