/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What of a config this machine does not have, and what it has and should know of. */
#include "internal.h"

#include <errno.h>
#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/secret.h"

static void name_missing_interface(const char *name, struct sentences *ret)
{
	char first[IF_NAMESIZE];

	if (!if_nametoindex(name))
		sentences_add(ret,
			      "interfaces: %s: no such interface here; lbd attaches to it when it "
			      "appears",
			      name);
	else if (attach_is_other_name(name, first))
		sentences_add(ret,
			      "interfaces: %s: another name of %s (altname): expected %s; lbd does "
			      "not attach to it",
			      name, first, first);
}

static void name_missing_group(const struct config *config, struct sentences *ret)
{
	if (!getgrnam(config->group))
		sentences_add(ret,
			      "group: %s: no such group here: only root can use the socket. To "
			      "create it: groupadd --system %s",
			      config->group, config->group);
}

/* A file that others may not read. What is in it shows when lbd starts. lost: what becomes of lbd.
 */
static void name_bad_secret(const char *key, const char *path, const char *lost,
			    struct sentences *ret)
{
	struct error err;
	char text[1];
	ssize_t rc = secret_read(key, path, text, sizeof(text), &err);

	if (rc < 0 && rc != -EACCES) /* who checks the file may not be who runs lbd */
		sentences_add(ret, "%s; %s", err.text, lost);
	explicit_bzero(text, sizeof(text));
}

/* Whether the user of the command may run it shows when it runs. object: whose command it is; lost:
 * what becomes of it. path: its words may follow, after one of `ends`. */
static void name_missing_program(const char *object, const char *command, const char *ends,
				 const char *lost, struct sentences *ret)
{
	_cleanup_free_ char *path = strndup(command, strcspn(command, ends));
	struct stat file;

	if (!path)
		return;
	if (stat(path, &file))
		sentences_add(ret, "%s: %s: %s; %s", object, path, strerror(errno), lost);
	else if (!S_ISREG(file.st_mode) || !(file.st_mode & 0111))
		sentences_add(ret, "%s: %s: cannot be executed: expected a program: chmod +x %s",
			      object, path, path);
}

static void name_missing_checks(const struct config *config, struct sentences *ret)
{
	char object[128];

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];
		unsigned count;
		const struct health_spec *list = health_spec_list(&service->health, &count);

		snprintf(object, sizeof(object), "service %.64s: health: command", service->name);
		for (unsigned j = 0; j < count; j++)
			if (list[j].command && !strcmp(list[j].type, "exec"))
				name_missing_program(object, list[j].command, "\n",
						     "its check is not run", ret);
	}
}

void machine_lacks_commands(const struct config *config, struct sentences *ret)
{
	if (config->notify)
		name_missing_program("notify", config->notify, " \t", "events are not handed over",
				     ret);
	name_missing_checks(config, ret);
}

/* ---- VIPs and backends that are addresses of this host ---- */

struct own {
	struct addr address;
	const char *interface;
	bool is_named_vip, is_named_backend; /* a service before has it, and was named */
};

static int compare_own(const void *a, const void *b)
{
	const struct own *x = a, *y = b;
	int rc = addr_compare(&x->address, &y->address);

	return rc ? rc : strcmp(x->interface, y->interface);
}

static int compare_address(const void *address, const void *own)
{
	return addr_compare(address, &((const struct own *)own)->address);
}

/* In order. all: lives as long as what is returned. */
static struct own *own_list(const struct ifaddrs *all, size_t *ret_count)
{
	struct own *list;
	size_t count = 0;

	for (const struct ifaddrs *one = all; one; one = one->ifa_next)
		count++;
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		return NULL;
	count = 0;
	for (const struct ifaddrs *one = all; one; one = one->ifa_next)
		if (!addr_from_sockaddr(one->ifa_addr, &list[count].address))
			list[count++].interface = one->ifa_name;
	qsort(list, count, sizeof(*list), compare_own);
	*ret_count = count;
	return list;
}

static void name_own_vip(const struct config_service *service, struct own *own,
			 struct sentences *ret)
{
	char vip[ADDR_TEXT];

	if (!own->is_named_vip)
		sentences_add(ret,
			      "service %s: VIP %s is also an address of this host, on %s: "
			      "connections from this host to it stay here, and checks do not go "
			      "to it through the tunnel",
			      service->name, addr_format(&service->vip, vip), own->interface);
	own->is_named_vip = true;
}

/* Through tunnels and NAT nothing goes round: there the address in the packet is no longer the VIP.
 */
static void name_own_backend(const struct config_service *service,
			     const struct config_backend *backend, struct own *own,
			     struct sentences *ret)
{
	char address[ADDR_TEXT];

	if (!own->is_named_backend)
		sentences_add(ret,
			      "service %s: backend %s is an address of this host, on %s: it gets "
			      "no packets, and if another backend balances to this host, packets "
			      "go to and fro until their TTL ends; expected addresses of hosts "
			      "that do not balance",
			      service->name, addr_format(&backend->address, address),
			      own->interface);
	own->is_named_backend = true;
}

static void name_own(const struct config_service *service, struct own *list, size_t count,
		     struct sentences *ret)
{
	struct own *own = bsearch(&service->vip, list, count, sizeof(*list), compare_address);

	if (own)
		name_own_vip(service, own, ret);
	for (unsigned i = 0; i < service->backends_count && service->forward == LB_FORWARD_L2;
	     i++) {
		const struct config_backend *backend = &service->backends[i];

		own = bsearch(&backend->address, list, count, sizeof(*list), compare_address);
		if (own)
			name_own_backend(service, backend, own, ret);
	}
}

void machine_owns(const struct config *config, struct sentences *ret)
{
	struct ifaddrs *all = NULL;
	struct own *list;
	size_t count;

	if (getifaddrs(&all))
		return;
	list = own_list(all, &count);
	for (unsigned i = 0; list && i < config->services_count; i++)
		name_own(&config->services[i], list, count, ret);
	free(list);
	freeifaddrs(all);
}

/* ---- what the kernel does with replies that are left to it ---- */

/* -1: it cannot be read, or is no number. */
static int setting(const char *family, const char *group, const char *name)
{
	char path[128], text[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/%s%s", family, group, name);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (!fgets(text, sizeof(text), file))
		*text = 0;
	fclose(file);
	return *text >= '0' && *text <= '9' ? atoi(text) : -1;
}

static int of_interface(const char *interface, const char *name)
{
	char group[64];

	snprintf(group, sizeof(group), "conf/%s/", interface);
	return setting("ipv4", group, name);
}

/* The kernel takes the stricter of the two, or the laxer: `all` counts for every interface. */
static void name_interface_settings(const char *interface, struct sentences *ret)
{
	int strict = of_interface(interface, "rp_filter"), all = of_interface("all", "rp_filter");

	if ((strict > all ? strict : all) == 1)
		sentences_add(
		    ret,
		    "forward: nat: rp_filter of %s is 1 (strict): replies that are left to "
		    "the kernel come from a VIP, and it drops them; expected 0 or 2: sysctl "
		    "-w net.ipv4.conf.%s.rp_filter=2",
		    interface, interface);
	if (of_interface(interface, "send_redirects") == 1 ||
	    of_interface("all", "send_redirects") == 1)
		sentences_add(
		    ret,
		    "forward: nat: send_redirects of %s is 1: where clients and backends "
		    "are behind one interface, the kernel tells backends of a shorter way "
		    "to clients, past lbd; expected 0: sysctl -w "
		    "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.%s.send_redirects=0",
		    interface, interface);
}

void machine_hinders_nat(const struct config *config, struct sentences *ret)
{
	if (nat_is_asked_for(config, 6) && !setting("ipv6", "conf/all/", "forwarding"))
		sentences_add(ret,
			      "forward: nat: net.ipv6.conf.all.forwarding is 0: replies that "
			      "are left to the kernel, and what else backends send through this "
			      "host, are lost: sysctl -w net.ipv6.conf.all.forwarding=1");
	if (!nat_is_asked_for(config, 4))
		return;
	if (!setting("ipv4", "", "ip_forward"))
		sentences_add(ret,
			      "forward: nat: net.ipv4.ip_forward is 0: replies that are left to "
			      "the kernel, and what else backends send through this host, are "
			      "lost: sysctl -w net.ipv4.ip_forward=1");
	for (unsigned i = 0; i < config->interfaces_count; i++)
		name_interface_settings(config->interfaces[i], ret);
}

void machine_lacks(const struct config *config, struct sentences *ret)
{
	for (unsigned i = 0; i < config->interfaces_count; i++)
		name_missing_interface(config->interfaces[i], ret);
	name_missing_group(config, ret);
	if (config->metrics_token_file)
		name_bad_secret("metrics-token-file", config->metrics_token_file,
				"lbd runs without metrics", ret);
	machine_lacks_commands(config, ret);
}
