/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Aligned tables. */
#include "table.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define GAP       2
#define NARROWEST 6  /* columns left of a shrunk column */
#define WHOLE     20 /* a name up to this width is shown whole before other columns are */

struct cell {
	char *text;
	enum tone tone;
};

struct table {
	const struct table_column *columns;
	unsigned columns_count;
	struct cell *cells;
	size_t cells_count, cells_room;
	bool failed;
};

struct table *table_new(const struct table_column *columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = columns;
	while (table->columns_count < TABLE_COLUMNS && columns[table->columns_count].title)
		table->columns_count++;
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->cells_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table);
}

void table_add(struct table *table, enum tone tone, const char *text)
{
	if (!table || table->failed)
		return;
	if (table->cells_count == table->cells_room) {
		size_t room = table->cells_room ? table->cells_room * 2 : 64;
		struct cell *grown = realloc(table->cells, room * sizeof(*grown));

		table->failed = !grown;
		if (!grown)
			return;
		table->cells = grown;
		table->cells_room = room;
	}
	table->cells[table->cells_count] = (struct cell){strdup(text), tone};
	table->failed = !table->cells[table->cells_count].text;
	table->cells_count += !table->failed;
}

/* The columns that are shown, and their widths. */
struct fit {
	bool shown[TABLE_COLUMNS];
	unsigned widths[TABLE_COLUMNS];
	unsigned last; /* column shown */
};

static void natural_widths(const struct table *table, unsigned widths[TABLE_COLUMNS])
{
	for (unsigned c = 0; c < table->columns_count; c++)
		widths[c] = text_width(table->columns[c].title);
	for (size_t i = 0; i < table->cells_count; i++) {
		unsigned *width = &widths[i % table->columns_count],
			 needed = text_width(table->cells[i].text);

		if (needed > *width)
			*width = needed;
	}
}

/* Width of a row; of a name no more than `most`. */
static unsigned row_width(const struct table *table, const struct fit *fit, unsigned most)
{
	unsigned total = 0;

	for (unsigned c = 0; c < table->columns_count; c++) {
		if (!fit->shown[c])
			continue;
		total += (total ? GAP : 0);
		total += table->columns[c].shrinks && fit->widths[c] > most ? most : fit->widths[c];
	}
	return total;
}

/* Leaves out columns that may be, until names have room. */
static void leave_out(const struct table *table, struct fit *fit, unsigned columns)
{
	while (row_width(table, fit, WHOLE) > columns) {
		int least = -1;

		for (unsigned c = 0; c < table->columns_count; c++)
			if (fit->shown[c] && table->columns[c].spare &&
			    (least < 0 || table->columns[c].spare > table->columns[least].spare))
				least = (int)c;
		if (least < 0)
			return;
		fit->shown[least] = false;
	}
}

/* Shrinks the widest column that may shrink, by one at a time, until the row fits or none can
 * shrink further. */
static void shrink(const struct table *table, struct fit *fit, unsigned columns)
{
	while (row_width(table, fit, UINT_MAX) > columns) {
		int widest = -1;

		for (unsigned c = 0; c < table->columns_count; c++)
			if (fit->shown[c] && table->columns[c].shrinks &&
			    fit->widths[c] > NARROWEST &&
			    (widest < 0 || fit->widths[c] > fit->widths[widest]))
				widest = (int)c;
		if (widest < 0)
			return;
		fit->widths[widest]--;
	}
}

/* columns 0: all is shown. */
static void fit_into(const struct table *table, unsigned columns, struct fit *ret)
{
	*ret = (struct fit){0};
	natural_widths(table, ret->widths);
	for (unsigned c = 0; c < table->columns_count; c++)
		ret->shown[c] = true;
	if (columns) {
		leave_out(table, ret, columns);
		shrink(table, ret, columns);
	}
	for (unsigned c = 0; c < table->columns_count; c++)
		if (ret->shown[c])
			ret->last = c;
}

/* The last cell of a row is not padded, so that no line ends with spaces. */
static void put_cell(FILE *out, const char *text, unsigned width, bool right, bool last)
{
	unsigned needed = text_width(text);
	int padding = needed > width ? 0 : (int)(width - needed);
	char cut[256];

	if (right)
		fprintf(out, "%*s", padding, "");
	text_put(out, needed > width ? text_fit(text, width, CUT_MIDDLE, cut, sizeof(cut)) : text);
	if (!right && !last)
		fprintf(out, "%*s", padding, "");
	if (!last)
		fprintf(out, "%*s", GAP, "");
}

int table_print(const struct table *table, FILE *out, unsigned columns, bool coloured)
{
	struct fit fit;

	if (!table || table->failed)
		return -ENOMEM;
	fit_into(table, columns, &fit);
	fputs(format_escape(TONE_BOLD, coloured), out);
	for (unsigned c = 0; c < table->columns_count; c++)
		if (fit.shown[c])
			put_cell(out, table->columns[c].title, fit.widths[c],
				 table->columns[c].right, c == fit.last);
	fprintf(out, "%s\n", format_escape(TONE_PLAIN, coloured));
	for (size_t i = 0; i < table->cells_count; i++) {
		const struct cell *cell = &table->cells[i];
		unsigned c = (unsigned)(i % table->columns_count);
		bool toned = coloured && cell->tone != TONE_PLAIN;

		if (!fit.shown[c])
			continue;
		fputs(format_escape(cell->tone, toned), out);
		put_cell(out, cell->text, fit.widths[c], table->columns[c].right, c == fit.last);
		fputs(format_escape(TONE_PLAIN, toned), out);
		if (c == fit.last)
			putc('\n', out);
	}
	return 0;
}
