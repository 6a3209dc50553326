/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks across the parts of a config: no duplicates, nothing over its limit, no VIP that is a
 * backend. Works on sorted lists, so that the largest config takes milliseconds. */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/plural.h"
#include "common/ring_size.h"
#include "service.h"

/* ---- services ---- */

/* By place in the file, so that of two equal items the later one is reported. */
static int by_position(const void *a, const void *b)
{
	return (a > b) - (a < b);
}

static int compare_address(const struct config_service *a, const struct config_service *b)
{
	int rc = addr_compare(&a->vip, &b->vip);

	if (!rc)
		rc = a->protocol - b->protocol;
	return rc ? rc : a->port - b->port;
}

static int by_address(const void *a, const void *b)
{
	const struct config_service *const *first = a, *const *second = b;
	int rc = compare_address(*first, *second);

	return rc ? rc : by_position(*first, *second);
}

static int by_name(const void *a, const void *b)
{
	const struct config_service *const *first = a, *const *second = b;
	int rc = strcmp((*first)->name, (*second)->name);

	return rc ? rc : by_position(*first, *second);
}

/* A service that is in no text at hand has a place without a node. */
static void service_place(const struct config_sources *sources,
			  const struct config_service *service, struct config_place *ret)
{
	unsigned index = service->file - sources->first;
	struct config_place root;

	if (index < sources->count) {
		config_place_root(&sources->list[index], &root);
		config_place_item(&root, "services", service->place, ret);
		return;
	}
	*ret = (struct config_place){.source = &sources->list[0], .line = 1};
	snprintf(ret->object, sizeof(ret->object), "service %s", service->name);
}

static void check_addresses(const struct config_sources *sources, const struct config *config,
			    const struct config_service **sorted)
{
	struct config_place at, before;
	char vip[ADDR_TEXT], where[CONFIG_WHERE];

	qsort(sorted, config->services_count, sizeof(*sorted), by_address);
	for (unsigned i = 1; i < config->services_count; i++) {
		if (compare_address(sorted[i - 1], sorted[i]))
			continue;
		service_place(sources, sorted[i], &at);
		service_place(sources, sorted[i - 1], &before);
		config_complain(&at, "vip", addr_format(&sorted[i]->vip, vip),
				"%s in %s has the same VIP, protocol and port: expected others",
				before.object, config_place_where(&at, &before, where));
	}
}

static void check_names(const struct config_sources *sources, const struct config *config,
			const struct config_service **sorted)
{
	struct config_place at, before;
	char where[CONFIG_WHERE];

	qsort(sorted, config->services_count, sizeof(*sorted), by_name);
	for (unsigned i = 1; i < config->services_count; i++) {
		if (strcmp(sorted[i - 1]->name, sorted[i]->name))
			continue;
		service_place(sources, sorted[i], &at);
		service_place(sources, sorted[i - 1], &before);
		config_complain(&at, "name", sorted[i]->name,
				"the service in %s has the same name: expected another",
				config_place_where(&at, &before, where));
	}
}

/* ---- backends ---- */

struct member {
	const struct config_service *service;
	const struct config_backend *backend;
};

static int by_member(const void *a, const void *b)
{
	const struct member *first = a, *second = b;
	int rc = addr_compare(&first->backend->address, &second->backend->address);

	if (!rc)
		rc = by_position(first->service, second->service);
	return rc ? rc : by_position(first->backend, second->backend);
}

static void member_place(const struct config_sources *sources, const struct member *member,
			 struct config_place *ret)
{
	char label[CONFIG_BACKEND_LABEL];
	struct config_place service;

	service_place(sources, member->service, &service);
	config_place_item(&service, "backends",
			  (size_t)(member->backend - member->service->backends), ret);
	if (!service.node)
		snprintf(ret->object, sizeof(ret->object), "%.120s: backend %s", service.object,
			 config_backend_label(NULL, &member->backend->address, label));
}

/* Of two backends of a service, which are in the same text. */
static const char *see_line(const struct config_place *before, char text[40])
{
	*text = 0;
	if (!before->source->bare)
		snprintf(text, 40, ", see line %zu", before->line);
	return text;
}

static void check_twice(const struct config_sources *sources, const struct member *before,
			const struct member *member)
{
	struct config_place at, before_at;
	char address[ADDR_TEXT], line[40];

	if (before->service != member->service ||
	    !addr_equal(&before->backend->address, &member->backend->address))
		return;
	member_place(sources, before, &before_at);
	member_place(sources, member, &at);
	config_complain(&at, "address", addr_format(&member->backend->address, address),
			"listed twice%s: expected once", see_line(&before_at, line));
}

/* By service, then by name; those without one come first. */
static int by_member_name(const void *a, const void *b)
{
	const struct member *first = a, *second = b;
	const char *name = config_tag_name(first->backend->tag),
		   *other = config_tag_name(second->backend->tag);
	int rc = by_position(first->service, second->service);

	if (!rc)
		rc = strcmp(name ? name : "", other ? other : "");
	return rc ? rc : by_position(first->backend, second->backend);
}

static void check_member_names(const struct config_sources *sources, struct member *members,
			       size_t count)
{
	qsort(members, count, sizeof(*members), by_member_name);
	for (size_t i = 1; i < count; i++) {
		const struct member *before = &members[i - 1], *member = &members[i];
		const char *name = config_tag_name(member->backend->tag),
			   *other = config_tag_name(before->backend->tag);
		struct config_place at, before_at;
		char address[ADDR_TEXT], line[40];

		if (before->service != member->service || !name || !other || strcmp(name, other))
			continue;
		member_place(sources, before, &before_at);
		member_place(sources, member, &at);
		config_complain(
		    &at, "name", name, "backend %s has the same name%s: expected another",
		    addr_format(&before->backend->address, address), see_line(&before_at, line));
	}
}

/* Packets to a backend that is a VIP would come back to the balancer. vips is sorted by address. */
static void check_not_vip(const struct config_sources *sources, const struct config *config,
			  const struct config_service *const *vips, unsigned *next_vip,
			  const struct member *member)
{
	const struct addr *address = &member->backend->address;
	struct config_place at, vip_at;
	char text[ADDR_TEXT];

	while (*next_vip < config->services_count &&
	       addr_compare(&vips[*next_vip]->vip, address) < 0)
		(*next_vip)++;
	if (*next_vip == config->services_count || !addr_equal(&vips[*next_vip]->vip, address))
		return;
	member_place(sources, member, &at);
	service_place(sources, vips[*next_vip], &vip_at);
	config_complain(&at, "address", addr_format(address, text),
			"is the VIP of %s: expected the address of a backend", vip_at.object);
}

static void check_members(const struct config_sources *sources, const struct config *config,
			  const struct config_service **vips, size_t count)
{
	_cleanup_free_ struct member *members = calloc(count + 1, sizeof(*members));
	unsigned next_vip = 0;
	size_t n = 0;

	if (!members) {
		config_source_oom(&sources->list[0]);
		return;
	}
	for (unsigned i = 0; i < config->services_count; i++)
		for (unsigned j = 0; j < config->services[i].backends_count; j++)
			members[n++] =
			    (struct member){&config->services[i], &config->services[i].backends[j]};
	qsort(members, count, sizeof(*members), by_member);
	qsort(vips, config->services_count, sizeof(*vips), by_address);
	for (size_t i = 0; i < count; i++) {
		check_not_vip(sources, config, vips, &next_vip, &members[i]);
		if (i)
			check_twice(sources, &members[i - 1], &members[i]);
	}
	check_member_names(sources, members, count);
}

/* ---- reals ---- */

/* A backend of a service with `forward: nat`, where it gets its packets. */
struct real {
	struct member member;
	uint16_t port;
};

static int compare_host(const struct real *a, const struct real *b)
{
	int rc = addr_compare(&a->member.backend->address, &b->member.backend->address);

	if (!rc)
		rc = a->member.service->protocol - b->member.service->protocol;
	return rc ? rc : a->member.service->vip.family - b->member.service->vip.family;
}

/* One of any port comes before those that it meets. */
static int by_real(const void *a, const void *b)
{
	const struct real *first = a, *second = b;
	int rc = compare_host(first, second);

	if (!rc)
		rc = first->port - second->port;
	if (!rc)
		rc = by_position(first->member.service, second->member.service);
	return rc ? rc : by_position(first->member.backend, second->member.backend);
}

static size_t list_reals(const struct config *config, struct real *reals)
{
	size_t count = 0;

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		for (unsigned j = 0;
		     service->forward == LB_FORWARD_NAT && j < service->backends_count; j++) {
			const struct config_backend *backend = &service->backends[j];

			reals[count++] = (struct real){{service, backend},
						       config_real_port(service, backend->port)};
		}
	}
	return count;
}

/* A reply has nothing but its source that tells which service it is of. */
static void complain_of_real(const struct config_sources *sources, const struct real *before,
			     const struct real *real)
{
	const struct config_service *service = real->member.service;
	const struct addr *address = &real->member.backend->address;
	char text[ADDR_TEXT], shared[CONFIG_REAL_TEXT], where[CONFIG_WHERE];
	struct config_place at, other;

	member_place(sources, &real->member, &at);
	service_place(sources, before->member.service, &other);
	config_complain(&at, "address", addr_format(address, text),
			"%s in %s has %s too: a reply from there is of one service with `forward: "
			"nat` alone, so expected another address or port",
			other.object, config_place_where(&at, &other, where),
			config_real_text(address, before->port, service->protocol, shared));
}

static void check_reals(const struct config_sources *sources, const struct config *config,
			size_t backends)
{
	_cleanup_free_ struct real *reals = calloc(backends + 1, sizeof(*reals));
	size_t count, first = 0;

	if (!reals) {
		config_source_oom(&sources->list[0]);
		return;
	}
	count = list_reals(config, reals);
	qsort(reals, count, sizeof(*reals), by_real);
	for (size_t i = 1; i < count; i++) {
		const struct real *before = &reals[i - 1];

		if (compare_host(&reals[first], &reals[i])) {
			first = i;
			continue;
		}
		if (!reals[first].port)
			before = &reals[first];
		if (before->member.service != reals[i].member.service &&
		    (!before->port || before->port == reals[i].port))
			complain_of_real(sources, before, &reals[i]);
	}
}

/* ---- one more backend ---- */

int config_check_address(const struct config_service *service, const struct addr *address,
			 uint16_t port, const struct config_service *has_as_vip,
			 const struct config_service *has_as_real, struct error *err)
{
	const char *why = addr_why_no_host(address);
	const char *family = config_refuses_family(service, address->family);
	char real[CONFIG_REAL_TEXT];

	if (why)
		return error_set(err, -EINVAL, "%s: expected the address of one host", why);
	if (family)
		return error_set(err, -EINVAL, "expected an address of the VIP's family: %s",
				 family);
	if (has_as_vip)
		return error_set(err, -EINVAL, "is a VIP: expected the address of a backend");
	if (!has_as_real)
		return 0;
	config_real_text(address, config_real_port(service, port), service->protocol, real);
	return error_set(err, -EINVAL,
			 "%s is of service %s already: with forward: nat a reply from there is of "
			 "one service alone, so expected another address or port",
			 real, has_as_real->name);
}

int config_check_backend(const struct config *config, const struct config_service *service,
			 const struct addr *address, uint16_t port, struct error *err)
{
	const struct config_service *of_vip = NULL;

	for (unsigned i = 0; i < config->services_count && !of_vip; i++)
		if (addr_equal(&config->services[i].vip, address))
			of_vip = &config->services[i];
	return config_check_address(service, address, port, of_vip,
				    config_find_real(config, service, address, port), err);
}

/* ---- sizes ---- */

static uint32_t next_prime(uint32_t n, int step)
{
	while (n > 2 && !is_prime(n))
		n += (uint32_t)step;
	return n;
}

static void check_slots(const struct config_place *at, const struct config_service *service)
{
	char text[24];

	if (!service->slots)
		return;
	snprintf(text, sizeof(text), "%u", service->slots);
	if (!is_prime(service->slots))
		config_complain(at, "slots", text, "expected a prime, such as %u or %u",
				next_prime(service->slots, -1), next_prime(service->slots, 1));
	else if (service->slots < service->backends_count)
		config_complain(at, "slots", text,
				"expected at least one for each of the %u backend%s",
				service->backends_count, plural_s(service->backends_count));
}

static void check_limits(const struct config_sources *sources, const struct config *config,
			 size_t backends)
{
	const struct config_limits *limits = &config->limits;
	struct config_place at, root;
	uint64_t slots = 0;

	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		service_place(sources, service, &at);
		check_slots(&at, service);
		slots += service->slots
			     ? service->slots
			     : ring_size(service->backends_count, config_ring_grain(service));
	}
	config_place_root(&sources->list[0], &root);
	if (config->services_count > limits->services)
		config_complain(&root, "services", NULL,
				"%u service%s: expected at most %u, see limits: services",
				config->services_count, plural_s(config->services_count),
				limits->services);
	if (backends > limits->backends)
		config_complain(&root, "services", NULL,
				"%zu backend%s in all: expected at most %u, see limits: backends",
				backends, plural_s(backends), limits->backends);
	if (slots > limits->slots)
		config_complain(&root, "services", NULL,
				"%" PRIu64 " slots in all: expected at most %u, see limits: slots",
				slots, limits->slots);
}

/* ---- announce ---- */

/* In the main table a route of lbd's leaves the host itself without a way to the VIP. */
static void check_announce(const struct config_sources *sources, const struct config *config)
{
	struct config_place root, at;

	if (!config->announce.on || config->announce.table != RT_TABLE_MAIN)
		return;
	config_place_root(&sources->list[0], &root);
	config_place_field(&root, "announce", &at);
	for (unsigned i = 0; i < config->services_count; i++) {
		const struct config_service *service = &config->services[i];

		if (!health_spec_to_vip(&service->health) || !strcmp(service->health.type, "none"))
			continue;
		config_complain(&at, "table", "254",
				"is the main table, in which its own routes would keep checks of "
				"service %.64s from the VIP (health: to: vip): expected another "
				"table",
				service->name);
		return;
	}
}

void config_check(const struct config_sources *sources, const struct config *config)
{
	_cleanup_free_ const struct config_service **sorted =
	    calloc(config->services_count + 1, sizeof(void *));
	size_t backends = 0;

	if (!sorted) {
		config_source_oom(&sources->list[0]);
		return;
	}
	for (unsigned i = 0; i < config->services_count; i++) {
		sorted[i] = &config->services[i];
		backends += config->services[i].backends_count;
	}
	check_addresses(sources, config, sorted);
	check_names(sources, config, sorted);
	check_members(sources, config, sorted, backends);
	check_reals(sources, config, backends);
	check_limits(sources, config, backends);
	check_announce(sources, config);
}
