/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A network device's features (ethtool -k), read and switched through the ethtool ioctl. */
#ifndef LBD_ETHTOOL_H
#define LBD_ETHTOOL_H

#include <stdbool.h>

#define ETHTOOL_DRIVER 32

/* The place of a feature in the kernel's table, by the kernel's name for it ("rx-lro"); the same
 * for every device. -ENOENT: this kernel has none of that name; else -errno. */
int ethtool_feature_find(const char *feature);
/* Is it on? 0 with *ret set, or -errno. feature: from ethtool_feature_find. */
int ethtool_feature_read(const char *device, int feature, bool *ret);
/* 0 when it is as wanted afterwards; -EOPNOTSUPP when the driver keeps it otherwise; else
 * -errno. */
int ethtool_feature_set(const char *device, int feature, bool on);
/* The driver's name; "" when it has none. */
void ethtool_driver(const char *device, char ret[ETHTOOL_DRIVER]);

#endif
