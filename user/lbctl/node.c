/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl node drain, node undrain: takes the whole balancer out of the traffic, and back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/plural.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

#define POLL_MS  500
#define QUIET_MS 5000 /* routers have moved the traffic if nothing is forwarded for so long */

struct wait {
	uint64_t started_ms, timeout_ms; /* timeout_ms UINT64_MAX: none */
	bool terminal;                   /* rewrite one line */
	bool shown;                      /* also with --json, which prints the answer alone */
};

static const json_t *drain_of(const json_t *node)
{
	const json_t *drain = json_object_get(node, "drain");

	return json_is_object(drain) ? drain : NULL;
}

/* "draining: 4 of 4 VIPs announced with metric 2000", "withdrawn: no interface is attached" */
static void print_node(const json_t *node)
{
	const char *why = json_text(node, "why"), *fault = json_text(node, "fault");

	printf("node: %s: %llu of %llu VIP%s announced", json_text(node, "state"),
	       (unsigned long long)json_number(node, "announced"),
	       (unsigned long long)json_number(node, "vips"), plural_s(json_number(node, "vips")));
	if (json_number(node, "announced"))
		printf(" with metric %llu", (unsigned long long)json_number(node, "metric"));
	fputs(*why ? ": " : "", stdout);
	text_put(stdout, why);
	putchar('\n');
	if (*fault) {
		fputs("Warning: ", stdout);
		text_put(stdout, fault);
		putchar('\n');
	}
}

/* ---- the wait ---- */

static void print_progress(struct wait *wait, const json_t *drain)
{
	char quiet[FORMAT_TEXT];

	if (wait->terminal)
		printf("\r\033[Knode: draining; last packet forwarded %s ago",
		       format_duration(json_number(drain, "quiet_ms") / 1000, quiet));
	else if (!wait->shown)
		printf("node: draining; waiting until no packet is forwarded for %ds\n",
		       QUIET_MS / 1000);
	wait->shown = true;
	fflush(stdout);
}

static int timed_out(const struct wait *wait, const json_t *drain, struct error *err)
{
	char elapsed[FORMAT_TEXT], quiet[FORMAT_TEXT];

	return error_set(
	    err, -ETIME,
	    "node: not drained after %s: the last packet was forwarded %s ago: routers "
	    "still send traffic here. Is there another node that announces the VIPs?\n"
	    "The drain continues. To wait again: lbctl node drain --wait",
	    duration_exact(wait->timeout_ms, elapsed),
	    format_duration(json_number(drain, "quiet_ms") / 1000, quiet));
}

/* One look. 1: go on; 0: nothing is forwarded any more; or -errno. */
static int look(struct call *call, struct wait *wait, struct error *err)
{
	json_t *status = NULL;
	const json_t *drain;
	int rc = call_get(call, "/v1/status", &status, err);

	if (rc)
		return rc;
	drain = drain_of(json_object_get(status, "node"));
	if (!drain)
		rc = error_set(err, -ECANCELED, "node: announces again: somebody ended the drain");
	else if (json_flag(drain, "withdrawn") || json_number(drain, "quiet_ms") >= QUIET_MS)
		rc = 0;
	else if (clock_monotonic_ms() - wait->started_ms + POLL_MS > wait->timeout_ms)
		rc = timed_out(wait, drain, err);
	else
		rc = 1;
	if (rc == 1)
		print_progress(wait, drain);
	json_decref(status);
	return rc;
}

static int wait_quiet(struct call *call, struct wait *wait, struct error *err)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	int rc;

	while ((rc = look(call, wait, err)) == 1)
		nanosleep(&pause, NULL);
	if (wait->terminal && wait->shown)
		fputs(rc ? "\n" : "\r\033[K", stdout);
	return rc;
}

static int withdraw(struct call *call, const struct wait *wait, struct error *err)
{
	char elapsed[FORMAT_TEXT];
	json_t *answer = NULL;
	int rc = call_post(call, "/v1/node/drain", json_pack("{s:b}", "withdraw", 1), &answer, err);

	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else
		printf("node: withdrawn, and no packet is forwarded (waited %s): safe to stop. "
		       "Back: lbctl node undrain\n",
		       format_duration((clock_monotonic_ms() - wait->started_ms) / 1000, elapsed));
	json_decref(answer);
	return rc;
}

static int read_wait(const struct call *call, struct wait *ret, struct error *err)
{
	*ret = (struct wait){.timeout_ms = UINT64_MAX,
			     .started_ms = clock_monotonic_ms(),
			     .terminal = isatty(STDOUT_FILENO) && !call->json,
			     .shown = call->json};
	return call_duration(call, "--timeout", &ret->timeout_ms, err);
}

/* ---- the verbs ---- */

static int run_node_drain(struct call *call, struct error *err)
{
	bool waits = call_option(call, "--wait") || call_option(call, "--timeout");
	json_t *answer = NULL;
	struct wait wait;
	int rc = read_wait(call, &wait, err);

	if (!rc)
		rc = call_post(call, "/v1/node/drain", json_object(), &answer, err);
	if (rc)
		return rc;
	if (!call->json)
		print_node(json_object_get(answer, "node"));
	if (waits && !(rc = wait_quiet(call, &wait, err)))
		rc = withdraw(call, &wait, err);
	else if (!waits && call->json)
		rc = show_json(answer, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, node_drain) = {
    .name = "node drain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "take this balancer out of the traffic, for maintenance",
    .details =
	"Needs `announce:` in the config. The routes of the VIPs get the `drain-metric`, and the "
	"file for keepalived a lower number: routers and the other node move the traffic, and this node "
	"forwards what still arrives. With --wait, lbctl waits until no packet has been forwarded "
	"for 5 s, then has the routes removed: lbd and its host can be stopped (exit status 0). If "
	"--timeout passes first, the exit status is 3, and the routes stay.\n\n"
	"The drain holds over reloads and restarts of lbd, not over a reboot. `lbctl node undrain` "
	"ends it.",
    .options =
	{{.name = "--wait", .help = "wait until no packet is forwarded, then withdraw the VIPs"},
	 {.name = "--timeout",
	  .value = "TIME",
	  .help = "limit of the wait, such as 60s or 5m; implies --wait. Default: no limit"}},
    .examples = {{"node drain --wait --timeout 5m && systemctl restart lbd",
		  "an upgrade that no client notices; then lbctl node undrain"}},
    .run = run_node_drain,
};

static int run_node_undrain(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_post(call, "/v1/node/drain", json_pack("{s:b}", "on", 0), &answer, err);

	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else
		print_node(json_object_get(answer, "node"));
	json_decref(answer);
	return rc;
}

REGISTER(verb, node_undrain) = {
    .name = "node undrain",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "end the drain of this balancer: its VIPs are announced again",
    .examples = {{"node undrain", NULL}},
    .run = run_node_undrain,
};
