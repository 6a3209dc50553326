/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ids of services and backends. Before an id is used again, a grace period for packets in flight
 * must pass and the flow table must be free of it; before a region of the arena is, a grace
 * period. */
#include "internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "lbd/host/host.h"

int ids_init(struct ids *ids, uint32_t count)
{
	*ids = (struct ids){
	    .state = calloc(count, sizeof(*ids->state)),
	    .since = calloc(count, sizeof(*ids->since)),
	    .serial = calloc(count, sizeof(*ids->serial)),
	    .count = count,
	    .first_free = 1,
	};
	return ids->state && ids->since && ids->serial ? 0 : -ENOMEM;
}

void ids_done(struct ids *ids)
{
	free(ids->state);
	free(ids->since);
	free(ids->serial);
	*ids = (struct ids){0};
}

uint32_t ids_take(struct ids *ids)
{
	for (uint32_t id = ids->first_free; id < ids->count; id++) {
		if (ids->state[id] != ID_FREE)
			continue;
		ids->state[id] = ID_USED;
		ids->serial[id]++;
		ids->first_free = id + 1;
		return id;
	}
	ids->first_free = ids->count;
	return 0;
}

static void ids_free(struct ids *ids, uint32_t id)
{
	ids->state[id] = ID_FREE;
	if (id < ids->first_free)
		ids->first_free = id;
}

void ids_untake(struct ids *ids, uint32_t id)
{
	ids_free(ids, id);
}

void ids_leave(struct ids *ids, uint32_t id)
{
	ids->state[id] = ID_LEAVING;
	ids->leaving++;
}

/* ---- the grace period ---- */

/* An update of a map of maps returns after synchronize_rcu (kernel/bpf/syscall.c,
 * maybe_wait_bpf_programs): for kernels that refuse membarrier, such as those with nohz_full. */
static int wait_by_map(struct dataplane *dp)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);
	_cleanup_close_ int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lbd_inner", 4, 4, 1, NULL);
	const uint32_t key = 0;

	if (inner < 0)
		return inner;
	options.inner_map_fd = inner;
	if (dp->grace_map_fd < 0)
		dp->grace_map_fd =
		    bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "lbd_grace", 4, 4, 1, &options);
	if (dp->grace_map_fd < 0)
		return dp->grace_map_fd;
	return bpf_map_update_elem(dp->grace_map_fd, &key, &inner, BPF_ANY);
}

/* MEMBARRIER_CMD_GLOBAL calls synchronize_rcu, and an XDP program runs inside an RCU read-side
 * section. If neither works, wait a second, which is far longer than any packet takes. */
static void wait_for_packets(void *arg)
{
	struct dataplane *dp = arg;

	if (!syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return;
	if (wait_by_map(dp))
		sleep(1);
}

/* Adds the counts of a removed backend to its service's totals, so that these never decrease. */
static void fold_counts(struct dataplane *dp, uint32_t id)
{
	struct lb_total *total = &dp->maps.totals[dp->maps.backends[id].service];

	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
		struct lb_backend_count *count =
		    &dp->maps.backend_counts[(size_t)cpu * dp->maps.backend_slots + id];

		total->packets += count->packets;
		total->bytes += count->bytes;
		total->flows += count->flows;
		total->refused += count->refused;
		*count = (struct lb_backend_count){0};
	}
}

/* Replies come until the id is free; by then the service may be gone, and its id another's. */
static void fold_returned(struct dataplane *dp, uint32_t id)
{
	struct lb_total *total;

	if (!dp->maps.returns[id].family)
		return;
	total = &dp->maps.totals[dp_returned_to(dp, id)];
	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++) {
		struct lb_return_count *count =
		    &dp->maps.return_counts[(size_t)cpu * dp->maps.backend_slots + id];

		total->returned_packets += count->packets;
		total->returned_bytes += count->bytes;
		*count = (struct lb_return_count){0};
	}
}

/* What the service had forwarded stays in totals[0]. */
static void clear_service_counts(struct dataplane *dp, uint32_t id)
{
	struct lb_total *all = &dp->maps.totals[0], *total = &dp->maps.totals[id];

	all->packets += total->packets;
	all->bytes += total->bytes;
	all->flows += total->flows;
	all->refused += total->refused;
	all->returned_packets += total->returned_packets;
	all->returned_bytes += total->returned_bytes;
	memset(total, 0, sizeof(*total));
	for (uint32_t cpu = 0; cpu < dp->maps.cpus; cpu++)
		dp->maps.service_counts[(size_t)cpu * dp->maps.service_slots + id] =
		    (struct lb_service_count){0};
}

static void quarantine(struct dataplane *dp, struct ids *ids)
{
	for (uint32_t id = 1; ids->leaving && id < ids->count; id++) {
		if (ids->state[id] != ID_LEAVING)
			continue;
		task_pause();
		if (ids == &dp->backend_ids)
			fold_counts(dp, id);
		ids->state[id] = ID_QUARANTINED;
		ids->since[id] = dp->sweep.round;
		ids->leaving--;
		ids->quarantined++;
	}
}

void dp_grace(struct dataplane *dp)
{
	if (!dp->grace_owed)
		return;
	if (!dp->skip_grace)
		task_wait(wait_for_packets, dp);
	for (size_t i = 0; i < dp->retired_count; i++)
		dp_free_region(dp, dp->retired[i]);
	dp->retired_count = 0;
	quarantine(dp, &dp->backend_ids);
	quarantine(dp, &dp->service_ids);
	dp->grace_owed = false;
	dp->half_owed = false;
	dp->reals_owed = false;
}

static void release(struct dataplane *dp, struct ids *ids, uint32_t before_round)
{
	for (uint32_t id = 1; ids->quarantined && id < ids->count; id++) {
		if (ids->state[id] != ID_QUARANTINED || ids->since[id] >= before_round)
			continue;
		if (ids == &dp->backend_ids) {
			if (reals_wait(dp, id))
				continue;
			fold_returned(dp, id);
			reals_release(dp, id);
			memset(&dp->maps.backends[id], 0, sizeof(struct lb_backend));
			memset(&dp->maps.loads[id], 0, sizeof(struct lb_load));
			connects_forget(dp, id);
		} else {
			memset(&dp->maps.turns[id], 0, sizeof(struct lb_turn));
			connects_forget_service(dp, id);
			clear_service_counts(dp, id);
			offenders_forget(dp, id);
		}
		ids->quarantined--;
		ids_free(ids, id);
	}
}

void dp_release_quarantine(struct dataplane *dp, uint32_t before_round)
{
	release(dp, &dp->backend_ids, before_round);
	release(dp, &dp->service_ids, before_round);
	reals_refresh(dp);
}

/* ---- regions of the arena ---- */

void dp_free_region(struct dataplane *dp, uint64_t region)
{
	if (region)
		arena_give(&dp->arena, LB_REGION_BASE(region), LB_REGION_SIZE(region));
}

int dp_retire_room(struct dataplane *dp, size_t more)
{
	size_t room = dp->retired_count + more;
	uint64_t *retired;

	if (room <= dp->retired_room)
		return 0;
	retired = reallocarray(dp->retired, room, sizeof(*retired));
	if (!retired)
		return -ENOMEM;
	dp->retired = retired;
	dp->retired_room = room;
	return 0;
}

void dp_retire(struct dataplane *dp, uint64_t region)
{
	if (!region)
		return;
	dp->retired[dp->retired_count++] = region;
	dp->grace_owed = true;
}
