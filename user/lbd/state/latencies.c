/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two histograms take turns: one is filled, and emptied when its turn comes again. */
#include "latencies.h"

#include <string.h>

#define LOWEST_LOG 3 /* 8 us */

static unsigned bucket_of(uint32_t us)
{
	unsigned log = us ? 31 - (unsigned)__builtin_clz(us) : 0, bucket;

	if (log < LOWEST_LOG)
		return 0;
	/* the two bits behind the first one say which quarter of the octave it is */
	bucket = 1 + 4 * (log - LOWEST_LOG) + ((us >> (log - 2)) & 3);
	return bucket < LATENCIES_BUCKETS ? bucket : LATENCIES_BUCKETS - 1;
}

/* Where a bucket begins. */
static uint32_t bucket_from(unsigned bucket)
{
	unsigned octave = (bucket - 1) / 4, quarter = (bucket - 1) % 4;

	return bucket ? (4 + quarter) << (LOWEST_LOG - 2 + octave) : 0;
}

void latencies_add(struct latencies *latencies, uint64_t now_ms, uint32_t latency_us)
{
	uint64_t half = now_ms / LATENCIES_HALF_MS;
	uint16_t *count = &latencies->counts[half % 2][bucket_of(latency_us)];

	if (half != latencies->half) {
		memset(latencies->counts[half % 2], 0, sizeof(latencies->counts[0]));
		if (half != latencies->half + 1)
			memset(latencies->counts[!(half % 2)], 0, sizeof(latencies->counts[0]));
		latencies->half = half;
	}
	if (*count < UINT16_MAX)
		++*count;
}

void latencies_sum(const struct latencies *latencies, uint64_t now_ms, struct latency_sum *sum)
{
	uint64_t now = now_ms / LATENCIES_HALF_MS;

	for (unsigned back = 0; back < 2; back++) {
		uint64_t half = now - back;

		/* what was added in another half than the last two is gone, or of long ago */
		if (half != latencies->half && half + 1 != latencies->half)
			continue;
		for (unsigned i = 0; i < LATENCIES_BUCKETS; i++) {
			sum->counts[i] += latencies->counts[half % 2][i];
			sum->total += latencies->counts[half % 2][i];
		}
	}
}

uint32_t latency_quantile(const struct latency_sum *sum, unsigned percent)
{
	uint64_t rank = (sum->total * percent + 99) / 100, seen = 0;

	if (!sum->total)
		return 0;
	for (unsigned i = 0; i < LATENCIES_BUCKETS; i++) {
		seen += sum->counts[i];
		if (seen >= rank)
			return (bucket_from(i) + bucket_from(i + 1)) / 2;
	}
	return 0;
}
