/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs the command of `notify` for new events: one at a time, and not more often than once a
 * second. What comes meanwhile is handed over together. Nothing here waits for the command, but the
 * end of lbd for what came last. */
#include "internal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event_struct.h>

#include "common/clock.h"
#include "common/log.h"

#define GATHER_MS     200
#define REST_MS       1000
#define LIMIT_MS      10000
#define STOP_MS       2000
#define STOP_POLL_MS  5
#define BUNDLE_MAX    49152 /* bytes of one hand-over; what is beyond is in the next one */
#define VARIABLES_MAX 32
#define WARN_EVERY_MS 10000

struct hook {
	struct events_hook_options options;
	struct event_base *base;
	const struct event_ring *ring;
	char *socket;
	char *command;     /* NULL: none */
	uint64_t handed;   /* seq of the last event that was handed over */
	uint64_t start_ms; /* CLOCK_MONOTONIC of the last start; 0: none */
	struct event due;
	struct commands *commands;
	struct command *command_now; /* the one that runs; NULL: none */
	unsigned events;             /* that it was given */
	uint64_t counts[NOTIFY_RESULT_COUNT];
	uint64_t warned_ms;
};

/* ---- what is handed over ---- */

struct bundle {
	char *text; /* a line each */
	size_t length;
	unsigned events;
	bool missed; /* older ones gave way before they could be handed over */
	const struct event_entry *last;
};

static int bundle_make(const struct hook *hook, struct bundle *ret)
{
	struct bundle bundle = {.missed = hook->ring->gone > hook->handed,
				.text = malloc(BUNDLE_MAX)};
	const struct event_entry *entry = ring_after(hook->ring, hook->handed);

	if (!bundle.text)
		return -ENOMEM;
	for (; entry && bundle.length + entry->length < BUNDLE_MAX;
	     entry = ring_after(hook->ring, entry->seq)) {
		memcpy(bundle.text + bundle.length, entry->json, entry->length);
		bundle.length += entry->length;
		bundle.text[bundle.length++] = '\n';
		bundle.events++;
		bundle.last = entry;
	}
	*ret = bundle;
	return 0;
}

/* ---- its environment ---- */

struct environment {
	char *list[VARIABLES_MAX + 1];
	unsigned count;
};

static void environment_done(struct environment *environment)
{
	for (unsigned i = 0; i < environment->count; i++)
		free(environment->list[i]);
}

static void add_variable(struct environment *environment, const char *name, const char *value)
{
	char *text;

	if (environment->count < VARIABLES_MAX && asprintf(&text, "%s=%s", name, value) >= 0)
		environment->list[environment->count++] = text;
}

static void add_number(struct environment *environment, const char *name, long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", value);
	add_variable(environment, name, text);
}

/* A field of the event: LBD_KIND=backend-down. One that is null is empty. */
static void add_field(struct environment *environment, const char *key, const json_t *value)
{
	char name[40];

	snprintf(name, sizeof(name), "LBD_%s", key);
	for (char *c = name; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	if (json_is_integer(value))
		add_number(environment, name, json_integer_value(value));
	else
		add_variable(environment, name,
			     json_is_string(value) ? json_string_value(value) : "");
}

static void add_event(struct environment *environment, const struct event_entry *entry)
{
	json_t *json = json_loadb(entry->json, entry->length, 0, NULL);
	const char *key;
	json_t *value;

	json_object_foreach (json, key, value)
		add_field(environment, key, value);
	json_decref(json);
}

static void environment_make(const struct hook *hook, const struct bundle *bundle,
			     struct environment *ret)
{
	if (hook->socket)
		add_variable(ret, "LBD_SOCKET", hook->socket);
	add_number(ret, "LBD_EVENTS", bundle->events);
	add_number(ret, "LBD_MISSED", bundle->missed);
	add_event(ret, bundle->last);
	ret->list[ret->count] = NULL;
}

/* ---- a run ---- */

static void warn(struct hook *hook, const char *what, const char *output, unsigned events)
{
	if (log_is_due(&hook->warned_ms, WARN_EVERY_MS))
		log_warning("notify: %s: %s%s%s; events that it was given: %u (they are not handed "
			    "over again; logged every %d s at most)",
			    hook->command ? hook->command : "the command", what,
			    *output ? ": " : "", output, events, WARN_EVERY_MS / 1000);
}

static void arm(struct hook *hook);

static enum notify_result judge(const struct command_result *result)
{
	if (result->timed_out)
		return NOTIFY_timeout;
	if (!result->signal && !result->status)
		return NOTIFY_ok;
	return !result->signal && result->status == COMMAND_NOT_STARTED ? NOTIFY_not_started
									: NOTIFY_failed;
}

static void on_done(void *arg, const struct command_result *result)
{
	struct hook *hook = arg;
	enum notify_result is = judge(result);
	char text[COMMAND_TEXT];

	hook->command_now = NULL;
	hook->counts[is]++;
	command_describe(result, hook->options.limit_ms, text);
	if (is != NOTIFY_ok)
		warn(hook, is == NOTIFY_not_started ? "cannot be started" : text, result->line,
		     hook->events);
	arm(hook);
}

/* The path and the arguments of a command that was checked when the config was read. */
static char *split(const char *command, const char *ret[NOTIFY_WORDS_MAX + 1])
{
	char *copy = strdup(command), *at = copy;
	unsigned count = 0;

	for (char *word; copy && count < NOTIFY_WORDS_MAX && (word = strsep(&at, " \t"));)
		if (*word)
			ret[count++] = word;
	ret[count] = NULL;
	return copy;
}

/* Takes over the bundle's text. */
static int start(struct hook *hook, const struct bundle *bundle)
{
	const char *words[NOTIFY_WORDS_MAX + 1];
	char *copy = split(hook->command, words);
	struct environment environment = {.count = 0};
	struct command_options options = {.words = words,
					  .environment = (const char *const *)environment.list,
					  .input = bundle->text,
					  .input_length = bundle->length,
					  .limit_ms = hook->options.limit_ms,
					  .priority = loop_priority_in(hook->base, LOOP_BULK),
					  .done = on_done,
					  .arg = hook};
	int rc;

	if (!copy) {
		free(bundle->text);
		return -ENOMEM;
	}
	environment_make(hook, bundle, &environment);
	rc = command_start(hook->commands, &options, &hook->command_now);
	environment_done(&environment);
	free(copy);
	return rc;
}

static void on_due(int fd, short what, void *arg)
{
	struct hook *hook = arg;
	struct bundle bundle;
	int rc;

	if (!hook->command || !ring_after(hook->ring, hook->handed))
		return;
	hook->start_ms = clock_monotonic_ms();
	if (bundle_make(hook, &bundle)) {
		arm(hook);
		return;
	}
	hook->handed = bundle.last->seq;
	hook->events = bundle.events;
	rc = start(hook, &bundle);
	if (!rc)
		return;
	hook->counts[NOTIFY_not_started]++;
	warn(hook, "cannot be started", strerror(-rc), bundle.events);
	arm(hook);
}

/* The next start: when what comes together has come, and the rest since the last one is over. */
static void arm(struct hook *hook)
{
	uint64_t now_ms = clock_monotonic_ms(), at_ms = now_ms + hook->options.gather_ms;
	struct timeval wait;

	if (!hook->command || hook->command_now || event_pending(&hook->due, EV_TIMEOUT, NULL) ||
	    !ring_after(hook->ring, hook->handed))
		return;
	if (hook->start_ms && hook->start_ms + hook->options.rest_ms > at_ms)
		at_ms = hook->start_ms + hook->options.rest_ms;
	wait = clock_span_ms(at_ms - now_ms);
	event_add(&hook->due, &wait);
}

void hook_wake(struct hook *hook)
{
	arm(hook);
}

/* Events of the time without a command are not for it. */
void hook_set(struct hook *hook, const char *command)
{
	if (!hook->command)
		hook->handed = ring_last(hook->ring);
	free(hook->command);
	hook->command = command ? strdup(command) : NULL;
}

const uint64_t *hook_counts(const struct hook *hook)
{
	return hook->counts;
}

/* ---- start and stop ---- */

static unsigned or_default(unsigned value, unsigned fallback)
{
	return value ? value : fallback;
}

int hook_new(const struct events_options *options, const struct event_ring *ring, struct hook **ret)
{
	struct hook *hook = calloc(1, sizeof(*hook));

	if (!hook)
		return -ENOMEM;
	hook->base = options->base;
	hook->ring = ring;
	hook->options = options->hook;
	hook->options.gather_ms = or_default(hook->options.gather_ms, GATHER_MS);
	hook->options.rest_ms = or_default(hook->options.rest_ms, REST_MS);
	hook->options.limit_ms = or_default(hook->options.limit_ms, LIMIT_MS);
	hook->options.stop_ms = or_default(hook->options.stop_ms, STOP_MS);
	evtimer_assign(&hook->due, hook->base, on_due, hook);
	if (commands_new(hook->base, hook->options.keeper, &hook->commands) ||
	    (options->socket && !(hook->socket = strdup(options->socket)))) {
		hook_free(hook);
		return -ENOMEM;
	}
	*ret = hook;
	return 0;
}

static bool has_more(const struct hook *hook)
{
	return hook->command && (hook->command_now || ring_after(hook->ring, hook->handed));
}

/* lbd ends, and that is an event too. Its loop has ended before, and nothing is gathered any more.
 */
static void hand_over_rest(struct hook *hook)
{
	const struct timespec pause = {.tv_nsec = STOP_POLL_MS * 1000000L};
	uint64_t end_ms = clock_monotonic_ms() + hook->options.stop_ms;

	while (has_more(hook) && clock_monotonic_ms() < end_ms) {
		if (!hook->command_now)
			on_due(-1, EV_TIMEOUT, hook);
		if (!hook->command_now || !command_serve(hook->command_now))
			nanosleep(&pause, NULL);
	}
}

void hook_free(struct hook *hook)
{
	if (!hook)
		return;
	hand_over_rest(hook);
	commands_free(hook->commands);
	event_del(&hook->due);
	free(hook->socket);
	free(hook->command);
	free(hook);
}
