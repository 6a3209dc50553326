/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Aligned tables. */
#ifndef LBCTL_TABLE_H
#define LBCTL_TABLE_H

#include "format.h"

#define TABLE_COLUMNS 12

struct table_column {
	const char *title; /* NULL ends the list */
	bool right;        /* numbers */
	bool shrinks;      /* is cut when the terminal is too narrow for the whole row */
};

struct table;

/* NULL when out of memory; so are the calls below then: table_print says so. */
struct table *table_new(const struct table_column *columns);
void table_free(struct table *table);
/* The next cell, row by row. text is copied. */
void table_add(struct table *table, enum tone tone, const char *text);
/* Prints titles and rows; cut to `columns` (0: as wide as it needs). 0 or -ENOMEM. */
int table_print(const struct table *table, FILE *out, unsigned columns, bool coloured);

#endif
