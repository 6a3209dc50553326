/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mapping `health` of a service or of `defaults`. */
#include "health.h"

#include <stdio.h>
#include <string.h>

#include "lbd/health/health.h"
#include "scalar.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* A lost SYN is sent again after 1 s (RFC 6298): this tolerates one, and leaves half a second for
 * the answer. */
#define DEFAULT_TIMEOUT (3 * SECOND / 2)

/* ---- keys ---- */

/* It is sent in a request as it is: no blanks, no line ends. */
static bool is_visible(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

static bool is_url_path(const char *text)
{
	return *text == '/' && is_visible(text);
}

static bool is_host(const char *text)
{
	return *text && strlen(text) <= 255 && is_visible(text) && !strchr(text, '/');
}

static bool is_method(const char *text)
{
	size_t length = strlen(text);

	return length && length <= health_text_max[HEALTH_TEXT_method] &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length;
}

static bool is_body(const char *text)
{
	return *text && strlen(text) <= health_text_max[HEALTH_TEXT_body];
}

static bool is_sent(const char *text)
{
	return *text && strlen(text) <= health_text_max[HEALTH_TEXT_send];
}

static bool is_sent_hex(const char *text)
{
	return health_is_hex(text) && strlen(text) <= health_text_max[HEALTH_TEXT_send_hex];
}

static bool is_expected(const char *text)
{
	return *text && strlen(text) <= health_text_max[HEALTH_TEXT_expect];
}

static bool is_expected_hex(const char *text)
{
	return health_is_hex(text) && strlen(text) <= health_text_max[HEALTH_TEXT_expect_hex];
}

/* Labels of 1 to 63 letters, digits, "-" or "_"; a dot at the end does not matter. The root: ".".
 */
static bool is_domain(const char *text)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t total = strlen(text);

	if (!strcmp(text, "."))
		return true;
	if (!total || total > 253)
		return false;
	while (*text) {
		size_t length = strspn(text, letters);

		if (!length || length > 63 || (text[length] && text[length] != '.'))
			return false;
		text += length + (text[length] == '.');
	}
	return true;
}

static const struct config_number_key health_numbers[] = {
    CONFIG_NUMBER("port", raw_health, port, health_spec, port, count, 1, 65535),
    CONFIG_NUMBER("interval", raw_health, interval, health_spec, interval_ms, duration, 100, HOUR),
    CONFIG_NUMBER("timeout", raw_health, timeout, health_spec, timeout_ms, duration, 10,
		  10 * MINUTE),
    CONFIG_NUMBER("rise", raw_health, rise, health_spec, rise, count, 1, 1000),
    CONFIG_NUMBER("fall", raw_health, fall, health_spec, fall, count, 1, 1000),
    {.key = NULL},
};

/* `types` are the checks that a key has a meaning for; the others refuse it, as the check would not
 * be what was meant. */
static const struct {
	struct config_text_key text;
	const char *types[4];
} texts[] = {
#define KEY(key, member, valid, expected, ...)                                              \
	{                                                                                   \
		CONFIG_TEXT(key, raw_health, member, health_spec, member, valid, expected), \
		{                                                                           \
			__VA_ARGS__                                                         \
		}                                                                           \
	}
    KEY("path", path, is_url_path, "a path that begins with / and has no blanks", "http", "https"),
    KEY("host", host, is_host, "a host name, optionally with a port", "http", "https", "tls"),
    KEY("method", method, is_method, "a method in capital letters, such as GET or HEAD", "http",
	"https"),
    KEY("body", body, is_body, "1 to 255 bytes of text", "http", "https"),
    KEY("send", send, is_sent, "1 to 511 bytes of text", "tcp", "udp"),
    KEY("send-hex", send_hex, is_sent_hex, "pairs of hexadecimal digits for 1 to 511 bytes", "tcp",
	"udp"),
    KEY("expect", expect, is_expected, "1 to 255 bytes of text", "tcp", "udp", "dns"),
    KEY("expect-hex", expect_hex, is_expected_hex, "pairs of hexadecimal digits for 1 to 255 bytes",
	"tcp", "udp"),
    KEY("name", name, is_domain, "a domain name", "dns"),
    KEY("record", record, health_is_record, "one of A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT",
	"dns"),
#undef KEY
};

#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static const char *raw_text(const struct raw_health *raw, unsigned i)
{
	return *(char *const *)((const char *)raw + texts[i].text.raw);
}

/* ---- values ---- */

static void read_type(const struct config_place *at, const char *text, struct health_spec *health)
{
	char kinds[256] = "none";

	registry_for_each (health_kind, kind)
		if (!kind->type && !strcmp(kind->name, text)) {
			config_copy_text(at, text, &health->type);
			return;
		}
	if (!strcmp(text, "none")) {
		config_copy_text(at, text, &health->type);
		return;
	}
	registry_for_each (health_kind, kind) {
		size_t length = strlen(kinds);

		if (!kind->type)
			snprintf(kinds + length, sizeof(kinds) - length, ", %s", kind->name);
	}
	config_complain(at, "type", text, "expected one of %s", kinds);
}

/* 200 or 200-399. */
static void read_status(const struct config_place *at, const char *text, struct health_spec *health)
{
	unsigned min = 0, max = 0;
	int end = 0;

	if (sscanf(text, "%3u%n-%3u%n", &min, &end, &max, &end) < 2)
		max = min;
	if (text[strspn(text, "0123456789-")] || text[end] || min < 100 || max > 599 || min > max) {
		config_complain(
		    at, "status", text,
		    "expected a status from 100 to 599, or a range of them such as 200-399");
		return;
	}
	health->status_min = min;
	health->status_max = max;
}

static void read_to(const struct config_place *at, const char *text, struct health_spec *health)
{
	if (!strcmp(text, "vip"))
		health->to_vip = true;
	else if (!strcmp(text, "backend"))
		health->to_vip = false;
	else
		config_complain(at, "to", text, "expected backend or vip");
}

/* Visible characters and blanks, after a name that HTTP takes: "X-Probe: lbd". */
static bool is_header(const char *text)
{
	size_t name = strcspn(text, ":");

	if (!name || text[name] != ':' || !strncasecmp(text, "host:", 5))
		return false;
	for (size_t i = 0; text[i]; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f ||
		    (i < name && (c == ' ' || strchr("()<>@,;\\\"/[]?={}", c))))
			return false;
	}
	return true;
}

/* The list as lines of one text. */
static void read_headers(const struct config_place *at, const struct raw_health *raw,
			 struct health_spec *health)
{
	char lines[2048];
	size_t length = 0;

	for (unsigned i = 0; i < raw->headers_count; i++) {
		const char *header = raw->headers[i];

		if (!is_header(header)) {
			config_complain_item(at, "headers", i, header,
					     "expected \"Name: value\", not Host (that is `host`)");
			return;
		}
		length += (size_t)snprintf(lines + length, sizeof(lines) - length, "%s%s",
					   length ? "\n" : "", header);
		if (length > health_text_max[HEALTH_TEXT_headers]) {
			config_complain_item(at, "headers", i, header,
					     "expected at most 2047 bytes of headers");
			return;
		}
	}
	if (raw->headers_count)
		config_copy_text(at, lines, &health->headers);
}

/* A probe must end before the next begins. The default timeout is three quarters of the interval,
 * 1.5 s at most. */
static void check_timing(const struct config_place *at, const struct raw_health *raw,
			 struct health_spec *health)
{
	char text[24];

	if (!health->timeout_ms || health->timeout_ms < health->interval_ms)
		return;
	if (raw->timeout)
		config_complain(at, "timeout", raw->timeout, "expected less than the interval, %s",
				config_duration.format(health->interval_ms, text));
	else
		config_complain(at, "interval", raw->interval, "expected more than the timeout, %s",
				config_duration.format(health->timeout_ms, text));
}

void config_read_health(const struct config_place *parent, const struct raw_health *raw,
			struct health_spec *health)
{
	struct config_place at;

	config_place_field(parent, "health", &at);
	config_read_numbers(&at, health_numbers, raw, health);
	for (unsigned i = 0; i < TEXTS; i++) {
		const struct config_text_key one[] = {texts[i].text, {.key = NULL}};

		config_read_texts(&at, one, raw, health);
	}
	read_headers(&at, raw, health);
	if (raw->type)
		read_type(&at, raw->type, health);
	if (raw->to)
		read_to(&at, raw->to, health);
	if (raw->status)
		read_status(&at, raw->status, health);
	check_timing(&at, raw, health);
}

/* ---- keys that do not go together ---- */

static bool has_meaning(const char *const types[4], const char *type)
{
	for (unsigned i = 0; i < 4 && types[i]; i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

static void check_key(const struct config_place *at, const char *key, const char *value,
		      const char *const types[4], const char *type)
{
	if (value && !has_meaning(types, type))
		config_complain(at, key, value,
				"has no meaning for a %s check: expected `type: %s` beside it",
				type, types[0]);
}

/* Keys of the service's own mapping beside another type of check. `none` switches a check off, with
 * whatever else is there. */
static void check_keys(const struct config_place *at, const struct raw_health *raw,
		       const char *type)
{
	static const char *const http[4] = {"http", "https"};

	if (!strcmp(type, "none"))
		return;
	for (unsigned i = 0; i < TEXTS; i++)
		check_key(at, texts[i].text.key, raw_text(raw, i), texts[i].types, type);
	check_key(at, "status", raw->status, http, type);
	check_key(at, "headers", raw->headers_count ? raw->headers[0] : NULL, http, type);
}

static void check_pair(const struct config_place *at, const char *key, const char *value,
		       const char *other, const char *other_value)
{
	if (value && other_value)
		config_complain(at, key, value, "has no meaning beside %s: expected one of the two",
				other);
}

static void check_exchange(const struct config_place *at, const struct health_spec *health)
{
	check_pair(at, "send-hex", health->send_hex, "send", health->send);
	check_pair(at, "expect-hex", health->expect_hex, "expect", health->expect);
	if (!strcmp(health->type, "udp") && !health->send && !health->send_hex)
		config_complain_missing(at, "send",
					"expected what a udp check sends: without a question there "
					"is no answer");
	if (!strcmp(health->type, "dns") && !health->name)
		config_complain_missing(at, "name",
					"expected the domain name that a dns check asks for");
	if (health->body && health->method && !strcmp(health->method, "HEAD"))
		config_complain(at, "body", health->body,
				"has no meaning beside `method: HEAD`, whose answer has no body");
}

/* TCP services are checked by default. UDP services, and those with `port: any`, need a port to
 * check. */
void config_finish_health(const struct config_place *service_at, const struct raw_service *own,
			  struct config_service *service)
{
	struct health_spec *health = &service->health;
	bool has_port = health->port || (service->protocol == CONFIG_TCP && service->port);
	const struct health_kind *kind;
	struct config_place at;

	config_place_field(service_at, "health", &at);
	if (!health->type)
		config_copy_text(&at, has_port ? "tcp" : "none", &health->type);
	if (!health->path)
		config_copy_text(&at, "/", &health->path);
	if (!health->timeout_ms)
		health->timeout_ms = health->interval_ms < 4 * DEFAULT_TIMEOUT / 3
					 ? health->interval_ms * 3 / 4
					 : DEFAULT_TIMEOUT;
	if (!health->type)
		return;
	kind = health_kind_of(health);
	if (kind && !kind->portless && !health->port && !service->port && own->port &&
	    !strcmp(own->port, "any"))
		config_complain_missing(&at, "port",
					"expected 1 to 65535, since the service takes any port");
	check_exchange(&at, health);
	if (own->health)
		check_keys(&at, own->health, health->type);
}
