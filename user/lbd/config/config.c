/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the YAML file into a validated value: text -> tree (source.c) -> keys and types (schema.c,
 * shape.c) -> values (value.c, service.c) -> checks across them (check.c). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "check.h"
#include "lists.h"
#include "schema.h"
#include "service.h"
#include "source.h"
#include "value.h"

#define MAX_FILE (16u << 20) /* bytes; the largest config allowed needs less than 4 MiB */

/* raw is loaded, perhaps after complaints. */
static void read_raw(struct config_source *source, const struct raw_config *raw,
		     struct config *config)
{
	source->lists = config_list_cache_new();
	if (source->lists)
		config_read(source, raw, config);
	else
		config_source_oom(source);
	config_list_cache_free(source->lists);
	source->lists = NULL;
	if (!source->error)
		config_check(source, config);
}

static int build(struct config_source *source, struct config **ret)
{
	struct raw_config *raw = NULL;
	struct config *config;

	config_schema_load(source, &raw);
	if (!raw)
		return source->error;
	config = calloc(1, sizeof(*config));
	if (config)
		read_raw(source, raw, config);
	else
		config_source_oom(source);
	config_schema_free(raw);
	if (source->error)
		config_free(config);
	else
		*ret = config;
	return source->error;
}

struct report {
	void (*mistake)(void *arg, const char *sentence);
	void *arg;
};

static int by_line(const void *a, const void *b)
{
	const struct config_mistake *x = a, *y = b;

	return (x->line > y->line) - (x->line < y->line);
}

/* Without any there is one that is no complaint: the text is not YAML, or memory is short. */
static void report_mistakes(const struct report *report, struct config_mistakes *all,
			    const struct config_source *source)
{
	char more[64];

	qsort(all->list, all->count, sizeof(all->list[0]), by_line);
	for (size_t i = 0; i < all->count; i++) {
		report->mistake(report->arg, all->list[i].text);
		free(all->list[i].text);
	}
	if (!all->count)
		report->mistake(report->arg, source->complaint.text);
	if (!all->left_out)
		return;
	snprintf(more, sizeof(more), "and %zu more", all->left_out);
	report->mistake(report->arg, more);
}

/* report: NULL: only the first mistake is of interest. */
static int parse(const char *text, size_t length, const char *name, const struct report *report,
		 struct config **ret, struct error *err)
{
	struct config_mistakes all = {.count = 0};
	struct config_source source;
	int rc = config_source_load(&source, name, text, length);

	if (report)
		source.all = &all;
	if (!rc)
		rc = build(&source, ret);
	if (rc)
		error_set(err, rc, "%s", source.complaint.text);
	if (rc && report)
		report_mistakes(report, &all, &source);
	config_source_done(&source);
	return rc;
}

int config_parse(const char *text, size_t length, const char *name, struct config **ret,
		 struct error *err)
{
	return parse(text, length, name, NULL, ret, err);
}

int config_parse_all(const char *text, size_t length, const char *name,
		     void (*mistake)(void *arg, const char *sentence), void *arg,
		     struct config **ret, struct error *err)
{
	return parse(text, length, name, &(struct report){mistake, arg}, ret, err);
}

static int cannot_open(const char *path, int rc, struct error *err)
{
	return error_set(err, rc, "%s: cannot open: %s%s", path, strerror(-rc),
			 rc == -ENOENT ? ". An example to begin with: " CONFIG_DEFAULT_PATH
					 ".example (dist/lbd.yaml in the source)"
				       : "");
}

ssize_t config_read_text(const char *path, char **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	ssize_t length;

	if (fd < 0)
		return cannot_open(path, -errno, err);
	text = malloc(MAX_FILE + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	length = file_read(fd, text, MAX_FILE + 1); /* which refuses a directory */
	if (length < 0)
		return error_set(err, (int)length, "%s: cannot read: %s", path,
				 strerror((int)-length));
	if (length > (ssize_t)MAX_FILE)
		return error_set(err, -EFBIG, "%s: too large: expected at most %u MiB", path,
				 MAX_FILE >> 20);
	*ret = text;
	text = NULL;
	return length;
}

static int load(const char *path, const struct report *report, struct config **ret,
		struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = config_read_text(path, &text, err);

	if (length >= 0)
		return parse(text, (size_t)length, path, report, ret, err);
	if (report)
		report->mistake(report->arg, err->text);
	return (int)length;
}

int config_load(const char *path, struct config **ret, struct error *err)
{
	return load(path, NULL, ret, err);
}

int config_load_all(const char *path, void (*mistake)(void *arg, const char *sentence), void *arg,
		    struct config **ret, struct error *err)
{
	return load(path, &(struct report){mistake, arg}, ret, err);
}

void config_drop_services(struct config *config)
{
	for (unsigned i = 0; i < config->services_count; i++)
		config_service_done(&config->services[i]);
	free(config->services);
	config->services = NULL;
	config->services_count = 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (unsigned i = 0; i < config->interfaces_count; i++)
		free(config->interfaces[i]);
	config_drop_services(config);
	free(config->interfaces);
	free(config->pin);
	free(config->socket);
	free(config->state);
	free(config->group);
	free(config->metrics);
	free(config->metrics_path);
	free(config->metrics_token_file);
	free(config->notify);
	free(config->announce.file);
	for (unsigned i = 0; i < config->metrics_hosts_count; i++)
		free(config->metrics_hosts[i]);
	free(config->metrics_hosts);
	free(config);
}

const struct config_service *config_find_service(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->services_count; i++)
		if (!strcmp(config->services[i].name, name))
			return &config->services[i];
	return NULL;
}

const struct config_backend *config_find_backend(const struct config_service *service,
						 const struct addr *address)
{
	for (unsigned i = 0; service && i < service->backends_count; i++)
		if (addr_equal(&service->backends[i].address, address))
			return &service->backends[i];
	return NULL;
}

bool config_same_service(const struct config_service *a, const struct config_service *b)
{
	return a->port == b->port && a->protocol == b->protocol && addr_equal(&a->vip, &b->vip);
}
