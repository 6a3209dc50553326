/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Internet checksum (RFC 1071), for tools that make packets of their own. */
#ifndef LBD_TEST_CHECKSUM_H
#define LBD_TEST_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The sum of the 16-bit words in wire order; length is even. */
static inline uint32_t add(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return sum;
}

/* Host order. */
static inline uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

#endif
