/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What one load of a config has read and made already: a file that many services name is read once,
 * and the filter of the same two lists is made once. */
#include "filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A filter, and the lists that it was made from; NULL: none. */
struct made {
	struct filter_list *allow, *deny;
	struct filter *filter;
};

struct filter_pool {
	struct filter_list **lists; /* files */
	struct made *made;
	size_t lists_count, made_count;
};

struct filter_pool *filter_pool_new(void)
{
	return calloc(1, sizeof(struct filter_pool));
}

void filter_pool_free(struct filter_pool *pool)
{
	if (!pool)
		return;
	for (size_t i = 0; i < pool->lists_count; i++)
		filter_list_unref(pool->lists[i]);
	for (size_t i = 0; i < pool->made_count; i++) {
		filter_list_unref(pool->made[i].allow);
		filter_list_unref(pool->made[i].deny);
		filter_unref(pool->made[i].filter);
	}
	free(pool->lists);
	free(pool->made);
	free(pool);
}

int filter_pool_read(struct filter_pool *pool, const char *path, struct filter_list **ret,
		     struct error *err)
{
	struct filter_list **lists, *list;
	int rc;

	for (size_t i = 0; i < pool->lists_count; i++)
		if (!strcmp(pool->lists[i]->name, path)) {
			*ret = filter_list_ref(pool->lists[i]);
			return 0;
		}
	lists = reallocarray(pool->lists, pool->lists_count + 1, sizeof(struct filter_list *));
	if (!lists)
		return error_set(err, -ENOMEM, "out of memory");
	pool->lists = lists;
	rc = filter_list_read(path, &list, err);
	if (rc)
		return rc;
	lists[pool->lists_count++] = list;
	*ret = filter_list_ref(list);
	return 0;
}

static int keep_made(struct filter_pool *pool, struct filter_list *allow, struct filter_list *deny,
		     struct filter *filter)
{
	struct made *made = reallocarray(pool->made, pool->made_count + 1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	pool->made = made;
	made[pool->made_count++] = (struct made){
	    .allow = filter_list_ref(allow),
	    .deny = filter_list_ref(deny),
	    .filter = filter_ref(filter),
	};
	return 0;
}

int filter_pool_make(struct filter_pool *pool, struct filter_list *allow, struct filter_list *deny,
		     struct filter **ret, struct error *err)
{
	struct filter *filter;
	int rc;

	for (size_t i = 0; i < pool->made_count; i++)
		if (pool->made[i].allow == allow && pool->made[i].deny == deny) {
			*ret = filter_ref(pool->made[i].filter);
			return 0;
		}
	rc = filter_new(allow, deny, &filter, err);
	if (rc)
		return rc;
	if (keep_made(pool, allow, deny, filter)) {
		filter_unref(filter);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = filter;
	return 0;
}
