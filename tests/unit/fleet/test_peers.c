/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whole nodes on loopback addresses: who connects, who is let in, when a node has joined. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "lbd/fleet/internal.h"
#include "support/memory_dataplane.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_log.h"
#include "support/test_loop.h"
#include "support/test_registry.h"

#define PATIENCE  20000 /* ms */
#define KEY       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
#define OTHER_KEY "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"

static char directory[] = "/tmp/test_peers.XXXXXX", key_path[64];
static struct event_base *bases[2]; /* so that one of the nodes can stand still */
static struct config_peers peers;

struct node {
	struct memory_dataplane *memory;
	struct want want;
	struct fleet *fleet;
};

static struct node nodes[2];
static struct test_log logged;

/* ---- a stand-in for the state, whose config is followed ---- */

static const char *other_id; /* of OTHER_KEY */
static struct config config;
static struct config_age config_age;
static uint64_t generation;

const struct config *__wrap_state_config(const struct state *state);
const struct config *__wrap_state_config(const struct state *state)
{
	return &config;
}

const char *__wrap_state_zone(const struct state *state);
const char *__wrap_state_zone(const struct state *state)
{
	return config.zone;
}

void __wrap_state_config_age(const struct state *state, struct config_age *ret);
void __wrap_state_config_age(const struct state *state, struct config_age *ret)
{
	*ret = config_age;
}

uint64_t __wrap_state_generation(const struct state *state);
uint64_t __wrap_state_generation(const struct state *state)
{
	return generation;
}

/* ---- nodes ---- */

static int open_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(key_path, sizeof(key_path), "%s/peers.key", directory);
	test_file_put(key_path, KEY);
	signal(SIGPIPE, SIG_IGN);
	return chmod(key_path, 0600);
}

static int close_directory(void **state)
{
	unlink(key_path);
	return rmdir(directory);
}

static void node_open(unsigned i)
{
	bases[i] = event_base_new();
	nodes[i] = (struct node){
	    .memory = memory_dataplane_new((struct memory_limits){16, 64, 1 << 12, 1024})};
	want_init(&nodes[i].want, "192.0.2.1", IPPROTO_TCP, 80, "maglev");
	want_add(&nodes[i].want, 1, 1);
	want_commit(nodes[i].memory->dp, &nodes[i].want, 1);
}

static void node_close(struct node *node, struct event_base *base)
{
	fleet_free(node->fleet);
	node->fleet = NULL;
	event_base_loop(base, EVLOOP_NONBLOCK); /* what libevent frees later */
	event_base_free(base);
	memory_dataplane_free(node->memory);
}

static int setup(void **state)
{
	test_log_begin(&logged);
	peers = (struct config_peers){.on = true,
				      .port = (uint16_t)(20000 + getpid() % 20000),
				      .key_file = key_path,
				      .nodes = {test_addr("127.0.0.1"), test_addr("127.0.0.2")},
				      .nodes_count = 2};
	test_file_put(key_path, KEY);
	config = (struct config){.peers = peers};
	config_age = (struct config_age){.applied_ms = 1};
	generation = 1;
	for (unsigned i = 0; i < 2; i++)
		node_open(i);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < 2; i++)
		node_close(&nodes[i], bases[i]);
	test_log_end(&logged);
	return 0;
}

#define TEST(name) LB_TEST_SETUP(name, setup, teardown)

/* Of the files with the identities; NULL: none. */
static const char *identities[2];

static void start(unsigned node)
{
	struct fleet_options options = {.identity = identities[node],
					.base = bases[node],
					.state = (const struct state *)&config,
					.dp = nodes[node].memory->dp,
					.peers = &peers,
					.own = &peers.nodes[node]};
	struct error err = {""};

	dataplane_join(options.dp, DP_JOINS);
	if (fleet_new(&options, &nodes[node].fleet, &err) || fleet_begin(nodes[node].fleet, &err))
		fail_msg("%s", err.text);
}

static void stop(unsigned node)
{
	fleet_free(nodes[node].fleet);
	nodes[node].fleet = NULL;
}

static struct fleet_peer_view peer_of(unsigned node)
{
	struct fleet_peer_view view;

	fleet_look_at(nodes[node].fleet, 0, &view);
	return view;
}

static bool is_joining(unsigned node)
{
	char why[FLEET_WHY];

	return fleet_is_joining(nodes[node].fleet, why);
}

/* Runs both nodes, or only one, until it is so. */
static void run(bool (*satisfied)(void), bool first, bool second)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE;

	while (!satisfied()) {
		if (clock_monotonic_ms() > end)
			fail_msg("not so after %u s; the log: %s", PATIENCE / 1000,
				 test_log_read(&logged));
		if (first)
			test_loop_run(bases[0], 5);
		if (second)
			test_loop_run(bases[1], 5);
	}
}

static bool are_joined(void)
{
	return !is_joining(0) && !is_joining(1);
}

static bool are_synced(void)
{
	return peer_of(0).state == FLEET_SYNCED && peer_of(1).state == FLEET_SYNCED;
}

static bool is_first_joined(void)
{
	return !is_joining(0);
}

static bool is_second_lost(void)
{
	return peer_of(0).losses == 1;
}

static bool is_stranger_counted(void)
{
	struct fleet_view view;

	fleet_look(nodes[0].fleet, &view);
	return view.strangers;
}

static int connect_from(const char *from, unsigned to)
{
	struct addr address = test_addr(from);
	struct sockaddr_storage local, remote;
	socklen_t local_length = addr_to_sockaddr(&address, 0, &local),
		  remote_length = addr_to_sockaddr(&peers.nodes[to], peers.port, &remote);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&local, local_length), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&remote, remote_length), 0);
	return fd;
}

/* ---- tests ---- */

TEST(two_nodes_find_each_other_and_join_when_both_were_told_everything)
{
	start(0);
	start(1);
	assert_true(is_joining(0) && is_joining(1));
	assert_int_equal(nodes[0].memory->dp->join, DP_JOINS);
	run(are_joined, true, true);
	assert_true(are_synced());
	assert_int_equal(nodes[0].memory->dp->join, DP_JOINED);
	assert_true(peer_of(0).connects && !peer_of(1).connects);
	assert_int_equal(peer_of(0).services, 1);
	assert_int_equal(peer_of(0).other_rings, 0);
	assert_non_null(strstr(test_log_read(&logged), "peers: joined: synced with 1 of 1"));
}

static char identity_paths[2][80];

static void use_identities(void)
{
	for (unsigned i = 0; i < 2; i++) {
		snprintf(identity_paths[i], sizeof(identity_paths[i]), "%s/node-id-%u", directory,
			 i);
		unlink(identity_paths[i]);
		identities[i] = identity_paths[i];
	}
}

static void drop_identities(void)
{
	for (unsigned i = 0; i < 2; i++) {
		char bad[168];

		snprintf(bad, sizeof(bad), "%s.bad", identity_paths[i]);
		unlink(bad);
		unlink(identity_paths[i]);
		identities[i] = NULL;
	}
}

static bool has_note(unsigned node, const char *part)
{
	struct sentences notes = {0};
	bool found = false;

	fleet_note(nodes[node].fleet, &notes);
	for (unsigned i = 0; i < notes.count; i++)
		found |= strstr(notes.list[i], part) != NULL;
	sentences_done(&notes);
	return found;
}

static bool are_known(void)
{
	return are_synced() && peer_of(0).identity && peer_of(1).identity;
}

TEST(an_identity_is_made_once_and_known_to_the_other_node)
{
	struct fleet_view view;
	uint64_t first;

	use_identities();
	start(0);
	start(1);
	run(are_known, true, true);
	fleet_look(nodes[1].fleet, &view);
	first = view.identity;
	assert_int_equal(peer_of(0).identity, first);
	assert_int_equal(peer_of(0).protocol, 2);
	stop(1);
	run(is_second_lost, true, false);
	start(1);
	run(are_known, true, true);
	assert_int_equal(peer_of(0).identity, first);
	assert_false(has_note(0, "another than before"));
	/* both are on this host */
	assert_true(has_note(0, "nodes 127.0.0.1 and 127.0.0.2 have the same name"));
	drop_identities();
}

static bool is_changed(void)
{
	return has_note(0, "node 127.0.0.2 is another than before");
}

TEST(a_node_that_is_another_than_before_is_named)
{
	use_identities();
	start(0);
	start(1);
	run(are_known, true, true);
	stop(1);
	unlink(identity_paths[1]);
	start(1);
	run(is_changed, true, true);
	run(are_synced, true, true); /* it is told of, and no more */
	drop_identities();
}

static bool are_the_same(void)
{
	return has_note(0, "have the same identity 00000000000000ab");
}

static bool is_sameness_logged(void)
{
	return strstr(test_log_read(&logged),
		      "nodes 127.0.0.1 and 127.0.0.2 have the same identity");
}

TEST(a_copy_of_a_node_is_named_and_logged_once)
{
	use_identities();
	test_file_put(identity_paths[0], "00000000000000ab\n");
	test_file_put(identity_paths[1], "00000000000000ab\n");
	start(0);
	start(1);
	run(are_the_same, true, true);
	run(is_sameness_logged, true, true);
	assert_true(are_synced());
	drop_identities();
}

TEST(a_file_that_holds_no_identity_makes_way)
{
	struct fleet_view view;

	use_identities();
	test_file_put(identity_paths[0], "no identity\n");
	start(0);
	fleet_look(nodes[0].fleet, &view);
	assert_true(view.identity);
	assert_non_null(
	    strstr(test_log_read(&logged), "node-id-0: expected the identity of this node"));
	drop_identities();
}

TEST(a_node_alone_joins_after_three_seconds)
{
	uint64_t begin = clock_monotonic_ms();

	start(0);
	run(is_first_joined, true, false);
	assert_true(clock_monotonic_ms() - begin >= 2900);
	assert_int_equal(peer_of(0).state, FLEET_UNREACHABLE);
	assert_non_null(strstr(peer_of(0).why, "refused")); /* by the host: nobody listens */
	assert_non_null(strstr(test_log_read(&logged), "peers: joined: synced with 0 of 1"));
}

TEST(a_peer_that_comes_back_is_synced_again)
{
	start(0);
	start(1);
	run(are_synced, true, true);
	stop(1);
	run(is_second_lost, true, false);
	assert_int_equal(peer_of(0).state, FLEET_UNREACHABLE);
	start(1);
	run(are_synced, true, true);
	assert_int_equal(peer_of(0).connections, 2);
}

/* The node that connects vanishes without a word, and is back before the other has noticed. */
TEST(a_newer_connection_of_a_peer_takes_the_place_of_the_old_one)
{
	struct node vanished;
	struct event_base *its_base = bases[0]; /* does not run any more */

	start(0);
	start(1);
	run(are_synced, true, true);
	vanished = nodes[0];
	evconnlistener_free(vanished.fleet->listener);
	vanished.fleet->listener = NULL;
	node_open(0);
	start(0);
	run(are_synced, true, true);
	assert_int_equal(peer_of(1).connections, 2);
	assert_int_equal(peer_of(1).losses, 0);
	node_close(&vanished, its_base);
}

static bool has_second_a_session_in(enum session_state state)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		struct session_view view;

		if (!nodes[1].fleet->list[0].sessions[i])
			continue;
		session_look(nodes[1].fleet->list[0].sessions[i], clock_monotonic_ms(), &view);
		if (view.state == state)
			return true;
	}
	return false;
}

static SSL *silent; /* a connection to the second node that sends no HELLO */

static bool is_hello_awaited(void)
{
	SSL_connect(silent);
	return has_second_a_session_in(SESSION_GREETS);
}

static bool is_handshake_awaited(void)
{
	return has_second_a_session_in(SESSION_SHAKES);
}

static bool has_second_no_greeted_one(void)
{
	return !nodes[1].fleet->list[0].greeted;
}

static bool is_hello_missed(void)
{
	return strstr(peer_of(1).why, "before HELLO") != NULL;
}

/* The first node ends the connection in use, and stands still. */
static void end_greeted_one(void)
{
	session_close(nodes[0].fleet->list[0].greeted, SESSION_LOST, "for a newer one");
	event_base_loop(bases[0], EVLOOP_NONBLOCK); /* libevent closes it here */
	run(has_second_no_greeted_one, false, true);
}

/* As after a change of the key: the peer has had this end's HELLO and closes the older connection,
 * while its own HELLO is under way. */
TEST(a_connection_that_ends_while_a_newer_one_greets_is_no_loss)
{
	SSL_CTX *tls = tls_new();
	struct fleet_keys keys;
	struct tls_end tls_end = {.keys = &keys};
	struct error err;
	int fd;

	start(0);
	start(1);
	run(are_synced, true, true);
	assert_int_equal(fleet_keys_read(key_path, &keys, &err), 0);
	fd = connect_from("127.0.0.1", 1);
	silent = tls_connection(tls, &tls_end);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SSL_set_fd(silent, fd), 1);
	run(is_hello_awaited, false, true);
	end_greeted_one();
	assert_int_equal(peer_of(1).losses, 0);
	close(fd);
	run(is_hello_missed, false, true);
	assert_int_equal(peer_of(1).state, FLEET_UNREACHABLE);
	SSL_free(silent);
	SSL_CTX_free(tls);
}

TEST(a_connection_that_has_shown_no_key_hides_no_loss)
{
	int fd;

	start(0);
	start(1);
	run(are_synced, true, true);
	fd = connect_from("127.0.0.1", 1);
	run(is_handshake_awaited, false, true);
	end_greeted_one();
	assert_int_equal(peer_of(1).losses, 1);
	close(fd);
}

TEST(a_connection_from_elsewhere_is_closed_and_counted)
{
	char byte;
	int fd;

	start(0);
	fd = connect_from("127.0.0.9", 0);
	run(is_stranger_counted, true, false);
	assert_int_equal(read(fd, &byte, 1), 0);
	assert_non_null(strstr(test_log_read(&logged), "a connection from 127.0.0.9 was closed"));
	close(fd);
}

/* 40 connections are refused in one go, so that they do not hold up that of a peer. */
TEST(strangers_do_not_hold_up_a_peer)
{
	int fds[40];

	start(1);
	for (unsigned i = 0; i < 40; i++)
		fds[i] = connect_from("127.0.0.9", 1);
	start(0);
	event_base_loop(bases[1], EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(nodes[1].fleet->strangers, 40);
	run(are_synced, true, true);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* One is greeted, and the others closed in one go: those of other peers wait behind them. */
TEST(a_peer_that_connects_without_end_does_not_hold_up_another)
{
	unsigned closed = 0;
	int fds[40];

	start(1);
	for (unsigned i = 0; i < 40; i++)
		fds[i] = connect_from("127.0.0.1", 1);
	event_base_loop(bases[1], EVLOOP_ONCE | EVLOOP_NONBLOCK);
	for (unsigned i = 0; i < 40; i++)
		closed += is_closed(fds[i]);
	assert_int_equal(closed, 39);
	assert_false(nodes[1].fleet->rests);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
}

static unsigned count_in_log(const char *text)
{
	unsigned count = 0;

	for (const char *at = test_log_read(&logged); (at = strstr(at, text)); at++)
		count++;
	return count;
}

static struct session *second_has_session(void)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		if (nodes[1].fleet->list[0].sessions[i])
			return nodes[1].fleet->list[0].sessions[i];
	return NULL;
}

/* As where a host is off: no route to it, or no answer. */
TEST(reasons_that_take_turns_are_not_logged_for_ever)
{
	start(1);
	for (unsigned i = 0; i < 40; i++) {
		int fd = connect_from("127.0.0.1", 1);

		while (!second_has_session())
			test_loop_run(bases[1], 5);
		session_close(second_has_session(), SESSION_LOST, "reason %u", i % 2);
		while (second_has_session())
			test_loop_run(bases[1], 5);
		close(fd);
	}
	assert_in_range(count_in_log("no session: reason"), 2, 10);
}

static bool are_apart(void)
{
	return !nodes[0].fleet->list[0].greeted && !nodes[1].fleet->list[0].greeted;
}

static void part_and_meet_again(unsigned round)
{
	session_close(nodes[0].fleet->list[0].greeted, SESSION_LOST, "round %u", round);
	run(are_apart, true, true);
	nodes[0].fleet->list[0].try_ms = 0;
	run(are_synced, true, true);
}

/* Each time it is synced, and lost for a reason that was not logged since. */
TEST(a_peer_that_is_lost_again_and_again_does_not_fill_the_log)
{
	start(0);
	start(1);
	run(are_synced, true, true);
	for (unsigned i = 0; i < 20; i++)
		part_and_meet_again(i);
	assert_int_equal(peer_of(0).losses, 20);
	assert_in_range(count_in_log(" 127.0.0.1: synced"), 2, 9);
	assert_in_range(count_in_log("lost: round"), 2, 17);
}

static bool is_other_key_in_use(void)
{
	return strcmp(peer_of(0).key, other_id) == 0 && strcmp(peer_of(1).key, other_id) == 0 &&
	       are_synced();
}

static void reload_keys(const char *text)
{
	test_file_put(key_path, text);
	config_age.applied_ms++;
}

/* The new key second, then first, then alone. */
TEST(the_key_is_changed_without_a_moment_apart)
{
	struct fleet_keys keys;
	struct error err;

	test_file_put(key_path, OTHER_KEY);
	assert_int_equal(fleet_keys_read(key_path, &keys, &err), 0);
	other_id = keys.list[0].id;
	test_file_put(key_path, KEY OTHER_KEY);
	start(0);
	start(1);
	run(are_synced, true, true);
	reload_keys(OTHER_KEY KEY);
	run(is_other_key_in_use, true, true);
	reload_keys(OTHER_KEY);
	for (uint64_t end = clock_monotonic_ms() + 1500; clock_monotonic_ms() < end;) {
		test_loop_run(bases[0], 5);
		test_loop_run(bases[1], 5);
	}
	assert_true(is_other_key_in_use());
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(peer_of(i).losses, 0);
		assert_int_equal(peer_of(i).connections, 2);
	}
}

static void expect_key(const char *id)
{
	struct fleet_view view;
	uint64_t end = clock_monotonic_ms() + PATIENCE;

	do {
		test_loop_run(bases[0], 20);
		fleet_look(nodes[0].fleet, &view);
	} while (strcmp(view.key, id) != 0 && clock_monotonic_ms() < end);
	assert_string_equal(view.key, id);
}

/* Also the second of two that come at once, whose config may be where that before the first was. */
TEST(a_reload_reads_the_keys_again_and_another_change_does_not)
{
	struct fleet_view view;
	struct fleet_keys keys;
	struct error err;
	char before[16];

	start(0);
	fleet_look(nodes[0].fleet, &view);
	memcpy(before, view.key, sizeof(before));
	test_file_put(key_path, OTHER_KEY);
	assert_int_equal(fleet_keys_read(key_path, &keys, &err), 0);
	generation++; /* a weight, say */
	for (uint64_t end = clock_monotonic_ms() + 1200; clock_monotonic_ms() < end;)
		test_loop_run(bases[0], 20);
	fleet_look(nodes[0].fleet, &view);
	assert_string_equal(view.key, before);
	config_age.applied_ms++;
	expect_key(keys.list[0].id);
}

TEST(a_list_without_this_node_is_a_fault_that_is_shown)
{
	struct fleet_options options = {
	    .base = bases[0], .dp = nodes[0].memory->dp, .peers = &peers};
	struct fleet_view view;
	struct error err = {""};

	peers.nodes[0] = test_addr("192.0.2.201");
	peers.nodes[1] = test_addr("192.0.2.202");
	assert_int_equal(fleet_new(&options, &nodes[0].fleet, &err), 0);
	assert_int_equal(fleet_begin(nodes[0].fleet, &err), 0);
	fleet_look(nodes[0].fleet, &view);
	assert_string_equal(view.fault,
			    "nodes: none is an address of this host: expected one of them");
	assert_true(view.joining);
}

TEST(a_key_file_that_cannot_be_used_ends_the_start)
{
	struct fleet_options options = {
	    .base = bases[0], .dp = nodes[0].memory->dp, .peers = &peers};
	struct error err = {""};

	peers.key_file = (char *)"/nonexistent";
	assert_int_equal(fleet_new(&options, &nodes[0].fleet, &err), -ENOENT);
	assert_string_equal(err.text, "peers: key-file: /nonexistent: No such file or directory");
}

LB_TEST_MAIN("peers", .open = open_directory, .close = close_directory)
