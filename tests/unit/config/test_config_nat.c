/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `forward: nat` in the config: ports of backends, clients past the VIPs, and that a real is of one
 * service, in a file and when a backend is added. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lb_abi.h"
#include "lbd/config/config.h"
#include "support/test_addr.h"

/* A service in one line; its backends follow. */
#define NAT(name, vip, rest) \
	"  - { name: " name ", vip: " vip ", protocol: tcp, forward: nat, " rest " }\n"

static struct config *parse(const char *yaml)
{
	struct config *config = NULL;
	struct error err = {""};

	if (config_parse(yaml, strlen(yaml), "lbd.yaml", &config, &err))
		fail_msg("%s\n%s", err.text, yaml);
	return config;
}

static void expect_refused(const char *promise, const char *yaml, const char *error)
{
	struct config *config = NULL;
	struct error err = {""};
	int rc = config_parse(yaml, strlen(yaml), "lbd.yaml", &config, &err);

	if (rc != -EINVAL || strcmp(err.text, error) != 0)
		fail_msg("%s: %d \"%s\", expected \"%s\"", promise, rc, err.text, error);
}

/* ---- keys ---- */

static void what_has_no_meaning_is_refused(void **unused)
{
	static const char port_for_ipip[] = "has no meaning without `forward: nat`: a backend gets "
					    "packets at the VIP's port";
	char text[256];

	snprintf(text, sizeof(text), "lbd.yaml:2: service a: backend 10.0.0.1: port: 81: %s",
		 port_for_ipip);
	expect_refused("a_port_of_a_backend_behind_a_tunnel",
		       "services:\n"
		       "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backends: [{ "
		       "address: 10.0.0.1, port: 81 }] }\n",
		       text);
	snprintf(text, sizeof(text), "lbd.yaml:2: service a: backend-port: 81: %s", port_for_ipip);
	expect_refused("a_port_of_all_backends_behind_a_tunnel",
		       "services:\n"
		       "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backend-port: 81, "
		       "backends: [{ address: 10.0.0.1 }] }\n",
		       text);
	expect_refused(
	    "a_port_where_clients_choose_it",
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: any, backends: [{ address: 10.0.0.1, port: 81 }]"),
	    "lbd.yaml:2: service a: backend 10.0.0.1: port: 81: has no meaning with `port: any`: "
	    "packets keep the port that the client sent them to");
	expect_refused("port_0",
		       "services:\n" NAT("a", "192.0.2.1",
					 "port: 80, backends: [{ address: 10.0.0.1, port: 0 }]"),
		       "lbd.yaml:2: service a: backend 10.0.0.1: port: 0: expected 1 to 65535");
	expect_refused(
	    "a_backend_of_the_other_family",
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: 80, backends: [{ address: \"2001:db8::1\" }]"),
	    "lbd.yaml:2: service a: backend 2001:db8::1: address: 2001:db8::1: expected an IPv4 "
	    "address like the VIP: with `forward: nat` IPv4 clients reach an IPv6 backend by `nat: { "
	    "prefix: PREFIX }` alone");
	expect_refused(
	    "a_backend_of_ipv4_behind_a_vip_of_ipv6",
	    "nat: { prefix: \"2001:db8:46::/96\" }\n"
	    "services:\n" NAT("a", "\"2001:db8::1\"",
			      "port: 80, backends: [{ address: 10.0.0.1 }]"),
	    "lbd.yaml:3: service a: backend 10.0.0.1: address: 10.0.0.1: expected an IPv6 address "
	    "like the VIP: with `forward: nat` an IPv4 backend cannot be told the address of an "
	    "IPv6 client");
	expect_refused("a_check_to_the_vip",
		       "services:\n" NAT("a", "192.0.2.1",
					 "port: 80, health: { to: vip }, backends: [{ address: "
					 "10.0.0.1 }]"),
		       "lbd.yaml:2: service a: health: to: vip: has no meaning with `forward: "
		       "nat`, whose backends do not have the VIP: expected backend");
	expect_refused(
	    "one_of_several_checks_to_the_vip",
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: 80, health: { checks: [{ to: backend }, { type: icmp, to: vip "
			      "}] }, backends: [{ address: 10.0.0.1 }]"),
	    "lbd.yaml:2: service a: health: check #2: to: vip: has no meaning with `forward: nat`, "
	    "whose backends do not have the VIP: expected backend");
}

static void wrong_prefixes_past_the_vips_are_refused(void **unused)
{
	static const char form[] = "expected a prefix of /1 or longer with no bits beyond it, such "
				   "as 10.9.0.0/16 or 2001:db8:9::/64";
	char text[256], many[512] = "nat: { direct: [10.0.0.0/24";

	snprintf(text, sizeof(text), "lbd.yaml:1: nat: direct: 10.9.0.0/8: %s", form);
	expect_refused("bits_beyond_it", "nat: { direct: [10.9.0.0/8] }\nservices: []\n", text);
	snprintf(text, sizeof(text), "lbd.yaml:1: nat: direct: 10.9.0.1: %s", form);
	expect_refused("no_length", "nat: { direct: [10.9.0.1] }\nservices: []\n", text);
	snprintf(text, sizeof(text), "lbd.yaml:1: nat: direct: 0.0.0.0/0: %s", form);
	expect_refused("everybody", "nat: { direct: [0.0.0.0/0] }\nservices: []\n", text);
	expect_refused("twice", "nat: { direct: [10.0.0.0/8, 10.0.0.0/8] }\nservices: []\n",
		       "lbd.yaml:1: nat: direct: 10.0.0.0/8: listed twice: expected once");
	for (int i = 1; i <= CONFIG_DIRECT_MAX; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), ", 10.0.%d.0/24", i);
	strcat(many, "] }\nservices: []\n");
	expect_refused("too_many", many,
		       "lbd.yaml:1: nat: direct: 17 prefixes: expected at most 16");
}

static void wrong_prefixes_of_clients_are_refused(void **unused)
{
	static const struct {
		const char *promise, *prefix;
	} cases[] = {
	    {"not_of_ipv6", "10.0.0.0/8"},
	    {"a_length_that_none_has", "2001:db8:46::/80"},
	    {"longer_than_any", "2001:db8::/104"},
	    {"shorter_than_any", "2001:d00::/24"},
	    {"no_length_of_whole_bytes", "2001:db8::/44"},
	    {"no_length", "2001:db8::"},
	    {"bits_beyond_it_of_a_prefix", "2001:db8:46::1/96"},
	    {"bits_64_to_71", "2001:db8:0:0:ff00::/96"},
	};
	char text[256], says[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "nat: { prefix: \"%s\" }\nservices: []\n",
			 cases[i].prefix);
		snprintf(says, sizeof(says),
			 "lbd.yaml:1: nat: prefix: %s: expected an IPv6 prefix of /32, /40, /48, "
			 "/56, /64 or /96 with no bits beyond it, such as 2001:db8:46::/96",
			 cases[i].prefix);
		expect_refused(cases[i].promise, text, says);
	}
	expect_refused(
	    "clients_past_the_vips",
	    "nat: { direct: [\"2001:db8:46::/48\"], prefix: \"2001:db8:46::/96\" }\n"
	    "services: []\n",
	    "lbd.yaml:1: nat: prefix: 2001:db8:46::/96: has addresses of `direct` in it: "
	    "expected others");
}

static void backends_of_ipv6_behind_a_vip_of_ipv4(void **unused)
{
	struct config *config =
	    parse("nat: { prefix: \"64:ff9b::/96\" }\n"
		  "services:\n" NAT("a", "192.0.2.1",
				    "port: 80, backends: [{ address: \"2001:db8::1\" }, { address: "
				    "10.0.0.1 }]")
		      NAT("b", "\"2001:db8:5::1\"",
			  "port: 80, backends: [{ address: \"2001:db8::1\" }]"));
	struct addr other = test_addr("2001:db8::2"), shared = test_addr("2001:db8::1");
	struct error err = {""};

	assert_int_equal(config->nat.prefix.length, 96);
	assert_int_equal(config_check_backend(config, &config->services[0], &other, 0, &err), 0);
	assert_int_equal(config_add_service(config,
					    "{\"name\": \"c\", \"vip\": \"192.0.2.2\", "
					    "\"protocol\": \"tcp\", \"port\": 80, \"forward\": "
					    "\"nat\", \"backends\": [{\"address\": "
					    "\"2001:db8::2\"}]}",
					    &err),
			 0);
	/* the real of another service with clients of IPv4 */
	assert_int_equal(config_check_backend(config, &config->services[2], &shared, 0, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "is of service a already"));
	config_free(config);
}

static void assert_addr(const struct addr *is, const char *expected)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(is, text), expected);
}

static void ports_of_backends_are_their_own_the_services_or_the_vips(void **unused)
{
	struct config *config = parse(
	    "nat: { direct: [10.9.0.0/16, \"2001:db8:9::/64\"] }\n"
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: 80, backend-port: 8080, backends: [{ address: 10.0.0.1 }, { "
			      "address: 10.0.0.2, port: 8081 }]")
		NAT("b", "192.0.2.2", "port: 81, backends: [{ address: 10.0.0.1 }]")
		    NAT("c", "192.0.2.3", "port: any, backends: [{ address: 10.0.0.3 }]"));
	const struct config_service *a = &config->services[0], *b = a + 1, *c = a + 2;

	assert_int_equal(a->forward, LB_FORWARD_NAT);
	assert_int_equal(config_real_port(a, 0), 8080);
	assert_null(config_why_no_port(a));
	assert_int_equal(config_real_port(c, 9000), 0); /* as one that came at run time may have */
	assert_non_null(strstr(config_why_no_port(c), "has no meaning with `port: any`"));
	assert_int_equal(config_real_port(a, a->backends[0].port), 8080);
	assert_int_equal(config_real_port(a, a->backends[1].port), 8081);
	assert_int_equal(config_real_port(b, b->backends[0].port), 81);
	assert_int_equal(config_real_port(c, c->backends[0].port), 0);
	assert_int_equal(config->nat.direct_count, 2);
	assert_addr(&config->nat.direct[0].addr, "10.9.0.0");
	assert_int_equal(config->nat.direct[0].length, 16);
	assert_addr(&config->nat.direct[1].addr, "2001:db8:9::");
	assert_int_equal(config->nat.direct[1].length, 64);
	config_free(config);
}

static void an_inherited_check_to_the_vip_goes_to_the_backend(void **unused)
{
	struct config *config = parse(
	    "defaults: { forward: nat, health: { checks: [{ type: tcp, to: vip }, { type: icmp, to: "
	    "vip }] } }\n"
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backends: [{ address: "
	    "10.0.0.1 }] }\n"
	    "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 80, forward: ipip, backends: [{ "
	    "address: 10.0.0.1 }] }\n");

	assert_false(health_spec_to_vip(&config->services[0].health));
	assert_true(health_spec_to_vip(&config->services[1].health));
	config_free(config);
}

/* ---- one real, one service ---- */

#define SAYS                                                                                     \
	": a reply from there is of one service with `forward: nat` alone, so expected another " \
	"address or port"

static void two_services_do_not_share_a_real(void **unused)
{
	expect_refused(
	    "the_same_port",
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: 80, backend-port: 8080, backends: [{ "
			      "address: 10.0.0.1 }]")
		NAT("b", "192.0.2.2", "port: 8080, backends: [{ address: 10.0.0.1 }]"),
	    "lbd.yaml:3: service b: backend 10.0.0.1: address: 10.0.0.1: service a in line 2 has "
	    "10.0.0.1:8080/tcp too" SAYS);
	expect_refused(
	    "any_port_and_one",
	    "services:\n" NAT("a", "192.0.2.1", "port: 80, backends: [{ address: 10.0.0.1 }]")
		NAT("b", "192.0.2.2", "port: any, backends: [{ address: 10.0.0.1 }]"),
	    "lbd.yaml:2: service a: backend 10.0.0.1: address: 10.0.0.1: service b in line 3 has "
	    "10.0.0.1:any/tcp too" SAYS);
	expect_refused(
	    "any_port_and_the_last_of_many",
	    "services:\n" NAT("a", "192.0.2.1",
			      "port: any, backends: [{ address: \"10.0.0.1\" }, { address: "
			      "10.0.0.7 }]")
		NAT("b", "192.0.2.2",
		    "port: 1, backends: [{ address: 10.0.0.2 }, { address: 10.0.0.7, port: 65535 "
		    "}]"),
	    "lbd.yaml:3: service b: backend 10.0.0.7: address: 10.0.0.7: service a in line 2 has "
	    "10.0.0.7:any/tcp too" SAYS);
	expect_refused(
	    "of_ipv6",
	    "services:\n" NAT("a", "\"2001:db8::1\"",
			      "port: 80, backends: [{ address: \"2001:db8:b::1\" }]")
		NAT("b", "\"2001:db8::2\"", "port: 80, backends: [{ address: \"2001:db8:b::1\" }]"),
	    "lbd.yaml:3: service b: backend 2001:db8:b::1: address: 2001:db8:b::1: service a in "
	    "line 2 has [2001:db8:b::1]:80/tcp too" SAYS);
}

static void count_mistake(void *arg, const char *sentence, size_t mistakes)
{
	unsigned *count = arg;

	*count += !!strstr(sentence, "10.0.0.1:any/tcp too");
}

static void each_port_that_meets_any_port_is_named(void **unused)
{
	static const char text[] =
	    "services:\n" NAT("a", "192.0.2.1", "port: any, backends: [{ address: 10.0.0.1 }]")
		NAT("b", "192.0.2.2", "port: 80, backends: [{ address: 10.0.0.1 }]")
		    NAT("c", "192.0.2.3", "port: 81, backends: [{ address: 10.0.0.1 }]");
	struct config *config = NULL;
	struct error err = {""};
	unsigned count = 0;

	assert_int_equal(
	    config_parse_all(text, strlen(text), "lbd.yaml", count_mistake, &count, &config, &err),
	    -EINVAL);
	assert_int_equal(count, 2);
}

static void other_ports_protocols_and_tunnels_share_an_address(void **unused)
{
	config_free(parse(
	    "services:\n" NAT("a", "192.0.2.1", "port: 80, backends: [{ address: 10.0.0.1 }]") NAT(
		"b", "192.0.2.2",
		"port: 80, backends: [{ address: 10.0.0.1, port: 81 }, { address: 10.0.0.2 }]") "  - { vip: 192.0.2.1, protocol: udp, port: 80, forward: nat, backends: [{ address: "
												"10.0.0.1 }] }\n"
												"  - { vip: 192.0.2.3, protocol: tcp, port: 80, backends: [{ address: 10.0.0.1 }] }\n"
												"  - { vip: 192.0.2.4, protocol: tcp, port: 80, backends: [{ address: 10.0.0.1 }] "
												"}\n"));
}

/* What a run-time change, a source or a registration asks. */
static void a_backend_that_is_added_is_refused_with_the_other_service(void **unused)
{
	struct config *config = parse(
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, backend-port: 8080, forward: nat,\n"
	    "      backends: [{ address: 10.0.0.1 }] }\n"
	    "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 8080, forward: nat,\n"
	    "      backends: [{ address: 10.0.0.2 }] }\n"
	    "  - { name: c, vip: 192.0.2.3, protocol: tcp, port: 9000, forward: nat,\n"
	    "      backends: [{ address: 10.0.0.3 }] }\n"
	    "  - { name: d, vip: 192.0.2.4, protocol: tcp, port: any, forward: nat,\n"
	    "      backends: [{ address: 10.0.0.4 }] }\n"
	    "  - { name: e, vip: 192.0.2.5, protocol: tcp, port: 8080,\n"
	    "      backends: [{ address: 10.0.0.5 }] }\n"
	    "  - { name: f, vip: 192.0.2.6, protocol: udp, port: 8080, forward: nat,\n"
	    "      backends: [{ address: 10.0.0.6 }] }\n");
	static const struct {
		unsigned service;
		uint16_t port;
		const char *address, *says;
	} cases[] = {
	    {1, 0, "10.0.0.1", "10.0.0.1:8080/tcp is of service a already: *"},
	    {2, 0, "10.0.0.1", NULL},
	    {3, 0, "10.0.0.1", "10.0.0.1:any/tcp is of service a already: *"},
	    {0, 0, "10.0.0.4", "10.0.0.4:8080/tcp is of service d already: *"},
	    {0, 0, "10.0.0.1", NULL}, /* its own */
	    {0, 0, "10.0.0.5", NULL},
	    {0, 0, "10.0.0.6", NULL}, /* of UDP */
	    {4, 0, "10.0.0.1", NULL},
	    {1, 8081, "10.0.0.1", NULL}, /* it is beside the one of a */
	    {2, 8080, "10.0.0.1", "10.0.0.1:8080/tcp is of service a already: *"},
	    {0, 0, "2001:db8::1",
	     "expected an address of the VIP's family: with `forward: nat` IPv4 clients reach an IPv6 "
	     "backend by `nat: { prefix: PREFIX }` alone"},
	};
	struct config_index index;

	assert_int_equal(config_index_make(config, &index), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct config_service *service = &config->services[cases[i].service];
		struct addr address = test_addr(cases[i].address);
		struct error one = {""}, other = {""};
		size_t length = cases[i].says ? strcspn(cases[i].says, "*") : 0;
		int rc = config_check_backend(config, service, &address, cases[i].port, &one);

		assert_int_equal(rc, cases[i].says ? -EINVAL : 0);
		if (cases[i].says && strncmp(one.text, cases[i].says, length) != 0)
			fail_msg("%s: \"%s\", expected \"%s\"", cases[i].address, one.text,
				 cases[i].says);
		assert_int_equal(
		    config_index_check_backend(&index, service, &address, cases[i].port, &other),
		    rc);
		assert_string_equal(one.text, other.text);
	}
	config_index_done(&index);
	config_free(config);
}

static void a_service_that_is_added_is_refused_in_the_words_of_a_file(void **unused)
{
	struct config *config = parse(
	    "services:\n" NAT("a", "192.0.2.1", "port: 80, backends: [{ address: 10.0.0.1 }]"));
	struct error err = {""};

	assert_int_equal(config_add_service(config,
					    "{\"name\": \"b\", \"vip\": \"192.0.2.2\", "
					    "\"protocol\": \"tcp\", \"port\": 443, "
					    "\"backend-port\": 80, \"forward\": \"nat\", "
					    "\"backends\": [{\"address\": \"10.0.0.1\"}]}",
					    &err),
			 -EINVAL);
	if (!strstr(err.text, "service a") || !strstr(err.text, "has 10.0.0.1:80/tcp too"))
		fail_msg("%s", err.text);
	assert_int_equal(config->services_count, 1);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_has_no_meaning_is_refused),
	    cmocka_unit_test(wrong_prefixes_past_the_vips_are_refused),
	    cmocka_unit_test(wrong_prefixes_of_clients_are_refused),
	    cmocka_unit_test(backends_of_ipv6_behind_a_vip_of_ipv4),
	    cmocka_unit_test(ports_of_backends_are_their_own_the_services_or_the_vips),
	    cmocka_unit_test(an_inherited_check_to_the_vip_goes_to_the_backend),
	    cmocka_unit_test(two_services_do_not_share_a_real),
	    cmocka_unit_test(each_port_that_meets_any_port_is_named),
	    cmocka_unit_test(other_ports_protocols_and_tunnels_share_an_address),
	    cmocka_unit_test(a_backend_that_is_added_is_refused_with_the_other_service),
	    cmocka_unit_test(a_service_that_is_added_is_refused_in_the_words_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
