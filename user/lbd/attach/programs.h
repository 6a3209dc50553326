/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What loading the programs beside the main one has in common: losses, checksums, detour. */
#ifndef LBD_PROGRAMS_H
#define LBD_PROGRAMS_H

#include <bpf/libbpf.h>
#include <stdint.h>

/* Where libbpf's lines go that this thread causes, until programs_print_as_usual. NULL: nowhere, as
 * failures are in the error and its lines add nothing. */
void programs_print_to(libbpf_print_fn_t to);
void programs_print_as_usual(void);
/* This network namespace, as the kernel's number that programs compare. 0 or -errno. */
int programs_namespace(uint32_t *ret);

#endif
