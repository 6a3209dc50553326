/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 and IPv6 addresses as values. */
#ifndef LBD_ADDR_H
#define LBD_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_TEXT 46 /* bytes for addr_format, as INET6_ADDRSTRLEN */

struct addr {
	uint8_t family;    /* 4, 6, or 0: none */
	uint8_t bytes[16]; /* wire order; IPv4 in the first four, the rest zero */
};

/* Parses a numeric address without brackets or prefix. 0, or -EINVAL with *ret untouched. */
int addr_parse(const char *text, struct addr *ret);
/* Parses ADDRESS/LEN. 0, or -EINVAL (also if bits beyond the prefix are set). */
int addr_parse_prefix(const char *text, struct addr *ret, unsigned *ret_len);
/* Clears the bits beyond the first len. Returns whether one was set. */
bool addr_clear_beyond(struct addr *addr, unsigned len);
/* Writes at most ADDR_TEXT bytes to text and returns it. */
const char *addr_format(const struct addr *addr, char text[ADDR_TEXT]);
bool addr_equal(const struct addr *a, const struct addr *b);
/* <0, 0, >0: IPv4 before IPv6, then by value. */
int addr_compare(const struct addr *a, const struct addr *b);
/* Why it cannot be the address of one host elsewhere, such as "a loopback address"; NULL: it can.
 */
const char *addr_why_no_host(const struct addr *addr);
/* Of IPv6, fe80::/10: it means a host only together with a link. */
bool addr_is_link_local(const struct addr *addr);
/* Has an interface of this network namespace the address? */
bool addr_is_own(const struct addr *addr);
/* Length in bytes: 4 or 16. */
static inline size_t addr_length(const struct addr *addr)
{
	return addr->family == 4 ? 4 : 16;
}
/* Fills a sockaddr for connect or bind; returns its length. port in host order. */
socklen_t addr_to_sockaddr(const struct addr *addr, uint16_t port, struct sockaddr_storage *ret);
/* The address in a sockaddr. 0, or -EAFNOSUPPORT if that is neither IPv4 nor IPv6, or NULL. */
int addr_from_sockaddr(const struct sockaddr *from, struct addr *ret);

#endif
