/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A verb that lists what lbd has: once or again and again (--watch), all or a selection, as a table
 * or as JSON. */
#include "list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/plural.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"

#define DEFAULT_MS 2000
#define MIN_MS     100
#define MAX_MS     3600000

const char *list_count(const struct list_style *style, uint64_t count, char text[FORMAT_TEXT])
{
	return style->exact ? format_exact(count, text) : format_count(count, text);
}

int list_table(const json_t *array, const struct list_column *columns,
	       void (*add)(struct table *table, const json_t *object,
			   const struct list_style *style),
	       const struct list_style *style)
{
	struct table_column shown[TABLE_COLUMNS + 1] = {{0}};
	const json_t *object;
	struct table *table;
	size_t i;
	int rc;

	for (i = 0; i < TABLE_COLUMNS && columns[i].column.title; i++) {
		shown[i] = columns[i].column;
		if (style->sort && columns[i].sort && !strcmp(style->sort, columns[i].sort))
			shown[i].spare = 0;
	}
	table = table_new(shown);
	json_array_foreach (array, i, object)
		add(table, object, style);
	rc = table_print(table, style->out, style->columns, style->coloured);
	table_free(table);
	return rc;
}

void list_add_quantiles(struct table *table, const json_t *object)
{
	static const char *const quantiles[] = {"p50_us", "p95_us", "p99_us"};
	char text[FORMAT_TEXT];

	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		table_add(table, TONE_PLAIN,
			  format_latency(json_number(object, quantiles[i]), text));
}

void list_put_sentence(const struct list_style *style, enum tone tone, const char *text)
{
	fputs(format_escape(tone, style->coloured), style->out);
	text_wrap(style->out, text, 0, 4, style->columns);
	fputs(format_escape(TONE_PLAIN, style->coloured), style->out);
}

/* The answer with the selected objects alone. */
static int get(struct call *call, const struct list *list, json_t **ret, struct error *err)
{
	const struct selection selection = {.down = call_option(call, "--down") != NULL,
					    .filter = call_option(call, "--filter"),
					    .sort = call_option(call, "--sort")};
	json_t *answer = NULL, *selected;
	int rc = list->get(call, &answer, err);

	if (rc)
		return rc;
	selected = list->select(json_object_get(answer, list->field), &selection);
	if (!selected || json_object_set_new(answer, list->field, selected)) {
		json_decref(answer);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = answer;
	return 0;
}

static struct list_style style_of(const struct call *call, const json_t *answer, FILE *out)
{
	return (struct list_style){
	    .out = out,
	    .columns = format_columns(stdout),
	    .coloured = format_coloured(stdout),
	    .exact = call_option(call, "--exact"),
	    .sort = call_option(call, "--sort"),
	    .answer = answer,
	};
}

/* 0 or -ENOMEM. */
static int print(const struct call *call, const struct list *list, const struct list_style *style)
{
	const json_t *array = json_object_get(style->answer, list->field);
	bool selected = call_option(call, "--down") || call_option(call, "--filter");

	if (json_array_size(array))
		return list->print(array, style);
	fprintf(style->out, "%s\n", selected ? list->no_match : list->none);
	return 0;
}

static int print_once(struct call *call, const struct list *list, struct error *err)
{
	struct list_style style;
	json_t *answer = NULL;
	int rc = get(call, list, &answer, err);

	if (rc)
		return rc;
	style = style_of(call, answer, stdout);
	if (call->json)
		rc = show_json(answer, err);
	else if (print(call, list, &style))
		rc = error_set(err, -ENOMEM, "out of memory");
	json_decref(answer);
	return rc;
}

/* ---- again and again ---- */

struct watch {
	struct call *call;
	const struct list *list;
	uint64_t interval_ms;
	json_t *answer;       /* the last one */
	uint64_t answered_ms; /* CLOCK_REALTIME */
	char failure[256];    /* why there is no newer one; "" if there is */
	bool begun;
};

/* A line cut to the terminal's width; escape sequences take none. */
static void put_line(const char *line, unsigned columns)
{
	while (*line) {
		size_t length = *line == '\033' ? strcspn(line, "m") + 1 : strcspn(line, "\033");
		_cleanup_free_ char *part = strndup(line, length);
		size_t fits;

		if (!part)
			return;
		fits = *line == '\033' ? strlen(part) : text_head(part, columns);
		printf("%.*s", (int)fits, part);
		if (*line != '\033')
			columns -= text_width(part) < columns ? text_width(part) : columns;
		line += strlen(part);
	}
}

static void put_title(const struct watch *watch, bool coloured, unsigned columns)
{
	char text[512], cut[1024], clock[FORMAT_TEXT];

	format_clock(watch->answered_ms, clock);
	if (watch->failure[0])
		snprintf(text, sizeof(text), "Since %s: %s Retrying.", clock, watch->failure);
	else
		snprintf(text, sizeof(text), "%s: every %gs, %s", watch->call->verb->name,
			 (double)watch->interval_ms / 1000, clock);
	printf("%s%s%s", format_escape(watch->failure[0] ? TONE_ALARM : TONE_BOLD, coloured),
	       text_fit(text, columns, CUT_END, cut, sizeof(cut)),
	       format_escape(TONE_PLAIN, coloured));
}

/* As many lines of text as the terminal has rows; what is old is grey. */
static void put_screen(const struct watch *watch, char *text, const struct list_style *style)
{
	unsigned rows = format_rows(stdout), left = rows > 3 ? rows - 3 : 1, hidden = 0;
	bool old = watch->failure[0] && format_coloured(stdout);
	char *rest = text, *line;

	fputs(watch->begun ? "\033[H" : "\033[H\033[2J", stdout);
	put_title(watch, format_coloured(stdout), style->columns);
	fputs("\033[K\n", stdout);
	while ((line = strsep(&rest, "\n"))) {
		if (!rest && !*line)
			break;
		if (!left) {
			hidden++;
			continue;
		}
		left--;
		fputs(format_escape(TONE_DIM, old), stdout);
		put_line(line, style->columns);
		printf("%s\033[K\n", format_escape(TONE_PLAIN, old));
	}
	fputs(format_escape(TONE_PLAIN, format_coloured(stdout)), stdout);
	if (hidden)
		printf("(%u more line%s)\033[K", hidden, plural_s(hidden));
	fputs("\033[J", stdout);
}

static int show(struct watch *watch, struct error *err)
{
	bool terminal = format_columns(stdout) != 0;
	_cleanup_free_ char *text = NULL;
	struct list_style style;
	char clock[FORMAT_TEXT];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int rc;

	if (!out)
		return error_set(err, -ENOMEM, "out of memory");
	style = style_of(watch->call, watch->answer, out);
	style.coloured = style.coloured && !watch->failure[0];
	rc = print(watch->call, watch->list, &style);
	if (fclose(out) || rc)
		return error_set(err, -ENOMEM, "out of memory");
	if (terminal)
		put_screen(watch, text, &style);
	else if (watch->failure[0])
		printf("%s Retrying.\n\n", watch->failure);
	else
		printf("%s\n%s\n", format_clock(watch->answered_ms, clock), text);
	watch->begun = true;
	return 0;
}

static int show_json_line(const json_t *answer)
{
	int rc = json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);

	return putchar('\n') == EOF ? -1 : rc;
}

/* A failure after the first answer is shown, and it goes on: scripts, which read JSON, are told by
 * the exit status. */
static int look(struct watch *watch, struct error *err)
{
	json_t *answer = NULL;
	int rc = get(watch->call, watch->list, &answer, err);

	if (rc && (!watch->answer || watch->call->json))
		return rc;
	watch->failure[0] = 0;
	if (rc) {
		snprintf(watch->failure, sizeof(watch->failure), "%.*s",
			 (int)strcspn(err->text, "\n"), err->text);
	} else {
		json_decref(watch->answer);
		watch->answer = answer;
		watch->answered_ms = clock_wall_ms();
	}
	rc = watch->call->json ? show_json_line(watch->answer) : show(watch, err);
	if (fflush(stdout) || rc)
		return error_set(err, -EIO, "standard output: cannot write");
	return 0;
}

static int run_watch(struct watch *watch, struct error *err)
{
	const struct timespec pause = {.tv_sec = (time_t)(watch->interval_ms / 1000),
				       .tv_nsec = (long)(watch->interval_ms % 1000) * 1000000};
	int rc;

	while (!(rc = look(watch, err)))
		nanosleep(&pause, NULL);
	json_decref(watch->answer);
	return rc;
}

int list_run(struct call *call, const struct list *list, struct error *err)
{
	const char *interval = call_option(call, "--watch");
	struct watch watch = {.call = call, .list = list, .interval_ms = DEFAULT_MS};

	if (!interval)
		return print_once(call, list, err);
	if (*interval && (parse_duration(interval, &watch.interval_ms) ||
			  watch.interval_ms < MIN_MS || watch.interval_ms > MAX_MS))
		return error_set(err, -EINVAL,
				 "%s: --watch=%s: expected a duration from 100ms to 1h",
				 call->verb->name, interval);
	return run_watch(&watch, err);
}

int list_get_backends(struct call *call, const char *fields, json_t **ret, struct error *err)
{
	const struct call_wanted wanted = {.service = call_argument(call, 0),
					   .down = call_option(call, "--down"),
					   .filter = call_option(call, "--filter"),
					   .fields = call->json ? NULL : fields};

	return call_some_backends(call, &wanted, ret, err);
}

int list_run_backends(struct call *call,
		      int (*ask)(struct call *call, json_t **ret, struct error *err),
		      int (*print_list)(const json_t *backends, const struct list_style *style),
		      struct error *err)
{
	const struct list list = {.field = "backends",
				  .none = "No backends: add some to the config, or use lbctl "
					  "backend add SERVICE ADDRESS",
				  .no_match = "No backend matches",
				  .get = ask,
				  .select = select_backends,
				  .print = print_list};

	return list_run(call, &list, err);
}
