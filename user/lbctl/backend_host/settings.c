/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The sysctls of a backend: settings that direct server return needs. */
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "share.h"

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
	if (!rc && is_good(setting, value))
		return host_share(host, "sysctl", "path", path, err);
	if (rc)
		return rc;
	return set_sysctl(host, path, value, setting->value, err);
}

/* Strict reverse-path filtering drops packets that arrive on another interface than the replies
 * leave by. The kernel uses the greater of `all` and the interface's value, and 2 (loose) is
 * greater than 1 (strict): it is enough to set the interface's. */
int settings_loosen_rp_filter(struct host *host, const char *interface, struct error *err)
{
	char path[128], all[SYSCTL_TEXT], own[SYSCTL_TEXT];
	int rc = sysctl_read("net/ipv4/conf/all/rp_filter", all, err);

	snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", interface);
	if (!rc)
		rc = sysctl_read(path, own, err);
	if (rc == -ENOENT)
		return error_set(err, -ENOENT, "%s: expected in the kernel, but missing", path);
	if (rc)
		return rc;
	if ((atoi(all) > atoi(own) ? atoi(all) : atoi(own)) != 1)
		return host_share(host, "sysctl", "path", path, err);
	return set_sysctl(host, path, own, "2", err);
}

int settings_apply(struct host *host, const struct vips *vips, struct error *err)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		int rc = vips_have_family(vips, settings[i].family)
			     ? set_one(host, &settings[i], err)
			     : 0;

		if (rc)
			return rc;
	}
	return vips_have_family(vips, 4) ? settings_loosen_rp_filter(host, host->interface, err)
					 : 0;
}

/* The value in force: the greater of `all` and the interface's. */
static void add_rp_filter(const struct host *host, json_t *list)
{
	char path[128], all[SYSCTL_TEXT], own[SYSCTL_TEXT], name[128];
	const char *value;

	snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", host->interface);
	if (sysctl_read("net/ipv4/conf/all/rp_filter", all, NULL) || sysctl_read(path, own, NULL))
		return;
	value = atoi(all) > atoi(own) ? all : own;
	json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:b}", "name",
					      sysctl_name(path, name), "value", value, "family", 4,
					      "good", strcmp(value, "1") != 0));
}

json_t *settings_list(const struct host *host)
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
	if (list)
		add_rp_filter(host, list);
	return list;
}
