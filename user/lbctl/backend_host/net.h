/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The network of the host for backend-host: sysctls, links, addresses of lo. */
#ifndef LBCTL_BACKEND_HOST_NET_H
#define LBCTL_BACKEND_HOST_NET_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/addr.h"
#include "common/error.h"

#define SYSCTL_TEXT 64 /* room for a value */

/* path as below /proc/sys: "net/ipv4/conf/eth0/arp_ignore". 0, -ENOENT (err untouched), or -errno
 * with err set. */
int sysctl_read(const char *path, char value[SYSCTL_TEXT], struct error *err);
int sysctl_write(const char *path, const char *value, struct error *err);
/* The notation of sysctl(8): dots for slashes and slashes for dots. */
const char *sysctl_name(const char *path, char name[128]);

/* The interface of an address; "" if the host does not have the address. */
int address_find(const struct addr *addr, char interface[IF_NAMESIZE], struct error *err);
/* Visits each address of the host, some of them twice. 0, or -errno with err set. */
int address_each(void (*visit)(const struct addr *addr, void *context), void *context,
		 struct error *err);
/* Does the interface have an address of this family (IPv6: other than link-local)? */
bool address_has_family(const char *interface, uint8_t family);
/* Adds ADDR/32 or /128 to lo, or removes it. An IPv6 address is added without duplicate address
 * detection and as deprecated, so that the host never uses it as a source of its own. It is no
 * error if there is nothing to change. */
int address_set(const struct addr *addr, bool present, struct error *err);

bool link_is_up(const char *interface);
int link_set_up(const char *interface, bool up, struct error *err);
/* Bytes; -errno. */
int link_mtu(const char *interface);

/* Runs `ip ARGUMENTS...` (NULL-terminated, the first is "ip"). 0, or -errno with err set. */
int run_ip(const char *const *arguments, struct error *err);

#endif
