/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 and IPv6 addresses as values. */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
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

bool addr_clear_beyond(struct addr *addr, unsigned len)
{
	bool found = false;

	for (unsigned i = len / 8; i < addr_length(addr); i++) {
		uint8_t keep = i == len / 8 ? (uint8_t)(0xff00 >> len % 8) : 0;

		found |= addr->bytes[i] & (uint8_t)~keep;
		addr->bytes[i] &= keep;
	}
	return found;
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
	if (*end || len > addr_length(&addr) * 8 || addr_clear_beyond(&addr, (unsigned)len))
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

static const char *why_no_host4(const uint8_t bytes[4])
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};

	if (bytes[0] == 0)
		return "an unspecified address";
	if (bytes[0] == 127)
		return "a loopback address";
	if ((bytes[0] & 0xf0) == 0xe0)
		return "a multicast address";
	return memcmp(bytes, broadcast, 4) ? NULL : "the broadcast address";
}

static bool is_link_local6(const uint8_t bytes[16])
{
	return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

/* Link-local addresses name a host only together with an interface. */
static const char *why_no_host6(const uint8_t bytes[16])
{
	static const uint8_t unspecified[16], loopback[16] = {[15] = 1},
					      mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (!memcmp(bytes, unspecified, 16))
		return "an unspecified address";
	if (!memcmp(bytes, loopback, 16))
		return "a loopback address";
	if (bytes[0] == 0xff)
		return "a multicast address";
	if (is_link_local6(bytes))
		return "a link-local address";
	return memcmp(bytes, mapped, sizeof(mapped)) ? NULL : "an IPv4-mapped address";
}

const char *addr_why_no_host(const struct addr *addr)
{
	return addr->family == 4 ? why_no_host4(addr->bytes) : why_no_host6(addr->bytes);
}

bool addr_is_link_local(const struct addr *addr)
{
	return addr->family == 6 && is_link_local6(addr->bytes);
}

bool addr_is_own(const struct addr *addr)
{
	struct ifaddrs *all = NULL;
	bool own = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *one = all; one && !own; one = one->ifa_next) {
		struct addr there;

		own = !addr_from_sockaddr(one->ifa_addr, &there) && addr_equal(&there, addr);
	}
	freeifaddrs(all);
	return own;
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

int addr_from_sockaddr(const struct sockaddr *from, struct addr *ret)
{
	struct addr addr = {0};

	if (from && from->sa_family == AF_INET) {
		addr.family = 4;
		memcpy(addr.bytes, &((const struct sockaddr_in *)from)->sin_addr, 4);
	} else if (from && from->sa_family == AF_INET6) {
		addr.family = 6;
		memcpy(addr.bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
	} else {
		return -EAFNOSUPPORT;
	}
	*ret = addr;
	return 0;
}
