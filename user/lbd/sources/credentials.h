/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a source shows to its servers, and whom it trusts: files, which the process without rights
 * cannot read. In lbd. */
#ifndef LBD_SOURCES_CREDENTIALS_H
#define LBD_SOURCES_CREDENTIALS_H

#include "common/error.h"
#include "lbd/config/config.h"

/* For source_kind.prepare: the paths of ca, cert, key and token become what is in the files. 0, or
 * -errno with err set. */
int credentials_read(struct config_from *from, struct error *err);

#endif
