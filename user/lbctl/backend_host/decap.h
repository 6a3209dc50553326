/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XDP decapsulator (bpf/decap.bpf.c) on an interface of a backend: found through the attached
 * program, which also leads to its maps. It is attached through netlink, so that it stays without a
 * process or a pin, also where bpffs is not visible (ip netns exec). */
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

struct bpf_prog_info;
int decap_program_info(uint32_t id, struct bpf_prog_info *ret);
/* Finds the XDP program of the interface. 0 (also if there is none), or -errno. */
int decap_find(unsigned ifindex, struct decap *ret, struct error *err);
/* mode: "auto", "native" or "generic". accept: see accept.h. *ret_native: the mode it has. */
int decap_attach(unsigned ifindex, const char *mode, const json_t *accept, bool *ret_native,
		 struct error *err);
/* Puts another instance in its place, in one step: each packet meets the old or the new one. The
 * VIPs and the counters stay; counters of another version start at 0. */
int decap_replace(unsigned ifindex, const struct decap *decap, const json_t *accept,
		  struct error *err);
/* What it accepts (accept.h, without "to"). NULL if it is not the decapsulator, or of another
 * version. */
json_t *decap_accept(const struct decap *decap);
/* Detaches this program and no other. */
int decap_detach(unsigned ifindex, const struct decap *decap, struct error *err);

/* Does it decapsulate packets for this address? */
bool decap_has_vip(const struct decap *decap, const struct addr *vip);
int decap_set_vip(const struct decap *decap, const struct addr *vip, bool present,
		  struct error *err);
/* { NAME: number } of all its counters, summed over CPUs and named by its BTF; empty if the program
 * is not the decapsulator or cannot be read; NULL if out of memory. */
json_t *decap_counters(const struct decap *decap);

#endif
