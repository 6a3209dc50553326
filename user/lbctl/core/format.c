/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Numbers, times, colours and text for terminals, and the parsing of numbers and durations. */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "common/cleanup.h"
#include "common/duration.h"
#include "common/plural.h"
#include "common/printable.h"

/* Three digits and a unit. At the limits, rounding would give a fourth digit. */
static const char *three_digits(double value, double step, const char *const *units,
				char text[FORMAT_TEXT])
{
	unsigned unit = 0;

	while (value >= (step > 1000 ? 1023.5 : 999.5) && units[unit + 1]) {
		value /= step;
		unit++;
	}
	if (unit == 0)
		snprintf(text, FORMAT_TEXT, "%.0f%s", value, units[0]);
	else
		snprintf(text, FORMAT_TEXT, "%.*f%s",
			 value < 9.995   ? 2
			 : value < 99.95 ? 1
					 : 0,
			 value, units[unit]);
	return text;
}

static const char *const thousands[] = {"", "k", "M", "G", "T", "P", "E", NULL};

const char *format_count(uint64_t count, char text[FORMAT_TEXT])
{
	return three_digits((double)count, 1000, thousands, text);
}

const char *format_exact(uint64_t count, char text[FORMAT_TEXT])
{
	snprintf(text, FORMAT_TEXT, "%" PRIu64, count);
	return text;
}

const char *format_limit(uint64_t count, char text[FORMAT_TEXT])
{
	static const char units[] = {'\0', 'k', 'M', 'G'};
	unsigned unit = 0;

	while (count && !(count % 1024) && unit + 1 < sizeof(units)) {
		count /= 1024;
		unit++;
	}
	if (count)
		snprintf(text, FORMAT_TEXT, "%llu%.1s", (unsigned long long)count, &units[unit]);
	else
		strcpy(text, "?");
	return text;
}

const char *format_rate(double per_second, char text[FORMAT_TEXT])
{
	if (!(per_second > 0))
		per_second = 0;
	if (per_second == 0 || per_second >= 99.95)
		return three_digits(per_second, 1000, thousands, text);
	snprintf(text, FORMAT_TEXT, "%.1f", per_second);
	return text;
}

const char *format_bytes(uint64_t bytes, char text[FORMAT_TEXT])
{
	static const char *const units[] = {" B",   " KiB", " MiB", " GiB",
					    " TiB", " PiB", " EiB", NULL};

	return three_digits((double)bytes, 1024, units, text);
}

const char *format_duration(uint64_t seconds, char text[FORMAT_TEXT])
{
	return duration_about(seconds * 1000, text);
}

const char *format_age(uint64_t seconds, char text[FORMAT_TEXT])
{
	size_t digits;

	duration_about(seconds * 1000, text);
	digits = strspn(text, "0123456789");
	text[digits + 1] = 0; /* its unit is one letter */
	return text;
}

const char *format_latency(uint64_t microseconds, char text[FORMAT_TEXT])
{
	return microseconds ? duration_measured(microseconds, text) : strcpy(text, "-");
}

const char *format_share(double share, char text[FORMAT_TEXT])
{
	if (share < 0)
		return strcpy(text, "-");
	if (share >= 1)
		return strcpy(text, "100%");
	snprintf(text, FORMAT_TEXT, "%.2f%%", (double)(int)(share * 10000) / 100);
	return text;
}

const char *format_percent(uint64_t part, uint64_t all, char text[FORMAT_TEXT])
{
	if (!all)
		return strcpy(text, "-");
	snprintf(text, FORMAT_TEXT, "%.3g", 100.0 * (double)part / (double)all);
	return text;
}

enum tone format_fail_tone(uint64_t part, uint64_t all)
{
	return !part ? TONE_PLAIN : part * 10 >= all ? TONE_BAD : TONE_WARN;
}

const char *format_plural(uint64_t count, const char *noun, char text[64])
{
	snprintf(text, 64, "%llu %s%s", (unsigned long long)count, noun, plural_s(count));
	return text;
}

const char *format_endpoint(const char *address, uint64_t port, const char *protocol, char text[96])
{
	bool v6 = strchr(address, ':') != NULL;
	char number[24] = "any";

	if (port)
		snprintf(number, sizeof(number), "%u", (unsigned)port);
	snprintf(text, 96, "%s%.46s%s:%s%s%.8s", v6 ? "[" : "", address, v6 ? "]" : "", number,
		 *protocol ? "/" : "", protocol);
	return text;
}

int parse_whole(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long value;

	if (!*text || text[strspn(text, "0123456789")])
		return -EINVAL;
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno || value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_duration(const char *text, uint64_t *ret_ms)
{
	const uint64_t year_ms = 366ULL * 86400000;
	uint64_t value;
	int rc = duration_parse(text, &value);

	if (rc == -EDOM && value <= year_ms) { /* seconds */
		value *= 1000;
		rc = 0;
	}
	if (rc == -EDOM || (!rc && value > year_ms))
		rc = -ERANGE;
	if (!rc)
		*ret_ms = value;
	return rc;
}

bool is_duration(const char *text)
{
	uint64_t ignored;

	return !parse_duration(text, &ignored);
}

enum tone format_tone(const char *condition)
{
	static const struct {
		const char *name;
		enum tone tone;
	} tones[] = {{"up", TONE_GOOD},       {"starting", TONE_WARN},    {"checking", TONE_WARN},
		     {"draining", TONE_WARN}, {"drained", TONE_WARN},     {"degraded", TONE_WARN},
		     {"damped", TONE_WARN},   {"maintenance", TONE_WARN}, {"backup", TONE_WARN},
		     {"panic", TONE_BAD},     {"blind", TONE_BAD}};

	for (size_t i = 0; i < sizeof(tones) / sizeof(*tones); i++)
		if (strcmp(condition, tones[i].name) == 0)
			return tones[i].tone;
	return TONE_BAD;
}

bool format_no_color(void)
{
	const char *set = getenv("NO_COLOR");

	return set && *set;
}

bool format_coloured(FILE *out)
{
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && !format_no_color() && term && strcmp(term, "dumb") != 0;
}

const char *format_escape(enum tone tone, bool coloured)
{
	static const char *const escapes[TONE_COUNT] = {
	    [TONE_PLAIN] = "\033[0m",       [TONE_GOOD] = "\033[32m",
	    [TONE_WARN] = "\033[33m",       [TONE_BAD] = "\033[31m",
	    [TONE_DIM] = "\033[2m",         [TONE_BOLD] = "\033[1m",
	    [TONE_ACCENT] = "\033[36m",     [TONE_TITLES] = "\033[30;42m",
	    [TONE_SORTED] = "\033[30;46m",  [TONE_KEY] = "\033[30;46m",
	    [TONE_ALARM] = "\033[1;37;41m",
	};
	return coloured ? escapes[tone] : "";
}

unsigned format_columns(FILE *out)
{
	struct winsize size = {0};

	if (!isatty(fileno(out)))
		return 0;
	if (ioctl(fileno(out), TIOCGWINSZ, &size) || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

unsigned format_rows(FILE *out)
{
	struct winsize size = {0};

	if (!isatty(fileno(out)))
		return 0;
	if (ioctl(fileno(out), TIOCGWINSZ, &size) || size.ws_row == 0)
		return 24;
	return size.ws_row;
}

const char *format_clock(uint64_t wall_ms, char text[FORMAT_TEXT])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm local;

	if (!localtime_r(&seconds, &local) || !strftime(text, FORMAT_TEXT, "%H:%M:%S", &local))
		strcpy(text, "?");
	return text;
}

/* The bytes and columns of one character. A byte that is not UTF-8 counts as one column. */
static size_t next_character(const char *text, unsigned *ret_columns)
{
	mbstate_t state = {0};
	wchar_t wide;
	size_t bytes;
	int columns;

	if ((unsigned char)*text < 0x80) { /* most are: thousands of names are measured */
		*ret_columns = 1;
		return 1;
	}
	bytes = mbrtowc(&wide, text, strlen(text), &state);
	if (bytes == (size_t)-1 || bytes == (size_t)-2 || bytes == 0) {
		*ret_columns = 1;
		return 1;
	}
	columns = wcwidth(wide);
	*ret_columns = columns < 0 ? 1 : (unsigned)columns;
	return bytes;
}

unsigned text_width(const char *text)
{
	unsigned width = 0, columns;

	while (*text) {
		text += next_character(text, &columns);
		width += columns;
	}
	return width;
}

size_t text_head(const char *text, unsigned columns)
{
	size_t at = 0;
	unsigned used = 0, next;

	while (text[at]) {
		size_t bytes = next_character(text + at, &next);

		if (used + next > columns)
			break;
		used += next;
		at += bytes;
	}
	return at;
}

bool text_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* The last part of a text that fits in this many columns. */
static const char *text_tail(const char *text, unsigned columns)
{
	unsigned left = text_width(text), next;

	while (left > columns) {
		text += next_character(text, &next);
		left -= next;
	}
	return text;
}

const char *text_fit(const char *text, unsigned columns, enum text_cut cut, char *ret, size_t size)
{
	const char *ellipsis = text_is_utf8() ? "\u2026" : "~", *tail = "";
	unsigned head;

	if (text_width(text) <= columns) {
		snprintf(ret, size, "%s", text);
		return ret;
	}
	if (!columns) {
		*ret = 0;
		return ret;
	}
	head = columns - 1;
	if (cut == CUT_MIDDLE) {
		tail = text_tail(text, head / 2);
		head -= head / 2;
	}
	snprintf(ret, size, "%.*s%s%s", (int)text_head(text, head), text, ellipsis, tail);
	return ret;
}

char text_printable(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
}

void text_put_bytes(FILE *out, const char *text, size_t length)
{
	_cleanup_free_ char *copy = strndup(text, length);

	if (!copy)
		return;
	make_printable(copy, false);
	fputs(copy, out);
}

void text_put(FILE *out, const char *text)
{
	text_put_bytes(out, text, strlen(text));
}

/* The bytes up to where a line may end. A number and the word after it, such as its unit, stay
 * together if a line has room for both. */
static size_t text_piece(const char *text, size_t room)
{
	size_t length = strcspn(text, " "), both;

	if (!length || strspn(text, "0123456789.") != length || !text[length])
		return length;
	both = length + 1 + strcspn(text + length + 1, " ");
	return both <= room ? both : length;
}

void text_wrap(FILE *out, const char *text, unsigned column, unsigned indent, unsigned columns)
{
	bool line_start = true;

	while (*text) {
		size_t length = text_piece(text, columns > indent ? columns - indent : 0);

		if (!line_start && columns && column + 1 + length > columns) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
			line_start = true;
		}
		if (!line_start) {
			putc(' ', out);
			column++;
		}
		text_put_bytes(out, text, length);
		column += (unsigned)length;
		line_start = false;
		text += length;
		text += strspn(text, " ");
	}
	putc('\n', out);
}
