/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health checks that look into answers: tcp with send and expect, udp, dns, icmp, tls, and the
 * method, headers and body of http. Servers are child processes of the test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "lbd/health/bytes.h"
#include "health_found.h"
#include "health_loop.h"
#include "lbd/health/health.h"
#include "lbd/health/remote.h"
#include "support/test_addr.h"
#include "support/test_netns.h"

/* ---- one probe ---- */

static struct health_spec spec_of(const char *type)
{
	return (struct health_spec){.type = (char *)type,
				    .status_min = 200,
				    .status_max = 399,
				    .interval_ms = 200,
				    .timeout_ms = PATIENT_MS,
				    .rise = 1,
				    .fall = 1};
}

static struct found probe(const struct health_spec *spec, const char *address, uint16_t port)
{
	const struct addr addr = test_addr(address);
	struct found found = {0};
	struct health_check *check =
	    health_add(health, spec, &addr, port, HEALTH_UNKNOWN, on_result, &found);

	assert_non_null(check);
	run_until(&found.results, 1);
	health_remove(check);
	assert_int_not_equal(found.results, 0);
	return found;
}

static void assert_up(const struct health_spec *spec, const char *address, uint16_t port)
{
	struct found found = probe(spec, address, port);

	assert_string_equal(found.why, "");
	assert_int_equal(found.status, HEALTH_UP);
}

static void assert_down(const struct health_spec *spec, uint16_t port, const char *why)
{
	struct found found = probe(spec, "127.0.0.1", port);

	assert_string_equal(found.why, why);
	assert_int_equal(found.status, HEALTH_DOWN);
}

/* ---- servers ---- */

#define REQUEST_MAX 4096

/* What a server does with each request. */
struct server {
	int type; /* SOCK_STREAM or SOCK_DGRAM */
	const char *address;
	const char *greeting;   /* before anything was asked; NULL: nothing */
	const char *wants;      /* in the request, else no answer; NULL: anything */
	const char *answer;     /* NULL: none */
	size_t answer_length;   /* 0: of the text */
	unsigned ignored;       /* so many requests get no answer first */
	bool closes;            /* the connection after the answer */
	uint16_t rcode;         /* dns: of the answer */
	const uint8_t *records; /* dns: of the answer; NULL: an address */
	size_t records_length;
	uint8_t records_count;
	bool dns, foreign; /* foreign: with another id first */
	bool floods;       /* ... without an end */
	pid_t pid;
	uint16_t port;
	int fd;
};

static size_t dns_answer(const struct server *server, uint8_t *message, size_t length)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80};

	message[2] |= 0x80;
	message[3] = (uint8_t)server->rcode;
	if (server->rcode)
		return length;
	message[7] = server->records ? server->records_count : 1;
	if (server->records) {
		memcpy(message + length, server->records, server->records_length);
		return length + server->records_length;
	}
	memcpy(message + length, record, sizeof(record));
	return length + sizeof(record);
}

static void serve_datagrams(const struct server *server)
{
	for (unsigned seen = 0;; seen++) {
		uint8_t message[REQUEST_MAX];
		struct sockaddr_storage from;
		socklen_t from_length = sizeof(from);
		ssize_t got = recvfrom(server->fd, message, sizeof(message) / 2, 0,
				       (struct sockaddr *)&from, &from_length);
		size_t length = (size_t)got;

		if (got < 0 || seen < server->ignored)
			continue;
		if (server->wants && !memmem(message, length, server->wants, strlen(server->wants)))
			continue;
		if (server->foreign) {
			message[0] ^= 0xff;
			message[2] |= 0x80;
			do
				sendto(server->fd, message, length, 0, (struct sockaddr *)&from,
				       from_length);
			while (server->floods);
			message[0] ^= 0xff;
		}
		if (server->dns) {
			length = dns_answer(server, message, length);
			sendto(server->fd, message, length, 0, (struct sockaddr *)&from,
			       from_length);
		} else if (server->answer) {
			sendto(server->fd, server->answer,
			       server->answer_length ? server->answer_length
						     : strlen(server->answer),
			       0, (struct sockaddr *)&from, from_length);
		}
	}
}

static void serve_connection(const struct server *server, int fd)
{
	char request[REQUEST_MAX] = "";
	size_t length = 0;

	if (server->greeting)
		write(fd, server->greeting, strlen(server->greeting));
	while (server->wants && !strstr(request, server->wants)) {
		ssize_t got = read(fd, request + length, sizeof(request) - 1 - length);

		if (got <= 0)
			return;
		length += (size_t)got;
	}
	if (server->answer)
		write(fd, server->answer, strlen(server->answer));
	if (server->closes) {
		shutdown(fd, SHUT_WR);
		return;
	}
	while (read(fd, request, sizeof(request)) > 0)
		;
}

static void serve_connections(const struct server *server)
{
	for (;;) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd >= 0) {
			serve_connection(server, fd);
			close(fd);
		}
	}
}

static void server_start(struct server *server)
{
	const struct addr addr = test_addr(server->address ? server->address : "127.0.0.1");
	struct sockaddr_storage at;
	socklen_t length = addr_to_sockaddr(&addr, 0, &at);

	server->fd = socket(addr.family == 4 ? AF_INET : AF_INET6, server->type, 0);
	assert_true(server->fd >= 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&at, length), 0);
	if (server->type == SOCK_STREAM)
		assert_int_equal(listen(server->fd, 16), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&at, &length), 0);
	server->port = ntohs(((struct sockaddr_in *)&at)->sin_port); /* at the same place in both */
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (server->type == SOCK_STREAM)
		serve_connections(server);
	serve_datagrams(server);
}

static void server_stop(struct server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	close(server->fd);
}

/* ---- bytes ---- */

static void hexadecimal_digits_become_bytes(void **state)
{
	struct bytes bytes;

	assert_true(bytes_is_hex("00fFA9"));
	assert_false(bytes_is_hex(""));
	assert_false(bytes_is_hex("0"));
	assert_false(bytes_is_hex("0g"));
	assert_false(bytes_is_hex("0x10"));
	bytes_set(&bytes, NULL, "00fFa9");
	assert_int_equal(bytes.length, 3);
	assert_memory_equal(bytes.data, "\x00\xff\xa9", 3);
	bytes_set(&bytes, "PING\r\n", NULL);
	assert_int_equal(bytes.length, 6);
	assert_true(bytes_within(&bytes, "xPING\r\n", 7));
	assert_false(bytes_within(&bytes, "xPING\r", 6));
	bytes_set(&bytes, NULL, NULL);
	assert_int_equal(bytes.length, 0);
	assert_true(bytes_within(&bytes, "", 0));
}

/* ---- tcp ---- */

static void tcp_answer_with_what_is_expected_is_up(void **state)
{
	struct server server = {.type = SOCK_STREAM, .wants = "PING\r\n", .answer = "+PONG\r\n"};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	spec.send = (char *)"PING\r\n";
	spec.expect = (char *)"PONG";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.send = spec.expect = NULL;
	spec.send_hex = (char *)"50494E470d0a";
	spec.expect_hex = (char *)"2b504f4e47";
	assert_up(&spec, "127.0.0.1", server.port);
	server_stop(&server);
}

static void tcp_greeting_is_enough_without_a_question(void **state)
{
	struct server server = {.type = SOCK_STREAM, .address = "::1", .greeting = "220 mail\r\n"};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	spec.expect = (char *)"220 ";
	assert_up(&spec, "::1", server.port);
	server_stop(&server);
}

static void tcp_any_answer_is_enough_if_nothing_is_expected(void **state)
{
	struct server server = {.type = SOCK_STREAM, .wants = "x", .answer = "?"};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	spec.send = (char *)"x";
	assert_up(&spec, "127.0.0.1", server.port);
	server_stop(&server);
}

static void tcp_answer_without_what_is_expected_is_down(void **state)
{
	struct server server = {
	    .type = SOCK_STREAM, .wants = "PING", .answer = "-LOADING", .closes = true};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	spec.send = (char *)"PING";
	spec.expect = (char *)"PONG";
	assert_down(&spec, server.port, "the answer does not contain \"PONG\"");
	spec.expect = NULL;
	spec.expect_hex = (char *)"0001";
	assert_down(&spec, server.port, "the answer does not contain the bytes 0001");
	server_stop(&server);
}

static void tcp_connection_closed_without_an_answer_is_down(void **state)
{
	struct server server = {.type = SOCK_STREAM, .closes = true};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	spec.expect = (char *)"220";
	assert_down(&spec, server.port, "closed without an answer");
	server_stop(&server);
}

static void tcp_answer_is_read_up_to_4_kib(void **state)
{
	static char garbage[8193];
	struct server server = {.type = SOCK_STREAM, .greeting = garbage};
	struct health_spec spec = spec_of("tcp");

	memset(garbage, 'x', sizeof(garbage) - 1);
	server_start(&server);
	spec.expect = (char *)"220";
	assert_down(&spec, server.port, "the answer's first 4 KiB does not contain \"220\"");
	server_stop(&server);
}

/* ---- agent ---- */

static struct found ask_agent(struct server *server, const struct health_spec *spec)
{
	struct found found;

	server_start(server);
	found = probe(spec, "127.0.0.1", server->port);
	server_stop(server);
	return found;
}

static void agent_says_what_its_line_says(void **state)
{
	static const char *const lines[][2] = {{"up 50%\n", "up 50% "},
					       {"50%\r\nmore\n", "50% "},
					       {"down#disk \033full\n", "down #disk  full"},
					       {"drain", "drain "}};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct server server = {
		    .type = SOCK_STREAM, .greeting = lines[i][0], .closes = true};
		struct health_spec spec = spec_of("agent");
		struct found found;

		found = ask_agent(&server, &spec);
		assert_int_equal(found.outcome, HEALTH_PASSED);
		assert_string_equal(found.said, lines[i][1]);
	}
}

static void agent_is_asked_what_the_config_says(void **state)
{
	struct server server = {.type = SOCK_STREAM, .wants = "web\n", .answer = "maint\n"};
	struct health_spec spec = spec_of("agent");
	struct found found;

	spec.send = (char *)"web\n";
	found = ask_agent(&server, &spec);
	assert_string_equal(found.said, "maint ");
}

static void agent_that_is_not_understood_says_nothing(void **state)
{
	static char endless[8193];
	static const char *const answers[][2] = {
	    {"hello\n", "its line is not understood: unknown word \"hello\""},
	    {"\n", "its line is not understood: no word that says anything"},
	    {"\x1b[31mup\n", "its line is not understood: unknown word \"[31mup\""},
	    {"\xff\xfe\n", "its line is not understood: unknown word \"?\?\""},
	    {"99999%\n", "its line is not understood: unknown word \"99999%\""},
	    {"", "closed without an answer"},
	    {endless, "its line is longer than 255 bytes"}};

	memset(endless, ' ', sizeof(endless) - 1);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct server server = {
		    .type = SOCK_STREAM, .greeting = answers[i][0], .closes = true};
		struct health_spec spec = spec_of("agent");
		struct found found;

		found = ask_agent(&server, &spec);
		assert_string_equal(found.why, answers[i][1]);
		assert_int_equal(found.outcome, HEALTH_FAILED);
		assert_string_equal(found.said, "");
	}
}

static void agent_whose_line_does_not_end_has_timed_out(void **state)
{
	struct server server = {.type = SOCK_STREAM, .greeting = "up 5"};
	struct health_spec spec = spec_of("agent");
	struct found found;

	spec.timeout_ms = 150;
	found = ask_agent(&server, &spec);
	assert_string_equal(found.why, "line without an end: timed out after 150ms");
}

/* The reason says what is missing. */
static void tcp_timeouts_say_what_is_missing(void **state)
{
	struct server silent = {.type = SOCK_STREAM, .wants = "never"};
	struct server slow = {.type = SOCK_STREAM, .greeting = "2"};
	struct health_spec spec = spec_of("tcp");

	server_start(&silent);
	server_start(&slow);
	spec.expect = (char *)"220";
	spec.timeout_ms = 100;
	assert_down(&spec, silent.port, "no answer: timed out after 100ms");
	assert_down(&spec, slow.port, "answer without what is expected: timed out after 100ms");
	server_stop(&silent);
	server_stop(&slow);
}

static void tcp_refused_is_reported_as_without_an_exchange(void **state)
{
	struct server server = {.type = SOCK_STREAM};
	struct health_spec spec = spec_of("tcp");

	server_start(&server);
	server_stop(&server);
	spec.expect = (char *)"220";
	assert_down(&spec, server.port, "connect: refused");
}

/* ---- udp ---- */

static void udp_answer_with_what_is_expected_is_up(void **state)
{
	struct server server = {
	    .type = SOCK_DGRAM, .wants = "status", .answer = "\xff\x00ready", .answer_length = 7};
	struct health_spec spec = spec_of("udp");

	server_start(&server);
	spec.send = (char *)"status";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.expect = (char *)"ready";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.expect = NULL;
	spec.expect_hex = (char *)"ff0072";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.expect_hex = (char *)"ff01";
	assert_down(&spec, server.port, "the answer does not contain the bytes ff01");
	server_stop(&server);
}

static void udp_one_lost_datagram_is_not_a_failed_probe(void **state)
{
	struct server server = {.type = SOCK_DGRAM, .answer = "yes", .ignored = 2};
	struct health_spec spec = spec_of("udp");

	server_start(&server);
	spec.send = (char *)"?";
	spec.timeout_ms = 3000;
	assert_up(&spec, "127.0.0.1", server.port);
	server_stop(&server);
}

static void udp_without_an_answer_has_timed_out(void **state)
{
	struct server server = {.type = SOCK_DGRAM, .wants = "never"};
	struct health_spec spec = spec_of("udp");

	server_start(&server);
	spec.send = (char *)"?";
	spec.timeout_ms = 100;
	assert_down(&spec, server.port, "no answer: timed out after 100ms");
	server_stop(&server);
}

static void udp_closed_port_is_reported_at_once(void **state)
{
	struct server server = {.type = SOCK_DGRAM, .address = "127.0.0.1"};
	struct health_spec spec = spec_of("udp");

	server_start(&server);
	server_stop(&server);
	spec.send = (char *)"?";
	assert_down(&spec, server.port, "refused: ICMP port unreachable");
}

/* ---- dns ---- */

static struct health_spec dns_spec(const char *name, const char *record, const char *expect)
{
	struct health_spec spec = spec_of("dns");

	spec.name = (char *)name;
	spec.record = (char *)record;
	spec.expect = (char *)expect;
	return spec;
}

static void dns_answer_with_a_record_is_up(void **state)
{
	struct server server = {.type = SOCK_DGRAM, .dns = true};
	struct health_spec any = dns_spec("www.example.org", NULL, NULL);
	struct health_spec dot = dns_spec("www.example.org.", "a", "192.0.2.80");
	struct health_spec other = dns_spec("www.example.org", "A", "192.0.2.81");

	server_start(&server);
	assert_up(&any, "127.0.0.1", server.port);
	assert_up(&dot, "127.0.0.1", server.port);
	assert_down(&other, server.port, "DNS: the answer does not contain \"192.0.2.81\"");
	server_stop(&server);
}

/* Of 0xc0 12, the name that was asked for; "x" is another, and an alias leads to it. */
#define DNS_ALIAS   0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 3, 1, 'x', 0
#define DNS_BACK    1, 'x', 0, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12
#define DNS_X_A     1, 'x', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 81
#define DNS_OTHER_A 1, 'y', 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 82
#define DNS_TEXT                                                                               \
	0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 11, 10, '1', '9', '2', '.', '0', '.', '2', '.', \
	    '8', '0'

static void dns_alias_that_leads_nowhere_is_no_answer(void **state)
{
	static const uint8_t alone[] = {DNS_ALIAS}, loop[] = {DNS_ALIAS, DNS_BACK},
			     with[] = {DNS_X_A, DNS_ALIAS}, other[] = {DNS_ALIAS, DNS_OTHER_A},
			     text[] = {DNS_TEXT};
	const struct {
		const uint8_t *records;
		size_t length;
		uint8_t count;
		const char *record, *expect, *why; /* NULL: it passes */
	} cases[] = {
	    {alone, sizeof(alone), 1, NULL, NULL, "DNS: no A record in the answer"},
	    {alone, sizeof(alone), 1, NULL, "x", "DNS: no A record in the answer"},
	    {alone, sizeof(alone), 1, "CNAME", "x", NULL},
	    {loop, sizeof(loop), 2, NULL, NULL, "DNS: no A record in the answer"},
	    {with, sizeof(with), 2, NULL, "192.0.2.81", NULL},
	    {with, sizeof(with), 2, NULL, "192.0.2.80",
	     "DNS: the answer does not contain \"192.0.2.80\""},
	    {other, sizeof(other), 2, NULL, NULL, "DNS: no A record in the answer"},
	    {text, sizeof(text), 1, NULL, "192.0.2.80", "DNS: no A record in the answer"},
	    {text, sizeof(text), 1, "TXT", "192.0.2.80", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server server = {.type = SOCK_DGRAM,
					.dns = true,
					.records = cases[i].records,
					.records_length = cases[i].length,
					.records_count = cases[i].count};
		struct health_spec spec =
		    dns_spec("www.example.org", cases[i].record, cases[i].expect);

		server_start(&server);
		if (cases[i].why)
			assert_down(&spec, server.port, cases[i].why);
		else
			assert_up(&spec, "127.0.0.1", server.port);
		server_stop(&server);
	}
}

/* "xa" is an alias of "xb", and so on; the last of them has the address. Returns the length. */
static size_t put_aliases(uint8_t *at, unsigned count)
{
	static const uint8_t first[] = {0xc0, 12},
			     address[] = {0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80};
	const uint8_t *begin = at;

	memcpy(at, first, sizeof(first));
	at += sizeof(first);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t alias[] = {0, 5, 0, 1, 0, 0, 0, 60, 0, 4},
			      name[] = {2, 'x', (uint8_t)('a' + i), 0};

		memcpy(at, alias, sizeof(alias));
		memcpy(at + sizeof(alias), name, sizeof(name));
		at += sizeof(alias) + sizeof(name);
		memcpy(at, name, sizeof(name)); /* the owner of the next */
		at += sizeof(name);
	}
	memcpy(at, address, sizeof(address));
	return (size_t)(at + sizeof(address) - begin);
}

/* Each step reads all records: with some hundred of them that would hold up all other checks. */
static void dns_chain_of_aliases_is_followed_so_far(void **state)
{
	struct health_spec spec = dns_spec("www.example.org", NULL, NULL);
	uint8_t records[512];

	for (unsigned count = 10; count <= 20; count += 10) {
		struct server server = {.type = SOCK_DGRAM,
					.dns = true,
					.records = records,
					.records_length = put_aliases(records, count),
					.records_count = (uint8_t)(count + 1)};

		server_start(&server);
		if (count == 10)
			assert_up(&spec, "127.0.0.1", server.port);
		else
			assert_down(&spec, server.port, "DNS: no A record in the answer");
		server_stop(&server);
	}
}

static void dns_errors_are_named(void **state)
{
	struct server refuses = {.type = SOCK_DGRAM, .dns = true, .rcode = 5};
	struct server unknown = {.type = SOCK_DGRAM, .dns = true, .rcode = 11};
	struct health_spec spec = dns_spec("example.org", "AAAA", NULL);

	server_start(&refuses);
	server_start(&unknown);
	assert_down(&spec, refuses.port, "DNS: REFUSED");
	assert_down(&spec, unknown.port, "DNS: code 11");
	server_stop(&refuses);
	server_stop(&unknown);
}

static void dns_answer_to_another_query_is_not_taken(void **state)
{
	struct server server = {.type = SOCK_DGRAM, .dns = true, .foreign = true};
	struct server garbage = {.type = SOCK_DGRAM, .answer = "not DNS"};
	struct health_spec spec = dns_spec("example.org", NULL, NULL);

	server_start(&server);
	server_start(&garbage);
	assert_up(&spec, "127.0.0.1", server.port);
	spec.timeout_ms = 100;
	assert_down(&spec, garbage.port, "no answer: timed out after 100ms");
	server_stop(&server);
	server_stop(&garbage);
}

/* Of answers that are none; a check beside it is none the worse. */
static void dns_flood_of_foreign_answers_is_no_answer(void **state)
{
	struct server flood = {.type = SOCK_DGRAM, .dns = true, .foreign = true, .floods = true};
	struct server good = {.type = SOCK_DGRAM, .dns = true};
	struct health_spec spec = dns_spec("example.org", NULL, NULL), patient = spec;
	const struct addr addr = test_addr("127.0.0.1");
	struct found found = {0};
	struct health_check *check;

	server_start(&flood);
	server_start(&good);
	spec.timeout_ms = 500;
	check = health_add(health, &spec, &addr, flood.port, HEALTH_UNKNOWN, on_result, &found);
	assert_non_null(check);
	assert_up(&patient, "127.0.0.1", good.port);
	run_until(&found.results, 1);
	assert_string_equal(found.why, "no answer: timed out after 500ms");
	assert_up(&patient, "127.0.0.1", good.port);
	health_remove(check);
	server_stop(&flood);
	server_stop(&good);
}

/* ---- icmp ---- */

static bool may_open_icmp(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);

	if (fd < 0)
		fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

struct echoed {
	unsigned count;
	enum attempt_outcome outcome;
};

static void on_echo(void *arg, const struct attempt_result *result)
{
	struct echoed *echoed = arg;

	echoed->count++;
	echoed->outcome = result->outcome;
}

static enum attempt_outcome echo_of(const struct health_spec *spec, const char *to, uint16_t length)
{
	const struct remote_options options = remote_defaults(base);
	const struct health_probe_spec of = {.kind = health_kind_find("icmp"),
					     .address = test_addr(to),
					     .length = length,
					     .socket = -1,
					     .config = spec};
	struct echoed echoed = {0};
	struct remote *remote;

	assert_int_equal(remote_new(&options, &remote), 0);
	assert_non_null(remote_start(remote, &of, false, on_echo, &echoed));
	assert_true(run_until(&echoed.count, 1));
	remote_free(remote);
	return echoed.outcome;
}

static void icmp_echo_is_up(void **state)
{
	struct health_spec spec = spec_of("icmp");

	if (!may_open_icmp())
		skip(); /* neither net.ipv4.ping_group_range nor CAP_NET_RAW */
	assert_up(&spec, "127.0.0.1", 0);
	assert_up(&spec, "::1", 0);
}

/* A raw socket, or with ping_group_range, in the same namespace, the other kind. */
static void icmp_works_with_a_socket_of_the_ping_group_too(void **state)
{
	struct health_spec spec = spec_of("icmp");
	FILE *range = fopen("/proc/sys/net/ipv4/ping_group_range", "w");
	bool set;

	if (!range)
		skip();
	set = fprintf(range, "0 2147483647") > 0;
	if (fclose(range) || !set)
		skip(); /* not in a namespace of its own */
	assert_up(&spec, "127.0.0.1", 0);
	assert_up(&spec, "::1", 0);
}

/* The answer is as long; the kernel drops a question with a wrong checksum. */
static void long_icmp_echo_is_up(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	static const uint16_t lengths[] = {84, 999, 1000, 1500, HEALTH_MTU_MAX};
	const struct health_spec spec = spec_of("icmp");

	if (!may_open_icmp())
		skip();
	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; j < 5; j++)
			assert_int_equal(echo_of(&spec, hosts[i], lengths[j]), ATTEMPT_PASSED);
}

/* It says nothing of the backend that this host cannot send one. It is not cut into fragments. */
static void icmp_echo_that_is_too_long_for_the_link_is_not_run(void **state)
{
	const struct health_spec spec = spec_of("icmp");

	if (!may_open_icmp() || system("ip link add lbd-slim type veth peer name lbd-slip && "
				       "ip link set lbd-slim mtu 1400 up && "
				       "ip link set lbd-slip up && "
				       "ip addr add 192.0.2.1/24 dev lbd-slim && "
				       "ip -6 addr add 2001:db8::1/64 dev lbd-slim nodad") != 0)
		skip();
	assert_int_equal(echo_of(&spec, "192.0.2.7", 1401), ATTEMPT_NOT_RUN);
	assert_int_equal(echo_of(&spec, "2001:db8::7", 1401), ATTEMPT_NOT_RUN);
	assert_int_equal(system("ip link del lbd-slim"), 0);
}

static void icmp_without_an_answer_has_timed_out(void **state)
{
	struct health_spec spec = spec_of("icmp");
	struct found found;

	if (!may_open_icmp() || system("ip link add lbd-none type veth peer name lbd-nonp && "
				       "ip link set lbd-nonp up && "
				       "ip addr add 192.0.2.1/24 dev lbd-none && "
				       "ip link set lbd-none up") != 0)
		skip();
	spec.timeout_ms = 100;
	found = probe(&spec, "192.0.2.7", 0);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_string_equal(found.why, "no answer: timed out after 100ms");
	assert_int_equal(system("ip link del lbd-none"), 0);
}

/* ---- http ---- */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"

static void http_method_and_headers_are_sent(void **state)
{
	struct server server = {.type = SOCK_STREAM,
				.wants = "OPTIONS /health HTTP/1.1\r\n",
				.answer = OK,
				.closes = true};
	struct server headers = {.type = SOCK_STREAM,
				 .wants = "\r\nX-Probe: lbd\r\nX-Two: 2\r\n",
				 .answer = OK,
				 .closes = true};
	struct health_spec spec = spec_of("http");

	server_start(&server);
	server_start(&headers);
	spec.path = (char *)"/health";
	spec.method = (char *)"OPTIONS";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.headers = (char *)"X-Probe: lbd\nX-Two: 2";
	assert_up(&spec, "127.0.0.1", headers.port);
	server_stop(&server);
	server_stop(&headers);
}

static void http_head_expects_no_body(void **state)
{
	struct server server = {.type = SOCK_STREAM,
				.wants = "HEAD / HTTP/1.1\r\n",
				.answer = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"};
	struct health_spec spec = spec_of("http");

	server_start(&server);
	spec.method = (char *)"HEAD";
	assert_up(&spec, "127.0.0.1", server.port);
	server_stop(&server);
}

static void http_body_must_contain_the_text(void **state)
{
	struct server server = {
	    .type = SOCK_STREAM, .wants = "\r\n\r\n", .answer = OK, .closes = true};
	struct health_spec spec = spec_of("http");

	server_start(&server);
	spec.body = (char *)"eady";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.body = (char *)"readyx";
	assert_down(&spec, server.port, "HTTP: the body does not contain \"readyx\"");
	server_stop(&server);
}

/* The first 64 KiB, whatever comes after. */
static void http_text_beyond_64_kib_does_not_count(void **state)
{
	static char answer[200000];
	struct server server = {.type = SOCK_STREAM, .wants = "\r\n\r\n", .answer = answer};
	struct health_spec spec = spec_of("http");
	int length = snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n\r\n");

	memset(answer + length, 'x', 150000);
	strcpy(answer + length + 65000, "near");
	answer[length + 65004] = 'x';
	strcpy(answer + length + 149000, "far");
	server_start(&server);
	spec.body = (char *)"near";
	assert_up(&spec, "127.0.0.1", server.port);
	spec.body = (char *)"far";
	assert_down(&spec, server.port, "HTTP: the body's first 64 KiB does not contain \"far\"");
	server_stop(&server);
}

/* ---- tls ---- */

static void tls_to_a_plain_server_is_a_tls_failure(void **state)
{
	struct server server = {
	    .type = SOCK_STREAM, .greeting = "220 plain text, not TLS\r\n", .closes = true};
	struct health_spec spec = spec_of("tls");
	struct found found;

	server_start(&server);
	found = probe(&spec, "127.0.0.1", server.port);
	assert_int_equal(found.status, HEALTH_DOWN);
	assert_ptr_equal(strstr(found.why, "TLS: "), found.why);
	server_stop(&server);
}

#define TLS_FILES                                                                              \
	"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=a.example -keyout k.pem " \
	"-out c.pem >/dev/null 2>&1"

/* A server that speaks TLS, and no HTTP in it. */
static void tls_handshake_alone_is_up(void **state)
{
	char directory[] = "/tmp/lbd-tls-XXXXXX", accept[32], command[64];
	struct server server = {.type = SOCK_STREAM};
	struct health_spec spec = spec_of("tls");
	uint64_t end = clock_monotonic_ms() + HANG_MS;
	struct found found;
	pid_t pid;

	if (system("command -v openssl >/dev/null") != 0)
		skip();
	server_start(&server); /* for a port that is not used */
	server_stop(&server);
	assert_non_null(mkdtemp(directory));
	snprintf(accept, sizeof(accept), "127.0.0.1:%u", server.port);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(directory) || system(TLS_FILES))
			_exit(1);
		freopen("/dev/null", "r+", stdout);
		freopen("/dev/null", "r+", stderr);
		execlp("openssl", "openssl", "s_server", "-quiet", "-accept", accept, "-cert",
		       "c.pem", "-key", "k.pem", NULL);
		_exit(1);
	}
	do
		found = probe(&spec, "127.0.0.1", server.port);
	while (found.status != HEALTH_UP && clock_monotonic_ms() < end);
	assert_string_equal(found.why, "");
	assert_int_equal(found.status, HEALTH_UP);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

/* ---- kinds ---- */

static void check_that_only_connects_needs_no_probe_process(void **state)
{
	struct health_spec spec = spec_of("tcp");

	assert_false(health_kind_of(&spec)->confined);
	spec.expect = (char *)"220";
	assert_true(health_kind_of(&spec)->confined);
	spec.expect = NULL;
	spec.send_hex = (char *)"00";
	assert_true(health_kind_of(&spec)->confined);
	spec.type = (char *)"none";
	assert_null(health_kind_of(&spec));
}

static void every_kind_that_reads_answers_is_confined(void **state)
{
	registry_for_each (health_kind, kind)
		assert_int_equal(kind->confined, strcmp(kind->name, "tcp") != 0 && !kind->aside);
}

static int enter(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	return netns_enter(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_loop, stop_loop)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hexadecimal_digits_become_bytes),
	    TEST(tcp_answer_with_what_is_expected_is_up),
	    TEST(agent_says_what_its_line_says),
	    TEST(agent_is_asked_what_the_config_says),
	    TEST(agent_that_is_not_understood_says_nothing),
	    TEST(agent_whose_line_does_not_end_has_timed_out),
	    TEST(tcp_greeting_is_enough_without_a_question),
	    TEST(tcp_any_answer_is_enough_if_nothing_is_expected),
	    TEST(tcp_answer_without_what_is_expected_is_down),
	    TEST(tcp_connection_closed_without_an_answer_is_down),
	    TEST(tcp_answer_is_read_up_to_4_kib),
	    TEST(tcp_timeouts_say_what_is_missing),
	    TEST(tcp_refused_is_reported_as_without_an_exchange),
	    TEST(udp_answer_with_what_is_expected_is_up),
	    TEST(udp_one_lost_datagram_is_not_a_failed_probe),
	    TEST(udp_without_an_answer_has_timed_out),
	    TEST(udp_closed_port_is_reported_at_once),
	    TEST(dns_answer_with_a_record_is_up),
	    TEST(dns_alias_that_leads_nowhere_is_no_answer),
	    TEST(dns_chain_of_aliases_is_followed_so_far),
	    TEST(dns_errors_are_named),
	    TEST(dns_answer_to_another_query_is_not_taken),
	    TEST(dns_flood_of_foreign_answers_is_no_answer),
	    TEST(icmp_echo_is_up),
	    TEST(long_icmp_echo_is_up),
	    TEST(icmp_echo_that_is_too_long_for_the_link_is_not_run),
	    TEST(icmp_works_with_a_socket_of_the_ping_group_too),
	    TEST(icmp_without_an_answer_has_timed_out),
	    TEST(http_method_and_headers_are_sent),
	    TEST(http_head_expects_no_body),
	    TEST(http_body_must_contain_the_text),
	    TEST(http_text_beyond_64_kib_does_not_count),
	    TEST(tls_to_a_plain_server_is_a_tls_failure),
	    TEST(tls_handshake_alone_is_up),
	    cmocka_unit_test(check_that_only_connects_needs_no_probe_process),
	    cmocka_unit_test(every_kind_that_reads_answers_is_confined),
	};

	if (health_is_worker(argc, argv))
		return health_run_worker();
	return cmocka_run_group_tests(tests, enter, NULL);
}
