/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The devices that backends are reached through: do they take what the program sends? It sends a
 * packet back where it came in (XDP_TX), or redirects it, which not every device allows. */
#include "facts.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/printable.h"

/* The program runs on the ports of a bond, so it redirects even to the bond itself. */
static bool sends_back(const struct attachment *from, uint32_t to)
{
	return from->ifindex == to && !from->bond;
}

/* Packets that come in on it and are sent back arrive, whatever the device does with redirected
 * ones. Of a veth both hold. */
static bool takes_its_own(const struct attach *attach, uint32_t ifindex)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (attach->list[i].native && sends_back(&attach->list[i], ifindex) &&
		    !attach->list[i].veth)
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

static bool is_asked_about(const struct attach *attach, const struct egress *egress)
{
	return any_native(attach) && !takes_its_own(attach, egress->ifindex);
}

/* "" in why: nothing is known against the device. */
static void find_fault(const struct attach *attach, struct egress *egress,
		       const struct facts_egress *said, char why[ATTACH_WHY])
{
	char name[IF_NAMESIZE];

	why[0] = 0;
	if (!is_asked_about(attach, egress))
		return;
	if (said->takes == DEVICE_TAKES_NONE) {
		egress->refused = false; /* this counts, also when it changes */
		memcpy(why, said->why, sizeof(said->why));
		return;
	}
	if (egress->refused)
		snprintf(
		    why, ATTACH_WHY,
		    "the kernel refuses to redirect frames to %s: use mode: generic, or change "
		    "the device and try again: lbctl reload",
		    if_indextoname(egress->ifindex, name) ? name : "its device");
}

/* True: it has changed. */
static bool judge(const struct attach *attach, struct egress *egress,
		  const struct facts_egress *said)
{
	char why[ATTACH_WHY];
	bool changed;

	find_fault(attach, egress, said, why);
	make_printable(why, false); /* it may name a device */
	changed = strcmp(egress->why, why) != 0;
	memcpy(egress->why, why, sizeof(why));
	return changed;
}

static bool ask_and_judge(const struct attach *attach, struct egress *egress)
{
	struct facts_egress said = {.ifindex = egress->ifindex};

	if (is_asked_about(attach, egress))
		said.takes = device_takes(attach->netdev, egress->ifindex, said.why);
	return judge(attach, egress, &said);
}

bool egress_refresh(struct attach *attach)
{
	bool changed = false;

	for (unsigned i = 0; i < attach->egresses_count; i++)
		changed |= ask_and_judge(attach, &attach->egresses[i]);
	return changed;
}

bool egress_take(struct attach *attach, const struct facts *facts)
{
	bool changed = false;

	for (unsigned i = 0; i < attach->egresses_count; i++) {
		struct egress *egress = &attach->egresses[i];
		const struct facts_egress *said = facts_of_egress(facts, egress->ifindex);

		if (said)
			changed |= judge(attach, egress, said);
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
	ask_and_judge(attach, egress);
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
