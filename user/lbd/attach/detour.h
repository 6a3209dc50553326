/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ways of health checks that go to a VIP: through the tunnel to one backend (bpf/detour.bpf.c). A
 * socket takes way N when it has the mark detour_mark(N). */
#ifndef LBD_DETOUR_H
#define LBD_DETOUR_H

#include <stdint.h>

#include "lb_abi.h"
#include "lb_detour.h"
#include "common/addr.h"
#include "lbd/neigh/neigh.h"

#define DETOUR_WHY 256

struct detour_spec {
	struct next_hop hop;
	enum lb_forward forward;
	struct addr vip, backend;
	struct addr source; /* of the outer header, of the backend's family; not for l2 */
	uint16_t gue_port;
};

/* Fills in all but the counter. Pure. */
void detour_describe(const struct detour_spec *spec, struct lb_detour *ret);

struct detours;

/* Loads nothing yet. NULL: out of memory. */
struct detours *detours_new(void);
/* Removes the program from all devices. NULL is allowed. */
void detours_free(struct detours *detours);
/* A new way; its number in *ret. 0, or -errno: the program cannot be loaded, or -ENOSPC. */
int detour_add(struct detours *detours, uint32_t *ret);
void detour_remove(struct detours *detours, uint32_t number);
void detour_set(struct detours *detours, uint32_t number, const struct detour_spec *spec);
uint32_t detour_mark(uint32_t number);
/* Puts the program on the device that the kernel's route to the VIP leads to. 0, or -errno with the
 * reason in why: there is no such route, the program is refused, or another lbd has its own there.
 * What it found holds for a second. */
int detour_prepare(struct detours *detours, const struct addr *vip, char why[DETOUR_WHY]);
/* Packets that went this way since detour_add. */
uint64_t detour_packets(const struct detours *detours, uint32_t number);
/* Packets did not go their way: the program may have been removed, and is put in place again. */
void detour_missed(struct detours *detours);

#endif
