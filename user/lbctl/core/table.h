/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Aligned tables. */
#ifndef LBCTL_TABLE_H
#define LBCTL_TABLE_H

#include "format.h"

#define TABLE_COLUMNS 24

struct table_column {
	const char *title; /* NULL ends the list */
	bool right;        /* numbers */
	bool shrinks;      /* cells are cut if the terminal is too narrow for the row */
	unsigned spare;    /* left out on a narrow terminal, the highest first; 0: never */
};

struct table;

/* NULL if out of memory. The calls below accept NULL; table_print then returns -ENOMEM. */
struct table *table_new(const struct table_column *columns);
void table_free(struct table *table);
/* The next cell, row by row. text is copied. */
void table_add(struct table *table, enum tone tone, const char *text);
/* Prints titles and rows, cut to `columns` (0: full width). Names are cut in the middle. 0 or
 * -ENOMEM. */
int table_print(const struct table *table, FILE *out, unsigned columns, bool coloured);

#endif
