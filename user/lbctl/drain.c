/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl drain: stops new flows to a backend and waits until its host can be stopped. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/duration.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/drain/progress.h"

#define POLL_MS  500
#define BEGIN_MS 5000 /* lbd commits a drain within this time after it accepted it */

struct wait {
	char service[64];                /* as given, then its name */
	char backend[SHOW_BACKEND];      /* as given, then with its name and address */
	char address[ADDR_TEXT];         /* once lbd has answered */
	uint64_t started_ms, timeout_ms; /* timeout_ms UINT64_MAX: none */
	bool terminal;                   /* rewrite one line; else print a line for every change */
	bool quiet;                      /* with --json, which prints the answer alone */
	bool has_force;                  /* --force-after was given */
	uint64_t force_after_ms;
	bool begun;      /* the drain was seen in effect */
	char shown[160]; /* the progress printed last */
	char times[160]; /* its times; a change of these alone prints no new line */
};

static void print_progress(struct wait *wait, const struct drain_progress *progress)
{
	char text[160];

	drain_describe(progress, text, sizeof(text));
	drain_describe_times(progress, wait->times, sizeof(wait->times));
	if (wait->terminal)
		printf("\r\033[K%s %s: %s%s", wait->service, wait->backend, text, wait->times);
	else if (!wait->quiet && strcmp(text, wait->shown) != 0)
		printf("%s %s: %s%s\n", wait->service, wait->backend, text, wait->times);
	strcpy(wait->shown, text);
	fflush(stdout);
}

static int finish(const struct wait *wait, const struct drain_progress *progress, struct error *err)
{
	char elapsed[FORMAT_TEXT], flows[64];

	if (progress->undone)
		return error_set(err, -ECANCELED,
				 "%s %s: takes new flows again: somebody ended the drain",
				 wait->service, wait->backend);
	if (wait->quiet)
		return 0;
	if (progress->forced)
		printf("%s %s: drain forced: %s given up, %s: "
		       "safe to stop the host if no other service uses it\n",
		       wait->service, wait->backend,
		       format_plural(progress->given_up, "active flow", flows),
		       progress->others ? "their packets now go to other backends"
					: "and no other backend takes their packets");
	else
		printf("%s %s: no flow depends on it (waited %s): safe to stop the host "
		       "if no other service uses it\n",
		       wait->service, wait->backend,
		       format_duration((clock_monotonic_ms() - wait->started_ms) / 1000, elapsed));
	return 0;
}

static int timed_out(const struct wait *wait, struct error *err)
{
	char elapsed[FORMAT_TEXT];

	return error_set(err, -ETIME,
			 "%s %s: not drained after %s: %s%s.\n"
			 "The drain continues. To wait again: lbctl drain %s %s --wait",
			 wait->service, wait->backend, duration_exact(wait->timeout_ms, elapsed),
			 wait->shown, wait->times, wait->service, wait->address);
}

/* One look. What it shows of the backend takes the place of that in begun, the answer to the
 * request. */
static int look(struct call *call, const struct wait *wait, json_t *begun,
		struct drain_progress *ret, struct error *err)
{
	json_t *answer = NULL, *backend;
	int rc = call_backends(call, wait->service, &answer, err);

	if (rc)
		return rc;
	backend = drain_read(answer, wait->address, ret);
	if (backend)
		json_object_set(begun, "backend", backend);
	json_decref(answer);
	return 0;
}

/* begun: the answer to the request. */
static int wait_drained(struct call *call, struct wait *wait, json_t *begun, struct error *err)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	struct drain_progress progress;

	for (;;) {
		int rc = look(call, wait, begun, &progress, err);

		if (rc)
			return rc;
		wait->begun |= !progress.undone;
		if (!wait->begun && clock_monotonic_ms() - wait->started_ms < BEGIN_MS)
			progress.undone = false;
		if (drain_over(&progress))
			break;
		print_progress(wait, &progress);
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
	printf("%s %s: takes no new flows; %s%s\n", wait->service, wait->backend, text, times);
	if (!progress.drained)
		printf("To wait until it is drained: lbctl drain %s %s --wait\n", wait->service,
		       wait->address);
	return 0;
}

static int read_wait(const struct call *call, struct wait *ret, struct error *err)
{
	*ret = (struct wait){.timeout_ms = UINT64_MAX,
			     .has_force = call_option(call, "--force-after"),
			     .started_ms = clock_monotonic_ms(),
			     .terminal = isatty(STDOUT_FILENO) && !call->json,
			     .quiet = call->json};
	if (call_duration(call, "--timeout", &ret->timeout_ms, err) ||
	    call_duration(call, "--force-after", &ret->force_after_ms, err))
		return -EINVAL;
	if (strlen(call_argument(call, 0)) >= sizeof(ret->service))
		return error_set(err, -EINVAL, "drain: %s: expected a service, of at most 63 bytes",
				 call_argument(call, 0));
	strcpy(ret->service, call_argument(call, 0));
	return show_read_backend("drain", call_argument(call, 1), ret->backend, err);
}

/* The names and the address that lbd has: what was given may be a VIP, or a name. */
static void take_names(struct wait *wait, const json_t *backend)
{
	snprintf(wait->address, sizeof(wait->address), "%s", json_text(backend, "address"));
	if (!*wait->address)
		snprintf(wait->address, sizeof(wait->address), "%.45s", wait->backend);
	else
		show_backend(backend, wait->backend);
	if (*json_text(backend, "service"))
		snprintf(wait->service, sizeof(wait->service), "%s", json_text(backend, "service"));
}

static json_t *drain_request(const struct wait *wait)
{
	json_t *body = json_pack("{s:s, s:s, s:b}", "service", wait->service, "address",
				 wait->backend, "on", 1);

	if (body && wait->has_force)
		json_object_set_new(body, "force_after_ms",
				    json_integer((json_int_t)wait->force_after_ms));
	return body;
}

static int run_drain(struct call *call, struct error *err)
{
	bool waits = call_option(call, "--wait") || call_option(call, "--timeout");
	json_t *answer = NULL;
	struct wait wait;
	int rc = read_wait(call, &wait, err);

	if (rc)
		return rc;
	rc = call_post(call, "/v1/backend/drain", drain_request(&wait), &answer, err);
	if (rc)
		return rc;
	take_names(&wait, json_object_get(answer, "backend"));
	if (waits)
		rc = wait_drained(call, &wait, answer, err);
	if (!rc && call->json)
		rc = show_json(answer, err);
	else if (!rc && !waits)
		rc = show_begun(&wait, answer);
	json_decref(answer);
	return rc;
}

REGISTER(verb, drain) = {
    .name = "drain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "stop new flows to a backend, and optionally wait until it is drained",
    .details =
	"The backend keeps the flows it has. With --wait, lbctl exits when no flow depends on the "
	"backend any more (exit status 0) or when --timeout has passed (exit status 3). "
	"Interrupting the wait does not end the drain; `lbctl backend undrain` does.\n\n"
	"Active flows are those that lbd tracks. A slot is kept for older, untracked flows until "
	"none of them has sent a packet for a whole idle timeout. The progress shows what holds "
	"the drain: flows and slots, how long it has been draining, and when the last of their "
	"packets came.\n\n"
	"A drain has no deadline unless --force-after sets one. lbd keeps the deadline even if "
	"lbctl is interrupted or lbd is restarted. At the deadline the remaining flows are given "
	"up: their packets go to other backends and their connections break. lbctl prints how many "
	"flows that were; the exit status is 0. A backend that is removed while it drains keeps its "
	"deadline, until lbd is restarted. To drop the deadline: `lbctl backend undrain`, then "
	"drain again.",
    .arguments = {ARGUMENT("SERVICE", WORDS_SERVICE), ARGUMENT("BACKEND", WORDS_BACKEND)},
    .options =
	{{.name = "--wait", .help = "wait until it is drained and show what remains"},
	 {.name = "--timeout",
	  .value = "TIME",
	  .help = "limit of the wait, such as 60s, 5m or 1h; implies --wait. Default: no limit"},
	 {.name = "--force-after",
	  .value = "TIME",
	  .help = "end the drain after this time from now and give up the flows that are left"}},
    .examples = {{"drain web 10.0.0.12 --wait --timeout 10m && ssh 10.0.0.12 reboot",
		  "one step of a rolling update"}},
    .run = run_drain,
};
