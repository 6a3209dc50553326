/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `api: clients`: in which services a client may register, by its token or its certificate. */
#include "clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "index.h"
#include "scalar.h"
#include "service.h"

#define NAME_MAX_LENGTH 64 /* of a common name: RFC 5280, ub-common-name */
#define NAMES_SHOWN     8

/* ---- reading ---- */

/* A common name, or its begin and a "*". */
static bool certificate_fits(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~' || (text[i] == '*' && i + 1 < length))
			return false;
	return length && length <= NAME_MAX_LENGTH;
}

static void read_token(const struct config_place *at, const char *text,
		       const struct config_api *api, struct config_client *client)
{
	client->by_token = true;
	if (!config_api_has_token(api, text))
		config_complain(at, "token", text,
				"no such token: expected the name of one of token-file");
	else
		config_copy_text(at, text, &client->name);
}

static void read_certificate(const struct config_place *at, const char *text,
			     const struct config_api *api, struct config_client *client)
{
	if (!api->verifies)
		config_complain(at, "certificate", text,
				"clients show no certificates: expected client-ca beside clients");
	else if (!certificate_fits(text))
		config_complain(at, "certificate", text,
				"expected a common name of 1 to %d characters (CN=web-3: web-3), "
				"or its begin and a *",
				NAME_MAX_LENGTH);
	else {
		config_copy_text(at, text, &client->name);
		client->begins = text[strlen(text) - 1] == '*';
	}
}

static void read_services(const struct config_place *at, const struct raw_client *raw,
			  struct config_client *client)
{
	client->services = calloc(raw->services_count, sizeof(*client->services));
	if (!client->services) {
		config_source_oom(at->source);
		return;
	}
	for (unsigned i = 0; i < raw->services_count; i++) {
		const char *name = raw->services[i];

		if (!config_service_name_fits(name))
			config_complain_item(at, "services", i, name,
					     "expected the name of a service");
		else if (lists_text(client->services, i, name))
			config_complain_item(at, "services", i, name,
					     "listed twice: expected once");
		else
			config_copy_text(at, name, &client->services[i]);
	}
	client->services_count = raw->services_count;
}

static void read_client(const struct config_place *at, const struct raw_client *raw,
			const struct config_api *api, struct config_client *client)
{
	if (raw->token && raw->certificate)
		config_complain(at, "certificate", raw->certificate,
				"beside token: expected either token or certificate");
	else if (!raw->token && !raw->certificate)
		config_complain_missing(at, "token", "expected either token or certificate");
	else if (raw->token)
		read_token(at, raw->token, api, client);
	else
		read_certificate(at, raw->certificate, api, client);
	if (raw->services)
		read_services(at, raw, client);
}

static bool same_client(const struct config_client *a, const struct config_client *b)
{
	return a->by_token == b->by_token && a->name && b->name && !strcmp(a->name, b->name);
}

void config_read_clients(const struct config_place *at, const struct raw_api *raw,
			 struct config_api *api)
{
	api->clients = calloc(raw->clients_count, sizeof(*api->clients));
	if (!api->clients) {
		config_source_oom(at->source);
		return;
	}
	api->clients_count = raw->clients_count;
	for (unsigned i = 0; i < raw->clients_count; i++) {
		struct config_place item;

		config_place_item(at, "clients", i, &item);
		read_client(&item, &raw->clients[i], api, &api->clients[i]);
		for (unsigned j = 0; j < i; j++)
			if (same_client(&api->clients[i], &api->clients[j]))
				config_complain(&item,
						api->clients[i].by_token ? "token" : "certificate",
						api->clients[i].name,
						"listed twice: expected once, with all services");
	}
}

void config_free_clients(struct config_api *api)
{
	for (unsigned i = 0; i < api->clients_count; i++) {
		struct config_client *client = &api->clients[i];

		for (unsigned j = 0; j < client->services_count; j++)
			free(client->services[j]);
		free(client->services);
		free(client->name);
	}
	free(api->clients);
}

/* ---- asking ---- */

static bool is_certificate(const struct config_client *client, const char *name)
{
	return client->begins ? !strncmp(client->name, name, strlen(client->name) - 1)
			      : !strcmp(client->name, name);
}

static bool is_of(const struct config_client *client, const struct config_asker *asker)
{
	if (client->by_token)
		return asker->token && !strcmp(client->name, asker->token);
	return asker->certificate && is_certificate(client, asker->certificate);
}

static bool lets_into(const struct config_client *client, const char *service)
{
	if (!client->services_count)
		return true;
	return service && lists_text(client->services, client->services_count, service);
}

bool config_api_permits(const struct config_api *api, const struct config_asker *asker,
			const char *service)
{
	bool permits = !api->clients_count;

	for (unsigned i = 0; i < api->clients_count && !permits; i++)
		permits = is_of(&api->clients[i], asker) && lets_into(&api->clients[i], service);
	return permits;
}

void config_api_permitted(const struct config_api *api, const struct config_asker *asker, char *ret,
			  size_t size)
{
	unsigned shown = 0;
	size_t length = 0;

	snprintf(ret, size, "nowhere");
	for (unsigned i = 0; i < api->clients_count; i++) {
		const struct config_client *client = &api->clients[i];

		for (unsigned j = 0; is_of(client, asker) && j < client->services_count; j++) {
			if (shown++ < NAMES_SHOWN && length < size)
				length += (size_t)snprintf(ret + length, size - length, "%s%s",
							   length ? ", " : "only in ",
							   client->services[j]);
		}
	}
	if (shown > NAMES_SHOWN && length < size)
		snprintf(ret + length, size - length, " and %u more", shown - NAMES_SHOWN);
}

bool config_api_same_clients(const struct config_api *a, const struct config_api *b)
{
	bool same = a->clients_count == b->clients_count;

	for (unsigned i = 0; same && i < a->clients_count; i++) {
		const struct config_client *one = &a->clients[i], *other = &b->clients[i];

		same = same_client(one, other) && one->services_count == other->services_count;
		for (unsigned j = 0; same && j < one->services_count; j++)
			same = !strcmp(one->services[j], other->services[j]);
	}
	return same;
}

static void look_for_services(const struct config_index *index, const struct config_client *client,
			      struct sentences *ret)
{
	for (unsigned i = 0; i < client->services_count; i++)
		if (!config_index_name(index, client->services[i]))
			sentences_add(ret,
				      "api: clients: %s %s: services: %s: there is no such "
				      "service: expected the name of one",
				      client->by_token ? "token" : "certificate", client->name,
				      client->services[i]);
}

void config_lacks_services(const struct config *config, struct sentences *ret)
{
	const struct config_api *api = config->api;
	struct config_index index;

	if (!api || !api->clients_count || config_index_make(config, &index))
		return;
	for (unsigned i = 0; i < api->clients_count; i++)
		look_for_services(&index, &api->clients[i], ret);
	config_index_done(&index);
}
