/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes backends and services in the texts of a config; all else stays, comments too. */
#ifndef LBD_CONFIG_EDIT_H
#define LBD_CONFIG_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "tag.h"
#include "texts.h"

struct config_sources;

#define CONFIG_EDIT_ADD (-1)

struct config_edit {
	unsigned file; /* of config_texts */
	/* The service itself, to be added behind the others of the file: a JSON object. NULL: all
	 * else is about a service that is there. */
	const char *added_service;
	unsigned service;    /* its number in the `services` of the file */
	bool remove_service; /* then what follows is not looked at */
	int backend;         /* its index in the service; CONFIG_EDIT_ADD: a new one */
	bool remove;
	bool has_weight, has_drain;
	uint32_t weight;
	bool drain;
	/* of a new one, which has a weight */
	struct addr address;
	const struct config_tag *tag; /* NULL: neither name nor zone nor labels */
	uint8_t priority;
	bool backup;
	uint16_t port;                      /* 0: none of its own */
	const struct config_target *target; /* NULL: as the service says */
};

/* The texts must be a valid config. Those that edits are about are replaced by the changed ones,
 * which changed (of as many) then tells. trees: of the texts, which are of no use after it;
 * NULL: they are made here. 0, -ENOMEM, or -EINVAL if a text is written in a way that
 * cannot be changed (aliases): then some may be changed. Callers check the result by reading it. */
int config_edit_texts(struct config_texts *texts, struct config_sources *trees,
		      const struct config_edit *edits, unsigned count, bool *changed,
		      struct error *err);

#endif
