/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The model: from a frame to the reasons and backends that the documents allow. The order of
 * decisions is that of ARCHITECTURE.md, "The life of a packet". */
#include "packet_model.h"
#include "packet_translate.h"

#include <netinet/in.h>
#include <string.h>

#define TCP_FIN      0x01
#define TCP_SYN      0x02
#define TCP_RST      0x04
#define TCP_ACK      0x10
#define ALL_BACKENDS ((1u << WORLD_BACKENDS) - 1)
#define LEAST_MTU6   1280

/* ---- who is admitted ---- */

/* RFC 1122, 3.2.1.3; RFC 6890. */
static bool is_martian4(const struct view *v)
{
	const uint8_t *src = v->src;

	return src[0] == 0 || src[0] == 127 || src[0] >> 4 == 14 ||
	       !memcmp(src, "\xff\xff\xff\xff", 4) || !memcmp(src, v->dst, 4);
}

/* 1: impossible; 0: possible; -1: of ::/64, where nobody is, but which nothing forbids. */
static int is_martian6(const struct view *v)
{
	static const uint8_t zeros[16];
	const uint8_t *src = v->src;

	if (src[0] == 0xff || !memcmp(src, v->dst, 16))
		return 1;
	if (memcmp(src, zeros, 8) != 0)
		return 0;
	/* ::, ::1 and IPv4-compatible ones (RFC 4291, 2.5), IPv4-mapped ones */
	if (!memcmp(src, zeros, 12) || !memcmp(src + 8, "\0\0\xff\xff", 4))
		return 1;
	return -1;
}

/* Whether a host may be sent an answer: RFC 1122, 3.2.2; class E is nobody's for certain. A group
 * address is no sender's (IEEE 802.3). */
static bool may_be_answered(const struct view *v)
{
	if (v->frame[6] & 1)
		return false;
	return v->family == 6 || v->src[0] < 240;
}

bool model_is_own_mac(const struct model *model, const uint8_t *mac)
{
	if (!model->settings.links_known)
		return !(mac[0] & 1);
	return !memcmp(mac, world_own_macs[0], 6) || !memcmp(mac, world_own_macs[1], 6);
}

/* ---- what nothing takes ---- */

static uint8_t tcp_flags(const struct view *v)
{
	return v->l4[13];
}

static bool opens(const struct view *v)
{
	return v->protocol == IPPROTO_TCP &&
	       (tcp_flags(v) & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* RFC 9293, 3.10.7.1: anything but a reset draws one. A segment whose header does not fit in it
 * cannot be numbered, and a fragment not be seen whole. */
static bool draws_reset(const struct model *model, const struct view *v)
{
	const size_t offset = (v->l4[12] >> 4) * 4u;

	return !(tcp_flags(v) & TCP_RST) && v->part == PART_WHOLE && offset >= 20 &&
	       offset <= v->l4_length && may_be_answered(v) && !model->settings.no_errors;
}

static bool may_draw_error(const struct view *v)
{
	return v->part != PART_LATER && !view_is_icmp(v) && may_be_answered(v);
}

bool model_draws_error(const struct model *model, const struct view *v)
{
	return !model->settings.no_errors && may_draw_error(v);
}

bool model_draws_too_big(const struct model *model, const struct view *v)
{
	return !model->settings.no_short && may_draw_error(v);
}

/* answered and silent: reasons with and without an answer. */
static reason_set rejected(const struct model *model, const struct view *v, reason_set answered,
			   reason_set silent)
{
	if (v->part == PART_LATER || view_is_icmp(v))
		return silent;
	if (v->protocol == IPPROTO_TCP)
		return draws_reset(model, v) ? answered : silent;
	if (v->protocol == IPPROTO_UDP)
		return model_draws_error(model, v) ? answered : silent;
	/* "parameter problem" needs the place of the type, which is simple without extensions */
	return !model_draws_error(model, v) ? silent
	       : v->behind_extensions       ? answered | silent
					    : answered;
}

static reason_set unserved(const struct model *model, const struct view *v)
{
	if (model->settings.unserved == LB_REFUSE_PASS)
		return REASON(vip_no_service);
	if (model->settings.unserved == LB_REFUSE_DROP)
		return REASON(unserved);
	return rejected(model, v, REASON(unserved_rejected), REASON(unserved));
}

static reason_set unserved_icmp(const struct model *model)
{
	return model->settings.unserved == LB_REFUSE_PASS ? REASON(vip_icmp_other)
							  : REASON(unserved);
}

/* While a service has no backend, only new connections are reset (docs/config.md). */
static reason_set without_backend(const struct model *model, const struct view *v,
				  const struct world_service *service)
{
	if (service->plan->no_backend == LB_REFUSE_PASS)
		return REASON(no_backend_passed);
	if (service->plan->no_backend == LB_REFUSE_DROP)
		return REASON(no_backend);
	if (v->protocol == IPPROTO_TCP && !(tcp_flags(v) & TCP_SYN))
		return REASON(no_backend);
	if (v->protocol == IPPROTO_TCP && !opens(v)) /* SYN with ACK or RST: either */
		return REASON(no_backend) | REASON(no_backend_rejected);
	return rejected(model, v, REASON(no_backend_rejected), REASON(no_backend));
}

/* ---- forwarding ---- */

size_t model_overhead(const struct world_service *service)
{
	const size_t ip = service->outer_family == 4 ? 20 : 40;

	switch (service->plan->forward) {
	case LB_FORWARD_IPIP:
		return ip;
	case LB_FORWARD_GUE:
		return ip + 8 + 4;
	case LB_FORWARD_GRE:
		return ip + 4;
	default:
		return 0;
	}
}

static reason_set leaves(const struct world_service *service)
{
	switch (service->plan->egress) {
	case EGRESS_SAME:
		return REASON(forwarded_tx);
	case EGRESS_OTHER:
		return REASON(forwarded_redirect);
	default:
		return REASON(redirect_failed);
	}
}

size_t model_mtu(const struct world_service *service)
{
	return service->plan->path_mtu ? service->plan->path_mtu : service->plan->mtu;
}

/* Through the backend's link, unless it is out of hops. */
static reason_set sent_on(const struct model *model, const struct view *v,
			  const struct world_service *service)
{
	if (v->ttl > 1)
		return leaves(service);
	return model_draws_error(model, v) ? REASON(time_exceeded_answered) : REASON(ttl_exceeded);
}

/* The same, unless it is too long. What only a router's report refuses is sent if its sender cannot
 * be told (SECURITY.md); that nobody has an address of class E leaves open whether one is. */
static reason_set sent_to(const struct model *model, const struct view *v,
			  const struct world_service *service)
{
	const size_t overhead = model_overhead(service), mtu = model_mtu(service);
	const size_t length = v->ip_length + overhead;
	const bool told =
	    model_draws_too_big(model, v) && (v->family == 4 || mtu - overhead >= LEAST_MTU6);
	reason_set reasons = sent_on(model, v, service);

	if (is_translated(service))
		return translated_reasons(model, v, service);
	if (length <= mtu)
		return reasons;
	if (told)
		return REASON(too_big_answered) | (reasons & ~leaves(service));
	if (length > service->plan->mtu)
		return REASON(too_big) | (reasons & ~leaves(service));
	return reasons | (v->family == 4 && v->src[0] >= 240 ? REASON(too_big) : 0);
}

/* ---- flows ---- */

static const struct model_flow *find_flow(const struct model *model, const struct expectation *e,
					  size_t length)
{
	for (int i = 0; i < model->flow_count; i++) {
		const struct model_flow *flow = &model->flows[i];

		if (flow->service == e->service && flow->client_port == e->client_port &&
		    flow->vip_port == e->vip_port && !memcmp(flow->client, e->client, length))
			return flow;
	}
	return NULL;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, uint8_t family)
{
	return !memcmp(a, b, family == 4 ? 3 : 7);
}

/* Another flow of the client's network, that tells where all of its flows go. */
static const struct model_flow *find_neighbour(const struct model *model,
					       const struct expectation *e, uint8_t family)
{
	for (int i = 0; i < model->flow_count; i++)
		if (model->flows[i].service == e->service && model->flows[i].backend >= 0 &&
		    same_prefix(model->flows[i].client, e->client, family))
			return &model->flows[i];
	return NULL;
}

/* In transition (docs/tracking.md): what opens nothing is an older flow and belongs to the keeper,
 * backend 1. So does UDP, while lbd learns which flows live. A SYN goes to the current one, 0. */
static unsigned in_transition(const struct view *v, const struct expectation *e,
			      const struct model_flow *flow)
{
	if (flow && flow->settled)
		return 1u << flow->backend;
	if (flow || e->follows)
		return 3;
	if (e->service->protocol == IPPROTO_TCP && opens(v))
		return 1;
	if (v->protocol == IPPROTO_TCP && tcp_flags(v) & TCP_SYN) /* not only a SYN */
		return 3;
	return 2;
}

static unsigned backends_for(const struct model *model, const struct view *v,
			     const struct expectation *e)
{
	const struct model_flow *flow = find_flow(model, e, v->address_length), *other;

	if (e->service->plan->kind == KIND_TRANSITION)
		return in_transition(v, e, flow);
	if (flow && flow->backend >= 0)
		return 1u << flow->backend;
	other = e->service->plan->kind == KIND_SOURCE ? find_neighbour(model, e, v->family) : NULL;
	return other ? 1u << other->backend : ALL_BACKENDS;
}

/* ---- lists: docs/filters.md ---- */

static bool is_within(const struct world_prefix *prefix, const uint8_t *address)
{
	for (unsigned bit = 0; bit < prefix->length; bit++)
		if ((prefix->address[bit / 8] ^ address[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

/* The length of the longest prefix with the address; -1: none has it. */
static int longest(const struct world_prefix *list, unsigned count, uint8_t family,
		   const uint8_t *address)
{
	int most = -1;

	for (unsigned i = 0; i < count; i++)
		if (list[i].family == family && list[i].length > most &&
		    is_within(&list[i], address))
			most = list[i].length;
	return most;
}

static bool is_denied(const struct world_lists *lists, uint8_t family, const uint8_t *client)
{
	int allow, deny;

	if (!lists)
		return false;
	allow = longest(lists->allow, lists->allow_count, family, client);
	deny = longest(lists->deny, lists->deny_count, family, client);
	return allow < 0 && deny < 0 ? lists->allow_count > 0 : deny > allow;
}

/* ---- rates: docs/limits.md ---- */

/* Are all flows of the service in the flow table? */
static bool tracks(const struct world_service *service)
{
	const enum world_kind kind = service->plan->kind;

	return service->protocol == IPPROTO_UDP || kind == KIND_TURNS || kind == KIND_LEAST ||
	       kind == KIND_AFFINITY;
}

/* A SYN that is sent again opens nothing where its handshake is in the flow table. */
static enum opening opening_of(const struct model *model, const struct view *v,
			       const struct expectation *e)
{
	const struct model_flow *flow = find_flow(model, e, v->address_length);

	if (e->follows || !e->service->plan->burst)
		return OPENS_NOTHING;
	if (v->protocol == IPPROTO_UDP)
		return flow ? OPENS_NOTHING : OPENS_FLOW;
	if ((tcp_flags(v) & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return OPENS_NOTHING;
	if (!tracks(e->service))
		return OPENS_FLOW;
	if (!flow)
		return model->odd_syn ? OPENS_PERHAPS : OPENS_FLOW;
	return flow->opening ? OPENS_NOTHING : OPENS_PERHAPS;
}

static size_t prefix_bytes(const struct view *v)
{
	return v->family == 4 ? 3 : 7;
}

static struct model_rate *find_rate(struct model *model, const struct view *v,
				    const struct world_service *service, bool of_source)
{
	for (int i = 0; i < model->rate_count; i++) {
		struct model_rate *rate = &model->rates[i];

		if (rate->service == service && rate->of_source == of_source &&
		    (!of_source || !memcmp(rate->prefix, v->src, prefix_bytes(v))))
			return rate;
	}
	return NULL;
}

/* The bucket is empty, or has flows left: either is possible if that is not known. */
struct bucket {
	bool empty, left;
};

static struct bucket bucket_of(const struct model *model, const struct view *v,
			       const struct world_service *service, bool of_source)
{
	const unsigned burst = of_source ? service->plan->source_burst : service->plan->burst;
	const struct model_rate *rate = find_rate((struct model *)model, v, service, of_source);

	if (!burst)
		return (struct bucket){.left = true};
	return (struct bucket){.empty = rate && rate->most >= burst,
			       .left = !rate || rate->least < burst};
}

/* passed: the reasons for which a packet within the rates ends. The source's rate comes first. */
static reason_set limited(const struct model *model, const struct view *v, struct expectation *e,
			  reason_set passed)
{
	const struct bucket source = bucket_of(model, v, e->service, true),
			    all = bucket_of(model, v, e->service, false);
	reason_set reasons = 0;

	e->opening = opening_of(model, v, e);
	if (e->opening == OPENS_NOTHING)
		return passed;
	if (source.empty)
		reasons |= REASON(over_source_rate);
	if (source.left && all.empty)
		reasons |= REASON(over_service_rate);
	if ((source.left && all.left) || e->opening == OPENS_PERHAPS)
		reasons |= passed;
	return reasons;
}

static void count_flow(struct model *model, const struct view *v, const struct expectation *e,
		       bool of_source, bool certain)
{
	struct model_rate *rate = find_rate(model, v, e->service, of_source);

	if (!rate) {
		rate = &model->rates[model->rate_count++];
		*rate = (struct model_rate){
		    .service = e->service, .of_source = of_source, .family = v->family};
		memcpy(rate->prefix, v->src, prefix_bytes(v));
	}
	rate->least += certain;
	rate->most++;
}

/* A flow that the service's rate refuses has used one of its source's. */
static void note_rates(struct model *model, const struct view *v, const struct expectation *e,
		       int reason)
{
	const bool refused = reason == LB_REASON_over_service_rate;

	if (e->opening == OPENS_NOTHING || reason == LB_REASON_over_source_rate)
		return;
	count_flow(model, v, e, true, refused || e->opening == OPENS_FLOW);
	if (!refused)
		count_flow(model, v, e, false, e->opening == OPENS_FLOW);
}

/* ---- the packet of a flow ---- */

/* A packet of a TCP or UDP flow, or an ICMP error about one. */
static void expect_flow(const struct model *model, const struct view *v, struct expectation *e)
{
	if (e->service->plan->no_fragments && v->part == PART_FIRST) {
		e->reasons = REASON(fragment_refused);
		return;
	}
	if (is_denied(e->service->plan->lists, v->family, e->client)) {
		e->reasons = REASON(denied);
		return;
	}
	if (e->service->plan->kind == KIND_DEAD) {
		e->reasons =
		    e->follows ? REASON(no_backend) : without_backend(model, v, e->service);
		return;
	}
	e->reasons = limited(model, v, e, sent_to(model, v, e->service));
	e->backends = backends_for(model, v, e);
}

/* ---- ICMP ---- */

/* RFC 4861: hop limit 255, router solicitation to redirect. */
static bool is_neighbour_discovery(const struct view *v)
{
	return v->family == 6 && v->ttl == 255 && v->l4[0] >= 133 && v->l4[0] <= 137;
}

static reason_set echo(const struct model *model, const struct view *v)
{
	if (model->settings.no_short || view_transport_sum(v) != 0xffff || !may_be_answered(v))
		return REASON(echo_refused);
	return REASON(echo_answered);
}

static void expect_icmp(const struct model *model, int vip, const struct view *v,
			struct expectation *e)
{
	struct view_quote quote;

	e->follows = true;
	if (v->part == PART_WHOLE && v->l4[0] == (v->family == 4 ? 8 : 128) && !v->l4[1]) {
		e->reasons = echo(model, v);
		return;
	}
	e->reasons = is_neighbour_discovery(v) ? REASON(vip_icmp_other) : unserved_icmp(model);
	if (v->part != PART_WHOLE || !view_is_error(v) || !view_quoted(v, &quote))
		return;
	e->service = world_find_service(vip, quote.protocol, quote.vip_port);
	if (!e->service)
		return;
	e->client = quote.client;
	e->client_port = quote.client_port;
	e->vip_port = quote.vip_port;
	expect_flow(model, v, e);
	if (quote.source_routed) /* what a VIP never sends */
		e->reasons |= unserved_icmp(model);
}

/* ---- fragments ---- */

/* Is it a fragment of this datagram? RFC 791 names it by protocol too, RFC 8200 not. */
static bool is_of(const struct model_datagram *d, const struct view *v)
{
	return d->family == v->family && !memcmp(d->src, v->src, v->address_length) &&
	       !memcmp(d->dst, v->dst, v->address_length) && d->id == v->datagram &&
	       (v->family == 6 || d->protocol == v->protocol);
}

/* It goes the way of this first fragment. */
static void follow_first(const struct model *model, const struct view *v,
			 const struct model_datagram *first, struct expectation *e)
{
	const bool pass = model->settings.unserved == LB_REFUSE_PASS;

	if (!first->service) {
		e->reasons |= pass ? REASON(vip_no_service) : REASON(unserved);
		return;
	}
	e->service = first->service;
	e->reasons |= sent_to(model, v, first->service);
	e->backends = first->backend >= 0 ? 1u << first->backend : ALL_BACKENDS;
}

/* The last first fragment of its datagram counts; but one that was refused takes the place of none
 * that was not. */
static void expect_later(const struct model *model, const struct view *v, struct expectation *e)
{
	const bool pass = model->settings.unserved == LB_REFUSE_PASS;
	const int last = model->datagram_count - 1;

	e->follows = true;
	e->reasons = REASON(fragment_unknown);
	if (v->protocol != IPPROTO_TCP && v->protocol != IPPROTO_UDP)
		e->reasons |=
		    pass ? REASON(vip_no_service) | REASON(vip_icmp_other) : REASON(unserved);
	for (int i = last; i >= 0; i--) {
		const struct model_datagram *d = &model->datagrams[i];

		if (!is_of(d, v))
			continue;
		/* Another one may have taken the place in the table that remembers them. */
		if (i == last && (!d->refused || !i))
			e->reasons = 0;
		if (!d->refused) {
			follow_first(model, v, d, e);
			return;
		}
		e->reasons |= REASON(fragment_refused);
	}
}

/* ---- the whole ---- */

static void expect_transport(const struct model *model, int vip, const struct view *v,
			     struct expectation *e)
{
	if (v->part == PART_LATER) {
		expect_later(model, v, e);
		return;
	}
	if (view_is_icmp(v)) {
		expect_icmp(model, vip, v, e);
		return;
	}
	e->reasons = unserved(model, v);
	if (v->protocol != IPPROTO_TCP && v->protocol != IPPROTO_UDP)
		return;
	e->client = v->src;
	e->client_port = get16(v->l4);
	e->vip_port = get16(v->l4 + 2);
	e->service = world_find_service(vip, v->protocol, e->vip_port);
	if (e->service)
		expect_flow(model, v, e);
}

void model_expect(const struct model *model, const struct view *v, struct expectation *ret)
{
	struct expectation *e = ret;
	int vip, martian;

	*e = (struct expectation){.reasons = REASON(malformed)};
	if (v->link == LINK_SHORT)
		return;
	e->reasons = REASON(not_ip);
	if (v->link == LINK_OTHER && !get16(v->frame + v->l3 - 2)) /* IEEE 802.3: a length of 0 */
		e->reasons |= REASON(malformed);
	if (v->link == LINK_OTHER)
		return;
	e->reasons = REASON(not_vip);
	vip = world_find_vip(v->family, v->dst);
	if (vip < 0) {
		translated_reply(model, v, e);
		return;
	}
	e->reasons = REASON(vip_other_mac);
	if (!model_is_own_mac(model, v->frame))
		return;
	e->reasons = REASON(martian);
	martian = v->family == 4 ? is_martian4(v) : is_martian6(v);
	if (martian > 0)
		return;
	e->reasons = REASON(vip_malformed);
	e->reached = v->sound;
	if (v->sound)
		expect_transport(model, vip, v, e);
	e->reasons |= martian < 0 ? REASON(martian) : 0;
	e->reasons |=
	    v->source_routed ? REASON(martian) : 0; /* routers may refuse them: RFC 7126 */
	e->reasons |= v->odd_extensions ? REASON(vip_malformed) : 0;
}

/* ---- what was seen ---- */

/* Was it dropped before a backend was looked for? */
static bool is_turned_away(int reason)
{
	return reason == LB_REASON_denied || reason == LB_REASON_over_service_rate ||
	       reason == LB_REASON_over_source_rate;
}

static void note_datagram(struct model *model, const struct view *v, const struct expectation *e,
			  int reason, int backend)
{
	struct model_datagram *d = &model->datagrams[model->datagram_count];

	/* where there was no backend, and of ICMP of either family, there is nothing to remember */
	if (!e->reached || v->part != PART_FIRST || v->protocol == IPPROTO_ICMP ||
	    v->protocol == IPPROTO_ICMPV6 || is_turned_away(reason) ||
	    (e->service && e->service->plan->kind == KIND_DEAD))
		return;
	*d = (struct model_datagram){.family = v->family,
				     .protocol = v->protocol,
				     .id = v->datagram,
				     .service = e->service,
				     .backend = backend,
				     .refused = reason == LB_REASON_fragment_refused};
	memcpy(d->src, v->src, v->address_length);
	memcpy(d->dst, v->dst, v->address_length);
	model->datagram_count++;
}

/* In transition a flow stays when it is known to be an older one, or when a packet after its SYN
 * continues that: until then the SYN may have been forged in the name of an older flow. */
static void settle(struct model_flow *flow, const struct view *v)
{
	const uint32_t seq = v->protocol == IPPROTO_TCP ? get32(v->l4 + 4) : 0;

	if (v->protocol != IPPROTO_TCP || flow->older)
		flow->settled = true;
	else if (tcp_flags(v) & TCP_SYN)
		flow->next_seq = seq + 1;
	else
		flow->settled |= seq == flow->next_seq;
}

/* An RST of a flow that is not known is its last packet: it is not remembered. Where the slot alone
 * decides, there is nothing to remember. */
static bool is_remembered(const struct view *v, const struct expectation *e)
{
	const enum world_kind kind = e->service->plan->kind;

	return kind == KIND_MAGLEV || kind == KIND_SOURCE || v->protocol != IPPROTO_TCP ||
	       opens(v) || !(tcp_flags(v) & TCP_RST);
}

/* A SYN and nothing else, or the same again. */
static bool is_opening(const struct view *v)
{
	return v->protocol == IPPROTO_TCP &&
	       (tcp_flags(v) & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

void model_note(struct model *model, const struct view *v, const struct expectation *e, int reason,
		int backend)
{
	struct model_flow *flow;

	note_datagram(model, v, e, reason, backend);
	if (!e->reached || !e->service || e->follows || reason == LB_REASON_fragment_refused ||
	    reason == LB_REASON_denied)
		return;
	note_rates(model, v, e, reason);
	if (is_turned_away(reason))
		return;
	model->odd_syn |= v->protocol == IPPROTO_TCP && tcp_flags(v) & TCP_SYN && !is_opening(v);
	flow = (struct model_flow *)find_flow(model, e, v->address_length);
	if (!flow && !is_remembered(v, e))
		return;
	if (!flow) {
		flow = &model->flows[model->flow_count++];
		*flow = (struct model_flow){.service = e->service,
					    .client_port = e->client_port,
					    .vip_port = e->vip_port,
					    .backend = -1,
					    .opening = true,
					    .older = !opens(v)};
		memcpy(flow->client, e->client, v->address_length);
	}
	flow->opening &= is_opening(v);
	if (backend < 0)
		return;
	flow->backend = backend;
	settle(flow, v);
}
