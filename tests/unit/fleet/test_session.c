/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sessions of two nodes over a pair of sockets, with real TLS; and of one node with an end that the
 * test plays by hand, with the right key and with frames of its own. Time is the test's: a tick may
 * say that 100 ms have passed. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "lbd/fleet/session.h"
#include "support/memory_dataplane.h"
#include "support/test_loop.h"
#include "support/test_registry.h"

#define BUCKETS  1024
#define PATIENCE 10000 /* ms of real time for what must happen */
#define PEER     0

static struct event_base *base;
static struct tasks *tasks;

struct node {
	struct memory_dataplane *memory;
	struct want want;
	struct session_node node;
	struct session *session;
	unsigned greeted, ended;
	uint64_t now_ms; /* of its ticks */
};

static struct node nodes[2];

static void on_greeted(void *arg, struct session *session)
{
	((struct node *)arg)->greeted++;
}

static void on_ended(void *arg, struct session *session)
{
	((struct node *)arg)->ended++;
}

static void set_key(struct fleet_keys *keys, unsigned at, uint8_t number)
{
	memset(keys->list[at].secret, number, FLEET_KEY);
	snprintf(keys->list[at].id, FLEET_KEY_ID, "%08x", number);
	if (keys->count <= at)
		keys->count = at + 1;
}

static void node_open(struct node *node, unsigned number)
{
	*node = (struct node){.now_ms = 1000};
	node->memory = memory_dataplane_new((struct memory_limits){16, 64, 1 << 12, BUCKETS});
	want_init(&node->want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&node->want, 1, 1);
	want_add(&node->want, 2, 1);
	want_commit(node->memory->dp, &node->want, 1);
	node->node = (struct session_node){.base = base,
					   .tasks = tasks,
					   .dp = node->memory->dp,
					   .tls = tls_new(),
					   .boot = 100 + number,
					   .config_digest = 7,
					   .identity = 1000 + number,
					   .speaks = {FRAME_OLDEST, FRAME_LATEST},
					   .name = "lb",
					   .chunk = malloc(FRAME_MOST)};
	set_key(&node->node.keys, 0, 1);
	assert_non_null(node->node.tls);
}

static void node_close(struct node *node)
{
	session_free(node->session, false);
	tasks_finish(tasks);
	SSL_CTX_free(node->node.tls);
	free(node->node.chunk);
	memory_dataplane_free(node->memory);
}

static int setup(void **state)
{
	signal(SIGPIPE, SIG_IGN); /* as lbd does */
	base = loop_new();
	assert_int_equal(tasks_new(base, &tasks), 0);
	for (unsigned i = 0; i < 2; i++)
		node_open(&nodes[i], i);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < 2; i++)
		node_close(&nodes[i]);
	tasks_free(tasks);
	event_base_loop(base, EVLOOP_NONBLOCK); /* what libevent frees later */
	event_base_free(base);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

static void socket_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
}

static void begin(struct node *node, bool connects, int fd)
{
	const struct session_options options = {.node = &node->node,
						.connects = connects,
						.number = PEER,
						.greeted = on_greeted,
						.ended = on_ended,
						.arg = node};

	node->session = session_new(&options, fd);
	assert_non_null(node->session);
}

static struct session_view view_of(const struct node *node)
{
	struct session_view view;

	session_look(node->session, node->now_ms, &view);
	return view;
}

/* ms: that the node believes to have passed since its last tick. */
static void tick(struct node *node, unsigned ms)
{
	if (!node->session)
		return;
	node->now_ms += ms;
	dataplane_share_scan(node->node.dp);
	session_tick(node->session, node->now_ms);
}

/* Until both sessions satisfy, or it takes too long. */
static void run_until(bool (*satisfied)(void))
{
	uint64_t end = clock_monotonic_ms() + PATIENCE;

	while (!satisfied()) {
		if (clock_monotonic_ms() > end)
			fail_msg("states %d and %d: %s, %s", view_of(&nodes[0]).state,
				 nodes[1].session ? (int)view_of(&nodes[1]).state : -1,
				 view_of(&nodes[0]).why,
				 nodes[1].session ? view_of(&nodes[1]).why : "");
		tick(&nodes[0], 1);
		tick(&nodes[1], 1);
		test_loop_run(base, 2);
	}
}

static bool are_synced(void)
{
	struct session_view a = view_of(&nodes[0]), b = view_of(&nodes[1]);

	return a.synced && a.told && b.synced && b.told;
}

static bool is_one_over(void)
{
	return nodes[0].ended;
}

static bool are_over(void)
{
	return nodes[0].ended && nodes[1].ended;
}

static void meet(void)
{
	int fds[2];

	socket_pair(fds);
	begin(&nodes[0], true, fds[0]);
	begin(&nodes[1], false, fds[1]);
}

static void expect_end(const struct node *node, enum session_end end, const char *part)
{
	struct session_view view = view_of(node);

	assert_int_equal(view.state, SESSION_CLOSED);
	if (!strstr(view.why, part))
		fail_msg("expected \"%s\" in: %s", part, view.why);
	assert_int_equal(view.end, end);
}

/* ---- flows ---- */

static void put_flow(struct node *node, uint32_t bucket, uint64_t fingerprint)
{
	struct dataplane *dp = node->node.dp;
	uint64_t *word = &dp->maps.flows[bucket * LB_FLOW_WAYS];

	*word = fingerprint << LB_FLOW_FP_SHIFT |
		(uint64_t)want_id(dp, &node->want, 1) << LB_FLOW_BACKEND_SHIFT |
		(uint64_t)LB_FLOW_ESTABLISHED << LB_FLOW_STATE_SHIFT |
		(dp_tick(dp) & LB_FLOW_TICK_MASK);
	dp->maps.dirty[bucket] = 1;
}

static bool has_flow(const struct node *node, uint64_t fingerprint)
{
	const struct dp_maps *maps = &node->node.dp->maps;

	for (uint32_t i = 0; i < maps->flow_words; i++)
		if (LB_FLOW_STATE(maps->flows[i]) &&
		    maps->flows[i] >> LB_FLOW_FP_SHIFT == fingerprint)
			return true;
	return false;
}

static bool is_flow_there(void)
{
	return has_flow(&nodes[1], 77);
}

/* ---- two nodes ---- */

TEST(two_nodes_tell_each_other_everything_and_then_what_changes)
{
	struct session_view view;

	put_flow(&nodes[1], 5, 55);
	meet();
	run_until(are_synced);
	assert_true(has_flow(&nodes[0], 55));
	put_flow(&nodes[0], 7, 77);
	run_until(is_flow_there);
	view = view_of(&nodes[0]);
	assert_string_equal(view.hello->version, LBD_VERSION);
	assert_string_equal(view.key, "00000001");
	assert_int_equal(nodes[0].greeted, 1);
}

TEST(a_node_without_the_key_is_refused_by_name)
{
	set_key(&nodes[0].node.keys, 0, 0xab);
	meet();
	run_until(are_over);
	expect_end(&nodes[1], SESSION_REFUSED, "its key 000000ab is not in key-file");
	expect_end(&nodes[0], SESSION_REFUSED, "it refuses key 000000ab");
	assert_int_equal(nodes[0].greeted + nodes[1].greeted, 0);
}

TEST(a_node_connects_with_its_first_key_and_either_key_is_accepted)
{
	set_key(&nodes[0].node.keys, 0, 2);
	set_key(&nodes[1].node.keys, 1, 2);
	meet();
	run_until(are_synced);
	assert_string_equal(view_of(&nodes[1]).key, "00000002");
}

TEST(a_key_of_the_same_id_but_another_secret_is_refused)
{
	nodes[0].node.keys.list[0].secret[5] ^= 1;
	meet();
	run_until(are_over);
	assert_int_equal(nodes[0].greeted + nodes[1].greeted, 0);
}

TEST(another_seed_is_refused_by_name_at_both_ends)
{
	nodes[0].node.dp->maps.settings->flow_seed ^= 1;
	meet();
	run_until(are_over);
	for (unsigned i = 0; i < 2; i++)
		expect_end(&nodes[i], SESSION_REFUSED, "hash seeds differ");
}

TEST(another_size_of_the_flow_table_is_refused_by_name)
{
	struct memory_dataplane *other =
	    memory_dataplane_new((struct memory_limits){16, 64, 1 << 12, 2 * BUCKETS});

	nodes[0].node.dp = other->dp;
	meet();
	run_until(are_over);
	expect_end(&nodes[0], SESSION_REFUSED, "limits: flows");
	expect_end(&nodes[1], SESSION_REFUSED, "limits: flows");
	nodes[0].node.dp = nodes[0].memory->dp;
	session_free(nodes[0].session, false);
	nodes[0].session = NULL;
	memory_dataplane_free(other);
}

TEST(a_node_does_not_talk_to_itself)
{
	nodes[1].node.boot = nodes[0].node.boot;
	meet();
	run_until(are_over);
	expect_end(&nodes[0], SESSION_REFUSED, "the node itself");
}

TEST(a_stop_is_told_from_a_failure)
{
	meet();
	run_until(are_synced);
	test_loop_run(base, 20); /* nothing waits in a buffer */
	session_free(nodes[1].session, true);
	nodes[1].session = NULL;
	run_until(is_one_over);
	expect_end(&nodes[0], SESSION_STOPPED, "stopped");
	assert_false(nodes[0].node.dp->peers[PEER]->open);
}

TEST(what_was_sent_before_the_connection_failed_is_taken)
{
	meet();
	run_until(are_synced);
	put_flow(&nodes[0], 7, 77);
	tick(&nodes[0], 1);
	event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE); /* it is in the socket */
	session_free(nodes[0].session, false);
	nodes[0].session = NULL;
	while (!nodes[1].ended) {
		tick(&nodes[1], 1);
		test_loop_run(base, 2);
	}
	expect_end(&nodes[1], SESSION_LOST, "ended");
	assert_true(has_flow(&nodes[1], 77));
}

/* ---- one node, and an end played by hand ---- */

struct hand {
	struct bufferevent *bev;
	struct tls_end tls;
	struct fleet_keys keys;
	SSL *ssl;
	bool connected;
	uint8_t version; /* of its frames; 0: the latest */
	uint64_t sequence;
};

static struct hand hand;

static void on_hand_event(struct bufferevent *bev, short what, void *arg)
{
	hand.connected |= what & BEV_EVENT_CONNECTED;
}

static void hand_open(int fd)
{
	hand = (struct hand){0};
	set_key(&hand.keys, 0, 1);
	hand.tls.keys = &hand.keys;
	hand.ssl = tls_connection(nodes[1].node.tls, &hand.tls);
	hand.bev = bufferevent_openssl_socket_new(base, fd, hand.ssl, BUFFEREVENT_SSL_ACCEPTING,
						  BEV_OPT_CLOSE_ON_FREE);
	assert_non_null(hand.bev);
	bufferevent_setcb(hand.bev, NULL, NULL, on_hand_event, NULL);
	bufferevent_enable(hand.bev, EV_READ | EV_WRITE);
}

static bool is_connected(void)
{
	return hand.connected && view_of(&nodes[0]).state >= SESSION_GREETS;
}

static bool is_open(void)
{
	return view_of(&nodes[0]).state == SESSION_OPEN;
}

static void hand_meet(void)
{
	int fds[2];

	socket_pair(fds);
	begin(&nodes[0], true, fds[0]);
	hand_open(fds[1]);
	run_until(is_connected);
}

static void hand_send(const void *bytes, size_t length)
{
	assert_int_equal(bufferevent_write(hand.bev, bytes, length), 0);
}

static void hand_send_hello(void)
{
	uint8_t bytes[512];
	struct frame_writer writer = {.bytes = bytes,
				      .room = sizeof(bytes),
				      .version = hand.version,
				      .sequence = hand.sequence};
	struct fleet_hello hello = {.boot = 1,
				    .buckets = BUCKETS,
				    .name = "hand",
				    .version = "1",
				    .speaks = {FRAME_OLDEST, FRAME_LATEST}};

	assert_int_equal(
	    tls_digest(hand.ssl, dataplane_hash_seed(nodes[0].node.dp), &hello.seed_digest), 0);
	frame_put_hello(&writer, &hello);
	hand.sequence = writer.sequence;
	hand_send(bytes, writer.used);
}

static void hand_send_echo(uint64_t echo_ms)
{
	uint8_t bytes[512];
	struct frame_writer writer = {.bytes = bytes,
				      .room = sizeof(bytes),
				      .version = hand.version,
				      .sequence = hand.sequence};
	struct fleet_beat beat = {.sent_ms = 1, .echo_ms = echo_ms};

	frame_put_beat(&writer, &beat);
	hand.sequence = writer.sequence;
	hand_send(bytes, writer.used);
}

static void hand_send_beat(void)
{
	hand_send_echo(0);
}

static void hand_send_end(uint32_t number)
{
	uint8_t bytes[FRAME_HEAD + 4];
	struct frame_writer writer = {.bytes = bytes,
				      .room = sizeof(bytes),
				      .version = hand.version,
				      .sequence = hand.sequence};

	frame_put_number(&writer, FRAME_END, number);
	hand.sequence = writer.sequence;
	hand_send(bytes, writer.used);
}

static void hand_close(void)
{
	bufferevent_free(hand.bev);
}

/* Who is on the way, has no key, and offers a certificate in its place. */
static SSL *make_impostor(SSL_CTX **ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	*ret = SSL_CTX_new(TLS_server_method());
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const uint8_t *)"lb", -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(*ret, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(*ret, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return SSL_new(*ret);
}

TEST(a_certificate_in_place_of_the_key_is_refused)
{
	SSL_CTX *tls;
	int fds[2];

	socket_pair(fds);
	hand = (struct hand){.ssl = make_impostor(&tls)};
	hand.bev = bufferevent_openssl_socket_new(base, fds[1], hand.ssl, BUFFEREVENT_SSL_ACCEPTING,
						  BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(hand.bev, NULL, NULL, on_hand_event, NULL);
	bufferevent_enable(hand.bev, EV_READ | EV_WRITE);
	begin(&nodes[0], true, fds[0]);
	run_until(is_one_over);
	expect_end(&nodes[0], SESSION_REFUSED, "certificate verify failed");
	assert_int_equal(nodes[0].greeted, 0);
	assert_int_equal(view_of(&nodes[0]).sent, 0);
	hand_close();
	SSL_CTX_free(tls);
}

/* ---- versions of the protocol ---- */

TEST(two_nodes_speak_the_latest_version_and_know_each_other)
{
	meet();
	run_until(are_synced);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(view_of(&nodes[i]).version, FRAME_LATEST);
		assert_int_equal(view_of(&nodes[i]).identity, 1001 - i);
	}
}

static void sync_and_tell(unsigned older)
{
	nodes[older].node.speaks = (struct fleet_range){1, 1};
	meet();
	run_until(are_synced);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(view_of(&nodes[i]).version, 1);
		assert_int_equal(view_of(&nodes[i]).identity, 0);
	}
	put_flow(&nodes[0], 7, 77);
	put_flow(&nodes[1], 8, 88);
	for (unsigned i = 0; i < 1000 && !(has_flow(&nodes[0], 88) && has_flow(&nodes[1], 77));
	     i++) {
		tick(&nodes[0], 1);
		tick(&nodes[1], 1);
		test_loop_run(base, 2);
	}
	assert_true(has_flow(&nodes[0], 88) && has_flow(&nodes[1], 77));
}

TEST(an_older_node_that_connects_is_told_in_its_own_version)
{
	sync_and_tell(0);
}

TEST(an_older_node_that_accepts_is_told_in_its_own_version)
{
	sync_and_tell(1);
}

TEST(nodes_without_a_version_in_common_refuse_each_other_by_name)
{
	nodes[1].node.speaks = (struct fleet_range){FRAME_LATEST + 1, FRAME_LATEST + 2};
	meet();
	run_until(are_over);
	expect_end(&nodes[0], SESSION_REFUSED, "versions 3 to 4 and 1 to 2 of the protocol");
	expect_end(&nodes[1], SESSION_REFUSED,
		   "of the protocol: expected lbds that have one in common");
	assert_int_equal(nodes[0].greeted + nodes[1].greeted, 0);
}

TEST(a_newer_node_speaks_as_this_one_does)
{
	nodes[1].node.speaks = (struct fleet_range){FRAME_OLDEST, FRAME_LATEST + 5};
	meet();
	run_until(are_synced);
	assert_int_equal(view_of(&nodes[0]).version, FRAME_LATEST);
	assert_int_equal(view_of(&nodes[1]).version, FRAME_LATEST);
}

/* As the first lbd that had peers wrote it, byte for byte. */
static void hand_send_first_hello(void)
{
	uint8_t bytes[16 + 92] = {16 + 92, 0, 0, 0, 1, 1, 1, 0}, *at = bytes + 16;
	uint64_t digest;

	assert_int_equal(tls_digest(hand.ssl, dataplane_hash_seed(nodes[0].node.dp), &digest), 0);
	at[0] = 1; /* boot */
	for (unsigned i = 0; i < 8; i++)
		at[8 + i] = (uint8_t)(digest >> 8 * i);
	at[24] = (uint8_t)BUCKETS;
	at[25] = (uint8_t)(BUCKETS >> 8);
	memcpy(at + 28, "old", 3);
	memcpy(at + 60, "0.1.0", 5);
	hand.sequence = 1;
	hand_send(bytes, sizeof(bytes));
}

/* Of all that has come: the frames of a type. */
static unsigned hand_count(uint8_t type, uint8_t version)
{
	struct evbuffer *input = bufferevent_get_input(hand.bev);
	size_t length = evbuffer_get_length(input), at = 0;
	const uint8_t *bytes = evbuffer_pullup(input, -1);
	unsigned count = 0;

	while (at + FRAME_HEAD <= length) {
		count += bytes[at + 4] == type;
		assert_int_equal(bytes[at + 5], version);
		at += (size_t)(bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16);
	}
	return count;
}

static bool has_beat(void)
{
	return evbuffer_get_length(bufferevent_get_input(hand.bev)) > FRAME_HEAD + 92 &&
	       hand_count(FRAME_BEAT, 1);
}

TEST(the_first_lbd_with_peers_is_told_nothing_that_it_does_not_know)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE;

	hand_meet();
	hand_send_first_hello();
	run_until(is_open);
	assert_string_equal(view_of(&nodes[0]).hello->name, "old");
	assert_int_equal(view_of(&nodes[0]).version, 1);
	while (!has_beat()) {
		assert_true(clock_monotonic_ms() < end);
		tick(&nodes[0], 100);
		test_loop_run(base, 2);
	}
	assert_int_equal(hand_count(FRAME_HELLO, 1), 1);
	assert_int_equal(hand_count(FRAME_NODE, 1), 0);
	hand_close();
}

TEST(what_begins_with_another_version_is_refused)
{
	const uint8_t frame[FRAME_HEAD + 1] = {FRAME_HEAD + 1,  0, 0, 0, FRAME_HELLO,
					       FRAME_FIRST + 1, 1};

	hand_meet();
	hand_send(frame, sizeof(frame));
	for (unsigned i = 0; i < 100 && !nodes[0].ended; i++) {
		tick(&nodes[0], 100);
		test_loop_run(base, 2);
	}
	expect_end(&nodes[0], SESSION_REFUSED,
		   "begins with version 2 of the protocol, and not with 1");
	hand_close();
}

/* Each in place of a frame after HELLO. */
static void expect_closed_by(const uint8_t *bytes, size_t length, const char *why)
{
	hand_meet();
	hand_send_hello();
	run_until(is_open);
	hand_send(bytes, length);
	run_until(is_one_over);
	expect_end(&nodes[0], SESSION_LOST, why);
	hand_close();
}

TEST(a_frame_that_is_too_long_ends_the_session)
{
	const uint8_t frame[FRAME_HEAD] = {1, 0, 2, 0, FRAME_SLOTS, FRAME_LATEST, 1};

	expect_closed_by(frame, sizeof(frame), "a frame of 131073 bytes");
}

TEST(a_frame_of_an_unknown_type_ends_the_session)
{
	const uint8_t frame[FRAME_HEAD] = {FRAME_HEAD, 0, 0, 0, 99, FRAME_LATEST, 1};

	expect_closed_by(frame, sizeof(frame), "an unknown type of frame");
}

TEST(a_frame_of_another_version_than_agreed_ends_the_session)
{
	const uint8_t frame[FRAME_HEAD + 4] = {FRAME_HEAD + 4,   0, 0, 0, FRAME_WANT,
					       FRAME_LATEST - 1, 1, 0, 1};

	expect_closed_by(frame, sizeof(frame), "a frame of version 1, and not 2");
}

TEST(a_frame_out_of_order_ends_the_session)
{
	const uint8_t frame[FRAME_HEAD + 4] = {FRAME_HEAD + 4, 0, 0, 0, FRAME_WANT,
					       FRAME_LATEST,   1, 0, 9};

	expect_closed_by(frame, sizeof(frame), "a frame out of order");
}

static void hand_send_node(uint64_t identity)
{
	uint8_t bytes[FRAME_HEAD + 8];
	struct frame_writer writer = {
	    .bytes = bytes, .room = sizeof(bytes), .sequence = hand.sequence};

	frame_put_node(&writer, identity);
	hand.sequence = writer.sequence;
	hand_send(bytes, writer.used);
}

TEST(a_node_that_becomes_another_ends_the_session)
{
	hand_meet();
	hand_send_hello();
	hand_send_node(7);
	hand_send_node(7);
	run_until(is_open);
	hand_send_node(8);
	run_until(is_one_over);
	expect_end(&nodes[0], SESSION_LOST, "it sent another identity than before");
	assert_int_equal(view_of(&nodes[0]).identity, 7);
	hand_close();
}

TEST(what_is_no_hello_ends_the_session)
{
	hand_meet();
	hand.version = FRAME_FIRST;
	hand_send_beat();
	run_until(is_one_over);
	expect_end(&nodes[0], SESSION_LOST, "does not begin with HELLO");
	hand_close();
}

/* The connection is open, or only half of it. */
TEST(a_peer_that_begins_no_handshake_is_closed)
{
	int fds[2];

	socket_pair(fds);
	begin(&nodes[0], false, fds[0]);
	assert_int_equal(write(fds[1], "\x16\x03\x01\x02", 4), 4);
	for (unsigned i = 0; i < 49; i++)
		tick(&nodes[0], 100);
	test_loop_run(base, 5);
	assert_int_equal(nodes[0].ended, 0);
	for (unsigned i = 0; i < 3; i++)
		tick(&nodes[0], 100);
	expect_end(&nodes[0], SESSION_LOST, "no TLS handshake within 5 s");
	close(fds[1]);
}

TEST(a_peer_without_hello_is_closed)
{
	hand_meet();
	for (unsigned i = 0; i < 60 && !nodes[0].ended; i++)
		tick(&nodes[0], 100);
	expect_end(&nodes[0], SESSION_LOST, "no HELLO within 5 s");
	hand_close();
}

TEST(a_silent_peer_is_closed)
{
	hand_meet();
	hand_send_hello();
	run_until(is_open);
	for (unsigned i = 0; i < 40 && !nodes[0].ended; i++)
		tick(&nodes[0], 100);
	expect_end(&nodes[0], SESSION_LOST, "silent for 3 s");
	assert_false(nodes[0].node.dp->peers[PEER]->open);
	hand_close();
}

/* Until then nothing settles here. */
TEST(a_peer_that_is_connected_and_tells_nothing_is_closed)
{
	hand_meet();
	hand_send_hello();
	run_until(is_open);
	for (unsigned i = 0; i < 120 && !nodes[0].ended; i++) {
		if (i % 3 == 0)
			hand_send_beat();
		test_loop_run(base, 2);
		tick(&nodes[0], 100);
	}
	expect_end(&nodes[0], SESSION_LOST, "told nothing for 10 s, and not everything");
	hand_close();
}

/* Two minutes in which backends are added again and again, and it tells everything for each. */
TEST(a_peer_is_not_closed_because_more_and_more_is_asked_of_it)
{
	struct peer *peer;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	peer = nodes[0].node.dp->peers[PEER];
	for (unsigned i = 1; i < 1200 && !nodes[0].ended; i++) {
		if (i % 3 == 0)
			hand_send_echo(i);
		if (i % 30 == 0) {
			peer->wanted++;
			hand_send_end(peer->wanted - 1);
		}
		test_loop_run(base, 1);
		tick(&nodes[0], 100);
	}
	assert_int_equal(view_of(&nodes[0]).state, SESSION_OPEN);
	assert_false(view_of(&nodes[0]).synced);
	hand_close();
}

static unsigned unread(int fd)
{
	int length;

	assert_int_equal(ioctl(fd, FIONREAD, &length), 0);
	return (unsigned)length;
}

/* Records without content, of which a peer may send any number. */
TEST(keys_that_are_changed_without_end_take_one_turn_of_the_loop_each)
{
	unsigned changes = 0, before;
	int fds[2];

	socket_pair(fds);
	begin(&nodes[0], true, fds[0]);
	hand_open(fds[1]);
	run_until(is_connected);
	hand_send_hello();
	run_until(is_open);
	bufferevent_disable(hand.bev, EV_READ | EV_WRITE);
	for (unsigned i = 0; i < 20; i++)
		test_loop_run(base, 1);
	while (changes < 100 && SSL_key_update(hand.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
	       SSL_do_handshake(hand.ssl) == 1)
		changes++;
	before = unread(fds[0]);
	assert_true(changes > 10 && before > 10 * FRAME_HEAD);
	event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_in_range(unread(fds[0]), before / 2, before);
	hand_close();
}

TEST(lateness_of_its_own_is_not_held_against_a_peer)
{
	meet();
	run_until(are_synced);
	tick(&nodes[0], 60000);
	test_loop_run(base, 5);
	assert_int_equal(view_of(&nodes[0]).state, SESSION_OPEN);
}

/* What waits to be sent to it stays a bit in the data plane. */
TEST(a_peer_that_does_not_read_costs_no_memory)
{
	uint64_t before;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	bufferevent_disable(hand.bev, EV_READ);
	before = view_of(&nodes[0]).sent;
	for (unsigned round = 0; round < 400; round++) {
		for (uint32_t i = 0; i < BUCKETS; i++)
			put_flow(&nodes[0], i, 1 + round * BUCKETS + i);
		tick(&nodes[0], 1);
		test_loop_run(base, 0);
	}
	/* 400 * 1024 * 12 bytes were to be sent; buffer and socket take less than a MiB */
	assert_true(view_of(&nodes[0]).sent - before < 1 << 20);
	assert_false(view_of(&nodes[0]).told);
	assert_true(view_of(&nodes[0]).behind_ms > 0);
	hand_close();
}

static void hand_stops_reading(void)
{
	hand_meet();
	hand_send_hello();
	run_until(is_open);
	bufferevent_disable(hand.bev, EV_READ);
	/* it has told everything */
	nodes[0].node.dp->peers[PEER]->answered = nodes[0].node.dp->peers[PEER]->wanted;
}

/* Over TCP. Returns the hand's end, whose kernel can be told to lose what comes, and the node's. */
static void hand_meet_over_tcp(int *far, int *near)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(to);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&to, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &length), 0);
	*near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*near, (struct sockaddr *)&to, length), 0);
	*far = accept(listener, NULL, NULL);
	assert_int_equal(evutil_make_socket_nonblocking(*near), 0);
	assert_int_equal(evutil_make_socket_nonblocking(*far), 0);
	close(listener);
	begin(&nodes[0], true, *near);
	hand_open(*far);
	run_until(is_connected);
	hand_send_first_hello();
	run_until(is_open);
}

static void lose_all(int fd)
{
	struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
	const struct sock_fprog program = {.len = 1, .filter = &nothing};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
			 0);
}

static void lose_nothing(int fd)
{
	const int none = 0; /* an int is expected, and not read */

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)), 0);
}

static unsigned unacknowledged(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
	return info.tcpi_unacked;
}

/* Of the node's beats no time passes here: the only ones are those that follow what may be lost. */
static void run_without_time(int near, bool (*satisfied)(int near))
{
	uint64_t end = clock_monotonic_ms() + PATIENCE;

	while (!satisfied(near)) {
		assert_true(clock_monotonic_ms() < end);
		tick(&nodes[0], 0);
		test_loop_run(base, 2);
	}
}

static bool has_come(int near)
{
	return !unacknowledged(near) && hand_count(FRAME_BEAT, 1);
}

static unsigned wanted_beats;

static bool has_wanted_beats(int near)
{
	return hand_count(FRAME_BEAT, 1) >= wanted_beats;
}

TEST(a_beat_follows_what_may_be_lost)
{
	int far, near;
	unsigned count;

	hand_meet_over_tcp(&far, &near);
	tick(&nodes[0], 300);
	run_without_time(near, has_come);
	count = hand_count(FRAME_BEAT, 1);
	for (unsigned i = 0; i < 50; i++) { /* longer than it waits for an acknowledgement */
		tick(&nodes[0], 0);
		test_loop_run(base, 2);
	}
	assert_int_equal(hand_count(FRAME_BEAT, 1), count);
	lose_all(far);
	tick(&nodes[0], 300);
	test_loop_run(base, 2);
	assert_true(unacknowledged(near));
	lose_nothing(far);
	wanted_beats = hand_count(FRAME_BEAT, 1) + 2;
	run_without_time(near, has_wanted_beats);
	hand_close();
}

/* Also if nothing but beats is to be sent to it, and while it says that it lives. */
/* However long the machine takes: else it is the beat that the session misses. */
static void hand_beats(void)
{
	uint64_t before = view_of(&nodes[0]).received;

	hand_send_beat();
	for (unsigned i = 0; i < PATIENCE && !nodes[0].ended; i++) {
		test_loop_run(base, 1);
		if (view_of(&nodes[0]).received != before)
			return;
	}
}

TEST(a_peer_that_does_not_read_is_closed)
{
	hand_stops_reading();
	for (unsigned i = 0; i < 400 && !nodes[0].ended; i++) {
		hand_beats();
		tick(&nodes[0], 100);
	}
	expect_end(&nodes[0], SESSION_LOST, "it has read nothing for 30 s");
	hand_close();
}

TEST(beats_to_a_peer_that_does_not_read_cost_no_memory)
{
	uint64_t before = 0;
	unsigned same = 0;

	hand_stops_reading();
	for (unsigned round = 0; round < 4000 && same < 10; round++) { /* until all is full */
		same = view_of(&nodes[0]).sent == before ? same + 1 : 0;
		before = view_of(&nodes[0]).sent;
		for (uint32_t i = 0; i < BUCKETS; i++)
			put_flow(&nodes[0], i, 1 + round * BUCKETS + i);
		tick(&nodes[0], 1);
		test_loop_run(base, 2);
	}
	for (uint64_t i = 1; i < 6000; i++) { /* ten minutes */
		tick(&nodes[0], 100);
		if (i % 10)
			continue;
		hand_send_echo(i); /* it claims to have read them */
		test_loop_run(base, 1);
	}
	assert_int_equal(view_of(&nodes[0]).state, SESSION_OPEN);
	/* some: a peer that reads, and is always behind, must get them */
	assert_in_range(view_of(&nodes[0]).sent - before, 1, 2 * FRAME_MOST);
	hand_close();
}

static void hand_send_services(unsigned count, uint32_t size)
{
	uint8_t *bytes = malloc(FRAME_MOST);
	struct frame_writer writer = {
	    .bytes = bytes, .room = FRAME_MOST, .version = hand.version, .sequence = hand.sequence};
	struct dp_shared_service service = {.vip = nodes[0].want.service.vip,
					    .port = 443,
					    .protocol = IPPROTO_TCP,
					    .size = size,
					    .configured = size};

	for (unsigned i = 1; i <= count; i++) {
		service.ref = (uint16_t)i;
		assert_true(frame_put_service(&writer, &service));
	}
	hand.sequence = writer.sequence;
	hand_send(bytes, writer.used);
	free(bytes);
}

/* That each size is a prime takes long to see. Of a turn only the shortest is given. */
TEST(a_frame_of_many_services_is_taken_in_many_turns)
{
	unsigned turns = 0;
	uint64_t before;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	tasks_by_hand(tasks);
	before = view_of(&nodes[0]).received;
	hand_send_services(1000, 268435399);
	for (unsigned i = 0; i < 200 && !tasks_busy(tasks); i++)
		test_loop_run(base, 2);
	while (tasks_turn(tasks, 0))
		turns++;
	assert_true(view_of(&nodes[0]).received - before > 1000 * FRAME_HEAD);
	assert_int_equal(nodes[0].node.dp->peers[PEER]->services[1000].port, 443);
	assert_in_range(turns, 500, 2000);
	hand_close();
}

static void note_turn(void *arg)
{
	*(uint64_t *)arg = view_of(&nodes[0]).received;
}

/* 600 beats wait to be taken when another task comes. */
TEST(a_peer_that_says_much_does_not_hold_up_other_tasks)
{
	uint64_t before, at_turn = 0;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	tasks_by_hand(tasks);
	before = view_of(&nodes[0]).received;
	for (unsigned i = 0; i < 600; i++)
		hand_send_beat();
	for (unsigned i = 0; i < 20; i++)
		test_loop_run(base, 2);
	assert_int_equal(view_of(&nodes[0]).received, before); /* a task takes them */
	assert_int_equal(tasks_add(tasks, note_turn, &at_turn), 0);
	while (tasks_turn(tasks, UINT_MAX))
		;
	assert_true(view_of(&nodes[0]).received - before > 600 * FRAME_HEAD);
	assert_in_range(at_turn, before + 1, (before + view_of(&nodes[0]).received) / 2);
	hand_close();
}

static void note_unread(evutil_socket_t fd, short what, void *arg)
{
	assert_int_equal(ioctl(bufferevent_getfd(hand.bev), FIONREAD, arg), 0);
}

/* Beats take no time, but the pauses between them do. */
TEST(nor_does_one_whose_frames_take_long)
{
	uint64_t before, at_turn = 0;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	tasks_by_hand(tasks);
	before = view_of(&nodes[0]).received;
	for (unsigned i = 0; i < 12; i++)
		hand_send_beat();
	for (unsigned i = 0; i < 20; i++)
		test_loop_run(base, 2);
	assert_int_equal(tasks_add(tasks, note_turn, &at_turn), 0);
	while (!at_turn) {
		tasks_turn(tasks, 0);
		usleep(30000);
	}
	while (tasks_turn(tasks, UINT_MAX))
		;
	/* two of twelve frames */
	assert_in_range(at_turn, before + 1, before + (view_of(&nodes[0]).received - before) / 6);
	hand_close();
}

/* Such as tasks. If sending were of the core, none would run while there is always more. */
TEST(what_is_sent_waits_its_turn_among_the_events_of_the_control_socket)
{
	struct event *other;
	int unread = -1;

	hand_meet();
	hand_send_hello();
	run_until(is_open);
	for (unsigned i = 0; i < 20; i++)
		test_loop_run(base, 2);
	bufferevent_disable(hand.bev, EV_READ);
	other = event_new(base, -1, 0, note_unread, &unread);
	event_priority_set(other, LOOP_CONTROL);
	put_flow(&nodes[0], 7, 77);
	tick(&nodes[0], 1); /* it is in the buffer, and the socket is free */
	event_active(other, 0, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(unread, 0);
	assert_int_equal(ioctl(bufferevent_getfd(hand.bev), FIONREAD, &unread), 0);
	assert_true(unread > 0);
	event_free(other);
	hand_close();
}

LB_TEST_MAIN("session")
