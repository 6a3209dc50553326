/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XDP decapsulator (bpf/decap.bpf.c) on a backend's interface: found by its program, which
 * also leads to its maps. Attached through netlink, so that it stays without a process or a pin,
 * also where bpffs is hidden (ip netns exec). */
#ifndef LBCTL_BACKEND_HOST_DECAP_H
#define LBCTL_BACKEND_HOST_DECAP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"

enum decap_presence {
	DECAP_NONE,  /* no XDP program at all */
	DECAP_OURS,  /* the decapsulator */
	DECAP_OTHER, /* another program */
};

struct decap {
	enum decap_presence presence;
	uint32_t program_id;
	char program_name[16];
	bool native; /* or in the hardware; else generic */
};

/* What is attached to the interface. */
int decap_find(unsigned ifindex, struct decap *ret, struct error *err);
/* mode "auto", "native" or "generic". *ret_native says which it became. */
int decap_attach(unsigned ifindex, const char *mode, bool *ret_native, struct error *err);
/* Takes off the program with this id, and no other. */
int decap_detach(unsigned ifindex, const struct decap *decap, struct error *err);

/* Is the address one whose packets are decapsulated? */
bool decap_has_vip(const struct decap *decap, const struct addr *vip);
int decap_set_vip(const struct decap *decap, const struct addr *vip, bool present,
		  struct error *err);
/* { NAME: number } of everything it counts, summed over CPUs and named by its BTF; empty when it is
 * not ours or cannot be read; NULL when out of memory. */
json_t *decap_counters(const struct decap *decap);

#endif
