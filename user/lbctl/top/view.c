/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A screen of lbctl top as lines of text in tones, for a terminal or plain output. Pure. */
#include "view.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/plural.h"
#include "lbctl/core/json.h"
#include "layout.h"
#include "rows.h"

/* Rows of a terminal from which on there is more than one line above the titles. */
#define SOME_HEAD 11
#define FULL_HEAD 16
#define AIRY_HEAD 24

/* ---- the head ---- */

/* Items one after the other; one that does not fit begins a new line if there may be one, and is
 * left out if not. */
struct flow {
	struct top_frame *frame;
	struct top_line *line;
	unsigned columns, lines; /* that may be begun */
};

static struct flow flow_begin(struct top_frame *frame, unsigned columns, unsigned lines)
{
	return (struct flow){frame, frame_add(frame), columns, lines - 1};
}

static void item(struct flow *flow, const char *label, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void item(struct flow *flow, const char *label, enum tone tone, const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	unsigned width, before;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&value, format, args);
	va_end(args);
	if (length < 0) {
		value = NULL;
		flow->frame->failed = true;
		return;
	}
	width = text_width(label) + (*label && *value) + text_width(value);
	if (width > flow->columns)
		return;
	before = flow->line && flow->line->width ? 2 : 0;
	if (flow->line && flow->line->width + before + width > flow->columns) {
		if (!flow->lines && before)
			return;
		if (before) {
			flow->lines--;
			flow->line = frame_add(flow->frame);
			before = 0;
		}
	}
	line_put(flow->line, TONE_PLAIN, "%*s", (int)before, "");
	line_put(flow->line, TONE_ACCENT, "%s", label);
	line_put(flow->line, tone, "%s%s", *label && *value ? " " : "", value);
}

/* At the right end of the line, if there is room. */
static void put_at_right(struct top_line *line, enum tone tone, const char *text, unsigned columns)
{
	unsigned width = text_width(text);

	if (!line || line->width + 2 + width > columns)
		return;
	line_pad(line, TONE_PLAIN, columns - width);
	line_put(line, tone, "%s", text);
}

static void add_title(struct top_frame *frame, const struct top_model *model,
		      const struct top_options *options)
{
	const json_t *interfaces = json_object_get(model->status, "interfaces"), *interface;
	struct flow flow = flow_begin(frame, options->columns, options->rows ? 1 : 2);
	char uptime[FORMAT_TEXT], text[96];
	size_t i;

	item(&flow, "", TONE_BOLD, "lbd %s", json_text(model->status, "version"));
	item(&flow, "up", TONE_BOLD, "%s",
	     format_duration(json_number(model->status, "uptime_s"), uptime));
	if (json_array_size(interfaces) == 0)
		item(&flow, "", TONE_BAD, "no interface is attached: lbctl attach IFACE");
	json_array_foreach (interfaces, i, interface) {
		bool running = !json_is_false(json_object_get(interface, "running"));

		item(&flow, json_text(interface, "name"), running ? TONE_PLAIN : TONE_BAD, "%s",
		     running ? json_text(interface, "mode") : "down");
	}
	if (options->paused)
		snprintf(text, sizeof(text), "paused at %s", options->clock ? options->clock : "");
	else if (options->rows && options->clock)
		snprintf(text, sizeof(text), "%s, every %gs", options->clock,
			 (double)options->interval_ms / 1000);
	else
		snprintf(text, sizeof(text), "rates over %.1fs", model->seconds);
	put_at_right(flow.line, options->paused ? TONE_WARN : TONE_PLAIN, text, options->columns);
}

/* "Label[|||||      3/4]" in this many columns. */
static void put_meter(struct top_line *line, const char *label, double part, const char *text,
		      enum tone tone, unsigned columns)
{
	unsigned frame = text_width(label) + 2, width = text_width(text), inside, filled;
	char bar[256];

	if (columns < frame + width + 2)
		return;
	inside = columns - frame;
	if (inside >= sizeof(bar))
		inside = sizeof(bar) - 1;
	part = part < 0 ? 0 : part > 1 ? 1 : part;
	filled = (unsigned)(part * inside + 0.5);
	memset(bar, ' ', inside);
	memset(bar, '|', filled);
	memcpy(bar + inside - width, text, width);
	line_put(line, TONE_ACCENT, "%s", label);
	line_put(line, TONE_BOLD, "[");
	if (filled > inside - width)
		filled = inside - width;
	line_put(line, tone, "%.*s", (int)filled, bar);
	line_put(line, TONE_DIM, "%.*s", (int)(inside - width - filled), bar + filled);
	line_put(line, TONE_BOLD, "%.*s]", (int)width, bar + inside - width);
}

static double share(uint64_t part, uint64_t all)
{
	return all ? (double)part / (double)all : 0;
}

static void add_meters(struct top_frame *frame, const struct top_model *model, unsigned columns)
{
	const json_t *flows = json_object_get(model->status, "flows");
	uint64_t up = json_number(model->status, "backends_up"),
		 all = json_number(model->status, "backends"),
		 entries = json_number(flows, "entries"), limit = json_number(flows, "limit");
	bool beside = columns >= 70;
	unsigned width = beside ? columns / 2 - 1 : columns;
	struct top_line *line = frame_add(frame);
	char text[80], count[FORMAT_TEXT], of[FORMAT_TEXT];

	if (width > 80)
		width = 80;
	snprintf(text, sizeof(text), " %llu/%llu up", (unsigned long long)up,
		 (unsigned long long)all);
	put_meter(line, beside ? "Backends" : "Backends  ", share(up, all), text,
		  up == all       ? TONE_GOOD
		  : 2 * up >= all ? TONE_WARN
				  : TONE_BAD,
		  width);
	if (!limit)
		return;
	if (beside)
		line_put(line, TONE_PLAIN, "  ");
	else
		line = frame_add(frame);
	snprintf(text, sizeof(text), " %s/%s", format_count(entries, count),
		 format_limit(limit, of));
	put_meter(line, "Flow table", share(entries, limit), text,
		  share(entries, limit) < 0.7   ? TONE_GOOD
		  : share(entries, limit) < 0.9 ? TONE_WARN
						: TONE_BAD,
		  width);
}

static void put_services(struct flow *flow, const json_t *status)
{
	static const struct {
		const char *field, *word;
		enum tone tone;
	} states[] = {{"services_down", "down", TONE_BAD},
		      {"services_blind", "blind", TONE_BAD},
		      {"services_panic", "in panic", TONE_BAD},
		      {"services_backup", "on backups", TONE_WARN}};

	item(flow, "Services", TONE_BOLD, "%llu",
	     (unsigned long long)json_number(status, "services"));
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (json_number(status, states[i].field))
			item(flow, "", states[i].tone, "%llu %s",
			     (unsigned long long)json_number(status, states[i].field),
			     states[i].word);
}

static void put_totals(struct flow *flow, const struct top_model *model)
{
	char text[FORMAT_TEXT];

	item(flow, "Packets", TONE_BOLD, "%s/s", format_rate(model->total.packets, text));
	if (model->total.nat)
		item(flow, "Replies", TONE_BOLD, "%s/s",
		     format_rate(model->total.returned_packets, text));
	item(flow, "Traffic", TONE_BOLD, "%sbit/s", format_rate(model->total.bits, text));
	item(flow, "New flows", TONE_BOLD, "%s/s", format_rate(model->total.flows, text));
	item(flow, "Active", TONE_BOLD, "%s", format_count(model->total.active, text));
}

/* The reason with the most drops below a rate; below negative: of all. */
static const struct top_reason *next_drop(const struct top_model *model, double below)
{
	const struct top_reason *next = NULL;

	for (size_t i = 0; i < model->reasons_count; i++) {
		const struct top_reason *reason = &model->reasons[i];

		if (strcmp(reason->outcome, "dropped") == 0 && reason->packets > 0 &&
		    (below < 0 || reason->packets < below) &&
		    (!next || reason->packets > next->packets))
			next = reason;
	}
	return next;
}

static void put_outcomes(struct flow *flow, const struct top_model *model)
{
	const struct top_reason *reason = NULL;
	char text[FORMAT_TEXT];

	item(flow, "Dropped", model->dropped > 0 ? TONE_BAD : TONE_BOLD, "%s/s",
	     format_rate(model->dropped, text));
	for (unsigned shown = 0; shown < 3; shown++) {
		reason = next_drop(model, reason ? reason->packets : -1);
		if (!reason)
			break;
		item(flow, "", TONE_BAD, "%s %s/s", reason->name,
		     format_rate(reason->packets, text));
	}
	item(flow, "Sent", TONE_BOLD, "%s/s", format_rate(model->sent, text));
	item(flow, "Passed", TONE_BOLD, "%s/s", format_rate(model->passed, text));
}

/* All in one line: the backends first. */
static void add_short_head(struct top_frame *frame, const struct top_model *model,
			   const struct top_options *options)
{
	struct flow flow = flow_begin(frame, options->columns, 1);
	uint64_t up = json_number(model->status, "backends_up"),
		 all = json_number(model->status, "backends");

	item(&flow, "Backends", up == all ? TONE_GOOD : TONE_BAD, "%llu/%llu up",
	     (unsigned long long)up, (unsigned long long)all);
	put_totals(&flow, model);
	put_outcomes(&flow, model);
	if (options->paused)
		put_at_right(flow.line, TONE_WARN, "paused", options->columns);
}

static void add_head(struct top_frame *frame, const struct top_model *model,
		     const struct top_options *options)
{
	unsigned rows = options->rows ? options->rows : UINT32_MAX;
	unsigned lines = rows >= AIRY_HEAD ? 3 : rows >= FULL_HEAD ? 2 : 1;
	struct flow flow;

	if (rows < SOME_HEAD) {
		if (rows > 2 && !options->alarm)
			add_short_head(frame, model, options);
		return;
	}
	add_title(frame, model, options);
	if (rows >= FULL_HEAD)
		add_meters(frame, model, options->columns);
	flow = flow_begin(frame, options->columns, lines);
	put_services(&flow, model->status);
	put_totals(&flow, model);
	flow = flow_begin(frame, options->columns, lines);
	put_outcomes(&flow, model);
	if (rows >= AIRY_HEAD)
		frame_add(frame);
}

/* ---- the body ---- */

struct body {
	struct top_rows rows;
	struct top_layout layout;
	struct top_reasons_layout reasons;
};

static void body_make(struct body *body, const struct top_model *model,
		      const struct top_options *options)
{
	*body = (struct body){0};
	if (options->help) {
		rows_help(&body->rows, options->columns);
		return;
	}
	rows_collect(&body->rows, model, options);
	if (options->view == TOP_VIEW_REASONS) {
		body->reasons = reasons_layout_of(&body->rows, options->columns);
		return;
	}
	body->layout = layout_of(&body->rows, options);
	rows_add_why(&body->rows, body->layout.width[TOP_FIELD_WHY]);
}

static void add_titles(struct top_frame *frame, const struct body *body,
		       const struct top_options *options)
{
	struct top_line *line = frame_add(frame);

	if (options->help) {
		line_cell(line, TONE_TITLES, "Help", options->columns, CUT_END);
	} else if (options->view == TOP_VIEW_REASONS) {
		reasons_titles(&body->reasons, options->columns, line);
	} else {
		layout_titles(&body->layout, options, line);
	}
}

static void add_row(struct top_frame *frame, const struct body *body, size_t at,
		    const struct top_options *options)
{
	const struct top_row *row = &body->rows.rows[at];
	struct top_line *line = frame_add(frame);

	if (row->kind == TOP_ROW_HELP)
		line_cell(line, row->help[0] == ' ' ? TONE_PLAIN : TONE_BOLD, row->help,
			  options->columns, CUT_END);
	else if (row->kind == TOP_ROW_REASON)
		reasons_row(&body->reasons, row, line);
	else
		layout_row(&body->layout, options, row, line);
}

static void add_body(struct top_frame *frame, const struct body *body,
		     const struct top_options *options, bool footer)
{
	size_t above = frame->lines_count, count = body->rows.count, page = count;

	frame->head_count = above;
	frame->body_count = count;
	if (options->rows)
		page = options->rows > above + footer ? options->rows - above - footer : 0;
	frame->page = page;
	frame->scroll = options->scroll;
	if (frame->scroll + page > count || frame->scroll > count)
		frame->scroll = count > page ? count - page : 0;
	for (size_t i = 0; i < page; i++) {
		if (frame->scroll + i < count)
			add_row(frame, body, frame->scroll + i, options);
		else if (options->rows)
			frame_add(frame);
	}
}

/* ---- the foot ---- */

static void put_key(struct top_line *line, const char *key, const char *what, unsigned columns)
{
	unsigned gap = line && line->width ? 1 : 0;

	if (!line || line->width + gap + text_width(key) + 1 + text_width(what) > columns)
		return;
	line_put(line, TONE_PLAIN, "%*s", (int)gap, "");
	line_put(line, TONE_KEY, "%s", key);
	line_put(line, TONE_PLAIN, " %s", what);
}

static void put_keys(struct top_line *line, const struct top_options *options, unsigned columns)
{
	char sort[32];

	if (options->help) {
		put_key(line, "h", "Back", columns);
		put_key(line, "q", "Back", columns);
		return;
	}
	if (options->filter[0])
		put_key(line, "/", options->filter, columns);
	put_key(line, "h", "Help", columns);
	put_key(line, "q", "Quit", columns);
	if (!options->filter[0])
		put_key(line, "/", "Filter", columns);
	snprintf(sort, sizeof(sort), "Sort:%s", top_sort_name(options->sort));
	put_key(line, "s", sort, columns);
	put_key(line, "v", "View", columns);
	put_key(line, "d", options->view == TOP_VIEW_REASONS ? "Services" : "Drops", columns);
	put_key(line, "p", options->paused ? "Go on" : "Pause", columns);
}

/* The end of what is typed stays in sight. */
static void put_typed(struct top_line *line, const struct top_options *options)
{
	const char *label = options->columns > 20 ? "Filter:" : "/";
	unsigned used = text_width(label) + 2, room;
	char fits[2 * TOP_FILTER];

	room = options->columns > used ? options->columns - used : 0;
	if (!room)
		return;
	line_put(line, TONE_KEY, "%s", label);
	line_put(line, TONE_BOLD, " %s_",
		 text_fit(options->filter, room, CUT_MIDDLE, fits, sizeof(fits)));
}

static void add_foot(struct top_frame *frame, const struct top_options *options)
{
	struct top_line *line = frame_add(frame);
	size_t last = frame->scroll + frame->page;
	char place[64] = "";

	if (options->typing) {
		put_typed(line, options);
		put_at_right(line, TONE_DIM, "Enter keeps it, Esc ends it", options->columns);
		return;
	}
	if (last < frame->body_count || frame->scroll)
		snprintf(place, sizeof(place), "%zu-%zu of %zu", frame->scroll + 1,
			 last < frame->body_count ? last : frame->body_count, frame->body_count);
	else if (options->filter[0] && !options->help)
		snprintf(place, sizeof(place), "%zu row%s", frame->body_count,
			 plural_s(frame->body_count));
	put_keys(line, options,
		 options->columns > strlen(place) + 2
		     ? options->columns - (unsigned)strlen(place) - 2
		     : 0);
	put_at_right(line, TONE_DIM, place, options->columns);
}

void top_view_render(const struct top_model *model, const struct top_options *options,
		     struct top_frame *ret)
{
	bool footer = options->rows > 4;
	struct top_line *line;
	size_t old = 0;
	struct body body;

	*ret = (struct top_frame){0};
	if (options->alarm) {
		line = frame_add(ret);
		line_cell(line, TONE_ALARM, options->alarm, options->columns, CUT_END);
		old = 1;
	}
	add_head(ret, model, options);
	body_make(&body, model, options);
	if (!options->rows || options->rows > 3)
		add_titles(ret, &body, options);
	add_body(ret, &body, options, footer);
	for (size_t i = old; old && i < (options->help ? ret->head_count : ret->lines_count); i++)
		line_repaint(&ret->lines[i], TONE_DIM);
	if (footer)
		add_foot(ret, options);
	ret->failed |= body.rows.failed;
	rows_done(&body.rows);
}
