/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How packets reach the backends of a service. lbd has one way for all of them, and with forward:
 * nat the address, protocol and port of a backend, its real, are of one service alone. */
#include "ways.h"

#include <string.h>

#include "common/lookup.h"

/* ---- reals of services that have become forward: nat ---- */

#define BUCKETS 4096

struct import_real {
	struct import_real *next;
	const struct import_service *service;
	struct addr address;
	unsigned port; /* 0: any */
};

static struct import_real **bucket_of(struct import *im, bool udp, const struct addr *address)
{
	if (!im->reals)
		im->reals = import_allocate(im, BUCKETS * sizeof(*im->reals));
	return &im->reals[lookup_hash_addr(lookup_hash_number(LOOKUP_START, udp), address) %
			  BUCKETS];
}

static unsigned real_port(const struct import_service *service,
			  const struct import_backend *backend)
{
	return service->port && backend->port ? backend->port : service->port;
}

/* The service that has the real already; NULL: none has. */
static const struct import_service *find_real(struct import *im,
					      const struct import_service *service,
					      const struct import_backend *backend)
{
	unsigned port = real_port(service, backend);

	for (const struct import_real *one = *bucket_of(im, service->udp, &backend->address); one;
	     one = one->next)
		if (one->service->udp == service->udp &&
		    addr_equal(&one->address, &backend->address) &&
		    (!one->port || !port || one->port == port))
			return one->service;
	return NULL;
}

static void add_reals(struct import *im, const struct import_service *service)
{
	for (const struct import_backend *one = service->backends; one; one = one->next) {
		struct import_real **bucket = bucket_of(im, service->udp, &one->address),
				   *real = import_allocate(im, sizeof(*real));

		*real =
		    (struct import_real){*bucket, service, one->address, real_port(service, one)};
		*bucket = real;
	}
}

/* ---- the way of a service ---- */

static bool has_way(const struct import_backend *backend, const char *way)
{
	return !strcmp(backend->forward, way);
}

static bool has_other_port(const struct import_service *service,
			   const struct import_backend *backend)
{
	return backend->port && service->port && backend->port != service->port;
}

unsigned ways_port(const struct import_service *service, const struct import_backend *backend)
{
	return !strcmp(service->forward, "nat") && has_other_port(service, backend) ? backend->port
										    : 0;
}

/* Where the dialect has no ways, a server that listens on another port needs NAT. */
static void choose_ways(struct import_service *service)
{
	bool other = false;

	for (const struct import_backend *one = service->backends; one; one = one->next)
		other |= has_other_port(service, one);
	for (struct import_backend *one = service->backends; one; one = one->next)
		if (!one->forward)
			one->forward = other ? "nat" : "ipip";
}

static unsigned count_way(const struct import_service *service, const char *way)
{
	unsigned count = 0;

	for (const struct import_backend *one = service->backends; one; one = one->next)
		count += has_way(one, way);
	return count;
}

/* The way that most backends have. */
static const char *most_common(const struct import_service *service)
{
	static const char *const ways[] = {"ipip", "l2", "gue", "gre", "nat"};
	const char *best = NULL;
	unsigned most = 0;

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		unsigned count = count_way(service, ways[i]);

		if (count > most) {
			most = count;
			best = ways[i];
		}
	}
	return best;
}

/* ---- backends that cannot have it ---- */

/* An import has no `nat: prefix`: whoever runs the network chooses one. */
static const char *why_one_family(const struct import_service *service)
{
	return !strcmp(service->forward, "nat") && service->vip.family == 4
		   ? "changes it with `nat: prefix` alone (docs/nat.md)"
		   : "cannot change it";
}

/* Notes why this backend cannot have the way of its service; false: it can. */
static bool goes_another_way(struct import *im, const struct import_service *service,
			     const struct import_backend *backend)
{
	bool one_family = !strcmp(service->forward, "l2") || !strcmp(service->forward, "nat");
	char text[ADDR_TEXT];

	addr_format(&backend->address, text);
	if (!has_way(backend, service->forward))
		import_left(im, backend->at,
			    "backend %s: forward: %s, but most of its service have %s: lbd has one "
			    "way for a service",
			    text, backend->forward, service->forward);
	else if (one_family && backend->address.family != service->vip.family)
		import_left(im, backend->at,
			    "backend %s: expected an address of the VIP's family: `forward: %s` %s",
			    text, service->forward, why_one_family(service));
	else if (backend->gue_port && im->gue_port && backend->gue_port != im->gue_port)
		import_left(im, backend->at,
			    "backend %s: GUE port %u, but others have %u: lbd has one for all",
			    text, backend->gue_port, im->gue_port);
	else
		return false;
	return true;
}

static void drop_others(struct import *im, struct import_service *service)
{
	struct import_backend *before = NULL, *next;

	for (struct import_backend *one = service->backends; one; one = next) {
		next = one->next;
		if (goes_another_way(im, service, one)) {
			import_drop_backend(service, before);
			continue;
		}
		before = one;
		if (one->gue_port)
			im->gue_port = one->gue_port;
	}
}

/* "10.0.0.11", or "10.0.0.11 and 3 more". */
static const char *name_some(struct import *im, const struct import_backend *first, unsigned count)
{
	char text[ADDR_TEXT];

	addr_format(&first->address, text);
	return count > 1 ? import_print(im, "%s and %u more", text, count - 1)
			 : import_copy(im, text, strlen(text));
}

/* Without NAT packets have the VIP's port. */
static void note_other_ports(struct import *im, const struct import_service *service)
{
	const struct import_backend *first = NULL;
	unsigned count = 0;

	for (const struct import_backend *one = service->backends; one; one = one->next) {
		if (!has_other_port(service, one))
			continue;
		first = first ? first : one;
		count++;
	}
	if (first)
		import_left(im, first->at,
			    "port %u of %s: their servers must listen on port %u of the VIP",
			    first->port, name_some(im, first, count), service->port);
}

/* ---- forward: nat ---- */

/* Of several services with the same servers the first one has NAT: a reply would be of any. */
static void leave_nat(struct import *im, struct import_service *service,
		      const struct import_backend *shared, const struct import_service *other)
{
	unsigned number = real_port(service, shared);
	const char *port = number ? import_print(im, "port %u", number) : "each port";
	char text[96];

	import_left(im, shared->at,
		    "%s of %s is of service %s too, and with forward: nat a reply from there is of "
		    "one service alone: this one gets forward: ipip, and its servers need the VIP "
		    "and the decapsulator: lbctl backend-host setup",
		    port, name_some(im, shared, 1), import_endpoint(other, text));
	for (struct import_backend *one = service->backends; one; one = one->next)
		one->forward = "ipip";
	service->forward = "ipip";
}

static void settle_nat(struct import *im, struct import_service *service)
{
	const struct import_service *other;

	for (const struct import_backend *one = service->backends; one; one = one->next) {
		other = find_real(im, service, one);
		if (other) {
			leave_nat(im, service, one, other);
			return;
		}
	}
	add_reals(im, service);
	import_note(im, service->backends->at,
		    "forward: nat: the way of %s to clients must lead through a balancer: "
		    "docs/nat.md",
		    name_some(im, service->backends, service->backends_count));
}

void ways_settle(struct import *im, struct import_service *service)
{
	choose_ways(service);
	service->forward = most_common(service);
	drop_others(im, service);
	if (!service->backends_count)
		return;
	if (!strcmp(service->forward, "nat"))
		settle_nat(im, service);
	if (strcmp(service->forward, "nat") != 0)
		note_other_ports(im, service);
}
