/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes a config of what was read: leaves out, with a note each, what lbd would refuse, and decides
 * what depends on all backends of a service. The rules are those of docs/config.md. */
#include "import.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lb_api.h"
#include "common/duration.h"
#include "common/http_host.h"
#include "ways.h"

#define SMALL_WEIGHT 10 /* weights up to here count in units of lbd's default */
#define MIN_IDLE_MS  3000
#define MAX_IDLE_MS  8589000
#define HOUR_MS      3600000
#define MAX_NAME     63
#define MAX_PATH     1023
#define MAX_METHOD   15
#define MAX_HEADERS  2047 /* bytes of all, with a line end between */

/* ---- services ---- */

static int by_endpoint(const struct import_service *a, const struct import_service *b)
{
	int rc = addr_compare(&a->vip, &b->vip);

	if (!rc)
		rc = a->udp - b->udp;
	return rc ? rc : (int)a->port - (int)b->port;
}

/* Equals in the order of the file. */
static int compare_endpoints(const void *a, const void *b)
{
	const struct import_service *x = *(struct import_service *const *)a,
				    *y = *(struct import_service *const *)b;
	int rc = by_endpoint(x, y);

	return rc ? rc : (x->rank > y->rank) - (x->rank < y->rank);
}

static int compare_vips(const void *a, const void *b)
{
	return addr_compare(&(*(struct import_service *const *)a)->vip,
			    &(*(struct import_service *const *)b)->vip);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct import_service *const *)a)->name,
		      (*(struct import_service *const *)b)->name);
}

/* Those that are not left out, and of which `wanted` is true (NULL: all), in the order of the
 * file. */
static struct import_service **list_services(struct import *im,
					     bool (*wanted)(const struct import_service *),
					     size_t *ret_count)
{
	struct import_service **list =
	    import_allocate(im, (im->services_count + 1) * sizeof(*list));
	size_t count = 0;

	for (struct import_service *one = im->services; one; one = one->next)
		if (!one->left && (!wanted || wanted(one)))
			list[count++] = one;
	*ret_count = count;
	return list;
}

static void check_vips(struct import *im)
{
	char text[96];

	for (struct import_service *one = im->services; one; one = one->next) {
		const char *why = one->left ? NULL : addr_why_no_host(&one->vip);

		if (!why)
			continue;
		import_left(im, one->at, "service %s: %s cannot be a VIP",
			    import_endpoint(one, text), why);
		one->left = true;
	}
}

/* Of services on the same VIP, protocol and port the first one in the file stays. */
static void drop_doubles(struct import *im)
{
	size_t count, kept = 0;
	struct import_service **sorted = list_services(im, NULL, &count);
	char text[96];

	for (size_t i = 0; i < count; i++)
		sorted[i]->rank = (unsigned)i;
	qsort(sorted, count, sizeof(*sorted), compare_endpoints);
	for (size_t i = 1; i < count; i++) {
		if (by_endpoint(sorted[kept], sorted[i])) {
			kept = i;
			continue;
		}
		import_left(im, sorted[i]->at, "service %s: there is one in line %u",
			    import_endpoint(sorted[i], text), sorted[kept]->at.line);
		sorted[i]->left = true;
	}
}

static bool has_name(const struct import_service *service)
{
	return service->name != NULL;
}

/* Names that lbd refuses, and all but one of equal names, give way to lbd's default, which has a
 * slash and so is none of them. */
static void settle_names(struct import *im)
{
	size_t count;
	struct import_service **sorted;

	for (struct import_service *one = im->services; one; one = one->next)
		if (one->name && (!*one->name || strlen(one->name) > MAX_NAME ||
				  one->name[strspn(one->name, "abcdefghijklmnopqrstuvwxyz"
							      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							      "0123456789._-:")]))
			one->name = NULL;
	sorted = list_services(im, has_name, &count);
	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (size_t i = 1, kept = 0; i < count; i++) {
		if (strcmp(sorted[i]->name, sorted[kept]->name))
			kept = i;
		else
			sorted[i]->name = NULL;
	}
}

/* ---- backends ---- */

static bool is_vip(struct import_service **vips, size_t count, const struct addr *address)
{
	struct import_service like = {.vip = *address}, *key = &like;

	return bsearch(&key, vips, count, sizeof(*vips), compare_vips) != NULL;
}

/* Notes why lbd would refuse the backend; false: it would not. */
static bool is_refused(struct import *im, const struct import_backend *backend,
		       struct import_service **vips, size_t count)
{
	const char *why = addr_why_no_host(&backend->address);
	char text[ADDR_TEXT];

	addr_format(&backend->address, text);
	if (why)
		import_left(im, backend->at, "backend %s: %s: expected another host", text, why);
	else if (is_vip(vips, count, &backend->address))
		import_left(im, backend->at, "backend %s: is a VIP too: lbd takes no such backend",
			    text);
	else
		return false;
	return true;
}

struct place_in_list {
	struct import_backend *backend;
	unsigned number;
};

static int compare_places(const void *a, const void *b)
{
	const struct place_in_list *x = a, *y = b;
	int rc = addr_compare(&x->backend->address, &y->backend->address);

	return rc ? rc : (int)x->number - (int)y->number;
}

/* Of backends with the same address the first one stays: lbd knows them by their addresses. */
static void mark_doubles(struct import *im, struct import_service *service)
{
	size_t count = service->backends_count, at = 0;
	struct place_in_list *list = import_allocate(im, (count + 1) * sizeof(*list));
	char text[ADDR_TEXT];

	for (struct import_backend *one = service->backends; one; one = one->next, at++)
		list[at] = (struct place_in_list){one, (unsigned)at};
	qsort(list, count, sizeof(*list), compare_places);
	for (size_t i = 1; i < count; i++) {
		struct import_backend *backend = list[i].backend;

		if (!addr_equal(&backend->address, &list[i - 1].backend->address))
			continue;
		backend->twice = true;
		import_left(
		    im, backend->at,
		    "backend %s: listed twice in its service: lbd has one backend per address",
		    addr_format(&backend->address, text));
	}
}

static void check_backends(struct import *im, struct import_service *service,
			   struct import_service **vips, size_t count)
{
	struct import_backend *before = NULL, *next;

	mark_doubles(im, service);
	for (struct import_backend *one = service->backends; one; one = next) {
		next = one->next;
		if (one->twice || is_refused(im, one, vips, count))
			import_drop_backend(service, before);
		else
			before = one;
	}
}

/* ---- weights ---- */

static uint64_t highest_weight(const struct import_service *service)
{
	uint64_t most = 0;

	for (const struct import_backend *one = service->backends; one; one = one->next)
		if (one->weight > most)
			most = one->weight;
	return most;
}

static bool weights_differ(const struct import_service *service)
{
	uint64_t most = highest_weight(service);

	for (const struct import_backend *one = service->backends; one; one = one->next)
		if (one->weight && one->weight != most)
			return true;
	return false;
}

/* The shares stay; 0 stays 0, and nothing else becomes 0. */
static uint64_t scaled(uint64_t weight, uint64_t most)
{
	if (!weight || (most > SMALL_WEIGHT && most <= LB_API_MAX_WEIGHT))
		return weight;
	if (most <= SMALL_WEIGHT)
		return weight * IMPORT_WEIGHT;
	weight = weight * LB_API_MAX_WEIGHT / most;
	return weight ? weight : 1;
}

/* The first with the highest weight alone has traffic; the others, in no order, when it is gone. */
static void settle_order(struct import *im, struct import_service *service)
{
	uint64_t most = highest_weight(service);
	unsigned backups = 0;
	bool found = false;

	for (struct import_backend *one = service->backends; one; one = one->next) {
		if (one->weight == most && !found) {
			found = true;
			continue;
		}
		one->backup = true;
		backups++;
	}
	if (backups > 1)
		import_note(
		    im, service->at,
		    "failover by weight: the %u backups share the traffic once the first is "
		    "gone; IPVS takes one after the other",
		    backups);
}

static void settle_weights(struct import *im, struct import_service *service)
{
	bool differ = weights_differ(service);
	uint64_t most = highest_weight(service);

	if (service->weights == WEIGHTS_ORDER)
		settle_order(im, service);
	if (differ && service->weights == WEIGHTS_IGNORED)
		import_note(im, service->at,
			    "weights: the scheduler ignores them, and lbd gets none");
	if (service->weights != WEIGHTS_COUNT)
		differ = false;
	if (differ && most > LB_API_MAX_WEIGHT)
		import_note(im, service->at, "weights: scaled down, as lbd's end at %u",
			    LB_API_MAX_WEIGHT);
	for (struct import_backend *one = service->backends; one; one = one->next) {
		if (differ)
			one->weight = scaled(one->weight, most);
		else if (one->weight)
			one->weight = IMPORT_WEIGHT;
	}
}

/* ---- times ---- */

/* A time within lbd's bounds; 0 stays 0. what: for a note. */
static uint64_t within(struct import *im, struct import_place at, const char *what, uint64_t ms,
		       uint64_t least, uint64_t most)
{
	uint64_t fits = ms < least ? least : ms > most ? most : ms;
	char texts[4][DURATION_TEXT];

	if (!ms || fits == ms)
		return ms;
	import_note(im, at, "%s: %s becomes %s: lbd takes %s to %s", what,
		    duration_exact(ms, texts[0]), duration_exact(fits, texts[1]),
		    duration_exact(least, texts[2]), duration_exact(most, texts[3]));
	return fits;
}

static unsigned times(unsigned count)
{
	return count > 1000 ? 1000 : count;
}

/* ---- texts of checks ---- */

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if (*text < 0 || *text > '~' ||
		    (*text < ' ' && *text != '\r' && *text != '\n' && *text != '\t'))
			return false;
	return true;
}

static bool is_visible(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static bool is_path(const char *text)
{
	return *text == '/' && is_visible(text);
}

static bool is_host(const char *text)
{
	return is_visible(text) && http_host_fits(text);
}

/* As lbd takes one; Host is a key of its own. */
static bool is_header(const char *text)
{
	size_t name = strcspn(text, ":");

	if (!name || !text[name] || !strncasecmp(text, "host:", 5))
		return false;
	for (size_t i = 0; text[i]; i++)
		if (text[i] < ' ' || text[i] > '~' ||
		    (i < name && strchr(" ()<>@,;\\\"/[]?={}", text[i])))
			return false;
	return true;
}

static bool is_method(const char *text)
{
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

static bool is_hex(const char *text)
{
	return strlen(text) % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

/* Labels of 1 to 63 letters, digits, dashes and underscores; or the root. */
static bool is_domain(const char *text)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	if (!strcmp(text, "."))
		return true;
	while (*text) {
		size_t length = strspn(text, letters);

		if (!length || length > 63 || (text[length] && text[length] != '.'))
			return false;
		text += length + (text[length] == '.');
	}
	return true;
}

static bool is_record(const char *text)
{
	static const char *const records[] = {"A",   "AAAA", "CNAME", "MX", "NS",
					      "PTR", "SOA",  "SRV",   "TXT"};

	for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++)
		if (!strcmp(records[i], text))
			return true;
	return false;
}

/* Takes out what lbd would refuse, or what has no meaning for the type of check. */
static void settle_text(struct import *im, const struct import_service *service, const char *key,
			const char **text, bool (*fits)(const char *), size_t most, bool meant)
{
	if (*text && !meant)
		*text = NULL;
	if (!*text || (**text && strlen(*text) <= most && fits(*text)))
		return;
	import_left(im, service->at, "%s of checks: %.64s: lbd takes no such value", key, *text);
	*text = NULL;
}

static bool type_is(const struct import_health *health, const char *type)
{
	return health->type ? !strcmp(health->type, type) : !strcmp(type, "tcp");
}

/* Those that lbd takes stay, in their order. */
static void settle_headers(struct import *im, const struct import_service *service,
			   struct import_health *health, bool meant)
{
	unsigned count = meant ? health->headers_count : 0;
	size_t bytes = 0;

	health->headers_count = 0;
	for (unsigned i = 0; i < count; i++) {
		const char *header = health->headers[i];

		if (!is_header(header) || bytes + strlen(header) > MAX_HEADERS) {
			import_left(im, service->at, "header of checks: %.64s: lbd takes no such",
				    header);
			continue;
		}
		bytes += strlen(header) + 1;
		health->headers[health->headers_count++] = header;
	}
}

/* Texts that do not go together, and a check that asks without its question. */
static void settle_question(struct import *im, const struct import_service *service,
			    struct import_health *health)
{
	bool asks = (type_is(health, "udp") && !health->send && !health->send_hex) ||
		    (type_is(health, "dns") && !health->name);

	if (health->body && health->method && !strcmp(health->method, "HEAD")) {
		import_note(im, service->at, "checks: HEAD has no body to look into: GET is used");
		health->method = NULL;
	}
	if (health->send)
		health->send_hex = NULL;
	if (health->expect)
		health->expect_hex = NULL;
	if (!asks)
		return;
	import_left(im, service->at, "checks: nothing to ask for: none are made");
	health->type = "none";
}

static void settle_request(struct import *im, struct import_service *service)
{
	struct import_health *health = &service->health;
	bool http = type_is(health, "http") || type_is(health, "https"),
	     sends = type_is(health, "udp") ||
		     (type_is(health, "tcp") && (health->type || !service->udp)),
	     dns = type_is(health, "dns");
	const struct {
		const char *key, **text;
		bool (*fits)(const char *);
		size_t most;
		bool meant;
	} texts[] = {{"path", &health->path, is_path, MAX_PATH, http},
		     {"host", &health->host, is_host, 255, http || type_is(health, "tls")},
		     {"method", &health->method, is_method, MAX_METHOD, http},
		     {"body", &health->body, is_ascii, 255, http},
		     {"status", &health->status, is_visible, IMPORT_MAX_STATUS, http},
		     {"send", &health->send, is_ascii, 511, sends},
		     {"send-hex", &health->send_hex, is_hex, 1022, sends},
		     {"expect", &health->expect, is_ascii, 255, sends},
		     {"expect-hex", &health->expect_hex, is_hex, 510, sends},
		     {"name", &health->name, is_domain, 253, dns},
		     {"record", &health->record, is_record, 8, dns}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		settle_text(im, service, texts[i].key, texts[i].text, texts[i].fits, texts[i].most,
			    texts[i].meant);
	settle_headers(im, service, health, http);
	settle_question(im, service, health);
}

/* lbd's checks end before the next one begins. */
static void settle_health(struct import *im, struct import_service *service)
{
	struct import_health *health = &service->health;
	char was[DURATION_TEXT], fits[DURATION_TEXT];
	uint64_t interval;

	if (health->interval_ms && health->interval_ms < 100)
		health->interval_ms = 100;
	health->interval_ms =
	    within(im, service->at, "interval of checks", health->interval_ms, 0, HOUR_MS);
	interval = health->interval_ms ? health->interval_ms : 2000;
	if (health->timeout_ms && health->timeout_ms >= interval) {
		import_note(im, service->at,
			    "timeout of checks: %s becomes %s: lbd's are shorter than the interval",
			    duration_exact(health->timeout_ms, was),
			    duration_exact(interval * 3 / 4, fits));
		health->timeout_ms = interval * 3 / 4;
	}
	health->timeout_ms =
	    within(im, service->at, "timeout of checks", health->timeout_ms, 0, HOUR_MS / 6);
	if (health->timeout_ms && health->timeout_ms < 10)
		health->timeout_ms = 10;
	settle_request(im, service);
	health->rise = times(health->rise);
	health->fall = times(health->fall);
	if (!service->port && !health->port && health->type && strcmp(health->type, "none") &&
	    strcmp(health->type, "icmp")) {
		import_left(im, service->at,
			    "checks: a service on any port needs the port that is checked");
		*health = (struct import_health){.type = "none"};
	}
}

static void settle_times(struct import *im, struct import_service *service)
{
	service->affinity_ms =
	    within(im, service->at, "persistence", service->affinity_ms, MIN_IDLE_MS, MAX_IDLE_MS);
	service->tcp_idle_ms =
	    within(im, service->at, "idle timeout", service->tcp_idle_ms, MIN_IDLE_MS, MAX_IDLE_MS);
	service->slow_start_ms =
	    within(im, service->at, "slow start", service->slow_start_ms, 0, HOUR_MS);
	settle_health(im, service);
}

/* ---- all of it ---- */

static void settle_service(struct import *im, struct import_service *service,
			   struct import_service **vips, size_t count)
{
	char text[96];

	check_backends(im, service, vips, count);
	if (service->backends_count)
		ways_settle(im, service);
	if (!service->backends_count) {
		import_left(im, service->at, "service %s: no backend is left",
			    import_endpoint(service, text));
		service->left = true;
		return;
	}
	settle_weights(im, service);
	settle_times(im, service);
}

/* By place, and in the order in which they were found. */
static int compare_notes(const void *a, const void *b)
{
	const struct import_note *x = *(struct import_note *const *)a,
				 *y = *(struct import_note *const *)b;

	if (x->at.file != y->at.file)
		return !x->at.file || !y->at.file ? (x->at.file != NULL) - (y->at.file != NULL)
						  : strcmp(x->at.file->name, y->at.file->name);
	if (x->at.line != y->at.line)
		return x->at.line < y->at.line ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static void sort_notes(struct import *im)
{
	struct import_note **sorted, **link = &im->notes;
	size_t count = 0;

	sorted = import_allocate(im, (IMPORT_MAX_NOTES + 1) * sizeof(*sorted));
	for (struct import_note *one = im->notes; one; one = one->next) {
		one->number = (unsigned)count;
		sorted[count++] = one;
	}
	qsort(sorted, count, sizeof(*sorted), compare_notes);
	for (size_t i = 0; i < count; i++) {
		*link = sorted[i];
		link = &sorted[i]->next;
	}
	*link = NULL;
}

void import_settle(struct import *im)
{
	const struct import_place nowhere = {0};
	struct import_service **vips;
	size_t count;

	check_vips(im);
	drop_doubles(im);
	vips = list_services(im, NULL, &count);
	qsort(vips, count, sizeof(*vips), compare_vips);
	for (struct import_service *one = im->services; one; one = one->next)
		if (!one->left)
			settle_service(im, one, vips, count);
	settle_names(im);
	im->tcp_idle_ms =
	    within(im, nowhere, "idle timeout of TCP", im->tcp_idle_ms, MIN_IDLE_MS, MAX_IDLE_MS);
	im->udp_idle_ms =
	    within(im, nowhere, "idle timeout of UDP", im->udp_idle_ms, MIN_IDLE_MS, MAX_IDLE_MS);
	sort_notes(im);
}
