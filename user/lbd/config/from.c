/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `backends-from` of a service. */
#include "from.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
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

static bool is_prefix(const char *text)
{
	return *text && strlen(text) <= 255;
}

static const struct config_text_key from_texts[] = {
    CONFIG_TEXT("etcd", raw_from, etcd, config_from, etcd, config_from_urls_fit,
		"1 to 8 URLs such as http://10.0.0.5:2379, separated by blanks"),
    CONFIG_TEXT("prefix", raw_from, prefix, config_from, prefix, is_prefix, "1 to 255 bytes"),
    CONFIG_TEXT("ca", raw_from, ca, config_from, ca, is_path, "a path from /"),
    CONFIG_TEXT("cert", raw_from, cert, config_from, cert, is_path, "a path from /"),
    CONFIG_TEXT("key", raw_from, key, config_from, key, is_path, "a path from /"),
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

/* The key that each kind of source has. */
static const struct {
	const char *kind;
	size_t raw, value;
} kinds[] = {
    {"file", offsetof(struct raw_from, file), offsetof(struct config_from, file)},
    {"dns", offsetof(struct raw_from, dns), offsetof(struct config_from, dns)},
    {"etcd", offsetof(struct raw_from, etcd), offsetof(struct config_from, etcd)},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static char *const *text_of(const struct config_from *from, size_t offset)
{
	return (char *const *)((const char *)from + offset);
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

static void check_kind(const struct config_place *at, const struct raw_from *raw)
{
	unsigned count = 0;

	for (size_t i = 0; i < KINDS; i++)
		count += *(char *const *)((const char *)raw + kinds[i].raw) != NULL;
	if (count != 1)
		config_complain(at, NULL, NULL, "expected one source: file, dns or etcd");
	if (raw->server && !raw->dns)
		config_complain(at, "server", raw->server, "has no meaning without `dns`");
	if (raw->record && !raw->dns)
		config_complain(at, "record", NULL, "has no meaning without `dns`");
}

static void check_etcd(const struct config_place *at, const struct raw_from *raw)
{
	const struct {
		const char *key, *value;
	} keys[] = {
	    {"prefix", raw->prefix}, {"ca", raw->ca}, {"cert", raw->cert}, {"key", raw->key}};

	for (size_t i = 0; !raw->etcd && i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].value)
			config_complain(at, keys[i].key, keys[i].value,
					"has no meaning without `etcd`");
	if (raw->etcd && !raw->prefix)
		config_complain_missing(at, "prefix", "expected what the keys begin with");
	if (raw->etcd && !raw->ca && strstr(raw->etcd, "https://"))
		config_complain_missing(at, "ca",
					"expected the authority of the servers' certificates: "
					"the system's are not used");
	if (raw->etcd && !raw->cert != !raw->key)
		config_complain_missing(at, raw->cert ? "key" : "cert",
					"expected both cert and key, or neither");
}

void config_read_from(const struct config_place *at, const struct raw_from *raw,
		      struct config_from *ret)
{
	struct config_place group;

	config_place_field(at, "backends-from", &group);
	ret->min = 1;
	config_read_texts(&group, from_texts, raw, ret);
	config_read_numbers(&group, from_numbers, raw, ret);
	check_etcd(&group, raw);
	if (raw->record)
		ret->record = *raw->record;
	check_kind(&group, raw);
}

/* ---- copies ---- */

static const size_t owned[] = {
    offsetof(struct config_from, file),   offsetof(struct config_from, dns),
    offsetof(struct config_from, server), offsetof(struct config_from, etcd),
    offsetof(struct config_from, prefix), offsetof(struct config_from, ca),
    offsetof(struct config_from, cert),   offsetof(struct config_from, key),
    offsetof(struct config_from, node),
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

void config_from_done(struct config_from *from)
{
	for (size_t i = 0; i < OWNED; i++)
		free(*text_of(from, owned[i]));
	*from = (struct config_from){0};
}

bool config_from_equal(const struct config_from *a, const struct config_from *b)
{
	for (size_t i = 0; i < OWNED; i++)
		if (!same_text(*text_of(a, owned[i]), *text_of(b, owned[i])))
			return false;
	return a->min == b->min && a->record == b->record;
}
