/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libFuzzer entry for whole sessions with another node, which has the key: HELLO, frames that are
 * right, wrong or cut anywhere, a peer that does not read, newer connections, and between them what
 * the node itself does. The input is a list of steps. Before a HELLO that fits nothing is believed;
 * whatever comes after it, the maps are such that packets go to backends of their service, and what
 * the node says are frames in order. */
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lbd/fleet/session.h"
#include "fleet_check.h"
#include "fuzz.h"

#define PEER    0
#define LINKS   2   /* connections at the same time */
#define TRIES   200 /* turns of the loop in which a handshake, or a write, must get somewhere */
#define BUCKETS 16
#define OWED    (1 << 20) /* bytes that a peer which does not read may cost */

/* One connection, with both its ends. */
struct link {
	struct session *session; /* NULL: it has ended */
	int fd;                  /* of the other node; -1: closed */
	SSL *ssl;
	struct tls_end tls;
	uint64_t sequence, expected; /* numbers of frames: of the next one said, and heard */
	bool spoke, fits;            /* it has said something; first of all a HELLO that fits */
	unsigned greeted, ended;
	uint8_t heard[2 * FRAME_MOST];
	size_t length;
	uint64_t bytes; /* heard in all */
};

static struct event_base *base;
static struct tasks *tasks;
static struct session_node node;
static struct memory_dataplane *memory;
static struct want wants[FLEET_SERVICES];
static struct link links[LINKS], *now;
static unsigned cut; /* the next bytes are said in two parts, the first so long; 0: in one */
static uint64_t now_ms;
static bool has_fitted;

/* ---- input ---- */

static const uint8_t *input;
static size_t input_left;

static uint8_t byte(void)
{
	if (!input_left)
		return 0;
	input_left--;
	return *input++;
}

static uint16_t word(void)
{
	uint8_t low = byte();

	return (uint16_t)(low | byte() << 8);
}

/* ---- the node ---- */

static void on_greeted(void *arg, struct session *session)
{
	struct link *link = arg;

	link->greeted++;
	require(link->fits, "a session without a HELLO that fits");
	has_fitted = true;
	for (unsigned i = 0; i < LINKS; i++)
		if (&links[i] != link && links[i].session && links[i].greeted)
			session_close(links[i].session, SESSION_REPLACED, "by a newer one");
}

static void on_ended(void *arg, struct session *session)
{
	((struct link *)arg)->ended++;
}

static void check_link(struct link *link)
{
	struct session_view view;

	session_look(link->session, now_ms, &view);
	require(link->greeted <= 1 && link->ended <= 1, "%u greetings, %u ends", link->greeted,
		link->ended);
	require((view.state == SESSION_CLOSED) == link->ended, "state %d", view.state);
	require(view.state != SESSION_OPEN || memory->dp->peers[PEER]->open,
		"not in the dataplane");
	require(view.sent - link->bytes <= OWED, "%llu bytes that nobody reads",
		(unsigned long long)(view.sent - link->bytes));
	if (view.state != SESSION_CLOSED)
		return;
	require(*view.why || view.end == SESSION_REFUSED, "an end without a reason");
	session_free(link->session, false);
	link->session = NULL;
}

static void check_links(void)
{
	for (unsigned i = 0; i < LINKS; i++)
		if (links[i].session)
			check_link(&links[i]);
	require(has_fitted || !memory->dp->peers[PEER], "a stranger is in the dataplane");
}

static void turn(unsigned pauses)
{
	event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	tasks_turn(tasks, pauses);
	check_links();
}

/* What changes the world is a task too, and waits for the one that is under way. */
static void end_tasks(void)
{
	while (tasks_turn(tasks, UINT_MAX))
		;
	check_links();
}

static void tick(unsigned ms)
{
	now_ms += ms;
	dataplane_share_scan(memory->dp);
	for (unsigned i = 0; i < LINKS; i++)
		if (links[i].session)
			session_tick(links[i].session, now_ms);
	check_links();
}

/* ---- the other node ---- */

static void link_close(struct link *link)
{
	if (link->fd < 0)
		return;
	SSL_free(link->ssl);
	close(link->fd);
	link->ssl = NULL;
	link->fd = -1;
}

static void link_open(struct link *link, bool connects)
{
	const struct session_options options = {.node = &node,
						.connects = connects,
						.number = PEER,
						.greeted = on_greeted,
						.ended = on_ended,
						.arg = link};
	int fds[2], rc = 0;

	*link = (struct link){.tls.keys = &node.keys};
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
		"no sockets");
	link->fd = fds[1];
	link->session = session_new(&options, fds[0]);
	link->ssl = tls_connection(node.tls, &link->tls);
	require(link->session && link->ssl && SSL_set_fd(link->ssl, link->fd), "no memory");
	if (connects)
		SSL_set_accept_state(link->ssl);
	else
		SSL_set_connect_state(link->ssl);
	for (unsigned i = 0; rc != 1 && i < TRIES; i++) {
		rc = SSL_do_handshake(link->ssl);
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	}
	require(rc == 1, "no handshake with the right key");
}

static void hear_frames(struct link *link)
{
	const char *why = "";
	struct frame frame;
	size_t at = 0;
	int length;

	while ((length = frame_next(link->heard + at, link->length - at, &frame, &why)) > 0) {
		require(frame.sequence == link->expected++, "a frame out of order");
		at += (size_t)length;
	}
	require(!length, "what the node says is no frame: %s", why);
	memmove(link->heard, link->heard + at, link->length -= at);
}

static void hear(struct link *link)
{
	int got;

	while (link->fd >= 0 && (got = SSL_read(link->ssl, link->heard + link->length,
						(int)(sizeof(link->heard) - link->length))) > 0) {
		link->length += (size_t)got;
		link->bytes += (unsigned)got;
		hear_frames(link);
	}
}

static void write_all(struct link *link, const uint8_t *bytes, size_t length)
{
	int rc = 0;

	for (unsigned i = 0; length && link->fd >= 0 && rc <= 0; i++) {
		rc = SSL_write(link->ssl, bytes, (int)length);
		if (rc <= 0 && (i == TRIES || SSL_get_error(link->ssl, rc) != SSL_ERROR_WANT_WRITE))
			link_close(link);
		if (rc <= 0)
			turn(UINT_MAX);
	}
}

static void say(struct link *link, const uint8_t *bytes, size_t length)
{
	size_t first = cut < length ? cut : 0;

	cut = 0;
	write_all(link, bytes, first);
	if (first)
		turn(UINT_MAX);
	write_all(link, bytes + first, length - first);
	link->spoke = true;
}

/* ---- frames ---- */

static uint8_t bytes[FRAME_MOST];

static struct frame_writer writer_of(const struct link *link)
{
	return (struct frame_writer){
	    .bytes = bytes, .room = sizeof(bytes), .sequence = link->sequence};
}

static void say_written(struct link *link, const struct frame_writer *writer)
{
	link->sequence = writer->sequence;
	say(link, bytes, writer->used);
}

static void step_hello(void)
{
	struct frame_writer writer = writer_of(now);
	struct fleet_hello hello = {.boot = 2,
				    .buckets = BUCKETS,
				    .name = "far",
				    .version = "1",
				    .speaks = {FRAME_OLDEST, FRAME_LATEST}};
	uint8_t wrong = byte() % 8;

	if (now->fd < 0 ||
	    tls_digest(now->ssl, dataplane_hash_seed(memory->dp), &hello.seed_digest))
		return;
	hello.seed_digest ^= wrong == 1;
	hello.buckets += wrong == 2;
	hello.boot -= wrong == 3;
	hello.name[0] = wrong == 4 ? '\n' : 'f';
	if (wrong == 5)
		hello.speaks = (struct fleet_range){byte(), byte()};
	frame_put_hello(&writer, &hello);
	now->fits |= !now->spoke && now->session && (!wrong || wrong > 4);
	say_written(now, &writer);
}

static void put_key(struct addr *ret_vip, uint16_t *ret_port, uint8_t *ret_protocol)
{
	uint8_t kind = byte();

	*ret_vip = wants[0].service.vip;
	*ret_port = kind & 1 ? 80 : kind;
	*ret_protocol = kind & 2 ? IPPROTO_UDP : IPPROTO_TCP;
	ret_vip->family = kind & 128 ? 6 : 4;
}

static bool put_backend(struct frame_writer *writer)
{
	struct dp_shared_backend backend = {.ref = byte() % 8, .address = want_address(byte() % 5)};

	put_key(&backend.vip, &backend.port, &backend.protocol);
	return frame_put_backend(writer, &backend);
}

static uint32_t size(void)
{
	static const uint32_t sizes[] = {13, 13, 0, 11, 17, 4, 251, 268435399, 1u << 31};

	return sizes[byte() % (sizeof(sizes) / sizeof(*sizes))];
}

static bool put_service(struct frame_writer *writer)
{
	struct dp_shared_service service = {.ref = byte() % 5,
					    .size = size(),
					    .configured = size(),
					    .evaluated = byte(),
					    .unplaced = word(),
					    .fresh = byte() & 1,
					    .digest = byte()};

	put_key(&service.vip, &service.port, &service.protocol);
	return frame_put_service(writer, &service);
}

static bool put_slot(struct frame_writer *writer)
{
	uint8_t flags = byte();
	struct dp_shared_slot slot = {.service = byte() % 5, .index = byte() % 16};

	slot.claim = LB_SLOT(byte() % 8, byte() % 8) | (flags & 1 ? LB_SLOT_TRANSITION : 0) |
		     (flags & 2 ? LB_SLOT_LEARNING : 0) | (flags & 4 ? CLAIM_QUIET : 0);
	return frame_put_slot(writer, &slot);
}

static bool put_flow(struct frame_writer *writer)
{
	struct dp_shared_flow flow = {.bucket = byte() % (BUCKETS + 1)};

	flow.word = (uint64_t)byte() << LB_FLOW_FP_SHIFT |
		    (uint64_t)(byte() % 8) << LB_FLOW_BACKEND_SHIFT |
		    (uint64_t)(byte() % 16) << LB_FLOW_STATE_SHIFT | word();
	return frame_put_flow(writer, &flow);
}

static bool put_want(struct frame_writer *writer)
{
	return frame_put_number(writer, FRAME_WANT, byte());
}

static bool put_end(struct frame_writer *writer)
{
	const struct peer *peer = memory->dp->peers[PEER];

	return frame_put_number(writer, FRAME_END, peer ? peer->wanted + byte() % 2 : byte());
}

static bool put_beat(struct frame_writer *writer)
{
	const struct fleet_beat beat = {.sent_ms = byte(),
					.echo_ms = word(),
					.held_ms = byte(),
					.behind = byte() ? 0 : UINT32_MAX,
					.synced = byte() % 3};

	return frame_put_beat(writer, &beat);
}

static bool put_node(struct frame_writer *writer)
{
	return frame_put_node(writer, byte() % 2);
}

static bool put_refused(struct frame_writer *writer)
{
	const char why[] = {(char)byte(), (char)byte(), 0};

	return frame_put_refused(writer, why);
}

/* Up to 8 items, of one type or of several. */
static void step_frames(void)
{
	static bool (*const puts[])(struct frame_writer *) = {
	    put_backend, put_service, put_slot, put_flow,    put_flow,     put_want,
	    put_end,     put_beat,    put_node, put_refused, frame_put_bye};
	struct frame_writer writer = writer_of(now);
	uint8_t kind = byte() % (sizeof(puts) / sizeof(*puts));

	for (unsigned left = 1 + byte() % 8; left; left--)
		puts[kind](&writer);
	say_written(now, &writer);
}

/* A head that is right but for what the input changes, and any items. */
static void step_head(void)
{
	uint8_t length = byte(), wrong = byte();
	uint8_t head[FRAME_HEAD] = {(uint8_t)(FRAME_HEAD + length),        0,     0, 0, byte() % 16,
				    (uint8_t)(FRAME_LATEST + (wrong & 1)), byte()};

	head[0] += wrong >> 1 & 1;
	head[3] = wrong >> 2 & 1 ? 0xff : 0;
	head[8] = (uint8_t)(now->sequence + (wrong >> 3 & 1));
	head[9] = (uint8_t)(now->sequence >> 8);
	now->sequence++;
	memcpy(bytes, head, sizeof(head));
	for (unsigned i = 0; i < length; i++)
		bytes[FRAME_HEAD + i] = byte();
	say(now, bytes, FRAME_HEAD + length);
}

static void step_raw(void)
{
	uint8_t length = byte();

	for (unsigned i = 0; i < length; i++)
		bytes[i] = byte();
	say(now, bytes, length);
}

static void step_keys(void)
{
	if (now->fd < 0)
		return;
	for (unsigned i = byte() % 8; i; i--)
		if (SSL_key_update(now->ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
			SSL_do_handshake(now->ssl);
}

/* ---- steps ---- */

static void step_cut(void)
{
	cut = byte();
}

static void step_hear(void)
{
	hear(now);
}

static void step_tick(void)
{
	tick(byte());
}

static void step_turn(void)
{
	turn(byte() % 4);
}

static void step_end_tasks(void)
{
	for (unsigned i = 0; i < 4; i++)
		turn(UINT_MAX);
}

static void step_close(void)
{
	link_close(now);
}

/* Also while a task takes what the former one has said. */
static void step_connect(void)
{
	bool connects = byte() & 1;

	now = &links[now == links];
	session_free(now->session, byte() & 1);
	link_close(now);
	link_open(now, connects);
	check_links();
}

static void step_backend(void)
{
	struct want *want = &wants[byte() % FLEET_SERVICES];
	uint8_t number = 1 + byte() % 5;

	end_tasks();
	if (!want_find(want, number))
		want_add(want, number, 1 + byte() % 4);
	else if (want->service.backends_count > 1)
		want_remove(want, number);
	want_commit(memory->dp, wants, FLEET_SERVICES);
}

static void step_flow(void)
{
	uint32_t at = byte() % BUCKETS;
	uint16_t id = want_id(memory->dp, &wants[0], 1);

	if (!id)
		return;
	memory->dp->maps.flows[at * LB_FLOW_WAYS] =
	    (uint64_t)byte() << LB_FLOW_FP_SHIFT | (uint64_t)id << LB_FLOW_BACKEND_SHIFT |
	    (uint64_t)LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT |
	    (dp_tick(memory->dp) & LB_FLOW_TICK_MASK);
	memory->dp->maps.dirty[at] = 1;
}

static void step_sweep(void)
{
	end_tasks();
	while (dataplane_sweep(memory->dp, 100000, memory->dp->clock += 1 + byte() % 4))
		;
}

static void step_join(void)
{
	end_tasks();
	dataplane_join(memory->dp, byte() & 1 ? DP_JOINS : DP_JOINED);
}

static void (*const steps[])(void) = {
    step_frames, step_frames,  step_frames, step_frames, step_hello,    step_turn,  step_hear,
    step_tick,   step_head,    step_raw,    step_keys,   step_cut,      step_close, step_connect,
    step_flow,   step_backend, step_sweep,  step_join,   step_end_tasks};

/* ---- the fuzzer ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	signal(SIGPIPE, SIG_IGN); /* as lbd does */
	fuzz_begin(false);
	base = loop_new();
	require(base && !tasks_new(base, &tasks), "no memory");
	tasks_by_hand(tasks);
	node = (struct session_node){.base = base,
				     .tasks = tasks,
				     .tls = tls_new(),
				     .keys = {.list = {{.id = "00000001"}}, .count = 1},
				     .boot = 1,
				     .identity = 1,
				     .speaks = {FRAME_OLDEST, FRAME_LATEST},
				     .name = "near",
				     .chunk = malloc(FRAME_MOST)};
	require(node.tls && node.chunk, "no memory");
	return 0;
}

static void begin(void)
{
	memory = memory_dataplane_new((struct memory_limits){4, 16, 1 << 10, BUCKETS});
	memory->dp->clock = 10000;
	node.dp = memory->dp;
	fleet_commit(memory->dp, wants);
	now_ms = 1000;
	cut = 0;
	has_fitted = false;
	for (unsigned i = 0; i < LINKS; i++)
		links[i] = (struct link){.fd = -1};
	now = &links[0];
	link_open(now, byte() & 1);
}

static void end(void)
{
	for (unsigned i = 0; i < LINKS; i++)
		hear(&links[i]);
	end_tasks();
	for (unsigned i = 0; i < 3; i++) {
		step_sweep();
		fleet_check(memory->dp, wants);
		tick(100);
	}
	for (unsigned i = 0; i < LINKS; i++) {
		session_free(links[i].session, false);
		link_close(&links[i]);
	}
	tasks_finish(tasks);
	event_base_loop(base, EVLOOP_NONBLOCK); /* what libevent frees later */
	memory_dataplane_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	input = data;
	input_left = length;
	begin();
	while (input_left)
		steps[byte() % (sizeof(steps) / sizeof(*steps))]();
	end();
	return 0;
}
