/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Frames through the real XDP program (BPF_PROG_TEST_RUN), up to eight in a row, against a model
 * that shares no code and no assumption with it. Promises:
 *  - a frame ends with exactly one reason, one that the documents allow, and with its XDP action;
 *    its bytes are those of the IP packet; a backend counts it if and only if it was sent there;
 *  - what is passed is untouched; what is forwarded is the packet behind the right headers, byte
 *    for byte, to a usable backend of the right service, and its flow's;
 *  - answers are right in every byte, go to the sender alone, and to none that cannot be one;
 *  - nothing depends on what is behind the end of the IP packet: all is run again with other
 *    padding.
 * Flows whose hashes collide (2^-35 for two) would look like a fault. */
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet_check.h"
#include "packet_input.h"
#include "packet_mutate.h"
#include "packet_translate.h"
#include "packet_world.h"
#include "fuzz.h"

#define FEATURES     4096
#define ANSWERS_MOST 50000 /* below the rate of a tick */
#define PADDING_MOST 46

/* What the program did with an input, as coverage: libFuzzer sees none of the program's code. */
__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t features[FEATURES];

struct result {
	int reason, verdict, backend;
	bool drawn;    /* least-conn draws one of several backends with as few flows */
	size_t length; /* of what came out, up to the end of the IP packet */
	uint8_t out[FRAME_MOST + 256];
};

static struct fixture *f;
static bool trace;       /* FUZZ_TRACE is set: every frame is printed */
static bool coarse;      /* FUZZ_COARSE is set: few features, for a small corpus */
static uint64_t counted; /* by all backends */
static unsigned answers;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_begin(false);
	trace = getenv("FUZZ_TRACE");
	coarse = getenv("FUZZ_COARSE");
	f = world_open();
	if (!f) {
		fprintf(stderr, "no BPF or no veth interfaces here\n");
		exit(FUZZ_SKIPPED);
	}
	return 0;
}

/* ---- features ---- */

static void feature(unsigned kind, unsigned a, unsigned b)
{
	uint8_t *count = &features[(kind * 0x9e3779b1u + a * 0x85ebca6bu + b * 0xc2b2ae35u) >> 20];

	*count = coarse ? 1 : *count + 1;
}

static void note_features(const struct view *v, const struct expectation *e, int before)
{
	const unsigned shape = v->part | v->family << 2 | v->sound << 5 |
			       v->behind_extensions << 6 | (v->l3 != 14) << 7;

	feature(1, (unsigned)f->reason, shape);
	if (coarse)
		return;
	feature(2, (unsigned)f->reason, v->protocol);
	feature(3, (unsigned)f->reason, (unsigned)before);
	if (e->service)
		feature(4, (unsigned)f->reason, e->service->id);
	for (int i = LB_REASON_COUNT; i < LB_COUNTERS; i++)
		if (f->count[i])
			feature(5, (unsigned)i, e->service ? e->service->plan->port : 0);
}

/* ---- one frame ---- */

static bool is_forwarded(int reason)
{
	return reason == LB_REASON_forwarded_tx || reason == LB_REASON_forwarded_redirect;
}

static uint64_t counted_by_all(void)
{
	uint64_t sum = 0;

	for (uint32_t id = 1; id < f->backends; id++)
		sum += fixture_backend_count(f, (uint16_t)id).packets;
	return sum;
}

/* The sum of all and the one that grew: a packet counted elsewhere shows in the sum. */
static void check_counts(const struct view *v, const struct expectation *e, int backend,
			 const struct lb_backend_count *before)
{
	const size_t bytes = v->link == LINK_IP ? v->ip_length : v->frame_length;
	const uint64_t all = counted_by_all();
	struct lb_backend_count now;

	require(f->bytes[f->reason] == bytes, "%llu bytes counted, expected %zu",
		(unsigned long long)f->bytes[f->reason], bytes);
	require(all - counted == (backend >= 0), "backends counted %llu packets",
		(unsigned long long)(all - counted));
	counted = all;
	if (backend < 0)
		return;
	now = fixture_backend_count(f, e->service->backends[backend].id);
	require(now.packets == before[backend].packets + 1 &&
		    now.bytes == before[backend].bytes + v->ip_length,
		"backend %d counted %llu bytes", backend,
		(unsigned long long)(now.bytes - before[backend].bytes));
}

/* Of what its lists and rates drop, by service. */
static void check_service_counts(const struct expectation *e, const struct lb_service_count *before)
{
	struct lb_service_count now;

	if (!e->service)
		return;
	now = fixture_service_count(f, e->service->id);
	require(now.denied - before->denied == (f->reason == LB_REASON_denied) &&
		    now.over_service - before->over_service ==
			(f->reason == LB_REASON_over_service_rate) &&
		    now.over_source - before->over_source ==
			(f->reason == LB_REASON_over_source_rate),
		"%s, but the service counted something else", fixture_reason_name(f->reason));
}

static void read_counts_before(const struct expectation *e, struct lb_backend_count *ret)
{
	for (int i = 0; e->service && i < WORLD_BACKENDS; i++)
		ret[i] = fixture_backend_count(f, e->service->backends[i].id);
}

/* Checks what left. Returns the index of the backend, -1: none. */
static int check_out(const struct view *v, const struct expectation *e)
{
	require(f->reason >= 0, "no reason was counted, or several");
	require(e->reasons >> f->reason & 1, "reason %s, expected one of %010llx",
		fixture_reason_name(f->reason), (unsigned long long)e->reasons);
	require(f->verdict == fixture_action_of(f->reason), "%s: action %d",
		fixture_reason_name(f->reason), f->verdict);
	if (is_forwarded(f->reason))
		return check_forwarded(v, e, f->out.data, f->out.len);
	if (f->reason == LB_REASON_returned_tx || f->reason == LB_REASON_returned_kernel) {
		check_returned(v, e, f->reason, f->out.data, f->out.len);
		return -1;
	}
	if (f->verdict == XDP_TX)
		check_answer(v, e, f->reason, f->out.data, f->out.len);
	if (f->verdict == XDP_PASS)
		require(f->out.len == f->in.len && !memcmp(f->out.data, f->in.data, f->in.len),
			"%s: changed", fixture_reason_name(f->reason));
	return -1;
}

/* Padding of the packet that came in also leaves behind it; not behind an answer or an ICMP error
 * that was translated, which are made anew. */
static void keep_result(const struct view *v, const struct expectation *e, int backend,
			struct result *ret)
{
	const bool padded = v->link == LINK_IP && v->sound;
	size_t padding = padded ? v->frame_length - v->l3 - v->ip_length : 0;
	struct view out;

	if (f->verdict == XDP_TX && (backend < 0 || is_translated(e->service))) {
		view_of(f->out.data, f->out.len, &out);
		padding = out.frame_length - out.l3 - out.ip_length;
	}
	*ret = (struct result){.reason = f->reason, .verdict = f->verdict, .backend = backend};
	ret->drawn = backend >= 0 && e->service->plan->kind == KIND_LEAST;
	if (f->verdict == XDP_DROP || f->verdict == XDP_PASS)
		return;
	ret->length = f->out.len - padding;
	require(ret->length <= sizeof(ret->out), "%zu bytes", ret->length);
	memcpy(ret->out, f->out.data, ret->length);
}

static void send_frame(const struct input_frame *frame)
{
	memcpy(f->in.data, frame->bytes, frame->length);
	f->in.len = frame->length;
	fixture_send(f);
	if (!trace)
		return;
	packet_print("in", &f->in);
	fprintf(stderr, "%s\n", fixture_reason_name(f->reason));
	if (f->verdict == XDP_TX || f->verdict == XDP_REDIRECT)
		packet_print("out", &f->out);
}

static void run_frame(struct model *model, const struct view *v, const struct input_frame *frame,
		      struct result *ret)
{
	struct lb_backend_count before[WORLD_BACKENDS] = {0};
	struct lb_service_count dropped = {0};
	struct expectation e;
	int backend;

	model_expect(model, v, &e);
	read_counts_before(&e, before);
	if (e.service)
		dropped = fixture_service_count(f, e.service->id);
	send_frame(frame);
	backend = check_out(v, &e);
	check_counts(v, &e, backend, before);
	check_service_counts(&e, &dropped);
	note_features(v, &e, model->flow_count);
	/* where the model leaves open whether the packet is looked at */
	e.reached &= f->reason != LB_REASON_vip_malformed && f->reason != LB_REASON_martian;
	model_note(model, v, &e, f->reason, backend);
	keep_result(v, &e, backend, ret);
	answers += f->verdict == XDP_TX && backend < 0;
}

/* RFC 8200 does not say which of two fragment headers counts: what becomes of such a packet, and of
 * its datagram afterwards, is open. That it ends for one reason, with its action, is not. */
static void run_odd_frame(const struct input_frame *frame)
{
	send_frame(frame);
	require(f->reason >= 0 && f->verdict == fixture_action_of(f->reason),
		"reason %s, action %d", fixture_reason_name(f->reason), f->verdict);
	counted = counted_by_all();
}

/* ---- all frames, twice ---- */

/* Other bytes after the end of the IP packet, and more or fewer of them. */
static void change_padding(struct input_frame *frame, int number)
{
	struct view v;
	size_t end;

	view_of(frame->bytes, frame->length, &v);
	end = v.l3 + v.ip_length;
	if (v.link != LINK_IP || v.ip_length < (v.family == 4 ? 20 : 40) || end > frame->length)
		return;
	if (number % 3 == 0)
		frame->length = end;
	else if (number % 3 == 1 && end + PADDING_MOST <= FRAME_MOST)
		frame->length = end + PADDING_MOST;
	memset(frame->bytes + end, number % 2 ? 0xff : 0, frame->length - end);
}

static void run_all(const struct input *input, struct result *results)
{
	const uint8_t unserved = input->settings & 3;
	const struct world_settings settings = {
	    .unserved = unserved > LB_REFUSE_PASS ? LB_REFUSE_REJECT : unserved,
	    .links_known = !(input->settings & 4),
	    .two_links = input->settings & 32,
	    .no_errors = input->settings & 8,
	    .no_short = input->settings & 16,
	};
	struct model model = {.settings = settings};
	struct view v;

	world_reset(f, &settings);
	memset(results, 0, INPUT_FRAMES * sizeof(*results));
	for (int i = 0; i < input->count; i++) {
		view_of(input->frames[i].bytes, input->frames[i].length, &v);
		if (v.fragment_twice) {
			run_odd_frame(&input->frames[i]);
			return;
		}
		run_frame(&model, &v, &input->frames[i], &results[i]);
	}
}

static void compare(const struct result *a, const struct result *b, int number)
{
	require(a->reason == b->reason && a->verdict == b->verdict &&
		    (a->drawn || a->backend == b->backend),
		"frame %d: %s to %d, with other padding %s to %d", number,
		fixture_reason_name(a->reason), a->backend, fixture_reason_name(b->reason),
		b->backend);
	require(a->length == b->length && (a->drawn || !memcmp(a->out, b->out, a->length)),
		"frame %d (%s): other padding changes what is sent", number,
		fixture_reason_name(a->reason));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input input;
	static struct result first[INPUT_FRAMES], second[INPUT_FRAMES];

	if (!f) /* exit has been called, and libFuzzer's own handlers run */
		return 0;
	input_read(data, size, &input);
	if (answers > ANSWERS_MOST) {
		fixture_clear_rates(f);
		answers = 0;
	}
	run_all(&input, first);
	for (int i = 0; i < input.count; i++)
		change_padding(&input.frames[i], i + (int)size);
	run_all(&input, second);
	for (int i = 0; i < input.count; i++)
		compare(&first[i], &second[i], i);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed)
{
	static struct input input;

	input_read(data, size, &input);
	input_mutate(&input, seed);
	return input_write(&input, data, most);
}
