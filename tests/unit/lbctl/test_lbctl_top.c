/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tests user/lbctl/top/: rates between two samples, and the frame made of
 * them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbctl/top/view.h"
#include "support/fake_lbd.h"
#include "lbctl_run.h"

#define SAMPLE                                                                         \
	"{\"time_ms\":%d,\"status\":{\"version\":\"0.1.0\",\"uptime_s\":60,"           \
	"\"interfaces\":[{\"name\":\"eth0\",\"mode\":\"native\"}],\"services\":2,"     \
	"\"services_down\":0,\"backends\":3,\"backends_up\":2,"                        \
	"\"flows\":{\"entries\":5,\"capacity\":10}},\"services\":[{\"name\":\"web\","  \
	"\"vip\":\"192.0.2.10\",\"protocol\":\"tcp\",\"port\":80,"                     \
	"\"status\":\"degraded\",\"backends\":2,\"backends_up\":1,\"packets\":%lld,"   \
	"\"bytes\":%lld,\"flows\":%lld},{\"name\":\"dns\",\"vip\":\"2001:db8::10\","   \
	"\"protocol\":\"udp\",\"port\":53,\"status\":\"up\",\"backends\":1,"           \
	"\"backends_up\":1,\"packets\":0,\"bytes\":0,\"flows\":0}],"                   \
	"\"backends\":[{\"service\":\"web\",\"address\":\"10.0.0.11\","                \
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
	top_model_sort(&model, TOP_SORT_PACKETS);
	assert_string_equal(model.services[0].name, "dns");
	top_model_done(&model);
	assert_int_equal(model_of(&model, 2000, 2000, 10), 0);
	top_model_sort(&model, TOP_SORT_PACKETS);
	assert_string_equal(model.services[0].name, "web");
	top_model_sort(&model, TOP_SORT_CONFIG);
	assert_string_equal(model.services[0].name, "web");
	top_model_done(&model);
}

static void every_line_of_a_frame_fits_80_columns(void **state)
{
	struct top_options options = {.columns = 80};
	struct top_frame frame;
	struct top_model model;

	assert_int_equal(model_of(&model, 2000, 2000000000, 2000000000), 0);
	for (int drops = 0; drops < 2; drops++) {
		options.drops = drops;
		top_view_render(&model, &options, &frame);
		assert_false(frame.failed);
		assert_true(frame.head_count > 0 && frame.head_count < frame.lines_count);
		for (size_t i = 0; i < frame.lines_count; i++) {
			size_t length = strlen(frame.lines[i].text);

			while (length && frame.lines[i].text[length - 1] == ' ')
				length--;
			assert_true(length <= 80);
		}
		top_view_done(&frame);
	}
	top_model_done(&model);
}

static void once_prints_a_plain_frame_of_two_samples(void **state)
{
	static char first[8192], second[8192];
	static struct lbctl_run run;
	struct fake_answer answers[] = {
	    {"GET /v1/top", 200, first}, {"GET /v1/top", 200, second}, {NULL}};
	struct fake_lbd fake;

	strcpy(first, sample_text(1000, 1000, 10));
	strcpy(second, sample_text(2000, 3000, 30));
	assert_int_equal(fake_lbd_start(&fake, answers), 0);
	lbctl_run(&run, "top", "--once", "--interval", "100ms", "--socket", fake.socket);
	fake_lbd_stop(&fake);
	assert_int_equal(run.exit_code, 0);
	assert_null(strchr(run.out, '\033'));
	assert_non_null(strstr(run.out, "web 192.0.2.10:80/tcp"));
	assert_non_null(strstr(run.out, "2.00k"));
	assert_non_null(strstr(run.out, "no_backend 20.0/s"));
	assert_non_null(strstr(run.out, "connect: timed out"));
}

static void without_a_terminal_top_suggests_once(void **state)
{
	static struct lbctl_run run;

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
	    cmocka_unit_test(every_line_of_a_frame_fits_80_columns),
	    cmocka_unit_test(once_prints_a_plain_frame_of_two_samples),
	    cmocka_unit_test(without_a_terminal_top_suggests_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
