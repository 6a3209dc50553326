/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A struct attach that a test makes itself, in parts, and a program for its interfaces. */
#ifndef LBD_TEST_ATTACH_MADE_H
#define LBD_TEST_ATTACH_MADE_H

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdlib.h>

#include "lbd/attach/internal.h"

static void free_parts(struct attach *attach)
{
	offloads_free(attach->offloads);
	netdev_close(attach->netdev);
	netdev_close(attach->asking);
	losses_free(attach->losses);
	checksums_free(attach->checksums);
	for (unsigned i = 0; i < attach->count; i++)
		sentences_free(attach->list[i].hints);
	free(attach->list);
	free(attach->egresses);
}

/* A descriptor, or -errno. */
static int load_pass(void)
{
	const struct bpf_insn pass[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT}};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);
}

#endif
