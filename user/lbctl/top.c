/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl top: rates, health and drops, live on a terminal or once as plain text or JSON. Polls
 * GET /v1/top. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lbctl/core/call.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/list/select.h"
#include "lbctl/top/model.h"
#include "lbctl/top/sample.h"
#include "lbctl/top/screen.h"
#include "lbctl/top/view.h"

#define DEFAULT_MS 1000
#define MIN_MS     100
#define MAX_MS     3600000
#define NO_WIDTH   120 /* columns where there is no terminal */

static void pause_ms(uint64_t ms)
{
	const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
				       .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

static void put_frame(const struct top_frame *frame, bool coloured)
{
	for (size_t i = 0; i < frame->lines_count; i++) {
		const struct top_line *line = &frame->lines[i];
		size_t end = line->length;

		while (end && line->text[end - 1] == ' ' && !coloured)
			end--;
		for (unsigned s = 0; s < line->spans_count; s++) {
			size_t from = line->spans[s].at;
			size_t to = s + 1 < line->spans_count ? line->spans[s + 1].at : end;

			if (to > end)
				to = end;
			if (from < to)
				printf("%s%.*s%s", format_escape(line->spans[s].tone, coloured),
				       (int)(to - from), line->text + from,
				       format_escape(TONE_PLAIN, coloured));
		}
		putchar('\n');
	}
}

/* rc is of top_model_read or top_rates_add. */
static int not_read(int rc, struct error *err)
{
	if (rc != -EINVAL)
		return error_set(err, rc, "out of memory");
	return error_set(err, -EPROTO,
			 "top: GET /v1/top: expected time_ms to increase between two samples");
}

static int print_text(const json_t *before, const json_t *now, const struct top_options *options,
		      struct error *err)
{
	struct top_frame frame;
	struct top_model model;
	int rc = top_model_read(before, now, &model);

	if (rc)
		return not_read(rc, err);
	top_model_sort(&model, options->sort, options->reverse);
	top_view_render(&model, options, &frame);
	put_frame(&frame, format_coloured(stdout));
	rc = frame.failed ? error_set(err, -ENOMEM, "out of memory") : 0;
	frame_done(&frame);
	top_model_done(&model);
	return rc;
}

/* The later answer, with rates; of services and backends those that the filter admits. */
static int print_json(const json_t *before, json_t *now, const struct top_options *options,
		      struct error *err)
{
	const struct selection selection = {.filter = options->filter};
	json_t *services, *backends;
	int rc = top_rates_add(before, now);

	if (rc)
		return not_read(rc, err);
	services = select_services(json_object_get(now, "services"), &selection);
	backends = select_backends(json_object_get(now, "backends"), &selection);
	if (!services || !backends) {
		json_decref(services);
		json_decref(backends);
		return error_set(err, -ENOMEM, "out of memory");
	}
	json_object_set_new(now, "services", services);
	json_object_set_new(now, "backends", backends);
	return show_json(now, err);
}

static int print_once(struct call *call, const struct top_options *options, struct error *err)
{
	json_t *before = NULL, *now = NULL;
	int rc = call_get(call, TOP_PATH, &before, err);

	if (rc)
		return rc;
	pause_ms(options->interval_ms);
	rc = call_get(call, TOP_PATH, &now, err);
	if (!rc)
		rc = call->json ? print_json(before, now, options, err)
				: print_text(before, now, options, err);
	json_decref(before);
	json_decref(now);
	return rc;
}

static void read_sort(const struct call *call, struct top_options *options)
{
	const char *given = call_option(call, "--sort");

	for (enum top_sort i = 0; given && i < TOP_SORTS; i++)
		if (strcmp(given, top_sort_name(i)) == 0)
			options->sort = i;
}

static void read_view(const struct call *call, struct top_options *options)
{
	static const char *const words[] = {"tree", "services", "backends", "drops"};
	const char *given = call_option(call, "--view");

	for (int i = 0; given && i < TOP_VIEWS; i++)
		if (strcmp(given, words[i]) == 0)
			options->view = (enum top_view)i;
	if (call_option(call, "--drops"))
		options->view = TOP_VIEW_REASONS;
}

static int read_options(const struct call *call, struct top_options *options, struct error *err)
{
	const char *interval = call_option(call, "--interval"),
		   *filter = call_option(call, "--filter");

	*options = (struct top_options){.columns = NO_WIDTH, .interval_ms = DEFAULT_MS};
	if (interval && (parse_duration(interval, &options->interval_ms) ||
			 options->interval_ms < MIN_MS || options->interval_ms > MAX_MS))
		return error_set(err, -EINVAL,
				 "top: --interval %s: expected a duration from 100ms to 1h",
				 interval);
	if (filter && strlen(filter) >= sizeof(options->filter))
		return error_set(err, -EINVAL, "top: --filter %s: expected at most %zu bytes",
				 filter, sizeof(options->filter) - 1);
	if (filter)
		strcpy(options->filter, filter);
	if (format_columns(stdout))
		options->columns = format_columns(stdout);
	read_sort(call, options);
	read_view(call, options);
	return 0;
}

static int run_top(struct call *call, struct error *err)
{
	struct top_options options;
	int rc = read_options(call, &options, err);

	if (rc)
		return rc;
	return call_option(call, "--once") || call->json ? print_once(call, &options, err)
							 : top_screen_run(call, &options, err);
}

REGISTER(verb, top) = {
    .name = "top",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show live rates of services and backends, health and drops",
    .details =
	"Keys: h shows all of them. q quits; / filters; s, and the letters in the help, change the "
	"order, r reverses it; v switches between services with their backends, services, and "
	"backends; d shows packets by reason; p pauses; arrows, Page Up, Page Down, Home and End "
	"scroll.\n\n"
	"CHECK is how long health checks took lately; P95 how long 95 of 100 connects of clients took "
	"at most, and FAIL % how many were sent again, not answered or refused, in the last 5 to 10 seconds; "
	"WHY is the reason of the last failed check, or why a backend takes no flows. On a narrow "
	"terminal some columns are left out and the reason is below its row. If lbd stops, the "
	"figures turn grey, a line says since when, and top goes on when lbd is back.\n\n"
	"With --once the rates are those of one interval, between two samples. With --json the "
	"later sample is printed (GET /v1/top), with interval_ms, and with rates (packets, bits "
	"and flows a second; null if not known) of all, of each service and of each backend, and "
	"rate of each reason and event.",
    .options =
	{{.name = "--interval",
	  .value = "TIME",
	  .help = "time between samples: 100ms to 1h, default 1s"},
	 {.name = "--sort",
	  .choice = "config|packets|bits|flows|active|name|status|weight|latency|p95|fail",
	  .help = "the initial order: largest first, worst status first"},
	 {.name = "--view",
	  .choice = "tree|services|backends|drops",
	  .help = "what is shown first; tree: services with their backends"},
	 {.name = "--drops", .help = "the same as --view drops"},
	 {.name = "--filter",
	  .value = "TEXT",
	  .help =
	      "only rows in which each word of TEXT occurs: in a name, an address, a label, the "
	      "status or the reason"},
	 {.name = "--once",
	  .help = "print one frame as plain text and exit; its rates are of one interval"}},
    .examples = {{"top", NULL},
		 {"top --view backends --sort flows", "the backends with the most new flows first"},
		 {"top --once --interval 5s", "rates over five seconds, for a log"},
		 {"top --once --json | jq .rates", "packets, bits and new flows a second"}},
    .run = run_top,
};
