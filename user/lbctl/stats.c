/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl stats: how every packet's story ended, by outcome and reason. */
#include <stdio.h>
#include <string.h>

#include "lbctl/core/client.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"

#define NAME  20 /* columns */
#define COUNT 8

static const struct {
	const char *name, *title;
	enum tone tone;
} outcomes[] = {{"sent", "Sent: to a backend, or answered", TONE_GOOD},
		{"passed", "Passed: to the kernel, untouched", TONE_PLAIN},
		{"dropped", "Dropped", TONE_BAD}};

struct paper { /* what is printed on, and how */
	unsigned columns;
	bool coloured, all;
};

static void print_line(const struct paper *paper, const char *name, const char *packets,
		       const char *bytes, const char *help)
{
	const unsigned indent = 2 + NAME + 2 * (COUNT + 1) + 2;

	printf("  %-*s %*s %*s  ", NAME, name, COUNT, packets, COUNT, bytes);
	text_wrap(stdout, help, indent, indent, paper->columns);
}

static void print_outcome(const struct paper *paper, size_t outcome, const json_t *reasons)
{
	char packets_text[FORMAT_TEXT], bytes_text[FORMAT_TEXT];
	uint64_t packets = 0, bytes = 0;
	const json_t *reason;
	size_t i;

	json_array_foreach (reasons, i, reason) {
		if (strcmp(json_text(reason, "outcome"), outcomes[outcome].name) == 0) {
			packets += json_number(reason, "packets");
			bytes += json_number(reason, "bytes");
		}
	}
	printf("%s%s%s: %s packets, %s\n",
	       format_escape(packets ? outcomes[outcome].tone : TONE_DIM, paper->coloured),
	       outcomes[outcome].title, format_escape(TONE_PLAIN, paper->coloured),
	       format_count(packets, packets_text), format_bytes(bytes, bytes_text));
	json_array_foreach (reasons, i, reason) {
		if (strcmp(json_text(reason, "outcome"), outcomes[outcome].name) ||
		    (!paper->all && !json_number(reason, "packets")))
			continue;
		print_line(paper, json_text(reason, "name"),
			   format_count(json_number(reason, "packets"), packets_text),
			   format_bytes(json_number(reason, "bytes"), bytes_text),
			   json_text(reason, "help"));
	}
}

static void print_events(const struct paper *paper, const json_t *events)
{
	const json_t *event;
	char count[FORMAT_TEXT];
	size_t i, shown = 0;

	json_array_foreach (events, i, event) {
		if (!paper->all && !json_number(event, "count"))
			continue;
		if (!shown++)
			printf("Events on the way\n");
		print_line(paper, json_text(event, "name"),
			   format_count(json_number(event, "count"), count), "",
			   json_text(event, "help"));
	}
}

static void print_stats(const json_t *answer, bool all)
{
	struct paper paper = {format_columns(stdout), format_coloured(stdout), all};

	if (!paper.columns)
		paper.columns = 80;
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++)
		print_outcome(&paper, i, json_object_get(answer, "reasons"));
	print_events(&paper, json_object_get(answer, "events"));
	if (!all)
		printf("What never happened is hidden; lbctl stats --all shows it\n");
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
		print_stats(answer, call_option(call, "--all"));
	json_decref(answer);
	return rc;
}

REGISTER(verb, stats) = {
    .name = "stats",
    .group = VERB_SHOW,
    .flags = VERB_TALKS | VERB_JSON,
    .summary = "count what became of packets: sent, passed or dropped, and why",
    .details =
	"Totals since the data plane was loaded; they outlive a restart of lbd. `lbctl top` shows rates.",
    .options = {{.name = "--all", .help = "also the reasons that never happened"}},
    .examples = {{"stats", "what happened"},
		 {"stats --all", "what could, with what it would mean"}},
    .run = run_stats,
};
