/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts the frames that an XDP program sent and no device took. The program itself cannot see
 * that: a device refuses a frame after the program has ended. The kernel's tracepoints see it. They
 * cost nothing while frames arrive, but for xdp_devmap_xmit, which runs once for up to 16
 * redirected frames. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "lb_losses.h"

#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LB_LOSSES);
	__type(key, struct lb_loss_key);
	__type(value, struct lb_loss);
} losses SEC(".maps");

static __always_inline void count(__u32 from, __u32 to, __u32 frames, int error)
{
	const struct lb_loss_key key = {.from = from, .to = to};
	const struct lb_loss none = {0};
	struct lb_loss *loss = bpf_map_lookup_elem(&losses, &key);

	if (!loss) {
		bpf_map_update_elem(&losses, &key, &none, BPF_NOEXIST);
		loss = bpf_map_lookup_elem(&losses, &key);
	}
	if (!loss)
		return;
	__sync_fetch_and_add(&loss->frames, frames);
	loss->error = error;
}

/* The egress map's keys are ifindexes, so index is the target's. */
SEC("tp_btf/xdp_redirect_err")
int BPF_PROG(redirect_refused, const struct net_device *from, const void *program, const void *to,
	     int error, __u32 map_type, __u32 map_id, __u32 index)
{
	if (is_in_namespace(from))
		count((__u32)from->ifindex, index, 1, error);
	return 0;
}

SEC("tp_btf/xdp_devmap_xmit")
int BPF_PROG(redirect_dropped, const struct net_device *from, const struct net_device *to, int sent,
	     int drops, int error)
{
	if (drops > 0 && is_in_namespace(from))
		count((__u32)from->ifindex, (__u32)to->ifindex, (__u32)drops, error);
	return 0;
}

/* A driver could not send a frame back. Redirects are counted above. */
SEC("tp_btf/xdp_exception")
int BPF_PROG(driver_gave_up, const struct net_device *device, const void *program, __u32 action)
{
	if (action == XDP_TX && is_in_namespace(device))
		count((__u32)device->ifindex, (__u32)device->ifindex, 1, 0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
