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

#include "cleanup.h"

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

/* The number of names in a set (ETH_SS_FEATURES, ETH_SS_STATS) of a device. 0 or -errno. */
static int count_names(const char *device, unsigned set, unsigned *ret)
{
	struct {
		struct ethtool_sset_info head;
		__u32 count;
	} info = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << set}};
	int rc = request(device, &info);

	if (rc)
		return rc;
	*ret = info.head.sset_mask ? info.count : 0;
	return 0;
}

/* The kernel writes as many as the device has by then, whatever the length: it may have more queues
 * than when they were counted. */
static size_t room_for(unsigned count)
{
	return 2 * (size_t)count + 4096;
}

/* The names, to be freed. 0 or -errno. */
static int read_names(const char *device, unsigned set, struct ethtool_gstrings **ret)
{
	struct ethtool_gstrings *names;
	unsigned count;
	int rc = count_names(device, set, &count);

	if (rc)
		return rc;
	names = calloc(1, sizeof(*names) + room_for(count) * ETH_GSTRING_LEN);
	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = set;
	names->len = count;
	rc = request(device, names);
	if (names->len > count)
		names->len = count;
	if (rc)
		free(names);
	else
		*ret = names;
	return rc;
}

static const char *name_at(const struct ethtool_gstrings *names, unsigned i)
{
	return (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;
}

/* lo exists in every network namespace. */
int ethtool_feature_find(const char *feature)
{
	_cleanup_free_ struct ethtool_gstrings *names = NULL;
	int rc = read_names("lo", ETH_SS_FEATURES, &names);

	if (rc)
		return rc;
	for (unsigned i = 0; i < names->len && i < WORDS * 32; i++)
		if (!strncmp(name_at(names, i), feature, ETH_GSTRING_LEN))
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

static bool ends_with(const char *name, const char *ending)
{
	size_t length = strnlen(name, ETH_GSTRING_LEN), tail = strlen(ending);

	return length >= tail && !memcmp(name + length - tail, ending, tail);
}

int ethtool_sum_stats(const char *device, const char *const *endings, unsigned count,
		      uint64_t *ret_sums)
{
	_cleanup_free_ struct ethtool_gstrings *names = NULL;
	_cleanup_free_ struct ethtool_stats *stats = NULL;
	int rc = read_names(device, ETH_SS_STATS, &names);

	if (rc)
		return rc;
	stats = calloc(1, sizeof(*stats) + room_for(names->len) * sizeof(__u64));
	if (!stats)
		return -ENOMEM;
	stats->cmd = ETHTOOL_GSTATS;
	stats->n_stats = names->len;
	rc = request(device, stats);
	if (rc)
		return rc;
	for (unsigned of = 0; of < count; of++)
		ret_sums[of] = 0;
	for (unsigned i = 0; i < names->len && i < stats->n_stats; i++)
		for (unsigned of = 0; of < count; of++)
			if (ends_with(name_at(names, i), endings[of]))
				ret_sums[of] += stats->data[i];
	return 0;
}

void ethtool_driver(const char *device, char ret[ETHTOOL_DRIVER])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	if (request(device, &info))
		info.driver[0] = 0;
	snprintf(ret, ETHTOOL_DRIVER, "%s", info.driver);
}
