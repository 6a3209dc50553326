/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `allow` and `deny` of a service. They are read from the tree, as libcyaml knows no key that is
 * either a list or a mapping; schema.c has it ignore them. */
#include "lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

#define EXPECTED "expected a list of prefixes, or { file: PATH }"

/* A list that is in the text once and belongs to many services: of `defaults`, or an alias. */
struct seen {
	const yaml_node_t *node;
	struct filter_list *list;
};

struct config_list_cache {
	struct filter_pool *pool;
	struct seen *seen;
	size_t count;
};

/* ---- the cache ---- */

struct config_list_cache *config_list_cache_new(void)
{
	struct config_list_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->pool = filter_pool_new();
	if (cache->pool)
		return cache;
	free(cache);
	return NULL;
}

void config_list_cache_free(struct config_list_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->count; i++)
		filter_list_unref(cache->seen[i].list);
	filter_pool_free(cache->pool);
	free(cache->seen);
	free(cache);
}

/* The list of the node with a reference; NULL: it has not been read. */
static struct filter_list *find_seen(const struct config_list_cache *cache, const yaml_node_t *node)
{
	for (size_t i = 0; i < cache->count; i++)
		if (cache->seen[i].node == node)
			return filter_list_ref(cache->seen[i].list);
	return NULL;
}

static void keep_seen(const struct config_place *at, const yaml_node_t *node,
		      struct filter_list *list)
{
	struct config_list_cache *cache = at->source->lists;
	struct seen *seen = reallocarray(cache->seen, cache->count + 1, sizeof(*seen));

	if (!seen) {
		config_source_oom(at->source);
		return;
	}
	cache->seen = seen;
	seen[cache->count++] = (struct seen){node, filter_list_ref(list)};
}

/* ---- from the tree ---- */

static const char *text_of(const yaml_node_t *node)
{
	bool is_text = node->type == YAML_SCALAR_NODE &&
		       node->data.scalar.length <= CONFIG_MAX_TEXT &&
		       strlen((const char *)node->data.scalar.value) == node->data.scalar.length;

	return is_text ? (const char *)node->data.scalar.value : NULL;
}

static bool read_item(const struct config_place *at, const char *key, const yaml_node_t *node,
		      struct filter_list *list)
{
	const char *text = text_of(node);
	struct error why;
	int rc;

	if (!text) {
		config_complain_node(at, node, key, NULL, EXPECTED);
		return false;
	}
	rc = filter_list_add(list, text, (uint32_t)node->start_mark.line + 1, &why);
	if (rc == -ENOMEM)
		config_source_oom(at->source);
	else if (rc)
		config_complain_node(at, node, key, NULL, "%s", why.text);
	return !rc;
}

static struct filter_list *read_inline(const struct config_place *at, const char *key,
				       const yaml_node_t *node)
{
	struct filter_list *list = filter_list_new(at->source->name, false);
	bool good = true;

	if (!list) {
		config_source_oom(at->source);
		return NULL;
	}
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     good && item < node->data.sequence.items.top; item++)
		good =
		    read_item(at, key, yaml_document_get_node(&at->source->document, *item), list);
	if (good)
		return list;
	filter_list_unref(list);
	return NULL;
}

/* The mapping has one key, `file`, whose value is the path; NULL after a complaint. */
static const char *path_of(const struct config_place *at, const char *key, const yaml_node_t *node)
{
	const yaml_node_t *value = config_source_value(at->source, node, "file");
	const char *path = value ? text_of(value) : NULL;

	if (!path || node->data.mapping.pairs.top - node->data.mapping.pairs.start != 1)
		config_complain_node(at, node, key, NULL, EXPECTED);
	else if (*path != '/')
		config_complain_node(at, value, key, path, "expected an absolute path");
	else
		return path;
	return NULL;
}

static struct filter_list *read_file(const struct config_place *at, const char *key,
				     const yaml_node_t *node)
{
	const char *path = path_of(at, key, node);
	struct filter_list *list;
	struct error why;
	int rc;

	if (!path)
		return NULL;
	rc = filter_pool_read(at->source->lists->pool, path, &list, &why);
	if (!rc)
		return list;
	if (rc == -ENOMEM)
		config_source_oom(at->source);
	else
		config_complain_node(at, node, key, NULL, "%s", why.text);
	return NULL;
}

static struct filter_list *read_node(const struct config_place *at, const char *key,
				     const yaml_node_t *node)
{
	struct filter_list *list = find_seen(at->source->lists, node);

	if (list)
		return list;
	if (node->type == YAML_SEQUENCE_NODE)
		list = read_inline(at, key, node);
	else if (node->type == YAML_MAPPING_NODE)
		list = read_file(at, key, node);
	else
		config_complain_node(at, node, key, text_of(node), EXPECTED);
	if (list)
		keep_seen(at, node, list);
	return list;
}

static void read_list(const struct config_place *at, const char *key, struct filter_list **list)
{
	const yaml_node_t *node = config_source_value(at->source, at->node, key);

	if (!node)
		return;
	filter_list_unref(*list);
	*list = read_node(at, key, node);
}

void config_read_lists(const struct config_place *at, struct config_lists *lists)
{
	read_list(at, "allow", &lists->allow);
	read_list(at, "deny", &lists->deny);
}

/* ---- the filter ---- */

/* An allow list without a prefix of the VIP's family admits nobody: it is a file cut short, or a
 * mistake. *ret_key: what the error is about. */
static int make_filter(struct filter_pool *pool, const struct config_service *service,
		       struct config_lists *lists, const char **ret_key, struct error *err)
{
	bool v6 = service->vip.family == 6;

	if (lists->allow && !lists->allow->counts[v6]) {
		*ret_key = "allow";
		return error_set(err, -EINVAL,
				 "%s%sno IPv%d prefix: expected at least one, as nobody could use "
				 "the IPv%d VIP",
				 lists->allow->is_file ? lists->allow->name : "",
				 lists->allow->is_file ? ": " : "", v6 ? 6 : 4, v6 ? 6 : 4);
	}
	*ret_key = "deny";
	if (!lists->allow && !filter_list_count(lists->deny))
		return 0;
	return filter_pool_make(pool, lists->allow, lists->deny, &lists->filter, err);
}

void config_finish_lists(const struct config_place *at, struct config_service *service)
{
	const char *key;
	struct error why;
	int rc;

	if (at->source->error || !service->vip.family)
		return;
	rc = make_filter(at->source->lists->pool, service, &service->lists, &key, &why);
	if (rc == -ENOMEM)
		config_source_oom(at->source);
	else if (rc)
		config_complain(at, key, NULL, "%s", why.text);
}

void config_lists_done(struct config_lists *lists)
{
	filter_list_unref(lists->allow);
	filter_list_unref(lists->deny);
	filter_unref(lists->filter);
	*lists = (struct config_lists){0};
}

void config_lists_free(struct config_lists *lists, unsigned count)
{
	for (unsigned i = 0; lists && i < count; i++)
		config_lists_done(&lists[i]);
	free(lists);
}

/* ---- once more ---- */

static int read_again(struct filter_pool *pool, struct filter_list *list, struct filter_list **ret,
		      struct error *err)
{
	if (list && list->is_file)
		return filter_pool_read(pool, list->name, ret, err);
	*ret = filter_list_ref(list);
	return 0;
}

static int read_service_again(struct filter_pool *pool, const struct config_service *service,
			      struct config_lists *ret, struct error *err)
{
	const char *key = "allow";
	struct error why;
	int rc = read_again(pool, service->lists.allow, &ret->allow, &why);

	if (!rc) {
		key = "deny";
		rc = read_again(pool, service->lists.deny, &ret->deny, &why);
	}
	if (!rc)
		rc = make_filter(pool, service, ret, &key, &why);
	return rc ? error_set(err, rc, "service %s: %s: %s", service->name, key, why.text) : 0;
}

int config_read_lists_again(const struct config *config, struct config_lists **ret,
			    struct error *err)
{
	struct filter_pool *pool = filter_pool_new();
	struct config_lists *all = calloc(config->services_count + 1, sizeof(*all));
	int rc = pool && all ? 0 : error_set(err, -ENOMEM, "out of memory");

	for (unsigned i = 0; !rc && i < config->services_count; i++)
		rc = read_service_again(pool, &config->services[i], &all[i], err);
	filter_pool_free(pool);
	if (!rc) {
		*ret = all;
		return 0;
	}
	config_lists_free(all, config->services_count);
	return rc;
}
