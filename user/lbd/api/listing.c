/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The answers that list services or backends, built item by item in slices of the loop: with ten
 * thousand backends they take a tenth of a second in all. Calls for the same list that come before
 * it is begun share it. If services or backends are added or removed meanwhile, it begins again. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/match.h"
#include "common/text.h"
#include "json_text.h"
#include "lbd/host/host.h"

#define RESTARTS_MAX 3    /* then the list is built without a pause */
#define ROOM_WAIT_MS 50   /* until it is tried again */
#define TAKEN_MS     500  /* until it is looked whether answers were taken */
#define CUT_MS       2000 /* an answer that was not taken in this time gives way to a new one */

enum phase { HEAD, SERVICES, BACKENDS, TAIL, END };

struct listing {
	TAILQ_ENTRY(listing) link;
	struct api *api;
	enum api_list list;
	char *service, *filter; /* NULL: all */
	bool down;
	uint64_t fields;
	struct face_waiters waiters;
	struct loop_work *work;
	struct text *text; /* NULL: not begun */
	uint64_t generation;
	unsigned restarts;
	enum phase phase;
	unsigned service_at, backend_at; /* the next item */
	bool comma;                      /* before the next item */
};

/* Those that wait for it to end are tried at once. */
static void listing_free(struct listing *listing)
{
	struct listing *other;

	TAILQ_REMOVE(&listing->api->listings, listing, link);
	for (other = TAILQ_FIRST(&listing->api->listings); other; other = TAILQ_NEXT(other, link))
		if (!other->text)
			loop_work_start(other->work, 0);
	loop_work_free(listing->work);
	text_unref(listing->text);
	free(listing->service);
	free(listing->filter);
	free(listing);
}

static bool same_list(const struct listing *listing, enum api_list list,
		      const struct list_query *query)
{
	return listing->list == list && listing->down == query->down &&
	       listing->fields == query->fields && same_text(listing->service, query->service) &&
	       same_text(listing->filter, query->filter);
}

/* ---- items ---- */

static void add_item(struct listing *listing, json_t *item)
{
	if (listing->comma)
		text_add(listing->text, ",", 1);
	listing->comma = true;
	text_add_json(listing->text, item);
}

static void add_head(struct listing *listing)
{
	struct text *text = listing->text;

	text_add(text, "{", 1);
	if (listing->list == API_LIST_TOP) {
		text_printf(
		    text, "\"time_ms\":%llu,\"status\":", (unsigned long long)clock_monotonic_ms());
		text_add_json(text, api_status_json(listing->api));
		text_add(text, ",", 1);
	}
	if (listing->list == API_LIST_BACKENDS) {
		text_add_string(text, "\"backends\":[");
		listing->phase = BACKENDS;
	} else {
		text_add_string(text, "\"services\":[");
		listing->phase = SERVICES;
	}
}

static void add_tail(struct listing *listing)
{
	struct lb_reason_count counts[LB_COUNTERS];
	struct text *text = listing->text;

	if (listing->list == API_LIST_TOP) {
		dataplane_reason_counts(listing->api->dp, counts);
		text_add_string(text, ",\"reasons\":");
		text_add_json(text, api_reasons_json(counts));
		text_add_string(text, ",\"events\":");
		text_add_json(text, api_events_json(counts));
	}
	text_add_string(text, "}\n");
	listing->phase = END;
}

static void add_service(struct listing *listing)
{
	unsigned count;
	struct service *const *services = state_services(listing->api->state, &count);

	if (listing->service_at < count) {
		add_item(listing, api_service_json(listing->api, services[listing->service_at++]));
		return;
	}
	listing->comma = false;
	listing->service_at = 0;
	listing->phase = listing->list == API_LIST_TOP ? BACKENDS : TAIL;
	text_add_string(listing->text, listing->list == API_LIST_TOP ? "],\"backends\":[" : "]");
}

/* NULL: past the last service. */
static const struct service *service_now(const struct listing *listing)
{
	unsigned count;
	struct service *const *services = state_services(listing->api->state, &count);

	if (listing->service)
		return listing->service_at
			   ? NULL
			   : state_find_service(listing->api->state, listing->service);
	return listing->service_at < count ? services[listing->service_at] : NULL;
}

bool api_is_down(const struct backend *backend)
{
	return backend->condition == BACKEND_DOWN || backend->condition == BACKEND_NO_NEXT_HOP;
}

static void add_if_wanted(struct listing *listing, const struct backend *backend)
{
	uint64_t fields = listing->fields;
	json_t *item;

	if (listing->down && !api_is_down(backend))
		return;
	if (listing->filter && fields != API_ALL_FIELDS)
		fields |= api_matched_fields;
	item = api_backend_json(listing->api, backend, fields);
	if (item && listing->filter && !match_backend(listing->filter, item)) {
		json_decref(item);
		return;
	}
	if (fields != listing->fields)
		api_backend_keep(item, listing->fields);
	add_item(listing, item);
}

static void add_backend(struct listing *listing)
{
	const struct service *service = service_now(listing);

	if (service && listing->backend_at < service->backends_count) {
		add_if_wanted(listing, service->backends[listing->backend_at++]);
	} else if (service) {
		listing->service_at++;
		listing->backend_at = 0;
	} else {
		text_add(listing->text, "]", 1);
		listing->phase = TAIL;
	}
}

static void add_next(struct listing *listing)
{
	switch (listing->phase) {
	case HEAD:
		add_head(listing);
		break;
	case SERVICES:
		add_service(listing);
		break;
	case BACKENDS:
		add_backend(listing);
		break;
	case TAIL:
		add_tail(listing);
		break;
	case END:
		break;
	}
}

/* ---- memory: the large answers that are still being taken ---- */

/* A place for one more, NULL if there is none. */
static struct text **find_place(struct api *api)
{
	struct text **place = NULL;

	for (unsigned i = 0; i < API_TEXTS_MAX; i++) {
		if (api->texts[i] && api->texts[i]->refs == 1) {
			text_unref(api->texts[i]);
			api->texts[i] = NULL;
		}
		if (!api->texts[i])
			place = &api->texts[i];
	}
	return place;
}

static bool has_room(struct api *api)
{
	const struct api_door *const doors[] = {&api->local, &api->remote};

	if (find_place(api))
		return true;
	for (unsigned i = 0; i < API_TEXTS_MAX; i++)
		for (unsigned j = 0; j < sizeof(doors) / sizeof(doors[0]); j++)
			if (doors[j]->face)
				face_cut(doors[j]->face, api->texts[i], CUT_MS);
	return find_place(api);
}

static bool is_any_kept(const struct api *api)
{
	for (unsigned i = 0; i < API_TEXTS_MAX; i++)
		if (api->texts[i])
			return true;
	return false;
}

static void look_soon(struct api *api)
{
	const struct timeval soon = clock_span_ms(TAKEN_MS);

	event_add(api->texts_taken, &soon);
}

/* Those that were taken are freed, also if no other one follows. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct api *api = arg;

	find_place(api);
	if (is_any_kept(api))
		look_soon(api);
}

static void keep_in_mind(struct api *api, struct text *text)
{
	struct text **place = text->length >= TEXT_LARGE ? find_place(api) : NULL;

	if (!place)
		return;
	*place = text_ref(text);
	look_soon(api);
}

/* ---- building ---- */

static bool may_begin(const struct listing *listing)
{
	const struct list_query query = {listing->service, listing->filter, listing->down,
					 listing->fields};
	const struct listing *other;

	for (other = TAILQ_FIRST(&listing->api->listings); other; other = TAILQ_NEXT(other, link))
		if (other->text && same_list(other, listing->list, &query))
			return false;
	return has_room(listing->api);
}

static bool begin(struct listing *listing)
{
	text_unref(listing->text);
	listing->text = text_new();
	listing->generation = state_generation(listing->api->state);
	listing->phase = HEAD;
	listing->service_at = listing->backend_at = 0;
	listing->comma = false;
	return listing->text;
}

/* The listing is gone afterwards. */
static bool end(struct listing *listing, int code, const char *sentence)
{
	struct face_call *call;

	if (!code)
		keep_in_mind(listing->api, listing->text);
	while ((call = TAILQ_FIRST(&listing->waiters))) {
		if (code)
			api_answer_failure(call, code, sentence);
		else
			face_answer(call, 200, API_TYPE, listing->text);
	}
	listing_free(listing);
	return false;
}

/* False: the service that was asked for is gone. */
static bool still_there(const struct listing *listing)
{
	return !listing->service || state_find_service(listing->api->state, listing->service);
}

static bool on_step(void *arg)
{
	struct listing *listing = arg;

	if (TAILQ_EMPTY(&listing->waiters))
		return end(listing, -ECANCELED, "");
	if (!listing->text && !may_begin(listing)) {
		loop_work_start(listing->work, ROOM_WAIT_MS);
		return false;
	}
	if (!listing->text || listing->generation != state_generation(listing->api->state)) {
		listing->restarts += !!listing->text;
		if (!still_there(listing))
			return end(listing, -ENOENT, "the service was removed meanwhile");
		if (!begin(listing))
			return end(listing, -ENOMEM, "out of memory");
	}
	do
		add_next(listing);
	while (listing->restarts > RESTARTS_MAX && listing->phase != END);
	if (listing->text->failed)
		return end(listing, -ENOMEM, "out of memory");
	return listing->phase != END || end(listing, 0, "");
}

static bool copy_query(struct listing *listing, const struct list_query *query)
{
	bool failed = false;

	listing->down = query->down;
	listing->fields = query->fields;
	listing->service = copy_text(query->service, &failed);
	listing->filter = copy_text(query->filter, &failed);
	return !failed;
}

static struct listing *listing_new(struct api *api, enum api_list list,
				   const struct list_query *query)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	if (!listing)
		return NULL;
	listing->api = api;
	listing->list = list;
	TAILQ_INIT(&listing->waiters);
	TAILQ_INSERT_TAIL(&api->listings, listing, link);
	listing->work = loop_work_new(api->base, LOOP_BULK, on_step, listing);
	if (!listing->work || !copy_query(listing, query)) {
		listing_free(listing);
		return NULL;
	}
	loop_work_start(listing->work, 0);
	return listing;
}

void listing_join(struct api *api, enum api_list list, const struct list_query *query,
		  struct face_call *call)
{
	struct listing *listing;

	for (listing = TAILQ_FIRST(&api->listings); listing; listing = TAILQ_NEXT(listing, link))
		if (!listing->text && same_list(listing, list, query))
			break;
	if (!listing)
		listing = listing_new(api, list, query);
	if (listing)
		face_wait(call, &listing->waiters);
	else
		api_answer_failure(call, -ENOMEM, "out of memory");
}

int listings_init(struct api *api)
{
	TAILQ_INIT(&api->listings);
	api->texts_taken = evtimer_new(api->base, on_look, api);
	return api->texts_taken ? 0 : -ENOMEM;
}

void listings_done(struct api *api)
{
	struct listing *listing;

	if (api->texts_taken)
		event_free(api->texts_taken);
	while ((listing = TAILQ_FIRST(&api->listings))) /* none before listings_init, too */
		listing_free(listing);
	for (unsigned i = 0; i < API_TEXTS_MAX; i++)
		text_unref(api->texts[i]);
}
