/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The page and its data. Whoever looks at all services shares one snapshot; so do those who look at
 * the same service. Only so many services are looked at at a time: more would be more memory. */
#include "page.h"

#include <errno.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

#include "page_build.h"
#include "page_hashes.h"
#include "snapshot.h"

#define VIEWS_MAX 8 /* services that are looked at at the same time */
#define JSON_TYPE "application/json"
#define HTML_TYPE "text/html; charset=utf-8"

/* What the data may be used for: by nobody but the page that asks. */
#define DATA_FIELDS                           \
	"Cache-Control: no-store\r\n"         \
	"X-Content-Type-Options: nosniff\r\n" \
	"Cross-Origin-Resource-Policy: same-origin\r\n"

/* The page's own script and style sheet, by their hashes, its own listener, and nothing else. Texts
 * that become HTML are refused by the browser: the page makes nodes. */
#define PAGE_FIELDS                                                                        \
	DATA_FIELDS                                                                        \
	"Content-Security-Policy: default-src 'none'; script-src '" PAGE_SCRIPT_HASH       \
	"'; style-src '" PAGE_STYLE_HASH "'; connect-src 'self'; img-src data:; base-uri " \
	"'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "   \
	"'script'; trusted-types 'none'\r\n"                                               \
	"Cross-Origin-Opener-Policy: same-origin\r\n"                                      \
	"Referrer-Policy: no-referrer\r\n"                                                 \
	"X-Frame-Options: DENY\r\n"

_Static_assert(sizeof(PAGE_FIELDS) <= FACE_FIELDS_MAX, "the head of an answer has no room");

/* user/lbd/api/page.html, as it is, and a NUL. */
extern const char page_html[];
__asm__(".pushsection .rodata\n"
	".globl page_html\n"
	"page_html: .incbin \"user/lbd/api/page.html\"\n"
	".byte 0\n"
	".popsection\n");

struct view {
	struct page *page;
	char *service; /* NULL: all */
	struct snapshot *snapshot;
};

struct page {
	struct event_base *base;
	const struct metrics_source *source;
	struct text *html;
	struct view all, views[VIEWS_MAX]; /* of views those without a snapshot are free */
};

/* ---- views ---- */

static int begin_view(void *arg, struct snapshot *snapshot, void **ret)
{
	const struct view *view = arg;
	struct page_build *build = NULL;
	int rc = page_build_new(view->page->base, view->page->source, view->service, snapshot_made,
				snapshot, &build);

	*ret = build;
	return rc;
}

static void end_view(void *build)
{
	page_build_free(build);
}

static void view_done(struct view *view)
{
	snapshot_free(view->snapshot);
	free(view->service);
	*view = (struct view){0};
}

/* service: copied; NULL: all. 0 or -ENOMEM. */
static int view_start(struct page *page, const char *service, struct view *view)
{
	const struct snapshot_options options = {.base = page->base,
						 .type = JSON_TYPE,
						 .begin = begin_view,
						 .end = end_view,
						 .arg = view};

	*view = (struct view){.page = page, .service = service ? strdup(service) : NULL};
	if ((service && !view->service) || snapshot_new(&options, &view->snapshot)) {
		view_done(view);
		return -ENOMEM;
	}
	return 0;
}

/* That of the service, or one that is free or that nobody uses any more. NULL: all are in use. */
static struct view *view_find(struct page *page, const char *service)
{
	struct view *found = NULL;

	for (unsigned i = 0; i < VIEWS_MAX; i++) {
		struct view *view = &page->views[i];

		if (view->snapshot && !strcmp(view->service, service))
			return view;
		if (!view->snapshot || (!found && snapshot_is_idle(view->snapshot)))
			found = view;
	}
	return found;
}

static void answer_service(struct page *page, struct face_call *call, const char *service)
{
	struct view *view = view_find(page, service);

	if (!state_find_service(page->source->state, service)) {
		face_answer_line(call, 404, "service: no such service");
		return;
	}
	if (!view) {
		face_refuse(call, 503, FACE_REFUSED_answers, "too many services are looked at");
		return;
	}
	if (!view->snapshot || strcmp(view->service, service) != 0) {
		view_done(view);
		if (view_start(page, service, view)) {
			face_answer(call, 500, JSON_TYPE, NULL);
			return;
		}
	}
	snapshot_answer(view->snapshot, call);
}

/* ---- requests ---- */

void page_answer(struct page *page, struct face_call *call)
{
	face_fields(call, PAGE_FIELDS);
	face_answer(call, 200, HTML_TYPE, page->html);
}

/* One parameter, and only once. */
static bool read_query(const char *text, struct evkeyvalq *query, const char **ret_service)
{
	const struct evkeyval *first;

	if (evhttp_parse_query_str(text, query))
		return false;
	first = TAILQ_FIRST(query);
	if (first && (strcmp(first->key, "service") != 0 || TAILQ_NEXT(first, next)))
		return false;
	*ret_service = first ? first->value : NULL;
	return true;
}

void page_answer_data(struct page *page, struct face_call *call)
{
	const char *text = strchr(face_request(call)->target, '?'), *service = NULL;
	struct evkeyvalq query = {0};

	face_fields(call, DATA_FIELDS);
	if (!read_query(text ? text + 1 : "", &query, &service))
		face_answer_line(call, 400, "query: expected service=NAME, or nothing");
	else if (service)
		answer_service(page, call, service);
	else
		snapshot_answer(page->all.snapshot, call);
	evhttp_clear_headers(&query);
}

/* ---- start and stop ---- */

int page_new(struct event_base *base, const struct metrics_source *source, struct page **ret)
{
	struct page *page = calloc(1, sizeof(*page));

	if (!page)
		return -ENOMEM;
	page->base = base;
	page->source = source;
	page->html = text_new();
	if (page->html)
		text_add_string(page->html, page_html);
	if (!page->html || page->html->failed || view_start(page, NULL, &page->all)) {
		page_free(page);
		return -ENOMEM;
	}
	*ret = page;
	return 0;
}

void page_free(struct page *page)
{
	if (!page)
		return;
	if (page->all.snapshot)
		view_done(&page->all);
	for (unsigned i = 0; i < VIEWS_MAX; i++)
		if (page->views[i].snapshot)
			view_done(&page->views[i]);
	text_unref(page->html);
	free(page);
}
