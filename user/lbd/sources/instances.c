/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Answers of Consul's health endpoint. */
#include "instances.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONSUL_WEIGHT_MAX 65535
#define SCALE             SOURCE_WEIGHT /* of a weight of 1, Consul's default */

/* That of the instance; "": that of its node. */
static const char *address_of(const json_t *instance)
{
	const char *address = source_text_in(json_object_get(instance, "Service"), "Address");

	return address && *address ? address
				   : source_text_in(json_object_get(instance, "Node"), "Address");
}

static const char *zone_of(const json_t *instance)
{
	static const char *const where[] = {"Service", "Node"};
	const char *zone = NULL;

	for (unsigned i = 0; i < 2 && !zone; i++)
		zone = source_text_in(
		    json_object_get(json_object_get(instance, where[i]), "Locality"), "Zone");
	return zone;
}

/* All that are listed pass their checks. False: it is no weight. */
static bool weight_of(const json_t *instance, uint32_t *ret)
{
	const json_t *weights = json_object_get(json_object_get(instance, "Service"), "Weights");
	const json_t *passing = json_object_get(weights, "Passing");

	*ret = 1; /* of Consul before 1.2.3, which has none */
	if (!passing)
		return true;
	if (!json_is_integer(passing) || json_integer_value(passing) < 0 ||
	    json_integer_value(passing) > CONSUL_WEIGHT_MAX)
		return false;
	*ret = (uint32_t)json_integer_value(passing);
	return true;
}

static int read_instance(const json_t *instance, struct source_list *list)
{
	const char *address = address_of(instance), *zone = zone_of(instance);
	const char *node = source_text_in(json_object_get(instance, "Node"), "Node");
	struct source_item item;

	if (!address || !source_item_init(&item, address)) {
		source_list_ignore(list, "%.60s: %.60s: expected the address of a host",
				   node ? node : "an instance", address ? address : "no address");
		return 0;
	}
	if (!weight_of(instance, &item.weight)) {
		source_list_ignore(list, "%.60s: %.60s: its weight is none", node ? node : "",
				   address);
		return 0;
	}
	/* 0, which is none, of one that was registered without */
	item.port = source_port(json_object_get(json_object_get(instance, "Service"), "Port"));
	if (node && config_tag_name_fits(node))
		strcpy(item.name, node);
	if (zone && config_zone_fits(zone))
		strcpy(item.zone, zone);
	return source_list_add(list, &item);
}

/* 1 is lbd's 100; in proportion where the greatest would be too great. */
static void scale_weights(struct source_list *list)
{
	uint32_t most = CONFIG_MAX_WEIGHT / SCALE;

	for (unsigned i = 0; i < list->count; i++)
		most = list->items[i].weight > most ? list->items[i].weight : most;
	for (unsigned i = 0; i < list->count; i++) {
		uint32_t *weight = &list->items[i].weight;
		uint32_t scaled = *weight * CONFIG_MAX_WEIGHT / most;

		*weight = *weight && !scaled ? 1 : scaled;
	}
}

/* Several instances on a node: the first has its name. */
static void name_once(struct source_list *list)
{
	for (unsigned i = 1; i < list->count; i++)
		for (unsigned j = 0; j < i && *list->items[i].name; j++)
			if (!strcmp(list->items[i].name, list->items[j].name))
				*list->items[i].name = 0;
}

int instances_read(const char *body, size_t length, struct source_list *ret, struct error *err)
{
	json_t *root = source_json(body, length, JSON_REJECT_DUPLICATES);
	struct source_list list = {0};
	const json_t *instance;
	size_t i;
	int rc = json_is_array(root) ? 0 : -EBADMSG;

	json_array_foreach (root, i, instance) {
		if (rc)
			break;
		rc = json_is_object(instance) ? read_instance(instance, &list) : -EBADMSG;
	}
	json_decref(root);
	if (rc) {
		source_list_done(&list);
		return error_set(err, rc, "%s",
				 rc == -E2BIG    ? "it names more than 1024 instances"
				 : rc == -ENOMEM ? "out of memory"
						 : "expected a list of instances, as Consul's "
						   "health endpoint has it");
	}
	source_list_sort(&list);
	scale_weights(&list);
	name_once(&list);
	*ret = list;
	return 0;
}

uint64_t instances_index(const char *text)
{
	unsigned long long index;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	index = strtoull(text, &end, 10);
	return errno || *end ? 0 : index;
}
