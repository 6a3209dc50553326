/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files and descriptors in tests. */
#ifndef LBD_TEST_FILE_H
#define LBD_TEST_FILE_H

/* Writes text to path, in place of what was there. Fails the test if it cannot. */
void test_file_put(const char *path, const char *text);
/* Fails the test unless the file has this text, of less than 4 KiB. */
void test_file_is(const char *path, const char *expected);
/* How many descriptors this process has, of those below 1024. */
unsigned test_file_descriptors(void);

#endif
