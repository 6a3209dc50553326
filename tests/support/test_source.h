/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One source, followed in the source process, beside a server of HTTP on the loop of the test. The
 * test's main must be able to become the source process. */
#ifndef LBD_TEST_SOURCE_H
#define LBD_TEST_SOURCE_H

#include <event2/http.h>

#include "lbd/sources/process.h"

#define TEST_SOURCE_PATIENCE_MS 60000

extern char test_source_url[64]; /* of the server */
/* What was reported last: "10.0.0.1/100 10.0.0.2/50/NAME", with " ignored 2: WHY", or "failed:
 * WHY". */
extern char test_source_said[4096];
extern unsigned test_source_reports;

typedef void test_source_answer_fn(struct evhttp_request *request, void *arg);

int test_source_up(test_source_answer_fn *answer);
/* What is reported goes to these, not to test_source_said. */
int test_source_up_for(test_source_answer_fn *answer, source_report_fn *report,
		       source_done_fn *done);
void test_source_down(void);
/* from outlives it. The run, for source_process_order. */
void *test_source_follow(const char *kind, const struct config_from *from);

struct event_base *test_source_base(void);
/* How long the test may wait from now on, for test_source_turn. */
uint64_t test_source_patience(void);
/* Serves for a moment; fails the test when until is over. */
void test_source_turn(uint64_t until);
/* Until what was reported last contains this. */
void test_source_wait(const char *expected);
/* Until it is this. */
void test_source_expect(const char *expected);

/* A 200 with the text. */
void test_source_answer(struct evhttp_request *request, const char *text);
/* A stream: its begin; each part; then evhttp_send_reply_end. *watcher is NULL when the client has
 * gone. */
void test_source_stream(struct evhttp_request *request, struct evhttp_request **watcher);
void test_source_tell(struct evhttp_request *watcher, const char *text);

#endif
