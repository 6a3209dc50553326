/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The rows of lbctl top's body: what the view and the filter admit. */
#ifndef LBCTL_TOP_ROWS_H
#define LBCTL_TOP_ROWS_H

#include "view.h"

enum top_row_kind { TOP_ROW_SERVICE, TOP_ROW_BACKEND, TOP_ROW_WHY, TOP_ROW_REASON, TOP_ROW_HELP };

struct top_row {
	enum top_row_kind kind;
	const struct top_service *service; /* also of a backend */
	const struct top_backend *backend; /* a reason for a service has none */
	const struct top_reason *reason;
	char *help; /* a line */
};

struct top_rows {
	struct top_row *rows;
	size_t count, room;
	bool failed; /* out of memory */
};

/* Services, backends or reasons. */
void rows_collect(struct top_rows *rows, const struct top_model *model,
		  const struct top_options *options);
/* Below each service and backend with a reason that does not fit the column (0: there is none), a
 * row for it. */
void rows_add_why(struct top_rows *rows, unsigned columns);
/* The help, in lines of this width. */
void rows_help(struct top_rows *rows, unsigned columns);
void rows_done(struct top_rows *rows);

/* Why the row's service or backend is not as it should be; "". */
const char *row_why(const struct top_row *row);

#endif
