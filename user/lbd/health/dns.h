/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Types of DNS records, as the config names them. */
#ifndef LBD_HEALTH_DNS_H
#define LBD_HEALTH_DNS_H

/* "A", "AAAA", ..., in any case, to its number in DNS; -1: not known. */
int dns_record_type(const char *name);

#endif
