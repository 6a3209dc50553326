/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl fleet apply: gives all nodes another config, one after the other, and waits until they have
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/files.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/rollout/rollout.h"

#define POLL_US  200000
#define HEARD_MS 15000 /* until this node has heard of what it has written itself */
#define TEXT_MAX (512 << 10)
#define BUSY     50 /* tries, while this node writes something of its own */

/* ---- the request ---- */

/* "-" is standard input. */
static int read_text(const char *path, char **ret, struct error *err)
{
	bool is_input = !strcmp(path, "-");
	_cleanup_close_ int opened = is_input ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	ssize_t length;

	if (!is_input && opened < 0)
		return error_set(err, -EIO, "%s: %s", path, strerror(errno));
	text = malloc(TEXT_MAX + 2);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	length = file_read(is_input ? STDIN_FILENO : opened, text, TEXT_MAX + 1);
	if (length < 0)
		return error_set(err, -EIO, "%s: %s", path, strerror((int)-length));
	if (length > TEXT_MAX)
		return error_set(err, -EIO, "%s: expected at most %d KiB", path, TEXT_MAX >> 10);
	text[length] = 0;
	if (!length || strlen(text) != (size_t)length)
		return error_set(err, -EIO, "%s: expected a config: it is %s", path,
				 length ? "no text" : "empty");
	*ret = text;
	text = NULL;
	return 0;
}

static int read_most(const struct call *call, json_int_t *ret, struct error *err)
{
	const char *text = call_option(call, "--max-unavailable");
	uint64_t most = 1;
	int rc = text ? parse_whole(text, 1, 64, &most) : 0;

	*ret = (json_int_t)most;
	return rc ? error_set(err, -EINVAL,
			      "fleet apply: --max-unavailable %s: expected a number of 1 to 64",
			      text)
		  : 0;
}

/* Before anything is asked for: what lbctl does not understand must not be found after all nodes
 * have begun. *ret_timeout_ms: UINT64_MAX without one. */
static int read_times(const struct call *call, uint64_t *ret_timeout_ms, struct error *err)
{
	uint64_t limit_ms;
	int rc = call_duration(call, "--limit", &limit_ms, err); /* lbd reads it again */

	*ret_timeout_ms = UINT64_MAX;
	return rc ? rc : call_duration(call, "--timeout", ret_timeout_ms, err);
}

static int make_request(const struct call *call, json_t **ret, struct error *err)
{
	const char *path = call_argument(call, 0);
	bool rollback = call_option(call, "--rollback");
	_cleanup_free_ char *text = NULL;
	json_int_t most;
	int rc;

	if (!path == !rollback)
		return error_set(err, -EINVAL, "fleet apply: expected either FILE or --rollback");
	if ((rc = read_most(call, &most, err)) || (path && (rc = read_text(path, &text, err))))
		return rc;
	*ret = json_pack("{s:I, s:b, s:b}", "max_unavailable", most, "dry_run",
			 call_option(call, "--dry-run") != NULL, "rollback", rollback);
	if (*ret && call_option(call, "--limit"))
		json_object_set_new(*ret, "limit", json_string(call_option(call, "--limit")));
	if (*ret && text && json_object_set_new(*ret, "text", json_string(text))) {
		json_decref(*ret);
		return error_set(err, -EIO, "%s: expected UTF-8", path);
	}
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* This node may be writing its own progress at this moment. */
static int post(struct call *call, json_t *request, json_t **ret, struct error *err)
{
	int rc = call_post(call, "/v1/fleet/apply", json_incref(request), ret, err);

	for (unsigned i = 0; i < BUSY && rc == -EREMOTEIO && strstr(err->text, "try again"); i++) {
		usleep(POLL_US);
		rc = call_post(call, "/v1/fleet/apply", json_incref(request), ret, err);
	}
	return rc;
}

/* ---- the wait ---- */

struct wait {
	uint64_t number; /* of what was written */
	const char *digest;
	uint64_t begin_ms, until_ms;
	json_t *said; /* of each node, its state */
	bool quiet;
};

/* A line for each node that has another state than before. */
static void print_progress(struct wait *wait, const json_t *rollout)
{
	const json_t *node;
	size_t i;

	json_array_foreach (json_object_get(rollout, "nodes"), i, node) {
		const char *name = json_text(node, "name"), *state = json_text(node, "state");

		if (!strcmp(json_text(wait->said, name), state))
			continue;
		json_object_set_new(wait->said, name, json_string(state));
		if (wait->quiet || !strcmp(state, "waiting"))
			continue;
		printf("%s: %s%s", name, state, *json_text(node, "why") ? ": " : "");
		text_put(stdout, json_text(node, "why"));
		putchar('\n');
		fflush(stdout);
	}
}

/* 0: it has ended, well; -EAGAIN: not yet. */
static int judge(struct wait *wait, const json_t *config, struct error *err)
{
	const json_t *write = json_object_get(config, "write"),
		     *rollout = json_object_get(config, "rollout");
	const char *state = json_text(write, "state"), *progress = json_text(rollout, "state");

	if (json_number(write, "number") == wait->number && !strcmp(state, "failed"))
		return error_set(err, -EIO, "nothing was written: %.500s", json_text(write, "why"));
	if (!strcmp(state, "pending"))
		return -EAGAIN;
	if (strcmp(json_text(rollout, "digest"), wait->digest) != 0)
		return clock_monotonic_ms() - wait->begin_ms < HEARD_MS
			   ? -EAGAIN
			   : error_set(err, -EIO,
				       "etcd has another config by now: lbctl fleet shows it");
	print_progress(wait, rollout);
	if (!strcmp(progress, "stopped"))
		return error_set(err, -EIO,
				 "the rollout is stopped: %.400s. To put the former config back: "
				 "lbctl fleet apply --rollback",
				 json_text(rollout, "why"));
	return strcmp(progress, "done") ? -EAGAIN : 0;
}

static int wait_for_end(struct call *call, struct wait *wait, json_t **ret, struct error *err)
{
	int rc = -EAGAIN;

	while (rc == -EAGAIN) {
		json_t *answer = NULL;

		rc = call_get(call, "/v1/fleet", &answer, err);
		if (!rc)
			rc = judge(wait, json_object_get(answer, "config"), err);
		if (!rc)
			*ret = answer;
		else
			json_decref(answer);
		if (rc == -EAGAIN && clock_monotonic_ms() >= wait->until_ms)
			return error_set(err, -ETIME,
					 "the rollout goes on: lbctl fleet shows how far it is");
		if (rc == -EAGAIN)
			usleep(POLL_US);
	}
	return rc;
}

static int run_wait(struct call *call, const json_t *written, uint64_t timeout_ms,
		    struct error *err)
{
	struct wait wait = {.number = json_number(written, "write"),
			    .digest = json_text(written, "digest"),
			    .begin_ms = clock_monotonic_ms(),
			    .until_ms = UINT64_MAX,
			    .said = json_object(),
			    .quiet = call->json};
	json_t *answer = NULL;
	char count[64];
	int rc;

	if (timeout_ms != UINT64_MAX)
		wait.until_ms = wait.begin_ms + timeout_ms;
	rc = wait_for_end(call, &wait, &answer, err);
	json_decref(wait.said);
	if (rc)
		return rc;
	if (call->json) {
		rc = show_json(answer, err);
	} else {
		rollout_count(json_object_get(json_object_get(answer, "config"), "rollout"), count,
			      sizeof(count));
		printf("rolled out: %s\n", count);
	}
	json_decref(answer);
	return rc;
}

/* ---- the verb ---- */

static void print_trial(const json_t *answer, bool is_trial)
{
	uint64_t changed = json_number(answer, "changed");
	char some[64];

	printf("the config is valid on this node, and %s %s\n", is_trial ? "would make" : "makes",
	       changed ? format_plural(changed, "change", some) : "no change");
	show_changes(answer);
}

static int run(struct call *call, struct error *err)
{
	bool is_trial = call_option(call, "--dry-run");
	json_t *request = NULL, *answer = NULL;
	uint64_t timeout_ms;
	int rc = read_times(call, &timeout_ms, err);

	if (rc || (rc = make_request(call, &request, err)))
		return rc;
	rc = post(call, request, &answer, err);
	json_decref(request);
	if (rc)
		return rc;
	if (!call->json)
		print_trial(answer, is_trial);
	if (!is_trial && !call_option(call, "--no-wait"))
		rc = run_wait(call, answer, timeout_ms, err);
	else if (call->json)
		rc = show_json(answer, err);
	json_decref(answer);
	return rc;
}

REGISTER(verb, fleet_apply) = {
    .name = "fleet apply",
    .group = VERB_CHANGE,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "give all nodes of a fleet another config, one after the other",
    .details =
	"For nodes that were started with -c etcd://.... The file is checked on this node as a "
	"reload would, and written to etcd together with the record of a rollout; the one before "
	"is kept there. The nodes then take their turns: each applies it, waits until it is UP and "
	"no more of its services are down than before, and says that it is done. A node on which "
	"that fails, or takes longer than --limit, stops the rollout: it is named, with the reason, the exit status "
	"is 1, and the nodes that had no turn keep the former config. What is no valid config on "
	"this node is written nowhere.\n\n"
	"A node that is not there has no turn, and nobody waits for it: it takes the config when "
	"it is back. One that goes away in its turn stops the rollout until it is back; to go on "
	"without it, apply the file again.",
    .arguments = {OPTIONAL("FILE", WORDS_FILE)},
    .options = {{.name = "--max-unavailable",
		 .value = "N",
		 .help = "nodes that take their turn at the same time; default 1"},
		{.name = "--limit",
		 .value = "TIME",
		 .help = "until a node must be usable with the config, or has failed; default 60s"},
		{.name = "--rollback", .help = "the config before that in etcd, instead of a file"},
		{.name = "--dry-run",
		 .help = "only check the file here, and print what it would change"},
		{.name = "--no-wait", .help = "do not wait until all nodes have it"},
		{.name = "--timeout",
		 .value = "TIME",
		 .help = "limit of the wait, such as 10m: exit status 3, and the rollout goes on"}},
    .examples = {{"fleet apply fleet.yaml --dry-run", "what would change on this node?"},
		 {"fleet apply fleet.yaml", NULL},
		 {"fleet apply --rollback", "back to the config before"}},
    .run = run,
};
