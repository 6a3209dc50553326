/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* haproxy.cfg: the lines server, default-server and bind. */
#include "haproxy.h"

#include <string.h>

#include "value.h"

/* ---- settings of servers ---- */

#define NO_PLACE  "lbd sends packets on at once, and has no place where they wait"
#define NO_TLS    "lbd passes what clients send: the server must end TLS, or the client begin none"
#define NO_PROXY  "the server must no longer expect the PROXY header: it sees the clients' addresses"
#define NO_COOKIE "lbd reads no requests"

/* Settings that lbd has nothing for. why NULL: nothing is lost. */
static const struct {
	const char *name;
	bool has_value;
	const char *why;
} other_settings[] = {
    {"maxconn", true, "lbd has no limit of connections per backend: docs/limits.md has rates"},
    {"minconn", true, NO_PLACE},
    {"maxqueue", true, NO_PLACE},
    {"cookie", true, NO_COOKIE},
    {"send-proxy", false, NO_PROXY},
    {"send-proxy-v2", false, NO_PROXY},
    {"send-proxy-v2-ssl", false, NO_PROXY},
    {"check-send-proxy", false, "lbd's checks send no PROXY header"},
    {"addr", true, "see `health: { address }` of a backend in docs/config.md"},
    {"agent-check", false, "see `agent` in docs/config.md"},
    {"agent-port", true, NULL},
    {"agent-inter", true, NULL},
    {"agent-addr", true, NULL},
    {"agent-send", true, NULL},
    {"track", true, "lbd checks the backends of each service"},
    {"observe", true, "lbd does not see answers: it judges by checks alone"},
    {"error-limit", true, NULL},
    {"on-error", true, NULL},
    {"on-marked-down", true, "connections of a backend that fails go to others"},
    {"on-marked-up", true, "connections stay where they are when a backend is back"},
    {"redir", true, NO_COOKIE},
    {"fastinter", true, "see `fast-interval` in docs/config.md"},
    {"downinter", true, "see `fast-interval` in docs/config.md"},
    {"source", true, NULL},
    {"usesrc", true, NULL},
    {"interface", true, NULL},
    {"resolvers", true, "names are looked up once, by lbctl import"},
    {"resolve-prefer", true, NULL},
    {"resolve-opts", true, NULL},
    {"resolve-net", true, NULL},
    {"init-addr", true, NULL},
    {"id", true, NULL},
    {"verify", true, NULL},
    {"verifyhost", true, NULL},
    {"ca-file", true, NULL},
    {"crt", true, NULL},
    {"crl-file", true, NULL},
    {"sni", true, NULL},
    {"alpn", true, NULL},
    {"npn", true, NULL},
    {"ciphers", true, NULL},
    {"ciphersuites", true, NULL},
    {"ssl-min-ver", true, NULL},
    {"ssl-max-ver", true, NULL},
    {"check-sni", true, NULL},
    {"check-alpn", true, NULL},
    {"check-proto", true, NULL},
    {"proto", true, NULL},
    {"namespace", true, NULL},
    {"tcp-ut", true, NULL},
    {"pool-max-conn", true, NULL},
    {"pool-purge-delay", true, NULL},
    {"pool-low-conn", true, NULL},
    {"non-stick", false, "every backend of a service is found again by its clients"},
    {"tfo", false, NULL},
    {"stick", false, NULL},
    {"check-via-socks4", false, NULL},
    {"allow-0rtt", false, NULL},
    {"no-tls-tickets", false, NULL},
    {"no-ssl-reuse", false, NULL},
    {"no-verifyhost", false, NULL},
    {"no-sslv3", false, NULL},
    {"no-tlsv10", false, NULL},
    {"no-tlsv11", false, NULL},
};

/* Flags that lbd has something for. */
static bool take_flag(const char *word, struct haproxy_settings *settings)
{
	bool off = !strncmp(word, "no-", 3);
	const char *name = off ? word + 3 : word;

	if (!strcmp(name, "check"))
		settings->check = !off;
	else if (!strcmp(name, "backup"))
		settings->backup = !off;
	else if (!strcmp(name, "ssl"))
		settings->tls = !off;
	else if (!strcmp(name, "check-ssl"))
		settings->check_tls = !off;
	else if (!strcmp(word, "disabled"))
		settings->disabled = true;
	else if (!strcmp(word, "enabled"))
		settings->disabled = false;
	else
		return false;
	return true;
}

static bool take_count(const char *text, uint64_t most, unsigned *to)
{
	uint64_t value;

	if (!value_number(text, most, &value) || !value)
		return false;
	*to = (unsigned)value;
	return true;
}

/* Values that lbd has something for. *ret_fits: it is a value. */
static bool take_value(const char *word, const char *value, struct haproxy_settings *settings,
		       bool *ret_fits)
{
	if (!strcmp(word, "weight"))
		*ret_fits = value_number(value, 256, &settings->weight);
	else if (!strcmp(word, "inter"))
		*ret_fits = value_time(value, &settings->inter_ms);
	else if (!strcmp(word, "slowstart"))
		*ret_fits = value_time(value, &settings->slowstart_ms);
	else if (!strcmp(word, "rise"))
		*ret_fits = take_count(value, UINT32_MAX, &settings->rise);
	else if (!strcmp(word, "fall"))
		*ret_fits = take_count(value, UINT32_MAX, &settings->fall);
	else if (!strcmp(word, "port"))
		*ret_fits = take_count(value, 65535, &settings->check_port);
	else
		return false;
	return true;
}

/* Returns how many words were used. */
static unsigned take_other(struct import *im, struct import_place at, const char *word)
{
	for (size_t i = 0; i < sizeof(other_settings) / sizeof(*other_settings); i++) {
		if (strcmp(other_settings[i].name, word))
			continue;
		if (other_settings[i].why)
			import_left(im, at, "%s: %s", word, other_settings[i].why);
		return other_settings[i].has_value ? 2 : 1;
	}
	import_left(im, at, "%s: not known", word);
	return 1;
}

void haproxy_read_settings(struct import *im, const struct words *words, unsigned from,
			   struct haproxy_settings *settings)
{
	for (unsigned i = from; i < words->count;) {
		const char *word = words->word[i], *value = words_at(words, i + 1);
		bool fits = true;

		if (take_flag(word, settings)) {
			i++;
		} else if (take_value(word, value, settings, &fits)) {
			if (!fits)
				import_left(im, words->at, "%s %s: not a value of it", word, value);
			i += 2;
		} else {
			i += take_other(im, words->at, word);
		}
	}
}

/* ---- addresses ---- */

/* The address after "ipv4@" or "ipv6@"; NULL: it is none of IP, such as a path. */
static const char *after_prefix(const char *text)
{
	const char *at = strchr(text, '@');

	if (*text == '/')
		return NULL;
	if (!at)
		return text;
	return !strncmp(text, "ipv4@", 5) || !strncmp(text, "ipv6@", 5) ? at + 1 : NULL;
}

/* ---- servers ---- */

/* A port of a server: none, or a number. +N and -N are counted from the client's port. */
static bool read_server_port(struct import *im, struct import_place at, const char *text,
			     unsigned *ret)
{
	if (!*text || value_port(text, false, ret))
		return true;
	import_left(im, at,
		    "server port %s: expected a number: lbd counts none from that of the client",
		    text);
	return false;
}

void haproxy_read_server(struct import *im, struct haproxy_proxy *proxy, const struct words *words)
{
	struct haproxy_server *server = import_allocate(im, sizeof(*server));
	const char *address = after_prefix(words_at(words, 2)), *host, *port;

	*server = (struct haproxy_server){
	    .at = words->at, .name = words_at(words, 1), .settings = proxy->settings};
	haproxy_read_settings(im, words, 3, &server->settings);
	if (!address) {
		import_left(im, words->at, "server %s %s: expected an IP address", server->name,
			    words_at(words, 2));
		return;
	}
	value_split(im, address, true, &host, &port);
	if (!value_address(im, words->at, host, &server->address)) {
		import_left(im, words->at,
			    "server %s %s: expected an address, or a name that has one",
			    server->name, address);
		return;
	}
	if (!read_server_port(im, words->at, port, &server->port))
		return;
	if (server->settings.tls)
		import_left(im, words->at, "server %s: ssl: " NO_TLS, server->name);
	if (proxy->last_server)
		proxy->last_server->next = server;
	else
		proxy->servers = server;
	proxy->last_server = server;
}

/* ---- binds ---- */

/* 80 or 8000-8010 */
static bool read_ports(struct import *im, const char *text, struct haproxy_bind *bind)
{
	const char *dash = strchr(text, '-');

	if (!dash) {
		if (!value_port(text, false, &bind->first_port) || !bind->first_port)
			return false;
		bind->last_port = bind->first_port;
		return true;
	}
	return take_count(import_copy(im, text, (size_t)(dash - text)), 65535, &bind->first_port) &&
	       take_count(dash + 1, 65535, &bind->last_port) && bind->first_port <= bind->last_port;
}

static bool is_any4(const char *host)
{
	return !*host || !strcmp(host, "*") || !strcmp(host, "0.0.0.0");
}

static void add_bind(struct import *im, struct haproxy_proxy *proxy, struct import_place at,
		     const char *text, bool both)
{
	struct haproxy_bind *bind = import_allocate(im, sizeof(*bind));
	const char *address = after_prefix(text), *host, *port;

	if (!address) {
		import_left(im, at, "bind %s: expected an IP address and TCP", text);
		return;
	}
	*bind = (struct haproxy_bind){.at = at, .text = text};
	value_split(im, address, true, &host, &port);
	if (!read_ports(im, port, bind)) {
		import_left(im, at, "bind %s: expected a port, or a range of ports", text);
		return;
	}
	bind->any6 = !strcmp(host, "::");
	bind->any4 = is_any4(host) || (bind->any6 && both);
	if (!bind->any4 && !bind->any6 && !value_address(im, at, host, &bind->vip)) {
		import_left(im, at, "bind %s: expected an address, or a name that has one", text);
		return;
	}
	if (proxy->last_bind)
		proxy->last_bind->next = bind;
	else
		proxy->binds = bind;
	proxy->last_bind = bind;
}

/* Options that concern HAProxy's own sockets are not named. */
void haproxy_read_bind(struct import *im, struct haproxy_proxy *proxy, const struct words *words,
		       unsigned from)
{
	const char *all = words_at(words, from);

	for (unsigned i = from + 1; i + 1 < words->count; i++)
		if (words_is(words, i, "interface"))
			import_add_interface(im, words->word[i + 1]);
	if (words_has(words, from + 1, "ssl")) {
		import_left(im, words->at,
			    "bind %s ssl: lbd ends no TLS: the servers must, on the same port",
			    all);
		return;
	}
	if (words_has(words, from + 1, "accept-proxy"))
		import_left(im, words->at,
			    "accept-proxy: the servers get the PROXY header that clients send");
	while (*all) {
		size_t length = strcspn(all, ",");

		if (length)
			add_bind(im, proxy, words->at, import_copy(im, all, length),
				 words_has(words, from + 1, "v4v6"));
		all += all[length] ? length + 1 : length;
	}
}
