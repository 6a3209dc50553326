/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters, and the XDP action of each reason. One row of counters per CPU, incremented without
 * atomics; lbd sums the rows. An XDP program does not migrate and is not interrupted by another
 * packet on its CPU. */
#ifndef LB_COUNT_H
#define LB_COUNT_H

#include "maps.h"
#include "packet.h"

/* The reasons of each outcome, as bit sets. */
#define X(name, outcome, help) | (LB_##outcome == LB_SENT ? 1ULL << LB_REASON_##name : 0)
static const __u64 sent_set = 0 LB_REASONS(X);
#undef X
#define X(name, outcome, help) | (LB_##outcome == LB_PASSED ? 1ULL << LB_REASON_##name : 0)
static const __u64 passed_set = 0 LB_REASONS(X);
#undef X

_Static_assert(LB_REASON_COUNT <= 63, "the sets of reasons are 64-bit words");

static __always_inline int reason_action(int reason)
{
	if (reason == LB_REASON_forwarded_redirect || reason == LB_REASON_returned_redirect)
		return XDP_REDIRECT;
	if (sent_set >> reason & 1)
		return XDP_TX;
	return passed_set >> reason & 1 ? XDP_PASS : XDP_DROP;
}

static __always_inline struct lb_service_count *service_count_of(__u32 service)
{
	__u32 index = bpf_get_smp_processor_id() * service_slots + service;

	return bpf_map_lookup_elem(&service_counts, &index);
}

static __always_inline void count_reason(__u32 cpu, __u32 reason, __u32 bytes)
{
	__u32 index = cpu * LB_COUNTERS + reason;
	struct lb_reason_count *count = bpf_map_lookup_elem(&reason_counts, &index);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
}

static __always_inline void count_backend(__u32 cpu, const struct route *r, __u32 bytes)
{
	__u32 index = cpu * backend_slots + r->backend_id;
	struct lb_backend_count *count = bpf_map_lookup_elem(&backend_counts, &index);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
	if (unlikely(r->new_flow))
		count->flows++;
}

static __always_inline int end(int reason, const struct packet *p)
{
	count_reason(bpf_get_smp_processor_id(), reason, p->length);
	return reason_action(reason);
}

/* A packet that was forwarded, or could not be: the end of both paths. forwarded_tx, which almost
 * all end with, has no counter: lbd derives it from those of the backends. */
static __always_inline int end_sent(int reason, const struct packet *p, const struct route *r)
{
	__u32 cpu = bpf_get_smp_processor_id();

	if (likely(reason == LB_REASON_forwarded_tx)) {
		count_backend(cpu, r, p->length);
		return XDP_TX;
	}
	if (reason == LB_REASON_forwarded_redirect)
		count_backend(cpu, r, p->length);
	return end(reason, p);
}

LB_NOINLINE int count_event(__u32 event)
{
	count_reason(bpf_get_smp_processor_id(), event, 0);
	return 0;
}

#endif
