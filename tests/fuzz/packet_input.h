/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet target's input: settings and up to 8 frames. Any bytes are an input. */
#ifndef LBD_FUZZ_PACKET_INPUT_H
#define LBD_FUZZ_PACKET_INPUT_H

#include <stddef.h>
#include <stdint.h>

#define INPUT_FRAMES 8
#define FRAME_LEAST  14 /* the kernel runs no shorter ones */
#define FRAME_MOST   3000

struct input_frame {
	size_t length;
	uint8_t bytes[FRAME_MOST];
};

struct input {
	/* bits 0-1: enum lb_refusal for `unserved`; 2: MAC addresses unknown; 3: no errors and
	 * resets; 4: no echo replies */
	uint8_t settings;
	int count;
	struct input_frame frames[INPUT_FRAMES];
};

void input_read(const uint8_t *data, size_t size, struct input *ret);
/* Long frames end in a pattern, which takes no room. Frames that do not fit are left out. Returns
 * the size. */
size_t input_write(const struct input *input, uint8_t *data, size_t most);
/* Bytes from `from` on become the pattern. */
void input_fill(struct input_frame *frame, size_t from);

#endif
