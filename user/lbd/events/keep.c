/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last events in a file, a line of JSON each. New ones are appended; when the file has become
 * long it is replaced by those in memory. The disk may keep a write waiting, so that is done on a
 * thread of its own, which takes turns with the loop as tasks do. */
#include "internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"

#define WARN_EVERY_MS 60000
#define STOP_MS       5000        /* so long a stop waits for the disk, for each write */
#define SEQ_MAX       (1LL << 52) /* us until the year 2112; a double has room for it */
#define APPEND_MAX    (EVENTS_FILE_MAX - EVENTS_BYTES_MAX) /* bytes; then it is replaced */

struct keep {
	char *path;
	struct event_ring *ring;
	struct tasks *tasks; /* NULL: without a loop */
	bool waits;          /* a write has been added and has not begun yet */
	bool torn;           /* what is on disk is not known: the file is written anew */
	uint64_t written;    /* seq of the last event on disk */
	size_t bytes;        /* of the file */
	uint64_t warned_ms;
};

/* ---- reading ---- */

static int take_line(struct keep *keep, const char *line, size_t length, struct error *err)
{
	json_error_t why;
	json_t *json = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	struct event_record record = {.json = line, .length = length};
	json_int_t seq = 0, time_ms = 0;
	const json_t *service = NULL;
	int rc;

	if (!json)
		return error_set(err, -EINVAL, "%s", why.text);
	if (length > EVENT_JSON_MAX) {
		json_decref(json);
		return error_set(err, -EINVAL, "%zu bytes: expected at most %d", length,
				 EVENT_JSON_MAX);
	}
	rc = json_unpack_ex(json, &why, 0, "{s:I, s:I, s:o}", "seq", &seq, "time_ms", &time_ms,
			    "service", &service);
	if (rc)
		rc = error_set(err, -EINVAL, "%s", why.text);
	else if (!json_is_string(service) && !json_is_null(service))
		rc = error_set(err, -EINVAL, "service: expected a name or null");
	else if (seq <= 0 || seq > SEQ_MAX || (uint64_t)seq <= ring_last(keep->ring))
		rc =
		    error_set(err, -EINVAL, "seq: expected a number above that of the line before");
	if (!rc) {
		record.seq = (uint64_t)seq;
		record.wall_ms = time_ms > 0 ? (uint64_t)time_ms : 0;
		record.service = json_string_value(service); /* NULL: of none */
		rc = ring_add(keep->ring, &record);
	}
	json_decref(json);
	return rc;
}

/* A last line without its end was being written when power or lbd failed: it is left out. */
static int take_lines(struct keep *keep, const char *text, struct error *err)
{
	const char *line = text, *end;
	struct error why;

	for (unsigned number = 1; (end = strchr(line, '\n')); line = end + 1, number++) {
		int rc = take_line(keep, line, (size_t)(end - line), &why);

		if (rc)
			return error_set(err, rc, "%s:%u: %s", keep->path, number, why.text);
	}
	keep->torn = *line;
	return 0;
}

static int read_file(struct keep *keep, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(keep->path, EVENTS_FILE_MAX, &text, err);
	int rc;

	if (length == -ENOENT)
		return 0;
	if (length < 0)
		return (int)length;
	if (strlen(text) != (size_t)length)
		return error_set(err, -EINVAL, "%s: holds a byte 0", keep->path);
	rc = take_lines(keep, text, err);
	keep->bytes = (size_t)length;
	return rc;
}

/* It must not prevent the start. What was read before the fault is left out as well. */
static void set_aside(struct keep *keep, const struct error *why)
{
	struct error outcome;

	ring_done(keep->ring);
	*keep->ring = (struct event_ring){0};
	keep->torn = true;
	file_set_aside(keep->path, &outcome);
	log_error("%s; earlier events are not shown; %s", why->text, outcome.text);
}

/* ---- writing ---- */

struct writing {
	const char *path;
	char *text; /* owned */
	size_t length;
	bool whole; /* replaces the file */
	int rc;
};

static void write_out(void *arg)
{
	struct writing *writing = arg;

	writing->rc = writing->whole ? file_replace(writing->path, writing->text)
				     : file_append(writing->path, writing->text);
}

/* The events after seq, a line each. NULL: out of memory. */
static char *lines_after(const struct event_ring *ring, uint64_t seq, size_t *ret_length)
{
	const struct event_entry *entry;
	size_t length = 0, at = 0;
	char *text;

	for (entry = ring_after(ring, seq); entry; entry = ring_after(ring, entry->seq))
		length += entry->length + 1;
	text = malloc(length + 1);
	for (entry = ring_after(ring, seq); text && entry; entry = ring_after(ring, entry->seq)) {
		memcpy(text + at, entry->json, entry->length);
		at += entry->length;
		text[at++] = '\n';
	}
	if (text)
		text[at] = 0;
	*ret_length = length;
	return text;
}

/* Events that gave way before they were written are missing on disk too. */
static void begin_writing(const struct keep *keep, struct writing *ret)
{
	*ret = (struct writing){.path = keep->path, .whole = keep->torn};
	ret->text = lines_after(keep->ring, keep->torn ? 0 : keep->written, &ret->length);
	if (ret->text && !ret->whole && keep->bytes + ret->length > APPEND_MAX) {
		free(ret->text);
		ret->whole = true;
		ret->text = lines_after(keep->ring, 0, &ret->length);
	}
}

static void end_writing(struct keep *keep, const struct writing *writing, uint64_t last)
{
	keep->torn = writing->rc;
	if (!writing->rc) {
		keep->bytes = writing->length + (writing->whole ? 0 : keep->bytes);
		keep->written = last;
	} else if (log_is_due(&keep->warned_ms, WARN_EVERY_MS)) {
		log_warning("%s: events cannot be kept: %s; tried again with the next one (logged "
			    "once a minute)",
			    keep->path, strerror(-writing->rc));
	}
}

/* What comes while the disk is waited for asks for another. */
static void run_write(void *arg)
{
	struct keep *keep = arg;
	uint64_t last = ring_last(keep->ring);
	struct writing writing;

	keep->waits = false;
	if (!keep->torn && last == keep->written)
		return;
	begin_writing(keep, &writing);
	if (writing.text)
		task_wait(write_out, &writing); /* shares nothing but the path, which stays */
	else
		writing.rc = -ENOMEM;
	end_writing(keep, &writing, last);
	free(writing.text);
}

void keep_wake(struct keep *keep)
{
	if (keep->waits)
		return;
	keep->waits = true;
	if (!keep->tasks)
		run_write(keep);
	else if (tasks_add(keep->tasks, run_write, keep))
		keep->waits = false;
}

/* ---- start and stop ---- */

int keep_new(struct event_base *base, const char *path, struct event_ring *ring, struct keep **ret,
	     struct error *err)
{
	struct keep *keep = calloc(1, sizeof(*keep));
	int rc = keep ? 0 : -ENOMEM;

	if (!rc) {
		keep->ring = ring;
		keep->path = strdup(path);
		rc = keep->path ? 0 : -ENOMEM;
	}
	if (!rc && base)
		rc = tasks_new(base, &keep->tasks);
	if (rc) {
		keep_free(keep);
		return rc;
	}
	if (read_file(keep, err))
		set_aside(keep, err);
	keep->written = ring_last(ring);
	*ret = keep;
	return 0;
}

void keep_free(struct keep *keep)
{
	if (!keep)
		return;
	if (keep->tasks && !tasks_finish_within(keep->tasks, STOP_MS)) {
		log_warning("%s: the disk does not answer: the last events are not kept",
			    keep->path);
		return; /* the thread, which has not come back, has it */
	}
	tasks_free(keep->tasks);
	free(keep->path);
	free(keep);
}
