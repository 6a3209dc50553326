/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend-host setup, undo, status: makes the host it runs on a backend (direct server
 * return), and takes that back. Talks to the kernel, not to lbd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lbctl/core/client.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/host/change.h"
#include "lbctl/host/decap.h"
#include "lbctl/host/net.h"

#define MAX_VIPS   256
#define INNER_MTU  1500 /* what clients send at most, mostly */
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

/* ---- what was asked for ---- */

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
		struct addr *vip = &ret->list[ret->count];
		bool known = false;

		if (ret->count == MAX_VIPS)
			return error_set(err, -EINVAL, "%s: --vip: expected at most %d",
					 call->verb->name, MAX_VIPS);
		if (addr_parse(text, vip))
			return error_set(
			    err, -EINVAL,
			    "%s: --vip %s: expected an address without a prefix, such as 192.0.2.10 or 2001:db8::10",
			    call->verb->name, text);
		if (!is_unicast(vip))
			return error_set(err, -EINVAL,
					 "%s: --vip %s: expected a unicast address of some network",
					 call->verb->name, text);
		for (size_t i = 0; i < ret->count; i++)
			known |= addr_equal(&ret->list[i], vip);
		ret->count += !known;
	}
	return 0;
}

static int open_host(const struct call *call, struct host *ret, struct error *err)
{
	const char *interface = call_option(call, "--iface");

	if (strlen(interface) >= IF_NAMESIZE || strchr(interface, '/') || !*interface)
		return error_set(err, -EINVAL, "%s: --iface %s: expected an interface's name",
				 call->verb->name, interface);
	if (geteuid() != 0)
		return error_set(
		    err, -EPERM,
		    "%s: only root may look into and change the network.\nTry: sudo lbctl %s",
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
	return error_set(err, -ENODEV, "%s: no such interface.\nThere are:%s", host->interface,
			 names[0] ? names : " none but lo");
}

/* Everything that can be wrong is found before the first change. */
static int check(const struct host *host, const struct vips *vips, bool tunnel, struct error *err)
{
	struct decap decap;
	int rc;

	if (!host->ifindex)
		return no_such_interface(host, err);
	if (strcmp(host->interface, "lo") == 0)
		return error_set(
		    err, -EINVAL,
		    "--iface lo: expected the interface that packets of the load balancer come in on");
	for (size_t i = 0; i < vips->count; i++) {
		char where[IF_NAMESIZE], text[ADDR_TEXT];

		rc = address_find(&vips->list[i], where, err);
		if (rc)
			return rc;
		addr_format(&vips->list[i], text);
		if (where[0] && strcmp(where, "lo") != 0)
			return error_set(
			    err, -EADDRINUSE,
			    "VIP %s is already on %s, where the host answers ARP for it; a backend holds "
			    "it on lo.\nIf it is a leftover: ip addr del %s dev %s",
			    text, where, text, where);
	}
	if (tunnel)
		return 0;
	rc = decap_find(host->ifindex, &decap, err);
	if (!rc && decap.presence == DECAP_OTHER)
		return error_set(
		    err, -EEXIST,
		    "%s: another XDP program is attached (%s, id %u).\nTake it off (ip link set "
		    "dev %s xdp off), or use the kernel's tunnels: --tunnel",
		    host->interface, decap.program_name, decap.program_id, host->interface);
	return rc;
}

/* ---- steps: each makes only what is missing ---- */

static const struct setting {
	const char *path;  /* with %s for the interface */
	const char *good;  /* values that do, each one character */
	const char *value; /* what it is set to otherwise */
	uint8_t family;    /* of VIPs that need it */
} settings[] = {
    /* The host must not answer ARP for a VIP: clients' packets would bypass the load balancer. The
     * kernel takes the greater of `all` and the interface's, and other interfaces may be in the
     * same network: both are set. */
    {"net/ipv4/conf/%s/arp_ignore", "128", "1", 4},
    {"net/ipv4/conf/all/arp_ignore", "128", "1", 4},
    /* Nor ask with a VIP as the sender. */
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
				 "the kernel has no %s: IPv%d is switched off (ipv6.disable=1?)",
				 path, setting->family);
	if (rc || is_good(setting, value))
		return rc;
	return set_sysctl(host, path, value, setting->value, err);
}

/* Strict reverse-path filtering drops what comes in on another way than replies leave. The kernel
 * takes the greater of `all` and the interface's, and 2 (loose) is greater than 1 (strict): to set
 * the interface's is enough. */
static int loosen_rp_filter(struct host *host, const char *interface, struct error *err)
{
	char path[128], all[SYSCTL_TEXT], own[SYSCTL_TEXT];
	int rc = sysctl_read("net/ipv4/conf/all/rp_filter", all, err);

	snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", interface);
	if (!rc)
		rc = sysctl_read(path, own, err);
	if (rc == -ENOENT)
		return error_set(err, -ENOENT, "%s: not there", path);
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

/* Routes to an address of lo exist only while lo is up. */
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

/* The outer header has the family of the address that the load balancer knows this host by: any
 * that IFACE has. */
static int add_tunnels(struct host *host, const struct vips *vips, struct error *err)
{
	bool outer4 = address_has_family(host->interface, 4),
	     outer6 = address_has_family(host->interface, 6);
	bool inner4 = has_family(vips, 4), inner6 = has_family(vips, 6);
	int rc = 0;

	if (!outer4 && !outer6)
		return error_set(err, -EADDRNOTAVAIL,
				 "%s: has no address that a tunnel could end at", host->interface);
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
	snprintf(text, sizeof(text),
		 "MTU: %s has %d: room for a client's packet of %d bytes in an IPv4 tunnel, of "
		 "%d in an IPv6 one (%d less with forward: gue, 4 with gre). To longer ones "
		 "the load balancer answers \"packet too big\", and clients adapt; an MTU of "
		 "%d from there to here would spare them that.",
		 host->interface, mtu, mtu - IPV4_OUTER, mtu - IPV6_OUTER, GUE_EXTRA, needed);
	text_wrap(stdout, text, 0, 0, 80);
}

static int setup(struct host *host, const struct vips *vips, const struct call *call,
		 struct error *err)
{
	const char *mode = call_option(call, "--mode");
	int rc;

	/* What is most likely to fail comes first; the host holds a VIP only once it keeps quiet
	 * about it. */
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

/* err keeps the reason of the failure: that the way back fails too would be the smaller news, and
 * is on record. */
static void take_back(struct host *host, size_t before)
{
	if (json_array_size(host->record.changes) == before)
		return;
	printf("That failed; taking back what was changed:\n");
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
			take_back(&host, before);
	}
	if (!rc) {
		char changes[64];

		if (host.changes)
			printf("%s: is a backend's interface now: %s, recorded in %s\n",
			       host.interface, format_plural(host.changes, "change", changes),
			       host.record.path);
		else
			printf("%s: nothing to change: all is set up already\n", host.interface);
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
			printf("%s: nothing to undo: there is no record of a setup (%s)\n",
			       host.interface, host.record.path);
		else
			rc = no_such_interface(&host, err);
	} else if (!rc) {
		rc = vips.count ? undo_vips(&host, &vips, err) : host_undo(&host, 0, NULL, err);
		if (!rc && !host.changes)
			printf("%s: nothing to undo: setup added none of these addresses\n",
			       host.interface);
		else if (!rc)
			printf("%s: %s%s\n", host.interface,
			       vips.count ? "these addresses are no longer served here"
					  : "is as it was before setup",
			       host.left ? ", but for what is said above" : "");
	}
	host_record_close(&host.record);
	return rc;
}

/* ---- status ---- */

/* The VIPs that setup knows of: those on record, and those asked about. */
static json_t *status_vips(const struct host *host, const struct vips *asked,
			   const struct decap *decap)
{
	json_t *list = json_array();
	const json_t *change;
	struct vips vips = *asked;
	size_t i;

	json_array_foreach (host->record.changes, i, change) {
		bool known = false;

		if (vips.count == MAX_VIPS ||
		    addr_parse(json_text(change, "address"), &vips.list[vips.count]))
			continue;
		for (size_t v = 0; v < vips.count; v++)
			known |= addr_equal(&vips.list[v], &vips.list[vips.count]);
		vips.count += !known;
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

static json_t *status_collect(const struct host *host, const struct vips *asked,
			      const struct decap *decap)
{
	static const char *const presence[] = {
	    [DECAP_NONE] = "none", [DECAP_OURS] = "decapsulator", [DECAP_OTHER] = "other"};

	return json_pack("{s:s, s:s, s:s, s:i, s:o?, s:o?, s:o?, s:s, s:i}", "interface",
			 host->interface, "program", presence[decap->presence], "mode",
			 decap->presence == DECAP_NONE ? ""
			 : decap->native               ? "native"
						       : "generic",
			 "mtu", link_mtu(host->interface), "vips", status_vips(host, asked, decap),
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
		printf("Decapsulator   on %s, %s mode\n", json_text(status, "interface"),
		       json_text(status, "mode"));
	else
		printf("Decapsulator   not on %s%s\n", json_text(status, "interface"),
		       strcmp(program, "other") == 0 ? " (another XDP program is)" : "");
	print_vips(status);
	json_array_foreach (json_object_get(status, "settings"), i, setting) {
		printf("%-15s%s = %s%s\n", i ? "" : "Settings", json_text(setting, "name"),
		       json_text(setting, "value"),
		       json_flag(setting, "good") ? "" : "  (not as a backend needs it)");
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
		    "To set what is not as a backend needs it: lbctl backend-host setup --iface %s --vip ADDRESS\n",
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
		.help = "the interface that packets of the load balancer come in on"             \
	}

REGISTER(verb, backend_host_setup) = {
    .name = "backend-host setup",
    .group = VERB_BACKEND_HOST,
    .summary = "make this host a backend",
    .details =
	"Run it on the backend, as root. Attaches the decapsulator, which unwraps what the load balancer sends "
	"(IP in IP, GRE, or GUE on port 6080, in every pairing of IPv4 and IPv6) for the VIPs alone; puts the VIPs on "
	"lo; keeps the host from answering ARP for them; loosens a strict rp_filter; and looks at the MTU. Each change "
	"is shown with the old and the new value, and recorded under /run/lbd so that undo restores just that. Running "
	"it "
	"again changes nothing; with more VIPs it adds those. When a step fails, the run takes back what it did.\n\n"
	"Settings do not outlive a reboot: run it from a systemd unit or the like.",
    .options =
	{IFACE_OPTION,
	 {.name = "--vip",
	  .value = "ADDRESS",
	  .required = true,
	  .many = true,
	  .help = "a VIP that this host serves; once for each"},
	 {.name = "--mode",
	  .choice = "auto|native|generic",
	  .help = "of the decapsulator: in the driver, or on top of it; auto takes what there is"},
	 {.name = "--tunnel",
	  .help = "use the kernel's own tunnels (ipip, sit, ip6tnl) instead of the "
		  "decapsulator; for forward: ipip alone"}},
    .examples = {{"backend-host setup --iface eth0 --vip 192.0.2.10 --vip 2001:db8::10",
		  "serve two VIPs"}},
    .run = run_setup,
};

REGISTER(verb, backend_host_undo) = {
    .name = "backend-host undo",
    .group = VERB_BACKEND_HOST,
    .summary = "take back what backend-host setup changed here",
    .details =
	"Restores the old values, last change first. What somebody else changed since is left as it is, and said.",
    .options = {IFACE_OPTION,
		{.name = "--vip",
		 .value = "ADDRESS",
		 .many = true,
		 .help = "take back this address alone, and keep the rest"}},
    .examples = {{"backend-host undo --iface eth0", "the host is as it was"}},
    .run = run_undo,
};

REGISTER(verb, backend_host_status) = {
    .name = "backend-host status",
    .group = VERB_BACKEND_HOST,
    .flags = VERB_JSON,
    .summary = "show the decapsulator here, its counters, the VIPs and settings",
    .options =
	{IFACE_OPTION,
	 {.name = "--vip", .value = "ADDRESS", .many = true, .help = "look at this address too"}},
    .examples = {{"backend-host status --iface eth0", NULL}},
    .run = run_status,
};
