/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl backend-host setup, undo, status: configures this host as a backend (direct server return),
 * and undoes that. Works on the kernel, without lbd. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/show.h"
#include "lbctl/core/tool.h"
#include "lbctl/core/verb.h"
#include "lbctl/backend_host/accept.h"
#include "lbctl/backend_host/change.h"
#include "lbctl/backend_host/decap.h"
#include "lbctl/backend_host/net.h"
#include "lbctl/backend_host/setup.h"
#include "lbctl/backend_host/share.h"
#include "lbctl/backend_host/status.h"
#include "lbctl/backend_host/vips.h"

/* ---- arguments ---- */

enum opening { OPEN_TO_LOOK, OPEN_TO_CHANGE };

static int open_host(const struct call *call, enum opening what, struct host *ret,
		     struct error *err)
{
	const char *interface = call_option(call, "--iface");
	int rc;

	if (strlen(interface) >= IF_NAMESIZE || strchr(interface, '/') || !*interface)
		return error_set(err, -EINVAL,
				 "%s: --iface \"%s\": expected the name of an interface",
				 call->verb->name, interface);
	if (geteuid() != 0)
		return error_set(
		    err, -EPERM,
		    "%s: permission denied: only root may inspect and change the network.\n"
		    "Try: sudo " TOOL " %s",
		    call->verb->name, call->verb->name);
	*ret =
	    (struct host){.interface = interface, .ifindex = if_nametoindex(interface), .lock = -1};
	if (what == OPEN_TO_CHANGE) {
		rc = host_share_begin(ret, err);
		if (rc)
			return rc;
	}
	rc = host_record_open(HOST_RUN_DIRECTORY, HOST_FORMER_DIRECTORY, interface, &ret->record,
			      err);
	return rc || what == OPEN_TO_LOOK ? rc : host_share_read(ret, err);
}

static void close_host(struct host *host)
{
	host_share_end(host);
	host_record_close(&host->record);
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

/* ---- setup ---- */

/* err keeps the reason of the first failure. What cannot be undone stays on record. */
static void undo_since(struct host *host, size_t before)
{
	if (json_array_size(host->record.changes) == before)
		return;
	printf("Setup failed; undoing its changes:\n");
	host_undo(host, before, NULL, NULL);
}

static void report_setup(const struct host *host)
{
	char changes[64];

	if (host->changes)
		printf("%s: set up as a backend: %s, recorded in %s\n", host->interface,
		       format_plural(host->changes, "change", changes), host->record.path);
	else
		printf("%s: nothing to change: already set up\n", host->interface);
	host_report_mtu(host);
}

static int run_setup(struct call *call, struct error *err)
{
	const char *mode = call_option(call, "--mode");
	struct host_options options = {.tunnel = call_option(call, "--tunnel"),
				       .mode = mode ? mode : "auto"};
	struct vips vips;
	struct host host = {.lock = -1};
	json_t *accept = NULL;
	size_t before;
	int rc = vips_read(call, &vips, err);

	if (!rc)
		rc = accept_read(call, &accept, err);
	options.accept = accept;
	if (!rc)
		rc = open_host(call, OPEN_TO_CHANGE, &host, err);
	if (!rc)
		rc = host.ifindex ? host_check(&host, &vips, &options, err)
				  : no_such_interface(&host, err);
	if (!rc) {
		before = json_array_size(host.record.changes);
		rc = host_setup(&host, &vips, &options, err);
		if (rc)
			undo_since(&host, before);
	}
	if (!rc)
		report_setup(&host);
	json_decref(accept);
	close_host(&host);
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
	struct host host = {.lock = -1};
	int rc = vips_read(call, &vips, err);

	if (!rc)
		rc = open_host(call, OPEN_TO_CHANGE, &host, err);
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
	close_host(&host);
	return rc;
}

/* ---- status ---- */

/* The tunnels that setup --tunnel uses in place of the decapsulator. */
static bool has_tunnel(void)
{
	return link_is_up("tunl0") || link_is_up("sit0") || link_is_up("ip6tnl0");
}

static int run_status(struct call *call, struct error *err)
{
	struct vips vips;
	struct host host = {.lock = -1};
	struct decap decap = {0};
	json_t *status;
	int rc = vips_read(call, &vips, err);

	if (!rc)
		rc = open_host(call, OPEN_TO_LOOK, &host, err);
	if (!rc && !host.ifindex)
		rc = no_such_interface(&host, err);
	if (!rc)
		rc = decap_find(host.ifindex, &decap, err);
	if (!rc) {
		status = host_status(&host, &vips, &decap);
		if (!status)
			rc = error_set(err, -ENOMEM, "out of memory");
		else if (call->json)
			rc = show_json(status, err);
		else
			host_status_print(status);
		json_decref(status);
	}
	if (!rc && decap.presence != DECAP_OURS && !has_tunnel())
		rc = -ENODEV; /* what was printed says why */
	close_host(&host);
	return rc;
}

/* ---- the table ---- */

#define IFACE_OPTION                                                                             \
	{                                                                                        \
		.name = "--iface", .value = "IFACE", .words = WORDS_INTERFACE, .required = true, \
		.help = "the interface on which packets of the load balancer arrive"             \
	}

REGISTER(verb, backend_host_setup) = {
    .name = TOOL_HOST "setup",
    .group = VERB_BACKEND_HOST,
    .summary = "configure this host as a backend",
    .details =
	"Run it on the backend, as root. It attaches the decapsulator, which decapsulates packets "
	"from the load balancer (IP in IP, GRE, or GUE, IPv4 and IPv6 in any combination) for the "
	"given VIPs only; adds the VIPs to lo; stops the host from answering ARP for them; changes "
	"a strict rp_filter to loose; and checks the MTU. Each change is printed with the old and "
	"the new value, and recorded under /run/lbd-backend so that undo restores exactly that. If a step "
	"fails, the changes of that run are undone.\n\n"
	"Running it again adds VIPs that are new, and replaces the values of --from, --to, --port "
	"and --gue-port that are given, without a gap; what is not given stays. It also takes over "
	"the addresses that the host has by then: run it again when they change, for example from "
	"a hook of the DHCP client; status shows the difference.\n\n"
	"Tunnel packets from another source, to an address that is not the host's, or to another "
	"port are not opened: they pass to the kernel unchanged, and status counts them by "
	"reason.\n\n"
	"The settings do not survive a reboot: the unit lbd-backend@IFACE.service of package "
	"lbd-backend sets them again at boot, when the host has its addresses.",
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
		  "decapsulator; only for forward: ipip; they accept packets from any sender"},
	 {.name = "--from",
	  .value = "PREFIX",
	  .many = true,
	  .help = "outer source addresses that are accepted: encap.source-v4 and source-v6 of lbd "
		  "(default: 172.16.0.0/16 and 100::/64)"},
	 {.name = "--to",
	  .value = "ADDRESS",
	  .many = true,
	  .help = "an outer destination that is accepted beside the addresses that the host has "
		  "now; none: no other (default)"},
	 {.name = "--port",
	  .value = "PORT/PROTOCOL",
	  .many = true,
	  .help = "a port of the VIPs that is served, such as 80/tcp; any: every port (default)"},
	 {.name = "--gue-port",
	  .value = "PORT",
	  .help = "UDP port of GUE: encap.gue-port of lbd (default: 6080)"}},
    .examples = {{TOOL_HOST "setup --iface eth0 --vip 192.0.2.10 --vip 2001:db8::10",
		  "serve two VIPs"},
		 {TOOL_HOST "setup --iface eth0 --vip 192.0.2.10 --port 80/tcp",
		  "serve one port of a VIP and no other"}},
    .run = run_setup,
};

REGISTER(verb, backend_host_undo) = {
    .name = TOOL_HOST "undo",
    .group = VERB_BACKEND_HOST,
    .summary = "undo the changes of " TOOL_HOST "setup",
    .details =
	"Restores the old values, last change first. Values that have been changed since are "
	"left alone and listed, and so is what the setup of another interface needs too: a VIP on "
	"lo goes with the last of them.",
    .options = {IFACE_OPTION,
		{.name = "--vip",
		 .value = "ADDRESS",
		 .many = true,
		 .help = "undo only this address and keep the rest"}},
    .examples = {{TOOL_HOST "undo --iface eth0", "restore the state before setup"}},
    .run = run_undo,
};

REGISTER(verb, backend_host_status) = {
    .name = TOOL_HOST "status",
    .group = VERB_BACKEND_HOST,
    .flags = VERB_JSON,
    .summary = "show the decapsulator of this host, what it accepts, its counters and settings",
    .details = "The exit status is 1 if the host is no backend on this interface: without the "
	       "decapsulator, and without a tunnel of the kernel (setup --tunnel) that is up.",
    .options =
	{IFACE_OPTION,
	 {.name = "--vip", .value = "ADDRESS", .many = true, .help = "show this address too"}},
    .examples = {{TOOL_HOST "status --iface eth0", NULL}},
    .run = run_status,
};
