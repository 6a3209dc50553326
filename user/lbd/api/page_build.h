/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Builds the JSON of the page in slices of the loop. Its fields are in docs/openapi.yaml. */
#ifndef LBD_PAGE_BUILD_H
#define LBD_PAGE_BUILD_H

#include "metrics_build.h"

struct page_build;

/* service: the name of the one whose backends are listed, copied; NULL: all services. made frees
 * the build, then or later. 0 or -ENOMEM. */
int page_build_new(struct event_base *base, const struct metrics_source *source,
		   const char *service, text_made_fn *made, void *arg, struct page_build **ret);
void page_build_free(struct page_build *build); /* ends it if it runs; NULL is fine */

#endif
