/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One service: its key in the data plane, its label in log lines and errors, its backends by
 * address. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

void service_key(const struct service *service, struct dp_service *ret)
{
	*ret = (struct dp_service){.vip = service->config->vip,
				   .protocol = service->config->protocol,
				   .port = service->config->port};
}

const char *service_label(const struct service *service, char text[SERVICE_LABEL])
{
	const struct config_service *config = service->config;
	const char *protocol = config->protocol == CONFIG_TCP ? "tcp" : "udp";
	char vip[ADDR_TEXT], key[ADDR_TEXT + 16], port[8] = "any";

	if (config->port)
		snprintf(port, sizeof(port), "%u", config->port);
	snprintf(key, sizeof(key), config->vip.family == 6 ? "[%s]:%s/%s" : "%s:%s/%s",
		 addr_format(&config->vip, vip), port, protocol);
	if (!strcmp(config->name, key))
		snprintf(text, SERVICE_LABEL, "%s", key);
	else
		snprintf(text, SERVICE_LABEL, "%.256s %s", config->name, key);
	return text;
}

bool service_is_checked(const struct config_service *config)
{
	return strcmp(config->health.type, "none") != 0;
}

struct backend *service_find_backend(const struct service *service, const struct addr *address)
{
	for (unsigned i = 0; i < service->backends_count; i++)
		if (addr_equal(&service->backends[i]->address, address))
			return service->backends[i];
	return NULL;
}

const char *service_why(const struct service *service)
{
	unsigned leaving = 0, unknown = 0;

	if (service->status != SERVICE_DOWN)
		return "";
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct backend *backend = service->backends[i];

		leaving += backend->drain || backend->removed;
		unknown += backend->condition == BACKEND_CHECKING;
	}
	if (!service->backends_count)
		return "it has no backend";
	if (leaving == service->backends_count)
		return "all its backends are draining or removed";
	if (service->up)
		return "every backend that is up has weight 0";
	return unknown ? "no backend has passed its first check" : "no backend is up";
}

uint32_t service_spill(const struct service *service)
{
	uint32_t all = 0, first = 0;
	bool found = false;

	for (unsigned i = 0; i < LEVELS; i++) {
		const struct level *level = &service->levels[i];

		all += level->share;
		if (level->count && !found) {
			first = level->share;
			found = true;
		}
	}
	return all - first;
}

unsigned service_others(const struct service *service, const struct addr *address)
{
	unsigned count = 0;

	for (unsigned i = 0; i < service->backends_count; i++)
		count += service->backends[i]->effective_weight > 0 &&
			 !addr_equal(&service->backends[i]->address, address);
	return count;
}
