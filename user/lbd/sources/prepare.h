/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a kind of source makes of a config before it is started, and now and then while it runs. In
 * lbd. */
#ifndef LBD_SOURCES_PREPARE_H
#define LBD_SOURCES_PREPARE_H

#include "kind.h"

#define PREPARE_MS 20000 /* from one look at a source's files to the next, while it works */

struct source_prepared {
	const struct source_kind *kind;
	struct config_from from; /* for config_from_done; rc is set: empty */
	struct error err;
	int rc;
};

/* beside: the loop may run meanwhile. */
void source_prepare(const struct source_kind *kind, const struct config_from *from, bool beside,
		    struct source_prepared *ret);

#endif
