/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The head of an HTTP/1.x request. Refuses what can be read in two ways: two lengths, a length with
 * a transfer coding, folded lines, a space before the colon. */
#include "http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

size_t http_head_length(const char *bytes, size_t length, size_t from)
{
	size_t at = from > 2 ? from - 2 : 0;
	const char *line;

	/* The head ends in "\n\n" or "\n\r\n". */
	while (at < length && (line = memchr(bytes + at, '\n', length - at))) {
		at = (size_t)(line - bytes) + 1;
		if (at < length && bytes[at] == '\n')
			return at + 1;
		if (at + 1 < length && bytes[at] == '\r' && bytes[at + 1] == '\n')
			return at + 2;
	}
	return 0;
}

/* Cuts the next line off *rest. NULL at the empty line that ends the head. */
static char *next_line(char **rest)
{
	char *line = *rest, *end = strchr(line, '\n');

	if (!end || end == line || (end == line + 1 && *line == '\r'))
		return NULL;
	*rest = end + 1;
	if (end > line && end[-1] == '\r')
		end--;
	*end = 0;
	return line;
}

static int refuse(int status, const char *why, const char **ret_why)
{
	*ret_why = why;
	return status;
}

static bool is_token(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
			return false;
	return true;
}

static bool is_target(const char *text)
{
	if (*text != '/')
		return false;
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 127)
			return false;
	return true;
}

/* METHOD TARGET HTTP/1.x */
static int parse_first(char *line, struct http_request *request, const char **ret_why)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version)
		return refuse(400, "expected a line METHOD PATH HTTP/1.1", ret_why);
	*target++ = *version++ = 0;
	if (!is_token(line) || !is_target(target))
		return refuse(400, "expected a line METHOD PATH HTTP/1.1", ret_why);
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return refuse(505, "expected HTTP/1.1 or HTTP/1.0", ret_why);
	if (strlen(line) >= sizeof(request->method))
		return refuse(501, "unknown method", ret_why);
	strcpy(request->method, line);
	request->target = target;
	request->has_host = !strcmp(version, "HTTP/1.0");
	return 0;
}

static int parse_length(const char *text, bool *seen, struct http_request *request,
			const char **ret_why)
{
	uint64_t value = 0;

	if (*seen || !*text || strlen(text) > 15)
		return refuse(400, "Content-Length: expected one number", ret_why);
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return refuse(400, "Content-Length: expected one number", ret_why);
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*seen = true;
	request->content_length = value;
	return 0;
}

static int parse_field(const char *name, char *value, bool *has_length,
		       struct http_request *request, const char **ret_why)
{
	if (!strcasecmp(name, "Content-Length"))
		return parse_length(value, has_length, request, ret_why);
	if (!strcasecmp(name, "Transfer-Encoding"))
		return refuse(411, "Transfer-Encoding: expected Content-Length", ret_why);
	if (!strcasecmp(name, "Host")) {
		if (request->host)
			return refuse(400, "Host: given twice", ret_why);
		request->host = value;
		request->has_host = true;
	} else if (!strcasecmp(name, "Authorization")) {
		if (request->authorization)
			return refuse(400, "Authorization: given twice", ret_why);
		request->authorization = value;
	} else if (!strcasecmp(name, "Origin")) {
		request->has_origin = true;
	} else if (!strcasecmp(name, "Expect")) {
		request->expects_continue = !strcasecmp(value, "100-continue");
	}
	return 0;
}

static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && strchr(" \t", end[-1]))
		end--;
	*end = 0;
	return text;
}

static int parse_line(char *line, bool *has_length, struct http_request *request,
		      const char **ret_why)
{
	char *colon = strchr(line, ':');

	/* RFC 9112, section 2.2: some take a CR without LF for the end of a line */
	if (!colon || strchr(line, '\r'))
		return refuse(400, "expected header fields NAME: VALUE", ret_why);
	*colon = 0;
	if (!is_token(line))
		return refuse(400, "expected header fields NAME: VALUE", ret_why);
	return parse_field(line, trim(colon + 1), has_length, request, ret_why);
}

int http_parse(char *head, size_t head_length, struct http_request *ret, const char **ret_why)
{
	struct http_request request = {.head_length = head_length};
	char *rest = head, *line;
	bool has_length = false;
	int status;

	if (memchr(head, 0, head_length))
		return refuse(400, "the request holds a NUL", ret_why);
	line = next_line(&rest);
	status = line ? parse_first(line, &request, ret_why)
		      : refuse(400, "expected a line METHOD PATH HTTP/1.1", ret_why);
	while (!status && (line = next_line(&rest)))
		status = parse_line(line, &has_length, &request, ret_why);
	if (!status && !request.has_host)
		status = refuse(400, "Host: missing", ret_why);
	if (!status)
		*ret = request;
	return status;
}

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
	    {200, "OK"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {403, "Forbidden"},
	    {404, "Not Found"},
	    {405, "Method Not Allowed"},
	    {408, "Request Timeout"},
	    {409, "Conflict"},
	    {411, "Length Required"},
	    {413, "Content Too Large"},
	    {421, "Misdirected Request"},
	    {422, "Unprocessable Entity"},
	    {431, "Request Header Fields Too Large"},
	    {500, "Internal Server Error"},
	    {501, "Not Implemented"},
	    {503, "Service Unavailable"},
	    {505, "HTTP Version Not Supported"},
	    {507, "Insufficient Storage"},
	};

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unknown";
}

bool http_host_name(const char *host, char *ret, size_t size)
{
	bool brackets = *host == '[';
	const char *begin = host + brackets, *end = strchr(begin, brackets ? ']' : ':'), *port;
	size_t length = end ? (size_t)(end - begin) : strlen(begin);

	if (!length || length >= size || (brackets && !end))
		return false;
	port = begin + length + brackets;
	if (*port && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
		return false;
	memcpy(ret, begin, length);
	ret[length] = 0;
	return true;
}

bool http_bearer_is(const char *authorization, const char *token)
{
	size_t given, expected = strlen(token);
	unsigned differs;

	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return false;
	authorization += 7 + strspn(authorization + 7, " ");
	given = strlen(authorization);
	differs = given != expected;
	for (size_t i = 0; i < given; i++)
		differs |= (unsigned char)authorization[i] ^
			   (unsigned char)token[expected ? i % expected : 0];
	return !differs && expected;
}
