/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Warns of rings whose size differs from those of other balancers: with another size a ring sends
 * most flows to other backends, which breaks connections that come from one balancer to another. */
#include "common/plural.h"
#include "internal.h"

#define NAMED 5 /* services that get a sentence of their own */

static uint32_t slots_of(const struct config_service *config, unsigned backends)
{
	return config->slots ? config->slots : ring_size(backends, config_ring_grain(config));
}

/* Peers give a ring the largest size that one of them asks for, and so have all the same. */
static bool is_agreed(const struct config *config, const struct config_service *service)
{
	return config->peers.on && service->tracking != CONFIG_TRACKING_NEVER;
}

/* What comes by itself counts as if it were in the file: it comes to the others, too. */
void ring_warn_of_change(const struct state *state, const struct service *service)
{
	const struct config_service *config = service->config;
	unsigned here = 0, equal = config->backends_count;
	uint32_t slots, file;

	/* the file has no ring of a service that is added */
	if (config->file == CONFIG_RUNTIME || is_agreed(state->config, config))
		return;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		here += !backend->removed;
		equal += !backend->removed &&
			 (backend->origin == ORIGIN_lease || backend->origin == ORIGIN_source);
	}
	slots = slots_of(config, here);
	file = slots_of(config, equal);
	if (here && slots != file)
		state_warn(
		    state,
		    "service %s: its ring has %u slots with %u backend%s, and %u with the %u "
		    "of the file%s: balancers that share its traffic send flows to other "
		    "backends until they have the same change. Next: make it on each of "
		    "them, or give `slots: %u` in the file of each",
		    config->name, slots, here, plural_s(here), file, equal,
		    equal > config->backends_count ? ", registrations and sources" : "", slots);
}

void ring_warn_of_saving(const struct state *state, const struct config *file,
			 const struct config *written)
{
	struct config_index index;
	unsigned count = 0;

	if (config_index_make(file, &index))
		return;
	for (unsigned i = 0; i < written->services_count; i++) {
		const struct config_service *next = &written->services[i],
					    *now = config_index_same(&index, &next->vip,
								     next->protocol, next->port);
		uint32_t slots = slots_of(next, next->backends_count);
		uint32_t before = now ? slots_of(now, now->backends_count) : slots;

		/* how many its source names, the file does not say */
		if (is_agreed(written, next) || config_from_kind(&next->from))
			continue;
		if (before != slots && count++ < NAMED)
			state_warn(state,
				   "service %s: from the next reload on its ring has %u slots, %u "
				   "before: balancers that share its traffic need the same file at "
				   "the same time, or `slots: %u` in it, which keeps the size",
				   next->name, slots, before, before);
	}
	config_index_done(&index);
	if (count > NAMED)
		state_warn(state, "the ring%s of %u more service%s likewise",
			   plural_s(count - NAMED), count - NAMED,
			   plural(count - NAMED, " changes its size", "s change their size"));
}
