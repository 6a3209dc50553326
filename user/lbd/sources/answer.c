/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* DNS answers, by the parser of libresolv. */
#include "answer.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <resolv.h>
#include <string.h>

#define SRV_FIXED 6 /* bytes before the target: priority, weight, port */

/* Calls one(arg, record) for each record of the type in the answer section; not 0 ends it. */
typedef int record_fn(void *arg, const ns_msg *message, const ns_rr *record);

static int each_record(const uint8_t *bytes, int length, ns_type type, record_fn *one, void *arg,
		       uint32_t *ret_ttl_s)
{
	uint32_t ttl_s = UINT32_MAX;
	bool any = false;
	ns_msg message;
	ns_rr record;
	int rc = 0;

	if (ns_initparse(bytes, length, &message))
		return -EBADMSG;
	for (int i = 0; i < ns_msg_count(message, ns_s_an) && !rc; i++) {
		if (ns_parserr(&message, ns_s_an, i, &record))
			return -EBADMSG;
		/* RFC 2181, section 8: with the high bit set it counts as 0 */
		if (ns_rr_ttl(record) > INT32_MAX)
			ttl_s = 0;
		else if (ns_rr_ttl(record) < ttl_s)
			ttl_s = ns_rr_ttl(record);
		if (ns_rr_type(record) != type || ns_rr_class(record) != ns_c_in)
			continue;
		any = true;
		rc = one(arg, &message, &record);
	}
	*ret_ttl_s = ttl_s;
	return rc ? rc : any ? 0 : -ENODATA;
}

/* ---- addresses ---- */

struct addresses {
	uint8_t family;
	answer_found_fn *found;
	void *arg;
};

static int take_address(void *arg, const ns_msg *message, const ns_rr *record)
{
	const struct addresses *addresses = arg;
	struct addr address = {.family = addresses->family};

	if (ns_rr_rdlen(*record) != addr_length(&address))
		return -EBADMSG;
	memcpy(address.bytes, ns_rr_rdata(*record), addr_length(&address));
	return addresses->found(addresses->arg, &address);
}

int answer_addresses(const uint8_t *bytes, int length, uint8_t family, answer_found_fn *found,
		     void *arg, uint32_t *ret_ttl_s)
{
	struct addresses addresses = {family, found, arg};

	return each_record(bytes, length, family == 4 ? ns_t_a : ns_t_aaaa, take_address,
			   &addresses, ret_ttl_s);
}

/* ---- targets ---- */

struct targets {
	struct answer_target *list;
	int count;
};

/* The list is full: one of the last priority gives way. */
static int displace(struct targets *targets, const struct answer_target *target)
{
	struct answer_target *last = targets->list;
	uint16_t lowest = target->priority;

	for (int i = 0; i < targets->count; i++) {
		if (targets->list[i].priority > last->priority)
			last = &targets->list[i];
		if (targets->list[i].priority < lowest)
			lowest = targets->list[i].priority;
	}
	if (last->priority == lowest && target->priority == lowest)
		return -E2BIG;
	if (target->priority < last->priority)
		*last = *target;
	return 0;
}

static int take_target(void *arg, const ns_msg *message, const ns_rr *record)
{
	const uint8_t *data = ns_rr_rdata(*record);
	struct targets *targets = arg;
	struct answer_target target = {0};

	if (ns_rr_rdlen(*record) <= SRV_FIXED)
		return -EBADMSG;
	target.priority = (uint16_t)ns_get16(data);
	target.weight = (uint16_t)ns_get16(data + 2);
	target.port = (uint16_t)ns_get16(data + 4);
	if (dn_expand(ns_msg_base(*message), ns_msg_end(*message), data + SRV_FIXED, target.name,
		      sizeof(target.name)) < 0)
		return -EBADMSG;
	if (!*target.name || !strcmp(target.name, ".")) /* "decidedly not available" */
		return 0;
	if (targets->count == ANSWER_TARGETS_MAX)
		return displace(targets, &target);
	targets->list[targets->count++] = target;
	return 0;
}

/* The lowest priority that is not below `from`; above UINT16_MAX: there is none. */
static uint32_t lowest_from(const struct answer_target *list, int count, uint32_t from)
{
	uint32_t lowest = UINT16_MAX + 1u;

	for (int i = 0; i < count; i++)
		if (list[i].priority >= from && list[i].priority < lowest)
			lowest = list[i].priority;
	return lowest;
}

/* Their number: those of too many priorities are left out. */
static int rank(struct answer_target *list, int count)
{
	uint32_t from = 0;
	int kept = 0;

	for (uint8_t rank = 0; rank <= CONFIG_MAX_PRIORITY; rank++) {
		uint32_t lowest = lowest_from(list, count, from);

		for (int i = 0; i < count; i++)
			if (list[i].priority == lowest)
				list[i].rank = rank;
		from = lowest + 1;
	}
	for (int i = 0; i < count; i++)
		if (list[i].priority < from)
			list[kept++] = list[i];
	return kept;
}

int answer_targets(const uint8_t *bytes, int length, struct answer_target ret[ANSWER_TARGETS_MAX],
		   uint32_t *ret_ttl_s)
{
	struct targets targets = {ret, 0};
	int rc = each_record(bytes, length, ns_t_srv, take_target, &targets, ret_ttl_s);

	if (rc)
		return rc;
	return targets.count ? rank(ret, targets.count) : -ENODATA;
}
