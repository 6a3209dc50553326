/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services that are added at run time: read and checked as if they were in a file, so that they may
 * have what a file may have and are refused in the same words. JSON is YAML. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "check.h"
#include "config.h"
#include "lists.h"
#include "schema.h"
#include "service.h"
#include "source.h"

#define REQUEST (CONFIG_RUNTIME - 1) /* config_source.file of the services while they are read */

enum { DEFAULTS, SERVICES, TEXTS };

/* `defaults` of the config, and the services. */
struct addition {
	char *texts[TEXTS];
	struct config_source list[TEXTS];
	struct raw_config *raws[TEXTS];
	unsigned loaded; /* of list */
};

static int put_services(const char *const *services, unsigned count, char **ret)
{
	size_t size;
	FILE *out = open_memstream(ret, &size);

	if (!out)
		return -ENOMEM;
	fputs("services: [", out);
	for (unsigned i = 0; i < count; i++)
		fprintf(out, "%s%s", i ? ",\n" : "", services[i]);
	fputs("]\n", out);
	return fclose(out) ? -ENOMEM : 0;
}

static int make_texts(const struct config *config, const char *const *services, unsigned count,
		      struct addition *addition)
{
	if (asprintf(&addition->texts[DEFAULTS], "services: []\n%s",
		     config->defaults ? config->defaults : "") < 0) {
		addition->texts[DEFAULTS] = NULL;
		return -ENOMEM;
	}
	return put_services(services, count, &addition->texts[SERVICES]);
}

static int load(struct addition *addition)
{
	int rc = 0;

	for (unsigned i = 0; i < TEXTS && !rc; i++) {
		struct config_source *source = &addition->list[i];

		rc = config_source_load(source, i == SERVICES ? "service" : "defaults",
					addition->texts[i], strlen(addition->texts[i]));
		source->bare = true;
		source->file = i == SERVICES ? REQUEST : 0;
		source->part = i == SERVICES ? CONFIG_PART_INCLUDED : CONFIG_PART_MAIN;
		addition->loaded++;
		if (!rc)
			rc = config_schema_load(source, &addition->raws[i]);
	}
	return rc;
}

static void addition_done(struct addition *addition)
{
	for (unsigned i = 0; i < addition->loaded; i++) {
		config_schema_free(&addition->list[i], addition->raws[i]);
		config_source_done(&addition->list[i]);
	}
	for (unsigned i = 0; i < TEXTS; i++)
		free(addition->texts[i]);
}

/* The services become the last of config, which has room for them. */
static void read_services(struct addition *addition, struct config *config)
{
	struct config_source *source = &addition->list[SERVICES];
	const struct raw_config *raw = addition->raws[SERVICES];
	struct config_defaults defaults = {.raw = addition->raws[DEFAULTS]->defaults,
					   .translates = config->nat.prefix.length > 0};
	struct config_list_cache *lists = config_list_cache_new();
	struct config_place root;

	if (!lists) {
		config_source_oom(source);
		return;
	}
	addition->list[DEFAULTS].lists = source->lists = lists;
	config_place_root(&addition->list[DEFAULTS], &defaults.root);
	config_place_root(source, &root);
	for (unsigned i = 0; i < raw->services_count; i++) {
		struct config_service *service = &config->services[config->services_count++];

		memset(service, 0, sizeof(*service));
		config_read_service(&root, i, &defaults, &raw->services[i], service);
		service->file = REQUEST;
		service->place = i;
	}
	config_list_cache_free(lists);
}

static const struct config_source *failed(const struct addition *addition)
{
	const struct config_sources all = {.list = (struct config_source *)addition->list,
					   .count = TEXTS};

	return config_sources_failed(&all);
}

static void keep_first(struct config *config, unsigned count)
{
	while (config->services_count > count)
		config_service_done(&config->services[--config->services_count]);
}

/* One text may hold several services, or none. */
static int check_count(const struct addition *addition, unsigned count, struct error *err)
{
	return addition->raws[SERVICES]->services_count == count
		   ? 0
		   : error_set(err, -EINVAL, "expected one service");
}

/* A token goes to those servers alone that a service of the files sends it to: whoever may ask for
 * a service could have any file of one line sent to servers of their own. */
static int check_token(const struct config *config, const struct config_service *added,
		       struct error *err)
{
	const struct config_from *from = &added->from;

	if (!from->token)
		return 0;
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		if (service->file < REQUEST && same_text(service->from.token, from->token) &&
		    same_text(service->from.kubernetes, from->kubernetes) &&
		    same_text(service->from.consul, from->consul))
			return 0;
	}
	return error_set(
	    err, -EKEYREJECTED,
	    "service %s: backends-from: token-file: %s: expected one that a service in "
	    "the files of the config sends to the same servers",
	    added->name, from->token);
}

static bool names_command(const struct raw_health *raw)
{
	if (!raw)
		return false;
	for (unsigned i = 0; i < raw->checks_count; i++)
		if (raw->checks[i].command_count)
			return true;
	return raw->command_count > 0;
}

/* Does a service of the files run it? Also one that is removed at run time: the file has it. */
static bool is_run(const struct config *config, const char *command)
{
	size_t length = strlen(command);
	const char *at = config->commands ? strstr(config->commands, command) : NULL;

	for (; at;
	     at = strstr(at + 1, command)) /* it begins with a slash: something is before it */
		if (at[-1] == CONFIG_COMMAND_END && at[length] == CONFIG_COMMAND_END)
			return true;
	return false;
}

/* lbd runs, as its own user, those commands alone that its files have: whoever may ask for a
 * service could have any program run. One of `defaults` is of the files. */
static int check_command(const struct config *config, const struct raw_service *raw,
			 const struct config_service *added, struct error *err)
{
	unsigned count;
	const struct health_spec *list = health_spec_list(&added->health, &count);

	if (!names_command(raw->health))
		return 0;
	for (unsigned i = 0; i < count; i++) {
		const char *command = list[i].command;

		if (!strcmp(list[i].type, "exec") && !is_run(config, command))
			return error_set(
			    err, -EKEYREJECTED,
			    "service %s: health: command: %.*s: expected the words of a command "
			    "that a service in the files of the config runs",
			    added->name, (int)strcspn(command, "\n"), command);
	}
	return 0;
}

/* What a file may say, and a request may not. The services of the request are the last. */
static int check_rights(const struct addition *addition, const struct config *config,
			unsigned before, struct error *err)
{
	const struct raw_service *raw = addition->raws[SERVICES]->services;
	int rc = 0;

	for (unsigned i = before; i < config->services_count && !rc; i++) {
		rc = check_token(config, &config->services[i], err);
		if (!rc)
			rc = check_command(config, &raw[i - before], &config->services[i], err);
	}
	return rc;
}

static int add(struct addition *addition, struct config *config, unsigned count, struct error *err)
{
	const struct config_sources sources = {
	    .list = &addition->list[SERVICES], .count = 1, .first = REQUEST};
	unsigned before = config->services_count;
	struct config_service *grown =
	    reallocarray(config->services, (size_t)before + count + 1, sizeof(*grown));
	int rc;

	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	config->services = grown;
	read_services(addition, config);
	if (!failed(addition))
		config_check(&sources, config);
	if (failed(addition)) {
		keep_first(config, before);
		return error_set(err, failed(addition)->error, "%s",
				 failed(addition)->complaint.text);
	}
	rc = check_rights(addition, config, before, err);
	if (rc) {
		keep_first(config, before);
		return rc;
	}
	for (unsigned i = before; i < config->services_count; i++) {
		config->services[i].file = CONFIG_RUNTIME;
		config->services[i].place = 0;
	}
	return 0;
}

int config_add_services(struct config *config, const char *const *texts, unsigned count,
			struct error *err)
{
	struct addition addition = {0};
	int rc = make_texts(config, texts, count, &addition);

	if (rc)
		error_set(err, rc, "out of memory");
	else if ((rc = load(&addition)))
		error_set(err, rc, "%s", failed(&addition)->complaint.text);
	else if (!(rc = check_count(&addition, count, err)))
		rc = add(&addition, config, count, err);
	addition_done(&addition);
	return rc;
}

int config_add_service(struct config *config, const char *text, struct error *err)
{
	return config_add_services(config, &text, 1, err);
}

void config_remove_service(struct config *config, unsigned index)
{
	struct config_service *service = &config->services[index];

	config_service_done(service);
	memmove(service, service + 1,
		(config->services_count - index - 1) * sizeof(*config->services));
	config->services_count--;
}

void config_remove_services(struct config *config, const bool *gone)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < config->services_count; i++) {
		if (gone[i])
			config_service_done(&config->services[i]);
		else
			config->services[kept++] = config->services[i];
	}
	config->services_count = kept;
}
