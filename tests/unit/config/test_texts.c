/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A config in several files: which ones are read, in which order, and what errors say. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "support/test_file.h"

#define SERVICE(name, vip)                                                          \
	"services:\n  - { name: " name ", vip: " vip ", protocol: tcp, port: 80,\n" \
	"      backends: [{ address: 10.0.0.1 }, { address: 10.0.0.2 }] }\n"
#define MAIN "include: conf.d/*.yaml\n" SERVICE("main", "192.0.2.1")

static char directory[64], main_path[96];

static const char *path_of(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void put(const char *name, const char *text)
{
	test_file_put(path_of(name), text);
}

static int set_up(void **unused)
{
	strcpy(directory, "/tmp/lbd-texts-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(main_path, sizeof(main_path), "%s/lbd.yaml", directory);
	return mkdir(path_of("conf.d"), 0755);
}

static int tear_down(void **unused)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

static struct config *load(void)
{
	struct config *config = NULL;
	struct error err = {""};

	if (config_load(main_path, &config, &err))
		fail_msg("%s", err.text);
	return config;
}

/* The error, of which what follows the directory is given; "%" is the directory again. */
static void expect_error(const char *says)
{
	struct config *config = NULL;
	struct error err = {""};
	char want[1024] = "";

	assert_int_not_equal(config_load(main_path, &config, &err), 0);
	assert_null(config);
	snprintf(want, sizeof(want), "%s/", directory);
	for (; *says; says++)
		snprintf(want + strlen(want), sizeof(want) - strlen(want),
			 *says == '%' ? "%s" : "%.1s", *says == '%' ? directory : says);
	assert_string_equal(err.text, want);
}

static void services_come_in_the_order_of_the_files_names(void **unused)
{
	struct config *config;

	put("lbd.yaml", MAIN);
	put("conf.d/b.yaml", SERVICE("b", "192.0.2.12"));
	put("conf.d/a.yaml", SERVICE("a", "192.0.2.11"));
	put("conf.d/B.yaml", SERVICE("B", "192.0.2.13"));
	config = load();
	assert_int_equal(config->services_count, 4);
	assert_int_equal(config->files_count, 4);
	assert_string_equal(config->services[0].name, "main");
	assert_string_equal(config->services[1].name, "B"); /* by bytes, in every locale */
	assert_string_equal(config->services[2].name, "a");
	assert_string_equal(config->services[3].name, "b");
	assert_int_equal(config->services[3].file, 3);
	assert_int_equal(config->services[3].place, 0);
	config_free(config);
}

static void what_is_no_yaml_file_by_its_name_is_left_alone(void **unused)
{
	static const char *const others[] = {"conf.d/.a.yaml",         "conf.d/a.yaml~",
					     "conf.d/a.yaml.dpkg-new", "conf.d/a.yml",
					     "conf.d/README",          "conf.d/.yaml"};
	struct config *config;

	put("lbd.yaml", MAIN);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		put(others[i], "no config\n");
	config = load();
	assert_int_equal(config->services_count, 1);
	assert_int_equal(config->files_count, 1);
	config_free(config);
}

static void without_an_include_a_directory_is_not_looked_at(void **unused)
{
	struct config *config;

	put("lbd.yaml", SERVICE("main", "192.0.2.1") "# include: conf.d/*.yaml\n");
	put("conf.d/a.yaml", "no config\n");
	config = load();
	assert_int_equal(config->services_count, 1);
	config_free(config);
}

static void a_directory_may_be_elsewhere(void **unused)
{
	char text[512];
	struct config *config;

	assert_int_equal(mkdir(path_of("more"), 0755), 0);
	snprintf(text, sizeof(text), "include: %s/more/*.yaml\nservices: []\n", directory);
	put("lbd.yaml", text);
	put("more/a.yaml", SERVICE("a", "192.0.2.11"));
	config = load();
	assert_string_equal(config->services[0].name, "a");
	config_free(config);
}

/* Each ASCII character of text in two bytes, after a byte order mark. */
static void put_utf16(const char *name, const char *text, bool big_endian)
{
	FILE *file = fopen(path_of(name), "w");

	assert_non_null(file);
	fputs(big_endian ? "\xfe\xff" : "\xff\xfe", file);
	for (; *text; text++) {
		putc(big_endian ? 0 : *text, file);
		putc(big_endian ? *text : 0, file);
	}
	assert_int_equal(fclose(file), 0);
}

static void expect_included(void)
{
	struct config *config = load();

	assert_string_equal(config->include, "conf.d/*.yaml");
	assert_int_equal(config->files_count, 2);
	assert_int_equal(config->services_count, 2);
	config_free(config);
}

static void an_include_is_seen_however_it_is_written(void **unused)
{
	put("conf.d/a.yaml", SERVICE("a", "192.0.2.11"));
	put_utf16("lbd.yaml", MAIN, false);
	expect_included();
	put_utf16("lbd.yaml", MAIN, true);
	expect_included();
	put("lbd.yaml", "\"incl\\u0075de\": conf.d/*.yaml\n" SERVICE("main", "192.0.2.1"));
	expect_included();
	put("lbd.yaml", "? \"incl\\\n  ude\"\n: conf.d/*.yaml\n" SERVICE("main", "192.0.2.1"));
	expect_included();
}

static void a_link_to_a_file_is_followed(void **unused)
{
	char target[160];
	struct config *config;

	put("lbd.yaml", MAIN);
	put("a-elsewhere", SERVICE("a", "192.0.2.11"));
	strcpy(target, path_of("a-elsewhere"));
	assert_int_equal(symlink(target, path_of("conf.d/a.yaml")), 0);
	config = load();
	assert_int_equal(config->services_count, 2);
	config_free(config);
}

/* Else a directory that is not mounted would be a config that removes every service in it. */
static void a_directory_that_is_not_there_is_an_error(void **unused)
{
	put("lbd.yaml", "services: []\ninclude: conf.e/*.yaml\n");
	expect_error("lbd.yaml:2: include: conf.e/*.yaml: %/conf.e: No such file or directory: "
		     "expected a directory");
}

static void a_file_that_cannot_be_read_is_an_error(void **unused)
{
	put("lbd.yaml", MAIN);
	assert_int_equal(symlink("/nonexistent/a.yaml", path_of("conf.d/a.yaml")), 0);
	expect_error("conf.d/a.yaml: cannot open: No such file or directory");
	unlink(path_of("conf.d/a.yaml"));
	assert_int_equal(mkfifo(path_of("conf.d/b.yaml"), 0600), 0); /* nobody writes to it */
	expect_error("conf.d/b.yaml: expected a regular file");
	unlink(path_of("conf.d/b.yaml"));
	assert_int_equal(mkdir(path_of("conf.d/c.yaml"), 0700), 0);
	expect_error("conf.d/c.yaml: expected a regular file");
}

static void a_pipe_is_waited_for_but_not_for_ever(void **unused)
{
	pid_t writer;

	assert_int_equal(mkfifo(main_path, 0600), 0);
	expect_error("lbd.yaml: a pipe that nobody writes to: expected a text within 2 s");
	writer = fork();
	if (!writer) {
		int fd = open(main_path, O_WRONLY);

		usleep(100000); /* the reader waits between the two */
		_exit(dprintf(fd, SERVICE("web", "192.0.2.1")) < 0);
	}
	config_free(load());
	assert_int_equal(waitpid(writer, NULL, 0), writer);
}

static void an_error_names_the_included_file_and_its_line(void **unused)
{
	put("lbd.yaml", MAIN);
	put("conf.d/a.yaml", "services:\n  - name: a\n    vip: 192.0.2.11\n    protocol: tcp\n"
			     "    port: 70000\n    backends: [{ address: 10.0.0.1 }]\n");
	expect_error("conf.d/a.yaml:5: service a: port: 70000: expected 1 to 65535 or any");
	put("conf.d/a.yaml", "services: [\n");
	expect_error(
	    "conf.d/a.yaml:2: not YAML: did not find expected node content while parsing a "
	    "flow node");
}

static void only_services_stand_in_an_included_file(void **unused)
{
	put("lbd.yaml", MAIN);
	put("conf.d/a.yaml", "services: []\ninterfaces: [eth0]\n");
	expect_error("conf.d/a.yaml:2: interfaces: expected only services in an included file: all "
		     "else is in the main file");
	put("conf.d/a.yaml", "defaults: { forward: gue }\nservices: []\n");
	expect_error(
	    "conf.d/a.yaml:1: defaults: expected only services in an included file: all else "
	    "is in the main file");
	put("conf.d/a.yaml", "sevices: []\n");
	expect_error("conf.d/a.yaml:1: sevices: unknown key: did you mean services?");
	put("conf.d/a.yaml", "# cut short\n");
	expect_error("conf.d/a.yaml:1: empty: expected at least `services:` and a list");
}

static void the_same_service_in_two_files_is_named_with_both_places(void **unused)
{
	put("lbd.yaml", MAIN);
	put("conf.d/a.yaml", SERVICE("a", "192.0.2.11"));
	put("conf.d/b.yaml", "# one more\n" SERVICE("b", "192.0.2.11"));
	expect_error("conf.d/b.yaml:3: service b: vip: 192.0.2.11: service a in "
		     "%/conf.d/a.yaml:2 has the same VIP, protocol and port: expected others");
	put("conf.d/b.yaml", SERVICE("main", "192.0.2.12"));
	expect_error(
	    "conf.d/b.yaml:2: service main: name: main: the service in %/lbd.yaml:3 has the "
	    "same name: expected another");
	put("conf.d/b.yaml", "services:\n  - { name: b, vip: 10.0.0.1, protocol: tcp, port: 80,\n"
			     "      backends: [{ address: 10.0.0.9 }] }\n");
	expect_error("lbd.yaml:4: service main: backend 10.0.0.1: address: 10.0.0.1: is the VIP of "
		     "service b: expected the address of a backend");
}

static void limits_count_the_services_of_all_files(void **unused)
{
	put("lbd.yaml", "limits: { services: 1 }\n" MAIN);
	put("conf.d/a.yaml", SERVICE("a", "192.0.2.11"));
	expect_error("lbd.yaml:4: services: 2 services: expected at most 1, see limits: services");
}

static void defaults_of_the_main_file_are_for_all(void **unused)
{
	struct config *config;

	put("lbd.yaml", "defaults: { forward: gue, deny: [192.0.2.0/24] }\n" MAIN);
	put("conf.d/a.yaml", SERVICE("a", "192.0.2.11"));
	config = load();
	assert_int_equal(config->services[1].forward, LB_FORWARD_GUE);
	assert_ptr_equal(config->services[0].lists.deny, config->services[1].lists.deny);
	assert_string_equal(config->services[1].lists.deny->name, main_path);
	config_free(config);
}

/* ---- all mistakes ---- */

static char said[2048];

static void say(void *arg, const char *sentence, size_t count)
{
	size_t length = strlen(said);

	snprintf(said + length, sizeof(said) - length, "%s\n", sentence + strlen(directory) + 1);
}

static void every_mistake_is_named_file_by_file(void **unused)
{
	struct config *config = NULL;
	struct error err;

	*said = 0;
	put("lbd.yaml", "mode: fast\n" MAIN "group: a b\n");
	put("conf.d/a.yaml", "services: [\n");
	put("conf.d/b.yaml", "services:\n  - { vip: x, protocol: tcp, port: 0,\n"
			     "      backends: [{ address: y }] }\n");
	assert_int_equal(config_load_all(main_path, say, NULL, &config, &err), -EINVAL);
	assert_string_equal(
	    said,
	    "conf.d/a.yaml:2: not YAML: did not find expected node content while parsing a "
	    "flow node\n"
	    "lbd.yaml:1: mode: fast: expected auto, native or generic\n"
	    "lbd.yaml:6: group: a b: expected the name of a group\n"
	    "conf.d/b.yaml:2: service #1: port: 0: expected 1 to 65535 or any\n"
	    "conf.d/b.yaml:2: service #1: vip: x: expected an IPv4 or IPv6 address, without a "
	    "port or prefix length\n"
	    "conf.d/b.yaml:3: service #1: backend y: address: y: expected an IPv4 or IPv6 "
	    "address, without a port or prefix length\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(services_come_in_the_order_of_the_files_names),
	    TEST(what_is_no_yaml_file_by_its_name_is_left_alone),
	    TEST(without_an_include_a_directory_is_not_looked_at),
	    TEST(a_directory_may_be_elsewhere),
	    TEST(an_include_is_seen_however_it_is_written),
	    TEST(a_link_to_a_file_is_followed),
	    TEST(a_directory_that_is_not_there_is_an_error),
	    TEST(a_file_that_cannot_be_read_is_an_error),
	    TEST(a_pipe_is_waited_for_but_not_for_ever),
	    TEST(an_error_names_the_included_file_and_its_line),
	    TEST(only_services_stand_in_an_included_file),
	    TEST(the_same_service_in_two_files_is_named_with_both_places),
	    TEST(limits_count_the_services_of_all_files),
	    TEST(defaults_of_the_main_file_are_for_all),
	    TEST(every_mistake_is_named_file_by_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
