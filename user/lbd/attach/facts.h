/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel says of the attached interfaces, and of the devices that backends are reached
 * through. Each answer may have to wait for the kernel's lock of all devices (rtnl), which others
 * hold for tens of ms: it is asked beside the event loop. */
#ifndef LBD_ATTACH_FACTS_H
#define LBD_ATTACH_FACTS_H

#include "common/sentences.h"
#include "internal.h"

struct facts_interface {
	uint32_t ifindex;
	bool native, veth; /* when it was asked about */
	bool bare;         /* there is no program on it */
	bool runs;
	bool has_peer; /* the other end of the veth is in this network namespace */
	bool suits;    /* native mode can work there; else: why not */
	char not_native[DEVICE_WHY];
	enum device_takes takes; /* unknown of a veth */
	char takes_none[DEVICE_WHY];
	bool counted; /* a veth in native mode: counts */
	struct device_counts counts;
	struct sentences *hints; /* about its offloads; NULL: none, or out of memory */
};

struct facts_egress {
	uint32_t ifindex;
	enum device_takes takes;
	char why[DEVICE_WHY];
};

struct facts {
	struct facts_interface *interfaces;
	unsigned count;
	struct facts_egress *egresses;
	unsigned egresses_count;
};

/* Asks about one interface, or with ifindex 0 about all and about the devices. As a task it waits:
 * afterwards the list of interfaces may be another. 0 or -ENOMEM. */
int facts_ask(const struct attach *attach, uint32_t ifindex, struct facts *ret);
/* NULL: nothing was asked. */
struct facts_interface *facts_of(const struct facts *facts, uint32_t ifindex);
const struct facts_egress *facts_of_egress(const struct facts *facts, uint32_t ifindex);
void facts_done(struct facts *facts);

#endif
