/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/core/format.c and table.c: numbers, times, widths. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbctl/core/format.h"
#include "lbctl/core/table.h"

static void counts_take_at_most_six_characters(void **state)
{
	static const struct {
		uint64_t count;
		const char *text;
	} cases[] = {
	    {0, "0"},           {999, "999"},          {1000, "1.00k"},      {12345, "12.3k"},
	    {99949, "99.9k"},   {99950, "100k"},       {999499, "999k"},     {999500, "1.00M"},
	    {1200000, "1.20M"}, {4560000000, "4.56G"}, {UINT64_MAX, "18.4E"}};
	char text[FORMAT_TEXT];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_string_equal(format_count(cases[i].count, text), cases[i].text);
		assert_true(strlen(text) <= 6);
	}
}

static void bytes_step_by_1024(void **state)
{
	char text[FORMAT_TEXT];

	assert_string_equal(format_bytes(512, text), "512 B");
	assert_string_equal(format_bytes(1024, text), "1.00 KiB");
	assert_string_equal(format_bytes(140 << 20, text), "140 MiB");
	assert_string_equal(format_bytes(1023ULL << 20, text), "1023 MiB");
	assert_string_equal(format_bytes(1ULL << 30, text), "1.00 GiB");
}

static void limits_are_written_as_in_the_config(void **state)
{
	char text[FORMAT_TEXT];

	assert_string_equal(format_limit(1048576, text), "1M");
	assert_string_equal(format_limit(1536, text), "1536");
	assert_string_equal(format_limit(4096, text), "4k");
	assert_string_equal(format_limit(1ULL << 30, text), "1G");
	assert_string_equal(format_limit(1000000, text), "1000000");
	assert_string_equal(format_limit(0, text), "?");
}

static void rates_show_less_than_one_a_second(void **state)
{
	char text[FORMAT_TEXT];

	assert_string_equal(format_rate(0, text), "0");
	assert_string_equal(format_rate(-5, text), "0");
	assert_string_equal(format_rate(NAN, text), "0");
	assert_string_equal(format_rate(0.4, text), "0.4");
	assert_string_equal(format_rate(99.94, text), "99.9");
	assert_string_equal(format_rate(99.96, text), "100");
	assert_string_equal(format_rate(1390000, text), "1.39M");
}

static void times_have_one_or_two_units(void **state)
{
	char text[FORMAT_TEXT];

	assert_string_equal(format_duration(59, text), "59s");
	assert_string_equal(format_duration(725, text), "12m");
	assert_string_equal(format_duration(11520, text), "3h12m");
	assert_string_equal(format_duration(439200, text), "5d2h");
	assert_string_equal(format_age(439200, text), "5d");
	assert_string_equal(format_age(59, text), "59s");
	assert_string_equal(format_share(-1, text), "-");
	assert_string_equal(format_share(1, text), "100%");
	assert_string_equal(format_share(0.99999, text), "99.99%");
	assert_string_equal(format_share(0, text), "0.00%");
	assert_string_equal(format_latency(0, text), "-");
	assert_string_equal(format_latency(340, text), "340us");
	assert_string_equal(format_latency(1200, text), "1.2ms");
	assert_string_equal(format_latency(2500000, text), "2.5s");
}

static void endpoints_bracket_ipv6_and_name_any_port(void **state)
{
	char text[96];

	assert_string_equal(format_endpoint("192.0.2.10", 80, "tcp", text), "192.0.2.10:80/tcp");
	assert_string_equal(format_endpoint("2001:db8::10", 443, "", text), "[2001:db8::10]:443");
	assert_string_equal(format_endpoint("192.0.2.10", 0, "udp", text), "192.0.2.10:any/udp");
}

static void durations_are_read_with_and_without_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"90", 90000},    {"500ms", 500},  {"60s", 60000},   {"5m", 300000},
		    {"5min", 300000}, {"2h", 7200000}, {"1d", 86400000}, {"0", 0}};
	static const char *const bad[] = {"", "s", "-1", "1.5s", "5 m", "10x", "s10", "0x10"};
	uint64_t ms;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(parse_duration(good[i].text, &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	ms = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parse_duration(bad[i], &ms), -EINVAL);
	assert_int_equal(parse_duration("1000d", &ms), -ERANGE);
	assert_int_equal(parse_duration("99999999999999999999999999s", &ms), -ERANGE);
	assert_int_equal(ms, 7);
}

static void whole_numbers_are_digits_within_their_range(void **state)
{
	uint64_t value = 7;

	assert_int_equal(parse_whole("", 0, 10, &value), -EINVAL);
	assert_int_equal(parse_whole("-1", 0, 10, &value), -EINVAL);
	assert_int_equal(parse_whole("5x", 0, 10, &value), -EINVAL);
	assert_int_equal(parse_whole("11", 0, 10, &value), -ERANGE);
	assert_int_equal(parse_whole("99999999999999999999", 0, UINT64_MAX, &value), -ERANGE);
	assert_int_equal(value, 7);
	assert_int_equal(parse_whole("10", 0, 10, &value), 0);
	assert_int_equal(value, 10);
}

static void each_condition_has_its_tone(void **state)
{
	assert_int_equal(format_tone("up"), TONE_GOOD);
	assert_int_equal(format_tone("draining"), TONE_WARN);
	assert_int_equal(format_tone("down"), TONE_BAD);
	assert_int_equal(format_tone("something new"), TONE_BAD);
}

static void print_to(char *text, size_t size, const struct table *table, unsigned columns,
		     bool coloured)
{
	FILE *out = tmpfile();

	assert_int_equal(table_print(table, out, columns, coloured), 0);
	rewind(out);
	text[fread(text, 1, size - 1, out)] = 0;
	fclose(out);
}

static const struct table_column two[] = {
    {.title = "NAME", .shrinks = true}, {.title = "N", .right = true}, {.title = NULL}};

static void tables_align_left_and_right(void **state)
{
	struct table *table = table_new(two);
	char text[512];

	table_add(table, TONE_PLAIN, "a");
	table_add(table, TONE_PLAIN, "1");
	table_add(table, TONE_GOOD, "longer");
	table_add(table, TONE_PLAIN, "1000");
	print_to(text, sizeof(text), table, 0, false);
	assert_string_equal(text, "NAME       N\na          1\nlonger  1000\n");
	print_to(text, sizeof(text), table, 0, true);
	assert_non_null(strstr(text, "\033[32mlonger"));
	table_free(table);
}

static void tables_shrink_to_the_terminal(void **state)
{
	struct table *table = table_new(two);
	char text[512];

	table_add(table, TONE_PLAIN, "a-very-long-name-indeed");
	table_add(table, TONE_PLAIN, "1");
	print_to(text, sizeof(text), table, 13, false);
	assert_string_equal(text, "NAME        N\na-ver~deed  1\n");
	table_free(table);
}

static void a_narrow_terminal_leaves_out_what_matters_least(void **state)
{
	static const struct table_column columns[] = {{.title = "NAME", .shrinks = true},
						      {.title = "FIRST", .spare = 1},
						      {.title = "KEPT"},
						      {.title = "LAST", .spare = 2},
						      {.title = NULL}};
	struct table *table = table_new(columns);
	char text[512];

	for (unsigned i = 0; i < 4; i++)
		table_add(table, TONE_PLAIN, i ? "1" : "a-name");
	print_to(text, sizeof(text), table, 0, false);
	assert_string_equal(text, "NAME    FIRST  KEPT  LAST\na-name  1      1     1\n");
	print_to(text, sizeof(text), table, 24, false);
	assert_string_equal(text, "NAME    FIRST  KEPT\na-name  1      1\n");
	print_to(text, sizeof(text), table, 18, false);
	assert_string_equal(text, "NAME    KEPT\na-name  1\n");
	table_free(table);
}

static void text_is_cut_in_the_middle_or_at_its_end(void **state)
{
	char text[32];

	assert_string_equal(text_fit("backend-17", 10, CUT_MIDDLE, text, sizeof(text)),
			    "backend-17");
	assert_string_equal(text_fit("backend-17", 7, CUT_MIDDLE, text, sizeof(text)), "bac~-17");
	assert_string_equal(text_fit("backend-17", 7, CUT_END, text, sizeof(text)), "backen~");
	assert_string_equal(text_fit("backend-17", 1, CUT_MIDDLE, text, sizeof(text)), "~");
	assert_string_equal(text_fit("backend-17", 0, CUT_END, text, sizeof(text)), "");
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_string_equal(text_fit("gr\u00f6\u00dfe-\u00df", 5, CUT_MIDDLE, text, sizeof(text)),
			    "gr\u2026-\u00df");
	setlocale(LC_CTYPE, "C");
}

static void exact_counts_have_all_their_digits(void **state)
{
	char text[FORMAT_TEXT];

	assert_string_equal(format_exact(0, text), "0");
	assert_string_equal(format_exact(UINT64_MAX, text), "18446744073709551615");
}

static void wide_characters_count_their_columns(void **state)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_int_equal(text_width("größe"), 5);
	assert_int_equal(text_width("負荷"), 4);
	assert_int_equal(text_head("größe", 3), 4);
	setlocale(LC_CTYPE, "C");
}

static void control_characters_cannot_reach_the_terminal(void **state)
{
	struct table *table = table_new(two);
	char text[512];

	table_add(table, TONE_PLAIN, "a\033[2Jb");
	table_add(table, TONE_PLAIN, "1");
	print_to(text, sizeof(text), table, 0, false);
	assert_null(strchr(text, '\033'));
	table_free(table);
}

/* text, wrapped; to be freed. */
static char *wrapped(const char *text, unsigned columns)
{
	char *ret = NULL;
	size_t size;
	FILE *out = open_memstream(&ret, &size);

	assert_non_null(out);
	text_wrap(out, text, 15, 15, columns);
	fclose(out);
	return ret;
}

/* "8.0" or "8.0 MiB," */
static bool ends_in_a_number(const char *line, size_t length)
{
	while (length && line[length - 1] != ' ')
		length--;
	return strspn(line + length, "0123456789.") == strcspn(line + length, " \n");
}

static void a_line_does_not_end_between_a_number_and_its_unit(void **state)
{
	static const char text[] = "140.0 MiB in maps: flows 128.0 MiB, arena 8.0 MiB, services "
				   "512.0 KiB, backends 2.5 MiB, counters 950 B, other 1.0 MiB";

	for (unsigned columns = 15 + strlen("512.0 KiB,"); columns <= 200; columns++) {
		char *lines = wrapped(text, columns), *end = NULL;

		for (char *line = lines; (end = strchr(line, '\n')); line = end + 1) {
			assert_false(ends_in_a_number(line, (size_t)(end - line)));
			assert_in_range(end - line, 1, columns);
		}
		free(lines);
	}
}

static void what_has_no_room_beside_its_number_is_on_the_next_line(void **state)
{
	char *lines = wrapped("pid 4711 /a/path/that/is/long", 15 + 10);

	assert_string_equal(lines, "pid 4711\n               /a/path/that/is/long\n");
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_take_at_most_six_characters),
	    cmocka_unit_test(bytes_step_by_1024),
	    cmocka_unit_test(limits_are_written_as_in_the_config),
	    cmocka_unit_test(rates_show_less_than_one_a_second),
	    cmocka_unit_test(times_have_one_or_two_units),
	    cmocka_unit_test(endpoints_bracket_ipv6_and_name_any_port),
	    cmocka_unit_test(durations_are_read_with_and_without_units),
	    cmocka_unit_test(whole_numbers_are_digits_within_their_range),
	    cmocka_unit_test(each_condition_has_its_tone),
	    cmocka_unit_test(tables_align_left_and_right),
	    cmocka_unit_test(a_line_does_not_end_between_a_number_and_its_unit),
	    cmocka_unit_test(what_has_no_room_beside_its_number_is_on_the_next_line),
	    cmocka_unit_test(tables_shrink_to_the_terminal),
	    cmocka_unit_test(a_narrow_terminal_leaves_out_what_matters_least),
	    cmocka_unit_test(text_is_cut_in_the_middle_or_at_its_end),
	    cmocka_unit_test(exact_counts_have_all_their_digits),
	    cmocka_unit_test(wide_characters_count_their_columns),
	    cmocka_unit_test(control_characters_cannot_reach_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
