/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Follows state and interfaces, decides by decide.c, and carries that out by routes.c and record.c.
 * A change is carried out in the turn of the loop in which lbd notices it. What failed, and what
 * others have removed, is put right each second. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/plural.h"

#define TICK_US    100000 /* half of the 200 ms in which a VIP must be withdrawn */
#define FULL_TICKS 10
#define NAMED      20 /* VIPs that get a log line of their own */

struct announce {
	struct announce_options options;
	char *record_path;
	struct event *tick;
	unsigned ticks;
	struct netlink netlink; /* socket NULL: it could not be opened yet */

	bool on; /* `announce:` was in the config at the last look */
	enum node_state state;
	char why[ANNOUNCE_WHY], fault[ANNOUNCE_WHY];
	uint64_t since_ms;
	bool opened;                     /* every service has had its first results */
	char detached[ANNOUNCE_WHY];     /* why no packet can come in; "": they can */
	char syncing[FLEET_WHY];         /* what it waits for from its peers; "": nothing */
	struct announce_vip *vips;       /* by address */
	bool *wanted;                    /* for each of them */
	unsigned count;                  /* of vips */
	uint32_t metric;                 /* of the routes */
	struct announce_record in_force; /* table 0: nothing is announced anywhere */
	struct announce_record ending;   /* what was in force before and is not undone yet; or 0 */
	bool recorded;                   /* in_force is on disk */
	bool has_priority;               /* the file holds `priority` */
	int priority;
	uint64_t forwarded, packet_ms; /* packets in all; when that last changed, while it drains */
};

/* ---- facts ---- */

static void find_detached(const struct announce *announce, char why[ANNOUNCE_WHY])
{
	const struct attachment *list;
	unsigned count;

	*why = 0;
	if (!announce->options.attach)
		return;
	list = attach_list(announce->options.attach, &count);
	for (unsigned i = 0; i < count; i++)
		if (attach_interface_runs(list[i].name))
			return;
	if (count)
		snprintf(why, ANNOUNCE_WHY, "%s is down or has no carrier", list[0].name);
	else
		snprintf(why, ANNOUNCE_WHY, "no interface is attached");
}

/* True: the text has changed. */
static bool look_at_interfaces(struct announce *announce)
{
	char why[ANNOUNCE_WHY];

	find_detached(announce, why);
	if (!strcmp(why, announce->detached))
		return false;
	memcpy(announce->detached, why, sizeof(why));
	return true;
}

/* The same. What it waits for changes in its course: only the end counts. */
static bool look_at_fleet(struct announce *announce)
{
	bool was = *announce->syncing;

	return fleet_is_joining(announce->options.fleet, announce->syncing) != was;
}

static void look_at_packets(struct announce *announce)
{
	struct lb_reason_count counts[LB_COUNTERS];
	uint64_t forwarded;

	dataplane_reason_counts(announce->options.dp, counts);
	forwarded =
	    counts[LB_REASON_forwarded_tx].packets + counts[LB_REASON_forwarded_redirect].packets;
	if (forwarded == announce->forwarded)
		return;
	announce->forwarded = forwarded;
	announce->packet_ms = clock_monotonic_ms();
}

/* ---- the log ---- */

static void log_vip(const struct announce_vip *vip)
{
	char text[ADDR_TEXT];
	const char *why = vip->announced ? ""
			  : vip->why[0]  ? vip->why
					 : "its route cannot be added";
	const struct event_about about = {
	    .vip = addr_format(&vip->address, text), .why = why, .measured = true};

	if (vip->announced)
		events_log(EVENT_vip_announced, LOG_INFO, &about, "VIP %s: announced", text);
	else
		events_log(EVENT_vip_withdrawn, LOG_WARNING, &about, "VIP %s: withdrawn: %s", text,
			   why);
}

static void log_more_vips(unsigned announced, unsigned withdrawn)
{
	const struct event_about about = {.count = announced + withdrawn, .measured = true};

	if (about.count)
		events_log(withdrawn ? EVENT_vip_withdrawn : EVENT_vip_announced,
			   withdrawn ? LOG_WARNING : LOG_INFO, &about,
			   "more VIPs at the same time: %u announced, %u withdrawn", announced,
			   withdrawn);
}

/* VIPs that changed while the state of the node did not. */
static void log_vips(const struct announce *announce, const struct announce_vip *before,
		     unsigned count)
{
	unsigned named = 0, announced = 0, withdrawn = 0;

	for (unsigned i = 0; i < announce->count; i++) {
		const struct announce_vip *vip = &announce->vips[i];
		const struct announce_vip *was = vips_find(before, count, &vip->address);

		if (!was || was->announced == vip->announced)
			continue;
		if (named++ < NAMED)
			log_vip(vip);
		else if (vip->announced)
			announced++;
		else
			withdrawn++;
	}
	log_more_vips(announced, withdrawn);
}

static unsigned count_announced(const struct announce *announce)
{
	unsigned announced = 0;

	for (unsigned i = 0; i < announce->count; i++)
		announced += announce->vips[i].announced;
	return announced;
}

/* Not all is known yet that decides. */
static bool is_early(const struct announce *announce)
{
	return announce->state == NODE_STARTING || announce->state == NODE_SYNCING;
}

static void log_state(const struct announce *announce)
{
	static const enum event_kind kinds[NODE_STATES] = {[NODE_STARTING] = EVENT_node_starting,
							   [NODE_SYNCING] = EVENT_node_syncing,
							   [NODE_UP] = EVENT_node_up,
							   [NODE_DRAINING] = EVENT_node_draining,
							   [NODE_BLIND] = EVENT_node_blind,
							   [NODE_WITHDRAWN] = EVENT_node_withdrawn};
	const struct event_about about = {.why = announce->why, .measured = true};
	enum event_kind kind = kinds[announce->state];
	const char *name = announce_state_name(announce->state);

	if (announce->state == NODE_UP || announce->state == NODE_DRAINING)
		events_log(kind, LOG_INFO, &about,
			   "node: %s: %u of %u VIP%s announced, table %" PRIu32 ", metric %" PRIu32,
			   name, count_announced(announce), announce->count,
			   plural_s(announce->count), announce->in_force.set.table,
			   announce->metric);
	else if (is_early(announce))
		events_log(kind, LOG_INFO, &about, "node: %s: %s", name, announce->why);
	else
		events_log(kind, LOG_WARNING, &about, "node: %s: %s; no VIP is announced", name,
			   announce->why);
}

static void set_fault(struct announce *announce, const char *fault)
{
	if (!strcmp(announce->fault, fault))
		return;
	if (*fault)
		log_error("announce: %s; tried again each second", fault);
	else
		log_info("announce: routes and files are as they should be again");
	snprintf(announce->fault, sizeof(announce->fault), "%s", fault);
}

/* ---- carrying it out ---- */

static int ready_netlink(struct announce *announce, struct error *err)
{
	return announce->netlink.socket ? 0 : routes_open(&announce->netlink, err);
}

/* Before the first results are in, and before peers have told what they know, routes that an
 * earlier lbd has left stay: its data plane goes on too. Others are not added. */
static void want_what_is_there(struct announce *announce, const struct announce_vip *before,
			       unsigned count)
{
	for (unsigned i = 0; i < announce->count; i++) {
		const struct announce_vip *was =
		    vips_find(before, count, &announce->vips[i].address);

		announce->wanted[i] = was && was->announced;
	}
}

static void decide_wanted(struct announce *announce, const struct announce_vip *before,
			  unsigned count)
{
	bool announces = announce->state == NODE_UP || announce->state == NODE_DRAINING;

	for (unsigned i = 0; i < announce->count; i++)
		announce->wanted[i] = announces && announce->vips[i].usable;
	if (is_early(announce) && dataplane_adopted(announce->options.dp))
		want_what_is_there(announce, before, count);
}

static int apply_routes(struct announce *announce, struct error *err)
{
	int rc = ready_netlink(announce, err);

	return rc ? rc
		  : routes_apply(&announce->netlink, &announce->in_force.set, announce->vips,
				 announce->wanted, announce->count, announce->metric, err);
}

/* An lbd that takes over does not know yet what to write: the number of the last one stands. */
static int apply_priority(struct announce *announce, struct error *err)
{
	int priority = node_priority(announce->state), rc;

	if (!announce->in_force.file ||
	    (announce->has_priority && announce->priority == priority) ||
	    (is_early(announce) && dataplane_adopted(announce->options.dp)))
		return 0;
	rc = priority_write(announce->in_force.file, priority, err);
	announce->has_priority = !rc;
	announce->priority = priority;
	return rc;
}

static int apply_record(struct announce *announce, struct error *err)
{
	int rc;

	if (announce->recorded || !announce->record_path)
		return 0;
	rc = announce_record_write(announce->record_path, &announce->in_force, err);
	announce->recorded = !rc;
	return rc;
}

static bool same_set(const struct route_set *a, const struct route_set *b)
{
	return a->table == b->table && a->protocol == b->protocol;
}

static bool same_file(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* What was announced in another table, or to another file, ends. It is tried again until it has. */
static int apply_end(struct announce *announce, struct error *err)
{
	struct announce_record *ending = &announce->ending;
	const struct announce_record *now = &announce->in_force;
	unsigned count = 0;
	int rc;

	if (!ending->set.table)
		return 0;
	rc = ready_netlink(announce, err);
	if (!rc && !same_set(&ending->set, &now->set))
		rc = routes_withdraw(&announce->netlink, &ending->set, &count, err);
	if (count)
		log_info("announce: %u route%s withdrawn from table %" PRIu32, count,
			 plural_s(count), ending->set.table);
	if (!rc && ending->file && !same_file(ending->file, now->file))
		rc = priority_write(ending->file, node_priority(NODE_WITHDRAWN), err);
	if (!rc)
		announce_record_done(ending);
	return rc;
}

static int announce_record_of(const struct config_announce *config, struct announce_record *ret,
			      struct error *err)
{
	*ret = (struct announce_record){.set = {config->table, config->protocol}};
	if (config->file && !(ret->file = strdup(config->file)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* Takes over next. True: it differs from what was in force. */
static bool put_in_force(struct announce *announce, struct announce_record *next)
{
	struct announce_record *now = &announce->in_force;

	if (same_set(&now->set, &next->set) && same_file(now->file, next->file)) {
		announce_record_done(next);
		return false;
	}
	announce_record_done(&announce->ending);
	announce->ending = *now;
	*now = *next;
	announce->recorded = announce->has_priority = false;
	return true;
}

/* ---- one look ---- */

static int collect(struct announce *announce, struct node_tally *ret_tally, struct error *err)
{
	const struct config *config = state_config(announce->options.state);
	const struct vips_before before = {announce->vips, announce->count};
	struct announce_vip *vips;
	struct service *const *services;
	unsigned count;
	bool *wanted;

	services = state_services(announce->options.state, &count);
	wanted = calloc(count + 1, sizeof(*wanted));
	if (!wanted ||
	    vips_collect(services, count, &config->announce, &before, &vips, ret_tally)) {
		free(wanted);
		return error_set(err, -ENOMEM, "out of memory");
	}
	announce->vips = vips;
	announce->wanted = wanted;
	announce->count = ret_tally->vips;
	announce->opened |= !ret_tally->unopened;
	return 0;
}

/* True: worth a line in the log. */
static bool enter_state(struct announce *announce, const struct node_tally *tally)
{
	const struct node_facts facts = {
	    .detached = announce->detached[0] ? announce->detached : NULL,
	    .opened = announce->opened,
	    .syncing = announce->syncing[0] ? announce->syncing : NULL,
	    .order = *state_node_order(announce->options.state),
	};
	char why[ANNOUNCE_WHY];
	enum node_state state = node_decide(&facts, tally, why);
	bool changed = !announce->since_ms || state != announce->state,
	     other_reason = state == NODE_WITHDRAWN && strcmp(why, announce->why) != 0;

	if (changed)
		announce->since_ms = clock_monotonic_ms();
	announce->state = state;
	memcpy(announce->why, why, sizeof(why));
	announce->metric = facts.order.drain
			       ? state_config(announce->options.state)->announce.drain_metric
			       : state_config(announce->options.state)->announce.metric;
	return changed || other_reason;
}

/* Does what is wanted differ from what was there at the last look? */
static bool differs(const struct announce *announce, const struct announce_vip *before,
		    unsigned count, uint32_t metric)
{
	if (announce->count != count || announce->metric != metric || announce->fault[0])
		return true;
	for (unsigned i = 0; i < count; i++)
		if (!addr_equal(&announce->vips[i].address, &before[i].address) ||
		    announce->wanted[i] != before[i].announced)
			return true;
	return false;
}

static void keep_announced(struct announce *announce, const struct announce_vip *before)
{
	for (unsigned i = 0; i < announce->count; i++)
		announce->vips[i].announced = before[i].announced;
}

static void note_first(struct error *first, const struct error *err)
{
	if (!first->text[0])
		*first = *err;
}

/* Routes first: they are what traffic follows. Then what they replace. The first failure is
 * shown. */
static void carry_out(struct announce *announce, bool routes)
{
	struct error first = {""}, err;

	if (routes && apply_routes(announce, &err))
		note_first(&first, &err);
	if (apply_end(announce, &err))
		note_first(&first, &err);
	if (apply_priority(announce, &err))
		note_first(&first, &err);
	if (apply_record(announce, &err))
		note_first(&first, &err);
	set_fault(announce, first.text);
}

/* full: also asks the kernel whether the routes are still there. */
static void look(struct announce *announce, bool full)
{
	const struct config_announce *config = &state_config(announce->options.state)->announce;
	struct announce_vip *before = announce->vips;
	bool *wanted_before = announce->wanted;
	unsigned count = announce->count;
	uint32_t metric = announce->metric;
	struct node_tally tally;
	struct announce_record next = {0};
	struct error err;
	bool changed;

	if (announce_record_of(config, &next, &err) || collect(announce, &tally, &err)) {
		announce_record_done(&next);
		set_fault(announce, err.text);
		return;
	}
	full |= put_in_force(announce, &next);
	changed = enter_state(announce, &tally);
	decide_wanted(announce, before, count);
	full |= differs(announce, before, count, metric);
	if (!full)
		keep_announced(announce, before);
	carry_out(announce, full);
	if (changed)
		log_state(announce);
	else
		log_vips(announce, before, count);
	free(before);
	free(wanted_before);
}

/* ---- without `announce:` in the config ---- */

static void forget_vips(struct announce *announce)
{
	free(announce->vips);
	free(announce->wanted);
	announce->vips = NULL;
	announce->wanted = NULL;
	announce->count = 0;
	announce->since_ms = 0;
}

/* The key has been removed, or an earlier lbd had it: nothing is announced any more. */
static void end(struct announce *announce)
{
	struct announce_record none = {0};
	struct error err = {""};

	put_in_force(announce, &none);
	if (!announce->ending.set.table)
		return;
	forget_vips(announce);
	if (!apply_end(announce, &err) && announce->record_path &&
	    file_remove(announce->record_path))
		log_warning("%s: cannot be removed", announce->record_path);
	set_fault(announce, err.text);
}

static void refresh(struct announce *announce, bool full)
{
	announce->on = state_config(announce->options.state)->announce.on;
	if (announce->on)
		look(announce, full);
	else
		end(announce);
}

/* ---- events ---- */

static void on_change(void *arg)
{
	struct announce *announce = arg;

	look_at_interfaces(announce);
	look_at_fleet(announce);
	refresh(announce, false);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct announce *announce = arg;
	bool full = ++announce->ticks % FULL_TICKS == 0;

	if (state_node_order(announce->options.state)->drain)
		look_at_packets(announce);
	full |= look_at_fleet(announce);
	if (look_at_interfaces(announce) || full)
		refresh(announce, full);
}

/* ---- start and stop ---- */

/* What an earlier lbd has announced counts as in force. A record that cannot be read is as none. */
static void take_over(struct announce *announce)
{
	struct error err;
	int rc = announce->record_path
		     ? announce_record_read(announce->record_path, &announce->in_force, &err)
		     : -ENOENT;

	if (rc && rc != -ENOENT)
		log_error("%s; routes that an earlier lbd has left in another table stay there",
			  err.text);
	announce->recorded = !rc;
}

/* For want_what_is_there. */
static void find_what_is_there(struct announce *announce)
{
	struct node_tally tally;
	struct error err;

	if (!announce->in_force.set.table || collect(announce, &tally, &err) ||
	    ready_netlink(announce, &err))
		return;
	if (routes_look(&announce->netlink, &announce->in_force.set, announce->vips,
			announce->count, &err))
		log_error("announce: %s", err.text);
}

static int open_all(struct announce *announce, struct error *err)
{
	const struct announce_options *options = &announce->options;

	if (options->record && !(announce->record_path = strdup(options->record)))
		return error_set(err, -ENOMEM, "out of memory");
	announce->tick = event_new(options->base, -1, EV_PERSIST, on_tick, announce);
	if (!announce->tick)
		return error_set(err, -ENOMEM, "out of memory");
	announce->packet_ms = clock_monotonic_ms();
	announce->on = state_config(options->state)->announce.on;
	snprintf(announce->why, sizeof(announce->why), "lbd starts");
	take_over(announce);
	find_what_is_there(announce);
	return 0;
}

int announce_new(const struct announce_options *options, struct announce **ret, struct error *err)
{
	struct announce *announce = calloc(1, sizeof(*announce));
	int rc;

	if (!announce)
		return error_set(err, -ENOMEM, "out of memory");
	announce->options = *options;
	rc = open_all(announce, err);
	if (rc)
		announce_free(announce);
	else
		*ret = announce;
	return rc;
}

int announce_begin(struct announce *announce, struct error *err)
{
	const struct timeval tick = clock_span_us(TICK_US);

	if (event_add(announce->tick, &tick))
		return error_set(err, -ENOMEM, "out of memory");
	look_at_interfaces(announce);
	look_at_fleet(announce);
	refresh(announce, true);
	state_on_change(announce->options.state, on_change, announce);
	return 0;
}

void announce_free(struct announce *announce)
{
	if (!announce)
		return;
	state_on_change(announce->options.state, NULL, announce);
	if (announce->tick)
		event_free(announce->tick);
	netlink_done(&announce->netlink);
	forget_vips(announce);
	announce_record_done(&announce->in_force);
	announce_record_done(&announce->ending);
	free(announce->record_path);
	free(announce);
}

/* ---- for users ---- */

void announce_node(const struct announce *announce, struct announce_node *ret)
{
	const struct node_order *order = state_node_order(announce->options.state);
	uint64_t now_ms = clock_monotonic_ms();

	*ret = (struct announce_node){.on = announce->on};
	if (!announce->on)
		return;
	ret->state = announce->state;
	memcpy(ret->why, announce->why, sizeof(ret->why));
	memcpy(ret->fault, announce->fault, sizeof(ret->fault));
	ret->since_ms = announce->since_ms ? announce->since_ms : now_ms;
	ret->table = announce->in_force.set.table;
	ret->metric = announce->metric;
	ret->vips = announce->count;
	ret->announced = count_announced(announce);
	ret->drains = order->drain;
	ret->withdrawn = order->withdraw;
	ret->drain_ms = order->drain_ms < now_ms ? order->drain_ms : now_ms;
	ret->packet_ms = announce->packet_ms;
}

const struct announce_vip *announce_vips(const struct announce *announce, unsigned *ret_count)
{
	*ret_count = announce->count;
	return announce->vips;
}

bool announce_has(const struct announce *announce, const struct addr *vip)
{
	const struct announce_vip *found = vips_find(announce->vips, announce->count, vip);

	return found && found->announced;
}

/* ---- lbd --withdraw ---- */

static int withdraw(const struct announce_record *record, struct error *err)
{
	struct netlink netlink = {0};
	unsigned count = 0;
	int rc = routes_open(&netlink, err);

	if (!rc)
		rc = routes_withdraw(&netlink, &record->set, &count, err);
	netlink_done(&netlink);
	if (!rc)
		log_info("withdrawn: %u route%s of table %" PRIu32 ", protocol %u", count,
			 plural_s(count), record->set.table, record->set.protocol);
	if (!rc && record->file)
		rc = priority_write(record->file, node_priority(NODE_WITHDRAWN), err);
	return rc;
}

int announce_withdraw(const char *path, struct error *err)
{
	struct announce_record record;
	int rc = announce_record_read(path, &record, err);

	if (rc == -ENOENT) {
		log_info("%s: does not exist: nothing is announced", path);
		return 0;
	}
	if (rc)
		return rc;
	rc = withdraw(&record, err);
	announce_record_done(&record);
	return rc;
}
