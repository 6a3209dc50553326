/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches the program to interfaces: in libxdp's dispatcher where the kernel allows that, else
 * alone. Links are pinned under PIN/links/IFNAME. */
#ifndef LBD_ATTACH_H
#define LBD_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/sentences.h"
#include "lbd/config/config.h"
#include "lbd/dataplane/dataplane.h"
#include "detour.h"
#include "device.h"
#include "offloads.h"

#define ATTACH_WHY 256

struct attachment {
	char name[16];
	uint32_t ifindex;
	bool native;     /* else generic */
	bool dispatcher; /* in libxdp's dispatcher, beside other programs; else alone */
	bool automatic;  /* native mode was lbd's choice: it falls back if that loses packets */
	bool veth, bond, card; /* what it is */
	/* Frames that the program on it sent and no device took, since this lbd attached it or took
	 * it over. lost_ms: CLOCK_MONOTONIC of the last; 0: none. */
	uint64_t lost, lost_ms;

	/* The fields below are private to this room. */
	char pinned_as[16];            /* the name that the pin of its link has */
	char lost_why[96];             /* "to br0: Operation not supported" */
	char not_native[ATTACH_WHY];   /* why native mode loses packets here, or was not used; "" */
	char no_redirects[ATTACH_WHY]; /* why it takes no redirected frames; "": nothing known */
	struct sentences *hints;       /* about offloads; NULL: none */
	bool has_peer;                 /* the other end of the veth is in this namespace */
	bool complained;               /* of not_native, in the log */
	uint64_t stuck_ms;             /* CLOCK_MONOTONIC: it could not fall back; 0: never */
	unsigned silent_s;             /* seconds in a row in which its other end took no frame */
	struct device_counts counts;   /* of a veth in native mode, when they were last read */
	bool sampling;                 /* its packets' checksums are looked at now */
	/* CLOCK_MONOTONIC: the sample began or ended; one was unfinished (0: none was) */
	uint64_t sample_ms, unfinished_ms;
};

struct attach;

/* Without interfaces, until attach_take_over. automatic: those in native mode that it takes over
 * may fall back. offloads: the file that lists the offloads that were turned off. */
int attach_new(struct dataplane *dp, const char *pin, bool automatic, const char *offloads,
	       struct attach **ret, struct error *err);
/* Once, before anything else is changed; the program of dp is loaded. Takes over interfaces that an
 * earlier lbd attached: the same program is left in place, another one is replaced without a gap.
 * former: where an lbd of before had the file of offloads, see offloads_take_over. As a task it
 * waits for the kernel. An error: which interfaces there are is not known; what was attached stays
 * so. */
int attach_take_over(struct attach *attach, const char *former, struct error *err);
/* Programs stay attached. */
void attach_free(struct attach *attach);
/* Is it a name of an interface, but not the first (altname)? *ret_first, of 16 bytes: that one. */
bool attach_is_other_name(const char *name, char *ret_first);
/* Is the interface free of programs that lbd cannot join? 0 also if there is no such interface, or
 * if it is attached. The errors are those of attach_interface. */
int attach_check_free(struct attach *attach, const char *name, struct error *err);
/* As tasks these two wait for the kernel: afterwards the list of interfaces may be another.
 * Errors say what to do next: no such interface; another XDP program is attached (its name and id);
 * it is not Ethernet; the kernel or driver lacks a feature. In AUTO mode the fallback to generic
 * logs a warning. 0 also when the interface is attached already. */
int attach_interface(struct attach *attach, const char *name, enum config_mode mode,
		     struct error *err);
int attach_detach(struct attach *attach, const char *name, struct error *err);
/* An interface appeared, is gone (present false) or was renamed: updates the list. */
void attach_link_changed(struct attach *attach, uint32_t ifindex, const char *name, bool present);
/* The same for what happened since the takeover, before anybody called attach_link_changed. */
void attach_catch_up(struct attach *attach);
/* The ways of health checks that go to a VIP. Owned by attach. */
struct detours *attach_detours(const struct attach *attach);
/* The offloads that are turned off for its interfaces. Owned by attach. */
const struct offloads *attach_offloads(const struct attach *attach);
/* At the end: true if nothing is attached, here or in another network namespace; then removes the
 * directory of link pins. */
bool attach_is_idle(const struct attach *attach);
/* To be called each second, as a task: it waits for the kernel. Logs an error when another process
 * has detached the program from an interface, or removed its pin. Counts lost frames, and falls
 * back to generic mode where AUTO chose native mode and nothing arrives. */
void attach_check(struct attach *attach);
/* Calls fn with a sentence for each thing that makes packets of an interface get lost or be
 * changed, or did in the last minute: what was known at the last attach_check, without a system
 * call. */
void attach_warnings(struct attach *attach, const struct attachment *there,
		     void (*fn)(void *arg, const char *sentence), void *arg);
/* Why packets that the program sends to this device are lost; NULL: nothing is known against it.
 * Followed from the first call on: a change calls the function of attach_on_change. The text is
 * valid until the next call of any function. */
const char *attach_egress_fault(struct attach *attach, uint32_t ifindex);
/* The devices that the kernel has refused frames to are tried again: something may have changed. */
void attach_try_again(struct attach *attach);
/* Is the interface up, with a carrier? */
bool attach_interface_runs(const char *name);
/* Called after each change of the list, of a mode, or of attach_egress_fault. */
void attach_on_change(struct attach *attach, void (*changed)(void *arg), void *arg);
/* Is it attached? */
bool attach_has(const struct attach *attach, const char *name);
/* The attached interfaces; their number in *ret_count. Owned by attach, valid until the next
 * call. */
const struct attachment *attach_list(const struct attach *attach, unsigned *ret_count);

#endif
