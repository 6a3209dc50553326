/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long connects take, seen from the half of the traffic that passes here: from the SYN to the
 * client's next packet it is the client's round trip, with the backend's answer in it. Of `forward:
 * nat` the answer itself passes here: the time to it is the backend's alone. And how long the
 * backend's first byte takes, until the client acknowledges it. Of a sample of the flows, so that
 * no packet of the others pays for it: of slots whose front lbd has given the transition flag,
 * though they are stable, and of services that track always by bits of the hash. Lossy, and never
 * needed for the way of a packet. Layouts: lb_abi.h. */
#ifndef LB_CONNECT_H
#define LB_CONNECT_H

#include "flow.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"

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

static __always_inline __u64 *probe_at(__u64 hash)
{
	__u64 index = LB_PROBE_INDEX(hash);

	asm volatile("" : "+r"(index)); /* as in backend_at */
	return &probes[index & (LB_PROBES - 1)];
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

	if (probe_is_of(word, hash) && !(word & LB_PROBE_OPEN)) {
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

/* What a connect that counts as failed leaves behind when it ends, until lbd clears it 3 s after
 * its SYN: till then a SYN on the same addresses and ports is no other connect. Else one client,
 * who need not know where its connects go, could with a single tuple make the backend of that tuple
 * fail several times a second, and no other. Nothing of it is counted any more. */
static __always_inline __u64 connect_spent(__u64 word)
{
	return word | LB_PROBE_RETRIED | LB_PROBE_ANSWERED;
}

/* The client's next packet: the word becomes `after`. False: another CPU, or lbd, was faster. What
 * the backend has answered is counted already. */
static __always_inline bool connect_end(__u64 *place, __u64 word, __u64 after, __u32 flags)
{
	__u32 bucket;

	if (word & LB_PROBE_RETRIED)
		after = connect_spent(word);
	if (__sync_val_compare_and_swap(place, word, after) != word)
		return false;
	if (word & (LB_PROBE_ANSWERED | LB_PROBE_OPEN))
		return true;
	bucket = flags & LB_TCP_RST
		     ? LB_CONNECT_RESET
		     : lb_connect_bucket((connect_clock() - (__u32)word) & LB_PROBE_TIME);
	connect_count(LB_PROBE_BACKEND(word), bucket);
	return true;
}

/* A SYN with FIN or RST: no host answers it (RFC 9293, section 3.10.7.2, asks for none), so it says
 * nothing of the backend, nor of a connect that it claims to be of. */
static __always_inline bool is_odd_syn(__u32 tcp_flags)
{
	return tcp_flags & LB_TCP_SYN && tcp_flags & (LB_TCP_FIN | LB_TCP_RST);
}

/* A TCP packet of a flow in the sample that is looked up in the flow table: its later ones may take
 * the straight path. what: backend (0-15), TCP flags (16-23). */
LB_NOINLINE int connect_see(__u64 hash, __u32 what)
{
	__u64 *place = probe_at(hash), word = *(volatile __u64 *)place;

	if (is_odd_syn(what >> 16))
		return 0;
	if (opens_flow(what >> 16))
		connect_begin(place, word, hash, what & LB_MAX_BACKENDS);
	else if (probe_is_of(word, hash))
		connect_end(place, word, 0, what >> 16);
	return 0;
}

/* ---- the backend's first byte ---- */

/* What a packet of the client says of its connection. */
struct segment {
	__u32 seq, ack;
	__u32 bytes; /* of data */
	__u32 flags;
};

static __always_inline bool segment_read(struct xdp_md *ctx, struct segment *ret)
{
	struct packet p = {.ctx = ctx};
	const struct tcphdr *tcp;
	__u32 bytes, header;

	if (!continues(parse_link(&p)) || !continues(parse_transport(&p)) ||
	    p.protocol != IPPROTO_TCP || p.kind != PACKET_WHOLE || !p.l4 ||
	    p.l4 + sizeof(*tcp) > p.end)
		return false;
	tcp = p.l4;
	bytes = bytes_left(&p, tcp);
	header = (((const __u8 *)tcp)[12] >> 4) * 4;
	ret->seq = bpf_ntohl(tcp->seq);
	ret->ack = bpf_ntohl(tcp->ack_seq);
	ret->bytes = bytes > header ? bytes - header : 0;
	ret->flags = p.tcp_flags;
	return true;
}

/* The word with the present time. */
static __always_inline __u64 probe_now(__u64 word, __u64 flag)
{
	return (word & ~(__u64)LB_PROBE_TIME) | flag | connect_clock();
}

/* The end of the handshake. The word that the first byte is awaited with; 0: it is not. Where
 * either end has sent its part again, it is not known which one was answered, so neither how long
 * the way is. */
static __always_inline __u64 first_byte_await(__u64 *place, __u64 word, struct lb_first_byte *first,
					      const struct segment *s)
{
	__u64 open = probe_now(word, LB_PROBE_OPEN);

	if ((s->flags & (LB_TCP_RST | LB_TCP_ACK)) != LB_TCP_ACK ||
	    word & (LB_PROBE_RETRIED | LB_PROBE_ANSWERED_AGAIN)) {
		connect_end(place, word, 0, s->flags);
		return 0;
	}
	first->seq = s->seq;
	first->ack = s->ack;
	first->trip = ((__u32)open - (__u32)word) & LB_PROBE_TIME;
	return connect_end(place, word, open, s->flags) ? open : 0;
}

/* A packet of the client after the handshake. Its first data is what the backend answers; before
 * that the backend may speak first. An acknowledgement of one byte more may be that of a FIN. Where
 * the data comes again, it is not known which was answered; but at once it is the same packet,
 * which has taken both paths. */
static __always_inline void first_byte_see(__u64 *place, __u64 word,
					   const struct lb_first_byte *first,
					   const struct segment *s)
{
	const __u64 asked = probe_now(word, LB_PROBE_ASKED);
	const __u32 units = ((__u32)asked - (__u32)word) & LB_PROBE_TIME;
	bool data = s->bytes && s->seq == first->seq, asks = data && !(word & LB_PROBE_ASKED);
	bool over = s->flags & LB_TCP_RST || (data && !asks && units >= LB_PROBE_AGAIN);
	bool came = !over && s->ack - first->ack - 2 < LB_FIRST_BYTE_WINDOW;

	if ((over || came || asks) &&
	    __sync_val_compare_and_swap(place, word, over || came ? 0 : asked) == word && came)
		connect_count(LB_PROBE_BACKEND(word),
			      lb_first_byte_bucket(units > first->trip ? units - first->trip : 0));
}

/* A packet of a client whose flow has a probe, and a slot in the sample. */
LB_NOINLINE int connect_follow(struct xdp_md *ctx, __u64 hash)
{
	__u32 index = LB_PROBE_INDEX(hash);
	__u64 *place = probe_at(hash), word;
	struct lb_first_byte *first = bpf_map_lookup_elem(&first_bytes, &index);
	struct segment s;

	if (!first || !segment_read(ctx, &s))
		return 0;
	word = *(volatile __u64 *)place;
	if (!probe_is_of(word, hash))
		return 0;
	if (!(word & LB_PROBE_OPEN))
		word = first_byte_await(place, word, first, &s);
	if (word)
		first_byte_see(place, word, first, &s);
	return 0;
}

/* What connect_pass calls. A function of its own: it costs other packets no register. */
LB_NOINLINE int connect_see_slot(struct xdp_md *ctx, __u64 hash, __u32 what)
{
	__u64 *place = probe_at(hash);

	if (!(what >> 16 & LB_TCP_SYN))
		return connect_follow(ctx, hash);
	if (!is_odd_syn(what >> 16) && opens_flow(what >> 16))
		connect_begin(place, *(volatile __u64 *)place, hash, what & LB_MAX_BACKENDS);
	return 0;
}

/* A packet of a stable slot of the sample. All packets of such slots come here, and almost none of
 * them is one to be timed: those need no call, which costs more than all the rest
 * (docs/performance.md, "Where the nanoseconds go"). */
static __always_inline void connect_pass(const struct packet *p, __u64 hash, __u32 backend)
{
	if (p->tcp_flags & LB_TCP_SYN || probe_is_of(*probe_at(hash), hash))
		connect_see_slot(p->ctx, hash, backend | (__u32)p->tcp_flags << 16);
}

/* ---- the backend's answer ---- */

/* In `what` of connect_answer: the backend refuses the connect. */
#define CONNECT_REFUSED (1u << 24)

static __always_inline void connect_refuse(__u64 *place, __u64 word)
{
	if (!(word & LB_PROBE_ANSWERED) &&
	    __sync_val_compare_and_swap(place, word, connect_spent(word)) == word)
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
	__u64 *place = probe_at(hash), word = *(volatile __u64 *)place;

	if (!probe_is_of(word, hash) || word & LB_PROBE_OPEN ||
	    LB_PROBE_BACKEND(word) != (what & LB_MAX_BACKENDS))
		return 0;
	if (what & CONNECT_REFUSED)
		connect_refuse(place, word);
	else
		connect_accept(place, word);
	return 0;
}

#endif
