/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl top: rates, health and drops, live on a terminal (ncurses) or once as plain text. Polls
 * GET /v1/top. */
#include <curses.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "lbctl/core/call.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/top/model.h"
#include "lbctl/top/view.h"

#define DEFAULT_MS 1000
#define MIN_MS     100
#define MAX_MS     3600000

struct top {
	struct call *call;
	uint64_t interval_ms;
	json_t *sample; /* the last answer; NULL: the last request failed, or none was made */
	struct top_model model;
	bool has_model;
	struct top_options options;
	size_t scroll;
	char failure[256]; /* why there is no new sample; "" if there is one */
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal_number)
{
	stopped = signal_number;
}

/* Without SA_RESTART: a signal ends the wait for a key, and the normal exit restores the terminal.
 */
static void watch_signals(void)
{
	const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Takes a sample. If there is an earlier one, makes the model of the time between the two. */
static int take_sample(struct top *top, struct error *err)
{
	struct top_model model;
	json_t *now = NULL;
	int rc = call_get(top->call, "/v1/top", &now, err);

	if (rc) {
		json_decref(top->sample);
		top->sample = NULL;
		return rc;
	}
	if (top->sample) {
		rc = top_model_read(top->sample, now, &model);
		if (rc == 0) {
			top_model_done(&top->model);
			top->model = model;
			top->has_model = true;
		}
	}
	json_decref(top->sample);
	top->sample = now;
	if (rc == -ENOMEM)
		return error_set(err, -ENOMEM, "out of memory");
	return 0;
}

static void top_done(struct top *top)
{
	json_decref(top->sample);
	top_model_done(&top->model);
}

/* ---- plain ---- */

static void pause_ms(uint64_t ms)
{
	const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
				       .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

static int print_once(struct top *top, struct error *err)
{
	struct top_frame frame;
	int rc = take_sample(top, err);

	if (rc)
		return rc;
	pause_ms(top->interval_ms);
	rc = take_sample(top, err);
	if (rc)
		return rc;
	if (top->call->json)
		return show_json(top->sample, err);
	if (!top->has_model)
		return error_set(
		    err, -EPROTO,
		    "top: GET /v1/top: expected time_ms to increase between two samples");
	top_model_sort(&top->model, top->options.sort);
	top_view_render(&top->model, &top->options, &frame);
	for (size_t i = 0; i < frame.lines_count; i++) {
		size_t length = strlen(frame.lines[i].text);

		while (length && frame.lines[i].text[length - 1] == ' ')
			length--;
		printf("%.*s\n", (int)length, frame.lines[i].text);
	}
	rc = frame.failed ? error_set(err, -ENOMEM, "out of memory") : 0;
	top_view_done(&frame);
	return rc;
}

/* ---- curses ---- */

static int attributes(enum tone tone)
{
	bool coloured = has_colors();

	switch (tone) {
	case TONE_GOOD:
		return coloured ? COLOR_PAIR(1) : 0;
	case TONE_WARN:
		return coloured ? COLOR_PAIR(2) : A_BOLD;
	case TONE_BAD:
		return coloured ? COLOR_PAIR(3) | A_BOLD : A_BOLD;
	case TONE_DIM:
		return A_DIM;
	case TONE_BOLD:
		return A_BOLD;
	case TONE_REVERSE:
		return A_REVERSE;
	default:
		return A_NORMAL;
	}
}

static void begin_colours(void)
{
	if (format_no_color() || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	init_pair(1, COLOR_GREEN, -1);
	init_pair(2, COLOR_YELLOW, -1);
	init_pair(3, COLOR_RED, -1);
}

static void draw_line(int row, const struct top_line *line)
{
	size_t fits = text_head(line->text, (unsigned)COLS);

	move(row, 0);
	for (unsigned i = 0; i < line->spans_count; i++) {
		size_t from = line->spans[i].at;
		size_t to = i + 1 < line->spans_count ? line->spans[i + 1].at : fits;

		if (to > fits)
			to = fits;
		if (from >= to)
			continue;
		attrset(attributes(line->spans[i].tone));
		addnstr(line->text + from, (int)(to - from));
	}
	attrset(A_NORMAL);
	clrtoeol();
}

static void draw_footer(const struct top *top, size_t hidden)
{
	move(LINES - 1, 0);
	if (top->failure[0]) {
		attrset(attributes(TONE_BAD));
		addnstr(top->failure, COLS - 1);
	} else {
		attrset(A_DIM);
		printw("q quit  s sort  d %s  arrows scroll",
		       top->options.drops ? "services" : "drops");
		if (hidden)
			printw("  (%zu more lines)", hidden);
	}
	attrset(A_NORMAL);
	clrtoeol();
}

static void draw(struct top *top)
{
	struct top_frame frame = {0};
	size_t body_rows, body, row = 0;

	erase();
	if (top->has_model) {
		top->options.columns = (unsigned)COLS;
		top_view_render(&top->model, &top->options, &frame);
	}
	for (; row < frame.head_count && (int)row < LINES - 1; row++)
		draw_line((int)row, &frame.lines[row]);
	body = frame.lines_count - frame.head_count;
	body_rows = LINES - 1 > (int)row ? (size_t)(LINES - 1) - row : 0;
	if (top->scroll + body_rows > body)
		top->scroll = body > body_rows ? body - body_rows : 0;
	for (size_t i = 0; i < body_rows && top->scroll + i < body; i++)
		draw_line((int)(row + i), &frame.lines[frame.head_count + top->scroll + i]);
	if (!top->has_model && !top->failure[0])
		mvaddstr(0, 0, "measuring...");
	draw_footer(top, body > top->scroll + body_rows ? body - top->scroll - body_rows : 0);
	refresh();
	top_view_done(&frame);
}

/* Returns false to quit. */
static bool handle_key(struct top *top, int key)
{
	size_t page = LINES > 8 ? (size_t)LINES - 8 : 1;

	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 's':
		top->options.sort = (top->options.sort + 1) % TOP_SORTS;
		if (top->has_model && top->options.sort != TOP_SORT_CONFIG)
			top_model_sort(&top->model, top->options.sort);
		break;
	case 'd':
		top->options.drops = !top->options.drops;
		top->scroll = 0;
		break;
	case KEY_UP:
	case 'k':
		top->scroll -= top->scroll > 0;
		break;
	case KEY_DOWN:
	case 'j':
		top->scroll++;
		break;
	case KEY_PPAGE:
		top->scroll -= top->scroll < page ? top->scroll : page;
		break;
	case KEY_NPAGE:
	case ' ':
		top->scroll += page;
		break;
	case KEY_HOME:
		top->scroll = 0;
		break;
	case KEY_END:
		top->scroll = SIZE_MAX / 2;
		break;
	}
	return true;
}

static void sample_or_show_failure(struct top *top)
{
	struct error err;

	top->failure[0] = 0;
	if (take_sample(top, &err)) {
		err.text[strcspn(err.text, "\n")] = 0;
		snprintf(top->failure, sizeof(top->failure), "%.200s Retrying.", err.text);
	} else if (top->has_model) {
		top_model_sort(&top->model, top->options.sort);
	}
}

static void run_loop(struct top *top)
{
	uint64_t next = 0;

	while (!stopped) {
		uint64_t now = clock_monotonic_ms();
		int key;

		if (now >= next) {
			/* A short first interval shows the first frame soon. */
			next = now + (top->has_model           ? top->interval_ms
				      : top->interval_ms < 300 ? top->interval_ms
							       : 300);
			sample_or_show_failure(top);
			draw(top);
			continue;
		}
		timeout((int)(next - now));
		key = getch();
		if (key == ERR) {
			if (stopped || errno == EIO)
				return;
			continue;
		}
		if (!handle_key(top, key))
			return;
		draw(top);
	}
}

static int run_screen(struct top *top, struct error *err)
{
	SCREEN *screen;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return error_set(
		    err, -ENOTTY,
		    "top: standard input or output is not a terminal. Next: lbctl top --once");
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return error_set(err, -ENOTTY,
				 "top: TERM=%s: unknown terminal type. Next: lbctl top --once",
				 getenv("TERM") ? getenv("TERM") : "");
	watch_signals();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	begin_colours();
	run_loop(top);
	endwin();
	delscreen(screen);
	return 0;
}

static void read_sort(const struct call *call, enum top_sort *ret)
{
	static const char *const words[TOP_SORTS] = {"config", "packets", "bits", "flows",
						     "active"};
	const char *given = call_option(call, "--sort");

	for (int i = 0; given && i < TOP_SORTS; i++)
		if (strcmp(given, words[i]) == 0)
			*ret = (enum top_sort)i;
}

static int run_top(struct call *call, struct error *err)
{
	const char *interval = call_option(call, "--interval");
	struct top top = {.call = call, .interval_ms = DEFAULT_MS, .options = {.columns = 80}};
	bool once = call_option(call, "--once") || call->json;
	int rc;

	if (interval && (parse_duration(interval, &top.interval_ms) || top.interval_ms < MIN_MS ||
			 top.interval_ms > MAX_MS))
		return error_set(err, -EINVAL,
				 "top: --interval %s: expected a duration from 100ms to 1h",
				 interval);
	read_sort(call, &top.options.sort);
	top.options.drops = call_option(call, "--drops") != NULL;
	if (once && format_columns(stdout))
		top.options.columns = format_columns(stdout);
	rc = once ? print_once(&top, err) : run_screen(&top, err);
	top_done(&top);
	return rc;
}

REGISTER(verb, top) = {
    .name = "top",
    .group = VERB_SHOW,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "show live rates of services and backends, health and drops",
    .details = "Keys: q quits; s changes the sort order; d switches between services and reasons; "
	       "arrows, Page Up, Page Down, Home and End scroll. If lbd stops, top keeps trying "
	       "until it is back.",
    .options = {{.name = "--interval",
		 .value = "TIME",
		 .help = "time between samples: 100ms to 1h, default 1s"},
		{.name = "--sort",
		 .choice = "config|packets|bits|flows|active",
		 .help = "the initial sort order"},
		{.name = "--drops", .help = "start with the table of reasons"},
		{.name = "--once",
		 .help = "print one frame as plain text and exit; its rates are of one interval"}},
    .examples = {{"top", NULL}, {"top --once --interval 5s", "rates over five seconds, for a log"}},
    .run = run_top,
};
