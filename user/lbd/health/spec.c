/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The spec of a check: copied, compared, freed; and which kind it asks for. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "common/text.h"
#include "dns.h"
#include "health.h"

const uint16_t health_text_max[HEALTH_TEXT_COUNT] = {
#define X(name, max) [HEALTH_TEXT_##name] = (max),
    HEALTH_TEXTS(X)
#undef X
};

bool health_is_hex(const char *text)
{
	return bytes_is_hex(text);
}

bool health_is_record(const char *text)
{
	return dns_record_type(text) >= 0;
}

static int copy_checks(const struct health_spec *from, struct health_spec *to)
{
	to->checks = NULL;
	to->checks_count = 0;
	if (!from->checks_count)
		return 0;
	to->checks = calloc(from->checks_count, sizeof(*to->checks));
	if (!to->checks)
		return -ENOMEM;
	for (; to->checks_count < from->checks_count; to->checks_count++)
		if (health_spec_copy(&from->checks[to->checks_count],
				     &to->checks[to->checks_count]))
			return -ENOMEM;
	return 0;
}

/* The range at *at, which is moved to the one after it. False: it is none. */
static bool read_range(const char **at, unsigned *ret_min, unsigned *ret_max)
{
	const char *text = *at + strspn(*at, " ");
	unsigned min = 0, max = 0;
	int end = 0;

	if (sscanf(text, "%3u%n-%3u%n", &min, &end, &max, &end) < 2)
		max = min;
	if (!end || *text < '1' || *text > '5' || min < 100 || max > 599 || min > max)
		return false;
	text += end;
	text += strspn(text, " ");
	if (*text && (*text++ != ',' || !text[strspn(text, " ")]))
		return false;
	*at = text;
	*ret_min = min;
	*ret_max = max;
	return true;
}

int health_status_within(const char *list, long status)
{
	bool within = false;
	unsigned min, max;

	while (*list) {
		if (!read_range(&list, &min, &max))
			return -EINVAL;
		within |= status >= (long)min && status <= (long)max;
	}
	return within;
}

int health_status_bounds(const char *list, uint32_t *ret_min, uint32_t *ret_max)
{
	unsigned least = UINT_MAX, most = 0, min, max;

	if (!*list)
		return -EINVAL;
	while (*list) {
		if (!read_range(&list, &min, &max))
			return -EINVAL;
		least = min < least ? min : least;
		most = max > most ? max : most;
	}
	*ret_min = least;
	*ret_max = most;
	return 0;
}

int health_spec_copy(const struct health_spec *from, struct health_spec *ret)
{
	struct health_spec copy = *from;
	bool failed = false;

	copy.type = copy_text(from->type, &failed);
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		copy.texts[i] = copy_text(from->texts[i], &failed);
	failed |= copy_checks(from, &copy) != 0;
	if (failed) {
		health_spec_done(&copy);
		copy = (struct health_spec){0};
	}
	*ret = copy;
	return failed ? -ENOMEM : 0;
}

void health_spec_drop_checks(struct health_spec *spec)
{
	for (unsigned i = 0; i < spec->checks_count; i++)
		health_spec_done(&spec->checks[i]);
	free(spec->checks);
	spec->checks = NULL;
	spec->checks_count = 0;
}

void health_spec_done(struct health_spec *spec)
{
	free(spec->type);
	spec->type = NULL;
	if (spec->key)
		explicit_bzero(spec->key, strlen(spec->key));
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		free(spec->texts[i]);
		spec->texts[i] = NULL;
	}
	health_spec_drop_checks(spec);
}

static bool same_checks(const struct health_spec *a, const struct health_spec *b)
{
	if (a->checks_count != b->checks_count || a->any != b->any)
		return false;
	for (unsigned i = 0; i < a->checks_count; i++)
		if (!health_spec_same(&a->checks[i], &b->checks[i]))
			return false;
	return true;
}

bool health_spec_same(const struct health_spec *a, const struct health_spec *b)
{
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++)
		if (!same_text(a->texts[i], b->texts[i]))
			return false;
	return same_text(a->type, b->type) && a->port == b->port && a->to == b->to &&
	       a->status_min == b->status_min && a->status_max == b->status_max &&
	       a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
	       a->fast_ms == b->fast_ms && a->verify == b->verify && a->rise == b->rise &&
	       a->fall == b->fall && a->mtu == b->mtu && same_checks(a, b);
}

const struct health_spec *health_spec_list(const struct health_spec *spec, unsigned *ret_count)
{
	*ret_count = spec->checks_count ? spec->checks_count : 1;
	return spec->checks_count ? spec->checks : spec;
}

bool health_spec_to_vip(const struct health_spec *spec)
{
	unsigned count;
	const struct health_spec *list = health_spec_list(spec, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct health_kind *kind =
		    list[i].to == HEALTH_TO_VIP && list[i].type ? health_kind_of(&list[i]) : NULL;

		if (kind && !kind->aside)
			return true;
	}
	return false;
}

bool health_spec_as_client(const struct health_spec *spec, uint16_t port)
{
	unsigned count;
	const struct health_spec *list = health_spec_list(spec, &count);

	for (unsigned i = 0; i < count; i++) {
		const struct health_kind *kind = list[i].type ? health_kind_of(&list[i]) : NULL;
		uint16_t own = list[i].port ? list[i].port : spec->port;

		if (list[i].to == HEALTH_TO_AUTO && kind && health_kind_connects(kind) && port &&
		    (!own || own == port))
			return true;
	}
	return false;
}

/* ---- kinds ---- */

bool health_kind_connects(const struct health_kind *kind)
{
	return !kind->aside && !kind->socket;
}

const struct health_kind *health_kind_find(const char *name)
{
	registry_for_each (health_kind, kind)
		if (!strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* A check over TCP that reads an answer runs confined, one that only connects does not. */
const struct health_kind *health_kind_of(const struct health_spec *spec)
{
	bool talks = spec->send || spec->send_hex || spec->expect || spec->expect_hex;

	if (talks && !strcmp(spec->type, "tcp"))
		return health_kind_find("tcp-answer");
	return health_kind_find(spec->type);
}
