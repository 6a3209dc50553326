/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Configures a host as a backend, in steps that change only what is missing. */
#include "setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/tool.h"
#include "accept.h"
#include "decap.h"
#include "net.h"
#include "settings.h"
#include "share.h"

#define INNER_MTU  1500 /* the usual maximum of clients */
#define IPV4_OUTER 20
#define IPV6_OUTER 40
#define GUE_EXTRA  12 /* UDP and GUE headers */

/* The decapsulator can be attached, or is, in this mode. */
static int check_decap(const struct host *host, const char *mode, struct error *err)
{
	struct decap decap;
	int rc = decap_find(host->ifindex, &decap, err);

	if (!rc && decap.presence == DECAP_OTHER)
		return error_set(
		    err, -EEXIST,
		    "%s: another XDP program is attached (%s, id %u).\nDetach it (ip link set dev "
		    "%s xdp off), or use the kernel's tunnels: --tunnel",
		    host->interface, decap.program_name, decap.program_id, host->interface);
	if (!rc && decap.presence == DECAP_OURS && strcmp(mode, "auto") != 0 &&
	    strcmp(mode, decap.native ? "native" : "generic") != 0)
		return error_set(
		    err, -EEXIST,
		    "%s: --mode %s: the decapsulator is attached in %s mode.\nTo change "
		    "the mode: " TOOL " " TOOL_HOST "undo --iface %s, then setup",
		    host->interface, mode, decap.native ? "native" : "generic", host->interface);
	return rc;
}

int host_check(const struct host *host, const struct vips *vips, const struct host_options *options,
	       struct error *err)
{
	int rc;

	if (strcmp(host->interface, "lo") == 0)
		return error_set(err, -EINVAL,
				 "--iface lo: expected the interface on which packets of the load "
				 "balancer arrive");
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
	return options->tunnel ? 0 : check_decap(host, options->mode, err);
}

static int bring_up(struct host *host, const char *link, struct error *err)
{
	return link_is_up(link)
		   ? host_share(host, "link", "name", link, err)
		   : host_change(host, json_pack("{s:s, s:s}", "kind", "link", "name", link), err);
}

/* An address on lo has a route only while lo is up. */
static int add_addresses(struct host *host, const struct vips *vips, struct error *err)
{
	int rc = bring_up(host, "lo", err);

	for (size_t i = 0; !rc && i < vips->count; i++) {
		char where[IF_NAMESIZE], text[ADDR_TEXT];

		rc = address_find(&vips->list[i], where, err);
		addr_format(&vips->list[i], text);
		if (!rc && where[0])
			rc = host_share(host, "address", "address", text, err);
		else if (!rc)
			rc = host_change(
			    host, json_pack("{s:s, s:s}", "kind", "address", "address", text), err);
	}
	return rc;
}

/* Attaches the decapsulator, or makes it accept what is wanted. */
static int update_decap(struct host *host, const struct vips *vips,
			const struct host_options *options, const struct decap *decap,
			struct error *err)
{
	json_t *current = decap_accept(decap), *wanted = NULL;
	int rc = accept_wanted(host, vips, decap, options->accept, current, &wanted, err);

	if (!rc && decap->presence == DECAP_NONE)
		rc = host_change(host,
				 json_pack("{s:s, s:s, s:O}", "kind", "decap", "mode",
					   options->mode, "accept", wanted),
				 err);
	else if (!rc && !accept_is_current(host, wanted, current))
		rc = host_change(
		    host,
		    json_pack("{s:s, s:O?, s:O}", "kind", "accept", "old", current, "new", wanted),
		    err);
	json_decref(current);
	json_decref(wanted);
	return rc;
}

static int add_decap(struct host *host, const struct vips *vips, const struct host_options *options,
		     struct error *err)
{
	struct decap decap;
	int rc = decap_find(host->ifindex, &decap, err);

	if (!rc)
		rc = update_decap(host, vips, options, &decap, err);
	if (!rc)
		rc = decap_find(host->ifindex, &decap, err);
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
	int rc;

	if (if_nametoindex(name))
		rc = host_share(host, "tunnel", "name", name, err);
	else
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
	bool inner4 = vips_have_family(vips, 4), inner6 = vips_have_family(vips, 6);
	int rc = 0;

	if (!outer4 && !outer6)
		return error_set(err, -EADDRNOTAVAIL,
				 "%s: no address: expected one for the end of the tunnel",
				 host->interface);
	if (outer4 && inner4)
		rc = add_tunnel(host, "tunl0", "ipip", err);
	if (!rc && outer4 && inner4)
		rc = settings_loosen_rp_filter(host, "tunl0", err);
	if (!rc && outer4 && inner6)
		rc = add_tunnel(host, "sit0", "sit", err);
	if (!rc && outer6)
		rc = add_tunnel(host, "ip6tnl0", "ip6tnl", err);
	if (!rc && outer6 && inner4)
		rc = host_share(host, "proto", "name", "ip6tnl0", err);
	if (!rc && outer6 && inner4 && !on_record(host, "proto"))
		rc = host_change(host, json_pack("{s:s, s:s}", "kind", "proto", "name", "ip6tnl0"),
				 err);
	if (!rc && outer6 && inner4)
		rc = settings_loosen_rp_filter(host, "ip6tnl0", err);
	return rc;
}

int host_setup(struct host *host, const struct vips *vips, const struct host_options *options,
	       struct error *err)
{
	int rc;

	/* The step most likely to fail comes first. A VIP is added only when the host no longer
	 * answers ARP for it. */
	if (options->tunnel)
		rc = add_tunnels(host, vips, err);
	else
		rc = add_decap(host, vips, options, err);
	if (!rc)
		rc = settings_apply(host, vips, err);
	if (!rc)
		rc = add_addresses(host, vips, err);
	if (!rc)
		rc = accept_fold(host, err);
	return rc;
}

void host_report_mtu(const struct host *host)
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
