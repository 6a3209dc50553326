/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Kernel features that lbd needs, oldest first: KERNEL_FEATURE(probe in kernel.c, release that
 * brought it, description). No include guard: it is a list. */
/* clang-format off */
KERNEL_FEATURE(bpf,         "3.18", "the bpf system call (CONFIG_BPF_SYSCALL)")
KERNEL_FEATURE(xdp,         "4.8",  "XDP programs (CONFIG_NET, CONFIG_BPF_SYSCALL)")
KERNEL_FEATURE(devmap_hash, "5.4",  "XDP redirects by interface number (maps of type DEVMAP_HASH)")
KERNEL_FEATURE(mmapable,    "5.5",  "maps that lbd writes in memory (BPF_F_MMAPABLE)")
KERNEL_FEATURE(coarse_time, "5.11", "the coarse clock in programs (bpf_ktime_get_coarse_ns)")
KERNEL_FEATURE(frags,       "5.18", "XDP on frames in several buffers (BPF_F_XDP_HAS_FRAGS, bpf_xdp_get_buff_len)")
/* clang-format on */
