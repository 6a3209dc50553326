/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Values that several dialects write: addresses, ports, times, masks. */
#ifndef LBCTL_IMPORT_VALUE_H
#define LBCTL_IMPORT_VALUE_H

#include "import.h"

/* An address, or the name of a host, which is looked up. */
bool value_address(struct import *im, struct import_place at, const char *text, struct addr *ret);
/* A number up to 65535, or the name of a service in /etc/services. 0 is one. */
bool value_port(const char *text, bool udp, unsigned *ret);
/* Splits HOST:PORT, [HOST]:PORT or HOST at the last colon; of "2001:db8::1" the host is all of it,
 * unless loose. *ret_port is "" without a port. */
void value_split(struct import *im, const char *text, bool loose, const char **ret_host,
		 const char **ret_port);
/* Decimal digits up to max. */
bool value_number(const char *text, uint64_t max, uint64_t *ret);
/* Seconds with an optional fraction: 2.5. Up to a year. */
bool value_seconds(const char *text, uint64_t *ret_ms);
/* A number and us, ms, s, m, h or d; ms without one. Up to a year. */
bool value_time(const char *text, uint64_t *ret_ms);
/* 200 or 200-299: a status of HTTP, or a range of them, from 100 to 599, is added to a list as lbd
 * takes it, NULL if nothing is in it yet. A list that is longer than lbd's grows no more. */
bool value_status(struct import *im, const char *text, const char **list);
/* 255.255.255.0, /24 or 24; for IPv6 a length. */
bool value_mask(const char *text, uint8_t family, unsigned *ret);

#endif
