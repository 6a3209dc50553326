/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last text, the one before it, and the one that is being built. */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"

#define FRESH_MS 1000

struct snapshot {
	struct snapshot_options options;
	/* The last text, and the one before it while connections are still taking it. Another is
	 * built only when that one is gone: there are never more than two and a half. */
	struct text *present, *former;
	uint64_t made_ms;     /* CLOCK_MONOTONIC: when present was begun */
	struct event *forget; /* present, when nobody asks any more */
	void *build;          /* NULL: none is being built */
	uint64_t build_ms;    /* CLOCK_MONOTONIC: when build was begun */
	struct face_waiters waiters;
};

static void drop(struct text **text)
{
	text_unref(*text);
	*text = NULL;
}

static bool is_taken(const struct text *text)
{
	return text && text->refs > 1;
}

static void arm_forget(struct snapshot *snapshot)
{
	const struct timeval wait = {.tv_sec = FRESH_MS / 1000};

	event_add(snapshot->forget, &wait);
}

/* Memory goes back when nobody takes the texts any more. */
static void on_forget(evutil_socket_t fd, short what, void *arg)
{
	struct snapshot *snapshot = arg;

	if (!is_taken(snapshot->former))
		drop(&snapshot->former);
	if (!is_taken(snapshot->present) && clock_monotonic_ms() - snapshot->made_ms >= FRESH_MS)
		drop(&snapshot->present);
	if (snapshot->present || snapshot->former)
		arm_forget(snapshot);
}

void snapshot_made(void *arg, struct text *text)
{
	struct snapshot *snapshot = arg;

	if (text) {
		if (is_taken(snapshot->present))
			snapshot->former = text_ref(snapshot->present);
		drop(&snapshot->present);
		snapshot->present = text_ref(text);
		snapshot->made_ms = snapshot->build_ms;
		arm_forget(snapshot);
	}
	face_answer_all(&snapshot->waiters, 200, snapshot->options.type, text);
	snapshot->options.end(snapshot->build);
	snapshot->build = NULL;
}

/* May another text be built? Not while the former one is still being taken. */
static bool has_room(struct snapshot *snapshot)
{
	if (is_taken(snapshot->former))
		return false;
	drop(&snapshot->former);
	return true;
}

void snapshot_answer(struct snapshot *snapshot, struct face_call *call)
{
	const struct snapshot_options *options = &snapshot->options;
	uint64_t now_ms = clock_monotonic_ms();
	bool fresh = snapshot->present && now_ms - snapshot->made_ms < FRESH_MS;

	if (fresh || (snapshot->present && !snapshot->build && !has_room(snapshot))) {
		face_answer(call, 200, options->type, snapshot->present);
		return;
	}
	if (!snapshot->build) {
		snapshot->build_ms = now_ms;
		if (options->begin(options->arg, snapshot, &snapshot->build)) {
			face_answer(call, 500, options->type, NULL);
			return;
		}
	}
	face_wait(call, &snapshot->waiters);
}

bool snapshot_is_idle(const struct snapshot *snapshot)
{
	return !snapshot->build && !is_taken(snapshot->present) && !is_taken(snapshot->former);
}

int snapshot_new(const struct snapshot_options *options, struct snapshot **ret)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return -ENOMEM;
	snapshot->options = *options;
	TAILQ_INIT(&snapshot->waiters);
	snapshot->forget = event_new(options->base, -1, 0, on_forget, snapshot);
	if (!snapshot->forget) {
		free(snapshot);
		return -ENOMEM;
	}
	*ret = snapshot;
	return 0;
}

/* Calls that still wait would be left without an answer: their face is freed before. */
void snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	snapshot->options.end(snapshot->build);
	text_unref(snapshot->present);
	text_unref(snapshot->former);
	event_free(snapshot->forget);
	free(snapshot);
}
