/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/config/added.c and copy.c: a config gets another service as if it was in its file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/config/config.h"

#define CONFIG                                                                             \
	"# with all that has to be copied\n"                                               \
	"interfaces: [eth0, eth1]\nmetrics-hosts: [lb1]\nmetrics-token-file: /etc/token\n" \
	"announce: { file: /run/lbd/vrrp }\ninclude: conf.d/*.yaml\n"                      \
	"notify: /usr/bin/tell all\n"                                                      \
	"limits: { services: 3, backends: 5 }\n"                                           \
	"defaults:\n  forward: gue # UDP\n  deny: [198.51.100.0/24]\n"                     \
	"  health: &check { interval: 5s }\n"                                              \
	"services:\n"                                                                      \
	"  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80, health: *check,\n"     \
	"      backends: [{ address: 10.0.0.1, name: a, labels: { zone: a } }] }\n"
#define SHOP(more)                                                                          \
	"{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"port\":443,\"protocol\":\"tcp\"," more \
	"\"backends\":[{\"address\":\"10.0.0.2\",\"weight\":7,\"drain\":true}]}"

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	struct error err;

	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static void add(struct config *config, const char *text)
{
	struct error err;

	if (config_add_service(config, text, &err))
		fail_msg("%s", err.text);
}

static void a_service_is_added_with_its_keys_and_the_defaults(void **state)
{
	struct config *config = parse(CONFIG);
	const struct config_service *shop;

	add(config, SHOP("\"algorithm\":\"lc\",\"slow-start\":\"30s\",\"health\":{\"rise\":9},"));
	assert_int_equal(config->services_count, 2);
	shop = &config->services[1];
	assert_string_equal(shop->name, "shop");
	assert_int_equal(shop->port, 443);
	assert_string_equal(shop->algorithm->name, "least-conn");
	assert_int_equal(shop->slow_start_ms, 30000);
	assert_int_equal(shop->health.rise, 9);
	assert_int_equal(shop->backends[0].weight, 7);
	assert_true(shop->backends[0].drain);
	assert_int_equal(shop->file, CONFIG_RUNTIME);
	/* of `defaults` */
	assert_int_equal(shop->forward, LB_FORWARD_GUE);
	assert_int_equal(shop->health.interval_ms, 5000);
	assert_int_equal(shop->lists.deny->count, 1);
	assert_non_null(shop->lists.filter);
	config_free(config);
}

static void a_service_is_added_without_any_defaults(void **state)
{
	struct config *config = parse("services: []\n");

	assert_null(config->defaults);
	add(config, "{\"vip\":\"2001:db8::1\",\"port\":\"any\",\"protocol\":\"udp\","
		    "\"backends\":[{\"address\":\"10.0.0.1\",\"name\":\"a\"}]}");
	assert_string_equal(config->services[0].name, "[2001:db8::1]:any/udp");
	assert_int_equal(config->services[0].forward, LB_FORWARD_IPIP);
	config_free(config);
}

static void a_second_one_is_checked_against_the_first(void **state)
{
	struct config *config = parse("services: []\n");
	struct error err;

	add(config, SHOP(""));
	assert_int_equal(config_add_service(config, SHOP(""), &err), -EINVAL);
	assert_string_equal(err.text,
			    "service shop: vip: 192.0.2.20: service shop in the config has "
			    "the same VIP, protocol and port: expected others");
	assert_int_equal(config->services_count, 1);
	config_free(config);
}

#define FROM(url, token) \
	"\"backends-from\":{\"consul\":\"" url "\",\"service\":\"s\",\"token-file\":\"" token "\"},"

static void a_token_goes_only_to_servers_that_the_file_sends_it_to(void **state)
{
	struct config *config = parse(
	    "services:\n  - { vip: 192.0.2.30, protocol: tcp, port: 80,\n"
	    "      backends-from: { consul: 'http://127.0.0.1:8500', service: w, token-file: /t } }\n");
	static const char *const refused[] = {SHOP(FROM("http://127.0.0.1:8501", "/t")),
					      SHOP(FROM("http://127.0.0.1:8500", "/secret"))};
	struct error err;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(config_add_service(config, refused[i], &err), -EKEYREJECTED);
		if (!strstr(err.text, "service shop: backends-from: token-file: /") ||
		    !strstr(err.text, ": expected one that a service in the files"))
			fail_msg("%s", err.text);
		assert_int_equal(config->services_count, 1);
	}
	add(config, SHOP(FROM("http://127.0.0.1:8500", "/t")));
	/* nor is the one that was added a reason for the next */
	config_remove_service(config, 0);
	assert_int_equal(
	    config_add_service(config,
			       "{\"vip\":\"192.0.2.40\",\"port\":80,\"protocol\":\"tcp\"," FROM(
				   "http://127.0.0.1:8500", "/t") "\"name\":\"other\"}",
			       &err),
	    -EKEYREJECTED);
	config_free(config);
}

#define EXEC(words) "{\"type\":\"exec\",\"command\":[" words "]}"
#define RUNS        "type: exec, command: [/usr/bin/check, $LBD_ADDRESS]"
#define THE_SAME    "\"/usr/bin/check\",\"$LBD_ADDRESS\""
#define OTHER(more)                                                      \
	"{\"vip\":\"192.0.2.40\",\"port\":80,\"protocol\":\"tcp\"," more \
	"\"backends\":[{\"address\":\"10.0.0.3\"}]}"

static void a_command_is_run_that_the_file_has_and_no_other(void **state)
{
	struct config *config = parse(
	    "services:\n  - { vip: 192.0.2.30, protocol: tcp, port: 80,\n"
	    "      backends: [{ address: 10.0.0.1 }], health: { checks: [{ type: tcp }, { " RUNS
	    " }] } }\n");
	static const char *const refused[] = {
	    SHOP("\"health\":" EXEC("\"/bin/sh\",\"-c\",\"id\"") ","),
	    SHOP("\"health\":" EXEC("\"/usr/bin/check\"") ","),
	    SHOP("\"health\":" EXEC(THE_SAME ",\"--more\"") ","),
	    SHOP("\"health\":{\"checks\":[" EXEC(THE_SAME) "," EXEC("\"/bin/sh\"") "]},"),
	};
	struct error err;

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(config_add_service(config, refused[i], &err), -EKEYREJECTED);
		if (!strstr(err.text, "service shop: health: command: /") ||
		    !strstr(err.text, ": expected the words of a command that a service in the "
				      "files of the config runs"))
			fail_msg("%s", err.text);
		assert_int_equal(config->services_count, 1);
	}
	add(config, SHOP("\"health\":" EXEC(THE_SAME) ","));
	/* one that is removed at run time is in the file as before */
	config_remove_service(config, 0);
	add(config, OTHER("\"health\":" EXEC(THE_SAME) ","));
	config_free(config);
}

static void a_command_of_the_defaults_is_of_the_file(void **state)
{
	struct config *config = parse("defaults: { health: { " RUNS " } }\nservices: []\n");
	struct error err;

	add(config, SHOP("\"health\":{\"rise\":9},"));
	assert_string_equal(config->services[0].health.command, "/usr/bin/check\n$LBD_ADDRESS");
	assert_int_equal(
	    config_add_service(config,
			       "{\"vip\":\"192.0.2.40\",\"port\":80,\"protocol\":\"tcp\","
			       "\"health\":{\"command\":[\"/bin/sh\"]},"
			       "\"backends\":[{\"address\":\"10.0.0.3\"}]}",
			       &err),
	    -EKEYREJECTED);
	/* nor is the one that was added a reason for the next */
	assert_int_equal(config_add_service(config, OTHER("\"health\":" EXEC(THE_SAME) ","), &err),
			 -EKEYREJECTED);
	config_free(config);
}

/* What a check of another type has there is not run. */
static void a_command_that_the_file_does_not_run_is_none(void **state)
{
	struct config *config = parse("services:\n  - { vip: 192.0.2.30, protocol: tcp, port: 80,\n"
				      "      backends: [{ address: 10.0.0.1 }],\n"
				      "      health: { type: none, command: [/bin/sh] } }\n");
	struct error err;

	assert_int_equal(
	    config_add_service(config, SHOP("\"health\":" EXEC("\"/bin/sh\"") ","), &err),
	    -EKEYREJECTED);
	config_free(config);
}

#define ONE "\"backends\":[{\"address\":\"10.0.0.2\"}]}"

static void what_is_wrong_is_refused_in_the_words_of_a_config_and_changes_nothing(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"port\":70000,\"protocol\":\"tcp\"," ONE,
	     "service shop: port: 70000: expected 1 to 65535 or any"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"sctp\"," ONE,
	     "service #1: protocol: sctp: expected tcp or udp"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80," ONE,
	     "service #1: protocol: missing: expected tcp or udp"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"algoritm\":\"lc\"," ONE,
	     "service #1: algoritm: unknown key: did you mean algorithm?"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"backends\":[]}",
	     "service #1: backends: empty: expected at least one"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"backends\":null}",
	     "service #1: backends: null: expected a list"},
	    {"{\"name\":\"web\",\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\"," ONE,
	     "service web: name: web: the service in the config has the same name: expected another"},
	    {"{\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":\"tcp\"," ONE,
	     "service #1: vip: 192.0.2.10: service web in the config has the same VIP, protocol and "
	     "port: expected others"},
	    {"{\"vip\":\"10.0.0.1\",\"port\":80,\"protocol\":\"tcp\"," ONE,
	     "service web: backend 10.0.0.1: address: 10.0.0.1: is the VIP of service #1: expected "
	     "the address of a backend"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"backends\":[{\"address\":"
	     "\"192.0.2.10\"}]}",
	     "service #1: backend 192.0.2.10: address: 192.0.2.10: is the VIP of service web: "
	     "expected the address of a backend"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"backends\":[{\"address\":"
	     "\"10.0.0.2\",\"name\":\"x\"},{\"address\":\"10.0.0.3\",\"name\":\"x\"}]}",
	     "service #1: backend 10.0.0.3: name: x: backend 10.0.0.2 has the same name: expected "
	     "another"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"slots\":4," ONE,
	     "service #1: slots: 4: expected a prime, such as 3 or 5"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"backends\":[{\"address\":"
	     "\"10.0.0.2\"},{\"address\":\"10.0.0.3\"},{\"address\":\"10.0.0.4\"},{\"address\":"
	     "\"10.0.0.5\"},{\"address\":\"10.0.0.6\"}]}",
	     "services: 6 backends in all: expected at most 5, see limits: backends"},
	    {"{\"vip\":\"192.0.2.20\",\"port\":80,\"protocol\":\"tcp\",\"deny\":{\"file\":"
	     "\"/no/such/file\"}," ONE,
	     "service #1: deny: /no/such/file: cannot open: No such file or directory"},
	    {"{}", "service #1: protocol: missing: expected tcp or udp"},
	};
	struct config *config = parse(CONFIG);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = {""};

		assert_int_equal(config_add_service(config, cases[i].text, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].says);
		assert_int_equal(config->services_count, 1);
	}
	config_free(config);
}

static void several_are_added_all_or_none(void **state)
{
	static const char *const texts[] = {
	    SHOP(""),
	    "{\"vip\":\"192.0.2.21\",\"port\":80,\"protocol\":\"tcp\"," ONE,
	    "{\"vip\":\"192.0.2.22\",\"port\":80,\"protocol\":\"tcp\"," ONE,
	};
	struct config *config = parse(CONFIG);
	struct error err = {""};

	/* the limit is three services */
	assert_int_equal(config_add_services(config, texts, 3, &err), -EINVAL);
	assert_true(*err.text);
	assert_int_equal(config->services_count, 1);
	assert_int_equal(config_add_services(config, texts, 2, &err), 0);
	assert_int_equal(config->services_count, 3);
	assert_string_equal(config->services[1].name, "shop");
	assert_string_equal(config->services[2].name, "192.0.2.21:80/tcp");
	assert_int_equal(config->services[2].file, CONFIG_RUNTIME);
	assert_int_equal(config->services[2].forward, LB_FORWARD_GUE);
	/* one text is one service */
	config_remove_services(config, (const bool[]){false, true, true});
	assert_int_equal(config->services_count, 1);
	assert_int_equal(config_add_service(config,
					    "{\"vip\":\"192.0.2.21\",\"port\":80,\"protocol\":"
					    "\"tcp\"," ONE ", {\"vip\":\"192.0.2.22\",\"port\":80,"
					    "\"protocol\":\"tcp\"," ONE,
					    &err),
			 -EINVAL);
	assert_int_equal(config->services_count, 1);
	config_free(config);
}

static void no_more_services_than_the_limit_are_added(void **state)
{
	struct config *config = parse("limits: { services: 1 }\nservices: []\n");
	struct error err;

	add(config, SHOP(""));
	assert_int_equal(config_add_service(config,
					    "{\"vip\":\"192.0.2.21\",\"port\":80,\"protocol\":"
					    "\"tcp\"," ONE,
					    &err),
			 -EINVAL);
	assert_string_equal(err.text,
			    "services: 2 services: expected at most 1, see limits: services");
	config_free(config);
}

static void a_service_is_removed_and_its_place_is_free(void **state)
{
	struct config *config = parse(CONFIG);

	add(config, SHOP(""));
	config_remove_service(config, 0);
	assert_int_equal(config->services_count, 1);
	assert_string_equal(config->services[0].name, "shop");
	add(config,
	    "{\"name\":\"web\",\"vip\":\"192.0.2.10\",\"port\":80,\"protocol\":\"tcp\"," ONE);
	assert_int_equal(config->services_count, 2);
	config_free(config);
}

static void a_copy_has_its_own_texts_of_checks(void **state)
{
	static const char text[] =
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backends: [{ address: 10.0.0.1 }],\n"
	    "      health: { type: http, method: HEAD, host: h, path: /p, headers: [\"A: b\"] } }\n"
	    "  - { name: b, vip: 192.0.2.1, protocol: tcp, port: 25, backends: [{ address: 10.0.0.1 }],\n"
	    "      health: { type: tcp, send: x, expect: y } }\n"
	    "  - { name: c, vip: 192.0.2.1, protocol: udp, port: 53, backends: [{ address: 10.0.0.1 }],\n"
	    "      health: { type: dns, name: example.com, record: AAAA, port: 53 } }\n";
	struct config *config = parse(text), *copy = NULL;

	assert_int_equal(config_copy(config, &copy), 0);
	for (unsigned i = 0; i < 3; i++) {
		const struct health_spec *from = &config->services[i].health,
					 *to = &copy->services[i].health;

		assert_true(health_spec_same(from, to));
		assert_ptr_not_equal(from->type, to->type);
		for (unsigned j = 0; j < HEALTH_TEXT_COUNT; j++)
			assert_true(!from->texts[j] || from->texts[j] != to->texts[j]);
	}
	config_free(config);
	assert_string_equal(copy->services[2].health.name, "example.com");
	config_free(copy);
}

static void a_copy_has_all_and_outlives_the_original(void **state)
{
	struct config *config = parse(CONFIG), *copy = NULL;

	assert_int_equal(config_copy(config, &copy), 0);
	config_free(config);
	assert_string_equal(copy->interfaces[1], "eth1");
	assert_string_equal(copy->metrics_hosts[0], "lb1");
	assert_string_equal(copy->metrics_token_file, "/etc/token");
	assert_string_equal(copy->announce.file, "/run/lbd/vrrp");
	assert_string_equal(copy->notify, "/usr/bin/tell all");
	assert_string_equal(copy->include, "conf.d/*.yaml");
	assert_string_equal(copy->services[0].name, "web");
	assert_string_equal(copy->services[0].health.type, "tcp");
	assert_string_equal(copy->services[0].backends[0].tag->labels[0].value, "a");
	assert_int_equal(copy->services[0].lists.deny->count, 1);
	add(copy, SHOP(""));
	assert_int_equal(copy->services[1].forward, LB_FORWARD_GUE);
	config_free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_service_is_added_with_its_keys_and_the_defaults),
	    cmocka_unit_test(a_service_is_added_without_any_defaults),
	    cmocka_unit_test(a_second_one_is_checked_against_the_first),
	    cmocka_unit_test(a_token_goes_only_to_servers_that_the_file_sends_it_to),
	    cmocka_unit_test(a_command_is_run_that_the_file_has_and_no_other),
	    cmocka_unit_test(a_command_of_the_defaults_is_of_the_file),
	    cmocka_unit_test(a_command_that_the_file_does_not_run_is_none),
	    cmocka_unit_test(what_is_wrong_is_refused_in_the_words_of_a_config_and_changes_nothing),
	    cmocka_unit_test(several_are_added_all_or_none),
	    cmocka_unit_test(no_more_services_than_the_limit_are_added),
	    cmocka_unit_test(a_service_is_removed_and_its_place_is_free),
	    cmocka_unit_test(a_copy_has_its_own_texts_of_checks),
	    cmocka_unit_test(a_copy_has_all_and_outlives_the_original),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
