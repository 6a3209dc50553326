/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program to the interfaces of the config: at start, after a reload, and when one
 * appears. */
#include "internal.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "common/log.h"

static bool in_config(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->interfaces_count; i++)
		if (!strcmp(config->interfaces[i], name))
			return true;
	return false;
}

static bool is_attached(const struct state *state, const char *name)
{
	unsigned count;
	const struct attachment *list = attach_list(state->options.attach, &count);

	for (unsigned i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return true;
	return false;
}

static int attach_named(struct state *state, const char *name, struct error *err)
{
	if (is_attached(state, name))
		return 0;
	if (!if_nametoindex(name)) {
		log_warning("%s: no such interface; it is attached when it appears", name);
		return 0;
	}
	return attach_interface(state->options.attach, name, state->config->mode, err);
}

int state_attach_interfaces(struct state *state, struct error *err)
{
	struct error each;
	int rc = 0;

	for (unsigned i = 0; i < state->config->interfaces_count; i++) {
		int failed = attach_named(state, state->config->interfaces[i], &each);

		if (failed && !rc)
			rc = error_set(err, failed, "%s", each.text);
		else if (failed)
			log_error("%s", each.text);
	}
	return rc;
}

void state_interfaces_changed(struct state *state)
{
	unsigned count;
	const struct attachment *list;
	struct error err;

	if (state_attach_interfaces(state, &err))
		log_error("%s", err.text);
	list = attach_list(state->options.attach, &count);
	for (unsigned i = 0; i < count; i++)
		if (!in_config(state->config, list[i].name))
			log_warning(
			    "%s: attached, but not in the config's interfaces; detach it with: lbctl detach %s",
			    list[i].name, list[i].name);
}

static void on_link(void *arg, uint32_t ifindex, const char *name, bool present)
{
	struct state *state = arg;
	struct error err;

	attach_link_changed(state->options.attach, ifindex, name, present);
	if (!present || !in_config(state->config, name) || is_attached(state, name))
		return;
	if (attach_interface(state->options.attach, name, state->config->mode, &err))
		log_error("%s", err.text);
}

void state_follow_links(struct state *state)
{
	neigh_on_link(state->options.neigh, on_link, state);
}
