/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which service a real is of, and that no other one takes it. */
#include "reals.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

static bool is_nat(const struct service *service)
{
	return service->config->forward == LB_FORWARD_NAT;
}

static uint64_t hash_of(const struct config_service *service, const struct addr *address)
{
	return lookup_hash_addr(lookup_hash_number(LOOKUP_START, service->protocol), address);
}

void reals_done(struct reals *reals)
{
	free(reals->list);
	lookup_done(&reals->lookup);
	*reals = (struct reals){0};
}

static int make_room(struct reals *reals)
{
	unsigned size = 2 * reals->size + 16;
	struct real *list;

	if (reals->count < reals->size)
		return 0;
	list = reallocarray(reals->list, size, sizeof(*list));
	if (!list)
		return -ENOMEM;
	reals->list = list;
	if (lookup_reserve(&reals->lookup, size))
		return -ENOMEM;
	reals->size = size;
	return 0;
}

static int add(struct reals *reals, const struct real *real)
{
	if (make_room(reals))
		return -ENOMEM;
	lookup_add(&reals->lookup, hash_of(real->service, &real->address), reals->count);
	reals->list[reals->count++] = *real;
	return 0;
}

/* Has its service this one already, and not one that leaves? other: the first of another service
 * that is the same, or shares a port with it; NULL: there is none. */
static bool has(const struct reals *reals, const struct real *wanted, const struct real **other)
{
	struct lookup_walk walk;
	bool found = false;
	uint32_t at;

	*other = NULL;
	lookup_walk(&reals->lookup, hash_of(wanted->service, &wanted->address), &walk);
	while (lookup_next(&walk, &at)) {
		const struct real *real = &reals->list[at];

		if (!addr_equal(&real->address, &wanted->address))
			continue;
		if (config_same_service(real->service, wanted->service))
			found |= real->port == wanted->port && !real->leaves;
		else if (!*other && config_reals_meet(real->service, real->port, wanted->service,
						      wanted->port))
			*other = real;
	}
	return found;
}

/* waiting: also those that it does not have yet. */
static int add_service(struct reals *reals, const struct service *service, bool waiting)
{
	int rc = 0;

	for (unsigned i = 0; i < service->backends_count && is_nat(service) && !rc; i++) {
		const struct backend *backend = service->backends[i];

		if (backend->bound_why && !waiting)
			continue;
		rc = add(reals, &(struct real){.service = service->config,
					       .address = backend->address,
					       .port = backend->port,
					       .leaves = backend->removed});
	}
	return rc;
}

static int list(const struct world *world, bool waiting, struct reals *ret)
{
	struct reals reals = {0};
	int rc = 0;

	for (unsigned i = 0; i < world->count && !rc; i++) {
		rc = add_service(&reals, world->services[i], waiting);
		task_pause();
	}
	if (rc)
		reals_done(&reals);
	else
		*ret = reals;
	return rc;
}

int reals_of_world(const struct world *world, struct reals *ret)
{
	return list(world, true, ret);
}

int reals_admit(struct reals *reals, const struct config_service *service,
		const struct addr *address, uint16_t port, struct error *err)
{
	const struct real own = {.service = service, .address = *address, .port = port};
	const struct real *other;
	char text[CONFIG_REAL_TEXT];

	if (service->forward != LB_FORWARD_NAT || has(reals, &own, &other))
		return 0;
	if (!other)
		return add(reals, &own) ? error_set(err, -ENOMEM, "out of memory") : 0;
	config_real_text(address, other->port, service->protocol, text);
	if (other->leaves)
		return error_set(err, -EINVAL,
				 "%s leaves service %s, and replies to its clients may still come: "
				 "expected it when lbctl backends %s does not show it any more",
				 text, other->service->name, other->service->name);
	return error_set(err, -EINVAL,
			 "%s is of service %s: with forward: nat a reply from there is of one "
			 "service alone, so expected another address or port, or that it has left "
			 "that service before",
			 text, other->service->name);
}

static int admit_named(struct reals *reals, const struct config_service *service,
		       const struct addr *address, uint16_t port, struct error *err)
{
	char text[ADDR_TEXT];
	struct error why;
	int rc = reals_admit(reals, service, address, port, &why);

	return rc ? error_set(err, rc, "service %s: backend %s: %s", service->name,
			      addr_format(address, text), why.text)
		  : 0;
}

/* Is its real not one of its service in the present world? */
static bool is_new(const struct backend *backend)
{
	const struct backend *former = backend->former;
	bool there =
	    former && !former->removed && former->port == backend->port && is_nat(former->service);

	return !backend->removed && !there;
}

static bool has_new(const struct service *service)
{
	for (unsigned i = 0; i < service->backends_count && is_nat(service); i++)
		if (is_new(service->backends[i]))
			return true;
	return false;
}

static int admit_new(struct reals *reals, const struct service *service, struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < service->backends_count && is_nat(service) && !rc; i++) {
		const struct backend *backend = service->backends[i];

		if (is_new(backend))
			rc = admit_named(reals, service->config, &backend->address, backend->port,
					 err);
	}
	return rc;
}

/* Most changes bring no new real: they need no list of those that there are. */
int reals_check_world(const struct world *present, const struct world *next, struct error *err)
{
	struct reals reals;
	bool any = false;
	int rc;

	for (unsigned i = 0; i < next->count && !any; i++) {
		any = has_new(next->services[i]);
		task_pause();
	}
	if (!any)
		return 0;
	rc = list(present, false, &reals); /* a file may undo what waits */
	if (rc)
		return error_set(err, rc, "out of memory");
	for (unsigned i = 0; i < next->count && !rc; i++) {
		rc = admit_new(&reals, next->services[i], err);
		task_pause();
	}
	reals_done(&reals);
	return rc;
}

int reals_check_config(const struct world *present, const struct config *config, struct error *err)
{
	struct reals reals;
	int rc = list(present, false, &reals);

	if (rc)
		return error_set(err, rc, "out of memory");
	for (unsigned i = 0; i < config->services_count && !rc; i++) {
		const struct config_service *service = &config->services[i];

		task_pause();
		for (unsigned j = 0; j < service->backends_count && !rc; j++)
			rc = admit_named(&reals, service, &service->backends[j].address,
					 config_real_port(service, service->backends[j].port), err);
	}
	reals_done(&reals);
	return rc;
}
