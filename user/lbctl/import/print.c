/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config as text, and the notes. */
#include "import.h"

#include <inttypes.h>
#include <string.h>

#include "common/duration.h"
#include "common/ring_size.h"
#include "ways.h"

#define DEFAULT_SERVICES 1024
#define DEFAULT_BACKENDS 16384
#define DEFAULT_SLOTS    (4 << 20)

/* ---- values ---- */

static void put_quoted(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		if (*text == '\r')
			fputs("\\r", out);
		else if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\t')
			fputs("\\t", out);
		else
			fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	}
	putc('"', out);
}

/* Colons in braces need quotes. */
static void put_address(FILE *out, const struct addr *address)
{
	char text[ADDR_TEXT];

	addr_format(address, text);
	if (address->family == 6)
		put_quoted(out, text);
	else
		fputs(text, out);
}

static void put_duration(FILE *out, uint64_t ms)
{
	char text[DURATION_TEXT];

	fputs(duration_exact(ms, text), out);
}

/* A key and its value between braces. */
static void put_key(FILE *out, const char *key, bool *first)
{
	fprintf(out, "%s %s: ", *first ? "" : ",", key);
	*first = false;
}

static void put_time_key(FILE *out, const char *key, uint64_t ms, bool *first)
{
	if (!ms)
		return;
	put_key(out, key, first);
	put_duration(out, ms);
}

static void put_number_key(FILE *out, const char *key, unsigned number, bool *first)
{
	if (!number)
		return;
	put_key(out, key, first);
	fprintf(out, "%u", number);
}

static void put_text_key(FILE *out, const char *key, const char *text, bool *first)
{
	if (!text)
		return;
	put_key(out, key, first);
	put_quoted(out, text);
}

/* ---- notes ---- */

static void put_place(FILE *out, struct import_place at, const char *after)
{
	if (at.file && at.line)
		fprintf(out, "%s:%u%s", at.file->name, at.line, after);
	else if (at.file)
		fprintf(out, "%s%s", at.file->name, after);
}

static void put_notes_of(const struct import *im, FILE *out, bool left, const char *before,
			 const char *label)
{
	for (const struct import_note *note = im->notes; note; note = note->next) {
		if (note->left != left)
			continue;
		fputs(before, out);
		put_place(out, note->at, ": ");
		fprintf(out, "%s%s\n", label, note->text);
	}
}

static void put_rest(const struct import *im, FILE *out, const char *before)
{
	if (im->notes_count > IMPORT_MAX_NOTES)
		fprintf(out, "%s... and %u more\n", before, im->notes_count - IMPORT_MAX_NOTES);
}

void import_print_notes(struct import *im, FILE *out)
{
	put_notes_of(im, out, true, "", "not carried over: ");
	put_notes_of(im, out, false, "", "note: ");
	put_rest(im, out, "");
}

static void put_notes(const struct import *im, FILE *out)
{
	if (im->left_count) {
		fputs("#\n# Not carried over:\n", out);
		put_notes_of(im, out, true, "#   ", "");
	}
	if (im->notes_count > im->left_count) {
		fputs("#\n# Notes:\n", out);
		put_notes_of(im, out, false, "#   ", "");
	}
	put_rest(im, out, "#   ");
}

/* ---- the head of the config ---- */

static void put_interfaces(const struct import *im, FILE *out)
{
	if (!im->interfaces_count) {
		fputs("# The interfaces on which packets of clients arrive, such as [eth0].\n"
		      "interfaces: []\n",
		      out);
		return;
	}
	fputs("interfaces: [", out);
	for (unsigned i = 0; i < im->interfaces_count; i++) {
		fputs(i ? ", " : "", out);
		put_quoted(out, im->interfaces[i]);
	}
	fputs("]\n", out);
}

static void put_limit(FILE *out, const char *key, uint64_t count, uint64_t usual, bool *first)
{
	if (count <= usual)
		return;
	put_key(out, key, first);
	fprintf(out, "%" PRIu64, count);
}

/* What is more than lbd has room for by default. */
static void put_limits(const struct import *im, FILE *out)
{
	uint64_t services = 0, backends = 0, slots = 0;
	bool first = true;

	for (const struct import_service *one = im->services; one; one = one->next) {
		if (one->left)
			continue;
		services++;
		backends += one->backends_count;
		slots += ring_size(one->backends_count, RING_FINE);
	}
	if (services <= DEFAULT_SERVICES && backends <= DEFAULT_BACKENDS && slots <= DEFAULT_SLOTS)
		return;
	fputs("limits: {", out);
	put_limit(out, "services", services, DEFAULT_SERVICES, &first);
	put_limit(out, "backends", backends, DEFAULT_BACKENDS, &first);
	put_limit(out, "slots", slots, DEFAULT_SLOTS, &first);
	fputs(" }\n", out);
}

static void put_defaults(const struct import *im, FILE *out)
{
	bool first = true;

	if (!im->tcp_idle_ms && !im->udp_idle_ms)
		return;
	fputs("\ndefaults:\n  idle-timeout: {", out);
	put_time_key(out, "tcp", im->tcp_idle_ms, &first);
	put_time_key(out, "udp", im->udp_idle_ms, &first);
	fputs(" }\n", out);
}

static void put_head(const struct import *im, FILE *out)
{
	put_interfaces(im, out);
	if (im->pair)
		fputs("# For the VRRP pair, which keepalived goes on to manage: docs/pair.md.\n"
		      "# hash-seed: 0x...    # the same on both: openssl rand -hex 8\n"
		      "# announce: { file: /run/lbd/vrrp }\n",
		      out);
	if (im->gue_port && im->gue_port != IMPORT_GUE_PORT)
		fprintf(out, "encap: { gue-port: %u }\n", im->gue_port);
	put_limits(im, out);
	put_defaults(im, out);
}

/* ---- services ---- */

static bool has_check(const struct import_health *health)
{
	return health->type || health->port || health->interval_ms || health->timeout_ms ||
	       health->rise || health->fall;
}

static void put_text_keys(FILE *out, const struct import_health *health, bool *first)
{
	const struct {
		const char *key, *text;
	} keys[] = {{"path", health->path},     {"host", health->host},
		    {"method", health->method}, {"body", health->body},
		    {"send", health->send},     {"send-hex", health->send_hex},
		    {"expect", health->expect}, {"expect-hex", health->expect_hex},
		    {"name", health->name},     {"record", health->record}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		put_text_key(out, keys[i].key, keys[i].text, first);
}

static void put_status(FILE *out, const struct import_health *health, bool *first)
{
	if (!health->status)
		return;
	put_key(out, "status", first);
	if (strchr(health->status, ','))
		put_quoted(out, health->status);
	else
		fputs(health->status, out);
}

static void put_headers(FILE *out, const struct import_health *health, bool *first)
{
	if (!health->headers_count)
		return;
	put_key(out, "headers", first);
	for (unsigned i = 0; i < health->headers_count; i++) {
		fputs(i ? ", " : "[", out);
		put_quoted(out, health->headers[i]);
	}
	putc(']', out);
}

static void put_health(const struct import_service *service, FILE *out)
{
	const struct import_health *health = &service->health;
	bool first = true;

	if (!has_check(health))
		return;
	fputs("    health: {", out);
	if (health->type) {
		put_key(out, "type", &first);
		fputs(health->type, out);
	}
	if (!health->type || strcmp(health->type, "none")) {
		put_number_key(out, "port", health->port, &first);
		put_text_keys(out, health, &first);
		put_status(out, health, &first);
		put_headers(out, health, &first);
		put_time_key(out, "interval", health->interval_ms, &first);
		put_time_key(out, "timeout", health->timeout_ms, &first);
		put_number_key(out, "rise", health->rise, &first);
		put_number_key(out, "fall", health->fall, &first);
	}
	fputs(" }\n", out);
}

static void put_affinity(const struct import_service *service, FILE *out)
{
	bool first = true;

	if (!service->affinity)
		return;
	fputs("    affinity: client-ip\n", out);
	if (service->affinity_ms) {
		fputs("    affinity-timeout: ", out);
		put_duration(out, service->affinity_ms);
		putc('\n', out);
	}
	if (!service->mask4 && !service->mask6)
		return;
	fputs("    affinity-mask: {", out);
	put_number_key(out, "v4", service->mask4, &first);
	put_number_key(out, "v6", service->mask6, &first);
	fputs(" }\n", out);
}

static void put_choice(const struct import_service *service, FILE *out)
{
	if (service->algorithm)
		fprintf(out, "    algorithm: %s\n", service->algorithm);
	if (service->hash_client)
		fputs("    hash: []\n", out);
	if (service->forward)
		fprintf(out, "    forward: %s\n", service->forward);
	put_affinity(service, out);
	if (service->tcp_idle_ms) {
		fputs("    idle-timeout: { tcp: ", out);
		put_duration(out, service->tcp_idle_ms);
		fputs(" }\n", out);
	}
	if (service->slow_start_ms) {
		fputs("    slow-start: ", out);
		put_duration(out, service->slow_start_ms);
		putc('\n', out);
	}
}

static void put_backend(const struct import_service *service, const struct import_backend *backend,
			FILE *out)
{
	unsigned port = ways_port(service, backend);

	fputs("      - { address: ", out);
	put_address(out, &backend->address);
	if (port)
		fprintf(out, ", port: %u", port);
	if (backend->weight != IMPORT_WEIGHT)
		fprintf(out, ", weight: %" PRIu64, backend->weight);
	if (backend->backup)
		fputs(", backup: true", out);
	if (backend->drain)
		fputs(", drain: true", out);
	fputs(" }\n", out);
}

static void put_service(const struct import_service *service, FILE *out)
{
	fputs("\n  # ", out);
	put_place(out, service->at, "");
	fputs(service->name ? "\n  - name: " : "\n  - vip: ", out);
	if (service->name) {
		put_quoted(out, service->name);
		fputs("\n    vip: ", out);
	}
	put_address(out, &service->vip);
	fprintf(out, "\n    protocol: %s\n", service->udp ? "udp" : "tcp");
	if (service->port)
		fprintf(out, "    port: %u\n", service->port);
	else
		fputs("    port: any\n", out);
	put_choice(service, out);
	put_health(service, out);
	fputs("    backends:\n", out);
	for (const struct import_backend *one = service->backends; one; one = one->next)
		put_backend(service, one, out);
}

void import_print_config(struct import *im, FILE *out, const char *dialect)
{
	unsigned count = 0;

	fprintf(out, "# Made by lbctl import %s. Read it, then check it: lbd --check THIS-FILE\n",
		dialect);
	put_notes(im, out);
	putc('\n', out);
	put_head(im, out);
	for (const struct import_service *one = im->services; one; one = one->next)
		count += !one->left;
	fputs(count ? "\nservices:" : "\nservices: []\n", out);
	for (const struct import_service *one = im->services; one; one = one->next)
		if (!one->left)
			put_service(one, out);
}
