/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table of reals, by which the program knows replies (lb_abi.h, "replies"), and their lines.
 * The table is made in memory with a seed for which no bucket overflows, copied into the half that
 * is not in use, and put in force with one store: before the first packet is sent to a new
 * backend. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/csum.h"
#include "common/cleanup.h"
#include "common/plural.h"
#include "lbd/host/host.h"

#define SEEDS_PER_SIZE 16   /* before a larger table is tried */
#define SEEDS          256  /* at the full size */
#define PAUSE_REALS    1024 /* between two pauses */
#define BOND_TEXT      (DP_KEY_TEXT + 96)

/* Two entries for each backend, its real and its address: on average at most 1.25 of the eight ways
 * are in use. With 65 536 buckets two of three seeds then fill none beyond its ways. */
uint32_t reals_buckets(uint32_t backends)
{
	uint32_t buckets = 4;

	while (buckets < 2 * (uint64_t)backends * 4 / 5 && buckets < LB_REAL_BUCKETS_MOST)
		buckets *= 2;
	return buckets;
}

/* ---- the line of a real ---- */

static uint32_t sum_of(const __be32 address[4])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4; i++)
		sum += (uint32_t)address[i];
	return csum_fold_words(sum);
}

/* What becomes of a sum when the address and the port change. */
static uint32_t change(const __be32 from[4], __be16 from_port, const __be32 to[4], __be16 to_port)
{
	uint32_t sum = (uint16_t)~sum_of(from) + sum_of(to);

	if (from_port && to_port)
		sum += (uint32_t)(uint16_t)~from_port + to_port;
	return csum_fold(sum);
}

static bool is_translated(const struct lb_return *line)
{
	return line->protocol & LB_REAL_TRANSLATED;
}

struct dp_service dp_return_key(const struct lb_return *line)
{
	struct dp_service key = {.protocol = line->protocol & ~LB_REAL_TRANSLATED,
				 .port = ntohs(line->vip_port)};

	key.vip.family = is_translated(line) ? 4 : line->family;
	memcpy(key.vip.bytes, line->vip, sizeof(key.vip.bytes));
	return key;
}

/* The sum of an IPv4 header also changes by the TTL, which becomes one less. */
static uint16_t with_ttl(uint32_t sum)
{
	return (uint16_t)csum_fold(sum + (uint16_t)~CSUM_WORD(1, 0));
}

static struct lb_return line_of(const struct dp_service *service, const struct dp_backend *want)
{
	struct lb_return line = {
	    .port = want->port,
	    .vip_port = want->port ? htons(service->port) : 0,
	    .protocol = dp_return_protocol(service, want->address.family),
	    .family = want->address.family,
	};

	memcpy(line.real, want->address.bytes, sizeof(line.real));
	memcpy(line.vip, service->vip.bytes, sizeof(line.vip));
	line.delta3 = with_ttl(change(line.real, 0, line.vip, 0));
	line.delta4 = (uint16_t)change(line.real, line.port, line.vip, line.vip_port);
	return line;
}

struct lb_nat reals_nat(const struct dp_service *service, const struct dp_backend *want)
{
	const struct lb_return line = line_of(service, want);

	return (struct lb_nat){
	    .port = line.port,
	    .delta3 = with_ttl(change(line.vip, 0, line.real, 0)),
	    .delta4 = (uint16_t)change(line.vip, line.vip_port, line.real, line.port),
	    .on_link = !want->hop.gateway.family,
	};
}

bool reals_keep(const struct dataplane *dp, const struct dp_service *service,
		const struct dp_backend *want, uint16_t id)
{
	const struct lb_return *line = &dp->maps.returns[id];

	if (service->forward != LB_FORWARD_NAT)
		return !line->family;
	return line->family && line->port == want->port;
}

/* The family is written last: with it the line is valid. */
static void write_line(struct lb_return *at, const struct lb_return *line)
{
	struct lb_return none_yet = *line;

	dp_store(&at->family, 0);
	none_yet.family = 0;
	memcpy(at, &none_yet, sizeof(*at));
	dp_store(&at->family, line->family);
}

void reals_set_idle(struct dataplane *dp, const struct dp_service *service, uint16_t id)
{
	uint32_t idle_ms =
	    service->protocol == IPPROTO_TCP ? service->tcp_idle_ms : service->udp_idle_ms;

	if (dp->maps.returns[id].family)
		dp_update(&dp->maps.returns[id].idle, dp_ticks(idle_ms));
}

/* One that an earlier lbd has removed has left then: its time does not begin again. */
void reals_leave(struct dataplane *dp, uint16_t id)
{
	struct lb_return *line = &dp->maps.returns[id];
	uint32_t now = dp_tick(dp);

	if (line->family && !line->left)
		dp_store(&line->left, now ? now : 1);
}

void reals_return(struct dataplane *dp, uint16_t id)
{
	dp_update(&dp->maps.returns[id].left, 0);
}

/* Ticks for which replies may still come. */
static uint32_t time_left(const struct dataplane *dp, const struct lb_return *line)
{
	uint32_t age = line->left ? dp_tick(dp) - line->left : 0;

	return age > line->idle ? 0 : line->idle - age + 1;
}

bool reals_wait(const struct dataplane *dp, uint32_t id)
{
	const struct lb_return *line = &dp->maps.returns[id];

	return line->family && time_left(dp, line);
}

/* ---- which reals there are ---- */

struct real {
	struct lb_return line;
	uint16_t id;
	bool made;      /* with this change */
	size_t service; /* dataplane_find_bound: whose backend it would be, in its list */
	unsigned backend;
};

/* By address, protocol and port; the one that a change makes, or the one in use, first. */
static int compare(const void *a, const void *b)
{
	const struct real *x = a, *y = b;
	int order = (int)x->line.family - y->line.family;

	if (!order)
		order = memcmp(x->line.real, y->line.real, sizeof(x->line.real));
	if (!order)
		order = (int)x->line.protocol - y->line.protocol;
	if (!order)
		order = (int)ntohs(x->line.port) - ntohs(y->line.port);
	if (!order)
		order = (int)y->made - x->made;
	if (!order)
		order = (x->line.left > 0) - (y->line.left > 0);
	return order ? order : (int)y->id - x->id;
}

static bool same_address(const struct real *a, const struct real *b)
{
	return a->line.family == b->line.family &&
	       !memcmp(a->line.real, b->line.real, sizeof(a->line.real));
}

static bool same_vip(const struct real *a, const struct real *b)
{
	return !memcmp(a->line.vip, b->line.vip, sizeof(a->line.vip)) &&
	       a->line.vip_port == b->line.vip_port;
}

/* Whether the two are a real of two services: its replies could be either's. */
static bool contradict(const struct real *a, const struct real *b)
{
	return a->line.protocol == b->line.protocol &&
	       (a->line.port == b->line.port || !a->line.port || !b->line.port) && !same_vip(a, b);
}

static struct dp_service backend_key(const struct lb_return *line)
{
	struct dp_service key = {.protocol = line->protocol & ~LB_REAL_TRANSLATED,
				 .port = ntohs(line->port)};

	key.vip.family = line->family;
	memcpy(key.vip.bytes, line->real, sizeof(key.vip.bytes));
	return key;
}

/* Why a real is not free: it is, or was, a backend of that service. */
static const char *bond_text(const struct dataplane *dp, const struct real *other,
			     char text[BOND_TEXT])
{
	const struct dp_service theirs = dp_return_key(&other->line);
	char key[DP_KEY_TEXT];

	if (!other->line.left)
		snprintf(text, BOND_TEXT, "is a backend of %s (`forward: nat`)",
			 dp_key_text(&theirs, key));
	else
		snprintf(text, BOND_TEXT,
			 "was a backend of %s (`forward: nat`), and replies from there may come "
			 "for %llu s more",
			 dp_key_text(&theirs, key),
			 ((unsigned long long)time_left(dp, &other->line) << LB_TICK_SHIFT) /
			     1000000000);
	return text;
}

static int refuse(const struct dataplane *dp, const struct real *real, const struct real *other,
		  struct error *err)
{
	const struct dp_service mine = dp_return_key(&real->line);
	const struct dp_service theirs = dp_return_key(&other->line);
	const struct dp_service backend = backend_key(&real->line);
	char a[DP_KEY_TEXT], b[DP_KEY_TEXT], text[DP_KEY_TEXT], bond[BOND_TEXT];

	if (other->made)
		return error_set(err, -EEXIST,
				 "%s: backend %s: is a backend of %s as well (`forward: nat`), "
				 "expected one service for each",
				 dp_key_text(&mine, a), dp_key_text(&backend, text),
				 dp_key_text(&theirs, b));
	return error_set(err, -EBUSY, "%s: backend %s: %s; expected a later change",
			 dp_key_text(&mine, a), dp_key_text(&backend, text),
			 bond_text(dp, other, bond));
}

/* reals: sorted. Only one that this change makes can contradict another. */
static int check(const struct dataplane *dp, const struct real *reals, size_t count,
		 struct error *err)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count && same_address(&reals[i], &reals[j]); j++) {
			const struct real *made = reals[i].made ? &reals[i] : &reals[j];
			const struct real *other = reals[i].made ? &reals[j] : &reals[i];

			if (made->made && contradict(made, other))
				return refuse(dp, made, other, err);
		}
	return 0;
}

/* Not those whose time is over, and only their ids are not free yet: they are in nobody's way, and
 * in the table one with a port would get the replies of a new one that has all ports. */
static size_t add_known(const struct dataplane *dp, struct real *reals)
{
	size_t count = 0;

	for (uint32_t id = 1; id < dp->maps.backend_slots; id++)
		if (reals_wait(dp, id))
			reals[count++] = (struct real){.line = dp->maps.returns[id], .id = id};
	return count;
}

static size_t add_made_of(const struct dataplane *dp, const struct service_plan *service,
			  struct real *reals)
{
	size_t made = 0;

	if (service->want.forward != LB_FORWARD_NAT)
		return 0;
	for (unsigned i = 0; i < service->count; i++) {
		const struct member *member = &service->members[i];

		if (dp->maps.returns[member->id].family)
			continue;
		if (reals)
			reals[made] = (struct real){
			    .line = line_of(&service->want, &member->want),
			    .id = member->id,
			    .made = true,
			};
		made++;
	}
	return made;
}

/* Returns how many; reals: NULL: they are only counted. */
static size_t add_made(const struct dataplane *dp, const struct service_plan *services,
		       size_t count, struct real *reals)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++)
		made += add_made_of(dp, &services[i], reals ? reals + made : NULL);
	return made;
}

/* ---- those that are not free ---- */

static bool has_real(const struct dataplane *dp, const struct dp_service *service,
		     const struct dp_backend *backend)
{
	const struct record *record = dp_find(dp, service);
	const struct member *member = record ? record_find(record, &backend->address) : NULL;

	return member && reals_keep(dp, service, backend, member->id);
}

/* Returns how many reals these services would add. */
static size_t add_wanted(const struct dataplane *dp, const struct dp_service *services,
			 size_t count, struct real *reals)
{
	size_t wanted = 0;

	for (size_t i = 0; i < count; i++) {
		const struct dp_service *service = &services[i];

		task_pause();
		if (service->forward != LB_FORWARD_NAT)
			continue;
		for (unsigned j = 0; j < service->backends_count; j++)
			if (!has_real(dp, service, &service->backends[j]))
				reals[wanted++] = (struct real){
				    .line = line_of(service, &service->backends[j]),
				    .made = true,
				    .service = i,
				    .backend = j,
				};
	}
	return wanted;
}

/* The one in use that keeps reals[at] from its service; NULL: none does. reals: sorted. */
static const struct real *find_bond(const struct real *reals, size_t count, size_t at)
{
	size_t i = at;

	while (i && same_address(&reals[i - 1], &reals[at]))
		i--;
	for (; i < count && same_address(&reals[i], &reals[at]); i++)
		if (!reals[i].made && contradict(&reals[at], &reals[i]))
			return &reals[i];
	return NULL;
}

static void describe_bound(const struct dataplane *dp, const struct real *real,
			   const struct real *other, struct dp_bound *ret)
{
	const struct dp_service backend = backend_key(&real->line);
	char key[DP_KEY_TEXT], bond[BOND_TEXT];

	ret->service = real->service;
	ret->backend = real->backend;
	snprintf(ret->why, sizeof(ret->why), "%s %s", dp_key_text(&backend, key),
		 bond_text(dp, other, bond));
}

static int compare_places(const void *a, const void *b)
{
	const struct dp_bound *x = a, *y = b;

	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	return (x->backend > y->backend) - (x->backend < y->backend);
}

int dataplane_find_bound(const struct dataplane *dp, const struct dp_service *services,
			 size_t count, struct dp_bound **ret, size_t *ret_count)
{
	_cleanup_free_ struct real *reals = NULL;
	size_t wanted = 0, all, found = 0;
	struct dp_bound *bound;

	for (size_t i = 0; i < count; i++)
		wanted += services[i].backends_count;
	reals = calloc(dp->maps.backend_slots + wanted, sizeof(*reals));
	bound = calloc(wanted + 1, sizeof(*bound));
	if (!reals || !bound) {
		free(bound);
		return -ENOMEM;
	}
	wanted = add_wanted(dp, services, count, reals);
	all = wanted + add_known(dp, reals + wanted);
	qsort(reals, all, sizeof(*reals), compare);
	for (size_t i = 0; i < all; i++) {
		const struct real *other = reals[i].made ? find_bond(reals, all, i) : NULL;

		if (i % PAUSE_REALS == PAUSE_REALS - 1)
			task_pause();
		if (other)
			describe_bound(dp, &reals[i], other, &bound[found++]);
	}
	qsort(bound, found, sizeof(*bound), compare_places);
	*ret = bound;
	*ret_count = found;
	return 0;
}

/* ---- the table ---- */

/* False: the bucket is full, or the fingerprint is there already. */
static bool place(struct lb_real_bucket *buckets, uint64_t word, const struct lb_return *line,
		  bool address_only, uint16_t id)
{
	const __be16 port = address_only ? 0 : line->port;
	const uint8_t protocol = address_only ? 0 : line->protocol;
	uint64_t half[2] = {0, (uint32_t)line->real[0]}, hash;
	struct lb_real_bucket *bucket;

	if (line->family == 6)
		memcpy(half, line->real, sizeof(half));
	hash =
	    lb_real_hash(half[0], half[1], LB_REAL_KIND(port, protocol), LB_REALS_MULTIPLIER(word));
	bucket = &buckets[LB_REAL_BUCKET(hash) & (LB_REALS_BUCKETS(word) - 1)];
	for (unsigned way = 0; way < LB_REAL_WAYS; way++)
		if (bucket->real[way] && (bucket->real[way] ^ hash) >> 32 == 0)
			return false;
	for (unsigned i = 0; i < LB_REAL_WAYS; i++) {
		__u64 *at = &bucket->real[(LB_REAL_WAY(hash) + i) % LB_REAL_WAYS];

		if (*at)
			continue;
		*at = LB_REAL(hash, id);
		return true;
	}
	return false;
}

/* reals: sorted. Of several with the same port the first counts. */
static bool place_all(struct lb_real_bucket *buckets, uint64_t word, const struct real *reals,
		      size_t count)
{
	memset(buckets, 0, LB_REALS_BUCKETS(word) * sizeof(*buckets));
	for (size_t i = 0; i < count; i++) {
		const struct real *before = i ? &reals[i - 1] : NULL;
		bool known = before && same_address(before, &reals[i]);

		if (i % PAUSE_REALS == PAUSE_REALS - 1)
			task_pause();
		if (!known && !place(buckets, word, &reals[i].line, true, reals[i].id))
			return false;
		if (known && before->line.protocol == reals[i].line.protocol &&
		    before->line.port == reals[i].line.port)
			continue;
		if (!place(buckets, word, &reals[i].line, false, reals[i].id))
			return false;
	}
	return true;
}

/* What the word of the table says of all of them. */
static uint64_t flags_of(const struct real *reals, size_t count)
{
	uint64_t flags = 0;

	for (size_t i = 0; i < count; i++) {
		if (!reals[i].line.port)
			flags |= LB_REALS_ANY;
		if (is_translated(&reals[i].line))
			flags |= LB_REALS_TRANSLATED;
	}
	return flags;
}

/* 0; -ENOSPC: no seed fits. ret->buckets has room for the largest table. */
static int make_table(const struct dataplane *dp, const struct real *reals, size_t count,
		      struct reals_plan *ret)
{
	const uint32_t most = dp->maps.real_buckets / 2;
	const uint64_t flags = flags_of(reals, count);
	const uint32_t enough = reals_buckets((uint32_t)count);

	for (uint32_t buckets = enough < most ? enough : most;; buckets *= 2) {
		unsigned seeds = buckets == most ? SEEDS : SEEDS_PER_SIZE;

		for (unsigned seed = 0; seed < seeds; seed++) {
			ret->word = LB_REALS(0, buckets, seed) | flags;
			if (place_all(ret->buckets, ret->word, reals, count))
				return 0;
			task_pause();
		}
		if (buckets == most)
			return -ENOSPC;
	}
}

static int plan_make(struct dataplane *dp, struct real *reals, size_t count, struct reals_plan *ret,
		     struct error *err)
{
	int rc;

	task_pause();
	qsort(reals, count, sizeof(*reals), compare); /* 5 ms of ten thousand */
	task_pause();
	rc = check(dp, reals, count, err);
	if (rc)
		return rc;
	task_pause();
	ret->changed = true;
	ret->word = 0;
	for (size_t i = 0; i < count; i++)
		dp_set_address_bit(ret->bits, reals[i].line.real);
	if (!count)
		return 0;
	ret->buckets = calloc(dp->maps.real_buckets / 2, sizeof(*ret->buckets));
	if (!ret->buckets)
		return error_set(err, -ENOMEM, "out of memory");
	rc = make_table(dp, reals, count, ret);
	return rc ? error_set(err, rc,
			      "limits.backends: %u: the table of reals cannot take %zu backend%s "
			      "(`forward: nat`), expected a larger limit",
			      dp->maps.backend_slots - 1, count, plural_s(count))
		  : 0;
}

int reals_plan_make(struct dataplane *dp, const struct service_plan *services, size_t count,
		    struct reals_plan *ret, struct error *err)
{
	size_t made = add_made(dp, services, count, NULL), known;
	_cleanup_free_ struct real *reals = NULL;

	if (!made)
		return 0;
	reals = calloc(dp->maps.backend_slots + made, sizeof(*reals));
	ret->lines = calloc(made, sizeof(*ret->lines));
	ret->ids = calloc(made, sizeof(*ret->ids));
	if (!reals || !ret->lines || !ret->ids)
		return error_set(err, -ENOMEM, "out of memory");
	ret->count = add_made(dp, services, count, reals);
	for (size_t i = 0; i < made; i++) {
		ret->lines[i] = reals[i].line;
		ret->ids[i] = reals[i].id;
	}
	known = add_known(dp, reals + made);
	return plan_make(dp, reals, made + known, ret, err);
}

void reals_plan_done(struct reals_plan *plan)
{
	free(plan->buckets);
	free(plan->lines);
	free(plan->ids);
	*plan = (struct reals_plan){0};
}

void reals_apply(struct dataplane *dp, const struct reals_plan *plan)
{
	struct lb_settings *settings = dp->maps.settings;
	uint32_t half = dp->maps.real_buckets / 2;
	uint32_t spare = LB_REALS_BASE(settings->tables[settings->active & 1].reals) ? 0 : half;
	uint64_t word = plan->word ? plan->word | LB_REALS(spare, 0, 0) : 0;

	if (!plan->changed)
		return;
	if (dp->reals_owed)
		dp_grace(dp);
	for (size_t i = 0; i < plan->count; i++)
		write_line(&dp->maps.returns[plan->ids[i]], &plan->lines[i]);
	if (word)
		memcpy(&dp->maps.reals[spare], plan->buckets,
		       LB_REALS_BUCKETS(word) * sizeof(*plan->buckets));
	/* those of the former table that are not in this one are gone */
	for (unsigned i = 0; i < LB_ADDRESS_BITS / 64; i++)
		dp_update(&settings->real[i], plan->bits[i]);
	dp_store(&settings->tables[settings->active & 1].reals, word);
	dp_store(&settings->tables[!(settings->active & 1)].reals, word);
	dp->grace_owed = dp->reals_owed = true;
}

void reals_release(struct dataplane *dp, uint32_t id)
{
	if (!dp->maps.returns[id].family)
		return;
	dp_store(&dp->maps.returns[id].family, 0);
	memset(&dp->maps.returns[id], 0, sizeof(struct lb_return));
	dp->reals_stale = true;
}

void reals_refresh(struct dataplane *dp)
{
	_cleanup_free_ struct real *reals = NULL;
	struct reals_plan plan = {0};
	struct error err;

	if (!dp->reals_stale)
		return;
	reals = calloc(dp->maps.backend_slots, sizeof(*reals));
	/* out of memory: the words of what is gone match no line, and the next round tries again */
	if (reals && !plan_make(dp, reals, add_known(dp, reals), &plan, &err)) {
		reals_apply(dp, &plan);
		dp->reals_stale = false;
	}
	reals_plan_done(&plan);
}
