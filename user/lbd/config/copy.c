/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Copies of a config, to change while the original is in force, and their end. Both go by one list
 * of the texts. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/text.h"
#include "config.h"
#include "from.h"
#include "service.h"

#define TEXT(member) offsetof(struct config, member)

/* Each that struct config owns. */
static const size_t owned[] = {
    TEXT(include),       TEXT(defaults),
    TEXT(pin),           TEXT(socket),
    TEXT(state),         TEXT(group),
    TEXT(metrics),       TEXT(metrics_path),
    TEXT(notify),        TEXT(metrics_token_file),
    TEXT(announce.file), TEXT(peers.key_file),
    TEXT(zone),          TEXT(commands),
};
#define TEXTS (sizeof(owned) / sizeof(owned[0]))

static char **text_of(const struct config *config, size_t offset)
{
	return (char **)((char *)config + offset);
}

/* ---- the end ---- */

void config_drop_services(struct config *config)
{
	for (unsigned i = 0; i < config->services_count; i++)
		config_service_done(&config->services[i]);
	free(config->services);
	config->services = NULL;
	config->services_count = 0;
}

static void free_texts(char **list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < TEXTS; i++)
		free(*text_of(config, owned[i]));
	free_texts(config->interfaces, config->interfaces_count);
	free_texts(config->metrics_hosts, config->metrics_hosts_count);
	config_api_unref(config->api);
	config_drop_services(config);
	free(config);
}

/* ---- copies ---- */

/* What was not copied is NULL. */
static char **copy_texts(char *const *texts, unsigned count, bool *failed)
{
	char **copy = calloc(count + 1, sizeof(*copy));

	*failed |= !copy;
	for (unsigned i = 0; copy && i < count; i++)
		copy[i] = copy_text(texts[i], failed);
	return copy;
}

static void copy_backends(const struct config_service *from, struct config_service *to,
			  bool *failed)
{
	to->backends = calloc(from->backends_count + 1, sizeof(*to->backends));
	to->backends_count = to->backends ? from->backends_count : 0;
	*failed |= !to->backends;
	for (unsigned i = 0; i < to->backends_count; i++) {
		to->backends[i] = from->backends[i];
		config_tag_ref(to->backends[i].tag);
	}
}

static void copy_service(const struct config_service *from, struct config_service *to, bool *failed)
{
	*to = *from;
	to->name = copy_text(from->name, failed);
	*failed |= health_spec_copy(&from->health, &to->health) != 0;
	*failed |= config_from_copy(&from->from, &to->from) != 0;
	*failed |= health_spec_copy(&from->agent, &to->agent) != 0;
	filter_list_ref(to->lists.allow);
	filter_list_ref(to->lists.deny);
	filter_ref(to->lists.filter);
	copy_backends(from, to, failed);
}

static void copy_services(const struct config *from, struct config *to, bool *failed)
{
	to->services = calloc(from->services_count + 1, sizeof(*to->services));
	to->services_count = to->services ? from->services_count : 0;
	*failed |= !to->services;
	for (unsigned i = 0; i < to->services_count; i++)
		copy_service(&from->services[i], &to->services[i], failed);
}

static void copy_top(const struct config *from, struct config *to, bool *failed)
{
	for (size_t i = 0; i < TEXTS; i++)
		*text_of(to, owned[i]) = copy_text(*text_of(from, owned[i]), failed);
	to->interfaces = copy_texts(from->interfaces, from->interfaces_count, failed);
	to->interfaces_count = to->interfaces ? from->interfaces_count : 0;
	to->metrics_hosts = copy_texts(from->metrics_hosts, from->metrics_hosts_count, failed);
	to->metrics_hosts_count = to->metrics_hosts ? from->metrics_hosts_count : 0;
}

int config_copy(const struct config *config, struct config **ret)
{
	struct config *copy = malloc(sizeof(*copy));
	bool failed = false;

	if (!copy)
		return -ENOMEM;
	*copy = *config;
	config_api_ref(copy->api);
	copy_top(config, copy, &failed);
	copy_services(config, copy, &failed);
	if (failed) {
		config_free(copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}
