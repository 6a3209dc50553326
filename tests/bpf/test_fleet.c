/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The invariant of docs/tracking.md with more than one node: random histories on two and three
 * nodes, as tests/support/fleet.h describes them.
 *
 *   LBD_SEED=n       runs that seed alone
 *   LBD_SEQUENCES=n  runs so many
 *   LBD_ACTORS=n     allows these actors (bits by enum fleet_actor) */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/fleet.h"
#include "support/test_registry.h"

#ifdef __SANITIZE_ADDRESS__
#define SEQUENCES 100
#else
#define SEQUENCES 1000
#endif
#define FLOWS   2048
#define SEGMENT 4 /* bits: a table begins with 16 of its 512 buckets, and grows */

static struct batch batches[FLEET_NODES];
static struct fleet fleet;
static struct error lacking; /* why nothing can be run here; empty: it can */

static int setup(void **state)
{
	struct error err = {0};
	int rc = 0;

	for (unsigned i = 0; i < FLEET_NODES && !rc; i++)
		rc = batch_open(FLEET_SERVICES, FLEET_NUMBERS + 2, 8192, FLOWS, SEGMENT,
				BATCH_PEERS, &batches[i], &err);
	if (rc == -EPERM)
		lacking = err;
	else if (rc)
		fprintf(stderr, "%s\n", err.text);
	return rc == -EPERM ? 0 : rc;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < FLEET_NODES; i++)
		batch_close(&batches[i]);
	return 0;
}

static unsigned long long number(const char *variable, unsigned long long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(uint64_t seed, uint32_t actors)
{
	char first[sizeof(fleet.failure)];
	unsigned guilty = fleet.guilty;

	memcpy(first, fleet.failure, sizeof(first));
	printf("# seed %llu: trace of flow %u:\n", (unsigned long long)seed, guilty);
	fleet_run(&fleet, batches, seed, actors, stdout, guilty);
	printf("# %s\n# to repeat: LBD_SEED=%llu\n", fleet.failure, (unsigned long long)seed);
	fflush(stdout);
	fail_msg("seed %llu: %s", (unsigned long long)seed, first);
}

LB_TEST(no_flow_moves_when_the_router_gives_it_to_another_node)
{
	unsigned long long first = number("LBD_SEED", 1);
	unsigned long long count = getenv("LBD_SEED") ? 1 : SEQUENCES;
	uint32_t actors = (uint32_t)number("LBD_ACTORS", FLEET_ALL);
	unsigned long long packets = 0, checked = 0, after = 0, told = 0;

	if (lacking.text[0]) {
		print_message("# skipped: %s\n", lacking.text);
		skip();
	}
	count = number("LBD_SEQUENCES", count);
	for (unsigned long long seed = first; seed < first + count; seed++) {
		fleet_run(&fleet, batches, seed, actors, NULL, 0);
		if (fleet.failure[0])
			report(seed, actors);
		packets += fleet.packets;
		checked += fleet.checked;
		after += fleet.checked_after_shift;
		told += fleet.told;
	}
	print_message("# seeds %llu to %llu: %llu packets, %llu checked, %llu of them at another "
		      "node than the one that opened the flow; %llu items told\n",
		      first, first + count - 1, packets, checked, after, told);
	assert_true(after);
}

LB_TEST_MAIN("fleet", .open = setup, .close = teardown)
