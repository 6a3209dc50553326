/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/ring.c: which changes give this balancer a ring of another size than others have,
 * and what is said of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"

static struct sentences warnings;
static struct state state = {.warnings = &warnings, .trial = true};

static struct config *parse(const char *keys, const char *backends)
{
	struct config *config = NULL;
	struct error err;
	char text[2048];

	snprintf(text, sizeof(text),
		 "services:\n  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80%s,\n"
		 "      backends: [%s] }\n",
		 keys, backends);
	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

#define TWO   "{ address: 10.0.0.1 }, { address: 10.0.0.2 }"
#define THREE TWO ", { address: 10.0.0.3 }"

/* ret: "" or the warning. */
static const char *warned(char ret[1024])
{
	assert_in_range(warnings.count, 0, 1);
	snprintf(ret, 1024, "%s", warnings.count ? warnings.list[0] : "");
	sentences_done(&warnings);
	return ret;
}

/* So many backends, of them so many that are being removed, and the last ones of this origin. */
static void change_of(struct config *config, unsigned count, unsigned removed, unsigned by_itself,
		      enum origin origin)
{
	static struct backend backends[8];
	static struct backend *list[8];
	struct service service = {.config = &config->services[0], .backends = list};

	for (unsigned i = 0; i < count; i++) {
		backends[i] = (struct backend){.removed = i < removed};
		if (i >= count - by_itself)
			backends[i].origin = origin;
		list[i] = &backends[i];
	}
	service.backends_count = count;
	state.config = config;
	ring_warn_of_change(&state, &service);
	config_free(config);
}

static void change(struct config *config, unsigned count, unsigned removed)
{
	change_of(config, count, removed, 0, ORIGIN_config);
}

static void a_backend_that_makes_the_ring_larger_is_warned_of(void **unused)
{
	char text[1024];

	change(parse(", algorithm: source-hash", TWO), 3, 0);
	assert_string_equal(
	    warned(text),
	    "service web: its ring has 509 slots with 3 backends, and 251 with the 2 of the file: "
	    "balancers that share its traffic send flows to other backends until they have the "
	    "same change. Next: make it on each of them, or give `slots: 509` in the file of each");
}

static void a_backend_that_makes_it_smaller_too(void **unused)
{
	char text[1024];

	change(parse(", algorithm: source-hash", THREE), 3, 1);
	assert_non_null(strstr(warned(text), "its ring has 251 slots with 2 backends, and 509"));
}

static void one_that_leaves_it_as_large_is_not(void **unused)
{
	char text[1024];

	change(parse("", TWO), 3, 0); /* coarse */
	assert_string_equal(warned(text), "");
	change(parse(", algorithm: source-hash", TWO), 2, 0);
	assert_string_equal(warned(text), "");
	change(parse(", algorithm: source-hash, slots: 1021", TWO), 3, 0);
	assert_string_equal(warned(text), "");
}

static void what_comes_by_itself_is_as_if_it_were_in_the_file(void **unused)
{
	char text[1024];

	change_of(parse(", algorithm: source-hash", TWO), 3, 0, 1, ORIGIN_lease);
	assert_string_equal(warned(text), "");
	change_of(parse(", algorithm: source-hash", TWO), 3, 0, 1, ORIGIN_source);
	assert_string_equal(warned(text), "");
	change_of(parse(", algorithm: source-hash", TWO), 3, 0, 1, ORIGIN_runtime);
	assert_non_null(strstr(warned(text), "with the 2 of the file: "));
	change_of(parse(", algorithm: source-hash", TWO), 3, 1, 1, ORIGIN_lease);
	assert_non_null(strstr(warned(text), "509 with the 3 of the file, registrations and "
					     "sources: "));
}

static void of_a_service_that_the_file_does_not_have_nothing_is_said(void **unused)
{
	struct config *config = parse(", algorithm: source-hash", TWO);
	char text[1024];

	config->services[0].file = CONFIG_RUNTIME;
	change(config, 3, 0);
	assert_string_equal(warned(text), "");
}

static struct config *with_peers(struct config *config)
{
	config->peers.on = true;
	return config;
}

static void peers_have_rings_of_one_size(void **unused)
{
	char text[1024];

	change(with_peers(parse(", algorithm: source-hash", TWO)), 3, 0);
	assert_string_equal(warned(text), "");
	change(with_peers(parse(", algorithm: source-hash, tracking: never", TWO)), 3, 0);
	assert_non_null(strstr(warned(text), "its ring has 509 slots"));
}

static void save(const char *keys, const char *before, const char *after)
{
	struct config *file = parse(keys, before), *written = parse(keys, after);

	ring_warn_of_saving(&state, file, written);
	config_free(file);
	config_free(written);
}

static void a_weight_that_makes_a_coarse_ring_fine_is_warned_of_when_it_is_saved(void **unused)
{
	char text[1024];

	save("", THREE, TWO ", { address: 10.0.0.3, weight: 7 }");
	assert_string_equal(
	    warned(text),
	    "service web: from the next reload on its ring has 509 slots, 251 before: balancers "
	    "that share its traffic need the same file at the same time, or `slots: 251` in it, "
	    "which keeps the size");
	save(", backends-from: { file: /etc/lbd/web }", THREE,
	     TWO ", { address: 10.0.0.3, weight: 7 }");
	assert_string_equal(warned(text), "");
	save("", TWO, "{ address: 10.0.0.1, weight: 7 }, { address: 10.0.0.2 }");
	assert_string_equal(warned(text), "");
	save(", slots: 251", THREE, TWO ", { address: 10.0.0.3, weight: 7 }");
	assert_string_equal(warned(text), "");
}

static void peers_need_no_warning_of_what_is_saved(void **unused)
{
	struct config *file = parse("", THREE);
	struct config *written = parse("", TWO ", { address: 10.0.0.3, weight: 7 }");
	char text[1024];

	ring_warn_of_saving(&state, with_peers(file), with_peers(written));
	assert_string_equal(warned(text), "");
	config_free(file);
	config_free(written);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_backend_that_makes_the_ring_larger_is_warned_of),
	    cmocka_unit_test(a_backend_that_makes_it_smaller_too),
	    cmocka_unit_test(one_that_leaves_it_as_large_is_not),
	    cmocka_unit_test(what_comes_by_itself_is_as_if_it_were_in_the_file),
	    cmocka_unit_test(of_a_service_that_the_file_does_not_have_nothing_is_said),
	    cmocka_unit_test(a_weight_that_makes_a_coarse_ring_fine_is_warned_of_when_it_is_saved),
	    cmocka_unit_test(peers_have_rings_of_one_size),
	    cmocka_unit_test(peers_need_no_warning_of_what_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
