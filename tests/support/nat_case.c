/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The services of the packet tests of `forward: nat`. */
#include "nat_case.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/addr.h"

static const struct nat_service services[] = {
    {VIP4, IPPROTO_TCP, N_WEB, REAL4, 8080, {0}, false},
    {VIP4, IPPROTO_UDP, N_DNS, REAL4, 5353, {0}, false},
    {VIP6, IPPROTO_TCP, N_WEB, REAL6, 8080, {0}, false},
    {VIP6, IPPROTO_UDP, N_DNS, REAL6, 5353, {0}, false},
    {VIP4, IPPROTO_TCP, N_VLAN, REAL4_VLAN, 81, {.vlan = 100}, false},
    {VIP4, IPPROTO_TCP, N_FAR, REAL4_FAR, 8082, {0}, true},
    {VIP4_ANY, IPPROTO_TCP, 0, REAL4_ANY, 0, {0}, false},
    {VIP4, IPPROTO_TCP, N_DEAD, REAL4_DEAD, 8083, {.dead = true}, false},
    {VIP4, IPPROTO_TCP, N_BESIDE, REAL4_BESIDE, 8084, {0}, false},
};

void nat_service_add(struct fixture *f, const struct nat_service *service)
{
	struct backend_spec spec = service->backend;

	spec.dst = service->real;
	spec.ifindex = service->far ? f->egress : 0;
	fixture_single(f, service->vip, service->protocol, service->vip_port,
		       (struct lb_service){.forward = LB_FORWARD_NAT}, &spec);
	fixture_real(f, f->backends - 1, service->vip, service->protocol, service->vip_port,
		     service->port);
	f->map.backends[f->backends - 1].nat.on_link =
	    !strcmp(service->real, REAL4) || !strcmp(service->real, REAL4_BESIDE);
}

int nat_setup(void **state)
{
	struct fixture *f = fixture_or_null();

	if (!f)
		return 0; /* the test itself skips */
	fixture_clear(state);
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		nat_service_add(f, &services[i]);
	const struct way_spec ways[] = {
	    {.prefix = "203.0.113.0/24", .dst_mac = MAC_ROUTER, .vlan = 200},
	    {.prefix = "203.0.114.0/24", .dst_mac = MAC_ROUTER, .mtu = 1400},
	    {.prefix = "198.51.101.0/24"},
	    {.prefix = "198.51.102.0/24", .dst_mac = MAC_ROUTER, .ifindex = 777},
	    {.prefix = "198.18.0.0/15", .dst_mac = MAC_ROUTER, .ifindex = f->egress},
	    {.prefix = "2001:db8:e::/48", .dst_mac = MAC_ROUTER, .mtu = 1400},
	    {.prefix = "2001:db8:f::/48"},
	    {.prefix = "0.0.0.0/0", .dst_mac = MAC_ROUTER},
	    {.prefix = "::/0", .dst_mac = MAC_ROUTER},
	};
	fixture_ways(f, ways, ARRAY_SIZE(ways));
	fixture_own_mac(f);
	return 0;
}

uint16_t nat_backend(const struct fixture *f, const char *real, int port)
{
	struct addr address;

	assert_int_equal(addr_parse(real, &address), 0);
	for (uint16_t id = 1; id < f->backends; id++)
		if (f->map.returns[id].port == htons(port) &&
		    !memcmp(f->map.returns[id].real, address.bytes, sizeof(address.bytes)))
			return id;
	fail_msg("no backend has %s port %d", real, port);
	return 0;
}
