/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/api/http.c: the head of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/api/http.h"

static char head[HTTP_HEAD_MAX];
static struct http_request request;

/* The status; fails if the text is no whole head. */
static int parse(const char *text)
{
	size_t length = strlen(text);
	const char *why = NULL;
	int status;

	snprintf(head, sizeof(head), "%s", text);
	assert_int_equal(http_head_length(head, length, 0), length);
	memset(&request, 0, sizeof(request));
	status = http_parse(head, length, &request, &why);
	if (status) {
		assert_non_null(why);
		assert_int_equal(request.head_length, 0);
	}
	return status;
}

static void a_head_is_whole_with_its_empty_line_and_not_before(void **unused)
{
	const char *text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
	size_t whole = strlen(text) - 4;

	for (size_t length = 0; length <= strlen(text); length++) {
		size_t expected = length < whole ? 0 : whole;

		assert_int_equal(http_head_length(text, length, 0), expected);
		for (size_t from = 0; from < whole && from < length; from++)
			assert_int_equal(http_head_length(text, length, from), expected);
	}
	assert_int_equal(http_head_length("GET / HTTP/1.0\n\n", 16, 0), 16);
}

static void fields_are_read_without_regard_to_case(void **unused)
{
	assert_int_equal(parse("POST /v1/reload?a=b HTTP/1.1\r\nhOsT: lbd\r\n"
			       "content-LENGTH:  12 \r\nAuthorization: Bearer x\r\n"
			       "expect: 100-Continue\r\nX-Other: y\r\n\r\n"),
			 0);
	assert_string_equal(request.method, "POST");
	assert_string_equal(request.target, "/v1/reload?a=b");
	assert_string_equal(request.host, "lbd");
	assert_string_equal(request.authorization, "Bearer x");
	assert_int_equal(request.content_length, 12);
	assert_true(request.expects_continue);
}

static void http_1_1_needs_a_host_and_1_0_does_not(void **unused)
{
	assert_int_equal(parse("GET / HTTP/1.1\r\n\r\n"), 400);
	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 0);
	assert_null(request.host);
}

static void what_can_be_read_in_two_ways_is_refused(void **unused)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
	    {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
	    {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n: a\r\n\r\n", 400},
	    {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	    {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 505},
	    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	    {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	    {"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	    {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	    {"GET / \r\nHost: a\r\n\r\n", 505},
	    {"GET /\r\n\r\n", 400},
	    {"ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
	    {"\r\n\r\n", 400},
	    {"\n\n", 400},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (parse(cases[i].text) != cases[i].status)
			fail_msg("%s: expected %d", cases[i].text, cases[i].status);
}

static void a_nul_in_the_head_is_refused(void **unused)
{
	char text[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
	const char *why;

	assert_int_equal(http_parse(text, sizeof(text) - 1, &request, &why), 400);
}

static void a_host_field_gives_the_name_without_port_and_brackets(void **unused)
{
	static const struct {
		const char *field, *name; /* NULL: refused */
	} cases[] = {
	    {"localhost", "localhost"},
	    {"localhost:9469", "localhost"},
	    {"127.0.0.1:1", "127.0.0.1"},
	    {"[::1]:9469", "::1"},
	    {"[::1]", "::1"},
	    {"lb1.example.com:", "lb1.example.com"},
	    {"", NULL},
	    {":80", NULL},
	    {"[::1", NULL},
	    {"[]", NULL},
	    {"a:80b", NULL},
	    {"[::1]x", NULL},
	    {"::1", NULL},
	    {"01234567890123456789012345678901", NULL},
	};
	char name[32];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool valid = http_host_name(cases[i].field, name, sizeof(name));

		if (valid != !!cases[i].name || (valid && strcmp(name, cases[i].name) != 0))
			fail_msg("Host: %s", cases[i].field);
	}
}

static void only_the_whole_token_is_the_token(void **unused)
{
	assert_true(http_bearer_is("Bearer secret-of-16-bytes", "secret-of-16-bytes"));
	assert_true(http_bearer_is("bearer  secret-of-16-bytes", "secret-of-16-bytes"));
	assert_false(http_bearer_is(NULL, "secret-of-16-bytes"));
	assert_false(http_bearer_is("", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer ", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Basic secret-of-16-bytes", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer secret-of-16-byte", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer secret-of-16-bytess", "secret-of-16-bytes"));
	assert_false(
	    http_bearer_is("Bearer secret-of-16-bytessecret-of-16-bytes", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer Secret-of-16-bytes", "secret-of-16-bytes"));
	assert_false(http_bearer_is("Bearer ", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_head_is_whole_with_its_empty_line_and_not_before),
	    cmocka_unit_test(fields_are_read_without_regard_to_case),
	    cmocka_unit_test(http_1_1_needs_a_host_and_1_0_does_not),
	    cmocka_unit_test(what_can_be_read_in_two_ways_is_refused),
	    cmocka_unit_test(a_nul_in_the_head_is_refused),
	    cmocka_unit_test(a_host_field_gives_the_name_without_port_and_brackets),
	    cmocka_unit_test(only_the_whole_token_is_the_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
