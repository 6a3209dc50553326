/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Receive offloads that show the program something else than what was on the wire: joined
 * packets, hidden VLAN tags. They are off while it is attached, and on again after it, over
 * restarts of lbd too. */
#ifndef LBD_OFFLOADS_H
#define LBD_OFFLOADS_H

#include <stdbool.h>
#include <stdint.h>

#define OFFLOADS_SENTENCE 384

struct offloads;

/* path: the file that remembers what was turned off; in a directory that a reboot empties, as the
 * features do. Copied. A file that cannot be read is said in the log, and what it held stays turned
 * off. NULL: out of memory. */
struct offloads *offloads_new(const char *path);
void offloads_free(struct offloads *offloads);

/* Turns off, on the interface and on those below it whose packets it gets, what the program cannot
 * work with in this mode, and logs it. Before the program is attached: some drivers refuse it
 * otherwise. */
void offloads_prepare(struct offloads *offloads, uint32_t ifindex, bool native);
/* After it is detached, or gone: turns on again what prepare turned off, unless another interface
 * still wants it
 * off. */
void offloads_restore(struct offloads *offloads, uint32_t ifindex);

/* Calls fn with a sentence for each thing that is on now though it does harm, with the command that
 * helps. */
void offloads_check(const struct offloads *offloads, uint32_t ifindex, bool native,
		    void (*fn)(void *arg, const char *sentence), void *arg);
/* Calls fn with DEVICE and feature (ethtool -K's name) of what is turned off for an interface. */
void offloads_list(const struct offloads *offloads, uint32_t ifindex,
		   void (*fn)(void *arg, const char *device, const char *feature), void *arg);

#endif
