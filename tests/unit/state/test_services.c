/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/services.c: which services that were added or removed at run time hold under
 * another config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"

#define LINE(name, vip, port)                                                              \
	"  - { name: " name ", vip: " vip ", protocol: tcp, port: " port ", backends: [{ " \
	"address: 10.0.0.1 }] }\n"
#define WEB  LINE("web", "192.0.2.10", "80")
#define DNS  LINE("dns", "192.0.2.53", "53")
#define SHOP LINE("shop", "192.0.2.20", "443")
#define JSON                                                                           \
	"{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"port\":443,\"protocol\":\"tcp\"," \
	"\"backends\":[{\"address\":\"10.0.0.2\"}]}"

static struct config *parse(const char *services)
{
	struct config *config = NULL;
	struct error err;
	char text[2048];

	snprintf(text, sizeof(text), "limits: { services: 2 }\nservices:%s\n%s",
		 *services ? "" : " []", services);
	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

/* web and dns are in the file; shop is added and dns removed. */
static struct overrides changes;

static int set_up(void **unused)
{
	struct config *config = parse(WEB DNS);
	struct error err;

	changes = (struct overrides){0};
	assert_int_equal(overrides_add_service(&changes, &config->services[1], NULL), 0);
	config_remove_service(config, 1);
	assert_int_equal(config_add_service(config, JSON, &err), 0);
	assert_int_equal(overrides_add_service(&changes, &config->services[1], JSON), 0);
	config_free(config);
	return 0;
}

static int tear_down(void **unused)
{
	overrides_done(&changes);
	return 0;
}

static char said[1024];

static int say(void *arg, const char *service, bool kept, const char *what, const char *why)
{
	size_t length = strlen(said);

	snprintf(said + length, sizeof(said) - length, "%s%s: %s: %s%s%s", length ? "; " : "",
		 kept ? "kept" : "dropped", service, what, *why ? ": " : "", why);
	return 0;
}

/* The names of the services that the file has then, and what is said. */
static void expect(const char *file, bool keep, const char *services, const char *says,
		   unsigned entries)
{
	struct config *config = parse(file);
	struct overrides kept = {0};
	char names[256] = "";

	*said = 0;
	assert_int_equal(services_reload(&changes, keep, config, &kept, say, NULL), 0);
	for (unsigned i = 0; i < config->services_count; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? " " : "",
			 config->services[i].name);
	assert_string_equal(names, services);
	assert_string_equal(said, says);
	assert_int_equal(kept.services_count, entries);
	overrides_done(&kept);
	config_free(config);
}

static void a_reload_drops_all_and_names_them(void **unused)
{
	expect(WEB DNS, false, "web dns",
	       "dropped: dns: service removed; dropped: shop: service added", 0);
}

static void keep_keeps_all(void **unused)
{
	expect(WEB DNS, true, "web shop", "kept: dns: service removed; kept: shop: service added",
	       2);
}

static void what_the_file_says_too_is_neither_kept_nor_dropped(void **unused)
{
	expect(WEB SHOP, false, "web shop", "", 0);
	expect(WEB SHOP, true, "web shop", "", 0);
}

static void a_removed_service_stays_so_when_it_is_renamed_or_moves(void **unused)
{
	expect(WEB LINE("names", "192.0.2.53", "53"), true, "web shop",
	       "kept: names: service removed; kept: shop: service added", 2);
	expect(WEB LINE("dns", "192.0.2.54", "53"), true, "web shop",
	       "kept: dns: service removed; kept: shop: service added", 2);
}

static void an_added_service_gives_way_to_the_file(void **unused)
{
	expect(WEB LINE("shop", "192.0.2.21", "80"), true, "web shop",
	       "dropped: shop: service added: service shop: name: shop: the service in the config "
	       "has the same name: expected another",
	       0);
	expect(
	    LINE("web", "10.0.0.2", "80"), true, "web",
	    "dropped: shop: service added: service shop: backend 10.0.0.2: address: 10.0.0.2: is "
	    "the VIP of service web: expected the address of a backend",
	    0);
}

static void an_added_service_beyond_the_limit_is_dropped(void **unused)
{
	expect(
	    WEB LINE("a", "192.0.2.30", "80"), true, "web a",
	    "dropped: shop: service added: services: 3 services: expected at most 2, see limits: "
	    "services",
	    0);
}

static void a_removed_service_leaves_its_place_to_an_added_one(void **unused)
{
	static const char json[] =
	    "{\"name\":\"dns\",\"vip\":\"192.0.2.53\",\"port\":53,"
	    "\"protocol\":\"tcp\",\"backends\":[{\"address\":\"10.0.0.3\"}]}";
	struct config *config = parse(DNS);

	overrides_drop_service(&changes, &changes.services[1]);
	assert_int_equal(overrides_add_service(&changes, &config->services[0], json), 0);
	config_free(config);
	expect(WEB DNS, true, "web dns", "kept: dns: service removed; kept: dns: service added", 2);
}

/* Such as one that an lbd of before has kept. */
static void an_added_service_with_a_command_of_its_own_is_not_taken_back(void **unused)
{
	static const char json[] =
	    "{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"port\":443,\"protocol\":\"tcp\","
	    "\"health\":{\"type\":\"exec\",\"command\":[\"/bin/sh\",\"-c\",\"id\"]},"
	    "\"backends\":[{\"address\":\"10.0.0.2\"}]}";
	struct config *config = parse(SHOP);

	overrides_drop_service(&changes, &changes.services[1]);
	assert_int_equal(overrides_add_service(&changes, &config->services[0], json), 0);
	config_free(config);
	expect(WEB DNS, true, "web",
	       "kept: dns: service removed; dropped: shop: service added: service shop: health: "
	       "command: /bin/sh: expected the words of a command that a service in the files of "
	       "the config runs",
	       1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_reload_drops_all_and_names_them),
	    TEST(keep_keeps_all),
	    TEST(what_the_file_says_too_is_neither_kept_nor_dropped),
	    TEST(a_removed_service_stays_so_when_it_is_renamed_or_moves),
	    TEST(an_added_service_gives_way_to_the_file),
	    TEST(an_added_service_beyond_the_limit_is_dropped),
	    TEST(a_removed_service_leaves_its_place_to_an_added_one),
	    TEST(an_added_service_with_a_command_of_its_own_is_not_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
