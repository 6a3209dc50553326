/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config of a fleet in etcd, and its rollout, as people read it: of GET /v1/fleet or
 * /v1/status. */
#ifndef LBCTL_ROLLOUT_H
#define LBCTL_ROLLOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define ROLLOUT_LINE 2048

/* "revision 17 is in force", or why not; is_bad: an operator should know. */
void rollout_describe(const json_t *config, char text[ROLLOUT_LINE], bool *ret_is_bad);
/* The config and the table of its nodes. 0 or -ENOMEM with err set. */
int rollout_print(const json_t *config, struct error *err);
/* "1 of 3 nodes done" of a rollout. */
void rollout_count(const json_t *rollout, char *text, size_t size);

#endif
