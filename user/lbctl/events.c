/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl events: what changed, when, why, and who asked for it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "lbctl/core/call.h"
#include "lbctl/core/client.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/verb.h"

#define WAIT_S   10  /* a call that waits for events is answered after this time at the latest */
#define RETRY_MS 500 /* while lbd does not run, or does not wait for events */
#define WHO      12  /* columns */

struct follow {
	struct call *call;
	const char *service; /* NULL: all */
	bool follows, coloured;
	bool has_since;
	uint64_t since_s;
	bool begun;    /* there was an answer: `next` counts from then on */
	uint64_t next; /* the number of the last event that was looked at */
	bool lost;     /* lbd does not answer, and that was printed */
};

/* ---- output ---- */

/* Local time, as the log has it. */
static const char *time_text(uint64_t ms, char text[48])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;
	size_t length;

	localtime_r(&seconds, &parts);
	length = strftime(text, 48, "%Y-%m-%d %H:%M:%S", &parts);
	snprintf(text + length, 48 - length, ".%03u", (unsigned)(ms % 1000));
	return text;
}

static enum tone tone_of(const char *level)
{
	return !strcmp(level, "error")     ? TONE_BAD
	       : !strcmp(level, "warning") ? TONE_WARN
					   : TONE_PLAIN;
}

static void print_line(const struct follow *follow, const json_t *event)
{
	enum tone tone = tone_of(json_text(event, "level"));
	const char *who = json_text(event, "who");
	unsigned width = text_width(who);
	char time[48];

	printf("%s  ", time_text(json_number(event, "time_ms"), time));
	text_put(stdout, who);
	printf("%*s", width < WHO ? (int)(WHO - width) : 1, "");
	fputs(tone == TONE_PLAIN ? "" : format_escape(tone, follow->coloured), stdout);
	text_put(stdout, json_text(event, "text"));
	fputs(tone == TONE_PLAIN ? "" : format_escape(TONE_PLAIN, follow->coloured), stdout);
	putchar('\n');
}

/* A line each, also without --follow: programs read both in the same way. Pure ASCII, as some
 * terminals obey control characters beyond it. */
static void print_json(const json_t *event)
{
	json_dumpf(event, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

/* On stderr: stdout holds events alone. */
static void note(const char *text)
{
	fprintf(stderr, "lbctl: events: %s\n", text);
}

static int print_page(struct follow *follow, const json_t *answer, struct error *err)
{
	const json_t *event;
	size_t i;

	if (follow->begun && json_flag(answer, "missed"))
		note("some events are missing here: they are not kept any more");
	json_array_foreach (json_object_get(answer, "events"), i, event) {
		if (follow->call->json)
			print_json(event);
		else
			print_line(follow, event);
	}
	if (fflush(stdout) || ferror(stdout))
		return error_set(err, -EIO, "standard output: cannot write the events");
	return 0;
}

/* ---- asking ---- */

/* NULL: out of memory. */
static char *path_of(const struct follow *follow)
{
	_cleanup_free_ char *service = NULL;
	char from[48] = "", wait[24] = "", *path;

	if (follow->service) {
		service = client_escape(follow->call->client, follow->service);
		if (!service)
			return NULL;
	}
	if (follow->begun)
		snprintf(from, sizeof(from), "&after=%" PRIu64, follow->next);
	else if (follow->has_since)
		snprintf(from, sizeof(from), "&since_s=%" PRIu64, follow->since_s);
	if (follow->begun && follow->follows)
		snprintf(wait, sizeof(wait), "&wait_s=%d", WAIT_S);
	if (asprintf(&path, "/v1/events%s%s%s%s", service ? "&service=" : "",
		     service ? service : "", from, wait) < 0)
		return NULL;
	if (strchr(path, '&'))
		*strchr(path, '&') = '?'; /* a name has none: it is escaped */
	return path;
}

/* -ENOENT, -ECONNREFUSED and the like are lbd that does not run, or is being started again: its
 * new socket is root's alone at first (-EACCES), and all who follow come at once (-EAGAIN). */
static bool is_away(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET || rc == -ETIMEDOUT ||
	       rc == -EIO || rc == -EACCES || rc == -EAGAIN;
}

static int ask(struct follow *follow, json_t **ret, struct error *err)
{
	_cleanup_free_ char *path = NULL;
	int rc = follow->call->client
		     ? 0
		     : client_open(follow->call->socket, &follow->call->client, err);

	if (rc)
		return rc;
	path = path_of(follow);
	return path ? call_get(follow->call, path, ret, err)
		    : error_set(err, -ENOMEM, "out of memory");
}

static void rest(void)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};

	nanosleep(&pause, NULL);
}

/* lbd may be started again: who follows goes on where it was. */
static bool waits_for_lbd(struct follow *follow, int rc)
{
	if (!follow->follows || !follow->begun || !is_away(rc))
		return false;
	if (!follow->lost)
		note("lbd does not answer; it is asked again until it does");
	follow->lost = true;
	rest();
	return true;
}

/* Goes on from there. A page with others behind it must lead further, or this has no end. */
static int read_next(struct follow *follow, const json_t *answer, bool more, struct error *err)
{
	uint64_t next = json_number(answer, "next"), before = follow->next;

	follow->next = next;
	if (more && follow->begun && next <= before)
		return error_set(err, -EPROTO,
				 "events: expected a page after event %" PRIu64
				 " from lbd, got one up to event %" PRIu64,
				 before, next);
	follow->begun = true;
	return 0;
}

/* Asked to wait for events, and answered without a new one: lbd takes its time for that. */
static bool is_idle(const json_t *answer, uint64_t before)
{
	return !json_array_size(json_object_get(answer, "events")) ||
	       json_number(answer, "next") <= before;
}

static int run_pages(struct follow *follow, struct error *err)
{
	for (;;) {
		uint64_t asked_ms = clock_monotonic_ms(), before = follow->next;
		bool waited = follow->begun && follow->follows, more, idle;
		json_t *answer = NULL;
		int rc = ask(follow, &answer, err);

		if (rc && waits_for_lbd(follow, rc))
			continue;
		if (rc)
			return rc;
		if (follow->lost)
			note("lbd answers again");
		follow->lost = false;
		rc = print_page(follow, answer, err);
		more = json_flag(answer, "more");
		rc = rc ? rc : read_next(follow, answer, more, err);
		idle = waited && !more && is_idle(answer, before);
		json_decref(answer);
		if (rc || (!more && !follow->follows))
			return rc;
		if (idle && clock_monotonic_ms() - asked_ms < RETRY_MS)
			rest();
	}
}

static int run_events(struct call *call, struct error *err)
{
	struct follow follow = {.call = call,
				.service = call_option(call, "--service"),
				.follows = call_option(call, "--follow"),
				.has_since = call_option(call, "--since"),
				.coloured = format_coloured(stdout)};
	uint64_t since_ms = 0;
	int rc = call_duration(call, "--since", &since_ms, err);

	if (rc)
		return rc;
	follow.since_s = (since_ms + 999) / 1000;
	follow.has_since |= follow.follows; /* alone: from now on */
	return run_pages(&follow, err);
}

REGISTER(verb, events) = {
    .name = "events",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show what changed, when, why, and who asked for it",
    .details =
	"Backends, services, interfaces, VIPs, the node, reloads and run-time changes. lbd keeps the "
	"last 4096 events, at most 1 MiB, over restarts and reboots. The second column is the user "
	"who asked for the change, or lbd. When very many backends change at once, the first 100 of "
	"a second have a line each, and one line has the number of the others.\n\n"
	"With --follow lbctl goes on until it is interrupted, also while lbd is started again: no "
	"event is printed twice, and where some are missing it says so (on standard error). Without "
	"--since it begins with the next event. With --json each line is one event: docs/api.md.",
    .options = {{.name = "--follow", .help = "wait for new events and print them"},
		{.name = "--since",
		 .value = "TIME",
		 .help = "only events of this time until now, such as 10m or 2h"},
		{.name = "--service",
		 .value = "SERVICE",
		 .help = "only events of this service and its backends",
		 .words = WORDS_SERVICE}},
    .examples = {{"events --since 10m", "what happened just now?"},
		 {"events --follow --service web", "watch one service"},
		 {"events --json | jq 'select(.uid != null)'", "what did people change?"}},
    .run = run_events,
};
