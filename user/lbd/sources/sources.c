/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One source for each service with `backends-from`. What it reports is judged here and handed to
 * state in a task; what it names stays until it names something else. */
#include "sources.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/plural.h"
#include "common/printable.h"
#include "common/text.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "prepare.h"
#include "process.h"

#define AGAIN_MS      5000  /* what state could not take over, or what may have changed for it */
#define REST_MS       100   /* between two changes */
#define REST_TIMES    4     /* and so many times as long as the first took ... */
#define REST_MAX_MS   30000 /* ... at most: lbd itself may have been stopped meanwhile */
#define WARN_FIRST_MS 10000 /* of one that fails now and then */
#define WARN_EVERY_MS 60000 /* of one source, while it fails for other reasons */
#define LINES         20    /* about failures, of all sources ... */
#define LINES_MS      10000 /* ... in this time: what all share may fail for each of them */
#define KINDS_MAX     8
#define PREPARES_MAX  8 /* sources whose files are read at the same time, but those that hang */

struct opened {
	const struct source_kind *kind;
	struct source_env env;
};

struct source {
	TAILQ_ENTRY(source) link;
	struct source_table *sources;
	char *service;
	struct config_from from; /* as the config has it; its own copy */
	struct config_from used; /* and as the kind has prepared it */
	const struct opened *opened;
	void *run;
	struct source_list current; /* what state has taken over last */
	struct source_list pending; /* what it is to take over next; empty: nothing */
	bool fresh;                 /* now, not when it is tried again */
	bool applying;              /* what was pending is being taken over, with pauses */
	bool shadowed;              /* something of it is there by other means, which may end */
	struct source_status status;
	uint64_t warned_ms, ignored_ms, prepared_ms;
	bool bad;               /* the last that it reported was a failure */
	bool repeated;          /* what is pending was taken over before */
	bool said;              /* that it has failed */
	bool unsaid;            /* it fails for another reason than was said */
	bool ignores;           /* it was said that some of its backends are ignored */
	bool stale;             /* its files are to be looked at */
	struct aside *prepares; /* they are being looked at */
	bool late;              /* ... and that takes long */
	bool wanted;            /* while the sources are compared with a config */
};

struct source_table {
	struct source_table_options options;
	TAILQ_HEAD(source_list_head, source) list;
	struct opened opened[KINDS_MAX];
	unsigned opened_count;
	const struct config *config;    /* that they were compared with last */
	struct source_process *process; /* of the kinds that are confined */
	struct event *again, *rested;
	uint64_t rest_until_ms;
	bool apply_waits;
	unsigned preparing; /* sources whose files are being looked at, without those that hang */
	uint64_t lines_ms;  /* lines are counted since then */
	unsigned lines;
	unsigned singly; /* so many are taken over each by itself: all at once could not be */
};

const struct source_kind *source_kind_find(const char *name)
{
	registry_for_each (source_kind, kind)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* ---- status ---- */

static void note(struct source *source)
{
	state_source_note(source->sources->options.state, source->service, &source->status);
}

static bool may_say(struct source_table *sources)
{
	if (log_is_due(&sources->lines_ms, LINES_MS))
		sources->lines = 0;
	return sources->lines++ < LINES;
}

/* Once, and again for other reasons; one that comes too soon after the last is said later. */
static void say_failure(struct source *source)
{
	const struct source_status *status = &source->status;

	if (!status->failed_ms || (source->said && !source->unsaid) ||
	    !log_is_due(&source->warned_ms, source->said ? WARN_EVERY_MS : WARN_FIRST_MS) ||
	    !may_say(source->sources))
		return;
	source->said = true;
	source->unsaid = false;
	events_log(
	    EVENT_source_failed, LOG_WARNING,
	    &(struct event_about){.service = source->service, .why = status->why, .measured = true},
	    "service %s: backends from %s %s: %s; those that it named last stay", source->service,
	    source->opened->kind->name, config_from_what(&source->from), status->why);
}

static void fail(struct source *source, const char *why)
{
	struct source_status *status = &source->status;
	char before[SOURCE_WHY];

	memcpy(before, status->why, sizeof(before));
	status->failures++;
	if (!status->failed_ms)
		status->failed_ms = clock_monotonic_ms();
	snprintf(status->why, sizeof(status->why), "%s", why);
	make_printable(status->why, false);
	source->unsaid |= strcmp(before, status->why) != 0;
	note(source);
	say_failure(source);
}

static void succeed(struct source *source)
{
	struct source_status *status = &source->status;

	if (source->said)
		events_log(EVENT_source_recovered, LOG_INFO,
			   &(struct event_about){.service = source->service, .measured = true},
			   "service %s: backends from %s %s: works again, %u named",
			   source->service, source->opened->kind->name,
			   config_from_what(&source->from), source->current.count);
	source->said = source->unsaid = false;
	status->failed_ms = 0;
	*status->why = 0;
	status->listed_ms = clock_monotonic_ms();
	status->named = source->current.count;
	status->lists++;
	note(source);
}

/* ---- to state ---- */

static void describe(const struct source_item *item, struct source_backend *ret)
{
	*ret = (struct source_backend){.address = item->address,
				       .weight = item->weight,
				       .priority = (uint8_t)item->priority,
				       .port = (uint16_t)item->port,
				       .zone = *item->zone ? item->zone : NULL,
				       .name = *item->name ? item->name : NULL,
				       .labels_count = item->labels_count};
	for (unsigned i = 0; i < item->labels_count; i++)
		ret->labels[i] = (struct config_label){item->labels[i].key, item->labels[i].value};
}

/* Once; of what comes and goes not each time. */
static void say_ignored(struct source *source)
{
	const struct source_status *status = &source->status;

	if (!status->ignored || source->ignores ||
	    !log_is_due(&source->ignored_ms, WARN_FIRST_MS) || !may_say(source->sources))
		return;
	source->ignores = true;
	log_warning("service %s: backends from %s %s: %u ignored, first: %s", source->service,
		    source->opened->kind->name, config_from_what(&source->from), status->ignored,
		    status->ignored_why);
}

static void note_ignored(struct source *source, const struct source_list *list,
			 const struct source_applied *applied)
{
	struct source_status *status = &source->status;

	status->ignored = list->ignored + applied->ignored;
	snprintf(status->ignored_why, sizeof(status->ignored_why), "%s",
		 list->ignored ? list->why : applied->why);
	source->ignores &= status->ignored != 0;
	say_ignored(source);
}

/* Lists that are being taken over. */
struct taking {
	struct source **sources;
	struct source_list *lists;
	struct source_change *changes;
	struct source_backend *backends; /* of all lists */
	unsigned count;
};

static void taking_done(struct taking *taking)
{
	free(taking->sources);
	free(taking->lists);
	free(taking->changes);
	free(taking->backends);
}

/* Room for those that are fresh, most of them at most. 0 or -ENOMEM. */
static int taking_make(const struct source_table *sources, unsigned most, struct taking *ret)
{
	struct taking taking = {0};
	struct source *source;
	unsigned count = 0, backends = 0;

	for (source = TAILQ_FIRST(&sources->list); source && count < most;
	     source = TAILQ_NEXT(source, link)) {
		count += source->fresh;
		backends += source->fresh ? source->pending.count : 0;
	}
	taking.sources = calloc(count + 1, sizeof(struct source *));
	taking.lists = calloc(count + 1, sizeof(*taking.lists));
	taking.changes = calloc(count + 1, sizeof(*taking.changes));
	taking.backends = calloc(backends + 1, sizeof(*taking.backends));
	*ret = taking;
	return taking.sources && taking.lists && taking.changes && taking.backends ? 0 : -ENOMEM;
}

static void take_lists(struct source_table *sources, unsigned most, struct taking *taking)
{
	struct source_backend *at = taking->backends;
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source && taking->count < most;
	     source = TAILQ_NEXT(source, link)) {
		struct source_list *list = &taking->lists[taking->count];

		if (!source->fresh)
			continue;
		*list = source->pending;
		source->pending = (struct source_list){0};
		source->fresh = false;
		source->applying = true;
		taking->changes[taking->count] =
		    (struct source_change){.service = source->service,
					   .list = at,
					   .count = list->count,
					   .has_ports = source->opened->kind->has_ports};
		for (unsigned i = 0; i < list->count; i++)
			describe(&list->items[i], at++);
		taking->sources[taking->count++] = source;
	}
}

/* Another list may have come for it meanwhile. */
static void put_back(struct source *source, struct source_list *list, bool fresh)
{
	if (source->fresh) {
		source_list_done(list);
		return;
	}
	source->pending = *list;
	source->fresh = fresh;
}

static void was_taken(struct source *source, struct source_list *list,
		      const struct source_change *change)
{
	if (change->rc) {
		fail(source, change->err.text);
		put_back(source, list, false);
		return;
	}
	source->shadowed = change->done.shadowed;
	note_ignored(source, list, &change->done);
	source_list_done(&source->current);
	source->current = *list;
	/* what was taken over before says nothing of how the source is doing now */
	if (!source->bad && (!source->repeated || source->status.failed_ms))
		succeed(source);
	else
		note(source); /* what is ignored may be something else now */
}

/* What could not be made because of one of them, such as a limit, is no fault of the others: then
 * each is taken over by itself. */
static void take_over(struct source_table *sources, struct taking *taking)
{
	int rc = state_source_apply(sources->options.state, taking->changes, taking->count);
	bool singly = rc && rc != -EROFS && rc != -ENOMEM && taking->count > 1;

	for (unsigned i = 0; i < taking->count; i++) {
		struct source *source = taking->sources[i];

		source->applying = false;
		if (singly && taking->changes[i].rc == rc) {
			put_back(source, &taking->lists[i], true);
			sources->singly++;
		} else {
			was_taken(source, &taking->lists[i], &taking->changes[i]);
		}
	}
}

static bool any_fresh(const struct source_table *sources)
{
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source; source = TAILQ_NEXT(source, link))
		if (source->fresh)
			return true;
	return false;
}

/* Who was served by itself gets behind the others. */
static void put_last(struct source_table *sources, struct source *source)
{
	TAILQ_REMOVE(&sources->list, source, link);
	TAILQ_INSERT_TAIL(&sources->list, source, link);
}

static void begin_apply(struct source_table *sources);

static uint64_t rest_after_ms(uint64_t took_ms)
{
	uint64_t rest_ms = REST_MS + REST_TIMES * took_ms;

	return rest_ms < REST_MAX_MS ? rest_ms : REST_MAX_MS;
}

/* The sources stay: what changes the config is a task as well. Other tasks get their turns between
 * two of these. */
static void run_apply(void *arg)
{
	uint64_t start_ms = clock_monotonic_ms(), end_ms;
	struct source_table *sources = arg;
	unsigned most = sources->singly ? 1 : UINT_MAX;
	struct taking taking;

	sources->singly -= sources->singly != 0;
	if (!taking_make(sources, most, &taking)) {
		take_lists(sources, most, &taking);
		if (taking.count)
			take_over(sources, &taking);
		if (taking.count == 1)
			put_last(sources, taking.sources[0]);
	} /* else on_again */
	taking_done(&taking);
	end_ms = clock_monotonic_ms();
	sources->apply_waits = false;
	if (!any_fresh(sources))
		sources->singly = 0;
	if (!sources->singly)
		sources->rest_until_ms = end_ms + rest_after_ms(end_ms - start_ms);
	if (any_fresh(sources))
		begin_apply(sources);
}

/* Now, or after a rest: sources that change all the time leave lbd time for the rest. */
static void begin_apply(struct source_table *sources)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct timeval wait;

	if (sources->apply_waits)
		return;
	if (now_ms < sources->rest_until_ms) {
		wait = clock_span_ms(sources->rest_until_ms - now_ms);
		if (!event_pending(sources->rested, EV_TIMEOUT, NULL))
			event_add(sources->rested, &wait);
		return;
	}
	sources->apply_waits = true;
	if (!sources->options.tasks)
		run_apply(sources);
	else if (tasks_add(sources->options.tasks, run_apply, sources))
		sources->apply_waits = false; /* memory is short: on_again */
}

static void on_rested(int fd, short what, void *arg)
{
	struct source_table *sources = arg;

	if (any_fresh(sources))
		begin_apply(sources);
}

/* Takes list over. */
static void set_pending(struct source *source, struct source_list *list)
{
	source_list_done(&source->pending);
	source->pending = *list;
	*list = (struct source_list){0};
	source->fresh = true;
	source->repeated = false;
	begin_apply(source->sources);
}

/* What state has taken over, or could not, once more. */
static void apply_again(struct source *source)
{
	if (source->applying)
		return;
	if (!source->pending.count && source->current.count) {
		source->pending = source->current;
		source->current = (struct source_list){0};
		source->repeated = true;
	}
	source->fresh = source->pending.count;
}

/* ---- reports ---- */

static void on_report(void *arg, struct source_list *list, const char *why)
{
	struct source *source = arg;
	char text[SOURCE_WHY];

	source->bad = !list || list->count < source->from.min;
	if (!list) {
		fail(source, why);
		return;
	}
	if (source->bad) {
		snprintf(text, sizeof(text),
			 "it names %u backend%s: expected %u (min) or more%s%.160s", list->count,
			 plural_s(list->count), source->from.min,
			 list->ignored ? "; ignored: " : "", list->ignored ? list->why : "");
		source_list_done(list);
		fail(source, text);
		return;
	}
	if (!source->applying && !source->pending.count &&
	    source_list_equal(list, &source->current)) {
		source_list_done(list);
		succeed(source);
		return;
	}
	set_pending(source, list);
}

/* ---- following ---- */

/* The network's answers are read in another process. */
static void follow(struct source *source)
{
	const struct source_kind *kind = source->opened->kind;

	if (kind->confined)
		source->run =
		    source_process_start(source->sources->process, kind, &source->used, source);
	else
		source->run = kind->start(&source->opened->env, &source->used, source);
}

static void stop_following(struct source *source)
{
	const struct source_kind *kind = source->opened ? source->opened->kind : NULL;

	if (source->run && kind->confined)
		source_process_stop(source->run);
	else if (source->run)
		kind->stop(source->run);
	source->run = NULL;
}

/* It cannot be followed: it is tried again. */
static void fail_to_prepare(struct source *source, const char *why)
{
	source->bad = true;
	fail(source, why);
}

/* The machine's files may say something else than when it was started: a token is replaced before
 * it expires. While it works with what they said, that counts. */
static void take_prepared(struct source *source, struct source_prepared *prepared)
{
	if (prepared->rc) {
		if (!source->run || source->status.failed_ms)
			fail_to_prepare(source, prepared->err.text);
		return;
	}
	if (source->run && config_from_equal(&prepared->from, &source->used))
		return;
	stop_following(source);
	config_from_done(&source->used);
	source->used = prepared->from;
	prepared->from = (struct config_from){0};
	follow(source); /* out of memory: the next time */
}

static void prepare_at_once(struct source *source)
{
	struct source_prepared prepared;

	source_prepare(source->opened->kind, &source->from, &prepared);
	take_prepared(source, &prepared);
	config_from_done(&prepared.from);
}

static void prepare_next(struct source_table *sources);

static void on_prepared(void *arg, struct source_prepared *prepared)
{
	struct source *source = arg;

	source->sources->preparing -= !source->late;
	source->late = source->stale = false;
	source->prepares = NULL;
	take_prepared(source, prepared);
	prepare_next(source->sources);
}

/* The others need not wait for it. */
static void on_prepare_late(void *arg)
{
	struct source *source = arg;

	source->late = true;
	source->sources->preparing--;
	if (!source->run || source->status.failed_ms)
		fail_to_prepare(source, source_prepare_late(source->prepares));
	prepare_next(source->sources);
}

static bool reads_files(const struct source *source)
{
	return source_prepare_reads(source->opened->kind, &source->from);
}

static void prepare(struct source *source)
{
	const struct source_preparing options = {.base = source->sources->options.base,
						 .done = on_prepared,
						 .late = on_prepare_late,
						 .arg = source};

	source->stale = false;
	if (!reads_files(source)) {
		if (!source->run)
			prepare_at_once(source);
		return;
	}
	source->prepares = source_prepare_aside(source->opened->kind, &source->from, &options);
	source->sources->preparing += source->prepares != NULL;
	if (!source->prepares && !source->run)
		fail_to_prepare(source, PREPARE_NOT);
}

/* Those that are stale, as many as may be looked at now. */
static void prepare_next(struct source_table *sources)
{
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source && sources->preparing < PREPARES_MAX;
	     source = TAILQ_NEXT(source, link))
		if (source->stale && !source->prepares)
			prepare(source);
}

/* What reads no files does not wait for those that hang. */
static void prepare_all(struct source_table *sources)
{
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source; source = TAILQ_NEXT(source, link))
		if (source->stale && !reads_files(source))
			prepare(source);
	prepare_next(sources);
}

/* ---- now and then ---- */

static void look_after(struct source *source)
{
	if (source->pending.count || source->shadowed)
		apply_again(source);
	source->stale |= log_is_due(&source->prepared_ms, PREPARE_MS) || source->status.failed_ms ||
			 !source->run;
	say_failure(source);
	say_ignored(source);
}

static void on_again(int fd, short what, void *arg)
{
	struct source_table *sources = arg;
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source; source = TAILQ_NEXT(source, link))
		look_after(source);
	prepare_all(sources);
	if (any_fresh(sources))
		begin_apply(sources);
}

/* ---- beside the config ---- */

static void source_free(struct source *source)
{
	TAILQ_REMOVE(&source->sources->list, source, link);
	source->sources->preparing -= source->prepares && !source->late;
	aside_drop(source->prepares);
	stop_following(source);
	if (source->service)
		state_source_note(source->sources->options.state, source->service, NULL);
	source_list_done(&source->current);
	source_list_done(&source->pending);
	config_from_done(&source->from);
	config_from_done(&source->used);
	free(source->service);
	free(source);
}

static const struct opened *find_opened(const struct source_table *sources, const char *kind)
{
	for (unsigned i = 0; i < sources->opened_count; i++)
		if (!strcmp(sources->opened[i].kind->name, kind))
			return &sources->opened[i];
	return NULL;
}

static void source_add(struct source_table *sources, const struct config_service *service)
{
	struct source *source = calloc(1, sizeof(*source));
	bool failed = false;

	if (!source) {
		log_error("service %s: out of memory: its backends-from is not followed",
			  service->name);
		return;
	}
	source->sources = sources;
	source->opened = find_opened(sources, config_from_kind(&service->from));
	source->service = copy_text(service->name, &failed);
	failed |= config_from_copy(&service->from, &source->from) != 0;
	TAILQ_INSERT_TAIL(&sources->list, source, link);
	if (failed || !source->opened) {
		log_error("service %s: out of memory: its backends-from is not followed",
			  service->name);
		source_free(source);
		return;
	}
	note(source);
	source->prepared_ms = clock_monotonic_ms();
	source->stale = true;
}

static struct source *find_source(const struct source_table *sources,
				  const struct config_service *service)
{
	struct source *source;

	for (source = TAILQ_FIRST(&sources->list); source; source = TAILQ_NEXT(source, link))
		if (!strcmp(source->service, service->name) &&
		    config_from_equal(&source->from, &service->from))
			return source;
	return NULL;
}

static void drop_unwanted(struct source_table *sources)
{
	struct source *source = TAILQ_FIRST(&sources->list), *next;

	for (; source; source = next) {
		next = TAILQ_NEXT(source, link);
		if (!source->wanted)
			source_free(source);
		else
			source->wanted = false;
	}
}

/* Those that stay are applied once more: the file may have what they name, or no longer have it. */
static void compare(struct source_table *sources, const struct config *config)
{
	for (unsigned i = 0; i < config->services_count; i++) {
		struct source *source = find_source(sources, &config->services[i]);

		if (!source)
			continue;
		source->wanted = true;
		apply_again(source);
	}
	drop_unwanted(sources);
	for (unsigned i = 0; i < config->services_count; i++)
		if (config_from_kind(&config->services[i].from) &&
		    !find_source(sources, &config->services[i]))
			source_add(sources, &config->services[i]);
	prepare_all(sources);
	if (any_fresh(sources))
		begin_apply(sources);
}

/* Also after each commit: only another config is of interest. */
static void on_change(void *arg)
{
	struct source_table *sources = arg;
	const struct config *config = state_config(sources->options.state);

	if (config == sources->config)
		return;
	sources->config = config;
	compare(sources, config);
}

/* ---- start and end ---- */

static int open_kinds(struct source_table *sources, struct error *err)
{
	registry_for_each (source_kind, kind) {
		struct opened *opened = &sources->opened[sources->opened_count];
		int rc = 0;

		if (sources->opened_count == KINDS_MAX)
			return error_set(err, -ENOSPC, "backends-from: too many kinds of sources");
		opened->kind = kind;
		opened->env = (struct source_env){.base = sources->options.base,
						  .tasks = sources->options.tasks,
						  .report = on_report};
		if (kind->open && !kind->confined)
			rc = kind->open(sources->options.base, &opened->env.shared, err);
		if (rc)
			return rc;
		sources->opened_count++;
	}
	return 0;
}

int source_table_new(const struct source_table_options *options, struct source_table **ret,
		     struct error *err)
{
	struct source_table *sources = calloc(1, sizeof(*sources));
	int rc;

	if (!sources)
		return error_set(err, -ENOMEM, "out of memory");
	sources->options = *options;
	TAILQ_INIT(&sources->list);
	sources->again = event_new(options->base, -1, EV_PERSIST, on_again, sources);
	sources->rested = event_new(options->base, -1, 0, on_rested, sources);
	rc = sources->again && sources->rested &&
		     !source_process_new(options->base, on_report, &sources->process)
		 ? open_kinds(sources, err)
		 : error_set(err, -ENOMEM, "out of memory");
	if (rc)
		source_table_free(sources);
	else
		*ret = sources;
	return rc;
}

void source_table_begin(struct source_table *sources)
{
	const struct timeval again = clock_span_ms(AGAIN_MS);

	event_add(sources->again, &again);
	state_on_change(sources->options.state, on_change, sources);
	on_change(sources);
}

void source_table_free(struct source_table *sources)
{
	struct source *source;

	if (!sources)
		return;
	if (sources->options.state)
		state_on_change(sources->options.state, NULL, sources);
	while ((source = TAILQ_FIRST(&sources->list)))
		source_free(source);
	for (unsigned i = 0; i < sources->opened_count; i++)
		if (sources->opened[i].kind->close && !sources->opened[i].kind->confined)
			sources->opened[i].kind->close(sources->opened[i].env.shared);
	source_process_free(sources->process);
	if (sources->again)
		event_free(sources->again);
	if (sources->rested)
		event_free(sources->rested);
	free(sources);
}
