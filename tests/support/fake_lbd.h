/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* In place of lbd: a child process that gives prepared answers on a Unix socket and logs the
 * requests. */
#ifndef LBD_TEST_FAKE_LBD_H
#define LBD_TEST_FAKE_LBD_H

#include <stddef.h>
#include <sys/types.h>

struct fake_answer {
	const char *request; /* "GET /v1/status", with the query if there is one; NULL: the end */
	int status;
	const char *body; /* NULL: the connection is closed without an answer */
};

struct fake_lbd {
	pid_t child;
	char directory[32], socket[48], log[48];
};

/* Several answers to one request are given in turn, and the last one from then on. An unknown
 * request gets a 404. 0 or -errno. */
int fake_lbd_start(struct fake_lbd *fake, const struct fake_answer *answers);
/* The requests so far, one a line: "POST /v1/reload {}". */
void fake_lbd_requests(const struct fake_lbd *fake, char *text, size_t size);
void fake_lbd_stop(struct fake_lbd *fake);

#endif
