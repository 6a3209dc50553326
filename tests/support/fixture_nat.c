/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes the maps of `forward: nat` as include/lb_abi.h defines them, without the code of lbd. */
#include "fixture_nat.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "lb.skel.h"

/* ---- reals ---- */

static struct addr parse(const char *text)
{
	struct addr address;

	assert_int_equal(addr_parse(text, &address), 0);
	return address;
}

/* How a sum changes that covers `before`, and then `after`. */
static uint16_t sum_change(const uint8_t *before, const uint8_t *after, size_t length)
{
	uint32_t sum = (uint16_t)~packet_sum(before, length, 0) + packet_sum(after, length, 0);

	return (sum & 0xffff) + (sum >> 16);
}

/* An address and a port, and a TTL: what is translated, as it lies in the headers. */
struct end {
	uint8_t address[16];
	uint8_t port[2];
	uint8_t ttl[2];
};

static struct end end_of(const struct addr *address, int port, int ttl)
{
	struct end end = {.port = {port >> 8, port & 255}, .ttl = {ttl}};

	memcpy(end.address, address->bytes, 16);
	return end;
}

static uint16_t delta3(const struct addr *from, const struct addr *to)
{
	const struct end before = end_of(from, 0, 64), after = end_of(to, 0, 63);

	return sum_change((const void *)&before, (const void *)&after, sizeof(before));
}

static uint16_t delta4(const struct addr *from, int from_port, const struct addr *to, int to_port)
{
	const struct end before = end_of(from, from_port, 0), after = end_of(to, to_port, 0);

	return sum_change((const void *)&before, (const void *)&after, sizeof(before));
}

static bool place(struct fixture *f, uint32_t seed, uint16_t id, bool address_only)
{
	const struct lb_return *line = &f->map.returns[id];
	uint64_t half[2] = {0, line->real[0]}, hash;
	struct lb_real_bucket *bucket;

	if (line->family == 6)
		memcpy(half, line->real, sizeof(half));
	hash = lb_real_hash(half[0], half[1],
			    address_only ? 0 : LB_REAL_KIND(line->port, line->protocol),
			    LB_TABLE_MULTIPLIER(seed));
	bucket = &f->map.reals[LB_REAL_BUCKET(hash) & (FIXTURE_REALS / 2 - 1)];
	for (unsigned i = 0; i < LB_REAL_WAYS; i++) {
		__u64 *at = &bucket->real[(LB_REAL_WAY(hash) + i) % LB_REAL_WAYS];

		if (*at && (*at ^ hash) >> 32)
			continue;
		if (!*at || !address_only)
			*at = LB_REAL(hash, id);
		return true;
	}
	return false;
}

static bool place_all(struct fixture *f, uint32_t seed)
{
	memset(f->map.reals, 0, FIXTURE_REALS * sizeof(*f->map.reals));
	for (uint16_t id = 1; id < f->backends; id++)
		if (f->map.returns[id].family &&
		    (!place(f, seed, id, false) || !place(f, seed, id, true)))
			return false;
	return true;
}

static void rebuild_reals(struct fixture *f)
{
	uint32_t seed = 1;
	uint64_t flags = 0;

	while (!place_all(f, seed))
		assert_true(++seed < 256);
	for (uint16_t id = 1; id < f->backends; id++)
		if (f->map.returns[id].family) {
			if (!f->map.returns[id].port)
				flags |= LB_REALS_ANY;
			if (f->map.returns[id].protocol & LB_REAL_TRANSLATED)
				flags |= LB_REALS_TRANSLATED;
		}
	memset(f->map.settings->real, 0, sizeof(f->map.settings->real));
	for (uint16_t id = 1; id < f->backends; id++) {
		const __be32 *real = f->map.returns[id].real;
		uint32_t bit = lb_address_bit(real[0], real[1], real[2], real[3]);

		if (f->map.returns[id].family)
			f->map.settings->real[bit / 64] |= 1ull << bit % 64;
	}
	f->map.settings->tables[1].reals = LB_REALS(0, FIXTURE_REALS / 2, seed) | flags;
}

void fixture_real(struct fixture *f, uint16_t backend, const char *vip, int protocol, int vip_port,
		  int port)
{
	struct lb_backend *b = &f->map.backends[backend];
	struct addr to = parse(vip), real = {.family = b->family};
	int translated = to.family != b->family ? LB_REAL_TRANSLATED : 0;

	memcpy(real.bytes, b->outer_dst, sizeof(real.bytes));
	b->spread = 0;
	b->csum = 0;
	memset(b->outer_src, 0, sizeof(b->outer_src));
	b->nat = (struct lb_nat){.port = htons(port),
				 .delta3 = delta3(&to, &real),
				 .delta4 = delta4(&to, vip_port, &real, port)};
	f->map.returns[backend] = (struct lb_return){.port = htons(port),
						     .vip_port = htons(vip_port),
						     .delta3 = delta3(&real, &to),
						     .delta4 = delta4(&real, port, &to, vip_port),
						     .protocol = protocol | translated,
						     .family = b->family};
	if (protocol == IPPROTO_UDP)
		f->map.settings->served |= LB_PORTS_BIT(vip_port) | LB_PORTS_BIT(port);
	memcpy(f->map.returns[backend].real, real.bytes, sizeof(real.bytes));
	memcpy(f->map.returns[backend].vip, to.bytes, sizeof(to.bytes));
	rebuild_reals(f);
}

void fixture_own_mac(struct fixture *f)
{
	f->map.settings->own_mac = 0;
	memcpy(&f->map.settings->own_mac, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
}

struct lb_return_count fixture_return_count(const struct fixture *f, uint16_t id)
{
	struct lb_return_count sum = {0};

	for (unsigned cpu = 0; cpu < f->cpus; cpu++) {
		const struct lb_return_count *row =
		    &f->map.return_counts[cpu * FIXTURE_BACKENDS + id];

		sum.packets += row->packets;
		sum.bytes += row->bytes;
	}
	return sum;
}

/* ---- destinations ---- */

static struct lb_prefix prefix_of(const char *text, uint8_t *ret_family)
{
	struct lb_prefix prefix = {0};
	struct addr address;
	unsigned length;

	assert_int_equal(addr_parse_prefix(text, &address, &length), 0);
	memcpy(prefix.addr, address.bytes, sizeof(prefix.addr));
	for (unsigned bit = 0; bit < length; bit++)
		((uint8_t *)prefix.mask)[bit / 8] |= 0x80 >> bit % 8;
	*ret_family = address.family;
	return prefix;
}

void fixture_embed(struct fixture *f, const char *text)
{
	struct lb_settings *settings = f->map.settings;
	uint8_t family;
	struct lb_prefix prefix = prefix_of(text, &family);

	memcpy(settings->embed, prefix.addr, sizeof(settings->embed));
	memcpy(settings->embed_mask, prefix.mask, sizeof(settings->embed_mask));
	settings->embed_length = atoi(strchr(text, '/') + 1);
}

void fixture_ways(struct fixture *f, const struct way_spec *ways, unsigned count)
{
	struct lb_hop_list *list = &f->map.hops[1];
	unsigned at = 0, first;

	for (int family = 4; family <= 6; family += 2) {
		first = at;
		for (unsigned i = 0; i < count; i++) {
			struct lb_hop *hop = &list->hop[at];
			uint8_t of;

			*hop = (struct lb_hop){.prefix = prefix_of(ways[i].prefix, &of)};
			if (of != family)
				continue;
			at++;
			if (!ways[i].dst_mac)
				continue;
			sscanf(ways[i].dst_mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &hop->dst_mac[0],
			       &hop->dst_mac[1], &hop->dst_mac[2], &hop->dst_mac[3],
			       &hop->dst_mac[4], &hop->dst_mac[5]);
			memcpy(hop->src_mac, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
			hop->vlan_tci = htons(ways[i].vlan);
			hop->mtu = ways[i].mtu ? ways[i].mtu : 1500;
			hop->ifindex = ways[i].ifindex ? ways[i].ifindex : f->lo;
			hop->plain_mtu = hop->vlan_tci ? 0 : hop->mtu;
		}
		*(family == 4 ? &f->map.settings->hops4 : &f->map.settings->hops6) =
		    LB_LIST(1, first, at - first);
	}
}

void fixture_direct(struct fixture *f, const char *const *prefixes, unsigned count)
{
	unsigned at = 0, first;
	uint8_t of;

	for (int family = 4; family <= 6; family += 2) {
		first = at;
		for (unsigned i = 0; i < count; i++) {
			struct lb_prefix prefix = prefix_of(prefixes[i], &of);

			if (of == family)
				f->map.directs[2].prefix[at++] = prefix;
		}
		*(family == 4 ? &f->map.settings->direct4 : &f->map.settings->direct6) =
		    at > first ? LB_LIST(2, first, at - first) : 0;
	}
}

void fixture_local(struct fixture *f, const char *address)
{
	struct addr parsed = parse(address);
	struct lb_path_key key = {.family = parsed.family};
	uint32_t one = 1, bit;

	memcpy(key.addr, parsed.bytes, sizeof(key.addr));
	bit = lb_address_bit(key.addr[0], key.addr[1], key.addr[2], key.addr[3]);
	f->map.settings->local[bit / 64] |= 1ull << bit % 64;
	assert_int_equal(
	    bpf_map_update_elem(bpf_map__fd(f->skel->maps.locals), &key, &one, BPF_ANY), 0);
}
