/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Aligned tables. */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GAP       2
#define NARROWEST 6 /* columns left of a shrunk column */

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

/* Shrinks the widest column that may shrink, by one at a time, until the row fits or none can
 * shrink further. */
static void fit(const struct table *table, unsigned widths[TABLE_COLUMNS], unsigned columns)
{
	unsigned total = GAP * (table->columns_count - 1);

	for (unsigned c = 0; c < table->columns_count; c++)
		total += widths[c];
	while (columns && total > columns) {
		int widest = -1;

		for (unsigned c = 0; c < table->columns_count; c++)
			if (table->columns[c].shrinks && widths[c] > NARROWEST &&
			    (widest < 0 || widths[c] > widths[widest]))
				widest = (int)c;
		if (widest < 0)
			return;
		widths[widest]--;
		total--;
	}
}

/* The last cell of a row is not padded, so that no line ends with spaces. */
static void put_cell(FILE *out, const char *text, unsigned width, bool right, bool last)
{
	unsigned needed = text_width(text);
	bool cut = needed > width;
	size_t head = cut ? text_head(text, width - 1) : strlen(text);
	int padding = cut ? 0 : (int)(width - needed);

	if (right)
		fprintf(out, "%*s", padding, "");
	text_put_bytes(out, text, head);
	if (cut)
		putc('~', out);
	if (!right && !last)
		fprintf(out, "%*s", padding, "");
	if (!last)
		fprintf(out, "%*s", GAP, "");
}

int table_print(const struct table *table, FILE *out, unsigned columns, bool coloured)
{
	unsigned widths[TABLE_COLUMNS] = {0};

	if (!table || table->failed)
		return -ENOMEM;
	natural_widths(table, widths);
	fit(table, widths, columns);
	fputs(format_escape(TONE_BOLD, coloured), out);
	for (unsigned c = 0; c < table->columns_count; c++)
		put_cell(out, table->columns[c].title, widths[c], table->columns[c].right,
			 c + 1 == table->columns_count);
	fprintf(out, "%s\n", format_escape(TONE_PLAIN, coloured));
	for (size_t i = 0; i < table->cells_count; i++) {
		const struct cell *cell = &table->cells[i];
		unsigned c = (unsigned)(i % table->columns_count);
		bool toned = cell->tone != TONE_PLAIN, last = c + 1 == table->columns_count;

		fputs(format_escape(cell->tone, coloured && toned), out);
		put_cell(out, cell->text, widths[c], table->columns[c].right, last);
		fputs(format_escape(TONE_PLAIN, coloured && toned), out);
		if (last)
			putc('\n', out);
	}
	return 0;
}
