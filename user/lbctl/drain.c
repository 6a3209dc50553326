/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl drain: no new flow for a backend, and waiting until its host can be stopped. */
#include "drain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "lbctl/core/client.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

#define POLL_MS  500
#define BEGIN_MS 5000 /* within which lbd commits a drain that it accepted */

static const json_t *find_backend(const json_t *answer, const char *address)
{
	const json_t *backends = json_object_get(answer, "backends"), *backend;
	size_t i;

	json_array_foreach (backends, i, backend)
		if (strcmp(json_text(backend, "address"), address) == 0)
			return backend;
	return NULL;
}

void drain_read_backend(const json_t *backend, struct drain_progress *ret)
{
	const char *condition = json_text(backend, "condition");
	const json_t *drain = json_object_get(backend, "drain");

	*ret = (struct drain_progress){
	    .gone = !backend,
	    .drained = json_flag(backend, "drained"),
	    .active = json_number(backend, "active"),
	    .kept_slots = json_number(backend, "kept_slots"),
	    .since_s = json_number(drain, "since_s"),
	    .held = json_is_integer(json_object_get(drain, "last_packet_s")),
	    .last_packet_s = json_number(drain, "last_packet_s"),
	    .has_deadline = json_is_integer(json_object_get(drain, "forced_in_s")),
	    .forced_in_s = json_number(drain, "forced_in_s"),
	    .forced = json_flag(drain, "forced"),
	    .given_up = json_number(drain, "given_up"),
	};
	/* A dead backend that drains is "down"; only a healthy condition says that the drain was
	 * taken back. */
	ret->undone =
	    !ret->drained && (strcmp(condition, "up") == 0 || strcmp(condition, "starting") == 0);
}

void drain_read(const json_t *answer, const char *address, struct drain_progress *ret)
{
	drain_read_backend(find_backend(answer, address), ret);
}

bool drain_over(const struct drain_progress *progress)
{
	return progress->gone || progress->drained || progress->undone;
}

void drain_describe(const struct drain_progress *progress, char *text, size_t size)
{
	char flows[64], slots[64];

	if (progress->gone)
		snprintf(text, size, "drained and forgotten");
	else if (progress->forced)
		snprintf(text, size, "forced, %s given up",
			 format_plural(progress->given_up, "active flow", flows));
	else if (progress->drained)
		snprintf(text, size, "drained");
	else if (progress->undone)
		snprintf(text, size, "not draining any more");
	else
		snprintf(text, size, "%s, %s kept for older ones",
			 format_plural(progress->active, "active flow", flows),
			 format_plural(progress->kept_slots, "slot", slots));
}

void drain_describe_times(const struct drain_progress *progress, char *text, size_t size)
{
	char duration[FORMAT_TEXT];
	size_t used = 0;

	*text = 0;
	if (drain_over(progress))
		return;
	if (progress->since_s)
		used += (size_t)snprintf(text, size, ", draining for %s",
					 format_duration(progress->since_s, duration));
	if (progress->held && used < size)
		used += (size_t)snprintf(text + used, size - used, ", last packet %s ago",
					 format_duration(progress->last_packet_s, duration));
	if (progress->has_deadline && used < size)
		snprintf(text + used, size - used, ", forced in %s",
			 format_duration(progress->forced_in_s, duration));
}

/* ---- waiting ---- */

struct wait {
	const char *service;
	char address[ADDR_TEXT];
	uint64_t started_ms, timeout_ms; /* timeout_ms UINT64_MAX: none */
	bool terminal; /* one line that is written over, else a line for every change */
	bool forces;   /* --force-after was given */
	uint64_t force_after_ms;
	bool begun; /* seen without new flows since */
	char said[160];
	char times[160]; /* what goes with it, but is no news by itself */
};

static void say_progress(struct wait *wait, const struct drain_progress *progress)
{
	char text[160];

	drain_describe(progress, text, sizeof(text));
	drain_describe_times(progress, wait->times, sizeof(wait->times));
	if (wait->terminal)
		printf("\r\033[K%s %s: %s%s", wait->service, wait->address, text, wait->times);
	else if (strcmp(text, wait->said) != 0)
		printf("%s %s: %s%s\n", wait->service, wait->address, text, wait->times);
	strcpy(wait->said, text);
	fflush(stdout);
}

static int finish(const struct wait *wait, const struct drain_progress *progress, struct error *err)
{
	char elapsed[FORMAT_TEXT], flows[64];

	if (progress->undone)
		return error_set(err, -ECANCELED,
				 "%s %s: takes new flows again: somebody ended the drain",
				 wait->service, wait->address);
	if (progress->forced)
		printf("%s %s: drain forced: %s given up, whose packets go to other backends now: "
		       "safe to stop the host, as far as this service goes\n",
		       wait->service, wait->address,
		       format_plural(progress->given_up, "active flow", flows));
	else
		printf(
		    "%s %s: no flow depends on it (%s): safe to stop the host, as far as this service goes\n",
		    wait->service, wait->address,
		    format_duration((clock_monotonic_ms() - wait->started_ms) / 1000, elapsed));
	return 0;
}

static int timed_out(const struct wait *wait, struct error *err)
{
	char elapsed[FORMAT_TEXT];

	return error_set(
	    err, -ETIME,
	    "%s %s: not drained after %s: %s%s.\nIt goes on draining; run this again to wait on",
	    wait->service, wait->address, format_duration(wait->timeout_ms / 1000, elapsed),
	    wait->said, wait->times);
}

static int wait_drained(struct call *call, struct wait *wait, struct error *err)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	struct drain_progress progress;

	for (;;) {
		json_t *answer = NULL;
		int rc = call_backends(call, wait->service, &answer, err);

		if (rc)
			return rc;
		drain_read(answer, wait->address, &progress);
		json_decref(answer);
		wait->begun |= !progress.undone;
		if (!wait->begun && clock_monotonic_ms() - wait->started_ms < BEGIN_MS)
			progress.undone = false;
		if (drain_over(&progress))
			break;
		say_progress(wait, &progress);
		if (clock_monotonic_ms() - wait->started_ms + POLL_MS > wait->timeout_ms) {
			fputs(wait->terminal ? "\n" : "", stdout);
			return timed_out(wait, err);
		}
		nanosleep(&pause, NULL);
	}
	if (wait->terminal)
		fputs("\r\033[K", stdout);
	return finish(wait, &progress, err);
}

static int show_begun(const struct wait *wait, const json_t *answer)
{
	struct drain_progress progress;
	char text[160], times[160];

	drain_read_backend(json_object_get(answer, "backend"), &progress);
	drain_describe(&progress, text, sizeof(text));
	drain_describe_times(&progress, times, sizeof(times));
	printf("%s %s: takes no new flow; %s%s\n", wait->service, wait->address, text, times);
	if (!progress.drained)
		printf("To wait until its host can be stopped: lbctl drain %s %s --wait\n",
		       wait->service, wait->address);
	return 0;
}

static int read_wait(const struct call *call, struct wait *ret, struct error *err)
{
	const char *timeout = call_option(call, "--timeout"),
		   *force = call_option(call, "--force-after");

	*ret = (struct wait){.service = call_argument(call, 0),
			     .timeout_ms = UINT64_MAX,
			     .started_ms = clock_monotonic_ms(),
			     .terminal = isatty(STDOUT_FILENO)};
	if (timeout && parse_duration(timeout, &ret->timeout_ms))
		return error_set(err, -EINVAL,
				 "drain: --timeout %s: expected a duration such as 60s, 5m or 1h",
				 timeout);
	if (force && parse_duration(force, &ret->force_after_ms))
		return error_set(
		    err, -EINVAL,
		    "drain: --force-after %s: expected a duration such as 60s, 5m or 1h", force);
	ret->forces = force;
	return show_read_address("drain", call_argument(call, 1), ret->address, err);
}

static json_t *drain_request(const struct wait *wait)
{
	json_t *body = json_pack("{s:s, s:s, s:b}", "service", wait->service, "address",
				 wait->address, "on", 1);

	if (body && wait->forces)
		json_object_set_new(body, "force_after_ms",
				    json_integer((json_int_t)wait->force_after_ms));
	return body;
}

static int run_drain(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	struct wait wait;
	int rc = read_wait(call, &wait, err);

	if (rc)
		return rc;
	rc = call_post(call, "/v1/backend/drain", drain_request(&wait), &answer, err);
	if (rc)
		return rc;
	if (call_option(call, "--wait") || call_option(call, "--timeout"))
		rc = wait_drained(call, &wait, err);
	else
		rc = call->json ? show_json(answer, err) : show_begun(&wait, answer);
	json_decref(answer);
	return rc;
}

REGISTER(verb, drain) = {
    .name = "drain",
    .group = VERB_CHANGE,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "give a backend no new flow, and say when its host can be stopped",
    .details =
	"The backend keeps the flows it has. With --wait the verb ends when nothing depends on the backend any "
	"more: exit status 0, and 3 when --timeout came first. Interrupting the wait does not end the drain; "
	"`lbctl backend undrain` does.\n\n"
	"Active flows are those that lbd tracks. A slot is kept for older, untracked flows until none of them "
	"has sent a packet for a whole idle timeout. What holds the drain is shown: how many flows and slots, how "
	"long it drains, and how long ago the last packet came that holds it.\n\n"
	"There is no deadline unless --force-after sets one. lbd then keeps it, also when lbctl is interrupted or lbd "
	"restarted: what is left at that time is given up, its packets go to other backends and its connections "
	"break. The verb says how many flows that were; exit status 0. To drop the deadline: `lbctl backend undrain`, "
	"then drain again.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND)},
    .options =
	{{.name = "--wait", .help = "wait until it is drained, and show what remains"},
	 {.name = "--timeout",
	  .value = "TIME",
	  .help =
	      "wait no longer than this: 60s, 5m, 1h; implies --wait. Without it there is no limit"},
	 {.name = "--force-after",
	  .value = "TIME",
	  .help = "end the drain after this, from now on, and give up the flows that are left"}},
    .examples = {{"drain web 10.0.0.12 --wait --timeout 10m && ssh 10.0.0.12 reboot",
		  "a rolling update's step"}},
    .run = run_drain,
};
