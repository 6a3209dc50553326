/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Asks the generic netlink family "netdev" for the XDP features of a device. */
#include "netdev.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <stdbool.h>
#include <stdlib.h>

#include "netlink.h"

/* From the kernel's include/uapi/linux/netdev.h, which headers before 6.3 lack. */
#define FAMILY      "netdev"
#define VERSION     1
#define CMD_DEV_GET 1
#define A_IFINDEX   1
#define A_FEATURES  3

struct netdev {
	struct netlink netlink;
	uint16_t family;
};

static struct nlmsghdr *put_request(char *buffer, uint16_t type, uint8_t command, uint8_t version)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = version;
	return message;
}

static void read_family(void *arg, const struct nlmsghdr *message)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
		    mnl_attr_get_payload_len(attr) >= 2)
			*(uint16_t *)arg = mnl_attr_get_u16(attr);
	}
}

static int find_family(struct netdev *netdev)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *message = put_request(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int rc;

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, FAMILY);
	rc = netlink_request(&netdev->netlink, message, read_family, &netdev->family);
	if (rc == -ENOENT || (!rc && !netdev->family))
		return -EOPNOTSUPP;
	return rc;
}

int netdev_open(struct netdev **ret)
{
	struct netdev *netdev = calloc(1, sizeof(*netdev));
	int rc;

	if (!netdev)
		return -ENOMEM;
	rc = netlink_init(&netdev->netlink, NETLINK_GENERIC);
	if (!rc)
		rc = find_family(netdev);
	if (rc) {
		netdev_close(netdev);
		return rc;
	}
	*ret = netdev;
	return 0;
}

void netdev_close(struct netdev *netdev)
{
	if (!netdev)
		return;
	netlink_done(&netdev->netlink);
	free(netdev);
}

struct features {
	bool found;
	uint64_t bits;
};

static void read_features(void *arg, const struct nlmsghdr *message)
{
	struct features *features = arg;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attr) != A_FEATURES || mnl_attr_get_payload_len(attr) < 8)
			continue;
		features->bits = mnl_attr_get_u64(attr);
		features->found = true;
	}
}

int netdev_xdp_features(struct netdev *netdev, uint32_t ifindex, uint64_t *ret)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct features features = {0};
	struct nlmsghdr *message;
	int rc;

	if (!netdev)
		return -EOPNOTSUPP;
	message = put_request(buffer, netdev->family, CMD_DEV_GET, VERSION);
	mnl_attr_put_u32(message, A_IFINDEX, ifindex);
	rc = netlink_request(&netdev->netlink, message, read_features, &features);
	if (!rc && !features.found)
		rc = -EOPNOTSUPP;
	if (!rc)
		*ret = features.bits;
	return rc;
}
