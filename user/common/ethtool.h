/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads and sets features of network devices (ethtool -k) through the ethtool ioctl. */
#ifndef LBD_ETHTOOL_H
#define LBD_ETHTOOL_H

#include <stdbool.h>
#include <stdint.h>

#define ETHTOOL_DRIVER 32

/* The index of a feature by the kernel's name for it ("rx-lro"); the same for every device.
 * -ENOENT: this kernel has no such feature; else -errno. */
int ethtool_feature_find(const char *feature);
/* Is it on? 0 with *ret set, or -errno. feature: from ethtool_feature_find. */
int ethtool_feature_read(const char *device, int feature, bool *ret);
/* 0 if it is set as wanted afterwards; -EOPNOTSUPP if the driver does not change it; else
 * -errno. */
int ethtool_feature_set(const char *device, int feature, bool on);
/* Sums the device's statistics (ethtool -S) whose names end with endings[i] into ret_sums[i]: those
 * of all its queues. 0 or -errno; -EOPNOTSUPP: it has no statistics. */
int ethtool_sum_stats(const char *device, const char *const *endings, unsigned count,
		      uint64_t *ret_sums);
/* The driver's name; "" if it has none. */
void ethtool_driver(const char *device, char ret[ETHTOOL_DRIVER]);

#endif
