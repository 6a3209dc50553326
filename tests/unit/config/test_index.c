/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/config/index.c: what is found in a config at once is what a search finds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/config/config.h"
#include "support/test_addr.h"

static const char text[] =
    "services:\n"
    "  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80, backends: [\n"
    "      { address: 10.0.0.1, name: a }, { address: 10.0.0.2, name: b }] }\n"
    "  - { name: dns, vip: 192.0.2.10, protocol: udp, port: 53, forward: l2, backends: [\n"
    "      { address: 10.0.0.1, name: b }, { address: 10.0.0.3 }] }\n"
    "  - { vip: \"2001:db8::1\", protocol: tcp, port: any, backends: [{ address: 10.0.0.9 }] }\n";

static struct config *config;
static struct config_index found;

static int set_up(void **unused)
{
	struct error err;

	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config_index_make(config, &found);
}

static int tear_down(void **unused)
{
	config_index_done(&found);
	config_free(config);
	return 0;
}

static void services_are_found_by_name_and_by_endpoint(void **unused)
{
	struct addr vip = test_addr("192.0.2.10");

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		assert_ptr_equal(config_index_name(&found, service->name), service);
		assert_ptr_equal(
		    config_index_same(&found, &service->vip, service->protocol, service->port),
		    service);
	}
	assert_null(config_index_name(&found, "we"));
	assert_null(config_index_same(&found, &vip, CONFIG_TCP, 53));
	assert_null(config_index_same(&found, &vip, CONFIG_UDP, 80));
}

static void backends_are_found_in_their_service_alone(void **unused)
{
	struct addr three = test_addr("10.0.0.3");

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		for (unsigned j = 0; j < service->backends_count; j++) {
			const struct config_backend *backend = &service->backends[j];
			const char *name = config_tag_name(backend->tag);

			assert_ptr_equal(config_index_backend(&found, service, &backend->address),
					 backend);
			assert_ptr_equal(config_index_named(&found, service, name),
					 name ? backend : NULL);
		}
	}
	assert_null(config_index_backend(&found, &config->services[0], &three));
	assert_null(config_index_backend(&found, NULL, &three));
	assert_null(config_index_named(&found, &config->services[1], "a"));
	assert_null(config_index_named(&found, NULL, "a"));
}

static void an_address_is_refused_as_a_backend_in_the_same_words(void **unused)
{
	static const char *const addresses[] = {"192.0.2.10", "2001:db8::1", "127.0.0.1",
						"2001:db8::7", "10.0.0.7"};

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		for (unsigned j = 0; j < config->services_count; j++) {
			const struct config_service *service = &config->services[j];
			struct addr address = test_addr(addresses[i]);
			struct error one = {""}, other = {""};

			assert_int_equal(
			    config_index_check_backend(&found, service, &address, 0, &one),
			    config_check_backend(config, service, &address, 0, &other));
			assert_string_equal(one.text, other.text);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(services_are_found_by_name_and_by_endpoint),
	    TEST(backends_are_found_in_their_service_alone),
	    TEST(an_address_is_refused_as_a_backend_in_the_same_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
