/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which services and backends of an answer are shown, and in which order. */
#ifndef LBCTL_LIST_SELECT_H
#define LBCTL_LIST_SELECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct selection {
	bool down;          /* only those that are down */
	const char *filter; /* NULL: all; else as in match_words */
	const char *sort;   /* NULL: in the order of the config; else a word of the choices below */
};

/* for the tables of options */
#define SELECT_BACKEND_SORTS "flows|packets|bytes|active|name|latency|weight"
#define SELECT_SERVICE_SORTS "flows|packets|bytes|name|status"

/* A new array for those of the answer that are selected; NULL: out of memory. Numbers descend,
 * names ascend, with numbers in them by value (s2, s10), and what is equal keeps its order. */
json_t *select_backends(const json_t *backends, const struct selection *selection);
json_t *select_services(const json_t *services, const struct selection *selection);

/* The worst condition or status has the lowest rank. */
int select_rank(const char *condition);

#endif
