/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests over netlink, one at a time, with a timeout. */
#ifndef LBD_NETLINK_H
#define LBD_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdint.h>

#define NETLINK_ANSWER 32768

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER];
};

typedef void netlink_answer_fn(void *arg, const struct nlmsghdr *message);

/* family: NETLINK_ROUTE, ... 0 or -errno. */
int netlink_init(struct netlink *netlink, int family);
/* Also of one that is all 0, or whose netlink_init failed. */
void netlink_done(struct netlink *netlink);
/* Sends a request and calls fn, unless that is NULL, for each message of the answer. 0 or -errno:
 * the kernel's, -ETIMEDOUT, or -EINTR: what a dump lists changed meanwhile. */
int netlink_request(struct netlink *netlink, struct nlmsghdr *message, netlink_answer_fn *fn,
		    void *arg);

#endif
