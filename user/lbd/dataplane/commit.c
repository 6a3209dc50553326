/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes the maps hold exactly the wanted services. First a plan, which may fail and changes
 * nothing; then the writes, which cannot fail, in an order that is safe for packets in flight. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/plural.h"
#include "lbd/host/host.h"

#define SYN_IDLE_MS   15000 /* a handshake with two lost SYNs takes 7 s */
#define PAUSE_MEMBERS 1024  /* between two pauses */

struct plan {
	struct service_plan *services; /* one for each wanted service, sorted by key */
	size_t count;
	struct record **records; /* what dp->records will be */
	struct record **removed;
	size_t removed_count;
	struct tables_plan tables;
	bool tables_change;
	struct reals_plan reals;
	struct filters_plan filters;
};

/* ---- comparing ---- */

static bool backends_equal(const struct dp_backend *a, const struct dp_backend *b)
{
	return addr_equal(&a->address, &b->address) && a->weight == b->weight &&
	       a->usable == b->usable && a->latency_us == b->latency_us && a->port == b->port &&
	       (!a->usable || (a->path_mtu == b->path_mtu && next_hop_equal(&a->hop, &b->hop)));
}

static bool services_equal(const struct dp_service *a, const struct dp_service *b)
{
	return a->algorithm == b->algorithm && a->hash == b->hash && a->forward == b->forward &&
	       a->no_backend == b->no_backend && a->mask4 == b->mask4 && a->mask6 == b->mask6 &&
	       a->track_always == b->track_always && a->track_never == b->track_never &&
	       a->affinity == b->affinity && a->no_fragments == b->no_fragments &&
	       a->tcp_idle_ms == b->tcp_idle_ms && a->udp_idle_ms == b->udp_idle_ms &&
	       a->affinity_ms == b->affinity_ms && a->slots == b->slots &&
	       a->ring_backends == b->ring_backends && a->ring_grain == b->ring_grain &&
	       dp_limits_equal(&a->limit, &b->limit) &&
	       !a->filter == !b->filter; /* the filter itself is compared by filters.c */
}

static bool is_unchanged(const struct service_plan *plan)
{
	const struct record *record = plan->record;

	if (plan->made || record->adopted || record->count != plan->count ||
	    !services_equal(&record->want, &plan->want))
		return false;
	for (unsigned i = 0; i < plan->count; i++)
		if (!backends_equal(&record->members[i].want, &plan->members[i].want))
			return false;
	return true;
}

/* ---- planning one service ---- */

/* Configs list backends in order most often: then there is nothing to sort. */
static void sort_members(struct member *members, unsigned count)
{
	for (unsigned i = 1; i < count; i++)
		if (member_compare(&members[i - 1], &members[i]) > 0) {
			qsort(members, count, sizeof(*members), member_compare);
			return;
		}
}

/* Of a sorted list, for members that are asked for in order. *at: where the last one was found, or
 * would be; 0 at first. NULL: it is not among them. */
static const struct member *find_next(const struct member *members, unsigned count, unsigned *at,
				      const struct member *wanted)
{
	while (*at < count && member_compare(&members[*at], wanted) < 0)
		++*at;
	return *at < count && !member_compare(&members[*at], wanted) ? &members[*at] : NULL;
}

/* The wanted backends, sorted, with the ids that they already have. */
static int plan_members(const struct dataplane *dp, struct service_plan *plan,
			const struct dp_service *want, struct error *err)
{
	char key[DP_KEY_TEXT], address[ADDR_TEXT];
	unsigned at = 0;

	plan->members = calloc(want->backends_count + 1, sizeof(*plan->members));
	if (!plan->members)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < want->backends_count; i++)
		if (!want->backends[i].waits)
			plan->members[plan->count++].want = want->backends[i];
	sort_members(plan->members, plan->count);
	for (unsigned i = 0; i < plan->count; i++) {
		const struct member *before =
		    find_next(plan->record->members, plan->record->count, &at, &plan->members[i]);

		if (i % PAUSE_MEMBERS == 0)
			task_pause();
		if (i && !member_compare(&plan->members[i - 1], &plan->members[i]))
			return error_set(err, -EEXIST, "%s: backend %s: given twice, expected once",
					 dp_key_text(want, key),
					 addr_format(&plan->members[i].want.address, address));
		if (before && reals_keep(dp, want, &plan->members[i].want, before->id)) {
			plan->members[i].id = before->id;
			plan->members[i].drain_round = before->drain_round;
		}
	}
	return 0;
}

/* An id for a new object. Costs a pass over the flow table if all free ids are still leaving or
 * quarantined. */
static uint32_t take_id(struct dataplane *dp, struct ids *ids)
{
	uint32_t id = ids_take(ids);

	if (id || !(ids->leaving || ids->quarantined))
		return id;
	dp_purge(dp);
	return ids_take(ids);
}

static int plan_ids(struct dataplane *dp, struct service_plan *plan, struct error *err)
{
	char key[DP_KEY_TEXT], address[ADDR_TEXT];

	for (unsigned i = 0; i < plan->count; i++) {
		struct member *member = &plan->members[i];

		if (member->id)
			continue;
		member->id = take_id(dp, &dp->backend_ids);
		dp->ids_changed = dp->ids_taken = true;
		if (!member->id)
			return error_set(
			    err, -ENOSPC,
			    "%s: backend %s: limits.backends: %u: all are in use, expected a larger limit",
			    dp_key_text(&plan->want, key),
			    addr_format(&member->want.address, address),
			    dp->maps.backend_slots - 1);
	}
	return 0;
}

/* The record has a reference of its own to the filter. */
static void keep_want(struct record *record, const struct dp_service *want)
{
	struct filter *before = record->want.filter;

	record->want = *want;
	filter_ref(want->filter);
	filter_unref(before);
}

static int plan_record(struct dataplane *dp, struct service_plan *plan, struct error *err)
{
	char key[DP_KEY_TEXT];

	plan->record = calloc(1, sizeof(*plan->record));
	if (!plan->record)
		return error_set(err, -ENOMEM, "out of memory");
	plan->made = true;
	keep_want(plan->record, &plan->want);
	plan->record->full_before = dataplane_event(dp, LB_EVENT_flow_table_full);
	plan->record->fresh_round = dp->join ? dp->sweep.completed : dp->sweep.round + 2;
	plan->record->id = take_id(dp, &dp->service_ids);
	dp->ids_changed = dp->ids_taken = true;
	if (!plan->record->id)
		return error_set(err, -ENOSPC,
				 "%s: limits.services: %u: all are in use, expected a larger limit",
				 dp_key_text(&plan->want, key), dp->maps.service_slots - 1);
	return 0;
}

/* record: the existing one, or NULL. */
static int plan_service(struct dataplane *dp, struct service_plan *plan,
			const struct dp_service *want, struct record *record, struct error *err)
{
	int rc;

	plan->want = *want;
	plan->want.backends = NULL;
	/* only the flow table shows which datagram is a flow's first */
	plan->want.track_always |= want->affinity || want->algorithm->select != LB_SELECT_SLOT ||
				   (want->protocol == IPPROTO_UDP && dp_has_limit(&want->limit));
	plan->want.track_never &= !plan->want.track_always;
	plan->record = record;
	rc = record ? 0 : plan_record(dp, plan, err);
	if (!rc)
		rc = plan_members(dp, plan, want, err);
	if (rc || is_unchanged(plan))
		return rc;
	plan->changed = true;
	rc = plan_ids(dp, plan, err);
	if (rc)
		return rc;
	task_pause();
	rc = pick_plan_make(dp, plan, err);
	if (!rc)
		rc = ring_plan_make(dp, plan, err);
	return rc;
}

static void service_plan_done(struct dataplane *dp, struct service_plan *plan)
{
	ring_plan_done(dp, &plan->ring);
	pick_plan_done(dp, &plan->pick);
	free(plan->members);
	plan->members = NULL;
}

/* Whether the service has the backend already, with this id. */
static bool has_member(const struct service_plan *plan, const struct member *member)
{
	const struct member *before =
	    plan->made ? NULL : record_find(plan->record, &member->want.address);

	return before && before->id == member->id;
}

/* Frees what a plan that is not applied has taken. */
static void service_plan_cancel(struct dataplane *dp, struct service_plan *plan)
{
	for (unsigned i = 0; plan->members && i < plan->count; i++) {
		const struct member *member = &plan->members[i];

		if (member->id && !has_member(plan, member))
			ids_untake(&dp->backend_ids, member->id);
	}
	if (plan->made) {
		if (plan->record->id)
			ids_untake(&dp->service_ids, plan->record->id);
		record_free(plan->record);
	}
	service_plan_done(dp, plan);
}

/* ---- planning the whole ---- */

static int compare_wanted(const void *a, const void *b)
{
	return dp_compare_keys(*(const struct dp_service *const *)a,
			       *(const struct dp_service *const *)b);
}

static const struct dp_service **sort_wanted(const struct dp_service *services, size_t count)
{
	const struct dp_service **sorted = calloc(count + 1, sizeof(*sorted));

	if (!sorted)
		return NULL;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &services[i];
	qsort(sorted, count, sizeof(*sorted), compare_wanted);
	return sorted;
}

/* Both lists are sorted: one pass finds the services that are kept, added and removed. */
static int plan_services(struct dataplane *dp, const struct dp_service **wanted, size_t count,
			 struct plan *plan, struct error *err)
{
	char key[DP_KEY_TEXT];
	size_t at = 0;
	int rc;

	for (size_t i = 0; i < count; i++) {
		struct service_plan *service = &plan->services[i];
		int order = 1;

		if (i && !dp_compare_keys(wanted[i - 1], wanted[i]))
			return error_set(err, -EEXIST, "%s: given twice, expected once",
					 dp_key_text(wanted[i], key));
		while (at < dp->records_count &&
		       (order = dp_compare_keys(&dp->records[at]->want, wanted[i])) < 0)
			plan->removed[plan->removed_count++] = dp->records[at++];
		plan->count = i + 1;
		task_pause();
		rc = plan_service(dp, service, wanted[i],
				  at < dp->records_count && !order ? dp->records[at] : NULL, err);
		if (rc)
			return rc;
		at += !service->made;
		plan->records[i] = service->record;
		plan->tables_change |= service->made;
	}
	while (at < dp->records_count)
		plan->removed[plan->removed_count++] = dp->records[at++];
	plan->tables_change |= plan->removed_count > 0;
	return 0;
}

static int plan_tables(struct dataplane *dp, struct plan *plan, struct error *err)
{
	_cleanup_free_ struct table_entry *entries = NULL;
	int rc;

	if (!plan->tables_change)
		return 0;
	entries = calloc(plan->count + 1, sizeof(*entries));
	if (!entries)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < plan->count; i++)
		entries[i] = (struct table_entry){&plan->services[i].want, plan->records[i]->id};
	rc = tables_plan_make(dp, entries, plan->count, &plan->tables);
	if (rc == -ENOSPC)
		return error_set(
		    err, rc,
		    "limits.services: %u: the VIP tables cannot take %zu service%s, expected a larger limit",
		    dp->maps.service_slots - 1, plan->count, plural_s(plan->count));
	return rc ? error_set(err, rc, "out of memory") : 0;
}

static int plan_make(struct dataplane *dp, const struct dp_service *services, size_t count,
		     struct plan *plan, struct error *err)
{
	_cleanup_free_ const struct dp_service **wanted = sort_wanted(services, count);
	int rc;

	plan->services = calloc(count + 1, sizeof(*plan->services));
	plan->records = calloc(count + 1, sizeof(*plan->records));
	plan->removed = calloc(dp->records_count + 1, sizeof(*plan->removed));
	if (!wanted || !plan->services || !plan->records || !plan->removed)
		return error_set(err, -ENOMEM, "out of memory");
	if (count >= dp->maps.service_slots)
		return error_set(
		    err, -ENOSPC,
		    "limits.services: %u: %zu service%s wanted, expected a larger limit",
		    dp->maps.service_slots - 1, count, plural(count, " is", "s are"));
	rc = plan_services(dp, wanted, count, plan, err);
	if (rc)
		return rc;
	if (dp_retire_room(dp, 3 * (count + dp->records_count)))
		return error_set(err, -ENOMEM, "out of memory");
	rc = reals_plan_make(dp, plan->services, plan->count, &plan->reals, err);
	if (!rc)
		rc = filters_plan_make(dp, plan->services, plan->count, &plan->filters, err);
	return rc ? rc : plan_tables(dp, plan, err);
}

static void plan_done(struct dataplane *dp, struct plan *plan, bool cancel)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (cancel)
			service_plan_cancel(dp, &plan->services[i]);
		else
			service_plan_done(dp, &plan->services[i]);
	}
	tables_plan_done(&plan->tables);
	reals_plan_done(&plan->reals);
	filters_plan_done(dp, &plan->filters);
	free(plan->services);
	free(plan->records);
	free(plan->removed);
}

/* ---- applying the plan ---- */

static void warn_of_moves(const struct service_plan *plan, const struct lb_service *line)
{
	char key[DP_KEY_TEXT];

	if (plan->made || (line->hash == plan->want.hash && line->mask4 == plan->want.mask4 &&
			   line->mask6 == plan->want.mask6))
		return;
	log_warning(
	    "%s: the fields of the slot hash have changed: established flows that are not tracked may move",
	    dp_key_text(&plan->want, key));
}

static uint16_t lesser(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

/* Writes the settings of a service, two words, after its slots and lists. */
static void write_service(struct dataplane *dp, const struct service_plan *plan)
{
	struct lb_service *at = &dp->maps.services[plan->record->id], line = *at;
	const struct dp_service *want = &plan->want;
	const size_t settings = offsetof(struct lb_service, select) / sizeof(uint64_t);
	const size_t idles = offsetof(struct lb_service, udp_idle) / sizeof(uint64_t);
	uint64_t words[sizeof(line) / sizeof(uint64_t)];

	line.select = want->algorithm->select;
	line.hash = want->hash;
	line.flags = (want->track_always ? LB_SERVICE_TRACK_ALWAYS : 0) |
		     (want->track_never ? LB_SERVICE_TRACK_NEVER : 0) |
		     (want->affinity ? LB_SERVICE_AFFINITY : 0) |
		     (want->no_fragments ? LB_SERVICE_NO_FRAGMENTS : 0) |
		     (want->filter ? LB_SERVICE_FILTERED : 0) |
		     (dp_has_limit(&want->limit) ? LB_SERVICE_LIMIT : 0);
	line.forward = want->forward;
	line.mask4 = want->mask4;
	line.mask6 = want->mask6;
	line.tcp_idle = dp_ticks(want->tcp_idle_ms);
	line.udp_idle = dp_ticks(want->udp_idle_ms);
	/* an entry must not outlive the settling of its slot: it would contradict the slot when the
	 * tuple is used again */
	line.syn_idle = lesser(dp_ticks(SYN_IDLE_MS), line.tcp_idle);
	line.affinity_idle = dp_ticks(want->affinity_ms);
	line.no_backend = want->no_backend;
	limit_write(dp, plan->record->id, &want->limit, plan->made);
	memcpy(words, &line, sizeof(words));
	dp_update((line_word *)at + idles, words[idles]);
	dp_update((line_word *)at + settings, words[settings]);
	dp_update(&at->id, plan->record->id);
}

static void set_traits(struct dataplane *dp, struct service_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		struct member *member = &plan->members[i];
		uint8_t before = dp->traits[member->id], after = BACKEND_PRESENT;

		if (member->want.usable)
			after |=
			    member->want.weight ? BACKEND_ALIVE : BACKEND_ALIVE | BACKEND_DRAINS;
		if (!(after & BACKEND_ALIVE) && (before & BACKEND_ALIVE || !before))
			dp->died_at[member->id] = dp_tick(dp);
		if (after & BACKEND_ALIVE && before && !(before & BACKEND_ALIVE))
			after |= BACKEND_REVIVED;
		if (after & BACKEND_DRAINS && !(before & BACKEND_DRAINS))
			member->drain_round = dp->sweep.round;
		dp->traits[member->id] = after;
	}
}

/* at: of find_next. */
static bool plan_keeps(const struct service_plan *plan, const struct member *member, unsigned *at)
{
	const struct member *after = find_next(plan->members, plan->count, at, member);

	return after && after->id == member->id;
}

/* Drops the members that are not in the plan. The slot rules treat them as gone from now on, but
 * their map values stay until no slot and no list names them. Returns whether packets in flight may
 * be on their way to one. */
static bool drop_members(struct dataplane *dp, struct record *record,
			 const struct service_plan *plan, uint16_t *leaving, size_t *leaving_count)
{
	bool in_use = false;
	unsigned at = 0;

	for (unsigned i = 0; i < record->count; i++) {
		const struct member *member = &record->members[i];
		bool alive = dp->traits[member->id] & BACKEND_ALIVE;

		if (plan && plan_keeps(plan, member, &at))
			continue;
		in_use |= alive && (dp->slots_of[member->id] || dp->maps.loads[member->id].cost);
		if (alive)
			dp->died_at[member->id] = dp_tick(dp);
		dp->traits[member->id] = 0;
		leaving[(*leaving_count)++] = member->id;
	}
	return in_use;
}

/* The record has them no more. */
static void note_dropped(struct dataplane *dp, const uint16_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		dp->traits[ids[i]] = BACKEND_DROPPED;
	dp->dropped += (unsigned)count;
}

static void apply_service(struct dataplane *dp, struct service_plan *plan)
{
	struct record *record = plan->record;
	const struct lb_service *line = &dp->maps.services[record->id];
	bool begins = line->flags & LB_SERVICE_TRACK_NEVER && !plan->want.track_never;

	warn_of_moves(plan, line);
	straight_close(dp, &plan->want);
	set_traits(dp, plan);
	backends_publish(dp, plan);
	ring_apply(dp, plan);
	connects_sample_ring(dp, plan);
	pick_apply(dp, plan);
	write_service(dp, plan);
	record->ever_by_slot |= record->adopted || !plan->want.track_always;
	record->adopted = false;
	keep_want(record, &plan->want);
	record->digest = plan->ring.digest;
	free(record->members);
	record->members = plan->members;
	record->count = plan->count;
	plan->members = NULL;
	dp->by_id[record->id] = record;
	if (begins && claims_any(dp))
		claims_enforce_all(dp, record); /* until now it took no part */
	straight_open(dp, record);
}

/* The members belong to the record by now: the plan borrows them. */
static void withdraw_dead(struct dataplane *dp, struct service_plan *plan)
{
	plan->members = plan->record->members;
	backends_withdraw(dp, plan);
	plan->members = NULL;
}

static void remove_record(struct dataplane *dp, struct record *record)
{
	struct lb_service *line = &dp->maps.services[record->id];

	dp_store(&line->id, 0);
	dp_retire(dp, line->ring);
	dp_retire(dp, line->old_ring);
	dp_retire(dp, line->pick);
	dp_store(&line->ring, 0);
	dp_store(&line->old_ring, 0);
	dp_store(&line->pick, 0);
	memset(line, 0, sizeof(*line));
	ids_leave(&dp->service_ids, record->id);
	dp->by_id[record->id] = NULL;
	dp->grace_owed = true;
	record_free(record);
}

/* Services that are removed cannot be found from now on. */
static void use_records(struct dataplane *dp, struct plan *plan)
{
	free(dp->records);
	dp->records = plan->records;
	dp->records_count = plan->count;
	plan->records = NULL;
}

/* The new half has no straight words yet, as the services may have changed since the plan. */
static void apply_tables(struct dataplane *dp, const struct plan *plan)
{
	tables_apply(dp, &plan->tables);
	for (size_t i = 0; i < plan->count; i++)
		straight_open(dp, plan->records[i]);
}

/* All members of a service that no table names any more. */
static bool remove_members(struct dataplane *dp, struct record *record, uint16_t *leaving,
			   size_t *leaving_count)
{
	straight_close(dp, &record->want);
	return drop_members(dp, record, NULL, leaving, leaving_count);
}

/* Writes backends, slots, services, tables; then removes in reverse order. leaving: has room for
 * all backends. */
static void plan_apply(struct dataplane *dp, struct plan *plan, uint16_t *leaving)
{
	size_t leaving_count = 0, first;
	bool in_use = false;

	reals_apply(dp, &plan->reals);
	filters_install(dp, &plan->filters);
	for (size_t i = 0; i < plan->count; i++) {
		struct service_plan *service = &plan->services[i];

		if (!service->changed) {
			keep_want(service->record, &service->want); /* its filter may be another */
			continue;
		}
		task_pause();
		first = leaving_count;
		in_use |= drop_members(dp, service->record, service, leaving, &leaving_count);
		apply_service(dp, service);
		note_dropped(dp, leaving + first, leaving_count - first);
		ring_count(dp, service->record, dp_tick(dp));
	}
	if (plan->tables_change)
		apply_tables(dp, plan);
	filters_remove(dp, &plan->filters);
	for (size_t i = 0; i < plan->removed_count; i++)
		in_use |= remove_members(dp, plan->removed[i], leaving, &leaving_count);
	/* A packet may have read a slot just before it was rewritten: the backend in it must stay
	 * until the packet is gone. */
	if (in_use) {
		dp->grace_owed = true;
		dp_grace(dp);
	}
	use_records(dp, plan); /* first, as pauses follow */
	for (size_t i = 0; i < plan->count; i++)
		if (plan->services[i].changed)
			withdraw_dead(dp, &plan->services[i]);
	for (size_t i = 0; i < plan->removed_count; i++)
		remove_record(dp, plan->removed[i]);
	dp->ids_changed |= leaving_count;
	for (size_t i = 0; i < leaving_count; i++)
		backend_retire(dp, leaving[i]);
}

/* Half of the flow table's places are shared out evenly and guaranteed to each service, whatever
 * load the others get. Any service may use the other half. */
static void share_places(struct dataplane *dp)
{
	int32_t half =
	    dp->maps.flow_words / 2 < INT32_MAX ? (int32_t)(dp->maps.flow_words / 2) : INT32_MAX;

	dp_update(&dp->maps.turns[0].share, half);
	for (size_t i = 0; i < dp->records_count; i++)
		dp_update(&dp->maps.turns[dp->records[i]->id].share,
			  half / (int32_t)dp->records_count);
}

/* port 0: any. */
static uint64_t ports_of(uint16_t port)
{
	return port ? LB_PORTS_BIT(port) : UINT64_MAX;
}

/* From which UDP ports something may answer what a backend sends to it: VIPs, reals, and what hosts
 * have below 1024, this one too. */
static void note_served(struct dataplane *dp)
{
	uint64_t served = LB_PORTS_BIT(0);

	for (size_t i = 0; i < dp->records_count; i++) {
		const struct record *record = dp->records[i];

		if (record->want.protocol != IPPROTO_UDP)
			continue;
		served |= ports_of(record->want.port);
		for (unsigned j = 0; record->want.forward == LB_FORWARD_NAT && j < record->count;
		     j++)
			served |= ports_of(ntohs(record->members[j].want.port));
	}
	dp_update(&dp->maps.settings->served, served);
}

int dataplane_commit(struct dataplane *dp, const struct dp_service *services, size_t count,
		     struct error *err)
{
	_cleanup_free_ uint16_t *leaving = calloc(dp->maps.backend_slots, sizeof(*leaving));
	struct plan plan = {0};
	int rc;

	if (!leaving)
		return error_set(err, -ENOMEM, "out of memory");
	rc = plan_make(dp, services, count, &plan, err);
	if (!rc) {
		plan_apply(dp, &plan, leaving);
		share_places(dp);
		note_served(dp);
		claims_translate(dp);
	}
	plan_done(dp, &plan, rc);
	return rc;
}

/* The wanted service that the record was made from, to plan it again. */
static int record_to_wanted(const struct record *record, struct dp_service *ret)
{
	struct dp_backend *backends = calloc(record->count + 1, sizeof(*backends));

	if (!backends)
		return -ENOMEM;
	for (unsigned i = 0; i < record->count; i++)
		backends[i] = record->members[i].want;
	*ret = record->want;
	ret->backends = backends;
	ret->backends_count = record->count;
	return 0;
}

void dp_resize(struct dataplane *dp, struct record *record)
{
	struct service_plan plan = {.want = record->want, .record = record, .changed = true};
	struct dp_service want;
	struct error err;
	int rc = record_to_wanted(record, &want);

	if (!rc) {
		rc = plan_members(dp, &plan, &want, &err);
		free(want.backends);
	}
	if (!rc)
		rc = pick_plan_make(dp, &plan, &err);
	if (!rc)
		rc = ring_plan_make(dp, &plan, &err);
	if (!rc && dp_retire_room(dp, 3))
		rc = error_set(&err, -ENOMEM, "out of memory");
	if (!rc) {
		apply_service(dp, &plan);
		ring_count(dp, record, dp_tick(dp));
	} else {
		record->wanted_size = LB_REGION_SIZE(dp->maps.services[record->id].ring);
		log_warning("ring not resized: %s", rc == -ENOMEM ? "out of memory" : err.text);
	}
	service_plan_done(dp, &plan);
}
