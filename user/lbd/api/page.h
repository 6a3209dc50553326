/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The page of the metrics listener: one HTML file that is part of lbd, and the JSON that it asks
 * for. Read-only. */
#ifndef LBD_PAGE_H
#define LBD_PAGE_H

#include "metrics_build.h"

struct page;

/* source outlives the page. 0 or -ENOMEM. */
int page_new(struct event_base *base, const struct metrics_source *source, struct page **ret);
void page_free(struct page *page); /* NULL is fine. The face is gone */

/* GET /page */
void page_answer(struct page *page, struct face_call *call);
/* GET /page.json: of all services; with ?service=NAME the backends of one. */
void page_answer_data(struct page *page, struct face_call *call);

#endif
