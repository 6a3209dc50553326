/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes to the host of a backend that can be undone. Each kind has functions to make, unmake and
 * describe a change. */
#include "change.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "accept.h"
#include "decap.h"
#include "net.h"
#include "share.h"
#include "lbctl/core/json.h"
#include "lbctl/core/tool.h"

struct kind {
	const char *name;
	int (*make)(struct host *host, const json_t *change, struct error *err);
	/* -ESTALE with err set: someone else has changed it since, so it is left alone. */
	int (*unmake)(struct host *host, const json_t *change, struct error *err);
	void (*describe)(const struct host *host, const json_t *change, bool made, char *text,
			 size_t size);
};

/* ---- sysctl ---- */

static int make_sysctl(struct host *host, const json_t *change, struct error *err)
{
	return sysctl_write(json_text(change, "path"), json_text(change, "new"), err);
}

static int unmake_sysctl(struct host *host, const json_t *change, struct error *err)
{
	const char *path = json_text(change, "path");
	char value[SYSCTL_TEXT], name[128];
	int rc = sysctl_read(path, value, err);

	if (rc == -ENOENT)
		return error_set(err, -ESTALE, "%s: no longer exists", sysctl_name(path, name));
	if (rc)
		return rc;
	if (strcmp(value, json_text(change, "new")) != 0)
		return error_set(err, -ESTALE,
				 "%s: left at %s: setup had set it to %s, and it was changed since",
				 sysctl_name(path, name), value, json_text(change, "new"));
	return sysctl_write(path, json_text(change, "old"), err);
}

static void describe_sysctl(const struct host *host, const json_t *change, bool made, char *text,
			    size_t size)
{
	char name[128];

	snprintf(text, size, "%s: %s -> %s", sysctl_name(json_text(change, "path"), name),
		 json_text(change, made ? "old" : "new"), json_text(change, made ? "new" : "old"));
}

/* ---- link ---- */

static int make_link(struct host *host, const json_t *change, struct error *err)
{
	return link_set_up(json_text(change, "name"), true, err);
}

static int unmake_link(struct host *host, const json_t *change, struct error *err)
{
	int rc = link_set_up(json_text(change, "name"), false, err);

	return rc == -ENODEV ? -ESTALE : rc;
}

static void describe_link(const struct host *host, const json_t *change, bool made, char *text,
			  size_t size)
{
	snprintf(text, size, "%s: %s", json_text(change, "name"),
		 made ? "down -> up" : "up -> down");
}

/* ---- address ---- */

static int read_address(const struct host *host, const json_t *change, struct addr *ret,
			struct error *err)
{
	const char *text = json_text(change, "address");

	if (addr_parse(text, ret))
		return error_set(err, -EPROTO,
				 "%s: address \"%s\": expected an IPv4 or IPv6 address",
				 host->record.path, text);
	return 0;
}

static int set_address(const struct host *host, const json_t *change, bool present,
		       struct error *err)
{
	struct addr addr;
	int rc = read_address(host, change, &addr, err);

	return rc ? rc : address_set(&addr, present, err);
}

static int make_address(struct host *host, const json_t *change, struct error *err)
{
	return set_address(host, change, true, err);
}

static int unmake_address(struct host *host, const json_t *change, struct error *err)
{
	return set_address(host, change, false, err);
}

static void describe_address(const struct host *host, const json_t *change, bool made, char *text,
			     size_t size)
{
	const char *address = json_text(change, "address");

	snprintf(text, size, "lo: %s/%d %s", address, strchr(address, ':') ? 128 : 32,
		 made ? "added" : "removed");
}

/* ---- decapsulator ---- */

static int make_decap(struct host *host, const json_t *change, struct error *err)
{
	const char *mode = json_text(change, "mode");
	bool native;
	int rc = decap_attach(host->ifindex, mode, json_object_get(change, "accept"), &native, err);

	if (!rc && !native && strcmp(mode, "auto") == 0)
		fprintf(stderr,
			TOOL ": warning: %s: the driver has no native XDP: the "
			     "decapsulator runs in generic mode, which is slower\n",
			host->interface);
	return rc;
}

static int unmake_decap(struct host *host, const json_t *change, struct error *err)
{
	struct decap decap;
	int rc = host->ifindex ? decap_find(host->ifindex, &decap, err) : -ENODEV;

	if (rc == -ENODEV)
		return error_set(err, -ESTALE,
				 "%s: the interface no longer exists, nor does its decapsulator",
				 host->interface);
	if (!rc && decap.presence != DECAP_OURS)
		return error_set(err, -ESTALE, "%s: the decapsulator is not attached any more",
				 host->interface);
	return rc ? rc : decap_detach(host->ifindex, &decap, err);
}

static void describe_decap(const struct host *host, const json_t *change, bool made, char *text,
			   size_t size)
{
	struct decap decap = {0};

	if (made && decap_find(host->ifindex, &decap, NULL) == 0) {
		snprintf(text, size,
			 "%s: decapsulator attached, %s mode: accepts tunnels: ", host->interface,
			 decap.native ? "native" : "generic");
		accept_describe(json_object_get(change, "accept"), text + strlen(text),
				size - strlen(text));
	} else
		snprintf(text, size, "%s: decapsulator %s", host->interface,
			 made ? "attached" : "detached");
}

/* -ESTALE with err set if it is no longer there. */
static int find_attached(const struct host *host, struct decap *ret, struct error *err)
{
	int rc = host->ifindex ? decap_find(host->ifindex, ret, err) : -ENODEV;

	if (rc == -ENODEV || (!rc && ret->presence != DECAP_OURS))
		return error_set(err, -ESTALE, "%s: the decapsulator is not attached any more",
				 host->interface);
	return rc;
}

static int set_accept(struct host *host, const json_t *accept, struct error *err)
{
	struct decap decap;
	int rc = find_attached(host, &decap, err);

	return rc ? rc : decap_replace(host->ifindex, &decap, accept, err);
}

static int make_accept(struct host *host, const json_t *change, struct error *err)
{
	return set_accept(host, json_object_get(change, "new"), err);
}

static int unmake_accept(struct host *host, const json_t *change, struct error *err)
{
	const json_t *old = json_object_get(change, "old");

	if (!json_is_object(old))
		return error_set(err, -ESTALE,
				 "%s: decapsulator: what it accepted before setup is not known: "
				 "stays as it is",
				 host->interface);
	return set_accept(host, old, err);
}

static void describe_accept(const struct host *host, const json_t *change, bool made, char *text,
			    size_t size)
{
	snprintf(text, size, "%s: decapsulator: ", host->interface);
	accept_describe_change(json_object_get(change, made ? "old" : "new"),
			       json_object_get(change, made ? "new" : "old"), text + strlen(text),
			       size - strlen(text));
}

static int set_vip(struct host *host, const json_t *change, bool present, struct error *err)
{
	struct decap decap;
	struct addr vip;
	int rc = read_address(host, change, &vip, err);

	if (!rc)
		rc = find_attached(host, &decap, err);
	return rc ? rc : decap_set_vip(&decap, &vip, present, err);
}

static int make_vip(struct host *host, const json_t *change, struct error *err)
{
	return set_vip(host, change, true, err);
}

static int unmake_vip(struct host *host, const json_t *change, struct error *err)
{
	return set_vip(host, change, false, err);
}

static void describe_vip(const struct host *host, const json_t *change, bool made, char *text,
			 size_t size)
{
	snprintf(text, size, "%s: decapsulator %s packets for %s", host->interface,
		 made ? "unwraps" : "no longer unwraps", json_text(change, "address"));
}

/* ---- kernel tunnels ---- */

/* The name is that of the module's fallback device, which takes packets from any sender. Loading
 * the module may have created it already: an existing device is no failure. */
static int make_tunnel(struct host *host, const json_t *change, struct error *err)
{
	const char *name = json_text(change, "name");
	const char *const add[] = {
	    "ip", "link", "add", "name", name, "type", json_text(change, "type"), NULL};
	struct error why;
	int rc = run_ip(add, &why);

	if (if_nametoindex(name))
		return 0;
	return error_set(err, rc ? rc : -ENODEV,
			 "%s\nDoes the kernel have a module for %s tunnels? Without --tunnel the "
			 "decapsulator is used, which needs no module",
			 rc ? why.text : name, json_text(change, "type"));
}

/* A fallback device exists as long as its module. If it cannot be removed, it is at least set down
 * (its own "link" change). */
static int unmake_tunnel(struct host *host, const json_t *change, struct error *err)
{
	const char *const del[] = {"ip", "link", "del", json_text(change, "name"), NULL};

	if (if_nametoindex(json_text(change, "name")) && run_ip(del, NULL))
		return error_set(err, -ESTALE,
				 "%s: cannot be removed: stays, down, until its module is unloaded",
				 json_text(change, "name"));
	return 0;
}

static void describe_tunnel(const struct host *host, const json_t *change, bool made, char *text,
			    size_t size)
{
	snprintf(text, size, "%s: %s device %s", json_text(change, "name"),
		 json_text(change, "type"), made ? "created" : "removed");
}

/* ip6tnl0 takes only IPv6 in IPv6 by default; mode any takes IPv4 as well. */
static int set_proto(const json_t *change, const char *mode, struct error *err)
{
	const char *const set[] = {"ip",   "-6", "tunnel", "change", json_text(change, "name"),
				   "mode", mode, NULL};

	return run_ip(set, err);
}

static int make_proto(struct host *host, const json_t *change, struct error *err)
{
	return set_proto(change, "any", err);
}

static int unmake_proto(struct host *host, const json_t *change, struct error *err)
{
	return if_nametoindex(json_text(change, "name")) ? set_proto(change, "ip6ip6", err) : 0;
}

static void describe_proto(const struct host *host, const json_t *change, bool made, char *text,
			   size_t size)
{
	snprintf(text, size, "%s: mode %s", json_text(change, "name"),
		 made ? "ip6ip6 -> any" : "any -> ip6ip6");
}

/* ---- the journal ---- */

static const struct kind kinds[] = {
    {"sysctl", make_sysctl, unmake_sysctl, describe_sysctl},
    {"link", make_link, unmake_link, describe_link},
    {"address", make_address, unmake_address, describe_address},
    {"decap", make_decap, unmake_decap, describe_decap},
    {"accept", make_accept, unmake_accept, describe_accept},
    {"vip", make_vip, unmake_vip, describe_vip},
    {"tunnel", make_tunnel, unmake_tunnel, describe_tunnel},
    {"proto", make_proto, unmake_proto, describe_proto},
};

static const struct kind *find_kind(const json_t *change)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, json_text(change, "kind")) == 0)
			return &kinds[i];
	return NULL;
}

static void print_change(const struct host *host, const struct kind *kind, const json_t *change,
			 bool made)
{
	char text[1024];

	kind->describe(host, change, made, text, sizeof(text));
	printf("  %s\n", text);
}

int host_change(struct host *host, json_t *change, struct error *err)
{
	const struct kind *kind = find_kind(change);
	int rc;

	if (!kind || json_array_append_new(host->record.changes, change))
		return error_set(err, -ENOMEM, "out of memory");
	rc = host_record_save(&host->record, err);
	if (!rc)
		rc = kind->make(host, change, err);
	if (rc) {
		json_array_remove(host->record.changes, json_array_size(host->record.changes) - 1);
		host_record_save(&host->record, NULL);
		return rc;
	}
	host->changes++;
	print_change(host, kind, change, true);
	return 0;
}

/* -ESTALE with ret_why set: another interface needs what the change made. -EALREADY: another one
 * made it, and has undone it. */
static int hand_over(struct host *host, const json_t *change, struct error *ret_why)
{
	const char *other, *path = json_text(change, "path"), *name = json_text(change, "name");
	char sysctl[128];
	int rc = host_share_hand_over(host, change, &other, ret_why);

	if (rc || !other)
		return rc ? rc : host_is_shared(change) ? -EALREADY : 0;
	return error_set(ret_why, -ESTALE, "%s%s: stays as it is: %s %s",
			 *path || *name ? "" : "lo: ",
			 *path   ? sysctl_name(path, sysctl)
			 : *name ? name
				 : json_text(change, "address"),
			 other,
			 if_nametoindex(other) ? "is set up too, and needs it"
					       : "is gone, but still on record as set up: undo "
						 "it too");
}

/* Undoes one change. 0: it is no longer on record. */
static int undo_one(struct host *host, size_t at, struct error *err)
{
	const json_t *change = json_array_get(host->record.changes, at);
	const struct kind *kind = find_kind(change);
	struct error why = {""};
	int rc;

	if (!kind)
		return error_set(err, -EPROTO, "%s: change %zu: kind \"%s\": unknown to this " TOOL,
				 host->record.path, at, json_text(change, "kind"));
	rc = hand_over(host, change, &why);
	if (!rc)
		rc = kind->unmake(host, change, &why);
	if (rc && rc != -ESTALE && rc != -EALREADY)
		return error_set(err, rc, "%s", why.text);
	if (rc == 0)
		print_change(host, kind, change, false);
	else if (why.text[0])
		printf("  %s\n", why.text);
	host->changes++;
	host->left += rc == -ESTALE;
	json_array_remove(host->record.changes, at);
	return host_record_save(&host->record, err);
}

int host_undo(struct host *host, size_t from, const char *vip, struct error *err)
{
	int first = 0;

	for (size_t at = json_array_size(host->record.changes); at-- > from;) {
		const json_t *change = json_array_get(host->record.changes, at);
		int rc;

		if (vip && strcmp(json_text(change, "address"), vip) != 0)
			continue;
		rc = undo_one(host, at, first ? NULL : err);
		first = first ? first : rc;
	}
	return first;
}
