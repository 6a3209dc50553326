/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes an input of the packet target the way senders and attackers vary packets, with lengths
 * and checksums right most of the time. */
#ifndef LBD_FUZZ_PACKET_MUTATE_H
#define LBD_FUZZ_PACKET_MUTATE_H

#include "packet_input.h"

void input_mutate(struct input *input, unsigned seed);

#endif
