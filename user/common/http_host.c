/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "http_host.h"

#include <string.h>

#include "addr.h"

#define HOST_MAX 255

/* It becomes a part of a URL, in which the others would have a meaning. */
bool http_host_is_name(const char *text)
{
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("/:@?#%[]\\", *at))
			return false;
	return *text && strlen(text) <= HOST_MAX;
}

/* "" or ":8080" */
static bool is_port_or_none(const char *text)
{
	size_t digits = *text ? strspn(text + 1, "0123456789") : 0;

	return !*text || (*text == ':' && digits && digits <= 5 && !text[1 + digits]);
}

/* The address in the brackets. */
static bool is_ipv6(const char *text, size_t length)
{
	char inside[ADDR_TEXT];
	struct addr address;

	if (length >= sizeof(inside))
		return false;
	memcpy(inside, text, length);
	inside[length] = 0;
	return !addr_parse(inside, &address) && address.family == 6;
}

size_t http_host_name_length(const char *host)
{
	size_t brackets = *host == '[' ? strcspn(host, "]") : 0;

	return brackets + strcspn(host + brackets, ":");
}

bool http_host_fits(const char *text)
{
	size_t length = http_host_name_length(text);
	char name[HOST_MAX + 1];

	if (strlen(text) > HOST_MAX || !is_port_or_none(text + length))
		return false;
	if (*text == '[')
		return text[length - 1] == ']' && is_ipv6(text + 1, length - 2);
	memcpy(name, text, length);
	name[length] = 0;
	return http_host_is_name(name);
}
