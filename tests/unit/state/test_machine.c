/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/state/machine.c: what a config says of addresses that this machine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/sentences.h"
#include "lbd/state/state.h"
#include "support/test_addr.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define OWN           "127.0.0.1"

/* Two services with the same backends, of which the second one is this host. */
static void warn(struct sentences *ret, const char *vip, enum lb_forward forward)
{
	struct config_backend backends[] = {{.address = test_addr("192.0.2.12")},
					    {.address = test_addr(OWN)},
					    {.address = test_addr("2001:db8::127")}};
	struct config_service services[] = {
	    {.name = (char *)"web",
	     .vip = test_addr(vip),
	     .forward = forward,
	     .backends = backends,
	     .backends_count = ARRAY_SIZE(backends)},
	    {.name = (char *)"tls",
	     .vip = test_addr(vip),
	     .forward = forward,
	     .backends = backends,
	     .backends_count = ARRAY_SIZE(backends)},
	};
	const struct config config = {.services = services, .services_count = ARRAY_SIZE(services)};

	*ret = (struct sentences){0};
	machine_owns(&config, ret);
}

static void an_own_address_among_l2_backends_is_named_once(void **state)
{
	struct sentences said;

	(void)state;
	warn(&said, "192.0.2.10", LB_FORWARD_L2);
	assert_int_equal(said.count, 1);
	assert_ptr_equal(strstr(said.list[0],
				"service web: backend " OWN " is an address of this host, on lo: "),
			 said.list[0]);
	sentences_done(&said);
}

static void an_own_address_behind_tunnels_or_nat_is_not_named(void **state)
{
	static const enum lb_forward ways[] = {LB_FORWARD_IPIP, LB_FORWARD_GUE, LB_FORWARD_GRE,
					       LB_FORWARD_NAT};
	struct sentences said;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		warn(&said, "192.0.2.10", ways[i]);
		assert_int_equal(said.count, 0);
		sentences_done(&said);
	}
}

static void a_vip_of_this_host_is_named_once_beside_it(void **state)
{
	struct sentences said;

	(void)state;
	warn(&said, OWN, LB_FORWARD_L2);
	assert_int_equal(said.count, 2);
	assert_ptr_equal(strstr(said.list[0], "service web: VIP " OWN " is also an address"),
			 said.list[0]);
	assert_non_null(strstr(said.list[1], "service web: backend " OWN));
	sentences_done(&said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_own_address_among_l2_backends_is_named_once),
	    cmocka_unit_test(an_own_address_behind_tunnels_or_nat_is_not_named),
	    cmocka_unit_test(a_vip_of_this_host_is_named_once_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
