/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbd's side of the probe process, against processes that do what they should not: this program
 * starts itself as one of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "lbd/health/descriptor.h"
#include "lbd/health/message.h"
#include "lbd/health/remote.h"
#include "lbd/health/worker.h"
#include "support/test_addr.h"
#include "support/test_file.h"
#include "support/test_loop.h"

#define HANG_MS    60000 /* a wait that long means that the test hangs */
#define PATIENT_MS 600000
#define ROLE       "--role="

/* ---- the other side ---- */

static void send_all(const void *bytes, size_t length)
{
	if (send(WORKER_FD, bytes, length, MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void send_reply(uint32_t type, uint64_t id)
{
	struct reply reply = {.type = type, .id = id};

	send_all(&reply, sizeof(reply));
}

static int given; /* the socket of the last probe; -1: none */

/* Answers pings until a probe comes, whose id it returns. */
static uint64_t next_probe(void)
{
	struct pollfd ready = {.fd = WORKER_FD, .events = POLLIN};
	struct request request;

	for (;;) {
		struct descriptors came;
		ssize_t length;

		poll(&ready, 1, -1);
		length = descriptor_receive(WORKER_FD, &request, sizeof(request), &came);
		if (length <= 0 || message_check_request(&request, (size_t)length, came.count))
			_exit(0);
		given = came.fd;
		if (request.type == REQUEST_PING)
			send_reply(REPLY_PONG, request.id);
		else if (request.type == REQUEST_START)
			return request.id;
	}
}

static void send_result(uint64_t id, uint32_t outcome, const char *why)
{
	struct attempt_result result = {
	    .began_us = clock_monotonic_us(), .ended_us = clock_monotonic_us(), .why = why};
	struct reply reply;

	message_put_result(&reply, id, &result);
	reply.outcome = outcome;
	send_all(&reply, sizeof(reply));
}

static void pass_all(void)
{
	for (;;)
		send_result(next_probe(), ATTEMPT_PASSED, "");
}

/* The result says where the given socket is bound, and its mark. */
static void describe_sockets(void)
{
	for (;;) {
		uint64_t id = next_probe();
		struct sockaddr_in at = {0};
		socklen_t length = sizeof(at), mark_length = sizeof(int);
		char text[64], address[INET_ADDRSTRLEN];
		int mark = 0;

		snprintf(text, sizeof(text), "no socket");
		if (given >= 0 && !getsockname(given, (struct sockaddr *)&at, &length) &&
		    !getsockopt(given, SOL_SOCKET, SO_MARK, &mark, &mark_length))
			snprintf(text, sizeof(text), "%s mark %d",
				 inet_ntop(AF_INET, &at.sin_addr, address, sizeof(address)), mark);
		if (given >= 0)
			close(given);
		send_result(id, ATTEMPT_FAILED, text);
	}
}

/* With each result as many as a message can have. */
static void send_descriptors(void)
{
	enum { MOST = 253 }; /* SCM_MAX_FD */
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(MOST * sizeof(int))}};
	struct attempt_result result = {.outcome = ATTEMPT_PASSED, .why = ""};
	struct reply reply;
	struct iovec part = {.iov_base = &reply, .iov_len = sizeof(reply)};
	struct msghdr head = {.msg_iov = &part,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control)};

	for (;;) {
		message_put_result(&reply, next_probe(), &result);
		for (unsigned i = 0; i < MOST; i++)
			memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &(int){0},
			       sizeof(int));
		if (sendmsg(WORKER_FD, &head, MSG_NOSIGNAL) < 0)
			_exit(8);
	}
}

static void send_too_little(void)
{
	next_probe();
	send_all("x", 1);
	pass_all();
}

static void send_too_much(void)
{
	static char bytes[100000];

	next_probe();
	send_all(bytes, sizeof(bytes));
	pass_all();
}

static void send_unknown_type(void)
{
	send_reply(77, next_probe());
	pass_all();
}

static void send_unknown_outcome(void)
{
	send_result(next_probe(), 77, "");
	pass_all();
}

static void send_endless_text(void)
{
	struct reply reply = {.type = REPLY_RESULT, .id = next_probe()};

	memset(reply.why, 'x', sizeof(reply.why));
	send_all(&reply, sizeof(reply));
	pass_all();
}

static void send_unknown_probe(void)
{
	uint64_t id = next_probe();

	send_result(id + 1, ATTEMPT_PASSED, "");
	pass_all();
}

/* The id of an earlier probe in the same place. */
static void send_old_probe(void)
{
	uint64_t id = next_probe();

	send_result(id, ATTEMPT_PASSED, "");
	next_probe();
	send_result(id, ATTEMPT_PASSED, "");
	pass_all();
}

static void send_place_beyond_all(void)
{
	send_result(next_probe() | UINT32_MAX, ATTEMPT_PASSED, "");
	pass_all();
}

static void send_pong_without_ping(void)
{
	next_probe();
	send_reply(REPLY_PONG, 12345);
	pass_all();
}

static void be_ready_twice(void)
{
	send_reply(REPLY_READY, 0);
	pass_all();
}

/* As fast as it can. */
static void flood(void)
{
	next_probe();
	for (uint64_t id = 0;; id++)
		send_result(id, ATTEMPT_FAILED, "flood");
}

static void answer_nothing(void)
{
	for (;;)
		pause();
}

static void forget_probes(void)
{
	for (;;)
		next_probe();
}

static void end_at_once(void)
{
	next_probe();
	_exit(7);
}

static void close_and_live_on(void)
{
	next_probe();
	close(WORKER_FD);
	answer_nothing();
}

/* Its result comes after the probe was cancelled. */
static void answer_cancelled(void)
{
	uint64_t id = next_probe();
	struct request request;

	while (recv(WORKER_FD, &request, sizeof(request), 0) > 0)
		if (request.type == REQUEST_CANCEL && request.id == id)
			break;
		else if (request.type == REQUEST_PING)
			send_reply(REPLY_PONG, request.id);
	send_result(id, ATTEMPT_FAILED, "late");
	pass_all();
}

/* More results than probes were cancelled. */
static void answer_cancelled_twice(void)
{
	uint64_t id = next_probe();

	send_result(id, ATTEMPT_PASSED, "");
	send_result(id, ATTEMPT_PASSED, "");
	pass_all();
}

static void lie_about_times(void)
{
	struct attempt_result result = {
	    .began_us = 0, .ended_us = UINT64_MAX, .latency_us = UINT32_MAX, .why = ""};
	struct reply reply;

	message_put_result(&reply, next_probe(), &result);
	send_all(&reply, sizeof(reply));
	pass_all();
}

static void send_escapes(void)
{
	send_result(next_probe(), ATTEMPT_FAILED, "\x1b[2Jgone");
	pass_all();
}

static void be_unfit(void)
{
	struct reply reply = {.type = REPLY_UNFIT, .why = "seccomp: no"};

	send_all(&reply, sizeof(reply));
	_exit(1);
}

/* A request that was not read makes the kernel report an error before what was sent. */
static void be_unfit_and_read_nothing(void)
{
	struct pollfd request = {.fd = WORKER_FD, .events = POLLIN};

	poll(&request, 1, -1);
	be_unfit();
}

static const struct role {
	const char *name;
	void (*play)(void);
} roles[] = {
    {"pass_all", pass_all},
    {"describe_sockets", describe_sockets},
    {"send_descriptors", send_descriptors},
    {"send_too_little", send_too_little},
    {"send_too_much", send_too_much},
    {"send_unknown_type", send_unknown_type},
    {"send_unknown_outcome", send_unknown_outcome},
    {"send_endless_text", send_endless_text},
    {"send_unknown_probe", send_unknown_probe},
    {"send_old_probe", send_old_probe},
    {"send_place_beyond_all", send_place_beyond_all},
    {"send_pong_without_ping", send_pong_without_ping},
    {"be_ready_twice", be_ready_twice},
    {"flood", flood},
    {"answer_nothing", answer_nothing},
    {"forget_probes", forget_probes},
    {"end_at_once", end_at_once},
    {"close_and_live_on", close_and_live_on},
    {"answer_cancelled", answer_cancelled},
    {"answer_cancelled_twice", answer_cancelled_twice},
    {"lie_about_times", lie_about_times},
    {"send_escapes", send_escapes},
    {"be_unfit", be_unfit},
    {"be_unfit_and_read_nothing", be_unfit_and_read_nothing},
};

static int play_role(const char *name)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strncmp(name, "be_unfit", strlen("be_unfit")) != 0)
		send_reply(REPLY_READY, 0);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(roles[i].name, name))
			roles[i].play();
	return 9;
}

/* ---- this side ---- */

static struct event_base *base;
static struct remote *remote;
static struct health_spec config = {.timeout_ms = PATIENT_MS, .path = (char *)"/"};
static struct health_probe_spec spec = {
    .address.family = 4, .port = 80, .socket = -1, .config = &config};

/* What probes reported. */
static unsigned count_of[ATTEMPT_LOST + 1];
static struct attempt_result last;
static char last_why[FAILURE_TEXT];

static void on_done(void *arg, const struct attempt_result *result)
{
	count_of[result->outcome]++;
	last = *result;
	snprintf(last_why, sizeof(last_why), "%s", result->why);
}

static bool watched_late;

/* In place of libc's: with watched_late the process has ended before it can be watched. */
int pidfd_open(pid_t pid, unsigned flags)
{
	siginfo_t info;

	if (watched_late)
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static void start_as(const char *role)
{
	static char argument[64];
	static const char *arguments[] = {"role", argument, NULL};
	struct remote_options options = remote_defaults(base);

	snprintf(argument, sizeof(argument), ROLE "%s", role);
	options.arguments = arguments;
	options.tick_ms = 20;
	options.ticks = PATIENT_MS / 20;
	options.patience_ms = PATIENT_MS;
	options.backoff_ms = options.backoff_max_ms = PATIENT_MS; /* one start alone */
	assert_int_equal(remote_new(&options, &remote), 0);
	remote_need(remote);
}

static struct remote_probe *probe(void)
{
	spec.kind = health_kind_find("http");
	return remote_start(remote, &spec, false, on_done, NULL);
}

static struct health_process process(void)
{
	struct health_process now;

	remote_process(remote, &now);
	return now;
}

static bool run_until(bool holds(void))
{
	uint64_t end = clock_monotonic_ms() + HANG_MS;

	while (!holds() && clock_monotonic_ms() < end)
		test_loop_run(base, 5);
	return holds();
}

static bool has_ended(void)
{
	return process().restarts;
}

static bool has_passed(void)
{
	return count_of[ATTEMPT_PASSED];
}

static bool has_passed_twice(void)
{
	return count_of[ATTEMPT_PASSED] == 2;
}

static bool has_failed(void)
{
	return count_of[ATTEMPT_FAILED];
}

/* The process of this role is ended for this reason, and of its two probes no more than `results`
 * had a result. */
static void assert_ended(const char *role, const char *why, unsigned results)
{
	start_as(role);
	assert_non_null(probe());
	assert_non_null(probe());
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, why);
	assert_int_equal(process().pid, 0);
	assert_int_equal(process().restarts, 1);
	assert_int_equal(count_of[ATTEMPT_LOST], 2 - results);
	assert_int_equal(count_of[ATTEMPT_PASSED], results);
	assert_int_equal(count_of[ATTEMPT_FAILED], 0);
	assert_null(probe());
	assert_int_equal(errno, ENOTCONN);
}

static int begin(void **state)
{
	memset(count_of, 0, sizeof(count_of));
	*last_why = 0;
	base = event_base_new();
	return !base;
}

static int end(void **state)
{
	remote_free(remote);
	event_base_free(base);
	return 0;
}

static void result_arrives(void **state)
{
	start_as("pass_all");
	probe();
	probe();
	assert_true(run_until(has_passed_twice));
	assert_true(process().running);
	assert_int_equal(process().probes, 0);
	assert_int_equal(process().restarts, 0);
}

/* More than the socket takes at once, while the process does not read. */
static void thousands_of_probes_wait_until_the_process_reads(void **state)
{
	enum { PROBES = 20000 };
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	start_as("pass_all");
	assert_true(process().pid > 0);
	kill(process().pid, SIGSTOP);
	for (unsigned i = 0; i < PROBES; i++)
		assert_non_null(probe());
	test_loop_run(base, 50);
	assert_int_equal(process().probes, PROBES);
	kill(process().pid, SIGCONT);
	while (count_of[ATTEMPT_PASSED] < PROBES && clock_monotonic_ms() < until)
		test_loop_run(base, 10);
	assert_int_equal(count_of[ATTEMPT_PASSED], PROBES);
	assert_int_equal(process().restarts, 0);
}

static void malformed_message_ends_the_process(void **state)
{
	static const char *const cases[][2] = {
	    {"send_too_little", "it sent a malformed message: too short"},
	    {"send_too_much", "it sent a malformed message: too long"},
	    {"send_unknown_type", "it sent a malformed message: unknown type"},
	    {"send_unknown_outcome", "it sent a malformed message: unknown outcome"},
	    {"send_endless_text", "it sent a malformed message: text without an end"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ended(cases[i][0], cases[i][1], 0);
		end(state);
		begin(state);
		remote = NULL;
	}
}

static void result_of_an_unknown_probe_ends_the_process(void **state)
{
	static const char why[] = "it sent the result of a probe that it does not run";

	assert_ended("send_place_beyond_all", why, 0);
	end(state);
	begin(state);
	assert_ended("send_old_probe", why, 1);
	end(state);
	begin(state);
	assert_ended("answer_cancelled_twice", why, 1);
}

/* id + 1 is in another place, which has no probe. */
static void result_for_an_empty_place_ends_the_process(void **state)
{
	start_as("send_unknown_probe");
	assert_non_null(probe());
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "it sent the result of a probe that it does not run");
	assert_int_equal(count_of[ATTEMPT_LOST], 1);
}

static void answers_that_were_not_asked_for_end_the_process(void **state)
{
	assert_ended("send_pong_without_ping", "it sent an answer to a ping that was not sent", 0);
	end(state);
	begin(state);
	start_as("be_ready_twice");
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "it was ready twice");
	assert_false(process().running); /* or the next one would be ready twice too */
}

/* Other events of the loop go on meanwhile: the timers of run_until. */
static void flood_ends_the_process(void **state)
{
	assert_ended("flood", "it sent the result of a probe that it does not run", 0);
}

static void result_of_a_cancelled_probe_is_ignored(void **state)
{
	struct remote_probe *first;

	start_as("answer_cancelled");
	first = probe();
	assert_non_null(first);
	test_loop_run(base, 100); /* it is under way */
	remote_cancel(first);
	assert_non_null(probe());
	assert_true(run_until(has_passed));
	assert_int_equal(count_of[ATTEMPT_FAILED], 0);
	assert_int_equal(process().restarts, 0);
}

static void process_that_hangs_is_ended(void **state)
{
	struct remote_options options = remote_defaults(base);
	static const char *const arguments[] = {"role", ROLE "answer_nothing", NULL};

	options.arguments = arguments;
	options.tick_ms = 10;
	options.backoff_ms = options.backoff_max_ms = PATIENT_MS;
	assert_int_equal(remote_new(&options, &remote), 0);
	assert_non_null(probe()); /* starts it */
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "it hangs: no answer to a ping");
	assert_int_equal(count_of[ATTEMPT_LOST], 1);
}

static void process_that_forgets_a_probe_is_ended(void **state)
{
	struct remote_options options = remote_defaults(base);
	static const char *const arguments[] = {"role", ROLE "forget_probes", NULL};

	options.arguments = arguments;
	options.patience_ms = 50;
	options.backoff_ms = options.backoff_max_ms = PATIENT_MS;
	config.timeout_ms = 10;
	assert_int_equal(remote_new(&options, &remote), 0);
	assert_non_null(probe());
	assert_true(run_until(has_ended));
	config.timeout_ms = PATIENT_MS;
	assert_string_equal(process().why, "no result for a probe");
	assert_int_equal(count_of[ATTEMPT_LOST], 1);
}

static void end_of_the_process_is_described(void **state)
{
	assert_ended("end_at_once", "ended with status 7", 0);
	end(state);
	begin(state);
	assert_ended("close_and_live_on", "killed by SIGKILL", 0);
	end(state);
	begin(state);
	start_as("be_unfit");
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "seccomp: no");
}

static void reason_is_known_although_the_process_has_ended_before_it_was_watched(void **state)
{
	watched_late = true;
	start_as("be_unfit");
	watched_late = false;
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "seccomp: no");
}

static void reason_is_known_although_a_request_was_not_read(void **state)
{
	start_as("be_unfit_and_read_nothing");
	assert_non_null(probe());
	assert_true(run_until(has_ended));
	assert_string_equal(process().why, "seccomp: no");
}

static void process_that_ends_is_started_again(void **state)
{
	struct remote_options options = remote_defaults(base);
	static const char *const arguments[] = {"role", ROLE "end_at_once", NULL};
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	options.arguments = arguments;
	options.backoff_ms = 1;
	options.backoff_max_ms = 20;
	assert_int_equal(remote_new(&options, &remote), 0);
	remote_need(remote);
	while (process().restarts < 10 && clock_monotonic_ms() < until) {
		probe(); /* it ends at the first; NULL: it has not been started again */
		test_loop_run(base, 2);
	}
	assert_true(process().restarts >= 10);
	assert_true(process().ended_ms > 0);
	assert_int_equal(count_of[ATTEMPT_PASSED], 0);
}

static void lies_about_times_are_bounded(void **state)
{
	uint64_t before_us = clock_monotonic_us();

	start_as("lie_about_times");
	probe();
	assert_true(run_until(has_passed));
	assert_in_range(last.began_us, before_us, clock_monotonic_us());
	assert_in_range(last.ended_us, last.began_us, clock_monotonic_us());
	assert_in_range(last.latency_us, 0, last.ended_us - last.began_us);
}

static void escapes_do_not_pass(void **state)
{
	start_as("send_escapes");
	probe();
	assert_true(run_until(has_failed));
	assert_string_equal(last_why, "?[2Jgone");
}

/* ---- sockets that lbd makes for the process ---- */

static struct health_probe_spec spec_from(const char *source, uint32_t mark)
{
	struct health_probe_spec made = spec;

	made.kind = health_kind_find("http");
	made.mark = mark;
	made.address = test_addr("127.0.0.1");
	if (source)
		made.source = test_addr(source);
	return made;
}

static struct remote_probe *probe_with(const struct health_probe_spec *with)
{
	return remote_start(remote, with, false, on_done, NULL);
}

static void assert_given(const struct health_probe_spec *with, const char *expected)
{
	unsigned before = test_file_descriptors();

	count_of[ATTEMPT_FAILED] = 0;
	assert_non_null(probe_with(with));
	assert_int_equal(test_file_descriptors(), before);
	assert_true(run_until(has_failed));
	assert_string_equal(last_why, expected);
}

static void probe_without_source_and_mark_gets_no_socket(void **state)
{
	struct health_probe_spec plain = spec_from(NULL, 0);

	start_as("describe_sockets");
	assert_given(&plain, "no socket");
}

static void probe_gets_a_socket_with_its_source(void **state)
{
	struct health_probe_spec plain = spec_from(NULL, 0), bound = spec_from("127.0.0.77", 0);

	start_as("describe_sockets");
	assert_given(&bound, "127.0.0.77 mark 0");
	assert_given(&plain, "no socket");
	assert_int_equal(process().restarts, 0);
}

static void probe_gets_a_socket_with_its_mark(void **state)
{
	struct health_probe_spec marked = spec_from(NULL, 77), both = spec_from("127.0.0.77", 78);

	if (geteuid())
		skip(); /* a mark takes CAP_NET_ADMIN */
	start_as("describe_sockets");
	assert_given(&marked, "0.0.0.0 mark 77");
	assert_given(&both, "127.0.0.77 mark 78");
}

static void probe_whose_socket_cannot_be_made_is_not_started(void **state)
{
	struct health_probe_spec foreign = spec_from("192.0.2.77", 0);
	unsigned before;

	start_as("describe_sockets");
	before = test_file_descriptors();
	errno = 0;
	assert_null(probe_with(&foreign));
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_int_equal(process().probes, 0);
	assert_int_equal(test_file_descriptors(), before);
}

/* So many that the process, which is stopped, leaves the rest in the queue. */
static void queue_up(const struct health_probe_spec *with, struct remote_probe *probes[],
		     unsigned count)
{
	start_as("describe_sockets");
	assert_true(process().pid > 0);
	kill(process().pid, SIGSTOP);
	for (unsigned i = 0; i < count; i++) {
		probes[i] = probe_with(with);
		assert_non_null(probes[i]);
	}
}

static void probe_in_the_queue_whose_socket_cannot_be_made_is_not_run(void **state)
{
	enum { PROBES = 3000 };
	struct health_probe_spec plain = spec_from(NULL, 0), foreign = spec_from("192.0.2.77", 0);
	static struct remote_probe *probes[PROBES];
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	queue_up(&plain, probes, PROBES);
	assert_non_null(probe_with(&foreign));
	assert_non_null(probe_with(&plain));
	kill(process().pid, SIGCONT);
	while (process().probes && clock_monotonic_ms() < until)
		test_loop_run(base, 10);
	assert_int_equal(count_of[ATTEMPT_NOT_RUN], 1);
	assert_int_equal(count_of[ATTEMPT_FAILED], PROBES + 1);
	assert_int_equal(process().restarts, 0);
}

/* The socket to the process takes no long message any more. */
static void shrink_socket(void)
{
	const int least = 1;
	unsigned found = 0;

	for (int fd = 3; fd < 1024; fd++) {
		int type = 0;
		socklen_t length = sizeof(type);

		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) || type != SOCK_SEQPACKET)
			continue;
		found++;
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
	}
	assert_int_equal(found, 1);
}

/* Else it would be tried for ever, and all behind it would wait. */
static void probe_longer_than_the_socket_takes_is_not_run(void **state)
{
	static char headers[2048], path[1024], send[512], send_hex[1023], expect_hex[511];
	struct health_spec texts = config;
	struct health_probe_spec longer = spec_from(NULL, 0), plain = longer;
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	texts.headers = memset(headers, 'h', sizeof(headers) - 1);
	texts.path = memset(path, '/', sizeof(path) - 1);
	texts.send = memset(send, 's', sizeof(send) - 1);
	texts.send_hex = memset(send_hex, '0', sizeof(send_hex) - 1);
	texts.expect_hex = memset(expect_hex, '0', sizeof(expect_hex) - 1);
	longer.config = &texts;
	start_as("describe_sockets");
	shrink_socket();
	errno = 0;
	assert_null(probe_with(&longer));
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(process().probes, 0);
	/* behind others, that wait */
	kill(process().pid, SIGSTOP);
	for (unsigned i = 0; i < 40; i++) {
		assert_non_null(probe_with(&plain));
	}
	assert_non_null(probe_with(&longer));
	assert_non_null(probe_with(&plain));
	kill(process().pid, SIGCONT);
	while (process().probes && clock_monotonic_ms() < until)
		test_loop_run(base, 10);
	assert_int_equal(count_of[ATTEMPT_NOT_RUN], 1);
	assert_int_equal(count_of[ATTEMPT_FAILED], 41);
	assert_int_equal(process().restarts, 0);
}

/* Whether they are under way, in the queue, or cancelled there. */
static void no_socket_of_a_probe_is_kept(void **state)
{
	enum { PROBES = 3000 };
	struct health_probe_spec bound = spec_from("127.0.0.77", 0);
	static struct remote_probe *probes[PROBES];
	unsigned before = test_file_descriptors();
	uint64_t until = clock_monotonic_ms() + HANG_MS;

	queue_up(&bound, probes, PROBES);
	test_loop_run(base, 50);
	/* and the socket to the process, its pidfd */
	assert_true(test_file_descriptors() <= before + 2);
	for (unsigned i = 0; i < PROBES; i += 2)
		remote_cancel(probes[i]);
	assert_true(test_file_descriptors() <= before + 2);
	kill(process().pid, SIGCONT);
	while (process().probes && clock_monotonic_ms() < until)
		test_loop_run(base, 10);
	assert_int_equal(count_of[ATTEMPT_FAILED], PROBES / 2);
	assert_string_equal(last_why, "127.0.0.77 mark 0");
	assert_true(test_file_descriptors() <= before + 2);
}

static void descriptors_that_the_process_sends_are_not_taken(void **state)
{
	unsigned before;

	start_as("send_descriptors");
	before = test_file_descriptors();
	for (unsigned i = 0; i < 100; i++) {
		count_of[ATTEMPT_PASSED] = 0;
		assert_non_null(probe());
		assert_true(run_until(has_passed));
	}
	assert_int_equal(test_file_descriptors(), before);
	assert_int_equal(process().restarts, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    TEST(result_arrives),
	    TEST(thousands_of_probes_wait_until_the_process_reads),
	    TEST(malformed_message_ends_the_process),
	    TEST(result_of_an_unknown_probe_ends_the_process),
	    TEST(result_for_an_empty_place_ends_the_process),
	    TEST(answers_that_were_not_asked_for_end_the_process),
	    TEST(flood_ends_the_process),
	    TEST(result_of_a_cancelled_probe_is_ignored),
	    TEST(process_that_hangs_is_ended),
	    TEST(process_that_forgets_a_probe_is_ended),
	    TEST(end_of_the_process_is_described),
	    TEST(reason_is_known_although_the_process_has_ended_before_it_was_watched),
	    TEST(reason_is_known_although_a_request_was_not_read),
	    TEST(process_that_ends_is_started_again),
	    TEST(lies_about_times_are_bounded),
	    TEST(escapes_do_not_pass),
	    TEST(probe_without_source_and_mark_gets_no_socket),
	    TEST(probe_gets_a_socket_with_its_source),
	    TEST(probe_gets_a_socket_with_its_mark),
	    TEST(probe_whose_socket_cannot_be_made_is_not_started),
	    TEST(probe_in_the_queue_whose_socket_cannot_be_made_is_not_run),
	    TEST(probe_longer_than_the_socket_takes_is_not_run),
	    TEST(no_socket_of_a_probe_is_kept),
	    TEST(descriptors_that_the_process_sends_are_not_taken),
	};

	if (argc == 2 && !strncmp(argv[1], ROLE, strlen(ROLE)))
		return play_role(argv[1] + strlen(ROLE));
	health_is_worker(argc, argv); /* it may be started again */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
