/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What loading the programs beside the main one has in common: losses, checksums, detour. */
#ifndef LBD_PROGRAMS_H
#define LBD_PROGRAMS_H

#include <bpf/libbpf.h>
#include <stdint.h>

/* Keeps libbpf from printing: failures are in the error, and its own lines add nothing. Returns
 * what was there before, for libbpf_set_print. */
libbpf_print_fn_t programs_quiet(void);
/* This network namespace, as the kernel's number that programs compare. 0 or -errno. */
int programs_namespace(uint32_t *ret);

#endif
