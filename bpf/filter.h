/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `allow` and `deny`: whether a client may use a service. Layout and rule of the search are in
 * lb_abi.h, filters. Only services with lists come here. */
#ifndef LB_FILTER_H
#define LB_FILTER_H

#include "count.h"
#include "maps.h"
#include "packet.h"
#include "service.h"

/* Volatile, so that the flag is not known to the verifier from then on: it would walk all that
 * follows once for services with a filter, and once for those without. */
static __always_inline bool is_filtered(const struct route *r)
{
	__u32 flags = *(volatile __u8 *)&r->service->flags;

	return unlikely(flags & LB_SERVICE_FILTERED);
}

/* The first chunk of the filters in force. Found once for a packet, which then sees the same
 * filters throughout. -1: no service has one. */
static __always_inline __u32 filter_image(void)
{
	return *(volatile __u32 *)&settings.filters - 1;
}

static __always_inline struct lb_filter_block *filter_block(__u32 image, __u32 index)
{
	__u32 chunk = image + index / LB_FILTER_CHUNK, at = index % LB_FILTER_CHUNK;
	void *blocks = bpf_map_lookup_elem(&filters, &chunk);

	return blocks ? bpf_map_lookup_elem(blocks, &at) : NULL;
}

/* The verdict for all addresses that begin as this one does. top: its first 32 bits. */
static __always_inline __u32 filter_verdict(__u32 image, const struct lb_filter_table *table,
					    __u32 top)
{
	__u32 place = (__u32)((__u64)top >> (table->verdicts_shift & 63));
	__u32 at = table->verdicts + place / LB_FILTER_VERDICTS;
	struct lb_filter_block *block = filter_block(image, at / LB_FILTER_WORDS);

	if (!block)
		return LB_FILTER_ALLOWED;
	return block->word[at % LB_FILTER_WORDS] >> place % LB_FILTER_VERDICTS * 2 & 3;
}

/* A search: `below` bounds are known not to be above the address, and the next `count` are to be
 * looked at. */
struct filter_search {
	__u64 image;
	const struct lb_filter_table *table;
	__u64 high, low; /* the address; IPv4 in `high` */
	__u64 below, count;
};

static __always_inline void filter_begin(struct filter_search *search, __u32 top)
{
	const struct lb_filter_table *table = search->table;
	__u32 at = table->directory + (__u32)((__u64)top >> (table->shift & 63));
	struct lb_filter_block *block = filter_block(search->image, at / LB_FILTER_WORDS);
	__u32 next = (at + 1) % LB_FILTER_WORDS;

	if (!block)
		return;
	search->below = block->word[at % LB_FILTER_WORDS];
	if (!next)
		block = filter_block(search->image, at / LB_FILTER_WORDS + 1);
	if (block)
		search->count = (__u32)(block->word[next] - search->below);
}

/* Whether a - b - borrow is below 0: 1 or 0. */
static __always_inline __u64 filter_borrow(__u64 a, __u64 b, __u64 borrow)
{
	__u64 bits = (~a & b) | ((~a | b) & (a - b - borrow));

	OPAQUE(bits);
	return bits >> 63;
}

/* The steps are callbacks of bpf_loop, as the verifier walks a callback once and a loop as often as
 * it runs. Each halves `count`, whatever it finds, and adds to `below` without a branch: there is
 * nothing to guess for the processor. They return 1 when the search has ended. */

/* above: 1: bound number below + half - 1 is above the address, and those after it are; 0: not. */
static __always_inline long filter_halve(struct filter_search *search, __u64 half, __u64 above)
{
	search->below += half * (1 - above);
	search->count -= half;
	return !search->count;
}

static long filter_step_v4(__u64 step, struct filter_search *search)
{
	__u64 half = (search->count + 1) / 2;
	__u64 at = search->table->bounds + search->below + half - 1;
	struct lb_filter_block *block = filter_block(search->image, at / LB_FILTER_WORDS);

	if (!block)
		return 1;
	return filter_halve(search, half,
			    filter_borrow(search->high, block->word[at % LB_FILTER_WORDS], 0));
}

static long filter_step_v6(__u64 step, struct filter_search *search)
{
	const __u32 in_block = sizeof(struct lb_filter_block) / sizeof(struct lb_filter_bound);
	__u64 half = (search->count + 1) / 2, at = search->below + half - 1;
	struct lb_filter_bound *bound = (void *)filter_block(
	    search->image, search->table->bounds / LB_FILTER_WORDS + at / in_block);

	if (!bound)
		return 1;
	bound += at % in_block;
	return filter_halve(
	    search, half,
	    filter_borrow(search->high, bound->high, filter_borrow(search->low, bound->low, 0)));
}

static __always_inline __u32 filter_search_v4(__u32 image, const struct lb_filter_table *table,
					      __u32 address)
{
	struct filter_search search = {.image = image, .table = table, .high = address};

	filter_begin(&search, address);
	if (search.count)
		bpf_loop(LB_FILTER_SEARCH, filter_step_v4, &search, 0);
	return (table->denies ^ search.below) & 1;
}

static __always_inline __u32 filter_search_v6(__u32 image, const struct lb_filter_table *table,
					      __u64 high, __u64 low)
{
	struct filter_search search = {.image = image, .table = table, .high = high, .low = low};

	filter_begin(&search, high >> 32);
	if (search.count)
		bpf_loop(LB_FILTER_SEARCH, filter_step_v6, &search, 0);
	return (table->denies ^ search.below) & 1;
}

static __always_inline int filter_end(__u32 denied, __u32 service)
{
	struct lb_service_count *count;

	if (!denied)
		return LB_CONTINUE;
	count = service_count_of(service);
	if (count)
		count->denied++;
	return LB_REASON_denied;
}

/* The head of the service's filter; NULL: it has none. */
static __always_inline struct lb_filter_head *filter_head(__u32 image, __u32 service)
{
	return (void *)filter_block(image, service);
}

/* Functions of their own, as they are long; they take numbers, so that the client may come from a
 * packet or from a quoted one. Addresses are in host order. */

LB_NOINLINE int filter_v4(__u32 service, __u32 address)
{
	__u32 image = filter_image();
	struct lb_filter_head *head = filter_head(image, service);
	__u32 verdict;

	if (!head || !head->v4.shift)
		return LB_CONTINUE;
	verdict = filter_verdict(image, &head->v4, address);
	if (unlikely(verdict == LB_FILTER_MIXED))
		verdict = filter_search_v4(image, &head->v4, address);
	return filter_end(verdict, service);
}

LB_NOINLINE int filter_v6(__u32 service, __u64 high, __u64 low)
{
	__u32 image = filter_image();
	struct lb_filter_head *head = filter_head(image, service);
	__u32 verdict;

	if (!head || !head->v6.shift)
		return LB_CONTINUE;
	verdict = filter_verdict(image, &head->v6, high >> 32);
	if (unlikely(verdict == LB_FILTER_MIXED))
		verdict = filter_search_v6(image, &head->v6, high, low);
	return filter_end(verdict, service);
}

static __always_inline __u64 filter_half(const __be32 *word)
{
	return (__u64)bpf_ntohl(word[0]) << 32 | bpf_ntohl(word[1]);
}

/* LB_CONTINUE or LB_REASON_denied. client: IPv4 in the first word. */
static __always_inline int filter_client(__u32 family, const __be32 *client, const struct route *r)
{
	if (family == 4)
		return filter_v4(r->service->id, bpf_ntohl(client[0]));
	return filter_v6(r->service->id, filter_half(client), filter_half(client + 2));
}

static __always_inline int filter_source(const struct packet *p, const struct route *r)
{
	if (p->family == 4)
		return filter_client(4, &((struct iphdr *)p->l3)->saddr, r);
	return filter_client(6, ((struct ipv6hdr *)p->l3)->saddr.in6_u.u6_addr32, r);
}

#endif
