/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What tracepoint programs read of the kernel's types; libbpf finds the fields in the running
 * kernel. */
#ifndef LB_KERNEL_H
#define LB_KERNEL_H

#include <stdbool.h>

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	int ifindex;
	possible_net_t nd_net;
};
struct sk_buff {
	struct net_device *dev;
	__u8 pkt_type : 3;
	__u8 ip_summed : 2;
	__be16 protocol;
	__u16 mac_header;
	unsigned int end; /* from head, on all machines of 64 bits */
	unsigned char *head;
};
struct skb_shared_info {
	unsigned short gso_size;
};
#pragma clang attribute pop

/* The inode of lbd's network namespace: other namespaces have devices with the same ifindex. */
const volatile __u32 namespace = 0;

static inline __attribute__((always_inline)) bool is_in_namespace(const struct net_device *device)
{
	return device->nd_net.net->ns.inum == namespace;
}

#endif
