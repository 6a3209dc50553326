/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What differs between what is in force and what would be: a config with its run-time changes, and
 * another. Pure. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plural.h"
#include "common/text.h"

struct member {
	struct addr address;
	uint16_t port; /* config_real_port */
	const struct config_tag *tag;
	uint32_t weight;
	uint8_t priority;
	bool backup, drain;
	enum admin_state admin;
	struct config_target target;
};

struct members {
	struct member *list;
	unsigned count;
	struct lookup lookup; /* by address */
};

/* ---- the backends that config and run-time changes say together ---- */

static struct member member_of(const struct config_service *service,
			       const struct config_backend *file, const struct override *change)
{
	struct member member = {.address = file->address,
				.port = config_real_port(service, file->port),
				.tag = file->tag,
				.weight = file->weight,
				.priority = file->priority,
				.backup = file->backup,
				.drain = file->drain,
				.target = file->target};

	if (change && change->has_weight)
		member.weight = change->weight;
	if (change) {
		member.admin = change->admin;
		member.drain = change->drain || (file->drain && !change->undrain);
	}
	return member;
}

/* A side, and how to find what is in it. */
struct side {
	const struct config *config;
	const struct overrides *overrides;
	struct config_index index;
	struct overrides_added added;
};

static void side_done(struct side *side)
{
	config_index_done(&side->index);
	free(side->added.list);
}

static int side_make(const struct diff_side *of, struct side *ret)
{
	struct side side = {.config = of->config, .overrides = of->overrides};

	if (config_index_make(side.config, &side.index) ||
	    overrides_list_added(side.overrides, &side.added)) {
		side_done(&side);
		return -ENOMEM;
	}
	*ret = side;
	return 0;
}

static void members_done(struct members *members)
{
	free(members->list);
	lookup_done(&members->lookup);
}

static void add_member(struct members *members, const struct member *member)
{
	lookup_add(&members->lookup, lookup_hash_addr(LOOKUP_START, &member->address),
		   members->count);
	members->list[members->count++] = *member;
}

static int members_of(const struct side *side, const struct config_service *service,
		      struct members *ret)
{
	unsigned added;
	const struct override *const *list =
	    overrides_added_to(&side->added, service->name, &added);
	struct members members = {
	    .list = calloc(service->backends_count + added + 1, sizeof(struct member))};

	if (!members.list || lookup_reserve(&members.lookup, service->backends_count + added)) {
		members_done(&members);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *file = &service->backends[i];
		const struct override *change =
		    overrides_find(side->overrides, service->name, &file->address);

		const struct member member = member_of(service, file, change);

		if (!change || !change->removed)
			add_member(&members, &member);
	}
	for (unsigned i = 0; i < added; i++) {
		const struct override *change = list[i];

		if (config_index_backend(&side->index, service, &change->address))
			continue;
		add_member(&members,
			   &(struct member){.address = change->address,
					    .port = config_real_port(service, change->port),
					    .tag = change->tag,
					    .weight = change->weight,
					    .priority = change->priority,
					    .backup = change->backup,
					    .target = change->target,
					    .drain = change->drain,
					    .admin = change->admin});
	}
	*ret = members;
	return 0;
}

static const struct member *find(const struct members *members, const struct addr *address)
{
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&members->lookup, lookup_hash_addr(LOOKUP_START, address), &walk);
	while (lookup_next(&walk, &at))
		if (addr_equal(&members->list[at].address, address))
			return &members->list[at];
	return NULL;
}

/* About one backend. Its label is made for what is said alone: most backends do not differ. */
__attribute__((format(printf, 4, 5))) static void say(struct sentences *ret, const char *service,
						      const struct member *member,
						      const char *format, ...)
{
	char label[CONFIG_BACKEND_LABEL], what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	sentences_add(ret, "service %s: backend %s: %s", service,
		      config_backend_label(member->tag, &member->address, label), what);
}

static void compare_tags(const char *service, const struct member *old, const struct member *new,
			 struct sentences *ret)
{
	const char *was = config_tag_name(old->tag), *is = config_tag_name(new->tag);

	if (!same_text(was, is))
		say(ret, service, new, "name %s -> %s", was ? was : "(none)", is ? is : "(none)");
	was = config_tag_zone(old->tag);
	is = config_tag_zone(new->tag);
	if (!same_text(was, is))
		say(ret, service, new, "zone %s -> %s", was ? was : "(none)", is ? is : "(none)");
	if (!config_tag_same_labels(old->tag, new->tag))
		say(ret, service, new, "labels changed");
}

static void compare_member(const char *service, const struct member *old, const struct member *new,
			   struct sentences *ret)
{
	char port[16] = "";

	if (!old) {
		if (new->port)
			snprintf(port, sizeof(port), ", port %u", new->port);
		say(ret, service, new, "added, weight %" PRIu32 "%s%s%s", new->weight, port,
		    new->backup ? ", backup" : "", new->drain ? ", drained" : "");
		return;
	}
	if (old->port && new->port && old->port != new->port)
		say(ret, service, new, "port %u -> %u", old->port, new->port);
	if (old->weight != new->weight)
		say(ret, service, new, "weight %" PRIu32 " -> %" PRIu32, old->weight, new->weight);
	if (old->drain != new->drain)
		say(ret, service, new, "drain %s", new->drain ? "begins" : "ends");
	if (old->admin != new->admin)
		say(ret, service, new, "state %s -> %s", admin_state_name(old->admin),
		    admin_state_name(new->admin));
	if (old->priority != new->priority)
		say(ret, service, new, "priority %u -> %u", old->priority, new->priority);
	if (old->backup != new->backup)
		say(ret, service, new, "%s a backup", new->backup ? "becomes" : "is no longer");
	if (!config_target_equal(&old->target, &new->target))
		say(ret, service, new, "health changed");
	compare_tags(service, old, new, ret);
}

static void compare_members(const char *service, const struct members *old,
			    const struct members *new, struct sentences *ret)
{
	for (unsigned i = 0; i < new->count; i++)
		compare_member(service, find(old, &new->list[i].address), &new->list[i], ret);
	for (unsigned i = 0; i < old->count; i++)
		if (!find(new, &old->list[i].address))
			say(ret, service, &old->list[i], "removed");
}

static int compare_backends(const struct side *old, const struct config_service *was,
			    const struct side *new, const struct config_service *service,
			    struct sentences *ret)
{
	struct members before = {0}, after = {0};
	int rc = members_of(old, was, &before);

	if (!rc)
		rc = members_of(new, service, &after);
	if (!rc)
		compare_members(service->name, &before, &after, ret);
	members_done(&before);
	members_done(&after);
	return rc;
}

/* ---- services ---- */

static bool same_limit(const struct config_limit *a, const struct config_limit *b)
{
	return a->service.per_minute == b->service.per_minute &&
	       a->service.burst == b->service.burst &&
	       a->source.per_minute == b->source.per_minute && a->source.burst == b->source.burst &&
	       a->source4 == b->source4 && a->source6 == b->source6;
}

/* The keys whose values differ, as "algorithm, slots". */
static void differing_keys(const struct config_service *a, const struct config_service *b,
			   char *text, size_t size)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
	    {"algorithm", a->algorithm == b->algorithm},
	    {"hash", a->hash == b->hash},
	    {"forward", a->forward == b->forward},
	    {"no-backend", a->no_backend == b->no_backend},
	    {"fragments", a->no_fragments == b->no_fragments},
	    {"tracking", a->tracking == b->tracking},
	    {"affinity", a->affinity == b->affinity},
	    {"affinity-timeout", a->affinity_timeout_ms == b->affinity_timeout_ms},
	    {"affinity-mask", a->mask4 == b->mask4 && a->mask6 == b->mask6},
	    {"idle-timeout", a->tcp_idle_ms == b->tcp_idle_ms && a->udp_idle_ms == b->udp_idle_ms},
	    {"limit", same_limit(&a->limit, &b->limit)},
	    {"slots", a->slots == b->slots},
	    {"slow-start", a->slow_start_ms == b->slow_start_ms},
	    {"flap-damping", a->flap_damping_ms == b->flap_damping_ms},
	    {"panic-threshold", a->panic_threshold == b->panic_threshold},
	    {"health", service_same_check(a, b) && a->health.passive == b->health.passive},
	    {"agent", health_spec_same(&a->agent, &b->agent)},
	    {"backends-from", config_from_equal(&a->from, &b->from)},
	    {"allow, deny", filter_equal(a->lists.filter, b->lists.filter)},
	};
	size_t used = 0;

	*text = 0;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && used < size; i++)
		if (!keys[i].same)
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
						 keys[i].key);
}

static void name_added(const struct config_service *service, struct sentences *ret)
{
	struct service shown = {.config = (struct config_service *)service};
	char label[SERVICE_LABEL];

	sentences_add(ret, "service %s: added, %u backend%s", service_label(&shown, label),
		      service->backends_count, plural_s(service->backends_count));
}

static int compare_service(const struct side *old, const struct config_service *was,
			   const struct side *new, const struct config_service *service,
			   struct sentences *ret)
{
	char keys[256];

	if (strcmp(was->name, service->name) != 0)
		sentences_add(ret, "service %s: renamed to %s", was->name, service->name);
	differing_keys(was, service, keys, sizeof(keys));
	if (*keys)
		sentences_add(ret, "service %s: changed: %s", service->name, keys);
	return compare_backends(old, was, new, service, ret);
}

static const struct config_service *find_same(const struct side *side,
					      const struct config_service *service)
{
	return config_index_same(&side->index, &service->vip, service->protocol, service->port);
}

static int compare_services(const struct side *old, const struct side *new, struct sentences *ret)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < new->config->services_count; i++) {
		const struct config_service *service = &new->config->services[i];
		const struct config_service *was = find_same(old, service);

		if (was)
			rc = compare_service(old, was, new, service, ret);
		else
			name_added(service, ret);
	}
	for (unsigned i = 0; i < old->config->services_count; i++)
		if (!find_same(new, &old->config->services[i]))
			sentences_add(ret, "service %s: removed", old->config->services[i].name);
	return rc;
}

/* ---- the top level ---- */

/* Of certificates only that they are read again. */
static void compare_listeners(const struct config_api *old, const struct config_api *new,
			      struct sentences *ret)
{
	if (!old || !new)
		return;
	if (old->offers != new->offers)
		sentences_add(ret, "api: offers changed");
	if (old->verifies != new->verifies)
		sentences_add(ret, "api: client-ca %s", new->verifies ? "added" : "removed");
	if (!config_api_same_clients(old, new))
		sentences_add(ret, "api: clients changed");
	for (unsigned i = 0; i < new->tokens_count; i++)
		if (!config_api_has_token(old, new->tokens[i].name))
			sentences_add(ret, "api: token %s added", new->tokens[i].name);
	for (unsigned i = 0; i < old->tokens_count; i++)
		if (!config_api_has_token(new, old->tokens[i].name))
			sentences_add(ret, "api: token %s removed", old->tokens[i].name);
}

static bool same_direct(const struct config_nat *a, const struct config_nat *b)
{
	bool same = a->direct_count == b->direct_count;

	for (unsigned i = 0; same && i < a->direct_count; i++)
		same = config_prefix_equal(&a->direct[i], &b->direct[i]);
	return same;
}

static void compare_top(const struct config *old, const struct config *new, struct sentences *ret)
{
	for (unsigned i = 0; i < new->interfaces_count; i++)
		if (!lists_text(old->interfaces, old->interfaces_count, new->interfaces[i]))
			sentences_add(ret, "interfaces: %s added", new->interfaces[i]);
	for (unsigned i = 0; i < old->interfaces_count; i++)
		if (!lists_text(new->interfaces, new->interfaces_count, old->interfaces[i]))
			sentences_add(ret, "interfaces: %s removed", old->interfaces[i]);
	if (old->mode != new->mode)
		sentences_add(ret, "mode changed: of interfaces that are attached from now on");
	if (!same_text(old->zone, new->zone))
		sentences_add(ret, "zone %s -> %s", old->zone ? old->zone : "(none)",
			      new->zone ? new->zone : "(none)");
	if (!same_direct(&old->nat, &new->nat))
		sentences_add(ret, "nat: direct changed");
	if (!config_prefix_equal(&old->nat.prefix, &new->nat.prefix))
		sentences_add(ret, "nat: prefix changed");
	if (old->unserved != new->unserved)
		sentences_add(ret, "unserved changed");
	if (old->page != new->page)
		sentences_add(ret, "page turned %s", new->page ? "on" : "off");
	for (unsigned i = 0; i < new->metrics_hosts_count; i++)
		if (!lists_text(old->metrics_hosts, old->metrics_hosts_count,
				new->metrics_hosts[i]))
			sentences_add(ret, "metrics-hosts: %s added", new->metrics_hosts[i]);
	for (unsigned i = 0; i < old->metrics_hosts_count; i++)
		if (!lists_text(new->metrics_hosts, new->metrics_hosts_count,
				old->metrics_hosts[i]))
			sentences_add(ret, "metrics-hosts: %s removed", old->metrics_hosts[i]);
}

int diff_sides(const struct diff_side *old, const struct diff_side *new, struct sentences *ret)
{
	struct side before = {0}, after = {0};
	int rc;

	compare_top(old->config, new->config, ret);
	compare_listeners(old->config->api, new->config->api, ret);
	rc = side_make(old, &before);
	if (!rc)
		rc = side_make(new, &after);
	if (!rc)
		rc = compare_services(&before, &after, ret);
	side_done(&before);
	side_done(&after);
	return rc;
}
