/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The process that becomes the command of `notify`: lbd's own program, which gives up its rights
 * first. */
#ifndef LBD_EVENTS_PROCESS_H
#define LBD_EVENTS_PROCESS_H

/* Its first argument; the command follows. */
#define PROCESS_ARGUMENT "--notify-process"
/* Its exit status if it cannot become the command, as that of a shell. */
#define PROCESS_NOT_STARTED 127

#endif
