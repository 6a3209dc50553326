/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two ways onto an interface that attach.c chooses between: beside other programs (libxdp's
 * dispatcher), or alone (a pinned bpf_link). */
#ifndef LBD_ATTACH_INTERNAL_H
#define LBD_ATTACH_INTERNAL_H

#include "attach.h"

/* What is on an interface now. */
struct occupant {
	uint32_t id; /* of the program, 0: none */
	char name[16];
	bool native;
	bool dispatcher; /* libxdp's; ours may be one of its programs */
	uint32_t ours;   /* id of the program there that uses our maps, 0: none */
};

/* 0 or -errno. */
int attach_look(struct dataplane *dp, uint32_t ifindex, struct occupant *ret);
/* Does the program use this data plane's maps? fd is a program's. */
bool attach_is_ours(struct dataplane *dp, int fd);

/* ---- attach_dispatcher.c ---- */

/* False where the kernel refuses programs of type EXT, which the dispatcher is made of. */
bool dispatcher_allowed(void);
/* Loads a copy of the program on the same maps and puts it into the interface's dispatcher (made if
 * missing). 0 or -errno; -EOPNOTSUPP: there can be no dispatcher here, and nothing was left
 * attached. */
int dispatcher_attach(struct dataplane *dp, uint32_t ifindex, bool native, char why[256]);
/* Takes one program out of the dispatcher, which goes with its last program. */
int dispatcher_detach(uint32_t ifindex, uint32_t program_id);

/* ---- attach_link.c ---- */

/* Attaches by link and pins it at path. 0 or -errno with the driver's reason in why. */
int link_attach(int program_fd, uint32_t ifindex, bool native, const char *path, char why[256]);
/* Is the pinned link there, and of which interface? ret_ifindex 0: its interface is gone. 0 or
 * -errno. */
int link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id);
/* Swaps the program in one step. */
int link_replace(const char *path, int program_fd);
int link_detach(const char *path);
/* PIN/links/IFNAME; bpffs takes no dots in names, so '.' and '%' are written %2e and %25. false:
 * too long. */
bool link_path(char *text, size_t size, const char *directory, const char *name);

#endif
