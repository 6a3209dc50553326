/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl stats: packets by outcome and reason. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

#define NAME  20 /* columns */
#define COUNT 8  /* at least */

static const struct {
	const char *name, *title;
	enum tone tone;
} outcomes[] = {{"sent", "Sent (forwarded or answered)", TONE_GOOD},
		{"passed", "Passed (to the kernel, unchanged)", TONE_PLAIN},
		{"dropped", "Dropped", TONE_BAD}};

struct output {
	unsigned columns;
	bool coloured, all, exact;
	unsigned packets, bytes; /* columns */
};

static const char *count_text(const struct output *output, uint64_t count, char text[FORMAT_TEXT])
{
	return output->exact ? format_exact(count, text) : format_count(count, text);
}

static const char *bytes_text(const struct output *output, uint64_t bytes, char text[FORMAT_TEXT])
{
	return output->exact ? format_exact(bytes, text) : format_bytes(bytes, text);
}

/* Columns for the longest of these counts. */
static unsigned width_of(const struct output *output, const json_t *counters, const char *field,
			 unsigned least)
{
	char text[FORMAT_TEXT];
	const json_t *counter;
	size_t i;

	json_array_foreach (counters, i, counter) {
		unsigned width =
		    (unsigned)strlen(count_text(output, json_number(counter, field), text));

		if (width > least)
			least = width;
	}
	return least;
}

static void print_line(const struct output *output, const char *name, const char *packets,
		       const char *bytes, const char *help)
{
	const unsigned indent = 2 + NAME + 1 + output->packets + 1 + output->bytes + 2;

	printf("  %-*s %*s %*s  ", NAME, name, (int)output->packets, packets, (int)output->bytes,
	       bytes);
	text_wrap(stdout, help, indent, indent, output->columns);
}

static void print_outcome(const struct output *output, size_t outcome, const json_t *reasons)
{
	char packets_shown[FORMAT_TEXT], bytes_shown[FORMAT_TEXT];
	uint64_t packets = 0, bytes = 0;
	const json_t *reason;
	size_t i;

	json_array_foreach (reasons, i, reason) {
		if (strcmp(json_text(reason, "outcome"), outcomes[outcome].name) == 0) {
			packets += json_number(reason, "packets");
			bytes += json_number(reason, "bytes");
		}
	}
	printf("%s%s%s: %s packets, %s%s\n",
	       format_escape(packets ? outcomes[outcome].tone : TONE_DIM, output->coloured),
	       outcomes[outcome].title, format_escape(TONE_PLAIN, output->coloured),
	       count_text(output, packets, packets_shown), bytes_text(output, bytes, bytes_shown),
	       output->exact ? " bytes" : "");
	json_array_foreach (reasons, i, reason) {
		if (strcmp(json_text(reason, "outcome"), outcomes[outcome].name) ||
		    (!output->all && !json_number(reason, "packets")))
			continue;
		print_line(output, json_text(reason, "name"),
			   count_text(output, json_number(reason, "packets"), packets_shown),
			   bytes_text(output, json_number(reason, "bytes"), bytes_shown),
			   json_text(reason, "help"));
	}
}

static void print_events(const struct output *output, const json_t *events)
{
	const json_t *event;
	char count[FORMAT_TEXT];
	size_t i, shown = 0;

	json_array_foreach (events, i, event) {
		if (!output->all && !json_number(event, "count"))
			continue;
		if (!shown++)
			printf("Events\n");
		print_line(output, json_text(event, "name"),
			   count_text(output, json_number(event, "count"), count), "",
			   json_text(event, "help"));
	}
}

#define SOURCES_SHOWN 10

/* The source prefixes with the most new flows dropped. */
static void print_sources(const struct output *output, const json_t *sources)
{
	char dropped[FORMAT_TEXT], ago[FORMAT_TEXT], row[128];
	const size_t shown = output->all || json_array_size(sources) < SOURCES_SHOWN
				 ? json_array_size(sources)
				 : SOURCES_SHOWN;
	const json_t *source;
	size_t i;

	if (shown)
		printf("Sources above their rate of new flows\n");
	json_array_foreach (sources, i, source) {
		if (i == shown)
			break;
		count_text(output, json_number(source, "dropped"), dropped);
		format_age(json_number(source, "last_s"), ago);
		snprintf(row, sizeof(row), "  %-*s %*s dropped, last %s ago, ", NAME,
			 json_text(source, "prefix"), (int)output->packets, dropped, ago);
		text_put(stdout, row);
		text_put(stdout, json_text(source, "service"));
		printf("\n");
	}
	if (shown < json_array_size(sources))
		printf("  %zu more: lbctl stats --all\n", json_array_size(sources) - shown);
}

static void print_stats(const json_t *answer, bool all, bool exact)
{
	const json_t *reasons = json_object_get(answer, "reasons"),
		     *events = json_object_get(answer, "events"),
		     *sources = json_object_get(answer, "sources_over_rate");
	struct output output = {format_columns(stdout), format_coloured(stdout), all, exact, 0, 0};

	if (!output.columns)
		output.columns = 80;
	output.bytes = width_of(&output, reasons, "bytes", COUNT);
	output.packets = width_of(&output, reasons, "packets", COUNT);
	output.packets = width_of(&output, events, "count", output.packets);
	output.packets = width_of(&output, sources, "dropped", output.packets);
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++)
		print_outcome(&output, i, reasons);
	print_events(&output, events);
	print_sources(&output, sources);
	if (!all)
		printf("Counters at zero are hidden; lbctl stats --all shows them\n");
}

static int run_stats(struct call *call, struct error *err)
{
	json_t *answer = NULL;
	int rc = call_get(call, "/v1/stats", &answer, err);

	if (rc)
		return rc;
	if (call->json)
		rc = show_json(answer, err);
	else
		print_stats(answer, call_option(call, "--all"), call_option(call, "--exact"));
	json_decref(answer);
	return rc;
}

REGISTER(verb, stats) = {
    .name = "stats",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "count packets by outcome (sent, passed, dropped) and reason",
    .details =
	"Totals since the maps were created; a restart of lbd keeps them. `lbctl top` shows rates. "
	"Where services have a rate of new flows for each source (`limit: per-source`), also the "
	"source prefixes with the most packets dropped.",
    .options = {{.name = "--all",
		 .help = "also show counters at zero, and up to 100 sources instead of 10"},
		{.name = "--exact", .help = "packets and bytes with all their digits"}},
    .examples = {{"stats", "the counters that are not zero"},
		 {"stats --all", "every counter with its meaning"},
		 {"stats --exact", "to compare with another count"}},
    .run = run_stats,
};
