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

/* The checksum of an IPv4 header whose TTL was decreased by one: the header's sum decreases by
 * 0x0100, so the checksum increases by it. 0xffff is not a valid IPv4 header checksum, and becomes
 * 0. */
static inline __attribute__((always_inline)) __u16 csum_ttl_decreased(__u16 check)
{
	__u32 sum = (__u32)check + CSUM_WORD(1, 0);

	return (__u16)(sum + ((sum + 1) >> 16));
}

/* lb_backend.csum: the sum of the fields that are the same in every outer IPv4 header to this
 * backend. Version and header length 0x4500 (without TOS), identification 0, DF 0x4000, protocol
 * (without TTL), the source without the bits of `spread`, the destination. src, spread and dst are
 * in wire order, protocol is 4 (IPv4 in IPv4), 41 (IPv6 in IPv4), 17 (GUE) or 47 (GRE). */
static inline __attribute__((always_inline)) __u32 lb_backend_csum(__be32 src, __be32 spread,
								   __be32 dst, __u8 protocol)
{
	__u32 sum = CSUM_WORD(0x45, 0) + CSUM_WORD(0x40, 0) + CSUM_WORD(0, protocol);

	return csum_fold(sum + csum_halves((__u32)src & ~(__u32)spread) + csum_halves((__u32)dst));
}

/* The checksum of that header with the remaining fields added. length: of the whole outer packet,
 * wire order; varied: the spread bits of its source. */
static inline __attribute__((always_inline)) __u16 csum_outer(__u32 backend_csum, __u8 tos,
							      __be16 length, __u8 ttl, __u32 varied)
{
	__u32 sum = backend_csum + CSUM_WORD(0, tos) + (__u16)length + CSUM_WORD(ttl, 0) +
		    csum_halves(varied);

	return (__u16)~csum_fold(sum);
}

#endif
