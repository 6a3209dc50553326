/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The columns of services and backends in lbctl top. */
#include "layout.h"

#include <stdio.h>
#include <string.h>

/* A name has this, or two fifths of a narrow terminal, before other columns. */
#define NAME_MIN 24
#define WHY_MIN  20
#define INDENT   2 /* of backends below their service */

static const struct {
	const char *title;
	unsigned width;
	bool left; /* text, not a number */
	enum top_sort sort;
} fields[TOP_FIELDS] = {
    [TOP_FIELD_STATUS] = {"STATUS", 11, true, TOP_SORT_STATUS},
    [TOP_FIELD_WEIGHT] = {"WEIGHT", 6, false, TOP_SORT_WEIGHT},
    [TOP_FIELD_CHECK] = {"CHECK", 7, false, TOP_SORT_LATENCY},
    [TOP_FIELD_P95] = {"P95", 7, false, TOP_SORT_P95},
    [TOP_FIELD_FAIL] = {"FAIL %", 6, false, TOP_SORT_FAIL},
    [TOP_FIELD_PACKETS] = {"PKT/S", 6, false, TOP_SORT_PACKETS},
    [TOP_FIELD_BITS] = {"BIT/S", 6, false, TOP_SORT_BITS},
    [TOP_FIELD_RETURNED_PACKETS] = {"RPKT/S", 6, false, TOP_SORTS},
    [TOP_FIELD_RETURNED_BITS] = {"RBIT/S", 6, false, TOP_SORTS},
    [TOP_FIELD_FLOWS] = {"NEW/S", 6, false, TOP_SORT_FLOWS},
    [TOP_FIELD_ACTIVE] = {"ACTIVE", 6, false, TOP_SORT_ACTIVE},
    [TOP_FIELD_WHY] = {"WHY", WHY_MIN, true, TOP_SORTS},
};

/* ---- names ---- */

struct name {
	char first[160];  /* what tells it apart */
	char second[120]; /* shown after it if both have room */
	unsigned indent;
};

static void name_of(const struct top_row *row, const struct top_options *options, struct name *ret)
{
	const struct top_backend *backend = row->backend;
	const char *first, *second = "", *service = "";

	ret->indent = 0;
	if (!backend) {
		first = row->service->name;
		second = row->service->endpoint;
	} else {
		first = *backend->name ? backend->name : backend->address;
		second = *backend->name ? backend->address : "";
		if (options->view == TOP_VIEW_TREE)
			ret->indent = INDENT;
		else
			service = row->service->name;
	}
	snprintf(ret->first, sizeof(ret->first), "%.70s%s%.80s", service, *service ? " " : "",
		 first);
	snprintf(ret->second, sizeof(ret->second), "%.100s", second);
}

/* Without and with the second part. */
static void name_widths(const struct name *name, unsigned *ret_short, unsigned *ret_long)
{
	*ret_short = name->indent + text_width(name->first);
	*ret_long = *ret_short + (*name->second ? 1 + text_width(name->second) : 0);
}

static void put_name(const struct top_row *row, const struct top_options *options, unsigned columns,
		     struct top_line *line)
{
	unsigned end = line ? line->width + columns : 0, width, whole;
	enum tone tone = row->backend ? TONE_PLAIN : TONE_BOLD;
	struct name name;

	name_of(row, options, &name);
	name_widths(&name, &width, &whole);
	line_put(line, TONE_PLAIN, "%*s", (int)(name.indent < columns ? name.indent : columns), "");
	if (width > columns) {
		line_cell(line, tone, name.first, columns > name.indent ? columns - name.indent : 0,
			  CUT_MIDDLE);
		return;
	}
	line_put(line, tone, "%s", name.first);
	if (whole <= columns && *name.second)
		line_put(line, TONE_ACCENT, " %s", name.second);
	line_pad(line, TONE_PLAIN, end);
}

/* ---- the layout ---- */

static const char *weight_text(const struct top_row *row, char text[64])
{
	if (row->backend)
		snprintf(text, 64, "%llu", (unsigned long long)row->backend->weight);
	else
		snprintf(text, 64, "%llu/%llu", (unsigned long long)row->service->backends_count_up,
			 (unsigned long long)row->service->backends_all);
	return text;
}

static const struct top_rates *rates_of(const struct top_row *row)
{
	return row->backend ? &row->backend->rates : &row->service->rates;
}

struct wanted {
	unsigned name, whole_name, weight; /* the widest of all rows */
	bool nat;                          /* some have replies */
};

static void widen(unsigned *widest, unsigned width)
{
	if (width > *widest)
		*widest = width;
}

/* Of all rows, not only those on the screen: columns stay where they are while it scrolls. */
static struct wanted wanted_by(const struct top_rows *rows, const struct top_options *options)
{
	struct wanted wanted = {.name = 8, .whole_name = 8};
	unsigned width, whole;
	struct name name;
	char text[64];

	for (size_t i = 0; i < rows->count; i++) {
		name_of(&rows->rows[i], options, &name);
		name_widths(&name, &width, &whole);
		widen(&wanted.name, width);
		widen(&wanted.whole_name, whole);
		widen(&wanted.weight, (unsigned)strlen(weight_text(&rows->rows[i], text)));
		wanted.nat |= rates_of(&rows->rows[i])->nat;
	}
	return wanted;
}

/* Gives a column its place if there is room. */
static void take_in(struct top_layout *layout, enum top_field field, unsigned least, unsigned *room)
{
	unsigned width = fields[field].width > least ? fields[field].width : least;

	if (layout->width[field] || *room < width + 1)
		return;
	layout->width[field] = width;
	*room -= width + 1;
}

static unsigned name_least(const struct wanted *wanted, unsigned columns)
{
	unsigned least = 2 * columns / 5 < NAME_MIN ? 2 * columns / 5 : NAME_MIN;

	return wanted->name < least ? wanted->name : least;
}

static bool is_returned(enum top_field field)
{
	return field == TOP_FIELD_RETURNED_PACKETS || field == TOP_FIELD_RETURNED_BITS;
}

struct top_layout layout_of(const struct top_rows *rows, const struct top_options *options)
{
	static const enum top_field order[] = {
	    TOP_FIELD_STATUS, TOP_FIELD_PACKETS,       TOP_FIELD_FLOWS,
	    TOP_FIELD_P95,    TOP_FIELD_FAIL,          TOP_FIELD_ACTIVE,
	    TOP_FIELD_BITS,   TOP_FIELD_RETURNED_BITS, TOP_FIELD_RETURNED_PACKETS,
	    TOP_FIELD_WEIGHT, TOP_FIELD_CHECK};
	struct wanted wanted = wanted_by(rows, options);
	unsigned name = name_least(&wanted, options->columns), room;
	struct top_layout layout = {0};

	room = options->columns > name ? options->columns - name : 0;
	for (enum top_field f = 0; f < TOP_FIELDS; f++)
		if (fields[f].sort == options->sort)
			take_in(&layout, f, f == TOP_FIELD_WEIGHT ? wanted.weight : 0, &room);
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
		if (wanted.nat || !is_returned(order[i]))
			take_in(&layout, order[i], order[i] == TOP_FIELD_WEIGHT ? wanted.weight : 0,
				&room);
	room += options->columns > name ? name : options->columns;
	layout.name = room < wanted.whole_name ? room : wanted.whole_name;
	room -= layout.name;
	if (room > WHY_MIN)
		layout.width[TOP_FIELD_WHY] = room - 1;
	return layout;
}

/* ---- titles ---- */

/* The title with an arrow if the rows are sorted by it. */
static void put_title(struct top_line *line, const char *title, enum top_sort sort, bool left,
		      unsigned columns, const struct top_options *options)
{
	const char *up = text_is_utf8() ? "\u25b2" : "^", *down = text_is_utf8() ? "\u25bc" : "v";
	bool sorted = sort == options->sort;
	bool ascends = (sort == TOP_SORT_NAME) != options->reverse;
	enum tone tone = sorted ? TONE_SORTED : TONE_TITLES;
	char text[48];

	snprintf(text, sizeof(text), "%s%s", title, !sorted ? "" : ascends ? up : down);
	if (left)
		line_cell(line, tone, text, columns, CUT_END);
	else
		line_number(line, tone, text, columns);
}

void layout_titles(const struct top_layout *layout, const struct top_options *options,
		   struct top_line *line)
{
	static const char *const names[TOP_VIEWS] = {"SERVICE / backend", "SERVICE",
						     "SERVICE backend", ""};

	put_title(line,
		  text_width(names[options->view]) > layout->name ? "SERVICE"
								  : names[options->view],
		  TOP_SORT_NAME, true, layout->name, options);
	for (enum top_field f = 0; f < TOP_FIELDS; f++) {
		if (!layout->width[f])
			continue;
		/* the gap before a number is a part of its title, for the arrow */
		if (fields[f].left)
			line_put(line, TONE_TITLES, " ");
		put_title(line, fields[f].title, fields[f].sort, fields[f].left,
			  layout->width[f] + !fields[f].left, options);
	}
	line_pad(line, TONE_TITLES, options->columns);
}

/* ---- rows ---- */

static void put_rate(struct top_line *line, const struct top_rates *rates, double value,
		     unsigned columns)
{
	char text[FORMAT_TEXT];

	line_number(line, rates->known && value > 0 ? TONE_PLAIN : TONE_DIM,
		    rates->known ? format_rate(value, text) : "-", columns);
}

/* "-": not of a NAT, replies do not come this way. */
static void put_returned(struct top_line *line, const struct top_rates *rates, double value,
			 unsigned columns)
{
	const struct top_rates none = {0};

	put_rate(line, rates->nat ? rates : &none, value, columns);
}

static void put_latency(struct top_line *line, uint64_t us, unsigned columns)
{
	char text[FORMAT_TEXT];

	line_number(line, us ? TONE_PLAIN : TONE_DIM, format_latency(us, text), columns);
}

static void put_field(struct top_line *line, const struct top_row *row, enum top_field field,
		      unsigned width)
{
	const struct top_rates *rates = rates_of(row);
	const char *status = row->backend ? row->backend->condition : row->service->status;
	uint64_t latency_us = row->backend ? row->backend->latency_us : row->service->latency_us;
	const struct top_connects *connects =
	    row->backend ? &row->backend->connects : &row->service->connects;
	char text[64];

	switch (field) {
	case TOP_FIELD_STATUS:
		line_cell(line, format_tone(status), status, width, CUT_END);
		break;
	case TOP_FIELD_WEIGHT:
		line_number(line, TONE_PLAIN, weight_text(row, text), width);
		break;
	case TOP_FIELD_CHECK:
		put_latency(line, latency_us, width);
		break;
	case TOP_FIELD_P95:
		put_latency(line, connects->p95_us, width);
		break;
	case TOP_FIELD_FAIL:
		line_number(line,
			    connects->failed ? format_fail_tone(connects->failed, connects->timed)
					     : TONE_DIM,
			    format_percent(connects->failed, connects->timed, text), width);
		break;
	case TOP_FIELD_PACKETS:
		put_rate(line, rates, rates->packets, width);
		break;
	case TOP_FIELD_BITS:
		put_rate(line, rates, rates->bits, width);
		break;
	case TOP_FIELD_RETURNED_PACKETS:
		put_returned(line, rates, rates->returned_packets, width);
		break;
	case TOP_FIELD_RETURNED_BITS:
		put_returned(line, rates, rates->returned_bits, width);
		break;
	case TOP_FIELD_FLOWS:
		put_rate(line, rates, rates->flows, width);
		break;
	case TOP_FIELD_ACTIVE:
		line_number(line, rates->active ? TONE_PLAIN : TONE_DIM,
			    format_count(rates->active, text), width);
		break;
	default: /* what does not fit has a row of its own */
		if (text_width(row_why(row)) <= width)
			line_cell(line, format_tone(status), row_why(row), width, CUT_END);
		break;
	}
}

static void put_why(const struct top_row *row, const struct top_options *options,
		    struct top_line *line)
{
	const char *status = row->backend ? row->backend->condition : row->service->status;
	unsigned indent = row->backend ? 2 * INDENT : INDENT;

	if (options->columns <= indent)
		return;
	line_put(line, TONE_PLAIN, "%*s", (int)indent, "");
	line_cell(line, format_tone(status), row_why(row), options->columns - indent, CUT_END);
}

void layout_row(const struct top_layout *layout, const struct top_options *options,
		const struct top_row *row, struct top_line *line)
{
	if (row->kind == TOP_ROW_WHY) {
		put_why(row, options, line);
		return;
	}
	put_name(row, options, layout->name, line);
	for (enum top_field f = 0; f < TOP_FIELDS; f++) {
		if (!layout->width[f])
			continue;
		line_put(line, TONE_PLAIN, " ");
		put_field(line, row, f, layout->width[f]);
	}
}

/* ---- reasons ---- */

#define RATE_WIDTH    6
#define TOTAL_WIDTH   6
#define OUTCOME_WIDTH 7

struct top_reasons_layout reasons_layout_of(const struct top_rows *rows, unsigned columns)
{
	struct top_reasons_layout layout = {.name = 6};
	unsigned room;

	for (size_t i = 0; i < rows->count; i++)
		widen(&layout.name, text_width(rows->rows[i].reason->name));
	if (layout.name > columns)
		layout.name = columns;
	room = columns - layout.name;
	if (room >= 1 + RATE_WIDTH) {
		layout.rate = RATE_WIDTH;
		room -= 1 + RATE_WIDTH;
	}
	if (room >= 1 + TOTAL_WIDTH) {
		layout.total = TOTAL_WIDTH;
		room -= 1 + TOTAL_WIDTH;
	}
	if (room >= 1 + OUTCOME_WIDTH) {
		layout.outcome = OUTCOME_WIDTH;
		room -= 1 + OUTCOME_WIDTH;
	}
	if (room >= 2 + WHY_MIN)
		layout.help = room - 2;
	return layout;
}

void reasons_titles(const struct top_reasons_layout *layout, unsigned columns,
		    struct top_line *line)
{
	line_cell(line, TONE_TITLES, "REASON", layout->name, CUT_END);
	if (layout->outcome)
		line_put(line, TONE_TITLES, " %-*s", OUTCOME_WIDTH, "OUTCOME");
	if (layout->rate)
		line_put(line, TONE_TITLES, " %*s", RATE_WIDTH, "PKT/S");
	if (layout->total)
		line_put(line, TONE_TITLES, " %*s", TOTAL_WIDTH, "TOTAL");
	if (layout->help)
		line_put(line, TONE_TITLES, "  MEANING");
	line_pad(line, TONE_TITLES, columns);
}

static enum tone reason_tone(const struct top_reason *reason)
{
	if (reason->packets <= 0)
		return TONE_DIM;
	return strcmp(reason->outcome, "dropped") == 0 ? TONE_BAD : TONE_PLAIN;
}

void reasons_row(const struct top_reasons_layout *layout, const struct top_row *row,
		 struct top_line *line)
{
	const struct top_reason *reason = row->reason;
	enum tone tone = reason_tone(reason);
	char text[FORMAT_TEXT];

	line_cell(line, tone, reason->name, layout->name, CUT_MIDDLE);
	if (layout->outcome) {
		line_put(line, tone, " ");
		line_cell(line, tone, reason->outcome, OUTCOME_WIDTH, CUT_END);
	}
	if (layout->rate)
		line_number(line, tone, format_rate(reason->packets, text), RATE_WIDTH + 1);
	if (layout->total)
		line_number(line, tone, format_count(reason->total, text), TOTAL_WIDTH + 1);
	if (layout->help) {
		line_put(line, tone, "  ");
		line_cell(line, tone, reason->help, layout->help, CUT_END);
	}
}
