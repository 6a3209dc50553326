/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `backends-from` of a service. */
#include "from.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "scalar.h"
#include "shape.h"

/* ---- values ---- */

static bool is_path(const char *text)
{
	return *text == '/' && text[1];
}

/* A whole name: labels of letters, digits, - and _, as SRV has them. */
static bool is_dns_name(const char *text)
{
	size_t label = 0, length = strlen(text);

	if (!length || length > 253)
		return false;
	for (; *text; text++) {
		if (*text == '.' ? !label : !isalnum((unsigned char)*text) && !strchr("-_", *text))
			return false;
		label = *text == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return true;
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && number && number <= 65535;
}

/* ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT; text is cut. */
static bool is_server(char *text)
{
	char *port, *end;
	struct addr addr;

	if (!addr_parse(text, &addr))
		return true;
	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] != ':' && end[1]))
			return false;
		*end = 0;
		port = end[1] ? end + 2 : NULL;
	} else {
		port = strrchr(text, ':');
		if (!port)
			return false;
		*port++ = 0;
	}
	return !addr_parse(text, &addr) && (!port || is_port(port));
}

/* http or https, and an address with a port: who resolves names would have to be asked first. */
static bool is_url(char *text)
{
	size_t scheme = !strncmp(text, "https://", 8) ? 8 : !strncmp(text, "http://", 7) ? 7 : 0;
	const char *port = strrchr(text, ':'), *bracket = strrchr(text, ']');
	struct addr addr;

	return scheme && port > text + scheme && (!bracket || port > bracket) &&
	       addr_parse(text + scheme, &addr) && is_server(text + scheme);
}

/* The same, and a path may follow: that of a proxy in front of the server. */
static bool is_base_url(char *text)
{
	char *host = strstr(text, "://"), *path = host ? strchr(host + 3, '/') : NULL;

	for (const char *c = path ? path : ""; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("?#\"\\", *c))
			return false;
	if (path)
		*path = 0;
	return is_url(text);
}

/* One to most of them, separated by blanks. */
static bool are_all(const char *text, bool (*one)(char *text), unsigned most)
{
	char *copy = strdup(text), *rest, *word;
	unsigned count = 0;
	bool good = copy;

	for (word = copy ? strtok_r(copy, " ", &rest) : NULL; word && good;
	     word = strtok_r(NULL, " ", &rest))
		good = ++count <= most && one(word);
	free(copy);
	return good && count;
}

#define SERVERS_MAX 3 /* as of resolv.conf */
#define URLS_MAX    8

static bool are_servers(const char *text)
{
	return are_all(text, is_server, SERVERS_MAX);
}

bool config_from_urls_fit(const char *text)
{
	return are_all(text, is_url, URLS_MAX);
}

static bool are_base_urls(const char *text)
{
	return are_all(text, is_base_url, URLS_MAX);
}

static bool is_short(const char *text)
{
	return *text && strlen(text) <= 255;
}

/* RFC 1123, as Kubernetes has it: letters are small. */
static bool is_label(const char *text)
{
	size_t length = strlen(text);

	return length && length <= 63 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && *text != '-' &&
	       text[length - 1] != '-';
}

static bool is_port_or_label(const char *text)
{
	return text[strspn(text, "0123456789")] ? is_label(text) : is_port(text);
}

#define BASE_URLS_EXPECTED " and a path or none, separated by blanks"

static const struct config_text_key from_texts[] = {
    CONFIG_TEXT("etcd", raw_from, etcd, config_from, etcd, config_from_urls_fit,
		"1 to 8 URLs such as http://10.0.0.5:2379, separated by blanks"),
    CONFIG_TEXT("prefix", raw_from, prefix, config_from, prefix, is_short, "1 to 255 bytes"),
    CONFIG_TEXT("kubernetes", raw_from, kubernetes, config_from, kubernetes, are_base_urls,
		"1 to 8 URLs such as https://10.0.0.5:6443" BASE_URLS_EXPECTED),
    CONFIG_TEXT("consul", raw_from, consul, config_from, consul, are_base_urls,
		"1 to 8 URLs such as http://127.0.0.1:8500" BASE_URLS_EXPECTED),
    CONFIG_TEXT("service", raw_from, service, config_from, service, is_short, "1 to 255 bytes"),
    CONFIG_TEXT("namespace", raw_from, namespace, config_from, namespace, is_label,
		"1 to 63 small letters, digits or -"),
    CONFIG_TEXT("port", raw_from, port, config_from, port, is_port_or_label,
		"the name of a port or 1 to 65535"),
    CONFIG_TEXT("datacenter", raw_from, datacenter, config_from, datacenter, is_short,
		"1 to 255 bytes"),
    CONFIG_TEXT("tag", raw_from, tag, config_from, tag, is_short, "1 to 255 bytes"),
    CONFIG_TEXT("token-file", raw_from, token, config_from, token, is_path, "a path from /"),
    CONFIG_TEXT("ca", raw_from, ca, config_from, ca, is_path, "a path from /"),
    CONFIG_TEXT("cert", raw_from, cert, config_from, cert, is_path, "a path from /"),
    CONFIG_TEXT("key", raw_from, key, config_from, key, is_path, "a path from /"),
    CONFIG_TEXT("server-name", raw_from, server_name, config_from, server_name, is_dns_name,
		"a whole DNS name, such as kubernetes.default.svc"),
    CONFIG_TEXT("dns", raw_from, dns, config_from, dns, is_dns_name,
		"a whole DNS name, such as web.example.net"),
    CONFIG_TEXT("server", raw_from, server, config_from, server, are_servers,
		"1 to 3 addresses, each with a port or without, separated by blanks"),
    CONFIG_TEXT("file", raw_from, file, config_from, file, is_path,
		"a path from /, such as /etc/lbd/backends/web"),
    {.key = NULL},
};

static const struct config_number_key from_numbers[] = {
    CONFIG_NUMBER("min", raw_from, min, config_from, min, count, 1, CONFIG_FROM_MAX),
    {.key = NULL},
};

/* ---- kinds ---- */

enum {
	OF_FILE = 1 << 0, /* by their places in `kinds` */
	OF_DNS = 1 << 1,
	OF_ETCD = 1 << 2,
	OF_KUBERNETES = 1 << 3,
	OF_CONSUL = 1 << 4,
	OF_HTTP = OF_ETCD | OF_KUBERNETES | OF_CONSUL,
};

/* The key that each kind of source has. */
static const struct {
	const char *kind;
	size_t raw, value;
} kinds[] = {
    {"file", offsetof(struct raw_from, file), offsetof(struct config_from, file)},
    {"dns", offsetof(struct raw_from, dns), offsetof(struct config_from, dns)},
    {"etcd", offsetof(struct raw_from, etcd), offsetof(struct config_from, etcd)},
    {"kubernetes", offsetof(struct raw_from, kubernetes), offsetof(struct config_from, kubernetes)},
    {"consul", offsetof(struct raw_from, consul), offsetof(struct config_from, consul)},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The keys that have a meaning for some kinds alone. Those that are words have no text to show. */
static const struct {
	const char *key;
	size_t raw;
	bool word;
	unsigned of;
} uses[] = {
    {"server", offsetof(struct raw_from, server), false, OF_DNS},
    {"record", offsetof(struct raw_from, record), true, OF_DNS},
    {"prefix", offsetof(struct raw_from, prefix), false, OF_ETCD},
    {"service", offsetof(struct raw_from, service), false, OF_KUBERNETES | OF_CONSUL},
    {"namespace", offsetof(struct raw_from, namespace), false, OF_KUBERNETES},
    {"port", offsetof(struct raw_from, port), false, OF_KUBERNETES},
    {"family", offsetof(struct raw_from, family), true, OF_KUBERNETES},
    {"datacenter", offsetof(struct raw_from, datacenter), false, OF_CONSUL},
    {"tag", offsetof(struct raw_from, tag), false, OF_CONSUL},
    {"token-file", offsetof(struct raw_from, token), false, OF_KUBERNETES | OF_CONSUL},
    {"ca", offsetof(struct raw_from, ca), false, OF_HTTP},
    {"cert", offsetof(struct raw_from, cert), false, OF_HTTP},
    {"key", offsetof(struct raw_from, key), false, OF_HTTP},
    {"server-name", offsetof(struct raw_from, server_name), false, OF_HTTP},
};
#define USES (sizeof(uses) / sizeof(uses[0]))

static char *const *text_of(const struct config_from *from, size_t offset)
{
	return (char *const *)((const char *)from + offset);
}

/* A text or a word; NULL: it is not given. */
static const void *raw_of(const struct raw_from *raw, size_t offset)
{
	const void *given;

	memcpy(&given, (const char *)raw + offset, sizeof(given));
	return given;
}

const char *config_from_kind(const struct config_from *from)
{
	for (size_t i = 0; i < KINDS; i++)
		if (*text_of(from, kinds[i].value))
			return kinds[i].kind;
	return NULL;
}

const char *config_from_what(const struct config_from *from)
{
	for (size_t i = 0; i < KINDS; i++)
		if (*text_of(from, kinds[i].value))
			return *text_of(from, kinds[i].value);
	return "";
}

/* The kinds that are given: one, in a config without mistakes. */
static unsigned kinds_of(const struct raw_from *raw)
{
	unsigned of = 0;

	for (size_t i = 0; i < KINDS; i++)
		of |= raw_of(raw, kinds[i].raw) ? 1U << i : 0;
	return of;
}

/* "`etcd`, `kubernetes` or `consul`" */
static void list_kinds(unsigned of, char *text, size_t size)
{
	size_t length = 0;

	*text = 0;
	for (size_t i = 0; i < KINDS; i++) {
		unsigned left = of >> (i + 1);

		if (of & 1U << i && length < size)
			length +=
			    (size_t)snprintf(text + length, size - length, "`%s`%s", kinds[i].kind,
					     !left               ? ""
					     : left & (left - 1) ? ", "
								 : " or ");
	}
}

static void check_uses(const struct config_place *at, const struct raw_from *raw)
{
	unsigned of = kinds_of(raw);
	char names[128];

	if (!of || of & (of - 1))
		config_complain(at, NULL, NULL,
				"expected one source: file, dns, etcd, kubernetes or consul");
	for (size_t i = 0; i < USES; i++) {
		const void *given = raw_of(raw, uses[i].raw);

		if (!given || of & uses[i].of)
			continue;
		list_kinds(uses[i].of, names, sizeof(names));
		config_complain(at, uses[i].key, uses[i].word ? NULL : given,
				"has no meaning without %s", names);
	}
}

static void check_needs(const struct config_place *at, const struct raw_from *raw)
{
	if (raw->etcd && !raw->prefix)
		config_complain_missing(at, "prefix", "expected what the keys begin with");
	if (raw->kubernetes && !raw->namespace)
		config_complain_missing(at, "namespace", "expected that of the service");
	if ((raw->kubernetes || raw->consul) && !raw->service)
		config_complain_missing(at, "service", "expected the name of the service in %s",
					raw->kubernetes ? "Kubernetes" : "Consul");
	if (raw->kubernetes && raw->service && is_short(raw->service) && !is_label(raw->service))
		config_complain(
		    at, "service", raw->service,
		    "expected 1 to 63 small letters, digits or -, as Kubernetes has it");
}

/* Does one of the URLs take what is sent there unencrypted over a network? */
static bool is_in_clear(const char *urls)
{
	static const char *const inside[] = {"127.", "[::1]:"};
	const char *url = urls;

	while ((url = strstr(url, "http://"))) {
		bool leaves = true;

		url += strlen("http://");
		for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
			leaves &= strncmp(url, inside[i], strlen(inside[i])) != 0;
		if (leaves)
			return true;
	}
	return false;
}

static void check_secrets(const struct config_place *at, const struct raw_from *raw)
{
	const char *urls = raw->etcd ? raw->etcd : raw->kubernetes ? raw->kubernetes : raw->consul;

	if (!urls)
		return;
	if (!raw->ca && strstr(urls, "https://"))
		config_complain_missing(at, "ca",
					"expected the authority of the servers' certificates: "
					"the system's are not used");
	if (!raw->cert != !raw->key)
		config_complain_missing(at, raw->cert ? "key" : "cert",
					"expected both cert and key, or neither");
	if (raw->token && is_in_clear(urls))
		config_complain(at, "token-file", raw->token,
				"expected https, or http to this host (127.0.0.1): a token is not "
				"sent unencrypted over a network");
	if (raw->server_name && strstr(urls, "http://"))
		config_complain(at, "server-name", raw->server_name,
				"has no meaning without https");
}

void config_read_from(const struct config_place *at, const struct raw_from *raw,
		      struct config_from *ret)
{
	struct config_place group;

	config_place_field(at, "backends-from", &group);
	ret->min = 1;
	config_read_texts(&group, from_texts, raw, ret);
	config_read_numbers(&group, from_numbers, raw, ret);
	if (raw->record)
		ret->record = *raw->record;
	if (raw->family)
		ret->family = *raw->family;
	check_needs(&group, raw);
	check_secrets(&group, raw);
	check_uses(&group, raw);
}

/* ---- copies ---- */

static const size_t owned[] = {
    offsetof(struct config_from, file),        offsetof(struct config_from, dns),
    offsetof(struct config_from, server),      offsetof(struct config_from, etcd),
    offsetof(struct config_from, prefix),      offsetof(struct config_from, kubernetes),
    offsetof(struct config_from, consul),      offsetof(struct config_from, service),
    offsetof(struct config_from, namespace),   offsetof(struct config_from, port),
    offsetof(struct config_from, datacenter),  offsetof(struct config_from, tag),
    offsetof(struct config_from, token),       offsetof(struct config_from, ca),
    offsetof(struct config_from, cert),        offsetof(struct config_from, key),
    offsetof(struct config_from, server_name), offsetof(struct config_from, node),
};
#define OWNED (sizeof(owned) / sizeof(owned[0]))

_Static_assert(OWNED == CONFIG_FROM_TEXTS, "each can be sent to the source process");
_Static_assert(CONFIG_MAX_TEXT == CONFIG_FROM_TEXT, "no text is longer");

char **config_from_text(struct config_from *from, unsigned index)
{
	return (char **)((char *)from + owned[index]);
}

int config_from_copy(const struct config_from *from, struct config_from *ret)
{
	bool failed = false;

	*ret = *from;
	for (size_t i = 0; i < OWNED; i++)
		*(char **)text_of(ret, owned[i]) = copy_text(*text_of(from, owned[i]), &failed);
	return failed ? -ENOMEM : 0;
}

/* A source's copy has a key and a token, where the config has their paths. */
void config_from_done(struct config_from *from)
{
	for (size_t i = 0; i < OWNED; i++) {
		char *text = *text_of(from, owned[i]);

		if (text)
			explicit_bzero(text, strlen(text));
		free(text);
	}
	*from = (struct config_from){0};
}

bool config_from_equal(const struct config_from *a, const struct config_from *b)
{
	for (size_t i = 0; i < OWNED; i++)
		if (!same_text(*text_of(a, owned[i]), *text_of(b, owned[i])))
			return false;
	return a->min == b->min && a->record == b->record && a->family == b->family;
}
