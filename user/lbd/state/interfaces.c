/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program to the interfaces of the config: at start, after a reload, and when one
 * appears. Tells the data plane the MAC addresses of all attached interfaces. */
#include "internal.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
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

	if (!state->options.attach)
		return;
	attach_try_again(state->options.attach);
	if (state_attach_interfaces(state, &err))
		log_error("%s", err.text);
	list = attach_list(state->options.attach, &count);
	for (unsigned i = 0; i < count; i++)
		if (!in_config(state->config, list[i].name))
			log_warning(
			    "%s: attached, but not in the config's interfaces; detach it with: lbctl detach %s",
			    list[i].name, list[i].name);
}

/* ---- MAC addresses ---- */

struct mac_list {
	struct dp_mac *macs;
	size_t count, room;
	bool failed;
};

static void add_mac(void *arg, uint32_t ifindex, const uint8_t mac[6])
{
	struct mac_list *list = arg;
	struct dp_mac *macs = list->macs;

	if (list->count == list->room) {
		list->room = 2 * list->room + 16;
		macs = realloc(list->macs, list->room * sizeof(*macs));
		list->failed |= !macs;
		if (!macs) {
			list->room = list->count;
			return;
		}
		list->macs = macs;
	}
	macs[list->count].ifindex = ifindex;
	memcpy(macs[list->count++].mac, mac, sizeof(macs->mac));
}

static void publish_macs(void *arg)
{
	struct state *state = arg;
	struct mac_list list = {0};
	unsigned count;
	const struct attachment *attached = attach_list(state->options.attach, &count);

	for (unsigned i = 0; i < count; i++)
		neigh_macs(state->options.neigh, attached[i].ifindex, attached[i].native, add_mac,
			   &list);
	if (!list.failed && dataplane_set_macs(state->options.dataplane, list.macs, list.count))
		log_warning(
		    "interfaces: more than %u with the addresses of the devices on them: on the "
		    "rest, frames for other hosts' MAC addresses are forwarded too",
		    LB_LINKS);
	free(list.macs);
}

static void on_attach_changed(void *arg)
{
	publish_macs(arg);
	state_reach(arg);
	state_tell(arg);
}

/* ---- links ---- */

static void on_link(void *arg, uint32_t ifindex, const char *name, bool present)
{
	struct state *state = arg;
	struct error err;

	attach_link_changed(state->options.attach, ifindex, name, present);
	publish_macs(state);
	if (!present || !in_config(state->config, name) || is_attached(state, name))
		return;
	if (attach_interface(state->options.attach, name, state->config->mode, &err))
		log_error("%s", err.text);
}

void state_follow_links(struct state *state)
{
	neigh_on_link(state->options.neigh, on_link, state);
	if (!state->options.attach)
		return;
	attach_on_change(state->options.attach, on_attach_changed, state);
	on_attach_changed(state);
}
