/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The invariant of docs/tracking.md on the real program: no established flow moves while its
 * backend lives, through random sequences of changes and attacks (tests/support/world.h describes
 * them). A sequence that fails is shortened and printed with its seed.
 *
 *   LBD_SEED=n           runs that sequence alone
 *   LBD_SEQUENCES=n      runs so many
 *   LBD_ACTORS=all,-away or none,flood,wake: only these actors (tests/support/sequence.h) */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "support/test_registry.h"
#include "support/world.h"

#ifdef __SANITIZE_ADDRESS__
#define SEQUENCES 300
#else
#define SEQUENCES 10000
#endif
#define LARGE_EVERY  50 /* one in so many has thousands of flows */
#define TIGHT_EVERY  10 /* and one in so many a flow table that is too small */
#define NARROW_EVERY 10 /* and one in so many a hash of few bits */
#define SHRINK_RUNS  3000

static struct batch batches[TABLES];
static struct world world;
static struct error lacking; /* why nothing can be run here; empty: it can */

static const uint32_t table_flows[TABLES] = {
    [TABLE_ROOMY] = 2048, [TABLE_TIGHT] = 32, [TABLE_LARGE] = 16384, [TABLE_NARROW] = 2048};
/* Each begins with a part that is too small for the flows: 16 buckets of 512, 2 of 8, 64 of
 * 4096. */
static const uint32_t table_segment[TABLES] = {
    [TABLE_ROOMY] = 4, [TABLE_TIGHT] = 1, [TABLE_LARGE] = 6, [TABLE_NARROW] = 4};
static uint32_t allowed = ACTORS_ALL;

/* What LBD_ACTORS names: "all", "none", a name, or -name, in this order. */
static int read_actors(void)
{
	char text[512] = "", *rest = text, *word;

	snprintf(text, sizeof(text), "%s", getenv("LBD_ACTORS") ?: "");
	while ((word = strsep(&rest, ", "))) {
		bool out = *word == '-';
		unsigned i = 0;

		while (i < ACTORS && strcmp(word + out, sequence_actors[i]))
			i++;
		if (i < ACTORS) {
			allowed = out ? allowed & ~(1u << i) : allowed | 1u << i;
		} else if (!strcmp(word, "all") || !strcmp(word, "none")) {
			allowed = *word == 'a' ? ACTORS_ALL : 0;
		} else if (*word) {
			fprintf(stderr, "LBD_ACTORS: %s: expected all, none, or -", word);
			for (i = 0; i < ACTORS; i++)
				fprintf(stderr, "%s%s", i ? ", " : "", sequence_actors[i]);
			fprintf(stderr, "\n");
			return -EINVAL;
		}
	}
	return 0;
}

static int setup(void **state)
{
	struct error err = {0};
	int rc = read_actors();

	for (unsigned i = 0; i < TABLES && !rc; i++)
		rc = batch_open(2, i == TABLE_TIGHT ? WORLD_BACKENDS + 2 : 96, 8192, table_flows[i],
				table_segment[i], i == TABLE_NARROW ? BATCH_NARROW : BATCH_ALONE,
				&batches[i], &err);
	if (rc == -EPERM)
		lacking = err;
	else if (rc)
		fprintf(stderr, "%s\n", err.text);
	return rc == -EPERM ? 0 : rc;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < TABLES; i++)
		batch_close(&batches[i]);
	return 0;
}

static enum sequence_table table_of(uint64_t seed)
{
	if (seed % LARGE_EVERY == 0)
		return TABLE_LARGE;
	if (seed % NARROW_EVERY == 2 && allowed >> ACTOR_COLLIDE & 1)
		return TABLE_NARROW;
	return seed % TIGHT_EVERY == 1 ? TABLE_TIGHT : TABLE_ROOMY;
}

static bool fails(void *arg, const struct sequence *s)
{
	world_run(&world, &batches[s->table], s, NULL, 0);
	return world.failure[0];
}

/* Shortens the sequence that failed and prints it with what happens in it. */
static void report(struct sequence *s)
{
	char first[sizeof(world.failure)];

	memcpy(first, world.failure, sizeof(first));
	sequence_shrink(s, fails, NULL, SHRINK_RUNS);
	printf("# seed %llu fails: %s\n# shortened to what still fails:\n",
	       (unsigned long long)s->seed, first);
	sequence_print(s, stdout);
	printf("# trace:\n");
	fails(NULL, s);
	world_run(&world, &batches[s->table], s, stdout, world.guilty);
	printf("# %s\n# to repeat: LBD_SEED=%llu\n", world.failure, (unsigned long long)s->seed);
	fflush(stdout);
	fail_msg("seed %llu: %s", (unsigned long long)s->seed, world.failure);
}

static void run_seed(uint64_t seed)
{
	static struct sequence s;

	sequence_make(seed, table_of(seed), &s);
	sequence_allow(&s, allowed);
	world_run(&world, &batches[s.table], &s, NULL, 0);
	if (world.failure[0])
		report(&s);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static unsigned long long number(const char *variable, unsigned long long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

LB_TEST(no_established_flow_moves_while_its_backend_lives)
{
	unsigned long long first = number("LBD_SEED", 1);
	unsigned long long count = number("LBD_SEQUENCES", SEQUENCES);
	unsigned long long packets = 0, checked = 0, to_keepers = 0, forged = 0, woken = 0;
	unsigned long long returned = 0, replied = 0;
	unsigned live_most = 0;
	double begin = seconds();

	if (lacking.text[0]) {
		print_message("# skipped: %s\n", lacking.text);
		skip();
	}
	if (getenv("LBD_SEED") && !getenv("LBD_SEQUENCES"))
		count = 1;
	for (unsigned long long seed = first; seed < first + count; seed++) {
		run_seed(seed);
		packets += world.packets;
		checked += world.checked;
		to_keepers += world.to_keepers;
		forged += world.forged;
		woken += world.woken;
		returned += world.returned;
		replied += world.replied;
		live_most = world.live_most > live_most ? world.live_most : live_most;
	}
	print_message("# seeds %llu to %llu: %llu packets, %llu checked, %llu forged, %.1f s\n",
		      first, first + count - 1, packets, checked, forged, seconds() - begin);
	print_message("# %llu of older flows to keepers, %llu after a long silence\n", to_keepers,
		      woken);
	print_message("# %llu to a backend that is back, up to %u live flows at once\n", returned,
		      live_most);
	print_message("# %llu replies checked\n", replied);
	assert_true(checked);
}

LB_TEST_MAIN("invariant", .open = setup, .close = teardown)
