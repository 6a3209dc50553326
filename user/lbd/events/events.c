/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From one call to the log, the ring, the file, those who follow, and the command. */
#include "internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"

#define TEXT_MAX 1024 /* of an event's text; a longer line is whole in the log alone */

struct events {
	struct event_ring ring;
	uint64_t last;     /* seq of the newest event, of this lbd or of the file */
	uint64_t before;   /* that of the file: what an earlier lbd has left */
	struct keep *keep; /* NULL: not kept */
	struct hook *hook; /* NULL: without a loop there is none */
	void (*on_new)(void *arg);
	void *on_new_arg;
};

/* The one of this process. NULL: events are only logged, as in tests and in `lbd --check`. */
static struct events *sink;

/* Of this thread: a task that pauses leaves its own alone (host/tasks.h). */
static _Thread_local const struct event_actor *asks;

/* ---- names ---- */

const char *event_kind_name(enum event_kind kind, char text[32])
{
	static const char *const names[] = {
#define X(name) #name,
	    EVENT_KINDS(X)
#undef X
	};

	snprintf(text, 32, "%s", names[kind]);
	for (char *c = text; *c; c++)
		if (*c == '_')
			*c = '-';
	return text;
}

static const char *level_name(int level)
{
	return level <= LOG_ERR ? "error" : level == LOG_WARNING ? "warning" : "info";
}

/* ---- who asks ---- */

void event_actor_set(const char *name, struct event_actor *ret)
{
	ret->uid = EVENT_NO_UID;
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	make_printable(ret->name, false);
}

void events_ask_as(const struct event_actor *actor)
{
	asks = actor;
}

/* ---- an event as JSON ---- */

static json_t *text_json(const char *text)
{
	_cleanup_free_ char *copy = text ? strdup(text) : NULL;

	if (!copy)
		return json_null();
	make_printable(copy, false);
	return json_string(copy);
}

static const char *time_text(uint64_t wall_ms, char text[32])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	size_t length;

	gmtime_r(&seconds, &parts);
	length = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + length, 32 - length, ".%03uZ", (unsigned)(wall_ms % 1000));
	return text;
}

static json_t *event_json(uint64_t seq, uint64_t wall_ms, enum event_kind kind, int level,
			  const struct event_about *about, const char *text)
{
	const struct event_actor *actor = about->measured ? NULL : asks;
	char name[32], time[32];

	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:s}",
			 "seq", (json_int_t)seq, "time", time_text(wall_ms, time), "time_ms",
			 (json_int_t)wall_ms, "kind", event_kind_name(kind, name), "level",
			 level_name(level), "service", text_json(about->service), "backend",
			 text_json(about->backend), "interface", text_json(about->interface), "vip",
			 text_json(about->vip), "text", text_json(text), "why",
			 text_json(about->why ? about->why : ""), "count",
			 (int)(about->count ? about->count : 1), "uid",
			 actor && actor->uid != EVENT_NO_UID ? json_integer((json_int_t)actor->uid)
							     : json_null(),
			 "who", actor ? actor->name : "lbd");
}

/* ---- one event ---- */

/* The wall clock, in us, unless that is not above the last one: so a number is never given twice,
 * also when the file is lost, or events that others have seen were not on disk yet. */
static uint64_t next_seq(uint64_t wall_us)
{
	return wall_us > sink->last ? wall_us : sink->last + 1;
}

static void record(enum event_kind kind, int level, const struct event_about *about,
		   const char *text)
{
	struct timespec now;
	struct event_record event = {.service = about->service};
	_cleanup_free_ char *line = NULL;
	json_t *json;

	clock_gettime(CLOCK_REALTIME, &now);
	event.wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	event.seq = next_seq((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	json = event_json(event.seq, event.wall_ms, kind, level, about, text);
	line = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!line)
		return; /* out of memory: the log has it */
	event.json = line;
	event.length = strlen(line);
	if (ring_add(&sink->ring, &event))
		return;
	sink->last = event.seq;
	if (sink->keep)
		keep_wake(sink->keep);
	if (sink->hook)
		hook_wake(sink->hook);
	if (sink->on_new)
		sink->on_new(sink->on_new_arg);
}

void events_log(enum event_kind kind, int level, const struct event_about *about,
		const char *format, ...)
{
	static const struct event_about nothing;
	char text[TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_print(level, "%s", text);
	if (sink)
		record(kind, level, about ? about : &nothing, text);
}

/* ---- those that are kept ---- */

static bool as_record(const struct event_entry *entry, struct event_record *ret)
{
	if (!entry)
		return false;
	*ret = (struct event_record){.seq = entry->seq,
				     .wall_ms = entry->wall_ms,
				     .service = entry->service,
				     .json = entry->json,
				     .length = entry->length};
	return true;
}

bool events_next(uint64_t after, struct event_record *ret)
{
	if (!sink)
		return false;
	return as_record(ring_after(&sink->ring, after > sink->last ? sink->before : after), ret);
}

bool events_before(uint64_t seq, struct event_record *ret)
{
	return sink && as_record(ring_before(&sink->ring, seq), ret);
}

bool events_missed(uint64_t after)
{
	return sink && sink->ring.gone > (after > sink->last ? sink->before : after);
}

uint64_t events_last(void)
{
	return sink ? sink->last : 0;
}

void events_on_new(void (*fn)(void *arg), void *arg)
{
	if (!sink)
		return;
	sink->on_new = fn;
	sink->on_new_arg = arg;
}

/* ---- notify ---- */

void events_set_command(const char *command)
{
	if (sink && sink->hook)
		hook_set(sink->hook, command);
}

const uint64_t *events_notify_counts(void)
{
	static const uint64_t none[NOTIFY_RESULT_COUNT];

	return sink && sink->hook ? hook_counts(sink->hook) : none;
}

const char *notify_result_name(enum notify_result result)
{
	static const char *const names[] = {
#define X(name) #name,
	    NOTIFY_RESULTS(X)
#undef X
	};

	return names[result];
}

/* ---- start and stop ---- */

static int open_parts(struct events *events, const struct events_options *options,
		      struct error *err)
{
	int rc = 0;

	if (options->path)
		rc = keep_new(options->base, options->path, &events->ring, &events->keep, err);
	events->last = events->before = ring_last(&events->ring);
	if (!rc && options->base)
		rc = hook_new(options, &events->ring, &events->hook);
	return rc ? error_set(err, rc, "events: %s", strerror(-rc)) : 0;
}

int events_open(const struct events_options *options, struct error *err)
{
	struct events *events = calloc(1, sizeof(*events));
	int rc =
	    events ? open_parts(events, options, err) : error_set(err, -ENOMEM, "out of memory");

	sink = events;
	if (rc)
		events_close();
	return rc;
}

void events_close(void)
{
	struct events *events = sink;

	if (!events)
		return;
	keep_free(events->keep); /* first: the other may take a while */
	hook_free(events->hook);
	sink = NULL;
	ring_done(&events->ring);
	free(events);
}
