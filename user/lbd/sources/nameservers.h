/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The servers of resolv.conf(5). */
#ifndef LBD_SOURCES_NAMESERVERS_H
#define LBD_SOURCES_NAMESERVERS_H

#include <stddef.h>
#include <stdio.h>

#include "common/addr.h"
#include "common/error.h"

#define NAMESERVERS_MAX  3
#define NAMESERVERS_TEXT (NAMESERVERS_MAX * (ADDR_TEXT + 1))

/* Reads the addresses of the first three, separated by blanks. "": it names none, or there is no
 * file (NULL). Link-local ones are passed over: -EINVAL if there is no other. */
int nameservers_read(FILE *file, char ret[NAMESERVERS_TEXT], struct error *err);

#endif
