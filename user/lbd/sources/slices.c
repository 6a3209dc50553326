/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* EndpointSlices. An endpoint may be in several slices for a moment, as Kubernetes moves it. */
#include "slices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICES_MAX    1024 /* of a service */
#define ENDPOINTS_MAX 4096 /* in all of them: more than can be backends, as some may be leaving */
#define OBJECT_NAME   253  /* bytes (RFC 1123) */
#define VERSION_MAX   63   /* bytes; it is opaque */
#define GONE          410  /* HTTP's status, in an event */
#define OF_SERVICE    "kubernetes.io/service-name"

enum endpoint_state {
	ENDPOINT_UNREADY, /* takes no connections: not kept */
	ENDPOINT_LEAVING, /* it ends, and still serves */
	ENDPOINT_READY,
};

struct endpoint {
	enum endpoint_state state;
	struct source_item item;
};

struct slice {
	char name[OBJECT_NAME + 1];
	unsigned unready;
	bool other_family, other_port; /* then it has no endpoints here */
	unsigned ignored;              /* endpoints that cannot be backends */
	char why[96];                  /* the first of them */
	struct endpoint *endpoints;
	unsigned count;
	unsigned size; /* with those that are not kept */
};

struct store {
	struct slice *slices;
	unsigned count, room;
	unsigned endpoints; /* sizes of all */
	char version[VERSION_MAX + 1];
};

struct slices {
	const struct config_from *from;
	struct store store;
};

/* ---- the store ---- */

static void store_done(struct store *store)
{
	for (unsigned i = 0; i < store->count; i++)
		free(store->slices[i].endpoints);
	free(store->slices);
	*store = (struct store){0};
}

static void drop_slice(struct store *store, const char *name)
{
	for (unsigned i = 0; i < store->count; i++) {
		struct slice *slice = &store->slices[i];

		if (strcmp(slice->name, name) != 0)
			continue;
		store->endpoints -= slice->size;
		free(slice->endpoints);
		*slice = store->slices[--store->count];
		return;
	}
}

/* There is none with its name; takes slice over. 0; -E2BIG or -ENOMEM. */
static int put_slice(struct store *store, const struct slice *slice)
{
	if (store->count == SLICES_MAX || store->endpoints + slice->size > ENDPOINTS_MAX)
		return -E2BIG;
	if (store->count == store->room) {
		unsigned room = store->room ? store->room * 2 : 8;
		struct slice *slices = reallocarray(store->slices, room, sizeof(*slices));

		if (!slices)
			return -ENOMEM;
		store->slices = slices;
		store->room = room;
	}
	store->slices[store->count++] = *slice;
	store->endpoints += slice->size;
	return 0;
}

struct slices *slices_new(const struct config_from *from)
{
	struct slices *slices = calloc(1, sizeof(*slices));

	if (slices)
		slices->from = from;
	return slices;
}

void slices_free(struct slices *slices)
{
	if (slices)
		store_done(&slices->store);
	free(slices);
}

const char *slices_version(const struct slices *slices)
{
	return slices->store.version;
}

/* ---- endpoints ---- */

/* What is not given is unknown, and counts as the API says. */
static bool condition(const json_t *conditions, const char *key, bool unknown)
{
	const json_t *value = json_object_get(conditions, key);

	return json_is_boolean(value) ? json_is_true(value) : unknown;
}

/* One that ends takes no new connection, whatever else is said of it. */
static enum endpoint_state state_of(const json_t *conditions)
{
	bool ready = condition(conditions, "ready", true);
	bool serving = condition(conditions, "serving", ready);

	if (condition(conditions, "terminating", false))
		return serving ? ENDPOINT_LEAVING : ENDPOINT_UNREADY;
	return ready ? ENDPOINT_READY : ENDPOINT_UNREADY;
}

/* The name of its pod, where it is, and in which zone. */
static void describe(struct source_item *item, const json_t *endpoint)
{
	const json_t *target = json_object_get(endpoint, "targetRef");
	const char *kind = source_text_in(target, "kind"), *name = source_text_in(target, "name");
	const char *zone = source_text_in(endpoint, "zone"),
		   *node = source_text_in(endpoint, "nodeName");

	if (kind && !strcmp(kind, "Pod") && name && config_tag_name_fits(name))
		strcpy(item->name, name);
	if (zone && config_zone_fits(zone))
		strcpy(item->zone, zone);
	if (node && config_label_value_fits(node)) {
		strcpy(item->labels[0].key, "node");
		strcpy(item->labels[0].value, node);
		item->labels_count = 1;
	}
}

static void ignore(struct slice *slice, const char *address)
{
	if (!slice->ignored++)
		snprintf(slice->why, sizeof(slice->why), "%.60s: cannot be a host",
			 address ? address : "an endpoint without an address");
}

/* Of several addresses only the first counts, as everywhere else. */
static void take_endpoint(struct slice *slice, const json_t *value, uint8_t family, uint32_t port)
{
	const json_t *first = json_array_get(json_object_get(value, "addresses"), 0);
	const char *address = source_text(first);
	enum endpoint_state state = state_of(json_object_get(value, "conditions"));
	struct endpoint *endpoint = &slice->endpoints[slice->count];

	if (!address || !source_item_init(&endpoint->item, address) ||
	    endpoint->item.address.family != family) {
		ignore(slice, json_string_value(first));
	} else if (state == ENDPOINT_UNREADY) {
		slice->unready++;
	} else {
		endpoint->state = state;
		endpoint->item.port = port;
		describe(&endpoint->item, value);
		slice->count++;
	}
}

/* ---- slices ---- */

/* The one with this name or number; NULL: there is none. */
static const json_t *find_port(const json_t *ports, const char *wanted)
{
	const json_t *port;
	size_t i;

	json_array_foreach (ports, i, port) {
		const json_t *number = json_object_get(port, "port");
		const char *name = source_text_in(port, "name");
		char text[24];

		if (name && !strcmp(name, wanted))
			return port;
		if (!json_is_integer(number))
			continue; /* any, says the API of one without: by its name alone */
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(number));
		if (!strcmp(text, wanted))
			return port;
	}
	return NULL;
}

/* Where the pods listen: the port that is wanted, else the only one. 0: it is not said. */
static uint32_t number_of(const json_t *ports, const json_t *wanted)
{
	const json_t *port =
	    wanted || json_array_size(ports) != 1 ? wanted : json_array_get(ports, 0);

	return source_port(json_object_get(port, "port"));
}

static bool has_text(const json_t *object, const char *key, const char *expected)
{
	const char *text = source_text_in(object, key);

	return text && !strcmp(text, expected);
}

static int take_endpoints(struct slice *slice, const json_t *endpoints, uint8_t family,
			  uint32_t port)
{
	const json_t *value;
	size_t i, count = json_array_size(endpoints);

	if (count > ENDPOINTS_MAX)
		return -E2BIG;
	slice->endpoints = calloc(count + 1, sizeof(*slice->endpoints));
	if (!slice->endpoints)
		return -ENOMEM;
	slice->size = (unsigned)count;
	json_array_foreach (endpoints, i, value)
		take_endpoint(slice, value, family, port);
	return 0;
}

static int read_slice(const struct config_from *from, const json_t *object, struct slice *ret)
{
	const char *name = source_text_in(json_object_get(object, "metadata"), "name");
	const char *type = source_text_in(object, "addressType");
	const json_t *endpoints = json_object_get(object, "endpoints"),
		     *ports = json_object_get(object, "ports"),
		     *port = from->port ? find_port(ports, from->port) : NULL;
	bool six = from->family == CONFIG_FAMILY_IPV6;

	if (!name || !*name || strlen(name) > OBJECT_NAME || !type ||
	    (endpoints && !json_is_null(endpoints) && !json_is_array(endpoints)))
		return -EBADMSG;
	*ret = (struct slice){.other_family = strcmp(type, six ? "IPv6" : "IPv4") != 0,
			      .other_port = from->port && !port};
	strcpy(ret->name, name);
	return ret->other_family || ret->other_port
		   ? 0
		   : take_endpoints(ret, endpoints, six ? 6 : 4, number_of(ports, port));
}

/* The server selects those of the service; a proxy may not. */
static int take_slice(const struct config_from *from, struct store *store, const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");
	struct slice slice;
	int rc;

	if (!has_text(metadata, "namespace", from->namespace) ||
	    !has_text(json_object_get(metadata, "labels"), OF_SERVICE, from->service))
		return 0;
	rc = read_slice(from, object, &slice);
	if (rc)
		return rc;
	drop_slice(store, slice.name);
	rc = put_slice(store, &slice);
	if (rc)
		free(slice.endpoints);
	return rc;
}

/* Kubernetes' own texts, which go back in a URL. */
static int take_version(struct store *store, const json_t *metadata)
{
	const char *version = source_text_in(metadata, "resourceVersion");

	if (!version || !*version || strlen(version) > VERSION_MAX)
		return -EBADMSG;
	strcpy(store->version, version);
	return 0;
}

/* ---- a list ---- */

/* A part of a list, which nobody has asked for, is not the list. */
static bool is_whole(const json_t *metadata)
{
	const char *more = json_string_value(json_object_get(metadata, "continue"));

	return !more || !*more;
}

static int read_items(const struct config_from *from, const json_t *root, struct store *store)
{
	const json_t *metadata = json_object_get(root, "metadata");
	const json_t *items = json_object_get(root, "items"), *item;
	const char *kind = source_text_in(root, "kind");
	size_t i;
	int rc;

	if (!kind || strcmp(kind, "EndpointSliceList") != 0 || !is_whole(metadata) ||
	    !(json_is_array(items) || json_is_null(items)))
		return -EBADMSG;
	rc = take_version(store, metadata);
	json_array_foreach (items, i, item) {
		if (rc)
			break;
		rc = take_slice(from, store, item);
	}
	return rc;
}

static int say(int rc, const char *expected, struct error *err)
{
	return error_set(err, rc, "%s",
			 rc == -E2BIG    ? "it has more than 1024 slices or 4096 endpoints"
			 : rc == -ENOMEM ? "out of memory"
					 : expected);
}

int slices_read_list(struct slices *slices, const char *text, size_t length, struct error *err)
{
	json_t *root = source_json(text, length, JSON_REJECT_DUPLICATES);
	struct store store = {0};
	int rc = read_items(slices->from, root, &store);

	json_decref(root);
	if (rc) {
		store_done(&store);
		return say(rc, "expected a whole list of EndpointSlices (discovery.k8s.io/v1)",
			   err);
	}
	store_done(&slices->store);
	slices->store = store;
	return 0;
}

/* ---- events ---- */

static int read_error(const json_t *status, struct error *err)
{
	const char *message = source_text_in(status, "message");

	if (json_integer_value(json_object_get(status, "code")) == GONE)
		return SLICES_GONE;
	return error_set(err, -EIO, "the watch has failed: %.160s",
			 message ? message : "no reason");
}

static int read_change(struct slices *slices, const char *type, const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");
	const char *name = source_text_in(metadata, "name");
	struct store *store = &slices->store;
	int rc = take_version(store, metadata);

	if (rc || !strcmp(type, "BOOKMARK"))
		return rc ? rc : SLICES_SAME;
	if (!strcmp(type, "DELETED") && name &&
	    has_text(metadata, "namespace", slices->from->namespace))
		drop_slice(store, name);
	else if (!strcmp(type, "ADDED") || !strcmp(type, "MODIFIED"))
		rc = take_slice(slices->from, store, object);
	else if (strcmp(type, "DELETED") != 0)
		rc = -EBADMSG;
	return rc ? rc : SLICES_CHANGED;
}

int slices_read_event(struct slices *slices, const char *line, size_t length, struct error *err)
{
	json_t *root = source_json(line, length, JSON_REJECT_DUPLICATES);
	const json_t *object = json_object_get(root, "object");
	const char *type = source_text_in(root, "type");
	int rc = -EBADMSG;

	if (type && !strcmp(type, "ERROR")) {
		rc = read_error(object, err);
	} else {
		rc = type ? read_change(slices, type, object) : -EBADMSG;
		if (rc < 0)
			say(rc, "expected an event of a watch of EndpointSlices", err);
	}
	json_decref(root);
	return rc;
}

/* ---- what they name ---- */

static int add_endpoints(const struct slices *slices, enum endpoint_state state,
			 struct source_list *list)
{
	const struct store *store = &slices->store;
	int rc = 0;

	for (unsigned i = 0; i < store->count && !rc; i++)
		for (unsigned j = 0; j < store->slices[i].count && !rc; j++)
			if (store->slices[i].endpoints[j].state == state)
				rc = source_list_add(list, &store->slices[i].endpoints[j].item);
	return rc;
}

/* Why there is nothing, for who has set it up. */
static void explain(const struct slices *slices, struct source_list *list)
{
	unsigned unready = 0, families = 0, ports = 0;
	const struct store *store = &slices->store;

	for (unsigned i = 0; i < store->count; i++) {
		unready += store->slices[i].unready;
		families += store->slices[i].other_family;
		ports += !store->slices[i].other_family && store->slices[i].other_port;
	}
	if (!store->count)
		source_list_ignore(list, "the service has no EndpointSlices");
	else if (unready)
		source_list_ignore(list, "endpoints that are not ready: %u, others: none", unready);
	else if (ports)
		source_list_ignore(list, "no EndpointSlice has the port %s", slices->from->port);
	else if (families)
		source_list_ignore(list, "no EndpointSlice is of %s",
				   slices->from->family == CONFIG_FAMILY_IPV6 ? "IPv6" : "IPv4");
}

int slices_name(const struct slices *slices, struct source_list *ret, struct error *err)
{
	const struct store *store = &slices->store;
	struct source_list list = {0};
	int rc = add_endpoints(slices, ENDPOINT_READY, &list);

	if (!rc && !list.count) /* better those than none, says Kubernetes too */
		rc = add_endpoints(slices, ENDPOINT_LEAVING, &list);
	if (rc) {
		source_list_done(&list);
		return error_set(err, rc, "%s",
				 rc == -E2BIG ? "it names more than 1024 backends"
					      : "out of memory");
	}
	for (unsigned i = 0; i < store->count; i++)
		for (unsigned j = 0; j < store->slices[i].ignored; j++)
			source_list_ignore(&list, "%s: %s", store->slices[i].name,
					   store->slices[i].why);
	if (!list.count)
		explain(slices, &list);
	source_list_merge(&list);
	*ret = list;
	return 0;
}
