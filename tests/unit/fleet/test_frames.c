/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames to bytes and back, and bytes that are no frames. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lbd/fleet/frames.h"
#include "support/test_registry.h"

static uint8_t bytes[256 * 1024];

static struct frame_writer begin(size_t room)
{
	memset(bytes, 0, sizeof(bytes));
	return (struct frame_writer){.bytes = bytes, .room = room};
}

static struct frame only_frame(const struct frame_writer *writer)
{
	struct frame frame;
	const char *why;

	assert_int_equal(frame_next(bytes, writer->used, &frame, &why), writer->used);
	return frame;
}

LB_TEST(what_is_written_is_read)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct dp_shared_backend backend = {.ref = 7, .port = 443, .protocol = IPPROTO_UDP}, other;
	struct frame frame;

	assert_int_equal(addr_parse("2001:db8::1", &backend.vip), 0);
	assert_int_equal(addr_parse("10.1.2.3", &backend.address), 0);
	assert_true(frame_put_backend(&writer, &backend));
	frame = only_frame(&writer);
	assert_int_equal(frame.type, FRAME_BACKENDS);
	assert_int_equal(frame.count, 1);
	assert_int_equal(frame_get_backend(&frame, 0, &other), 0);
	assert_true(addr_equal(&backend.vip, &other.vip) &&
		    addr_equal(&backend.address, &other.address));
	assert_true(other.ref == 7 && other.port == 443 && other.protocol == IPPROTO_UDP);
}

LB_TEST(a_service_comes_through_with_all_its_fields)
{
	struct dp_shared_service service = {.ref = 3,
					    .port = 0,
					    .protocol = IPPROTO_TCP,
					    .size = 65537,
					    .configured = 101,
					    .evaluated = 5,
					    .unplaced = UINT16_MAX,
					    .fresh = true,
					    .digest = 0x123456789abcdef0},
				 other;
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;

	addr_parse("192.0.2.1", &service.vip);
	assert_true(frame_put_service(&writer, &service));
	frame = only_frame(&writer);
	assert_int_equal(frame_get_service(&frame, 0, &other), 0);
	assert_true(addr_equal(&service.vip, &other.vip));
	assert_true(other.ref == 3 && !other.port && other.protocol == IPPROTO_TCP &&
		    other.size == 65537 && other.configured == 101 && other.evaluated == 5 &&
		    other.unplaced == UINT16_MAX && other.fresh && other.digest == service.digest);
}

LB_TEST(a_hello_and_a_beat_come_through)
{
	struct fleet_hello hello = {2, 3, 4, 5, "lb1", "0.1.0", {3, 9}}, hello2;
	struct fleet_beat beat = {.sent_ms = 1,
				  .echo_ms = 2,
				  .held_ms = 3,
				  .config_digest = 4,
				  .conflicts = 5,
				  .unplaced = 6,
				  .behind = 7,
				  .synced = 1},
			  beat2 = {0};
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;

	frame_put_hello(&writer, &hello);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_hello(&frame, &hello2), 0);
	assert_true(hello2.boot == 2 && hello2.seed_digest == 3 && hello2.config_digest == 4 &&
		    hello2.buckets == 5);
	assert_string_equal(hello2.name, "lb1");
	assert_string_equal(hello2.version, "0.1.0");
	assert_true(hello2.speaks.oldest == 3 && hello2.speaks.latest == 9);
	writer = begin(sizeof(bytes));
	frame_put_beat(&writer, &beat);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_beat(&frame, &beat2), 0);
	assert_true(beat2.sent_ms == 1 && beat2.held_ms == 3 && beat2.unplaced == 6 &&
		    beat2.behind == 7 && beat2.synced == 1);
}

/* All lbds read it, whatever they speak from there on. */
LB_TEST(hello_and_refused_are_those_of_the_first_version)
{
	struct fleet_hello hello = {.name = "lb1", .speaks = {1, 2}}, hello2;
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;

	memset(hello.version, 'v', sizeof(hello.version) - 1);
	frame_put_hello(&writer, &hello);
	assert_int_equal(writer.used, 16 + 92);
	assert_int_equal(bytes[5], 1);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_hello(&frame, &hello2), 0);
	assert_int_equal(strlen(hello2.version), 23);
	assert_int_equal(hello2.speaks.latest, 2);
	/* one of version 1 with a long text, and no mark */
	memset(bytes + 16 + 60, 'v', 31);
	assert_int_equal(frame_get_hello(&frame, &hello2), 0);
	assert_true(hello2.speaks.oldest == 1 && hello2.speaks.latest == 1);
	writer = begin(sizeof(bytes));
	frame_put_refused(&writer, "no");
	assert_int_equal(bytes[5], 1);
	writer = begin(sizeof(bytes));
	writer.version = 1;
	frame_put_number(&writer, FRAME_WANT, 3);
	assert_int_equal(bytes[5], 1);
}

LB_TEST(ranges_that_no_node_has_are_refused)
{
	static const struct fleet_range ranges[] = {{0, 2}, {3, 2}, {0, 0}};

	for (unsigned i = 0; i < 3; i++) {
		struct fleet_hello hello = {.name = "lb1", .speaks = ranges[i]}, hello2;
		struct frame_writer writer = begin(sizeof(bytes));
		struct frame frame;

		frame_put_hello(&writer, &hello);
		frame = only_frame(&writer);
		assert_int_equal(frame_get_hello(&frame, &hello2), -EBADMSG);
	}
}

LB_TEST(an_identity_comes_through_where_the_version_has_it)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;
	const char *why;

	frame_put_node(&writer, 0x1122334455667788);
	frame = only_frame(&writer);
	assert_int_equal(frame.type, FRAME_NODE);
	assert_true(frame_get_node(&frame) == 0x1122334455667788);
	bytes[5] = 1;
	assert_int_equal(frame_next(bytes, writer.used, &frame, &why), -EBADMSG);
}

LB_TEST(items_of_one_type_are_one_frame_and_numbered)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct dp_shared_flow flow = {.bucket = 9, .word = 0x1122334455667788}, other;
	struct dp_shared_slot slot = {1, 2, 0x80000003}, slot2;
	struct frame frame, next;
	const char *why;
	int length;

	for (unsigned i = 0; i < 100; i++)
		assert_true(frame_put_flow(&writer, &flow));
	assert_true(frame_put_slot(&writer, &slot));
	length = frame_next(bytes, writer.used, &frame, &why);
	assert_int_equal(length, FRAME_HEAD + 100 * 12);
	assert_int_equal(frame.count, 100);
	assert_int_equal(frame.sequence, 0);
	frame_get_flow(&frame, 99, &other);
	assert_true(other.bucket == 9 && other.word == flow.word);
	assert_true(frame_next(bytes + length, writer.used - (size_t)length, &next, &why) > 0);
	assert_int_equal(next.sequence, 1);
	frame_get_slot(&next, 0, &slot2);
	assert_true(slot2.service == 1 && slot2.index == 2 && slot2.claim == 0x80000003);
}

LB_TEST(no_frame_is_longer_than_the_limit)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct dp_shared_flow flow = {0};
	struct frame frame;
	const char *why;

	while (frame_put_flow(&writer, &flow))
		;
	for (size_t at = 0; at < writer.used;) {
		int length = frame_next(bytes + at, writer.used - at, &frame, &why);

		assert_in_range(length, FRAME_HEAD, FRAME_MOST);
		at += (size_t)length;
	}
}

LB_TEST(a_writer_without_room_takes_nothing)
{
	struct frame_writer writer = begin(FRAME_HEAD + 12);
	struct dp_shared_flow flow = {0};

	assert_true(frame_put_flow(&writer, &flow));
	assert_false(frame_put_flow(&writer, &flow));
	assert_false(frame_put_bye(&writer));
	assert_int_equal(only_frame(&writer).count, 1);
}

LB_TEST(a_part_of_a_frame_is_waited_for)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;
	const char *why;

	frame_put_number(&writer, FRAME_WANT, 3);
	for (size_t have = 0; have < writer.used; have++)
		assert_int_equal(frame_next(bytes, have, &frame, &why), 0);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_number(&frame), 3);
}

static void expect_bad(size_t at, uint8_t value, const char *expected)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;
	const char *why = "";

	frame_put_number(&writer, FRAME_WANT, 3);
	bytes[at] = value;
	assert_int_equal(frame_next(bytes, writer.used, &frame, &why), -EBADMSG);
	assert_string_equal(why, expected);
}

LB_TEST(wrong_lengths_types_and_versions_are_refused)
{
	expect_bad(0, 21, "a frame of a wrong length");
	expect_bad(3, 1, "a frame of a wrong length");
	expect_bad(4, 0, "an unknown type of frame");
	expect_bad(4, FRAME_TYPES, "an unknown type of frame");
	expect_bad(5, FRAME_LATEST + 1, "another version of the protocol");
	expect_bad(5, FRAME_OLDEST - 1, "another version of the protocol");
	expect_bad(6, 0, "a frame of a wrong length");
	expect_bad(6, 2, "a frame of a wrong length");
}

LB_TEST(addresses_and_texts_that_cannot_be_are_refused)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct dp_shared_backend backend = {.ref = 1, .protocol = 1}, other;
	struct fleet_hello hello = {0}, hello2;
	struct frame frame;

	backend.vip.family = backend.address.family = 4;
	frame_put_backend(&writer, &backend);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_backend(&frame, 0, &other), -EBADMSG); /* protocol */
	writer = begin(sizeof(bytes));
	backend.protocol = IPPROTO_TCP;
	backend.address.family = 5;
	frame_put_backend(&writer, &backend);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_backend(&frame, 0, &other), -EBADMSG);
	writer = begin(sizeof(bytes));
	memset(hello.name, 'x', sizeof(hello.name));
	frame_put_hello(&writer, &hello);
	frame = only_frame(&writer);
	assert_int_equal(frame_get_hello(&frame, &hello2), -EBADMSG);
}

static struct fleet_beat got;

static int get_beat(const struct fleet_beat *beat)
{
	struct frame_writer writer = begin(sizeof(bytes));
	struct frame frame;

	frame_put_beat(&writer, beat);
	frame = only_frame(&writer);
	return frame_get_beat(&frame, &got);
}

/* They are shown: as numbers of JSON, and in a sum. */
LB_TEST(beats_that_no_node_sends_are_refused)
{
	assert_int_equal(
	    get_beat(&(struct fleet_beat){
		.conflicts = INT64_MAX, .unplaced = INT64_MAX, .behind = 86400000, .synced = 1}),
	    0);
	assert_int_equal(get_beat(&(struct fleet_beat){.conflicts = 1ULL << 63}), -EBADMSG);
	assert_int_equal(get_beat(&(struct fleet_beat){.unplaced = 1ULL << 63}), -EBADMSG);
	assert_int_equal(get_beat(&(struct fleet_beat){.behind = UINT32_MAX}), 0);
	assert_int_equal(got.behind, 86400000);
	assert_int_equal(get_beat(&(struct fleet_beat){.synced = 2}), -EBADMSG);
}

LB_TEST_MAIN("frames", .setup = NULL)
