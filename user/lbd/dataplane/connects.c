/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connect times and first bytes of a sample of the flows (bpf/connect.h): which slots are in the
 * sample, what was never answered, and what a backend's times were in the last seconds. */
#include "internal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "lb.skel.h"
#include "lbd/host/host.h"

#define UNANSWERED_MS 3000
#define NO_BYTE_MS    17000
#define WINDOW_MS     5000  /* two of them are looked at */
#define PAUSE_SLOTS   16384 /* between two pauses */

/* ---- memory ---- */

int connects_init(struct dataplane *dp, unsigned sample)
{
	if (!sample)
		return 0;
	dp->sampled = calloc(dp->maps.arena_slots / 8 + 1, 1);
	dp->rank_of = calloc(dp->maps.backend_slots, sizeof(*dp->rank_of));
	dp->connects_before =
	    calloc(2 * (size_t)dp->maps.backend_slots, sizeof(*dp->connects_before));
	dp->connects_added = calloc(dp->maps.backend_slots, sizeof(*dp->connects_added));
	dp->connects_sums = calloc(dp->maps.service_slots, sizeof(*dp->connects_sums));
	if (!dp->sampled || !dp->rank_of || !dp->connects_before || !dp->connects_added ||
	    !dp->connects_sums)
		return -ENOMEM;
	dp->sample = sample;
	return 0;
}

static size_t bytes_of(const struct bpf_map *map)
{
	return (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map);
}

static void *map_one(const struct bpf_map *map)
{
	void *at =
	    mmap(NULL, bytes_of(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

/* They are the program's own, and not pinned: a takeover begins with empty ones. */
int connects_map(struct dataplane *dp)
{
	struct lb_connects *connects;
	uint64_t *probes;

	if (!dp->sample)
		return 0;
	probes = map_one(dp->skel->maps.data_probes);
	connects = map_one(dp->skel->maps.connects_of);
	if (!probes || !connects)
		return -errno;
	dp->maps.probes = probes;
	dp->other_bytes += bytes_of(dp->skel->maps.data_probes) +
			   bytes_of(dp->skel->maps.connects_of) +
			   bytes_of(dp->skel->maps.first_bytes);
	__atomic_store_n(&dp->maps.connects, connects, __ATOMIC_RELEASE);
	return 0;
}

void connects_done(struct dataplane *dp)
{
	if (dp->skel && dp->maps.connects) {
		munmap(dp->maps.probes, bytes_of(dp->skel->maps.data_probes));
		munmap(dp->maps.connects, bytes_of(dp->skel->maps.connects_of));
	}
	free(dp->sampled);
	free(dp->rank_of);
	free(dp->connects_before);
	free(dp->connects_added);
	free(dp->connects_sums);
}

static struct lb_connects *connects_of(const struct dataplane *dp)
{
	return dp_load(&dp->maps.connects);
}

/* Memory that is only read while it is all zero is none of the process: backends and services
 * without connects cost nothing. */
static void update(void *at, const void *value, size_t size)
{
	if (memcmp(at, value, size) != 0)
		memcpy(at, value, size);
}

void connects_forget(struct dataplane *dp, uint32_t id)
{
	static const struct lb_connects none;
	struct lb_connects *connects = connects_of(dp);

	if (!connects)
		return;
	update(&connects[id], &none, sizeof(none));
	update(&dp->connects_before[2 * id], &none, sizeof(none));
	update(&dp->connects_before[2 * id + 1], &none, sizeof(none));
	update(&dp->connects_added[id], &none, sizeof(none));
}

void connects_forget_service(struct dataplane *dp, uint32_t id)
{
	static const struct connects_sums none;

	if (dp->connects_sums)
		update(&dp->connects_sums[id], &none, sizeof(none));
}

/* ---- the sample ---- */

/* Of each backend the first of its slots, and then one in so many: in a small ring, too, each has
 * one. Where every flow is tracked, the program goes by the hash. */
void connects_sample_ring(struct dataplane *dp, const struct service_plan *plan)
{
	const uint64_t ring = dp->maps.services[plan->record->id].ring;
	const bool wanted = plan->want.protocol == IPPROTO_TCP && !plan->want.track_always;
	const uint32_t base = LB_REGION_BASE(ring);

	if (!dp->sample)
		return;
	for (unsigned i = 0; i < plan->count; i++) /* no other is current of a slot */
		dp->rank_of[plan->members[i].id] = 0;
	for (uint32_t at = base; at < base + LB_REGION_SIZE(ring); at++) {
		uint32_t slot, current;
		bool in;

		if ((at - base) % PAUSE_SLOTS == PAUSE_SLOTS - 1)
			task_pause();
		slot = dp->maps.arena[at]; /* after the pause, in which it may change */
		current = LB_SLOT_CURRENT(slot);
		in = wanted && current && dp->rank_of[current]++ % dp->sample == 0;
		if (in)
			dp->sampled[at / 8] |= (uint8_t)(1u << at % 8);
		else
			dp->sampled[at / 8] &= (uint8_t) ~(1u << at % 8);
		dp_slot_store(dp, at, slot);
	}
}

/* ---- the connects ---- */

static uint32_t probe_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) >>
			  LB_PROBE_TIME_SHIFT) &
	       LB_PROBE_TIME;
}

/* A SYN may have been noted since lbd has read the clock: that counts as age 0. */
static bool is_late(uint64_t probe, uint32_t now)
{
	uint32_t age = (now - (uint32_t)probe) & LB_PROBE_TIME;
	uint64_t limit_ms = probe & LB_PROBE_OPEN ? NO_BYTE_MS : UNANSWERED_MS;

	return probe & LB_PROBE_USED && age <= LB_PROBE_TIME / 2 &&
	       age > limit_ms * 1000000 >> LB_PROBE_TIME_SHIFT;
}

/* What a probe has waited for in vain. A connect that the backend has answered counts already: its
 * client is gone. One that is open owes nothing before its client has asked. */
static void count_late(struct lb_connects *connects, uint64_t probe)
{
	uint32_t *word = NULL;

	if (probe & LB_PROBE_ASKED)
		word = &connects->word[LB_CONNECT_NO_BYTE];
	else if (!(probe & (LB_PROBE_ANSWERED | LB_PROBE_OPEN)))
		word = &connects->word[LB_CONNECT_UNANSWERED];
	if (word)
		__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
}

/* The program, too, takes them out: once each is counted. */
static void count_all_late(struct dataplane *dp, struct lb_connects *connects, uint32_t now)
{
	for (uint32_t i = 0; i < LB_PROBES; i++) {
		uint64_t probe = __atomic_load_n(&dp->maps.probes[i], __ATOMIC_RELAXED);
		uint32_t id = LB_PROBE_BACKEND(probe);

		if (is_late(probe, now) && id < dp->maps.backend_slots &&
		    __atomic_compare_exchange_n(&dp->maps.probes[i], &probe, 0, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			count_late(&connects[id], probe);
	}
}

/* What has come since it was last added. The counts of the program wrap, these do not. */
static void add_to_service(struct dataplane *dp, uint32_t id, const struct lb_connects *connects)
{
	struct connects_sums *sums = &dp->connects_sums[dp->maps.backends[id].service];
	struct lb_connects *added = &dp->connects_added[id];

	for (unsigned i = 0; i < LB_CONNECT_WORDS; i++) {
		uint32_t now = __atomic_load_n(&connects->word[i], __ATOMIC_RELAXED);

		sums->now[i] += now - added->word[i];
		added->word[i] = now;
	}
}

static void add_to_services(struct dataplane *dp, const struct lb_connects *connects)
{
	for (uint32_t id = 1; id < dp->backend_ids.count; id++) {
		task_pause();
		if (dp->backend_ids.state[id] != ID_FREE &&
		    memcmp(&connects[id], &dp->connects_added[id], sizeof(connects[id])) != 0)
			add_to_service(dp, id, &connects[id]);
	}
}

static void begin_window(struct dataplane *dp, const struct lb_connects *connects)
{
	struct lb_connects *before = dp->connects_before;

	for (uint32_t id = 1; id < dp->backend_ids.count; id++) {
		if (dp->backend_ids.state[id] == ID_FREE)
			continue;
		update(&before[2 * id + 1], &before[2 * id], sizeof(*before));
		update(&before[2 * id], &connects[id], sizeof(*before));
	}
	for (uint32_t id = 1; id < dp->service_ids.count; id++) {
		struct connects_sums *sums = &dp->connects_sums[id];

		if (dp->service_ids.state[id] == ID_FREE)
			continue;
		update(sums->last, sums->began, sizeof(sums->last));
		update(sums->began, sums->now, sizeof(sums->began));
	}
}

void dataplane_connects_tick(struct dataplane *dp, uint64_t now_ms)
{
	struct lb_connects *connects = connects_of(dp);

	if (!connects)
		return;
	count_all_late(dp, connects, probe_clock());
	add_to_services(dp, connects);
	if (now_ms < dp->connects_ms + WINDOW_MS)
		return;
	dp->connects_ms = now_ms;
	begin_window(dp, connects);
}

/* The middle of a bucket, in us. */
static uint32_t bucket_us(uint32_t bucket)
{
	uint64_t from = bucket < 4 ? bucket : (4ULL + bucket % 4) << (bucket / 4 - 1);
	uint64_t length = bucket < 4 ? 1 : 1ULL << (bucket / 4 - 1);

	return (uint32_t)(((2 * from + length) << LB_PROBE_TIME_SHIFT) / 2000);
}

/* counts: those of the window, by bucket; total: all of them, not 0. */
static uint32_t quantile_us(const uint32_t *counts, uint32_t buckets, uint64_t total,
			    unsigned percent)
{
	uint64_t rank = (total * percent + 99) / 100, seen = 0;
	uint32_t bucket = 0;

	while (bucket < buckets - 1) {
		seen += counts[bucket];
		if (seen >= rank)
			break;
		bucket++;
	}
	return bucket_us(bucket);
}

static uint32_t mean_us(const uint32_t counts[LB_CONNECT_BUCKETS], uint64_t total)
{
	uint64_t sum_us = 0;

	for (uint32_t bucket = 0; bucket < LB_CONNECT_BUCKETS; bucket++)
		sum_us += (uint64_t)counts[bucket] * bucket_us(bucket);
	return (uint32_t)(sum_us / total);
}

/* words: what has been counted since the program was loaded. */
static void read_all(const uint64_t words[LB_CONNECT_WORDS], struct dp_connects *ret)
{
	for (unsigned i = 0; i < LB_CONNECT_BUCKETS; i++)
		ret->answered += words[i];
	ret->sampled = words[LB_CONNECT_SAMPLED];
	ret->retried = words[LB_CONNECT_RETRIED];
	ret->reset = words[LB_CONNECT_RESET];
	ret->unanswered = words[LB_CONNECT_UNANSWERED];
	ret->refused = words[LB_CONNECT_REFUSED];
	ret->answered_again = words[LB_CONNECT_ANSWERED_AGAIN];
	for (unsigned i = 0; i < LB_FIRST_BYTE_BUCKETS; i++)
		ret->first_byte.timed += words[LB_CONNECT_FIRST_BYTE + i];
	ret->first_byte.none = words[LB_CONNECT_NO_BYTE];
}

/* counts: of the window. */
static void read_first_bytes(const uint32_t counts[LB_FIRST_BYTE_BUCKETS], struct dp_connects *ret)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < LB_FIRST_BYTE_BUCKETS; i++)
		total += counts[i];
	ret->first_byte.recent = total;
	if (!total)
		return;
	ret->first_byte.p50_us = quantile_us(counts, LB_FIRST_BYTE_BUCKETS, total, 50);
	ret->first_byte.p95_us = quantile_us(counts, LB_FIRST_BYTE_BUCKETS, total, 95);
	ret->first_byte.p99_us = quantile_us(counts, LB_FIRST_BYTE_BUCKETS, total, 99);
}

/* words: what has been counted in the window. */
static void read_window(const uint32_t words[LB_CONNECT_WORDS], struct dp_connects *ret)
{
	for (unsigned i = 0; i < LB_CONNECT_BUCKETS; i++)
		ret->recent.answered += words[i];
	ret->recent.sampled = words[LB_CONNECT_SAMPLED];
	ret->recent.retried = words[LB_CONNECT_RETRIED];
	ret->recent.unanswered = words[LB_CONNECT_UNANSWERED];
	ret->recent.refused = words[LB_CONNECT_REFUSED];
	ret->recent.failed = ret->recent.retried > ret->recent.unanswered ? ret->recent.retried
									  : ret->recent.unanswered;
	ret->recent.failed += ret->recent.refused;
	read_first_bytes(words + LB_CONNECT_FIRST_BYTE, ret);
	if (!ret->recent.answered)
		return;
	ret->p50_us = quantile_us(words, LB_CONNECT_BUCKETS, ret->recent.answered, 50);
	ret->p95_us = quantile_us(words, LB_CONNECT_BUCKETS, ret->recent.answered, 95);
	ret->p99_us = quantile_us(words, LB_CONNECT_BUCKETS, ret->recent.answered, 99);
	ret->mean_us = mean_us(words, ret->recent.answered);
}

bool dataplane_connects(const struct dataplane *dp, const struct dp_service *key,
			const struct addr *backend, struct dp_connects *ret)
{
	const struct record *record = dp_find(dp, key);
	const struct member *member = record ? record_find(record, backend) : NULL;
	const struct lb_connects *connects = connects_of(dp), *before;
	uint64_t now[LB_CONNECT_WORDS];
	uint32_t recent[LB_CONNECT_WORDS];

	*ret = (struct dp_connects){0};
	if (!member || !connects || record->want.protocol != IPPROTO_TCP)
		return false;
	connects += member->id;
	before = &dp->connects_before[2 * member->id + 1];
	for (unsigned i = 0; i < LB_CONNECT_WORDS; i++) {
		now[i] = connects->word[i];
		recent[i] = (uint32_t)now[i] - before->word[i];
	}
	read_all(now, ret);
	read_window(recent, ret);
	return true;
}

/* ---- those of a service ---- */

static const struct connects_sums *sums_of(const struct dataplane *dp, const struct dp_service *key)
{
	const struct record *record = dp_find(dp, key);

	if (!record || !connects_of(dp) || record->want.protocol != IPPROTO_TCP)
		return NULL;
	return &dp->connects_sums[record->id];
}

bool dataplane_service_connects(const struct dataplane *dp, const struct dp_service *key,
				struct dp_connects *ret)
{
	const struct connects_sums *sums = sums_of(dp, key);
	uint32_t recent[LB_CONNECT_WORDS];

	*ret = (struct dp_connects){0};
	if (!sums)
		return false;
	for (unsigned i = 0; i < LB_CONNECT_WORDS; i++)
		recent[i] = (uint32_t)(sums->now[i] - sums->last[i]);
	read_all(sums->now, ret);
	read_window(recent, ret);
	return true;
}

_Static_assert(LB_CONNECT_BUCKETS == 4 * (DP_HANDSHAKE_BOUNDS + 1), "four buckets an octave");
_Static_assert(LB_FIRST_BYTE_BUCKETS == 4 * (DP_FIRST_BYTE_BOUNDS + 1), "the same");

/* A bound is where an octave begins; the four buckets of the last octave have all above, too. */
double dataplane_time_bound_s(unsigned bound)
{
	return (double)(4ULL << bound << LB_PROBE_TIME_SHIFT) / 1e9;
}

static struct dp_times times_of(const uint64_t *counts, unsigned bounds)
{
	struct dp_times times = {.bounds = bounds};

	for (unsigned i = 0; i < 4 * (bounds + 1); i++) {
		times.counts[i / 4] += counts[i];
		times.sum_s += (double)counts[i] * bucket_us(i) / 1e6;
	}
	return times;
}

bool dataplane_times(const struct dataplane *dp, const struct dp_service *key,
		     struct dp_times *ret_handshakes, struct dp_times *ret_first_bytes)
{
	const struct connects_sums *sums = sums_of(dp, key);

	if (!sums)
		return false;
	*ret_handshakes = times_of(sums->now, DP_HANDSHAKE_BOUNDS);
	*ret_first_bytes = times_of(sums->now + LB_CONNECT_FIRST_BYTE, DP_FIRST_BYTE_BOUNDS);
	return true;
}
