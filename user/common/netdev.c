/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Asks the generic netlink family "netdev" for the XDP features of a device. */
#include "netdev.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_SECONDS 1
#define ANSWER_MAX     8192

/* From the kernel's include/uapi/linux/netdev.h, which headers before 6.3 lack. */
#define FAMILY      "netdev"
#define VERSION     1
#define CMD_DEV_GET 1
#define A_IFINDEX   1
#define A_FEATURES  3

struct netdev {
	struct mnl_socket *socket;
	uint16_t family;
	uint32_t seq;
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
};

typedef void answer_fn(void *arg, const struct nlattr *attr);

static struct nlmsghdr *put_request(char *buffer, uint16_t type, uint8_t command, uint8_t version)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = version;
	return message;
}

/* 1: more will come; 0: acknowledged; or -errno. */
static int take_answer(const struct netdev *netdev, int length, answer_fn *fn, void *arg)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)netdev->answer;
	const struct nlattr *attr;

	for (; mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length)) {
		if (message->nlmsg_seq != netdev->seq)
			continue; /* the late answer to a request that timed out */
		if (message->nlmsg_type == NLMSG_ERROR) {
			if (mnl_nlmsg_get_payload_len(message) < sizeof(struct nlmsgerr))
				return -EBADMSG;
			return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
		}
		mnl_attr_for_each(attr, message, sizeof(struct genlmsghdr)) fn(arg, attr);
	}
	return 1;
}

static int request(struct netdev *netdev, struct nlmsghdr *message, answer_fn *fn, void *arg)
{
	int more;

	message->nlmsg_seq = ++netdev->seq;
	if (mnl_socket_sendto(netdev->socket, message, message->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t length =
		    mnl_socket_recvfrom(netdev->socket, netdev->answer, sizeof(netdev->answer));

		if (length < 0 && errno == EINTR)
			more = 1;
		else if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		else
			more = take_answer(netdev, (int)length, fn, arg);
	} while (more > 0);
	return more;
}

static void read_family(void *arg, const struct nlattr *attr)
{
	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID && mnl_attr_get_payload_len(attr) >= 2)
		*(uint16_t *)arg = mnl_attr_get_u16(attr);
}

static int find_family(struct netdev *netdev)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *message = put_request(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int rc;

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, FAMILY);
	rc = request(netdev, message, read_family, &netdev->family);
	if (rc == -ENOENT || (!rc && !netdev->family))
		return -EOPNOTSUPP;
	return rc;
}

static int open_socket(struct netdev *netdev)
{
	const struct timeval wait = {.tv_sec = ANSWER_SECONDS};

	netdev->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!netdev->socket || mnl_socket_bind(netdev->socket, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(netdev->socket), SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)))
		return -errno;
	return 0;
}

int netdev_open(struct netdev **ret)
{
	struct netdev *netdev = calloc(1, sizeof(*netdev));
	int rc;

	if (!netdev)
		return -ENOMEM;
	rc = open_socket(netdev);
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
	if (netdev->socket)
		mnl_socket_close(netdev->socket);
	free(netdev);
}

struct features {
	bool found;
	uint64_t bits;
};

static void read_features(void *arg, const struct nlattr *attr)
{
	struct features *features = arg;

	if (mnl_attr_get_type(attr) != A_FEATURES || mnl_attr_get_payload_len(attr) < 8)
		return;
	features->bits = mnl_attr_get_u64(attr);
	features->found = true;
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
	rc = request(netdev, message, read_features, &features);
	if (!rc && !features.found)
		rc = -EOPNOTSUPP;
	if (!rc)
		*ret = features.bits;
	return rc;
}
