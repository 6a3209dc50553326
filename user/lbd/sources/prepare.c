/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the files of a source, which may keep it waiting. */
#include "prepare.h"

#include <stddef.h>

#include "lbd/host/host.h"

/* It shares nothing with the loop. */
static void read_prepared(void *arg)
{
	struct source_prepared *prepared = arg;

	prepared->rc = prepared->kind->prepare(&prepared->from, &prepared->err);
}

void source_prepare(const struct source_kind *kind, const struct config_from *from, bool beside,
		    struct source_prepared *ret)
{
	*ret = (struct source_prepared){.kind = kind};
	ret->rc = config_from_copy(from, &ret->from);
	if (ret->rc)
		error_set(&ret->err, ret->rc, "out of memory");
	else if (kind->prepare && beside)
		task_wait(read_prepared, ret);
	else if (kind->prepare)
		read_prepared(ret);
	if (ret->rc)
		config_from_done(&ret->from);
}
