/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the YAML files into a validated value: texts (texts.c) -> trees (source.c) -> keys and
 * types (schema.c, shape.c) -> values (value.c, service.c) -> checks across them (check.c). */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "check.h"
#include "lists.h"
#include "schema.h"
#include "source.h"
#include "value.h"

/* ---- from texts to a value ---- */

/* Of the main text, and of what this node says beside that of its fleet. */
static void read_top(const struct config_sources *sources, struct raw_config *const *raws,
		     struct config *config)
{
	config_read(&sources->list[0], raws[0], config);
	for (unsigned i = 1; i < sources->count; i++)
		if (sources->list[i].part == CONFIG_PART_NODE && raws[i])
			config_read_more(&sources->list[i], raws[i], config);
}

/* raws are loaded, perhaps after complaints; those that could not be are NULL. */
static void read_raws(const struct config_sources *sources, struct raw_config *const *raws,
		      struct config *config)
{
	struct config_list_cache *lists = config_list_cache_new();

	for (unsigned i = 0; i < sources->count; i++)
		sources->list[i].lists = lists;
	if (lists) {
		if (raws[0])
			read_top(sources, raws, config);
		config_read_services(sources, raws, config);
	} else {
		config_source_oom(&sources->list[0]);
	}
	config_list_cache_free(lists);
	for (unsigned i = 0; i < sources->count; i++)
		sources->list[i].lists = NULL;
	if (!config_sources_failed(sources))
		config_check(sources, config);
}

static bool load_raws(const struct config_sources *sources, struct raw_config **raws)
{
	bool any = false;

	for (unsigned i = 0; i < sources->count; i++) {
		struct config_source *source = &sources->list[i];

		if (!source->error) /* it is YAML */
			config_schema_load(source, &raws[i]);
		any |= !!raws[i];
		if (source->error && !source->all)
			return false;
	}
	return any;
}

static void keep_defaults(struct config_source *source, const struct raw_config *raw,
			  struct config *config)
{
	if (!raw->defaults)
		return;
	config->defaults = config_schema_copy_defaults(source);
	if (!config->defaults)
		config_source_oom(source);
}

/* For services added later. A service that is removed at run time is still in the files. */
static void keep_commands(struct config_source *source, struct config *config)
{
	const char *last = NULL;
	size_t size;
	FILE *out = open_memstream(&config->commands, &size);

	for (unsigned i = 0; out && i < config->services_count; i++) {
		unsigned count;
		const struct health_spec *list =
		    health_spec_list(&config->services[i].health, &count);

		for (unsigned j = 0; j < count; j++) {
			if (strcmp(list[j].type, "exec") || same_text(list[j].command, last))
				continue;
			last = list[j].command;
			fprintf(out, "%c%s%c", CONFIG_COMMAND_END, last, CONFIG_COMMAND_END);
		}
	}
	if (!out || fclose(out))
		config_source_oom(source);
}

/* What a node says for itself is not read in the text of its fleet. Services are never its own. */
static void hide_overruled(const struct config_sources *sources)
{
	struct config_source *main_text = &sources->list[0];

	for (unsigned i = 1; i < sources->count; i++)
		if (sources->list[i].part == CONFIG_PART_NODE && !main_text->error &&
		    !sources->list[i].error)
			config_source_hide(main_text, &sources->list[i], "services");
}

static struct config *build(const struct config_sources *sources)
{
	struct raw_config **raws = calloc(sources->count, sizeof(*raws));
	struct config *config = calloc(1, sizeof(*config));

	hide_overruled(sources);
	if (!raws || !config)
		config_source_oom(&sources->list[0]);
	else if (load_raws(sources, raws))
		read_raws(sources, raws, config);
	if (!config_sources_failed(sources))
		keep_defaults(&sources->list[0], raws[0], config);
	if (!config_sources_failed(sources))
		keep_commands(&sources->list[0], config);
	for (unsigned i = 0; raws && i < sources->count; i++)
		config_schema_free(&sources->list[i], raws[i]);
	free(raws);
	if (config)
		config->files_count = sources->count;
	return config;
}

/* ---- mistakes ---- */

struct report {
	config_mistake_fn *mistake;
	void *arg;
};

static int by_place(const void *a, const void *b)
{
	const struct config_mistake *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return (x->line > y->line) - (x->line < y->line);
}

/* Has it an error that is no complaint: the text is not YAML, or memory is short? */
static bool is_uncounted(const struct config_source *source, const struct config_mistakes *all)
{
	if (!source->error)
		return false;
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].file == source->file)
			return false;
	return !all->left_out;
}

static void report_mistakes(const struct report *report, struct config_mistakes *all,
			    const struct config_sources *sources)
{
	char more[64];

	for (unsigned i = 0; i < sources->count; i++)
		if (is_uncounted(&sources->list[i], all))
			report->mistake(report->arg, sources->list[i].complaint.text, 1);
	qsort(all->list, all->count, sizeof(all->list[0]), by_place);
	for (size_t i = 0; i < all->count; i++) {
		report->mistake(report->arg, all->list[i].text, 1);
		free(all->list[i].text);
	}
	if (!all->left_out)
		return;
	snprintf(more, sizeof(more), "and %zu more", all->left_out);
	report->mistake(report->arg, more, all->left_out);
}

/* ---- parsing ---- */

static enum config_part part_of(const struct config_texts *texts, unsigned index)
{
	if (texts->remote)
		return index ? CONFIG_PART_NODE : CONFIG_PART_FLEET;
	return index ? CONFIG_PART_INCLUDED : CONFIG_PART_MAIN;
}

/* Without `all` the first text that is not YAML ends it. */
static void load_sources(const struct config_texts *texts, struct config_mistakes *all,
			 struct config_sources *sources)
{
	for (unsigned i = 0; i < texts->count; i++) {
		const struct config_text *text = &texts->list[i];
		struct config_source *source = &sources->list[sources->count++];
		int rc = config_source_load(source, text->name, text->bytes, text->length);

		source->all = all;
		source->file = i;
		source->part = part_of(texts, i);
		if (rc && !all)
			return;
	}
}

static int finish(const struct config_sources *sources, struct config *config, struct config **ret,
		  struct error *err)
{
	const struct config_source *failed = config_sources_failed(sources);

	if (!failed) {
		*ret = config;
		return 0;
	}
	config_free(config);
	return error_set(err, failed->error, "%s", failed->complaint.text);
}

void config_sources_free(struct config_sources *trees)
{
	if (!trees)
		return;
	for (unsigned i = 0; i < trees->count; i++)
		config_source_done(&trees->list[i]);
	free(trees->list);
	free(trees);
}

/* report: NULL: only the first mistake is of interest. ret_trees: NULL: they are not needed. */
static int parse(const struct config_texts *texts, const struct report *report, struct config **ret,
		 struct config_sources **ret_trees, struct error *err)
{
	struct config_mistakes all = {.count = 0};
	struct config_sources *sources = calloc(1, sizeof(*sources));
	struct config *config = NULL;
	int rc;

	if (sources)
		sources->list = calloc(texts->count, sizeof(*sources->list));
	if (!sources || !sources->list) {
		free(sources);
		return error_set(err, -ENOMEM, "%s: out of memory", texts->list[0].name);
	}
	load_sources(texts, report ? &all : NULL, sources);
	if (report || !config_sources_failed(sources))
		config = build(sources);
	rc = finish(sources, config, ret, err);
	if (rc && report)
		report_mistakes(report, &all, sources);
	if (!rc && ret_trees)
		*ret_trees = sources;
	else
		config_sources_free(sources);
	return rc;
}

int config_parse_texts(const struct config_texts *texts, struct config **ret, struct error *err)
{
	return parse(texts, NULL, ret, NULL, err);
}

int config_parse_trees(const struct config_texts *texts, struct config **ret,
		       struct config_sources **ret_trees, struct error *err)
{
	return parse(texts, NULL, ret, ret_trees, err);
}

static int parse_one(const char *text, size_t length, const char *name, const struct report *report,
		     struct config **ret, struct error *err)
{
	struct config_text one = {(char *)name, (char *)text, length};
	const struct config_texts texts = {.list = &one, .count = 1};

	return parse(&texts, report, ret, NULL, err);
}

int config_parse(const char *text, size_t length, const char *name, struct config **ret,
		 struct error *err)
{
	return parse_one(text, length, name, NULL, ret, err);
}

int config_parse_all(const char *text, size_t length, const char *name, config_mistake_fn *mistake,
		     void *arg, struct config **ret, struct error *err)
{
	return parse_one(text, length, name, &(struct report){mistake, arg}, ret, err);
}

static int load(const char *path, const struct report *report, struct config **ret,
		struct error *err)
{
	struct config_texts texts;
	int rc = config_read_files(path, &texts, err);

	if (rc) {
		if (report)
			report->mistake(report->arg, err->text, 1);
		return rc;
	}
	rc = parse(&texts, report, ret, NULL, err);
	config_texts_done(&texts);
	return rc;
}

int config_load(const char *path, struct config **ret, struct error *err)
{
	return load(path, NULL, ret, err);
}

int config_load_all(const char *path, config_mistake_fn *mistake, void *arg, struct config **ret,
		    struct error *err)
{
	return load(path, &(struct report){mistake, arg}, ret, err);
}

/* ---- the value ---- */

const struct config_service *config_find_service(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->services_count; i++)
		if (!strcmp(config->services[i].name, name))
			return &config->services[i];
	return NULL;
}

const struct config_service *config_find_same(const struct config *config, const struct addr *vip,
					      uint8_t protocol, uint16_t port)
{
	const struct config_service like = {.vip = *vip, .protocol = protocol, .port = port};

	for (unsigned i = 0; i < config->services_count; i++)
		if (config_same_service(&config->services[i], &like))
			return &config->services[i];
	return NULL;
}

bool config_prefix_equal(const struct config_prefix *a, const struct config_prefix *b)
{
	return a->length == b->length && addr_equal(&a->addr, &b->addr);
}

bool config_has_interface(const struct config *config, const char *name)
{
	return lists_text(config->interfaces, config->interfaces_count, name);
}

const struct config_backend *config_find_backend(const struct config_service *service,
						 const struct addr *address)
{
	for (unsigned i = 0; service && i < service->backends_count; i++)
		if (addr_equal(&service->backends[i].address, address))
			return &service->backends[i];
	return NULL;
}

/* Where a ring only stands in (every flow is tracked), its shares need not be fine. What spills
 * from one priority or zone to another makes unequal weights of equal ones: that it may is in the
 * text, whatever the zone of the node. */
enum ring_grain config_ring_grain(const struct config_service *service)
{
	const struct config_backend *first = service->backends;
	uint32_t weight = 0;

	if (service->algorithm->select != LB_SELECT_SLOT)
		return RING_COARSE;
	if (service->hash != LB_HASH_FULL)
		return RING_FINE;
	for (unsigned i = 0; i < service->backends_count; i++) {
		const struct config_backend *backend = &service->backends[i];

		if (weight && backend->weight && backend->weight != weight)
			return RING_FINE;
		if (backend->priority != first->priority ||
		    !same_text(config_tag_zone(backend->tag), config_tag_zone(first->tag)))
			return RING_FINE;
		weight = backend->weight ? backend->weight : weight;
	}
	return RING_COARSE;
}

const struct config_backend *config_find_named(const struct config_service *service,
					       const char *name)
{
	for (unsigned i = 0; service && name && i < service->backends_count; i++) {
		const char *own = config_tag_name(service->backends[i].tag);

		if (own && !strcmp(own, name))
			return &service->backends[i];
	}
	return NULL;
}

bool config_target_equal(const struct config_target *a, const struct config_target *b)
{
	return addr_equal(&a->address, &b->address) && a->port == b->port &&
	       a->agent_port == b->agent_port;
}

bool config_same_service(const struct config_service *a, const struct config_service *b)
{
	return a->port == b->port && a->protocol == b->protocol && addr_equal(&a->vip, &b->vip);
}
