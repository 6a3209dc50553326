/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/sources: dns.c in the source process, which this program becomes when it starts itself,
 * and a DNS server on the loop of the test. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/sources/nameservers.h"
#include "lbd/sources/process.h"

#define PATIENCE_MS 60000

static struct event_base *base;
static struct source_process *process;

/* ---- a server ---- */

struct record {
	const char *name; /* NULL: the end */
	uint16_t type;
	uint32_t ttl_s;
	const char *value; /* an address; of SRV "PRIORITY WEIGHT TARGET [PORT]" */
};

#define USUAL_PORT 80 /* of SRV records whose port is not the subject of the test */
#define CNAME      5  /* comes with whatever is asked for */

static int server = -1;
static struct event server_event;
static char server_text[32];
static const struct record *records;
static unsigned questions;
static int rcode;
static unsigned flags; /* of answers, besides the usual */
static size_t cut;     /* so many bytes at the end of an answer are missing */

static uint8_t *put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

static uint8_t *put_name(uint8_t *at, const char *name)
{
	while (*name) {
		size_t length = strcspn(name, ".");

		*at++ = (uint8_t)length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	*at++ = 0;
	return at;
}

static uint8_t *put_value(uint8_t *at, const struct record *record)
{
	unsigned priority, weight, port = USUAL_PORT;
	char target[128];

	if (record->type == 1)
		return inet_pton(AF_INET, record->value, at) == 1 ? at + 4 : at;
	if (record->type == 28)
		return inet_pton(AF_INET6, record->value, at) == 1 ? at + 16 : at;
	if (record->type == CNAME)
		return put_name(at, record->value);
	assert_in_range(sscanf(record->value, "%u %u %127s %u", &priority, &weight, target, &port),
			3, 4);
	at = put16(put16(put16(at, priority), weight), port);
	return put_name(at, target);
}

/* The question's name as text; its end. */
static const uint8_t *get_name(const uint8_t *at, char *text)
{
	for (; *at; at += *at + 1)
		text += sprintf(text, "%.*s.", *at, (const char *)at + 1);
	text[-1] = 0;
	return at + 1;
}

static uint8_t *put_record(uint8_t *at, const struct record *record)
{
	uint8_t *length;

	at = put16(at, 0xc00c); /* the name of the question */
	at = put16(put16(at, record->type), 1);
	at = put16(put16(at, record->ttl_s >> 16), record->ttl_s & 0xffff);
	length = at;
	at = put_value(at + 2, record);
	put16(length, (unsigned)(at - length - 2));
	return at;
}

static void on_question(int fd, short what, void *arg)
{
	uint8_t query[512], answer[4096], *end;
	struct sockaddr_storage from;
	socklen_t from_length = sizeof(from);
	ssize_t got = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&from, &from_length);
	unsigned type, count = 0;
	const uint8_t *at;
	char name[256];

	if (got < 17)
		return;
	questions++;
	at = get_name(query + 12, name);
	type = (unsigned)at[0] << 8 | at[1];
	end = answer + (at + 4 - query);
	memcpy(answer, query, (size_t)(end - answer));
	for (const struct record *record = records; record->name; record++)
		if (!strcmp(record->name, name) &&
		    (record->type == type || record->type == CNAME)) {
			end = put_record(end, record);
			count++;
		}
	put16(answer + 2, 0x8180 | flags | (unsigned)rcode);
	put16(put16(put16(answer + 6, count), 0), 0);
	sendto(fd, answer, (size_t)(end - answer) - cut, 0, (struct sockaddr *)&from, from_length);
}

static void server_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&address, &length), 0);
	snprintf(server_text, sizeof(server_text), "127.0.0.1:%u", ntohs(address.sin_port));
	event_assign(&server_event, base, server, EV_READ | EV_PERSIST, on_question, NULL);
	event_add(&server_event, NULL);
}

/* ---- what is reported ---- */

static char said[1024]; /* "10.0.0.1/100 10.0.0.2/50:8080", or "failed: why" */
static unsigned reports;

static void on_report(void *arg, struct source_list *list, const char *why)
{
	char address[ADDR_TEXT];

	assert_ptr_equal(arg, said);
	reports++;
	snprintf(said, sizeof(said), "failed: %s", why ? why : "");
	if (!list)
		return;
	*said = 0;
	for (unsigned i = 0; i < list->count; i++) {
		const struct source_item *item = &list->items[i];
		char priority[16] = "", port[16] = "";

		if (item->priority)
			snprintf(priority, sizeof(priority), "/p%u", item->priority);
		if (item->port && item->port != USUAL_PORT)
			snprintf(port, sizeof(port), ":%u", item->port);
		snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s/%u%s%s",
			 i ? " " : "", addr_format(&item->address, address), item->weight, priority,
			 port);
	}
	if (list->ignored)
		snprintf(said + strlen(said), sizeof(said) - strlen(said), " ignored %u: %s",
			 list->ignored, list->why);
	source_list_done(list);
}

static void turn(uint64_t until)
{
	const struct timeval soon = clock_span_ms(50);

	if (clock_monotonic_ms() >= until)
		fail_msg("timed out; last report: %s", said);
	event_base_loopexit(base, &soon);
	event_base_dispatch(base);
}

static void wait_for(const char *expected)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (strcmp(said, expected) != 0)
		turn(until);
}

static struct config_from from;
static void *run;

static void follow(uint8_t record, const struct record *list)
{
	records = list;
	from = (struct config_from){
	    .dns = (char *)"web.example.net", .server = server_text, .record = record, .min = 1};
	run = source_process_start(process, source_kind_find("dns"), &from, said);
	assert_non_null(run);
}

static int set_up(void **state)
{
	*said = 0;
	reports = questions = 0;
	rcode = 0;
	flags = 0;
	cut = 0;
	base = loop_new();
	if (!base || source_process_new(base, on_report, &process))
		return -1;
	server_start();
	return 0;
}

static int tear_down(void **state)
{
	source_process_stop(run);
	source_process_free(process);
	event_del(&server_event);
	close(server);
	event_base_free(base);
	return 0;
}

/* ---- tests ---- */

static void addresses_are_asked_for_again_when_their_time_is_over(void **state)
{
	static const struct record two[] = {{"web.example.net", 1, 1, "10.0.0.2"},
					    {"web.example.net", 1, 900, "10.0.0.1"},
					    {0}},
				   three[] = {{"web.example.net", 1, 900, "10.0.0.3"}, {0}};
	unsigned asked;

	follow(CONFIG_RECORD_A, two);
	wait_for("10.0.0.1/100 10.0.0.2/100");
	asked = questions;
	records = three;
	wait_for("10.0.0.3/100");
	assert_true(questions > asked);
}

/* RFC 2181, section 8 */
static void a_time_of_0_or_beyond_31_bits_is_a_second(void **state)
{
	static const struct record zero[] = {{"web.example.net", 1, 0, "10.0.0.1"}, {0}},
				   beyond[] = {{"web.example.net", 1, 1u << 31, "10.0.0.2"}, {0}},
				   last[] = {{"web.example.net", 1, 900, "10.0.0.3"}, {0}};

	follow(CONFIG_RECORD_A, zero);
	wait_for("10.0.0.1/100");
	records = beyond;
	wait_for("10.0.0.2/100");
	records = last;
	wait_for("10.0.0.3/100");
}

static void ipv6_addresses_are_a_record_of_their_own(void **state)
{
	static const struct record list[] = {{"web.example.net", 1, 900, "10.0.0.2"},
					     {"web.example.net", 28, 900, "2001:db8::2"},
					     {0}};

	follow(CONFIG_RECORD_AAAA, list);
	wait_for("2001:db8::2/100");
}

static void srv_gives_weights_and_priorities(void **state)
{
	static const struct record list[] = {{"web.example.net", 33, 900, "10 60 a.example.net"},
					     {"web.example.net", 33, 900, "10 20 b.example.net"},
					     {"web.example.net", 33, 900, "10 0 c.example.net"},
					     {"web.example.net", 33, 900, "20 99 d.example.net"},
					     {"web.example.net", 33, 900, "400 0 e.example.net"},
					     {"a.example.net", 1, 900, "10.0.0.1"},
					     {"a.example.net", 1, 900, "10.0.0.2"},
					     {"b.example.net", 28, 900, "2001:db8::2"},
					     {"c.example.net", 1, 900, "10.0.0.3"},
					     {"d.example.net", 1, 900, "10.0.0.4"},
					     {"e.example.net", 1, 900, "10.0.0.5"},
					     {0}};

	follow(CONFIG_RECORD_SRV, list);
	wait_for("10.0.0.1/30 10.0.0.2/30 10.0.0.3/1 10.0.0.4/99/p1 10.0.0.5/100/p2 "
		 "2001:db8::2/20");
}

static void srv_gives_ports_and_of_two_at_one_address_the_lower(void **state)
{
	static const struct record list[] = {
	    {"web.example.net", 33, 900, "10 60 a.example.net 8081"},
	    {"web.example.net", 33, 900, "10 20 b.example.net 9001"},
	    {"web.example.net", 33, 900, "10 20 b.example.net 9000"},
	    {"web.example.net", 33, 900, "20 99 c.example.net 0"},
	    {"a.example.net", 1, 900, "10.0.0.1"},
	    {"b.example.net", 1, 900, "10.0.0.2"},
	    {"c.example.net", 1, 900, "10.0.0.3"},
	    {0}};

	follow(CONFIG_RECORD_SRV, list);
	wait_for("10.0.0.1/60:8081 10.0.0.2/20:9000 10.0.0.3/99/p1 ignored 1: 10.0.0.2: named "
		 "twice");
}

static void a_target_of_a_later_priority_may_lack_an_address(void **state)
{
	static const struct record list[] = {{"web.example.net", 33, 900, "1 60 a.example.net"},
					     {"web.example.net", 33, 900, "2 20 b.example.net"},
					     {"a.example.net", 1, 900, "10.0.0.1"},
					     {0}};

	follow(CONFIG_RECORD_SRV, list);
	wait_for("10.0.0.1/60 ignored 1: b.example.net: DNS server returned answer with no data");
}

static void a_target_that_is_an_alias_may_have_ipv6_addresses_only(void **state)
{
	static const struct record list[] = {{"web.example.net", 33, 900, "10 60 a.example.net"},
					     {"a.example.net", CNAME, 900, "b.example.net"},
					     {"a.example.net", 28, 900, "2001:db8::2"},
					     {0}};

	follow(CONFIG_RECORD_SRV, list);
	wait_for("2001:db8::2/60");
}

static void a_target_without_an_address_fails_the_whole(void **state)
{
	static const struct record list[] = {{"web.example.net", 33, 900, "10 60 a.example.net"},
					     {"web.example.net", 33, 900, "10 20 b.example.net"},
					     {"a.example.net", 1, 900, "10.0.0.1"},
					     {0}};

	follow(CONFIG_RECORD_SRV, list);
	wait_for("failed: b.example.net: DNS server returned answer with no data");
}

static void addresses_of_no_host_are_ignored(void **state)
{
	static const struct record list[] = {{"web.example.net", 1, 900, "10.0.0.2"},
					     {"web.example.net", 1, 900, "127.0.0.1"},
					     {"web.example.net", 1, 900, "10.0.0.2"},
					     {0}};

	follow(CONFIG_RECORD_A, list);
	wait_for("10.0.0.2/100 ignored 2: web.example.net: 127.0.0.1: cannot be a host");
}

static void failures_are_named(void **state)
{
	static const struct record none[] = {{0}};

	follow(CONFIG_RECORD_A, none);
	wait_for("failed: web.example.net: DNS server returned answer with no data");
	rcode = 3;
	wait_for("failed: web.example.net: Domain name not found");
}

static void wait_for_failure(void)
{
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;

	while (strncmp(said, "failed: web.example.net: ", 25) != 0)
		turn(until);
}

/* An alias of itself; an answer that is cut, and one that says so, where nobody answers over TCP.
 */
static void answers_that_lead_nowhere_are_failures(void **state)
{
	static const struct record loop[] = {{"web.example.net", CNAME, 900, "web.example.net"},
					     {0}},
				   good[] = {{"web.example.net", 1, 1, "10.0.0.2"}, {0}};

	follow(CONFIG_RECORD_A, loop);
	wait_for_failure();
	records = good;
	wait_for("10.0.0.2/100");
	cut = 2;
	wait_for_failure();
	cut = 0;
	wait_for("10.0.0.2/100");
	flags = 0x0200;
	wait_for_failure();
	flags = 0;
	wait_for("10.0.0.2/100");
}

static void a_server_that_does_not_answer_is_a_failure(void **state)
{
	static const struct record none[] = {{0}};

	event_del(&server_event);
	follow(CONFIG_RECORD_A, none);
	wait_for("failed: web.example.net: Timeout while contacting DNS servers");
}

/* ---- resolv.conf ---- */

static int read_nameservers(const char *text, char ret[NAMESERVERS_TEXT], struct error *err)
{
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	int rc;

	assert_non_null(file);
	rc = nameservers_read(file, ret, err);
	fclose(file);
	return rc;
}

static void the_first_three_nameservers_are_taken(void **state)
{
	char servers[NAMESERVERS_TEXT];
	struct error err;

	assert_int_equal(read_nameservers("# nameserver 10.0.0.1\nsearch example.net\n"
					  "nameserver 10.0.0.2\r\n nameserver\t2001:db8::53\n"
					  "nameserver nonsense\nnameserver 127.0.0.53\n"
					  "nameserver 10.0.0.5",
					  servers, &err),
			 0);
	assert_string_equal(servers, "10.0.0.2 2001:db8::53 127.0.0.53");
	assert_int_equal(read_nameservers("search example.net\n", servers, &err), 0);
	assert_string_equal(servers, "");
	assert_int_equal(nameservers_read(NULL, servers, &err), 0);
	assert_string_equal(servers, "");
}

/* As routers name them (RFC 8106). */
static void nameservers_that_are_link_local_are_passed_over_and_named(void **state)
{
	char servers[NAMESERVERS_TEXT];
	struct error err;

	assert_int_equal(read_nameservers("nameserver fe80::1%eth0\nnameserver fe80::2\n"
					  "nameserver 10.0.0.2\n",
					  servers, &err),
			 0);
	assert_string_equal(servers, "10.0.0.2");
	assert_int_equal(read_nameservers("nameserver fe80::1%eth0\n", servers, &err), -EINVAL);
	assert_string_equal(err.text, "server: /etc/resolv.conf names only fe80::1%eth0, which is "
				      "link-local: expected `server` with another address");
}

/* The pid of the source process, among this one's children. */
static pid_t child(void)
{
	char path[64], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "re");
	if (file && !fgets(text, sizeof(text), file))
		*text = 0;
	if (file)
		fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

static void a_process_that_is_killed_is_started_again_with_its_sources(void **state)
{
	static const struct record list[] = {{"web.example.net", 1, 900, "10.0.0.2"}, {0}};
	pid_t pid;

	follow(CONFIG_RECORD_A, list);
	wait_for("10.0.0.2/100");
	pid = child();
	if (!pid) {
		skip(); /* a kernel without CONFIG_PROC_CHILDREN */
		return;
	}
	kill(pid, SIGKILL);
	wait_for("failed: the source process: killed by SIGKILL");
	wait_for("10.0.0.2/100");
	assert_int_not_equal(child(), pid);
}

#define MANY     1500 /* more than the socket takes at once */
#define QUIET_MS 4000 /* each source that is left asks within it */

static void many_sources_that_end_at_once_are_not_followed_on(void **state)
{
	static const struct record list[] = {{"web.example.net", 1, 900, "10.0.0.2"}, {0}};
	static const struct record many[] = {
	    {"web.example.net", 1, 900, "10.0.0.2"}, {"many.example.net", 1, 1, "10.0.0.3"}, {0}};
	const struct config_from others = {.dns = (char *)"many.example.net",
					   .server = server_text,
					   .record = CONFIG_RECORD_A,
					   .min = 1};
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS, quiet_since;
	static void *runs[MANY];
	unsigned before;

	follow(CONFIG_RECORD_A, list);
	wait_for("10.0.0.2/100");
	records = many;
	for (unsigned i = 0; i < MANY; i++)
		runs[i] = source_process_start(process, source_kind_find("dns"), &others, said);
	while (questions < MANY)
		turn(until);
	for (unsigned i = 0; i < MANY; i++)
		source_process_stop(runs[i]);
	quiet_since = clock_monotonic_ms();
	for (before = questions; clock_monotonic_ms() < quiet_since + QUIET_MS;) {
		turn(until);
		if (questions != before)
			quiet_since = clock_monotonic_ms();
		before = questions;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(addresses_are_asked_for_again_when_their_time_is_over),
	    TEST(a_time_of_0_or_beyond_31_bits_is_a_second),
	    TEST(ipv6_addresses_are_a_record_of_their_own),
	    TEST(srv_gives_weights_and_priorities),
	    TEST(srv_gives_ports_and_of_two_at_one_address_the_lower),
	    TEST(a_target_of_a_later_priority_may_lack_an_address),
	    TEST(a_target_that_is_an_alias_may_have_ipv6_addresses_only),
	    TEST(a_target_without_an_address_fails_the_whole),
	    TEST(addresses_of_no_host_are_ignored),
	    TEST(failures_are_named),
	    TEST(answers_that_lead_nowhere_are_failures),
	    TEST(a_server_that_does_not_answer_is_a_failure),
	    cmocka_unit_test(the_first_three_nameservers_are_taken),
	    cmocka_unit_test(nameservers_that_are_link_local_are_passed_over_and_named),
	    TEST(a_process_that_is_killed_is_started_again_with_its_sources),
	    TEST(many_sources_that_end_at_once_are_not_followed_on),
	};

	if (source_table_is_worker(argc, argv))
		return source_table_run_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
