/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Why something is as it is, in a sentence for users. Of ten thousand backends most have none, and
 * a backend of the next world has those of the present one: so they are allocated, and shared. */
#ifndef COMMON_REMARK_H
#define COMMON_REMARK_H

#include <stdbool.h>

struct remark; /* NULL: "" */

const char *remark_text(const struct remark *remark);
/* A copy of the text takes the place of *remark, or nothing if it is "". Without memory for it the
 * remark says so. True: it was another one. */
bool remark_set(struct remark **remark, const char *text);
/* from, which may be NULL, is shared. */
void remark_share(struct remark **remark, struct remark *from);
void remark_drop(struct remark **remark); /* then it is NULL */

#endif
