/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Features of network devices through the ethtool ioctl: found by name once, then bits in words. */
#include "ethtool.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"

#define WORDS 8 /* of 32 features each; the kernel uses 2 */

static int request(const char *device, void *command)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	request.ifr_data = command;
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

/* The number of features; lo exists in every network namespace. 0 or -errno. */
static int count_names(unsigned *ret)
{
	struct {
		struct ethtool_sset_info head;
		__u32 count;
	} info = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES}};
	int rc = request("lo", &info);

	if (rc)
		return rc;
	*ret = info.head.sset_mask ? info.count : 0;
	return 0;
}

int ethtool_feature_find(const char *feature)
{
	_cleanup_free_ struct ethtool_gstrings *names = NULL;
	unsigned count;
	int rc = count_names(&count);

	if (rc)
		return rc;
	names = calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = count;
	rc = request("lo", names);
	if (rc)
		return rc;
	for (unsigned i = 0; i < names->len && i < count && i < WORDS * 32; i++)
		if (!strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, feature,
			     ETH_GSTRING_LEN))
			return (int)i;
	return -ENOENT;
}

int ethtool_feature_read(const char *device, int feature, bool *ret)
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block words[WORDS];
	} get = {.head = {.cmd = ETHTOOL_GFEATURES, .size = WORDS}};
	int rc = request(device, &get);

	if (rc)
		return rc;
	*ret = get.words[feature / 32].active >> feature % 32 & 1;
	return 0;
}

int ethtool_feature_set(const char *device, int feature, bool on)
{
	struct {
		struct ethtool_sfeatures head;
		struct ethtool_set_features_block words[WORDS];
	} set = {.head = {.cmd = ETHTOOL_SFEATURES, .size = (__u32)feature / 32 + 1}};
	bool is_on;
	int rc;

	/* The kernel wants exactly as many words as it has, and returns EINVAL otherwise: starts
	 * with those up to the feature's own, and adds one at a time. */
	set.words[feature / 32].valid = 1u << feature % 32;
	set.words[feature / 32].requested = (__u32)on << feature % 32;
	while ((rc = request(device, &set)) == -EINVAL && set.head.size < WORDS)
		set.head.size++;
	if (rc)
		return rc;
	rc = ethtool_feature_read(device, feature, &is_on);
	return rc ? rc : is_on == on ? 0 : -EOPNOTSUPP;
}

void ethtool_driver(const char *device, char ret[ETHTOOL_DRIVER])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	if (request(device, &info))
		info.driver[0] = 0;
	snprintf(ret, ETHTOOL_DRIVER, "%s", info.driver);
}
