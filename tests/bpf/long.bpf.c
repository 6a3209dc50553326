/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The product's program with the long path alone, for support/twin.h. */
#define LB_STRAIGHT_ON 0
#include "bpf/lb.bpf.c"
