/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sums of seen and usable time, and of connects, in rings of minutes, hours and days.
 *
 * The file: a line "lbd availability 2", then of each service a line with its key and three lines
 * of numbers, each a letter (m, h, d) and for every span its number since 1970, ms usable, ms seen,
 * connects answered, and not. Version 1 has no connects. */
#include "uptime.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/files.h"

#define HEAD       "lbd availability 2"
#define HEAD_1     "lbd availability 1"
#define FILE_BYTES (256u << 20) /* 16384 services have less than half of it */

const char *const uptime_window_names[UPTIME_WINDOWS] = {"1h", "24h", "30d"};

struct span {
	uint64_t number; /* since 1970 */
	uint32_t up_ms, seen_ms;
	uint32_t answered, unanswered; /* connects in the sample */
};

/* The rings of one service lie one after the other. */
static const struct {
	char letter;
	uint32_t ms;
	unsigned at, count;
} rings[UPTIME_WINDOWS] = {
    {'m', 60 * 1000, 0, 60}, {'h', 3600 * 1000, 60, 24}, {'d', 24 * 3600 * 1000, 84, 30}};

#define SPANS (60 + 24 + 30)

struct uptime {
	struct uptime_share total;
	struct span spans[SPANS];
	bool used;
	char key[UPTIME_KEY];
};

struct uptimes {
	void *tree; /* of struct uptime, see tsearch(3) */
	unsigned count;
};

/* ---- one service ---- */

static struct span *span_of(struct uptime *uptime, unsigned ring, uint64_t number)
{
	return &uptime->spans[rings[ring].at + number % rings[ring].count];
}

/* That of now; one of before in its place is forgotten. */
static struct span *present_span(struct uptime *uptime, unsigned ring, uint64_t wall_ms)
{
	uint64_t number = wall_ms / rings[ring].ms;
	struct span *span = span_of(uptime, ring, number);

	if (span->number != number)
		*span = (struct span){.number = number};
	return span;
}

void uptime_add(struct uptime *uptime, uint64_t wall_ms, uint32_t span_ms, bool up)
{
	for (unsigned i = 0; i < UPTIME_WINDOWS; i++) {
		struct span *span = present_span(uptime, i, wall_ms);

		span->seen_ms += span_ms;
		span->up_ms += up ? span_ms : 0;
	}
	uptime->total.seen_ms += span_ms;
	uptime->total.up_ms += up ? span_ms : 0;
}

/* Where the counts would not fit, all are halved: the share stays. */
static void span_add_connects(struct span *span, uint64_t answered, uint64_t unanswered)
{
	answered += span->answered;
	unanswered += span->unanswered;
	while (answered > UINT32_MAX || unanswered > UINT32_MAX) {
		answered /= 2;
		unanswered /= 2;
	}
	span->answered = (uint32_t)answered;
	span->unanswered = (uint32_t)unanswered;
}

void uptime_add_connects(struct uptime *uptime, uint64_t wall_ms, uint64_t answered,
			 uint64_t unanswered)
{
	for (unsigned i = 0; (answered || unanswered) && i < UPTIME_WINDOWS; i++)
		span_add_connects(present_span(uptime, i, wall_ms), answered, unanswered);
}

/* A clock that was put back leaves spans of the future, which do not count. */
struct uptime_share uptime_share(const struct uptime *uptime, enum uptime_window window,
				 uint64_t wall_ms)
{
	uint64_t now = wall_ms / rings[window].ms;
	struct uptime_share share = {0};

	for (unsigned i = 0; i < rings[window].count; i++) {
		const struct span *span = &uptime->spans[rings[window].at + i];

		if (span->number > now || now - span->number >= rings[window].count)
			continue;
		share.up_ms += span->up_ms;
		share.seen_ms += span->seen_ms;
		share.answered += span->answered;
		share.unanswered += span->unanswered;
	}
	return share;
}

unsigned uptime_spans(const struct uptime *uptime, enum uptime_window window, uint64_t wall_ms,
		      struct uptime_share ret[UPTIME_SPANS_MAX])
{
	unsigned count = rings[window].count;
	uint64_t first = wall_ms / rings[window].ms - (count - 1);

	for (unsigned i = 0; i < count; i++) {
		const struct span *span =
		    &uptime->spans[rings[window].at + (first + i) % rings[window].count];

		ret[i] = span->number == first + i
			     ? (struct uptime_share){.up_ms = span->up_ms, .seen_ms = span->seen_ms}
			     : (struct uptime_share){0};
	}
	return count;
}

struct uptime_share uptime_total(const struct uptime *uptime)
{
	return uptime->total;
}

/* ---- all ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct uptime *)a)->key, ((const struct uptime *)b)->key);
}

struct uptimes *uptimes_new(void)
{
	return calloc(1, sizeof(struct uptimes));
}

void uptimes_free(struct uptimes *uptimes)
{
	if (!uptimes)
		return;
	tdestroy(uptimes->tree, free);
	free(uptimes);
}

struct uptime *uptimes_get(struct uptimes *uptimes, const char *key)
{
	struct uptime *uptime = calloc(1, sizeof(*uptime));
	struct uptime *const *found;

	if (!uptime)
		return NULL;
	snprintf(uptime->key, sizeof(uptime->key), "%s", key);
	found = tsearch(uptime, &uptimes->tree, compare);
	if (!found || *found != uptime)
		free(uptime);
	else
		uptimes->count++;
	return found ? *found : NULL;
}

/* ---- those of services that are gone ---- */

void uptime_use(struct uptime *uptime)
{
	uptime->used = true;
}

struct unused {
	struct uptime **list;
	unsigned count;
};

static void collect_unused(const void *node, VISIT visit, void *arg)
{
	struct uptime *uptime = *(struct uptime *const *)node;
	struct unused *unused = arg;

	if (visit != postorder && visit != leaf)
		return;
	if (!uptime->used)
		unused->list[unused->count++] = uptime;
	uptime->used = false;
}

static bool is_empty(const struct span *span)
{
	return !span->seen_ms && !span->answered && !span->unanswered;
}

static bool has_nothing(const struct uptime *uptime, uint64_t wall_ms)
{
	struct uptime_share share = uptime_share(uptime, UPTIME_MONTH, wall_ms);

	return !share.seen_ms && !share.answered && !share.unanswered;
}

/* The minute in which something was last seen. */
static uint64_t last_seen(const struct uptime *uptime)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < rings[UPTIME_HOUR].count; i++) {
		const struct span *span = &uptime->spans[rings[UPTIME_HOUR].at + i];

		if (!is_empty(span) && span->number > last)
			last = span->number;
	}
	return last;
}

/* The latest first. */
static int by_last_seen(const void *a, const void *b)
{
	uint64_t x = last_seen(*(struct uptime *const *)a),
		 y = last_seen(*(struct uptime *const *)b);

	return (x < y) - (x > y);
}

static void drop(struct uptimes *uptimes, struct uptime *uptime)
{
	tdelete(uptime, &uptimes->tree, compare);
	free(uptime);
	uptimes->count--;
}

void uptimes_tidy(struct uptimes *uptimes, uint64_t wall_ms)
{
	struct unused unused = {.list = calloc(uptimes->count + 1, sizeof(struct uptime *))};

	if (!unused.list)
		return;
	twalk_r(uptimes->tree, collect_unused, &unused);
	if (unused.count > UPTIMES_UNUSED_MAX)
		qsort(unused.list, unused.count, sizeof(struct uptime *), by_last_seen);
	for (unsigned i = 0; i < unused.count; i++)
		if (i >= UPTIMES_UNUSED_MAX || has_nothing(unused.list[i], wall_ms))
			drop(uptimes, unused.list[i]);
	free(unused.list);
}

/* ---- the file ---- */

struct writer {
	FILE *to;
	uint64_t wall_ms;
};

static void write_ring(const struct uptime *uptime, unsigned ring, FILE *to)
{
	putc(rings[ring].letter, to);
	for (unsigned i = 0; i < rings[ring].count; i++) {
		const struct span *span = &uptime->spans[rings[ring].at + i];

		if (!is_empty(span))
			fprintf(to, " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32,
				span->number, span->up_ms, span->seen_ms, span->answered,
				span->unanswered);
	}
	putc('\n', to);
}

static void write_one(const void *node, VISIT visit, void *arg)
{
	const struct uptime *uptime = *(struct uptime *const *)node;
	const struct writer *writer = arg;

	if ((visit != postorder && visit != leaf) || has_nothing(uptime, writer->wall_ms))
		return;
	fprintf(writer->to, "%s\n", uptime->key);
	for (unsigned i = 0; i < UPTIME_WINDOWS; i++)
		write_ring(uptime, i, writer->to);
}

char *uptimes_text(const struct uptimes *uptimes, uint64_t wall_ms)
{
	struct writer writer = {.wall_ms = wall_ms};
	size_t length = 0;
	char *text = NULL;
	bool failed;

	writer.to = open_memstream(&text, &length);
	if (!writer.to)
		return NULL;
	fputs(HEAD "\n", writer.to);
	twalk_r(uptimes->tree, write_one, &writer);
	failed = ferror(writer.to);
	if (!fclose(writer.to) && !failed)
		return text;
	free(text);
	return NULL;
}

/* A number and the blank before it. */
static bool read_number(char **at, uint64_t max, uint64_t *ret)
{
	char *end;

	if (**at != ' ' || (*at)[1] < '0' || (*at)[1] > '9')
		return false;
	errno = 0;
	*ret = strtoull(*at + 1, &end, 10);
	*at = end;
	return !errno && *ret <= max;
}

static bool read_count(char **at, uint32_t *ret)
{
	uint64_t count;

	if (!read_number(at, UINT32_MAX, &count))
		return false;
	*ret = (uint32_t)count;
	return true;
}

/* What is newer than what is there wins. */
static bool read_ring(struct uptime *uptime, unsigned ring, unsigned version, char *line)
{
	if (*line++ != rings[ring].letter)
		return false;
	while (*line) {
		struct span read = {0}, *span;

		if (!read_number(&line, UINT64_MAX / rings[ring].ms, &read.number) ||
		    !read_count(&line, &read.up_ms) || !read_count(&line, &read.seen_ms) ||
		    read.up_ms > read.seen_ms)
			return false;
		if (version > 1 &&
		    (!read_count(&line, &read.answered) || !read_count(&line, &read.unanswered)))
			return false;
		span = span_of(uptime, ring, read.number);
		if (read.number > span->number)
			*span = read;
	}
	return true;
}

/* 0: it is none. */
static unsigned version_of(const char *line)
{
	return !line ? 0 : !strcmp(line, HEAD) ? 2 : !strcmp(line, HEAD_1) ? 1 : 0;
}

static char *next_line(char **text)
{
	char *line = *text, *end = line ? strchr(line, '\n') : NULL;

	if (!end)
		return NULL;
	*end = 0;
	*text = end + 1;
	return line;
}

/* 0, -ENOMEM, or -EINVAL with the number of the line. */
static int read_text(struct uptimes *uptimes, char *text, unsigned *ret_line)
{
	unsigned version = version_of(next_line(&text));

	*ret_line = 1;
	if (!version)
		return -EINVAL;
	while (*text) {
		struct uptime *uptime;
		char *line = next_line(&text);

		++*ret_line;
		if (!line || !*line || strlen(line) >= UPTIME_KEY)
			return -EINVAL;
		uptime = uptimes_get(uptimes, line);
		if (!uptime)
			return -ENOMEM;
		for (unsigned i = 0; i < UPTIME_WINDOWS; i++) {
			line = next_line(&text);
			++*ret_line;
			if (!line || !read_ring(uptime, i, version, line))
				return -EINVAL;
		}
	}
	return 0;
}

int uptimes_load(struct uptimes *uptimes, const char *path, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	ssize_t length = file_read_kept(path, FILE_BYTES, &text, err);
	unsigned line;
	int rc;

	if (length == -ENOENT)
		return 0;
	if (length < 0)
		return (int)length;
	rc = read_text(uptimes, text, &line);
	if (rc == -EINVAL)
		return error_set(err, rc,
				 "%s: line %u: expected what lbd has written: \"" HEAD
				 "\", then of each service its name and three lines of numbers",
				 path, line);
	return rc ? error_set(err, rc, "%s: out of memory", path) : 0;
}
