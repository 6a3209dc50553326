/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A verb that lists what lbd has: once or again and again (--watch), all or a selection, as a table
 * or as JSON. */
#ifndef LBCTL_LIST_LIST_H
#define LBCTL_LIST_LIST_H

#include <stdio.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/table.h"
#include "select.h"

/* How a table is printed. */
struct list_style {
	FILE *out;
	unsigned columns;     /* 0: no limit */
	bool coloured, exact; /* exact: counts with all their digits */
	const char *sort;     /* the word given with --sort, or NULL */
	const json_t *answer; /* all of it, with the selected objects alone */
};

struct list {
	const char *field;    /* the array in the answer: "backends" */
	const char *none;     /* the line that is printed if it is empty, */
	const char *no_match; /* and if --down or --filter leave nothing of it */
	int (*get)(struct call *call, json_t **ret, struct error *err);
	json_t *(*select)(const json_t *array, const struct selection *selection);
	/* It is not empty. 0 or -ENOMEM. */
	int (*print)(const json_t *array, const struct list_style *style);
};

/* The options of such a verb, but for --sort, whose words differ. */
#define LIST_OPTIONS(what)                                                                       \
	{.name = "--filter",                                                                     \
	 .value = "TEXT",                                                                        \
	 .help =                                                                                 \
	     "only " what " in which each word of TEXT occurs: in a name, an address, a label, " \
	     "the condition or the reason"},                                                     \
	    {.name = "--exact", .help = "counts with all their digits"},                         \
	{                                                                                        \
		.name = "--watch", .value = "TIME", .may_stand = is_duration,                    \
		.help = "show it again and again, every TIME (100ms to 1h, default 2s), "        \
			"until Ctrl-C; with --json one line each time. A service whose name is " \
			"a number comes before it"                                               \
	}

int list_run(struct call *call, const struct list *list, struct error *err);

/* A list of backends, of one service or of all. ask: calls list_get_backends. */
int list_run_backends(struct call *call,
		      int (*ask)(struct call *call, json_t **ret, struct error *err),
		      int (*print_list)(const json_t *backends, const struct list_style *style),
		      struct error *err);
/* What the choice and the order of backends go by: fields that each list of them asks for. */
#define LIST_BACKEND_FIELDS \
	"service,address,name,port,labels,zone,condition,why,weight,active,flows,packets,bytes,latency_us"
/* Those that the call's words ask for. fields: all that the table is made of; JSON has all. */
int list_get_backends(struct call *call, const char *fields, json_t **ret, struct error *err);

/* The argument and the options of such a verb. */
#define LIST_BACKENDS_ARGUMENT OPTIONAL("SERVICE", WORDS_SERVICE)
#define LIST_BACKENDS_OPTIONS                                                            \
	{.name = "--down", .help = "only backends that are down or have no next hop"},   \
	    {.name = "--sort",                                                           \
	     .choice = SELECT_BACKEND_SORTS,                                             \
	     .help = "by name, or the largest number first; default: as in the config"}, \
	    LIST_OPTIONS("backends")

/* A column of such a list's table. */
struct list_column {
	struct table_column column;
	const char *sort; /* the word of --sort for its numbers, or NULL */
};

#define LIST_COLUMNS_FIT(columns) \
	_Static_assert(sizeof(columns) / sizeof((columns)[0]) <= TABLE_COLUMNS + 1, "TABLE_COLUMNS")

/* A table with a row for each object; the column that the rows are sorted by is not left out.
 * columns: TABLE_COLUMNS at most, ended by one without a title. 0 or -ENOMEM. */
int list_table(const json_t *array, const struct list_column *columns,
	       void (*add)(struct table *table, const json_t *object,
			   const struct list_style *style),
	       const struct list_style *style);

/* Cells of the p50_us, p95_us and p99_us that an object has. */
void list_add_quantiles(struct table *table, const json_t *object);

/* A sentence below the table, in the width of the terminal. */
void list_put_sentence(const struct list_style *style, enum tone tone, const char *text);

/* A count as the style has it. */
const char *list_count(const struct list_style *style, uint64_t count, char text[FORMAT_TEXT]);

#endif
