/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks that this kernel has what lbd needs. It asks the kernel, not its release number:
 * distributions backport features. */
#ifndef LBD_KERNEL_H
#define LBD_KERNEL_H

#include "common/error.h"

#define KERNEL_OLDEST_TESTED "6.1"

enum kernel_feature {
#define KERNEL_FEATURE(probe, since, what) KERNEL_##probe,
#include "kernel_features.h"
#undef KERNEL_FEATURE
	KERNEL_FEATURES
};

/* Asks the kernel: 0 if it has the feature or the answer is unclear (no permission, no memory),
 * else a negative errno. */
int kernel_probe(enum kernel_feature feature);
/* release: of uname(2). 0, or -EOPNOTSUPP with every missing feature in err. A kernel that is older
 * than KERNEL_OLDEST_TESTED and lacks nothing is accepted with a warning. probe: kernel_probe, or a
 * test's. */
int kernel_check(const char *release, int (*probe)(enum kernel_feature), struct error *err);
/* Warns if the kernel interprets programs instead of compiling them. */
void kernel_check_jit(void);

#endif
