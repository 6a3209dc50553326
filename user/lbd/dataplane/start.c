/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Builds the process's view of the maps: arrays, settings of new maps, adoption of existing
 * ones. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_hash.h"
#include "common/log.h"

/* Answers of each kind per tick and CPU: a flood gets no more */
#define ICMP_PER_TICK 100
/* Those that are never longer than what they answer, so nothing is amplified: more. Every monitor
 * and every `ping -f` asks for an echo, and a client that is not told "packet too big" stalls: a
 * few forged packets a second must not use these answers up */
#define SHORT_PER_TICK 1000

/* So long, 10 min, the flow table must be almost empty before it shrinks */
#define SHRINK_TICKS 560

/* Arrays indexed by backend id have an element for every id that a slot can name. */
#define IDS (LB_MAX_BACKENDS + 1)

static int make_arrays(struct dataplane *dp)
{
	dp->by_id = calloc(dp->maps.service_slots, sizeof(*dp->by_id));
	dp->traits = calloc(IDS, sizeof(*dp->traits));
	dp->slots_of = calloc(IDS, sizeof(*dp->slots_of));
	dp->kept_of = calloc(IDS, sizeof(*dp->kept_of));
	dp->slots_so_far = calloc(IDS, sizeof(*dp->slots_so_far));
	dp->kept_so_far = calloc(IDS, sizeof(*dp->kept_so_far));
	dp->counting = calloc(IDS, sizeof(*dp->counting));
	dp->closing = calloc(IDS, sizeof(*dp->closing));
	dp->marked = calloc(IDS, sizeof(*dp->marked));
	dp->holding = calloc(IDS, sizeof(*dp->holding));
	dp->live_of = calloc(IDS, sizeof(*dp->live_of));
	dp->active_before = calloc(IDS, sizeof(*dp->active_before));
	dp->died_at = calloc(IDS, sizeof(*dp->died_at));
	dp->label_of = calloc(IDS, sizeof(*dp->label_of));
	dp->filters.of = calloc(dp->maps.service_slots, sizeof(*dp->filters.of));
	if (!dp->by_id || !dp->traits || !dp->slots_of || !dp->kept_of || !dp->slots_so_far ||
	    !dp->kept_so_far || !dp->counting || !dp->closing || !dp->marked || !dp->holding ||
	    !dp->live_of || !dp->active_before || !dp->died_at || !dp->label_of || !dp->filters.of)
		return -ENOMEM;
	if (ids_init(&dp->service_ids, dp->maps.service_slots) ||
	    ids_init(&dp->backend_ids, dp->maps.backend_slots))
		return -ENOMEM;
	return arena_init(&dp->arena, dp->maps.arena_slots);
}

/* Fills in the settings of new maps. The version is written last: it shows that the rest is
 * valid. */
static void init_settings(struct dataplane *dp, const struct dataplane_options *options)
{
	struct lb_settings *settings = dp->maps.settings;

	settings->flow_seed = options->hash_seed;
	lb_hash_key_make(options->hash_seed, &settings->key);
	settings->swept = dp_tick(dp);
	flows_init(dp);
	dp_store(&settings->abi_version, LB_ABI_VERSION);
}

static void keep_seed(const struct dataplane *dp, const struct dataplane_options *options)
{
	if (!options->hash_seed_default && dp->maps.settings->flow_seed != options->hash_seed)
		log_warning(
		    "hash-seed: 0x%016llx ignored: the pinned maps keep 0x%016llx, as another seed would move every flow",
		    (unsigned long long)options->hash_seed,
		    (unsigned long long)dp->maps.settings->flow_seed);
}

/* So that the program knows reports about its own packets. */
static void set_encap(const struct dataplane *dp)
{
	struct lb_settings *settings = dp->maps.settings;
	const uint8_t *v6 = dp->encap_source[1].bytes;
	__be32 word;

	dp_update(&settings->encap4_spread, dp_spread(dp, 4));
	memcpy(&word, dp->encap_source[0].bytes, sizeof(word));
	dp_update(&settings->encap4, word);
	dp_update(&settings->encap6_spread, dp_spread(dp, 6));
	for (unsigned i = 0; i < 4; i++) {
		memcpy(&word, v6 + i * sizeof(word), sizeof(word));
		dp_update(&settings->encap6[i], word);
	}
}

int dp_start(struct dataplane *dp, const struct dataplane_options *options, struct error *err)
{
	struct lb_settings *settings = dp->maps.settings;

	dp->grace_map_fd = -1;
	dp->flows.patience = SHRINK_TICKS;
	dp->flows.inserted = dataplane_event(dp, LB_EVENT_flow_inserted);
	dp->encap_source[0] = options->encap_source4;
	dp->encap_source[1] = options->encap_source6;
	dp->encap_source_len[0] = options->encap_source4_len;
	dp->encap_source_len[1] = options->encap_source6_len;
	if (make_arrays(dp) || connects_init(dp, options->sample))
		return error_set(err, -ENOMEM, "out of memory");
	if (settings->abi_version)
		keep_seed(dp, options);
	else
		init_settings(dp, options);
	set_encap(dp);
	dp_update(&settings->gue_port, htons(options->gue_port));
	dp_update(&settings->icmp_per_tick, ICMP_PER_TICK);
	dp_update(&settings->short_per_tick, SHORT_PER_TICK);
	return dp_adopt(dp, err);
}

void dataplane_set_unserved(struct dataplane *dp, enum lb_refusal refusal)
{
	dp_update(&dp->maps.settings->unserved, (uint8_t)refusal);
}

uint64_t dataplane_hash_seed(const struct dataplane *dp)
{
	return dp->maps.settings->flow_seed;
}

struct addr dataplane_outer_source(const struct dataplane *dp, uint8_t family)
{
	struct addr source = dp->encap_source[family == 6];

	if (dp->encap_source_len[family == 6] < 8 * addr_length(&source))
		source.bytes[addr_length(&source) - 1] |= 1;
	return source;
}

uint16_t dataplane_gue_port(const struct dataplane *dp)
{
	return ntohs(dp->maps.settings->gue_port);
}

void dp_stop(struct dataplane *dp)
{
	for (size_t i = 0; i < dp->records_count; i++)
		record_free(dp->records[i]);
	free(dp->records);
	free(dp->by_id);
	free(dp->traits);
	free(dp->slots_of);
	free(dp->kept_of);
	free(dp->slots_so_far);
	free(dp->kept_so_far);
	free(dp->counting);
	free(dp->closing);
	free(dp->marked);
	free(dp->holding);
	free(dp->live_of);
	free(dp->active_before);
	free(dp->died_at);
	free(dp->label_of);
	free(dp->retired);
	free(dp->paths);
	connects_done(dp);
	claims_end(dp);
	filters_done(dp);
	ids_done(&dp->service_ids);
	ids_done(&dp->backend_ids);
	arena_done(&dp->arena);
	if (dp->grace_map_fd >= 0)
		close(dp->grace_map_fd);
}
