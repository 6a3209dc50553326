/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* forward: nat. On the way in the destination becomes the backend's address and port. A backend is
 * of one service, so the differences of all sums are constants, which lbd has put into its line
 * (RFC 1624). What is not
 * plain: nat_in.h; replies: reply.h. */
#ifndef LB_NAT_H
#define LB_NAT_H

#include "answer.h"
#include "csum.h"
#include "icmp.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "send.h"

/* ---- what both directions change ---- */

static __always_inline void copy_address_v6(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline bool same_address_v6(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool is_transport(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static __always_inline __u16 *transport_check(const struct packet *p)
{
	return p->l4 + (p->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
						   : offsetof(struct udphdr, check));
}

/* UDP has a sum of zero for none, and never one that is zero. */
static __always_inline void udp_shift(__u16 *check, __u16 delta)
{
	__u16 shifted = csum_shift_16(*check, delta);

	if (*check)
		*check = shifted ? shifted : 0xffff;
}

/* The sum in a TCP or UDP header after a change of what it covers. check: where it is. */
static __always_inline void transport_shift(const struct packet *p, __u16 *check, __u16 delta)
{
	if (p->protocol == IPPROTO_TCP)
		*check = csum_shift_16(*check, delta);
	else
		udp_shift(check, delta);
}

/* The same of a plain packet: where the sum is and how it changes is asked once. */
static __always_inline void transport_shift_plain(const struct packet *p, __u16 delta)
{
	struct tcphdr *tcp = p->l4;

	if (p->protocol == IPPROTO_TCP)
		tcp->check = csum_shift_16(tcp->check, delta);
	else
		udp_shift(&((struct udphdr *)p->l4)->check, delta);
}

/* transport_check, tested anew: the verifier has forgotten what parse_ports found. NULL: it is not
 * readable. */
static __always_inline __u16 *transport_check_again(const struct packet *p)
{
	__u16 *check = transport_check(p);

	return (void *)(check + 1) > p->end || p->l4 + sizeof(struct udphdr) > p->end ? NULL
										      : check;
}

/* ---- unfinished checksums ---- */

/* The sum of the pseudo-header of a packet with this transport header, folded. */
static __always_inline __u16 pseudo_fold(const struct packet *p, __u32 header)
{
	__u64 sum = CSUM_WORD(0, p->protocol) + (__u64)bpf_htons(p->length - header);

	if (p->family == 4) {
		const struct iphdr *ip = p->l3;

		return csum_fold_words(sum + ip->saddr + ip->daddr);
	} else {
		const __be32 *word = (const void *)&((const struct ipv6hdr *)p->l3)->saddr;

		return csum_fold_words(sum + word[0] + word[1] + word[2] + word[3] + word[4] +
				       word[5] + word[6] + word[7]);
	}
}

/* What unfinished_find says: bytes of IP header and extension headers (bits 0-15), protocol
 * (16-23). */
#define UNFINISHED(header, protocol) ((__u32)(header) | (__u32)(protocol) << 16)
#define UNFINISHED_HEADER(u)         ((u)&0xffff)
#define UNFINISHED_PROTOCOL(u)       ((__u8)((u) >> 16))

/* Where the transport header of a packet is whose sum is unfinished; 0: it is not. What a host
 * beside this one sends may leave the sum to the interface: the field has the sum of the
 * pseudo-header alone, and XDP is not told. A finished packet looks like that once in 65 536 times;
 * its sum is made anew as well, and comes out the same. A host finishes the sums of what it sends
 * in fragments. */
LB_NOINLINE __u32 unfinished_find(struct xdp_md *ctx)
{
	struct packet p = {.ctx = ctx};
	__u64 header;
	__u16 *check;

	if (!continues(parse_link(&p)) || is_cut_short(&p) || !continues(parse_transport(&p)) ||
	    p.kind != PACKET_WHOLE || !is_transport(p.protocol))
		return 0;
	header = p.l4 - p.l3;
	OPAQUE(header);
	check = transport_check_again(&p);
	return check && *check == pseudo_fold(&p, header) ? UNFINISHED(header, p.protocol) : 0;
}

/* The field with the sum, of a packet of which the IP header is known. In fact never NULL. */
static __always_inline __u16 *unfinished_check(struct packet *p, __u32 unfinished)
{
	p->l4 = p->l3 + (UNFINISHED_HEADER(unfinished) & 4095);
	p->protocol = UNFINISHED_PROTOCOL(unfinished);
	return transport_check_again(p);
}

/* Makes the sum of a packet anew if it is unfinished. */
LB_NOINLINE int sum_finish(struct xdp_md *ctx)
{
	__u32 unfinished = unfinished_find(ctx), header = UNFINISHED_HEADER(unfinished), sum;
	struct packet p = {.ctx = ctx};
	__u16 *check;

	if (!unfinished || !continues(parse_link(&p)))
		return 0;
	check = unfinished_check(&p, unfinished);
	if (!check)
		return 0;
	*check = 0;
	sum = (__u16)~transport_sum(ctx, p.family, p.l3_offset,
				    TRANSPORT(p.protocol, header, p.length - header));
	*check = !sum && p.protocol == IPPROTO_UDP ? 0xffff : sum;
	return 0;
}

/* ---- reals ---- */

/* Where the reals are; 0: there are none. */
static __always_inline __u64 reals_word(void)
{
	return *(const volatile __u64 *)&settings.tables[settings.active & 1].reals;
}

static __always_inline const struct lb_real_bucket *real_bucket_of(__u64 table, __u64 hash)
{
	return real_bucket_at(LB_REALS_BASE(table) +
			      (LB_REAL_BUCKET(hash) & (LB_REALS_BUCKETS(table) - 1)));
}

/* The number of the backend, 0: none. table: reals_word. high, low, kind: as of lb_real_hash. */
static __always_inline __u32 real_look(__u64 table, __u64 high, __u64 low, __u32 kind)
{
	__u64 hash = lb_real_hash(high, low, kind, LB_REALS_MULTIPLIER(table));
	const struct lb_real_bucket *bucket = real_bucket_of(table, hash);
	__u32 id = 0;
	int i;

#pragma unroll
	for (i = 0; i < LB_REAL_WAYS; i++) {
		__u64 word = *(const volatile __u64 *)&bucket->real[i];

		if ((word ^ hash) >> 32 == 0) {
			id = LB_REAL_BACKEND(word);
			break;
		}
	}
	OPAQUE(id);
	return id;
}

/* The number of the backend if its real is in the way of its own, as almost all are; else of
 * another one, or 0 if no real has this hash. Without the branches of real_look: which way it is
 * varies from packet to packet, so that a processor mispredicts them. */
static __always_inline __u32 real_guess(__u64 table, __u64 high, __u64 low, __u32 kind)
{
	__u64 hash = lb_real_hash(high, low, kind, LB_REALS_MULTIPLIER(table));
	const struct lb_real_bucket *bucket = real_bucket_of(table, hash);

	return (__u32) * (const volatile __u64 *)&bucket->real[LB_REAL_WAY(hash)];
}

/* address: as in a packet; of the line's family. */
static __always_inline bool is_address(const struct lb_return *line, __u32 family,
				       const void *address)
{
	return family == 4 ? *(const __be32 *)address == line->real[0]
			   : same_address_v6(address, line->real);
}

static __always_inline bool is_real(const struct lb_return *line, __u32 family, const void *address)
{
	return line->family == family && is_address(line, family, address);
}

/* The same in a function of its own, for all but what most replies need: inlined again, it would
 * cost those registers. */
LB_NOINLINE __u32 real_seek(__u64 table, __u64 high, __u64 low, __u32 kind)
{
	return real_look(table, high, low, kind);
}

static __always_inline __u32 real_seek_at(__u64 table, __u32 family, const void *address,
					  __u32 kind)
{
	const __u64 *half = address;

	return family == 4 ? real_seek(table, 0, *(const __be32 *)address, kind)
			   : real_seek(table, half[0], half[1], kind);
}

/* The line of this number, if it is of this real. kind: LB_REAL_KIND. NULL: it is not. */
static __always_inline struct lb_return *real_line(__u32 id, __u32 family, const void *address,
						   __u32 kind)
{
	struct lb_return *line = return_of(id); /* that of number 0 has no family */

	return is_address(line, family, address) && lb_return_kind(line) == (kind | family << 24)
		   ? line
		   : NULL;
}

/* The number of the backend with this real, else of the one that has all ports of the address; 0:
 * there is none. For the few that real_guess does not find. */
LB_NOINLINE __u32 real_search(__u64 table, __u64 high, __u64 low, __u32 kind, __u32 family)
{
	const __u64 half[2] = {high, low};
	const __be32 v4 = low;
	const void *address = family == 4 ? (const void *)&v4 : half;
	__u32 id = real_look(table, high, low, kind);

	if (real_line(id, family, address, kind))
		return id;
	kind &= LB_REAL_KIND(0, 0xff);
	id = table & LB_REALS_ANY ? real_look(table, high, low, kind) : 0;
	return real_line(id, family, address, kind) ? id : 0;
}

static __always_inline __u32 real_search_at(__u64 table, __u32 family, const void *address,
					    __u32 kind)
{
	const __u64 *half = address;

	return family == 4 ? real_search(table, 0, *(const __be32 *)address, kind, family)
			   : real_search(table, half[0], half[1], kind, family);
}

/* The real with this address and port, else the one that has all ports. table: reals_word. NULL:
 * there is none. */
static __always_inline struct lb_return *real_find(__u64 table, __u32 family, const void *address,
						   __be16 port, __u8 protocol, __u32 *ret_id)
{
	const __u32 kind = LB_REAL_KIND(port, protocol);
	const __u64 *half = address;
	struct lb_return *line;

	*ret_id = family == 4 ? real_guess(table, 0, *(const __be32 *)address, kind)
			      : real_guess(table, half[0], half[1], kind);
	line = real_line(*ret_id, family, address, kind);
	if (likely(line) || !(*ret_id || table & LB_REALS_ANY))
		return line;
	*ret_id = real_search_at(table, family, address, kind);
	return *ret_id ? return_of(*ret_id) : NULL;
}

/* A real with this address, of any protocol and port. NULL: none has it. */
static __always_inline struct lb_return *real_with(__u32 family, const void *address, __u32 *ret_id)
{
	struct lb_return *line;

	*ret_id = real_seek_at(reals_word(), family, address, 0);
	line = return_of(*ret_id);
	return is_real(line, family, address) ? line : NULL;
}

static __always_inline const void *source_of(const struct packet *p)
{
	return p->family == 4 ? (const void *)&((const struct iphdr *)p->l3)->saddr
			      : (const void *)&((const struct ipv6hdr *)p->l3)->saddr;
}

/* Whether the source is not that of a real. False: it may be. */
static __always_inline bool is_from_no_real(const struct packet *p)
{
	const __be32 *word = source_of(p);
	__u32 bit = p->family == 4 ? lb_address_bit(word[0], 0, 0, 0)
				   : lb_address_bit(word[0], word[1], word[2], word[3]);

	return !(settings.real[bit / 64 & 3] >> (bit & 63) & 1);
}

/* ---- hairpins: a backend as client of a VIP ---- */

static __always_inline bool is_itself(const struct packet *p, const struct lb_backend *b)
{
	if (p->family == 4)
		return ((const struct iphdr *)p->l3)->saddr == b->outer_dst[0];
	return same_address_v6(source_of(p), b->outer_dst);
}

/* Whether the client is a backend on the same link as b, which would reply to it directly, with an
 * address that it does not know. */
static __always_inline bool is_beside(const struct packet *p, const struct lb_backend *b)
{
	const struct lb_backend *client;
	__u32 id;

	if (!real_with(p->family, source_of(p), &id))
		return false;
	client = backend_at(id);
	return client->nat.on_link && client->ifindex == b->ifindex &&
	       client->vlan_tci == b->vlan_tci;
}

/* Whether the packet is sent to where it came from. */
static __always_inline bool turns_back(const struct packet *p, const struct lb_backend *b)
{
	return b->ifindex == p->ctx->ingress_ifindex;
}

/* Whether it goes on with a connection: of its first packet the questions about the client were
 * asked. */
static __always_inline bool goes_on(const struct packet *p)
{
	return p->tcp_flags & LB_TCP_ACK;
}

/* Whether the client is a backend beside this one. Asked of what may open a flow. back:
 * turns_back. */
static __always_inline bool is_neighbour(const struct packet *p, const struct lb_backend *b,
					 bool back)
{
	return back && unlikely(b->nat.on_link) && !is_from_no_real(p) && is_beside(p, b);
}

/* back: turns_back. */
static __always_inline bool is_hairpin(const struct packet *p, const struct lb_backend *b,
				       bool back)
{
	return is_itself(p, b) || (!goes_on(p) && is_neighbour(p, b, back));
}

/* ---- clients that answer ---- */

/* Whether it is a datagram from a port at which a VIP, a real or this host may serve. */
static __always_inline bool may_be_answer(__u8 protocol, __be16 source_port)
{
	return protocol == IPPROTO_UDP && settings.served >> (bpf_ntohs(source_port) >> 10) & 1;
}

static __always_inline bool is_vip_v4(__be32 address)
{
	struct route r = {};

	tables_find(&r);
	return continues(vip_find_v4(&r, address));
}

static __always_inline bool is_vip_v6(const struct in6_addr *address)
{
	struct route r = {};

	tables_find(&r);
	return continues(vip_find_v6(&r, address));
}

static __always_inline bool is_from_vip(const struct packet *p)
{
	return p->family == 4 ? is_vip_v4(((const struct iphdr *)p->l3)->saddr)
			      : is_vip_v6(&((const struct ipv6hdr *)p->l3)->saddr);
}

static __always_inline bool is_from_this_host(const struct packet *p)
{
	struct lb_path_key key = {.family = p->family};

	if (p->family == 4)
		key.addr[0] = ((const struct iphdr *)p->l3)->saddr;
	else
		__builtin_memcpy(key.addr, ((const struct ipv6hdr *)p->l3)->saddr.in6_u.u6_addr32,
				 sizeof(key.addr));
	return bpf_map_lookup_elem(&locals, &key) != NULL;
}

static __always_inline bool is_from_real_of(const struct packet *p, __u32 kind)
{
	__u32 id = real_seek_at(reals_word(), p->family, source_of(p), kind);

	return real_line(id, p->family, source_of(p), kind);
}

/* protocol: UDP, or with LB_REAL_TRANSLATED. */
static __always_inline bool is_from_real(const struct packet *p, __be16 port, __u8 protocol)
{
	return is_from_real_of(p, LB_REAL_KIND(port, protocol)) ||
	       is_from_real_of(p, LB_REAL_KIND(0, protocol));
}

/* Whether the client of a datagram can be one. What serves there would answer the backend's answer,
 * and the backend that again: one forged datagram would never come to rest. TCP does, as nothing
 * answers a reset. LB_CONTINUE, or the reason. p: of it the IP header alone. */
static __always_inline int client_judge(const struct packet *p, __be16 port)
{
	if (is_from_vip(p) || is_from_this_host(p))
		return LB_REASON_martian;
	if (is_from_real(p, port, IPPROTO_UDP) ||
	    (p->family == 6 && is_from_real(p, port, IPPROTO_UDP | LB_REAL_TRANSLATED)))
		return LB_REASON_nat_hairpin;
	return LB_CONTINUE;
}

/* The packet with its IP header at l3_offset, without what is behind it. */
LB_NOINLINE int client_judge_at(struct xdp_md *ctx, __u32 l3_offset, __u32 family, __u32 port)
{
	struct packet p = {.end = (void *)(long)ctx->data_end,
			   .l3 = (void *)(long)ctx->data + (l3_offset & 31),
			   .family = family};

	if (family == 4 ? header_v4(&p) == NULL : header_v6(&p) == NULL)
		return LB_CONTINUE;
	return client_judge(&p, (__be16)port);
}

/* The same of any packet of a flow, if it is to be asked about. */
static __always_inline int client_judge_rare(const struct packet *p)
{
	const __be16 port = (__be16)p->ports;

	if (p->kind == PACKET_LATER_FRAGMENT || !may_be_answer(p->protocol, port))
		return LB_CONTINUE;
	return client_judge_at(p->ctx, p->l3_offset, p->family, port);
}

/* ---- the way in ---- */

static __always_inline void destination_write(const struct packet *p, const struct lb_backend *b)
{
	if (p->family == 4) {
		struct iphdr *ip = p->l3;

		ip->ttl--;
		ip->check = csum_shift_16(ip->check, b->nat.delta3);
		ip->daddr = b->outer_dst[0];
	} else {
		struct ipv6hdr *ip = p->l3;

		ip->hop_limit--;
		copy_address_v6(&ip->daddr, b->outer_dst);
	}
}

/* The ports are readable. */
static __always_inline void destination_port_write(const struct packet *p,
						   const struct lb_backend *b)
{
	if (b->nat.port)
		((__be16 *)p->l4)[1] = b->nat.port;
}

/* What the straight path knows of a plain packet, as one number: its length (bits 0-15), protocol
 * (16-23), TCP flags (24-31). */
#define PLAIN(p)          ((p)->length | (__u32)(p)->protocol << 16 | (__u32)(p)->tcp_flags << 24)
#define PLAIN_LENGTH(x)   ((__u32)(x)&0xffff)
#define PLAIN_PROTOCOL(x) ((__u32)(x) >> 16 & 0xff)
#define PLAIN_FLAGS(x)    ((__u32)(x) >> 24)

/* An untagged packet with so many bytes of headers, as the straight path had it; false: it has
 * not. */
static __always_inline bool plain_again(struct packet *p, __u32 plain, __u8 family, __u32 headers)
{
	void *data = (void *)(long)p->ctx->data;

	p->end = (void *)(long)p->ctx->data_end;
	p->l3 = data + ETH_HLEN;
	p->l4 = p->l3 + headers - sizeof(struct tcphdr);
	p->l3_offset = ETH_HLEN;
	p->length = PLAIN_LENGTH(plain);
	p->protocol = PLAIN_PROTOCOL(plain);
	p->tcp_flags = PLAIN_FLAGS(plain);
	p->family = family;
	return p->l3 + headers <= p->end;
}

/* For LB_CONTINUE: the backend has the other family, and translate can send to it; the client of a
 * datagram is to be judged, and nat_judged_in sends it. */
#define NAT_TRANSLATE (LB_CONTINUE - 1)
#define NAT_JUDGE     (LB_CONTINUE - 2)

/* judged: what client_judge says of the packet is known, a constant here. */
static __always_inline int nat_plain_in(const struct packet *p, __u32 backend, bool judged)
{
	const struct lb_backend *b = backend_at(backend);
	const __u32 kind = lb_backend_kind(b);
	const bool back = turns_back(p, b);

	if (unlikely(kind != LB_BACKEND_STRAIGHT(p->family)))
		return p->family == 4 && kind == LB_BACKEND_STRAIGHT(6) ? NAT_TRANSLATE
									: LB_CONTINUE;
	if (p->length > b->mtu || hop_limit(p) <= 1 || unlikely(is_itself(p, b)))
		return LB_CONTINUE;
	if (!goes_on(p)) {
		if (unlikely(is_neighbour(p, b, back)))
			return LB_CONTINUE;
		if (!judged && unlikely(may_be_answer(p->protocol, *(__be16 *)p->l4)))
			return NAT_JUDGE;
	}
	destination_write(p, b);
	destination_port_write(p, b);
	transport_shift_plain(p, b->nat.delta4);
	link_write(p->l3 - ETH_HLEN, b, inner_ethertype(p), ETH_HLEN);
	return back ? LB_REASON_forwarded_tx : egress_redirect(b);
}

/* Send what almost all packets are to a backend; LB_CONTINUE: nat_in has to. Functions of their
 * own: they cost the packets of other services no register. plain: PLAIN. */
LB_NOINLINE int nat_plain_in_v4(struct xdp_md *ctx, __u32 backend, __u32 plain)
{
	struct packet p = {.ctx = ctx};

	if (!plain_again(&p, plain, 4, sizeof(struct iphdr) + sizeof(struct tcphdr)))
		return LB_CONTINUE;
	return nat_plain_in(&p, backend, false);
}

LB_NOINLINE int nat_plain_in_v6(struct xdp_md *ctx, __u32 backend, __u32 plain)
{
	struct packet p = {.ctx = ctx};

	if (!plain_again(&p, plain, 6, sizeof(struct ipv6hdr) + sizeof(struct tcphdr)))
		return LB_CONTINUE;
	return nat_plain_in(&p, backend, false);
}

/* After NAT_JUDGE, the same. */
LB_NOINLINE int nat_judged_in(struct xdp_md *ctx, __u32 backend)
{
	struct packet p = {.ctx = ctx, .l3_offset = ETH_HLEN};

	if (!parse_untagged(&p) || !parse_plain(&p) ||
	    !continues(client_judge(&p, (__be16)p.ports)))
		return LB_CONTINUE;
	if (p.family == 4) {
		p.family = 4;
		return nat_plain_in(&p, backend, true);
	}
	p.family = 6;
	return nat_plain_in(&p, backend, true);
}

#endif
