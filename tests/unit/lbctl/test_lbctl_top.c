/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/top/: rates between two samples, and the frame made of
 * them. */
#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbctl/top/keys.h"
#include "lbctl/top/view.h"
#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define SAMPLE                                                                         \
	"{\"time_ms\":%d,\"status\":{\"version\":\"0.1.0\",\"uptime_s\":60,"           \
	"\"interfaces\":[{\"name\":\"eth0\",\"mode\":\"native\"}],\"services\":2,"     \
	"\"services_down\":0,\"backends\":3,\"backends_up\":2,"                        \
	"\"flows\":{\"entries\":5,\"limit\":10}},\"services\":[{\"name\":\"web\","     \
	"\"vip\":\"192.0.2.10\",\"protocol\":\"tcp\",\"port\":80,"                     \
	"\"status\":\"degraded\",\"backends\":2,\"backends_up\":1,\"packets\":%lld,"   \
	"\"connects\":{\"p95_us\":4400,\"recent\":{\"sampled\":80,\"failed\":3}},"     \
	"\"bytes\":%lld,\"flows\":%lld},{\"name\":\"dns\",\"vip\":\"2001:db8::10\","   \
	"\"protocol\":\"udp\",\"port\":53,\"status\":\"up\",\"backends\":1,"           \
	"\"backends_up\":1,\"packets\":0,\"bytes\":0,\"flows\":0}],"                   \
	"\"backends\":[{\"service\":\"web\",\"address\":\"10.0.0.11\","                \
	"\"name\":\"blue-1\",\"weight\":100,\"latency_us\":1200,"                      \
	"\"connects\":{\"p95_us\":4300,\"recent\":{\"sampled\":40,\"failed\":3}},"     \
	"\"condition\":\"up\",\"why\":\"\",\"effective_weight\":100,\"packets\":%lld," \
	"\"bytes\":%lld,\"flows\":%lld,\"active\":7},{\"service\":\"web\","            \
	"\"address\":\"10.0.0.12\",\"condition\":\"down\","                            \
	"\"why\":\"connect: timed out\",\"effective_weight\":0,\"packets\":0,"         \
	"\"bytes\":0,\"flows\":0,\"active\":0},{\"service\":\"dns\","                  \
	"\"address\":\"10.0.0.11\",\"condition\":\"up\",\"why\":\"\","                 \
	"\"effective_weight\":100,\"packets\":0,\"bytes\":0,\"flows\":0,"              \
	"\"active\":2}],\"reasons\":[{\"name\":\"forwarded_tx\",\"outcome\":\"sent\"," \
	"\"help\":\"sent\",\"packets\":%lld,\"bytes\":0},{\"name\":\"no_backend\","    \
	"\"outcome\":\"dropped\",\"help\":\"the service has no usable backend\","      \
	"\"packets\":%lld,\"bytes\":0}],\"events\":[{\"name\":\"flow_inserted\","      \
	"\"help\":\"entries made\",\"count\":3}]}"

static char text_of_sample[8192];

/* packets: of service web, 100 bytes each, one new flow per ten packets. */
static const char *sample_text(int ms, long long packets, long long drops)
{
	snprintf(text_of_sample, sizeof(text_of_sample), SAMPLE, ms, packets, packets * 100,
		 packets / 10, packets, packets * 100, packets / 10, packets, drops);
	return text_of_sample;
}

static json_t *sample(int ms, long long packets, long long drops)
{
	json_t *value = json_loads(sample_text(ms, packets, drops), 0, NULL);

	assert_non_null(value);
	return value;
}

static int model_of(struct top_model *model, int ms, long long packets, long long drops)
{
	json_t *before = sample(1000, 1000, 10), *now = sample(ms, packets, drops);
	int rc = top_model_read(before, now, model);

	json_decref(before);
	json_decref(now);
	return rc;
}

static void rates_are_per_second_of_the_time_that_passed(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 3000, 3000, 30), 0);
	assert_int_equal(model.services_count, 2);
	assert_int_equal(model.services[0].rates.packets, 1000);
	assert_int_equal(model.services[0].rates.bits, 800000);
	assert_int_equal(model.services[0].rates.flows, 100);
	assert_int_equal(model.services[0].rates.active, 7);
	assert_int_equal(model.services[0].backends_count, 2);
	assert_int_equal(model.services[0].backends[0].rates.packets, 1000);
	assert_int_equal(model.services[1].backends[0].rates.packets, 0);
	assert_int_equal(model.dropped, 10);
	assert_int_equal(model.sent, 1000);
	top_model_done(&model);
}

static void the_rate_of_a_counter_that_decreased_is_0(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 5, 0), 0);
	assert_int_equal(model.services[0].rates.packets, 0);
	assert_int_equal(model.dropped, 0);
	top_model_done(&model);
}

static void samples_without_an_increase_of_time_give_no_model(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 1000, 3000, 30), -EINVAL);
	assert_int_equal(model_of(&model, 500, 3000, 30), -EINVAL);
}

static void what_is_new_or_missing_in_an_answer_is_no_failure(void **state)
{
	json_t *before = json_loads("{\"time_ms\":1}", 0, NULL), *now = sample(1001, 500, 0);
	struct top_model model;

	assert_int_equal(top_model_read(before, now, &model), 0);
	assert_int_equal(model.services[0].rates.packets, 0);
	top_model_done(&model);
	assert_int_equal(top_model_read(now, before, &model), -EINVAL);
	json_decref(before);
	json_decref(now);
}

static void sorting_is_by_rate_then_by_name(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 1000, 10), 0);
	top_model_sort(&model, TOP_SORT_PACKETS, false);
	assert_string_equal(model.services[0].name, "dns");
	top_model_done(&model);
	assert_int_equal(model_of(&model, 2000, 2000, 10), 0);
	top_model_sort(&model, TOP_SORT_PACKETS, false);
	assert_string_equal(model.services[0].name, "web");
	top_model_sort(&model, TOP_SORT_NAME, false);
	assert_string_equal(model.services[0].name, "dns");
	top_model_sort(&model, TOP_SORT_CONFIG, false);
	assert_string_equal(model.services[0].name, "web");
	top_model_done(&model);
}

static void what_is_down_comes_first_or_last_by_status(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000, 10), 0);
	top_model_sort(&model, TOP_SORT_STATUS, false);
	assert_string_equal(model.services[0].status, "degraded");
	assert_string_equal(model.services[0].backends[0].condition, "down");
	top_model_sort(&model, TOP_SORT_STATUS, true);
	assert_string_equal(model.services[0].status, "up");
	assert_string_equal(model.services[1].backends[0].condition, "up");
	top_model_done(&model);
}

static void a_service_has_the_slowest_check_and_the_weight_of_its_backends(void **state)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000, 10), 0);
	assert_int_equal(model.services[0].latency_us, 1200);
	assert_int_equal(model.services[0].backends[0].connects.p95_us, 4300);
	assert_int_equal(model.services[0].backends[1].connects.p95_us, 0);
	assert_int_equal(model.services[0].backends[1].connects.timed, 0);
	assert_int_equal(model.services[0].connects.p95_us, 4400);
	assert_int_equal(model.services[0].weight, 100);
	top_model_done(&model);
}

/* ---- screens ---- */

/* A frame as text, lines without the spaces at their ends. */
static char screen[65536];

static void render(const struct top_model *model, struct top_options *options)
{
	struct top_frame frame;
	size_t used = 0;

	top_view_render(model, options, &frame);
	assert_false(frame.failed);
	for (size_t i = 0; i < frame.lines_count; i++) {
		const char *text = frame.lines[i].text ? frame.lines[i].text : "";
		size_t length = strlen(text);

		while (length && text[length - 1] == ' ')
			length--;
		used += (size_t)snprintf(screen + used, sizeof(screen) - used, "%.*s\n",
					 (int)length, text);
		assert_true(used < sizeof(screen));
	}
	options->scroll = frame.scroll;
	frame_done(&frame);
}

static void render_example(struct top_options *options)
{
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000, 20), 0);
	top_model_sort(&model, options->sort, options->reverse);
	render(&model, options);
	top_model_done(&model);
}

static void has(const char *text)
{
	if (!strstr(screen, text))
		fail_msg("no '%s' in:\n%s", text, screen);
}

static void has_not(const char *text)
{
	if (strstr(screen, text))
		fail_msg("'%s' in:\n%s", text, screen);
}

/* All that a screen is made of, at this size. */
static void check_size(const struct top_model *model, struct top_options *options)
{
	struct top_frame frame;

	top_view_render(model, options, &frame);
	assert_false(frame.failed);
	if (options->rows)
		assert_int_equal(frame.lines_count, options->rows);
	for (size_t i = 0; i < frame.lines_count; i++) {
		assert_true(frame.lines[i].width <= options->columns);
		if (frame.lines[i].text)
			assert_int_equal(text_width(frame.lines[i].text), frame.lines[i].width);
	}
	frame_done(&frame);
}

static void every_screen_is_as_large_as_the_terminal_and_no_larger(void **state)
{
	static const unsigned widths[] = {300, 250, 120, 80, 60, 40, 20, 9, 1};
	static const unsigned heights[] = {0, 60, 24, 20, 16, 15, 12, 10, 9, 5, 4, 3, 2, 1};
	static const char *const alarms[] = {NULL, "Since 15:04:05 (3 s): lbd is not running"};
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000000000, 2000000000), 0);
	for (size_t w = 0; w < sizeof(widths) / sizeof(*widths); w++)
		for (size_t h = 0; h < sizeof(heights) / sizeof(*heights); h++)
			for (unsigned v = 0; v < 16 * TOP_VIEWS; v++) {
				struct top_options options = {.columns = widths[w],
							      .rows = heights[h],
							      .view = v / 16,
							      .help = v & 1,
							      .typing = v & 2,
							      .paused = v & 4,
							      .sort = TOP_SORT_BITS,
							      .clock = "15:04:05",
							      .interval_ms = 1000,
							      .alarm = alarms[v >> 3 & 1]};

				check_size(&model, &options);
			}
	top_model_done(&model);
}

static void names_are_whole_where_there_is_room_and_cut_in_the_middle_else(void **state)
{
	struct top_options options = {.columns = 100};

	render_example(&options);
	has("dns [2001:db8::10]:53/udp");
	has("\n  blue-1 10.0.0.11 ");
	options.columns = 40;
	render_example(&options);
	has("\ndns ");
	has_not("2001:db8::10");
	options.columns = 16;
	render_example(&options);
	has("\n  10.~.12 ");
}

static void the_reason_is_in_its_column_or_below_its_row(void **state)
{
	struct top_options options = {.columns = 120};

	render_example(&options);
	has(" WHY\n");
	has(" connect: timed out\n");
	has_not("\n    connect: timed out\n");
	options.columns = 80;
	render_example(&options);
	has_not(" WHY");
	has("\n    connect: timed out\n");
}

static void the_column_that_is_sorted_by_is_shown_also_on_a_narrow_terminal(void **state)
{
	struct top_options options = {.columns = 40};

	render_example(&options);
	has("PKT/S");
	has_not("CHECK");
	options.sort = TOP_SORT_LATENCY;
	render_example(&options);
	has("CHECKv");
	options.reverse = true;
	render_example(&options);
	has("CHECK^");
}

#define NAT_SAMPLE                                                                               \
	"{\"time_ms\":%d,\"status\":{},\"services\":[{\"name\":\"web\",\"vip\":\"192.0.2.10\","  \
	"\"port\":80,\"protocol\":\"tcp\",\"status\":\"up\",\"forward\":\"nat\",\"packets\":%d," \
	"\"bytes\":0,\"flows\":0,\"returned_packets\":%d,\"returned_bytes\":%d},{\"name\":"      \
	"\"dsr\",\"vip\":\"192.0.2.11\",\"port\":80,\"protocol\":\"tcp\",\"status\":\"up\","     \
	"\"forward\":\"gre\",\"packets\":0,\"bytes\":0,\"flows\":0,\"returned_packets\":0,"      \
	"\"returned_bytes\":0}],\"backends\":[],\"reasons\":[],\"events\":[]}"

/* With forward: nat both directions are shown, and only then. */
static void replies_have_columns_where_they_are_counted(void **state)
{
	struct top_options options = {.columns = 100, .view = TOP_VIEW_SERVICES};
	struct top_model model;
	char before[1024], now[1024];
	json_t *first, *second;

	snprintf(before, sizeof(before), NAT_SAMPLE, 1000, 0, 0, 0);
	snprintf(now, sizeof(now), NAT_SAMPLE, 2000, 100, 250, 250000);
	first = json_loads(before, 0, NULL);
	second = json_loads(now, 0, NULL);
	assert_int_equal(top_model_read(first, second, &model), 0);
	assert_int_equal(model.services[0].rates.returned_packets, 250);
	assert_int_equal(model.services[0].rates.returned_bits, 2000000);
	render(&model, &options);
	has("RPKT/S");
	has("RBIT/S");
	has(" 2.00M");
	has("Replies 250/s");
	top_model_done(&model);
	json_decref(first);
	json_decref(second);
	render_example(&options);
	has_not("RPKT/S");
	has_not("Replies");
}

static void connects_have_columns_and_orders(void **state)
{
	static const enum top_sort sorts[] = {TOP_SORT_P95, TOP_SORT_FAIL};
	struct top_options options = {.columns = 120};
	struct top_model model;

	render_example(&options);
	has(" CHECK     P95 FAIL % ");
	has(" 1.2ms   4.3ms    7.5 ");
	has(" 1.2ms   4.4ms   3.75 ");
	has(" 1/1       -       -      - "); /* UDP has none */
	has(" WHY\n");
	options.columns = 66; /* before weight and checks */
	render_example(&options);
	has(" P95 FAIL %");
	has_not("WEIGHT");
	options.columns = 44;
	render_example(&options);
	has_not("P95");
	options.sort = TOP_SORT_P95;
	render_example(&options);
	has("P95v");
	options.sort = TOP_SORT_FAIL;
	render_example(&options);
	has("FAIL %v");
	assert_int_equal(model_of(&model, 2000, 1000, 10), 0);
	for (unsigned i = 0; i < 2; i++) {
		top_model_sort(&model, sorts[i], false);
		assert_string_equal(model.services[0].name, "web");
		assert_string_equal(model.services[0].backends[0].name, "blue-1");
		top_model_sort(&model, sorts[i], true);
		assert_string_equal(model.services[0].name, "dns");
		assert_string_equal(model.services[1].backends[1].name, "blue-1");
	}
	top_model_done(&model);
}

static void the_head_has_totals_and_the_reasons_of_drops(void **state)
{
	struct top_options options = {.columns = 100};

	render_example(&options);
	has("lbd 0.1.0  up 1m  eth0 native");
	has("rates over 1.0s\n");
	has("Backends[|||");
	has("2/3 up]");
	has("5/10]");
	has("Services 2  Packets 1.00k/s  Traffic 800kbit/s  New flows 100/s  Active 9");
	has("Dropped 10.0/s  no_backend 10.0/s  Sent 1.00k/s");
}

static void a_small_terminal_has_one_line_above_the_titles(void **state)
{
	struct top_options options = {.columns = 60, .rows = 10};

	render_example(&options);
	assert_int_equal(strncmp(screen, "Backends 2/3 up  Packets 1.00k/s", 32), 0);
	has("/s\nSERVICE ");
	has("\nh Help q Quit / Filter");
}

static void old_figures_are_grey_below_a_line_that_says_since_when(void **state)
{
	struct top_options options = {
	    .columns = 80, .rows = 24, .alarm = "Since 15:04:05 (3 s): lbd is not running"};
	struct top_frame frame;
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000, 20), 0);
	top_view_render(&model, &options, &frame);
	assert_int_equal(frame.lines[0].spans[0].tone, TONE_ALARM);
	assert_non_null(strstr(frame.lines[0].text, "Since 15:04:05"));
	for (size_t i = 1; i + 1 < frame.lines_count; i++)
		for (unsigned s = 0; s < frame.lines[i].spans_count; s++)
			assert_int_equal(frame.lines[i].spans[s].tone, TONE_DIM);
	frame_done(&frame);
	options.alarm = NULL;
	top_view_render(&model, &options, &frame);
	assert_int_equal(frame.lines[0].spans[0].tone, TONE_BOLD);
	frame_done(&frame);
	top_model_done(&model);
}

static void the_filter_shows_backends_with_their_service(void **state)
{
	struct top_options options = {.columns = 80, .filter = "TIMED"};

	render_example(&options);
	has("\nweb ");
	has("\n  10.0.0.12");
	has_not("10.0.0.11");
	has_not("\ndns");
	strcpy(options.filter, "web"); /* all that the service has */
	render_example(&options);
	has("10.0.0.11");
	has("10.0.0.12");
	has_not("\ndns");
	strcpy(options.filter, "10.0.0.11 dns");
	render_example(&options);
	has("\ndns ");
	has("  10.0.0.11");
	has_not("\nweb ");
	strcpy(options.filter, "nothing");
	options.rows = 24;
	render_example(&options);
	has("0 rows\n");
}

static void backends_of_all_services_have_one_order(void **state)
{
	struct top_options options = {
	    .columns = 100, .view = TOP_VIEW_BACKENDS, .sort = TOP_SORT_ACTIVE};
	const char *web, *dns;

	render_example(&options);
	web = strstr(screen, "\nweb blue-1 10.0.0.11");
	dns = strstr(screen, "\ndns 10.0.0.11");
	assert_non_null(web);
	assert_non_null(dns);
	assert_true(web < dns);
	options.reverse = true;
	render_example(&options);
	assert_true(strstr(screen, "\nweb blue-1") > strstr(screen, "\ndns "));
	options.view = TOP_VIEW_SERVICES;
	render_example(&options);
	has_not("10.0.0.11");
}

static void reasons_and_help_have_screens_of_their_own(void **state)
{
	struct top_options options = {.columns = 100, .view = TOP_VIEW_REASONS};

	render_example(&options);
	has("no_backend    dropped   10.0     20  the service has no usable backend\n");
	strcpy(options.filter, "sent");
	render_example(&options);
	has_not("no_backend    dropped");
	has("forwarded_tx");
	options.help = true;
	render_example(&options);
	has("\n  q, F10        quit\n");
	has("\n  CHECK         how long health checks took lately");
}

static void it_scrolls_as_far_as_there_are_rows(void **state)
{
	struct top_options options = {.columns = 80, .rows = 6, .scroll = 1000};

	render_example(&options);
	assert_true(options.scroll > 0 && options.scroll < 1000);
	has("\ndns ");
	has("4-6 of 6\n");
	options.scroll = 0;
	render_example(&options);
	has("1-3 of 6\n");
}

static void a_backend_without_an_earlier_sample_has_no_rate(void **state)
{
	json_t *before = sample(1000, 1000, 10), *now = sample(2000, 2000, 20);
	struct top_options options = {.columns = 100};
	struct top_model model;

	json_array_remove(json_object_get(before, "backends"), 0);
	assert_int_equal(top_model_read(before, now, &model), 0);
	assert_false(model.services[0].backends[0].rates.known);
	assert_true(model.services[0].backends[1].rates.known);
	render(&model, &options);
	has("  1.2ms   4.3ms    7.5      -      -      -      7\n");
	top_model_done(&model);
	json_decref(before);
	json_decref(now);
}

/* What a locale without UTF-8 cannot show becomes "?". */
static void a_plain_locale_gets_ascii_alone(void **state)
{
	json_t *before = sample(1000, 1000, 10), *now = sample(2000, 2000, 20);
	struct top_options options = {.columns = 60, .rows = 24, .sort = TOP_SORT_PACKETS};
	struct top_model model;

	json_object_set_new(
	    json_array_get(json_object_get(now, "backends"), 1), "why",
	    json_string("gr\u00f6\u00dfe: a reason too long for the line, which has "
			"an ellipsis at its end"));
	assert_int_equal(top_model_read(before, now, &model), 0);
	render(&model, &options);
	for (const char *at = screen; *at; at++)
		assert_true((unsigned char)*at < 0x80);
	has("gr????e: a");
	has("~\n");
	has("PKT/Sv");
	if (setlocale(LC_CTYPE, "C.UTF-8")) {
		render(&model, &options);
		has("gr\u00f6\u00dfe: a");
		has("\u2026\n");
		has("PKT/S\u25bc");
	}
	setlocale(LC_CTYPE, "C");
	top_model_done(&model);
	json_decref(before);
	json_decref(now);
}

/* ---- keys ---- */

static void keys_change_order_view_and_place(void **state)
{
	struct top_options options = {0};

	assert_int_equal(top_key(&options, 'P', 10), TOP_AFTER_SORT);
	assert_int_equal(options.sort, TOP_SORT_PACKETS);
	assert_int_equal(top_key(&options, 'r', 10), TOP_AFTER_SORT);
	assert_true(options.reverse);
	top_key(&options, 's', 10);
	assert_int_equal(options.sort, TOP_SORT_BITS);
	assert_false(options.reverse);
	top_key(&options, 'S', 10);
	assert_int_equal(options.sort, TOP_SORT_PACKETS);
	top_key(&options, 'C', 10);
	top_key(&options, 'S', 10);
	assert_int_equal(options.sort, TOP_SORTS - 1);
	top_key(&options, 'v', 10);
	assert_int_equal(options.view, TOP_VIEW_SERVICES);
	top_key(&options, 'd', 10);
	assert_int_equal(options.view, TOP_VIEW_REASONS);
	top_key(&options, 'd', 10);
	assert_int_equal(options.view, TOP_VIEW_TREE);
	top_key(&options, KEY_NPAGE, 10);
	top_key(&options, KEY_DOWN, 10);
	assert_int_equal(options.scroll, 11);
	top_key(&options, KEY_PPAGE, 10);
	top_key(&options, KEY_PPAGE, 10);
	assert_int_equal(options.scroll, 0);
	top_key(&options, KEY_UP, 10);
	assert_int_equal(options.scroll, 0);
	top_key(&options, 'p', 10);
	assert_true(options.paused);
	assert_int_equal(top_key(&options, KEY_RESIZE, 10), TOP_AFTER_DRAW);
	assert_int_equal(top_key(&options, 'q', 10), TOP_AFTER_QUIT);
}

static void type_text(struct top_options *options, const char *text)
{
	for (; *text; text++)
		assert_int_equal(top_key(options, (unsigned char)*text, 10), TOP_AFTER_DRAW);
}

static void a_filter_is_typed_kept_and_ended(void **state)
{
	struct top_options options = {0};

	type_text(&options, "/q\u00fc");
	assert_true(options.typing);
	assert_string_equal(options.filter, "q\u00fc");
	top_key(&options, KEY_BACKSPACE, 10);
	assert_string_equal(options.filter, "q");
	for (int i = 0; i < 200; i++)
		top_key(&options, 'x', 10);
	assert_int_equal(strlen(options.filter), TOP_FILTER - 1);
	top_key(&options, 'U' - '@', 10);
	type_text(&options, "web\n");
	assert_false(options.typing);
	assert_string_equal(options.filter, "web");
	top_key(&options, 27, 10);
	assert_string_equal(options.filter, "");
	type_text(&options, "/abc");
	top_key(&options, 27, 10);
	assert_false(options.typing);
	assert_string_equal(options.filter, "");
}

static void the_help_is_left_by_its_key_and_by_q(void **state)
{
	static const int keys[] = {'h', '?', 'q', 27};
	struct top_options options = {0};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		top_key(&options, 'h', 10);
		assert_true(options.help);
		top_key(&options, 'j', 10);
		assert_int_equal(options.scroll, 1);
		assert_int_equal(top_key(&options, 'v', 10), TOP_AFTER_DRAW);
		assert_true(options.help);
		assert_int_equal(top_key(&options, keys[i], 10), TOP_AFTER_DRAW);
		assert_false(options.help);
		assert_int_equal(options.scroll, 0);
	}
	assert_int_equal(options.view, TOP_VIEW_TREE);
}

/* ---- the verb ---- */

static char first[8192], second[8192];
static struct lbctl_run run;

/* later_ms: time_ms of the second sample; that of the first is 1000. */
static void run_top_until(int later_ms, const char *const *words)
{
	struct fake_answer answers[] = {
	    {"GET /v1/top", 200, first}, {"GET /v1/top", 200, second}, {NULL}};
	const char *all[16] = {"top", "--interval", "100ms", "--socket"};
	struct fake_lbd fake;

	strcpy(first, sample_text(1000, 1000, 10));
	strcpy(second, sample_text(later_ms, 3000, 30));
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	all[4] = fake.socket;
	for (size_t i = 0; words[i]; i++)
		all[5 + i] = words[i];
	lbctl_run_after(&run, NULL, all);
	fake_lbd_stop(&fake);
}

#define RUN_TOP_UNTIL(later_ms, ...) \
	run_top_until(later_ms, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_TOP(...) RUN_TOP_UNTIL(2000, __VA_ARGS__)

static void once_prints_a_plain_frame_of_two_samples(void **state)
{
	RUN_TOP("--once");
	assert_int_equal(run.exit_code, 0);
	assert_null(strchr(run.out, '\033'));
	assert_non_null(strstr(run.out, "rates over 1.0s\n"));
	assert_non_null(strstr(run.out, "web 192.0.2.10:80/tcp"));
	assert_non_null(strstr(run.out, "2.00k"));
	assert_non_null(strstr(run.out, "no_backend 20.0/s"));
	assert_non_null(strstr(run.out, "connect: timed out"));
	RUN_TOP("--once", "--filter", "dns", "--view", "services");
	assert_non_null(strstr(run.out, "\ndns "));
	assert_null(strstr(run.out, "\nweb "));
	RUN_TOP("--once", "--drops");
	assert_non_null(strstr(run.out, "the service has no usable backend"));
}

static double real_of(const json_t *object, const char *list, size_t at, const char *field)
{
	const json_t *row = json_array_get(json_object_get(object, list), at);

	return json_number_value(json_object_get(json_object_get(row, "rates"), field));
}

static void once_with_json_has_the_rates_and_their_interval(void **state)
{
	json_t *answer;

	RUN_TOP("--once", "--json");
	assert_int_equal(run.exit_code, 0);
	answer = json_loads(run.out, 0, NULL);
	assert_non_null(answer);
	assert_int_equal(json_integer_value(json_object_get(answer, "interval_ms")), 1000);
	assert_int_equal(real_of(answer, "services", 0, "packets"), 2000);
	assert_int_equal(real_of(answer, "services", 0, "bits"), 1600000);
	assert_int_equal(real_of(answer, "backends", 0, "flows"), 200);
	assert_int_equal(
	    json_number_value(json_object_get(json_object_get(answer, "rates"), "packets")), 2000);
	assert_int_equal(json_number_value(json_object_get(
			     json_array_get(json_object_get(answer, "reasons"), 1), "rate")),
			 20);
	/* what GET /v1/top has is there as it was */
	assert_int_equal(json_integer_value(json_object_get(answer, "time_ms")), 2000);
	assert_int_equal(json_array_size(json_object_get(answer, "backends")), 3);
	json_decref(answer);
	RUN_TOP("--json", "--filter", "dns");
	answer = json_loads(run.out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "services")), 1);
	assert_int_equal(json_array_size(json_object_get(answer, "backends")), 1);
	json_decref(answer);
}

static void once_fails_if_time_does_not_increase_between_the_samples(void **state)
{
	static const char sentence[] = "expected time_ms to increase between two samples";

	RUN_TOP_UNTIL(1000, "--once");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.out, "");
	assert_non_null(strstr(run.err, sentence));
	RUN_TOP_UNTIL(1000, "--once", "--json");
	assert_int_equal(run.exit_code, 1);
	assert_string_equal(run.out, "");
	assert_non_null(strstr(run.err, sentence));
}

static void what_was_not_there_before_has_null_rates(void **state)
{
	json_t *before = sample(1000, 1000, 10), *now = sample(2000, 2000, 20);

	json_array_clear(json_object_get(before, "backends"));
	assert_int_equal(top_rates_add(before, now), 0);
	assert_true(json_is_null(
	    json_object_get(json_array_get(json_object_get(now, "backends"), 0), "rates")));
	assert_int_equal(top_rates_add(now, before), -EINVAL);
	json_decref(before);
	json_decref(now);
}

static void without_a_terminal_top_suggests_once(void **state)
{
	lbctl_run(&run, "top");
	assert_int_equal(run.exit_code, 1);
	assert_non_null(strstr(run.err, "--once"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rates_are_per_second_of_the_time_that_passed),
	    cmocka_unit_test(the_rate_of_a_counter_that_decreased_is_0),
	    cmocka_unit_test(samples_without_an_increase_of_time_give_no_model),
	    cmocka_unit_test(what_is_new_or_missing_in_an_answer_is_no_failure),
	    cmocka_unit_test(sorting_is_by_rate_then_by_name),
	    cmocka_unit_test(what_is_down_comes_first_or_last_by_status),
	    cmocka_unit_test(a_service_has_the_slowest_check_and_the_weight_of_its_backends),
	    cmocka_unit_test(every_screen_is_as_large_as_the_terminal_and_no_larger),
	    cmocka_unit_test(names_are_whole_where_there_is_room_and_cut_in_the_middle_else),
	    cmocka_unit_test(the_reason_is_in_its_column_or_below_its_row),
	    cmocka_unit_test(the_column_that_is_sorted_by_is_shown_also_on_a_narrow_terminal),
	    cmocka_unit_test(replies_have_columns_where_they_are_counted),
	    cmocka_unit_test(connects_have_columns_and_orders),
	    cmocka_unit_test(the_head_has_totals_and_the_reasons_of_drops),
	    cmocka_unit_test(a_small_terminal_has_one_line_above_the_titles),
	    cmocka_unit_test(old_figures_are_grey_below_a_line_that_says_since_when),
	    cmocka_unit_test(the_filter_shows_backends_with_their_service),
	    cmocka_unit_test(backends_of_all_services_have_one_order),
	    cmocka_unit_test(reasons_and_help_have_screens_of_their_own),
	    cmocka_unit_test(it_scrolls_as_far_as_there_are_rows),
	    cmocka_unit_test(a_backend_without_an_earlier_sample_has_no_rate),
	    cmocka_unit_test(a_plain_locale_gets_ascii_alone),
	    cmocka_unit_test(keys_change_order_view_and_place),
	    cmocka_unit_test(a_filter_is_typed_kept_and_ended),
	    cmocka_unit_test(the_help_is_left_by_its_key_and_by_q),
	    cmocka_unit_test(once_prints_a_plain_frame_of_two_samples),
	    cmocka_unit_test(once_with_json_has_the_rates_and_their_interval),
	    cmocka_unit_test(once_fails_if_time_does_not_increase_between_the_samples),
	    cmocka_unit_test(what_was_not_there_before_has_null_rates),
	    cmocka_unit_test(without_a_terminal_top_suggests_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
