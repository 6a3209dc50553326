/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the keys of lbctl top do. */
#include "keys.h"

#include <curses.h>
#include <string.h>

#define ESCAPE  27
#define DELETE  127
#define CTRL(c) ((c) - '@')

/* ---- the filter ---- */

static void end_typing(struct top_options *options, bool keep)
{
	options->typing = false;
	if (!keep)
		options->filter[0] = 0;
}

/* The last character, of whatever number of bytes. */
static void remove_last(char *text)
{
	size_t length = strlen(text);

	while (length && (text[--length] & 0xc0) == 0x80)
		;
	text[length] = 0;
}

static void type(struct top_options *options, int key)
{
	size_t length = strlen(options->filter);

	options->scroll = 0;
	if (key == '\n' || key == '\r' || key == KEY_ENTER)
		end_typing(options, true);
	else if (key == ESCAPE)
		end_typing(options, false);
	else if (key == KEY_BACKSPACE || key == DELETE || key == CTRL('H'))
		remove_last(options->filter);
	else if (key == CTRL('U'))
		options->filter[0] = 0;
	else if (key >= ' ' && key <= 0xff && length + 1 < sizeof(options->filter))
		memcpy(options->filter + length, (char[]){(char)key, 0}, 2);
}

/* ---- the rest ---- */

static bool move_by(struct top_options *options, int key, size_t page)
{
	size_t *at = &options->scroll;

	if (!page)
		page = 1;
	switch (key) {
	case KEY_UP:
	case 'k':
		*at -= *at > 0;
		return true;
	case KEY_DOWN:
	case 'j':
		++*at;
		return true;
	case KEY_PPAGE:
		*at -= *at < page ? *at : page;
		return true;
	case KEY_NPAGE:
	case ' ':
		*at += page;
		return true;
	case KEY_HOME:
	case 'g':
		*at = 0;
		return true;
	case KEY_END:
	case 'G':
		*at = SIZE_MAX / 2; /* the view knows the end */
		return true;
	}
	return false;
}

/* A key that chooses an order; TOP_SORTS: it chooses none. */
static enum top_sort sort_of(const struct top_options *options, int key)
{
	static const struct {
		char key;
		enum top_sort sort;
	} keys[] = {{'P', TOP_SORT_PACKETS}, {'B', TOP_SORT_BITS},   {'N', TOP_SORT_FLOWS},
		    {'A', TOP_SORT_ACTIVE},  {'D', TOP_SORT_STATUS}, {'W', TOP_SORT_WEIGHT},
		    {'L', TOP_SORT_LATENCY}, {'T', TOP_SORT_P95},    {'F', TOP_SORT_FAIL},
		    {'M', TOP_SORT_NAME},    {'C', TOP_SORT_CONFIG}};

	if (key == 's')
		return (options->sort + 1) % TOP_SORTS;
	if (key == 'S')
		return (options->sort + TOP_SORTS - 1) % TOP_SORTS;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i].key == key)
			return keys[i].sort;
	return TOP_SORTS;
}

static void change_view(struct top_options *options, int key)
{
	options->scroll = 0;
	if (key == 'd')
		options->view =
		    options->view == TOP_VIEW_REASONS ? TOP_VIEW_TREE : TOP_VIEW_REASONS;
	else
		options->view = options->view == TOP_VIEW_TREE       ? TOP_VIEW_SERVICES
				: options->view == TOP_VIEW_SERVICES ? TOP_VIEW_BACKENDS
								     : TOP_VIEW_TREE;
}

static void leave_help(struct top_options *options, int key)
{
	if (!strchr("hHqQ?", key) && key != KEY_F(1) && key != ESCAPE && key != KEY_F(10))
		return;
	options->help = false;
	options->scroll = 0;
}

static enum top_after command(struct top_options *options, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
	case KEY_F(10):
		return TOP_AFTER_QUIT;
	case 'h':
	case '?':
	case KEY_F(1):
		options->help = true;
		options->scroll = 0;
		break;
	case '/':
		options->typing = true;
		break;
	case ESCAPE:
		options->filter[0] = 0;
		break;
	case 'v':
	case 'd':
		change_view(options, key);
		break;
	case 'r':
		options->reverse = !options->reverse;
		return TOP_AFTER_SORT;
	case 'p':
		options->paused = !options->paused;
		break;
	}
	return TOP_AFTER_DRAW;
}

enum top_after top_key(struct top_options *options, int key, size_t page)
{
	enum top_sort sort;

	if (key == KEY_RESIZE)
		return TOP_AFTER_DRAW;
	if (options->typing) {
		type(options, key);
		return TOP_AFTER_DRAW;
	}
	if (move_by(options, key, page))
		return TOP_AFTER_DRAW;
	if (options->help) {
		leave_help(options, key);
		return TOP_AFTER_DRAW;
	}
	sort = sort_of(options, key);
	if (sort == TOP_SORTS)
		return command(options, key);
	options->sort = sort;
	options->reverse = false;
	options->scroll = 0;
	return TOP_AFTER_SORT;
}
