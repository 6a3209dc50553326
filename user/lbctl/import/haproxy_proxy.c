/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* haproxy.cfg: the statements of a proxy. */
#include "haproxy.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "value.h"

/* ---- statements that lbd has nothing for ---- */

enum effect {
	QUIET,  /* nothing is lost */
	LEFT,   /* named */
	LAYER7, /* without effect in mode tcp */
};

/* The first words of a statement; the longest match counts. */
static const struct {
	const char *words;
	enum effect effect;
	const char *why;
} others[] = {
    {"acl", LEFT, "lbd's conditions are `allow` and `deny`: docs/filters.md"},
    {"use_backend", LEFT, "lbd chooses a service by VIP, protocol and port alone"},
    {"use-server", LEFT, "lbd chooses a backend by its algorithm alone"},
    {"tcp-request connection", LEFT,
     "lbd has `allow` and `deny` (docs/filters.md), and rates (docs/limits.md)"},
    {"tcp-request session", LEFT,
     "lbd has `allow` and `deny` (docs/filters.md), and rates (docs/limits.md)"},
    {"tcp-request content", LEFT, "lbd does not read what connections carry"},
    {"tcp-request inspect-delay", LEFT, "lbd does not read what connections carry"},
    {"tcp-response", LEFT, "lbd does not see answers"},
    {"maxconn", LEFT, "lbd has no limit of connections: docs/limits.md has rates"},
    {"fullconn", LEFT, "lbd has no limit of connections: docs/limits.md has rates"},
    {"rate-limit sessions", LEFT, "see `limit: { new-flows: ... }` in docs/limits.md"},
    {"server-template", LEFT, "see `backends-from: { dns: ... }` in docs/config.md"},
    {"dispatch", LEFT, "lbd sends to the backends of a service alone"},
    {"filter", LEFT, "lbd does not read what connections carry"},
    {"external-check", LEFT, "see `type: exec` in docs/config.md"},
    {"email-alert", LEFT, "lbd sends no mail: docs/metrics.md has alerts"},
    {"persist rdp-cookie", LEFT, "lbd does not read what connections carry"},
    {"option external-check", LEFT,
     "a connection is made instead; see `type: exec` in docs/config.md"},
    {"option ldap-check", LEFT, "lbd's check makes a connection, and does not speak LDAP"},
    {"option mysql-check", LEFT, "lbd's check makes a connection, and does not speak MySQL"},
    {"option pgsql-check", LEFT, "lbd's check makes a connection, and does not speak PostgreSQL"},
    {"option spop-check", LEFT, "lbd's check makes a connection, and does not speak SPOP"},
    {"option transparent", LEFT, "lbd sends to the backends of a service alone"},
    {"http-request", LAYER7, NULL},
    {"http-response", LAYER7, NULL},
    {"http-after-response", LAYER7, NULL},
    {"http-error", LAYER7, NULL},
    {"http-reuse", LAYER7, NULL},
    {"http-send-name-header", LAYER7, NULL},
    {"redirect", LAYER7, NULL},
    {"cookie", LAYER7, NULL},
    {"appsession", LAYER7, NULL},
    {"capture", LAYER7, NULL},
    {"compression", LAYER7, NULL},
    {"monitor-uri", LAYER7, NULL},
    {"use-fcgi-app", LAYER7, NULL},
    {"reqadd", LAYER7, NULL},
    {"reqrep", LAYER7, NULL},
    {"rspadd", LAYER7, NULL},
    {"option forwardfor", LAYER7, NULL},
    {"option originalto", LAYER7, NULL},
    {"option http-buffer-request", LAYER7, NULL},
    {"option", QUIET, NULL}, /* logs, keep-alives, and HTTP's own */
    {"errorfile", QUIET, NULL},
    {"errorfiles", QUIET, NULL},
    {"errorloc", QUIET, NULL},
    {"errorloc302", QUIET, NULL},
    {"errorloc303", QUIET, NULL},
    {"log", QUIET, NULL},
    {"log-format", QUIET, NULL},
    {"log-format-sd", QUIET, NULL},
    {"error-log-format", QUIET, NULL},
    {"log-tag", QUIET, NULL},
    {"description", QUIET, NULL},
    {"declare", QUIET, NULL},
    {"id", QUIET, NULL},
    {"retries", QUIET, NULL},
    {"retry-on", QUIET, NULL},
    {"backlog", QUIET, NULL},
    {"hash-type", QUIET, NULL}, /* Maglev moves as little as consistent hashing */
    {"hash-balance-factor", QUIET, NULL},
    {"bind-process", QUIET, NULL},
    {"load-server-state-from-file", QUIET, NULL},
    {"server-state-file-name", QUIET, NULL},
    {"max-keep-alive-queue", QUIET, NULL},
    {"unique-id-format", QUIET, NULL},
    {"unique-id-header", QUIET, NULL},
    {"source", QUIET, NULL}, /* lbd opens no connections */
    {"grace", QUIET, NULL},
    {"enabled", QUIET, NULL},
    {"force-persist", QUIET, NULL},
    {"ignore-persist", QUIET, NULL},
    {"tcp-check comment", QUIET, NULL},
    {"http-check comment", QUIET, NULL},
    {"clitcpka-cnt", QUIET, NULL},
    {"clitcpka-idle", QUIET, NULL},
    {"clitcpka-intvl", QUIET, NULL},
    {"srvtcpka-cnt", QUIET, NULL},
    {"srvtcpka-idle", QUIET, NULL},
    {"srvtcpka-intvl", QUIET, NULL},
};

/* Do the first words of a statement say this? */
static bool begins(const struct words *words, const char *text)
{
	for (unsigned i = 0; *text; i++) {
		size_t length = strcspn(text, " ");
		const char *word = words_at(words, i);

		if (strlen(word) != length || strncmp(word, text, length))
			return false;
		text += text[length] ? length + 1 : length;
	}
	return true;
}

static void add_reason(struct haproxy_proxy *proxy, const char *keyword, unsigned line)
{
	if (proxy->reasons_count < HAPROXY_MAX_REASONS)
		proxy->reasons[proxy->reasons_count] = (struct haproxy_reason){keyword, line};
	proxy->reasons_count++;
}

/* A proxy whose mode is http is left out as a whole: what it has that lbd has not is gathered. */
static void take_other(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (!begins(words, others[i].words))
			continue;
		if (others[i].effect == QUIET)
			return;
		if (proxy->http && proxy->kind != HAPROXY_DEFAULTS)
			add_reason(proxy, others[i].words, words->at.line);
		else if (others[i].effect == LEFT)
			import_left(im, words->at, "%s: %s", words_join(im, words, 0),
				    others[i].why);
		return;
	}
	import_left(im, words->at, "%s: not known", words_join(im, words, 0));
}

/* ---- balance ---- */

static const struct {
	const char *name, *algorithm;
	const char *differs; /* NULL: it does not */
} algorithms[] = {
    {"roundrobin", "weighted-round-robin", NULL},
    {"static-rr", "weighted-round-robin", NULL},
    {"leastconn", "least-conn", NULL},
    {"source", "source-hash", NULL},
    {"random", "least-conn", NULL}, /* two draws, as least-conn with many backends */
};

static void read_balance(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	const char *name = words_at(words, 1);
	const char *bare = import_copy(im, name, strcspn(name, "("));

	if (!strcmp(bare, "hash") && words_is(words, 2, "src"))
		bare = "source";
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++)
		if (!strcmp(algorithms[i].name, bare)) {
			proxy->algorithm = algorithms[i].algorithm;
			return;
		}
	proxy->algorithm = "maglev";
	import_left(im, words->at, "%s: lbd has no such algorithm: maglev is used",
		    words_join(im, words, 0));
}

/* ---- checks ---- */

/* 200, or 200-399, or a list of these. */
static void read_status(struct import *im, const struct words *words, unsigned at,
			struct import_health *health)
{
	const char *text = words_at(words, at), *list = NULL;

	for (const char *next; text; text = next) {
		size_t length = strcspn(text, ",");
		const char *one = import_copy(im, text, length);

		next = text[length] ? text + length + 1 : NULL;
		if (!value_status(im, one, &list))
			import_left(im, words->at,
				    "status %.64s: expected 100 to 599, or a range of them", one);
	}
	if (list)
		health->status = list;
}

static bool same_name(const char *header, const char *name)
{
	return !strncasecmp(header, name, strlen(name)) && header[strlen(name)] == ':';
}

/* One of the same name, of a section `defaults`, gives way. */
static void add_header(struct import *im, struct haproxy_proxy *proxy, struct import_place at,
		       const char *name, const char *value)
{
	struct import_health *health = &proxy->health;
	size_t size = strlen(name) + strlen(value) + 3;
	char *header = import_allocate(im, size);
	unsigned i = 0;

	snprintf(header, size, "%s: %s", name, value);
	while (i < health->headers_count && !same_name(health->headers[i], name))
		i++;
	if (i == IMPORT_MAX_HEADERS) {
		import_left(im, at, "header %.64s: lbd's checks send up to %d", name,
			    IMPORT_MAX_HEADERS);
		return;
	}
	health->headers[i] = header;
	health->headers_count += i == health->headers_count;
}

static void read_header(struct import *im, struct haproxy_proxy *proxy, struct import_place at,
			const char *name, const char *value)
{
	if (!strcasecmp(name, "Host"))
		proxy->health.host = value;
	else if (strchr(value, '%'))
		import_left(im, at, "header %.64s: lbd evaluates nothing in headers of checks",
			    name);
	else
		add_header(im, proxy, at, name, value);
}

/* NAME: VALUE of length characters */
static void read_header_line(struct import *im, struct haproxy_proxy *proxy, struct import_place at,
			     const char *line, size_t length)
{
	size_t name = strcspn(line, ":");
	const char *value = line + name + 1;

	if (name >= length) {
		import_left(im, at, "%s: expected a header", import_copy(im, line, length));
		return;
	}
	while (length > name + 1 && strchr(" \t", line[length - 1]))
		length--;
	while (value < line + length && strchr(" \t", *value))
		value++;
	read_header(im, proxy, at, import_copy(im, line, name),
		    import_copy(im, value, (size_t)(line + length - value)));
}

/* Headers after the version of HTTP: the way before there was http-check send. */
static void read_version(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	for (unsigned i = 4; i < words->count; i++)
		for (const char *line = strpbrk(words->word[i], "\r\n"); line;
		     line = strpbrk(line, "\r\n")) {
			line += strspn(line, "\r\n");
			if (*line)
				read_header_line(im, proxy, words->at, line, strcspn(line, "\r\n"));
		}
}

/* option httpchk [[METHOD] URI [VERSION]] */
static void read_httpchk(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	const char *method = words->count > 3 ? words_at(words, 2) : "";
	const char *uri = words->count > 3 ? words_at(words, 3) : words_at(words, 2);

	proxy->health.type = "http";
	proxy->health.path = *uri && strcmp(uri, "*") ? uri : NULL;
	proxy->health.method = *method && strcmp(method, "GET") ? method : NULL;
	read_version(im, proxy, words);
}

/* http-check send meth GET uri /x ver HTTP/1.1 hdr Host www.example.org */
static void read_http_send(struct import *im, struct haproxy_proxy *proxy,
			   const struct words *words)
{
	for (unsigned i = 2; i < words->count; i += 2) {
		if (words_is(words, i, "uri")) {
			proxy->health.path = words_at(words, i + 1);
		} else if (words_is(words, i, "hdr")) {
			read_header(im, proxy, words->at, words_at(words, i + 1),
				    words_at(words, i + 2));
			i++;
		} else if (words_is(words, i, "meth")) {
			proxy->health.method = words_at(words, i + 1);
		} else if (!words_is(words, i, "ver")) {
			import_left(im, words->at, "http-check send %s: lbd's checks have none",
				    words->word[i]);
		}
	}
}

/* Where a check connects: port N, ssl. */
static void read_check_connect(struct import *im, struct haproxy_proxy *proxy,
			       const struct words *words)
{
	uint64_t port = 0;

	for (unsigned i = 2; i < words->count; i++) {
		if (words_is(words, i, "port") &&
		    value_number(words_at(words, i + 1), 65535, &port) && port) {
			proxy->health.port = (unsigned)port;
			i++;
		} else if (words_is(words, i, "ssl") && proxy->health.type) {
			proxy->health.type = "https";
		} else if (words_is(words, i, "sni")) {
			import_left(im, words->at, "%s: see `server-name` in docs/config.md",
				    words_join(im, words, i));
			i++;
		} else if (!words_is(words, i, "default") && !words_is(words, i, "linger")) {
			import_left(im, words->at, "%s connect %s: lbd's checks have none",
				    words->word[0], words->word[i]);
		}
	}
}

/* What a check sends, and what it expects after that: one of each. */
static bool read_exchange(struct haproxy_proxy *proxy, const struct words *words)
{
	struct import_health *health = &proxy->health;
	bool sent = health->send || health->send_hex,
	     expected = health->expect || health->expect_hex;

	if (begins(words, "tcp-check send") && !sent && !expected)
		health->send = words_at(words, 2);
	else if (begins(words, "tcp-check send-binary") && !sent && !expected)
		health->send_hex = words_at(words, 2);
	else if (begins(words, "tcp-check expect string") && !expected)
		health->expect = words_at(words, 3);
	else if (begins(words, "tcp-check expect binary") && !expected)
		health->expect_hex = words_at(words, 3);
	else
		return false;
	health->type = "tcp";
	return true;
}

static void read_check_rule(struct import *im, struct haproxy_proxy *proxy,
			    const struct words *words)
{
	if (words_is(words, 1, "connect"))
		read_check_connect(im, proxy, words);
	else if (begins(words, "http-check send"))
		read_http_send(im, proxy, words);
	else if (begins(words, "http-check expect status"))
		read_status(im, words, 3, &proxy->health);
	else if (begins(words, "http-check expect string") && !proxy->health.body)
		proxy->health.body = words_at(words, 3);
	else if (!words_is(words, 1, "comment") && !read_exchange(proxy, words))
		import_left(im, words->at, "%s: no part of what lbd's checks send and expect",
			    words_join(im, words, 0));
}

/* Checks of protocols: lbd has what tells that a server answers. */
static bool read_protocol_check(struct haproxy_proxy *proxy, const struct words *words)
{
	static const struct {
		const char *name;
		struct import_health health;
	} checks[] = {
	    {"redis-check", {.type = "tcp", .send = "PING\r\n", .expect = "+PONG"}},
	    {"smtpchk", {.type = "tcp", .expect = "220 "}},
	    {"ssl-hello-chk", {.type = "tls"}},
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		if (words_is(words, 1, checks[i].name)) {
			proxy->health = checks[i].health;
			return true;
		}
	return false;
}

static bool read_option(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	if (words_is(words, 1, "httpchk"))
		read_httpchk(im, proxy, words);
	else if (words_is(words, 1, "tcp-check"))
		proxy->health = (struct import_health){.type = NULL};
	else if (read_protocol_check(proxy, words))
		return true;
	else if (words_is(words, 1, "allbackups"))
		proxy->all_backups = true;
	else
		return false;
	return true;
}

/* ---- times ---- */

static bool read_timeout(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	const struct {
		const char *name;
		uint64_t *to;
	} known[] = {{"client", &proxy->client_ms},     {"server", &proxy->server_ms},
		     {"tunnel", &proxy->tunnel_ms},     {"check", &proxy->check_ms},
		     {"connect", &proxy->connect_ms},   {"clitimeout", &proxy->client_ms},
		     {"srvtimeout", &proxy->server_ms}, {"contimeout", &proxy->connect_ms}};
	bool old = strcmp(words->word[0], "timeout");
	const char *name = words_at(words, old ? 0 : 1), *value = words_at(words, old ? 1 : 2);

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(known[i].name, name))
			continue;
		if (!value_time(value, known[i].to))
			import_left(im, words->at, "timeout %s %s: expected a time", name, value);
		return true;
	}
	return !old; /* those of queues and of HTTP concern nothing that lbd has */
}

/* ---- sticking ---- */

/* src, or src,ipmask(24[,64]): a client by its address. */
static bool read_pattern(struct import *im, const char *text, struct haproxy_proxy *proxy)
{
	static const char mask[] = "src,ipmask(";
	const char *at, *comma;
	uint64_t length;

	if (!strcmp(text, "src"))
		return true;
	if (strncmp(text, mask, strlen(mask)) || !strchr(text, ')'))
		return false;
	at = import_copy(im, text + strlen(mask), strcspn(text + strlen(mask), ")"));
	comma = strchr(at, ',');
	if (!value_mask(import_copy(im, at, strcspn(at, ",")), 4, &proxy->mask4))
		return false;
	if (comma && value_number(comma + 1, 128, &length) && length)
		proxy->mask6 = (unsigned)length;
	return true;
}

/* stick on PATTERN [table NAME] [if ...]; match and store-request are its halves. */
static void read_stick(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	if (!read_pattern(im, words_at(words, 2), proxy)) {
		import_left(im, words->at, "%s: lbd knows clients by their addresses alone",
			    words_join(im, words, 0));
		return;
	}
	proxy->sticks = true;
	for (unsigned i = 3; i < words->count; i++) {
		if (words_is(words, i, "table"))
			proxy->stick_table = words_at(words, i + 1);
		if (!words_is(words, i, "if") && !words_is(words, i, "unless"))
			continue;
		import_left(im, words->at, "%s: lbd has no condition for it: it always holds",
			    words_join(im, words, i));
		return;
	}
}

static void read_stick_table(struct import *im, struct haproxy_proxy *proxy,
			     const struct words *words)
{
	for (unsigned i = 1; i + 1 < words->count; i++)
		if (words_is(words, i, "expire") &&
		    !value_time(words->word[i + 1], &proxy->expire_ms))
			import_left(im, words->at, "expire %s: expected a time",
				    words->word[i + 1]);
}

/* ---- one statement ---- */

/* `no option ...` ends what defaults began. */
static void read_no(struct haproxy_proxy *proxy, const struct words *words)
{
	if (words_is(words, 1, "option") && words_is(words, 2, "httpchk"))
		proxy->health = (struct import_health){0};
}

static void read_default_backend(struct haproxy_proxy *proxy, const struct words *words)
{
	proxy->default_backend = words_at(words, 1);
	proxy->default_backend_at = words->at;
}

/* Statements about which servers there are, and where. */
static bool read_place(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	if (words_is(words, 0, "bind"))
		haproxy_read_bind(im, proxy, words, 1);
	else if (words_is(words, 0, "server"))
		haproxy_read_server(im, proxy, words);
	else if (words_is(words, 0, "default-server"))
		haproxy_read_settings(im, words, 1, &proxy->settings);
	else if (words_is(words, 0, "default_backend"))
		read_default_backend(proxy, words);
	else if (words_is(words, 0, "disabled"))
		proxy->disabled = true;
	else
		return false;
	return true;
}

static void read_tcp(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	const char *keyword = words->word[0];

	if (read_place(im, proxy, words))
		return;
	if (!strcmp(keyword, "balance"))
		read_balance(im, proxy, words);
	else if (!strcmp(keyword, "stick"))
		read_stick(im, proxy, words);
	else if (!strcmp(keyword, "stick-table"))
		read_stick_table(im, proxy, words);
	else if (!strcmp(keyword, "http-check") || !strcmp(keyword, "tcp-check"))
		read_check_rule(im, proxy, words);
	else if (!strcmp(keyword, "no"))
		read_no(proxy, words);
	else if (!read_timeout(im, proxy, words) &&
		 !(begins(words, "option") && read_option(im, proxy, words)))
		take_other(im, proxy, words);
}

/* Only why it is left out. What all proxies have needs no layer 7. */
static void read_http(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	static const char *const common[] = {"bind",        "server",         "default-server",
					     "balance",     "http-check",     "tcp-check",
					     "stick-table", "timeout",        "no",
					     "mode",        "option httpchk", "option tcp-check"};

	for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++) {
		if (!begins(words, common[i]))
			continue;
		if (words_has(words, 2, "ssl") && words_is(words, 0, "bind"))
			add_reason(proxy, "bind ssl", words->at.line);
		return;
	}
	if (words_is(words, 0, "disabled"))
		proxy->disabled = true;
	else if (words_is(words, 0, "stick"))
		add_reason(proxy, "stick", words->at.line);
	else if (!words_is(words, 0, "default_backend"))
		take_other(im, proxy, words);
}

void haproxy_read_statement(struct import *im, struct haproxy_proxy *proxy,
			    const struct words *words)
{
	if (words_is(words, 0, "stats"))
		proxy->stats = true;
	else if (proxy->http && proxy->kind != HAPROXY_DEFAULTS)
		read_http(im, proxy, words);
	else
		read_tcp(im, proxy, words);
}
