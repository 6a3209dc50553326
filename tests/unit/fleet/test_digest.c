/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/fleet/digest.c: which configs count as the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/fleet/digest.h"
#include "support/test_registry.h"

/* zone: of the node; NULL: none. */
static uint64_t digest_in(const char *zone, const char *services)
{
	struct config *config = NULL;
	struct error err;
	char text[2048];
	uint64_t digest;

	snprintf(text, sizeof(text), "services:\n%s", services);
	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	digest = config_digest(config, zone);
	config_free(config);
	return digest;
}

static uint64_t digest_of(const char *services)
{
	return digest_in(NULL, services);
}

/* Of a service with these keys. */
static uint64_t digest_with(const char *keys)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "- { name: web, vip: 192.0.2.1, protocol: tcp, port: 80, %s }\n", keys);
	return digest_of(text);
}

#define WEB      "- { vip: 192.0.2.1, protocol: tcp, port: 80, "
#define SHOP     "- { vip: 192.0.2.2, protocol: tcp, port: 80, "
#define BACKENDS "backends: [{ address: 10.0.0.1 }, { address: 10.0.0.2 }]"
#define SWAPPED  "backends: [{ address: 10.0.0.2 }, { address: 10.0.0.1 }]"
#define SOURCE   "backends-from: "

LB_TEST(order_and_names_do_not_count)
{
	assert_true(digest_of(WEB BACKENDS " }\n" SHOP BACKENDS " }\n") ==
		    digest_of(SHOP SWAPPED ", name: shop }\n" WEB BACKENDS " }\n"));
}

LB_TEST(backends_and_weights_count)
{
	uint64_t digest = digest_with(BACKENDS);

	assert_true(digest == digest_with(SWAPPED));
	assert_false(digest == digest_with("backends: [{ address: 10.0.0.1 }]"));
	assert_false(digest == digest_with("backends: [{ address: 10.0.0.1 }, "
					   "{ address: 10.0.0.2, weight: 50 }]"));
	assert_false(digest == digest_with(BACKENDS ", algorithm: source-hash"));
}

LB_TEST(priorities_and_zones_count)
{
	uint64_t digest = digest_with(BACKENDS);

	assert_false(digest == digest_with("backends: [{ address: 10.0.0.1 }, "
					   "{ address: 10.0.0.2, priority: 1 }]"));
	assert_false(digest == digest_with("backends: [{ address: 10.0.0.1 }, "
					   "{ address: 10.0.0.2, zone: a }]"));
}

/* Their rings are not the same. */
LB_TEST(the_zone_of_the_node_counts_where_backends_have_zones)
{
	static const char zones[] =
	    WEB "backends: [{ address: 10.0.0.1, zone: a }, { address: 10.0.0.2, zone: b }] }\n";

	assert_true(digest_in("a", WEB BACKENDS " }\n") == digest_in("b", WEB BACKENDS " }\n"));
	assert_true(digest_in("a", zones) == digest_in("a", zones));
	assert_false(digest_in("a", zones) == digest_in("b", zones));
	assert_false(digest_in("a", zones) == digest_in(NULL, zones));
}

/* A reply that comes to another node must be known there. */
LB_TEST(nat_and_its_ports_count)
{
	uint64_t nat = digest_with(BACKENDS ", forward: nat");

	assert_false(nat == digest_with(BACKENDS));
	assert_true(digest_with(BACKENDS ", forward: gre") == digest_with(BACKENDS));
	assert_true(nat == digest_with(BACKENDS ", forward: nat, backend-port: 80"));
	assert_false(nat == digest_with(BACKENDS ", forward: nat, backend-port: 81"));
	assert_false(nat == digest_with("forward: nat, backends: [{ address: 10.0.0.1 }, "
					"{ address: 10.0.0.2, port: 81 }]"));
}

#define NAT(prefix) WEB BACKENDS " }\nnat: { prefix: '" prefix "' }\n"

LB_TEST(the_prefix_of_clients_counts)
{
	const uint64_t digest = digest_of(NAT("2001:db8:46::/96"));

	assert_true(digest == digest_of(NAT("2001:db8:46::/96")));
	assert_false(digest == digest_of(WEB BACKENDS " }\n"));
	assert_false(digest == digest_of(NAT("2001:db8:47::/96")));
	assert_false(digest == digest_of(NAT("2001:db8:46::/64")));
}

#define CONSUL     SOURCE "{ consul: 'http://127.0.0.1:8500', "
#define KUBERNETES SOURCE "{ kubernetes: 'http://127.0.0.1:8001', namespace: shop, "

LB_TEST(what_names_the_backends_counts)
{
	uint64_t file = digest_with(SOURCE "{ file: /a }");

	assert_true(file == digest_with(SOURCE "{ file: /a }"));
	assert_false(file == digest_with(SOURCE "{ file: /b }"));
	assert_false(file == digest_with(SOURCE "{ file: /a, min: 2 }"));
	assert_false(digest_with(BACKENDS) == digest_with(BACKENDS ", " SOURCE "{ file: /a }"));
	assert_false(digest_with(SOURCE "{ dns: a.example }") ==
		     digest_with(SOURCE "{ dns: a.example, record: aaaa }"));
	assert_false(digest_with(SOURCE "{ etcd: 'http://10.9.0.1:2379', prefix: /a/ }") ==
		     digest_with(SOURCE "{ etcd: 'http://10.9.0.1:2379', prefix: /b/ }"));
	assert_false(digest_with(CONSUL "service: a }") == digest_with(CONSUL "service: b }"));
	assert_false(digest_with(CONSUL "service: a, tag: b }") ==
		     digest_with(CONSUL "service: a, datacenter: b }"));
	assert_false(digest_with(KUBERNETES "service: a }") ==
		     digest_with(KUBERNETES "service: a, port: http }"));
	assert_false(digest_with(KUBERNETES "service: a }") ==
		     digest_with(KUBERNETES "service: a, family: ipv6 }"));
}

LB_TEST(each_node_may_ask_a_server_of_its_own)
{
	assert_true(digest_with(SOURCE "{ dns: a.example, server: 10.9.0.1 }") ==
		    digest_with(SOURCE "{ dns: a.example }"));
	assert_true(digest_with(SOURCE "{ etcd: 'http://10.9.0.1:2379', prefix: /a/ }") ==
		    digest_with(SOURCE "{ etcd: 'http://127.0.0.1:2379', prefix: /a/ }"));
	assert_true(
	    digest_with(SOURCE "{ consul: 'http://[::1]:8500', service: a, token-file: /t }") ==
	    digest_with(CONSUL "service: a }"));
}

LB_TEST_MAIN("digest")
