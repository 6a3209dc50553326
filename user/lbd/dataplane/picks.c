/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lists from which new flows are assigned: turns for (weighted) round robin; members for the
 * least-cost algorithms, and their costs. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/plural.h"
#include "lbd/host/host.h"

/* Length of a weighted list, unless there are more backends; an unweighted one has one turn per
 * backend */
#define TURNS_AT_MOST 8192

static uint32_t effective_weight(const struct member *member)
{
	return member->want.usable ? member->want.weight : 0;
}

/* ---- least cost ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The latency of members that were not measured yet: the median of the others; 0: there are
 * none. */
static int fill_in_latencies(struct service_plan *plan)
{
	_cleanup_free_ uint32_t *known = calloc(plan->count + 1, sizeof(*known));
	unsigned count = 0;

	if (!known)
		return -ENOMEM;
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->members[i].want.usable && plan->members[i].want.latency_us)
			known[count++] = plan->members[i].want.latency_us;
	qsort(known, count, sizeof(*known), compare_u32);
	plan->pick.median_us = count ? known[count / 2] : 0;
	return 0;
}

uint32_t pick_cost(const struct service_plan *plan, unsigned index)
{
	const struct member *member = &plan->members[index];
	uint32_t weight = effective_weight(member);
	uint32_t latency_us =
	    member->want.latency_us ? member->want.latency_us : plan->pick.median_us;

	if (!weight || !plan->want.algorithm->cost)
		return !!weight;
	return plan->want.algorithm->cost(weight, latency_us);
}

/* ---- turns ---- */

struct turn {
	uint32_t id;
	uint32_t weight;
	int64_t claim;
	uint64_t rest; /* remainder of scaling the weight */
};

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static int compare_rests(const void *a, const void *b)
{
	const struct turn *const *x = a, *const *y = b;

	if ((*x)->rest != (*y)->rest)
		return (*x)->rest > (*y)->rest ? -1 : 1;
	return (*x > *y) - (*x < *y);
}

/* Scales the weights so that their sum is `most` and each is at least 1 (largest remainder). */
static int scale_weights(struct turn *turns, unsigned count, uint64_t sum, uint32_t most)
{
	_cleanup_free_ struct turn **by_rest = calloc(count, sizeof(*by_rest));
	uint64_t given = 0;

	if (!by_rest)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		uint64_t share = (uint64_t)turns[i].weight * most;

		turns[i].rest = share < sum ? 0 : share % sum;
		turns[i].weight = share < sum ? 1 : share / sum;
		given += turns[i].weight;
		by_rest[i] = &turns[i];
	}
	qsort(by_rest, count, sizeof(*by_rest), compare_rests);
	for (unsigned i = 0; i < count && given < most; i++, given++)
		by_rest[i]->weight++;
	return 0;
}

/* Reduces the weights so that the list can hold their sum. ret_sum: the length of the list. */
static int reduce_weights(struct turn *turns, unsigned count, uint64_t *ret_sum)
{
	uint32_t most = count > TURNS_AT_MOST ? count : TURNS_AT_MOST, divisor = 0;
	uint64_t sum = 0;
	int rc;

	for (unsigned i = 0; i < count; i++)
		divisor = gcd(turns[i].weight, divisor);
	for (unsigned i = 0; i < count; i++)
		sum += turns[i].weight /= divisor;
	if (sum > most) {
		rc = scale_weights(turns, count, sum, most);
		if (rc)
			return rc;
		sum = 0;
		for (unsigned i = 0; i < count; i++)
			sum += turns[i].weight;
	}
	*ret_sum = sum;
	return 0;
}

/* Smooth weighted round robin: at every turn each claim grows by the member's weight; the member
 * with the largest claim gets the turn, and its claim decreases by the sum. No member is ever more
 * than a turn ahead or behind, so turns of large weights do not come in bursts. */
static void sequence(struct turn *turns, unsigned count, uint64_t sum, uint32_t *list)
{
	for (uint64_t at = 0; at < sum; at++) {
		struct turn *next = turns;

		task_pause();
		for (unsigned i = 0; i < count; i++) {
			turns[i].claim += turns[i].weight;
			if (turns[i].claim > next->claim)
				next = &turns[i];
		}
		next->claim -= (int64_t)sum;
		list[at] = next->id;
	}
}

/* Equal weights: each member once, in order. The same result as sequence(), in linear time. */
static void sequence_of_equals(const struct turn *turns, unsigned count, uint32_t *list)
{
	for (unsigned i = 0; i < count; i++)
		list[i] = turns[i].id;
}

/* Writes the list and returns its length. sum: of the weights, which the list can hold. */
typedef uint32_t fill_fn(struct turn *turns, unsigned count, uint64_t sum, uint32_t *list);

static uint32_t fill_turns(struct turn *turns, unsigned count, uint64_t sum, uint32_t *list)
{
	if (sum == count)
		sequence_of_equals(turns, count, list);
	else
		sequence(turns, count, sum, list);
	return sum;
}

/* ---- members, of which the program takes the one of least cost ---- */

/* Few: the program compares all in the list. Of many it draws two, so each is in the list as often
 * as its weight says: drawn as seldom as one of little weight, one of much could not get its share.
 * The order does not matter. */
static uint32_t fill_members(struct turn *turns, unsigned count, uint64_t sum, uint32_t *list)
{
	uint32_t length = 0;

	for (unsigned i = 0; i < count; i++) {
		uint32_t times = count <= LB_EXACT_MEMBERS ? 1 : turns[i].weight;

		while (times--)
			list[length++] = turns[i].id;
	}
	return length;
}

/* ---- the plan ---- */

/* Lists the members that take new flows, each of its weight. */
static int list_weighted(struct service_plan *plan, fill_fn *fill)
{
	_cleanup_free_ struct turn *turns = calloc(plan->count + 1, sizeof(*turns));
	unsigned count = 0;
	uint64_t sum = 0;
	int rc;

	if (!turns)
		return -ENOMEM;
	for (unsigned i = 0; i < plan->count; i++) {
		uint32_t weight = effective_weight(&plan->members[i]);

		if (weight)
			turns[count++] = (struct turn){.id = plan->members[i].id, .weight = weight};
	}
	if (!count)
		return 0;
	rc = reduce_weights(turns, count, &sum);
	if (rc)
		return rc;
	plan->pick.list = calloc(sum, sizeof(*plan->pick.list));
	if (!plan->pick.list)
		return -ENOMEM;
	plan->pick.count = fill(turns, count, sum, plan->pick.list);
	return 0;
}

static int make_list(struct service_plan *plan)
{
	int rc;

	switch (plan->want.algorithm->select) {
	case LB_SELECT_TURN:
		return list_weighted(plan, fill_turns);
	case LB_SELECT_COST:
		rc = fill_in_latencies(plan);
		return rc ? rc : list_weighted(plan, fill_members);
	case LB_SELECT_SLOT:
		break;
	}
	return 0;
}

int pick_plan_make(struct dataplane *dp, struct service_plan *plan, struct error *err)
{
	const struct lb_service *line = &dp->maps.services[plan->record->id];
	uint32_t base, size = LB_REGION_SIZE(line->pick);
	char key[DP_KEY_TEXT];
	int rc = make_list(plan);

	if (rc)
		return error_set(err, rc, "out of memory");
	plan->pick.changed =
	    size != plan->pick.count ||
	    (size && memcmp(dp_slots(dp, line->pick), plan->pick.list, size * sizeof(uint32_t)));
	if (!plan->pick.changed || !plan->pick.count)
		return 0;
	rc = arena_take(&dp->arena, plan->pick.count, &base);
	if (rc)
		return error_set(
		    err, rc,
		    "%s: limits.slots: %u: no room for a list of %u turn%s, expected a larger limit",
		    dp_key_text(&plan->want, key), dp->maps.arena_slots, plan->pick.count,
		    plural_s(plan->pick.count));
	plan->pick.region = LB_REGION(base, plan->pick.count);
	return 0;
}

/* turns[].next is not reset: it is used modulo the list's length. */
void pick_apply(struct dataplane *dp, struct service_plan *plan)
{
	struct lb_service *line = &dp->maps.services[plan->record->id];
	uint64_t before = line->pick;

	if (!plan->pick.changed)
		return;
	if (plan->pick.region)
		memcpy(dp_slots(dp, plan->pick.region), plan->pick.list,
		       plan->pick.count * sizeof(uint32_t));
	dp_store(&line->pick, plan->pick.region);
	plan->pick.region = 0;
	dp_retire(dp, before);
}

void pick_plan_done(struct dataplane *dp, struct pick_plan *pick)
{
	dp_free_region(dp, pick->region);
	free(pick->list);
	*pick = (struct pick_plan){0};
}
