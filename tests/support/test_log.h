/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the code under test logs. */
#ifndef LBD_TEST_LOG_H
#define LBD_TEST_LOG_H

struct test_log {
	int stderr_fd, file;
	char text[65536];
};

/* From here to test_log_end stderr goes to a file. Both fail the test if they cannot. */
void test_log_begin(struct test_log *log);
/* The text so far. */
const char *test_log_read(struct test_log *log);
/* All of the text, which stays in log. */
const char *test_log_end(struct test_log *log);

#endif
