/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl import: what holds for all dialects, and whole configurations. */
#include "import_run.h"

static void a_backend_that_is_a_vip_is_left(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s rr\n"
					       "-a -t 192.0.2.10:80 -r 192.0.2.11:80 -g\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.11:80 -g\n"
					       "-A -t 192.0.2.11:80 -s rr\n"
					       "-a -t 192.0.2.11:80 -r 10.0.0.11:80 -g\n");

	assert_int_equal(result.config->services_count, 2);
	assert_int_equal(result.config->services[0].backends_count, 1);
	assert_left(&result, 2, "is a VIP");
	done(&result);
}

/* A reply has nothing but its source that tells which service it is of. */
static void servers_of_two_services_have_nat_in_the_first(void **state)
{
	struct result result = convert("ipvs", "-A -t 192.0.2.10:80 -s rr\n"
					       "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m\n"
					       "-A -t 192.0.2.11:80 -s rr\n"
					       "-a -t 192.0.2.11:80 -r 10.0.0.12:8080 -m\n"
					       "-a -t 192.0.2.11:80 -r 10.0.0.11:8080 -m\n"
					       "-A -t 192.0.2.12:80 -s rr\n"
					       "-a -t 192.0.2.12:80 -r 10.0.0.11:8081 -m\n"
					       "-A -u 192.0.2.12:80 -s rr\n"
					       "-a -u 192.0.2.12:80 -r 10.0.0.11:8080 -m\n"
					       "-A -t 192.0.2.13:0 -s rr -p\n"
					       "-a -t 192.0.2.13:0 -r 10.0.0.11:0 -m\n");
	static const uint8_t forwards[] = {LB_FORWARD_NAT, LB_FORWARD_IPIP, LB_FORWARD_NAT,
					   LB_FORWARD_NAT, LB_FORWARD_IPIP};

	assert_int_equal(result.config->services_count, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(result.config->services[i].forward, forwards[i]);
	assert_int_equal(result.config->services[1].backends_count, 2);
	assert_left(&result, 5, "port 8080 of 10.0.0.11 is of service 192.0.2.10:80/tcp too");
	assert_left(&result, 4, "port 8080 of 10.0.0.12 and 1 more: their servers must listen on");
	assert_left(&result, 11, "each port of 10.0.0.11 is of service 192.0.2.1");
	done(&result);
}

/* Of each file of tests/fuzz/seeds/import: services, and settings that are left. */
static void real_configurations_are_taken_by_lbd(void **state)
{
	static const struct {
		const char *dialect, *file;
		unsigned services, left;
	} cases[] = {{"ipvs", "ipvs-direct.rules", 3, 0},
		     {"ipvs", "ipvs-tunnels.rules", 5, 4},
		     {"ipvs", "ipvs-names.rules", 1, 2},
		     {"keepalived", "keepalived-pair.conf", 2, 8},
		     {"keepalived", "keepalived-groups.conf", 10, 14},
		     {"haproxy", "haproxy-galera.cfg", 2, 4},
		     {"haproxy", "haproxy-cluster.cfg", 7, 14},
		     {"haproxy", "haproxy-old.cfg", 4, 9},
		     {"haproxy", "haproxy-checks.cfg", 4, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct result result = {.text = NULL};
		struct error err = {""};
		char path[128];

		snprintf(path, sizeof(path), "tests/fuzz/seeds/import/%s", cases[i].file);
		import_begin(&result.im);
		result.im.resolve = resolve;
		assert_int_equal(addr_parse("192.0.2.10", &result.im.vip4), 0);
		if (import_run(&result.im, dialect_find(cases[i].dialect), path, &err))
			fail_msg("%s", err.text);
		take_config(&result, cases[i].dialect);
		if (result.config->services_count != cases[i].services ||
		    result.im.left_count != cases[i].left)
			fail_msg("%s: %u services, %u left\n%s", path,
				 result.config->services_count, result.im.left_count, result.text);
		done(&result);
	}
}

static void more_than_lbd_takes_is_cut_and_named(void **state)
{
	enum { SERVICES = LB_MAX_SERVICES + 100, LINE = 128 };
	char *text = malloc((size_t)SERVICES * 2 * LINE), *at = text;
	struct result result;

	for (unsigned i = 0; i < SERVICES; i++)
		at += sprintf(at,
			      "-A -t 192.0.%u.%u:%u -s rr\n"
			      "-a -t 192.0.%u.%u:%u -r 10.0.0.11:%u -g\n",
			      i / 250, i % 250 + 1, i % 9 + 1, i / 250, i % 250 + 1, i % 9 + 1,
			      i % 9 + 1);
	result = convert("ipvs", text);
	assert_int_equal(result.config->services_count, LB_MAX_SERVICES);
	assert_left(&result, 2 * LB_MAX_SERVICES + 1, "more than");
	done(&result);
	free(text);
}

static void notes_beyond_the_limit_are_counted(void **state)
{
	enum { LINES = IMPORT_MAX_NOTES + 50 };
	char *text = calloc(LINES, 8), *at = text;
	struct result result;

	for (unsigned i = 0; i < LINES; i++)
		at += sprintf(at, "-A -x\n");
	result = convert("ipvs", text);
	assert_true(result.im.left_count >= LINES);
	assert_non_null(strstr(result.text, " more\n"));
	done(&result);
	free(text);
}

/* What a terminal obeys, and what ends a comment, is in no output. */
static void control_characters_do_not_pass(void **state)
{
	struct result result =
	    convert("haproxy", "listen \033[31m\nbind 192.0.2.10:80\nserver \"a\\nb\" 10.0.0.1\n"
			       "oh\x1b\x07no\n");

	assert_null(strchr(result.text, '\033'));
	assert_null(strchr(result.text, '\007'));
	assert_left(&result, 4, "oh??no");
	done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_backend_that_is_a_vip_is_left),
	    cmocka_unit_test(servers_of_two_services_have_nat_in_the_first),
	    cmocka_unit_test(real_configurations_are_taken_by_lbd),
	    cmocka_unit_test(more_than_lbd_takes_is_cut_and_named),
	    cmocka_unit_test(notes_beyond_the_limit_are_counted),
	    cmocka_unit_test(control_characters_do_not_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
