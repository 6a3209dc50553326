/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A tree as the structs of a libcyaml schema. */
#ifndef LBD_CONFIG_LOAD_H
#define LBD_CONFIG_LOAD_H

#include <cyaml/cyaml.h>

#include "source.h"

/* What cyaml_load_data makes of the text of the tree, which shape.c has found right: *ret belongs
 * to the caller (cyaml_free). The types are those of shape.h. 0 or -ENOMEM; then *ret may be set
 * too, to what there is. */
int config_load_tree(struct config_source *source, const cyaml_schema_value_t *schema, void **ret);

#endif
