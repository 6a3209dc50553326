/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* batch.bpf.c with a hash of few bits, so that tuples collide. */
#include "support/batch_abi.h"

#define LB_HASH_FINAL(h) BATCH_NARROW(h)
#include "batch.bpf.c"
