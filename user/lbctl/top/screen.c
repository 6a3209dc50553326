/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl top on a terminal (ncurses). Keys are answered while a request is under way, also if lbd
 * never answers it. */
#include "screen.h"

#include <curses.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "lbctl/core/client.h"
#include "keys.h"
#include "sample.h"

#define FIRST_MS    300  /* a short first interval: the first figures come soon */
#define SILENCE_MS  3000 /* an answer that takes longer is missed */
#define REDRAW_MS   1000 /* at the latest */
#define ESCAPE_MS   25   /* until Esc is no part of a key's sequence */
#define DEAD_INPUTS 3    /* times that there is input and no key: the terminal is gone */

struct screen {
	struct client *client;
	struct top_options options;
	struct top_samples samples;
	uint64_t next_ms,
	    began_ms; /* CLOCK_MONOTONIC of the next request, and of the one under way */
	bool asking;
	bool silent;       /* the request under way takes too long */
	uint64_t lost_ms;  /* CLOCK_REALTIME since which the figures are old; 0: they are not */
	char failure[256]; /* of the last request; "" */
	int fatal;         /* of the first request: another attempt would end as this one */
	struct error *err;
	size_t page; /* rows of the body */
	bool redraw;
	uint64_t drawn_ms; /* CLOCK_MONOTONIC */
	unsigned dead_inputs;
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal_number)
{
	stopped = signal_number;
}

/* Without SA_RESTART: a signal ends the wait, and the normal exit restores the terminal. */
static void watch_signals(void)
{
	const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- tones ---- */

enum pair { GREEN = 1, YELLOW, RED, CYAN, GREY, TITLES, SORTED, KEY, ALARM };

static attr_t pair_of(enum pair pair, attr_t without)
{
	return has_colors() && !format_no_color() ? (attr_t)COLOR_PAIR(pair) : without;
}

static attr_t attributes(enum tone tone)
{
	switch (tone) {
	case TONE_GOOD:
		return pair_of(GREEN, 0);
	case TONE_WARN:
		return pair_of(YELLOW, A_BOLD);
	case TONE_BAD:
		return pair_of(RED, 0) | A_BOLD;
	case TONE_DIM:
		return COLORS >= 256 ? pair_of(GREY, A_DIM) : A_DIM;
	case TONE_BOLD:
		return A_BOLD;
	case TONE_ACCENT:
		return pair_of(CYAN, 0);
	case TONE_TITLES:
		return pair_of(TITLES, A_REVERSE);
	case TONE_SORTED:
		return pair_of(SORTED, A_REVERSE | A_BOLD);
	case TONE_KEY:
		return pair_of(KEY, A_REVERSE);
	case TONE_ALARM:
		return pair_of(ALARM, A_REVERSE) | A_BOLD;
	default:
		return A_NORMAL;
	}
}

static void begin_colours(void)
{
	if (format_no_color() || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	init_pair(GREEN, COLOR_GREEN, -1);
	init_pair(YELLOW, COLOR_YELLOW, -1);
	init_pair(RED, COLOR_RED, -1);
	init_pair(CYAN, COLOR_CYAN, -1);
	init_pair(TITLES, COLOR_BLACK, COLOR_GREEN);
	init_pair(SORTED, COLOR_BLACK, COLOR_CYAN);
	init_pair(KEY, COLOR_BLACK, COLOR_CYAN);
	init_pair(ALARM, COLOR_WHITE, COLOR_RED);
	if (COLORS >= 256)
		init_pair(GREY, 245, -1); /* the same in every palette */
}

/* ---- drawing ---- */

static void draw_line(int row, const struct top_line *line)
{
	size_t fits = line->text ? text_head(line->text, (unsigned)COLS) : 0;

	for (unsigned i = 0; i < line->spans_count; i++) {
		size_t from = line->spans[i].at;
		size_t to = i + 1 < line->spans_count ? line->spans[i + 1].at : fits;

		if (to > fits)
			to = fits;
		if (from >= to)
			continue;
		if (i == 0)
			move(row, 0);
		attrset((int)attributes(line->spans[i].tone));
		addnstr(line->text + from, (int)(to - from));
	}
	attrset(A_NORMAL);
}

/* Why the figures are old and since when; NULL: they are not. */
static const char *alarm_text(const struct screen *screen, char text[512])
{
	char since[FORMAT_TEXT], age[FORMAT_TEXT];

	if (!screen->lost_ms)
		return NULL;
	format_clock(screen->lost_ms, since);
	format_duration((clock_wall_ms() - screen->lost_ms) / 1000, age);
	snprintf(text, 512, "Since %s (%s): %s", since, age,
		 screen->failure[0] ? screen->failure
		 : screen->silent   ? "no answer from lbd. Still waiting"
				    : "lbd answers again; measuring");
	return text;
}

/* Before there are two samples. */
static void draw_beginning(const struct screen *screen)
{
	const char *text = screen->failure[0] ? screen->failure
			   : screen->silent   ? "no answer from lbd. Still waiting"
					      : "measuring...";

	attrset((int)attributes(screen->failure[0] || screen->silent ? TONE_BAD : TONE_DIM));
	mvaddnstr(0, 0, text, (int)text_head(text, (unsigned)COLS));
	attrset(A_NORMAL);
}

static void draw(struct screen *screen)
{
	struct top_options *options = &screen->options;
	char alarm[512], clock[FORMAT_TEXT];
	struct top_frame frame;

	erase();
	if (screen->samples.has_model) {
		options->columns = (unsigned)COLS;
		options->rows = (unsigned)LINES;
		options->clock = format_clock(screen->samples.taken_ms, clock);
		options->alarm = alarm_text(screen, alarm);
		top_view_render(&screen->samples.model, options, &frame);
		for (size_t i = 0; i < frame.lines_count && (int)i < LINES; i++)
			draw_line((int)i, &frame.lines[i]);
		options->scroll = frame.scroll;
		screen->page = frame.page;
		frame_done(&frame);
	} else {
		draw_beginning(screen);
	}
	refresh();
	screen->redraw = false;
	screen->drawn_ms = clock_monotonic_ms();
}

/* ---- samples ---- */

static void sort(struct screen *screen)
{
	if (screen->samples.has_model)
		top_model_sort(&screen->samples.model, screen->options.sort,
			       screen->options.reverse);
}

/* From now on the figures are old: they are of the last sample. */
static void lose(struct screen *screen)
{
	if (!screen->lost_ms && screen->samples.has_model)
		screen->lost_ms = screen->samples.taken_ms;
}

/* Before there was any answer: may the next request fare better, as lbd may start? */
static bool may_recover(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET || rc == -ETIMEDOUT;
}

static void note_failure(struct screen *screen, int rc, const struct error *err)
{
	if (!screen->samples.has_model && !may_recover(rc)) {
		screen->fatal = rc;
		*screen->err = *err;
	}
	samples_break(&screen->samples);
	lose(screen);
	snprintf(screen->failure, sizeof(screen->failure), "%.*s Retrying.",
		 (int)strcspn(err->text, "\n"), err->text);
	screen->next_ms = clock_monotonic_ms() + screen->options.interval_ms;
}

static void begin_request(struct screen *screen, uint64_t now)
{
	struct error err;
	int rc;

	screen->began_ms = now;
	screen->next_ms = now + screen->options.interval_ms;
	rc = client_begin(screen->client, TOP_PATH, &err);
	if (rc)
		note_failure(screen, rc, &err);
	else
		screen->asking = true;
}

static void end_request(struct screen *screen)
{
	json_t *answer = NULL;
	struct error err;
	int rc = client_end(screen->client, &answer, &err);

	screen->asking = screen->silent = false;
	screen->redraw = true;
	if (rc) {
		note_failure(screen, rc, &err);
		return;
	}
	call_make_printable(answer);
	screen->failure[0] = 0;
	if (samples_add(&screen->samples, answer)) {
		screen->lost_ms = 0;
		sort(screen);
	} else if (screen->options.interval_ms > FIRST_MS) {
		screen->next_ms = clock_monotonic_ms() + FIRST_MS;
	}
}

/* An answer that comes after all is as good: its rates are those of a longer time. */
static void note_silence(struct screen *screen)
{
	screen->silent = screen->redraw = true;
	screen->failure[0] = 0;
	lose(screen);
}

/* ---- keys ---- */

/* False: quit. */
static bool take_keys(struct screen *screen, bool input)
{
	bool any = false;
	int key;

	while ((key = getch()) != ERR) {
		any = screen->redraw = true;
		switch (top_key(&screen->options, key, screen->page)) {
		case TOP_AFTER_QUIT:
			return false;
		case TOP_AFTER_SORT:
			sort(screen);
			break;
		case TOP_AFTER_DRAW:
			break;
		}
	}
	screen->dead_inputs = input && !any ? screen->dead_inputs + 1 : 0;
	return screen->dead_inputs < DEAD_INPUTS;
}

/* ms until something is due: the next request, or the seconds in a line that counts them. */
static int time_to_wait(const struct screen *screen, uint64_t now)
{
	uint64_t until = screen->drawn_ms + REDRAW_MS;

	if (!screen->asking && !screen->options.paused && screen->next_ms < until)
		until = screen->next_ms;
	if (screen->asking && !screen->silent && screen->began_ms + SILENCE_MS < until)
		until = screen->began_ms + SILENCE_MS;
	return until > now ? (int)(until - now) : 0;
}

/* The answer may come in hundreds of parts, each of which ends a wait: none is drawn for. */
static void run_loop(struct screen *screen)
{
	uint64_t now;
	bool input;

	draw(screen);
	while (!stopped && !screen->fatal) {
		now = clock_monotonic_ms();
		if (!screen->asking && !screen->options.paused && now >= screen->next_ms)
			begin_request(screen, now);
		if (client_wait(screen->client, STDIN_FILENO, time_to_wait(screen, now), &input))
			end_request(screen);
		if (stopped || !take_keys(screen, input))
			return;
		now = clock_monotonic_ms();
		if (screen->asking && !screen->silent && now >= screen->began_ms + SILENCE_MS)
			note_silence(screen);
		if (screen->redraw || now >= screen->drawn_ms + REDRAW_MS)
			draw(screen);
	}
}

static int begin_terminal(SCREEN **ret, struct error *err)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return error_set(
		    err, -ENOTTY,
		    "top: standard input or output is not a terminal. Next: lbctl top --once");
	*ret = newterm(NULL, stdout, stdin);
	if (!*ret)
		return error_set(err, -ENOTTY,
				 "top: TERM=%s: unknown terminal type. Next: lbctl top --once",
				 getenv("TERM") ? getenv("TERM") : "");
	watch_signals();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	curs_set(0);
	begin_colours();
	return 0;
}

int top_screen_run(const struct call *call, const struct top_options *options, struct error *err)
{
	struct screen screen = {.options = *options, .err = err};
	SCREEN *terminal = NULL;
	int rc = client_open(call->socket, &screen.client, err);

	if (!rc)
		rc = begin_terminal(&terminal, err);
	if (!rc) {
		run_loop(&screen);
		rc = screen.fatal;
		endwin();
		delscreen(terminal);
	}
	client_close(screen.client);
	samples_done(&screen.samples);
	return rc;
}
