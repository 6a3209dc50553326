/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame of lbctl top as lines of text with colours, for a terminal or plain output. Pure. */
#include "view.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lbctl/core/json.h"
#include "lbctl/core/show.h"

#define NUMBERS     42 /* columns of weight and rates, at the right */
#define CONDITION   11
#define WEIGHT      6
#define MIN_COLUMNS 80
#define MAX_COLUMNS 240

static struct top_line *add_line(struct top_frame *frame)
{
	if (frame->lines_count == frame->lines_room) {
		size_t room = frame->lines_room ? 2 * frame->lines_room : 32;
		struct top_line *grown = realloc(frame->lines, room * sizeof(*grown));

		frame->failed |= !grown;
		if (!grown)
			return NULL;
		frame->lines = grown;
		frame->lines_room = room;
	}
	frame->lines[frame->lines_count] = (struct top_line){0};
	return &frame->lines[frame->lines_count++];
}

/* Appends text in a tone; control characters become "?". */
static void put(struct top_line *line, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put(struct top_line *line, enum tone tone, const char *format, ...)
{
	unsigned used;
	va_list args;

	if (!line)
		return;
	used = (unsigned)strlen(line->text);
	if (line->spans_count < TOP_SPANS)
		line->spans[line->spans_count++] = (struct top_span){used, tone};
	va_start(args, format);
	vsnprintf(line->text + used, sizeof(line->text) - used, format, args);
	va_end(args);
	for (char *at = line->text + used; *at; at++)
		*at = text_printable(*at);
}

/* Text cut or padded to this many columns. */
static void put_cell(struct top_line *line, enum tone tone, const char *text, unsigned columns)
{
	unsigned width = text_width(text);

	if (width > columns)
		put(line, tone, "%.*s~ ", (int)text_head(text, columns - 1), text);
	else
		put(line, tone, "%s%*s ", text, (int)(columns - width), "");
}

static void add_title(struct top_frame *frame, const struct top_model *model,
		      const struct top_options *options)
{
	const json_t *interfaces = json_object_get(model->status, "interfaces"), *interface;
	struct top_line *line = add_line(frame);
	char uptime[FORMAT_TEXT];
	size_t i;

	put(line, TONE_BOLD, "lbd %s", json_text(model->status, "version"));
	put(line, TONE_PLAIN, "  up %s ",
	    format_duration(json_number(model->status, "uptime_s"), uptime));
	if (json_array_size(interfaces) == 0)
		put(line, TONE_BAD, " no interface is attached: lbctl attach IFACE");
	json_array_foreach (interfaces, i, interface)
		put(line, TONE_PLAIN, " %s (%s)", json_text(interface, "name"),
		    json_text(interface, "mode"));
	line = add_line(frame);
	put(line, TONE_PLAIN, "services %llu",
	    (unsigned long long)json_number(model->status, "services"));
	i = json_number(model->status, "services_down");
	put(line, i ? TONE_BAD : TONE_PLAIN, i ? " (%zu down)" : "%.0zu", i);
	put(line, TONE_PLAIN, "  backends %llu up of %llu  tracked %s  sort: %s%s",
	    (unsigned long long)json_number(model->status, "backends_up"),
	    (unsigned long long)json_number(model->status, "backends"),
	    format_count(json_number(json_object_get(model->status, "flows"), "entries"), uptime),
	    top_sort_name(options->sort), options->drops ? "  view: reasons" : "");
}

static void add_totals(struct top_frame *frame, const struct top_model *model)
{
	struct top_line *line = add_line(frame);
	char a[FORMAT_TEXT], b[FORMAT_TEXT], c[FORMAT_TEXT];

	put(line, TONE_PLAIN, "%s packets/s  %sbit/s  %s new flows/s  ",
	    format_rate(model->total.packets, a), format_rate(model->total.bits, b),
	    format_rate(model->total.flows, c));
	put(line, model->dropped > 0 ? TONE_BAD : TONE_PLAIN, "dropped %s/s",
	    format_rate(model->dropped, a));
	put(line, TONE_PLAIN, "  passed %s/s", format_rate(model->passed, a));
}

static void put_rates(struct top_line *line, const struct top_rates *rates)
{
	char packets[FORMAT_TEXT], bits[FORMAT_TEXT], flows[FORMAT_TEXT], active[FORMAT_TEXT];

	put(line, TONE_PLAIN, " %9s %8s %8s %7s", format_rate(rates->packets, packets),
	    format_rate(rates->bits, bits), format_rate(rates->flows, flows),
	    format_count(rates->active, active));
}

static unsigned name_columns(const struct top_options *options)
{
	unsigned columns = options->columns < MIN_COLUMNS ? MIN_COLUMNS : options->columns;

	if (columns > MAX_COLUMNS)
		columns = MAX_COLUMNS;
	return columns - NUMBERS - CONDITION - 2;
}

static void add_service(struct top_frame *frame, const struct top_service *service,
			unsigned columns)
{
	struct top_line *line = add_line(frame);
	char name[256], condition[64];

	snprintf(name, sizeof(name), "%s %s", service->name, service->endpoint);
	put_cell(line, TONE_BOLD, name, columns);
	snprintf(condition, sizeof(condition), "%s %llu/%llu", service->status,
		 (unsigned long long)service->backends_count_up,
		 (unsigned long long)service->backends_all);
	put_cell(line, format_tone(service->status), condition, CONDITION + WEIGHT);
	put_rates(line, &service->rates);
}

static void add_backend(struct top_frame *frame, const struct top_backend *backend,
			unsigned columns)
{
	struct top_line *line = add_line(frame);
	bool up = strcmp(backend->condition, "up") == 0;
	char name[SHOW_BACKEND + 2], why[TOP_LINE];

	snprintf(name, sizeof(name), "  %s", backend->address);
	put_cell(line, TONE_PLAIN, name, columns);
	put_cell(line, format_tone(backend->condition), backend->condition, CONDITION);
	put(line, TONE_PLAIN, "%6llu", (unsigned long long)backend->weight);
	put_rates(line, &backend->rates);
	if (up || !*backend->why)
		return;
	snprintf(why, sizeof(why), "    %s", backend->why);
	line = add_line(frame);
	put_cell(line, format_tone(backend->condition), why, columns + CONDITION + NUMBERS);
}

static void add_services(struct top_frame *frame, const struct top_model *model,
			 const struct top_options *options)
{
	unsigned columns = name_columns(options);
	struct top_line *line = add_line(frame);

	put(line, TONE_REVERSE, "%-*s %-*s %6s %9s %8s %8s %7s", (int)columns, "SERVICE / backend",
	    CONDITION, "STATUS", "WEIGHT", "PACKETS/S", "BIT/S", "NEW/S", "ACTIVE");
	frame->head_count = frame->lines_count;
	for (size_t i = 0; i < model->services_count; i++) {
		add_service(frame, &model->services[i], columns);
		for (size_t b = 0; b < model->services[i].backends_count; b++)
			add_backend(frame, &model->services[i].backends[b], columns);
	}
}

static enum tone outcome_tone(const struct top_reason *reason)
{
	if (reason->packets <= 0)
		return TONE_DIM;
	return strcmp(reason->outcome, "dropped") == 0 ? TONE_BAD : TONE_PLAIN;
}

static void add_reasons(struct top_frame *frame, const struct top_model *model,
			const struct top_options *options)
{
	unsigned columns = name_columns(options) + NUMBERS + CONDITION + 2;
	static const char *const outcomes[] = {"dropped", "sent", "passed", "event"};
	struct top_line *line = add_line(frame);
	char per_second[FORMAT_TEXT], total[FORMAT_TEXT];

	put(line, TONE_REVERSE, "%-20s %-7s %9s %8s  %-*s", "REASON", "OUTCOME", "PACKETS/S",
	    "TOTAL", (int)columns - 48, "MEANING");
	frame->head_count = frame->lines_count;
	for (size_t o = 0; o < sizeof(outcomes) / sizeof(*outcomes); o++) {
		for (size_t i = 0; i < model->reasons_count; i++) {
			const struct top_reason *reason = &model->reasons[i];

			if (strcmp(reason->outcome, outcomes[o]))
				continue;
			line = add_line(frame);
			put(line, outcome_tone(reason), "%-20s %-7s %9s %8s  ", reason->name,
			    reason->outcome, format_rate(reason->packets, per_second),
			    format_count(reason->total, total));
			put_cell(line, outcome_tone(reason), reason->help, columns - 49);
		}
	}
}

/* A line with the three most frequent reasons of current drops. */
static void add_drops(struct top_frame *frame, const struct top_model *model)
{
	struct top_line *line = add_line(frame);
	double below = -1;
	char text[FORMAT_TEXT];

	put(line, TONE_PLAIN, "drops by reason:");
	if (model->dropped <= 0)
		put(line, TONE_PLAIN, " none");
	for (unsigned shown = 0; shown < 3; shown++) {
		const struct top_reason *next = NULL;

		for (size_t i = 0; i < model->reasons_count; i++) {
			const struct top_reason *reason = &model->reasons[i];

			if (strcmp(reason->outcome, "dropped") == 0 && reason->packets > 0 &&
			    (below < 0 || reason->packets < below) &&
			    (!next || reason->packets > next->packets))
				next = reason;
		}
		if (!next)
			return;
		put(line, TONE_BAD, "%s %s %s/s", shown ? "," : "", next->name,
		    format_rate(next->packets, text));
		below = next->packets;
	}
}

void top_view_render(const struct top_model *model, const struct top_options *options,
		     struct top_frame *ret)
{
	*ret = (struct top_frame){0};
	add_title(ret, model, options);
	add_totals(ret, model);
	add_drops(ret, model);
	if (options->drops)
		add_reasons(ret, model, options);
	else
		add_services(ret, model, options);
}

void top_view_done(struct top_frame *frame)
{
	free(frame->lines);
	*frame = (struct top_frame){0};
}
