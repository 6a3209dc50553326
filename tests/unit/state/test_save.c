/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/save.c: the text of the config with run-time changes in it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/test_addr.h"
#include "support/test_file.h"

#define HEAD "# of the shop\ndefaults: { health: { type: none } }\nservices:\n"
#define WEB                                                                                    \
	"  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n    backends:\n" \
	"      - address: 10.0.0.1 # old\n"
#define NAT_WEB                                                                 \
	"  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n" \
	"    forward: nat\n    backends:\n      - address: 10.0.0.1 # old\n"
#define NAT_SHOP                                                                       \
	"{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"protocol\":\"tcp\",\"port\":443," \
	"\"forward\":\"nat\",\"backends\":[{\"address\":\"10.0.0.1\"}]}"
#define SHOP                                                                                     \
	"{\"name\":\"shop\",\"vip\":\"192.0.2.20\",\"protocol\":\"tcp\",\"port\":443,"           \
	"\"backends\":[{\"address\":\"10.0.0.1\"},{\"address\":\"2001:DB8::2\",\"drain\":true}," \
	"{\"address\":\"10.0.0.3\",\"weight\":7}]}"

static char path[64];
static struct state state;
static struct sentences warnings;

static int set_up(void **unused)
{
	struct error err;
	int fd;

	strcpy(path, "/tmp/test_save.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	test_file_put(path, HEAD WEB);
	warnings = (struct sentences){0};
	state = (struct state){.config_path = path, .warnings = &warnings};
	if (config_load(path, &state.config, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int tear_down(void **unused)
{
	unlink(path);
	overrides_done(&state.overrides);
	config_free(state.config);
	sentences_done(&warnings);
	return 0;
}

static void add_service(const char *keys)
{
	struct config *config = state.config;
	struct error err;

	if (config_add_service(config, keys, &err))
		fail_msg("%s", err.text);
	assert_int_equal(overrides_add_service(&state.overrides,
					       &config->services[config->services_count - 1], keys),
			 0);
}

static void add_shop(void)
{
	add_service(SHOP);
}

static struct override *change(const char *service, const char *address)
{
	struct addr addr = test_addr(address);

	return overrides_get(&state.overrides, service, &addr);
}

static void add_backend(const char *service, const char *address)
{
	struct override *entry = change(service, address);

	entry->added = entry->has_weight = true;
	entry->weight = 9;
}

static void expect(const char *text)
{
	struct saved saved;
	struct error err;

	if (state_save(&state, &saved, &err))
		fail_msg("%s", err.text);
	assert_int_equal(saved.texts.list[0].length, strlen(text));
	assert_memory_equal(saved.texts.list[0].bytes, text, strlen(text));
	saved_done(&saved);
}

static void a_backend_of_the_last_service_is_no_backend_of_the_one_that_follows(void **unused)
{
	add_backend("web", "10.0.0.9");
	add_shop();
	expect(HEAD WEB "      - { address: 10.0.0.9, weight: 9 }\n"
			"  - name: shop\n    vip: 192.0.2.20\n    protocol: tcp\n    port: 443\n"
			"    backends:\n    - {address: 10.0.0.1}\n"
			"    - {address: '2001:DB8::2', drain: true}\n"
			"    - {address: 10.0.0.3, weight: 7}\n");
}

static void an_added_service_is_written_with_the_changes_of_its_backends(void **unused)
{
	const struct config_label label = {"zone", "a b"};
	struct override *entry;

	add_shop();
	entry = change("shop", "10.0.0.1");
	entry->has_weight = entry->drain = true;
	entry->weight = 3;
	change("shop", "2001:db8::2")->undrain = true;
	entry = change("shop", "10.0.0.3");
	entry->removed = entry->has_weight = entry->drain = true; /* as a file may have it */
	add_backend("shop", "10.0.0.4");
	entry = change("shop", "10.0.0.4");
	entry->tag = config_tag_new("four", "b", &label, 1);
	entry->priority = 2;
	entry->target.port = 8080;
	expect(
	    HEAD WEB
	    "  - name: shop\n    vip: 192.0.2.20\n    protocol: tcp\n    port: 443\n"
	    "    backends:\n    - {address: 10.0.0.1, weight: 3, drain: true}\n"
	    "    - {address: '2001:DB8::2', drain: false}\n"
	    "    - {address: 10.0.0.4, weight: 9, name: four, zone: b, priority: 2, health: {port: 8080}, labels: {zone: a b}}\n");
}

static void an_added_backend_is_written_with_what_it_is(void **unused)
{
	struct override *entry;

	add_backend("web", "10.0.0.8");
	entry = change("web", "10.0.0.8");
	entry->tag = config_tag_new(NULL, "eu-1", NULL, 0);
	entry->backup = true;
	entry->target = (struct config_target){
	    .port = 8080, .agent_port = 9, .address = test_addr("2001:db8::7")};
	expect(HEAD WEB "      - { address: 10.0.0.8, weight: 9, zone: \"eu-1\", backup: true, "
			"health: { port: 8080, address: \"2001:db8::7\", agent-port: 9 } }\n");
}

static void a_port_of_its_own_is_written_where_it_has_a_meaning(void **unused)
{
	add_backend("web", "10.0.0.8");
	change("web", "10.0.0.8")->port = 8081; /* of before a reload */
	expect(HEAD WEB "      - { address: 10.0.0.8, weight: 9 }\n");
	state.config->services[0].forward = LB_FORWARD_NAT;
	test_file_put(path, HEAD NAT_WEB);
	expect(HEAD NAT_WEB "      - { address: 10.0.0.8, weight: 9, port: 8081 }\n");
	add_service(NAT_SHOP);
	add_backend("shop", "10.0.0.9");
	change("shop", "10.0.0.9")->port = 8082;
	expect(HEAD NAT_WEB
	       "      - { address: 10.0.0.8, weight: 9, port: 8081 }\n"
	       "  - name: shop\n    vip: 192.0.2.20\n    protocol: tcp\n    port: 443\n"
	       "    forward: nat\n    backends:\n    - {address: 10.0.0.1}\n"
	       "    - {address: 10.0.0.9, weight: 9, port: 8082}\n");
}

static void what_comes_by_itself_is_not_written(void **unused)
{
	add_backend("web", "10.0.0.7");
	change("web", "10.0.0.7")->origin = ORIGIN_lease;
	expect(HEAD WEB);
	add_backend("web", "10.0.0.8");
	add_backend("web", "10.0.0.9");
	change("web", "10.0.0.9")->origin = ORIGIN_lease;
	change("web", "10.0.0.9")->drain = true;
	expect(HEAD WEB "      - { address: 10.0.0.8, weight: 9 }\n");
}

static void an_added_service_with_a_source_alone_gets_a_list_of_backends(void **unused)
{
	static const char text[] = "{\"name\":\"api\",\"vip\":\"192.0.2.30\",\"protocol\":\"tcp\","
				   "\"port\":443,\"backends-from\":{\"file\":\"/etc/lbd/api\"}}";
	struct config *config = state.config;
	struct error err;

	if (config_add_service(config, text, &err))
		fail_msg("%s", err.text);
	assert_int_equal(overrides_add_service(&state.overrides,
					       &config->services[config->services_count - 1], text),
			 0);
	add_backend("api", "10.0.0.8");
	add_backend("api", "10.0.0.9");
	change("api", "10.0.0.9")->origin = ORIGIN_source;
	expect(HEAD WEB "  - name: api\n    vip: 192.0.2.30\n    protocol: tcp\n    port: 443\n"
			"    backends-from: {file: /etc/lbd/api}\n"
			"    backends:\n    - {address: 10.0.0.8, weight: 9}\n");
}

static void a_removed_service_goes_and_another_comes(void **unused)
{
	assert_int_equal(overrides_add_service(&state.overrides, &state.config->services[0], NULL),
			 0);
	config_remove_service(state.config, 0);
	add_shop();
	change("shop", "10.0.0.1")->drain = true;
	expect(HEAD "  - name: shop\n    vip: 192.0.2.20\n    protocol: tcp\n    port: 443\n"
		    "    backends:\n    - {address: 10.0.0.1, drain: true}\n"
		    "    - {address: '2001:DB8::2', drain: true}\n"
		    "    - {address: 10.0.0.3, weight: 7}\n");
}

/* It is of the moment. */
static void a_state_is_not_saved_and_that_is_said(void **unused)
{
	struct override *entry = change("web", "10.0.0.1");
	struct saved saved;
	struct error err;

	entry->admin = ADMIN_MAINTENANCE;
	assert_int_equal(state_save(&state, &saved, &err), 0);
	assert_false(saved.changed[0]);
	assert_int_equal(saved.report.kept, 0);
	assert_int_equal(saved.report.dropped, 1);
	assert_string_equal(saved.report.notes[0].what, "state maintenance");
	saved_done(&saved);
	entry->has_weight = true;
	entry->weight = 7;
	assert_int_equal(state_save(&state, &saved, &err), 0);
	assert_true(saved.changed[0]);
	assert_non_null(strstr(saved.texts.list[0].bytes, "weight: 7"));
	assert_null(strstr(saved.texts.list[0].bytes, "maintenance"));
	assert_int_equal(saved.report.kept, 1);
	assert_int_equal(saved.report.dropped, 1);
	saved_done(&saved);
}

static void without_a_change_the_text_stays(void **unused)
{
	expect(HEAD WEB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_backend_of_the_last_service_is_no_backend_of_the_one_that_follows),
	    TEST(an_added_service_is_written_with_the_changes_of_its_backends),
	    TEST(a_removed_service_goes_and_another_comes),
	    TEST(a_state_is_not_saved_and_that_is_said),
	    TEST(what_comes_by_itself_is_not_written),
	    TEST(an_added_backend_is_written_with_what_it_is),
	    TEST(a_port_of_its_own_is_written_where_it_has_a_meaning),
	    TEST(an_added_service_with_a_source_alone_gets_a_list_of_backends),
	    TEST(without_a_change_the_text_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
