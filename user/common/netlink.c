/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests over netlink, one at a time, with a timeout. */
#include "netlink.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_SECONDS 1

int netlink_init(struct netlink *netlink, int family)
{
	const struct timeval wait = {.tv_sec = ANSWER_SECONDS};
	int rc;

	netlink->seq = 0;
	netlink->socket = mnl_socket_open2(family, SOCK_CLOEXEC);
	if (netlink->socket && !mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) &&
	    !setsockopt(mnl_socket_get_fd(netlink->socket), SOL_SOCKET, SO_RCVTIMEO, &wait,
			sizeof(wait)))
		return 0;
	rc = -errno;
	netlink_done(netlink);
	return rc;
}

void netlink_done(struct netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

/* Calls fn for the messages of one datagram that answer the last request. 1: more will come; 0: the
 * answer is complete; or -errno. */
static int take_answer(struct netlink *netlink, int length, netlink_answer_fn *fn, void *arg)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)netlink->answer;
	int interrupted = 0;

	for (; mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length)) {
		if (message->nlmsg_seq != netlink->seq)
			continue; /* the late answer to a request that timed out */
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			interrupted = -EINTR;
		if (message->nlmsg_type == NLMSG_ERROR) {
			if (mnl_nlmsg_get_payload_len(message) < sizeof(struct nlmsgerr))
				return -EBADMSG;
			return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
		}
		if (message->nlmsg_type == NLMSG_DONE)
			return interrupted;
		if (fn)
			fn(arg, message);
		if (!(message->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return interrupted ? interrupted : 1;
}

int netlink_request(struct netlink *netlink, struct nlmsghdr *message, netlink_answer_fn *fn,
		    void *arg)
{
	ssize_t length;
	int more;

	message->nlmsg_seq = ++netlink->seq;
	if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
		return -errno;
	do {
		do
			length = mnl_socket_recvfrom(netlink->socket, netlink->answer,
						     sizeof(netlink->answer));
		while (length < 0 && errno == EINTR);
		if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		more = take_answer(netlink, (int)length, fn, arg);
	} while (more > 0);
	return more;
}
