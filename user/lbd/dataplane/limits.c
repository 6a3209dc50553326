/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates of new flows: writes them, clears words of source prefixes that say nothing any more, and
 * reads what was dropped. Rules: docs/limits.md. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#include "lb_limit.h"

#define MINUTE_NS     (60 * 1000000000ULL)
#define SOURCE_UNIT   (1ULL << LB_SOURCE_SHIFT) /* ns */
#define SOURCE_WORDS  (LB_SOURCE_BUCKETS * LB_SOURCE_WAYS)
#define SOURCES_SWEPT 4096 /* words a round: all of them within minutes */

static bool rates_equal(const struct dp_rate *a, const struct dp_rate *b)
{
	return a->per_minute == b->per_minute && a->burst == b->burst;
}

bool dp_limits_equal(const struct dp_limit *a, const struct dp_limit *b)
{
	return rates_equal(&a->service, &b->service) && rates_equal(&a->source, &b->source) &&
	       a->source4 == b->source4 && a->source6 == b->source6;
}

bool dp_has_limit(const struct dp_limit *limit)
{
	return limit->service.per_minute || limit->source.per_minute;
}

/* ---- writing ---- */

/* Of one flow, in units of so many ns; rounded up, so that the rate is never exceeded. */
static uint64_t cost_of(const struct dp_rate *rate, uint64_t unit)
{
	uint64_t per_minute = rate->per_minute * unit;

	return rate->per_minute ? (MINUTE_NS + per_minute - 1) / per_minute : 0;
}

/* A packet between the two stores must not find a flow that costs more than the whole bucket. */
static void write_rate(__u64 *cost, __u64 *span, const struct dp_rate *rate, uint64_t unit)
{
	uint64_t wanted = cost_of(rate, unit);

	if (wanted > *cost)
		dp_update(span, wanted * rate->burst);
	dp_update(cost, wanted);
	dp_update(span, wanted * rate->burst);
}

/* The first bits of an address, as it is in a packet. */
static void write_mask(__u32 *words, unsigned count, unsigned bits)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned here = bits > 32 * i ? bits - 32 * i : 0;

		dp_update(&words[i], lb_hash_prefix_v4(here > 32 ? 32 : here));
	}
}

void limit_write(struct dataplane *dp, uint32_t service, const struct dp_limit *limit, bool made)
{
	struct lb_limit *line = &dp->maps.limits[service];

	if (made)
		dp_update(&line->full_at, 0);
	write_mask(&line->mask4, 1, limit->source4);
	write_mask(line->mask6, 4, limit->source6);
	dp_update(&line->length4, limit->source4);
	dp_update(&line->length6, limit->source6);
	write_rate(&line->cost, &line->span, &limit->service, 1);
	write_rate(&line->source_cost, &line->source_span, &limit->source, SOURCE_UNIT);
}

/* ---- words of source prefixes ---- */

/* A full bucket is what a prefix without a word has, so the word says nothing. Left alone it would
 * look like an empty bucket after 6.5 days. */
static void clear_if_full(uint64_t *at, uint64_t now)
{
	uint64_t word = dp_load(at);

	if (word && lb_source_ahead(word, now) <= 0)
		__atomic_compare_exchange_n(at, &word, 0, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED);
}

void sources_sweep(struct dataplane *dp, uint32_t now_tick)
{
	uint64_t now = lb_source_now((uint64_t)now_tick << LB_TICK_SHIFT);

	for (unsigned i = 0; i < SOURCES_SWEPT; i++) {
		clear_if_full(&dp->maps.sources[dp->sweep.source], now);
		dp->sweep.source = (dp->sweep.source + 1) % SOURCE_WORDS;
	}
}

void sources_clear(struct dataplane *dp)
{
	for (uint32_t i = 0; i < SOURCE_WORDS; i++)
		dp_update(&dp->maps.sources[i], 0);
}

/* ---- offenders ---- */

/* Of a service that is gone: their tags would be right for the next one with its id. */
void offenders_forget(struct dataplane *dp, uint32_t service)
{
	size_t places = (size_t)dp->maps.cpus * LB_OFFENDERS;

	for (size_t i = 0; i < places; i++)
		if (dp->maps.offenders[i].service == service)
			dp_update(&dp->maps.offenders[i].tag, 0);
}

/* ---- reading ---- */

/* A copy of one place. False: it is empty, of a service that is gone, or was being written. */
static bool offender_read(const struct dataplane *dp, const struct lb_offender *at,
			  struct dp_offender *ret)
{
	const struct lb_offender copy = *at;
	struct lb_tuple source = {.family = copy.family};
	uint64_t tag = dp_load(&at->tag);
	uint32_t quiet = dp_tick(dp) - copy.last;

	memcpy(source.client, copy.addr, sizeof(source.client));
	if (!tag || copy.service >= dp->maps.service_slots || !dp->by_id[copy.service] ||
	    lb_source_hash(&source, &dp->maps.settings->key, copy.service) != tag)
		return false;
	*ret = (struct dp_offender){
	    .service = dp->by_id[copy.service]->want,
	    .prefix.family = copy.family,
	    .length = copy.length,
	    .dropped = copy.dropped,
	    .surely = copy.dropped - copy.inherited,
	    .quiet_ms =
		(int32_t)quiet > 0 ? (uint32_t)(((uint64_t)quiet << LB_TICK_SHIFT) / 1000000) : 0,
	};
	memcpy(ret->prefix.bytes, copy.addr, addr_length(&ret->prefix));
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct dp_offender *x = a, *y = b;
	int order = dp_compare_keys(&x->service, &y->service);

	if (!order)
		order = addr_compare(&x->prefix, &y->prefix);
	return order ? order : x->length - y->length;
}

static int by_dropped(const void *a, const void *b)
{
	const struct dp_offender *x = a, *y = b;

	if (x->dropped != y->dropped)
		return x->dropped < y->dropped ? 1 : -1;
	return by_name(a, b);
}

/* Adds up what several CPUs have counted for the same prefix. Returns how many are left. */
static size_t merge(struct dp_offender *list, size_t count)
{
	size_t kept = 0;

	qsort(list, count, sizeof(*list), by_name);
	for (size_t i = 0; i < count; i++) {
		struct dp_offender *last = kept ? &list[kept - 1] : NULL;

		if (!last || by_name(last, &list[i])) {
			list[kept++] = list[i];
			continue;
		}
		last->dropped += list[i].dropped;
		last->surely += list[i].surely;
		if (list[i].quiet_ms < last->quiet_ms)
			last->quiet_ms = list[i].quiet_ms;
	}
	return kept;
}

unsigned dataplane_offenders(const struct dataplane *dp, struct dp_offender *ret, unsigned most)
{
	size_t places = (size_t)dp->maps.cpus * LB_OFFENDERS, count = 0;
	struct dp_offender *list = calloc(places, sizeof(*list));

	if (!list)
		return 0;
	for (size_t i = 0; i < places; i++)
		count += dp->maps.offenders[i].tag &&
			 offender_read(dp, &dp->maps.offenders[i], &list[count]);
	count = merge(list, count);
	qsort(list, count, sizeof(*list), by_dropped);
	if (count > most)
		count = most;
	memcpy(ret, list, count * sizeof(*list));
	free(list);
	return count;
}
