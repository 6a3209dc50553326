/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The mapping `health` of a service or of `defaults`. */
#include "health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_host.h"
#include "lbd/health/health.h"
#include "pem.h"
#include "scalar.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* A lost SYN is sent again after 1 s (RFC 6298): this tolerates one, and leaves half a second for
 * the answer. */
#define DEFAULT_TIMEOUT    (3 * SECOND / 2)

#define DEFAULT_STATUS_MIN 200
#define DEFAULT_STATUS_MAX 399

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
    CONFIG_NUMBER("fast-interval", raw_health, fast_interval, health_spec, fast_ms, duration, 100,
		  HOUR),
    CONFIG_NUMBER("passive", raw_health, passive, health_spec, passive, percent, 0, 100),
    CONFIG_NUMBER("mtu", raw_health, mtu, health_spec, mtu, count, 576, HEALTH_MTU_MAX,
		  .word = "off"),
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
    KEY("host", host, http_host_fits,
	"a host name or address, IPv6 in brackets, optionally with a port, such as "
	"www.example.com:8080",
	"http", "https", "tls"),
    KEY("server-name", server_name, http_host_is_name, "a host name, without a port", "https",
	"tls"),
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

/* 200 or 200-399, or several of these. */
static void read_status(const struct config_place *at, const char *text, struct health_spec *health)
{
	if (strlen(text) > health_text_max[HEALTH_TEXT_status] ||
	    health_status_bounds(text, &health->status_min, &health->status_max)) {
		config_complain(
		    at, "status", text,
		    "expected a status from 100 to 599, or a range of them such as 200-399");
		return;
	}
	free(health->status);
	health->status = NULL;
	if (strchr(text, ','))
		config_copy_text(at, text, &health->status);
}

#define CERTIFICATE "-----BEGIN CERTIFICATE-----"
#define KEY_END     "PRIVATE KEY-----"

/* What `ca-file` names is there to verify with. */
static void read_tls(const struct config_place *at, const struct raw_health *raw,
		     struct health_spec *health)
{
	if (raw->ca_file) {
		config_read_pem(at, "ca-file", raw->ca_file, CERTIFICATE,
				health_text_max[HEALTH_TEXT_ca], &health->ca);
		health->verify = true;
	}
	if (raw->certificate_file)
		config_read_pem(at, "certificate-file", raw->certificate_file, CERTIFICATE,
				health_text_max[HEALTH_TEXT_certificate], &health->certificate);
	if (raw->key_file)
		config_read_pem(at, "key-file", raw->key_file, KEY_END,
				health_text_max[HEALTH_TEXT_key], &health->key);
	if (raw->verify)
		health->verify = *raw->verify;
}

static void read_to(const struct config_place *at, const char *text, struct health_spec *health)
{
	static const char *const words[] = {
	    [HEALTH_TO_AUTO] = "auto", [HEALTH_TO_BACKEND] = "backend", [HEALTH_TO_VIP] = "vip"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i], text)) {
			health->to = (enum health_to)i;
			health->to_own = true;
			return;
		}
	config_complain(at, "to", text, "expected auto, backend or vip");
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

/* A list of the config as lines of one text; the first one is not empty. */
struct lines {
	char text[2048];
	size_t length;
};

/* False: it is longer than max bytes now. */
static bool add_line(struct lines *lines, const char *line, size_t max)
{
	lines->length +=
	    (size_t)snprintf(lines->text + lines->length, sizeof(lines->text) - lines->length,
			     "%s%s", lines->length ? "\n" : "", line);
	return lines->length <= max;
}

static void read_headers(const struct config_place *at, const struct raw_health *raw,
			 struct health_spec *health)
{
	struct lines lines;

	lines.length = 0;
	for (unsigned i = 0; i < raw->headers_count; i++) {
		const char *header = raw->headers[i];

		if (!is_header(header)) {
			config_complain_item(at, "headers", i, header,
					     "expected \"Name: value\", not Host (that is `host`)");
			return;
		}
		if (!add_line(&lines, header, health_text_max[HEALTH_TEXT_headers])) {
			config_complain_item(at, "headers", i, header,
					     "expected at most 2047 bytes of headers");
			return;
		}
	}
	if (raw->headers_count)
		config_copy_text(at, lines.text, &health->headers);
}

/* A word of a command: anything but control characters, of which the line end separates words. */
static bool is_word(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static void read_command(const struct config_place *at, const struct raw_health *raw,
			 struct health_spec *health)
{
	struct lines lines;

	lines.length = 0;
	for (unsigned i = 0; i < raw->command_count; i++) {
		const char *word = raw->command[i];

		if (!i && *word != '/') {
			config_complain_item(at, "command", i, word,
					     "expected the absolute path of a program");
			return;
		}
		if (!is_word(word)) {
			config_complain_item(at, "command", i, word,
					     "expected no control characters");
			return;
		}
		if (!add_line(&lines, word, health_text_max[HEALTH_TEXT_command])) {
			config_complain_item(at, "command", i, word,
					     "expected at most 2047 bytes for all words");
			return;
		}
	}
	if (raw->command_count)
		config_copy_text(at, lines.text, &health->command);
}

/* A probe must end before the next begins. The default timeout is three quarters of the interval,
 * 1.5 s at most. timeout, interval: as written here; NULL: not here. */
static void check_timing(const struct config_place *at, const char *timeout, const char *interval,
			 const struct health_spec *health)
{
	char text[24];

	if (!health->timeout_ms || health->timeout_ms < health->interval_ms)
		return;
	if (timeout)
		config_complain(at, "timeout", timeout, "expected less than the interval, %s",
				config_duration.format(health->interval_ms, text));
	else
		config_complain(at, "interval", interval, "expected more than the timeout, %s",
				config_duration.format(health->timeout_ms, text));
}

/* What each check has, also one of several. */
static void read_check(const struct config_place *at, const struct raw_health *raw,
		       struct health_spec *health)
{
	config_read_numbers(at, health_numbers, raw, health);
	for (unsigned i = 0; i < TEXTS; i++) {
		const struct config_text_key one[] = {texts[i].text, {.key = NULL}};

		config_read_texts(at, one, raw, health);
	}
	read_headers(at, raw, health);
	read_command(at, raw, health);
	read_tls(at, raw, health);
	if (raw->type)
		read_type(at, raw->type, health);
	if (raw->to)
		read_to(at, raw->to, health);
	if (raw->status)
		read_status(at, raw->status, health);
}

static void read_checks(const struct config_place *at, const struct raw_health *raw,
			struct health_spec *health)
{
	struct config_place item;

	health_spec_drop_checks(health);
	health->checks = calloc(raw->checks_count, sizeof(*health->checks));
	if (!health->checks) {
		config_source_oom(at->source);
		return;
	}
	health->checks_count = raw->checks_count;
	for (unsigned i = 0; i < raw->checks_count; i++) {
		struct health_spec *check = &health->checks[i];

		check->status_min = DEFAULT_STATUS_MIN;
		check->status_max = DEFAULT_STATUS_MAX;
		config_place_item(at, "checks", i, &item);
		read_check(&item, &raw->checks[i], check);
	}
}

/* A type or checks of its own replace the checks that a service has inherited. */
void config_read_health(const struct config_place *parent, const struct raw_health *raw,
			struct health_spec *health)
{
	struct config_place at;

	config_place_field(parent, "health", &at);
	read_check(&at, raw, health);
	if (raw->match)
		health->any = *raw->match;
	if (raw->checks_count)
		read_checks(&at, raw, health);
	else if (raw->type)
		health_spec_drop_checks(health);
	check_timing(&at, raw->timeout, raw->interval, health);
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

/* Keys of one check that are not in `texts`. */
enum { OTHERS = 7 };

struct other_key {
	const char *key, *value; /* as written; NULL: not given */
	const char *types[4];
};

static void list_others(const struct raw_health *raw, struct other_key ret[OTHERS])
{
	const struct other_key others[OTHERS] = {
	    {"status", raw->status, {"http", "https"}},
	    {"headers", raw->headers_count ? raw->headers[0] : NULL, {"http", "https"}},
	    {"verify",
	     !raw->verify   ? NULL
	     : *raw->verify ? "yes"
			    : "no",
	     {"https", "tls"}},
	    {"ca-file", raw->ca_file, {"https", "tls"}},
	    {"certificate-file", raw->certificate_file, {"https", "tls"}},
	    {"key-file", raw->key_file, {"https", "tls"}},
	    {"command", raw->command_count ? raw->command[0] : NULL, {"exec"}},
	};

	memcpy(ret, others, sizeof(others));
}

/* Keys of the service's own mapping beside another type of check. `none` switches a check off, with
 * whatever else is there. */
static void check_keys(const struct config_place *at, const struct raw_health *raw,
		       const char *type)
{
	struct other_key others[OTHERS];

	if (!strcmp(type, "none"))
		return;
	list_others(raw, others);
	for (unsigned i = 0; i < TEXTS; i++)
		check_key(at, texts[i].text.key, raw_text(raw, i), texts[i].types, type);
	for (unsigned i = 0; i < OTHERS; i++)
		check_key(at, others[i].key, others[i].value, others[i].types, type);
	if (raw->to && !strcmp(raw->to, "vip") && !strcmp(type, "exec"))
		config_complain(at, "to", raw->to,
				"has no meaning for an exec check: lbd does not send its packets");
}

static void check_pair(const struct config_place *at, const char *key, const char *value,
		       const char *other, const char *other_value)
{
	if (value && other_value)
		config_complain(at, key, value, "has no meaning beside %s: expected one of the two",
				other);
}

static bool uses_tls(const struct health_spec *health)
{
	return !strcmp(health->type, "https") || !strcmp(health->type, "tls");
}

static void check_tls(const struct config_place *at, const struct health_spec *health)
{
	if (!uses_tls(health))
		return;
	if (health->verify && !health->ca)
		config_complain_missing(at, "ca-file",
					"expected the authorities that a certificate is verified "
					"by: the system's own are not used");
	if (health->certificate && !health->key)
		config_complain_missing(at, "key-file",
					"expected the key of certificate-file; it may be the same "
					"file");
	if (health->key && !health->certificate)
		config_complain_missing(at, "certificate-file",
					"expected the certificate of key-file");
}

static void check_exchange(const struct config_place *at, const struct health_spec *health)
{
	check_tls(at, health);
	check_pair(at, "send-hex", health->send_hex, "send", health->send);
	check_pair(at, "expect-hex", health->expect_hex, "expect", health->expect);
	if (!strcmp(health->type, "udp") && !health->send && !health->send_hex)
		config_complain_missing(at, "send",
					"expected what a udp check sends: without a question there "
					"is no answer");
	if (!strcmp(health->type, "dns") && !health->name)
		config_complain_missing(at, "name",
					"expected the domain name that a dns check asks for");
	if (!strcmp(health->type, "exec") && !health->command)
		config_complain_missing(at, "command",
					"expected the command that an exec check runs, such as "
					"[/usr/local/bin/check, $LBD_ADDRESS]");
	if (health->body && health->method && !strcmp(health->method, "HEAD"))
		config_complain(at, "body", health->body,
				"has no meaning beside `method: HEAD`, whose answer has no body");
}

/* ---- several checks ---- */

static void check_beside(const struct config_place *at, const char *key, const char *value)
{
	if (value)
		config_complain(at, key, value,
				"has no meaning beside `checks`: expected it in one of them");
}

/* Keys of one check have no meaning beside a list of them. */
static void check_beside_checks(const struct config_place *at, const struct raw_health *raw)
{
	struct other_key others[OTHERS];

	list_others(raw, others);
	for (unsigned i = 0; i < TEXTS; i++)
		check_beside(at, texts[i].text.key, raw_text(raw, i));
	check_beside(at, "type", raw->type);
	for (unsigned i = 0; i < OTHERS; i++)
		check_beside(at, others[i].key, others[i].value);
}

static void check_item_timing(const struct config_place *at, const struct health_spec *whole,
			      const struct health_spec *check)
{
	char timeout[24], interval[24];

	if (check->timeout_ms >= whole->interval_ms)
		config_complain(at, "timeout", config_duration.format(check->timeout_ms, timeout),
				"expected less than the interval, %s",
				config_duration.format(whole->interval_ms, interval));
}

/* What it does not say is as in the mapping around it. raw: NULL: it is inherited. */
static void finish_item(const struct config_place *at, const struct raw_health *raw,
			const struct health_spec *whole, struct health_spec *check)
{
	if (!check->type)
		config_copy_text(at, "tcp", &check->type);
	if (!check->timeout_ms)
		check->timeout_ms = whole->timeout_ms;
	if (!check->to_own)
		check->to = whole->to;
	check->to_own = false;
	if (!check->type)
		return;
	if (!strcmp(check->type, "none"))
		config_complain(at, "type", "none", "has no meaning as one of several checks");
	check_item_timing(at, whole, check);
	check_exchange(at, check);
	if (raw)
		check_keys(at, raw, check->type);
}

/* ---- the whole ---- */

/* All backends may say at which port they are checked, but those that a source names. */
static bool backends_have_ports(const struct config_service *service)
{
	if (config_from_kind(&service->from))
		return false;
	for (unsigned i = 0; i < service->backends_count; i++)
		if (!service->backends[i].target.port)
			return false;
	return service->backends_count;
}

static bool lacks_port(const struct config_service *service, const struct health_spec *check)
{
	const struct health_kind *kind = health_kind_of(check);

	return kind && !kind->portless && !check->port && !service->health.port && !service->port;
}

bool config_checks_lack_port(const struct config_service *service)
{
	const struct health_spec *health = &service->health;

	for (unsigned i = 0; i < health->checks_count; i++)
		if (lacks_port(service, &health->checks[i]))
			return true;
	return !health->checks_count && lacks_port(service, health);
}

static void check_port(const struct config_place *at, const struct raw_service *own,
		       const struct config_service *service, const struct health_spec *check)
{
	if (!lacks_port(service, check))
		return;
	if (own->port && !strcmp(own->port, "any") && !backends_have_ports(service))
		config_complain_missing(at, "port",
					"expected 1 to 65535, since the service takes any port");
}

static void finish_checks(const struct config_place *at, const struct raw_service *own,
			  struct config_service *service)
{
	const struct raw_health *raw = own->health;
	struct health_spec *health = &service->health;
	bool listed = raw && raw->checks_count == health->checks_count;
	uint32_t longest_ms = 0;
	struct config_place item;

	/* they count, whatever type was inherited */
	config_copy_text(at, "several", &health->type);
	for (unsigned i = 0; i < health->checks_count; i++) {
		config_place_item(at, "checks", i, &item);
		finish_item(&item, listed ? &raw->checks[i] : NULL, health, &health->checks[i]);
		if (health->checks[i].type)
			check_port(&item, own, service, &health->checks[i]);
		if (health->checks[i].timeout_ms > longest_ms)
			longest_ms = health->checks[i].timeout_ms;
	}
	health->timeout_ms = longest_ms; /* of all together */
	if (raw)
		check_beside_checks(at, raw);
}

static void finish_one(const struct config_place *at, const struct raw_service *own,
		       struct config_service *service, bool has_port)
{
	struct health_spec *health = &service->health;

	if (!health->type)
		config_copy_text(at, has_port ? "tcp" : "none", &health->type);
	if (!health->path)
		config_copy_text(at, "/", &health->path);
	if (!health->type)
		return;
	check_port(at, own, service, health);
	check_exchange(at, health);
	if (!own->health)
		return;
	check_keys(at, own->health, health->type);
	if (own->health->match)
		config_complain(at, "match", NULL, "has no meaning without `checks`");
}

/* One that is inherited beside a shorter interval has no meaning there. */
static void check_fast(const struct config_place *at, const struct raw_health *own,
		       struct health_spec *health)
{
	char text[24];

	if (!health->fast_ms || health->fast_ms < health->interval_ms)
		return;
	if (own && own->fast_interval)
		config_complain(at, "fast-interval", own->fast_interval,
				"expected less than the interval, %s",
				config_duration.format(health->interval_ms, text));
	health->fast_ms = 0;
}

/* One that is inherited has no meaning for UDP. */
static void check_passive(const struct config_place *at, const struct raw_health *own,
			  struct config_service *service)
{
	if (service->protocol == CONFIG_TCP || !service->health.passive)
		return;
	if (own && own->passive)
		config_complain(at, "passive", own->passive,
				"is of connects, which UDP has not: expected it with `protocol: "
				"tcp`");
	service->health.passive = 0;
}

static bool names_vip(const struct raw_health *raw)
{
	return raw->to && !strcmp(raw->to, "vip");
}

/* Such a backend has no VIP, and is sent packets to its own address: so is its check. One that is
 * inherited has no meaning there. */
static void check_to_nat(const struct config_place *at, const struct raw_health *own,
			 struct health_spec *health)
{
	static const char no_vip[] =
	    "has no meaning with `forward: nat`, whose backends do not have the VIP: expected "
	    "backend";
	struct config_place item;

	if (own && names_vip(own))
		config_complain(at, "to", own->to, no_vip);
	if (own && own->mtu && health->mtu)
		config_complain(at, "mtu", own->mtu,
				"has no meaning with `forward: nat`: long packets are tried only "
				"where checks go to the VIP: expected off");
	health->mtu = 0;
	for (unsigned i = 0; own && i < own->checks_count; i++) {
		config_place_item(at, "checks", i, &item);
		if (names_vip(&own->checks[i]))
			config_complain(&item, "to", own->checks[i].to, no_vip);
	}
	health->to = HEALTH_TO_BACKEND;
	for (unsigned i = 0; i < health->checks_count; i++)
		health->checks[i].to = HEALTH_TO_BACKEND;
}

static void set_timeout(struct health_spec *health)
{
	if (health->timeout_ms)
		return;
	health->timeout_ms = health->interval_ms < 4 * DEFAULT_TIMEOUT / 3
				 ? health->interval_ms * 3 / 4
				 : DEFAULT_TIMEOUT;
}

/* TCP services are checked by default. UDP services, and those with `port: any`, need a port to
 * check. */
void config_finish_health(const struct config_place *service_at, const struct raw_service *own,
			  struct config_service *service)
{
	struct health_spec *health = &service->health;
	bool has_port = health->port || (service->protocol == CONFIG_TCP && service->port) ||
			backends_have_ports(service);
	struct config_place at;

	config_place_field(service_at, "health", &at);
	health->to_own = false;
	set_timeout(health);
	check_fast(&at, own->health, health);
	check_passive(&at, own->health, service);
	if (service->forward == LB_FORWARD_NAT)
		check_to_nat(&at, own->health, health);
	if (health->checks_count)
		finish_checks(&at, own, service);
	else
		finish_one(&at, own, service, has_port);
}

/* ---- the agent ---- */

static const struct config_number_key agent_numbers[] = {
    CONFIG_NUMBER("port", raw_agent, port, health_spec, port, count, 1, 65535, .word = "off"),
    CONFIG_NUMBER("interval", raw_agent, interval, health_spec, interval_ms, duration, 100, HOUR),
    CONFIG_NUMBER("timeout", raw_agent, timeout, health_spec, timeout_ms, duration, 10,
		  10 * MINUTE),
    {.key = NULL},
};

static const struct config_text_key agent_texts[] = {
    CONFIG_TEXT("send", raw_agent, send, health_spec, send, is_sent, "1 to 511 bytes of text"),
    {.key = NULL},
};

void config_read_agent(const struct config_place *parent, const struct raw_agent *raw,
		       struct health_spec *agent)
{
	struct config_place at;

	config_place_field(parent, "agent", &at);
	config_read_numbers(&at, agent_numbers, raw, agent);
	config_read_texts(&at, agent_texts, raw, agent);
	check_timing(&at, raw->timeout, raw->interval, agent);
}

/* Without a port, or with `port: off`, none is asked. */
void config_finish_agent(const struct config_place *service_at, const struct raw_service *own,
			 struct config_service *service)
{
	struct health_spec *agent = &service->agent;
	struct config_place at;

	config_place_field(service_at, "agent", &at);
	set_timeout(agent);
	if (agent->port)
		config_copy_text(&at, "agent", &agent->type);
	else if (own->agent && !own->agent->port)
		config_complain_missing(&at, "port",
					"expected the port at which the agents answer, 1 to 65535 "
					"or off");
}

/* ---- of a backend ---- */

static const struct config_number_key target_numbers[] = {
    CONFIG_NUMBER("port", raw_target, port, config_target, port, count, 1, 65535),
    CONFIG_NUMBER("agent-port", raw_target, agent_port, config_target, agent_port, count, 1, 65535),
    {.key = NULL},
};

void config_read_target(const struct config_place *backend_at, const struct raw_target *raw,
			struct config_target *ret)
{
	struct config_place at;

	config_place_field(backend_at, "health", &at);
	config_read_numbers(&at, target_numbers, raw, ret);
	if (raw->address)
		config_read_address(&at, "address", raw->address, &ret->address);
}

/* A check to the VIP goes to no other address. */
void config_finish_target(const struct config_place *backend_at,
			  const struct config_service *service, const struct config_target *target)
{
	char text[ADDR_TEXT];
	struct config_place at;

	if (!target->address.family || !health_spec_to_vip(&service->health))
		return;
	config_place_field(backend_at, "health", &at);
	config_complain(&at, "address", addr_format(&target->address, text),
			"has no meaning with `to: vip`: such a check goes to the VIP");
}
