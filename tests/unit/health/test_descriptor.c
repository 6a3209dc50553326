/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages with a descriptor: one arrives, none is expected and none comes, and no more than one is
 * ever left open. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lbd/health/descriptor.h"
#include "support/test_file.h"

#define MOST 253 /* descriptors in one message: SCM_MAX_FD */

static int ends[2];
static int passed_on; /* what is sent */

static void assert_same_file(int a, int b)
{
	struct stat of_a, of_b;

	assert_int_equal(fstat(a, &of_a), 0);
	assert_int_equal(fstat(b, &of_b), 0);
	assert_int_equal(of_a.st_ino, of_b.st_ino);
	assert_int_equal(of_a.st_dev, of_b.st_dev);
}

static int begin(void **state)
{
	passed_on = socket(AF_UNIX, SOCK_STREAM, 0);
	return passed_on < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static int end(void **state)
{
	return close(ends[0]) || close(ends[1]) || close(passed_on);
}

static void send_several(unsigned count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)"x", .iov_len = 1};
	struct msghdr head = {.msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = CMSG_SPACE(count * sizeof(int))};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &passed_on, sizeof(int));
	assert_int_equal(sendmsg(ends[0], &head, 0), 1);
}

static void message_without_a_descriptor_brings_none(void **state)
{
	struct descriptors came;
	char text[8];

	assert_int_equal(descriptor_send(ends[0], "abc", 3, -1), 0);
	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(came.count, 0);
	assert_int_equal(came.fd, -1);
}

static void descriptor_comes_with_its_message(void **state)
{
	struct descriptors came;
	char text[8];

	assert_int_equal(descriptor_send(ends[0], "a", 1, -1), 0);
	assert_int_equal(descriptor_send(ends[0], "b", 1, passed_on), 0);
	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 1);
	assert_int_equal(came.count, 0);
	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 1);
	assert_int_equal(text[0], 'b');
	assert_int_equal(came.count, 1);
	assert_same_file(came.fd, passed_on);
	assert_int_equal(fcntl(came.fd, F_GETFD), FD_CLOEXEC);
	close(came.fd);
}

/* Both those for which there is room in the message's buffer and those beyond. */
static void several_descriptors_are_counted_and_closed(void **state)
{
	static const unsigned counts[] = {2, 3, 4, 5, 6, MOST};
	unsigned before = test_file_descriptors();

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct descriptors came;
		char text[8];

		send_several(counts[i]);
		assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 1);
		assert_true(came.count > 1);
		assert_int_equal(came.fd, -1);
		assert_int_equal(test_file_descriptors(), before);
	}
}

static void flood_of_descriptors_leaves_none_open(void **state)
{
	unsigned before = test_file_descriptors();

	for (unsigned i = 0; i < 1000; i++) {
		struct descriptors came;
		char text[8];

		send_several(MOST);
		assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 1);
		assert_int_equal(came.fd, -1);
	}
	assert_int_equal(test_file_descriptors(), before);
}

static void descriptor_that_finds_no_number_is_counted_as_lost(void **state)
{
	struct descriptors came;
	struct rlimit limit, low;
	ssize_t length;
	int lowest;
	char text[8];

	assert_int_equal(descriptor_send(ends[0], "abc", 3, passed_on), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	lowest = dup(0);
	close(lowest);
	low = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	length = descriptor_receive(ends[1], text, sizeof(text), &came);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(length, 3);
	assert_int_equal(came.count, 1);
	assert_int_equal(came.fd, -1);
}

static void longer_message_shows_its_length(void **state)
{
	struct descriptors came;
	char text[2];

	assert_int_equal(descriptor_send(ends[0], "abcdef", 6, passed_on), 0);
	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 6);
	assert_int_equal(came.count, 1);
	close(came.fd);
}

static void neither_side_waits(void **state)
{
	struct descriptors came;
	char text[2];
	int rc;

	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(came.fd, -1);
	do
		rc = descriptor_send(ends[0], "a", 1, -1);
	while (!rc);
	assert_int_equal(rc, -EAGAIN);
}

static void end_of_the_other_side_is_seen(void **state)
{
	struct descriptors came;
	char text[2];

	close(ends[0]);
	assert_int_equal(descriptor_receive(ends[1], text, sizeof(text), &came), 0);
	assert_int_equal(descriptor_send(ends[1], "a", 1, passed_on), -EPIPE);
	ends[0] = dup(passed_on);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(message_without_a_descriptor_brings_none),
	    TEST(descriptor_comes_with_its_message),
	    TEST(several_descriptors_are_counted_and_closed),
	    TEST(flood_of_descriptors_leaves_none_open),
	    TEST(descriptor_that_finds_no_number_is_counted_as_lost),
	    TEST(longer_message_shows_its_length),
	    TEST(neither_side_waits),
	    TEST(end_of_the_other_side_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
