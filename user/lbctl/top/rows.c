/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The rows of lbctl top's body: what the view and the filter admit. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/match.h"

static void add(struct top_rows *rows, const struct top_row *row)
{
	if (rows->count == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 64;
		struct top_row *grown = realloc(rows->rows, room * sizeof(*grown));

		rows->failed |= !grown;
		if (!grown)
			return;
		rows->rows = grown;
		rows->room = room;
	}
	rows->rows[rows->count++] = *row;
}

void rows_done(struct top_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		free(rows->rows[i].help);
	free(rows->rows);
	*rows = (struct top_rows){0};
}

const char *row_why(const struct top_row *row)
{
	if (row->kind == TOP_ROW_REASON || row->kind == TOP_ROW_HELP)
		return "";
	return row->backend ? row->backend->why : row->service->why;
}

/* ---- services and backends ---- */

static bool service_matches(const struct top_service *service, const char *filter)
{
	const char *const texts[] = {service->name, service->endpoint, service->status,
				     service->why};

	return match_words(filter, texts, sizeof(texts) / sizeof(*texts));
}

/* The name of a service selects all its backends. */
static bool backend_matches(const struct top_service *service, const struct top_backend *backend,
			    const char *filter)
{
	const char *const texts[] = {service->name, service->endpoint, backend->address,
				     backend->name, backend->labels,   backend->condition,
				     backend->why};

	return match_words(filter, texts, sizeof(texts) / sizeof(*texts));
}

/* A service is shown with those of its backends that match, or for itself. */
static void add_tree(struct top_rows *rows, const struct top_service *service, const char *filter)
{
	struct top_row row = {.kind = TOP_ROW_SERVICE, .service = service};
	size_t at = rows->count;

	add(rows, &row);
	row.kind = TOP_ROW_BACKEND;
	for (size_t i = 0; i < service->backends_count; i++) {
		row.backend = &service->backends[i];
		if (backend_matches(service, row.backend, filter))
			add(rows, &row);
	}
	if (rows->count == at + 1 && !service_matches(service, filter))
		rows->count = at;
}

static void add_sorted_backends(struct top_rows *rows, const struct top_model *model,
				const struct top_options *options)
{
	struct top_pair *pairs;
	size_t count = 0;

	for (size_t i = 0; i < model->services_count; i++)
		count += model->services[i].backends_count;
	pairs = calloc(count + 1, sizeof(*pairs));
	rows->failed |= !pairs;
	count = 0;
	for (size_t i = 0; pairs && i < model->services_count; i++) {
		const struct top_service *service = &model->services[i];

		for (size_t b = 0; b < service->backends_count; b++)
			if (backend_matches(service, &service->backends[b], options->filter))
				pairs[count++] = (struct top_pair){service, &service->backends[b]};
	}
	if (pairs)
		top_pairs_sort(pairs, count, options->sort, options->reverse);
	for (size_t i = 0; i < count; i++) {
		struct top_row row = {.kind = TOP_ROW_BACKEND,
				      .service = pairs[i].service,
				      .backend = pairs[i].backend};

		add(rows, &row);
	}
	free(pairs);
}

/* ---- reasons ---- */

static void add_reasons(struct top_rows *rows, const struct top_model *model, const char *filter)
{
	static const char *const outcomes[] = {"dropped", "sent", "passed", "event"};

	for (size_t o = 0; o < sizeof(outcomes) / sizeof(*outcomes); o++) {
		for (size_t i = 0; i < model->reasons_count; i++) {
			const struct top_reason *reason = &model->reasons[i];
			const char *const texts[] = {reason->name, reason->outcome, reason->help};
			struct top_row row = {.kind = TOP_ROW_REASON, .reason = reason};

			if (strcmp(reason->outcome, outcomes[o]) == 0 &&
			    match_words(filter, texts, sizeof(texts) / sizeof(*texts)))
				add(rows, &row);
		}
	}
}

void rows_collect(struct top_rows *rows, const struct top_model *model,
		  const struct top_options *options)
{
	*rows = (struct top_rows){0};
	if (options->view == TOP_VIEW_REASONS)
		add_reasons(rows, model, options->filter);
	else if (options->view == TOP_VIEW_BACKENDS)
		add_sorted_backends(rows, model, options);
	for (size_t i = 0; i < model->services_count; i++) {
		const struct top_service *service = &model->services[i];
		struct top_row row = {.kind = TOP_ROW_SERVICE, .service = service};

		if (options->view == TOP_VIEW_TREE)
			add_tree(rows, service, options->filter);
		else if (options->view == TOP_VIEW_SERVICES &&
			 service_matches(service, options->filter))
			add(rows, &row);
	}
}

void rows_add_why(struct top_rows *rows, unsigned columns)
{
	struct top_rows longer = {.failed = rows->failed};

	for (size_t i = 0; i < rows->count; i++) {
		struct top_row row = rows->rows[i];
		bool fits = text_width(row_why(&row)) <= columns;

		add(&longer, &row);
		row.kind = TOP_ROW_WHY;
		if (!fits)
			add(&longer, &row);
	}
	free(rows->rows);
	*rows = longer;
}

/* ---- help ---- */

static const char *const help[][2] = {
    {"Keys", NULL},
    {"q, F10", "quit"},
    {"h, ?, F1", "this help; one of them, q or Esc leaves it"},
    {"/",
     "filter: only rows in which each word occurs, in a name, an address, a label, the status or the "
     "reason. Enter keeps the filter, Esc ends it"},
    {"v", "services with their backends; services alone; backends of all services in one order"},
    {"d", "packets by reason, such as drops; and back"},
    {"s, S", "the next, the previous order"},
    {"P B N A", "most packets, bits, new flows, active flows first"},
    {"D W L", "down first, largest weight, slowest health checks"},
    {"T F", "slowest connects, most that fail: by P95, by FAIL %"},
    {"M C", "by name, as in the config"},
    {"r", "reverse the order"},
    {"p", "pause, and go on"},
    {"arrows, Page Up, Page Down, Home, End", "scroll"},
    {"", NULL},
    {"Columns", NULL},
    {"WEIGHT", "of a backend the effective weight; of a service the backends up and all"},
    {"CHECK", "how long health checks took lately: an average that follows a peak at once and "
	      "forgets it in some seconds. Of a service that of its slowest backend"},
    {"P95",
     "95 of 100 connects of clients in the last 5 to 10 seconds took less, off by at most an "
     "eighth: from the SYN to the client's next packet. TCP only"},
    {"FAIL %", "of these connects those whose SYN was sent again, had no answer, or was refused"},
    {"PKT/S, BIT/S", "forwarded to backends, per second"},
    {"RPKT/S, RBIT/S", "replies that came back through lbd, per second: with forward: nat"},
    {"NEW/S", "new flows per second"},
    {"ACTIVE", "tracked flows; flows in stable slots need no tracking"},
    {"WHY", "why the last check failed, or why it takes no flows or few; below the row if the line "
	    "has no room"},
};

static void add_help(struct top_rows *rows, FILE *out, unsigned columns)
{
	unsigned indent = columns < 60 ? 4 : 16;

	for (size_t i = 0; i < sizeof(help) / sizeof(*help); i++) {
		unsigned used;

		if (!help[i][1]) {
			fprintf(out, "%s\n", help[i][0]);
			continue;
		}
		used = (unsigned)fprintf(out, "  %s", help[i][0]);
		if (used + 2 > indent) {
			fprintf(out, "\n%*s", (int)indent, "");
			used = indent;
		} else {
			used += (unsigned)fprintf(out, "%*s", (int)(indent - used), "");
		}
		text_wrap(out, help[i][1], used, indent, columns);
	}
}

void rows_help(struct top_rows *rows, unsigned columns)
{
	char *text = NULL, *rest, *line;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	*rows = (struct top_rows){.failed = !out};
	if (!out)
		return;
	add_help(rows, out, columns);
	rows->failed |= fclose(out) != 0;
	rest = text;
	while (rest && (line = strsep(&rest, "\n"))) {
		struct top_row row = {.kind = TOP_ROW_HELP};

		if (!rest)
			break; /* after the last line end */
		row.help = strdup(line);
		rows->failed |= !row.help;
		if (row.help)
			add(rows, &row);
	}
	free(text);
}
