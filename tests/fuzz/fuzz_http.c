/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libFuzzer entry for the request parser of control socket and metrics: any bytes, however they are
 * cut into reads, give the same head; a parsed head is consistent, a refused one has a status and a
 * reason. */
#include <stdlib.h>
#include <string.h>

#include "lbd/api/http.h"
#include "fuzz.h"

/* A text of one line, in the head; NULL is fine. */
static bool inside(const char *text, const char *head, size_t length)
{
	return !text ||
	       (text >= head && text + strlen(text) < head + length && !strpbrk(text, "\r\n"));
}

/* As a face asks: each time with the length it had before. */
static size_t length_in_reads(const char *bytes, size_t size, size_t step)
{
	size_t before = 0, length;

	for (size_t have = step; before < size; have += step) {
		length = http_head_length(bytes, have < size ? have : size, before);
		if (length)
			return length;
		before = have < size ? have : size;
	}
	return 0;
}

static void check_request(const struct http_request *request, const char *head, size_t length)
{
	char name[64];

	require(request->head_length == length, "%zu, not %zu", request->head_length, length);
	require(memchr(request->method, 0, sizeof(request->method)), "a method without an end");
	require(*request->method && *request->target == '/', "\"%s\"", request->target);
	require(inside(request->target, head, length) && inside(request->host, head, length) &&
		    inside(request->authorization, head, length),
		"a field outside the head");
	require(request->has_host, "no host");
	if (request->host && http_host_name(request->host, name, sizeof(name)))
		require(*name && strlen(name) < sizeof(name), "host \"%s\"", request->host);
	require(!http_bearer_is(request->authorization, "not in any corpus, I hope"), "\"%s\"",
		request->authorization);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request request = {.head_length = 0};
	char *copy = malloc(size + 1), *head;
	const char *why = NULL;
	size_t length;
	int status;

	memcpy(copy, data, size);
	length = http_head_length(copy, size, 0);
	for (size_t step = 1; step < 8; step++)
		require(length_in_reads(copy, size, step) == length, "step %zu", step);
	if (length) {
		head = malloc(length); /* the sanitizer sees a read beyond it */
		memcpy(head, copy, length);
		status = http_parse(head, length, &request, &why);
		if (status)
			require(why && *why && strcmp(http_status_text(status), "Unknown") != 0,
				"status %d", status);
		else
			check_request(&request, head, length);
		free(head);
	}
	free(copy);
	return 0;
}
