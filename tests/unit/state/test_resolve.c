/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/resolve.c: what services and backends may be called. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"
#include "support/test_addr.h"

#define SERVICES 6

/* Two services on one VIP and port, two of one VIP that differ in port, and two of IPv6; the last
 * one has the name of another's VIP. */
static struct config_service configs[SERVICES] = {
    {.name = "dns", .protocol = CONFIG_UDP, .port = 53},
    {.name = "dns-tcp", .protocol = CONFIG_TCP, .port = 53},
    {.name = "web", .protocol = CONFIG_TCP, .port = 80},
    {.name = "all", .protocol = CONFIG_UDP, .port = 0},
    {.name = "web6", .protocol = CONFIG_TCP, .port = 80},
    {.name = "192.0.2.10", .protocol = CONFIG_TCP, .port = 443},
};
static struct service services[SERVICES], *list[SERVICES];
static struct state scene = {.world = {list, SERVICES}};

static int set_up(void **unused)
{
	static const char *const vips[SERVICES] = {"192.0.2.53", "192.0.2.53",   "192.0.2.10",
						   "192.0.2.11", "2001:db8::10", "2001:db8::11"};

	for (unsigned i = 0; i < SERVICES; i++) {
		configs[i].vip = test_addr(vips[i]);
		services[i].config = &configs[i];
		list[i] = &services[i];
	}
	return 0;
}

static void expect_service(const char *text, const char *name)
{
	struct service *found = NULL;
	struct error err = {""};

	if (state_resolve_service(&scene, text, &found, &err))
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(found->config->name, name);
}

static void expect_none(const char *text, int code, const char *says)
{
	struct service *found = NULL;
	struct error err = {""};

	assert_int_equal(state_resolve_service(&scene, text, &found, &err), code);
	assert_null(found);
	assert_string_equal(err.text, says);
}

static void a_service_goes_by_its_name_and_by_what_of_its_endpoint_is_unique(void **unused)
{
	expect_service("web", "web");
	expect_service("192.0.2.11", "all");
	expect_service("192.0.2.11:any", "all");
	expect_service("192.0.2.11:any/udp", "all");
	expect_service("192.0.2.53:53/tcp", "dns-tcp");
	expect_service("192.0.2.53/udp", "dns");
	expect_service("2001:db8::10", "web6");
	expect_service("[2001:db8::10]", "web6");
	expect_service("[2001:DB8:0::10]:80", "web6");
	expect_service("[2001:db8::11]:443/tcp", "192.0.2.10");
}

static void a_name_comes_before_a_vip(void **unused)
{
	expect_service("192.0.2.10", "192.0.2.10");
	expect_service("192.0.2.10:80", "web");
}

static void what_several_services_have_names_them(void **unused)
{
	expect_none("192.0.2.53", -EINVAL,
		    "service \"192.0.2.53\": 2 services have it: expected one of dns, dns-tcp");
	expect_none("192.0.2.53:53", -EINVAL,
		    "service \"192.0.2.53:53\": 2 services have it: expected one of dns, dns-tcp");
}

static void what_no_service_has_is_none(void **unused)
{
	static const char *const texts[] = {
	    "192.0.2.99",       "192.0.2.10:81",     "192.0.2.10:80/udp", "192.0.2.10:80/sctp",
	    "192.0.2.10:",      "192.0.2.10:0",      "192.0.2.10:65616",  "192.0.2.10:80x",
	    "[192.0.2.10]:80",  "2001:db8::10:80",   "[2001:db8::10",     "[2001:db8::10]x",
	    "192.0.2.10:+80",   "192.0.2.10:anyway", "192.0.2.10 :80",    "",
	    "192.0.2.10/tcp:80"};
	char says[128];

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(says, sizeof(says), "service \"%s\": no such service", texts[i]);
		expect_none(texts[i], -ENOENT, says);
	}
}

/* ---- backends ---- */

static void a_backend_goes_by_its_address_and_its_name(void **unused)
{
	struct config_tag *tags[2] = {config_tag_new("web-1", NULL, NULL, 0),
				      config_tag_new("web-2", NULL, NULL, 0)};
	struct backend backends[3] = {
	    {.address = test_addr("10.0.0.1"), .tag = tags[0], .removed = true},
	    {.address = test_addr("10.0.0.2"), .tag = tags[0]},
	    {.address = test_addr("10.0.0.3"), .tag = tags[1], .removed = true}};
	struct backend *members[3] = {&backends[0], &backends[1], &backends[2]};
	struct service service = {.config = &configs[2], .backends = members, .backends_count = 3};
	struct error err;
	struct addr got;

	/* one that drains to be removed has left its name to another */
	assert_int_equal(service_resolve_backend(&service, "web-1", &got, &err), 0);
	assert_true(addr_equal(&got, &backends[1].address));
	assert_int_equal(service_resolve_backend(&service, "web-2", &got, &err), 0);
	assert_true(addr_equal(&got, &backends[2].address));
	assert_int_equal(service_resolve_backend(&service, "10.0.0.99", &got, &err), 0);
	assert_int_equal(service_resolve_backend(&service, "web-3", &got, &err), -ENOENT);
	assert_string_equal(err.text, "service web: backend \"web-3\": no such backend");
	assert_int_equal(service_resolve_backend(&service, "10.0.0", &got, &err), -EINVAL);
	config_tag_unref(tags[0]);
	config_tag_unref(tags[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_service_goes_by_its_name_and_by_what_of_its_endpoint_is_unique),
	    cmocka_unit_test(a_name_comes_before_a_vip),
	    cmocka_unit_test(what_several_services_have_names_them),
	    cmocka_unit_test(what_no_service_has_is_none),
	    cmocka_unit_test(a_backend_goes_by_its_address_and_its_name),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
