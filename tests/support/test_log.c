/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the code under test logs. */
#include "test_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

void test_log_begin(struct test_log *log)
{
	log->stderr_fd = dup(STDERR_FILENO);
	log->file = memfd_create("log", MFD_CLOEXEC);
	assert_true(log->stderr_fd >= 0 && log->file >= 0);
	assert_true(dup2(log->file, STDERR_FILENO) >= 0);
}

const char *test_log_read(struct test_log *log)
{
	ssize_t length = pread(log->file, log->text, sizeof(log->text) - 1, 0);

	log->text[length > 0 ? length : 0] = 0;
	return log->text;
}

const char *test_log_end(struct test_log *log)
{
	assert_true(dup2(log->stderr_fd, STDERR_FILENO) >= 0);
	test_log_read(log);
	close(log->stderr_fd);
	close(log->file);
	return log->text;
}
