/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether packets that are sent to a backend's next hop arrive. A next hop may be found, and still
 * be of no use: behind a router for `forward: l2`, or on a device that takes no frames from XDP. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define FAULT_TEXT 256

/* A frame to a router's MAC address holds a packet to the VIP, which the router sends back to the
 * balancer. A backend may be its own gateway: a host route with its address as next hop. */
static bool needs_router(const struct backend *backend)
{
	const struct addr *gateway = &backend->hop.gateway;

	return backend->service->config->forward == LB_FORWARD_L2 && gateway->family &&
	       !addr_equal(gateway, &backend->address);
}

/* "": none is known. */
static void find_fault(const struct backend *backend, char why[FAULT_TEXT])
{
	struct attach *attach = backend->service->state->options.attach;
	const char *fault = NULL;
	char gateway[ADDR_TEXT];

	why[0] = 0;
	if (needs_router(backend)) {
		snprintf(why, FAULT_TEXT,
			 "behind gateway %s: forward: l2 expects the backend on a network of this "
			 "host; use a tunnel, forward: ipip",
			 addr_format(&backend->hop.gateway, gateway));
		return;
	}
	if (attach)
		fault = attach_egress_fault(attach, backend->hop.ifindex);
	if (fault)
		snprintf(why, FAULT_TEXT, "%s", fault);
}

bool backend_reach(struct backend *backend)
{
	char why[FAULT_TEXT];
	bool before = backend->has_hop;

	if (!backend->hop_found) {
		backend->has_hop = false;
		return before;
	}
	find_fault(backend, why);
	backend->has_hop = !why[0];
	return remark_set(&backend->hop_why, why) || backend->has_hop != before;
}

void state_reach(struct state *state)
{
	bool changed = false;

	for (unsigned i = 0; i < state->world.count; i++)
		for (unsigned j = 0; j < state->world.services[i]->backends_count; j++) {
			struct backend *backend = state->world.services[i]->backends[j];

			changed |= backend_reach(backend);
			if (backend->successor)
				changed |= backend_reach(backend->successor);
		}
	if (changed)
		state_touch(state);
}
