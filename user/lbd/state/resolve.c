/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What people call services and backends: by name, a service also by VIP, a backend by address. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_NAMED 10

/* ---- services ---- */

/* "192.0.2.10", "192.0.2.10:80", "[2001:db8::10]:any/udp" */
struct endpoint {
	struct addr vip;
	bool has_port;
	uint16_t port;    /* 0: any */
	uint8_t protocol; /* 0: not given */
};

/* The text behind the address; NULL: no address. */
static const char *parse_vip(const char *text, struct addr *ret)
{
	bool brackets = *text == '[';
	const char *begin = text + brackets, *end;
	char vip[ADDR_TEXT];
	size_t length;

	if (!addr_parse(text, ret))
		return text + strlen(text);
	length = strcspn(begin, brackets ? "]" : ":/");
	end = begin + length + brackets;
	if (length >= sizeof(vip) || (brackets && begin[length] != ']'))
		return NULL;
	snprintf(vip, sizeof(vip), "%.*s", (int)length, begin);
	return addr_parse(vip, ret) || brackets != (ret->family == 6) ? NULL : end;
}

static const char *parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long port;

	*ret = 0;
	if (!strncmp(text, "any", 3))
		return text + 3;
	if (*text < '0' || *text > '9')
		return NULL;
	port = strtoul(text, &end, 10);
	if (port < 1 || port > 65535)
		return NULL;
	*ret = (uint16_t)port;
	return end;
}

static bool parse_endpoint(const char *text, struct endpoint *ret)
{
	*ret = (struct endpoint){0};
	text = parse_vip(text, &ret->vip);
	ret->has_port = text && *text == ':';
	if (ret->has_port)
		text = parse_port(text + 1, &ret->port);
	if (text && !strcmp(text, "/tcp"))
		ret->protocol = CONFIG_TCP;
	else if (text && !strcmp(text, "/udp"))
		ret->protocol = CONFIG_UDP;
	return text && (!*text || ret->protocol);
}

static bool matches(const struct service *service, const struct endpoint *endpoint)
{
	const struct config_service *config = service->config;

	return addr_equal(&config->vip, &endpoint->vip) &&
	       (!endpoint->has_port || config->port == endpoint->port) &&
	       (!endpoint->protocol || config->protocol == endpoint->protocol);
}

/* "service "192.0.2.10": 2 services have this VIP: expected one of web, dns" */
static int name_candidates(const struct state *state, const char *text,
			   const struct endpoint *endpoint, unsigned count, struct error *err)
{
	char names[CANDIDATES_NAMED * 66 + 32] = "";
	unsigned named = 0;
	size_t used = 0;

	for (unsigned i = 0; i < state->world.count && named < CANDIDATES_NAMED; i++)
		if (matches(state->world.services[i], endpoint))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.63s",
						 named++ ? ", " : "",
						 state->world.services[i]->config->name);
	if (count > named)
		snprintf(names + used, sizeof(names) - used, " and %u more", count - named);
	return error_set(err, -EINVAL, "service \"%.64s\": %u services have it: expected one of %s",
			 text, count, names);
}

int state_resolve_service(const struct state *state, const char *text, struct service **ret,
			  struct error *err)
{
	struct service *found = state_find_service(state, text);
	struct endpoint endpoint;
	unsigned count = 0;

	if (!found && parse_endpoint(text, &endpoint))
		for (unsigned i = 0; i < state->world.count; i++)
			if (matches(state->world.services[i], &endpoint)) {
				found = state->world.services[i];
				count++;
			}
	if (!found)
		return error_set(err, -ENOENT, "service \"%.64s\": no such service", text);
	if (count > 1)
		return name_candidates(state, text, &endpoint, count, err);
	*ret = found;
	return 0;
}

/* ---- backends ---- */

struct backend *service_find_named(const struct service *service, const char *name)
{
	struct backend *found = NULL;

	for (unsigned i = 0; i < service->backends_count; i++) {
		const char *own = config_tag_name(service->backends[i]->tag);

		if (own && !strcmp(own, name) && (!found || found->removed))
			found = service->backends[i];
	}
	return found;
}

int service_resolve_backend(const struct service *service, const char *text, struct addr *ret,
			    struct error *err)
{
	const struct backend *backend;

	if (!addr_parse(text, ret))
		return 0;
	if (!config_tag_name_fits(text))
		return error_set(err, -EINVAL,
				 "address: expected an IPv4 or IPv6 address, or the name of a "
				 "backend, got \"%.64s\"",
				 text);
	backend = service_find_named(service, text);
	if (!backend)
		return error_set(err, -ENOENT, "service %s: backend \"%s\": no such backend",
				 service->config->name, text);
	*ret = backend->address;
	return 0;
}

const char *backend_label(const struct backend *backend, char text[CONFIG_BACKEND_LABEL])
{
	return config_backend_label(backend->tag, &backend->address, text);
}
