/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A copy of a config, to change while the original is in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* *failed is set if memory runs out; NULL stays NULL. */
static char *copy_text(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;

	*failed |= text && !copy;
	return copy;
}

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
	to->health.type = copy_text(from->health.type, failed);
	to->health.path = copy_text(from->health.path, failed);
	to->health.host = copy_text(from->health.host, failed);
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
	to->include = copy_text(from->include, failed);
	to->defaults = copy_text(from->defaults, failed);
	to->pin = copy_text(from->pin, failed);
	to->socket = copy_text(from->socket, failed);
	to->state = copy_text(from->state, failed);
	to->group = copy_text(from->group, failed);
	to->metrics = copy_text(from->metrics, failed);
	to->metrics_path = copy_text(from->metrics_path, failed);
	to->metrics_token_file = copy_text(from->metrics_token_file, failed);
	to->announce.file = copy_text(from->announce.file, failed);
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
	copy_top(config, copy, &failed);
	copy_services(config, copy, &failed);
	if (failed) {
		config_free(copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}
