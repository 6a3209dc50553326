/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend-host setup, undo, status: configures this host as a backend (direct server return),
 * and undoes that. Works on the kernel, without lbd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/backend_host/change.h"
#include "lbctl/backend_host/decap.h"
#include "lbctl/backend_host/net.h"

#define MAX_VIPS   256
#define INNER_MTU  1500 /* the usual maximum of clients */
#define IPV4_OUTER 20
#define IPV6_OUTER 40
#define GUE_EXTRA  12 /* UDP and GUE headers */

struct vips {
	struct addr list[MAX_VIPS];
	size_t count;
};

static bool has_family(const struct vips *vips, uint8_t family)
{
	for (size_t i = 0; i < vips->count; i++)
		if (vips->list[i].family == family)
			return true;
	return false;
}

/* ---- arguments ---- */

static void add_vip(struct vips *vips, const struct addr *vip)
{
	for (size_t i = 0; i < vips->count; i++)
		if (addr_equal(&vips->list[i], vip))
			return;
	vips->list[vips->count++] = *vip;
}

static bool is_unicast(const struct addr *addr)
{
	static const struct addr zero6 = {.family = 6},
				 loopback6 = {.family = 6, .bytes = {[15] = 1}};

	if (addr->family == 4)
		return addr->bytes[0] != 0 && addr->bytes[0] != 127 && addr->bytes[0] < 224;
	return addr->bytes[0] != 0xff && !addr_equal(addr, &zero6) &&
	       !addr_equal(addr, &loopback6) &&
	       !(addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80);
}

static int read_vips(const struct call *call, struct vips *ret, struct error *err)
{
	const char *text;
	unsigned at = 0;

	ret->count = 0;
	while ((text = call_next_option(call, "--vip", &at))) {
		struct addr vip;

		if (ret->count == MAX_VIPS)
			return error_set(err, -EINVAL, "%s: --vip %s: expected at most %d VIPs",
					 call->verb->name, text, MAX_VIPS);
		if (addr_parse(text, &vip))
			return error_set(
			    err, -EINVAL,
			    "%s: --vip %s: expected an address without a prefix, such as "
			    "192.0.2.10 or 2001:db8::10",
			    call->verb->name, text);
		if (!is_unicast(&vip))
			return error_set(
			    err, -EINVAL,
			    "%s: --vip %s: expected a unicast address, not loopback or link-local",
			    call->verb->name, text);
		add_vip(ret, &vip);
	}
	return 0;
}

static int open_host(const struct call *call, struct host *ret, struct error *err)
{
	const char *interface = call_option(call, "--iface");

	if (strlen(interface) >= IF_NAMESIZE || strchr(interface, '/') || !*interface)
		return error_set(err, -EINVAL,
				 "%s: --iface \"%s\": expected the name of an interface",
				 call->verb->name, interface);
	if (geteuid() != 0)
		return error_set(
		    err, -EPERM,
		    "%s: permission denied: only root may inspect and change the network.\n"
		    "Try: sudo lbctl %s",
		    call->verb->name, call->verb->name);
	*ret = (struct host){.interface = interface, .ifindex = if_nametoindex(interface)};
	return host_record_open(HOST_RUN_DIRECTORY, interface, &ret->record, err);
}

static int no_such_interface(const struct host *host, struct error *err)
{
	struct if_nameindex *all = if_nameindex();
	char names[256] = "";

	for (struct if_nameindex *at = all; at && at->if_index; at++)
		if (strcmp(at->if_name, "lo") != 0)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
				 at->if_name);
	if (all)
		if_freenameindex(all);
	return error_set(err, -ENODEV, "%s: no such interface.\nInterfaces:%s", host->interface,
			 names[0] ? names : " lo only");
}

/* Finds what is wrong before the first change. */
static int check(const struct host *host, const struct vips *vips, bool tunnel, struct error *err)
{
	struct decap decap;
	int rc;

	if (!host->ifindex)
		return no_such_interface(host, err);
	if (strcmp(host->interface, "lo") == 0)
		return error_set(err, -EINVAL,
				 "--iface lo: expected the "
				 "interface on which packets of the load balancer arrive");
	for (size_t i = 0; i < vips->count; i++) {
		char where[IF_NAMESIZE], text[ADDR_TEXT];

		rc = address_find(&vips->list[i], where, err);
		if (rc)
			return rc;
		addr_format(&vips->list[i], text);
		if (where[0] && strcmp(where, "lo") != 0)
			return error_set(
			    err, -EADDRINUSE,
			    "VIP %s is already on %s, where the host answers ARP for it: expected "
			    "it on lo only.\nTo remove it: ip addr del %s dev %s",
			    text, where, text, where);
	}
	if (tunnel)
		return 0;
	rc = decap_find(host->ifindex, &decap, err);
	if (!rc && decap.presence == DECAP_OTHER)
		return error_set(
		    err, -EEXIST,
		    "%s: another XDP program is attached (%s, id %u).\nDetach it (ip link set dev "
		    "%s xdp off), or use the kernel's tunnels: --tunnel",
		    host->interface, decap.program_name, decap.program_id, host->interface);
	return rc;
}

/* ---- steps: each changes only what is missing ---- */

static const struct setting {
	const char *path;  /* with %s for the interface */
	const char *good;  /* accepted values, one character each */
	const char *value; /* the value to set otherwise */
	uint8_t family;    /* of the VIPs that need it */
} settings[] = {
    /* The host must not answer ARP for a VIP: clients' packets would bypass the load balancer. The
     * kernel uses the greater of `all` and the interface's value. Both are set, as other interfaces
     * may be in the same network. */
    {"net/ipv4/conf/%s/arp_ignore", "128", "1", 4},
    {"net/ipv4/conf/all/arp_ignore", "128", "1", 4},
    /* It must not send ARP requests with a VIP as the sender either. */
    {"net/ipv4/conf/%s/arp_announce", "2", "2", 4},
    {"net/ipv4/conf/all/arp_announce", "2", "2", 4},
    {"net/ipv6/conf/%s/disable_ipv6", "0", "0", 6},
    {"net/ipv6/conf/lo/disable_ipv6", "0", "0", 6},
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

static bool is_good(const struct setting *setting, const char *value)
{
	return value[0] && !value[1] && strchr(setting->good, value[0]);
}

static int set_sysctl(struct host *host, const char *path, const char *old, const char *value,
		      struct error *err)
{
	return host_change(host,
			   json_pack("{s:s, s:s, s:s, s:s}", "kind", "sysctl", "path", path, "old",
				     old, "new", value),
			   err);
}

static int set_one(struct host *host, const struct setting *setting, struct error *err)
{
	char path[128], value[SYSCTL_TEXT];
	int rc;

	snprintf(path, sizeof(path), setting->path, host->interface);
	rc = sysctl_read(path, value, err);
	if (rc == -ENOENT)
		return error_set(err, -EAFNOSUPPORT,
				 "%s: not in this kernel: IPv%d is disabled (ipv6.disable=1?)",
				 path, setting->family);
	if (rc || is_good(setting, value))
		return rc;
	return set_sysctl(host, path, value, setting->value, err);
}

/* Strict reverse-path filtering drops packets that arrive on another interface than the replies
 * leave by. The kernel uses the greater of `all` and the interface's value, and 2 (loose) is
 * greater than 1 (strict): it is enough to set the interface's. */
static int loosen_rp_filter(struct host *host, const char *interface, struct error *err)
{
	char path[128], all[SYSCTL_TEXT], own[SYSCTL_TEXT];
	int rc = sysctl_read("net/ipv4/conf/all/rp_filter", all, err);

	snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", interface);
	if (!rc)
		rc = sysctl_read(path, own, err);
	if (rc == -ENOENT)
		return error_set(err, -ENOENT, "%s: expected in the kernel, but missing", path);
	if (rc || (atoi(all) > atoi(own) ? atoi(all) : atoi(own)) != 1)
		return rc;
	return set_sysctl(host, path, own, "2", err);
}

static int apply_settings(struct host *host, const struct vips *vips, struct error *err)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		int rc =
		    has_family(vips, settings[i].family) ? set_one(host, &settings[i], err) : 0;

		if (rc)
			return rc;
	}
	return has_family(vips, 4) ? loosen_rp_filter(host, host->interface, err) : 0;
}

static int bring_up(struct host *host, const char *link, struct error *err)
{
	return link_is_up(link)
		   ? 0
		   : host_change(host, json_pack("{s:s, s:s}", "kind", "link", "name", link), err);
}

/* An address on lo has a route only while lo is up. */
static int add_addresses(struct host *host, const struct vips *vips, struct error *err)
{
	int rc = bring_up(host, "lo", err);

	for (size_t i = 0; !rc && i < vips->count; i++) {
		char where[IF_NAMESIZE], text[ADDR_TEXT];

		rc = address_find(&vips->list[i], where, err);
		if (!rc && !where[0])
			rc = host_change(host,
					 json_pack("{s:s, s:s}", "kind", "address", "address",
						   addr_format(&vips->list[i], text)),
					 err);
	}
	return rc;
}

static int add_decap(struct host *host, const struct vips *vips, const char *mode,
		     struct error *err)
{
	struct decap decap;
	int rc = decap_find(host->ifindex, &decap, err);

	if (!rc && decap.presence == DECAP_NONE) {
		rc = host_change(host, json_pack("{s:s, s:s}", "kind", "decap", "mode", mode), err);
		if (!rc)
			rc = decap_find(host->ifindex, &decap, err);
	}
	for (size_t i = 0; !rc && i < vips->count; i++) {
		char text[ADDR_TEXT];

		if (!decap_has_vip(&decap, &vips->list[i]))
			rc = host_change(host,
					 json_pack("{s:s, s:s}", "kind", "vip", "address",
						   addr_format(&vips->list[i], text)),
					 err);
	}
	return rc;
}

/* ---- the kernel's tunnels instead ---- */

static bool on_record(const struct host *host, const char *kind)
{
	const json_t *change;
	size_t i;

	json_array_foreach (host->record.changes, i, change)
		if (strcmp(json_text(change, "kind"), kind) == 0)
			return true;
	return false;
}

static int add_tunnel(struct host *host, const char *name, const char *type, struct error *err)
{
	int rc = 0;

	if (!if_nametoindex(name))
		rc = host_change(
		    host,
		    json_pack("{s:s, s:s, s:s}", "kind", "tunnel", "name", name, "type", type),
		    err);
	return rc ? rc : bring_up(host, name, err);
}

/* The load balancer may use any address of IFACE, so the outer header may have any family that
 * IFACE has an address of. */
static int add_tunnels(struct host *host, const struct vips *vips, struct error *err)
{
	bool outer4 = address_has_family(host->interface, 4),
	     outer6 = address_has_family(host->interface, 6);
	bool inner4 = has_family(vips, 4), inner6 = has_family(vips, 6);
	int rc = 0;

	if (!outer4 && !outer6)
		return error_set(err, -EADDRNOTAVAIL,
				 "%s: no address: expected one for the end of the tunnel",
				 host->interface);
	if (outer4 && inner4)
		rc = add_tunnel(host, "tunl0", "ipip", err);
	if (!rc && outer4 && inner4)
		rc = loosen_rp_filter(host, "tunl0", err);
	if (!rc && outer4 && inner6)
		rc = add_tunnel(host, "sit0", "sit", err);
	if (!rc && outer6)
		rc = add_tunnel(host, "ip6tnl0", "ip6tnl", err);
	if (!rc && outer6 && inner4 && !on_record(host, "proto"))
		rc = host_change(host, json_pack("{s:s, s:s}", "kind", "proto", "name", "ip6tnl0"),
				 err);
	if (!rc && outer6 && inner4)
		rc = loosen_rp_filter(host, "ip6tnl0", err);
	return rc;
}

/* ---- setup ---- */

static void check_mtu(const struct host *host)
{
	int mtu = link_mtu(host->interface);
	int needed = INNER_MTU +
		     (address_has_family(host->interface, 6) ? IPV6_OUTER : IPV4_OUTER) + GUE_EXTRA;
	char text[512];

	if (mtu < 0 || mtu >= needed)
		return;
	snprintf(
	    text, sizeof(text),
	    "MTU: %s has %d, which leaves %d bytes for a client's packet in an IPv4 tunnel and "
	    "%d in an IPv6 tunnel (%d less with forward: gue, 4 less with gre). The load "
	    "balancer answers larger packets with \"packet too big\", and clients adapt. An "
	    "MTU of %d on the way from the load balancer to this host avoids that.",
	    host->interface, mtu, mtu - IPV4_OUTER, mtu - IPV6_OUTER, GUE_EXTRA, needed);
	text_wrap(stdout, text, 0, 0, 80);
}

static int setup(struct host *host, const struct vips *vips, const struct call *call,
		 struct error *err)
{
	const char *mode = call_option(call, "--mode");
	int rc;

	/* The step most likely to fail comes first. A VIP is added only when the host no longer
	 * answers ARP for it. */
	if (call_option(call, "--tunnel"))
		rc = add_tunnels(host, vips, err);
	else
		rc = add_decap(host, vips, mode ? mode : "auto", err);
	if (!rc)
		rc = apply_settings(host, vips, err);
	if (!rc)
		rc = add_addresses(host, vips, err);
	return rc;
}

/* err keeps the reason of the first failure. What cannot be undone stays on record. */
static void undo_since(struct host *host, size_t before)
{
	if (json_array_size(host->record.changes) == before)
		return;
	printf("Setup failed; undoing its changes:\n");
	host_undo(host, before, NULL, NULL);
}

static int run_setup(struct call *call, struct error *err)
{
	struct vips vips;
	struct host host = {0};
	size_t before;
	int rc = read_vips(call, &vips, err);

	if (!rc)
		rc = open_host(call, &host, err);
	if (!rc)
		rc = check(&host, &vips, call_option(call, "--tunnel"), err);
	if (!rc) {
		before = json_array_size(host.record.changes);
		rc = setup(&host, &vips, call, err);
		if (rc)
			undo_since(&host, before);
	}
	if (!rc) {
		char changes[64];

		if (host.changes)
			printf("%s: set up as a backend: %s, recorded in %s\n", host.interface,
			       format_plural(host.changes, "change", changes), host.record.path);
		else
			printf("%s: nothing to change: already set up\n", host.interface);
		check_mtu(&host);
	}
	host_record_close(&host.record);
	return rc;
}

/* ---- undo ---- */

static int undo_vips(struct host *host, const struct vips *vips, struct error *err)
{
	int first = 0;

	for (size_t i = 0; i < vips->count; i++) {
		char text[ADDR_TEXT];
		int rc = host_undo(host, 0, addr_format(&vips->list[i], text), first ? NULL : err);

		first = first ? first : rc;
	}
	return first;
}

static int run_undo(struct call *call, struct error *err)
{
	struct vips vips;
	struct host host = {0};
	int rc = read_vips(call, &vips, err);

	if (!rc)
		rc = open_host(call, &host, err);
	if (!rc && json_array_size(host.record.changes) == 0) {
		if (host.ifindex)
			printf("%s: nothing to undo: no record of a setup (%s)\n", host.interface,
			       host.record.path);
		else
			rc = no_such_interface(&host, err);
	} else if (!rc) {
		rc = vips.count ? undo_vips(&host, &vips, err) : host_undo(&host, 0, NULL, err);
		if (!rc && !host.changes)
			printf("%s: nothing to undo: setup added none of these addresses\n",
			       host.interface);
		else if (!rc)
			printf("%s: %s%s\n", host.interface,
			       vips.count ? "these addresses are no longer set up"
					  : "restored to its state before setup",
			       host.left ? ", except as listed above" : "");
	}
	host_record_close(&host.record);
	return rc;
}

/* ---- status ---- */

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

		if (vips.count < MAX_VIPS && addr_parse(json_text(change, "address"), &vip) == 0)
			add_vip(&vips, &vip);
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

static json_t *status_settings(const struct host *host)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < SETTINGS; i++) {
		char path[128], value[SYSCTL_TEXT], name[128];

		snprintf(path, sizeof(path), settings[i].path, host->interface);
		if (sysctl_read(path, value, NULL) == 0)
			json_array_append_new(
			    list, json_pack("{s:s, s:s, s:i, s:b}", "name", sysctl_name(path, name),
					    "value", value, "family", settings[i].family, "good",
					    is_good(&settings[i], value)));
	}
	return list;
}

static json_t *status_collect(const struct host *host, const struct vips *given,
			      const struct decap *decap)
{
	static const char *const presence[] = {
	    [DECAP_NONE] = "none", [DECAP_OURS] = "decapsulator", [DECAP_OTHER] = "other"};

	return json_pack("{s:s, s:s, s:s, s:i, s:o?, s:o?, s:o?, s:s, s:i}", "interface",
			 host->interface, "program", presence[decap->presence], "mode",
			 decap->presence == DECAP_NONE ? ""
			 : decap->native               ? "native"
						       : "generic",
			 "mtu", link_mtu(host->interface), "vips", status_vips(host, given, decap),
			 "settings", status_settings(host), "counters", decap_counters(decap),
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

static void print_status(const json_t *status)
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

static int run_status(struct call *call, struct error *err)
{
	struct vips vips;
	struct host host = {0};
	struct decap decap = {0};
	json_t *status;
	int rc = read_vips(call, &vips, err);

	if (!rc)
		rc = open_host(call, &host, err);
	if (!rc && !host.ifindex)
		rc = no_such_interface(&host, err);
	if (!rc)
		rc = decap_find(host.ifindex, &decap, err);
	if (!rc) {
		status = status_collect(&host, &vips, &decap);
		if (!status)
			rc = error_set(err, -ENOMEM, "out of memory");
		else if (call->json)
			rc = show_json(status, err);
		else
			print_status(status);
		json_decref(status);
	}
	host_record_close(&host.record);
	return rc;
}

/* ---- the table ---- */

#define IFACE_OPTION                                                                             \
	{                                                                                        \
		.name = "--iface", .value = "IFACE", .words = WORDS_INTERFACE, .required = true, \
		.help = "the interface on which packets of the load balancer arrive"             \
	}

REGISTER(verb, backend_host_setup) = {
    .name = "backend-host setup",
    .group = VERB_BACKEND_HOST,
    .summary = "configure this host as a backend",
    .details =
	"Run it on the backend, as root. It attaches the decapsulator, which decapsulates packets "
	"from the load balancer (IP in IP, GRE, or GUE on port 6080, IPv4 and IPv6 in any "
	"combination) for the given VIPs only; adds the VIPs to lo; stops the host from answering "
	"ARP for them; changes a strict rp_filter to loose; and checks the MTU. Each change is "
	"printed with the old and the new value, and recorded under /run/lbd so that undo restores "
	"exactly that. Running it again changes nothing; with more VIPs it adds those. If a step "
	"fails, the changes of that run are undone.\n\n"
	"The settings do not survive a reboot: run it at boot, for example from a systemd unit.",
    .options =
	{IFACE_OPTION,
	 {.name = "--vip",
	  .value = "ADDRESS",
	  .required = true,
	  .many = true,
	  .help = "a VIP that this host serves; may be given more than once"},
	 {.name = "--mode",
	  .choice = "auto|native|generic",
	  .help = "XDP mode of the decapsulator; auto (default): native if the driver supports it, "
		  "else generic"},
	 {.name = "--tunnel",
	  .help = "use the kernel's own tunnels (ipip, sit, ip6tnl) instead of the "
		  "decapsulator; only for forward: ipip"}},
    .examples = {{"backend-host setup --iface eth0 --vip 192.0.2.10 --vip 2001:db8::10",
		  "serve two VIPs"}},
    .run = run_setup,
};

REGISTER(verb, backend_host_undo) = {
    .name = "backend-host undo",
    .group = VERB_BACKEND_HOST,
    .summary = "undo the changes of backend-host setup",
    .details =
	"Restores the old values, last change first. Values that have been changed since are "
	"left alone and listed.",
    .options = {IFACE_OPTION,
		{.name = "--vip",
		 .value = "ADDRESS",
		 .many = true,
		 .help = "undo only this address and keep the rest"}},
    .examples = {{"backend-host undo --iface eth0", "restore the state before setup"}},
    .run = run_undo,
};

REGISTER(verb, backend_host_status) = {
    .name = "backend-host status",
    .group = VERB_BACKEND_HOST,
    .flags = VERB_JSON,
    .summary = "show the decapsulator of this host, its counters, VIPs and settings",
    .options =
	{IFACE_OPTION,
	 {.name = "--vip", .value = "ADDRESS", .many = true, .help = "show this address too"}},
    .examples = {{"backend-host status --iface eth0", NULL}},
    .run = run_status,
};
