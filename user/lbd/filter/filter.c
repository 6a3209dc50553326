/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes a filter of an allow and a deny list: sorts the prefixes, and notes the addresses at which
 * the verdict changes. Prefixes are nested or apart, so one pass with a stack of those that are
 * open is enough. */
#include "filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

typedef unsigned __int128 position; /* an address as a number; of IPv4 the upper 96 bits are zero */

/* One prefix of either list. */
struct span {
	position start;
	uint8_t length;
	bool denies;
	uint32_t line;
};

#define MAX_DEPTH 129 /* prefixes that contain each other: one for each length */

struct open_span {
	position last; /* address */
	bool denies;
};

/* The addresses at which the verdict changes, so far. */
struct changes {
	position *at;
	bool *denies; /* from there on */
	size_t count;
	bool denies_first; /* below the first of them */
};

/* ---- spans of one family ---- */

static position position_of(const struct addr *address)
{
	position sum = 0;

	for (size_t i = 0; i < addr_length(address); i++)
		sum = sum << 8 | address->bytes[i];
	return sum;
}

static size_t add_spans(const struct filter_list *list, uint8_t family, bool denies,
			struct span *spans, size_t count)
{
	for (uint32_t i = 0; list && i < list->count; i++) {
		const struct filter_prefix *prefix = &list->prefixes[i];

		if (prefix->address.family == family)
			spans[count++] = (struct span){.start = position_of(&prefix->address),
						       .length = prefix->length,
						       .denies = denies,
						       .line = prefix->line};
	}
	return count;
}

/* By first address; a prefix comes before those that it contains. */
static int compare_spans(const void *a, const void *b)
{
	const struct span *one = a, *other = b;

	if (one->start != other->start)
		return one->start < other->start ? -1 : 1;
	return one->length - other->length;
}

static int refuse_tie(const struct filter_list *allow, const struct filter_list *deny,
		      const struct span *a, const struct span *b, unsigned bits, struct error *err)
{
	const struct span *allowed = a->denies ? b : a, *denied = a->denies ? a : b;
	struct addr address = {.family = bits == 32 ? 4 : 6};
	char text[ADDR_TEXT];

	for (unsigned i = 0; i < bits / 8; i++)
		address.bytes[i] = (uint8_t)(a->start >> (bits - 8 - 8 * i));
	return error_set(err, -EEXIST,
			 "%s/%u: is in both lists: expected one of them: allow at %s:%u, deny at "
			 "%s:%u",
			 addr_format(&address, text), a->length, allow->name, allowed->line,
			 deny->name, denied->line);
}

/* ---- changes of the verdict ---- */

static void change(struct changes *changes, position at, bool denies)
{
	bool before;

	if (changes->count && changes->at[changes->count - 1] == at)
		changes->count--;
	before = changes->count ? changes->denies[changes->count - 1] : changes->denies_first;
	if (before == denies)
		return;
	changes->at[changes->count] = at;
	changes->denies[changes->count++] = denies;
}

/* Closes the open prefixes that end below `start`. */
static void close_before(struct changes *changes, struct open_span *open, unsigned *depth,
			 position start)
{
	while (*depth && open[*depth - 1].last < start) {
		position last = open[--*depth].last;

		change(changes, last + 1, *depth ? open[*depth - 1].denies : changes->denies_first);
	}
}

static void find_changes(const struct span *spans, size_t count, unsigned bits,
			 struct changes *changes)
{
	const position last = bits == 32 ? UINT32_MAX : ~(position)0;
	struct open_span open[MAX_DEPTH];
	unsigned depth = 0;

	for (size_t i = 0; i < count; i++) {
		position rest = spans[i].length < bits ? last >> spans[i].length : 0;

		if (i && !compare_spans(&spans[i - 1], &spans[i]))
			continue; /* written twice */
		close_before(changes, open, &depth, spans[i].start);
		open[depth++] = (struct open_span){spans[i].start + rest, spans[i].denies};
		change(changes, spans[i].start, spans[i].denies);
	}
	/* one that reaches the last address has no end to note */
	close_before(changes, open, &depth, last);
}

/* The first change may be at address 0: then it is the verdict below the first bound. */
static size_t settle_first(struct changes *changes)
{
	if (!changes->count || changes->at[0])
		return 0;
	changes->denies_first = changes->denies[0];
	return 1;
}

/* ---- filters ---- */

static int store(struct filter *filter, const struct changes *changes, size_t from, unsigned bits)
{
	size_t count = changes->count - from;
	const position *at = changes->at + from;

	if (bits == 32) {
		filter->denies4 = changes->denies_first;
		filter->count4 = (uint32_t)count;
		filter->bounds4 = calloc(count + 1, sizeof(*filter->bounds4));
		for (size_t i = 0; filter->bounds4 && i < count; i++)
			filter->bounds4[i] = (uint32_t)at[i];
		return filter->bounds4 ? 0 : -ENOMEM;
	}
	filter->denies6 = changes->denies_first;
	filter->count6 = (uint32_t)count;
	filter->bounds6 = calloc(count + 1, sizeof(*filter->bounds6));
	for (size_t i = 0; filter->bounds6 && i < count; i++)
		filter->bounds6[i] = (struct lb_filter_bound){.high = (uint64_t)(at[i] >> 64),
							      .low = (uint64_t)at[i]};
	return filter->bounds6 ? 0 : -ENOMEM;
}

static int fill_family(struct filter *filter, const struct filter_list *allow,
		       const struct filter_list *deny, unsigned bits, struct error *err)
{
	size_t most = (size_t)filter_list_count(allow) + filter_list_count(deny), count;
	_cleanup_free_ struct span *spans = calloc(most + 1, sizeof(*spans));
	_cleanup_free_ position *at = calloc(2 * most + 1, sizeof(*at));
	_cleanup_free_ bool *denies = calloc(2 * most + 1, sizeof(*denies));
	struct changes changes = {.at = at, .denies = denies, .denies_first = allow};

	if (!spans || !at || !denies)
		return error_set(err, -ENOMEM, "out of memory");
	count = add_spans(allow, bits == 32 ? 4 : 6, false, spans, 0);
	count = add_spans(deny, bits == 32 ? 4 : 6, true, spans, count);
	qsort(spans, count, sizeof(*spans), compare_spans);
	for (size_t i = 1; i < count; i++)
		if (!compare_spans(&spans[i - 1], &spans[i]) &&
		    spans[i - 1].denies != spans[i].denies)
			return refuse_tie(allow, deny, &spans[i - 1], &spans[i], bits, err);
	find_changes(spans, count, bits, &changes);
	if (store(filter, &changes, settle_first(&changes), bits))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static uint64_t digest_add(uint64_t digest, const void *at, size_t bytes)
{
	const uint32_t *word = at;

	for (size_t i = 0; i < bytes / sizeof(*word); i++) {
		digest = (digest ^ word[i]) * 0x9e3779b97f4a7c15ULL;
		digest ^= digest >> 29;
	}
	return digest;
}

static uint64_t digest_of(const struct filter *filter)
{
	uint64_t digest = 1 + filter->denies4 + 2 * filter->denies6;

	digest = digest_add(digest, filter->bounds4, filter->count4 * sizeof(*filter->bounds4));
	return digest_add(digest, filter->bounds6, filter->count6 * sizeof(*filter->bounds6));
}

int filter_new(const struct filter_list *allow, const struct filter_list *deny, struct filter **ret,
	       struct error *err)
{
	struct filter *filter = calloc(1, sizeof(*filter));
	int rc;

	if (!filter)
		return error_set(err, -ENOMEM, "out of memory");
	filter->refs = 1;
	rc = fill_family(filter, allow, deny, 32, err);
	if (!rc)
		rc = fill_family(filter, allow, deny, 128, err);
	filter->digest = rc ? 0 : digest_of(filter);
	if (rc)
		filter_unref(filter);
	else
		*ret = filter;
	return rc;
}

struct filter *filter_ref(struct filter *filter)
{
	if (filter)
		filter->refs++;
	return filter;
}

void filter_unref(struct filter *filter)
{
	if (!filter || --filter->refs)
		return;
	free(filter->bounds4);
	free(filter->bounds6);
	free(filter);
}

bool filter_equal(const struct filter *a, const struct filter *b)
{
	if (a == b || !a || !b)
		return a == b;
	return a->digest == b->digest && a->denies4 == b->denies4 && a->denies6 == b->denies6 &&
	       a->count4 == b->count4 && a->count6 == b->count6 &&
	       !memcmp(a->bounds4, b->bounds4, a->count4 * sizeof(*a->bounds4)) &&
	       !memcmp(a->bounds6, b->bounds6, a->count6 * sizeof(*a->bounds6));
}
