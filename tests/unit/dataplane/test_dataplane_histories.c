/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nodes with the same configuration have the same ring, whatever happened to them before.
 * LBD_SEED=n runs only that history. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/memory_dataplane.h"
#include "support/sequence.h"

#ifdef __SANITIZE_ADDRESS__
#define HISTORIES 60
#else
#define HISTORIES 400
#endif
#define CHANGES  40
#define BACKENDS 30
#define IDLE     3 /* ticks */

/* A node with its administrator's changes and health results so far. A removed backend drains until
 * it is gone. */
struct node {
	struct memory_dataplane *memory;
	struct want want;
	bool leaving[BACKENDS];
	uint32_t now;
	char text[CHANGES * 40]; /* the history as text, for the failure message */
};

static const struct memory_limits limits = {
    .services = 1, .backends = 200, .slots = 40000, .flow_buckets = 4};

static void node_init(struct node *node, uint32_t now)
{
	memset(node, 0, sizeof(*node));
	node->memory = memory_dataplane_new(limits);
	node->now = now;
	want_init(&node->want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	node->want.service.tcp_idle_ms = node->want.service.udp_idle_ms = IDLE * 1073;
}

static unsigned configured(const struct node *node)
{
	unsigned count = node->want.service.backends_count;

	for (unsigned i = 0; i < BACKENDS; i++)
		count -= node->leaving[i];
	return count;
}

static void commit(struct node *node)
{
	node->want.service.ring_backends = configured(node);
	node->memory->dp->clock = node->now;
	want_commit(node->memory->dp, &node->want, 1);
}

static void pass(struct node *node, uint32_t ticks)
{
	for (uint32_t i = 0; i < ticks; i++)
		sweep_rounds(node->memory->dp, 1, ++node->now);
}

static void tell(struct node *node, const char *what, unsigned number)
{
	size_t used = strlen(node->text);

	snprintf(node->text + used, sizeof(node->text) - used, " %s %u,", what, number);
}

static void add(struct node *node, unsigned n, uint32_t weight)
{
	struct dp_backend *backend = want_find(&node->want, n);

	if (!backend)
		backend = want_add(&node->want, n, weight);
	backend->weight = weight;
	node->leaving[n] = false;
	tell(node, "add", n);
}

/* Removes leaving backends once they have drained, or at the end. */
static void leave(struct node *node, unsigned n)
{
	if (!node->leaving[n])
		return;
	want_remove(&node->want, n);
	node->leaving[n] = false;
	tell(node, "gone", n);
}

static void change_backend(struct node *node, uint64_t seed, uint32_t at, unsigned n)
{
	struct dp_backend *backend = want_find(&node->want, n);

	switch (sequence_roll(seed, at, 3, 5)) {
	case 0:
		backend->usable = false;
		tell(node, "dead", n);
		break;
	case 1:
		backend->usable = true;
		tell(node, "alive", n);
		break;
	case 2:
		backend->weight = 0;
		tell(node, "drain", n);
		break;
	case 3:
		backend->weight = node->leaving[n] ? 0 : 1 + sequence_roll(seed, at, 4, 4);
		tell(node, "weight of", n);
		break;
	default:
		if (configured(node) == 1 || node->leaving[n])
			return;
		node->leaving[n] = true;
		backend->weight = 0;
		tell(node, "remove", n);
	}
}

static void change(struct node *node, uint64_t seed, uint32_t at)
{
	static const uint32_t sizes[] = {0, 0, 0, 251, 1021, 7};
	unsigned n = sequence_roll(seed, at, 1, BACKENDS), what = sequence_roll(seed, at, 2, 12);

	if (!what) {
		node->want.service.slots = sizes[sequence_roll(seed, at, 5, 6)];
		tell(node, "slots", node->want.service.slots);
	} else if (what < 3) {
		leave(node, n);
	} else if (what < 6 || !want_find(&node->want, n)) {
		add(node, n, 1 + sequence_roll(seed, at, 6, 4));
	} else {
		change_backend(node, seed, at, n);
	}
}

static void live_through(struct node *node, uint64_t seed)
{
	uint32_t changes = 1 + sequence_roll(seed, 0, 7, CHANGES);

	add(node, 0, 1);
	commit(node);
	for (uint32_t i = 0; i < changes; i++) {
		change(node, seed, i);
		if (!sequence_roll(seed, i, 8, 4))
			continue; /* committed together with the next change */
		commit(node);
		pass(node, sequence_roll(seed, i, 9, 2 * IDLE));
	}
	for (unsigned n = 0; n < BACKENDS && sequence_roll(seed, 0, 10, 2); n++)
		leave(node, n);
	commit(node);
	/* a resize may wait for another one, which waits for a change, each for two idle
	 * timeouts */
	pass(node, 4 * (2 * IDLE + 3));
}

/* A new node with the final configuration only. */
static void start_fresh_node(struct node *node, const struct node *like)
{
	node_init(node, 77);
	node->want.service.slots = like->want.service.slots;
	for (unsigned i = like->want.service.backends_count; i-- > 0;) {
		const struct dp_backend *backend = &like->want.backends[i];
		unsigned n = backend->address.bytes[3];

		if (like->leaving[n])
			continue;
		add(node, n, backend->weight);
		want_find(&node->want, n)->usable = backend->usable;
	}
	commit(node);
	pass(node, 2 * IDLE + 3);
}

/* The last byte of the address of a slot's backend; BACKENDS: the slot has none. */
static unsigned backend_of(const struct node *node, uint32_t slot)
{
	const struct lb_backend *backend = &node->memory->maps.backends[LB_SLOT_CURRENT(slot)];

	return LB_SLOT_CURRENT(slot) ? ntohl(backend->outer_dst[0]) & 0xff : BACKENDS;
}

static void compare(const struct node *node, const struct node *fresh, uint64_t seed)
{
	uint32_t size, fresh_size, differ = 0, unsettled = 0;
	const uint32_t *slots = want_slots(node->memory->dp, &node->want, &size);
	const uint32_t *wanted = want_slots(fresh->memory->dp, &fresh->want, &fresh_size);

	for (uint32_t i = 0; i < size && size == fresh_size; i++) {
		differ += backend_of(node, slots[i]) != backend_of(fresh, wanted[i]);
		unsettled += !!(slots[i] & LB_SLOT_TRANSITION);
	}
	if (size != fresh_size || differ || unsettled)
		fail_msg(
		    "LBD_SEED=%llu: %u slots, expected %u as in a fresh node; %u differ, %u have not settled after:%s",
		    (unsigned long long)seed, size, fresh_size, differ, unsettled, node->text);
}

static void ring_is_a_function_of_the_configuration(void **state)
{
	static struct node node, fresh;
	const char *only = getenv("LBD_SEED");
	uint64_t first = only ? strtoull(only, NULL, 10) : 1, count = only ? 1 : HISTORIES;

	for (uint64_t seed = first; seed < first + count; seed++) {
		node_init(&node, 1000);
		live_through(&node, seed);
		start_fresh_node(&fresh, &node);
		compare(&node, &fresh, seed);
		memory_dataplane_free(node.memory);
		memory_dataplane_free(fresh.memory);
	}
}

/* An operator's example: eleven backends are added, ten of them removed. */
static void backends_that_came_and_went_leave_no_trace_in_the_ring(void **state)
{
	static struct node node, fresh;

	node_init(&node, 1000);
	add(&node, 0, 1);
	commit(&node);
	for (unsigned n = 1; n < 12; n++)
		add(&node, n, 1);
	commit(&node);
	pass(&node, 4 * IDLE);
	for (unsigned n = 1; n < 11; n++) {
		node.leaving[n] = true;
		leave(&node, n);
	}
	commit(&node);
	pass(&node, 4 * (2 * IDLE + 3));
	start_fresh_node(&fresh, &node);
	compare(&node, &fresh, 0);
	memory_dataplane_free(node.memory);
	memory_dataplane_free(fresh.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(backends_that_came_and_went_leave_no_trace_in_the_ring),
	    cmocka_unit_test(ring_is_a_function_of_the_configuration),
	};

	return cmocka_run_group_tests_name("dataplane_histories", tests, NULL, NULL);
}
