/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Gathers what decides whether traffic is forwarded. */
#include "forwards.h"

static void add_interfaces(const struct attach *attach, struct forwarding_facts *facts)
{
	const struct attachment *list = attach_list(attach, &facts->interfaces);

	for (unsigned i = 0; i < facts->interfaces; i++) {
		if (attach_interface_runs(list[i].name))
			facts->running++;
		else if (!facts->not_running)
			facts->not_running = list[i].name;
	}
}

enum forwarding api_forwarding(const struct state *state, const struct attach *attach,
			       char text[FORWARDING_TEXT])
{
	struct forwarding_facts facts = {0};
	struct state_summary summary;

	state_summarize(state, &summary);
	facts.services = summary.services;
	facts.down = summary.services_down;
	facts.blind = summary.services_blind;
	facts.backends = summary.backends;
	facts.up = summary.backends_up;
	if (attach)
		add_interfaces(attach, &facts);
	return forwarding_judge(&facts, text);
}
