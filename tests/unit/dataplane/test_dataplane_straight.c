/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The straight words of the VIP table: what each service gets, and that no packet can use one while
 * the rules of its service change. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/filter_model.h"
#include "support/memory_dataplane.h"
#include "support/test_registry.h"

#define SERVICES 16

static struct memory_dataplane *memory;
static struct dataplane *dp;
static struct want want;

static int setup(void **state)
{
	memory = memory_dataplane_new((struct memory_limits){SERVICES, 64, 1 << 16, 64});
	dp = memory->dp;
	want_init(&want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want.service.slots = 251;
	want_add(&want, 1, 100);
	want_add(&want, 2, 100);
	return 0;
}

static int teardown(void **state)
{
	memory_dataplane_free(memory);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* The VIP in the half of the table in use; NULL: none. */
static struct lb_vip *vip_of(const struct dp_service *key)
{
	const struct lb_tables *tables = &dp->maps.settings->tables[dp->maps.settings->active & 1];

	for (uint32_t i = 0; i <= tables->vip_mask; i++)
		for (unsigned way = 0; way < LB_VIP_WAYS; way++) {
			struct lb_vip *vip = &dp->maps.vips[tables->vip_base + i].vip[way];

			if (vip->id && !memcmp(vip->addr, key->vip.bytes, sizeof(vip->addr)))
				return vip;
		}
	return NULL;
}

static uint64_t word(void)
{
	return vip_of(&want.service)->straight;
}

static uint64_t wanted_word(void)
{
	return lb_straight(want_line(dp, &want), 4);
}

/* Words that are open, in both halves. */
static unsigned open_words(void)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < dp->maps.vip_buckets; i++)
		for (unsigned way = 0; way < LB_VIP_WAYS; way++)
			count += dp->maps.vips[i].vip[way].straight != 0;
	return count;
}

/* ---- what the words say ---- */

TEST(a_plain_service_is_straight_with_its_ring)
{
	want.service.forward = LB_FORWARD_GRE;
	want_commit(dp, &want, 1);
	assert_true(word() == wanted_word());
	assert_int_equal(LB_STRAIGHT_UPPER(word()), LB_REGION_BASE(want_line(dp, &want)->ring));
	assert_int_equal((uint32_t)word() & LB_STRAIGHT_SIZE, 251);
	assert_int_equal(LB_STRAIGHT_FORWARD(word()), LB_FORWARD_GRE);
	assert_false((uint32_t)word() & (LB_STRAIGHT_TRACKED | LB_STRAIGHT_LIMITED));
}

TEST(a_service_that_tracks_always_is_straight_with_its_id)
{
	want.service.track_always = true;
	want_commit(dp, &want, 1);
	assert_true((uint32_t)word() & LB_STRAIGHT_TRACKED);
	assert_int_equal(LB_STRAIGHT_UPPER(word()), want_line(dp, &want)->id);
}

TEST(a_service_that_asks_nothing_of_new_flows_says_so)
{
	want.service.track_always = true;
	want_commit(dp, &want, 1);
	assert_true((uint32_t)word() & LB_STRAIGHT_NEW);
	want.service.limit.service = (struct dp_rate){60, 10};
	want_commit(dp, &want, 1);
	assert_false((uint32_t)word() & LB_STRAIGHT_NEW);
	want.service.limit.service = (struct dp_rate){0};
	want.service.affinity = true;
	want_commit(dp, &want, 1);
	assert_false((uint32_t)word() & LB_STRAIGHT_NEW);
	want.service.affinity = false;
	want.service.mask4 = 24;
	want_commit(dp, &want, 1);
	assert_true((uint32_t)word() & LB_STRAIGHT_TRACKED);
	assert_false((uint32_t)word() & LB_STRAIGHT_NEW);
}

TEST(a_service_with_a_rate_says_so)
{
	want.service.limit.service = (struct dp_rate){60, 10};
	want_commit(dp, &want, 1);
	assert_true((uint32_t)word() & LB_STRAIGHT_LIMITED);
}

TEST(a_service_that_hashes_less_is_not_straight)
{
	want.service.mask4 = 24;
	want_commit(dp, &want, 1);
	assert_true(word() == 0);
	want.service.mask4 = 32;
	want.service.hash = 0;
	want_commit(dp, &want, 1);
	assert_true(word() == 0);
}

TEST(of_a_vips_services_https_is_on_its_line_else_the_first_with_a_port)
{
	static struct want wants[3];

	want_init(&wants[0], "192.0.2.1", IPPROTO_TCP, 0, "maglev");
	want_init(&wants[1], "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_init(&wants[2], "192.0.2.1", IPPROTO_TCP, 8080, "maglev");
	want_commit(dp, wants, 3);
	assert_int_equal(vip_of(&want.service)->main, LB_VIP_MAIN(htons(80), IPPROTO_TCP));
	want_init(&wants[2], "192.0.2.1", IPPROTO_TCP, 443, "maglev");
	want_commit(dp, wants, 3);
	assert_int_equal(vip_of(&want.service)->main, LB_VIP_MAIN(htons(443), IPPROTO_TCP));
	want_commit(dp, wants, 1);
	assert_int_equal(vip_of(&want.service)->main, 0);
}

/* ---- while they change ---- */

static struct lb_service *lines; /* of the services, in pages of their own */
static size_t lines_bytes;
static uint64_t word_at_change; /* when the first line was written */
static bool changed;

static void on_change(int signal)
{
	struct lb_vip *vip = vip_of(&want.service);

	word_at_change = vip ? vip->straight : 0;
	changed = true;
	mprotect(lines, lines_bytes, PROT_READ | PROT_WRITE);
}

/* The program's view of the services moves into pages that can be made read-only. */
static void watch_lines(void)
{
	const struct sigaction action = {.sa_handler = on_change};

	lines_bytes = (size_t)sysconf(_SC_PAGESIZE);
	assert_true((SERVICES + 1) * sizeof(*lines) <= lines_bytes);
	lines = mmap(NULL, lines_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(lines, MAP_FAILED);
	dp->maps.services = lines;
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
}

static void commit_watched(unsigned count)
{
	changed = false;
	assert_int_equal(mprotect(lines, lines_bytes, PROT_READ), 0);
	want_commit(dp, &want, count);
	assert_int_equal(mprotect(lines, lines_bytes, PROT_READ | PROT_WRITE), 0);
}

static void unwatch_lines(void)
{
	signal(SIGSEGV, SIG_DFL);
	munmap(lines, lines_bytes);
	dp->maps.services = memory->maps.services;
}

static void make_filtered(struct dp_service *s)
{
	s->filter = filter_of(NULL, "10.0.0.0/8");
}
static void make_limited(struct dp_service *s)
{
	s->limit.service = (struct dp_rate){60, 10};
}
static void make_tracked(struct dp_service *s)
{
	s->track_always = true;
}
static void make_untracked(struct dp_service *s)
{
	s->track_never = true;
}
static void make_affine(struct dp_service *s)
{
	s->affinity = true;
}
static void make_gue(struct dp_service *s)
{
	s->forward = LB_FORWARD_GUE;
}
static void make_narrow(struct dp_service *s)
{
	s->mask4 = 24;
}
static void make_larger(struct dp_service *s)
{
	s->slots = 509;
}

TEST(a_word_is_closed_before_any_rule_or_the_ring_changes)
{
	void (*const changes[])(struct dp_service *) = {
	    make_limited, make_tracked, make_untracked, make_affine,
	    make_gue,     make_narrow,  make_larger,    make_filtered,
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct dp_service before;

		if (i) {
			teardown(state);
			setup(state);
		}
		watch_lines();
		want_commit(dp, &want, 1);
		assert_true(word() != 0);
		before = want.service;
		changes[i](&want.service);
		commit_watched(1);
		assert_true(changed);
		assert_true(word_at_change == 0);
		assert_true(word() == wanted_word());
		filter_unref(want.service.filter);
		want.service = before;
		commit_watched(1);
		/* a ring does not change its size again before it has settled */
		assert_true(changed || changes[i] == make_larger);
		assert_true(!changed || word_at_change == 0);
		assert_true(word() == wanted_word());
		unwatch_lines();
	}
}

TEST(a_removed_service_has_no_open_word_in_either_half)
{
	watch_lines();
	want_commit(dp, &want, 1);
	assert_int_equal(open_words(), 1);
	commit_watched(0);
	assert_true(changed);
	assert_int_equal(open_words(), 0);
	unwatch_lines();
}

TEST(a_new_service_leaves_those_that_stay_straight)
{
	static struct want wants[2];

	want_commit(dp, &want, 1);
	wants[0] = wants[1] = want;
	wants[0].service.backends = wants[0].backends;
	wants[1].service.backends = wants[1].backends;
	assert_int_equal(addr_parse("192.0.2.2", &wants[1].service.vip), 0);
	want_commit(dp, wants, 2);
	assert_true(word() != 0);
	assert_true(word() == wanted_word());
	assert_true(vip_of(&wants[1].service)->straight ==
		    lb_straight(want_line(dp, &wants[1]), 4));
}

TEST(backends_and_weights_leave_the_word_as_it_is)
{
	uint64_t before;

	want_commit(dp, &want, 1);
	before = word();
	want_find(&want, 1)->weight = 1;
	want_find(&want, 2)->usable = false;
	want_commit(dp, &want, 1);
	assert_true(word() == before);
}

/* Killed in a change: the next lbd finds the word closed. */
TEST(a_takeover_opens_words_as_the_lines_say)
{
	want_commit(dp, &want, 1);
	vip_of(&want.service)->straight = 0;
	dp = memory_dataplane_restart(memory);
	assert_true(word() != 0);
	assert_true(word() == wanted_word());
}

LB_TEST_MAIN("straight words")
