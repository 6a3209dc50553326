/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Takes over the maps of a previous lbd: reads the ids of services, their backends and the regions
 * of the arena in use. Writes nothing that packets read, except to repair what a crash left half
 * done. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define START_OVER "to end their forwarding and start over, remove the pin directory (rm -r)"

static int contradiction(struct error *err, const struct dp_service *key, const char *what)
{
	char text[DP_KEY_TEXT];

	return error_set(err, -EPROTO, "the pinned maps are inconsistent: %s: %s; " START_OVER,
			 dp_key_text(key, text), what);
}

struct adoption {
	struct dataplane *dp;
	struct error *err;
};

static int adopt_service(void *arg, const struct dp_service *key, uint32_t id)
{
	const struct adoption *adoption = arg;
	struct dataplane *dp = adoption->dp;
	struct record *record;

	if (!id || id >= dp->maps.service_slots || dp->by_id[id])
		return contradiction(adoption->err, key,
				     "a service id is out of range or used twice");
	if (dp->maps.services[id].id != id)
		return contradiction(adoption->err, key,
				     "the port table names a service that does not exist");
	record = calloc(1, sizeof(*record));
	if (!record)
		return error_set(adoption->err, -ENOMEM, "out of memory");
	record->want = *key;
	record->id = id;
	record->adopted = record->ever_by_slot = true;
	dp->by_id[id] = record;
	dp->service_ids.state[id] = ID_USED;
	dp->records[dp->records_count++] = record;
	return 0;
}

static int compare_records(const void *a, const void *b)
{
	return dp_compare_keys(&(*(struct record *const *)a)->want,
			       &(*(struct record *const *)b)->want);
}

/* ---- backends ---- */

static int adopt_backend(struct dataplane *dp, struct record *record, uint32_t id)
{
	const struct lb_backend *line = &dp->maps.backends[id];
	struct member *members = reallocarray(record->members, record->count + 1, sizeof(*members));

	if (!members)
		return -ENOMEM;
	record->members = members;
	members[record->count] = (struct member){.id = id};
	members[record->count].want.address.family = line->family;
	memcpy(members[record->count].want.address.bytes, line->outer_dst, sizeof(line->outer_dst));
	members[record->count].want.usable = line->flags & LB_BACKEND_USABLE;
	members[record->count].want.port = dp->maps.returns[id].port;
	reals_return(dp, (uint16_t)id);
	record->count++;
	dp->backend_ids.state[id] = ID_USED;
	dp->died_at[id] = 1; /* if it is dead: since when is not known */
	dp->traits[id] = BACKEND_PRESENT | (line->flags & LB_BACKEND_USABLE ? BACKEND_ALIVE : 0);
	return 0;
}

/* A backend whose service is gone, or that was removed but is not out of quarantine yet. */
static void abandon_backend(struct dataplane *dp, uint32_t id)
{
	struct lb_backend *line = &dp->maps.backends[id];

	if (line->service >= dp->maps.service_slots)
		line->service = 0;
	dp_update(&line->flags, 0);
	reals_leave(dp, (uint16_t)id);
	ids_leave(&dp->backend_ids, id);
	dp->grace_owed = true;
}

static int adopt_backends(struct dataplane *dp)
{
	static const struct lb_backend unused;
	int rc = 0;

	for (uint32_t id = 1; !rc && id < dp->maps.backend_slots; id++) {
		const struct lb_backend *line = &dp->maps.backends[id];
		struct record *record =
		    line->service < dp->maps.service_slots ? dp->by_id[line->service] : NULL;

		if (record && line->flags & LB_BACKEND_USED)
			rc = adopt_backend(dp, record, id);
		else if (memcmp(line, &unused, sizeof(unused)) || dp->maps.returns[id].family)
			abandon_backend(dp, id);
	}
	return rc;
}

/* ---- the arena ---- */

static int adopt_region(struct dataplane *dp, uint64_t region)
{
	return region ? arena_take_at(&dp->arena, LB_REGION_BASE(region), LB_REGION_SIZE(region))
		      : 0;
}

/* No sweep for so long: ticks may have wrapped, and an old entry may look new. */
#define ABSENCE_TICKS 1024

static bool was_away(const struct dataplane *dp, uint32_t now)
{
	return (int32_t)(now - dp->maps.settings->swept) > ABSENCE_TICKS;
}

void dp_restart_clocks(struct dataplane *dp, uint32_t now)
{
	for (size_t i = 0; i < dp->records_count; i++) {
		uint64_t ring = dp->maps.services[dp->records[i]->id].ring;

		for (uint32_t at = 0; dp->records[i]->in_transition && at < LB_REGION_SIZE(ring);
		     at++)
			dp_store(&dp_stamps(dp, ring)[at], (uint16_t)now);
	}
	sources_clear(dp);
	for (uint32_t i = 0; i < flows_words(dp); i++) {
		uint64_t entry = dp_load(&dp->maps.flows[i]);

		if (LB_FLOW_STATE(entry) && LB_FLOW_STATE(entry) != LB_FLOW_DORMANT)
			__atomic_compare_exchange_n(&dp->maps.flows[i], &entry,
						    (entry & ~(uint64_t)LB_FLOW_TICK_MASK) |
							(now & LB_FLOW_TICK_MASK),
						    false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	}
}

/* The beginning of a transition is not in the maps: the present is taken instead. That is later, so
 * nothing settles early. */
static int adopt_ring(struct dataplane *dp, struct record *record)
{
	const struct lb_service *line = &dp->maps.services[record->id];
	uint32_t size = LB_REGION_SIZE(line->ring), now = dp_tick(dp);

	record->wanted_size = record->configured = size;
	record->since = calloc(size + 1, sizeof(*record->since));
	if (!record->since)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		record->since[i] = now;
	ring_count(dp, record, now);
	return 0;
}

static int adopt_regions(struct dataplane *dp, struct record *record, struct error *err)
{
	struct lb_service *line = &dp->maps.services[record->id];
	int rc = adopt_region(dp, line->ring);

	/* killed between the two stores of a resize: the new ring is not in use yet */
	if (line->old_ring == line->ring)
		dp_store(&line->old_ring, 0);

	if (!rc)
		rc = adopt_region(dp, line->old_ring);
	if (!rc)
		rc = adopt_region(dp, line->pick);
	if (!rc)
		rc = adopt_ring(dp, record);
	if (rc == -ENOMEM)
		return error_set(err, rc, "out of memory");
	return rc ? contradiction(err, &record->want,
				  "its slots overlap with those of another service")
		  : 0;
}

/* Services that no table names: the previous lbd was stopped while creating or removing them. */
static void abandon_services(struct dataplane *dp)
{
	for (uint32_t id = 1; id < dp->maps.service_slots; id++) {
		if (dp->by_id[id] || !(dp->maps.services[id].id || dp->maps.services[id].ring))
			continue;
		memset(&dp->maps.services[id], 0, sizeof(struct lb_service));
		ids_leave(&dp->service_ids, id);
		dp->grace_owed = true;
	}
}

int dp_adopt(struct dataplane *dp, struct error *err)
{
	struct adoption adoption = {dp, err};
	int rc;

	dp->records = calloc(dp->maps.service_slots, sizeof(*dp->records));
	if (!dp->records)
		return error_set(err, -ENOMEM, "out of memory");
	if (!flows_are_valid(dp))
		return error_set(err, -EPROTO,
				 "the pinned maps are inconsistent: the flow table has a size that "
				 "it cannot have; " START_OVER);
	rc = tables_walk(dp, adopt_service, &adoption);
	if (rc == -EBADMSG)
		return error_set(err, -EPROTO,
				 "the pinned VIP tables are inconsistent; " START_OVER);
	if (rc)
		return rc == -ENOMEM ? error_set(err, rc, "out of memory") : rc;
	qsort(dp->records, dp->records_count, sizeof(*dp->records), compare_records);
	if (adopt_backends(dp))
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < dp->records_count; i++) {
		struct record *record = dp->records[i];

		if (record->count)
			qsort(record->members, record->count, sizeof(*record->members),
			      member_compare);
		rc = adopt_regions(dp, record, err);
		if (rc)
			return rc;
		straight_open(dp, record); /* killed in a change: its word is closed */
	}
	abandon_services(dp);
	filters_adopt(dp);
	if (was_away(dp, dp_tick(dp)))
		dp_restart_clocks(dp, dp_tick(dp));
	dp->adopted = dp->records_count > 0;
	return 0;
}
