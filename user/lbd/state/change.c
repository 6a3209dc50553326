/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes by the user: run-time changes of backends, and the reload. Each one changes a copy of the
 * overrides and switches to that copy. */
#include "change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/text.h"

/* ---- one backend ---- */

void change_set_label(struct change *change, const struct config_tag *tag,
		      const struct addr *address)
{
	char label[SERVICE_LABEL], text[CONFIG_BACKEND_LABEL];

	snprintf(change->label, sizeof(change->label), "%s: backend %s",
		 service_label(change->service, label), config_backend_label(tag, address, text));
}

int change_find(const struct state *state, const char *name, const struct addr *address,
		struct change *ret, struct error *err)
{
	struct change change = {.service = state_find_service(state, name)};

	if (!change.service)
		return error_set(err, -ENOENT, "service \"%s\": no such service", name);
	change.name = change.service->config->name;
	change.address = *address;
	change.backend = service_find_backend(change.service, address);
	change.file = config_find_backend(change.service->config, address);
	change_set_label(&change, change.backend ? change.backend->tag : NULL, address);
	*ret = change;
	return 0;
}

int change_begin(struct state *state, const char *name, const struct addr *address,
		 struct change *ret, struct error *err)
{
	struct change change;
	int rc = change_find(state, name, address, &change, err);

	if (rc)
		return rc;
	if (overrides_copy(&state->overrides, &change.overrides))
		return error_set(err, -ENOMEM, "out of memory");
	change.entry = overrides_get(&change.overrides, change.name, address);
	if (!change.entry) {
		overrides_done(&change.overrides);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = change;
	return 0;
}

void change_report(const struct change *change, enum event_kind kind, const char *format, ...)
{
	char backend[ADDR_TEXT], text[128];
	const struct event_about about = {.service = change->name,
					  .backend = addr_format(&change->address, backend)};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	events_log(kind, LOG_INFO, &about, "%s%s", change->label, text);
}

/* Drops an entry that says the same as the file. */
static void change_tidy(struct change *change)
{
	overrides_tidy(&change->overrides, change->entry, change->file);
	change->entry = NULL;
}

/* What is to be in force for the backend, before it is compared with the file. */
static void log_change(const struct change *change)
{
	const struct override *entry = change->entry;
	uint64_t now = clock_monotonic_ms();
	char weight[32] = "", force[64] = "", time[DURATION_TEXT];

	if (entry->has_weight)
		snprintf(weight, sizeof(weight), ", weight %u", entry->weight);
	if (entry->has_force)
		snprintf(force, sizeof(force), " for at most %s",
			 duration_exact(entry->force_ms > now ? entry->force_ms - now : 0, time));
	log_debug("%s: run-time change: %s%s%s%s%s%s", change->label,
		  entry->removed ? "remove"
		  : change->file ? "in the file"
				 : "not in the file",
		  weight, entry->drain ? ", drain" : "", force, entry->admin ? ", state " : "",
		  entry->admin ? admin_state_name(entry->admin) : "");
}

void change_warn(const struct state *state, const char *name, bool was_down, bool other_backends)
{
	const struct service *service = state_find_service(state, name);

	if (service && service->status == SERVICE_DOWN && !was_down)
		state_warn(state, "service %s is down now: %s", name, service_why(service));
	if (service && other_backends)
		ring_warn_of_change(state, service);
}

int change_end(struct state *state, struct change *change, struct error *err)
{
	bool was_down = change->service->status == SERVICE_DOWN;
	bool comes = !change->backend || change->backend->removed, goes = change->entry->removed;
	int rc;

	if (log_debugs())
		log_change(change);
	change_tidy(change);
	rc = state_switch(state, state->config, &change->overrides, err);
	overrides_done(&change->overrides);
	if (!rc)
		change_warn(state, change->name, was_down, comes || goes);
	return rc;
}

int change_refuse(struct change *change, struct error *err, int code, const char *why)
{
	overrides_done(&change->overrides);
	return error_set(err, code, "%s: %s", change->label, why);
}

/* As change_begin, for a backend that must exist and is not being removed. */
static int change_existing(struct state *state, const char *name, const struct addr *address,
			   struct change *ret, struct error *err)
{
	int rc = change_begin(state, name, address, ret, err);

	if (rc)
		return rc;
	if (!ret->backend)
		return change_refuse(ret, err, -ENOENT, "no such backend");
	if (ret->backend->removed)
		return change_refuse(ret, err, -ENOENT,
				     "is being removed; to keep it: lbctl backend add");
	return 0;
}

/* Of its own; 0: it names none. */
static uint16_t change_port(const struct change *change, const struct state_put *put)
{
	return change->file ? change->file->port : put->port;
}

/* The rules of the file, and one that needs this host: packets to an address of its own would come
 * back to the balancer. */
static int check_address(const struct state *state, const struct change *change,
			 const struct state_put *put, struct error *err)
{
	int rc = config_check_backend(state->config, change->service->config, &change->address,
				      change_port(change, put), err);

	if (!rc && addr_is_own(&change->address))
		rc = error_set(err, -EINVAL,
			       "is an address of this host: expected the address of a backend");
	if (!rc && !(change->file ? change->file->target.port : put->target.port) &&
	    config_checks_lack_port(change->service->config))
		rc = error_set(
		    err, -EINVAL,
		    "has no port to be checked at: the service takes any port, expected health.port of this backend, or of the service in the config file");
	return rc;
}

static bool says_more_than_weight(const struct state_put *put)
{
	return put->tag || put->priority || put->backup || put->port || put->target.port ||
	       put->target.agent_port || put->target.address.family;
}

/* The file decides on all but the weight of its backends, and no two of a service have the same
 * name. */
static int check_rest(const struct change *change, const struct state_put *put, struct error *err)
{
	const char *name = config_tag_name(put->tag);
	const struct backend *there = name ? service_find_named(change->service, name) : NULL;
	char other[ADDR_TEXT];

	if (change->file && says_more_than_weight(put))
		return error_set(err, -EINVAL,
				 "is in the config file, which says what it is: expected a weight "
				 "at most");
	if (put->backup && put->priority)
		return error_set(err, -EINVAL, "priority: %u: " CONFIG_BACKUP_PRIORITY,
				 put->priority);
	if (put->port && config_why_no_port(change->service->config))
		return error_set(err, -EINVAL, "port: %u: %s", put->port,
				 config_why_no_port(change->service->config));
	if (put->target.address.family && health_spec_to_vip(&change->service->config->health))
		return error_set(
		    err, -EINVAL,
		    "health: address: has no meaning with `to: vip`: such a check goes "
		    "to the VIP");
	if (there && there != change->backend && !there->removed)
		return error_set(err, -EINVAL,
				 "name: %s: backend %s has the same name: expected another", name,
				 addr_format(&there->address, other));
	return 0;
}

/* No other service has its real. */
static int check_real(const struct state *state, const struct change *change,
		      const struct state_put *put, struct reals *reals, struct error *err)
{
	const struct config_service *service = change->service->config;
	struct reals of_world = {0};
	int rc;

	if (service->forward != LB_FORWARD_NAT)
		return 0;
	if (!reals && reals_of_world(&state->world, &of_world))
		return error_set(err, -ENOMEM, "out of memory");
	rc = reals_admit(reals ? reals : &of_world, service, &change->address,
			 config_real_port(service, change_port(change, put)), err);
	reals_done(&of_world);
	return rc;
}

int change_check(const struct state *state, const struct change *change,
		 const struct state_put *put, struct reals *reals, struct error *err)
{
	int rc = check_address(state, change, put, err);

	if (!rc)
		rc = check_rest(change, put, err);
	return rc ? rc : check_real(state, change, put, reals, err);
}

void change_note_port(struct change *change, const struct state_put *put)
{
	bool there = change->backend && !change->backend->removed;

	change->to_port = config_real_port(change->service->config, change_port(change, put));
	change->from_port = there ? change->backend->port : change->to_port;
}

void change_set_added(struct override *entry, const struct state_put *put)
{
	config_tag_unref(entry->tag);
	entry->tag = config_tag_ref(put->tag);
	entry->has_weight = true;
	entry->weight = put->weight;
	entry->priority = put->priority;
	entry->backup = put->backup;
	entry->port = put->port;
	entry->target = put->target;
}

int state_backend_add(struct state *state, const char *service, const struct addr *address,
		      const struct state_put *put, struct error *err)
{
	struct change change;
	struct error flaw;
	int rc = change_begin(state, service, address, &change, err);

	if (rc)
		return rc;
	if (change.backend && !change.backend->removed)
		return change_refuse(&change, err, -EEXIST, "already exists");
	if (change_check(state, &change, put, NULL, &flaw))
		return change_refuse(&change, err, -EINVAL, flaw.text);
	change_set_added(change.entry, put);
	change_set_label(&change, change.file ? change.file->tag : put->tag, address);
	change.entry->removed = change.entry->drain = false;
	change.entry->admin = ADMIN_AUTO;
	change.entry->undrain = change.file && change.file->drain;
	rc = change_end(state, &change, err);
	if (!rc)
		change_report(&change, EVENT_backend_added, " added, weight %u", put->weight);
	return rc;
}

void change_set_removed(struct override *entry)
{
	entry->removed = true;
	entry->drain = entry->undrain = entry->has_weight = false;
	entry->admin = ADMIN_AUTO;
}

void change_report_removed(const struct change *change, bool now)
{
	change_report(change, EVENT_backend_removed, " removed%s",
		      now ? " at once" : " once drained");
}

static bool is_last(const struct change *change)
{
	for (unsigned i = 0; i < change->service->backends_count; i++)
		if (change->service->backends[i] != change->backend &&
		    !change->service->backends[i]->removed)
			return false;
	return !change->backend->removed;
}

int state_backend_remove(struct state *state, const char *service, const struct addr *address,
			 bool now, bool force, struct error *err)
{
	struct change change;
	int rc = change_begin(state, service, address, &change, err);

	if (rc)
		return rc;
	if (!change.backend)
		return change_refuse(&change, err, -ENOENT, "no such backend");
	if (!force && is_last(&change))
		return change_refuse(&change, err, -EBUSY,
				     "is the last backend of the service, which has none without "
				     "it: expected --force");
	if (change.entry->origin == ORIGIN_source)
		return change_refuse(&change, err, -EBUSY,
				     "comes from `backends-from` and would come again: expected "
				     "that its source removes it, or lbctl backend drain");
	change.backend->removed_now = now;
	change_set_removed(change.entry);
	rc = change_end(state, &change, err);
	if (rc)
		change.backend->removed_now = false;
	else
		change_report_removed(&change, now);
	return rc;
}

static void set_drain(struct override *entry, bool on, const uint64_t *force_after_ms)
{
	uint64_t now = clock_monotonic_ms();

	if (!on || !entry->drain)
		entry->drain_ms = on ? now : 0;
	if (!on || !entry->drain)
		entry->has_force = false;
	entry->drain = on;
	if (on && force_after_ms) {
		entry->has_force = true;
		entry->force_ms = now + *force_after_ms;
	}
}

/* An added backend has no other. */
static void keep_weight(struct change *change)
{
	if (change->file || change->entry->has_weight)
		return;
	change->entry->has_weight = true;
	change->entry->weight = change->backend->weight;
}

int state_backend_drain(struct state *state, const char *service, const struct addr *address,
			bool on, const uint64_t *force_after_ms, struct error *err)
{
	struct change change;
	int rc = change_existing(state, service, address, &change, err);

	if (rc)
		return rc;
	set_drain(change.entry, on, force_after_ms);
	change.entry->undrain = !on;
	keep_weight(&change);
	rc = change_end(state, &change, err);
	if (!rc && !on)
		change_report(&change, EVENT_backend_undrained, ": drain cancelled");
	return rc;
}

int state_backend_weight(struct state *state, const char *service, const struct addr *address,
			 uint32_t weight, struct error *err)
{
	struct change change;
	int rc = change_existing(state, service, address, &change, err);

	if (rc)
		return rc;
	if (override_comes_by_itself(change.entry))
		return change_refuse(&change, err, -EBUSY,
				     change.entry->origin == ORIGIN_lease
					 ? "is registered with a weight of its own: expected "
					   "another registration (lbctl backend put), or lbctl "
					   "backend drain"
					 : "has the weight that `backends-from` gives it: expected "
					   "another weight there, or lbctl backend drain");
	change.entry->has_weight = true;
	change.entry->weight = weight;
	rc = change_end(state, &change, err);
	if (!rc)
		change_report(&change, EVENT_backend_weight, ": weight %u", weight);
	return rc;
}

int state_backend_admin(struct state *state, const char *service, const struct addr *address,
			enum admin_state admin, struct error *err)
{
	enum admin_state before;
	struct change change;
	int rc = change_existing(state, service, address, &change, err);

	if (rc)
		return rc;
	before = change.entry->admin;
	change.entry->admin = admin;
	keep_weight(&change);
	rc = change_end(state, &change, err);
	if (!rc && admin && admin != before)
		change_report(&change, EVENT_backend_state, ": set to %s", admin_state_name(admin));
	else if (!rc && admin != before)
		change_report(&change, EVENT_backend_state,
			      ": no longer set to %s: its checks decide", admin_state_name(before));
	return rc;
}

/* ---- the file ---- */

static bool same_prefix(const struct addr *a, unsigned a_len, const struct addr *b, unsigned b_len)
{
	return a_len == b_len && addr_equal(a, b);
}

static bool same_metrics(const struct config *a, const struct config *b)
{
	if (!a->metrics || !b->metrics)
		return !a->metrics == !b->metrics;
	if (!a->metrics_path != !b->metrics_path ||
	    (a->metrics_path && strcmp(a->metrics_path, b->metrics_path) != 0))
		return false;
	return a->metrics_port == b->metrics_port &&
	       addr_equal(&a->metrics_address, &b->metrics_address);
}

static bool same_token_file(const struct config *a, const struct config *b)
{
	const char *first = a->metrics_token_file, *second = b->metrics_token_file;

	return first && second ? !strcmp(first, second) : first == second;
}

/* The file's keys are read again by fleet. */
static bool same_peers(const struct config_peers *a, const struct config_peers *b)
{
	bool same = a->on == b->on && a->port == b->port && a->nodes_count == b->nodes_count &&
		    same_text(a->key_file, b->key_file);

	for (unsigned i = 0; same && i < a->nodes_count; i++)
		same = addr_equal(&a->nodes[i], &b->nodes[i]);
	return same;
}

/* Its files are read again by a reload. */
static bool same_listener(const struct config_api *a, const struct config_api *b)
{
	return !a || !b ? a == b : a->port == b->port && addr_equal(&a->address, &b->address);
}

struct fixed_key {
	const char *key;
	bool same;
	bool pinned; /* in the pinned maps */
};

#define FIXED_KEYS 13

/* Keys that are read only at start. seed: of the pinned maps. */
static void compare_fixed_keys(const struct config *old, const struct config *new, uint64_t seed,
			       struct fixed_key ret[FIXED_KEYS])
{
	const struct fixed_key keys[FIXED_KEYS] = {
	    {"pin", !strcmp(old->pin, new->pin), false},
	    {"socket", !strcmp(old->socket, new->socket), false},
	    {"state", !strcmp(old->state, new->state), false},
	    {"group", !strcmp(old->group, new->group), false},
	    {"metrics", same_metrics(old, new), false},
	    {"metrics-token-file", same_token_file(old, new), false},
	    {"encap: gue-port", old->gue_port == new->gue_port, false},
	    {"telemetry", old->sample == new->sample, false},
	    {"api: listen", same_listener(old->api, new->api), false},
	    {"peers", same_peers(&old->peers, &new->peers), false},
	    {"hash-seed", !new->hash_seed || new->hash_seed == seed, true},
	    {"limits", !memcmp(&old->limits, &new->limits, sizeof(old->limits)), true},
	    {"encap: source-v4, source-v6",
	     same_prefix(&old->encap_source4, old->encap_source4_len, &new->encap_source4,
			 new->encap_source4_len) &&
		 same_prefix(&old->encap_source6, old->encap_source6_len, &new->encap_source6,
			     new->encap_source6_len),
	     false},
	};

	memcpy(ret, keys, sizeof(keys));
}

static void warn_of_fixed_keys(const struct state *state, const struct config *new)
{
	const struct config *old = state->started ? state->started : state->config;
	struct fixed_key keys[FIXED_KEYS];

	compare_fixed_keys(old, new, dataplane_hash_seed(state->options.dataplane), keys);
	for (unsigned i = 0; i < FIXED_KEYS; i++) {
		if (keys[i].same)
			continue;
		if (keys[i].pinned)
			state_warn(state,
				   "%s ignored: the pinned maps keep the old one; to change it, "
				   "detach the interfaces and restart lbd",
				   keys[i].key);
		else
			state_warn(state,
				   "%s ignored until lbd is restarted; forwarding continues "
				   "meanwhile",
				   keys[i].key);
	}
}

struct loading {
	const struct state *state;
	struct config *config;
	struct error err;
	int rc;
};

static void load(void *arg)
{
	struct loading *loading = arg;

	const struct state *state = loading->state;

	loading->rc = state->shared
			  ? shared_load(state->shared, &loading->config, &loading->err)
			  : config_load(state->config_path, &loading->config, &loading->err);
}

static void collect_doubts(const struct config *config, struct sentences *ret)
{
	machine_owns(config, ret);
	machine_hinders_nat(config, ret);
	config_lacks_services(config, ret);
}

/* What is new: the rest was named before. */
void state_warn_of_machine(const struct state *state, const struct config *config)
{
	struct sentences now = {0}, before = {0};

	collect_doubts(config, &now);
	if (now.count)
		collect_doubts(state->config, &before);
	for (unsigned i = 0; i < now.count; i++)
		if (!sentences_have(&before, now.list[i]))
			state_warn(state, "%s", now.list[i]);
	sentences_done(&now);
	sentences_done(&before);
}

static void warn_of_command(const struct state *state, const struct config *config)
{
	struct sentences lacks = {0};

	machine_lacks_commands(config, &lacks);
	for (unsigned i = 0; i < lacks.count; i++)
		state_warn(state, "%s", lacks.list[i]);
	sentences_done(&lacks);
}

/* fleet reads the keys when the reload is over. */
static void warn_of_peers(const struct state *state, const struct config *config)
{
	const struct config *started = state->started ? state->started : state->config;
	struct error err;

	if (!config->peers.on || !state->options.check_peers ||
	    !state->options.check_peers(&config->peers, &err))
		return;
	state_warn(state, "%s; %slbd does not start with this file", err.text,
		   started->peers.on ? "the keys that were read before stay in force, and " : "");
}

/* What the reload, or its trial, says of the config besides its result. */
static void warn_of_config(struct state *state, const struct config *config)
{
	warn_of_fixed_keys(state, config);
	state_warn_of_machine(state, config);
	warn_of_command(state, config);
	warn_of_peers(state, config);
	nat_warn_of_change(state, config);
}

/* What the reload would do, without doing it. */
static int try_config(struct state *state, const struct config *config,
		      const struct overrides *kept, struct reload_report *report, struct error *err)
{
	const struct diff_side now = {state->config, &state->overrides}, next = {config, kept};

	state->trial = true;
	warn_of_config(state, config);
	state_warn_of_interfaces(state, config);
	state->trial = false;
	if (diff_sides(&now, &next, &report->changes))
		return error_set(err, -ENOMEM, "out of memory");
	return reals_check_config(&state->world, config, err);
}

static int apply_config(struct state *state, struct config *config, struct overrides *kept,
			const struct reload_report *report, struct error *err)
{
	struct state_summary summary;
	int rc;

	warn_of_config(state, config);
	log_debug("reload: %s is valid: %u services, %u interfaces; keeps %u run-time changes, "
		  "drops %u",
		  state->config_path, config->services_count, config->interfaces_count,
		  report->kept, report->dropped);
	rc = state_switch(state, config, kept, err);
	if (rc)
		return rc;
	state_interfaces_changed(state);
	state_summarize(state, &summary);
	reload_log(report);
	if (state->shared)
		shared_in_force(state);
	events_set_command(config->notify);
	events_log(EVENT_reload_accepted, LOG_INFO, NULL, "reloaded %s: services: %u, backends: %u",
		   state->config_path, summary.services, summary.backends);
	return 0;
}

struct keeping {
	const struct state *state;
	struct config *config;
	bool keep;
	struct overrides *kept;
	struct reload_report *report;
	struct error *err;
	int rc;
};

static void keep(void *arg)
{
	struct keeping *keeping = arg;

	keeping->rc = reload_overrides(keeping->state, keeping->config,
				       keeping->keep ? RELOAD_KEEP_ALL : RELOAD_KEEP_ORDERS,
				       keeping->kept, keeping->report, keeping->err);
}

static int reload(struct state *state, const struct reload_options *options,
		  struct reload_report *ret, struct error *err)
{
	struct loading loading = {.state = state};
	struct keeping keeping;
	struct overrides kept = {0};
	struct config *config;
	int rc;

	task_wait(load, &loading); /* it shares nothing with the rest of lbd */
	config = loading.config;
	if (loading.rc) {
		*err = loading.err;
		return loading.rc;
	}
	/* It reads lists, and of the state what only tasks change. */
	keeping = (struct keeping){state, config, options->keep, &kept, ret, err, 0};
	task_wait(keep, &keeping);
	rc = keeping.rc;
	if (!rc && options->trial)
		rc = try_config(state, config, &kept, ret, err);
	else if (!rc)
		rc = apply_config(state, config, &kept, ret, err);
	overrides_done(&kept);
	if (rc || options->trial)
		config_free(config);
	return rc;
}

int state_reload_as(struct state *state, const struct reload_options *options,
		    struct reload_report *ret, struct error *err)
{
	struct reload_report report = {.keep = options->keep};
	int rc = reload(state, options, &report, err);

	if (!options->trial) {
		state->config_age.refused = rc;
		if (!rc)
			state->config_age.applied_ms = clock_wall_ms();
		else
			events_log(EVENT_reload_refused, LOG_ERR,
				   &(struct event_about){.why = err->text},
				   "reload failed, nothing changed: %s", err->text);
	}
	if (!rc && ret)
		*ret = report;
	else
		reload_report_done(&report);
	return rc;
}

int state_reload(struct state *state, struct reload_report *ret, struct error *err)
{
	return state_reload_as(state, &(struct reload_options){0}, ret, err);
}
