/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the decapsulator accepts: from the command line, the record and the host's addresses. */
#include "accept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/tool.h"
#include "net.h"

#define MANY 256 /* values of one option */

/* The defaults of lbd: encap.source-v4, encap.source-v6 and encap.gue-port. */
#define DEFAULT_FROM4    "172.16.0.0/16"
#define DEFAULT_FROM6    "100::/64"
#define DEFAULT_GUE_PORT 6080

/* ---- lists ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Takes over the list. NULL if it is NULL, or out of memory. */
static json_t *sorted(json_t *list)
{
	size_t count = json_array_size(list);
	const char **texts = calloc(count + 1, sizeof(*texts));
	json_t *ret = list && texts ? json_array() : NULL;

	for (size_t i = 0; texts && i < count; i++)
		texts[i] = json_string_value(json_array_get(list, i));
	if (texts)
		qsort(texts, count, sizeof(*texts), by_text);
	for (size_t i = 0; ret && i < count; i++)
		if (i == 0 || strcmp(texts[i], texts[i - 1]) != 0)
			json_array_append_new(ret, json_string(texts[i]));
	free(texts);
	json_decref(list);
	return ret;
}

/* ---- the command line ---- */

/* Reads one value: 0 with its canonical text, or -EINVAL with err set. */
typedef int (*read_value)(const struct call *call, const char *value, char text[64],
			  struct error *err);

static int read_prefix(const struct call *call, const char *value, char text[64], struct error *err)
{
	char address[ADDR_TEXT];
	struct addr addr;
	unsigned bits;

	if (addr_parse(value, &addr) == 0)
		bits = (unsigned)addr_length(&addr) * 8;
	else if (addr_parse_prefix(value, &addr, &bits))
		return error_set(err, -EINVAL,
				 "%s: --from %s: expected a prefix with no bits set beyond its "
				 "length, such as 172.16.0.0/16 or 100::/64",
				 call->verb->name, value);
	snprintf(text, 64, "%s/%u", addr_format(&addr, address), bits);
	if (bits == 0)
		fprintf(stderr,
			TOOL ": warning: --from %s: tunnels from any sender are accepted: whoever "
			     "reaches this host reaches the VIPs on it\n",
			value);
	return 0;
}

static int read_to(const struct call *call, const char *value, char text[64], struct error *err)
{
	struct addr addr;

	if (addr_parse(value, &addr) || !addr_is_unicast(&addr))
		return error_set(err, -EINVAL,
				 "%s: --to %s: expected a unicast address without a prefix, such "
				 "as 10.0.0.11, or none",
				 call->verb->name, value);
	addr_format(&addr, text);
	return 0;
}

static int read_port(const struct call *call, const char *value, char text[64], struct error *err)
{
	const char *protocol = strchr(value, '/');
	char number[8] = "";
	uint64_t port;

	if (protocol && protocol - value < (ptrdiff_t)sizeof(number))
		memcpy(number, value, (size_t)(protocol - value));
	if (!protocol || (strcmp(protocol, "/tcp") != 0 && strcmp(protocol, "/udp") != 0) ||
	    parse_whole(number, 1, 65535, &port))
		return error_set(err, -EINVAL,
				 "%s: --port %s: expected 1 to 65535 and the protocol, such as "
				 "80/tcp or 53/udp, or any",
				 call->verb->name, value);
	snprintf(text, 64, "%u%s", (unsigned)port, protocol);
	return 0;
}

/* All values of an option; *ret NULL: it was not given. empty: the word for an empty list. */
static int read_list(const struct call *call, const char *name, const char *empty,
		     read_value reader, json_t **ret, struct error *err)
{
	json_t *list = json_array();
	bool none = false;
	unsigned at = 0;
	const char *value;
	int rc = 0, count = 0;

	for (; !rc && (value = call_next_option(call, name, &at)); count++) {
		char text[64];

		none |= empty && strcmp(value, empty) == 0;
		if (none && count > 0)
			rc = error_set(err, -EINVAL, "%s: %s %s: expected no other %s beside it",
				       call->verb->name, name, empty, name);
		else if (count == MANY)
			rc = error_set(err, -EINVAL, "%s: %s %s: expected at most %d of them",
				       call->verb->name, name, value, MANY);
		else if (!none)
			rc = reader(call, value, text, err);
		if (!rc && !none)
			json_array_append_new(list, json_string(text));
	}
	if (!rc && count > 0)
		*ret = sorted(list);
	else
		json_decref(list);
	return !rc && count > 0 && !*ret ? error_set(err, -ENOMEM, "out of memory") : rc;
}

static int read_gue_port(const struct call *call, json_t **ret, struct error *err)
{
	const char *text = call_option(call, "--gue-port");
	uint64_t port;

	if (!text)
		return 0;
	if (parse_whole(text, 1, 65535, &port))
		return error_set(err, -EINVAL, "%s: --gue-port %s: expected 1 to 65535",
				 call->verb->name, text);
	*ret = json_integer((json_int_t)port);
	return 0;
}

int accept_read(const struct call *call, json_t **ret, struct error *err)
{
	json_t *from = NULL, *to = NULL, *ports = NULL, *gue_port = NULL, *given;
	int rc = read_list(call, "--from", NULL, read_prefix, &from, err);

	if (!rc)
		rc = read_list(call, "--to", "none", read_to, &to, err);
	if (!rc)
		rc = read_list(call, "--port", "any", read_port, &ports, err);
	if (!rc)
		rc = read_gue_port(call, &gue_port, err);
	given = json_pack("{s:o*, s:o*, s:o*, s:o*}", "from", from, "to", to, "ports", ports,
			  "gue_port", gue_port);
	if (!rc && !given)
		rc = error_set(err, -ENOMEM, "out of memory");
	if (!rc && json_object_size(given) && call_option(call, "--tunnel"))
		rc = error_set(err, -EINVAL,
			       "%s: --tunnel: expected none of --from, --to, --port and "
			       "--gue-port: the kernel's tunnels accept packets from any sender",
			       call->verb->name);
	if (rc)
		json_decref(given);
	else
		*ret = given;
	return rc;
}

/* ---- the record ---- */

static bool is_kind(const json_t *change, const char *kind)
{
	return strcmp(json_text(change, "kind"), kind) == 0;
}

/* NULL: nothing is on record. */
static const json_t *recorded(const struct host *host)
{
	const json_t *change, *last = NULL;
	size_t i;

	json_array_foreach (host->record.changes, i, change) {
		if (is_kind(change, "decap"))
			last = json_object_get(change, "accept");
		else if (is_kind(change, "accept"))
			last = json_object_get(change, "new");
	}
	return last;
}

int accept_fold(struct host *host, struct error *err)
{
	json_t *changes = host->record.changes, *change, *into = NULL;
	bool folded = false;

	for (size_t i = 0; i < json_array_size(changes); i++) {
		change = json_array_get(changes, i);
		if (is_kind(change, "accept") && into) {
			json_object_set(into, is_kind(into, "decap") ? "accept" : "new",
					json_object_get(change, "new"));
			json_array_remove(changes, i--);
			folded = true;
		} else if (is_kind(change, "accept") || is_kind(change, "decap")) {
			into = change;
		}
	}
	return folded ? host_record_save(&host->record, err) : 0;
}

/* ---- what is wanted ---- */

struct collection {
	const struct vips *vips;
	const struct decap *decap;
	json_t *list;
};

static void collect(const struct addr *addr, void *context)
{
	struct collection *into = context;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < into->vips->count; i++)
		if (addr_equal(&into->vips->list[i], addr))
			return;
	if (addr_is_unicast(addr) && !decap_has_vip(into->decap, addr))
		json_array_append_new(into->list, json_string(addr_format(addr, text)));
}

json_t *accept_host_addresses(const struct vips *vips, const struct decap *decap, struct error *err)
{
	struct collection into = {.vips = vips, .decap = decap, .list = json_array()};
	json_t *ret;
	int rc = address_each(collect, &into, err);

	ret = sorted(into.list);
	if (!rc && !ret)
		error_set(err, -ENOMEM, "out of memory");
	if (!rc)
		return ret;
	json_decref(ret);
	return NULL;
}

/* The first that has the value. */
static json_t *choose(const char *name, const json_t *given, const json_t *known,
		      const json_t *current)
{
	json_t *value = json_object_get(given, name);

	if (!value)
		value = json_object_get(known, name);
	return value ? value : json_object_get(current, name);
}

/* The addresses of the host and those of --to. */
static int set_addresses(json_t *accept, json_t *addresses, const struct host *host,
			 struct error *err)
{
	json_array_extend(addresses, json_object_get(accept, "to"));
	addresses = sorted(addresses);
	if (!addresses || json_object_set_new(accept, "addresses", addresses))
		return error_set(err, -ENOMEM, "out of memory");
	if (json_array_size(addresses) == 0)
		return error_set(err, -EADDRNOTAVAIL,
				 "%s: the host has no address: expected the one by which the load "
				 "balancer knows this backend, or --to ADDRESS",
				 host->interface);
	return 0;
}

int accept_wanted(const struct host *host, const struct vips *vips, const struct decap *decap,
		  const json_t *given, const json_t *current, json_t **ret, struct error *err)
{
	const json_t *known = recorded(host);
	json_t *defaults = json_pack("{s:[s, s], s:[], s:[], s:i}", "from", DEFAULT_FROM6,
				     DEFAULT_FROM4, "to", "ports", "gue_port", DEFAULT_GUE_PORT);
	json_t *addresses = accept_host_addresses(vips, decap, err);
	int rc = addresses ? 0 : -EIO;

	if (!current)
		current = defaults;
	*ret = json_object();
	json_object_set(*ret, "from", choose("from", given, known, current));
	json_object_set(*ret, "to", choose("to", given, known, defaults));
	json_object_set(*ret, "ports", choose("ports", given, known, current));
	json_object_set(*ret, "gue_port", choose("gue_port", given, known, current));
	if (!rc)
		rc = set_addresses(*ret, addresses, host, err);
	json_decref(defaults);
	if (rc) {
		json_decref(*ret);
		*ret = NULL;
	}
	return rc;
}

static bool same(const json_t *a, const json_t *b, const char *name)
{
	return json_equal(json_object_get(a, name), json_object_get(b, name));
}

bool accept_is_current(const struct host *host, const json_t *wanted, const json_t *current)
{
	const json_t *known = recorded(host);

	return current && same(current, wanted, "from") && same(current, wanted, "addresses") &&
	       same(current, wanted, "ports") && same(current, wanted, "gue_port") &&
	       (known ? same(known, wanted, "to")
		      : json_array_size(json_object_get(wanted, "to")) == 0);
}

/* ---- as text ---- */

static const struct part {
	const char *name, *title, *empty;
} parts[] = {
    {"from", "from", "nobody"},
    {"addresses", "to", "no address"},
    {"ports", "port", "any"},
    {"gue_port", "GUE port", ""},
};

#define PARTS (sizeof(parts) / sizeof(*parts))

/* What does not fit is left out, and shown as dots. */
static void append(char *text, size_t size, const char *more)
{
	size_t used = strlen(text);

	if (used + strlen(more) < size)
		strcpy(text + used, more);
	else if (used >= 3)
		strcpy(text + used - 3, "...");
}

static void append_part(const json_t *accept, const struct part *part, char *text, size_t size)
{
	const json_t *value = json_object_get(accept, part->name), *item;
	char number[16];
	size_t i;

	if (!json_is_array(value)) {
		snprintf(number, sizeof(number), "%u", (unsigned)json_number(accept, part->name));
		append(text, size, value ? number : "unknown");
		return;
	}
	if (json_array_size(value) == 0)
		append(text, size, part->empty);
	json_array_foreach (value, i, item) {
		append(text, size, i ? " " : "");
		append(text, size, json_string_value(item));
	}
}

void accept_describe(const json_t *accept, char *text, size_t size)
{
	text[0] = 0;
	for (size_t i = 0; i < PARTS; i++) {
		append(text, size, i ? ", " : "");
		append(text, size, parts[i].title);
		append(text, size, " ");
		append_part(accept, &parts[i], text, size);
	}
}

void accept_describe_change(const json_t *old, const json_t *new, char *text, size_t size)
{
	text[0] = 0;
	for (size_t i = 0; i < PARTS; i++) {
		if (same(old, new, parts[i].name))
			continue;
		append(text, size, text[0] ? ", " : "");
		append(text, size, parts[i].title);
		append(text, size, " ");
		append_part(old, &parts[i], text, size);
		append(text, size, " -> ");
		append_part(new, &parts[i], text, size);
	}
	if (!text[0])
		append(text, size, "--to recorded");
}
