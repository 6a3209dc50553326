/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A service that is added at run time: read and checked as if it was in a file, so that it may have
 * what a file may have and is refused in the same words. JSON is YAML. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"
#include "lists.h"
#include "schema.h"
#include "service.h"
#include "source.h"

#define REQUEST (CONFIG_RUNTIME - 1) /* config_source.file of the service while it is read */

enum { DEFAULTS, SERVICE, TEXTS };

/* `defaults` of the config, and the service. */
struct addition {
	char *texts[TEXTS];
	struct config_source list[TEXTS];
	struct raw_config *raws[TEXTS];
	unsigned loaded; /* of list */
};

static int make_texts(const struct config *config, const char *text, struct addition *addition)
{
	if (asprintf(&addition->texts[DEFAULTS], "services: []\n%s",
		     config->defaults ? config->defaults : "") < 0) {
		addition->texts[DEFAULTS] = NULL;
		return -ENOMEM;
	}
	if (asprintf(&addition->texts[SERVICE], "services: [%s]\n", text) < 0) {
		addition->texts[SERVICE] = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int load(struct addition *addition)
{
	int rc = 0;

	for (unsigned i = 0; i < TEXTS && !rc; i++) {
		struct config_source *source = &addition->list[i];

		rc = config_source_load(source, i == SERVICE ? "service" : "defaults",
					addition->texts[i], strlen(addition->texts[i]));
		source->bare = true;
		source->file = i == SERVICE ? REQUEST : 0;
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

/* The service is the last of config, which has room for it. */
static void read_service(struct addition *addition, struct config *config)
{
	struct config_source *source = &addition->list[SERVICE];
	struct config_defaults defaults = {.raw = addition->raws[DEFAULTS]->defaults};
	struct config_service *service = &config->services[config->services_count++];
	struct config_list_cache *lists = config_list_cache_new();
	struct config_place root;

	memset(service, 0, sizeof(*service));
	if (!lists) {
		config_source_oom(source);
		return;
	}
	addition->list[DEFAULTS].lists = source->lists = lists;
	config_place_root(&addition->list[DEFAULTS], &defaults.root);
	config_place_root(source, &root);
	config_read_service(&root, 0, &defaults, addition->raws[SERVICE]->services, service);
	service->file = REQUEST;
	config_list_cache_free(lists);
}

static const struct config_source *failed(const struct addition *addition)
{
	const struct config_sources all = {.list = (struct config_source *)addition->list,
					   .count = TEXTS};

	return config_sources_failed(&all);
}

static int add(struct addition *addition, struct config *config, struct error *err)
{
	const struct config_sources sources = {
	    .list = &addition->list[SERVICE], .count = 1, .first = REQUEST};
	struct config_service *grown =
	    reallocarray(config->services, config->services_count + 2, sizeof(*grown));

	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	config->services = grown;
	read_service(addition, config);
	if (!failed(addition))
		config_check(&sources, config);
	if (!failed(addition)) {
		config->services[config->services_count - 1].file = CONFIG_RUNTIME;
		return 0;
	}
	config_remove_service(config, config->services_count - 1);
	return error_set(err, failed(addition)->error, "%s", failed(addition)->complaint.text);
}

int config_add_service(struct config *config, const char *text, struct error *err)
{
	struct addition addition = {0};
	int rc = make_texts(config, text, &addition);

	if (rc)
		error_set(err, rc, "out of memory");
	else if ((rc = load(&addition)))
		error_set(err, rc, "%s", failed(&addition)->complaint.text);
	else
		rc = add(&addition, config, err);
	addition_done(&addition);
	return rc;
}

void config_remove_service(struct config *config, unsigned index)
{
	struct config_service *service = &config->services[index];

	config_service_done(service);
	memmove(service, service + 1,
		(config->services_count - index - 1) * sizeof(*config->services));
	config->services_count--;
}
