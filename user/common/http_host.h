/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The host of an HTTP request: "www.example.com:8080", "[2001:db8::10]". */
#ifndef LBD_HTTP_HOST_H
#define LBD_HTTP_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* Is it one, with a port or without? */
bool http_host_fits(const char *text);
/* Is it a name or an IPv4 address, without a port: as a certificate has it? */
bool http_host_is_name(const char *text);
/* Bytes of one that fits, without its port, but with its brackets. */
size_t http_host_name_length(const char *host);

#endif
