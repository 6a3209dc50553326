/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends and receives messages with a descriptor. */
#include "descriptor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEVERAL 4 /* what is beyond is closed by the kernel */

int descriptor_send(int fd, const void *message, size_t length, int descriptor)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)message, .iov_len = length};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

	if (descriptor >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
		head.msg_control = &control;
		head.msg_controllen = sizeof(control);
	}
	return sendmsg(fd, &head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void take(const struct cmsghdr *header, struct descriptors *came)
{
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		if (came->count++)
			close(fd);
		else
			came->fd = fd;
	}
}

/* One that was cut off counts as well: there were too many, or no number was left for it. */
static void take_all(struct msghdr *head, struct descriptors *came)
{
	struct cmsghdr *header;

	for (header = CMSG_FIRSTHDR(head); header; header = CMSG_NXTHDR(head, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
			take(header, came);
	if (head->msg_flags & MSG_CTRUNC)
		came->count++;
	if (came->count > 1 && came->fd >= 0) {
		close(came->fd);
		came->fd = -1;
	}
}

ssize_t descriptor_receive(int fd, void *message, size_t size, struct descriptors *ret)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(SEVERAL * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = message, .iov_len = size};
	struct msghdr head = {.msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(fd, &head, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);

	*ret = (struct descriptors){.fd = -1};
	if (length >= 0)
		take_all(&head, ret);
	return length;
}
