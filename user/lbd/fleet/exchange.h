/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Between the data plane and frames: what is to be sent to a peer, and what one has sent. Without
 * sockets. */
#ifndef LBD_FLEET_EXCHANGE_H
#define LBD_FLEET_EXCHANGE_H

#include "frames.h"

/* Writes what is to be sent to the peer. True: nothing is left; false: the writer is full, or it
 * has taken long. */
bool exchange_fill(struct dataplane *dp, unsigned peer, struct frame_writer *writer);
/* Applies a frame that carries slots or flows, or is about them. 0; -EBADMSG with why set. Frames
 * of other types are none of its business: 1. */
int exchange_take(struct dataplane *dp, unsigned peer, const struct frame *frame, const char **why);

#endif
