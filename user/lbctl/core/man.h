/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The man page lbctl.8, generated from the verb table. */
#ifndef LBCTL_MAN_H
#define LBCTL_MAN_H

#include <stdio.h>

void man_generate(FILE *out);

#endif
