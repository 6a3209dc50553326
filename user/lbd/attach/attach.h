/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts the program on interfaces through libxdp: with its dispatcher where the kernel lets it
 * load, else alone. Links are pinned under PIN/links/IFNAME. */
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
	bool dispatcher; /* beside other programs, through libxdp's dispatcher; else alone */
};

struct attach;

/* Adopts what is pinned or still attached from a former run: the very same program is left as it
 * is; otherwise the new program replaces the old one without a gap. offloads: the file that
 * remembers which were turned off. */
int attach_new(struct dataplane *dp, const char *pin, const char *offloads, struct attach **ret,
	       struct error *err);
/* programs stay attached */ /* Errors say what to do next: no such interface; another XDP program
				is there (its name and id); kernel or driver lacks X. A generic
				fallback in AUTO mode logs a warning. Attaching twice is fine
			      * (0). */
void attach_free(struct attach *attach);
int attach_interface(struct attach *attach, const char *name, enum config_mode mode,
		     struct error *err);
int attach_detach(struct attach *attach, const char *name, struct error *err);
/* An interface came, went or was renamed: forgets what is gone, follows the name. */
void attach_link_changed(struct attach *attach, uint32_t ifindex, const char *name, bool present);
/* What is turned off for its interfaces; for status. Owned by attach. */
const struct offloads *attach_offloads(const struct attach *attach);
/* At the end: is nothing attached, here or in another network namespace? Then its directory of pins
 * is removed. */
bool attach_is_idle(const struct attach *attach);
/* Notices, and logs, when somebody else took the program off an interface, be it by removing its
 * pin. Called each second. */
void attach_check(struct attach *attach);
/* Does the interface take packets: is it up, with a carrier? */
bool attach_interface_runs(const char *name);
/* The list as it is now; count in *ret_count. Owned by attach, valid until the next call. */
const struct attachment *attach_list(const struct attach *attach, unsigned *ret_count);

#endif
