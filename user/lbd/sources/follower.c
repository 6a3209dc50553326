/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config of a fleet while lbd runs: what etcd has is heard from the source process, and taken
 * over by state in a task, when it is this node's turn. What cannot be read or used changes
 * nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/printable.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "documents.h"
#include "prepare.h"
#include "process.h"

#define AGAIN_MS  5000         /* what was missing on this machine may be there */
#define LOOK_MS   200          /* whether it is */
#define REST_MS   500          /* between two texts, and so long as the first took */
#define WARN_MS   10000        /* between two lines that say that etcd cannot be read */
#define TEXT_MAX  (512u << 10) /* with the one before, it has to fit into one request to etcd */
#define TEXT_ROOM 1024

enum order { ORDER_NONE, ORDER_TURN, ORDER_WRITE };

struct config_follower {
	struct config_follower_options options;
	struct source_process *process;
	struct config_from used; /* as the kind has prepared it */
	void *run;
	struct event *again, *soon;
	uint64_t prepared_ms;   /* CLOCK_MONOTONIC: its files were looked at */
	struct aside *prepares; /* they are being looked at */
	/* what etcd has */
	struct source_list heard;
	uint64_t digest; /* of its config; 0: not heard yet */
	struct rollout rollout;
	bool has_rollout;
	uint64_t heard_ms, failed_ms; /* CLOCK_MONOTONIC */
	uint64_t warned_ms;
	bool said; /* that it has failed */
	char why[SOURCE_WHY];
	/* what this node does about it */
	enum order ordered; /* that has not ended */
	char *record;       /* that it writes */
	bool outdated;      /* it has ended, and etcd was not heard since */
	bool applies;       /* a task is under way or waits */
	uint64_t rest_ms;   /* CLOCK_MONOTONIC until when none of another text begins */
	char *text;         /* of it */
	uint64_t refused_digest, confirmed_digest;
	char refused[TEXT_ROOM], waits[ROLLOUT_WHY];
	uint64_t proves_ms;   /* CLOCK_MONOTONIC since when; 0: it does not */
	unsigned down_before; /* services, before the config was taken over */
	struct config_write write;
};

static const char *node_of(const struct config_follower *follower)
{
	return follower->options.where->from.node;
}

static const char *heard_text(const struct config_follower *follower)
{
	return follower->heard.documents[SOURCE_CONFIG].bytes;
}

static bool is_in_force(const struct config_follower *follower)
{
	const char *text = state_remote_text(follower->options.state);

	return follower->digest && text && !strcmp(text, heard_text(follower));
}

/* ---- how etcd is doing ---- */

/* Once; of one that comes and goes not each time. */
static void say_failure(struct config_follower *follower)
{
	if (!follower->failed_ms || follower->said || !log_is_due(&follower->warned_ms, WARN_MS))
		return;
	follower->said = true;
	events_log(EVENT_source_failed, LOG_WARNING,
		   &(struct event_about){.why = follower->why, .measured = true},
		   "config from %s: %s; the config in force stays", follower->options.where->name,
		   follower->why);
}

static void fail(struct config_follower *follower, const char *why)
{
	snprintf(follower->why, sizeof(follower->why), "%.*s", SOURCE_WHY - 1, why);
	make_printable(follower->why, false);
	if (!follower->failed_ms)
		follower->failed_ms = clock_monotonic_ms();
	say_failure(follower);
}

static void succeed(struct config_follower *follower)
{
	follower->heard_ms = clock_monotonic_ms();
	follower->options.is_copy = false;
	follower->failed_ms = 0;
	*follower->why = 0;
	if (follower->said)
		events_log(EVENT_source_recovered, LOG_INFO,
			   &(struct event_about){.measured = true},
			   "config from %s: can be read again", follower->options.where->name);
	follower->said = false;
}

/* ---- orders ---- */

static void look(struct config_follower *follower);

/* Takes over body and record. 0, or -EBUSY: not now. */
static int order(struct config_follower *follower, enum order what, char *body, char *record)
{
	if (!source_process_order(follower->run, body)) { /* which has freed it */
		free(record);
		return -EBUSY;
	}
	follower->ordered = what;
	free(follower->record);
	follower->record = record;
	return 0;
}

static int write_documents(struct config_follower *follower, enum order what,
			   const struct rollout *rollout, const char *config, const char *former)
{
	const struct source_document *heard = follower->heard.documents;
	char *record = follower->run ? rollout_format(rollout) : NULL, *body;
	const struct documents_change change = {.config = config,
						.former = former,
						.rollout = record,
						.config_revision = heard[SOURCE_CONFIG].revision,
						.rollout_revision = heard[SOURCE_ROLLOUT].revision};

	body = record ? documents_write(follower->options.where->from.prefix, &change) : NULL;
	if (!body) {
		free(record);
		return -ENOMEM;
	}
	return order(follower, what, body, record);
}

/* What this node says of itself in the record. */
static void say(struct config_follower *follower, enum rollout_progress progress, const char *why)
{
	struct rollout *next = malloc(sizeof(*next));

	if (!next)
		return; /* on_again */
	*next = follower->rollout;
	if (rollout_set(next, node_of(follower), progress, why))
		snprintf(follower->waits, sizeof(follower->waits),
			 "the record of the rollout has %d nodes already", ROLLOUT_NODES_MAX);
	else
		write_documents(follower, ORDER_TURN, next, NULL, NULL);
	free(next);
}

/* Has what was written been heard already? */
static bool was_heard(const struct config_follower *follower)
{
	const char *heard = follower->heard.documents[SOURCE_ROLLOUT].bytes;

	return heard && follower->record && !strcmp(heard, follower->record);
}

static void on_done(void *arg, uint32_t number, enum source_outcome outcome, const char *why)
{
	struct config_follower *follower = arg;
	struct config_write *written = &follower->write;

	if (follower->ordered == ORDER_WRITE) {
		written->pending = false;
		written->made = outcome == SOURCE_MADE;
		snprintf(written->why, sizeof(written->why), "%s", written->made ? "" : why);
		make_printable(written->why, false);
	}
	follower->ordered = ORDER_NONE;
	follower->outdated = !was_heard(follower);
	look(follower);
}

/* ---- tasks ---- */

static unsigned services_down(const struct state *state)
{
	struct state_summary summary;

	state_summarize(state, &summary);
	return summary.services_down + summary.services_blind;
}

static void note_refusal(struct config_follower *follower, uint64_t digest, const char *why)
{
	follower->refused_digest = digest;
	snprintf(follower->refused, sizeof(follower->refused), "%s", why);
}

static void run_apply(void *arg)
{
	const struct reload_options options = {0};
	struct config_follower *follower = arg;
	struct state *state = follower->options.state;
	char *text = follower->text;
	uint64_t digest = rollout_digest(text), begin_ms = clock_monotonic_ms(), end_ms;
	struct error err;

	follower->down_before = services_down(state);
	if (state_remote_reload(state, text, &options, NULL, &err)) {
		note_refusal(follower, digest, err.text);
		follower->confirmed_digest = 0; /* if the one in force is back */
	} else {
		note_refusal(follower, 0, "");
		follower->confirmed_digest = digest;
		follower->proves_ms = clock_monotonic_ms();
	}
	free(text);
	follower->text = NULL;
	follower->applies = false;
	end_ms = clock_monotonic_ms();
	follower->rest_ms = end_ms + REST_MS + (end_ms - begin_ms);
	look(follower);
}

static void run_confirm(void *arg)
{
	struct config_follower *follower = arg;

	state_remote_confirm(follower->options.state);
	follower->applies = false;
	look(follower);
}

/* False: memory is short: on_again. */
static bool begin_task(struct config_follower *follower, task_fn *run)
{
	follower->applies = true;
	if (!follower->options.tasks)
		run(follower);
	else if (tasks_add(follower->options.tasks, run, follower))
		return follower->applies = false;
	return true;
}

/* Now, or after a rest: texts that keep coming leave lbd time for the rest. */
static void apply(struct config_follower *follower)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct timeval wait;

	if (now_ms < follower->rest_ms) {
		wait = clock_span_ms(follower->rest_ms - now_ms);
		event_add(follower->soon, &wait);
		return;
	}
	follower->text = strdup(heard_text(follower));
	if (!follower->text || begin_task(follower, run_apply))
		return;
	free(follower->text);
	follower->text = NULL;
}

/* Nothing is to be changed: but the copy may be missing, and what was refused is no longer there.
 */
static void confirm(struct config_follower *follower)
{
	if (!is_in_force(follower) || follower->confirmed_digest == follower->digest)
		return;
	follower->confirmed_digest = follower->digest;
	note_refusal(follower, 0, "");
	if (!begin_task(follower, run_confirm))
		follower->confirmed_digest = 0;
}

/* ---- is the node usable? ---- */

/* The first one, for whom no more than those before may be down. */
static void name_down(const struct state *state, char why[ROLLOUT_WHY])
{
	struct service *const *services;
	unsigned count;

	services = state_services(state, &count);
	for (unsigned i = 0; i < count; i++)
		if (services[i]->status == SERVICE_DOWN || services[i]->status == SERVICE_BLIND) {
			snprintf(why, ROLLOUT_WHY, "service %.64s is %s: %.120s",
				 services[i]->config->name,
				 service_status_name(services[i]->status),
				 service_why(services[i]));
			return;
		}
}

/* A node that was told to drain is as it should be. */
static bool is_usable(const struct config_follower *follower, char why[ROLLOUT_WHY])
{
	const struct config_follower_options *options = &follower->options;
	struct announce_node node = {0};

	*why = 0;
	if (services_down(options->state) > follower->down_before) {
		name_down(options->state, why);
		return false;
	}
	if (fleet_is_joining(options->fleet, why))
		return false;
	if (options->announce)
		announce_node(options->announce, &node);
	if (node.on && node.state != NODE_UP && !node.drains)
		snprintf(why, ROLLOUT_WHY, "the node is %s: %.150s",
			 announce_state_name(node.state), node.why);
	return !*why;
}

static void prove(struct config_follower *follower)
{
	const struct timeval wait = clock_span_ms(LOOK_MS);
	uint64_t now = clock_monotonic_ms();
	char failed[ROLLOUT_WHY], limit[DURATION_TEXT];

	if (!follower->proves_ms)
		follower->proves_ms = now; /* lbd was started again in its turn */
	if (is_usable(follower, follower->waits)) {
		say(follower, ROLLOUT_DONE, "");
	} else if (now - follower->proves_ms >= follower->rollout.limit_ms) {
		snprintf(failed, sizeof(failed), "not usable %s after the change: %.180s",
			 duration_exact(follower->rollout.limit_ms, limit), follower->waits);
		say(follower, ROLLOUT_FAILED, failed);
	} else {
		event_add(follower->soon, &wait);
	}
}

/* ---- the next step ---- */

static void look(struct config_follower *follower)
{
	struct rollout_view view = {.rollout = follower->has_rollout ? &follower->rollout : NULL,
				    .live = follower->heard.documents[SOURCE_LIVE].bytes,
				    .digest = follower->digest,
				    .in_force = is_in_force(follower),
				    .refused = follower->refused_digest == follower->digest,
				    .node = node_of(follower)};

	if (!follower->digest || follower->applies || follower->ordered || follower->outdated)
		return;
	switch (rollout_decide(&view, follower->waits)) {
	case ROLLOUT_APPLY:
		apply(follower);
		break;
	case ROLLOUT_TAKE:
		note_refusal(follower, 0, "");
		say(follower, ROLLOUT_APPLYING, "");
		break;
	case ROLLOUT_PROVE:
		prove(follower);
		break;
	case ROLLOUT_ADMIT:
		say(follower, ROLLOUT_FAILED, follower->refused);
		break;
	case ROLLOUT_SETTLE:
		say(follower, ROLLOUT_DONE, "");
		break;
	case ROLLOUT_REST:
		confirm(follower);
		break;
	}
}

static void on_soon(int fd, short what, void *arg)
{
	look(arg);
}

/* ---- reports ---- */

/* 0, or -EINVAL: then nothing is believed, as a node could take a turn that is not its own. */
static int read_record(struct config_follower *follower, const struct source_list *list)
{
	const struct source_document *record = &list->documents[SOURCE_ROLLOUT];
	struct rollout *rollout = malloc(sizeof(*rollout));
	char why[SOURCE_WHY];
	struct error err;
	int rc = rollout ? 0 : error_set(&err, -ENOMEM, "out of memory");

	if (!rc && record->bytes)
		rc = rollout_parse(record->bytes, record->length, rollout, &err);
	if (!rc) {
		follower->has_rollout = record->bytes;
		if (record->bytes)
			follower->rollout = *rollout;
	} else {
		snprintf(why, sizeof(why), "%.100s/rollout: %.120s",
			 follower->options.where->from.prefix, err.text);
		fail(follower, why);
	}
	free(rollout);
	return rc;
}

static void on_report(void *arg, struct source_list *list, const char *why)
{
	struct config_follower *follower = arg;
	const struct source_document *config = list ? &list->documents[SOURCE_CONFIG] : NULL;

	if (!list) {
		fail(follower, why);
		return;
	}
	if (!config->bytes)
		fail(follower, config->revision ? "the key is empty" : "the key is not there");
	if (!config->bytes || read_record(follower, list)) {
		source_list_done(list);
		return;
	}
	succeed(follower);
	source_list_done(&follower->heard);
	follower->heard = *list;
	*list = (struct source_list){0};
	follower->digest = rollout_digest(heard_text(follower));
	follower->outdated = false;
	look(follower);
}

/* ---- following ---- */

/* The machine's files may say something else than when it was started: a certificate is replaced
 * before it expires. While it works with what they said, that counts. */
static void on_prepared(void *arg, struct source_prepared *prepared)
{
	struct config_follower *follower = arg;

	follower->prepares = NULL;
	if (prepared->rc) {
		if (!follower->run || follower->failed_ms)
			fail(follower, prepared->err.text);
		return;
	}
	if (follower->run && config_from_equal(&prepared->from, &follower->used))
		return;
	if (follower->run)
		source_process_stop(follower->run);
	config_from_done(&follower->used);
	follower->used = prepared->from;
	prepared->from = (struct config_from){0};
	follower->run =
	    source_process_start(follower->process, prepared->kind, &follower->used, follower);
	if (follower->ordered) /* nobody will say how it has ended */
		on_done(follower, 0, SOURCE_LOST, "the connection to etcd was replaced");
}

static void on_prepare_late(void *arg)
{
	struct config_follower *follower = arg;

	if (!follower->run || follower->failed_ms)
		fail(follower, source_prepare_late(follower->prepares));
}

static void prepare(struct config_follower *follower)
{
	const struct source_preparing options = {.base = follower->options.base,
						 .done = on_prepared,
						 .late = on_prepare_late,
						 .arg = follower};

	if (follower->prepares)
		return;
	follower->prepares = source_prepare_aside(source_kind_find(SOURCE_KIND_FLEET),
						  &follower->options.where->from, &options);
	if (!follower->prepares && !follower->run)
		fail(follower, PREPARE_NOT); /* it is tried again */
}

static void on_again(int fd, short what, void *arg)
{
	struct config_follower *follower = arg;

	if (log_is_due(&follower->prepared_ms, PREPARE_MS) || follower->failed_ms || !follower->run)
		prepare(follower);
	say_failure(follower);
	look(follower);
}

/* ---- writing ---- */

static int check_size(const char *text, struct error *err)
{
	if (strlen(text) <= TEXT_MAX)
		return 0;
	return error_set(err, -EINVAL, "text: %zu bytes: expected at most %u KiB", strlen(text),
			 TEXT_MAX >> 10);
}

static int can_write(const struct config_follower *follower, struct error *err)
{
	if (follower->failed_ms)
		return error_set(err, -EBUSY, "etcd cannot be read: %s", follower->why);
	if (!follower->digest)
		return error_set(err, -EBUSY, "etcd has not answered yet: try again");
	if (follower->ordered || follower->outdated)
		return error_set(err, -EBUSY, "another write is under way: try again");
	return 0;
}

static int write_config(struct config_follower *follower,
			const struct config_write_options *options, const char *text)
{
	const char *present = heard_text(follower);
	struct rollout *rollout = calloc(1, sizeof(*rollout));
	bool same = !strcmp(text, present);
	int rc;

	if (!rollout)
		return -ENOMEM;
	rollout->digest = rollout_digest(text);
	rollout->most = options->most;
	rollout->limit_ms = options->limit_ms;
	rollout->time_ms = clock_wall_ms();
	snprintf(rollout->by, sizeof(rollout->by), "%s", options->by);
	rc = write_documents(follower, ORDER_WRITE, rollout, same ? NULL : text,
			     same ? NULL : present);
	free(rollout);
	return rc;
}

int config_follower_write(struct config_follower *follower,
			  const struct config_write_options *options, struct config_written *ret,
			  struct error *err)
{
	const struct reload_options trial = {.trial = true};
	const char *former = follower->heard.documents[SOURCE_FORMER].bytes;
	const char *given = options->text ? options->text : former;
	_cleanup_free_ char *text = given ? strdup(given) : NULL; /* etcd may be heard meanwhile */
	int rc = can_write(follower, err);

	if (rc)
		return rc;
	if (!text)
		return given ? error_set(err, -ENOMEM, "out of memory")
			     : error_set(err, -ENOENT, "etcd has no former config to put back");
	if ((rc = check_size(text, err)) ||
	    (rc = state_remote_reload(follower->options.state, text, &trial, &ret->report, err)))
		return rc;
	rc = options->trial ? 0 : can_write(follower, err);
	if (!rc && !options->trial) {
		rc = write_config(follower, options, text);
		if (rc)
			error_set(err, rc, "it cannot be written now: try again");
		else
			follower->write = (struct config_write){
			    .number = follower->write.number + 1, .pending = true};
	}
	ret->number = follower->write.number;
	ret->digest = rollout_digest(text);
	if (rc)
		reload_report_done(&ret->report);
	return rc;
}

void config_follower_look(const struct config_follower *follower, struct config_follower_view *ret)
{
	const struct source_document *heard = follower->heard.documents;
	bool about = follower->has_rollout && follower->rollout.digest == follower->digest;

	*ret = (struct config_follower_view){
	    .where = follower->options.where,
	    .heard_ms = follower->heard_ms,
	    .failed_ms = follower->failed_ms,
	    .why = follower->why,
	    .revision = heard[SOURCE_CONFIG].revision,
	    .in_force = is_in_force(follower),
	    .is_copy = follower->options.is_copy,
	    .refused = follower->refused,
	    .waits = follower->waits,
	    .has_former = heard[SOURCE_FORMER].bytes,
	    .rollout = about ? &follower->rollout : NULL,
	    .live = heard[SOURCE_LIVE].bytes ? heard[SOURCE_LIVE].bytes : "",
	    .write = follower->write,
	};
}

/* ---- start and end ---- */

int config_follower_new(const struct config_follower_options *options, struct config_follower **ret,
			struct error *err)
{
	struct config_follower *follower = calloc(1, sizeof(*follower));

	if (!follower)
		return error_set(err, -ENOMEM, "out of memory");
	follower->options = *options;
	follower->again = event_new(options->base, -1, EV_PERSIST, on_again, follower);
	follower->soon = event_new(options->base, -1, 0, on_soon, follower);
	if (!follower->again || !follower->soon ||
	    source_process_new(options->base, on_report, &follower->process)) {
		config_follower_free(follower);
		return error_set(err, -ENOMEM, "out of memory");
	}
	source_process_on_done(follower->process, on_done);
	*ret = follower;
	return 0;
}

void config_follower_begin(struct config_follower *follower)
{
	const struct timeval again = clock_span_ms(AGAIN_MS);

	event_add(follower->again, &again);
	follower->prepared_ms = clock_monotonic_ms();
	prepare(follower);
}

void config_follower_free(struct config_follower *follower)
{
	if (!follower)
		return;
	aside_drop(follower->prepares);
	if (follower->run)
		source_process_stop(follower->run);
	source_process_free(follower->process);
	if (follower->again)
		event_free(follower->again);
	if (follower->soon)
		event_free(follower->soon);
	config_from_done(&follower->used);
	source_list_done(&follower->heard);
	free(follower->record);
	free(follower->text);
	free(follower);
}
