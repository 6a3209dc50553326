/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The keys that peers know each other by. */
#ifndef LBD_FLEET_KEYS_H
#define LBD_FLEET_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define FLEET_KEYS     2
#define FLEET_KEY      32                       /* bytes of a key */
#define FLEET_KEY_ID   (FLEET_KEY_HASH * 2 + 1) /* with the final NUL */
#define FLEET_KEY_HASH 4

struct fleet_key {
	uint8_t secret[FLEET_KEY];
	char id[FLEET_KEY_ID]; /* derived from it; no secret, and the same on all nodes */
};

/* All are accepted; a node connects with the first one. */
struct fleet_keys {
	struct fleet_key list[FLEET_KEYS];
	unsigned count;
};

/* The file has a key in each line, as openssl rand -hex 32 prints it: one, or two while keys are
 * changed. As to owner and mode: secret_read. 0, or -errno with the sentence in err. */
int fleet_keys_read(const char *path, struct fleet_keys *ret, struct error *err);
/* NULL: there is none of this id. */
const struct fleet_key *fleet_keys_find(const struct fleet_keys *keys, const char *id,
					size_t length);
void fleet_keys_clear(struct fleet_keys *keys);

#endif
