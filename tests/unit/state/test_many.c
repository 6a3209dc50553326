/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an operator asks for does not take a time that grows with the square of what there is: twice
 * the services and run-time changes take about twice the comparisons, which the linker makes pass
 * by here (--wrap, Makefile). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/check.h"
#include "lbd/config/source.h"
#include "lbd/state/internal.h"
#include "support/test_addr.h"
#include "support/test_file.h"

#define FEW      128
#define BACKENDS 4 /* of a service */

/* ---- what is counted ---- */

static uint64_t comparisons, checks, trees;

bool __real_addr_equal(const struct addr *a, const struct addr *b);
bool __wrap_addr_equal(const struct addr *a, const struct addr *b);
bool __wrap_addr_equal(const struct addr *a, const struct addr *b)
{
	comparisons++;
	return __real_addr_equal(a, b);
}

int __real_addr_compare(const struct addr *a, const struct addr *b);
int __wrap_addr_compare(const struct addr *a, const struct addr *b);
int __wrap_addr_compare(const struct addr *a, const struct addr *b)
{
	comparisons++;
	return __real_addr_compare(a, b);
}

int __real_strcmp(const char *a, const char *b);
int __wrap_strcmp(const char *a, const char *b);
int __wrap_strcmp(const char *a, const char *b)
{
	comparisons++;
	return __real_strcmp(a, b);
}

bool __real_config_same_service(const struct config_service *a, const struct config_service *b);
bool __wrap_config_same_service(const struct config_service *a, const struct config_service *b);
bool __wrap_config_same_service(const struct config_service *a, const struct config_service *b)
{
	comparisons++;
	return __real_config_same_service(a, b);
}

void __real_config_check(const struct config_sources *sources, const struct config *config);
void __wrap_config_check(const struct config_sources *sources, const struct config *config);
void __wrap_config_check(const struct config_sources *sources, const struct config *config)
{
	checks++;
	__real_config_check(sources, config);
}

int __real_config_source_load(struct config_source *source, const char *name, const char *text,
			      size_t length);
int __wrap_config_source_load(struct config_source *source, const char *name, const char *text,
			      size_t length);
int __wrap_config_source_load(struct config_source *source, const char *name, const char *text,
			      size_t length)
{
	trees += strchr(name, '/') != NULL; /* of a file */
	return __real_config_source_load(source, name, text, length);
}

/* ---- a config, and run-time changes of all of it ---- */

struct scene {
	char path[64];
	struct state state;
	struct sentences warnings;
};

static char *address(char text[ADDR_TEXT], unsigned net, unsigned number)
{
	snprintf(text, ADDR_TEXT, "10.%u.%u.%u", net, number / 250, number % 250 + 1);
	return text;
}

static void write_service(FILE *file, unsigned number)
{
	char text[ADDR_TEXT];

	fprintf(file,
		"  - name: s%u\n    vip: %s\n    protocol: tcp\n    port: 80\n    backends:\n",
		number, address(text, 1, number));
	for (unsigned i = 0; i < BACKENDS; i++)
		fprintf(file, "      - { address: %s, name: b%u }\n",
			address(text, 2, number * BACKENDS + i), i);
}

static void write_config(struct scene *scene, unsigned services)
{
	FILE *file;
	int fd;

	strcpy(scene->path, "/tmp/test_many.XXXXXX");
	fd = mkstemp(scene->path);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	fputs("limits: { services: 4096, backends: 32000 }\n"
	      "defaults: { health: { type: none } }\nservices:\n",
	      file);
	for (unsigned i = 0; i < services; i++)
		write_service(file, i);
	assert_int_equal(fclose(file), 0);
}

static void add_service(struct scene *scene, unsigned number)
{
	struct config *config = scene->state.config;
	char vip[ADDR_TEXT], backend[ADDR_TEXT], text[256];
	struct error err;

	snprintf(text, sizeof(text),
		 "{\"name\":\"a%u\",\"vip\":\"%s\",\"protocol\":\"tcp\",\"port\":80,"
		 "\"backends\":[{\"address\":\"%s\"}]}",
		 number, address(vip, 3, number), address(backend, 4, number));
	if (config_add_service(config, text, &err))
		fail_msg("%s", err.text);
	assert_int_equal(overrides_add_service(&scene->state.overrides,
					       &config->services[config->services_count - 1], text),
			 0);
}

static struct override *change(struct scene *scene, const char *format, unsigned service,
			       const char *backend)
{
	struct addr addr = test_addr(backend);
	struct override *entry;
	char name[16];

	snprintf(name, sizeof(name), format, service);
	entry = overrides_get(&scene->state.overrides, name, &addr);
	assert_non_null(entry);
	entry->has_weight = true;
	entry->weight = 7;
	return entry;
}

/* So many services in the file and so many added, whose backends all have another weight, and each
 * an added one. */
static void scene_make(struct scene *scene, unsigned services)
{
	char text[ADDR_TEXT];
	struct error err;

	memset(scene, 0, sizeof(*scene));
	write_config(scene, services);
	scene->state.config_path = scene->path;
	scene->state.warnings = &scene->warnings;
	if (config_load(scene->path, &scene->state.config, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < services; i++) {
		add_service(scene, i);
		for (unsigned j = 0; j < BACKENDS; j++)
			change(scene, "s%u", i, address(text, 2, i * BACKENDS + j));
		change(scene, "s%u", i, address(text, 5, i))->added = true;
		change(scene, "a%u", i, address(text, 4, i));
		change(scene, "a%u", i, address(text, 6, i))->added = true;
	}
	comparisons = checks = trees = 0;
}

static void scene_free(struct scene *scene)
{
	unlink(scene->path);
	overrides_done(&scene->state.overrides);
	config_free(scene->state.config);
	sentences_done(&scene->warnings);
}

/* How many comparisons work takes with twice the services, for each with them. */
static void expect_no_square(void (*work)(struct scene *scene, unsigned services))
{
	uint64_t few, many;
	struct scene scene;

	scene_make(&scene, FEW);
	work(&scene, FEW);
	few = comparisons;
	scene_free(&scene);
	scene_make(&scene, 2 * FEW);
	work(&scene, 2 * FEW);
	many = comparisons;
	scene_free(&scene);
	if (many > few * 5 / 2 + FEW)
		fail_msg("%u services: %ju comparisons, %u: %ju", FEW, (uintmax_t)few, 2 * FEW,
			 (uintmax_t)many);
}

/* ---- tests ---- */

static void save(struct scene *scene, unsigned services)
{
	struct saved saved;
	struct error err;

	if (state_save(&scene->state, &saved, &err))
		fail_msg("%s", err.text);
	assert_int_equal(saved.report.kept, services * (BACKENDS + 4));
	saved_done(&saved);
	assert_true(comparisons > services); /* the linker does count them */
	/* once before, and once to see that it says what it should; and the added ones together */
	assert_int_equal(trees, 2);
	assert_int_equal(checks, 3);
}

static void save_grows_as_what_is_saved(void **unused)
{
	expect_no_square(save);
}

static void without_a_change_the_file_is_read_once(void **unused)
{
	struct scene scene;
	struct saved saved;
	struct error err;

	scene_make(&scene, 3);
	overrides_done(&scene.state.overrides);
	if (state_save(&scene.state, &saved, &err))
		fail_msg("%s", err.text);
	assert_int_equal(trees, 1);
	assert_false(saved.changed[0]);
	saved_done(&saved);
	scene_free(&scene);
}

static void reload(struct scene *scene, unsigned services)
{
	struct reload_report report = {0};
	struct overrides kept;
	struct config *next;
	struct error err;

	if (config_load(scene->path, &next, &err) ||
	    reload_overrides(&scene->state, next, true, &kept, &report, &err))
		fail_msg("%s", err.text);
	assert_int_equal(next->services_count, 2 * services);
	assert_int_equal(report.kept, services * (BACKENDS + 4));
	assert_int_equal(report.dropped, 0);
	assert_int_equal(checks, 2); /* of the file, and of all that is added */
	reload_report_done(&report);
	overrides_done(&kept);
	config_free(next);
}

static void reload_grows_as_what_is_kept(void **unused)
{
	expect_no_square(reload);
}

static void copy(struct scene *scene, unsigned services)
{
	struct overrides next;

	assert_int_equal(overrides_copy(&scene->state.overrides, &next), 0);
	assert_int_equal(next.count, services * (BACKENDS + 3));
	overrides_done(&next);
}

static void a_change_does_not_compare_each_with_each(void **unused)
{
	expect_no_square(copy);
}

static void compare(struct scene *scene, unsigned services)
{
	const struct overrides none = {0};
	struct sentences differences = {0};

	assert_int_equal(
	    diff_sides(&(struct diff_side){scene->state.config, &none},
		       &(struct diff_side){scene->state.config, &scene->state.overrides},
		       &differences),
	    0);
	assert_int_equal(differences.count + differences.left_out, services * (BACKENDS + 3));
	sentences_done(&differences);
}

static void diff_grows_as_what_differs(void **unused)
{
	expect_no_square(compare);
}

static void build(struct scene *scene, unsigned services)
{
	const struct world none = {0};
	struct world world;

	assert_int_equal(
	    world_build(&scene->state, scene->state.config, &scene->state.overrides, &none, &world),
	    0);
	assert_int_equal(world.count, 2 * services);
	assert_int_equal(world.services[0]->backends_count, BACKENDS + 1);
	assert_int_equal(world.services[0]->backends[BACKENDS]->weight, 7);
	assert_int_equal(world.services[2 * services - 1]->backends_count, 2);
	world_free(&world);
}

static void the_world_grows_as_what_is_in_it(void **unused)
{
	expect_no_square(build);
}

static int count_dropped(void *arg, const char *service, bool kept, const char *what,
			 const char *why)
{
	*(unsigned *)arg += !kept;
	return 0;
}

/* Only those that are in the way of the file are looked for, each by halves. */
static void a_few_added_services_that_cannot_stay_cost_a_few_checks(void **unused)
{
	struct overrides kept = {0};
	struct config *next;
	unsigned dropped = 0;
	struct scene scene;
	struct error err;

	scene_make(&scene, FEW);
	if (config_load(scene.path, &next, &err))
		fail_msg("%s", err.text);
	free(next->services[5].name);
	next->services[5].name = strdup("a17");
	checks = 0;
	assert_int_equal(
	    services_reload(&scene.state.overrides, true, next, &kept, count_dropped, &dropped), 0);
	assert_int_equal(dropped, 1);
	assert_int_equal(next->services_count, 2 * FEW - 1);
	assert_int_equal(kept.services_count, FEW - 1);
	assert_in_range(checks, 2, 2 * 8); /* 2^7 services */
	overrides_done(&kept);
	config_free(next);
	scene_free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(save_grows_as_what_is_saved),
	    cmocka_unit_test(without_a_change_the_file_is_read_once),
	    cmocka_unit_test(reload_grows_as_what_is_kept),
	    cmocka_unit_test(a_change_does_not_compare_each_with_each),
	    cmocka_unit_test(diff_grows_as_what_differs),
	    cmocka_unit_test(the_world_grows_as_what_is_in_it),
	    cmocka_unit_test(a_few_added_services_that_cannot_stay_cost_a_few_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
