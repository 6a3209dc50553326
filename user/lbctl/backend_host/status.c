/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state of a backend's host, as JSON and as text. */
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/tool.h"
#include "accept.h"
#include "net.h"
#include "settings.h"

/* The VIPs on record and those on the command line. */
static json_t *status_vips(const struct host *host, const struct vips *given,
			   const struct decap *decap)
{
	json_t *list = json_array();
	const json_t *change;
	struct vips vips = *given;
	size_t i;

	json_array_foreach (host->record.changes, i, change) {
		struct addr vip;

		if (vips.count < VIPS_MAX && addr_parse(json_text(change, "address"), &vip) == 0)
			vips_add(&vips, &vip);
	}
	for (i = 0; list && i < vips.count; i++) {
		char text[ADDR_TEXT], where[IF_NAMESIZE] = "";

		address_find(&vips.list[i], where, NULL);
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "address",
						      addr_format(&vips.list[i], text), "interface",
						      where, "unwrapped",
						      decap_has_vip(decap, &vips.list[i])));
	}
	return list;
}

/* An address with the interface that has it, "" if none has. */
static json_t *located(const char *text)
{
	char where[IF_NAMESIZE] = "";
	struct addr addr;

	if (addr_parse(text, &addr) == 0)
		address_find(&addr, where, NULL);
	return json_pack("{s:s, s:s}", "address", text, "interface", where);
}

static bool lists(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (strcmp(json_string_value(item), text) == 0)
			return true;
	return false;
}

/* What the decapsulator accepts, and "missing": addresses of the host that it does not accept.
 * null: not known. */
static json_t *status_accept(const struct vips *given, const struct decap *decap)
{
	json_t *accept = decap_accept(decap), *to = json_array(), *missing = json_array();
	json_t *own = accept_host_addresses(given, decap, NULL);
	const json_t *addresses = json_object_get(accept, "addresses"), *item;
	size_t i;

	json_array_foreach (addresses, i, item)
		json_array_append_new(to, located(json_string_value(item)));
	json_array_foreach (own, i, item)
		if (!lists(addresses, json_string_value(item)))
			json_array_append_new(missing, located(json_string_value(item)));
	json_decref(own);
	if (accept) {
		json_object_set_new(accept, "missing", missing);
		json_object_set_new(accept, "to", to);
		json_object_del(accept, "addresses");
		return accept;
	}
	json_decref(missing);
	json_decref(to);
	return json_null();
}

json_t *host_status(const struct host *host, const struct vips *given, const struct decap *decap)
{
	static const char *const presence[] = {
	    [DECAP_NONE] = "none", [DECAP_OURS] = "decapsulator", [DECAP_OTHER] = "other"};

	return json_pack("{s:s, s:s, s:s, s:i, s:o?, s:o?, s:o?, s:o?, s:s, s:i}", "interface",
			 host->interface, "program", presence[decap->presence], "mode",
			 decap->presence == DECAP_NONE ? ""
			 : decap->native               ? "native"
						       : "generic",
			 "mtu", link_mtu(host->interface), "vips", status_vips(host, given, decap),
			 "accepts", status_accept(given, decap), "settings", settings_list(host),
			 "counters", decap_counters(decap), "record", host->record.path, "changes",
			 (int)json_array_size(host->record.changes));
}

static void print_vips(const json_t *status)
{
	const json_t *vips = json_object_get(status, "vips"), *vip;
	bool ours = strcmp(json_text(status, "program"), "decapsulator") == 0;
	size_t i;

	if (json_array_size(vips) == 0)
		printf("VIPs           none on record\n");
	json_array_foreach (vips, i, vip) {
		const char *where = json_text(vip, "interface");

		printf("%-15s%s: %s%s%s\n", i ? "" : "VIPs", json_text(vip, "address"),
		       *where ? "on " : "on no interface", where,
		       !ours                         ? ""
		       : json_flag(vip, "unwrapped") ? ", unwrapped"
						     : ", not unwrapped");
	}
}

static void print_list(const char *title, const json_t *list, const char *empty)
{
	const json_t *item;
	size_t i;

	printf("%-15s%s", title, json_array_size(list) ? "" : empty);
	json_array_foreach (list, i, item)
		printf("%s%s", i ? " " : "", json_string_value(item));
	putchar('\n');
}

static void print_addresses(const json_t *list, const char *title, const char *note)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *where = json_text(item, "interface");

		printf("%-15s%s: %s%s%s\n", i ? "" : title, json_text(item, "address"),
		       *where ? "on " : "on no interface", where, note);
	}
}

static void print_accept(const json_t *status)
{
	const json_t *accept = json_object_get(status, "accepts");

	if (strcmp(json_text(status, "program"), "decapsulator") != 0)
		return;
	if (!json_is_object(accept)) {
		printf(
		    "Accepts        not known: attached by another version; setup replaces it\n");
		return;
	}
	print_list("Accepts from", json_object_get(accept, "from"), "nobody");
	print_addresses(json_object_get(accept, "to"), "Accepts to", "");
	print_addresses(json_object_get(accept, "missing"), "", ", not accepted: new since setup");
	print_list("Ports", json_object_get(accept, "ports"), "any");
	printf("GUE port       %llu\n", (unsigned long long)json_number(accept, "gue_port"));
}

/* What to type if something is to be corrected. */
static void print_advice(const json_t *status, bool good)
{
	const json_t *accept = json_object_get(status, "accepts");
	const char *what = !good ? "correct the settings"
			   : json_array_size(json_object_get(accept, "missing"))
			       ? "accept tunnels to the new addresses"
			       : NULL;

	if (what)
		printf("To %s: " TOOL " " TOOL_HOST "setup --iface %s --vip ADDRESS\n", what,
		       json_text(status, "interface"));
}

void host_status_print(const json_t *status)
{
	const json_t *setting, *counters = json_object_get(status, "counters");
	const char *program = json_text(status, "program"), *key;
	json_t *value;
	char changes[64];
	bool good = true;
	size_t i;

	if (strcmp(program, "decapsulator") == 0)
		printf("Decapsulator   attached to %s, %s mode\n", json_text(status, "interface"),
		       json_text(status, "mode"));
	else
		printf("Decapsulator   not attached to %s%s\n", json_text(status, "interface"),
		       strcmp(program, "other") == 0 ? " (another XDP program is)" : "");
	print_vips(status);
	print_accept(status);
	json_array_foreach (json_object_get(status, "settings"), i, setting) {
		printf("%-15s%s = %s%s\n", i ? "" : "Settings", json_text(setting, "name"),
		       json_text(setting, "value"),
		       json_flag(setting, "good") ? "" : "  (wrong for a backend)");
		good &= json_flag(setting, "good");
	}
	printf("MTU            %llu\n", (unsigned long long)json_number(status, "mtu"));
	i = 0;
	json_object_foreach ((json_t *)counters, key, value)
		printf("%-15s%s %llu\n", i++ ? "" : "Counters", key,
		       (unsigned long long)json_integer_value(value));
	printf("Record         %s in %s\n",
	       format_plural(json_number(status, "changes"), "change", changes),
	       json_text(status, "record"));
	print_advice(status, good);
}
