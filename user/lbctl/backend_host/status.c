/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The state of a backend's host, as JSON and as text. */
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "lbctl/core/json.h"
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

json_t *host_status(const struct host *host, const struct vips *given, const struct decap *decap)
{
	static const char *const presence[] = {
	    [DECAP_NONE] = "none", [DECAP_OURS] = "decapsulator", [DECAP_OTHER] = "other"};

	return json_pack("{s:s, s:s, s:s, s:i, s:o?, s:o?, s:o?, s:s, s:i}", "interface",
			 host->interface, "program", presence[decap->presence], "mode",
			 decap->presence == DECAP_NONE ? ""
			 : decap->native               ? "native"
						       : "generic",
			 "mtu", link_mtu(host->interface), "vips", status_vips(host, given, decap),
			 "settings", settings_list(host), "counters", decap_counters(decap),
			 "record", host->record.path, "changes",
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

void host_status_print(const json_t *status)
{
	const json_t *setting, *counters = json_object_get(status, "counters");
	const char *program = json_text(status, "program"), *key;
	json_t *value;
	bool good = true;
	size_t i;

	if (strcmp(program, "decapsulator") == 0)
		printf("Decapsulator   attached to %s, %s mode\n", json_text(status, "interface"),
		       json_text(status, "mode"));
	else
		printf("Decapsulator   not attached to %s%s\n", json_text(status, "interface"),
		       strcmp(program, "other") == 0 ? " (another XDP program is)" : "");
	print_vips(status);
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
	printf("Record         %llu changes in %s\n",
	       (unsigned long long)json_number(status, "changes"), json_text(status, "record"));
	if (!good)
		printf(
		    "To correct the settings: lbctl backend-host setup --iface %s --vip ADDRESS\n",
		    json_text(status, "interface"));
}
