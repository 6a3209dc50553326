/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/common/forwarding.c: when traffic counts as forwarded, and what is said of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/forwarding.h"

struct scene {
	struct forwarding_facts facts;
	enum forwarding verdict;
	const char *text; /* the sentence begins with it */
};

static void expect(const struct scene *scenes, size_t count)
{
	char text[FORWARDING_TEXT];

	for (size_t i = 0; i < count; i++) {
		enum forwarding verdict = forwarding_judge(&scenes[i].facts, text);

		if (verdict != scenes[i].verdict ||
		    strncmp(text, scenes[i].text, strlen(scenes[i].text)) != 0)
			fail_msg("%zu: %d, %s", i, verdict, text);
	}
}

#define EXPECT(scenes) expect(scenes, sizeof(scenes) / sizeof(scenes[0]))

/* interfaces, running, not_running, services, down, blind, backends, up */

static void it_forwards_while_one_service_is_up_on_one_interface(void **state)
{
	static const struct scene scenes[] = {
	    {{1, 1, NULL, 3, 0, 0, 9, 9},
	     FORWARDING_ALL,
	     "Forwarding: 3 services, 9 of 9 backends up"},
	    {{1, 1, NULL, 3, 0, 0, 9, 1},
	     FORWARDING_PART,
	     "Forwarding: 3 services, 1 of 9 backends up"},
	    {{1, 1, NULL, 1, 0, 0, 1, 1},
	     FORWARDING_ALL,
	     "Forwarding: 1 service, 1 of 1 backend up"},
	    {{1, 1, NULL, 3, 2, 0, 9, 3},
	     FORWARDING_PART,
	     "Forwarding, but 2 of 3 services are down"},
	    {{2, 1, "eth1", 3, 0, 0, 9, 9},
	     FORWARDING_PART,
	     "Forwarding, but eth1 is down or has no carrier"},
	    {{1, 1, NULL, 3, 0, 2, 9, 3},
	     FORWARDING_PART,
	     "Blind: no backend of 2 services answers"},
	    /* panic: none is up, and all are used */
	    {{1, 1, NULL, 3, 0, 0, 9, 0},
	     FORWARDING_PART,
	     "Forwarding: 3 services, 0 of 9 backends up"},
	};

	EXPECT(scenes);
}

static void what_stops_all_traffic_is_named(void **state)
{
	static const struct scene scenes[] = {
	    {{0, 0, NULL, 3, 0, 0, 9, 9},
	     FORWARDING_NOT,
	     "Not forwarding: no interface is attached"},
	    {{1, 0, "eth0", 3, 0, 0, 9, 9},
	     FORWARDING_NOT,
	     "Not forwarding: eth0 is down or has no carrier. Next: ip link set eth0 up"},
	    {{1, 1, NULL, 0, 0, 0, 0, 0},
	     FORWARDING_NOT,
	     "Not forwarding: the config has no services"},
	    {{1, 1, NULL, 3, 3, 0, 9, 0},
	     FORWARDING_NOT,
	     "Not forwarding: none of 9 backends is up"},
	    {{1, 1, NULL, 3, 0, 3, 9, 0},
	     FORWARDING_NOT,
	     "Blind: no backend of 3 services answers"},
	    {{1, 1, NULL, 3, 2, 1, 9, 0}, FORWARDING_NOT, "Blind: no backend of 1 service answers"},
	};

	EXPECT(scenes);
}

static void services_that_are_down_by_weights_are_not_put_down_to_backends(void **state)
{
	static const struct scene scenes[] = {
	    {{1, 1, NULL, 3, 3, 0, 9, 9},
	     FORWARDING_NOT,
	     "Not forwarding: no backend that is up takes new flows (weight 0, or draining)"},
	};

	EXPECT(scenes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_forwards_while_one_service_is_up_on_one_interface),
	    cmocka_unit_test(what_stops_all_traffic_is_named),
	    cmocka_unit_test(services_that_are_down_by_weights_are_not_put_down_to_backends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
