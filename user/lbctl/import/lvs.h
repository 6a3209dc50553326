/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What ipvsadm and keepalived both say about services of IPVS: schedulers, persistence, and ways to
 * a real server. */
#ifndef LBCTL_IMPORT_LVS_H
#define LBCTL_IMPORT_LVS_H

#include "import.h"

#define LVS_FLAG_PORT (1 << 0) /* sh-port, mh-port: the source port is hashed too */

/* The bits of a flag by its name, such as sh-port; false: not known. */
bool lvs_flag(const char *name, unsigned *flags);
/* Sets the algorithm of a service. scheduler "": IPVS's default. */
void lvs_schedule(struct import *im, struct import_place at, const char *scheduler, unsigned flags,
		  struct import_service *service);
/* Sets the affinity of a service. mask "": each client. family: of the mask. */
void lvs_persist(struct import *im, struct import_place at, uint64_t timeout_ms, const char *mask,
		 uint8_t family, struct import_service *service);

/* Ways to a real server. */
struct lvs_way {
	enum { LVS_DIRECT, LVS_TUNNEL, LVS_NAT } method;
	const char *type; /* of a tunnel: ipip, gue, gre; NULL: ipip */
	unsigned port;    /* of gue */
	bool checksum;
};

/* Sets how packets reach a backend. */
void lvs_forward(struct import *im, struct import_place at, const struct lvs_way *way,
		 struct import_backend *backend);
/* The idle timeouts of IPVS, where nothing else was set: seconds, 0: as they are. */
void lvs_timeouts(struct import *im, uint64_t tcp_s, uint64_t udp_s);
/* More connections than this to a real server; 0: no limit. */
void lvs_thresholds(struct import *im, struct import_place at, uint64_t upper, uint64_t lower);

#endif
