/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks keys and types of a config's tree against a libcyaml schema. libcyaml checks the same, but
 * its errors name neither the object nor what was expected. */
#ifndef LBD_CONFIG_SHAPE_H
#define LBD_CONFIG_SHAPE_H

#include <cyaml/cyaml.h>

#include "source.h"

#define CONFIG_MAX_TEXT 1023 /* bytes of one value */

/* Types handled: mapping, sequence, string, enum, flags; required keys: sequence, enum. load.c
 * takes a tree that passes as it is. 0, or -EINVAL with source->complaint set. */
int config_shape_check(struct config_source *source, const cyaml_schema_value_t *schema);
/* The same, and takes out of the tree what cannot be loaded: keys, and items without a required
 * key. 0: what is left can be, also after complaints. */
int config_shape_prune(struct config_source *source, const cyaml_schema_value_t *schema);

#endif
