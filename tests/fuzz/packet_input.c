/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Format: settings (1 byte), then for each frame its length (2 bytes, little endian), the number of
 * bytes given (2), and these. The others are the pattern. */
#include "packet_input.h"

#include <string.h>

#define HEAD 4

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + 3);
}

void input_fill(struct input_frame *frame, size_t from)
{
	for (size_t i = from; i < frame->length; i++)
		frame->bytes[i] = pattern(i);
}

static size_t clamp(size_t value, size_t least, size_t most)
{
	return value < least ? least : value > most ? most : value;
}

void input_read(const uint8_t *data, size_t size, struct input *ret)
{
	size_t at = 1;

	ret->settings = size ? data[0] : 0;
	ret->count = 0;
	while (ret->count < INPUT_FRAMES && at + HEAD <= size) {
		struct input_frame *frame = &ret->frames[ret->count++];
		size_t given = data[at + 2] | (size_t)data[at + 3] << 8;

		frame->length =
		    clamp(data[at] | (size_t)data[at + 1] << 8, FRAME_LEAST, FRAME_MOST);
		at += HEAD;
		given = clamp(given, 0, clamp(frame->length, 0, size - at));
		memcpy(frame->bytes, data + at, given);
		input_fill(frame, given);
		at += given;
	}
}

size_t input_write(const struct input *input, uint8_t *data, size_t most)
{
	size_t at = 1;

	if (!most)
		return 0;
	data[0] = input->settings;
	for (int i = 0; i < input->count; i++) {
		const struct input_frame *frame = &input->frames[i];
		size_t given = frame->length;

		while (given && frame->bytes[given - 1] == pattern(given - 1))
			given--;
		if (at + HEAD + given > most)
			break;
		memcpy(data + at,
		       (const uint8_t[]){(uint8_t)frame->length, (uint8_t)(frame->length >> 8),
					 (uint8_t)given, (uint8_t)(given >> 8)},
		       HEAD);
		memcpy(data + at + HEAD, frame->bytes, given);
		at += HEAD + given;
	}
	return at;
}
