/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two ways to attach to an interface: beside other programs in libxdp's dispatcher, or alone by
 * a pinned bpf_link. */
#ifndef LBD_ATTACH_INTERNAL_H
#define LBD_ATTACH_INTERNAL_H

#include "attach.h"
#include "checksums.h"
#include "losses.h"

#define EGRESS_MOST 256 /* as many as the map egress has room for */

/* A device that backends are reached through. */
struct egress {
	uint32_t ifindex;
	bool refused;         /* the kernel has refused a redirect to it: its driver has no way */
	char why[ATTACH_WHY]; /* what is wrong with it; "": nothing known */
};

struct facts;

struct attach {
	struct dataplane *dp;
	char *pin, *links; /* PIN, PIN/links */
	struct offloads *offloads;
	struct netdev *netdev;       /* NULL: the kernel does not say what devices can do */
	struct netdev *asking;       /* the same, for what is asked beside the loop */
	struct losses *losses;       /* NULL: not counted */
	struct checksums *checksums; /* NULL: not looked at */
	struct detours *detours;
	bool dispatcher_allowed;
	bool complete;  /* what an earlier lbd attached is in the list */
	bool hidden;    /* an interface has a program that cannot be seen: it may use these maps */
	bool automatic; /* interfaces that are taken over may fall back to generic mode */
	struct attachment *list;
	unsigned count;
	struct egress *egresses;
	unsigned egresses_count;
	void (*changed)(void *arg);
	void *changed_arg;
};

/* The program that is attached to an interface now. */
struct occupant {
	uint32_t id; /* of the program, 0: none */
	char name[16];
	bool native;
	bool dispatcher;    /* it is libxdp's; ours may be one of the programs in it */
	unsigned programs;  /* in the dispatcher */
	uint32_t ours;      /* id of the attached program that uses our maps, 0: none */
	uint32_t other_lbd; /* id of the attached program of another lbd, 0: none is known */
	bool hidden;        /* without CAP_SYS_ADMIN only its id can be seen */
};

/* 0 or -errno. */
int attach_look(struct dataplane *dp, uint32_t ifindex, struct occupant *ret);
/* Does the program with this descriptor use this data plane's maps? */
bool attach_is_ours(struct dataplane *dp, int fd);

/* NULL: it is not attached. */
struct attachment *attach_find(const struct attach *attach, uint32_t ifindex);
/* Adds one to the list. 0 or -ENOMEM. */
int attach_remember(struct attach *attach, const char *name, uint32_t ifindex, bool native,
		    bool dispatcher);
const char *attach_mode_name(bool native);
/* Logs and drops from the list those whose program another process has detached. */
void attach_check_programs(struct attach *attach, const struct facts *facts);
/* Native to generic mode. 0, or -errno with err set: it is then detached. */
int attach_fall_back(struct attach *attach, const char *name, const char *why, struct error *err);

/* ---- watch.c ---- */

/* Finds out what attach_warnings says of it, or with ifindex 0 of all, before the next
 * attach_check. As a task it waits: the list may be another one afterwards. */
void watch_look(struct attach *attach, uint32_t ifindex);

/* ---- egress.c ---- */

/* Looks at every device again. True: something has changed. */
bool egress_refresh(struct attach *attach);
/* The same, with what the kernel has said of them. */
bool egress_take(struct attach *attach, const struct facts *facts);
/* Forgets which devices the kernel has refused redirects to: something has changed. */
void egress_forgive(struct attach *attach);
/* The kernel has refused a redirect to this device. It counts until an interface is attached or
 * detached, a reload, or until the kernel says by itself what the device takes. */
void egress_refused(struct attach *attach, uint32_t ifindex);

/* ---- dispatcher.c ---- */

/* Once, before the first attach and while no other thread uses libbpf. 0 or -errno. */
int dispatcher_prepare(void);
/* False where the kernel refuses programs of type EXT, which the dispatcher is made of, and without
 * CAP_SYS_ADMIN. */
bool dispatcher_allowed(void);
/* Loads a copy of the program on the same maps and adds it to the interface's dispatcher, which is
 * created if missing. 0 or -errno; -EOPNOTSUPP: no dispatcher is possible here, and nothing was
 * left attached. */
int dispatcher_attach(struct dataplane *dp, uint32_t ifindex, bool native, char why[256]);
/* Removes one program from the dispatcher; removes the dispatcher with its last program. */
int dispatcher_detach(uint32_t ifindex, uint32_t program_id);

/* ---- link.c ---- */

/* Attaches by link and pins it at path. 0 or -errno with the driver's reason in why. */
int link_attach(int program_fd, uint32_t ifindex, bool native, const char *path, char why[256]);
/* Replaces the program in one step. */
int link_replace(const char *path, int program_fd);

#endif
