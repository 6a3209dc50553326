/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Run-time changes as a value and as a JSON file: { "version": 1, "backends": [ { "service",
 * "address", ... } ], "tags": [ { "service", "address", "name", "labels" } ], "places": [ {
 * "service", "address", "zone", "priority", "backup", "port", "health" } ], "states": [ {
 * "service", "address", "state" } ], "origins": [ { "service", "address", "from", "ttl_ms",
 * "until_ms" } ], "services": [ { "service", ... } ], "node": { "drain": true, ... } }.
 *
 * An older lbd must find what it knows, above all drains: the first lbd refuses an entry of
 * "backends" with a key that it does not know, but none of the top level. So what is new gets a
 * list of its own: for an older lbd a backend that comes by itself is one that was added by hand.
 * And what a newer lbd has written is ignored, and named. */
#include "overrides.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"
#include "common/plural.h"
#include "common/printable.h"
#include "common/text.h"
#include "lbd/config/config.h"

#define OVERRIDES_VERSION 1
/* LB_MAX_BACKENDS that are registered need about half of it, if their services have no long names;
 * an older lbd reads no more. */
#define OVERRIDES_BYTES (16u << 20)

const char *origin_name(enum origin origin)
{
	static const char *const names[] = {
#define X(name) #name,
	    ORIGINS(X)
#undef X
	};

	return names[origin];
}

static void entry_done(struct override *entry)
{
	free(entry->service);
	config_tag_unref(entry->tag);
}

static void service_entry_done(struct service_override *entry)
{
	free(entry->service);
	free(entry->added);
}

void overrides_forget_names(struct overrides *overrides)
{
	for (unsigned i = 0; i < overrides->named_count; i++)
		service_entry_done(&overrides->named[i]);
	free(overrides->named);
	overrides->named = NULL;
	overrides->named_count = 0;
}

void overrides_done(struct overrides *overrides)
{
	for (unsigned i = 0; i < overrides->count; i++)
		entry_done(&overrides->list[i]);
	free(overrides->list);
	lookup_done(&overrides->lookup);
	for (unsigned i = 0; i < overrides->services_count; i++)
		service_entry_done(&overrides->services[i]);
	free(overrides->services);
	overrides_forget_names(overrides);
	*overrides = (struct overrides){0};
}

/* ---- services ---- */

/* Takes over the texts. 0 or -ENOMEM. */
static int append_service(struct overrides *overrides, const struct service_override *entry)
{
	struct service_override *list =
	    reallocarray(overrides->services, overrides->services_count + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	overrides->services = list;
	list[overrides->services_count++] = *entry;
	return 0;
}

static int copy_service(struct overrides *overrides, const struct service_override *from)
{
	struct service_override copy = *from;
	bool failed = false;

	copy.service = copy_text(from->service, &failed);
	copy.added = copy_text(from->added, &failed);
	if (!failed && !append_service(overrides, &copy))
		return 0;
	service_entry_done(&copy);
	return -ENOMEM;
}

int overrides_add_service(struct overrides *overrides, const struct config_service *service,
			  const char *added)
{
	const struct service_override entry = {.service = service->name,
					       .vip = service->vip,
					       .protocol = service->protocol,
					       .port = service->port,
					       .added = (char *)added};

	return copy_service(overrides, &entry);
}

void overrides_drop_service(struct overrides *overrides, struct service_override *entry)
{
	size_t at = (size_t)(entry - overrides->services);

	service_entry_done(entry);
	memmove(entry, entry + 1, (overrides->services_count - at - 1) * sizeof(*entry));
	overrides->services_count--;
}

void overrides_take_services(struct overrides *overrides, struct overrides *from)
{
	struct service_override *services = overrides->services;
	unsigned count = overrides->services_count;

	overrides->services = from->services;
	overrides->services_count = from->services_count;
	from->services = services;
	from->services_count = count;
}

struct service_override *overrides_find_added(const struct overrides *overrides,
					      const char *service)
{
	for (unsigned i = 0; i < overrides->services_count; i++) {
		struct service_override *entry = &overrides->services[i];

		if (entry->added && !strcmp(entry->service, service))
			return entry;
	}
	return NULL;
}

static bool same_service(const struct service_override *a, const struct service_override *b)
{
	return !strcmp(a->service, b->service) && addr_equal(&a->vip, &b->vip) &&
	       a->protocol == b->protocol && a->port == b->port && same_text(a->added, b->added);
}

/* ---- backends ---- */

static uint64_t hash_of(const char *service, const struct addr *address)
{
	return lookup_hash_addr(lookup_hash_text(LOOKUP_START, service), address);
}

struct override *overrides_find(const struct overrides *overrides, const char *service,
				const struct addr *address)
{
	struct lookup_walk walk;
	uint32_t at;

	lookup_walk(&overrides->lookup, hash_of(service, address), &walk);
	while (lookup_next(&walk, &at)) {
		struct override *entry = &overrides->list[at];

		if (addr_equal(&entry->address, address) && !strcmp(entry->service, service))
			return entry;
	}
	return NULL;
}

/* Room for so many in all. 0 or -ENOMEM. */
static int reserve(struct overrides *overrides, unsigned count)
{
	struct override *list;

	if (count > overrides->size) {
		list = reallocarray(overrides->list, count, sizeof(*list));
		if (!list)
			return -ENOMEM;
		overrides->list = list;
		overrides->size = count;
	}
	return lookup_reserve(&overrides->lookup, count);
}

/* Of a backend that has none, for which there is room. NULL: out of memory. */
static struct override *append(struct overrides *overrides, const char *service,
			       const struct addr *address)
{
	struct override *entry = &overrides->list[overrides->count];
	char *name = strdup(service);

	if (!name)
		return NULL;
	*entry = (struct override){.service = name, .address = *address};
	lookup_add(&overrides->lookup, hash_of(service, address), overrides->count++);
	return entry;
}

struct override *overrides_get(struct overrides *overrides, const char *service,
			       const struct addr *address)
{
	struct override *entry = overrides_find(overrides, service, address);

	if (entry)
		return entry;
	if (overrides->count == overrides->size && reserve(overrides, 2 * overrides->count + 8))
		return NULL;
	return append(overrides, service, address);
}

/* The list has lost entries. */
static void find_again(struct overrides *overrides)
{
	lookup_clear(&overrides->lookup);
	for (unsigned i = 0; i < overrides->count; i++)
		lookup_add(&overrides->lookup,
			   hash_of(overrides->list[i].service, &overrides->list[i].address), i);
}

void overrides_drop(struct overrides *overrides, struct override *entry)
{
	size_t at = (size_t)(entry - overrides->list), behind = overrides->count - at - 1;

	lookup_remove(&overrides->lookup, hash_of(entry->service, &entry->address), (uint32_t)at);
	entry_done(entry);
	memmove(entry, entry + 1, behind * sizeof(*entry));
	overrides->count--;
	if (behind)
		find_again(overrides);
}

bool overrides_tidy(struct overrides *overrides, struct override *entry,
		    const struct config_backend *file)
{
	entry->added = !file;
	if (file) {
		entry->origin = ORIGIN_config;
		entry->ttl_ms = entry->until_ms = 0;
		entry->priority = 0;
		entry->backup = false;
		entry->port = 0;
		entry->target = (struct config_target){0};
		config_tag_unref(entry->tag);
		entry->tag = NULL;
	}
	if (file && entry->has_weight && entry->weight == file->weight)
		entry->has_weight = false;
	if (file && file->drain && entry->drain && !entry->has_force)
		entry->drain = false;
	if (!file || !file->drain || entry->drain)
		entry->undrain = false;
	if (file ? entry->has_weight || entry->drain || entry->removed || entry->undrain ||
		       entry->admin
		 : !entry->removed)
		return false;
	overrides_drop(overrides, entry);
	return true;
}

void overrides_filter(struct overrides *overrides, overrides_keep_fn *keep, void *arg)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < overrides->count; i++) {
		struct override *entry = &overrides->list[i];

		if (keep(arg, entry))
			overrides->list[kept++] = *entry;
		else
			entry_done(entry);
	}
	overrides->count = kept;
	find_again(overrides);
}

/* By service, then as in the list. */
static int by_service(const void *a, const void *b)
{
	const struct override *const *x = a, *const *y = b;
	int rc = strcmp((*x)->service, (*y)->service);

	return rc ? rc : (*x > *y) - (*x < *y);
}

int overrides_list_added(const struct overrides *overrides, struct overrides_added *ret)
{
	struct overrides_added added = {0};

	for (unsigned i = 0; i < overrides->count; i++)
		added.count += overrides->list[i].added;
	if (added.count) {
		added.list = calloc(added.count, sizeof(struct override *));
		if (!added.list)
			return -ENOMEM;
	}
	added.count = 0;
	for (unsigned i = 0; i < overrides->count; i++)
		if (overrides->list[i].added)
			added.list[added.count++] = &overrides->list[i];
	if (added.count)
		qsort(added.list, added.count, sizeof(struct override *), by_service);
	*ret = added;
	return 0;
}

const struct override *const *overrides_added_to(const struct overrides_added *added,
						 const char *service, unsigned *ret_count)
{
	unsigned low = 0, high = added->count, end;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (strcmp(added->list[middle]->service, service) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < added->count && !strcmp(added->list[end]->service, service);)
		end++;
	*ret_count = end - low;
	return added->list ? added->list + low : NULL;
}

static bool same_entry(const struct override *a, const struct override *b)
{
	return !strcmp(a->service, b->service) && addr_equal(&a->address, &b->address) &&
	       a->has_weight == b->has_weight && (!a->has_weight || a->weight == b->weight) &&
	       a->drain == b->drain && (!a->drain || a->drain_ms == b->drain_ms) &&
	       a->has_force == b->has_force && (!a->has_force || a->force_ms == b->force_ms) &&
	       a->added == b->added && a->removed == b->removed && a->undrain == b->undrain &&
	       a->admin == b->admin && a->origin == b->origin && a->ttl_ms == b->ttl_ms &&
	       a->until_ms == b->until_ms && a->priority == b->priority && a->backup == b->backup &&
	       a->port == b->port && config_target_equal(&a->target, &b->target) &&
	       config_tag_equal(a->tag, b->tag);
}

static bool same_order(const struct node_order *a, const struct node_order *b)
{
	return a->drain == b->drain && a->withdraw == b->withdraw && a->drain_ms == b->drain_ms;
}

bool overrides_equal(const struct overrides *a, const struct overrides *b)
{
	if (a->count != b->count || a->services_count != b->services_count ||
	    !same_order(&a->node, &b->node))
		return false;
	for (unsigned i = 0; i < a->services_count; i++)
		if (!same_service(&a->services[i], &b->services[i]))
			return false;
	for (unsigned i = 0; i < a->count; i++)
		if (!same_entry(&a->list[i], &b->list[i]))
			return false;
	return true;
}

void overrides_set(struct override *entry, const struct override *from)
{
	char *service = entry->service;

	config_tag_unref(entry->tag);
	*entry = *from;
	entry->service = service;
	config_tag_ref(entry->tag);
}

static int copy_backends(const struct overrides *from, struct overrides *to)
{
	if (from->count && reserve(to, from->count))
		return -ENOMEM;
	for (unsigned i = 0; i < from->count; i++) {
		const struct override *entry = &from->list[i];
		struct override *copy = append(to, entry->service, &entry->address);

		if (!copy)
			return -ENOMEM;
		overrides_set(copy, entry);
	}
	return 0;
}

int overrides_copy(const struct overrides *overrides, struct overrides *ret)
{
	struct overrides copy = {.node = overrides->node};
	int rc = copy_backends(overrides, &copy);

	for (unsigned i = 0; i < overrides->services_count && !rc; i++)
		rc = copy_service(&copy, &overrides->services[i]);
	if (rc)
		overrides_done(&copy);
	else
		*ret = copy;
	return rc;
}

/* ---- the file: keys of a newer lbd ---- */

struct unknown_keys {
	unsigned count;
	char first[40]; /* of them */
};

static void note_unknown(const char *key, struct unknown_keys *ret)
{
	if (ret->count++)
		return;
	snprintf(ret->first, sizeof(ret->first), "%s", key);
	make_printable(ret->first, false);
}

/* known: ended by NULL. */
static void look_for_unknown(json_t *object, const char *const *known, struct unknown_keys *ret)
{
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		const char *const *same = known;

		while (*same && strcmp(*same, key) != 0)
			same++;
		if (!*same)
			note_unknown(key, ret);
	}
}

/* The next change writes the file without them: it stays under another name, too. */
static void say_unknown(const char *path, const struct unknown_keys *unknown)
{
	const char *them = plural(unknown->count, "it", "them");
	char newer[PATH_MAX];
	bool kept;

	snprintf(newer, sizeof(newer), "%s.newer", path);
	unlink(newer);
	kept = !link(path, newer);
	log_warning("%s: %u key%s that this lbd does not know, such as \"%s\", as a newer one "
		    "writes %s: %s no effect, and the next run-time change loses %s%s%s",
		    path, unknown->count, plural_s(unknown->count), unknown->first, them,
		    plural(unknown->count, "it has", "they have"), them,
		    kept ? "; the file is kept as " : "", kept ? newer : "");
}

/* ---- the file: reading ---- */

/* false: it does not fit. */
static bool labels_from_json(json_t *item, struct config_label labels[CONFIG_LABELS_MAX],
			     unsigned *ret_count)
{
	const char *key;
	json_t *value;

	if (json_object_size(item) > CONFIG_LABELS_MAX)
		return false;
	json_object_foreach (item, key, value) {
		if (!json_is_string(value) || !config_label_key_fits(key) ||
		    strlen(json_string_value(value)) != json_string_length(value) ||
		    !config_label_value_fits(json_string_value(value)))
			return false;
		labels[(*ret_count)++] = (struct config_label){key, json_string_value(value)};
	}
	return true;
}

/* name, labels: NULL: not given. */
static int tag_from_json(const char *name, json_t *labels, struct config_tag **ret,
			 const char *path, unsigned index, struct error *err)
{
	struct config_label list[CONFIG_LABELS_MAX];
	unsigned count = 0;

	if (name && !config_tag_name_fits(name))
		return error_set(err, -EINVAL,
				 "%s: entry %u: name: \"%s\": " CONFIG_TAG_NAME_EXPECTED, path,
				 index, name);
	if (labels && (!json_is_object(labels) || !labels_from_json(labels, list, &count)))
		return error_set(err, -EINVAL,
				 "%s: entry %u: labels: expected an object of at most %d texts",
				 path, index, CONFIG_LABELS_MAX);
	if (!name && !count)
		return 0;
	*ret = config_tag_new(name, NULL, list, count);
	return *ret ? 0 : error_set(err, -ENOMEM, "%s: out of memory", path);
}

static int entry_from_json(json_t *item, struct overrides *into, const char *path, unsigned index,
			   struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service",  "address",  "weight", "drain",
					    "drain_ms", "force_ms", "added",  "removed",
					    "undrain",  "name",     "labels", NULL};
	const char *service, *text, *name = NULL;
	struct config_tag *tag = NULL;
	struct override *entry;
	struct addr address;
	json_t *weight = NULL, *labels = NULL;
	json_int_t drain_ms = 0, force_ms = -1;
	int drain = 0, added = 0, removed = 0, undrain = 0;
	json_error_t why;
	int rc;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s?o, s?b, s?I, s?I, s?b, s?b, s?b, s?s, s?o}",
			   "service", &service, "address", &text, "weight", &weight, "drain",
			   &drain, "drain_ms", &drain_ms, "force_ms", &force_ms, "added", &added,
			   "removed", &removed, "undrain", &undrain, "name", &name, "labels",
			   &labels))
		return error_set(err, -EINVAL, "%s: entry %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (addr_parse(text, &address))
		return error_set(err, -EINVAL,
				 "%s: entry %u: address: \"%s\": expected an IP address", path,
				 index, text);
	if (weight && (!json_is_integer(weight) || json_integer_value(weight) < 0 ||
		       json_integer_value(weight) > CONFIG_MAX_WEIGHT))
		return error_set(err, -EINVAL, "%s: entry %u: weight: expected an integer 0 to %u",
				 path, index, CONFIG_MAX_WEIGHT);
	if (added && !weight)
		return error_set(err, -EINVAL, "%s: entry %u: an added backend needs a weight",
				 path, index);
	if (!added && (name || labels))
		return error_set(err, -EINVAL,
				 "%s: entry %u: name, labels: expected only with an added backend",
				 path, index);
	rc = tag_from_json(name, labels, &tag, path, index, err);
	if (rc)
		return rc;
	entry = overrides_get(into, service, &address);
	if (!entry) {
		config_tag_unref(tag);
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	}
	config_tag_unref(entry->tag); /* the backend is in the file twice */
	entry->tag = tag;
	entry->has_weight = weight;
	entry->weight = weight ? (uint32_t)json_integer_value(weight) : 0;
	entry->drain = drain;
	entry->drain_ms = drain_ms > 0 ? (uint64_t)drain_ms : 0;
	entry->has_force = drain && force_ms >= 0;
	entry->force_ms = entry->has_force ? (uint64_t)force_ms : 0;
	entry->added = added;
	entry->removed = removed;
	entry->undrain = undrain;
	return 0;
}

/* Of a backend that is not added it has no meaning. */
static int one_tag_from_json(json_t *item, struct overrides *into, const char *path, unsigned index,
			     struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "address", "name", "labels", NULL};
	const char *service, *text, *name = NULL;
	struct config_tag *tag = NULL;
	json_t *labels = NULL;
	struct override *entry;
	struct addr address;
	json_error_t why;
	int rc;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s?s, s?o}", "service", &service, "address",
			   &text, "name", &name, "labels", &labels))
		return error_set(err, -EINVAL, "%s: tag %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (addr_parse(text, &address))
		return error_set(err, -EINVAL,
				 "%s: tag %u: address: \"%s\": expected an IP address", path, index,
				 text);
	rc = tag_from_json(name, labels, &tag, path, index, err);
	if (rc)
		return rc;
	entry = overrides_find(into, service, &address);
	if (!entry || !entry->added) {
		config_tag_unref(tag);
		return 0;
	}
	config_tag_unref(entry->tag);
	entry->tag = tag;
	return 0;
}

/* NULL: not given. */
static int target_from_json(json_t *item, struct config_target *ret, struct unknown_keys *unknown)
{
	static const char *const known[] = {"port", "agent_port", "address", NULL};
	json_int_t port = 0, agent_port = 0;
	const char *address = NULL;

	*ret = (struct config_target){0};
	if (!item)
		return 0;
	if (json_unpack(item, "{s?I, s?I, s?s}", "port", &port, "agent_port", &agent_port,
			"address", &address) ||
	    port < 0 || port > 65535 || agent_port < 0 || agent_port > 65535 ||
	    (address && (addr_parse(address, &ret->address) || addr_why_no_host(&ret->address))))
		return -EINVAL;
	look_for_unknown(item, known, unknown);
	ret->port = (uint16_t)port;
	ret->agent_port = (uint16_t)agent_port;
	return 0;
}

/* The tag gets the zone; NULL: none. 0 or -ENOMEM. */
static int set_zone(struct override *entry, const char *zone)
{
	const struct config_tag *old = entry->tag;
	struct config_tag *tag = config_tag_new(
	    config_tag_name(old), zone, old ? old->labels : NULL, old ? old->labels_count : 0);

	if (!tag)
		return -ENOMEM;
	config_tag_unref(entry->tag);
	entry->tag = tag;
	return 0;
}

/* Of a backend that is not added it has no meaning. */
static int one_place_from_json(json_t *item, struct overrides *into, const char *path,
			       unsigned index, struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "address", "zone",   "priority",
					    "backup",  "port",    "health", NULL};
	const char *service, *text, *zone = NULL;
	json_t *health = NULL;
	json_int_t priority = 0, port = 0;
	struct config_target target;
	struct override *entry;
	struct addr address;
	json_error_t why;
	int backup = 0;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s?s, s?I, s?b, s?I, s?o}", "service",
			   &service, "address", &text, "zone", &zone, "priority", &priority,
			   "backup", &backup, "port", &port, "health", &health))
		return error_set(err, -EINVAL, "%s: place %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (addr_parse(text, &address) || (zone && !config_zone_fits(zone)) || priority < 0 ||
	    priority > CONFIG_MAX_PRIORITY || (priority && backup) || port < 0 || port > 65535 ||
	    target_from_json(health, &target, unknown))
		return error_set(err, -EINVAL,
				 "%s: place %u: expected an IP address, a zone, a priority of 0 to "
				 "%d or backup, a port, and where it is checked",
				 path, index, CONFIG_MAX_PRIORITY);
	entry = overrides_find(into, service, &address);
	if (!entry || !entry->added)
		return 0;
	entry->priority = (uint8_t)priority;
	entry->backup = backup;
	entry->port = (uint16_t)port;
	entry->target = target;
	return zone && set_zone(entry, zone) ? error_set(err, -ENOMEM, "%s: out of memory", path)
					     : 0;
}

/* Of a backend whose entry was left out for want of room it has no meaning. */
static int one_state_from_json(json_t *item, struct overrides *into, const char *path,
			       unsigned index, struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "address", "state", NULL};
	const char *service, *text, *name;
	struct override *entry;
	enum admin_state state;
	struct addr address;
	json_error_t why;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s:s}", "service", &service, "address", &text,
			   "state", &name))
		return error_set(err, -EINVAL, "%s: state %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (addr_parse(text, &address))
		return error_set(err, -EINVAL,
				 "%s: state %u: address: \"%s\": expected an IP address", path,
				 index, text);
	if (admin_state_parse(name, &state))
		return error_set(err, -EINVAL,
				 "%s: state %u: state: \"%s\": " ADMIN_STATES_EXPECTED, path, index,
				 name);
	entry = overrides_find(into, service, &address);
	if (entry)
		entry->admin = state;
	return 0;
}

/* ttl, until: NULL: not given. */
static int lease_from_json(const json_t *ttl, const json_t *until, struct override *entry,
			   const char *path, unsigned index, struct error *err)
{
	json_int_t ttl_ms = json_integer_value(ttl), until_ms = json_integer_value(until);

	if ((ttl || until) &&
	    (!json_is_integer(ttl) || !json_is_integer(until) || until_ms < 0 ||
	     ttl_ms < (json_int_t)OVERRIDE_TTL_MIN_MS || ttl_ms > (json_int_t)OVERRIDE_TTL_MAX_MS))
		return error_set(err, -EINVAL,
				 "%s: origin %u: ttl_ms, until_ms: expected both, and a ttl of 1 s "
				 "to a year",
				 path, index);
	entry->origin = ORIGIN_lease;
	entry->ttl_ms = (uint64_t)ttl_ms;
	entry->until_ms = (uint64_t)until_ms;
	return 0;
}

/* Of a backend that is not added it has no meaning. One from where no backend of this lbd comes is
 * as one that was added by hand. */
static int one_origin_from_json(json_t *item, struct overrides *into, const char *path,
				unsigned index, struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "address",  "from",
					    "ttl_ms",  "until_ms", NULL};
	const char *service, *text, *from;
	json_t *ttl = NULL, *until = NULL;
	struct override *entry;
	struct addr address;
	json_error_t why;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s:s, s?o, s?o}", "service", &service,
			   "address", &text, "from", &from, "ttl_ms", &ttl, "until_ms", &until))
		return error_set(err, -EINVAL, "%s: origin %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (addr_parse(text, &address))
		return error_set(err, -EINVAL,
				 "%s: origin %u: address: \"%s\": expected an IP address", path,
				 index, text);
	entry = overrides_find(into, service, &address);
	if (!entry || !entry->added)
		return 0;
	if (!strcmp(from, origin_name(ORIGIN_lease)))
		return lease_from_json(ttl, until, entry, path, index, err);
	if (strcmp(from, origin_name(ORIGIN_source)) != 0) {
		note_unknown(from, unknown);
		return 0;
	}
	entry->origin = ORIGIN_source;
	entry->ttl_ms = entry->until_ms = 0; /* the backend is in the list twice */
	return 0;
}

typedef int item_from_json(json_t *item, struct overrides *into, const char *path, unsigned index,
			   struct unknown_keys *unknown, struct error *err);

/* What more there is of backends. list: NULL: there is none. */
static int list_from_json(json_t *list, const char *name, item_from_json *read,
			  struct overrides *into, const char *path, struct unknown_keys *unknown,
			  struct error *err)
{
	json_t *item;
	size_t i;
	int rc = 0;

	if (list && !json_is_array(list))
		return error_set(err, -EINVAL, "%s: %s: expected a list", path, name);
	json_array_foreach (list, i, item) {
		rc = read(item, into, path, (unsigned)i, unknown, err);
		if (rc)
			break;
	}
	return rc;
}

static int endpoint_from_json(const char *vip, json_int_t port, const char *protocol,
			      struct service_override *ret)
{
	if (addr_parse(vip, &ret->vip) || port < 0 || port > 65535 ||
	    (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0))
		return -EINVAL;
	ret->port = (uint16_t)port;
	ret->protocol = strcmp(protocol, "tcp") ? CONFIG_UDP : CONFIG_TCP;
	return 0;
}

/* Service, VIP, port and protocol of an item. what: the kind of list, for err. ret->service is of
 * the item. */
static int key_from_json(json_t *item, const char *what, const char *path, unsigned index,
			 struct service_override *ret, struct error *err)
{
	const char *service, *vip, *protocol;
	json_int_t port;
	json_error_t why;

	if (json_unpack_ex(item, &why, 0, "{s:s, s:s, s:I, s:s}", "service", &service, "vip", &vip,
			   "port", &port, "protocol", &protocol))
		return error_set(err, -EINVAL, "%s: %s %u: %s", path, what, index, why.text);
	if (endpoint_from_json(vip, port, protocol, ret))
		return error_set(err, -EINVAL,
				 "%s: %s %u: expected an IP address as vip, a port, and tcp or udp",
				 path, what, index);
	ret->service = (char *)service;
	return 0;
}

static int service_from_json(json_t *item, struct overrides *into, const char *path, unsigned index,
			     struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "vip",     "port", "protocol",
					    "added",   "removed", NULL};
	struct service_override entry = {0};
	json_t *added = NULL;
	int removed = 0, rc = key_from_json(item, "service", path, index, &entry, err);
	json_error_t why;

	if (rc)
		return rc;
	if (json_unpack_ex(item, &why, 0, "{s?o, s?b}", "added", &added, "removed", &removed))
		return error_set(err, -EINVAL, "%s: service %u: %s", path, index, why.text);
	look_for_unknown(item, known, unknown);
	if (added ? removed || !json_is_object(added) : !removed)
		return error_set(err, -EINVAL,
				 "%s: service %u: expected either added, an object, or removed",
				 path, index);
	entry.added = added ? json_dumps(added, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	rc = added && !entry.added ? -ENOMEM : copy_service(into, &entry);
	free(entry.added);
	return rc ? error_set(err, rc, "%s: out of memory", path) : 0;
}

static int one_name_from_json(json_t *item, struct overrides *into, const char *path,
			      unsigned index, struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"service", "vip", "port", "protocol", NULL};
	struct service_override entry = {0}, *list;
	int rc = key_from_json(item, "name", path, index, &entry, err);

	if (rc)
		return rc;
	look_for_unknown(item, known, unknown);
	list = reallocarray(into->named, into->named_count + 1, sizeof(*list));
	if (list)
		into->named = list;
	entry.service = list ? strdup(entry.service) : NULL;
	if (!entry.service)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	list[into->named_count++] = entry;
	return 0;
}

/* Those beyond the most that a config can have are dropped. */
static int services_from_json(json_t *list, struct overrides *into, const char *path,
			      struct unknown_keys *unknown, struct error *err)
{
	json_t *item;
	size_t i;
	int rc = 0;

	if (list && !json_is_array(list))
		return error_set(err, -EINVAL, "%s: services: expected a list", path);
	json_array_foreach (list, i, item) {
		if (i == 2 * LB_MAX_SERVICES)
			break;
		rc = service_from_json(item, into, path, (unsigned)i, unknown, err);
		if (rc)
			break;
	}
	return rc;
}

/* Without "node" there is no order. */
static int node_from_json(json_t *item, struct node_order *ret, const char *path,
			  struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"drain", "withdraw", "drain_ms", NULL};
	json_int_t drain_ms = 0;
	int drain = 0, withdraw = 0;
	json_error_t why;

	if (!item)
		return 0;
	if (json_unpack_ex(item, &why, 0, "{s:b, s?b, s?I}", "drain", &drain, "withdraw", &withdraw,
			   "drain_ms", &drain_ms))
		return error_set(err, -EINVAL, "%s: node: %s", path, why.text);
	look_for_unknown(item, known, unknown);
	if (!drain)
		return 0;
	*ret = (struct node_order){
	    .drain = true, .withdraw = withdraw, .drain_ms = drain_ms > 0 ? (uint64_t)drain_ms : 0};
	return 0;
}

static int backends_from_json(json_t *list, unsigned max, struct overrides *into, const char *path,
			      struct unknown_keys *unknown, struct error *err)
{
	json_t *item;
	size_t i;
	int rc = 0;

	if (json_array_size(list) > max)
		log_error("%s: %zu run-time changes: expected at most %u: the others are dropped",
			  path, json_array_size(list), max);
	json_array_foreach (list, i, item) {
		if (i == max)
			break;
		rc = entry_from_json(item, into, path, (unsigned)i, unknown, err);
		if (rc)
			break;
	}
	return rc;
}

static int overrides_from_json(json_t *root, const char *path, unsigned max, struct overrides *ret,
			       struct unknown_keys *unknown, struct error *err)
{
	static const char *const known[] = {"version", "backends", "tags", "places", "states",
					    "origins", "services", "node", "names",  NULL};
	struct overrides into = {0};
	json_t *list, *tags = NULL, *places = NULL, *states = NULL, *origins = NULL,
		      *services = NULL, *node = NULL, *names = NULL;
	json_error_t why;
	int version, rc;

	if (json_unpack_ex(root, &why, 0, "{s:i, s:o, s?o, s?o, s?o, s?o, s?o, s?o, s?o}",
			   "version", &version, "backends", &list, "tags", &tags, "places", &places,
			   "states", &states, "origins", &origins, "services", &services, "node",
			   &node, "names", &names))
		return error_set(err, -EINVAL, "%s: %s", path, why.text);
	if (version != OVERRIDES_VERSION || !json_is_array(list))
		return error_set(err, -EINVAL,
				 "%s: version %d: expected version %d with a list of backends",
				 path, version, OVERRIDES_VERSION);
	look_for_unknown(root, known, unknown);
	rc = node_from_json(node, &into.node, path, unknown, err);
	if (!rc)
		rc = services_from_json(services, &into, path, unknown, err);
	if (!rc)
		rc = backends_from_json(list, max, &into, path, unknown, err);
	if (!rc)
		rc = list_from_json(tags, "tags", one_tag_from_json, &into, path, unknown, err);
	if (!rc)
		rc = list_from_json(places, "places", one_place_from_json, &into, path, unknown,
				    err);
	if (!rc)
		rc = list_from_json(states, "states", one_state_from_json, &into, path, unknown,
				    err);
	if (!rc)
		rc = list_from_json(origins, "origins", one_origin_from_json, &into, path, unknown,
				    err);
	if (!rc)
		rc = list_from_json(names, "names", one_name_from_json, &into, path, unknown, err);
	if (rc)
		overrides_done(&into);
	else
		*ret = into;
	return rc;
}

int overrides_load(const char *path, unsigned max, struct overrides *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(path, OVERRIDES_BYTES, &text, err);
	struct unknown_keys unknown = {0};
	json_error_t why;
	json_t *root;
	int rc;

	if (length == -ENOENT) {
		*ret = (struct overrides){0};
		return 0;
	}
	if (length < 0)
		return (int)length;
	root = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return error_set(err, -EINVAL, "%s:%d: %s", path, why.line, why.text);
	rc = overrides_from_json(root, path, max, ret, &unknown, err);
	json_decref(root);
	if (!rc && unknown.count)
		say_unknown(path, &unknown);
	return rc;
}

/* ---- the file: writing ---- */

static void tag_to_json(const struct config_tag *tag, json_t *into)
{
	json_t *labels;

	if (tag->name)
		json_object_set_new(into, "name", json_string(tag->name));
	if (!tag->labels_count)
		return;
	labels = json_object();
	for (unsigned i = 0; i < tag->labels_count; i++)
		json_object_set_new(labels, tag->labels[i].key, json_string(tag->labels[i].value));
	json_object_set_new(into, "labels", labels);
}

static json_t *entry_to_json(const struct override *entry)
{
	char text[ADDR_TEXT];
	json_t *item = json_pack("{s:s, s:s}", "service", entry->service, "address",
				 addr_format(&entry->address, text));

	if (item && entry->has_weight)
		json_object_set_new(item, "weight", json_integer(entry->weight));
	if (item && entry->drain)
		json_object_set_new(item, "drain", json_true());
	if (item && entry->drain && entry->drain_ms)
		json_object_set_new(item, "drain_ms", json_integer((json_int_t)entry->drain_ms));
	if (item && entry->drain && entry->has_force)
		json_object_set_new(item, "force_ms", json_integer((json_int_t)entry->force_ms));
	if (item && entry->added)
		json_object_set_new(item, "added", json_true());
	if (item && entry->removed)
		json_object_set_new(item, "removed", json_true());
	if (item && entry->undrain)
		json_object_set_new(item, "undrain", json_true());
	return item;
}

static json_t *about_entry(const struct override *entry)
{
	char text[ADDR_TEXT];

	return json_pack("{s:s, s:s}", "service", entry->service, "address",
			 addr_format(&entry->address, text));
}

/* Name and labels of an added backend. */
static json_t *one_tag_to_json(const struct override *entry)
{
	json_t *item = about_entry(entry);

	if (item)
		tag_to_json(entry->tag, item);
	return item;
}

/* What else an added backend is. */
static json_t *one_place_to_json(const struct override *entry)
{
	const struct config_target *target = &entry->target;
	json_t *item = about_entry(entry), *health = json_object();
	char text[ADDR_TEXT];

	if (config_tag_zone(entry->tag))
		json_object_set_new(item, "zone", json_string(entry->tag->zone));
	if (entry->priority)
		json_object_set_new(item, "priority", json_integer(entry->priority));
	if (entry->backup)
		json_object_set_new(item, "backup", json_true());
	if (entry->port)
		json_object_set_new(item, "port", json_integer(entry->port));
	if (target->port)
		json_object_set_new(health, "port", json_integer(target->port));
	if (target->agent_port)
		json_object_set_new(health, "agent_port", json_integer(target->agent_port));
	if (target->address.family)
		json_object_set_new(health, "address",
				    json_string(addr_format(&target->address, text)));
	if (json_object_size(health))
		json_object_set(item, "health", health);
	json_decref(health);
	return item;
}

static json_t *one_state_to_json(const struct override *entry)
{
	json_t *item = about_entry(entry);

	if (item)
		json_object_set_new(item, "state", json_string(admin_state_name(entry->admin)));
	return item;
}

static json_t *one_origin_to_json(const struct override *entry)
{
	char text[ADDR_TEXT];
	json_t *item =
	    json_pack("{s:s, s:s, s:s}", "service", entry->service, "address",
		      addr_format(&entry->address, text), "from", origin_name(entry->origin));

	if (item && override_has_end(entry)) {
		json_object_set_new(item, "ttl_ms", json_integer((json_int_t)entry->ttl_ms));
		json_object_set_new(item, "until_ms", json_integer((json_int_t)entry->until_ms));
	}
	return item;
}

static bool has_state(const struct override *entry)
{
	return entry->admin;
}

static bool has_tag(const struct override *entry)
{
	return entry->tag && (entry->tag->name || entry->tag->labels_count);
}

static bool has_place(const struct override *entry)
{
	static const struct config_target none;

	return config_tag_zone(entry->tag) || entry->priority || entry->backup || entry->port ||
	       !config_target_equal(&entry->target, &none);
}

/* The list `name` of the entries that have what it says. 0 or -1; without such entries there is no
 * list. */
static int add_list(json_t *root, const char *name, const struct overrides *overrides,
		    bool (*has)(const struct override *entry),
		    json_t *(*to_json)(const struct override *entry))
{
	json_t *list = json_array();
	int rc = list ? 0 : -1;

	for (unsigned i = 0; i < overrides->count && !rc; i++)
		if (has(&overrides->list[i]))
			rc = json_array_append_new(list, to_json(&overrides->list[i]));
	if (!rc && json_array_size(list))
		rc = json_object_set(root, name, list);
	json_decref(list);
	return rc;
}

static json_t *name_to_json(const struct service_override *entry)
{
	char text[ADDR_TEXT];

	return json_pack("{s:s, s:s, s:i, s:s}", "service", entry->service, "vip",
			 addr_format(&entry->vip, text), "port", entry->port, "protocol",
			 entry->protocol == CONFIG_TCP ? "tcp" : "udp");
}

static json_t *service_to_json(const struct service_override *entry)
{
	json_t *item = name_to_json(entry);
	json_t *added =
	    entry->added ? json_loads(entry->added, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (entry->added && !added) {
		json_decref(item);
		return NULL;
	}
	json_object_set_new(item, entry->added ? "added" : "removed", added ? added : json_true());
	return item;
}

/* NULL: out of memory. */
static json_t *services_to_json(const struct service_override *services, unsigned count,
				json_t *(*to_json)(const struct service_override *entry))
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, to_json(&services[i]));
	if (json_array_size(list) == count)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *node_to_json(const struct node_order *node)
{
	return json_pack("{s:b, s:b, s:I}", "drain", node->drain, "withdraw", node->withdraw,
			 "drain_ms", (json_int_t)node->drain_ms);
}

static int add_lists(json_t *root, const struct overrides *overrides)
{
	int rc = add_list(root, "tags", overrides, has_tag, one_tag_to_json);

	if (!rc)
		rc = add_list(root, "places", overrides, has_place, one_place_to_json);
	if (!rc)
		rc = add_list(root, "states", overrides, has_state, one_state_to_json);
	if (!rc)
		rc = add_list(root, "origins", overrides, override_comes_by_itself,
			      one_origin_to_json);
	if (!rc && overrides->node.drain)
		rc = json_object_set_new(root, "node", node_to_json(&overrides->node));
	if (!rc && overrides->services_count)
		rc = json_object_set_new(root, "services",
					 services_to_json(overrides->services,
							  overrides->services_count,
							  service_to_json));
	if (!rc && overrides->named_count)
		rc = json_object_set_new(
		    root, "names",
		    services_to_json(overrides->named, overrides->named_count, name_to_json));
	return rc;
}

static char *overrides_to_text(const struct overrides *overrides)
{
	json_t *list = json_array(), *root;
	char *text = NULL;

	for (unsigned i = 0; i < overrides->count; i++)
		json_array_append_new(list, entry_to_json(&overrides->list[i]));
	root = json_pack("{s:i, s:o}", "version", OVERRIDES_VERSION, "backends", list);
	if (root && json_array_size(list) == overrides->count && !add_lists(root, overrides))
		text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return text;
}

int overrides_save(const struct overrides *overrides, const char *path, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int rc;

	if (!overrides->count && !overrides->services_count && !overrides->node.drain) {
		rc = file_remove(path);
		return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
	}
	text = overrides_to_text(overrides);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	if (strlen(text) > OVERRIDES_BYTES) /* the next start would lose all of them */
		return error_set(err, -EFBIG, "%s: would be longer than %u MiB", path,
				 OVERRIDES_BYTES >> 20);
	rc = file_replace(path, text);
	return rc ? error_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}
