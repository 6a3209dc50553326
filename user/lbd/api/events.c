/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GET /v1/events: the events that are kept, a page at a time. A client that has seen all of them
 * may wait for the next one: its call is held, and answered when one comes or its time is over. So
 * an answer is never longer than a page, a slow reader is cut as any other, and who comes again
 * goes on where it was. */
#include "internal.h"

#include <errno.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "lbd/events/events.h"

#define PAGE_BYTES     49152 /* fits the socket's buffer: it does not stay in lbd's memory */
#define WAIT_MAX_S     15    /* less than the time that an answer may take, see docs/faces.md */
#define SINCE_MAX_S    (365LL * 24 * 3600)
#define FOLLOWERS_PART 4 /* of the connections at most this part waits for events */

/* What a call asks for. */
struct wanted {
	uint64_t after;    /* seq */
	uint64_t since_ms; /* CLOCK_REALTIME; 0: all */
	char *service;     /* NULL: of all */
	unsigned wait_s;
};

/* A call that waits. */
struct follower {
	TAILQ_ENTRY(follower) link;
	struct api_door *door;
	struct wanted wanted;
	struct face_waiters waiters; /* the call, unless it is gone */
	struct event *over;          /* its time */
};

/* ---- the query ---- */

static int read_count(const struct evkeyvalq *query, const char *name, uint64_t max, uint64_t *ret,
		      struct error *err)
{
	const char *text = evhttp_find_header(query, name);
	char *end;
	unsigned long long value;

	if (!text)
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value > max)
		return error_set(err, -EINVAL,
				 "%s: expected an integer 0 to %" PRIu64 ", got %.32s", name, max,
				 text);
	*ret = value;
	return 0;
}

static int check_names(const struct evkeyvalq *query, struct error *err)
{
	static const char *const names[] = {"after", "since_s", "service", "wait_s"};
	const struct evkeyval *item;

	TAILQ_FOREACH(item, query, next)
	{
		bool known = false;

		for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			known |= !strcmp(item->key, names[i]);
		if (!known)
			return error_set(err, -EINVAL,
					 "%.64s: unknown: expected after, since_s, "
					 "service or wait_s",
					 item->key);
	}
	return 0;
}

/* A service that is gone has events all the same. */
static int read_wanted(const struct evkeyvalq *query, struct wanted *ret, struct error *err)
{
	const char *service = evhttp_find_header(query, "service");
	uint64_t after = 0, since_s = UINT64_MAX, wait_s = 0, now_ms = clock_wall_ms();
	int rc;

	if ((rc = check_names(query, err)) ||
	    (rc = read_count(query, "after", INT64_MAX, &after, err)) ||
	    (rc = read_count(query, "since_s", SINCE_MAX_S, &since_s, err)) ||
	    (rc = read_count(query, "wait_s", WAIT_MAX_S, &wait_s, err)))
		return rc;
	*ret = (struct wanted){.after = after, .wait_s = (unsigned)wait_s};
	if (since_s != UINT64_MAX && since_s * 1000 < now_ms) /* else all: the clock is not set */
		ret->since_ms = now_ms - since_s * 1000;
	if (service && !(ret->service = strdup(service)))
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* ---- a page ---- */

struct page {
	struct text *text;
	unsigned count;
	uint64_t next; /* seq of the last one that was looked at */
	bool more;
};

static bool is_wanted(const struct wanted *wanted, const struct event_record *record)
{
	return record->wall_ms >= wanted->since_ms &&
	       (!wanted->service || (record->service && !strcmp(record->service, wanted->service)));
}

/* False: out of memory. */
static bool page_make(const struct wanted *wanted, struct page *ret)
{
	struct page page = {.text = text_new(), .next = wanted->after};
	bool missed = events_missed(wanted->after);
	struct event_record record;

	if (!page.text)
		return false;
	text_add_string(page.text, "{\"events\":[");
	while (!page.more && events_next(page.next, &record)) {
		if (is_wanted(wanted, &record)) {
			page.more = page.count && page.text->length + record.length > PAGE_BYTES;
			if (page.more)
				break;
			text_add_string(page.text, page.count++ ? "," : "");
			text_add(page.text, record.json, record.length);
		}
		page.next = record.seq;
	}
	/* a number of an lbd whose events are lost is followed by none: it is replaced */
	if (page.next > events_last())
		page.next = events_last();
	text_printf(page.text, "],\"next\":%" PRIu64 ",\"more\":%s,\"missed\":%s}\n", page.next,
		    page.more ? "true" : "false", missed ? "true" : "false");
	*ret = page;
	return true;
}

/* Answers with a page, unless it is empty and the call can wait. False: it waits on. */
static bool answer_page(struct wanted *wanted, struct face_call *call, bool may_wait)
{
	struct page page;

	if (!page_make(wanted, &page)) {
		face_answer(call, 500, API_TYPE, NULL);
		return true;
	}
	if (page.count || !may_wait)
		face_answer(call, 200, API_TYPE, page.text);
	wanted->after = page.next;
	text_unref(page.text);
	return page.count || !may_wait;
}

/* ---- those that wait ---- */

static void follower_free(struct follower *follower)
{
	TAILQ_REMOVE(&follower->door->api->followers, follower, link);
	follower->door->followers--;
	if (follower->over)
		event_free(follower->over);
	free(follower->wanted.service);
	free(follower);
}

static void serve(struct follower *follower, bool may_wait)
{
	struct face_call *call = TAILQ_FIRST(&follower->waiters);

	if (!call || answer_page(&follower->wanted, call, may_wait))
		follower_free(follower);
}

static void on_over(evutil_socket_t fd, short what, void *arg)
{
	serve(arg, false);
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
	struct api *api = arg;
	struct follower *follower, *next;

	for (follower = TAILQ_FIRST(&api->followers); follower; follower = next) {
		next = TAILQ_NEXT(follower, link);
		serve(follower, true);
	}
}

/* In the next turn of the loop: an event may be logged in the midst of a change. */
static void on_new(void *arg)
{
	static const struct timeval at_once;
	struct api *api = arg;

	if (!TAILQ_EMPTY(&api->followers))
		event_add(api->new_events, &at_once);
}

static unsigned followers_max(const struct api_door *door)
{
	unsigned max = face_limits(door->face)->connections / FOLLOWERS_PART;

	return max ? max : 1;
}

/* Takes over wanted. */
static int follow(struct api_door *door, const struct wanted *wanted, struct face_call *call,
		  struct error *err)
{
	const struct timeval wait = {.tv_sec = wanted->wait_s};
	struct api *api = door->api;
	struct follower *follower = calloc(1, sizeof(*follower));

	if (!follower) {
		free(wanted->service);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*follower = (struct follower){.door = door, .wanted = *wanted};
	TAILQ_INIT(&follower->waiters);
	TAILQ_INSERT_TAIL(&api->followers, follower, link);
	door->followers++;
	follower->over = event_new(api->base, -1, 0, on_over, follower);
	if (!follower->over || event_add(follower->over, &wait)) {
		follower_free(follower);
		return error_set(err, -ENOMEM, "out of memory");
	}
	event_priority_set(follower->over, loop_priority_in(api->base, LOOP_CONTROL));
	face_wait(call, &follower->waiters);
	return 0;
}

int api_events(struct api_door *door, const struct evkeyvalq *query, struct face_call *call,
	       struct error *err)
{
	struct wanted wanted;
	int rc = read_wanted(query, &wanted, err);

	if (rc)
		return rc;
	if (!answer_page(&wanted, call, wanted.wait_s)) {
		if (door->followers < followers_max(door))
			return follow(door, &wanted, call, err);
		face_refuse(call, 503, FACE_REFUSED_answers, "too many clients wait for events");
	}
	free(wanted.service);
	return 0;
}

int followers_new(struct api *api)
{
	TAILQ_INIT(&api->followers);
	api->new_events = event_new(api->base, -1, 0, on_events, api);
	if (!api->new_events)
		return -ENOMEM;
	event_priority_set(api->new_events, loop_priority_in(api->base, LOOP_CONTROL));
	events_on_new(on_new, api);
	return 0;
}

void followers_done(struct api *api)
{
	struct follower *follower;

	events_on_new(NULL, NULL);
	while ((follower = TAILQ_FIRST(&api->followers)))
		follower_free(follower);
	if (api->new_events)
		event_free(api->new_events);
}
