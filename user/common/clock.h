/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clocks as integers. */
#ifndef LBD_CLOCK_H
#define LBD_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC. */
uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_us(void);
uint64_t clock_monotonic_ms(void);
/* CLOCK_REALTIME. */
uint64_t clock_wall_ms(void);

#endif
