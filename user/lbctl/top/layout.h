/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which columns lbctl top shows, and how wide: names are whole where the terminal has room, and
 * what matters least is left out first. */
#ifndef LBCTL_TOP_LAYOUT_H
#define LBCTL_TOP_LAYOUT_H

#include "rows.h"

enum top_field {
	TOP_FIELD_STATUS,
	TOP_FIELD_WEIGHT,
	TOP_FIELD_CHECK,
	TOP_FIELD_P95,
	TOP_FIELD_FAIL,
	TOP_FIELD_PACKETS,
	TOP_FIELD_BITS,
	TOP_FIELD_RETURNED_PACKETS, /* with services that are NAT */
	TOP_FIELD_RETURNED_BITS,
	TOP_FIELD_FLOWS,
	TOP_FIELD_ACTIVE,
	TOP_FIELD_WHY,
	TOP_FIELDS
};

struct top_layout {
	unsigned name;
	unsigned width[TOP_FIELDS]; /* 0: left out */
};

/* For services and backends. */
struct top_layout layout_of(const struct top_rows *rows, const struct top_options *options);
void layout_titles(const struct top_layout *layout, const struct top_options *options,
		   struct top_line *line);
void layout_row(const struct top_layout *layout, const struct top_options *options,
		const struct top_row *row, struct top_line *line);

/* The same for reasons. */
struct top_reasons_layout {
	unsigned name, outcome, rate, total, help; /* 0: left out */
};

struct top_reasons_layout reasons_layout_of(const struct top_rows *rows, unsigned columns);
void reasons_titles(const struct top_reasons_layout *layout, unsigned columns,
		    struct top_line *line);
void reasons_row(const struct top_reasons_layout *layout, const struct top_row *row,
		 struct top_line *line);

#endif
