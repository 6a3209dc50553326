/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program to the interfaces of the config: at start, after a reload, and when one
 * appears. Tells the data plane the MAC addresses of all attached interfaces. */
#include "internal.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/plural.h"

/* ---- what is to be attached ---- */

static void warn_of_wanted(const struct state *state, const char *name)
{
	char first[IF_NAMESIZE];

	if (attach_has(state->options.attach, name))
		return;
	if (held_has(&state->held, name))
		state_warn(state,
			   "%s: stays detached, as it was detached by hand; to attach it: lbctl "
			   "attach %s",
			   name, name);
	else if (!if_nametoindex(name))
		state_warn(state, "%s: no such interface; it is attached when it appears", name);
	else if (attach_is_other_name(name, first))
		state_warn(state, "%s: another name of %s (altname): expected %s; not attached",
			   name, first, first);
}

static void warn_of_attached(const struct state *state, const struct config *config,
			     const struct attachment *there)
{
	bool other = (config->mode == CONFIG_MODE_NATIVE && !there->native) ||
		     (config->mode == CONFIG_MODE_GENERIC && there->native);

	char services[256];

	if (!config_has_interface(config, there->name) &&
	    nat_services_behind(state, there, services))
		state_warn(state,
			   "%s: attached, but not in the config's interfaces, and replies of "
			   "services with forward: nat come in there (%s): once it is detached, or "
			   "after a reboot, they leave with their backends' own addresses",
			   there->name, services);
	else if (!config_has_interface(config, there->name))
		state_warn(state,
			   "%s: attached, but not in the config's interfaces; detach it with: "
			   "lbctl detach %s",
			   there->name, there->name);
	else if (other)
		state_warn(state,
			   "mode: %s is attached in %s mode; to change that: lbctl detach %s, then "
			   "lbctl attach %s",
			   there->name, there->native ? "native" : "generic", there->name,
			   there->name);
}

void state_warn_of_interfaces(const struct state *state, const struct config *config)
{
	const struct attachment *list;
	unsigned count;

	if (!state->options.attach)
		return;
	for (unsigned i = 0; i < config->interfaces_count; i++)
		warn_of_wanted(state, config->interfaces[i]);
	list = attach_list(state->options.attach, &count);
	for (unsigned i = 0; i < count; i++)
		warn_of_attached(state, config, &list[i]);
}

static int attach_named(struct state *state, const char *name, struct error *err)
{
	char first[IF_NAMESIZE];

	if (attach_has(state->options.attach, name) || held_has(&state->held, name) ||
	    !if_nametoindex(name) || attach_is_other_name(name, first))
		return 0;
	return attach_interface(state->options.attach, name, state->config->mode, err);
}

int state_attach_interfaces(struct state *state, struct error *err)
{
	struct error each;
	int rc = 0;

	state_warn_of_interfaces(state, state->config);
	for (unsigned i = 0; i < state->config->interfaces_count; i++) {
		int failed = attach_named(state, state->config->interfaces[i], &each);

		if (failed && !rc)
			rc = error_set(err, failed, "%s", each.text);
		else if (failed)
			state_warn(state, "%s", each.text);
	}
	return rc;
}

/* ---- detached by hand ---- */

/* What cannot be written now is written with the next change. */
static void held_keep(struct state *state)
{
	struct error err;

	if (state->held_path && held_save(&state->held, state->held_path, &err))
		state_warn(state, "%s", err.text);
}

static bool stays_in_config(void *arg, const char *name)
{
	const struct state *state = arg;

	return config_has_interface(state->config, name);
}

int state_attach(struct state *state, const char *name, const enum config_mode *mode,
		 struct error *err)
{
	int rc =
	    attach_interface(state->options.attach, name, mode ? *mode : state->config->mode, err);

	if (rc)
		return rc;
	held_remove(&state->held, name);
	held_keep(state);
	if (!config_has_interface(state->config, name))
		state_warn(state,
			   "%s: not in the config's interfaces: it is not attached again after a "
			   "reboot, or when it is made anew",
			   name);
	return 0;
}

static const struct attachment *find_attached(const struct state *state, const char *name)
{
	unsigned count;
	const struct attachment *list = attach_list(state->options.attach, &count);

	for (unsigned i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	return NULL;
}

/* 0, or -EBUSY: what the kernel would forward as it is, if it forwards. */
static int check_leak(const struct state *state, const struct attachment *there, struct error *err)
{
	char services[256];
	unsigned count = nat_services_behind(state, there, services);

	return !count
		   ? 0
		   : error_set(err, -EBUSY,
			       "%s: replies of %u service%s with forward: nat come in here (%s): "
			       "they would leave with their backends' own addresses, and all "
			       "their connections end: expected --force",
			       there->name, count, plural_s(count), services);
}

int state_detach(struct state *state, const char *name, bool force, struct error *err)
{
	const struct attachment *there = find_attached(state, name);
	unsigned count;
	int rc = 0;

	if (!there)
		return attach_detach(state->options.attach, name, err);
	if (!force && check_leak(state, there, err))
		return -EBUSY;
	if (config_has_interface(state->config, name))
		rc = held_add(&state->held, name, err);
	if (!rc && state->held_path && held_save(&state->held, state->held_path, err))
		rc = -EROFS;
	if (!rc)
		rc = attach_detach(state->options.attach, name, err);
	if (rc) {
		held_remove(&state->held, name);
		held_keep(state);
		return rc;
	}
	attach_list(state->options.attach, &count);
	if (!count)
		state_warn(state, "no interface is attached: no traffic is forwarded");
	return 0;
}

void state_forget_detached(struct state *state)
{
	if (state) {
		held_done(&state->held);
		held_keep(state);
	}
}

/* ---- the config has changed ---- */

void state_interfaces_changed(struct state *state)
{
	struct error err;

	if (!state->options.attach)
		return;
	attach_try_again(state->options.attach);
	held_filter(&state->held, stays_in_config, state);
	held_keep(state);
	if (state_attach_interfaces(state, &err))
		state_warn(state, "%s", err.text);
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

/* While none is attached it is as if there were one that they come in by. */
static void publish_unfinished(const struct state *state)
{
	unsigned count;
	const struct attachment *list = attach_list(state->options.attach, &count);
	bool possible = !count;

	for (unsigned i = 0; i < count; i++)
		possible |= !list[i].card;
	dataplane_set_unfinished(state->options.dataplane, possible);
}

static void on_attach_changed(void *arg)
{
	publish_macs(arg);
	publish_unfinished(arg);
	state_reach(arg);
	state_tell(arg);
}

/* ---- links ---- */

struct appeared {
	struct state *state;
	char name[IF_NAMESIZE];
};

/* Another task may have changed the config or attached it since. */
static void run_appeared(void *arg)
{
	struct appeared *appeared = arg;
	struct state *state = appeared->state;
	struct error err;

	if (config_has_interface(state->config, appeared->name) &&
	    attach_named(state, appeared->name, &err))
		events_log(EVENT_interface_refused, LOG_ERR,
			   &(struct event_about){.interface = appeared->name, .why = err.text},
			   "%s", err.text);
	free(appeared);
}

/* As a task, as drivers take their time. */
static void attach_appeared(struct state *state, const char *name)
{
	struct appeared *appeared = calloc(1, sizeof(*appeared));

	if (appeared) {
		appeared->state = state;
		snprintf(appeared->name, sizeof(appeared->name), "%s", name);
	}
	if (appeared && !state_do(state, run_appeared, appeared))
		return;
	free(appeared);
	log_error("%s: not attached: out of memory; to attach it: lbctl attach %s", name, name);
}

static void on_link(void *arg, uint32_t ifindex, const char *name, bool present)
{
	struct state *state = arg;

	attach_link_changed(state->options.attach, ifindex, name, present);
	publish_macs(state);
	if (present && config_has_interface(state->config, name) &&
	    !attach_has(state->options.attach, name) && !held_has(&state->held, name))
		attach_appeared(state, name);
}

void state_follow_links(struct state *state)
{
	neigh_on_link(state->options.neigh, on_link, state);
	if (!state->options.attach)
		return;
	attach_on_change(state->options.attach, on_attach_changed, state);
	attach_catch_up(state->options.attach);
	on_attach_changed(state);
}
