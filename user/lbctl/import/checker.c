/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checkers of keepalived. */
#include "checker.h"

#include <string.h>

#include "common/duration.h"
#include "value.h"

#define DELAY_LOOP_MS  60000 /* keepalived's defaults */
#define CONNECT_MS     5000
#define SLOW_TO_NOTICE 60000 /* a dead backend */

static const struct kind {
	const char *name;
	const char *type; /* of lbd's check; NULL: it has none like it */
	const char *why;  /* it is not carried over */
	unsigned retry;   /* keepalived's default */
} kinds[] = {
    {"TCP_CHECK", "tcp", NULL, 1},
    {"HTTP_GET", "http", NULL, 1},
    {"SSL_GET", "https", NULL, 1},
    {"SMTP_CHECK", "tcp", NULL, 1},
    {"DNS_CHECK", "dns", NULL, 3},
    {"MISC_CHECK", NULL, "see `type: exec` in docs/config.md, which runs a command", 0},
    {"BFD_CHECK", NULL, "lbd has no check that uses BFD", 0},
    {"PING_CHECK", "icmp", NULL, 1},
    {"UDP_CHECK", "udp", NULL, 1},
    {"FILE_CHECK", NULL, "lbd has no check that reads a file", 0},
};

static const struct kind *find_kind(const struct statement *statement)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (statement_is(statement, kinds[i].name))
			return &kinds[i];
	return NULL;
}

bool checker_find(const struct statement *statement)
{
	return find_kind(statement) != NULL;
}

/* ---- times ---- */

static void read_seconds(struct import *im, const struct statement *statement, uint64_t *to)
{
	if (!value_seconds(statement_word(statement, 1), to) || !*to)
		import_left(im, statement->words.at, "%s %s: expected seconds, more than 0",
			    statement_word(statement, 0), statement_word(statement, 1));
}

static void read_retry(struct import *im, const struct statement *statement,
		       struct checker_times *times)
{
	if (value_number(statement_word(statement, 1), 999, &times->retry))
		times->has_retry = true;
	else
		import_left(im, statement->words.at, "%s %s: expected 0 to 999",
			    statement_word(statement, 0), statement_word(statement, 1));
}

/* delay_before_retry and warmup have no counterpart: lbd repeats a check after its interval, and
 * spreads first checks by itself. */
static bool is_time(const struct statement *statement)
{
	static const char *const words[] = {"delay_loop",   "connect_timeout", "retry",
					    "nb_get_retry", "nb_sock_retry",   "delay_before_retry",
					    "warmup",       "virtualhost"};

	return statement_is_any(statement, words, sizeof(words) / sizeof(*words));
}

bool checker_read_time(struct import *im, const struct statement *statement,
		       struct checker_times *times)
{
	static const char *const retries[] = {"retry", "nb_get_retry", "nb_sock_retry"};

	if (statement_is(statement, "delay_loop"))
		read_seconds(im, statement, &times->delay_ms);
	else if (statement_is(statement, "connect_timeout"))
		read_seconds(im, statement, &times->connect_ms);
	else if (statement_is_any(statement, retries, sizeof(retries) / sizeof(*retries)))
		read_retry(im, statement, times);
	else if (statement_is(statement, "virtualhost"))
		times->virtualhost = statement_word(statement, 1);
	return is_time(statement);
}

static void put_times(const struct kind *kind, const struct checker_times *times,
		      struct import_health *health)
{
	uint64_t retry = times->has_retry ? times->retry : kind->retry;

	health->interval_ms = times->delay_ms ? times->delay_ms : DELAY_LOOP_MS;
	health->timeout_ms = times->connect_ms ? times->connect_ms : CONNECT_MS;
	health->rise = 1;
	health->fall = (unsigned)retry + 1;
}

/* ---- what a URL of HTTP_GET says ---- */

/* 200, 200-299, or several of these. */
static void read_status(struct import *im, const struct statement *statement,
			struct import_health *health)
{
	const char *list = NULL;

	for (unsigned i = 1; i < statement->words.count || i == 1; i++)
		if (!value_status(im, statement_word(statement, i), &list))
			import_left(im, statement->words.at,
				    "status_code %s: expected 100 to 599, or a range of them",
				    statement_word(statement, i));
	if (list)
		health->status = list;
}

static void read_url(struct import *im, const struct statement *url, struct import_health *health)
{
	for (const struct statement *one = url->block; one; one = one->next) {
		if (statement_is(one, "path"))
			health->path = statement_word(one, 1);
		else if (statement_is(one, "status_code"))
			read_status(im, one, health);
		else if (statement_is(one, "virtualhost"))
			health->host = statement_word(one, 1);
		else
			import_left(im, one->words.at, "%s: lbd's checks have none like it",
				    statement_word(one, 0));
	}
}

/* What keepalived does unless it is told otherwise. */
static void begin_check(const struct kind *kind, const struct checker_times *times,
			struct import_health *health)
{
	if (!strncmp(kind->type, "http", 4)) {
		health->status = "200-299";
		health->host = times->virtualhost;
	} else if (!strcmp(kind->type, "dns")) {
		health->name = ".";
		health->record = "SOA";
	} else if (!strcmp(kind->name, "SMTP_CHECK")) {
		health->expect = "220 "; /* the greeting; lbd does not answer it */
	}
}

/* Bytes as keepalived writes them: digits in groups, in which a single last one is a byte. */
static const char *read_bytes(struct import *im, const struct statement *statement)
{
	char *hex, *to;
	size_t length = 0;

	for (unsigned i = 1; i < statement->words.count; i++)
		length += strlen(statement_word(statement, i)) + 1;
	hex = to = import_allocate(im, length + 1);
	for (unsigned i = 1; i < statement->words.count; i++) {
		const char *group = statement_word(statement, i);

		for (; group[0] && group[1]; group += 2) {
			*to++ = group[0];
			*to++ = group[1];
		}
		if (*group) {
			*to++ = '0';
			*to++ = *group;
		}
	}
	return hex;
}

/* Statements of one kind of checker; false: another one. */
static bool read_own(struct import *im, const struct kind *kind, const struct statement *one,
		     struct import_health *health)
{
	if (!strcmp(kind->name, "DNS_CHECK") && statement_is(one, "name"))
		health->name = statement_word(one, 1);
	else if (!strcmp(kind->name, "DNS_CHECK") && statement_is(one, "type"))
		health->record = statement_word(one, 1);
	else if (!strcmp(kind->name, "UDP_CHECK") && statement_is(one, "payload"))
		health->send_hex = read_bytes(im, one);
	else if (!strcmp(kind->name, "UDP_CHECK") && statement_is(one, "require_reply"))
		health->expect_hex = one->words.count > 1 ? read_bytes(im, one) : NULL;
	else
		return !strcmp(kind->name, "SMTP_CHECK") && statement_is(one, "helo_name");
	return true;
}

/* ---- one checker ---- */

static void read_port(struct import *im, const struct statement *statement,
		      struct import_health *health)
{
	uint64_t port = 0;

	if (value_number(statement_word(statement, 1), 65535, &port) && port)
		health->port = (unsigned)port;
	else
		import_left(im, statement->words.at, "%s %s: expected 1 to 65535",
			    statement_word(statement, 0), statement_word(statement, 1));
}

static void read_of_checker(struct import *im, const struct statement *one, bool *has_url,
			    struct import_health *health)
{
	static const char *const connections[] = {"bindto", "bind_if", "bind_port", "fwmark"},
				 *const harmless[] = {"http_protocol", "fast_recovery",
						      "enable_sni", "log_all_failures", "alpha"};

	if (statement_is(one, "connect_port")) {
		read_port(im, one, health);
	} else if (statement_is(one, "url") && !*has_url) {
		*has_url = true;
		read_url(im, one, health);
	} else if (statement_is(one, "url")) {
		import_left(
		    im, one->words.at,
		    "url: the import takes the first: for several see `checks` in docs/config.md");
	} else if (statement_is(one, "connect_ip")) {
		import_left(im, one->words.at,
			    "connect_ip: see `health: { address }` of a backend in docs/config.md");
	} else if (statement_is_any(one, connections, sizeof(connections) / sizeof(*connections))) {
		import_left(im, one->words.at,
			    "%s: lbd's checks leave from an address that the kernel chooses",
			    statement_word(one, 0));
	} else if (!statement_is_any(one, harmless, sizeof(harmless) / sizeof(*harmless))) {
		import_left(im, one->words.at, "%s: not known", statement_word(one, 0));
	}
}

/* keepalived takes silence for an answer unless a reply is required. */
static void note_silence(struct import *im, const struct kind *kind,
			 const struct statement *checker)
{
	if (strcmp(kind->name, "UDP_CHECK"))
		return;
	for (const struct statement *one = checker->block; one; one = one->next)
		if (statement_is(one, "require_reply"))
			return;
	import_note(im, checker->words.at, "UDP_CHECK: lbd's requires an answer");
}

static void read_checker(struct import *im, const struct kind *kind,
			 const struct statement *checker, struct checker_times times,
			 struct import_health *health)
{
	bool has_url = false;

	*health = (struct import_health){.type = kind->type};
	for (const struct statement *one = checker->block; one; one = one->next)
		checker_read_time(im, one, &times);
	begin_check(kind, &times, health);
	for (const struct statement *one = checker->block; one; one = one->next) {
		if (!is_time(one) && !read_own(im, kind, one, health))
			read_of_checker(im, one, &has_url, health);
	}
	note_silence(im, kind, checker);
	put_times(kind, &times, health);
}

/* Nothing of it can be carried over but its times. */
static void replace_checker(struct import *im, const struct kind *kind,
			    const struct statement *checker, struct checker_times times, bool udp,
			    struct import_health *health)
{
	*health = (struct import_health){.type = udp ? "none" : "tcp"};
	import_left(im, checker->words.at, "%s: %s: %s", kind->name, kind->why,
		    udp ? "none is made" : "a connection is made instead");
	for (const struct statement *one = checker->block; one; one = one->next)
		checker_read_time(im, one, &times);
	put_times(kind, &times, health);
}

/* ---- one check for the service ---- */

/* The one to carry over: the first that lbd has, else the first. */
static const struct statement *find_best(struct import *im, const struct statement *real_server)
{
	const struct statement *best = NULL;

	for (const struct statement *one = real_server->block; one; one = one->next) {
		const struct kind *kind = find_kind(one);

		if (kind && (!best || (kind->type && !find_kind(best)->type)))
			best = one;
	}
	for (const struct statement *one = real_server->block; best && one; one = one->next)
		if (one != best && find_kind(one))
			import_left(
			    im, one->words.at,
			    "%s: the import takes one check, %s in line %u: for several see "
			    "`checks` in docs/config.md",
			    statement_word(one, 0), statement_word(best, 0), best->words.at.line);
	return best;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_health(const struct import_health *a, const struct import_health *b)
{
	return same_text(a->type, b->type) && same_text(a->path, b->path) &&
	       same_text(a->host, b->host) && same_text(a->name, b->name) &&
	       same_text(a->record, b->record) && same_text(a->send_hex, b->send_hex) &&
	       same_text(a->expect_hex, b->expect_hex) && same_text(a->expect, b->expect) &&
	       same_text(a->status, b->status) && a->port == b->port &&
	       a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
	       a->rise == b->rise && a->fall == b->fall;
}

void checker_choose(struct import *im, const struct statement *real_server,
		    const struct checker_times *times, bool udp, struct checker_choice *choice)
{
	const struct statement *best = find_best(im, real_server);
	const struct kind *kind = best ? find_kind(best) : NULL;
	struct import_health health;

	if (!best) {
		if (!choice->unchecked)
			choice->unchecked_at = real_server->words.at;
		choice->unchecked = true;
		return;
	}
	if (kind->type)
		read_checker(im, kind, best, *times, &health);
	else
		replace_checker(im, kind, best, *times, udp, &health);
	if (!choice->chosen) {
		choice->chosen = true;
		choice->health = health;
		choice->at = best->words.at;
	} else if (kind->type && !same_health(&choice->health, &health)) {
		import_left(
		    im, best->words.at,
		    "%s: differs from that in line %u: lbd checks all backends of a service alike",
		    kind->name, choice->at.line);
	}
}

void checker_settle(struct import *im, struct import_place at, const struct checker_choice *choice,
		    struct import_health *ret)
{
	const struct import_health *health = &choice->health;
	uint64_t ms = health->interval_ms * health->fall + health->timeout_ms;
	char text[DURATION_TEXT];

	*ret = *health;
	if (!choice->chosen) {
		ret->type = "none";
		return;
	}
	if (choice->unchecked)
		import_left(im, choice->unchecked_at,
			    "real_server without a check: lbd checks all backends of a service");
	if (strcmp(health->type, "none") && ms > SLOW_TO_NOTICE)
		import_note(im, at,
			    "checks: a dead backend is noticed after up to %s: unlike keepalived, "
			    "lbd repeats a failed check after the interval",
			    duration_exact(ms, text));
}
