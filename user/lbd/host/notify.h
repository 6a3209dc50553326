/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reports the state of the service to systemd: the protocol of sd_notify(3), a datagram to
 * $NOTIFY_SOCKET. Does nothing if that is not set. */
#ifndef LBD_NOTIFY_H
#define LBD_NOTIFY_H

#include <stdint.h>

/* One or more assignments, separated by line feeds: "READY=1\nSTATUS=2 services". */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The interval for WATCHDOG=1, us: half of systemd's timeout. 0: no watchdog. */
uint64_t notify_watchdog_us(void);

#endif
