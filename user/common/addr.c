/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 and IPv6 addresses as values. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int addr_parse(const char *text, struct addr *ret)
{
	struct addr addr = {0};

	if (inet_pton(AF_INET, text, addr.bytes) == 1)
		addr.family = 4;
	else if (inet_pton(AF_INET6, text, addr.bytes) == 1)
		addr.family = 6;
	else
		return -EINVAL;
	*ret = addr;
	return 0;
}

static bool bits_beyond(const struct addr *addr, unsigned len)
{
	for (unsigned bit = len; bit < addr_length(addr) * 8; bit++)
		if (addr->bytes[bit / 8] & (0x80 >> bit % 8))
			return true;
	return false;
}

int addr_parse_prefix(const char *text, struct addr *ret, unsigned *ret_len)
{
	const char *slash = strchr(text, '/');
	char head[ADDR_TEXT], *end;
	struct addr addr;
	unsigned long len;

	if (!slash || slash - text >= ADDR_TEXT || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	memcpy(head, text, (size_t)(slash - text));
	head[slash - text] = 0;
	if (addr_parse(head, &addr))
		return -EINVAL;
	len = strtoul(slash + 1, &end, 10);
	if (*end || len > addr_length(&addr) * 8 || bits_beyond(&addr, (unsigned)len))
		return -EINVAL;
	*ret = addr;
	*ret_len = (unsigned)len;
	return 0;
}

const char *addr_format(const struct addr *addr, char text[ADDR_TEXT])
{
	if (!addr->family ||
	    !inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, text, ADDR_TEXT))
		strcpy(text, "none");
	return text;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_compare(a, b) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family - b->family;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

socklen_t addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (addr->family == 4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr->bytes, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, addr->bytes, 16);
	return sizeof(*in6);
}
