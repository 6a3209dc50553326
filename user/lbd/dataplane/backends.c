/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes a backend's map value: outer header, next hop, flags; and the cost of a flow on it. */
#include "internal.h"

#include <arpa/inet.h>
#include <string.h>

#include "bpf/csum.h"
#include "common/log.h"
#include "lbd/host/host.h"

#define LINE_WORDS (sizeof(struct lb_backend) / sizeof(uint64_t))
#define FLAGS_WORD (offsetof(struct lb_backend, service) / sizeof(uint64_t))

_Static_assert(offsetof(struct lb_backend, flags) / sizeof(uint64_t) == FLAGS_WORD,
	       "the owner and the flags are one word");

__be32 dp_spread(const struct dataplane *dp, unsigned family)
{
	unsigned len = dp->encap_source_len[family == 6], fixed = family == 6 ? 96 : 0;

	if (!dp->encap_source[family == 6].family || len >= fixed + 32)
		return 0;
	return htonl(len <= fixed ? 0xffffffff : 0xffffffff >> (len - fixed));
}

/* The outer source address: the configured prefix, whose remaining bits the program fills in;
 * without one, the address of the host. */
static void set_source(const struct dataplane *dp, const struct dp_backend *want,
		       struct lb_backend *line)
{
	bool v6 = want->address.family == 6;
	const struct addr *prefix = &dp->encap_source[v6];

	line->spread = dp_spread(dp, want->address.family);
	if (!prefix->family) {
		memset(line->outer_src, 0, sizeof(line->outer_src));
		if (want->hop.source.family == want->address.family)
			memcpy(line->outer_src, want->hop.source.bytes, sizeof(line->outer_src));
		return;
	}
	memcpy(line->outer_src, prefix->bytes, sizeof(line->outer_src));
	line->outer_src[v6 ? 3 : 0] &= ~line->spread;
}

static uint8_t outer_protocol(const struct dp_service *service)
{
	if (service->forward == LB_FORWARD_GUE)
		return IPPROTO_UDP;
	if (service->forward == LB_FORWARD_GRE)
		return IPPROTO_GRE;
	return service->vip.family == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
}

static void set_path(const struct dataplane *dp, const struct dp_service *service,
		     const struct dp_backend *want, struct lb_backend *line)
{
	memcpy(line->dst_mac, want->hop.dst_mac, sizeof(line->dst_mac));
	memcpy(line->src_mac, want->hop.src_mac, sizeof(line->src_mac));
	line->vlan_tci = htons(want->hop.vlan_tci);
	line->link_mtu = want->hop.mtu;
	line->mtu = want->path_mtu ? want->path_mtu : want->hop.mtu;
	line->ifindex = want->hop.ifindex;
	line->csum = 0;
	if (service->forward == LB_FORWARD_NAT) {
		line->nat = reals_nat(service, want);
		return;
	}
	set_source(dp, want, line);
	if (want->address.family == 4)
		line->csum = (__u16)csum_of_constants(line->outer_dst[0], OUTER_TTL,
						      outer_protocol(service));
}

/* The value cannot be written in one store: it is written word by word, the word with owner and
 * flags last. What changes most often, the MAC of the next hop, is within one word. */
static void write_line(struct lb_backend *at, const struct lb_backend *line)
{
	line_word words[LINE_WORDS], *to = (line_word *)at;

	memcpy(words, line, sizeof(words));
	for (size_t i = 0; i < LINE_WORDS; i++)
		if (i != FLAGS_WORD)
			dp_update(&to[i], words[i]);
	dp_update(&to[FLAGS_WORD], words[FLAGS_WORD]);
}

static void write_member(struct dataplane *dp, const struct service_plan *plan,
			 const struct member *member)
{
	struct lb_backend *at = &dp->maps.backends[member->id], line = *at;

	line.service = plan->record->id;
	line.family = member->want.address.family;
	memcpy(line.outer_dst, member->want.address.bytes, sizeof(line.outer_dst));
	line.flags = LB_BACKEND_USED;
	if (member->want.usable) {
		line.flags |= LB_BACKEND_USABLE;
		if (member->want.hop.vlan_tci)
			line.flags |= LB_BACKEND_TAGGED;
		set_path(dp, &plan->want, &member->want, &line);
	}
	reals_set_idle(dp, &plan->want, member->id);
	write_line(at, &line);
}

/* Whether what is sent this way goes through tunnels. */
static bool is_tunnel(uint8_t forward)
{
	return forward != LB_FORWARD_L2 && forward != LB_FORWARD_NAT;
}

/* The interface must be in the egress map before packets are redirected to it. */
static void open_egress(struct dataplane *dp, const struct member *member)
{
	const struct lb_backend *line = &dp->maps.backends[member->id];
	char address[ADDR_TEXT];
	int rc;

	if (line->flags & LB_BACKEND_USABLE && line->ifindex == member->want.hop.ifindex)
		return;
	rc = dataplane_add_egress(dp, member->want.hop.ifindex);
	if (rc)
		log_warning("backend %s: redirects to interface %u are not possible: %s",
			    addr_format(&member->want.address, address), member->want.hop.ifindex,
			    strerror(-rc));
}

/* Its address may have been open before, or may not: that of a member whose packets did not go
 * through a tunnel. */
static void open_path(struct dataplane *dp, const struct service_plan *plan,
		      const struct member *member)
{
	const struct lb_backend *line = &dp->maps.backends[member->id];
	bool was_tunnel = is_tunnel(dp->maps.services[plan->record->id].forward);

	if (!is_tunnel(plan->want.forward) || (line->flags & LB_BACKEND_USABLE && was_tunnel))
		return;
	path_open(dp, &member->want.address);
}

void backends_publish(struct dataplane *dp, const struct service_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct member *member = &plan->members[i];

		if (!member->want.usable)
			continue;
		open_egress(dp, member);
		open_path(dp, plan, member);
		write_member(dp, plan, member);
		dp_update(&dp->maps.loads[member->id].cost, pick_cost(plan, i));
		task_pause();
	}
}

void backends_withdraw(struct dataplane *dp, const struct service_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct member *member = &plan->members[i];

		if (member->want.usable)
			continue;
		if (dp->maps.backends[member->id].flags & LB_BACKEND_USABLE)
			dp->grace_owed = true;
		write_member(dp, plan, member);
		dp_update(&dp->maps.loads[member->id].cost, 0);
		task_pause();
	}
}

void backend_retire(struct dataplane *dp, uint16_t id)
{
	dp_store(&dp->maps.backends[id].flags, 0);
	dp_update(&dp->maps.loads[id].cost, 0);
	dp->slots_of[id] = dp->kept_of[id] = 0;
	dp->dropped -= !!(dp->traits[id] & BACKEND_DROPPED);
	dp->traits[id] = 0;
	reals_leave(dp, id);
	ids_leave(&dp->backend_ids, id);
	path_close(dp);
	dp->grace_owed = true;
}
