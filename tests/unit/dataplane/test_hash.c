/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Properties of the flow hash other than the spread of flows: every field counts, no pair of tuples
 * collides for every seed, and each of a flow's two buckets gives the other. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "lb_hash.h"

#define SEEDS 1000

/* The number of seeds for which both tuples have the same hash. */
static int collisions(struct lb_tuple a, struct lb_tuple b)
{
	struct lb_hash_key key;
	int count = 0;

	for (__u64 seed = 1; seed <= SEEDS; seed++) {
		lb_hash_key_make(seed, &key);
		count += lb_flow_hash(&a, &key) == lb_flow_hash(&b, &key);
	}
	return count;
}

static struct lb_tuple tuple4(__u32 client, __u32 vip, __u32 ports, __u8 protocol)
{
	return (struct lb_tuple){
	    .client = {client}, .vip = {vip}, .ports = ports, .protocol = protocol, .family = 4};
}

static struct lb_tuple tuple6(void)
{
	return (struct lb_tuple){.client = {1, 2, 3, 4},
				 .vip = {5, 6, 7, 8},
				 .ports = 9,
				 .protocol = IPPROTO_TCP,
				 .family = 6};
}

static void every_field_of_an_ipv4_tuple_counts(void **state)
{
	struct lb_tuple tuple = tuple4(1, 2, 3, IPPROTO_TCP);

	assert_int_equal(collisions(tuple, tuple4(9, 2, 3, IPPROTO_TCP)), 0);
	assert_int_equal(collisions(tuple, tuple4(1, 9, 3, IPPROTO_TCP)), 0);
	assert_int_equal(collisions(tuple, tuple4(1, 2, 9, IPPROTO_TCP)), 0);
	assert_int_equal(collisions(tuple, tuple4(1, 2, 3, IPPROTO_UDP)), 0);
	assert_int_equal(collisions(tuple, tuple), SEEDS);
}

static void every_word_of_an_ipv6_tuple_counts(void **state)
{
	const struct lb_tuple tuple = tuple6();

	for (int word = 0; word < 4; word++) {
		struct lb_tuple client = tuple, vip = tuple;

		client.client[word] ^= 0x100;
		vip.vip[word] ^= 0x100;
		assert_int_equal(collisions(tuple, client), 0);
		assert_int_equal(collisions(tuple, vip), 0);
	}
	for (int bit = 0; bit < 32; bit += 5) {
		struct lb_tuple ports = tuple;

		ports.ports ^= 1u << bit;
		assert_int_equal(collisions(tuple, ports), 0);
	}
}

/* Pairs that collide for every key as soon as a part of the construction is missing: a factor
 * without a key (the other factor's word is then multiplied by zero), a sum instead of a product,
 * one key for two pairs. */
static void no_pair_of_tuples_collides_for_every_seed(void **state)
{
	struct lb_tuple a = tuple6(), b = tuple6();

	assert_int_equal(collisions(tuple4(1, 2, 0, 6), tuple4(9, 2, 0, 6)), 0);
	assert_int_equal(collisions(tuple4(0, 2, 3, 6), tuple4(0, 2, 9, 6)), 0);
	assert_int_equal(collisions(tuple4(5, 2, 5, 6), tuple4(6, 2, 4, 6)), 0);
	assert_int_equal(collisions(tuple4(5, 2, 17, 6), tuple4(2, 5, 6, 17)), 0);
	a.client[2] = b.client[2] = 0;
	a.client[3] = b.client[3] = 0;
	b.ports = 77;
	assert_int_equal(collisions(a, b), 0);
	a.ports = b.ports = 0;
	b.client[2] = 77;
	assert_int_equal(collisions(a, b), 0);
}

static void the_words_of_a_key_differ_and_depend_on_the_seed(void **state)
{
	struct lb_hash_key a, b;
	int equal = 0;

	lb_hash_key_make(1, &a);
	lb_hash_key_make(2, &b);
	for (int i = 0; i < 10; i++)
		for (int k = 0; k < 10; k++)
			equal += a.word[i] == b.word[k] || (i != k && a.word[i] == a.word[k]);
	assert_int_equal(equal, 0);
}

/* A ring uses the high half, a bucket the low half, a fingerprint the high 30 bits: similar tuples
 * must differ in all three. */
static void a_small_difference_is_in_all_parts_of_the_hash(void **state)
{
	struct lb_hash_key key;
	__u64 differs = 0;
	int flipped = 0;

	lb_hash_key_make(1, &key);
	for (__u32 port = 0; port < 1000; port++) {
		struct lb_tuple even = tuple4(1, 2, 2 * port, 6),
				odd = tuple4(1, 2, 2 * port + 1, 6);
		__u64 difference = lb_flow_hash(&even, &key) ^ lb_flow_hash(&odd, &key);

		differs |= difference;
		flipped += __builtin_popcountll(difference);
	}
	assert_true(differs == ~0ULL);
	/* half of the bits: 32000, standard deviation 126 */
	assert_in_range(flipped, 31000, 33000);
}

static void the_two_buckets_of_a_flow_differ_and_find_each_other(void **state)
{
	const __u32 mask = 63, shift = LB_FLOW_FP_SHIFT - 6;
	int seen[64] = {0}, most = 0;

	for (__u64 flow = 0; flow < 6400; flow++) {
		__u64 hash = lb_hash_finish(flow);
		__u32 first = lb_bucket(hash, shift, mask);
		__u32 second = lb_bucket_other(first, hash, shift);

		assert_int_not_equal(first, second);
		assert_int_equal(lb_bucket_other(second, hash, shift), first);
		if (!first)
			seen[second]++;
	}
	for (int i = 0; i < 64; i++)
		most = seen[i] > most ? seen[i] : most;
	/* the flows of one bucket, some 100, have different second buckets */
	assert_in_range(most, 3, 20);
}

static void a_hash_covers_the_ports_it_is_asked_to(void **state)
{
	const __u32 ports = htonl(1000u << 16 | 80);

	assert_int_equal(lb_hash_ports(ports, 0), 0);
	assert_int_equal(lb_hash_ports(ports, LB_HASH_SPORT), htonl(1000u << 16));
	assert_int_equal(lb_hash_ports(ports, LB_HASH_DPORT), htonl(80));
	assert_int_equal(lb_hash_ports(ports, LB_HASH_FULL), ports);
}

static void a_prefix_has_its_length(void **state)
{
	for (__u32 bits = 0; bits <= 64; bits++) {
		__u64 word = lb_hash_prefix(bits);
		unsigned char wire[8];

		memcpy(wire, &word, sizeof(wire));
		for (__u32 i = 0; i < 64; i++)
			assert_int_equal(wire[i / 8] >> (7 - i % 8) & 1, i < bits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_field_of_an_ipv4_tuple_counts),
	    cmocka_unit_test(every_word_of_an_ipv6_tuple_counts),
	    cmocka_unit_test(no_pair_of_tuples_collides_for_every_seed),
	    cmocka_unit_test(the_words_of_a_key_differ_and_depend_on_the_seed),
	    cmocka_unit_test(a_small_difference_is_in_all_parts_of_the_hash),
	    cmocka_unit_test(the_two_buckets_of_a_flow_differ_and_find_each_other),
	    cmocka_unit_test(a_hash_covers_the_ports_it_is_asked_to),
	    cmocka_unit_test(a_prefix_has_its_length),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
