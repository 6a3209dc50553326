/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program to interfaces: in libxdp's dispatcher where the kernel allows that, else
 * alone. Links are pinned under PIN/links/IFNAME. */
#ifndef LBD_ATTACH_H
#define LBD_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "lbd/config/config.h"
#include "lbd/dataplane/dataplane.h"
#include "offloads.h"

struct attachment {
	char name[16];
	uint32_t ifindex;
	bool native;     /* else generic */
	bool dispatcher; /* in libxdp's dispatcher, beside other programs; else alone */
};

struct attach;

/* Takes over interfaces that an earlier lbd attached: the same program is left in place, another
 * one is replaced without a gap. offloads: the file that lists the offloads that were turned off;
 * former: where an lbd of before had it, see offloads_take_over. */
int attach_new(struct dataplane *dp, const char *pin, const char *offloads, const char *former,
	       struct attach **ret, struct error *err);
/* Programs stay attached. */
void attach_free(struct attach *attach);
/* Errors say what to do next: no such interface; another XDP program is attached (its name and id);
 * the kernel or driver lacks a feature. In AUTO mode the fallback to generic logs a warning. 0 also
 * when the interface is attached already. */
int attach_interface(struct attach *attach, const char *name, enum config_mode mode,
		     struct error *err);
int attach_detach(struct attach *attach, const char *name, struct error *err);
/* An interface appeared, is gone (present false) or was renamed: updates the list. */
void attach_link_changed(struct attach *attach, uint32_t ifindex, const char *name, bool present);
/* The offloads that are turned off for its interfaces. Owned by attach. */
const struct offloads *attach_offloads(const struct attach *attach);
/* At the end: true if nothing is attached, here or in another network namespace; then removes the
 * directory of link pins. */
bool attach_is_idle(const struct attach *attach);
/* Logs an error when another process has detached the program from an interface, or removed its
 * pin. To be called each second. */
void attach_check(struct attach *attach);
/* Is the interface up, with a carrier? */
bool attach_interface_runs(const char *name);
/* Called after each change of the list. */
void attach_on_change(struct attach *attach, void (*changed)(void *arg), void *arg);
/* The attached interfaces; their number in *ret_count. Owned by attach, valid until the next
 * call. */
const struct attachment *attach_list(const struct attach *attach, unsigned *ret_count);

#endif
