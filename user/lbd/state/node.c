/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The order for the whole node, kept like the run-time changes of backends; and the function that
 * is called when something has changed that others decide by. */
#include "internal.h"

#include <errno.h>

#include "common/clock.h"
#include "common/log.h"

void state_on_change(struct state *state, void (*changed)(void *arg), void *arg)
{
	struct state_follower *place = NULL;

	for (unsigned i = 0; i < STATE_FOLLOWERS; i++)
		if (state->followers[i].arg == arg || (!state->followers[i].changed && !place))
			place = &state->followers[i];
	if (place)
		*place = (struct state_follower){changed, changed ? arg : NULL};
}

void state_tell(const struct state *state)
{
	for (unsigned i = 0; i < STATE_FOLLOWERS; i++)
		if (state->followers[i].changed)
			state->followers[i].changed(state->followers[i].arg);
}

const struct node_order *state_node_order(const struct state *state)
{
	return &state->overrides.node;
}

static void log_order(const struct node_order *order)
{
	events_log(EVENT_node_ordered, LOG_INFO, NULL, "node: %s",
		   !order->drain     ? "drain cancelled"
		   : order->withdraw ? "withdraws its VIPs, by order"
				     : "drains, by order");
}

int state_node_drain(struct state *state, bool on, bool withdraw, struct error *err)
{
	struct overrides next;
	int rc;

	if (!state->config->announce.on)
		return error_set(err, -EBUSY,
				 "the config has no `announce:`: lbd announces no VIPs, so the "
				 "node cannot be drained");
	if (overrides_copy(&state->overrides, &next))
		return error_set(err, -ENOMEM, "out of memory");
	if (on && !next.node.drain)
		next.node.drain_ms = clock_monotonic_ms();
	if (!on)
		next.node.drain_ms = 0;
	next.node.drain = on;
	next.node.withdraw = on && (withdraw || next.node.withdraw);
	rc = kept_write(state, state->config, &next, err);
	if (rc) {
		overrides_done(&next);
		return rc;
	}
	overrides_done(&state->overrides);
	state->overrides = next;
	log_order(&next.node);
	state_tell(state);
	return 0;
}
