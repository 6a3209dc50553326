/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One's complement sums (RFC 1071, RFC 1624). Pure: compiles for BPF and for the host. */
#ifndef LB_CSUM_H
#define LB_CSUM_H

#include <linux/types.h>

/* 16-bit words are summed in memory byte order: a one's complement sum does not depend on byte
 * order as long as every addend and the result are loaded and stored the same way (RFC 1071,
 * section 2 (B)). */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CSUM_WORD(high, low) ((__u32)(low) << 8 | (__u32)(high))
#else
#define CSUM_WORD(high, low) ((__u32)(high) << 8 | (__u32)(low))
#endif

#define OUTER_TTL 64 /* of a tunnel's header */

/* Folds a sum of up to 65 536 words to 16 bits. */
static inline __attribute__((always_inline)) __u32 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Both halves of a 32-bit word in wire order. */
static inline __attribute__((always_inline)) __u32 csum_halves(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

/* The checksum after one 16-bit word of the data changed (RFC 1624, equation 3). Never returns
 * 0xffff. */
static inline __attribute__((always_inline)) __u16 csum_replace(__u16 check, __u16 before,
								__u16 after)
{
	return (__u16)~csum_fold((__u16)~check + (__u32)(__u16)~before + after);
}

/* The same after changes whose sum is `delta`: for each word ~before + after, up to 2^31. */
static inline __attribute__((always_inline)) __u16 csum_shift(__u16 check, __u32 delta)
{
	return (__u16)~csum_fold((__u16)~check + delta);
}

/* The same for a change of 16 bits: the complement of a sum is a difference, whose borrow goes back
 * into it. */
static inline __attribute__((always_inline)) __u16 csum_shift_16(__u16 check, __u16 delta)
{
	__u32 difference = (__u32)check - delta;

	return (__u16)(difference + (difference >> 16));
}

/* The checksum of an IPv4 header whose TTL was decreased by one: the header's sum decreases by
 * 0x0100, so the checksum increases by it. 0xffff is not a valid IPv4 header checksum, and becomes
 * 0. */
static inline __attribute__((always_inline)) __u16 csum_ttl_decreased(__u16 check)
{
	__u32 sum = (__u32)check + CSUM_WORD(1, 0);

	return (__u16)(sum + ((sum + 1) >> 16));
}

/* The 32-bit word of an IPv4 header that holds TTL, protocol and checksum, as loaded from a packet,
 * with the TTL decreased by one: csum_ttl_decreased on the word. The TTL must be at least 1. */
static inline __attribute__((always_inline)) __u32 csum_ttl_word(__u32 word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__u64 sum = (__u64)word + (1 << 16) - 1; /* the checksum is the upper half */

	return (__u32)(sum + ((sum + (1 << 16)) >> 32 << 16));
#else
	return ((word - (1u << 24)) & 0xffff0000) | csum_ttl_decreased((__u16)word);
#endif
}

/* Folds a sum of 32-bit words, up to 2^34, to 16 bits. The first line leaves no more than 2^32 + 1:
 * then each carry of the second is one of the lower half into the upper. */
static inline __attribute__((always_inline)) __u16 csum_fold_words(__u64 sum)
{
	sum = (__u64)(__u32)sum + (sum >> 32);
	return (__u16)((sum + (sum << 16) + (sum >> 16)) >> 16);
}

/* The sum of the fields that are the same in every outer IPv4 header to a destination:
 * identification 0, DF 0x4000, TTL, protocol and the destination; folded. dst: wire order;
 * protocol: 4 (IPv4 in IPv4), 41 (IPv6 in IPv4), 17 (GUE) or 47 (GRE). With OUTER_TTL it is
 * lb_backend.csum. */
static inline __attribute__((always_inline)) __u32 csum_of_constants(__be32 dst, __u8 ttl,
								     __u8 protocol)
{
	__u32 sum = CSUM_WORD(0x40, 0) + CSUM_WORD(ttl, protocol);

	return csum_fold(sum + csum_halves((__u32)dst));
}

/* The checksum of that header with the remaining fields added. first: its first 32 bits, with TOS
 * and length; wire order, like src. */
static inline __attribute__((always_inline)) __u16 csum_outer(__u32 constants, __be32 first,
							      __be32 src)
{
	return (__u16)~csum_fold_words((__u64)constants + (__u32)first + (__u32)src);
}

#endif
