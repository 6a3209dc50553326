/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/diff.c: what a reload would change, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lbd/state/internal.h"

#define WEB(more, backends)                                                                       \
	"  - { name: web, vip: 192.0.2.10, protocol: tcp, port: 80" more ", backends: [" backends \
	"] }\n"
#define ONE "{ address: 10.0.0.1 }"
#define TWO "{ address: 10.0.0.2 }"

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	struct error err;

	if (config_parse(text, strlen(text), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static struct override *change(struct overrides *overrides, const char *text)
{
	struct addr address;

	assert_int_equal(addr_parse(text, &address), 0);
	return overrides_get(overrides, "web", &address);
}

/* The sentences between two texts, with the run-time changes of the old side; NULL ends them. */
static void expect(const char *old, const struct overrides *overrides, const char *new,
		   const char *const *sentences)
{
	const struct overrides none = {0};
	struct config *before = parse(old), *after = parse(new);
	const struct diff_side now = {before, overrides ? overrides : &none}, next = {after, &none};
	struct sentences got = {0};
	unsigned i = 0;

	assert_int_equal(diff_sides(&now, &next, &got), 0);
	for (; sentences[i]; i++) {
		assert_true(i < got.count);
		assert_string_equal(got.list[i], sentences[i]);
	}
	if (i != got.count)
		fail_msg("also: %s", got.list[i]);
	sentences_done(&got);
	config_free(before);
	config_free(after);
}

#define EXPECT(old, overrides, new, ...) \
	expect(old, overrides, new, (const char *const[]){__VA_ARGS__ NULL})

static void the_same_file_changes_nothing(void **state)
{
	EXPECT("services:\n" WEB("", ONE ", " TWO), NULL, "services:\n" WEB("", TWO ", " ONE), );
}

static void what_holds_for_all_nat_services_is_compared(void **state)
{
	EXPECT("nat: { prefix: '2001:db8:46::/96' }\nservices: []\n", NULL,
	       "nat: { prefix: '2001:db8:46::/96' }\nservices: []\n", );
	EXPECT("nat: { prefix: '2001:db8:46::/96' }\nservices: []\n", NULL,
	       "nat: { direct: [10.9.0.0/16], prefix: '2001:db8:47::/96' }\nservices: []\n",
	       "nat: direct changed", "nat: prefix changed", );
}

static void backends_that_come_go_and_change_are_named(void **state)
{
	EXPECT("services:\n" WEB("", ONE ", " TWO), NULL,
	       "services:\n" WEB("", "{ address: 10.0.0.1, weight: 7, drain: true, backup: true }, "
				     "{ address: 10.0.0.3, weight: 9 }"),
	       "service web: backend 10.0.0.1: weight 100 -> 7",
	       "service web: backend 10.0.0.1: drain begins",
	       "service web: backend 10.0.0.1: becomes a backup",
	       "service web: backend 10.0.0.3: added, weight 9",
	       "service web: backend 10.0.0.2: removed", );
}

static void where_a_backend_is_checked_is_compared(void **state)
{
	EXPECT("services:\n" WEB("", ONE ", " TWO), NULL,
	       "services:\n" WEB("", "{ address: 10.0.0.1, health: { port: 81 } }, "
				     "{ address: 10.0.0.2, health: { address: 10.9.0.2 } }"),
	       "service web: backend 10.0.0.1: health changed",
	       "service web: backend 10.0.0.2: health changed", );
	EXPECT("services:\n" WEB(", health: { checks: [{}, { type: icmp }] }", ONE), NULL,
	       "services:\n" WEB(", health: { match: any, checks: [{}, { type: icmp }] }", ONE),
	       "service web: changed: health", );
}

static void run_time_changes_are_what_is_in_force(void **state)
{
	struct overrides overrides = {0};
	struct override *entry = change(&overrides, "10.0.0.1");

	entry->has_weight = true;
	entry->weight = 7;
	change(&overrides, "10.0.0.2")->removed = true;
	entry = change(&overrides, "10.0.0.9");
	entry->added = entry->has_weight = true;
	entry->weight = 3;
	EXPECT("services:\n" WEB("", ONE ", " TWO), &overrides, "services:\n" WEB("", ONE ", " TWO),
	       "service web: backend 10.0.0.1: weight 7 -> 100",
	       "service web: backend 10.0.0.2: added, weight 100",
	       "service web: backend 10.0.0.9: removed", );
	overrides_done(&overrides);
}

static void ports_of_what_was_added_are_compared(void **state)
{
	struct overrides overrides = {0};
	struct override *entry = change(&overrides, "10.0.0.2");

	entry->added = entry->has_weight = true;
	entry->weight = 100;
	entry->port = 8081;
	EXPECT("services:\n" WEB(", forward: nat", ONE), &overrides,
	       "services:\n" WEB(", forward: nat", ONE ", { address: 10.0.0.2, port: 8082 }, "
						       "{ address: 10.0.0.3 }"),
	       "service web: backend 10.0.0.2: port 8081 -> 8082",
	       "service web: backend 10.0.0.3: added, weight 100, port 80", );
	EXPECT("services:\n" WEB("", ONE), &overrides, "services:\n" WEB("", ONE ", " TWO), );
	overrides_done(&overrides);
}

static void services_and_their_keys_are_named(void **state)
{
	EXPECT("services:\n" WEB(
		   "",
		   ONE) "  - { name: old, vip: 192.0.2.11, protocol: tcp, port: 80, backends: [" ONE
			"] }\n",
	       NULL,
	       "services:\n" WEB(
		   ", algorithm: round-robin, health: { rise: 7 }",
		   ONE) "  - { name: dns, vip: 192.0.2.12, protocol: udp, port: 53, backends: [" ONE
			", " TWO "] }\n",
	       "service web: changed: algorithm, health",
	       "service dns 192.0.2.12:53/udp: added, 2 backends", "service old: removed", );
	EXPECT("services:\n" WEB("", ONE), NULL,
	       "services:\n"
	       "  - { name: shop, vip: 192.0.2.10, protocol: tcp, port: 80, backends: [" ONE
	       "] }\n",
	       "service web: renamed to shop", );
}

static void names_and_labels_are_compared(void **state)
{
	EXPECT("services:\n" WEB("", "{ address: 10.0.0.1, name: a, labels: { zone: a } }, " TWO),
	       NULL,
	       "services:\n" WEB("",
				 "{ address: 10.0.0.1, name: b, labels: { zone: b } }, "
				 "{ address: 10.0.0.2, name: c }, { address: 10.0.0.3, name: d }"),
	       "service web: backend b 10.0.0.1: name a -> b",
	       "service web: backend b 10.0.0.1: labels changed",
	       "service web: backend c 10.0.0.2: name (none) -> c",
	       "service web: backend d 10.0.0.3: added, weight 100", );
}

static void the_top_level_is_compared_too(void **state)
{
	EXPECT("interfaces: [eth0, eth1]\nservices: []\n", NULL,
	       "interfaces: [eth0, eth2]\nunserved: drop\nmetrics-hosts: [lb1]\npage: off\n"
	       "services: []\n",
	       "interfaces: eth2 added", "interfaces: eth1 removed", "unserved changed",
	       "page turned off", "metrics-hosts: lb1 added", );
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_same_file_changes_nothing),
	    cmocka_unit_test(what_holds_for_all_nat_services_is_compared),
	    cmocka_unit_test(backends_that_come_go_and_change_are_named),
	    cmocka_unit_test(where_a_backend_is_checked_is_compared),
	    cmocka_unit_test(run_time_changes_are_what_is_in_force),
	    cmocka_unit_test(ports_of_what_was_added_are_compared),
	    cmocka_unit_test(services_and_their_keys_are_named),
	    cmocka_unit_test(names_and_labels_are_compared),
	    cmocka_unit_test(the_top_level_is_compared_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
