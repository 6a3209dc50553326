/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The devices that backends are reached through: do they take what the program sends? It sends a
 * packet back where it came in (XDP_TX), or redirects it, which not every device allows. */
#include "internal.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The program runs on the ports of a bond, so it redirects even to the bond itself. */
static bool sends_back(const struct attachment *from, uint32_t to)
{
	return from->ifindex == to && !device_is_bond(from->name);
}

/* Packets that come in on it and are sent back arrive, whatever the device does with redirected
 * ones. Of a veth both hold. */
static bool takes_its_own(const struct attach *attach, uint32_t ifindex)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (attach->list[i].native && sends_back(&attach->list[i], ifindex) &&
		    !device_is_veth(attach->list[i].name))
			return true;
	return false;
}

/* Generic mode hands frames to any device as the kernel itself does. */
static bool any_native(const struct attach *attach)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (attach->list[i].native)
			return true;
	return false;
}

/* "" in why: nothing is known against the device. */
static void judge(const struct attach *attach, struct egress *egress, char why[ATTACH_WHY])
{
	char name[IF_NAMESIZE];

	why[0] = 0;
	if (!any_native(attach) || takes_its_own(attach, egress->ifindex))
		return;
	if (device_takes(attach->netdev, egress->ifindex, why) == DEVICE_TAKES_NONE) {
		egress->refused = false; /* this counts, also when it changes */
		return;
	}
	why[0] = 0;
	if (egress->refused)
		snprintf(
		    why, ATTACH_WHY,
		    "the kernel refuses to redirect frames to %s: use mode: generic, or change "
		    "the device and try again: lbctl reload",
		    if_indextoname(egress->ifindex, name) ? name : "its device");
}

bool egress_refresh(struct attach *attach)
{
	bool changed = false;
	char why[ATTACH_WHY];

	for (unsigned i = 0; i < attach->egresses_count; i++) {
		struct egress *egress = &attach->egresses[i];

		judge(attach, egress, why);
		changed |= strcmp(egress->why, why) != 0;
		memcpy(egress->why, why, sizeof(why));
	}
	return changed;
}

static struct egress *find(const struct attach *attach, uint32_t ifindex)
{
	for (unsigned i = 0; i < attach->egresses_count; i++)
		if (attach->egresses[i].ifindex == ifindex)
			return &attach->egresses[i];
	return NULL;
}

/* In the place of one whose device is gone, if there is no other. */
static struct egress *add(struct attach *attach, uint32_t ifindex)
{
	struct egress *egress = NULL;
	char name[IF_NAMESIZE];

	if (!attach->egresses)
		attach->egresses = calloc(EGRESS_MOST, sizeof(*attach->egresses));
	if (!attach->egresses)
		return NULL;
	if (attach->egresses_count < EGRESS_MOST)
		egress = &attach->egresses[attach->egresses_count++];
	for (unsigned i = 0; !egress && i < EGRESS_MOST; i++)
		if (!if_indextoname(attach->egresses[i].ifindex, name))
			egress = &attach->egresses[i];
	if (!egress)
		return NULL;
	*egress = (struct egress){.ifindex = ifindex};
	judge(attach, egress, egress->why);
	return egress;
}

const char *attach_egress_fault(struct attach *attach, uint32_t ifindex)
{
	const struct egress *egress = find(attach, ifindex);

	if (!egress)
		egress = add(attach, ifindex);
	return egress && egress->why[0] ? egress->why : NULL;
}

void egress_forgive(struct attach *attach)
{
	for (unsigned i = 0; i < attach->egresses_count; i++)
		attach->egresses[i].refused = false;
}

void attach_try_again(struct attach *attach)
{
	egress_forgive(attach);
	if (egress_refresh(attach) && attach->changed)
		attach->changed(attach->changed_arg);
}

void egress_refused(struct attach *attach, uint32_t ifindex)
{
	struct egress *egress = find(attach, ifindex);

	if (egress)
		egress->refused = true;
}
