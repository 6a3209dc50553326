/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IPv4 addresses in IPv6 addresses (RFC 6052, section 2.2): behind the prefix, but for the bits 64
 * to 71, which are zero. */
#ifndef LB_EMBED_H
#define LB_EMBED_H

#include "maps.h"
#include "packet.h"

/* address: as in a packet. */
static __always_inline void embed_write(__u64 address[2], __be32 client)
{
	const __u32 length = settings.embed_length;
	const __u64 top = (__u64)bpf_ntohl(client) << 32;

	address[0] = settings.embed[0];
	address[1] = settings.embed[1];
	if (length == 96) {
		address[1] |= bpf_cpu_to_be64(top >> 32);
		return;
	}
	address[0] |= bpf_cpu_to_be64(top >> 32 >> ((length - 32) & 63));
	address[1] |= bpf_cpu_to_be64(top << ((64 - length) & 63) >> 8);
}

static __always_inline __be32 embed_read(const __u64 address[2])
{
	const __u64 high = bpf_be64_to_cpu(address[0]), low = bpf_be64_to_cpu(address[1]);
	const __u32 length = settings.embed_length;

	if (length == 96)
		return bpf_htonl((__u32)low);
	return bpf_htonl((__u32)(high << ((length - 32) & 63)) |
			 (__u32)(low << 8 >> 32 >> ((64 - length) & 63)));
}

/* The sum of an IPv6 address less that of an IPv4 address, folded. */
static __always_inline __u32 embed_change(const __u64 address[2], __be32 client)
{
	const __u64 sum =
	    (__u64)(__u32)address[0] + (address[0] >> 32) + (__u32)address[1] + (address[1] >> 32);

	return csum_fold_words(sum + (__u32)~client);
}

/* Whether a host can have the address. */
static __always_inline bool is_host_v4(__be32 address)
{
	const __u32 first = bpf_ntohl(address) >> 24;

	return first && first != 127 && (first < 224 || first >= 240) && address != ~0u;
}

#endif
