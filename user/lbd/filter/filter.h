/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which clients a service admits: lists of prefixes as they are written (`allow`, `deny`), and the
 * filter that they make, in the form that the XDP program searches. */
#ifndef LBD_FILTER_H
#define LBD_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb_abi.h"
#include "common/addr.h"
#include "common/error.h"

/* ---- lists: list.c ---- */

#define FILTER_LIST_MAX 1000000 /* prefixes of one list */

struct filter_prefix {
	struct addr address;
	uint8_t length; /* bits */
	uint32_t line;  /* where it is written, from 1 */
};

/* Shared by the services that name the same list: counted references. */
struct filter_list {
	unsigned refs;
	bool is_file; /* `file: PATH`: can be read again */
	char *name;   /* of the file it is written in: PATH, or the config */
	struct filter_prefix *prefixes;
	uint32_t count;
	uint32_t counts[2]; /* of IPv4 and IPv6 prefixes */
	uint32_t room;
};

/* An empty list with one reference; NULL: out of memory. */
struct filter_list *filter_list_new(const char *name, bool is_file);
struct filter_list *filter_list_ref(struct filter_list *list); /* NULL is fine */
void filter_list_unref(struct filter_list *list);              /* NULL is fine */
/* Prefixes; NULL: 0. */
static inline uint32_t filter_list_count(const struct filter_list *list)
{
	return list ? list->count : 0;
}
/* Adds a prefix or an address. 0; -EINVAL: err has "VALUE: what was expected"; -E2BIG: the list is
 * too long, err likewise; -ENOMEM. */
int filter_list_add(struct filter_list *list, const char *text, uint32_t line, struct error *err);
/* Reads a file: a prefix or an address per line, comments from # on. 0 or -errno with "PATH:LINE:
 * VALUE: what was expected" in err. */
int filter_list_read(const char *path, struct filter_list **ret, struct error *err);
/* Parses ADDRESS or ADDRESS/LENGTH. 0, or -EINVAL with "VALUE: what was expected" in err. */
int filter_prefix_parse(const char *text, struct filter_prefix *ret, struct error *err);

/* ---- filters: filter.c ---- */

/* Immutable, with counted references. The verdicts change at each bound, see lb_abi.h, filters. */
struct filter {
	unsigned refs;
	uint64_t digest;       /* of all that follows */
	bool denies4, denies6; /* addresses below the first bound */
	uint32_t count4, count6;
	uint32_t *bounds4; /* host order, ascending */
	struct lb_filter_bound *bounds6;
};

/* The filter of two lists; NULL: the service has no such list. The longest prefix that matches
 * decides; what matches none is denied if there is an allow list, else allowed. 0; -EEXIST: a
 * prefix is in both lists, err names it and both places; -ENOMEM. */
int filter_new(const struct filter_list *allow, const struct filter_list *deny, struct filter **ret,
	       struct error *err);
struct filter *filter_ref(struct filter *filter); /* NULL is fine */
void filter_unref(struct filter *filter);         /* NULL is fine */
/* Do both give the same verdict for every address? NULL: allows all. */
bool filter_equal(const struct filter *a, const struct filter *b);

/* ---- what one load has read and made: pool.c ---- */

struct filter_pool;

struct filter_pool *filter_pool_new(void);       /* NULL: out of memory */
void filter_pool_free(struct filter_pool *pool); /* NULL is fine */
/* As filter_list_read and filter_new, but once for the same path and the same two lists. *ret has a
 * reference of its own. */
int filter_pool_read(struct filter_pool *pool, const char *path, struct filter_list **ret,
		     struct error *err);
int filter_pool_make(struct filter_pool *pool, struct filter_list *allow, struct filter_list *deny,
		     struct filter **ret, struct error *err);

#endif
