/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tells systemd how the service is: the protocol of sd_notify(3), a datagram to $NOTIFY_SOCKET.
 * Nothing happens when there is none. */
#ifndef LBD_NOTIFY_H
#define LBD_NOTIFY_H

#include <stdint.h>

/* One assignment or more, separated by line feeds: "READY=1\nSTATUS=2 services". */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How often WATCHDOG=1 is due, in microseconds: half of what systemd waits. 0: no watchdog. */
uint64_t notify_watchdog_us(void);

#endif
