/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Turns off receive offloads that change packets before the program sees them (joined packets,
 * hidden VLAN tags) while it is attached, and turns them on again afterwards, also across restarts
 * of lbd. */
#ifndef LBD_OFFLOADS_H
#define LBD_OFFLOADS_H

#include <stdbool.h>
#include <stdint.h>

#define OFFLOADS_SENTENCE 384

struct offloads;

/* path: the file that lists what was turned off, in a directory that a reboot clears as it resets
 * the offloads. Copied. If it cannot be used, that is logged, what it listed stays off, and it is
 * renamed to path and ".bad". NULL:
 * out of memory. */
struct offloads *offloads_new(const char *path);
/* Once, after an upgrade: former is the file of an lbd of before, which every lbd whose socket was
 * in the directory shared. Moves from there to the own file, unless that exists, what was turned
 * off for interfaces that mine accepts. */
void offloads_take_over(struct offloads *offloads, const char *former,
			bool (*mine)(void *arg, uint32_t ifindex), void *arg);
void offloads_free(struct offloads *offloads);

/* Turns off, on the interface and on the devices below it, the offloads that harm the program in
 * this mode, and logs it. Call it before attaching: some drivers refuse the program otherwise. */
void offloads_prepare(struct offloads *offloads, uint32_t ifindex, bool native);
/* After it is detached or gone: turns on again what prepare turned off, unless another interface
 * needs it off. */
void offloads_restore(struct offloads *offloads, uint32_t ifindex);

/* Calls fn with a sentence for each harmful offload that is on, with the command that turns it
 * off. */
void offloads_check(const struct offloads *offloads, uint32_t ifindex, bool native,
		    void (*fn)(void *arg, const char *sentence), void *arg);
/* Calls fn with device and feature (ethtool -K's name) of each offload that is off for an
 * interface. */
void offloads_list(const struct offloads *offloads, uint32_t ifindex,
		   void (*fn)(void *arg, const char *device, const char *feature), void *arg);

#endif
