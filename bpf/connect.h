/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long connects take, seen from the half of the traffic that passes here: from the SYN to the
 * client's next packet it is the client's round trip, with the backend's answer in it. Of `forward:
 * nat` the answer itself passes here: the time to it is the backend's alone. Of a sample
 * of the flows, so that no packet of the others pays for it: of slots whose front lbd has given the
 * transition flag, though they are stable, and of services that track always by bits of the hash.
 * Lossy, and never needed for the way of a packet. Layouts: lb_abi.h. */
#ifndef LB_CONNECT_H
#define LB_CONNECT_H

#include "flow.h"
#include "maps.h"
#include "packet.h"

/* Whether a flow of a service that tracks always is in the sample. */
static __always_inline bool connect_sampled(__u64 hash)
{
	return !((__u32)hash & connect_mask);
}

static __always_inline __u32 connect_clock(void)
{
	return bpf_ktime_get_ns() >> LB_PROBE_TIME_SHIFT & LB_PROBE_TIME;
}

static __always_inline void connect_count(__u32 backend, __u32 which)
{
	struct lb_connects *connects = bpf_map_lookup_elem(&connects_of, &backend);
	__u64 index = which;

	/* all 64 bits are compared: from a comparison of 32 the verifier of Linux 6.1 learns
	 * nothing of the others */
	OPAQUE(index);
	if (connects && index < LB_CONNECT_WORDS)
		__sync_fetch_and_add(&connects->word[index], 1);
}

/* Whether the word is of a connect of this hash. */
static __always_inline bool probe_is_of(__u64 word, __u64 hash)
{
	return word & LB_PROBE_USED && LB_PROBE_FP(word) == LB_PROBE_HASH_FP(hash);
}

/* A SYN: notes it, unless it is there already, as the client has sent it before. That counts once:
 * else one client that floods with the same SYN outweighs all others of the backend. One that has
 * just been noted is the same packet, which has taken both paths. */
static __always_inline void connect_begin(__u64 *place, __u64 word, __u64 hash, __u32 backend)
{
	__u32 now = connect_clock();

	if (probe_is_of(word, hash)) {
		/* whose answer was seen did not fail for want of one */
		if (!(word & (LB_PROBE_RETRIED | LB_PROBE_ANSWERED)) &&
		    ((now - (__u32)word) & LB_PROBE_TIME) >= LB_PROBE_AGAIN &&
		    __sync_val_compare_and_swap(place, word, word | LB_PROBE_RETRIED) == word)
			connect_count(LB_PROBE_BACKEND(word), LB_CONNECT_RETRIED);
		return;
	}
	*(volatile __u64 *)place = LB_PROBE(hash, backend, now);
	connect_count(backend, LB_CONNECT_SAMPLED);
}

/* The client's next packet. Another CPU, or lbd, may have been faster. What the backend has
 * answered is counted already. */
static __always_inline void connect_end(__u64 *place, __u64 word, __u64 hash, __u32 flags)
{
	__u32 bucket;

	if (!probe_is_of(word, hash) || __sync_val_compare_and_swap(place, word, 0) != word ||
	    word & LB_PROBE_ANSWERED)
		return;
	bucket = flags & LB_TCP_RST
		     ? LB_CONNECT_RESET
		     : lb_connect_bucket((connect_clock() - (__u32)word) & LB_PROBE_TIME);
	connect_count(LB_PROBE_BACKEND(word), bucket);
}

/* A SYN with FIN or RST: no host answers it (RFC 9293, section 3.10.7.2, asks for none), so it says
 * nothing of the backend, nor of a connect that it claims to be of. */
static __always_inline bool is_odd_syn(__u32 tcp_flags)
{
	return tcp_flags & LB_TCP_SYN && tcp_flags & (LB_TCP_FIN | LB_TCP_RST);
}

/* A TCP packet of a flow in the sample. what: backend (0-15), TCP flags (16-23). */
LB_NOINLINE int connect_see(__u64 hash, __u32 what)
{
	__u32 index = LB_PROBE_INDEX(hash);
	__u64 *place = bpf_map_lookup_elem(&probes, &index), word;

	if (!place || is_odd_syn(what >> 16))
		return 0;
	word = *(volatile __u64 *)place;
	if (opens_flow(what >> 16))
		connect_begin(place, word, hash, what & LB_MAX_BACKENDS);
	else
		connect_end(place, word, hash, what >> 16);
	return 0;
}

/* In `what` of connect_answer: the backend refuses the connect. */
#define CONNECT_REFUSED (1u << 24)

static __always_inline void connect_refuse(__u64 *place, __u64 word)
{
	if (!(word & LB_PROBE_ANSWERED) && __sync_val_compare_and_swap(place, word, 0) == word)
		connect_count(LB_PROBE_BACKEND(word), LB_CONNECT_REFUSED);
}

/* The backend's SYN-ACK. It comes again if the client does not confirm it, or sends its SYN again:
 * that counts once. */
static __always_inline void connect_accept(__u64 *place, __u64 word)
{
	__u32 now = connect_clock(), units = (now - (__u32)word) & LB_PROBE_TIME;
	__u64 answered = (word & ~(__u64)LB_PROBE_TIME) | LB_PROBE_ANSWERED | now;

	if (!(word & LB_PROBE_ANSWERED)) {
		if (__sync_val_compare_and_swap(place, word, answered) == word)
			connect_count(LB_PROBE_BACKEND(word), lb_connect_bucket(units));
		return;
	}
	if (!(word & LB_PROBE_ANSWERED_AGAIN) && units >= LB_PROBE_AGAIN &&
	    __sync_val_compare_and_swap(place, word, word | LB_PROBE_ANSWERED_AGAIN) == word)
		connect_count(LB_PROBE_BACKEND(word), LB_CONNECT_ANSWERED_AGAIN);
}

/* The backend's answer to a SYN that may be in the sample. what: backend (0-15), and
 * CONNECT_REFUSED. */
LB_NOINLINE int connect_answer(__u64 hash, __u32 what)
{
	__u32 index = LB_PROBE_INDEX(hash);
	__u64 *place = bpf_map_lookup_elem(&probes, &index), word;

	if (!place)
		return 0;
	word = *(volatile __u64 *)place;
	if (!probe_is_of(word, hash) || LB_PROBE_BACKEND(word) != (what & LB_MAX_BACKENDS))
		return 0;
	if (what & CONNECT_REFUSED)
		connect_refuse(place, word);
	else
		connect_accept(place, word);
	return 0;
}

#endif
