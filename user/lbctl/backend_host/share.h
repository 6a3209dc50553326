/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the setups of several interfaces of one host need alike: VIPs on lo, settings of all
 * interfaces, tunnel devices. The first setup makes the change; the others find it made and put it
 * on their own record, as "shared". Undo hands it to one of those. */
#ifndef LBCTL_BACKEND_HOST_SHARE_H
#define LBCTL_BACKEND_HOST_SHARE_H

#include <stdbool.h>

#include "change.h"

/* Until host_share_end nobody else changes the records of this host: two setups that run at the
 * same moment, as at boot, would each take a change for its own. Call it before the record of the
 * interface is read. */
int host_share_begin(struct host *host, struct error *err);
/* Reads the records of the other interfaces. One that cannot be used is named and left out. */
int host_share_read(struct host *host, struct error *err);
void host_share_end(struct host *host);

/* Setup needs what a change of this kind and of this key makes, and found it made. Does nothing
 * unless the setup of another interface has made it, or shares it. */
int host_share(struct host *host, const char *kind, const char *key, const char *value,
	       struct error *err);
/* Another interface needs the change as well: it is on that one's record alone, or shared, from
 * now on. ret_interface: which one, NULL if none does. */
int host_share_hand_over(struct host *host, const json_t *change, const char **ret_interface,
			 struct error *err);
/* This interface did not make the change. */
bool host_is_shared(const json_t *change);

#endif
