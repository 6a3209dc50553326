/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes backends in the text of a config; everything else of the text stays, comments too. */
#ifndef LBD_CONFIG_EDIT_H
#define LBD_CONFIG_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/error.h"
#include "tag.h"

#define CONFIG_EDIT_ADD (-1)

struct config_edit {
	unsigned service; /* its index in the file */
	int backend;      /* its index in the service; CONFIG_EDIT_ADD: a new one */
	bool remove;
	bool has_weight, has_drain;
	uint32_t weight;
	bool drain;
	struct addr address;          /* of a new one, which has a weight */
	const struct config_tag *tag; /* likewise; NULL: neither name nor labels */
};

/* The text must be a valid config. The changed text in *ret, allocated, of *ret_length bytes. 0,
 * -ENOMEM, or -EINVAL if the text is written in a way that cannot be changed (aliases). Callers
 * check the result by reading it. */
int config_edit_text(const char *text, size_t length, const struct config_edit *edits,
		     unsigned count, char **ret, size_t *ret_length, struct error *err);

#endif
